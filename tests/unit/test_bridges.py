"""The bridges without their libraries, by stand-ins; tests/recipes has the real ones."""

from __future__ import annotations

import asyncio
import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from auth_plugins import ClientCredentials, ConfigurationError, InsecureTransportError, TokenSource, bridges
from tests.support.loopback import Clock, Loopback, as_json
from tests.support.stores import LockingCache, finish, forget


@pytest.fixture
def source(grant: ClientCredentials) -> TokenSource:
    return TokenSource(grant)


@pytest.fixture
def grpc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for grpc, whose call credentials are the plugin itself."""
    codes = SimpleNamespace(OK="OK", UNAUTHENTICATED="UNAUTHENTICATED")
    module: Any = ModuleType("grpc")
    module.StatusCode, module.UnaryUnaryClientInterceptor = codes, object
    module.metadata_call_credentials = lambda plugin, name: plugin
    monkeypatch.setitem(sys.modules, "grpc", module)
    return module


def called(plugin: Any) -> tuple[Any, Any]:
    """What a plugin of call credentials gives to gRPC."""
    given: list[Any] = []
    plugin(None, lambda *arguments: given.extend(arguments))
    metadata, error = given
    return metadata, error


class Responses:
    """Answers each request by whether its token is live; a stand-in for a library's handler."""

    def __init__(self, server: Loopback) -> None:
        self._server = server
        self.sent: list[str] = []

    def accepts(self, value: str) -> bool:
        self.sent.append(value)
        return value.removeprefix("Bearer ") in self._server.live

    async def aiohttp(self, request: Any) -> Any:
        accepted = self.accepts(request.headers.get("Authorization", ""))
        return SimpleNamespace(status=200 if accepted else 401, release=lambda: None)


def test_each_name_has_its_module() -> None:
    """Each name is imported at its first use; another one is an AttributeError."""
    for name in bridges.__all__:
        assert getattr(bridges, name).__name__ == name
    with pytest.raises(AttributeError, match="grpc_retries"):
        getattr(importlib.import_module("auth_plugins.bridges"), "grpc_retries")  # noqa: B009 - for mypy


def test_the_plugin_of_grpc(grpc: Any, source: TokenSource, server: Loopback) -> None:
    """A plugin gives a token as plain text, or the error if there is none."""
    plugin = bridges.grpc_call_credentials(source)
    [(name, value)], error = called(plugin)
    assert (name, value, type(value), error) == ("authorization", "Bearer token-1", str, None)
    source.invalidate(source.token())
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    metadata, error = called(plugin)
    assert metadata == ()
    assert "invalid_client" in str(error)


@pytest.mark.parametrize(("revoked", "sent"), [(0, 1), (1, 2), (9, 2)])
def test_the_interceptor_of_grpc(grpc: Any, source: TokenSource, server: Loopback, revoked: int, sent: int) -> None:
    """A call is sent again once, with another token; a server that rejects all of them costs one more."""
    plugin, responses, left = bridges.grpc_call_credentials(source), Responses(server), [None] * revoked

    def call(details: Any, request: Any) -> Any:
        accepted = responses.accepts(called(plugin)[0][0][1]) and not left
        del left[:1]
        return SimpleNamespace(code=lambda: "OK" if accepted else "UNAUTHENTICATED")

    code = bridges.grpc_retry(source).intercept_unary_unary(call, None, b"").code()
    assert code == ("OK" if revoked < 2 else "UNAUTHENTICATED")
    assert responses.sent == ["Bearer token-1", "Bearer token-2"][:sent]


def test_the_callback_of_kafka(source: TokenSource, server: Loopback, clock: Clock) -> None:
    """The callback returns a token as plain text, and its end; without a known end it is called soon again."""
    callback = bridges.kafka_oauth_cb(source)
    token, end = callback("")
    assert (token, type(token)) == ("token-1", str)
    assert end == pytest.approx(clock.now + 3600, abs=1)
    source.invalidate(source.token())
    server.lifetime = None
    assert callback("") == ("token-2", clock.now + 300)


def request_to(url: str, **members: Any) -> Any:
    """A request as a middleware of aiohttp is given it."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.partition(":")
    where = SimpleNamespace(scheme=scheme, host=host, port=int(port))
    return SimpleNamespace(**{"url": where, "headers": {}, "body": b"", **members})


@pytest.mark.parametrize(
    ("url", "consumed", "statuses", "sent"),
    [
        ("http://127.0.0.1:80", False, [200, 200], ["token-1", "token-1", "token-2"]),
        ("ws://127.0.0.1:80", False, [200, 200], ["token-1", "token-1", "token-2"]),
        ("https://127.0.0.1:80", True, [200, 401], ["token-1", "token-1"]),
        ("https://192.0.2.1:80", False, [401, 401], ["", ""]),
    ],
)
def test_the_middleware_of_aiohttp(
    source: TokenSource, server: Loopback, url: str, consumed: bool, statuses: list[int], sent: list[str]
) -> None:
    """A request is sent again after a revocation if its body can be; another host gets no token."""
    middleware, responses = bridges.OAuth2Middleware(source, allowed_hosts="127.0.0.1"), Responses(server)

    async def send() -> int:
        body = SimpleNamespace(consumed=consumed)
        return int((await middleware(request_to(url, body=body), responses.aiohttp)).status)

    async def both() -> list[int]:
        first = await send()
        server.revoke()
        return [first, await send()]

    assert asyncio.run(both()) == statuses
    assert [value.removeprefix("Bearer ") for value in responses.sent] == sent


def test_the_middleware_of_aiohttp_withdraws_a_token(grant: ClientCredentials, server: Loopback) -> None:
    """A token whose request cannot be sent again is not found by the next process."""
    cache, responses, body = LockingCache(), Responses(server), SimpleNamespace(consumed=True)
    source = TokenSource(grant, cache=cache)
    source.token()
    server.revoke()
    middleware = bridges.OAuth2Middleware(source, allowed_hosts="127.0.0.1")
    asyncio.run(middleware(request_to("http://127.0.0.1:80", body=body), responses.aiohttp))
    finish()
    forget()
    assert TokenSource(grant, cache=cache).token().access_token == "token-2"


@pytest.mark.parametrize("url", ["http://192.0.2.1:80", "ws://192.0.2.1:80"])
def test_the_middleware_of_aiohttp_sends_nothing_in_clear(source: TokenSource, server: Loopback, url: str) -> None:
    """Another machine gets a token in clear only if that is allowed; hosts must be named."""
    responses = Responses(server)
    middleware = bridges.OAuth2Middleware(source, allowed_hosts="192.0.2.1")
    with pytest.raises(InsecureTransportError):
        asyncio.run(middleware(request_to(url), responses.aiohttp))
    assert server.token_requests == []
    middleware = bridges.OAuth2Middleware(source, allowed_hosts="192.0.2.1", allow_http=True)
    assert asyncio.run(middleware(request_to(url), responses.aiohttp)).status == 200
    with pytest.raises(ConfigurationError, match="allowed_hosts"):
        bridges.OAuth2Middleware(source, allowed_hosts=[])
