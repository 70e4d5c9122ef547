"""Tokens in files, for all processes of a user on one machine."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ._errors import ConfigurationError
from ._seal import Key, SealedCache

__all__ = ["FileCache"]

_T = TypeVar("_T")
#: Bytes that no entry of ours exceeds.
_LONGEST = 1 << 23
#: How often, and in seconds how far apart, what another process has open at that moment is tried: on Windows that is
#: an error.
_TRIES, _PAUSE = 4, 0.01


class FileCache(SealedCache):
    """Tokens in files, one each, shared by all processes that use the same directory.

    :param path: the directory; it is made, for its owner only (0700), where it doesn't exist. ``~`` is the home
        directory. ``None``: one for this package below the user's cache directory.
    :param key: a Fernet key, which encrypts the entries, or several for a rotation: the first one encrypts, each of
        them decrypts. ``None``: tokens lie there as they are, in files that only their owner reads (0600).
    :raises ConfigurationError: *path* can be none, or *key* is no Fernet key.

    For any number of threads and processes. The operating system drops the lock of a process that dies. Not for network
    file systems, whose locks may be none: take :class:`RedisCache` there.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, key: Key = None) -> None:
        if not (path is None or (isinstance(path, (str, os.PathLike)) and str(path).strip())):
            raise ConfigurationError(f"path is empty, or of type {type(path).__name__}; give a directory's path")
        is_users_own = path is None
        try:
            if path is None:
                from platformdirs import user_cache_path  # noqa: PLC0415 - not needed where a path is given

                path = user_cache_path("auth-plugins", appauthor=False)
            self._directory = Path(path).expanduser().absolute()
        except RuntimeError:  # a user without a home directory, as in some containers
            problem = "path is in a home directory that isn't known; give another one, such as /var/cache/acme"
            raise ConfigurationError(problem) from None
        super().__init__(key, str(self._directory))
        #: Another user, to whom it is pickled, has a directory of his own.
        self._is_users_own = is_users_own

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (None if self._is_users_own else str(self._directory), self._seal.keys or None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._directory)!r})"

    def get(self, key: str, /) -> str | None:
        """The entry of that name; ``None``: there is none; ``""``: it is there, and is none of ours.

        :raises OSError: the directory cannot be used.
        """
        # Not through a link, which may be somebody else's idea of where tokens lie; and not for ever, if it is a pipe.
        flags = os.O_RDONLY
        for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
            flags |= getattr(os, name, 0)
        try:
            descriptor = _patiently(lambda: os.open(self._path(key), flags))
        except FileNotFoundError:
            return None
        except OSError as error:
            foreign = isinstance(error, PermissionError) and os.access(self._directory, os.W_OK | os.X_OK)
            if foreign or self._path(key).is_symlink():
                return ""
            raise
        try:
            about = os.fstat(descriptor)
            own = about.st_uid == os.geteuid() if hasattr(os, "geteuid") else True
            whole = stat.S_ISREG(about.st_mode) and about.st_size <= _LONGEST
            return os.read(descriptor, _LONGEST).decode("ascii", "replace") if own and whole else ""
        finally:
            os.close(descriptor)

    def set(self, key: str, value: str, ttl: float, /) -> None:  # noqa: ARG002 - a file has no expiry of its own
        """Replace the entry of that name, whole and for good; under its lock.

        :raises OSError: it cannot be written.
        """
        self._make_directory()
        # One name, so that what a process that was killed left of it goes with the next.
        beside = self._path(key).with_suffix(".new")
        beside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
            file.write(value.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        _patiently(lambda: beside.replace(self._path(key)))
        # The name has to outlive a power cut as well; on Windows, which cannot open a directory, it does.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def delete(self, key: str, /) -> None:
        """Forget the entry of that name, if there is one."""
        # What a process that was killed left beside it as well.
        for path in (self._path(key), self._path(key).with_suffix(".new")):
            _patiently(functools.partial(path.unlink, missing_ok=True))

    @contextlib.contextmanager
    def lock(self, key: str, lease: float, /) -> Iterator[bool]:  # noqa: ARG002 - the operating system knows who is dead
        """Hold the lock of that name; ``False``: somebody else does.

        :raises OSError: the directory cannot be used, or its file system knows no locks.
        """
        from filelock import FileLock, Timeout  # noqa: PLC0415 - not needed where a token is found

        self._make_directory()
        # A soft lock, which it takes where there are no others, would outlive its holder.
        lock = FileLock(self._path(key).with_suffix(".lock"), mode=0o600, fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def names(self) -> list[str]:
        """The names of all entries.

        :raises OSError: the directory cannot be read.
        """
        try:
            return sorted({path.stem for path in self._directory.iterdir() if path.suffix in (".token", ".new")})
        except FileNotFoundError:
            return []

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.token"

    def _make_directory(self) -> None:
        if not self._directory.is_dir():
            # What is missing above it as well: pathlib would leave that to the umask.
            for path in reversed([self._directory, *self._directory.parents]):
                path.mkdir(mode=0o700, exist_ok=True)


def _patiently(function: Callable[[], _T]) -> _T:
    for _ in range(_TRIES - 1):
        try:
            return function()
        except PermissionError:
            time.sleep(_PAUSE)
    return function()
