"""The recipe for Celery, with two forked processes and a broker of files."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import TokenRequestError
from tests.support.loopback import as_json
from tests.support.posix import needs_posix
from tests.support.recipes import Recipe, program

pytest.importorskip("celery", reason="the recipe needs celery")

CONFIGURATION = """
broker_url = "filesystem://"
broker_transport_options = {"data_folder_in": "broker", "data_folder_out": "broker", "control_folder": "control"}
result_backend = "file://results"
task_always_eager = EAGER
broker_connection_retry_on_startup = True
"""


@pytest.fixture
def eager(request: pytest.FixtureRequest) -> bool:
    return getattr(request, "param", False)


@pytest.fixture
def tasks(recipe: Recipe, eager: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the page, and the files of its broker."""
    for name in ("broker", "control", "results"):
        Path(name).mkdir()
    Path("celeryconfig.py").write_text(CONFIGURATION.replace("EAGER", str(eager)), "utf-8")
    recipe.write()
    monkeypatch.syspath_prepend(".")
    orders_tasks: Any = importlib.import_module("orders_tasks")
    yield orders_tasks
    orders_tasks.app.close()
    for name in ("orders_tasks", "celeryconfig"):
        del sys.modules[name]


@pytest.mark.parametrize("pool", [pytest.param("prefork", marks=needs_posix), "threads"])
def test_two_workers_share_a_token(recipe: Recipe, tasks: Any, pool: str) -> None:
    """20 tasks in two forked processes or threads share one token; after a revocation they share one other token."""
    words = ("celery", "-A", "orders_tasks", "worker", "--pool", pool, "--concurrency", "2", "-l", "warning")
    with program("-m", *words):
        for count in (1, 2):
            results = [tasks.orders.delay() for _ in range(20)]
            assert [result.get(timeout=60) for result in results] == [{"received": ""}] * 20
            assert recipe.tokens() == count
            recipe.server.revoke()


@pytest.mark.parametrize("eager", [True], indirect=True)
@pytest.mark.parametrize(("status", "error", "retries"), [(401, "invalid_client", 0), (503, "server_error", 5)])
def test_a_task_is_retried_if_that_can_help(
    recipe: Recipe, tasks: Any, status: int, error: str, retries: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused token request ends the task, with our error; an outage is tried again."""
    recipe.server.token_play = lambda _: as_json({"error": error}, status, Retry_After="600" if retries else "")
    with pytest.raises(TokenRequestError, match=error):
        tasks.orders.apply().get()
    assert caplog.text.count("Retry in 30s") == retries
    assert recipe.tokens() == 1
