"""What stays in memory of failures, of sources, and of sessions that identify the client."""

from __future__ import annotations

import gc
import inspect
import logging
import math
import threading
import weakref
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import httpx
import httpx2
import pytest
import requests

import auth_plugins.requests
from auth_plugins import (
    AuthError,
    ClientCredentials,
    ConfigurationError,
    FileCache,
    MemoryCache,
    Password,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._base.frames import without_frames
from auth_plugins._source.negative_cache import back_off
from tests.support.drivers import SYNC, SyncDriver, each
from tests.support.loopback import Clock, Loopback
from tests.support.sources import URL, Endpoint, refusal, source
from tests.support.stores import LockingCache


@pytest.fixture
def _unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors are not kept for the search for secrets, which every test of this suite ends with."""
    monkeypatch.setattr(AuthError, "__init__", inspect.unwrap(AuthError.__init__))


unwatched = pytest.mark.usefixtures("_unwatched")


def frames_of(found: list[Any], error: BaseException | None) -> list[Any]:
    """All tracebacks that hang on an error, its causes and contexts."""
    if error is not None:
        found += [error.__traceback__] if error.__traceback__ else []
        frames_of(found, error.__cause__)
        frames_of(found, error.__context__)
    return found


class Big:
    """Stands for what a caller's variables hold."""


@unwatched
def test_a_remembered_refusal_keeps_no_frame(endpoint: Endpoint) -> None:
    """The variables of a caller are freed with its error: neither waiters nor the remembered refusal keep them."""
    tokens, flights = source(endpoint), []

    def refuse() -> Any:
        flights.append(tokens._state.flight)
        return refusal()

    endpoint.script = [refuse]

    def fetch() -> weakref.ref[Big]:
        big = Big()
        with pytest.raises(TokenRequestError):
            tokens.token()
        return weakref.ref(big)

    freed = fetch()
    gc.collect()
    assert freed() is None
    failure, [flight] = tokens._state.failure, flights
    assert failure is not None
    assert flight is not None
    assert frames_of([], failure.error) == frames_of([], flight.exception()) == []
    with pytest.raises(TokenRequestError, match="invalid_client") as caught:
        tokens.token()
    assert caught.value.status_code == 401


@unwatched
def test_errors_and_frames_do_not_keep_each_other(endpoint: Endpoint) -> None:
    """An error is freed with its last reference: the garbage collector need not run."""
    tokens = source(endpoint)
    endpoint.script = [refusal()]
    gc.collect()
    gc.disable()
    try:
        before = set(map(id, gc.get_objects()))
        try:
            tokens.token()
        except TokenRequestError as error:
            frame = _frame_of(error.__traceback__, "_lead")
            code = frame.f_code
            del frame
        alive = [each for each in gc.get_objects() if isinstance(each, FrameType) and each.f_code is code]
        alive = [each for each in alive if id(each) not in before]  # without those of other tests
    finally:
        gc.enable()
    assert alive == []


def _frame_of(traceback: TracebackType | None, name: str) -> FrameType:
    while traceback is not None and traceback.tb_frame.f_code.co_name != name:
        traceback = traceback.tb_next
    assert traceback is not None
    return traceback.tb_frame


class JoinedError(Exception):
    """An error whose arguments are not its text."""

    def __init__(self, one: str, two: str) -> None:
        self.one, self.two = one, two
        super().__init__("together")


class StubbornError(Exception):
    """An error that cannot be made again."""

    def __new__(cls, one: str, two: str) -> Self:
        return super().__new__(cls, "together")

    def __init__(self, one: str, two: str) -> None:
        super().__init__("together")


class OddError(Exception):
    def __copy__(self) -> Any:
        return self


def test_causes_are_kept_without_their_frames() -> None:
    """The causes of a remembered error are kept without their frames; one that cannot be copied is left out."""

    def caught(cause: Exception) -> AuthError:
        try:
            try:
                try:
                    threading.local().__dict__["inner"]
                except KeyError as inner:
                    raise cause from inner
            except Exception as outer:
                raise TokenTransportError("down") from outer
        except TokenTransportError as error:
            return error
        raise AssertionError

    kept = without_frames(caught(ValueError("outer")))
    assert (repr(kept), repr(kept.__cause__)) == ("TokenTransportError('down')", "ValueError('outer')")
    assert kept.__cause__ is not None
    assert repr(kept.__cause__.__cause__) == "KeyError('inner')"
    assert frames_of([], kept) == []
    assert [without_frames(caught(each)).__cause__ for each in (StubbornError("a", "b"), OddError())] == [None, None]
    joined = without_frames(caught(JoinedError("a", "b"))).__cause__
    assert isinstance(joined, JoinedError)
    assert (str(joined), joined.one, joined.two, joined.__traceback__) == ("together", "a", "b", None)
    plain = TokenTransportError("down")
    plain.__cause__ = ConfigurationError("never raised")
    assert without_frames(plain).__cause__ is plain.__cause__


@unwatched
def test_refused_tenants_are_dropped(endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """1,200 grants are refused, one after the other: no state holds a frame, and those of the past are dropped."""
    caplog.set_level(logging.WARNING, "auth_plugins")
    cache = MemoryCache()
    endpoint.script = [refusal()] * 1200
    for number in range(1200):
        with pytest.raises(TokenRequestError):
            source(endpoint, ClientCredentials(URL, f"client-{number}", "s"), cache=cache).token()
        clock.forward(0.1)
    failures = [state.failure for state in cache._kept if state.failure is not None]
    assert [frames_of([], failure.error) for failure in failures] == [[]] * len(failures)
    assert len(cache._states) <= 512


def test_a_back_off_stays_a_number() -> None:
    """After thousands of refusals in a row the seconds of a back-off are still a number."""
    assert math.isfinite(back_off(5000))


def pieces() -> list[str]:
    """The classes of the objects that token sources have built."""
    kinds = [type(each) for each in gc.get_objects()]
    return [
        each.__name__
        for each in kinds
        if str(each.__module__).startswith("auth_plugins._source") and each is not TokenSource
    ]


def test_an_auth_with_a_warm_token_builds_no_piece(endpoint: Endpoint) -> None:
    """An auth that is built for one request, and finds a fresh token, builds nothing that fetches one."""
    grant, cache = ClientCredentials(URL, "client", "s3cr3t"), MemoryCache()
    source(endpoint, grant, cache=cache).token()
    gc.collect()
    before, auths = pieces(), []
    for _ in range(10):
        auths.append(auth_plugins.requests.OAuth2Auth(grant, cache=cache))
        request = requests.Request("GET", "https://api.example.com/", auth=auths[-1]).prepare()
        assert request.headers["Authorization"] == "Bearer token-1"
    assert pieces() == before


# Grants without a secret.

LIBRARIES: dict[str, Any] = {"requests": requests.Session, "httpx": httpx.Client, "httpx2": httpx2.Client}


def made(driver: SyncDriver, server: Loopback, session: Any, **arguments: Any) -> Any:
    """An auth whose client only its session tells."""
    grant = arguments.pop("grant", None) or ClientCredentials(server.token_url, "client")
    name = "session" if driver.library == "requests" else "client"
    return driver.auth(grant, **{name: session}, **arguments)


@pytest.mark.parametrize("driver", each(SYNC))
def test_sessions_that_identify_the_client_share_no_token(driver: SyncDriver, server: Loopback, tmp_path: Path) -> None:
    """A grant without a secret has one token for each session, a refusal of its own, and none in a shared cache."""
    one, other = LIBRARIES[driver.library](), LIBRARIES[driver.library]()
    with one, other:
        for arguments in ({}, {"cache": FileCache(tmp_path)}):
            auths = [made(driver, server, session, **arguments) for session in (one, one, other)]
            assert auths[0].source.token() is auths[1].source.token()
            assert auths[0].source.token() != auths[2].source.token()
            assert auths[0]._state is auths[0].source._state
        assert list(tmp_path.glob("*.token")) == []
    assert len(server.token_requests) == 4


def test_equal_sessions_share_no_token(server: Loopback) -> None:
    """Sessions of a class with an ``==`` of its own, and without a hash, have a token each all the same."""

    class Equal(requests.Session):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

    grant, sessions = ClientCredentials(server.token_url, "client"), (Equal(), Equal())
    cache = MemoryCache()
    auths = [auth_plugins.requests.OAuth2Auth(grant, session=session, cache=cache) for session in sessions]
    assert auths[0].source.token() != auths[1].source.token()
    again = auth_plugins.requests.OAuth2Auth(grant, session=sessions[0], cache=cache)
    assert again.source.token() is auths[0].source.token()


@pytest.mark.parametrize("driver", each(SYNC))
def test_sessions_of_a_client_with_a_secret_share_its_token(driver: SyncDriver, server: Loopback) -> None:
    """A grant with a secret, a password or a refresh token has one token, whatever sends its request."""
    for grant in (ClientCredentials(server.token_url, "c", "s"), Password(server.token_url, "me", "pw")):
        auths = [made(driver, server, LIBRARIES[driver.library](), grant=grant) for _ in range(2)]
        assert auths[0].source.token() is auths[1].source.token()
    assert len(server.token_requests) == 2


def test_a_new_session_in_the_place_of_a_freed_one_has_its_own_token(server: Loopback) -> None:
    """A session is closed and freed: one that is made in its place gets a token of its own, and nothing is kept."""
    grant = ClientCredentials(server.token_url, "client")
    cache = MemoryCache()
    for _ in range(5):
        session = requests.Session()
        auth = auth_plugins.requests.OAuth2Auth(grant, session=session, cache=cache)
        auth.source.token()
        gone = weakref.ref(session)
        del session, auth
        gc.collect()
        assert gone() is None
    assert len(server.token_requests) == 5


@pytest.mark.parametrize("cache", [MemoryCache(), LockingCache()], ids=["memory", "shared"])
def test_an_auth_that_is_dropped_frees_its_session(server: Loopback, cache: Any) -> None:
    """An auth that fetched a token is dropped: its source and its session are freed before the collector runs."""
    session = requests.Session()
    auth = auth_plugins.requests.OAuth2Auth(
        ClientCredentials(server.token_url, "id", "s"), session=session, cache=cache
    )
    gc.disable()
    try:
        auth.source.token()
        freed = weakref.ref(session), weakref.ref(auth.source)
        del session, auth
        assert [each() for each in freed] == [None, None]
    finally:
        gc.enable()


def test_sessions_of_one_source_share_no_token(server: Loopback) -> None:
    """A TokenSource is given to two auths with sessions of their own: each has its own token."""
    tokens = auth_plugins.TokenSource(ClientCredentials(server.token_url, "client"))
    one, other = (auth_plugins.requests.OAuth2Auth(tokens, session=requests.Session()) for _ in range(2))
    assert len({each.token().access_token for each in (tokens, one.source, other.source)}) == 3
