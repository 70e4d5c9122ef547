"""Tokens in files, for all processes of a user on one machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden, hide_arguments

from .directory import Directory
from .encryption import LONGEST, BaseCache, Key, check_name_key, new_name_key

if TYPE_CHECKING:
    from concurrent.futures import Future

#: The file of :meth:`FileCache.name_key`. While it is made, it has a random name with the same suffix.
_NAME_KEY = "name.key"


class FileCache(BaseCache):
    """Tokens in files, one each, shared by all processes that use the same directory.

    For any number of threads and processes of one machine: the operating system releases the lock of a process that
    dies. Locks of network file systems may not work; use :class:`RedisCache` there.

    :param path: the directory; ``~`` is the home directory. A missing one is made for its owner only (0700). One that
        exists must belong to the user of this process, must not be writable by group or others, and must not be a link;
        otherwise it is not used, and a warning says so. ``None``: ``auth-plugins`` in the user's cache directory.
    :param key: a Fernet key, which encrypts the entries, or several for a rotation: the first one encrypts, each of
        them decrypts. ``None``: tokens are stored in clear, in files that only their owner can read (0600).
    :raises ConfigurationError: *path* cannot be a directory, or *key* is not a Fernet key.
    """

    @hide_arguments
    def __init__(self, path: str | os.PathLike[str] | None = None, key: Key = None) -> None:
        if not (path is None or (isinstance(path, (str, os.PathLike)) and str(path).strip())):
            given = "an empty text" if isinstance(path, (str, os.PathLike)) else type(path).__name__
            raise ConfigurationError(f"must be the path of a directory, got {given}", argument="path")
        #: Another user, who unpickles this cache, has another cache directory.
        self._is_default = path is None
        try:
            if path is None:
                from platformdirs import user_cache_path

                path = user_cache_path("auth-plugins", appauthor=False)
            directory = Path(path).expanduser().absolute()
        except RuntimeError:
            directory = None
        if directory is None:  # outside of `except`: the error's context would keep this frame, which holds the key
            raise ConfigurationError(
                "is in a home directory, which this user does not have",
                argument="path",
                advice="give another one, such as /var/cache/acme",
            )
        self._directory = directory
        #: The last one that was read, hidden from dumps.
        self._name_key: str | None = None
        super().__init__(key, str(self._directory))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (None if self._is_default else str(self._directory), self._cipher.keys or None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._directory)!r})"

    def get(self, key: str, /) -> str | None:
        """Return the entry of that name; ``None``: there is none; ``""``: there is one, but it is not ours.

        :raises OSError: the directory cannot be used.
        """
        try:
            with Directory(self._directory) as directory:
                return self._read(directory, f"{key}.token")
        except FileNotFoundError:
            return None

    def _read(self, directory: Directory, name: str) -> str:
        # No link, which another user may have made; and without waiting, should it be a pipe.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = directory.open(name, flags)
        except FileNotFoundError:
            raise
        except OSError as error:
            is_foreign = isinstance(error, PermissionError) and os.access(self._directory, os.W_OK | os.X_OK)
            if is_foreign or directory.is_link(name):
                return ""
            raise
        try:
            status = os.fstat(descriptor)
            is_own = status.st_uid == os.geteuid() if hasattr(os, "geteuid") else True
            is_readable = is_own and stat.S_ISREG(status.st_mode) and status.st_size <= LONGEST
            return os.read(descriptor, LONGEST).decode("ascii", "replace") if is_readable else ""
        finally:
            os.close(descriptor)

    def set(self, key: str, value: str, ttl: float, /) -> None:  # noqa: ARG002 - a file does not expire
        """Replace the entry of that name as a whole, and safe from a power cut; under its lock.

        :raises OSError: it cannot be written.
        """
        value = hidden(value)
        with self._open_or_make() as directory:
            # Always the same name, so that what a killed process left is replaced.
            new = f"{key}.new"
            directory.remove(new)
            _write(directory, new, value)
            directory.replace(new, f"{key}.token")
            if self._name_key is not None:  # another process may have removed all files since it was read
                _make_name_key(directory, self._name_key)
            directory.sync()

    def delete(self, key: str, /) -> None:
        """Delete the entry of that name, if there is one, and what a killed process left of it."""
        with contextlib.suppress(FileNotFoundError), Directory(self._directory) as directory:
            for suffix in ("token", "new"):
                directory.remove(f"{key}.{suffix}")

    @contextlib.contextmanager
    def lock(self, key: str, lease: float, /) -> Iterator[bool]:  # noqa: ARG002 - the system ends a dead process's lock
        """Hold the lock of that name; ``False``: another process or thread holds it.

        :raises OSError: the directory cannot be used, or its file system has no locks.
        """
        from .lock_watch import is_held

        with self._open_or_make() as directory:
            if is_held(directory, f"{key}.lock"):
                yield False
                return
        # Imported by the few processes that find the lock free: a fleet that starts has better use of its processors.
        from filelock import FileLock, Timeout

        path = self._directory / f"{key}.lock"
        # No soft lock, which filelock falls back to where there are no locks: it would outlive a killed process.
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

    def released(self, key: str, /) -> Future[None] | None:
        """Return what is done as soon as no process holds the lock of that name; ``None``: the system cannot tell."""
        from .lock_watch import file_released

        return file_released(self._directory, f"{key}.lock")

    def name_key(self) -> str:
        """Return the random text that names depend on without a key.

        :raises OSError: it cannot be read or made, or is not ours.
        """
        with self._open_or_make() as directory:
            _make_name_key(directory, new_name_key())
            text = hidden(self._read(directory, _NAME_KEY))
        self._name_key = check_name_key(text, str(self._directory / _NAME_KEY))
        return self._name_key

    def delete_name_key(self) -> None:
        """Delete that text, and what a killed process left of one.

        :raises OSError: the directory cannot be used.
        """
        with contextlib.suppress(FileNotFoundError), Directory(self._directory) as directory:
            for name in directory.names():
                if name.endswith(".key"):
                    directory.remove(name)

    def names(self) -> list[str]:
        """Return the names of all entries.

        :raises OSError: the directory cannot be read.
        """
        return self._stems(".token", ".new")

    def remove_free_locks(self) -> None:
        """Remove the lock files that no process holds.

        :raises OSError: the directory cannot be read.
        """
        for key in self._stems(".lock"):
            # Under the lock: a process that opens the file now, and locks it later, notices that it was removed, and
            # tries again. Windows removes no open file.
            with contextlib.suppress(OSError), self.lock(key, 0) as is_held:
                if is_held:
                    with Directory(self._directory) as directory:
                        directory.remove(f"{key}.lock")

    def _stems(self, *suffixes: str) -> list[str]:
        try:
            with Directory(self._directory) as directory:
                names = map(os.path.splitext, directory.names())
                return sorted({stem for stem, suffix in names if suffix in suffixes})
        except FileNotFoundError:
            return []

    def _open_or_make(self) -> Directory:
        try:
            return Directory(self._directory)
        except FileNotFoundError:
            # Each parent with this mode, which Path.mkdir(parents=True) would leave to the umask.
            for path in reversed([self._directory, *self._directory.parents]):
                path.mkdir(mode=0o700, exist_ok=True)
            return Directory(self._directory)


def _make_name_key(directory: Directory, text: str) -> None:
    """Store *text* as the name key, unless there is one."""
    text = hidden(text)
    try:
        directory.is_link(_NAME_KEY)
    except FileNotFoundError:
        # The file is whole from the first moment, and there is no lock to wait for; of two that are made, one stays.
        new = f"{secrets.token_hex(8)}.key"
        try:
            _write(directory, new, text)
            directory.link(new, _NAME_KEY)
        finally:
            directory.remove(new)
        directory.sync()


def _write(directory: Directory, name: str, text: str) -> None:
    """Write a new file, safe from a power cut."""
    text = hidden(text)
    with os.fdopen(directory.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(text.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
