"""The recipe for MCP, against a server of the SDK."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.apis import CHALLENGE
from tests.support.recipes import Recipe, free_port

mcp_server = pytest.importorskip("mcp.server", reason="the recipe needs mcp")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the SDK and its server


class Guard:
    """Lets requests with a live token pass to the app of an MCP server, and counts the others."""

    def __init__(self, recipe: Recipe) -> None:
        server = mcp_server.MCPServer("adder")
        server.tool()(add)
        self._app, self._live, self.refusals = server.streamable_http_app(), recipe.server.live, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        token = dict(scope.get("headers", [])).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if scope["type"] == "lifespan" or token in self._live:
            await self._app(scope, receive, send)
        else:
            self.refusals += 1
            headers = [(b"www-authenticate", CHALLENGE.encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body"})


def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def guard(recipe: Recipe) -> Iterator[Guard]:
    """An MCP server that wants a token."""
    uvicorn = pytest.importorskip("uvicorn")
    guard, port = Guard(recipe), free_port()
    server = uvicorn.Server(uvicorn.Config(guard, "127.0.0.1", port, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    recipe.replaced = {"https://api.example.com": f"http://127.0.0.1:{port}"}
    yield guard
    server.should_exit = True
    thread.join()


def test_sessions_share_a_token(recipe: Recipe, guard: Guard) -> None:
    """Sessions share a token; after an early revocation they share another one."""
    names = recipe.run()
    for count in (1, 2):
        assert [asyncio.run(names["add"](1, 2)) for _ in range(2)] == [3, 3]
        assert (recipe.tokens(), guard.refusals) == (count, count - 1)
        recipe.server.revoke()


def test_a_session_goes_on(recipe: Recipe, guard: Guard) -> None:
    """A token that is revoked in the middle of a session is replaced, and the session goes on."""
    names = recipe.run()

    base: Any = names["Client"]

    class Client(base):
        async def call_tool(self, *arguments: Any) -> Any:
            await super().call_tool(*arguments)
            recipe.server.revoke()
            return await super().call_tool(*arguments)

    names["Client"] = Client
    assert asyncio.run(names["add"](1, 2)) == 3
    assert (recipe.tokens(), guard.refusals) == (2, 1)
