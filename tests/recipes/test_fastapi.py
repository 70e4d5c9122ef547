"""The recipe for FastAPI, with two workers of uvicorn."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import requests

from tests.docs.pages import ROOT, commands
from tests.support.loopback import as_json
from tests.support.recipes import Recipe, free_port, program, wait_for_port

for _name in ("fastapi", "uvicorn"):
    pytest.importorskip(_name, reason=f"the recipe needs {_name}")


def test_two_workers_share_a_token(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 requests to two workers share one token; after a revocation they share one other token."""
    text, port = (ROOT / "examples" / "fastapi_app.py").read_text("utf-8"), free_port()
    recipe.replaced["https://id.example.com"] = recipe.server.url
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd()))  # where the cache is
    for old, new in recipe.replaced.items():
        text = text.replace(old, new)
    Path("fastapi_app.py").write_text(text, "utf-8")
    *exports, command = commands(text.split('"""')[1])
    for line in exports:
        name, _, value = shlex.split(line)[1].partition("=")
        monkeypatch.setenv(name, value)
    with program("-m", *command.split(), "--port", str(port), "--log-level", "warning") as process:
        wait_for_port(port, process)
        for count in (1, 2):
            answers = [requests.get(f"http://127.0.0.1:{port}/", timeout=60) for _ in range(20)]
            assert {(answer.status_code, answer.text) for answer in answers} == {(200, '{"received":""}')}
            assert recipe.tokens() == count
            recipe.server.revoke()
        recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 502
