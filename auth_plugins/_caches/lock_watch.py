"""Tells whether a lock is held, and when it is released, without a look at it again and again."""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import threading
import types
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path

from auth_plugins._base.runtime import runtime

from .directory import Directory

try:
    import fcntl
except ImportError:  # Windows cannot wait for a lock
    fcntl = None  # type: ignore[assignment]

#: How many threads wait for locks at most; who else waits looks again and again.
MOST_WAITS = 32
#: How many locks are remembered that cannot be waited for, and for how many seconds: Redis may have been restarted.
_MOST_FAILED, _FAILED_FOR = 256, 60.0


class _Watched(dict[Hashable, "Future[None]"]):
    """By lock, what is done when it is released: one thread waits for all that ask."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Forget all, as a forked child has to: the threads are the parent's."""
        self.clear()
        self.lock = threading.RLock()  # a signal handler may break in, and need a token
        #: By lock that cannot be waited for, when that is tried again.
        self.failed: dict[Hashable, float] = {}

    def begin(self, lock: Hashable, most: float) -> tuple[Future[None] | None, bool]:
        """Return what is done when *lock* is released, and whether no thread waits for it yet."""
        with self.lock:
            if lock in self:
                return self[lock], False
            now = runtime.clock.monotonic()
            if self.failed.get(lock, now) > now or len(self) + 1 > most:
                return None, False
            self[lock] = Future[None]()
            return self[lock], True

    def end(self, lock: Hashable, *, has_failed: bool) -> None:
        """Forget *lock*, or note that it cannot be waited for."""
        with self.lock:
            self.pop(lock, None)
            if has_failed:
                if len(self.failed) >= _MOST_FAILED:
                    self.failed.clear()
                self.failed[lock] = runtime.clock.monotonic() + _FAILED_FOR


_watched = _Watched()


def released(lock: Hashable, wait: Callable[[], None], most: float = MOST_WAITS) -> Future[None] | None:
    """Return what is done as soon as *wait* returns, which a thread calls; ``None``: the lock cannot be waited for.

    :param most: how many threads may wait for any locks, this one included.
    """
    watched, is_new = _watched.begin(lock, most)
    if watched is not None and is_new:
        try:
            runtime.start_thread(functools.partial(_watch, lock, wait, watched), "auth-plugins lock")
        except RuntimeError:  # no thread can be started
            _watched.end(lock, has_failed=False)
            return None
    return watched


def file_released(path: Path, name: str) -> Future[None] | None:
    """Return what is done as soon as no process holds the lock of a file; ``None``: it cannot be waited for."""
    # Where gevent or eventlet replaces threads, a wait in the kernel would stop all of them.
    if fcntl is None or not isinstance(_thread.start_new_thread, types.BuiltinFunctionType):
        return None
    return released((path, name), functools.partial(_wait_for_file, path, name))


def is_held(directory: Directory, name: str) -> bool:
    """Return whether a process holds the lock of a file, as far as the system can tell; does not wait."""
    if fcntl is None:
        return False
    try:
        descriptor = directory.open(name, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # no process has made the file yet
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


def _watch(lock: Hashable, wait: Callable[[], None], watched: Future[None]) -> None:
    try:
        wait()
    except Exception:
        _watched.end(lock, has_failed=True)
        return
    _watched.end(lock, has_failed=False)
    watched.set_result(None)


def _wait_for_file(path: Path, name: str) -> None:
    """Wait until the lock is free; an OSError: the file was removed, or its file system cannot wait."""
    with Directory(path) as directory:
        descriptor = directory.open(name, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        # Shared, so that all that wait have it at once; a forked child has a copy, which a close would not unlock.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_watched.reset)
