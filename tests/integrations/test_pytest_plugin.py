"""The fixtures of the pytest plugin, in a project of a user's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    FileCache,
    LoginRequiredError,
    RefreshToken,
    TokenEvent,
    TokenExchange,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
    add_observer,
    remove_observer,
)
from auth_plugins._integrations.fake_tokens import forget
from auth_plugins.requests import OAuth2Auth
from auth_plugins.testing import FakeTokens, TokenServer
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Clock, Loopback
from tests.support.plugin import run_pytest
from tests.support.sources import Endpoint, refusal, source

URL = "https://id.example.com/token"
GRANT = ClientCredentials(URL, "client", "s3cr3t")

#: A project whose auth objects are made at import, as programs make them.
PROJECT = """
import asyncio
import httpx, httpx2, pytest, requests
import auth_plugins.httpx, auth_plugins.httpx2, auth_plugins.requests
from auth_plugins import ClientCredentials, TokenRequestError

GRANT = ClientCredentials("https://id.example.com/token", "orders", "wrong")
AUTHS = {name: getattr(auth_plugins, name).OAuth2Auth(GRANT) for name in ("requests", "httpx", "httpx2")}

def get(name, url, auth):
    if name == "requests":
        return requests.get(url, auth=auth, timeout=20)
    with {"httpx": httpx, "httpx2": httpx2}[name].Client() as client:
        return client.get(url, auth=auth)

async def aget(name, url, auth):
    async with {"httpx": httpx, "httpx2": httpx2}[name].AsyncClient() as client:
        return await client.get(url, auth=auth)

@pytest.mark.parametrize("name", AUTHS)
def test_refused(name, fake_tokens):
    fake_tokens.refuse("invalid_client", "wrong secret")
    with pytest.raises(TokenRequestError, match="wrong secret"):
        AUTHS[name].source.token()

@pytest.mark.parametrize("name", AUTHS)
def test_given(name, fake_tokens):
    first = fake_tokens.token
    assert AUTHS[name].source.token() == first
    fake_tokens.expire()
    assert AUTHS[name].source.token() == fake_tokens.token != first
    assert fake_tokens.requests == [GRANT, GRANT]

@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", AUTHS)
def test_server(name, is_async, token_server):
    if is_async and name == "requests":
        return
    grant = ClientCredentials(token_server.token_url, "any", "credentials")
    auth = getattr(auth_plugins, name).OAuth2Auth(grant)
    call = (lambda *a: asyncio.run(aget(*a))) if is_async else get
    assert call(name, token_server.api_url, auth).status_code == 200
    token_server.revoke()
    assert call(name, token_server.api_url, auth).status_code == 200
    assert len(token_server.token_requests) == 2
    token_server.fail(503, at="api")
    assert call(name, token_server.api_url, auth).status_code == 503

@pytest.mark.usefixtures("fresh_tokens")
def test_nothing_is_left():
    source = AUTHS["requests"].source
    assert source._state.token is source._state.failure is None
"""


@pytest.mark.parametrize(
    "options",
    [pytest.param((), id="one process"), pytest.param(("-n", "2"), id="xdist", marks=pytest.mark.unmeasured)],
)
def test_the_fixtures_serve_a_project(options: tuple[str, ...], tmp_path: Path) -> None:
    """Each fixture does what its page says, with each library, sync and async, and in the workers of xdist."""
    if options:
        pytest.importorskip("xdist")
    (tmp_path / "test_project.py").write_text(PROJECT, "utf-8")
    assert re.search(r"^13 passed", run_pytest(tmp_path, *options), re.MULTILINE)


def test_the_plugin_loads_almost_nothing() -> None:
    """At the start of pytest, the plugin loads the package and pytest alone."""
    code = (
        "import sys, pytest; before = set(sys.modules); import auth_plugins._integrations.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = {"auth_plugins", "auth_plugins._integrations", "auth_plugins._integrations.pytest_plugin"}
    assert set(done.stdout.split()) <= own


# --- fake tokens -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fake() -> Any:
    with FakeTokens() as tokens:
        yield tokens


@pytest.mark.parametrize("driver", each(ALL))
def test_a_fake_token_that_an_api_refuses_is_replaced(driver: Driver, fake: FakeTokens, server: Loopback) -> None:
    """The request is sent again with another token, which is the present one from then on."""
    first = fake.token
    auth = driver.auth(GRANT)
    server.live = {"fake-token-2"}
    answer = driver.get(server.api_url, auth)
    assert (answer.status, answer.history) == (200, [401])
    assert fake.token != first
    assert fake.requests == [GRANT, GRANT]
    assert server.token_requests == []


@pytest.mark.parametrize("grant", [GRANT, ApiKey("k3y"), RefreshToken(URL, "r3fresh"), TokenExchange(URL, "t0ken")])
def test_each_grant_gets_the_token(grant: Any, fake: FakeTokens, tmp_path: Path) -> None:
    """Any grant gets the token, with any cache, where nothing is stored, and revokes it without a request."""
    cache = FileCache(tmp_path / "cache")
    source = TokenSource(grant, cache=cache)
    assert source.token() == fake.token
    source.revoke()
    assert not (tmp_path / "cache").exists()
    assert fake.requests == [grant]


def test_an_exchange_asks_its_source_first(fake: FakeTokens) -> None:
    """The grants that asked are those that the program made."""
    exchange = TokenExchange(URL, TokenSource(GRANT))
    assert TokenSource(exchange).token() == fake.token
    assert fake.requests == [GRANT, exchange]


def test_a_fake_token_is_followed_by_another_one(fake: FakeTokens, clock: Clock) -> None:
    """A test may set its clock at will: the token never expires."""
    tokens = TokenSource(GRANT)
    for _ in range(3):
        clock.forward(86400)
        assert tokens.token() == fake.token
    assert len(fake.requests) == 3


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({}, TokenRequestError, "invalid_client"),
        ({"error": "invalid_scope", "description": "no such scope", "status_code": 400}, TokenRequestError, "no such"),
        ({"error": "invalid_grant", "status_code": 400}, LoginRequiredError, "invalid_grant"),
        ({"error": TokenTransportError("no answer")}, TokenTransportError, "no answer"),
    ],
)
def test_a_refusal_is_what_the_token_endpoint_would_answer(
    arguments: Any, kind: type[Exception], text: str, fake: FakeTokens
) -> None:
    """The error is the real one, and ends with ``refuse(None)``; observers are given it, and the token."""
    tokens, events = TokenSource(RefreshToken(URL, "r3fresh")), list[TokenEvent]()
    fake.refuse(**arguments)
    add_observer(events.append)
    try:
        with pytest.raises(kind, match=text) as raised:
            tokens.token()
        fake.refuse(None)
        assert tokens.token() == fake.token
    finally:
        remove_observer(events.append)
    assert type(raised.value) is kind
    assert [event.kind for event in events][1:] == ["obtained"]


def test_a_refusal_may_ask_to_wait(fake: FakeTokens) -> None:
    """``retry_after`` is what the error has."""
    fake.refuse("slow_down", status_code=429, retry_after=30)
    with pytest.raises(TokenRequestError) as raised:
        TokenSource(GRANT).token()
    assert (raised.value.retry_after, raised.value.transient) == (30.0, True)


def test_forgetting_keeps_auth_objects(server: Loopback) -> None:
    """After a test with fake tokens, an auth object that had a real token fetches another one."""
    tokens = TokenSource(ClientCredentials(server.token_url, "client", "s3cr3t"))
    tokens.token()
    with FakeTokens() as fake:
        assert tokens.token() == fake.token
    assert tokens.token().access_token == "token-2"


def test_a_refusal_that_comes_after_the_test_is_forgotten(endpoint: Endpoint) -> None:
    """A token request may be under way when a test ends: its refusal is not that of the next test."""

    def end_of_test() -> Any:
        forget()
        return refusal()

    endpoint.script = [end_of_test]
    tokens = source(endpoint, GRANT)
    with pytest.raises(TokenRequestError):
        tokens.token()
    assert tokens.token().access_token == "token-1"


# --- the server ------------------------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Any:
    with TokenServer() as server:
        yield server


def test_the_server_knows_clients_where_it_should(served: TokenServer) -> None:
    """With credentials, it issues tokens to these alone, whichever way they come."""
    served.credentials = {"orders": "s3cr3t +&"}
    ways: list[Any] = ["client_secret_basic", "client_secret_basic_raw", "client_secret_post"]
    for way in ways:
        assert TokenSource(ClientCredentials(served.token_url, "orders", "s3cr3t +&", client_auth=way)).token()
        with pytest.raises(TokenRequestError, match="invalid_client"):
            TokenSource(ClientCredentials(served.token_url, "orders", "other", client_auth=way)).token()
    assert [seen.status for seen in served.token_requests] == [200, 401] * 3


@pytest.mark.parametrize(
    "place",
    [{}, {"scheme": "CWSAuth Bearer={token}"}, {"header": "X-Auth-Token", "scheme": ""}, {"query": "token"}],
    ids=str,
)
def test_the_api_finds_the_token_in_any_place(place: dict[str, Any], served: TokenServer) -> None:
    """Behind any scheme, in any header, or in the query."""
    auth = OAuth2Auth(ClientCredentials(served.token_url, "any", "s3cr3t"), **place)
    assert [requests.get(served.api_url, auth=auth, timeout=60).status_code for _ in range(2)] == [200, 200]
    served.revoke()
    assert requests.get(served.api_url, timeout=60).status_code == 401


def test_the_server_rotates_refresh_tokens(served: TokenServer) -> None:
    """A refresh token is used once; the credentials serve where it is refused; tokens may tell no expiry."""
    served.refresh_tokens, served.lifetime = True, None
    tokens = TokenSource(ClientCredentials(served.token_url, "any", "s3cr3t"))
    first = tokens.token()
    assert first.expires_at is None
    tokens.invalidate(first)
    second = tokens.token()
    assert served.token_requests[-1].grant_type == "refresh_token"
    assert second.refresh_token not in (None, first.refresh_token)
    with pytest.raises(LoginRequiredError):
        TokenSource(RefreshToken(served.token_url, first.refresh_token or "")).token()


def test_the_server_fails_on_demand(served: TokenServer, clock: Clock) -> None:
    """Faults are answered as often as asked for, with their content and headers."""
    tokens = TokenSource(ClientCredentials(served.token_url, "any", "s3cr3t"))
    served.fail(429, headers={"Retry-After": "100"}, content={"message": "slow"})
    with pytest.raises(TokenRequestError) as raised:
        tokens.token()
    assert (raised.value.status_code, raised.value.retry_after) == (429, 100.0)
    clock.forward(100)
    served.fail(times=2)  # which are retried
    assert tokens.token()
    assert len(served.token_requests) == 4


def test_only_an_auth_error_or_a_code_can_be_a_refusal(fake: FakeTokens) -> None:
    """Errors of configuration can be raised as well."""
    fake.refuse(ConfigurationError("cannot work", argument="secret"))
    with pytest.raises(ConfigurationError, match="secret cannot work"):
        TokenSource(GRANT).token()
