"""The recipe for gunicorn, with two workers, whose application is imported before or after the fork."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.loopback import as_json
from tests.support.posix import needs_posix
from tests.support.recipes import Recipe, free_port, program, wait_for_port

pytest.importorskip("gunicorn", reason="the recipe needs gunicorn")
pytestmark = needs_posix


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each", "preload"])
def test_two_workers_share_a_token(recipe: Recipe, options: tuple[str, ...], warm: bool) -> None:
    """20 requests to two workers share one token; after a revocation they share one other token.

    If the module fetches the token at its import, each worker has that one.
    """
    path, port = recipe.write(), free_port()
    if warm:
        path.write_text(path.read_text("utf-8") + "\nauth.source.token()\n", "utf-8")
    words = f"gunicorn --workers 2 --bind 127.0.0.1:{port} --log-level warning orders_app:app".split()

    def get(_: int) -> str:
        with requests.get(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            return f"{answer.status_code} {answer.text}"

    with program("-m", *words, *options) as process, ThreadPoolExecutor(8) as pool:
        wait_for_port(port, process)
        for count in (1, 2):
            assert set(pool.map(get, range(20))) == {'200 {"received": ""}'}
            assert recipe.tokens() == count
            recipe.server.revoke()
        recipe.server.revoke()
        recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
        assert "502" in get(0)
