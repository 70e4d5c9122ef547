"""Clocks that jump, machines that sleep, interpreters that end, greenlets, sessions that were closed."""

from __future__ import annotations

import hashlib
import os
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
    MemoryCache,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._base.runtime import Runtime, runtime
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Clock, Loopback
from tests.support.sources import Endpoint, refusal, source, wait_for
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
        entry = tokens._shared_entry()
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
