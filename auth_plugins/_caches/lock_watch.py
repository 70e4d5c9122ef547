"""Tells when the lock of a file is released, without a look at it again and again."""

from __future__ import annotations

import contextlib
import functools
import os
from concurrent.futures import Future
from pathlib import Path

from auth_plugins._base.runtime import runtime

from .directory import Directory

try:
    import fcntl
except ImportError:  # Windows cannot wait for a lock
    fcntl = None  # type: ignore[assignment]

#: By directory and name of a file, what is done when its lock is released: one thread waits for all that ask. ``None``:
#: the lock cannot be waited for.
_watched: dict[tuple[Path, str], Future[None] | None] = {}


def released(path: Path, name: str) -> Future[None] | None:
    """Return what is done as soon as no process holds the lock of a file; ``None``: it cannot be waited for."""
    file = path, name
    if fcntl is None or file in _watched:
        return _watched.get(file)
    watched = _watched[file] = Future[None]()
    try:
        runtime.start_thread(functools.partial(_watch, *file, watched), "auth-plugins lock")
    except RuntimeError:  # no thread can be started
        _watched.pop(file, None)
        return None
    return watched


def _watch(path: Path, name: str, watched: Future[None]) -> None:
    try:
        with Directory(path) as directory:
            descriptor = directory.open(name, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            # Shared, so that all that wait have it at once; a forked child has a copy, which a close would not unlock.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)
    except OSError:  # the file was removed, or its file system cannot wait
        _watched[path, name] = None
        return
    _watched.pop((path, name), None)
    watched.set_result(None)


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_watched.clear)  # the threads are the parent's
