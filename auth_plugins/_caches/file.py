"""Tokens in files, for all processes of a user on one machine."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden

from .directory import Directory
from .encryption import LONGEST, Key, Opaque, SealedCache

__all__ = ["FileCache"]


class FileCache(SealedCache):
    """Tokens in files, one each, shared by all processes that use the same directory.

    :param path: the directory; it is made, for its owner only (0700), where it doesn't exist. One that exists must
        belong to the user of the process, must not be writable by group or others, and must not be a link: else it is
        not used, and a warning says so. ``~`` is the home directory. ``None``: one for this package below the user's
        cache directory.
    :param key: a Fernet key, which encrypts the entries, or several for a rotation: the first one encrypts, each of
        them decrypts. ``None``: tokens lie there as they are, in files that only their owner reads (0600).
    :raises ConfigurationError: *path* can be none, or *key* is no Fernet key.

    For any number of threads and processes. The operating system drops the lock of a process that dies. Not for network
    file systems, whose locks may be none: take :class:`RedisCache` there.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, key: Key = None) -> None:
        hidden_key = Opaque(key)
        del key
        if not (path is None or (isinstance(path, (str, os.PathLike)) and str(path).strip())):
            raise ConfigurationError(f"path is empty, or of type {type(path).__name__}; give a directory's path")
        is_users_own = path is None
        try:
            if path is None:
                from platformdirs import user_cache_path

                path = user_cache_path("auth-plugins", appauthor=False)
            self._directory = Path(path).expanduser().absolute()
        except RuntimeError:  # a user without a home directory, as in some containers
            problem = "path is in a home directory that isn't known; give another one, such as /var/cache/acme"
            raise ConfigurationError(problem) from None
        super().__init__(hidden_key, str(self._directory))
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
        try:
            with Directory(self._directory) as directory:
                return self._read(directory, f"{key}.token")
        except FileNotFoundError:
            return None

    def _read(self, directory: Directory, name: str) -> str:
        # Not through a link, which another user may have made; and without blocking, if it is a pipe.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = directory.open(name, flags)
        except FileNotFoundError:
            raise
        except OSError as error:
            foreign = isinstance(error, PermissionError) and os.access(self._directory, os.W_OK | os.X_OK)
            if foreign or directory.is_link(name):
                return ""
            raise
        try:
            about = os.fstat(descriptor)
            own = about.st_uid == os.geteuid() if hasattr(os, "geteuid") else True
            whole = stat.S_ISREG(about.st_mode) and about.st_size <= LONGEST
            return os.read(descriptor, LONGEST).decode("ascii", "replace") if own and whole else ""
        finally:
            os.close(descriptor)

    def set(self, key: str, value: str, ttl: float, /) -> None:  # noqa: ARG002 - a file has no expiry of its own
        """Replace the entry of that name, whole and for good; under its lock.

        :raises OSError: it cannot be written.
        """
        value = hidden(value)
        with self._opened() as directory:
            # One name, so that what a process that was killed left of it goes with the next.
            new = f"{key}.new"
            directory.remove(new)
            with os.fdopen(directory.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                file.write(value.encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            directory.replace(new, f"{key}.token")
            directory.sync()

    def delete(self, key: str, /) -> None:
        """Forget the entry of that name, if there is one."""
        with contextlib.suppress(FileNotFoundError), Directory(self._directory) as directory:
            # What a process that was killed left beside it as well.
            for name in (f"{key}.token", f"{key}.new"):
                directory.remove(name)

    @contextlib.contextmanager
    def lock(self, key: str, lease: float, /) -> Iterator[bool]:  # noqa: ARG002 - the operating system knows who is dead
        """Hold the lock of that name; ``False``: somebody else does.

        :raises OSError: the directory cannot be used, or its file system knows no locks.
        """
        from filelock import FileLock, Timeout

        with self._opened():
            path = self._directory / f"{key}.lock"
        # A soft lock, which it takes where there are no others, would outlive its holder.
        lock = FileLock(path, mode=0o600, fallback_to_soft=False)
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
        return self._stems(".token", ".new")

    def remove_free_locks(self) -> None:
        """Remove the lock files that no process holds.

        :raises OSError: the directory cannot be read.
        """
        for key in self._stems(".lock"):
            # While it is held: a process that opened the file before, and locks it after that, sees that it has no
            # name any more, and tries again. Windows removes no open file.
            with contextlib.suppress(OSError), self.lock(key, 0) as held:
                if held:
                    with Directory(self._directory) as directory:
                        directory.remove(f"{key}.lock")

    def _stems(self, *suffixes: str) -> list[str]:
        try:
            with Directory(self._directory) as directory:
                names = map(os.path.splitext, directory.names())
                return sorted({stem for stem, suffix in names if suffix in suffixes})
        except FileNotFoundError:
            return []

    def _opened(self) -> Directory:
        """The directory, made where it is missing."""
        try:
            return Directory(self._directory)
        except FileNotFoundError:
            # What is missing above it as well: pathlib would leave that to the umask.
            for path in reversed([self._directory, *self._directory.parents]):
                path.mkdir(mode=0o700, exist_ok=True)
            return Directory(self._directory)
