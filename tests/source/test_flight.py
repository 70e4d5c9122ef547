"""Single flight: one token request for all threads, tasks, event loops and libraries that need the token."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio
from werkzeug import Response

import auth_plugins.httpx
from auth_plugins import (
    AuthError,
    ClientCredentials,
    MemoryCache,
    Password,
    Token,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._base.loading import LateImports
from auth_plugins._base.runtime import runtime
from auth_plugins._transports.requests import requests_transport
from tests.support.drivers import ALL, ASYNC, SYNC, AsyncHttpx, Driver, each, succeeded
from tests.support.loopback import Clock, Loopback, Received, as_json
from tests.support.sources import URL, Endpoint, begin, source, unfinished, wait_for
from tests.support.stores import LockingCache


def credentials(server: Loopback) -> ClientCredentials:
    return ClientCredentials(server.token_url, "client", "s3cr3t", scope="a b")


CROWD = {"sync": 50, "asyncio": 100, "trio": 50}


@pytest.mark.parametrize("driver", each(ALL))
def test_a_cold_crowd_makes_one_token_request(driver: Driver, server: Loopback) -> None:
    """50 threads, 100 asyncio tasks or 50 trio tasks, each with its own auth and no token, send one token request."""
    server.latency = 0.1
    auths = [driver.auth(credentials(server)) for _ in range(CROWD[driver.mode])]
    assert succeeded(driver.get_all(server.api_url, auths))
    assert len(server.token_requests) == 1


def test_everything_at_once_makes_one_token_request(server: Loopback) -> None:
    """Four loops, thirty plain threads, requests, httpx and httpx2 mixed, equal grants: one token request."""
    server.latency = 0.1
    crowds = [(driver, 10) for driver in (*SYNC, *ASYNC)]

    def run(crowd: tuple[Driver, int]) -> bool:
        driver, size = crowd
        return succeeded(driver.get_all(server.api_url, [driver.auth(credentials(server)) for _ in range(size)]))

    with ThreadPoolExecutor(len(crowds)) as pool:
        assert all(pool.map(run, crowds))
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("driver", each(ALL))
def test_a_crowd_that_meets_a_revoked_token_makes_one_more(driver: Driver, server: Loopback) -> None:
    """A token is revoked while 50 requests use it: one more token request, and all 50 are answered."""
    auth = driver.auth(credentials(server))
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    server.latency = 0.05
    assert succeeded(driver.get_all(server.api_url, [auth] * 50))
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("driver", each(ALL))
def test_a_crowd_at_an_api_that_always_rejects(driver: Driver, server: Loopback) -> None:
    """20 requests at once to an API that always answers 401 cost two token requests, and each gets a 401."""
    server.api = lambda _: as_json({}, 401)
    auth = driver.auth(credentials(server))
    outcomes = driver.get_all(server.api_url, [auth] * 20)
    assert {getattr(outcome, "status", outcome) for outcome in outcomes} == {401}
    assert len(server.token_requests) == 2


def test_one_api_rejects_what_another_one_accepts(server: Loopback, grant: ClientCredentials) -> None:
    """One API accepts each token that another one rejects: at most ten more are fetched, however many requests."""
    good, bad = f"{server.url}/good", f"{server.url}/bad"
    server.api = lambda received: as_json({}, 401) if received.target == "/bad" else server.check(received)
    auth = SYNC[0].auth(grant)
    for _ in range(20):
        assert (SYNC[0].get(good, auth).status, SYNC[0].get(bad, auth).status) == (200, 401)
    assert len(server.token_requests) <= 11


@pytest.mark.parametrize("driver", each(SYNC))
def test_rotating_refresh_tokens_are_used_once_each(driver: Driver, server: Loopback) -> None:
    """30 threads over five revocations send no refresh token twice, and the password once."""
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
def test_no_event_loop_is_blocked(driver: AsyncHttpx, server: Loopback) -> None:
    """While a token endpoint takes a second, the rest of the loop goes on, with no gap of half a second."""
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
    from tests.support.drivers import Call

    return Call("GET", server.api_url)


def warm_up(driver: AsyncHttpx, server: Loopback) -> None:
    """Import what is imported late, so that a test of waiting sees nothing but waiting."""
    latency, server.latency = server.latency, 0.0
    driver.get(server.api_url, driver.auth(credentials(server), cache=MemoryCache()))
    server.latency = latency
    server.api_requests.clear()
    server.token_requests.clear()


def test_a_cancelled_task_cancels_no_token_request(server: Loopback) -> None:
    """The task that began the attempt is cancelled; the other tasks of its loop get the token."""
    server.latency = 0.2
    source = TokenSource(credentials(server))

    async def main() -> list[str]:
        first = asyncio.ensure_future(source.atoken())
        await asyncio.sleep(0.05)
        others = [asyncio.ensure_future(source.atoken()) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        tokens = await asyncio.gather(*others)
        assert first.cancelled()
        return [token.access_token for token in tokens]

    assert (asyncio.run(main()), len(server.token_requests)) == (["token-1"] * 5, 1)


@pytest.mark.parametrize("mode", ["asyncio", "trio"])
def test_a_loop_may_end_while_it_waits(server: Loopback, mode: str) -> None:
    """An event loop ends before its token arrives; the next loop gets it."""
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


def test_waiters_get_the_same_refusal(server: Loopback) -> None:
    """Wrong credentials, 20 threads: one token request, and each thread has an error of its own, in its own library."""
    server.latency = 0.2
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    for driver in SYNC:
        outcomes = driver.get_all(server.api_url, [driver.auth(credentials(server)) for _ in range(20)])
        assert all(isinstance(outcome, TokenRequestError) for outcome in outcomes)
        assert all(isinstance(outcome, driver.base_error) for outcome in outcomes)
        assert len(set(map(id, outcomes))) == 20
    assert len(server.token_requests) == 1


def test_an_interrupted_leader_is_followed_by_another(clock: Clock) -> None:
    """Ctrl-C hits the leader: the waiters do not fail for it, and one of them becomes the new leader."""
    endpoint, waiting, asking = Endpoint(clock), threading.Event(), threading.Event()

    def interrupted() -> Any:
        asking.set()
        assert waiting.wait(10)
        raise KeyboardInterrupt

    endpoint.script = [interrupted]
    tokens, *others = (source(endpoint) for _ in range(4))
    with ThreadPoolExecutor(4) as pool:
        leader = pool.submit(tokens.token)
        assert asking.wait(10)
        followers = [pool.submit(other.token) for other in others]
        assert wait_for(lambda: len(_waiters(tokens)) == len(others))
        waiting.set()
        assert {follower.result().access_token for follower in followers} == {"token-1"}
        assert isinstance(leader.exception(), KeyboardInterrupt)
    assert len(endpoint.requests) == 2


def _waiters(source: TokenSource) -> list[Any]:
    flight = source._state.flight
    return [] if flight is None else flight._waiters


def test_waiters_do_not_hang_with_their_leader(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader hangs where no timeout reaches: the waiters get an error."""
    tokens = TokenSource(ClientCredentials(URL, "client", "s3cr3t"), timeout=0.05)
    unfinished(tokens)
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "wait", lambda _, seconds: clock.forward(seconds / 2))
        with pytest.raises(TokenTransportError, match="timed out waiting for a token request in another thread"):
            tokens.token()
    with ThreadPoolExecutor(2) as pool:
        for task in (pool.submit(lambda: asyncio.run(tokens.atoken())), pool.submit(lambda: trio.run(tokens.atoken))):
            with pytest.raises(TokenTransportError, match="timed out waiting"):
                task.result()


def test_a_thread_that_cannot_be_started_is_an_error(
    server: Loopback, grant: ClientCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread can be started for the token request of an event loop: an error of ours says so."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    source = TokenSource(grant)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TokenTransportError, match="can't start new thread"):
            asyncio.run(source.atoken())
    assert asyncio.run(source.atoken()).access_token == "token-1"


def status_of(code: str, server: Loopback, module: str = "authlib.oauth2.client") -> int:
    """The exit status of a process that runs *code*, with the token endpoint and a module as its arguments."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, server.token_url, module]
    environment = {**os.environ, "PYTHONPATH": str(Path(auth_plugins.__file__).parents[1])}
    return subprocess.run(command, env=environment, timeout=60, check=False).returncode


#: The import of a module of the first token request waits for an event, in another thread than the main one.
SLOW_IMPORT = """
import importlib.abc, importlib.machinery, os, signal, sys, threading
import requests
import auth_plugins.requests
from auth_plugins import ClientCredentials, TokenTransportError

loading, go_on = threading.Event(), threading.Event()
seconds, waited = 30, []

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != sys.argv[2]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            assert threading.current_thread() is not threading.main_thread()
            loading.set()
            waited.append(go_on.wait(seconds))
            run(module)

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Slow())
source = auth_plugins.requests.OAuth2Auth(ClientCredentials(sys.argv[1], "id", "s3cr3t")).source
"""

#: Another thread is in the middle of that import.
LOADING = f"""
{SLOW_IMPORT}
thread = threading.Thread(target=source.token)
thread.start()
assert loading.wait(10)
"""

FORK = f"""
{LOADING}
threading.Timer(1, go_on.set).start()
child = os.fork()
if child == 0:
    os._exit(0 if source.token() else 1)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

STUCK = f"""
{LOADING}
child = os.fork()
if child == 0:
    signal.alarm(40)
    try:
        source.token()
    except TokenTransportError as error:
        os._exit(0 if "before you fork" in str(error) else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
thread.join()
sys.exit(status)
"""


@pytest.mark.unmeasured
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_while_modules_are_loaded(server: Loopback) -> None:
    """A fork while another thread imports for the first token request leaves a child that gets a token."""
    assert status_of(FORK, server) == 0
    assert len(server.token_requests) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_in_an_import_that_lasts_leaves_an_error(server: Loopback) -> None:
    """A fork during an import that takes too long leaves a child in which each call raises what to do."""
    assert status_of(STUCK, server) == 0
    assert len(server.token_requests) == 1


REFUSED = f"""
{SLOW_IMPORT}
from auth_plugins import AuthError

def is_refused():
    try:
        source.token()
    except AuthError:
        return True

sys.modules.pop(sys.argv[2], None)  # what measures lines has imported html
thread = threading.Thread(target=is_refused)
thread.start()
assert loading.wait(10)
threading.Timer(1, go_on.set).start()
child = os.fork()
if child == 0:
    signal.alarm(20)
    os._exit(0 if is_refused() else 1)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
#: By the module that is imported then: where the token endpoint is, in that program.
REFUSING = {
    "auth_plugins._protocol.refusals": "sys.argv[1]",
    "html": "sys.argv[1]",
    "auth_plugins._transports.reasons": "'http://127.0.0.1:1/token'",
    "auth_plugins._source.discovery.resolver": "__import__('auth_plugins').Issuer(sys.argv[1])",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.parametrize("module", REFUSING)
def test_a_fork_while_the_modules_of_a_refusal_are_loaded(server: Loopback, module: str) -> None:
    """A fork while another thread imports what only few token requests need leaves a child that finds it."""
    server.token_play = lambda _: Response("a<b&amp;c", 400)
    assert status_of(REFUSED.replace("sys.argv[1]", REFUSING[module]), server, module) == 0


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
    os._exit(0 if source.token() else 1)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.unmeasured
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_does_not_deadlock_with_an_import(server: Loopback) -> None:
    """A fork holds the lock of logging while another thread imports what logs: both go on."""
    assert status_of(LOGGING, server) == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_unexpected_error_is_remembered(clock: Clock) -> None:
    """A transport raises an error of its own: the caller gets it, and no further request is sent for a while."""
    endpoint = Endpoint(clock)
    endpoint.script = [ZeroDivisionError()] * 2
    tokens = source(endpoint)
    with pytest.raises(ZeroDivisionError):
        tokens.token()
    with pytest.raises(AuthError, match="unexpected ZeroDivisionError"):
        asyncio.run(tokens.atoken())
    assert len(endpoint.requests) == 1, "the password is not sent again and again"


def ctrl_c() -> Any:
    raise KeyboardInterrupt


def test_a_task_whose_leaders_are_interrupted_gets_an_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader is interrupted each time that a task waits for it: the task gets an error after five times."""
    tokens, attempts = Endpoint(clock), []

    def interrupt(lead: Any, _: str) -> None:
        attempts.append(lead)
        with pytest.raises(KeyboardInterrupt):
            lead()

    tokens.script = [ctrl_c] * 5
    monkeypatch.setattr(runtime, "start_thread", interrupt)
    with pytest.raises(TokenTransportError, match="interrupted each time"):
        asyncio.run(source(tokens).atoken())
    assert len(attempts) == 5


def test_a_thread_whose_leaders_are_interrupted_gets_an_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a thread that waits for other leaders."""
    endpoint = Endpoint(clock)
    endpoint.script = [ctrl_c] * 5
    tokens = source(endpoint)
    leads = [unfinished(tokens)]

    def interrupt(*_: Any) -> None:
        with pytest.raises(KeyboardInterrupt):
            leads[-1]()
        leads.append(unfinished(tokens))

    monkeypatch.setattr(runtime, "wait", interrupt)
    with pytest.raises(TokenTransportError, match="interrupted each time"):
        tokens.token()
    assert len(endpoint.requests) == 5


def test_a_lost_leader_is_not_waited_for(clock: Clock) -> None:
    """Ctrl-C hits the moment between becoming the leader and leading: the grant is not lost for good."""
    endpoint = Endpoint(clock)
    tokens = source(endpoint)
    lead = unfinished(tokens)
    clock.forward(13)
    assert tokens.token().access_token == "token-1"
    lead()
    assert tokens.token().access_token == "token-1", "what comes too late is for no other caller"


def test_tasks_wait_each_by_its_own_time(grant: ClientCredentials) -> None:
    """Tasks of one loop wait for one attempt that takes long: those with the longer timeout get its token."""
    cache, transport = MemoryCache(), requests_transport()

    def late(request: Any, _: float) -> Any:
        time.sleep(1.6)
        return transport(request, 10)

    async def main() -> list[Token | BaseException]:
        hasty, patient = (source(late, grant, cache=cache, timeout=timeout) for timeout in (0.1, 10))
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
    """A callable that returns a secret, and hangs until it is released."""

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


def overdue(hanging: Hanging, clock: Clock) -> TokenSource:
    """A source whose leader hangs in its callable, beyond all its time."""
    return overdue_source(ClientCredentials(URL, "client", hanging), hanging, clock)


def overdue_source(grant: Any, hanging: Hanging, clock: Clock) -> TokenSource:
    tokens = source(Endpoint(clock), grant, cache=MemoryCache())
    begin(tokens)
    assert wait_for(lambda: hanging.calls == 1)
    clock.forward(12.5)
    return tokens


def test_a_callable_among_the_parameters_that_hangs_is_named(hanging: Hanging, clock: Clock) -> None:
    """The error names the parameter whose callable hangs, and the header, as one of them does."""
    grant = ClientCredentials(URL, "id", "s", params={"otp": hanging, "x": "y"}, headers={"X-Key": hanging})
    tokens = overdue_source(grant, hanging, clock)
    with pytest.raises(
        TokenTransportError, match=r"of headers\['X-Key'\] \(Hanging\) or params\['otp'\] \(Hanging\) has"
    ):
        tokens.token()


def test_a_callable_that_hangs_costs_few_threads(hanging: Hanging, clock: Clock) -> None:
    """The callable of a secret hangs: each call raises an error at once, which names the callable.

    It is called again 5 seconds after its time (12 s) was over, then 10, then 20, and so on.
    """
    tokens, moments, errors = overdue(hanging, clock), [], set()
    began = clock.now - 12.5
    for _ in range(180):
        try:
            begin(tokens)
        except TokenTransportError as error:
            errors.add(str(error).partition(";")[0])
        else:
            moments.append(round(clock.now - began))
            assert wait_for(lambda: hanging.calls == 1 + len(moments))
            clock.forward(12)
        clock.forward(0.5)
    named = "the callable of client_secret (Hanging) has not returned in another thread within the timeout"
    assert errors == {named}
    assert moments == [17, 39, 71, 123]


def test_no_refresh_begins_while_a_callable_hangs(hanging: Hanging, clock: Clock) -> None:
    """A token is stale, and its refresh hangs: the token is used, and no further thread is started."""
    tokens = source(Endpoint(clock), ClientCredentials(URL, "client", hanging))
    token = Token(access_token="good", issued_at=clock.now - 3400, expires_at=clock.now + 212.5)
    tokens.seed(token)
    assert tokens.token() is token
    assert wait_for(lambda: hanging.calls == 1)
    clock.forward(12.5)
    for _ in range(10):
        assert tokens.token() is token
    assert hanging.calls == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_callers_get_an_error_while_a_callable_hangs(hanging: Hanging, clock: Clock, is_async: bool) -> None:
    """A thread and a task that need the token get an error at once, and the token when the callable has returned."""
    tokens = overdue(hanging, clock)

    def get() -> Token:
        return asyncio.run(tokens.atoken()) if is_async else tokens.token()

    for _ in range(3):
        with pytest.raises(TokenTransportError, match="a timeout of its own"):
            get()
    hanging.release.set()
    assert wait_for(lambda: tokens._state.token is not None)
    assert (get().access_token, hanging.calls) == ("token-1", 1)


def test_a_leader_that_comes_back_late_resets_the_back_off(hanging: Hanging, clock: Clock) -> None:
    """A callable returns after another attempt took its place: that one goes on, and the next need not wait longer."""
    tokens = overdue(hanging, clock)
    clock.forward(5)
    unfinished(tokens)
    flight = tokens._state.flight
    assert tokens._state.stuck == 1
    hanging.release.set()
    assert wait_for(lambda: tokens._state.stuck == 0)
    assert tokens._state.flight is flight


LOOP = f"""
{SLOW_IMPORT}
import asyncio

async def main():
    tasks = [asyncio.ensure_future(source.atoken()) for _ in range(8)]
    while not loading.is_set():
        await asyncio.sleep(0.001)
    # Each of them had its turn, and waits, while the leader's thread is in the middle of its import.
    tasks += [asyncio.ensure_future(source.atoken()) for _ in range(8)]
    for _ in range(10):
        await asyncio.sleep(0)
    go_on.set()
    return {{(await task).access_token for task in tasks}}

assert asyncio.run(main()) == {{"token-1"}}
sys.exit(0 if waited == [True] else 1)
"""


@pytest.mark.parametrize("module", ["authlib.oauth2.client", "auth_plugins._protocol.answers"])
def test_the_loop_goes_on_while_a_thread_imports(server: Loopback, module: str) -> None:
    """Tasks start in a new process: the loop runs its callbacks while the leader's thread is held in an import."""
    assert status_of(LOOP, server, module) == 0
    assert len(server.token_requests) == 1


def test_an_import_waits_for_a_fork() -> None:
    """An import that would begin while another thread forks begins after the fork."""
    imports = LateImports()
    begun, done = threading.Event(), threading.Event()

    def load() -> None:
        begun.set()
        with imports():
            done.set()

    thread = threading.Thread(target=load)
    imports.before_fork()
    thread.start()
    assert begun.wait(10)
    assert not done.wait(0.05)
    imports.after_in_parent()
    thread.join(10)
    assert done.is_set()


def test_a_fork_within_an_import_goes_on() -> None:
    """A module that is being imported forks: its own thread goes on, in the parent and in the child."""
    imports = LateImports()
    with imports():
        imports.before_fork()
        with imports():
            imports.after_in_parent()
        imports.before_fork()
        imports.after_in_child()
    with imports():
        pass


def test_a_revoked_attempt_completes_for_its_waiters_only(endpoint: Endpoint) -> None:
    """Leader and waiters of an attempt that was revoked get its token; it is deleted from the shared cache."""
    cache = LockingCache()
    tokens = source(endpoint, cache=cache)
    asked, release = threading.Event(), threading.Event()

    def hang() -> Any:
        asked.set()
        assert release.wait(10)
        return endpoint.issue

    endpoint.script = [hang]
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(tokens.token)
        assert asked.wait(10)
        waiter = pool.submit(tokens.token)
        assert wait_for(lambda: len(_waiters(tokens)) == 1)
        tokens.revoke()
        release.set()
        assert {each.result(10).access_token for each in (leader, waiter)} == {"token-1"}
    assert cache.entries == {}
    assert tokens.token().access_token == "token-2"
