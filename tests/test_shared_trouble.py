"""A shared cache in trouble: damaged disks, a Redis that is down, slow or full, and caches of one's own that raise."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
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
    TokenRequestError,
)
from auth_plugins._caches import shared as _shared

from . import stores
from .conftest import forget
from .loopback import Clock
from .redis_server import RedisServer
from .stores import KEY, OTHER_KEY, LockingCache, Store, in_files, in_redis, process, told
from .test_source import PASSWORD, URL, Endpoint, expire, refusal, source

endpoint, rotating, files, quick_names = stores.endpoint, stores.rotating, stores.files, stores.quick_names

#: Seconds for which a cache that failed is left alone, and a little more.
REST = 5.1


class Failing(LockingCache):
    """A cache of a user's own that raises whatever *errors* has for a method."""

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
def failing() -> tuple[Store, Failing]:
    cache = Failing()
    return Store(lambda: cache, lambda: str(cache.entries).encode(), lambda *_: None), cache


# What may happen to a cache; each yields it, and what mends it

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
        yield in_files(request.getfixturevalue("tmp_path") / "tokens"), patch.undo


def _disk_full_with_a_key(request: pytest.FixtureRequest) -> Trouble:
    for store, mend in _disk_full(request):
        directory = store.cache()._directory
        yield in_files(directory, key=KEY), mend


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


def _forbidden(request: pytest.FixtureRequest) -> Trouble:
    return _refusing(request, lambda *_: True)


def _disk_broken(request: pytest.FixtureRequest) -> Trouble:
    return _refusing(request, lambda path, _: path.endswith((".token", ".new")))


def _read_only(request: pytest.FixtureRequest) -> Trouble:
    return _refusing(request, lambda _, flags: bool(flags & os.O_CREAT))


def _redis(request: pytest.FixtureRequest, user: str = "", **arguments: Any) -> tuple[RedisServer, Store]:
    server: RedisServer = request.getfixturevalue("own_redis")
    url = server.url.replace("//", f"//{user}")
    return server, in_redis(server, lambda: RedisCache(url, **arguments))


def _redis_down(request: pytest.FixtureRequest) -> Trouble:
    server, store = _redis(request)
    server.stop()
    yield store, server.start


def _redis_with_another_password(request: pytest.FixtureRequest) -> Trouble:
    server, store = _redis(request, ":p4ssw0rd@")
    with server.client() as client:
        client.config_set("requirepass", "other")
        yield store, lambda: client.config_set("requirepass", "p4ssw0rd")


def _redis_of_a_reader(request: pytest.FixtureRequest) -> Trouble:
    server, store = _redis(request, "reader:p4ssw0rd@")
    with server.client() as client:
        client.acl_setuser("reader", enabled=True, passwords=["+p4ssw0rd"], keys=["*"], commands=["+get"])
        yield store, lambda: client.acl_setuser("reader", enabled=True, commands=["+set", "+del", "+eval"])


def _redis_full(request: pytest.FixtureRequest) -> Trouble:
    server, store = _redis(request, key=KEY)
    with server.client() as client:
        client.config_set("maxmemory", "1")
        yield store, lambda: client.config_set("maxmemory", "0")


TROUBLES: dict[str, Callable[[pytest.FixtureRequest], Trouble]] = {
    "a directory below a file": _below_a_file,
    "a disk that is full": _disk_full,
    "a disk that is full, and a key": _disk_full_with_a_key,
    "a directory that is forbidden": _forbidden,
    "a directory that cannot be written": _read_only,
    "files that cannot be opened": _disk_broken,
    "Redis is down": _redis_down,
    "Redis has another password": _redis_with_another_password,
    "Redis forbids to write": _redis_of_a_reader,
    "Redis is full": _redis_full,
}


@pytest.fixture(params=TROUBLES)
def trouble(request: pytest.FixtureRequest) -> Trouble:
    yield from TROUBLES[request.param](request)


def test_trouble_costs_one_warning_and_no_request(
    trouble: tuple[Store, Callable[[], Any]], endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The cache is out of order: I get my tokens, one warning when that begins, and one when it works again."""
    store, mend = trouble
    tokens = process(store, endpoint)
    got = []
    for _ in range(4):
        got.append(tokens.token().access_token)
        assert tokens.token().access_token == got[-1], "it is shared within the process"
        expire(clock)
    assert got == ["token-1", "token-2", "token-3", "token-4"]
    [warning] = told(caplog)
    assert "is out of order" in warning
    mend()
    tokens.token()
    [_, again] = told(caplog)
    assert "works again" in again
    assert process(store, endpoint).token() == tokens.token()
    assert len(endpoint.requests) == 5
    assert "p4ssw0rd" not in caplog.text + repr(store.cache())
    assert not any(secret in caplog.text for secret in ("s3cr3t", "token-", KEY))


def test_an_entry_that_the_disk_cannot_read_is_trouble(
    files: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk cannot read an entry that exists: the warning quotes the error, and another token is requested."""
    process(files, endpoint).token()
    open_file = os.open

    def fail(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).endswith(".token"):
            raise OSError(errno.EIO, "Input/output error")
        return open_file(path, *arguments, **more)

    monkeypatch.setattr(os, "open", fail)
    assert process(files, endpoint).token().access_token == "token-2"
    [warning] = told(caplog)
    assert "out of order (get: OSError: Input/output error)" in warning


def test_a_cache_in_trouble_is_left_alone_for_a_while(
    failing: tuple[Store, Failing], endpoint: Endpoint, clock: Clock
) -> None:
    """A cache that failed isn't tried for each token: it rests for five seconds."""
    store, cache = failing
    tries: list[float] = []

    def count(*_: Any) -> Exception:
        tries.append(clock.now)
        return broken()

    cache.errors = {"get": count, "set": count, "enter": count}
    tokens = process(store, endpoint)
    start = clock.now
    for _ in range(12):
        tokens.invalidate(tokens.token())
        clock.forward(1)
    assert [round(each - start) for each in tries] == [0, 5, 10]


def test_a_redis_that_hangs_costs_a_second_or_two(
    own_redis: RedisServer, endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis takes connections and answers nothing: requests wait for it a little, and then go on without it."""
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
        assert len(told(caplog)) == 2, "one for each process"
    finally:
        own_redis.resume()
    expire(clock)
    tokens.token()
    assert "works again" in told(caplog)[-1]


def test_nothing_is_sent_to_redis_twice() -> None:
    """Redis closes each connection at once: a command fails at the first try, since a request waits for it."""
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


def test_what_the_user_of_redis_needs(own_redis: RedisServer, rotating: Endpoint, clock: Clock) -> None:
    """As documented: GET, SET, DEL and EVAL on the keys of its prefix are enough, and SCAN to list them."""
    with own_redis.client() as client:
        client.acl_setuser(
            "auth",
            enabled=True,
            passwords=["+pw"],
            keys=["mine:*"],
            commands=["+get", "+set", "+del", "+eval"],
        )
        url = own_redis.url.replace("//", "//auth:pw@")
        store = in_redis(own_redis, lambda: RedisCache(url, prefix="mine:", key=KEY))
        tokens = process(store, rotating, PASSWORD)
        tokens.token()
        expire(clock)
        tokens.token()
        assert process(store, rotating, PASSWORD).token() == tokens.token()
        assert len(rotating.requests) == 2
        tokens.revoke()
        client.acl_setuser("auth", enabled=True, commands=["+scan"])
        assert store.cache().names() == ["key-check"]


def test_a_hash_that_is_forbidden_is_no_error(
    files: Store,
    endpoint: Endpoint,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The machine forbids scrypt, as FIPS does: tokens aren't shared, I am told, and no request fails."""

    def forbidden(*_: Any, **__: Any) -> bytes:
        raise ValueError("unsupported hash type")

    monkeypatch.setattr(hashlib, "scrypt", forbidden)
    tokens = process(files, endpoint)
    for _ in range(3):
        tokens.token()
        expire(clock)
    tokens.revoke()
    [warning] = told(caplog)
    assert "(hash: ValueError)" in warning


# Whose a refresh token is, when nobody can be agreed with


def test_a_refresh_token_that_others_may_hold_is_not_used(
    failing: tuple[Store, Failing], rotating: Endpoint, clock: Clock
) -> None:
    """In trouble a refresh token from the cache is left alone: my password is sent, and what I get is mine to use."""
    store, cache = failing
    tokens = process(store, rotating, PASSWORD)
    tokens.token()
    cache.errors = {"get": broken}
    for _ in range(3):
        expire(clock)
        tokens.token()
    assert ["password=pw" in body for body in rotating.bodies] == [True, True, False, False]
    assert [body.partition("refresh_token=")[2][:9] for body in rotating.bodies[2:]] == ["refresh-2", "refresh-3"]


@pytest.mark.parametrize("what", ["get", "enter"])
def test_a_refresh_token_that_was_found_is_not_used_either(
    failing: tuple[Store, Failing], rotating: Endpoint, clock: Clock, what: str
) -> None:
    """Another process put it there, and the cache breaks down when I want to renew: my password is sent."""
    store, cache = failing
    process(store, rotating, PASSWORD).token()
    tokens = process(store, rotating, PASSWORD)
    tokens.token()
    cache.errors = {what: broken}
    expire(clock)
    tokens.token()
    assert ["password=pw" in body for body in rotating.bodies] == [True, True]


def test_what_nobody_else_could_store_is_mine(failing: tuple[Store, Failing], rotating: Endpoint, clock: Clock) -> None:
    """My token could not be stored: its refresh token is mine alone, and is used; my password isn't sent again."""
    store, cache = failing
    cache.errors = {"set": broken}
    tokens = process(store, rotating, PASSWORD)
    for _ in range(3):
        tokens.token()
        expire(clock)
    assert ["password=pw" in body for body in rotating.bodies] == [True, False, False]


def test_who_has_nothing_but_a_refresh_token_uses_the_newest(
    failing: tuple[Store, Failing], rotating: Endpoint, clock: Clock
) -> None:
    """I started from a refresh token: in trouble the newest one that I know goes on."""
    store, cache = failing
    grant = RefreshToken(URL, "mine")
    tokens, other = process(store, rotating, grant), process(store, rotating, grant)
    tokens.token()
    expire(clock)
    other.token()
    expire(clock)
    tokens.token()
    cache.errors = {"get": broken}
    for _ in range(2):
        expire(clock)
        tokens.token()
    sent = [body.rpartition("=")[2] for body in rotating.bodies]
    assert sent == ["mine", "refresh-1", "refresh-2", "refresh-3", "refresh-4"]


@pytest.mark.parametrize("grant", [PASSWORD, RefreshToken(URL, "mine")], ids=["Password", "RefreshToken"])
def test_after_the_trouble_the_newest_wins(
    failing: tuple[Store, Failing], rotating: Endpoint, clock: Clock, grant: Any
) -> None:
    """The cache works again, and has an old refresh token: the one that I got meanwhile is used, and stored for all."""
    store, cache = failing
    tokens = process(store, rotating, grant)
    tokens.token()
    cache.errors = {"get": broken}
    expire(clock)
    tokens.token()
    cache.errors = {}
    expire(clock)
    assert tokens.token().access_token == "token-3"
    assert "refresh_token=refresh-2" in rotating.bodies[-1]
    other = process(store, rotating, grant)
    assert other.token().access_token == "token-3"
    expire(clock)
    other.token()
    assert "refresh_token=refresh-3" in rotating.bodies[-1]


def test_what_another_process_got_after_the_trouble_wins(
    failing: tuple[Store, Failing], rotating: Endpoint, clock: Clock
) -> None:
    """The cache works again, and another process has stored a newer refresh token than mine: that is used."""
    store, cache = failing
    tokens, other = process(store, rotating, PASSWORD), process(store, rotating, PASSWORD)
    cache.errors = {"set": broken}
    tokens.token()
    cache.errors = {}
    clock.forward(10)
    other.token()
    expire(clock)
    tokens.token()
    assert "refresh_token=refresh-2" in rotating.bodies[-1]


# Caches of one's own


@pytest.mark.parametrize("what", ["get", "set", "delete", "enter", "exit"])
@pytest.mark.parametrize(
    "error",
    [RuntimeError("it is broken"), KeyError(5), OSError(), TimeoutError("x" * 5000), AssertionError("a\nb")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_my_cache_raises_no_request_fails(
    failing: tuple[Store, Failing],
    rotating: Endpoint,
    clock: Clock,
    what: str,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A bug in a cache of my own: at most one warning, of one line, and a token each time."""
    store, cache = failing
    tokens = process(store, rotating, PASSWORD)
    tokens.token()
    cache.errors = {what: lambda *_: error}
    for number in range(2, 6):
        expire(clock)
        if number == 3:
            rotating.script = [refusal("invalid_grant", 400)]  # then what lies there is to be deleted
        assert tokens.token().access_token == f"token-{number}"
    tokens.revoke()
    assert len(told(caplog)) == (0 if what == "exit" else 1)
    for text in told(caplog):
        assert type(error).__name__ in text
        assert "\n" not in text
        assert len(text) < 500
    assert not any(lock.locked() for lock in cache.locks.values())


def test_an_error_that_cannot_be_shown_is_no_error(
    failing: tuple[Store, Failing], endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """My cache raises an exception that raises when it is made a text: one warning, and my token."""

    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    store, cache = failing
    cache.errors = {"get": lambda *_: UnspeakableError()}
    assert process(store, endpoint).token().access_token == "token-1"
    [warning] = told(caplog)
    assert "UnspeakableError" in warning


QUOTED: dict[str, Callable[..., str]] = {
    "SQL": lambda key, value, ttl: f"INSERT INTO tokens VALUES ({key!r}, {value!r}, {ttl!r})",
    "arguments": lambda *arguments: repr(arguments),
    "JSON": lambda *arguments: json.dumps({"parameters": arguments}),
    "JSON in JSON": lambda _, value, __: json.dumps(json.dumps(value)),
    "bytes": lambda _, value, __: repr(value.encode()),
    "the token": lambda _, value, __: json.loads(value)["token"]["access_token"],
    "the refresh token": lambda _, value, __: "no such row: " + json.loads(value)["token"]["refresh_token"],
    "SQLAlchemy": lambda _, value, __: f"{value[:150]!r} ... (123 characters truncated) ... {value[-150:]!r}",
}


@pytest.mark.parametrize("quoted", QUOTED.values(), ids=QUOTED)
def test_no_token_of_an_error_is_logged(
    failing: tuple[Store, Failing],
    endpoint: Endpoint,
    quoted: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """My cache's exception quotes what it was to store, as those of SQL libraries do: no part of a token is logged."""
    store, cache = failing
    long = "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJVadQssw5c" * 10
    access, refresh = f"access-{long}", f"refresh-{long}"
    endpoint.script = [({"access_token": access, "refresh_token": refresh, "expires_in": 60}, 200)]
    cache.errors = {"set": lambda *arguments: ValueError(quoted(*arguments))}
    assert process(store, endpoint).token().access_token == access
    [warning] = told(caplog)
    assert "out of order" in warning
    assert not any(token[start : start + 20] in caplog.text for token in (access, refresh) for start in range(400))


def test_no_token_of_an_error_of_redis_is_logged(
    failing: tuple[Store, Failing], endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis quotes the arguments of a command that it does not know: no part of a token is logged."""
    store, cache = failing
    cache.errors = {"set": lambda name, value, _: redis.ResponseError(f"unknown command 'EVAL', with args: {value}")}
    assert process(store, endpoint).token().access_token == "token-1"
    [warning] = told(caplog)
    assert "(set: ResponseError)" in warning
    assert "token-1" not in caplog.text


def test_many_threads_are_told_once(
    failing: tuple[Store, Failing], endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty threads with a token each meet the trouble at the same moment: that is one warning."""
    store, cache = failing
    forget()
    tokens = [
        source(endpoint, ClientCredentials(URL, f"client-{number}", "s"), cache=store.cache()) for number in range(20)
    ]
    meeting = threading.Barrier(20)

    def fail(*_: Any) -> Exception:
        meeting.wait(30)
        return broken()

    cache.errors = {"get": fail}
    threads = [threading.Thread(target=each.token) for each in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told(caplog)) == 1
    assert len(endpoint.requests) == 20


def test_the_holder_of_the_lock_stores_its_token_in_trouble(endpoint: Endpoint, clock: Clock) -> None:
    """The cache fails at the look under the lock: the token is stored all the same, for those who wait for it."""

    class FailsAtTheSecondLook(LockingCache):
        looks = 0

        def get(self, key: str) -> str | None:
            self.looks += 1
            if self.looks == 2:
                raise broken()
            return super().get(key)

    cache = FailsAtTheSecondLook()
    tokens = source(endpoint, cache=cache)
    tokens.token()
    assert "token-1" in str(cache.entries)
    forget()
    assert source(endpoint, cache=cache).token() == tokens.token()


def test_what_began_before_the_trouble_is_no_sign_of_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """A slow answer, to a command that was sent before the cache failed, does not mean that the cache works again."""
    shared = _shared.SharedCache(LockingCache())

    def fail() -> str:
        raise broken()

    def slow() -> str:
        assert shared.attempt("get", fail) is None
        return "an answer"

    assert shared.attempt("get", slow) == "an answer"
    assert ["out of order" in text for text in told(caplog)] == [True]


def test_a_wrong_key_is_told_after_the_trouble(
    tmp_path: Path, endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A cache with another key is out of order at first: that the key is wrong is told as soon as it works."""
    process(in_files(tmp_path / "tokens", key=KEY), endpoint).token()
    (tmp_path / "tokens").chmod(0o777)
    tokens = process(in_files(tmp_path / "tokens", key=OTHER_KEY), endpoint)
    tokens.token()
    (tmp_path / "tokens").chmod(0o700)
    clock.forward(REST)
    expire(clock)
    tokens.token()
    assert [text for text in told(caplog) if "another key" in text] != []


def test_an_error_of_the_server_stays_one(files: Store, endpoint: Endpoint, clock: Clock) -> None:
    """The token endpoint refuses: I get its error, and the lock is free for the next."""
    endpoint.script = [refusal()] * 2
    for _ in range(2):
        with pytest.raises(TokenRequestError, match="invalid_client"):
            process(files, endpoint).token()
    assert process(files, endpoint).token().access_token == "token-1"
    assert clock.sleeps == []
