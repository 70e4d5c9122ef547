"""One login for several processes, and for callers of which only some can ask."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import AuthorizationCode, FileCache, LoginRequiredError, Token, TokenExchange, TokenSource
from auth_plugins._base.runtime import runtime
from auth_plugins._source.flight import Flight
from auth_plugins._source.wiring import longest_wait
from tests.support.loopback import Clock, Loopback
from tests.support.redis_server import RedisServer
from tests.support.sign_in import SignIn, visit
from tests.support.sources import wait_for
from tests.support.stores import forget

#: A process whose person takes longer than a token request may.
PROCESS = """
import sys, time, urllib.request
from auth_plugins import AuthorizationCode, FileCache, RedisCache, TokenSource
def person(url):
    time.sleep(2)
    urllib.request.urlopen(url).read()
token_url, authorize_url, cache = sys.argv[1:]
grant = AuthorizationCode(token_url, "the-client", authorize_url=authorize_url, prompt=person)
shared = RedisCache(cache) if cache.startswith("redis") else FileCache(cache)
print(TokenSource(grant, cache=shared, timeout=0.5).token().access_token)
"""


@pytest.fixture
def login(server: Loopback) -> SignIn:
    return SignIn(server)


@pytest.mark.unmeasured
@pytest.mark.parametrize("kind", ["file", "redis"])
def test_processes_ask_once(login: SignIn, tmp_path: Path, redis_server: RedisServer, kind: str) -> None:
    """The others wait for the person, however short their timeout, and use the token."""
    cache = redis_server.url if kind == "redis" else str(tmp_path)
    words = [sys.executable, "-c", PROCESS, login.server.token_url, login.authorize_url, cache]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["token-1\n"] * 3
    assert len(login.logins) == 1


def test_a_refused_refresh_token_leaves_the_access_token(login: SignIn, clock: Clock, tmp_path: Path) -> None:
    """Other processes use it until its end; then a person is asked."""
    source = TokenSource(login.code(), cache=FileCache(tmp_path), leeway=300)
    assert source.token().access_token == "token-1"
    login.forget()
    clock.forward(3400)
    assert source.token().access_token == "token-1"
    assert [each["grant_type"] for each in login.tokens] == ["authorization_code", "refresh_token"]
    forget()
    silent = TokenSource(login.code(prompt=None), cache=FileCache(tmp_path))
    assert silent.token().access_token == "token-1"
    assert silent.token().refresh_token is None
    clock.forward(201)
    with pytest.raises(LoginRequiredError):
        silent.token()
    assert len(login.tokens) == 2
    assert source.token().access_token == "token-2"
    assert silent.token().access_token == "token-2"


def test_a_refused_refresh_token_where_nothing_can_be_stored(
    login: SignIn, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the access token cannot be stored without it, this process still uses the access token until its end."""
    source = TokenSource(login.code(), cache=FileCache(tmp_path), leeway=300)
    source.token()
    login.forget()
    clock.forward(3400)

    def fail(*_: Any) -> None:
        raise OSError

    monkeypatch.setattr(FileCache, "set", fail)
    assert source.token().access_token == "token-1"
    assert [each["grant_type"] for each in login.tokens] == ["authorization_code", "refresh_token"]


def test_a_logout_elsewhere_ends_the_login(login: SignIn, clock: Clock, tmp_path: Path) -> None:
    """The refresh token is that of the cache: a process that still has the access token does not bring it back."""
    source = TokenSource(login.code(), cache=FileCache(tmp_path))
    source.token()
    cache = FileCache(tmp_path)
    for name in cache.names():
        cache.delete(name)
    clock.forward(3600)
    source.token()
    assert [each["grant_type"] for each in login.tokens] == ["authorization_code"] * 2


@pytest.mark.parametrize("is_async", [False, True])
def test_a_caller_that_can_ask_does(login: SignIn, is_async: bool) -> None:
    """It waits for one that cannot, and then asks itself."""
    silent, asking = TokenSource(login.code(prompt=None)), TokenSource(login.code(prompt=visit))
    first = asking.token()
    login.forget()
    asking.invalidate(first)
    login.server.latency = 0.5
    errors: list[BaseException] = []

    def ask_silently() -> None:
        try:
            silent.token()
        except LoginRequiredError as error:
            errors.append(error)

    thread = threading.Thread(target=ask_silently)
    thread.start()
    assert wait_for(lambda: len(login.tokens) == 2)
    token: Token = asyncio.run(asking.atoken()) if is_async else asking.token()
    assert token.access_token == "token-2"
    thread.join()
    assert len(errors) == 1


def test_a_seeded_token_ends_the_login(login: SignIn) -> None:
    """The callers get that token, and nothing listens any more."""
    urls: list[str] = []
    source = TokenSource(login.code(prompt=urls.append))
    tokens: list[Token] = []
    thread = threading.Thread(target=lambda: tokens.append(source.token()))
    thread.start()
    assert wait_for(lambda: len(urls) == 1)
    source.seed({"access_token": "from elsewhere"})
    thread.join(10)
    assert [token.access_token for token in tokens] == ["from elsewhere"]


def test_a_caller_that_comes_late_waits_too(login: SignIn, clock: Clock) -> None:
    """Long after a token request would have timed out, it takes part in the login that is under way."""
    asked, agrees = threading.Event(), threading.Event()

    def prompt(url: str) -> None:
        asked.set()
        agrees.wait(20)
        visit(url)

    source = TokenSource(login.code(prompt=prompt))
    tokens: list[Token] = []
    threads = [threading.Thread(target=lambda: tokens.append(source.token())) for _ in range(2)]
    threads[0].start()
    assert asked.wait(20)
    clock.forward(200)
    threads[1].start()
    flight = source._state.flight
    assert flight is not None
    assert wait_for(lambda: flight.callers == 2)
    agrees.set()
    for thread in threads:
        thread.join(20)
    assert [token.access_token for token in tokens] == ["token-1"] * 2
    assert len(login.logins) == 1


@pytest.mark.parametrize("is_async", [False, True], ids=["threads", "tasks"])
def test_a_caller_that_came_before_the_person_was_asked_waits_too(
    login: SignIn, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    """A caller that waits since before the person was asked waits for them, whatever its timeout."""
    waits, wait = threading.Event(), runtime.wait

    def note(*arguments: Any) -> None:
        waits.set()
        wait(*arguments)

    class Patient(AuthorizationCode):
        def check_login(self, ask: Any) -> None:
            assert waits.wait(20)
            super().check_login(ask)

    def person(url: str) -> None:
        time.sleep(1.5)  # longer than a caller waits for a token request: its timeout, and a second
        visit(url)

    async def call() -> Token:
        asyncio.get_running_loop().call_soon(waits.set)  # once the call waits
        return await source.atoken()

    monkeypatch.setattr(runtime, "wait", note)
    grant = Patient(login.server.token_url, "the-client", authorize_url=login.authorize_url, prompt=person)
    source = TokenSource(grant, timeout=0.2)
    if is_async:
        tokens = [asyncio.run(call())]
    else:
        with ThreadPoolExecutor(2) as pool:
            tokens = list(pool.map(lambda _: source.token(), range(2)))
    assert {token.access_token for token in tokens} == {"token-1"}
    assert len(login.logins) == 1


def test_a_prompt_is_not_blamed_for_a_slow_server(login: SignIn) -> None:
    """The error of a caller that waited in vain names callables of secrets, and not the prompt."""
    flight = Flight(0.0, None, None)
    flight.thread = threading.current_thread()
    assert "prompt" not in str(flight.overdue_error(login.code()))
    assert "client_secret" in str(flight.overdue_error(login.code(client_secret=lambda: "5ecr3t")))


def test_an_exchange_waits_for_the_person(login: SignIn) -> None:
    """The time that a person has counts for those who use the token."""
    subject = TokenSource(login.code(login_timeout=120))
    exchange = TokenSource(TokenExchange(login.server.token_url, subject, "the-client"))
    assert longest_wait(subject) > 120
    assert longest_wait(exchange) > 240


def test_a_session_does_not_keep_a_login_to_itself(login: SignIn, tmp_path: Path) -> None:
    """A public client's token is a person's: it is shared, whatever session sends."""
    import requests

    from auth_plugins.requests import OAuth2Auth

    with requests.Session() as session:
        auth = OAuth2Auth(login.code(), cache=FileCache(tmp_path), session=session)
        assert auth.source.token().access_token == "token-1"
    forget()
    assert TokenSource(login.code(prompt=None), cache=FileCache(tmp_path)).token().access_token == "token-1"
