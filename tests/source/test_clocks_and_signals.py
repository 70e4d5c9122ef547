"""Clocks that jump, machines that sleep, interpreters that end, greenlets, closed sessions, signal handlers."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

import auth_plugins
import auth_plugins.requests
from auth_plugins import (
    ClientCredentials,
    ConfigurationError,
    MemoryCache,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._base.runtime import Runtime, runtime
from auth_plugins._source import wiring
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Clock, Loopback
from tests.support.sources import URL, Endpoint, HookedLock, refusal, source, wait_for
from tests.support.stores import LockingCache

PACKAGE = Path(auth_plugins.__file__).parent


def child(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run *program* in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class WallClock(Clock):
    """A clock that can be set, beside one that only goes forward."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 0.0

    def time(self) -> float:
        return self.now + self.offset


@pytest.mark.parametrize("hours", [-5, 5])
@pytest.mark.parametrize("driver", each(ALL))
def test_the_clock_is_set(driver: Driver, server: Loopback, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """The clock jumps by hours, there and back: every request is answered, for one token request or two more."""
    clock = WallClock()
    clock.rule(monkeypatch)
    auth = driver.auth(ClientCredentials(server.token_url, "client", "s3cr3t"))

    assert driver.get(server.api_url, auth).status == 200
    clock.offset = hours * 3600.0
    assert driver.get(server.api_url, auth).status == 200
    clock.offset = 0.0
    assert driver.get(server.api_url, auth).status == 200
    clock.forward(3700)
    server.revoke()
    assert driver.get(server.api_url, auth).status == 200
    assert len(server.token_requests) <= 4


def test_a_kept_token_of_a_clock_that_was_ahead(clock: Clock) -> None:
    """A token of a clock that was years ahead is replaced once the clock is right, although an adapter keeps it."""
    import httpx

    import auth_plugins.httpx

    endpoint = Endpoint(clock)
    tokens = source(endpoint)
    of_requests, of_httpx = auth_plugins.requests.OAuth2Auth(tokens), auth_plugins.httpx.OAuth2Auth(tokens)

    def signed() -> list[str]:
        prepared = requests.Request("GET", "https://api.example.com/").prepare()
        request = httpx.Request("GET", "https://api.example.com/")
        of_requests(prepared)
        flow = of_httpx.sync_auth_flow(request)
        next(flow)
        flow.close()
        return [str(prepared.headers["Authorization"]), request.headers["Authorization"]]

    clock.forward(5 * 365 * 86400)
    assert [signed() for _ in range(3)] == [["Bearer token-1"] * 2] * 3
    clock.forward(-5 * 365 * 86400)
    assert [signed() for _ in range(3)] == [["Bearer token-2"] * 2] * 3


def test_a_laptop_sleeps(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that expired while the machine slept is not used."""
    clock = WallClock()
    clock.rule(monkeypatch)
    source = TokenSource(ClientCredentials(server.token_url, "client", "s3cr3t"))
    assert source.token().access_token == "token-1"
    clock.offset = 8 * 3600.0
    assert source.token().access_token == "token-2"


class Asleep(Clock):
    """A machine that may sleep: one clock stands still meanwhile, another one goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.now - self.slept

    def elapsed(self) -> float:
        return self.now

    def suspend(self, seconds: float) -> None:
        self.forward(seconds)
        self.slept += seconds


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Asleep:
    clock = Asleep()
    clock.rule(monkeypatch)
    return clock


def test_a_back_off_and_a_probation_pass_while_the_machine_sleeps(asleep: Asleep) -> None:
    """A back-off passes while the machine sleeps, and so does a probation."""
    endpoint = Endpoint(asleep)
    tokens = source(endpoint)
    endpoint.script = [refusal("slow_down", 429, retry_after="3600")]
    for seconds in (3599, 1):
        with pytest.raises(TokenRequestError):
            tokens.token()
        asleep.suspend(seconds)
    assert tokens.reject(tokens.token())
    assert not tokens.reject(tokens.token())
    asleep.suspend(30)
    assert tokens.reject(tokens.token())


def test_a_failed_background_refresh_is_repeated_later(asleep: Asleep) -> None:
    """A background refresh fails: no call fails, and the time until the next one passes while the machine sleeps."""
    endpoint = Endpoint(asleep)
    tokens = source(endpoint, timeout=1)
    first = tokens.token()
    asleep.forward(3600 - 180)
    endpoint.script = [TokenTransportError("down")] * 3
    tokens.token()
    assert wait_for(lambda: tokens._state.refresh_after > 0)
    sent = len(endpoint.requests)
    assert [tokens.token() for _ in range(5)] == [first] * 5
    assert len(endpoint.requests) == sent
    asleep.suspend(61)
    tokens.token()
    assert wait_for(lambda: tokens.token() is not first)


def test_the_clock_that_counts_sleep_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each system has a clock that counts the machine's sleep; where there is none, the usual one is used."""

    def forbidden(_: int) -> float:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(time, "CLOCK_MONOTONIC", 1, raising=False)
        patch.setattr(time, "CLOCK_BOOTTIME", 2, raising=False)
        patch.setattr(time, "clock_gettime", float)
        for platform, clock in (("linux", 2), ("darwin", 1)):
            patch.setattr("sys.platform", platform)
            assert Runtime().elapsed() == clock
        patch.setattr(time, "clock_gettime", forbidden)
        assert Runtime().elapsed is time.monotonic
        patch.setattr("sys.platform", "linux")
        patch.delattr(time, "CLOCK_BOOTTIME")
        assert Runtime().elapsed is time.monotonic


def test_a_replaced_clock_of_the_time_module_is_followed(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users' tests set the time by replacing the functions of the time module: a token expires by that time."""
    tokens = TokenSource(ClientCredentials(server.token_url, "client", "s3cr3t"), cache=MemoryCache())
    first, moment = tokens.token(), time.time() + 3700.0
    monkeypatch.setattr(time, "time", lambda: moment)
    assert first.access_token != tokens.token().access_token
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert (runtime.clock.time(), runtime.clock.monotonic(), runtime.clock.sleep(3600.0)) == (moment, 7.0, None)  # type: ignore[func-returns-value]


class Frozen(Clock):
    """Time as a test library freezes it: a sleep takes none."""

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


def test_a_wait_for_a_lock_ends_although_time_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is frozen, and another process holds the shared cache's lock: it is waited for as long as ever, by sleep."""
    clock = Frozen()
    clock.rule(monkeypatch)
    monkeypatch.setattr(hashlib, "scrypt", lambda *_, **__: b"0" * 64)
    cache = LockingCache()
    endpoint = Endpoint(clock)
    for act in (TokenSource.token, TokenSource.revoke, lambda tokens: tokens.seed({"access_token": "seeded"})):
        tokens = source(endpoint, cache=cache)
        entry = wiring.shared_entry(tokens)
        assert entry is not None
        clock.sleeps.clear()
        with entry.locked(1.0):
            act(tokens)
        assert 13.5 <= sum(clock.sleeps) < 14.1
    assert tokens.token().access_token == "seeded"


def test_the_interpreter_ends_in_mid_fetch(server: Loopback) -> None:
    """A script that exits during a token request in the background exits at once, without a message."""
    server.latency = 5.0
    program = """
import asyncio, sys
from auth_plugins import ClientCredentials, TokenSource
import requests

async def main():
    waiting = asyncio.ensure_future(TokenSource(ClientCredentials(sys.argv[1], "id", "s3cr3t")).atoken())
    await asyncio.sleep(0.5)
    waiting.cancel()

asyncio.run(main())
print("done")
"""
    done = child(program, server.token_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert len(server.token_requests) == 1


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="gevent is for CPython")
def test_greenlets_share_a_token_request(server: Loopback, tmp_path: Path) -> None:
    """Under gevent, 50 greenlets start cold: one token request; and one more with a cache in files."""
    server.latency = 0.2
    program = """
import warnings
warnings.simplefilter("default")  # gevent's own
from gevent import monkey
monkey.patch_all()
import sys
import gevent, requests
from auth_plugins import ClientCredentials, FileCache
from auth_plugins.requests import OAuth2Auth

token_url, api_url, directory = sys.argv[1:]
for cache in (None, FileCache(directory)):
    auths = [OAuth2Auth(ClientCredentials(token_url, "id", "s3cr3t"), cache=cache) for _ in range(50)]
    greenlets = [gevent.spawn(requests.get, api_url, auth=auth) for auth in auths]
    gevent.joinall(greenlets, timeout=30)
    print({greenlet.value.status_code for greenlet in greenlets})
"""
    done = child(program, server.token_url, server.api_url, str(tmp_path))
    assert (done.stdout, done.returncode) == ("{200}\n{200}\n", 0), done.stderr
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("driver", each(ALL))
def test_a_session_that_was_closed(driver: Driver, server: Loopback) -> None:
    """A session that was closed sends the token request, or an error of ours says why not."""
    import httpx
    import httpx2

    grant = ClientCredentials(server.token_url, "client", "s3cr3t")
    if driver.library == "requests":
        session = requests.Session()
        session.close()  # which can be used again
        assert driver.get(server.api_url, driver.auth(grant, session=session)).status == 200
        session.close()
        return
    client: Any = {"httpx": httpx, "httpx2": httpx2}[driver.library].Client()
    client.close()
    with pytest.raises(auth_plugins.TokenTransportError, match="client has been closed"):
        driver.get(server.api_url, driver.auth(grant, client=client))


# Signal handlers and finalizers that need a token.


def test_a_finalizer_may_fetch_a_token_during_a_sweep(endpoint: Endpoint, clock: Clock) -> None:
    """A finalizer fetches a token of another tenant while unused states are dropped: that token is kept."""
    cache = MemoryCache()
    newcomers: list[ClientCredentials] = []
    endpoint.script = [refusal()] * 200
    for number in range(200):
        with pytest.raises(TokenRequestError):
            source(endpoint, ClientCredentials(URL, f"client-{number}", "s"), cache=cache).token()

    def elapsed() -> float:
        newcomers.append(ClientCredentials(URL, f"newcomer-{len(newcomers)}", "s"))
        source(endpoint, newcomers[-1], cache=cache).token()
        return clock.now

    clock.forward(61)
    clock.elapsed = elapsed  # type: ignore[method-assign]  # the sweep asks for each back-off whether it is over
    for number in range(100):
        source(endpoint, ClientCredentials(URL, f"late-{number}", "s"), cache=cache)
    asked = len(endpoint.requests)
    assert len(newcomers) == asked - 200 > 0
    for grant in newcomers:
        source(endpoint, grant, cache=cache).token()
    assert len(endpoint.requests) == asked


SIGNAL = """
import os, signal, sys, threading
from auth_plugins import ClientCredentials, MemoryCache
from auth_plugins._protocol.messages import TokenResponse
from auth_plugins._adapters.sources import source_for

cache = MemoryCache()
answer = TokenResponse(status=200, headers={}, body=b'{"access_token": "one", "expires_in": 3600}', received_at=0.0)
grant = ClientCredentials("https://id.example.com/token", "id", "s3cr3t")
source = source_for(grant, lambda *_: answer, allow_http=False, cache=cache)
signal.signal(signal.SIGUSR1, lambda *_: source.invalidate(source.token()))
signal.alarm(50)
with cache.lock:
    os.kill(os.getpid(), signal.SIGUSR1)
    print("inside")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no such signal")
def test_a_signal_handler_needs_a_token() -> None:
    """A signal arrives while the main thread holds the lock, and its handler needs a token: it gets it."""
    done = subprocess.run([sys.executable, "-c", SIGNAL], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("inside\n", 0), done.stderr


def test_a_handler_that_interrupts_its_own_request_gets_an_error(endpoint: Endpoint) -> None:
    """A signal handler that needs the token that its own thread fetches gets an error: it cannot wait for itself."""
    tokens = source(endpoint)

    def broken_into() -> Any:
        with pytest.raises(ConfigurationError, match="signal handler"):
            tokens.token()
        return endpoint.issue

    endpoint.script = [broken_into]
    assert tokens.token().access_token == "token-1"


def test_a_handler_just_before_its_own_request_gets_an_error(endpoint: Endpoint) -> None:
    """The same before the request: the thread leads from the moment at which the attempt exists."""
    cache = MemoryCache()
    tokens = source(endpoint, cache=cache)

    def broken_into() -> None:
        with pytest.raises(ConfigurationError, match="signal handler"):
            tokens.token()

    cache.lock = HookedLock(after=broken_into)  # type: ignore[assignment]
    assert tokens.token().access_token == "token-1"


def test_a_callable_that_needs_the_token_gets_the_present_one(endpoint: Endpoint, clock: Clock) -> None:
    """The callable of a secret that uses this very auth gets the present token while it can be used."""
    used: list[str] = []

    def secret() -> str:
        if tokens._state.token is not None:
            used.append(tokens.token().access_token)
        return "s3cr3t"

    tokens = source(endpoint, ClientCredentials(URL, "client", secret))
    tokens.token()
    clock.forward(3600 - 180)
    tokens.token()
    assert wait_for(lambda: tokens.token().access_token == "token-2")
    clock.forward(3545)
    assert tokens.token().access_token == "token-3"
    assert used == ["token-1", "token-2"]
