"""The recipe for aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from werkzeug.utils import redirect

from auth_plugins import InsecureTransportError
from auth_plugins.bridges import OAuth2Middleware
from tests.support.loopback import Loopback, as_json
from tests.support.recipes import Recipe

aiohttp = pytest.importorskip("aiohttp", "3.12", reason="the recipe needs aiohttp")
pytest.importorskip("aiohttp.web")


def post(recipe: Recipe, path: str, data: Any = None) -> int:
    """Send a request by the middleware of the page; return its status."""
    middleware = recipe.run()["middleware"]

    async def send() -> int:
        async with (
            aiohttp.ClientSession(middlewares=[middleware]) as session,
            session.post(f"{recipe.server.url}{path}", data=data() if callable(data) else data) as response,
        ):
            return int(response.status)

    return asyncio.run(send())


def test_a_session_has_a_token(recipe: Recipe) -> None:
    """20 requests share one token; after a revocation they share one other token, and all succeed."""
    orders = recipe.run()["orders"]

    async def many() -> list[Any]:
        return await asyncio.gather(*(orders() for _ in range(20)))

    for count in (1, 2):
        assert asyncio.run(many()) == [{"received": ""}] * 20
        assert recipe.tokens() == count
        recipe.server.revoke()


async def _parts() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


@pytest.mark.parametrize(("body", "status"), [(b"onetwo", 200), (_parts, 401)])
def test_a_body_is_sent_again_if_it_can_be(recipe: Recipe, body: Any, status: int) -> None:
    """Bytes are sent again after a revocation; a generator is not, and the next request has another token."""
    recipe.source().token()
    recipe.server.revoke()
    assert post(recipe, "/orders", body) == status
    assert [each.body for each in recipe.server.api_requests] == [b"onetwo"] * (2 if status == 200 else 1)
    assert post(recipe, "/orders", b"three") == 200
    assert recipe.tokens() == 2


def test_another_host_gets_no_token(recipe: Recipe, other_server: Loopback) -> None:
    """Neither a request nor a redirect to a host that is not allowed carries the token."""
    recipe.server.api = lambda _: redirect(f"{other_server.url}/elsewhere", 307)
    assert post(recipe, "/orders", b"data") == 401
    assert "authorization" in recipe.server.api_requests[0].headers
    assert "authorization" not in other_server.api_requests[0].headers


def test_errors_do_not_show_the_token(recipe: Recipe) -> None:
    """The repr of an error of aiohttp shows the headers of the request, and hides the token."""
    recipe.server.api = lambda _: as_json({}, 403)
    middleware = recipe.run()["middleware"]

    async def send() -> None:
        async with aiohttp.ClientSession(middlewares=[middleware], raise_for_status=True) as session:
            await session.get(f"{recipe.server.url}/orders")

    with pytest.raises(aiohttp.ClientResponseError) as raised:
        asyncio.run(send())
    assert recipe.server.api_requests[0].headers["authorization"] == "Bearer token-1"
    assert "token-1" not in repr(raised.value)


def test_a_websocket_has_a_token(recipe: Recipe) -> None:
    """The handshake of a WebSocket carries the token, and is repeated with another one after a revocation."""
    sent: list[str] = []
    recipe.source().token()
    recipe.server.revoke()

    async def serve(request: Any) -> Any:
        sent.append(request.headers["Authorization"].removeprefix("Bearer "))
        if sent[-1] not in recipe.server.live:
            return aiohttp.web.Response(status=401)
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("orders")
        return socket

    async def receive() -> str:
        app = aiohttp.web.Application()
        app.router.add_get("/", serve)
        runner = aiohttp.web.AppRunner(app)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        middleware = OAuth2Middleware(recipe.source(), allowed_hosts=[f"{host}:{port}"])
        async with (
            aiohttp.ClientSession(middlewares=[middleware]) as session,
            session.ws_connect(f"ws://{host}:{port}/") as socket,
        ):
            text = str(await socket.receive_str())
        await runner.cleanup()
        return text

    assert asyncio.run(receive()) == "orders"
    assert sent == ["token-1", "token-2"]


def test_a_token_does_not_travel_in_clear(recipe: Recipe) -> None:
    """A request, or a handshake of a WebSocket, in clear to another machine raises before a token is fetched."""
    middleware = OAuth2Middleware(recipe.source(), allowed_hosts="orders.example.org")

    async def send(url: str) -> None:
        async with aiohttp.ClientSession(middlewares=[middleware]) as session:
            await (session.ws_connect if url.startswith("ws") else session.get)(url)

    for url in ("http://orders.example.org/", "ws://orders.example.org/"):
        with pytest.raises(InsecureTransportError):
            asyncio.run(send(url))
    assert recipe.tokens() == 0


def test_an_api_that_refuses_all_tokens_costs_one_more(recipe: Recipe) -> None:
    """While new tokens are rejected as well, no other one is fetched, and the 401 is returned."""
    recipe.server.api = lambda _: as_json({}, 401)
    assert [post(recipe, "/orders"), post(recipe, "/orders")] == [401, 401]
    assert recipe.tokens() == 2
