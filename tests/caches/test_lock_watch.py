"""Waiting for the lock of a file: a process that waits goes on when the lock is released."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import redis

from auth_plugins import FileCache, RedisCache, TokenRequestError
from auth_plugins._base.runtime import runtime
from auth_plugins._caches import lock_watch
from auth_plugins._caches.directory import Directory
from auth_plugins._caches.lock_watch import file_released, is_held, released
from tests.support.forks import forks, in_child
from tests.support.loopback import Clock
from tests.support.redis_server import RedisServer
from tests.support.sources import Endpoint, refusal, wait_for
from tests.support.stores import KEY, OTHER_KEY, LockingCache, entry_of, in_files, in_redis, process

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows cannot wait for a lock")

#: Seconds after which a test fails; nothing takes nearly as long.
SAFETY = 30.0


@pytest.fixture
def waits(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[Future[Any]]:
    """What was waited for; a wait that only time would end fails the test."""
    waits: list[Future[Any]] = []

    def sleep_until(future: Future[Any], _: float) -> None:
        waits.append(future)
        assert wait([future], SAFETY).done

    monkeypatch.setattr(runtime, "sleep_until", sleep_until)
    return waits


@contextlib.contextmanager
def held(cache: FileCache, name: str = "name") -> Iterator[None]:
    with cache.lock(name, 60) as is_held:
        assert is_held is True
        yield


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
@pytest.mark.parametrize("then", ["a token", "an error"])
@pytest.mark.parametrize("cache", ["file", "redis"])
def test_a_released_lock_ends_the_wait(
    tmp_path: Path,
    redis_server: RedisServer,
    endpoint: Endpoint,
    waits: list[Future[Any]],
    cache: str,
    key: str | None,
    then: str,
) -> None:
    """Two processes wait until the lock is released, and use the stored token; if there is none, one fetches one."""
    store = (
        in_files(tmp_path, key=key)
        if cache == "file"
        else in_redis(redis_server, lambda: RedisCache(redis_server.url, key=key))
    )
    holder, *waiting = (process(store, endpoint) for _ in range(3))
    threads = [threading.Thread(target=each.token) for each in waiting]

    def answer() -> Any:
        for thread in threads:
            thread.start()
        while len(waits) < 2:
            threading.Event().wait(0.001)
        return endpoint.issue if then == "a token" else refusal()

    endpoint.script = [answer]
    with contextlib.nullcontext() if then == "a token" else pytest.raises(TokenRequestError):
        holder.token()
    for thread in threads:
        thread.join(SAFETY)
    assert waiting[0].token() == waiting[1].token()
    assert len(endpoint.requests) == (1 if then == "a token" else 2)


def test_with_several_keys_it_is_not_known_which_lock_is_held(tmp_path: Path, endpoint: Endpoint) -> None:
    """With several keys, as with a cache that cannot tell, the process looks again and again."""
    assert entry_of(process(FileCache(tmp_path, key=[KEY, OTHER_KEY]), endpoint)).released() is None
    assert entry_of(process(LockingCache(), endpoint)).released() is None


def test_one_thread_waits_for_all(tmp_path: Path) -> None:
    """All that wait for one lock share a thread; after the release another one waits for the next holder."""
    cache = FileCache(tmp_path)
    with held(cache):
        first = cache.released("name")
        assert first is not None
        assert cache.released("name") is first
        assert first.done() is False
    assert wait([first], SAFETY).done
    with held(cache):
        second = cache.released("name")
        assert second not in (None, first)
    assert second is not None
    assert wait([second], SAFETY).done


@pytest.mark.parametrize(("is_locked", "expected"), [(True, ["False", ""]), (False, ["True", "filelock"])])
def test_a_held_lock_is_found_held_without_filelock(tmp_path: Path, *, is_locked: bool, expected: list[str]) -> None:
    """A process that finds a lock held does not import filelock; one that finds it free takes it by filelock."""
    code = """
import sys
from auth_plugins import FileCache
with FileCache(sys.argv[1]).lock("name", 60) as is_held:
    print(is_held, "filelock" * ("filelock" in sys.modules), sep="\\n")
"""
    with held(FileCache(tmp_path)) if is_locked else contextlib.nullcontext():
        command = [sys.executable, "-c", code, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SAFETY)
    assert done.stdout.split("\n")[:2] == expected


def test_what_the_system_cannot_tell_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file, and without locks in the file system, a lock counts as free: filelock decides."""
    import fcntl

    with Directory(tmp_path) as directory:
        assert is_held(directory, "name.lock") is False
        with held(FileCache(tmp_path)):
            assert is_held(directory, "name.lock") is True
            with monkeypatch.context() as patch:
                patch.setattr(fcntl, "flock", mock.Mock(side_effect=OSError(errno.ENOLCK, "no locks")))
                assert is_held(directory, "name.lock") is False


def test_a_lock_that_cannot_be_waited_for(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file cannot be opened, no thread can be started, or the system has no such locks, time ends the wait."""
    started: list[threading.Thread] = []

    def start(function: Any, name: str) -> None:
        started.append(threading.Thread(target=function, name=name))
        started[-1].start()

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "start_thread", start)
        watched = file_released(tmp_path, "missing.lock")
        started[0].join(SAFETY)
        assert watched is not None
        assert watched.done() is False
        assert file_released(tmp_path, "missing.lock") is None
        assert len(started) == 1
        clock.forward(61)  # after a minute it is tried again
        assert file_released(tmp_path, "missing.lock") is not None
        started[1].join(SAFETY)

        def fail(*_: Any) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(runtime, "start_thread", fail)
        assert file_released(tmp_path, "other.lock") is None
        patch.setitem(sys.modules, "fcntl", None)
        # Not by runpy: where pytest finds the plugin by itself, its loader has the modules of the package.
        module, path = file_released.__module__, file_released.__code__.co_filename
        names: dict[str, Any] = {"__name__": module, "__package__": module.rpartition(".")[0]}
        exec(compile(Path(path).read_text("utf-8"), path, "exec"), names)
        assert names["file_released"](tmp_path, "name.lock") is None
        with Directory(tmp_path) as directory:
            assert names["is_held"](directory, "name.lock") is False


@forks
def test_a_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    """A child that is forked while its parent waits has no part in the lock, and waits by a thread of its own."""
    cache = FileCache(tmp_path)
    forked, (is_released, released_to) = threading.Event(), os.pipe()
    is_held = threading.Event()

    def hold() -> None:
        with held(cache):
            is_held.set()
            assert forked.wait(SAFETY)
        assert watched is not None
        wait([watched], SAFETY)
        os.write(released_to, b"released")

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(SAFETY)
    watched = cache.released("name")
    threading.Event().wait(0.1)  # the thread waits by then, or the test shows nothing
    os.register_at_fork(after_in_parent=forked.set)

    def can_lock() -> bool:
        mine = FileCache(tmp_path)
        assert os.read(is_released, 100) == b"released"
        with held(mine):
            return mine.released("name") is not watched

    in_child(can_lock)
    thread.join(SAFETY)


def test_a_lease_in_redis_that_ends_ends_the_wait(redis_server: RedisServer) -> None:
    """When a process that holds the lock is killed, its lease ends, and so does the wait."""
    cache = RedisCache(redis_server.url)
    with redis_server.client() as client:
        client.set("auth_plugins:{name}:lock", "of another process", px=200)
    watched = cache.released("name")
    assert watched is not None
    assert cache.released("name") is watched
    assert wait([watched], SAFETY).done
    watched = cache.released("free")
    assert watched is not None
    assert wait([watched], SAFETY).done


def test_a_user_of_redis_who_may_not_publish_or_subscribe(redis_server: RedisServer) -> None:
    """Without these permissions tokens are stored, locks are released, and time ends the wait."""
    with redis_server.client() as client:
        client.acl_setuser(
            "limited", enabled=True, nopass=True, keys=["auth_plugins:*"], commands=["+get", "+set", "+del", "+eval"]
        )
    cache = RedisCache(f"redis://limited:any@127.0.0.1:{redis_server.port}/0")
    with cache.lock("name", 60) as is_held:
        assert is_held is True
        cache.released("name")
        assert wait_for(lambda: cache.released("name") is None)
        cache.set("name", "value", 60)
    assert cache.get("name") == "value"
    with cache.lock("name", 60) as is_held:
        assert is_held is True
    with cache.lock("name", 60) as is_held:
        assert is_held is True


def test_a_lock_that_is_released_between_two_looks() -> None:
    """A thread that asks while another one's wait ends gets what is done then."""
    is_free = threading.Event()

    class Lock:
        looks = -100

        def __hash__(self) -> int:
            self.looks += 1
            if self.looks == 2:
                is_free.set()
                threading.Event().wait(0.1)
            return 1

    lock = Lock()
    first = released(lock, lambda: assert_set(is_free))
    lock.looks = 0
    second = released(lock, lambda: assert_set(is_free))
    assert first is not None
    assert second is first
    assert wait([first], SAFETY).done


def assert_set(event: threading.Event) -> None:
    assert event.wait(SAFETY)


def test_no_more_threads_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads beyond a number look again and again; locks that cannot be waited for are not remembered for ever."""
    is_free = threading.Event()
    watched = [released(("test", number), lambda: assert_set(is_free)) for number in range(40)]
    is_free.set()
    waited = [each for each in watched if each is not None]
    assert len(waited) <= lock_watch.MOST_WAITS
    assert wait(waited, SAFETY).not_done == set()
    monkeypatch.setattr(runtime, "start_thread", lambda function, _: function())
    for number in range(1000):
        released(("failing", number), lambda: assert_set(None))  # type: ignore[arg-type]
    assert len(lock_watch._watched.failed) <= 300


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["ConnectionPool", "BlockingConnectionPool"])
def test_waits_leave_connections_of_a_client_free(redis_server: RedisServer, kind: str, size: int) -> None:
    """A client with few connections has one for tokens, whatever is waited for."""
    names = [f"name {number}" for number in range(20)]
    with redis_server.client() as client:
        for name in names:
            client.set(f"auth_plugins:{{{name}}}:lock", "of another process", px=1000)
    pool = getattr(redis, kind)(port=redis_server.port, max_connections=size, socket_timeout=5)
    cache = RedisCache(redis.Redis(connection_pool=pool))
    watched = [each for each in map(cache.released, names) if each is not None]
    assert len(watched) == size // 4
    threading.Event().wait(0.05)
    if hasattr(pool, "timeout"):
        pool.timeout = 0.5
    assert cache.get("name 0") is None
    assert wait(watched, SAFETY).not_done == set()


def test_a_client_that_is_unlike_redis_py() -> None:
    """A client that does not tell how many connections it has may have any number; it needs no hash."""
    assert RedisCache(SimpleNamespace(eval=lambda *_: None)).released("name") is not None


def test_greenlets_do_not_wait_in_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gevent or eventlet replaces threads, a wait for a file would stop them all: none is begun."""
    monkeypatch.setattr("_thread.start_new_thread", lambda *_: None)
    assert FileCache(tmp_path).released("name") is None


def test_a_cluster_has_the_connections_of_one_node(redis_server: RedisServer) -> None:
    """Where one node of a cluster may have too few connections, none of them waits."""
    with redis_server.client(max_connections=3) as node:
        cluster = mock.Mock(spec=["eval", "get_default_node", "get_redis_connection"])
        cluster.get_redis_connection.return_value = node
        assert RedisCache(cluster).released("name") is None
