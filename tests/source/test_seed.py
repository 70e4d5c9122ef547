"""Tokens that were obtained elsewhere, and are seeded."""

from __future__ import annotations

import inspect
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    Password,
    RefreshToken,
    Token,
    TokenRequestError,
    TokenSource,
)
from auth_plugins._source import wiring
from tests.support import stores
from tests.support.frames import variables_in, variables_of
from tests.support.loopback import Clock
from tests.support.sources import PASSWORD, URL, Endpoint, refusal, source
from tests.support.stores import ALL, Store, over, process


@pytest.mark.parametrize(("lifetime", "usable"), [(3600, 3540), (30, 27)])
def test_a_seeded_token_is_used_without_a_request(endpoint: Endpoint, clock: Clock, lifetime: int, usable: int) -> None:
    """A seeded token is used until its leeway. Without a time of issue its lifetime counts from its seeding."""
    tokens = source(endpoint)
    token = Token(access_token="seeded", expires_at=clock.now + lifetime)
    tokens.seed(token)
    assert tokens.token() is token
    assert endpoint.requests == []
    clock.forward(usable + 0.5)
    assert tokens.token().access_token == "token-1"


def test_an_answer_is_read_as_that_of_a_token_endpoint(endpoint: Endpoint, clock: Clock) -> None:
    """The members of an answer make a token whose lifetime counts from now, and whose refresh token is used."""
    tokens = source(endpoint, PASSWORD)
    tokens.seed({"access_token": "seeded", "token_type": "bearer", "expires_in": "600", "refresh_token": "rt"})
    token = tokens.token()
    assert (token.access_token, token.expires_at, token.header_value) == ("seeded", clock.now + 600, "Bearer seeded")
    clock.forward(600)
    tokens.token()
    assert "refresh_token=rt" in endpoint.bodies[0]


def test_a_readable_expires_at_counts_more_than_expires_in(endpoint: Endpoint, clock: Clock) -> None:
    """A dict that an OAuth library stored a while ago has both members: the moment counts, and not the seconds."""
    tokens = source(endpoint)
    tokens.seed({"access_token": "seeded", "expires_in": 3600, "expires_at": clock.now + 100})
    assert tokens.token().expires_at == clock.now + 100
    tokens.seed({"access_token": "seeded", "expires_in": 3600, "expires_at": None})
    assert tokens.token().expires_at == clock.now + 3600


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "access_token"),
        ({"access_token": "c4n4ry\n"}, "access_token"),
        ({"access_token": b"c4n4ry"}, "access_token"),
        ({"access_token": "c4n4ry", "error": "invalid_client"}, "error"),
        ({"access_token": "c4n4ry", "token_type": ["c4n4ry"]}, "token_type"),
        ({"access_token": "c4n4ry", "expires_at": {"c4n4ry"}}, "expires_at"),
        ("c4n4ry", "got a str"),
        (None, "got a NoneType"),
        (Token(access_token="c4n4ry\n"), "access_token"),
        (Token(access_token=""), "access_token"),
        (Token(access_token="c4n4ry\u00fc"), "access_token"),
        (Token(access_token="c4n4ry", refresh_token="c4n4ry\n"), "refresh_token"),
        (Token(access_token="c4n4ry", expires_at="c4n4ry"), "expires_at"),  # type: ignore[arg-type]
        (Token(access_token="c4n4ry", expires_at=math.nan), "expires_at"),
    ],
    ids=range(14),
)
def test_the_error_for_what_is_no_token_names_the_member(endpoint: Endpoint, given: Any, named: str) -> None:
    """The error names the member that is wrong. No value is in the message, nor in a frame's variables."""
    tokens = source(endpoint)
    with pytest.raises(ConfigurationError, match=rf"\b{named}\b") as caught:
        tokens.seed(given)
    message = str(caught.value)
    assert "c4n4ry" not in message + variables_of(caught.value)
    assert message.isprintable()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert tokens.token().access_token == "token-1"


@pytest.mark.parametrize("step", ["get", "set"])
def test_no_frame_holds_the_seeded_members_while_they_are_stored(endpoint: Endpoint, step: str) -> None:
    """While a shared cache is asked, and if that is interrupted, no variable of our frames shows the given members."""
    logged: list[str] = []

    def interrupt(*_: Any) -> Any:
        logged.append(variables_in(info.frame for info in inspect.stack(0)))
        raise KeyboardInterrupt

    cache = stores.LockingCache()
    setattr(cache, step, interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        source(endpoint, cache=cache).seed({"access_token": "c4n4ry", "refresh_token": "c4n4ry"})
    assert "c4n4ry" not in logged[0] + variables_of(caught.value)


@pytest.mark.parametrize("others", [{}, {"expires_in": 3600}, {"expires_in": "3600"}], ids=str)
@pytest.mark.parametrize("seconds", [0.0, 100.0, 1e6])
def test_a_stored_answer_that_has_expired_is_refreshed(
    endpoint: Endpoint, clock: Clock, others: dict[str, Any], seconds: float
) -> None:
    """A stored answer whose moment has passed counts as expired: its refresh token is used at the next call."""
    tokens = source(endpoint, PASSWORD)
    members = {"access_token": "seeded", "expires_at": clock.now - seconds, "refresh_token": "rt"}
    tokens.seed({**members, **others})
    assert tokens.token().access_token == "token-1"
    assert ["refresh_token=rt" in body for body in endpoint.bodies] == [True]


def test_a_seed_ends_a_remembered_refusal(endpoint: Endpoint) -> None:
    """The endpoint refused a moment ago: a seeded token is used all the same."""
    tokens = source(endpoint)
    endpoint.script = [refusal()]
    with pytest.raises(TokenRequestError):
        tokens.token()
    tokens.seed({"access_token": "seeded"})
    assert tokens.token().access_token == "seeded"


def test_a_rejected_token_may_be_seeded(endpoint: Endpoint) -> None:
    """A token that was rejected is used again once it is seeded, over a shared cache too."""
    tokens = source(endpoint, cache=stores.LockingCache())
    token = tokens.token()
    tokens.invalidate(token)
    tokens.seed(token)
    assert tokens.token() is token


def test_waiters_get_a_seeded_token(endpoint: Endpoint) -> None:
    """Waiters for a token request that hangs get the seeded token, and so does its leader."""
    asked, release = threading.Event(), threading.Event()

    def hang() -> Any:
        asked.set()
        release.wait(10)
        return endpoint.issue

    endpoint.script = [hang]
    tokens = source(endpoint)
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(tokens.token)
        assert asked.wait(10)
        flight = tokens._state.flight
        assert flight is not None
        waiters = [pool.submit(tokens.token) for _ in range(2)]
        while len(flight._waiters) < 2:
            time.sleep(0.001)
        tokens.seed({"access_token": "seeded"})
        assert [waiter.result(10).access_token for waiter in waiters] == ["seeded"] * 2
        release.set()
        assert leader.result(10).access_token == "seeded"
    assert tokens.token().access_token == "seeded"


@pytest.mark.parametrize(
    "late",
    [refusal("invalid_grant", 400), ({"access_token": "late", "expires_in": 3600, "refresh_token": "late-rt"}, 200)],
    ids=["refused", "refreshed"],
)
def test_a_seeded_refresh_token_outlives_a_late_answer(endpoint: Endpoint, clock: Clock, late: Any) -> None:
    """A token is seeded before a refresh is answered: the seeded refresh token is the one to be used from then on."""
    endpoint.refresh_tokens = True
    tokens = source(endpoint, PASSWORD)
    tokens.token()
    clock.forward(3600)

    def seeded() -> Any:
        tokens.seed(Token(access_token="seeded", expires_at=clock.now + 600, refresh_token="rt"))
        return late

    endpoint.script = [seeded]
    assert tokens.token().access_token == "seeded"
    clock.forward(600)
    tokens.token()
    assert "refresh_token=rt" in endpoint.bodies[-1]


def test_a_key_may_be_seeded(endpoint: Endpoint) -> None:
    """A grant without a token endpoint takes a seeded token as well."""
    tokens = TokenSource(ApiKey("key"))
    tokens.seed({"access_token": "other"})
    assert tokens.token().access_token == "other"


@over(ALL)
@pytest.mark.parametrize("grant", [PASSWORD, ClientCredentials(URL, "client", "s3cr3t")], ids=["user", "client"])
def test_other_processes_find_a_seeded_token(store: Store, endpoint: Endpoint, clock: Clock, grant: Any) -> None:
    """A shared cache holds the seeded token and its refresh token; each process uses them, one after the other."""
    first = process(store, endpoint, grant)
    first.token()
    first.seed(Token(access_token="seeded", expires_at=clock.now + 3600, refresh_token="rt"))
    assert first.token().access_token == "seeded"
    second = process(store, endpoint, grant)
    assert second.token().access_token == "seeded"
    clock.forward(3600)
    renewed = first.token().access_token
    assert "refresh_token=rt" in endpoint.bodies[-1]
    assert (second.token().access_token, len(endpoint.requests)) == (renewed, 2)


def test_a_refresh_token_grant_keeps_a_seeded_refresh_token(endpoint: Endpoint, clock: Clock) -> None:
    """A RefreshToken grant has nothing else: the seeded refresh token stays in memory beside the shared cache."""
    cache = stores.LockingCache()
    tokens = source(endpoint, RefreshToken(URL, "own"), cache=cache)
    tokens.seed(Token(access_token="seeded", expires_at=clock.now + 3600, refresh_token="rt"))
    cache.entries.clear()
    clock.forward(3600)
    tokens.token()
    assert "refresh_token=rt" in endpoint.bodies[0]


@over(ALL)
def test_a_seed_waits_for_the_lock(
    store: Store, endpoint: Endpoint, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seeded token is stored after the token of another process that holds the lock."""
    other = process(store, endpoint)
    tokens = process(store, endpoint)
    entry = wiring.shared_entry(other)
    assert entry is not None
    free = threading.Event()
    monkeypatch.setattr(clock, "sleep", lambda _: free.wait(10))
    with entry.locked(10.0):
        seeding = threading.Thread(target=tokens.seed, args=[{"access_token": "seeded"}])
        seeding.start()
        while tokens._state.token is None:
            time.sleep(0.001)
        assert entry.read() is None
        entry.store(Token(access_token="other", issued_at=1.0), None)
    free.set()
    seeding.join(20)
    assert not seeding.is_alive()
    found = entry.read()
    assert found is not None
    assert found.access_token == "seeded"


def test_a_seed_over_a_broken_cache_serves_this_process(endpoint: Endpoint) -> None:
    """The cache cannot store the seeded token: this process uses it, and its refresh token."""

    class Broken(stores.OwnCache):
        def set(self, key: str, value: str, ttl: float) -> None:
            raise OSError("full")

    tokens = source(endpoint, Password(URL, "me", "pw"), cache=Broken())
    tokens.seed({"access_token": "seeded", "refresh_token": "rt"})
    assert tokens.token().access_token == "seeded"
    tokens.invalidate(tokens.token())
    tokens.token()
    assert "refresh_token=rt" in endpoint.bodies[0]
