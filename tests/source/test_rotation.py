"""Refresh tokens that rotate, where the grant itself is one of them: none that has a successor is sent again."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any
from urllib.parse import parse_qsl

import pytest

from auth_plugins import ClientAssertion, MemoryCache, Password, RefreshToken, TokenRequestError, TokenTransportError
from auth_plugins._base.runtime import runtime
from tests.support import stores
from tests.support.forks import forks, in_child
from tests.support.loopback import Clock
from tests.support.sources import PASSWORD, URL, Endpoint, expire, refusal, sent, source, unfinished
from tests.support.stores import ALL, Store, over, process

GRANT = RefreshToken(URL, "rt-0")


@over(ALL)
def test_no_process_goes_back_to_a_refresh_token_with_a_successor(
    store: Store, rotating: Endpoint, clock: Clock
) -> None:
    """The successor in the shared cache is refused: each process gets that error, and none sends the grant's own."""
    first = process(store, rotating, GRANT)
    first.token()
    expire(clock)
    for tokens in (first, process(store, rotating, GRANT), process(store, rotating, GRANT)):
        rotating.script = [TokenTransportError("lost"), refusal("invalid_grant", 400)]
        with pytest.raises(TokenRequestError, match="invalid_grant"):
            tokens.token()
    assert sent(rotating) == ["rt-0", *["refresh-1"] * 6]


@over(ALL)
def test_a_successor_is_found_by_the_next_assertion(store: Store, rotating: Endpoint, clock: Clock) -> None:
    """A process that begins when the client's assertion was renewed sends the newest refresh token."""
    numbers = itertools.count()
    grant = RefreshToken(URL, "rt-0", "app", client_auth=ClientAssertion(lambda: f"a.b.{next(numbers)}"))
    for _ in range(3):
        process(store, rotating, grant).token()
        expire(clock)
    forms = [dict(parse_qsl(body)) for body in rotating.bodies]
    assert [form["refresh_token"] for form in forms] == ["rt-0", "refresh-1", "refresh-2"]
    assert len({form["client_assertion"] for form in forms}) == 3


@over(ALL)
def test_a_new_refresh_token_of_the_user_is_sent_at_once(store: Store, rotating: Endpoint, clock: Clock) -> None:
    """The user puts a new refresh token in: each process sends it, or finds what came of it."""
    own = ["rt-0"]
    grant = RefreshToken(URL, lambda: own[0])
    workers = [process(store, rotating, grant) for _ in range(2)]
    workers[0].token()
    expire(clock)
    rotating.script = [refusal("invalid_grant", 400)] * 2
    for worker in workers:
        with pytest.raises(TokenRequestError):
            worker.token()
    own[0] = "new"
    rotating.script = []
    assert {worker.token().access_token for worker in workers} == {"token-2"}


def test_a_refresh_token_that_is_not_replaced_is_sent_again(endpoint: Endpoint, clock: Clock) -> None:
    """A server that does not rotate gets the grant's own refresh token each time."""
    tokens = source(endpoint, GRANT)
    for _ in range(3):
        tokens.token()
        expire(clock)
    assert sent(endpoint) == ["rt-0"] * 3


def test_a_script_that_ends_loses_no_refresh_token(
    rotating: Endpoint, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a shared cache a RefreshToken grant has no background refresh; in memory it has."""
    for cache, renews in ((stores.LockingCache(), False), (MemoryCache(), True)):
        tokens = source(rotating, GRANT, cache=cache, leeway=30.0)
        tokens.token()
        begun: list[Any] = []
        monkeypatch.setattr(runtime, "start_thread", lambda function, _, begun=begun: begun.append(function))
        clock.forward(3600 - 100)
        tokens.token()
        assert (len(begun), len(sent(rotating))) == (int(renews), 1)
        rotating.requests.clear()


def test_a_refused_refresh_token_is_cleared_before_the_grant_is_used(rotating: Endpoint, clock: Clock) -> None:
    """The request that follows a refused refresh is interrupted: the refused refresh token is not sent again."""

    def interrupt() -> Any:
        raise KeyboardInterrupt

    tokens = source(rotating, PASSWORD)
    tokens.token()
    expire(clock)
    rotating.script = [refusal("invalid_grant", 400), interrupt]
    with pytest.raises(KeyboardInterrupt):
        tokens.token()
    tokens.token()
    assert ["refresh_token=" in body for body in rotating.bodies] == [False, True, False, False]


def test_a_new_refresh_token_is_kept_before_the_attempt_completes(rotating: Endpoint, clock: Clock) -> None:
    """The attempt is interrupted after the refresh: the next one sends the new refresh token, not the spent one."""

    class Interrupted(stores.LockingCache):
        interrupts = False

        def set(self, key: str, value: str, ttl: float) -> None:
            if self.interrupts:
                raise KeyboardInterrupt
            super().set(key, value, ttl)

    cache = Interrupted()
    tokens = source(rotating, Password(URL, "me", "pw"), cache=cache)
    tokens.token()
    expire(clock)
    cache.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        tokens.token()
    cache.interrupts = False
    tokens.token()
    assert sent(rotating)[1:] == ["refresh-1", "refresh-2"]


# After a fork


@forks
def test_a_child_leaves_the_refresh_token_to_its_parent(rotating: Endpoint, clock: Clock) -> None:
    """A forked child sends the password, its parent the refresh token: that is sent once."""
    tokens = source(rotating, Password(URL, "me", "pw"))
    tokens.token()
    expire(clock)
    in_child(lambda: tokens.token() and "password=pw" in rotating.bodies[-1])
    tokens.token()
    assert "refresh_token=refresh-1" in rotating.bodies[-1]


@forks
def test_a_child_sends_no_refresh_token_that_its_parent_replaced(rotating: Endpoint, clock: Clock) -> None:
    """The parent has the successor of the grant's own refresh token: the child sends neither, and raises why."""
    tokens = source(rotating, GRANT)
    tokens.token()
    expire(clock)

    def raises_why() -> bool:
        for get in (tokens.token, lambda: asyncio.run(tokens.atoken())):
            try:
                get()
            except TokenRequestError as error:
                if "the process that forked this one" not in str(error):
                    return False
            else:
                return False
        return len(rotating.requests) == 1

    in_child(raises_why)


@forks
def test_a_child_has_the_token_and_no_flight_of_its_parent(endpoint: Endpoint) -> None:
    """A child that is forked in mid-request, while a thread holds the lock, has an equal token, and a free lock."""
    cache = MemoryCache()
    tokens = source(endpoint, cache=cache)
    token = tokens.token()
    other = source(endpoint, RefreshToken(URL, "other"), cache=cache)
    unfinished(other)
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with cache.lock:
            held.set()
            free.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)

    def goes_on() -> bool:
        mine = tokens.token()
        fresh = source(endpoint, RefreshToken(URL, "third"), cache=cache)
        return (
            cache.lock.acquire(timeout=10)
            and mine == token
            and mine is not token
            and tokens._state.seen[0] is mine
            and other._state.flight is None
            and fresh.token().access_token == "token-2"
        )

    in_child(goes_on)
    free.set()
    thread.join()


def test_the_first_refresh_token_is_not_sent_again_after_many_rotations(rotating: Endpoint, clock: Clock) -> None:
    """The sixth successor is refused, later revoked: an error is raised, and the grant's own is not sent again."""
    tokens = source(rotating, GRANT)
    for _ in range(6):
        tokens.invalidate(tokens.token())
    sent_before = ["rt-0", *(f"refresh-{number}" for number in range(1, 6))]
    assert sent(rotating) == sent_before
    rotating.script = [refusal("invalid_grant", 400)] * 10
    with pytest.raises(TokenRequestError, match="invalid_grant"):
        tokens.token()
    tokens.revoke()
    for _ in range(2):
        with pytest.raises(TokenRequestError, match="obtain a new refresh token") as caught:
            tokens.token()
        assert caught.value.error == "invalid_grant"
        clock.forward(3600)
    assert sent(rotating) == [*sent_before, "refresh-6"]


def test_a_spent_refresh_token_is_not_sent_when_the_user_configures_it(rotating: Endpoint, clock: Clock) -> None:
    """The user's secret becomes a refresh token that this process has spent meanwhile: it is not sent again."""
    own = ["rt-0"]
    tokens = source(rotating, RefreshToken(URL, lambda: own[0]))
    for _ in range(3):
        tokens.token()
        expire(clock)
    own[0] = "refresh-1"
    rotating.script = [refusal("invalid_grant", 400)]
    with pytest.raises(TokenRequestError):
        tokens.token()
    assert sent(rotating) == ["rt-0", "refresh-1", "refresh-2", "refresh-3"]
