"""How the pieces behind a TokenSource work together: what a split of them could lose."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

import auth_plugins.requests
from auth_plugins import ClientCredentials, MemoryCache, Password, TokenSource
from tests.support import stores
from tests.support.loopback import Clock
from tests.support.sources import PASSWORD, URL, Endpoint, expire, refusal, sent, source, wait_for
from tests.support.stores import forget


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


def test_the_name_of_the_entry_follows_the_secret(endpoint: Endpoint) -> None:
    """The name of the entry in a shared cache is computed for each attempt, as the secret may have changed."""
    secrets, cache = ["first"], stores.LockingCache()
    grant = ClientCredentials(URL, "client", lambda: secrets[0])
    tokens = source(endpoint, grant, cache=cache)
    tokens.token()
    secrets[0] = "second"
    tokens.invalidate(tokens.token())
    assert tokens.token().access_token == "token-2"
    assert len(cache.entries) == 2
    forget()
    assert (
        source(endpoint, ClientCredentials(URL, "client", lambda: "second"), cache=cache).token().access_token
        == "token-2"
    )


def test_a_refresh_by_another_process_is_not_hurried(endpoint: Endpoint, clock: Clock) -> None:
    """While another process refreshes, the token is used without waiting, and the next look comes later."""

    class Counting(stores.LockingCache):
        looks = 0

        def get(self, key: str) -> str | None:
            self.looks += 1
            return super().get(key)

    cache = Counting()
    tokens = source(endpoint, cache=cache)
    first = tokens.token()
    [name] = cache.entries
    clock.forward(3600 - 180)
    with cache.lock(name, 60.0) as is_held:
        assert is_held
        assert tokens.token() is first
        assert wait_for(lambda: tokens._state.flight is None)
        looks = cache.looks
        assert [tokens.token() for _ in range(5)] == [first] * 5
    assert (clock.sleeps, len(endpoint.requests), cache.looks) == ([], 1, looks)


def test_an_interrupted_attempt_is_repeated_at_once(endpoint: Endpoint) -> None:
    """Ctrl-C ends the attempt of the leader: nothing is remembered of it, and the next call sends a request."""

    def interrupt() -> Any:
        raise KeyboardInterrupt

    endpoint.script = [interrupt]
    tokens = source(endpoint)
    with pytest.raises(KeyboardInterrupt):
        tokens.token()
    assert tokens.token().access_token == "token-1"
    assert len(endpoint.requests) == 2


def test_a_revoked_attempt_completes_for_its_waiters_only(endpoint: Endpoint) -> None:
    """Leader and waiters of an attempt that was revoked get its token; it is deleted from the shared cache."""
    cache = stores.LockingCache()
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
        flight: Any = tokens._state.flight
        waiter = pool.submit(tokens.token)
        assert wait_for(lambda: len(flight._waiters) == 1)
        tokens.revoke()
        release.set()
        assert {each.result(10).access_token for each in (leader, waiter)} == {"token-1"}
    assert cache.entries == {}
    assert tokens.token().access_token == "token-2"


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
