"""Tokens that processes share: one suite over files, Redis, and caches of a user's own; see also tests/processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import weakref
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
from auth_plugins._caches.shared_entry import LockState
from tests.support.drivers import ALL as DRIVERS
from tests.support.drivers import Driver, each
from tests.support.forks import forks, in_child
from tests.support.loopback import Clock, Loopback
from tests.support.redis_server import RedisServer
from tests.support.sources import PASSWORD, URL, Endpoint, expire, refusal, source, wait_for
from tests.support.stores import (
    ALL,
    KEY,
    OTHER_KEY,
    PROMPT,
    REDIS,
    WITHOUT_KEY,
    LockingCache,
    OwnCache,
    Store,
    entry_of,
    forget,
    logged,
    name_of,
    over,
    process,
    store_of,
)

GRANT = ClientCredentials(URL, "client", "s3cr3t")
NO_LOCK = "own without a lock"


# One token for all


@over(ALL)
def test_another_process_finds_the_token(store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Ten processes that start one after the other use one token; nothing is logged."""
    workers = [process(store, endpoint) for _ in range(10)]
    assert {worker.token().access_token for worker in workers} == {"token-1"}
    assert (len(endpoint.requests), logged(caplog)) == (1, [])


@over([*REDIS, "files"])
def test_all_libraries_and_modes_share_one_token(store: Store, server: Loopback, grant: ClientCredentials) -> None:
    """Processes that use requests, httpx and httpx2, in threads, asyncio and trio, send one token request."""
    for driver in DRIVERS:
        forget()
        assert driver.get(server.api_url, driver.auth(grant, cache=store.cache())).status == 200
    assert (len(server.token_requests), len(server.api_requests)) == (1, len(DRIVERS))


@pytest.mark.parametrize("driver", each(DRIVERS))
def test_one_process_replaces_what_an_api_rejected(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """After the token is revoked, one process fetches another, and the others find it when they meet a 401."""
    grant = ClientCredentials(server.token_url, "client", "s3cr3t")
    auths = []
    for _ in range(3):
        forget()
        auths.append(driver.auth(grant, cache=FileCache(tmp_path)))
    assert [driver.get(server.api_url, auth).status for auth in auths] == [200] * 3
    server.revoke()
    assert [driver.get(server.api_url, auth).status for auth in auths] == [200] * 3
    assert len(server.token_requests) == 2


def test_a_cache_that_cannot_be_hashed_works(endpoint: Endpoint) -> None:
    """A cache of a user's own without a hash works, and its sources share their memory."""

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


def test_caches_that_are_made_for_each_call_find_their_memory(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal caches, made for each call, share their memory: no file is opened for a warm token."""
    opened, open_file = [], os.open

    def note(path: Any, *arguments: Any, **more: Any) -> int:
        opened.append(path)
        return open_file(path, *arguments, **more)

    monkeypatch.setattr(os, "open", note)
    for is_warm in (False, True):
        gc.collect()
        opened.clear()
        for number in range(20):
            tokens = source(endpoint, cache=FileCache(tmp_path / str(number)))
            assert tokens.token() == asyncio.run(tokens.atoken())
        assert (opened == []) is is_warm


def test_the_memory_of_unused_caches_is_freed(endpoint: Endpoint) -> None:
    """Of a hundred caches that are not used any more, the memory of a few is kept."""
    alive = []
    for _ in range(100):
        tokens = source(endpoint, cache=OwnCache())
        tokens.token()
        alive.append(weakref.ref(tokens._state))
    del tokens
    gc.collect()
    assert sum(state() is not None for state in alive) <= 32


def test_an_api_key_is_stored_nowhere(request: pytest.FixtureRequest) -> None:
    """A constant key is not stored in a shared cache."""
    for name in [*ALL, NO_LOCK]:
        place = store_of(name, request)
        before = place.look()
        key = TokenSource(ApiKey("the-api-key"), cache=place.cache())
        assert key.token().access_token == "the-api-key"
        key.revoke()
        assert place.look() == before


class OwnGrant(Grant):
    """A grant of a user's own, without a token endpoint."""

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
def test_the_identity_of_a_grant_decides_whether_it_is_shared(store: Store, endpoint: Endpoint) -> None:
    """The token of a grant without an identity stays in memory; an identity that is not JSON is an error."""
    process(store, endpoint, OwnGrant(None)).token()
    assert b"token-of-mine" not in store.look()
    process(store, endpoint, OwnGrant({"grant": "of my own", "secret": "s3cr3t"})).token()
    assert b"token-of-mine" in store.look()
    assert b"s3cr3t" not in store.look()
    with pytest.raises(ConfigurationError, match="OwnGrant has a field that is neither text nor number"):
        process(store, endpoint, OwnGrant({"grant": "of my own", "realms": frozenset("ab")})).token()


# What it costs


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
def test_the_commands_that_a_token_costs_in_redis(
    redis_server: RedisServer, endpoint: Endpoint, key: str | None
) -> None:
    """A process that fetches a token sends four commands to Redis, one that finds it one, and a warm token none.

    Without a key, each of them reads the name key first.
    """
    name_key = [] if key else ["EVAL"]
    sent: list[str] = []

    class Counting(redis.Redis):
        def execute_command(self, *arguments: Any, **options: Any) -> Any:
            sent.append(str(arguments[0]))
            return super().execute_command(*arguments, **options)

    with Counting(port=redis_server.port) as client:
        cache = RedisCache(client, key=key)
        source(endpoint, ClientCredentials(URL, "first", "s"), cache=cache).token()
        # With a key, a process that finds nothing checks once whether another key is in use.
        assert len(sent) <= (7 if key else 5)
        sent.clear()
        source(endpoint, cache=cache).token()
        assert sent == [*name_key, "EVAL", "SET", "EVAL", "EVAL"]
        sent.clear()
        tokens = process(cache, endpoint)
        for _ in range(100):
            tokens.token()
        assert sent == [*name_key, "EVAL"]
    assert len(endpoint.requests) == 2


# Rejected tokens


@over([*ALL, NO_LOCK])
def test_a_rejected_token_is_never_used_again(store: Store, endpoint: Endpoint) -> None:
    """A rejected token that a slow process stores again is not used by the process that rejected it."""
    mine = process(store, endpoint)
    first = mine.token()
    mine.invalidate(first)
    second = mine.token()
    entry_of(mine).store(first, None)
    mine.invalidate(second)
    assert [token.access_token for token in (second, mine.token())] == ["token-2", "token-3"]


@over(WITHOUT_KEY)
def test_only_the_token_that_is_stored_is_deleted(store: Store, rotating: Endpoint) -> None:
    """A token is deleted only while it is the stored one: another process may have stored a newer one."""
    tokens = process(store, rotating, PASSWORD)
    first = tokens.token()
    other = process(store, rotating, PASSWORD)
    other.invalidate(other.token())
    second = other.token()
    entry = entry_of(tokens)
    entry.delete(first)
    assert entry.read() == second
    entry.delete(second)
    assert entry.read() is None


@over(ALL)
def test_revoke_sends_and_deletes_what_is_shared(store: Store, rotating: Endpoint) -> None:
    """A process revokes the tokens that another one stored, and deletes them."""
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


def test_a_revoked_token_that_cannot_be_deleted_is_not_used(endpoint: Endpoint) -> None:
    """A revoked token of another process that stays in the cache is not used by the process that revoked it."""

    class Keeping(LockingCache):
        def delete(self, key: str) -> None:
            raise OSError("read-only")

    cache = Keeping()
    process(cache, endpoint).token()
    tokens = process(cache, endpoint)
    tokens.revoke()
    assert tokens.token().access_token == "token-2"


# Refresh tokens


@over([*ALL, NO_LOCK])
@pytest.mark.parametrize("grant", [PASSWORD, RefreshToken(URL, "mine"), GRANT], ids=lambda grant: type(grant).__name__)
def test_the_newest_refresh_token_is_used(store: Store, rotating: Endpoint, clock: Clock, grant: Any) -> None:
    """Two processes that refresh in turn send each rotating refresh token once, in order."""
    one, two = process(store, rotating, grant), process(store, rotating, grant)
    one.token()
    two.token()
    for refreshing in (one, two, two, one, two):
        expire(clock)
        refreshing.token()
    assert [body.partition("refresh_token=")[2].partition("&")[0] for body in rotating.bodies[1:]] == [
        f"refresh-{number}" for number in range(1, 6)
    ]


class Stepping(LockingCache):
    """A cache in which something happens before its lock is taken."""

    before: Callable[[], Any] | None = None

    @contextlib.contextmanager
    def lock(self, key: str, lease: float) -> Any:
        step, self.before = self.before, None
        if step:
            step()
        with super().lock(key, lease) as held:
            yield held


def test_the_entry_is_read_again_under_the_lock(rotating: Endpoint, clock: Clock) -> None:
    """A token, or a refresh token, that another process stored while this one waited for the lock is used."""
    cache = Stepping()
    one, two = process(cache, rotating, PASSWORD), process(cache, rotating, PASSWORD)
    cache.before = two.token
    assert one.token() == two.token()
    assert len(rotating.requests) == 1
    expire(clock)

    def refresh_and_expire() -> None:
        two.token()
        expire(clock)

    cache.before = refresh_and_expire
    assert one.token().access_token == "token-3"
    assert "refresh_token=refresh-2" in rotating.bodies[-1]


def test_a_token_is_stored_before_it_is_used(rotating: Endpoint) -> None:
    """A new refresh token is stored, under the lock, before this process uses anything of it: it may be killed."""

    class Noting(LockingCache):
        known: Any = "nothing was stored"

        def set(self, key: str, value: str, ttl: float) -> None:
            self.known = tokens._state.token, tokens._state.flight is None, self.locks[key].locked()
            super().set(key, value, ttl)

    cache = Noting()
    tokens = process(cache, rotating, PASSWORD)
    tokens.token()
    assert cache.known == (None, False, True)
    assert "refresh-1" in str(cache.entries)


@over(WITHOUT_KEY)
@pytest.mark.parametrize("then", ["a successor", "a token for the password", "an error"])
def test_a_replaced_or_refused_refresh_token_is_deleted(
    store: Store, rotating: Endpoint, clock: Clock, then: str
) -> None:
    """A refresh token that was replaced or refused is stored nowhere, and not sent again; then the password is."""
    process(store, rotating, PASSWORD).token()
    assert b"refresh-1" in store.look()
    expire(clock)
    if then != "a successor":
        rotating.script = [refusal("invalid_grant", 400), *([refusal()] if then == "an error" else [])]
    other = process(store, rotating, PASSWORD)
    with pytest.raises(TokenRequestError) if then == "an error" else contextlib.nullcontext():
        other.token()
    passwords = [True, False] if then == "a successor" else [True, False, True]
    assert ["password=pw" in body for body in rotating.bodies] == passwords
    assert b"refresh-1" not in store.look()
    expire(clock)
    process(store, rotating, PASSWORD).token()
    assert "refresh-1" not in rotating.bodies[-1]


@over([*ALL, NO_LOCK])
def test_an_expired_token_is_stored_for_its_refresh_token_only(store: Store, endpoint: Endpoint) -> None:
    """A token that has expired when it arrives is stored if a refresh token comes with it."""
    endpoint.lifetime = 1e-9
    tokens = process(store, endpoint)
    tokens.token()
    entry = entry_of(tokens)
    assert entry.read() is None
    endpoint.refresh_tokens = True
    tokens.token()
    stored = entry.read()
    assert stored is not None
    assert stored.refresh_token == "refresh-2"


# How long an entry is stored


@over(REDIS)
def test_an_entry_in_redis_expires(store: Store, endpoint: Endpoint, clock: Clock, redis_server: RedisServer) -> None:
    """An entry in Redis expires with its token; with a refresh token, or without an expiry, after 180 days."""
    tokens = process(store, endpoint)
    entry, now = entry_of(tokens), clock.now
    years, longest = 10 * 365 * 86400.0, 180 * 86400
    for issued_at, expires_at, refresh_token, least, most in [
        (now, now + 3600, None, 3500, 3600),
        (now - 1800, now + 1800, None, 1700, 1800),
        (now + years, now + years + 3600, None, 3500, 3600),  # a clock that was ahead
        (now, now + 100 * years, None, longest - 10, longest),
        (now, 1e300, None, longest - 10, longest),
        (now, None, None, longest - 10, longest),
        (now, now + 3600, "refresh", longest - 10, longest),
    ]:
        token = Token(access_token="any", issued_at=issued_at, expires_at=expires_at, refresh_token=refresh_token)
        assert entry.store(token, None) is True
        with redis_server.client() as client:
            assert least < client.pttl(f"auth_plugins:{{{name_of(tokens)}}}") / 1000 <= most
    assert entry.store(Token(access_token="any", issued_at=now + years, expires_at=now + 60), None) is False


# Waiting for another process


@over(PROMPT)
def test_a_lock_holder_that_is_stuck_is_not_waited_for_long(store: Store, endpoint: Endpoint, clock: Clock) -> None:
    """A lock holder that is stuck is waited for a little longer than its lease, with few looks, or fewer and fewer."""
    tokens = process(store, endpoint)
    with store.cache().lock(name_of(tokens), 3600) as held:
        assert held is True
        assert tokens.token().access_token == "token-1"
    lease = 12.5
    assert lease < sum(clock.sleeps) < lease + 2
    assert clock.sleeps[0] <= (0.5 if isinstance(store.cache(), FileCache | RedisCache) else 0.01)
    assert 0.2 < max(clock.sleeps) <= 0.5
    assert len(clock.sleeps) < 80
    assert tokens.token().access_token == "token-1", "it is not stored, but in memory"
    assert len(endpoint.requests) == 1


def test_a_token_that_is_stored_meanwhile_ends_the_wait(endpoint: Endpoint, clock: Clock) -> None:
    """A process that waits for the lock holder uses its token as soon as it is stored."""
    cache = LockingCache()
    one, two = process(cache, endpoint), process(cache, endpoint)
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
def test_no_request_waits_for_a_background_refresh(store: Store, endpoint: Endpoint, clock: Clock) -> None:
    """While another process refreshes the token, the present one is used; the entry is read again later."""
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
    assert len(endpoint.requests) == 2


def test_without_a_lock_each_process_fetches(endpoint: Endpoint) -> None:
    """Over a cache without a lock, processes that start at once send one token request each; others find the token."""
    cache = OwnCache()
    one, two = process(cache, endpoint), process(cache, endpoint)
    endpoint.script = [lambda: two.token() and endpoint.issue]
    one.token()
    assert len(endpoint.requests) == 2
    process(cache, endpoint).token()
    assert len(endpoint.requests) == 2


# Locks


def test_with_two_keys_an_entry_has_two_locks(tmp_path: Path) -> None:
    """With two keys both locks are taken, in one order whatever the order of the keys; one that is held is enough."""
    orders = []
    for key in ([KEY, OTHER_KEY], [OTHER_KEY, KEY]):
        taken: list[str] = []

        class Noting(FileCache):
            def lock(self, key: str, lease: float, /, taken: list[str] = taken) -> Any:
                taken.append(key)
                return super().lock(key, lease)

        entry = entry_of(TokenSource(GRANT, cache=Noting(tmp_path, key=key)))
        with entry.locked(1) as lock:
            assert lock is LockState.ACQUIRED
        orders.append(taken)
    first, second = orders[0]
    assert orders[1] == [first, second]
    cache = FileCache(tmp_path)
    with cache.lock(first, 1), entry.locked(1) as lock:
        assert lock is LockState.BUSY
        with cache.lock(second, 1) as is_free:
            assert is_free is True
    with cache.lock(second, 1), entry.locked(1) as lock:
        assert lock is LockState.BUSY


class TestLockInRedis:
    """A lock in Redis ends by itself, as its holder may be lost."""

    @pytest.fixture
    def client(self, redis_server: RedisServer) -> Any:
        with redis_server.client(decode_responses=True) as client:
            yield client

    def end(self, client: Any) -> None:
        """End all locks, as time would."""
        client.delete(*client.keys("*:lock"))

    def test_a_lock_has_one_holder_and_an_end(self, redis_server: RedisServer, client: Any) -> None:
        """A lock in Redis has one holder, until it is released or its lease is over; entries expire as well."""
        one, two = RedisCache(redis_server.url), RedisCache(redis_server.url)
        with one.lock("name", 7) as mine:
            with two.lock("name", 7) as others:
                assert (mine, others) == (True, False)
            assert 0 < client.pttl("auth_plugins:{name}:lock") <= 7000
        with two.lock("name", 7) as others:
            assert others is True
        assert client.keys() == []
        one.set("name", "text", 60)
        assert 0 < client.pttl("auth_plugins:{name}") <= 60_000
        with one.lock("name", 7):
            one.set("name", "text", 30)
        assert 0 < client.pttl("auth_plugins:{name}") <= 30_000
        one.set("name", "text", 0.0001)
        assert client.pttl("auth_plugins:{name}") <= 1

    def test_a_process_that_lost_the_lock_stores_nothing(self, redis_server: RedisServer, client: Any) -> None:
        """A process whose lock ended stores nothing, and does not release the lock of the next holder."""
        one, two = RedisCache(redis_server.url), RedisCache(redis_server.url)
        with contextlib.ExitStack() as stack:
            with one.lock("name", 7):
                self.end(client)
                assert stack.enter_context(two.lock("name", 7)) is True
                with pytest.raises(RuntimeError, match="lock had ended"):
                    one.set("name", "mine", 60)
                assert one.get("name") is None
            with one.lock("name", 7) as again:
                assert again is False
            two.set("name", "its", 60)
            with one.lock("name", 7) as again:
                assert again is True, "storing an entry releases its lock"
        assert one.get("name") == "its"

    def test_a_late_token_is_used_by_its_process_alone(
        self, redis_server: RedisServer, client: Any, rotating: Endpoint, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A token that arrives after the lock ended is used but not stored; a warning says so."""
        slow, quick = (process(RedisCache(redis_server.url), rotating, PASSWORD) for _ in range(2))

        def stall() -> Any:
            self.end(client)
            quick.token()
            return rotating.issue

        rotating.script = [stall]
        assert slow.token().access_token == "token-2"
        assert quick.token().access_token == "token-1"
        assert process(RedisCache(redis_server.url), rotating, PASSWORD).token().access_token == "token-1"
        [warning] = logged(caplog)
        assert "not stored" in warning

    def test_an_answer_that_was_lost_changes_nothing(self, redis_server: RedisServer) -> None:
        """A command that a client sends again, as its answer was lost, does no harm."""

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


def test_a_cluster_works_as_any_redis(rotating: Endpoint, clock: Clock) -> None:
    """Tokens are shared, refreshed and deleted in a Redis Cluster, where an entry and its lock are in one slot."""
    server = RedisServer("--cluster-enabled", "yes").start()
    try:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            assert wait_for(lambda: client.cluster("info")["cluster_state"] == "ok")
        with redis.RedisCluster(host="127.0.0.1", port=server.port) as cluster:
            cache = RedisCache(cluster)
            for number in (1, 2):
                for _ in range(2):
                    tokens = process(cache, rotating, PASSWORD)
                    assert tokens.token().access_token == f"token-{number}"
                expire(clock)
            assert (len(cache.names()), len(rotating.requests)) == (1, 2)
            tokens.revoke()
            assert cache.names() == []
    finally:
        server.close()


# Long entries


@over(REDIS)
@pytest.mark.parametrize("name", ["entry", "key-check"])
def test_redis_does_not_send_what_is_too_long_for_a_token(
    store: Store, name: str, endpoint: Endpoint, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis does not send an entry of 16 MiB; a token replaces it."""
    tokens = process(store, endpoint)
    key = name_of(tokens) if name == "entry" else name
    with redis_server.client() as client:

        def sent() -> int:
            return int(client.info("stats")["total_net_output_bytes"])

        client.setrange(f"auth_plugins:{{{key}}}", 16 << 20, b"x")
        before = sent()
        assert tokens.token().access_token == "token-1"
        assert process(store, endpoint).token() == tokens.token()
        assert sent() - before < 1 << 20
    assert len(logged(caplog)) <= 1
    assert len(endpoint.requests) == 1


# While a SharedCache is made


class Interrupted(LockingCache):
    """A cache that is equal to all of its kind, and in whose first comparison something happens."""

    when_compared: list[Callable[[], Any]]

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        if self.when_compared:
            self.when_compared.pop()()
        return isinstance(other, Interrupted)


def test_a_finalizer_may_make_a_source_while_one_is_made() -> None:
    """A finalizer that runs while its thread makes an auth object may make another one."""
    made: list[TokenSource] = []

    def make() -> None:
        made.append(TokenSource(GRANT, cache=Interrupted()))

    Interrupted.when_compared = []
    make()
    Interrupted.when_compared = [make]
    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert [tokens._shared for tokens in made] == [made[0]._shared] * 3


@forks
def test_a_fork_while_a_source_is_made() -> None:
    """A child that is forked while another thread makes an auth object can make its own."""
    compared, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        compared.set()
        go_on.wait(30)

    Interrupted.when_compared = []
    kept = TokenSource(GRANT, cache=Interrupted())
    Interrupted.when_compared = [hang]
    thread = threading.Thread(target=TokenSource, args=[GRANT], kwargs={"cache": Interrupted()})
    thread.start()
    assert compared.wait(30)
    in_child(lambda: TokenSource(GRANT, cache=Interrupted())._shared is kept._shared)
    go_on.set()
    thread.join()
