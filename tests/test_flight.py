"""One token request, however many need the token: threads, tasks, event loops and libraries at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

import auth_plugins.httpx
from auth_plugins import (
    AuthError,
    ClientCredentials,
    ConfigurationError,
    MemoryCache,
    Password,
    Token,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._base import loading as _loading
from auth_plugins._protocol.messages import TokenResponse
from auth_plugins._source.flight import Flight
from auth_plugins._transports.requests import requests_transport

from .drivers import ALL, ASYNC, SYNC, AsyncHttpx, Driver, each, succeeded
from .loopback import Clock, Loopback, Received, as_json
from .test_source import wait_for


def credentials(server: Loopback) -> ClientCredentials:
    return ClientCredentials(server.token_url, "client", "s3cr3t", scope="a b")


CROWD = {"sync": 50, "asyncio": 200, "trio": 50}


@pytest.mark.parametrize("own_objects", [False, True], ids=["one object", "objects of their own"])
@pytest.mark.parametrize("driver", each(ALL))
def test_a_cold_crowd_makes_one_token_request(driver: Driver, server: Loopback, own_objects: bool) -> None:
    """50 threads, 200 asyncio tasks or 50 trio tasks start cold, and one token is asked for."""
    server.latency = 0.1
    one = driver.auth(credentials(server))
    auths = [driver.auth(credentials(server)) if own_objects else one for _ in range(CROWD[driver.mode])]
    assert succeeded(driver.get_all(server.api_url, auths))
    assert len(server.token_requests) == 1


def test_everything_at_once_makes_one_token_request(server: Loopback) -> None:
    """Four loops, thirty plain threads, requests, httpx and httpx2 mixed, equal grants: one token request."""
    server.latency = 0.3
    crowds = [(driver, 10) for driver in (*SYNC, *ASYNC)]

    def run(crowd: tuple[Driver, int]) -> bool:
        driver, size = crowd
        return succeeded(driver.get_all(server.api_url, [driver.auth(credentials(server)) for _ in range(size)]))

    with ThreadPoolExecutor(len(crowds)) as pool:
        assert all(pool.map(run, crowds))
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("driver", each(ALL))
def test_a_crowd_that_meets_a_revoked_token_makes_one_more(driver: Driver, server: Loopback) -> None:
    """My token is revoked while 50 use it: one more token request, and all 50 are answered."""
    auth = driver.auth(credentials(server))
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    server.latency = 0.05
    assert succeeded(driver.get_all(server.api_url, [auth] * 50))
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("driver", each(ALL))
def test_a_crowd_at_an_api_that_always_refuses(driver: Driver, server: Loopback) -> None:
    """20 requests at once to an API that answers 401 for ever: two token requests, and everyone gets his 401."""
    server.api = lambda _: as_json({}, 401)
    auth = driver.auth(credentials(server))
    outcomes = driver.get_all(server.api_url, [auth] * 20)
    assert {getattr(outcome, "status", outcome) for outcome in outcomes} == {401}
    assert len(server.token_requests) == 2


def test_one_api_refuses_what_another_one_takes(server: Loopback, grant: ClientCredentials) -> None:
    """One API takes my tokens, another refuses them all: no more than ten are asked for, however often I try."""
    good, bad = f"{server.url}/good", f"{server.url}/bad"
    server.api = lambda received: as_json({}, 401) if received.target == "/bad" else server.check(received)
    auth = SYNC[0].auth(grant)
    for _ in range(20):
        assert (SYNC[0].get(good, auth).status, SYNC[0].get(bad, auth).status) == (200, 401)
    assert len(server.token_requests) <= 11


@pytest.mark.parametrize("driver", each(SYNC))
def test_rotating_refresh_tokens_are_used_once_each(driver: Driver, server: Loopback) -> None:
    """30 threads over five revocations: no refresh token is sent twice, and my password once."""
    spent: list[bytes] = []
    lock = threading.Lock()

    def rotate(received: Received) -> Any:
        with lock:
            spent.append(received.body)
            number = len(spent)
        server.live.add(f"token-{number}")
        return as_json({"access_token": f"token-{number}", "expires_in": 3600, "refresh_token": f"refresh-{number}"})

    server.token_play = rotate
    auth = driver.auth(Password(server.token_url, "me", "password"))
    for _ in range(6):
        assert succeeded(driver.get_all(server.api_url, [auth] * 30))
        server.revoke()
    assert len(spent) == len(set(spent)) == 6
    assert sum(b"password" in body for body in spent) == 1


@pytest.mark.parametrize("driver", each(ASYNC))
def test_the_loop_is_never_held_up(driver: AsyncHttpx, server: Loopback) -> None:
    """A token endpoint takes a second: meanwhile everything else in the loop goes on, with no gap of half of that."""
    server.latency = 1.0
    gaps: list[float] = []

    async def tick(sleep: Any) -> None:
        last = time.perf_counter()
        while len(server.api_requests) == 0:
            await sleep(0.002)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    async def main() -> list[Any]:
        auths = [driver.auth(credentials(server))] * 5
        calls = [_call(server)] * 5
        if driver.mode == "trio":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick, trio.sleep)
                return await driver.gather(calls, auths)
        ticking = asyncio.ensure_future(tick(asyncio.sleep))
        outcomes = await driver.gather(calls, auths)
        await ticking
        return outcomes

    warm_up(driver, server)
    assert succeeded(driver.run(main))
    assert len(gaps) > 20
    assert max(gaps) < 0.5


def _call(server: Loopback) -> Any:
    from .drivers import Call

    return Call("GET", server.api_url)


def warm_up(driver: AsyncHttpx, server: Loopback) -> None:
    """Import what is imported late, so that a test of waiting sees nothing but waiting."""
    latency, server.latency = server.latency, 0.0
    driver.get(server.api_url, driver.auth(credentials(server), cache=MemoryCache()))
    server.latency = latency
    server.api_requests.clear()
    server.token_requests.clear()


@pytest.mark.parametrize("mode", ["asyncio", "trio"])
def test_a_cancelled_task_takes_the_token_from_nobody(server: Loopback, mode: str) -> None:
    """The task that asked first is cancelled while it waits; the others get the token all the same."""
    server.latency = 0.2
    source = TokenSource(credentials(server))

    async def in_asyncio() -> list[str]:
        first = asyncio.ensure_future(source.atoken())
        await asyncio.sleep(0.05)
        others = [asyncio.ensure_future(source.atoken()) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        tokens = await asyncio.gather(*others)
        assert first.cancelled()
        return [token.access_token for token in tokens]

    async def in_trio() -> list[str]:
        tokens: list[str] = []

        async def wait() -> None:
            tokens.append((await source.atoken()).access_token)

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.05) as first:
                await source.atoken()
            for _ in range(5):
                nursery.start_soon(wait)
        assert first.cancelled_caught
        return tokens

    tokens = asyncio.run(in_asyncio()) if mode == "asyncio" else trio.run(in_trio)
    assert (tokens, len(server.token_requests)) == (["token-1"] * 5, 1)


@pytest.mark.parametrize("mode", ["asyncio", "trio"])
def test_a_loop_that_ends_while_it_waits_disturbs_nobody(server: Loopback, mode: str) -> None:
    """My first loop is over before its token came: the second one gets it."""
    server.latency = 0.2
    source = TokenSource(credentials(server))

    async def reject() -> None:
        if mode == "trio":
            with trio.move_on_after(0.05):
                await source.atoken()
        else:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(source.atoken(), 0.05)

    run: Any = trio.run if mode == "trio" else lambda function: asyncio.run(function())
    run(reject)
    assert run(source.atoken).access_token == "token-1"
    assert len(server.token_requests) == 1


def test_those_who_waited_get_the_same_refusal(server: Loopback) -> None:
    """Wrong credentials, 20 threads: one token request, and each thread has an error of its own, in its own library."""
    server.latency = 0.2
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    for driver in SYNC:
        outcomes = driver.get_all(server.api_url, [driver.auth(credentials(server)) for _ in range(20)])
        assert all(isinstance(outcome, TokenRequestError) for outcome in outcomes)
        assert all(isinstance(outcome, driver.base_error) for outcome in outcomes)
        assert len(set(map(id, outcomes))) == 20
    assert len(server.token_requests) == 1


def test_an_interrupted_leader_is_followed_by_another(server: Loopback, grant: ClientCredentials) -> None:
    """Ctrl-C hits the thread that asks: the others don't fail for it, one of them asks again."""
    waiting, source = threading.Event(), TokenSource(grant)
    others = [TokenSource(grant) for _ in range(3)]
    real = requests_transport()
    attempts = []

    def interrupted(request: Any, timeout: float) -> Any:
        attempts.append(request)
        if len(attempts) == 1:
            waiting.wait(10)
            raise KeyboardInterrupt
        return real(request, timeout)

    for each_source in (source, *others):
        each_source._transport = interrupted
    with ThreadPoolExecutor(4) as pool:
        leader = pool.submit(source.token)
        while not attempts:
            time.sleep(0.001)
        followers = [pool.submit(other.token) for other in others]
        while len(_waiters(source)) < len(others):
            time.sleep(0.001)
        waiting.set()
        assert {follower.result().access_token for follower in followers} == {"token-1"}
        assert isinstance(leader.exception(), KeyboardInterrupt)
    assert len(attempts) == 2


def _waiters(source: TokenSource) -> list[Any]:
    flight = source._state.flight
    return [] if flight is None else flight._waiters


def test_waiting_ends(server: Loopback, grant: ClientCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that asks hangs where no timeout reaches: those who wait get an error, and don't hang with it."""
    monkeypatch.setattr("auth_plugins._source.source._GRACE", 0.05)
    source, release, asking = TokenSource(grant, timeout=0.05), threading.Event(), threading.Event()

    def hang(request: Any, timeout: float) -> Any:
        asking.set()
        release.wait(10)
        raise TokenTransportError("released")

    source._transport = hang
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(source.token)
        asking.wait(10)
        with pytest.raises(TokenTransportError, match="longer than its timeout"):
            source.token()
        with pytest.raises(TokenTransportError, match="longer than its timeout"):
            asyncio.run(source.atoken())
        with pytest.raises(TokenTransportError, match="longer than its timeout"):
            trio.run(source.atoken)
        release.set()
        assert isinstance(leader.exception(), TokenTransportError)


def test_a_secret_that_needs_the_token_is_found_out(server: Loopback) -> None:
    """My secret comes from an API that wants this very token: an error says so, and nothing hangs."""
    auth: Any = None

    def secret() -> str:
        return httpx.get(server.api_url, auth=auth, trust_env=False).text

    auth = auth_plugins.httpx.OAuth2Auth(ClientCredentials(server.token_url, "client", secret))
    with pytest.raises(ConfigurationError, match="needs the very token"):
        httpx.get(server.api_url, auth=auth, trust_env=False)


def test_no_thread_to_be_had(server: Loopback, grant: ClientCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no thread left for my event loop's token request: an error of ours says so."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    source = TokenSource(grant)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TokenTransportError, match="can't start new thread"):
            asyncio.run(source.atoken())
    assert asyncio.run(source.atoken()).access_token == "token-1"


def status_of(code: str, server: Loopback) -> int:
    """What a process of its own ends with, which is told the token endpoint."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, server.token_url]
    environment = {**os.environ, "PYTHONPATH": str(Path(auth_plugins.__file__).parents[1])}
    return subprocess.run(command, env=environment, timeout=60, check=False).returncode


#: A thread loads what the first token request needs, and takes so many seconds.
LOADING = """
import importlib.abc, importlib.machinery, os, signal, sys, threading
import requests
import auth_plugins._base.loading
import auth_plugins.requests
from auth_plugins import ClientCredentials, TokenTransportError

loading, go_on = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "authlib.oauth2.client":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            loading.set()
            go_on.wait(seconds)
            run(module)

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Slow())
source = auth_plugins.requests.OAuth2Auth(ClientCredentials(sys.argv[1], "id", "s3cr3t")).source
thread = threading.Thread(target=source.token)
thread.start()
assert loading.wait(10)
"""

FORK = f"""
seconds = 1
{LOADING}
child = os.fork()
if child == 0:
    os._exit(0 if source.token() else 1)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

STUCK = f"""
seconds = 50
{LOADING}
auth_plugins._base.loading._PATIENCE = 0.05
child = os.fork()
if child == 0:
    signal.alarm(40)
    told = 0
    for _ in range(3):
        try:
            source.token()
        except TokenTransportError as error:
            told += "before you fork" in str(error)
    os._exit(0 if told == 3 else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
thread.join()
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_while_modules_are_loaded(server: Loopback) -> None:
    """My process forks while the first token request loads what it needs: the child isn't stuck for it."""
    assert status_of(FORK, server) == 0
    assert len(server.token_requests) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_in_a_load_that_lasts_is_told(server: Loopback) -> None:
    """A thread loads for longer than a fork waits for it: each call in the child is told what to do, and none hangs."""
    assert status_of(STUCK, server) == 0
    assert len(server.token_requests) == 1


LOGGING = """
import os, sys, threading
from auth_plugins import ClientCredentials, TokenSource

assert "requests" not in sys.modules
import logging

asked = threading.Event()
os.register_at_fork(before=lambda: asked.wait(10))

source = TokenSource(ClientCredentials(sys.argv[1], "id", "s3cr3t"))
thread = threading.Thread(target=lambda: (asked.set(), source.token()))
thread.start()
child = os.fork()
if child == 0:
    os._exit(0)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_does_not_wait_for_who_waits_for_it(server: Loopback) -> None:
    """My process forks, for which logging takes its lock, while the first token request loads what logs: both go on."""
    assert status_of(LOGGING, server) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread takes for ever to load what a token request needs: my fork waits for a moment, and goes on."""
    monkeypatch.setattr(_loading, "_PATIENCE", 0.01)
    begun, done = threading.Event(), threading.Event()

    def load() -> None:
        with _loading.loading("request"):
            begun.set()
            done.wait(10)

    thread = threading.Thread(target=load)
    thread.start()
    begun.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert _loading.loading._loaders.keys() == {thread.ident}, "it still loads"
    done.set()
    thread.join()
    assert (_loading.loading._loaders, _loading.loading._forkers) == ({}, set())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_in_mid_fetch_leaves_the_child_working(server: Loopback, grant: ClientCredentials) -> None:
    """My process forks while 20 threads need a token: the child asks for its own, and doesn't wait for a ghost."""
    server.latency = 0.3
    source = TokenSource(grant)
    threads = [threading.Thread(target=source.token) for _ in range(20)]
    for thread in threads:
        thread.start()
    while not server.token_requests:
        time.sleep(0.001)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        try:
            os._exit(0 if source.token().access_token.startswith("token-") else 1)
        except BaseException:
            os._exit(2)
    _, status = os.waitpid(pid, 0)
    for thread in threads:
        thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(server.token_requests) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_nobody_expects_does_not_go_on_for_ever(grant: ClientCredentials) -> None:
    """Whatever kills the thread that asks: I get an error, and it isn't asked again for a while."""
    source, attempts = TokenSource(grant), []

    def broken(request: Any, timeout: float) -> Any:
        attempts.append(request)
        raise ZeroDivisionError

    source._transport = broken
    with pytest.raises(ZeroDivisionError):
        source.token()
    with pytest.raises(AuthError, match="unexpected ZeroDivisionError"):
        asyncio.run(source.atoken())
    assert len(attempts) == 1, "my password isn't sent again and again for it"


def test_waiting_for_what_is_broken_off_ends(grant: ClientCredentials, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks is interrupted each time that I wait for him: I get an error in the end."""
    source, turns = TokenSource(grant), []

    def join(**_: Any) -> tuple[Flight, bool]:
        turns.append(flight := Flight(0.0))
        flight.set_result(None)
        return flight, False

    monkeypatch.setattr(source, "_join", join)
    with pytest.raises(TokenTransportError, match="broken off"):
        source.token()
    assert len(turns) == 5
    with pytest.raises(TokenTransportError, match="broken off"):
        asyncio.run(source.atoken())
    assert len(turns) == 10


def test_a_lost_leader_is_waited_for_by_nobody(grant: ClientCredentials, server: Loopback, clock: Clock) -> None:
    """Ctrl-C hits the one moment between being the one who asks and asking: the grant is not lost for good."""
    source = TokenSource(grant)
    lost, leads = source._join()
    assert leads
    clock.forward(13)
    assert source.token().access_token == "token-1"
    source._land(lost, Token(access_token="late"))
    assert source.token().access_token == "token-1", "what comes too late is nobody else's"


def test_a_flight_over_a_revocation_lands_for_those_who_wait(grant: ClientCredentials, server: Loopback) -> None:
    """I revoke while another thread asks: he gets his token, and nobody after him."""
    source = TokenSource(grant)
    flight, _ = source._join()
    source.revoke()
    source._lead(flight)
    landed = flight.result()
    assert landed is not None
    assert landed.access_token == "token-1"
    assert source.token().access_token == "token-2"


def test_tasks_wait_each_by_its_own_time(grant: ClientCredentials) -> None:
    """Tasks of one loop wait for one token, which comes late: who has the time gets it, whoever began to wait first."""
    cache, transport = MemoryCache(), requests_transport()

    def late(request: Any, timeout: float) -> Any:
        time.sleep(2.2)
        return transport(request, 10)

    def source(timeout: float) -> TokenSource:
        made = TokenSource(grant, cache=cache, timeout=timeout)
        made._transport = late
        return made

    async def main() -> list[Token | BaseException]:
        hasty, patient = source(0.1), source(10)
        first = asyncio.create_task(hasty.atoken())
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(patient.atoken())]
        await asyncio.wait([first])
        others.append(asyncio.create_task(patient.atoken()))
        return await asyncio.gather(first, *others, return_exceptions=True)

    first, *others = asyncio.run(main())
    assert isinstance(first, TokenTransportError)
    assert [each.access_token for each in others if isinstance(each, Token)] == ["token-1"] * 2


class Hanging:
    """A callable that returns a secret, and hangs for as long as it is told to."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        assert self.release.wait(30)
        return "s3cr3t"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    secret = Hanging()
    yield secret
    secret.release.set()


def overdue(hanging: Hanging, cache: MemoryCache, clock: Clock) -> TokenSource:
    """A source whose leader hangs in its callable, beyond all its time."""
    source = TokenSource(ClientCredentials("https://id.example.com/token", "client", hanging), cache=cache)
    source._transport = lambda *_: TokenResponse(
        status=200, headers={}, body=b'{"access_token": "token-1"}', received_at=clock.now
    )
    flight, _ = source._join()
    source._lead_in_background(flight)
    assert wait_for(lambda: hanging.calls == 1)
    clock.forward(12.5)
    return source


def test_a_callable_that_hangs_costs_few_threads(hanging: Hanging, clock: Clock) -> None:
    """A secret's callable hangs: each call is told so at once, by its name.

    It is called again 5 seconds after its time (12 s) was over, then 10, then 20, and so on.
    """
    source, moments, errors = overdue(hanging, MemoryCache(), clock), [], set()
    began = clock.now - 12.5
    for _ in range(180):
        try:
            flight, _ = source._join()
        except TokenTransportError as error:
            errors.add(str(error).partition(";")[0])
        else:
            source._lead_in_background(flight)
            moments.append(round(clock.now - began))
            assert wait_for(lambda: hanging.calls == 1 + len(moments))
            clock.forward(12)
        clock.forward(0.5)
    named = "the callable of client_secret (Hanging) has not returned in another thread within the timeout"
    assert errors == {named}
    assert moments == [17, 39, 71, 123]


def test_a_renewal_is_not_begun_while_a_callable_hangs(hanging: Hanging, clock: Clock) -> None:
    """The token is near its end, and a renewal hangs: the token is handed out, and no further thread is begun."""
    source = overdue(hanging, MemoryCache(), clock)
    token = Token(access_token="good", issued_at=clock.now - 3400, expires_at=clock.now + 200)
    source._state.token = token
    for _ in range(10):
        assert source.token() is token
    assert hanging.calls == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_callers_are_told_of_a_callable_that_hangs(hanging: Hanging, clock: Clock, is_async: bool) -> None:
    """A thread and a task that need the token are told at once, and the token comes when the callable returns."""
    source = overdue(hanging, MemoryCache(), clock)

    def get() -> Token:
        return asyncio.run(source.atoken()) if is_async else source.token()

    for _ in range(3):
        with pytest.raises(TokenTransportError, match="a timeout of its own"):
            get()
    hanging.release.set()
    assert wait_for(lambda: source._state.token is not None)
    assert (get().access_token, hanging.calls) == ("token-1", 1)


def test_a_leader_that_comes_back_late_is_forgiven(hanging: Hanging, clock: Clock) -> None:
    """A hanging callable returns after another call was made in its place: the next one may be made soon again."""
    source = overdue(hanging, MemoryCache(), clock)
    clock.forward(5)
    flight, leads = source._join()
    assert (leads, source._state.stuck) == (True, 1)
    hanging.release.set()
    assert wait_for(lambda: source._state.stuck == 0)
    assert source._state.flight is flight


LOOP = """
import asyncio, importlib.abc, importlib.machinery, sys, threading
import httpx
import auth_plugins.httpx
from auth_plugins import ClientCredentials

loads, goes_on = threading.Event(), threading.Event()
ran = []

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != BLOCKED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            assert threading.current_thread() is not threading.main_thread(), "it is loaded in the loop's thread"
            loads.set()
            ran.append(goes_on.wait(30))
            run(module)

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Slow())
source = auth_plugins.httpx.OAuth2Auth(ClientCredentials(sys.argv[1], "id", "s3cr3t")).source

async def main():
    tasks = [asyncio.ensure_future(source.atoken()) for _ in range(8)]
    while not loads.is_set():
        await asyncio.sleep(0.001)
    # Each of them had its turn, and waits, while the leader's thread is in the middle of its import.
    tasks += [asyncio.ensure_future(source.atoken()) for _ in range(8)]
    for _ in range(10):
        await asyncio.sleep(0)
    goes_on.set()
    return {(await task).access_token for task in tasks}

assert asyncio.run(main()) == {"token-1"}
sys.exit(0 if ran == [True] else 1)
"""


@pytest.mark.parametrize("module", ["authlib.oauth2.client", "auth_plugins._protocol.answers"])
def test_the_loop_goes_on_while_a_thread_loads(server: Loopback, module: str) -> None:
    """Tasks start cold in a fresh process: the loop runs its callbacks while the leader's thread is held in an import.

    Nothing is loaded in the loop's thread but what waits: were it held up, the import would never be let go on.
    """
    assert status_of(f"BLOCKED = {module!r}{LOOP}", server) == 0
    assert len(server.token_requests) == 1


def test_an_import_in_the_loop_waits_for_no_other() -> None:
    """While one thread loads, another one loads at the same time; a fork waits for both, and they for the fork."""
    loading = _loading.Loading()
    loads, goes_on = threading.Event(), threading.Event()

    def load() -> None:
        with loading("request"):
            loads.set()
            assert goes_on.wait(30)

    loader = threading.Thread(target=load)
    loader.start()
    assert loads.wait(10)
    with loading("flight"), loading("async"):
        pass
    forks, forked = threading.Event(), threading.Event()

    def fork() -> None:
        loading.before_fork()
        forks.set()
        assert forked.wait(30)
        loading.after_in_parent()

    forker = threading.Thread(target=fork)
    forker.start()
    goes_on.set()
    assert forks.wait(10)
    assert not loading._loaders
    late: list[str] = []

    def load_late() -> None:
        with loading("flight"):
            late.append("loaded")

    other = threading.Thread(target=load_late)
    other.start()
    assert late == []
    forked.set()
    for thread in (loader, forker, other):
        thread.join(10)
    assert (late, loading._forkers) == (["loaded"], set())


def test_a_fork_within_an_import_goes_on() -> None:
    """A module that is being loaded forks: its own thread goes on loading, in the parent and in the child."""
    loading = _loading.Loading()
    with loading("request"):
        loading.before_fork()
        with loading("flight"):
            loading.after_in_parent()
        loading.before_fork()
        loading.after_in_child()
        assert loading.lost == frozenset()
    assert loading._loaders == {}


def test_what_a_lost_thread_was_importing_is_told() -> None:
    """A child knows what a thread that it does not have was importing: that is refused, and all else is imported."""
    loading = _loading.Loading()
    loading._loaders[0] = ("request",)
    loading.after_in_child()
    with pytest.raises(TokenTransportError, match="get a token before you fork"), loading("request"):
        pytest.fail("it would hang here")
    with loading("flight"):
        pass
    assert (loading._loaders, loading.lost) == ({}, frozenset({"request"}))


def broken_into(loading: _loading.Loading, moment: int) -> int:
    """Load once; at that call or return within it, a signal handler breaks in that loads too. How many there were."""
    moments = 0

    def handle(*_: Any) -> None:
        nonlocal moments
        moments += 1
        if moments == moment:
            sys.setprofile(None)
            with loading("of the handler"):
                pass
            sys.setprofile(handle)

    sys.setprofile(handle)
    try:
        with loading("request"):
            pass
    finally:
        sys.setprofile(None)
    return moments


def test_a_handler_that_loads_while_its_thread_begins_or_ends_to_load() -> None:
    """A signal handler loads while its own thread enters or leaves a load: both end well, and nothing is left over."""
    moments = broken_into(_loading.Loading(), 0)
    assert moments > 10
    for moment in range(1, moments + 1):
        loading = _loading.Loading()
        broken_into(loading, moment)
        assert not loading._loaders
        loading.before_fork()
        loading.after_in_child()
        assert loading.lost == frozenset()


def test_loads_of_two_threads_end_in_any_order() -> None:
    """Each of two threads is within two loads: they end in any order, and a fork waits for the other's to the end."""
    for order in sorted(set(itertools.permutations("aabb"))):
        loading = _loading.Loading()
        with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
            pools, loads = {"a": first, "b": second}, {name: [loading("request"), loading("flight")] for name in "ab"}
            for name, pool in pools.items():
                for load in loads[name]:
                    pool.submit(load.__enter__).result(10)
            for name in order:
                assert loading._loaders
                pools[name].submit(loads[name].pop().__exit__, None, None, None).result(10)
        assert not loading._loaders
