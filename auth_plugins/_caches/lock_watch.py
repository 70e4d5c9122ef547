"""Tells when a lock is released, without a look at it again and again."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path

from auth_plugins._base.runtime import runtime

from .directory import Directory

try:
    import fcntl
except ImportError:  # Windows cannot wait for a lock
    fcntl = None  # type: ignore[assignment]

#: By lock, what is done when it is released: one thread waits for all that ask. ``None``: it cannot be waited for.
_watched: dict[Hashable, Future[None] | None] = {}


def released(lock: Hashable, wait: Callable[[], None]) -> Future[None] | None:
    """Return what is done as soon as *wait* returns, which a thread calls; ``None``: the lock cannot be waited for."""
    if lock in _watched:
        return _watched[lock]
    watched = _watched[lock] = Future[None]()
    try:
        runtime.start_thread(functools.partial(_watch, lock, wait, watched), "auth-plugins lock")
    except RuntimeError:  # no thread can be started
        _watched.pop(lock, None)
        return None
    return watched


def file_released(path: Path, name: str) -> Future[None] | None:
    """Return what is done as soon as no process holds the lock of a file; ``None``: it cannot be waited for."""
    return None if fcntl is None else released((path, name), functools.partial(_wait_for_file, path, name))


def _watch(lock: Hashable, wait: Callable[[], None], watched: Future[None]) -> None:
    try:
        wait()
    except Exception:
        _watched[lock] = None
        return
    _watched.pop(lock, None)
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
    os.register_at_fork(after_in_child=_watched.clear)  # the threads are the parent's
