"""Tokens that processes share: one suite over files, Redis, and caches of one's own; see also test_processes.py."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    FileCache,
    Grant,
    Password,
    RedisCache,
    RefreshToken,
    Token,
    TokenRequestError,
    TokenSource,
)
from auth_plugins._caches import shared as _shared
from auth_plugins._caches.encryption import LONGEST
from auth_plugins._caches.shared import LockState

from . import stores
from .conftest import forget
from .drivers import ALL as DRIVERS
from .drivers import Driver, each
from .loopback import Clock, Loopback
from .redis_server import RedisServer
from .stores import (
    ALL,
    KEY,
    OTHER_KEY,
    PROMPT,
    REDIS,
    WITHOUT_KEY,
    LockingCache,
    OwnCache,
    Store,
    Touched,
    name_of,
    over,
    process,
    store_of,
    told,
)
from .test_source import PASSWORD, URL, Endpoint, expire, refusal, source, wait_for

endpoint, rotating, files, store, quick_names = (
    stores.endpoint,
    stores.rotating,
    stores.files,
    stores.store,
    stores.quick_names,
)
TOUCHED = Touched()
GRANT = ClientCredentials(URL, "client", "s3cr3t")


# One token for all


@over(ALL)
def test_another_process_finds_the_token(store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """I start ten workers: one token is asked for, all of them have it, and nothing is logged."""
    workers = [process(store, endpoint) for _ in range(10)]
    assert {worker.token().access_token for worker in workers} == {"token-1"}
    assert (len(endpoint.requests), told(caplog)) == (1, [])


@over([*REDIS, "files"])
def test_all_libraries_and_modes_share_one_token(store: Store, server: Loopback, grant: ClientCredentials) -> None:
    """Processes that use requests, httpx and httpx2, in threads, asyncio and trio: one token request for all."""
    for driver in DRIVERS:
        forget()
        assert driver.get(server.api_url, driver.auth(grant, cache=store.cache())).status == 200
    assert (len(server.token_requests), len(server.api_requests)) == (1, len(DRIVERS))


@pytest.mark.parametrize("driver", each(DRIVERS))
def test_one_process_renews_what_an_api_refused(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """My token is revoked early: one process asks for another, and the others find that when they meet a 401."""
    grant = ClientCredentials(server.token_url, "client", "s3cr3t")
    auths = []
    for _ in range(3):
        forget()
        auths.append(driver.auth(grant, cache=FileCache(tmp_path)))
    assert [driver.get(server.api_url, auth).status for auth in auths] == [200] * 3
    server.revoke()
    assert [driver.get(server.api_url, auth).status for auth in auths] == [200] * 3
    assert len(server.token_requests) == 2


def test_equal_caches_share_their_memory(files: Store, endpoint: Endpoint, tmp_path: Path) -> None:
    """Each of my modules makes its own FileCache of one directory: the second one finds the token without a file."""
    source(endpoint, cache=files.cache()).token()
    with TOUCHED.below(tmp_path) as events:
        source(endpoint, cache=files.cache()).token()
        assert events == []
        process(files, endpoint).token()
        assert events != [], "else nothing would be counted"
    assert len(endpoint.requests) == 1


def test_other_caches_share_nothing(endpoint: Endpoint, tmp_path: Path, redis_server: RedisServer) -> None:
    """Another directory, another key, another prefix, another database: another token."""
    url = redis_server.url
    caches: list[Any] = [
        FileCache(tmp_path / "a"),
        FileCache(tmp_path / "b"),
        FileCache(tmp_path / "a", key=KEY),
        FileCache(tmp_path / "a", key=OTHER_KEY),
        RedisCache(url),
        RedisCache(url, prefix="mine:"),
        RedisCache(url, key=KEY),
        RedisCache(url.removesuffix("0") + "1"),
        LockingCache(),
        LockingCache(),
    ]
    for turn in range(2):
        forget()
        got = [source(endpoint, cache=cache).token().access_token for cache in caches]
        assert len(set(got)) == len(caches) == len(endpoint.requests), turn
    assert len(set(map(repr, caches[:8]))) >= 5


def test_a_cache_that_cannot_be_hashed_will_do(endpoint: Endpoint) -> None:
    """My own cache compares by value, and so has no hash: it works, and its users share their memory."""

    class Unhashable(LockingCache):
        __hash__ = None  # type: ignore[assignment]
        reads = 0

        def get(self, key: str) -> str | None:
            self.reads += 1
            return super().get(key)

    cache, other = Unhashable(), Unhashable()
    for _ in range(3):
        assert source(endpoint, cache=cache).token().access_token == "token-1"
    assert cache.reads == 2, "before the lock, and under it"
    assert source(endpoint, cache=other).token().access_token == "token-2"


def test_auth_objects_that_come_and_go_find_their_memory(endpoint: Endpoint, tmp_path: Path) -> None:
    """I make a cache and an auth anew for each call: the token is still in memory, and no file is opened."""
    tenants = [tmp_path / str(number) for number in range(20)]
    for tenant in tenants:
        source(endpoint, cache=FileCache(tenant)).token()
    gc.collect()
    with TOUCHED.below(tmp_path) as events:
        for tenant in tenants:
            source(endpoint, cache=FileCache(tenant)).token()
    assert events == []


def test_caches_that_nobody_uses_any_more_go(endpoint: Endpoint) -> None:
    """I make a cache for each of a thousand tenants, and let it go: what is kept of them doesn't grow."""
    for _ in range(100):
        source(endpoint, cache=OwnCache()).token()
    gc.collect()
    assert len(_shared._all) <= 32


def test_an_api_key_is_stored_nowhere(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A constant key is no token: no other process, and no file, is told of it."""
    for name in [*ALL, "own without a lock"]:
        place = store_of(name, request)
        before = place.look()
        key = TokenSource(ApiKey("the-api-key"), cache=place.cache())
        assert key.token().access_token == "the-api-key"
        key.revoke()
        assert place.look() == before


class _OwnGrant(Grant):
    """A grant of a user's own, which knows no token endpoint."""

    def __init__(self, identity: dict[str, Any] | None) -> None:
        self._identity = identity

    def identity(self) -> dict[str, Any] | None:
        return self._identity

    def secrets(self) -> tuple[str, ...]:
        return ()

    def header_and_scheme(self) -> tuple[str, str]:
        return "Authorization", "Bearer"

    def request_token(self, ask: Any) -> Token:
        return Token(access_token="token-of-mine", issued_at=1.0)

    def refresh(self, ask: Any, refresh_token: str | None) -> None:
        return None

    def revocation_requests(self, access_token: str | None, refresh_token: str | None) -> tuple[()]:
        return ()


@over(WITHOUT_KEY)
def test_a_grant_of_ones_own_says_whether_it_is_shared(store: Store, endpoint: Endpoint) -> None:
    """My own grant's token is stored if the grant tells what it depends on, and stays in memory if it doesn't."""
    process(store, endpoint, _OwnGrant(None)).token()
    assert b"token-of-mine" not in store.look()
    process(store, endpoint, _OwnGrant({"grant": "of my own", "secret": "s3cr3t"})).token()
    assert b"token-of-mine" in store.look()
    assert b"s3cr3t" not in store.look()


def test_a_grant_that_cannot_be_named_is_told(endpoint: Endpoint) -> None:
    """What my own grant depends on is no text: I am told, and no token is shared under a name that tells it in part."""
    forget()
    tokens = source(endpoint, _OwnGrant({"grant": "of my own", "realms": frozenset("ab")}), cache=LockingCache())
    with pytest.raises(ConfigurationError, match="_OwnGrant has a field that is no text or number"):
        tokens.token()


def test_what_lands_after_a_revocation_is_in_no_cache(endpoint: Endpoint) -> None:
    """I revoke while I ask: who asked gets his token, and no other process finds it."""
    forget()
    cache = LockingCache()
    tokens = source(endpoint, cache=cache)

    def revoked_meanwhile() -> Any:
        tokens.revoke()
        return endpoint.issue

    endpoint.script = [revoked_meanwhile]
    assert tokens.token().access_token == "token-1"
    assert cache.entries == {}
    assert tokens.token().access_token == "token-2"


def test_with_two_keys_one_lock_that_is_held_will_do(tmp_path: Path, endpoint: Endpoint, clock: Clock) -> None:
    """While a key is rotated, another process holds one of two locks: I take neither, and wait."""
    forget()
    cache = FileCache(tmp_path, key=[KEY, OTHER_KEY])
    tokens = source(endpoint, cache=cache)
    shelf = tokens._shared_entry()
    assert shelf is not None
    first, second = sorted(shelf.names)
    with cache.lock(first, 1), shelf.locked(1) as held:
        assert held is LockState.BUSY
        with cache.lock(second, 1) as free:
            assert free is True
    with cache.lock(second, 1), shelf.locked(1) as held:
        assert held is LockState.BUSY


# What it costs


def test_a_warm_token_touches_no_file(files: Store, endpoint: Endpoint, clock: Clock, tmp_path: Path) -> None:
    """A thousand requests with a good token: not one file is opened."""
    endpoint.lifetime = 36000
    tokens = process(files, endpoint)
    with TOUCHED.below(tmp_path) as events:
        tokens.token()
        assert "open" in events
    with TOUCHED.below(tmp_path) as events:
        for _ in range(1000):
            tokens.token()
            clock.forward(1)
        asyncio.run(tokens.atoken())
    assert events == []


def test_a_warm_token_sends_nothing_to_redis(redis_server: RedisServer, endpoint: Endpoint, clock: Clock) -> None:
    """A thousand requests with a good token: Redis gets not one command."""
    endpoint.lifetime = 36000
    tokens = source(endpoint, cache=RedisCache(redis_server.url))
    with redis_server.client() as client:

        def commands() -> Any:
            return client.info("stats")["total_commands_processed"]

        own = commands() - commands()
        before = commands()
        tokens.token()
        assert commands() > before - own
        before = commands()
        for _ in range(1000):
            tokens.token()
            clock.forward(1)
        asyncio.run(tokens.atoken())
        assert commands() == before - own


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
def test_what_a_token_costs_in_redis(redis_server: RedisServer, endpoint: Endpoint, key: str | None) -> None:
    """Of Redis, who asks for a token takes four commands, and each process that finds it one."""
    sent: list[str] = []

    class Counting(redis.Redis):
        def execute_command(self, *arguments: Any, **options: Any) -> Any:
            sent.append(str(arguments[0]))
            return super().execute_command(*arguments, **options)

    with Counting(port=redis_server.port) as client:
        cache = RedisCache(client, key=key)
        source(endpoint, ClientCredentials(URL, "first", "s"), cache=cache).token()
        # With a key, a process that finds nothing looks once whether another key is used there.
        assert len(sent) <= (7 if key else 4)
        sent.clear()
        source(endpoint, cache=cache).token()
        assert sent == ["EVAL", "SET", "EVAL", "EVAL"]
        for _ in range(5):
            forget()
            sent.clear()
            source(endpoint, cache=cache).token()
            assert sent == ["EVAL"]
    assert len(endpoint.requests) == 2


# A token that was refused


@over(ALL)
def test_a_refused_token_may_have_been_replaced(store: Store, endpoint: Endpoint) -> None:
    """An API refuses my token: if another process has a new one by then, I take that, and nobody asks again."""
    mine, others = process(store, endpoint), process(store, endpoint)
    first = mine.token()
    assert others.token() == first
    others.invalidate(first)
    assert others.token().access_token == "token-2"
    mine.invalidate(first)
    assert mine.token().access_token == "token-2"
    assert len(endpoint.requests) == 2


@over([*ALL, "own without a lock"])
def test_a_refused_token_is_never_taken_again(store: Store, endpoint: Endpoint) -> None:
    """A refused token still lies in the cache, or is put there again by a slow process: I don't get it again."""
    mine = process(store, endpoint)
    first = mine.token()
    mine.invalidate(first)
    second = mine.token()
    shelf = mine._shared_entry()
    assert shelf is not None
    shelf.store(first, None)
    mine.invalidate(second)
    assert [token.access_token for token in (second, mine.token())] == ["token-2", "token-3"]


def test_without_a_lock_each_process_asks(endpoint: Endpoint) -> None:
    """My cache has no lock: a token that lies there is shared, and processes that start at once ask one by one."""
    cache = OwnCache()
    forget()
    one = source(endpoint, cache=cache)
    forget()
    two = source(endpoint, cache=cache)
    endpoint.script = [lambda: two.token() and endpoint.issue]
    one.token()
    assert len(endpoint.requests) == 2
    forget()
    source(endpoint, cache=cache).token()
    assert len(endpoint.requests) == 2


# Refresh tokens


@over([*ALL, "own without a lock"])
@pytest.mark.parametrize("grant", [PASSWORD, RefreshToken(URL, "mine"), GRANT], ids=lambda grant: type(grant).__name__)
def test_the_newest_refresh_token_is_used(store: Store, rotating: Endpoint, clock: Clock, grant: Any) -> None:
    """Two processes renew in turn, where each refresh token is good once: each of them is used once, and in order."""
    one, two = process(store, rotating, grant), process(store, rotating, grant)
    one.token()
    two.token()
    for renewing in (one, two, two, one, two):
        expire(clock)
        renewing.token()
    assert [body.partition("refresh_token=")[2].partition("&")[0] for body in rotating.bodies[1:]] == [
        f"refresh-{number}" for number in range(1, 6)
    ]


class Stepping(LockingCache):
    """Where something happens before whoever takes the lock has it."""

    before: Callable[[], Any] | None = None

    @contextlib.contextmanager
    def lock(self, key: str, lease: float) -> Any:
        step, self.before = self.before, None
        if step:
            step()
        with super().lock(key, lease) as held:
            yield held


def test_the_refresh_token_is_read_again_under_the_lock(rotating: Endpoint, clock: Clock) -> None:
    """While I wait for the lock, another process spends the refresh token that I saw: I send the one it got."""
    cache = Stepping()
    forget()
    one = source(rotating, PASSWORD, cache=cache)
    forget()
    two = source(rotating, PASSWORD, cache=cache)
    one.token()
    expire(clock)

    def renew_and_end() -> None:
        two.token()
        expire(clock)

    cache.before = renew_and_end
    assert one.token().access_token == "token-3"
    assert "refresh_token=refresh-2" in rotating.bodies[-1]


def test_the_token_is_looked_for_again_under_the_lock(endpoint: Endpoint) -> None:
    """While I wait for the lock, another process stores a token: I take it."""
    cache = Stepping()
    forget()
    one = source(endpoint, cache=cache)
    forget()
    two = source(endpoint, cache=cache)
    cache.before = two.token
    assert one.token() == two.token()
    assert len(endpoint.requests) == 1


def test_a_token_is_stored_before_it_is_handed_out(rotating: Endpoint) -> None:
    """A process that is killed with a new refresh token in its hands has stored it before it used anything of it."""

    class Noting(LockingCache):
        known: Any = "nothing was stored"

        def set(self, key: str, value: str, ttl: float) -> None:
            self.known = tokens._state.token, tokens._state.flight is None, self.locks[key].locked()
            super().set(key, value, ttl)

    cache = Noting()
    tokens = source(rotating, PASSWORD, cache=cache)
    tokens.token()
    assert cache.known == (None, False, True)
    assert "refresh-1" in str(cache.entries)


@over(WITHOUT_KEY)
def test_a_spent_refresh_token_is_gone(store: Store, rotating: Endpoint, clock: Clock) -> None:
    """Once a refresh token is replaced, it lies nowhere any more."""
    tokens = process(store, rotating, PASSWORD)
    tokens.token()
    assert b"refresh-1" in store.look()
    expire(clock)
    tokens.token()
    assert b"refresh-2" in store.look()
    assert b"refresh-1" not in store.look()


@over(WITHOUT_KEY)
@pytest.mark.parametrize("then", ["a token", "an error"])
def test_a_refused_refresh_token_gives_way_to_the_password(
    store: Store, rotating: Endpoint, clock: Clock, then: str
) -> None:
    """The refresh token that lies there is refused: my password is sent, and nobody meets that refresh token again."""
    process(store, rotating, PASSWORD).token()
    expire(clock)
    rotating.script = [refusal("invalid_grant", 400), *([refusal()] if then == "an error" else [])]
    other = process(store, rotating, PASSWORD)
    with pytest.raises(TokenRequestError) if then == "an error" else contextlib.nullcontext():
        other.token()
    assert ["password=pw" in body for body in rotating.bodies] == [True, False, True]
    assert b"refresh-1" not in store.look()
    expire(clock)
    process(store, rotating, PASSWORD).token()
    assert "refresh-1" not in rotating.bodies[-1]


@over([*ALL, "own without a lock"])
def test_a_token_that_is_over_is_stored_for_its_refresh_token_only(store: Store, endpoint: Endpoint) -> None:
    """A token has ended when it comes; it is stored if a refresh token comes with it, and else nowhere."""
    endpoint.lifetime = 1e-9
    tokens = process(store, endpoint)
    tokens.token()
    shelf = tokens._shared_entry()
    assert shelf is not None
    assert shelf.read() is None
    endpoint.refresh_tokens = True
    tokens.token()
    lying = shelf.read()
    assert lying is not None
    assert lying.refresh_token == "refresh-2"


@over(REDIS)
def test_redis_forgets_what_nobody_needs(store: Store, endpoint: Endpoint, redis_server: RedisServer) -> None:
    """An entry is gone from Redis when its token ends; one with a refresh token, or of an unknown end, stays long."""

    def lives_for(**answer: Any) -> float:
        vars(endpoint).update(answer)
        tokens = process(store, endpoint)
        tokens.invalidate(tokens.token())
        tokens.token()
        with redis_server.client() as client:
            return client.pttl(f"auth_plugins:{{{name_of(tokens)}}}") / 1000

    assert 3000 < lives_for() <= 3600
    assert lives_for(lifetime=None) > 30 * 86400
    assert lives_for(lifetime=3600, refresh_tokens=True) > 30 * 86400


@over(ALL)
def test_revoke_gives_back_what_is_shared(store: Store, rotating: Endpoint) -> None:
    """One process revokes: the server is told of the refresh token that another one got, and nobody finds it again."""
    grant = Password(URL, "me", "pw", revocation_url="https://id.example.com/revoke")
    process(store, rotating, grant).token()
    rotating.script = [({}, 200)] * 2
    process(store, rotating, grant).revoke()
    assert rotating.bodies[1:] == [
        "token=refresh-1&token_type_hint=refresh_token",
        "token=token-1&token_type_hint=access_token",
    ]
    assert process(store, rotating, grant).token().access_token == "token-2"
    assert "password=pw" in rotating.bodies[-1]


# Who waits for whom


@over(PROMPT)
def test_who_holds_the_lock_for_ever_holds_nobody_up_for_long(store: Store, endpoint: Endpoint, clock: Clock) -> None:
    """A process is stuck with the lock: I wait a little longer than its request may take, ever less often, and ask."""
    tokens = process(store, endpoint)
    with store.cache().lock(name_of(tokens), 3600) as held:
        assert held is True
        assert tokens.token().access_token == "token-1"
    lease = 12.5
    assert lease < sum(clock.sleeps) < lease + 2
    assert clock.sleeps[0] <= 0.01
    assert 0.2 < max(clock.sleeps) <= 0.5
    assert len(clock.sleeps) < 80
    # It was another's to store; from now on it is in memory.
    assert tokens.token().access_token == "token-1"
    assert len(endpoint.requests) == 1


def test_who_waits_takes_what_is_stored_meanwhile(endpoint: Endpoint, clock: Clock) -> None:
    """Another process asks: I look every now and then, and have its token as soon as it is there."""
    cache = LockingCache()
    forget()
    one = source(endpoint, cache=cache)
    forget()
    two = source(endpoint, cache=cache)
    name = name_of(one)
    with cache.lock(name, 10):
        sleep = clock.sleep

        def store_after_a_second(seconds: float) -> None:
            sleep(seconds)
            if sum(clock.sleeps) > 1 and not cache.entries:
                cache.locks[name].release()
                two.token()
                cache.locks[name].acquire()

        clock.sleep = store_after_a_second  # type: ignore[method-assign]
        assert one.token() == two.token()
    assert 1 < sum(clock.sleeps) < 2
    assert len(endpoint.requests) == 1


@over(PROMPT)
def test_nobody_waits_for_a_renewal_ahead(store: Store, endpoint: Endpoint, clock: Clock) -> None:
    """Another process renews the token ahead of time: mine serves on, nobody waits, and it is looked at again later."""
    tokens, other = process(store, endpoint), process(store, endpoint)
    first = tokens.token()
    clock.forward(3600 - 180)
    with store.cache().lock(name_of(tokens), 3600):
        assert tokens.token() is first
        assert wait_for(lambda: tokens._state.refresh_after > 0 and tokens._state.flight is None)
        assert [tokens.token() for _ in range(5)] == [first] * 5
    assert (clock.sleeps, len(endpoint.requests)) == ([], 1)
    other.token()
    assert wait_for(lambda: other.token() != first)
    clock.forward(61)
    tokens.token()
    assert wait_for(lambda: tokens.token() != first)
    assert tokens.token() == other.token()
    assert len(endpoint.requests) == 2, "what the other one stored was found"


@over([*ALL, "own without a lock"])
def test_a_renewal_ahead_looks_for_a_newer_token(store: Store, endpoint: Endpoint, clock: Clock) -> None:
    """My token is near its end, and no other process has renewed it: what lies there is the same, and I renew it."""
    tokens = process(store, endpoint)
    first = tokens.token()
    clock.forward(3600 - 180)
    tokens.token()
    assert wait_for(lambda: tokens.token() != first)
    assert len(endpoint.requests) == 2
    assert process(store, endpoint).token().access_token == "token-2"


class TestLease:
    """A lock in Redis ends by itself, for its holder may be lost."""

    @pytest.fixture
    def client(self, redis_server: RedisServer) -> Any:
        with redis_server.client(decode_responses=True) as client:
            yield client

    def end(self, client: Any) -> None:
        """Have all locks end, as time would."""
        client.delete(*client.keys("*:lock"))

    def test_a_lock_has_one_holder_and_an_end(self, redis_server: RedisServer, client: Any) -> None:
        """While I hold a lock nobody else does; it ends at the latest when it was to; and at once if I let go."""
        one, two = RedisCache(redis_server.url), RedisCache(redis_server.url)
        with one.lock("name", 7) as mine:
            with two.lock("name", 7) as others:
                assert (mine, others) == (True, False)
            assert 0 < client.pttl("auth_plugins:{name}:lock") <= 7000
        with two.lock("name", 7) as others:
            assert others is True
        assert client.keys() == []

    def test_an_entry_ends_with_a_lock_and_without_one(self, redis_server: RedisServer, client: Any) -> None:
        """What I store is gone when I said that nobody needs it any more, however little that leaves of it."""
        cache = RedisCache(redis_server.url)
        cache.set("name", "text", 60)
        assert 0 < client.pttl("auth_plugins:{name}") <= 60_000
        with cache.lock("name", 7):
            cache.set("name", "text", 30)
        assert 0 < client.pttl("auth_plugins:{name}") <= 30_000
        cache.set("name", "text", 0.0001)
        assert client.pttl("auth_plugins:{name}") <= 1

    def test_who_lost_the_lock_stores_nothing(self, redis_server: RedisServer, client: Any) -> None:
        """I was stalled for too long, and another took over: what I got replaces nothing, and its lock stays."""
        one, two = RedisCache(redis_server.url), RedisCache(redis_server.url)
        with contextlib.ExitStack() as stack:
            with one.lock("name", 7):
                self.end(client)
                assert stack.enter_context(two.lock("name", 7)) is True
                with pytest.raises(RuntimeError, match="lock had ended"):
                    one.set("name", "mine", 60)
                assert one.get("name") is None
            with one.lock("name", 7) as again:
                assert again is False, "letting go of a lock that ended leaves its new holder alone"
            two.set("name", "its", 60)
            with one.lock("name", 7) as again:
                assert again is True, "who stores lets go of the lock"
        assert one.get("name") == "its"

    def test_a_token_that_came_too_late_serves_me_alone(
        self, redis_server: RedisServer, client: Any, rotating: Endpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        """My token came after my lock had ended: I use it, the successor's stays where it is, and I am told of it."""
        late, successor = RedisCache(redis_server.url), RedisCache(redis_server.url)
        forget()
        slow = source(rotating, PASSWORD, cache=late)
        forget()
        quick = source(rotating, PASSWORD, cache=successor)

        def stall() -> Any:
            self.end(client)
            quick.token()
            return rotating.issue

        rotating.script = [stall]
        assert slow.token().access_token == "token-2"
        assert quick.token().access_token == "token-1"
        forget()
        assert source(rotating, PASSWORD, cache=RedisCache(redis_server.url)).token().access_token == "token-1"
        [warning] = told(caplog)
        assert "not stored" in warning

    def test_an_answer_that_was_lost_changes_nothing(self, redis_server: RedisServer, endpoint: Endpoint) -> None:
        """My client of Redis sends a command again whose answer was lost: what was stored counts as stored."""

        class Twice(redis.Redis):
            def execute_command(self, *arguments: Any, **options: Any) -> Any:
                if arguments[0] == "EVAL":
                    super().execute_command(*arguments, **options)
                return super().execute_command(*arguments, **options)

        with Twice(port=redis_server.port) as client:
            cache = RedisCache(client)
            with cache.lock("name", 7):
                cache.set("name", "text", 60)
            assert cache.get("name") == "text"
            with cache.lock("name", 7) as held:
                assert held


def test_a_locked_file_has_one_holder(tmp_path: Path) -> None:
    """While I hold a lock of a FileCache nobody else does, in another thread neither."""
    one, two = FileCache(tmp_path), FileCache(tmp_path)
    seen = []

    def try_it() -> None:
        with two.lock("name", 7) as held:
            seen.append(held)

    with one.lock("name", 7) as held:
        seen.append(held)
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    try_it()
    assert seen == [True, False, True]


# What Redis sends


@pytest.fixture
def cluster() -> Any:
    """A client of a Redis Cluster of one node."""
    server = RedisServer("--cluster-enabled", "yes").start()
    try:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            assert wait_for(lambda: client.cluster("info")["cluster_state"] == "ok")
        with redis.RedisCluster(host="127.0.0.1", port=server.port) as client:
            yield client
    finally:
        server.close()


def test_a_cluster_is_a_redis_as_any(cluster: Any, rotating: Endpoint, clock: Clock) -> None:
    """Tokens are shared, renewed and forgotten in a Redis Cluster, each with its lock in one slot."""
    cache = RedisCache(cluster)
    for number in (1, 2):
        for _ in range(2):
            forget()
            tokens = source(rotating, PASSWORD, cache=cache)
            assert tokens.token().access_token == f"token-{number}"
        expire(clock)
    assert (len(cache.names()), len(rotating.requests)) == (1, 2)
    cluster.set(f"auth_plugins:{{{cache.names()[0]}}}", b" " * (LONGEST + 1))
    assert cache.get(cache.names()[0]) == ""
    tokens.revoke()
    assert cache.names() == []


def _sent(server: RedisServer) -> int:
    """Bytes that Redis has sent so far."""
    with server.client() as client:
        return int(client.info("stats")["total_net_output_bytes"])


@over(REDIS)
@pytest.mark.parametrize("name", ["entry", "key-check"])
def test_what_is_too_long_for_a_token_is_not_sent(
    store: Store, name: str, endpoint: Endpoint, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Something of 16 MiB lies in the place of an entry: Redis does not send it, and a token replaces the entry."""
    tokens = process(store, endpoint)
    key = name_of(tokens) if name == "entry" else name
    with redis_server.client() as client:
        client.setrange(f"auth_plugins:{{{key}}}", 16 << 20, b"x")
    before = _sent(redis_server)
    assert tokens.token().access_token == "token-1"
    assert process(store, endpoint).token() == tokens.token()
    assert _sent(redis_server) - before < 1 << 20
    assert len(told(caplog)) <= 1
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(("length", "is_read"), [(LONGEST, True), (LONGEST + 1, False)])
def test_the_longest_entry_is_the_same_in_files_and_redis(
    length: int, is_read: bool, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Files and Redis read an entry of up to 8 MiB."""
    text = "x" * length
    with redis_server.client(decode_responses=True) as client:
        for cache in (FileCache(tmp_path), RedisCache(redis_server.url), RedisCache(client)):
            cache.set("name", text, 60)
            assert cache.get("name") == (text if is_read else "")


# Clocks


@over(REDIS)
def test_a_token_lies_in_redis_no_longer_than_it_lives(
    store: Store, endpoint: Endpoint, clock: Clock, redis_server: RedisServer
) -> None:
    """The clock was ten years ahead when the token was issued, and is set right before it is stored."""
    years = 10 * 365 * 86400.0
    tokens = process(store, endpoint)
    shelf = tokens._shared_entry()
    assert shelf is not None
    now = clock.now
    for issued_at, expires_at, least, most in [
        (now + years, now + years + 3600, 3500, 3600),
        (now, now + 3600, 3500, 3600),
        (now - 1800, now + 1800, 1700, 1800),
        (now, now + 100 * years, 0, 180 * 86400),
        (now, 1e300, 0, 180 * 86400),
    ]:
        token = Token(access_token="any", issued_at=issued_at, expires_at=expires_at)
        assert shelf.store(token, None) is True
        with redis_server.client() as client:
            assert least < client.pttl(f"auth_plugins:{{{name_of(tokens)}}}") / 1000 <= most
    assert shelf.store(Token(access_token="any", issued_at=now + years, expires_at=now + 60), None) is False


# What only a look at the code would find


def test_locks_are_taken_in_one_order(tmp_path: Path, endpoint: Endpoint) -> None:
    """While a key is rotated each process takes its two locks in the same order, whatever the order of its keys."""
    orders = []
    for key in ([KEY, OTHER_KEY], [OTHER_KEY, KEY]):
        forget()
        cache = FileCache(tmp_path, key=key)
        taken: list[str] = []
        lock = cache.lock

        def note(name: str, lease: float, taken: Any = taken, lock: Any = lock) -> Any:
            taken.append(name)
            return lock(name, lease)

        shared = _shared.shared_cache_for(cache)
        cache.lock = note  # type: ignore[method-assign]
        shelf = shared.shelf(GRANT, shared.memory.state(GRANT))
        assert shelf is not None
        with shelf.locked(1) as held:
            assert held is LockState.ACQUIRED
        orders.append(taken)
    assert len(orders[0]) == 2
    assert orders[0] == orders[1]


def test_a_finalizer_may_need_a_cache_while_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector runs a finalizer, which makes an auth object, while its thread makes one: both go on."""
    made: list[TokenSource] = []

    class Interrupted(_shared.SharedCache):
        def __init__(self, cache: Any) -> None:
            super().__init__(cache)
            monkeypatch.undo()
            made.append(TokenSource(GRANT, cache=FileCache(tmp_path)))

    monkeypatch.setattr(_shared, "SharedCache", Interrupted)
    thread = threading.Thread(target=lambda: made.append(TokenSource(GRANT, cache=FileCache(tmp_path))), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert len(made) == 2
    assert made[0]._shared is made[1]._shared


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_a_fork_while_a_cache_is_made(tmp_path: Path) -> None:
    """A process forks while another thread makes an auth object: the child makes its own, and waits for nobody."""
    program = """
import faulthandler, os, signal, sys, threading
from auth_plugins import ClientCredentials, FileCache, TokenSource
from auth_plugins._caches import shared as _shared
from auth_plugins._caches.shared import LockState
grant = ClientCredentials("https://id.example.com/token", "client", "s3cr3t")
with _shared._lock:
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        TokenSource(grant, cache=FileCache(sys.argv[1]))
        os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout == "0\n"


@over(WITHOUT_KEY)
def test_what_another_process_stored_is_not_forgotten(store: Store, rotating: Endpoint) -> None:
    """A token is forgotten only while it is what lies there: another process may have stored a newer one."""
    tokens = process(store, rotating, PASSWORD)
    first = tokens.token()
    other = process(store, rotating, PASSWORD)
    other.invalidate(other.token())
    second = other.token()
    shelf = tokens._shared_entry()
    assert shelf is not None
    shelf.delete(first)
    assert shelf.read() == second
    shelf.delete(second)
    assert shelf.read() is None
