"""The recipe for gRPC, against a server on loopback, with TLS and over a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import TokenRequestError
from auth_plugins.bridges import grpc_call_credentials
from tests.support.certificates import pair_of
from tests.support.loopback import as_json
from tests.support.posix import needs_posix
from tests.support.recipes import Recipe

grpc = pytest.importorskip("grpc", reason="the recipe needs grpcio")
METHOD = "/orders.Orders/List"


class Orders(grpc.GenericRpcHandler):  # type: ignore[name-defined]
    """Answers each call that carries a token that is live."""

    def __init__(self, recipe: Recipe) -> None:
        self._server = recipe.server
        self.calls = 0

    def service(self, details: Any) -> Any:
        [token] = [value for name, value in details.invocation_metadata if name == "authorization"]
        self.calls += 1

        def answer(_: bytes, context: Any) -> bytes:
            if token.removeprefix("Bearer ") not in self._server.live:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown token")
            return b"orders"

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture(params=["tls", pytest.param("unix", marks=needs_posix)])
def orders(request: pytest.FixtureRequest, recipe: Recipe, tmp_path: Path) -> Iterator[Orders]:
    """A server of gRPC, which the page's program reaches."""
    handler, server = Orders(recipe), grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([handler])
    if request.param == "tls":
        certificate, key = pair_of(tmp_path, "127.0.0.1")
        pair = key.read_bytes(), certificate.read_bytes()
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        own = f"grpc.ssl_channel_credentials({pair[1]!r})"
        address = f"127.0.0.1:{port}"
    else:
        address, own = "unix:orders.socket", "grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)"
        server.add_secure_port(address, grpc.local_server_credentials(grpc.LocalConnectionType.UDS))
    recipe.replaced = {"grpc.ssl_channel_credentials()": own, "orders.example.com:443": address}
    server.start()
    yield handler
    server.stop(0).wait()


def test_calls_share_a_token(recipe: Recipe, orders: Orders) -> None:
    """20 calls at once share one token; after a revocation they share one other token, and all succeed."""
    names = recipe.run()
    with names["channel"], ThreadPoolExecutor(20) as pool:
        assert names["answer"] == b"orders"
        for count in (1, 2):
            assert list(pool.map(names["orders"], [b""] * 20)) == [b"orders"] * 20
            assert recipe.tokens() == count
            recipe.server.revoke()


def test_a_server_that_rejects_all_tokens_costs_one_more(recipe: Recipe, orders: Orders) -> None:
    """While new tokens are rejected as well, no other one is fetched, and the caller gets the status."""
    names = recipe.run()
    with names["channel"]:
        recipe.server.live = NoTokens()
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as raised:
                names["orders"](b"")
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert recipe.tokens() == 2


class NoTokens(set[str]):
    """No token is live, whatever is issued."""

    def __contains__(self, _: object) -> bool:
        return False


def test_no_token_is_an_error(recipe: Recipe, orders: Orders) -> None:
    """A refused token request is raised by the interceptor, and is the text of the status without it."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    with pytest.raises(TokenRequestError, match="invalid_client"):
        recipe.run()
    credentials = eval(recipe.replaced["grpc.ssl_channel_credentials()"], {"grpc": grpc})
    credentials = grpc.composite_channel_credentials(credentials, grpc_call_credentials(recipe.source()))
    channel = grpc.secure_channel(recipe.replaced["orders.example.com:443"], credentials)
    with channel, pytest.raises(grpc.RpcError, match="invalid_client"):
        channel.unary_unary(METHOD)(b"")
    assert (orders.calls, recipe.tokens()) == (0, 1)


def test_calls_of_an_event_loop(recipe: Recipe, orders: Orders) -> None:
    """The function of the page for ``grpc.aio`` survives a revocation, with one more token request."""
    names = recipe.run()
    names["channel"].close()
    recipe.run(1, **names)

    async def many() -> list[bytes]:
        channel = grpc.aio.secure_channel(recipe.replaced["orders.example.com:443"], names["credentials"])
        async with channel:
            call = recipe.run(1, **names)["call"]
            return await asyncio.gather(*(call(channel.unary_unary(METHOD), b"") for _ in range(10)))

    for count in (1, 2):
        assert asyncio.run(many()) == [b"orders"] * 10
        assert recipe.tokens() == count
        recipe.server.revoke()
