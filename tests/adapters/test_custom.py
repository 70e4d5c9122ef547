"""``Custom``: a function of the user's gets the token, in each library and mode."""

from __future__ import annotations

import copy
import datetime as dt
import gc
import itertools
import os
import pickle
import threading
import time
import urllib.error
import weakref
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import requests
from werkzeug.wrappers import Response

from auth_plugins import (
    AuthError,
    ConfigurationError,
    Custom,
    FileCache,
    LoginRequiredError,
    MemoryCache,
    Token,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from tests.support.drivers import ALL, ASYNC, SYNC, AsyncHttpx, Driver, each, succeeded
from tests.support.forks import in_child, spawned
from tests.support.logins import log_in, shared_token
from tests.support.loopback import Clock, Loopback
from tests.support.sources import begin, wait_for


def login() -> str:
    return "tok-login"


async def async_login() -> str:
    return "tok-login"


class Login:
    """Counts its calls, and how many of them there are at once."""

    def __init__(self, server: Loopback, seconds: float = 0.0) -> None:
        self._server, self._seconds = server, seconds
        self._numbers = itertools.count(1)
        self.calls, self.at_once, self.most_at_once = 0, 0, 0
        #: What the next call raises.
        self.error: BaseException | None = None
        self.threads: set[int] = set()

    def __call__(self) -> str:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.threads.add(threading.get_ident())
        time.sleep(self._seconds)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        token = f"tok-{next(self._numbers)}"
        self._server.live.add(token)
        return token


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize("kind", ["str", "mapping", "token"])
def test_the_result_is_the_token(driver: Driver, server: Loopback, kind: str) -> None:
    """A str, the members of RFC 6749 §5.1 and a Token are sent to the API, as one token for all its requests."""
    results: dict[str, Any] = {
        "str": "tok-login",
        "mapping": {"access_token": "tok-login", "expires_in": 3600},
        "token": Token(access_token="tok-login", expires_at=time.time() + 3600),
    }
    calls = []

    def fetch() -> Any:
        calls.append(kind)
        return results[kind]

    server.live.add("tok-login")
    auth = driver.auth(Custom(fetch))
    assert [driver.get(server.api_url, auth).status for _ in range(3)] == [200] * 3
    assert calls == [kind]
    expires_at = auth.source.token().expires_at
    assert expires_at is None if kind == "str" else abs(expires_at - time.time() - 3600) < 60
    assert server.token_requests == []


@pytest.mark.parametrize("driver", each(ALL))
def test_a_rejected_token_is_replaced(driver: Driver, server: Loopback) -> None:
    """A 401 costs one more call, and the request is sent again."""
    fetch = Login(server)
    auth = driver.auth(Custom(fetch))
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    answer = driver.get(server.api_url, auth)
    assert (answer.status, answer.history, fetch.calls) == (200, [401], 2)


@pytest.mark.parametrize("driver", each(ALL))
def test_one_call_serves_all(driver: Driver, server: Loopback) -> None:
    """50 threads, or 200 tasks, that need a token at once make one call; it runs in no event loop's thread."""
    fetch = Login(server, 0.2)
    auth = driver.auth(Custom(fetch))
    count = 50 if driver.mode == "sync" else 200
    assert succeeded(driver.get_all(server.api_url, [auth] * count))
    assert (fetch.calls, fetch.most_at_once) == (1, 1)
    assert driver.mode == "sync" or threading.get_ident() not in fetch.threads


@pytest.mark.parametrize("driver", each(ASYNC))
def test_a_slow_call_blocks_no_loop(driver: AsyncHttpx, server: Loopback) -> None:
    """While the function takes half a second, the event loop goes on with its other tasks."""
    source = TokenSource(Custom(Login(server, 0.5)))
    ticks: list[float] = []

    async def run() -> str:
        if driver.mode == "asyncio":
            import asyncio

            ticking = asyncio.ensure_future(tick(asyncio.sleep))
            token = await source.atoken()
            ticking.cancel()
            return token.access_token
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick, trio.sleep)
            token = await source.atoken()
            nursery.cancel_scope.cancel()
        return token.access_token

    async def tick(sleep: Any) -> None:
        while True:
            ticks.append(time.monotonic())
            await sleep(0.01)

    assert driver.run(run) == "tok-1"
    assert len(ticks) > 10
    assert max(after - before for before, after in itertools.pairwise(ticks)) < 0.4


class OwnError(AuthError):
    """An error of the user's, whose arguments are not those of its base class."""

    def __init__(self, *, code: int) -> None:
        self.code = code
        super().__init__(f"code {code}")


RAISED: list[tuple[BaseException, type[AuthError], bool]] = [
    # what the function raises, what callers get, and whether it is remembered
    (OSError("down"), TokenTransportError, False),
    (ConnectionResetError(), TokenTransportError, False),
    (TimeoutError(), TokenTransportError, False),
    (requests.ConnectionError("down"), TokenTransportError, False),
    (requests.ReadTimeout("late"), TokenTransportError, False),
    (requests.exceptions.ChunkedEncodingError("broken off"), TokenTransportError, False),
    (httpx.ConnectError("down"), TokenTransportError, False),
    (httpx.PoolTimeout("late"), TokenTransportError, False),
    (httpx2.ReadTimeout("late"), TokenTransportError, False),
    (httpx2.RemoteProtocolError("odd"), TokenTransportError, False),
    (KeyError("token"), TokenRequestError, True),
    (RuntimeError("no"), TokenRequestError, True),
    (requests.exceptions.JSONDecodeError("no JSON", "", 0), TokenRequestError, True),
    (requests.exceptions.InvalidURL("bad"), TokenRequestError, True),
    (httpx.InvalidURL("bad"), TokenRequestError, True),
    (TokenRequestError("no", error="access_denied"), TokenRequestError, True),
    (LoginRequiredError("sign in"), LoginRequiredError, True),
    (TokenTransportError("down"), TokenTransportError, False),
    (ConfigurationError("is wrong", argument="account"), ConfigurationError, False),
    (OwnError(code=7), AuthError, False),
]


def check_raised(outcome: Any, error: Any, kind: type[AuthError]) -> None:
    """*outcome* is what callers get for *error* of the function ``Login``."""
    assert issubclass(type(outcome), kind)
    if isinstance(error, AuthError):
        assert str(outcome) == str(error)
    else:
        assert type(outcome.__cause__) is type(error)
        assert outcome.__cause__.args == error.args
        assert str(outcome) == f"Custom (Login) raised {type(error).__name__}; its cause says more"
    assert outcome.transient == (kind is TokenTransportError)
    again = pickle.loads(pickle.dumps(outcome))
    assert (type(again), str(again)) == (type(outcome), str(outcome))


@pytest.mark.parametrize(("error", "kind", "is_remembered"), RAISED, ids=lambda each: type(each).__name__)
def test_what_the_function_raises(server: Loopback, error: Any, kind: type[AuthError], *, is_remembered: bool) -> None:
    """An AuthError is raised; no connection is a TokenTransportError, all else a refusal, which is remembered."""
    fetch = Login(server)
    fetch.error = error
    source = TokenSource(Custom(fetch))
    for _ in range(2):
        with pytest.raises(kind) as caught:
            source.token()
        check_raised(caught.value, error, kind)
    assert fetch.calls == (1 if is_remembered else 2)
    fetch.error = None
    source.seed({"access_token": "tok-seeded"})
    assert source.token().access_token == "tok-seeded"


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("gone"), TokenTransportError),
        (requests.ReadTimeout("late"), TokenTransportError),
        (KeyError("token"), TokenRequestError),
        (LoginRequiredError("sign in"), LoginRequiredError),
        (OwnError(code=7), AuthError),
    ],
    ids=lambda each: type(each).__name__,
)
def test_each_waiter_gets_the_error(driver: Driver, server: Loopback, error: Any, kind: type[AuthError]) -> None:
    """Each of three that wait for one call gets an error of this package and of its library, with the cause."""
    fetch = Login(server, 0.5)
    fetch.error = error
    auth = driver.auth(Custom(fetch))
    outcomes = driver.get_all(server.api_url, [auth] * 3)
    assert fetch.calls == 1
    for outcome in outcomes:
        assert isinstance(outcome, driver.base_error)
        check_raised(outcome, error, kind)
    assert server.api_requests == []


def test_an_error_of_ones_own_is_raised_as_it_is(server: Loopback) -> None:
    """A token source raises the AuthError itself to the caller that called the function, and its copy to others."""
    fetch = Login(server)
    fetch.error = OwnError(code=7)
    source = TokenSource(Custom(fetch))
    with pytest.raises(OwnError, match="code 7") as caught:
        source.token()
    assert caught.value is fetch.error
    begin(source)
    assert wait_for(lambda: fetch.calls == 2)


def http_errors(server: Loopback, status: int) -> list[Any]:
    """What each library raises for an answer of *status*."""
    server.api = lambda _: Response("no", status, {"Retry-After": "7"})
    errors: list[Any] = []
    for module in (requests, httpx, httpx2):
        try:
            module.get(server.api_url).raise_for_status()
        except (requests.HTTPError, httpx.HTTPStatusError, httpx2.HTTPStatusError) as error:
            errors.append(error)
    headers = Message()
    headers["Retry-After"] = "7"
    return [*errors, urllib.error.HTTPError(server.api_url, status, "no", headers, None)]


@pytest.mark.parametrize(("status", "is_transient"), [(401, True), (503, True)])
def test_an_error_for_a_status_is_a_refusal(server: Loopback, status: int, *, is_transient: bool) -> None:
    """``raise_for_status()`` is no failed connection, although that of requests is an OSError; Retry-After counts."""
    for error in http_errors(server, status):
        fetch = Login(server)
        fetch.error = error
        source = TokenSource(Custom(fetch))
        for _ in range(2):
            with pytest.raises(TokenRequestError) as caught:
                source.token()
        assert (caught.value.status_code, caught.value.retry_after, fetch.calls) == (status, 7, 1)
        assert caught.value.transient == is_transient
        assert type(caught.value.__cause__) is type(error)
        assert vars(caught.value.__cause__).keys() == vars(error).keys()


NO_TOKENS: list[tuple[Any, str]] = [
    (None, "returned a NoneType, which is no token; return a str, a Token, or a mapping"),
    (b"bytes", "returned a bytes, which is no token"),
    ("", "answered no access_token"),
    ("two\nlines", "answered an access_token that cannot stand in a header; return a str"),
    ({}, "answered no token: "),
    ({"token": "tok-hidden"}, "answered no access_token, but token; return a str"),
    ({"access_token": b"tok-hidden"}, "returned a mapping that JSON cannot hold; return a str"),
    ({"access_token": None, "expires_in": 3}, "answered no access_token, but expires_in"),
    ({"error": "invalid_user", "error_description": "who?"}, r"answered 200 \(invalid_user: who\?\)$"),
    ({"access_token": "tok-hidden", "token_type": "mac"}, "answered a token of type 'mac'"),
    ({("a", "b"): 1}, "returned a mapping that JSON cannot hold"),
    (Token(access_token="ä"), "returned an access_token that cannot stand in a header"),
    (Token(access_token="tok", expires_at=float("nan")), "returned an expires_at that is no finite number"),
    (Token(access_token="tok", issued_at=True), "returned an issued_at that is no finite number"),
]


@pytest.mark.parametrize(("result", "message"), NO_TOKENS, ids=[message[:30] for _, message in NO_TOKENS])
def test_a_result_that_is_no_token(clock: Clock, result: Any, message: str) -> None:
    """It is a TokenRequestError that says what to return, without a value; it is remembered for 5 s."""
    calls = []

    def fetch() -> Any:
        calls.append(1)
        return result

    source = TokenSource(Custom(fetch))
    for count, seconds in ((1, 0.0), (1, 4.9), (2, 0.2)):
        clock.forward(seconds)
        with pytest.raises(TokenRequestError, match=message) as caught:
            source.token()
        assert len(calls) == count
    assert str(caught.value).startswith("Custom (test_a_result_that_is_no_token.<locals>.fetch) ")
    assert "hidden" not in str(caught.value) + repr(vars(caught.value))
    assert (caught.value.transient, caught.value.status_code) == (False, None)


def test_what_a_mapping_may_hold(clock: Clock) -> None:
    """Dates and other numbers than JSON's are read; a mapping need not be a dict; a coroutine is no token."""
    from decimal import Decimal
    from types import MappingProxyType

    moment = dt.datetime.fromtimestamp(clock.now + 600, dt.UTC)
    token = TokenSource(Custom(lambda: MappingProxyType({"access_token": "Bearer tok", "expires_at": moment}))).token()
    assert (token.access_token, round(token.expires_at or 0)) == ("tok", round(clock.now + 600))
    nested = {"access_token": "tok", "expires_in": Decimal(60), "user": MappingProxyType({"id": 1})}
    assert TokenSource(Custom(lambda: nested)).token().expires_at == clock.now + 60
    with pytest.raises(TokenRequestError, match="returned a coroutine"):
        TokenSource(Custom(lambda: async_login())).token()  # type: ignore[arg-type,return-value]  # noqa: PLW0108


def test_a_token_is_kept_as_it_is_but_for_its_refresh_token(clock: Clock) -> None:
    """A Token without a time of issue was issued now, so that its leeway fits; nothing sends its refresh token."""
    tokens = iter([
        Token(access_token="tok-1", token_type="Own", expires_at=clock.now + 30, refresh_token="refresh-1", scope="a"),
        Token(access_token="tok-2", expires_at=clock.now + 90, issued_at=clock.now),
    ])  # fmt: skip
    source = TokenSource(Custom(lambda: next(tokens)), refresh_ahead=False)
    token = source.token()
    assert token.members() == {
        "access_token": "tok-1", "token_type": "Own", "expires_at": clock.now + 30, "refresh_token": None,
        "scope": "a", "issued_at": clock.now, "extra": {},
    }  # fmt: skip
    clock.forward(26.9)
    assert source.token() is token
    clock.forward(0.2)
    assert source.token().access_token == "tok-2"


def test_there_is_one_call_at_a_time(server: Loopback) -> None:
    """After ``revoke`` and over another cache a second call waits for the first, which goes on."""
    fetch = Login(server, 0.3)
    grant = Custom(fetch)
    sources = [TokenSource(grant), TokenSource(grant, cache=MemoryCache()), TokenSource(grant)]
    begin(sources[0])
    assert wait_for(lambda: fetch.at_once == 1)
    sources[0].revoke()
    threads = [threading.Thread(target=source.token) for source in sources[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (fetch.calls, fetch.most_at_once) == (3, 1)


def test_a_function_that_hangs_is_not_called_again() -> None:
    """While a call goes on for ever, others end in time, with an error that names the function."""
    over, calls = threading.Event(), []

    def hang() -> str:
        calls.append(1)
        over.wait(20)
        return "tok"

    grant = Custom(hang)
    begin(TokenSource(grant, timeout=0.2))
    assert wait_for(lambda: bool(calls))
    with pytest.raises(TokenTransportError, match=r"function .*hang still runs in another thread") as caught:
        TokenSource(grant, cache=MemoryCache(), timeout=0.1).token()
    assert caught.value.transient
    with pytest.raises(TokenTransportError, match=r"the callable of fetch \(.*hang\) has not returned"):
        TokenSource(grant, timeout=0.1).token()
    over.set()
    assert wait_for(lambda: TokenSource(grant).token().access_token == "tok")
    assert calls == [1]


def test_a_function_that_needs_its_own_token() -> None:
    """It gets an error, over another cache as well, and does not wait for itself."""

    def fetch() -> Any:
        return source.token()

    def over_another_cache() -> Any:
        return TokenSource(Custom(over_another_cache), cache=MemoryCache()).token()

    source = TokenSource(Custom(fetch))
    for tokens in (source, TokenSource(Custom(over_another_cache))):
        with pytest.raises(ConfigurationError, match="needs the very token"):
            tokens.token()


def test_the_token_of_another_source(server: Loopback) -> None:
    """The method of another token source is a function, too."""
    inner = TokenSource(Custom(Login(server)))
    assert TokenSource(Custom(inner.token)).token().access_token == "tok-1"


def test_identity() -> None:
    """Without a key the function makes grants equal; with one the key does. Neither shows in a repr."""
    assert Custom(login) == Custom(login)
    assert Custom(login) != Custom(lambda: "tok")
    assert Custom(login, key="a") == Custom(lambda: "tok", key="a")
    assert len({Custom(login), Custom(login), Custom(login, key="a"), Custom(login, key="b")}) == 3
    assert Custom(login) != Custom(login, key="a") != Custom(login, key="b") != "a"
    assert TokenSource(Custom(login, key="a"))._state is TokenSource(Custom(lambda: "tok", key="a"))._state
    grant = Custom(partial(max, "s3cr3t", "b"), key="my-account")
    assert repr(grant) == "Custom(partial)"
    assert repr(Custom(login)) == "Custom(login)"
    assert "my-account" not in repr(vars(grant))
    assert Custom(login).identity() is None
    assert Custom(login, key="a").identity() == {"grant": "Custom", "of": "auth_plugins._grants.custom", "key": "a"}

    class Tenant(Custom):
        pass

    one, other = Tenant(login, key="a"), Tenant(login, key="a")
    object.__setattr__(other, "tenant", "b")
    assert one != other
    assert one != Custom(login, key="a")
    assert one.identity() != other.identity()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tok",), "fetch must be a function without arguments, got str; give the function itself, not its result"),
        ((async_login,), "fetch must be a plain function, got a coroutine function; it runs in a thread"),
        (([].__len__, 5), "key"),
        ((login, ""), "key must not be empty"),
        ((login, 5), "key must be a str, got int"),
    ],
)
def test_arguments_that_cannot_work(arguments: tuple[Any, ...], message: str) -> None:
    """They are a ConfigurationError that names the argument."""
    fetch, *keys = arguments
    with pytest.raises(ConfigurationError, match=message):
        Custom(fetch, **({"key": keys[0]} if keys else {}))


def test_a_function_without_a_hash() -> None:
    """It needs a key, as nothing else tells equal grants."""

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> str:
            return "tok"

    with pytest.raises(ConfigurationError, match="fetch must be a function that can be hashed; give key as well"):
        Custom(Unhashable())
    assert TokenSource(Custom(Unhashable(), key="a")).token().access_token == "tok"


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_shared_cache_needs_a_key(driver: Driver, tmp_path: Path) -> None:
    """Without a key it is an error when the auth is made; the memory of the process needs none."""
    with pytest.raises(ConfigurationError, match=r"cache shared .* needs a key: .*; give Custom\(..., key=...\)"):
        driver.auth(Custom(login), cache=FileCache(tmp_path))
    assert driver.auth(Custom(login), cache=MemoryCache()).source.token().access_token == "tok-login"
    cache = FileCache(tmp_path)
    assert driver.auth(Custom(login, key="a"), cache=cache).source.token().access_token == "tok-login"
    assert "login" not in "".join(path.name for path in tmp_path.rglob("*"))


@pytest.mark.unmeasured
def test_processes_share_the_token_of_a_key(server: Loopback, tmp_path: Path) -> None:
    """Four processes that need a token at one moment make one call."""
    server.api = lambda _: Response("counted")
    with spawned(4) as pool:
        list(pool.map(time.sleep, [0.5] * 4))  # all four have started
        start = time.time() + 0.5
        tokens = [pool.submit(shared_token, server.url, str(tmp_path), start) for _ in range(4)]
        assert {token.result(60) for token in tokens} == {"tok-shared"}
    assert len(server.api_requests) == 1


def test_a_grant_is_pickled_and_copied() -> None:
    """It has the same function and key in another process; a lambda cannot be pickled."""
    for grant in (Custom(login), Custom(login, key="a"), Custom(partial(log_in, "http://127.0.0.1"), key="b")):
        again = pickle.loads(pickle.dumps(grant))
        assert (again.key, repr(again)) == (grant.key, repr(grant))
        assert again == grant == copy.deepcopy(grant)
        assert hash(again) == hash(grant)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(Custom(lambda: "tok"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_that_is_forked_during_a_call_calls_by_itself(server: Loopback) -> None:
    """The thread that called the function does not exist in the child: it waits for no turn."""
    over, parent = threading.Event(), os.getpid()

    def fetch() -> str:
        if os.getpid() == parent:
            over.wait(20)
        return "tok"

    source = TokenSource(Custom(fetch))
    begin(source)
    time.sleep(0.1)
    in_child(lambda: source.token().access_token == "tok")
    over.set()
    assert wait_for(lambda: source.token().access_token == "tok")


def test_nothing_keeps_the_function(server: Loopback) -> None:
    """A grant that is no longer used is not kept by the turns of its function."""

    class Fetch(Login):
        pass

    fetch = Fetch(server)
    TokenSource(Custom(fetch), cache=MemoryCache()).token()
    seen = weakref.ref(fetch)
    del fetch
    gc.collect()
    assert seen() is None


def test_what_is_logged(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    """The log tells of the token by the name of the function."""
    caplog.set_level("INFO", "auth_plugins")
    TokenSource(Custom(Login(server))).token()
    assert any("Custom(Login) issued a token (Custom)" in record.getMessage() for record in caplog.records)
