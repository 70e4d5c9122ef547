"""Outages of a shared cache: disks, a Redis that is down, slow or full, and caches of a user's own that raise."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from auth_plugins import (
    ClientCredentials,
    RedisCache,
    RefreshToken,
)
from auth_plugins._caches.shared import SharedCache
from tests.support.loopback import Clock
from tests.support.posix import needs_posix
from tests.support.redis_server import RedisServer
from tests.support.sources import PASSWORD, URL, Endpoint, expire, refusal, source
from tests.support.stores import KEY, OTHER_KEY, LockingCache, Store, in_files, in_redis, logged, process

#: Seconds for which a cache that failed is not used, and a little more.
REST = 5.1


class Failing(LockingCache):
    """A cache of a user's own that raises what *errors* has for a method."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, Callable[..., Exception]] = {}

    def get(self, key: str) -> str | None:
        self.fail("get", key)
        return super().get(key)

    def set(self, key: str, value: str, ttl: float) -> None:
        self.fail("set", key, value, ttl)
        super().set(key, value, ttl)

    def delete(self, key: str) -> None:
        self.fail("delete", key)
        super().delete(key)

    @contextlib.contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        self.fail("enter", key)
        with super().lock(key, lease) as held:
            yield held
        self.fail("exit", key)

    def fail(self, what: str, *arguments: Any) -> None:
        if what in self.errors:
            raise self.errors[what](*arguments)


def broken(*_: Any) -> Exception:
    return RuntimeError("it is broken")


@pytest.fixture
def failing() -> Failing:
    return Failing()


# Each yields a cache during an outage, and what ends it

Trouble = Iterator[tuple[Store, Callable[[], Any]]]


def _below_a_file(request: pytest.FixtureRequest) -> Trouble:
    path = request.getfixturevalue("tmp_path") / "file"
    path.write_text("no directory")
    yield in_files(path / "tokens"), path.unlink


def _disk_full(request: pytest.FixtureRequest) -> Trouble:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        yield in_files(request.getfixturevalue("tmp_path") / "tokens", key=KEY), patch.undo


def _refusing(request: pytest.FixtureRequest, refuses: Callable[[str, int], bool]) -> Trouble:
    directory = request.getfixturevalue("tmp_path") / "tokens"
    open_file = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        # A file in a directory that is held open is named without it.
        inside = str(path).startswith(str(directory)) or more.get("dir_fd") is not None
        if inside and refuses(str(path), flags):
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path, flags, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refuse)
        patch.setattr(os, "access", lambda *_: False)
        yield in_files(directory), patch.undo


def _redis(request: pytest.FixtureRequest, begin: Callable[..., Any], end: Callable[..., Any], user: str) -> Trouble:
    server: RedisServer = request.getfixturevalue("own_redis")
    url = server.url.replace("//", f"//{user}")
    with server.client() as client:
        begin(server, client)
        yield in_redis(server, lambda: RedisCache(url, key=KEY)), lambda: end(server, client)


def _forbid_writing(_: RedisServer, client: redis.Redis) -> None:
    client.acl_setuser("reader", enabled=True, passwords=["+p4ssw0rd"], keys=["*"], commands=["+get"])


TROUBLES: dict[str, Callable[[pytest.FixtureRequest], Trouble]] = {
    "a directory below a file": _below_a_file,
    "a disk that is full": _disk_full,
    "a directory that cannot be written": lambda request: _refusing(request, lambda _, flags: bool(flags & os.O_CREAT)),
    "files that cannot be opened": lambda request: _refusing(
        request, lambda path, _: path.endswith((".token", ".new"))
    ),
    "Redis is down": lambda request: _redis(
        request, lambda server, _: server.stop(), lambda server, _: server.start(), ""
    ),
    "Redis has another password": lambda request: _redis(
        request,
        lambda _, client: client.config_set("requirepass", "other"),
        lambda _, client: client.config_set("requirepass", "p4ssw0rd"),
        ":p4ssw0rd@",
    ),
    "Redis forbids to write": lambda request: _redis(
        request,
        _forbid_writing,
        lambda _, client: client.acl_setuser("reader", enabled=True, commands=["+set", "+del", "+eval"]),
        "reader:p4ssw0rd@",
    ),
    "Redis is full": lambda request: _redis(
        request,
        lambda _, client: client.config_set("maxmemory", "1"),
        lambda _, client: client.config_set("maxmemory", "0"),
        "",
    ),
}


@pytest.fixture(params=TROUBLES)
def trouble(request: pytest.FixtureRequest) -> Trouble:
    yield from TROUBLES[request.param](request)


def test_an_outage_costs_one_warning_and_fails_no_request(
    trouble: tuple[Store, Callable[[], Any]], endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage fails no request; one warning says that it began, and one that the cache works again."""
    store, mend = trouble
    tokens = process(store, endpoint)
    got = []
    for _ in range(4):
        got.append(tokens.token().access_token)
        assert tokens.token().access_token == got[-1], "it is shared within the process"
        expire(clock)
    assert got == ["token-1", "token-2", "token-3", "token-4"]
    [warning] = logged(caplog)
    assert "is out of order" in warning
    mend()
    tokens.token()
    [_, again] = logged(caplog)
    assert "works again" in again
    assert process(store, endpoint).token() == tokens.token()
    assert len(endpoint.requests) == 5
    assert "p4ssw0rd" not in caplog.text + repr(store.cache())
    assert not any(secret in caplog.text for secret in ("s3cr3t", "token-", KEY))


def test_an_entry_that_the_disk_cannot_read_is_an_outage(
    files: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry that the disk cannot read is an outage; the warning quotes the error."""
    process(files, endpoint).token()
    open_file = os.open

    def fail(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).endswith(".token"):
            raise OSError(errno.EIO, "Input/output error")
        return open_file(path, *arguments, **more)

    monkeypatch.setattr(os, "open", fail)
    assert process(files, endpoint).token().access_token == "token-2"
    [warning] = logged(caplog)
    assert "out of order (get: OSError: Input/output error)" in warning


def test_a_cache_that_failed_is_not_used_for_five_seconds(failing: Failing, endpoint: Endpoint, clock: Clock) -> None:
    """A cache that failed is not used for five seconds."""
    tries: list[float] = []

    def count(*_: Any) -> Exception:
        tries.append(clock.now)
        return broken()

    failing.errors = {"get": count, "set": count, "enter": count}
    tokens = process(failing, endpoint)
    start = clock.now
    for _ in range(12):
        tokens.invalidate(tokens.token())
        clock.forward(1)
    assert [round(each - start) for each in tries] == [0, 5, 10]


@needs_posix
def test_a_redis_that_hangs_costs_a_second_or_two(
    own_redis: RedisServer, endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that answers nothing holds a request up for a second or two."""
    store = in_redis(own_redis, lambda: RedisCache(own_redis.url))
    tokens = process(store, endpoint)
    tokens.token()
    expire(clock)
    own_redis.pause()
    try:
        began = time.monotonic()
        assert tokens.token().access_token == "token-2"
        assert process(store, endpoint).token().access_token == "token-3"
        assert 0.5 < time.monotonic() - began < 15
        assert len(logged(caplog)) == 2, "one for each process"
    finally:
        own_redis.resume()
    expire(clock)
    tokens.token()
    assert "works again" in logged(caplog)[-1]


def test_nothing_is_sent_to_redis_twice() -> None:
    """A command is not retried on another connection, as a request waits for it."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close_each() -> None:
            with contextlib.suppress(OSError):  # the server is closed
                while True:
                    connection, _ = server.accept()
                    connections.append(connection.getpeername())
                    connection.close()

        thread = threading.Thread(target=close_each, daemon=True)
        thread.start()
        cache = RedisCache(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        with pytest.raises(redis.ConnectionError):
            cache.get("name")
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    assert len(connections) == 1


@pytest.mark.parametrize("key", [KEY, None], ids=["key", "no key"])
def test_the_permissions_that_a_user_of_redis_needs(
    own_redis: RedisServer, rotating: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture, key: str | None
) -> None:
    """GET, SET, DEL and EVAL on the keys of the prefix are enough, and SCAN to list them."""
    with own_redis.client() as client:
        client.acl_setuser(
            "auth",
            enabled=True,
            passwords=["+pw"],
            keys=["mine:*"],
            commands=["+get", "+set", "+del", "+eval"],
        )
        url = own_redis.url.replace("//", "//auth:pw@")
        store = in_redis(own_redis, lambda: RedisCache(url, prefix="mine:", key=key))
        tokens = process(store, rotating, PASSWORD)
        tokens.token()
        expire(clock)
        tokens.token()
        assert process(store, rotating, PASSWORD).token() == tokens.token()
        assert len(rotating.requests) == 2
        tokens.revoke()
        client.acl_setuser("auth", enabled=True, commands=["+scan"])
        assert store.cache().names() == (["key-check"] if key else [])
    assert logged(caplog) == []


def test_a_forbidden_hash_is_no_error(
    endpoint: Endpoint, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the system forbids scrypt, tokens are not shared, a warning says so, and no request fails."""

    def forbidden(*_: Any, **__: Any) -> bytes:
        raise ValueError("unsupported hash type")

    monkeypatch.setattr(hashlib, "scrypt", forbidden)
    tokens = process(LockingCache(), endpoint)
    for _ in range(3):
        tokens.token()
        expire(clock)
    tokens.revoke()
    [warning] = logged(caplog)
    assert "(hash: ValueError)" in warning


# Which refresh token is used


@pytest.mark.parametrize("what", ["get", "enter"])
@pytest.mark.parametrize("whose", ["fetched", "found"])
def test_a_stored_refresh_token_is_not_used_during_an_outage(
    failing: Failing, rotating: Endpoint, clock: Clock, what: str, whose: str
) -> None:
    """During an outage the password is sent instead of a stored refresh token; what that gets is refreshed later."""
    tokens = process(failing, rotating, PASSWORD)
    tokens.token()
    if whose == "found":
        tokens = process(failing, rotating, PASSWORD)
        tokens.token()
    failing.errors = {what: broken}
    for _ in range(3):
        expire(clock)
        tokens.token()
    assert ["password=pw" in body for body in rotating.bodies] == [True, True, False, False]
    assert [body.partition("refresh_token=")[2][:9] for body in rotating.bodies[2:]] == ["refresh-2", "refresh-3"]


def test_a_refresh_token_that_could_not_be_stored_is_used(failing: Failing, rotating: Endpoint, clock: Clock) -> None:
    """A refresh token that could not be stored is used by its process."""
    failing.errors = {"set": broken}
    tokens = process(failing, rotating, PASSWORD)
    for _ in range(3):
        tokens.token()
        expire(clock)
    assert ["password=pw" in body for body in rotating.bodies] == [True, False, False]


def test_a_refresh_token_grant_uses_the_newest(failing: Failing, rotating: Endpoint, clock: Clock) -> None:
    """During an outage a RefreshToken grant goes on with the newest refresh token that its process knows."""
    grant = RefreshToken(URL, "mine")
    tokens, other = process(failing, rotating, grant), process(failing, rotating, grant)
    tokens.token()
    expire(clock)
    other.token()
    expire(clock)
    tokens.token()
    failing.errors = {"get": broken}
    for _ in range(2):
        expire(clock)
        tokens.token()
    sent = [body.rpartition("=")[2] for body in rotating.bodies]
    assert sent == ["mine", "refresh-1", "refresh-2", "refresh-3", "refresh-4"]


@pytest.mark.parametrize("grant", [PASSWORD, RefreshToken(URL, "mine")], ids=["Password", "RefreshToken"])
def test_after_the_outage_the_newest_wins(failing: Failing, rotating: Endpoint, clock: Clock, grant: Any) -> None:
    """After an outage the refresh token that came meanwhile replaces an older stored one."""
    tokens = process(failing, rotating, grant)
    tokens.token()
    failing.errors = {"get": broken}
    expire(clock)
    tokens.token()
    failing.errors = {}
    expire(clock)
    assert tokens.token().access_token == "token-3"
    assert "refresh_token=refresh-2" in rotating.bodies[-1]
    other = process(failing, rotating, grant)
    assert other.token().access_token == "token-3"
    expire(clock)
    other.token()
    assert "refresh_token=refresh-3" in rotating.bodies[-1]


def test_what_another_process_stored_after_the_outage_wins(failing: Failing, rotating: Endpoint, clock: Clock) -> None:
    """A refresh token that another process stored after the outage is used."""
    tokens, other = process(failing, rotating, PASSWORD), process(failing, rotating, PASSWORD)
    failing.errors = {"set": broken}
    tokens.token()
    failing.errors = {}
    clock.forward(10)
    other.token()
    expire(clock)
    tokens.token()
    assert "refresh_token=refresh-2" in rotating.bodies[-1]


# Caches of a user's own


class UnspeakableError(Exception):
    """An error whose text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("what", ["get", "set", "delete", "enter", "exit"])
@pytest.mark.parametrize(
    "error",
    [OSError(), TimeoutError("x" * 5000), AssertionError("a\nb"), UnspeakableError()],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_cache_of_the_users_own_fails_no_request(
    failing: Failing,
    rotating: Endpoint,
    clock: Clock,
    what: str,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any exception of a cache of a user's own costs at most one warning, of one line, and no request."""
    tokens = process(failing, rotating, PASSWORD)
    tokens.token()
    failing.errors = {what: lambda *_: error}
    for number in range(2, 6):
        expire(clock)
        if number == 3:
            rotating.script = [refusal("invalid_grant", 400)]  # then the entry is to be deleted
        assert tokens.token().access_token == f"token-{number}"
    tokens.revoke()
    assert len(logged(caplog)) == (0 if what == "exit" else 1)
    for text in logged(caplog):
        assert type(error).__name__ in text
        assert "\n" not in text
        assert len(text) < 500
    assert not any(lock.locked() for lock in failing.locks.values())


@pytest.mark.parametrize(
    ("make", "described"),
    [
        (ValueError, "set: ValueError"),
        (redis.ResponseError, "set: ResponseError"),
        (redis.RedisError, "set: RedisError"),
    ],
)
def test_no_token_of_an_error_is_logged(
    failing: Failing, rotating: Endpoint, caplog: pytest.LogCaptureFixture, make: Any, described: str
) -> None:
    """An exception that quotes what was to be stored, as those of SQL libraries and of Redis do, is not quoted."""
    failing.errors = {"set": lambda name, value, _: make(f"INSERT INTO tokens VALUES {name} {value}")}
    assert process(failing, rotating).token().access_token == "token-1"
    [warning] = logged(caplog)
    assert f"out of order ({described})" in warning
    assert "token-1" not in caplog.text
    assert "refresh-1" not in caplog.text


def test_an_outage_is_logged_once(failing: Failing, endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Threads that meet an outage at the same moment log one warning."""
    tokens = [source(endpoint, ClientCredentials(URL, f"client-{number}", "s"), cache=failing) for number in range(5)]
    meeting = threading.Barrier(5)

    def fail(*_: Any) -> Exception:
        meeting.wait(30)
        return broken()

    failing.errors = {"get": fail}
    threads = [threading.Thread(target=each.token) for each in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(logged(caplog)) == 1
    assert len(endpoint.requests) == 5


def test_the_lock_holder_stores_its_token_during_an_outage(endpoint: Endpoint, clock: Clock) -> None:
    """If reading the entry under the lock fails, the token is stored all the same, for the processes that wait."""

    class FailsAtTheSecondLook(LockingCache):
        looks = 0

        def get(self, key: str) -> str | None:
            self.looks += 1
            if self.looks == 2:
                raise broken()
            return super().get(key)

    cache = FailsAtTheSecondLook()
    tokens = process(cache, endpoint)
    tokens.token()
    assert process(cache, endpoint).token() == tokens.token()


def test_a_call_that_began_before_the_outage_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """An answer to a call that began before the cache failed does not mean that it works again."""
    shared = SharedCache(LockingCache())

    def fail() -> str:
        raise broken()

    def slow() -> str:
        assert shared.attempt("get", fail) is None
        return "an answer"

    assert shared.attempt("get", slow) == "an answer"
    assert ["out of order" in text for text in logged(caplog)] == [True]


@needs_posix
def test_a_wrong_key_is_logged_after_the_outage(
    tmp_path: Path, endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """That a key is wrong is logged when an outage, during which the cache was first used, is over."""
    process(in_files(tmp_path / "tokens", key=KEY), endpoint).token()
    (tmp_path / "tokens").chmod(0o777)
    tokens = process(in_files(tmp_path / "tokens", key=OTHER_KEY), endpoint)
    tokens.token()
    (tmp_path / "tokens").chmod(0o700)
    clock.forward(REST)
    expire(clock)
    tokens.token()
    assert [text for text in logged(caplog) if "another key" in text] != []
