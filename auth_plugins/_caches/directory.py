"""A directory that only its owner can change, held open so that no other one takes its place."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

__all__ = ["Directory"]

_T = TypeVar("_T")
#: Number of tries, and seconds between two of them, for a file that another process has open: an error on Windows.
_TRIES, _PAUSE = 4, 0.01


class Directory:
    """An open directory. File names are looked up in the directory that was checked, wherever its path leads by now.

    Windows has neither owners by number nor open directories: nothing is checked there, and paths are used.

    :raises FileNotFoundError: *path* does not exist.
    :raises OSError: *path* cannot be opened, is a link, belongs to another user, or can be changed by other users.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = _open_checked(path) if hasattr(os, "geteuid") else None
        if self._descriptor is None:
            path.stat()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def open(self, name: str, flags: int) -> int:
        """Open a file, which is made for its owner only; return its descriptor."""
        flags |= getattr(os, "O_BINARY", 0)
        return _retry(lambda: os.open(self._at(name), flags, 0o600, dir_fd=self._descriptor))

    def replace(self, name: str, target: str) -> None:
        """Rename a file, in place of what the target is."""
        descriptor = self._descriptor
        _retry(lambda: os.replace(self._at(name), self._at(target), src_dir_fd=descriptor, dst_dir_fd=descriptor))

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            _retry(functools.partial(os.unlink, self._at(name), dir_fd=self._descriptor))

    def sync(self) -> None:
        """Have the names of the files outlive a power cut, where the file system can do so."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)

    def names(self) -> list[str]:
        """Return the names of all files."""
        return os.listdir(self._path if self._descriptor is None else self._descriptor)  # noqa: PTH208 - of a descriptor

    def is_link(self, name: str) -> bool:
        """Whether a file is a link."""
        mode = os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False).st_mode
        return stat.S_ISLNK(mode)

    def _at(self, name: str) -> str:
        return str(self._path / name) if self._descriptor is None else name


def _open_checked(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError:
        problem = _problem(path, path.lstat())
        if problem is None:
            raise
    else:
        problem = _problem(path, os.fstat(descriptor))
        if problem is None:
            return descriptor
        os.close(descriptor)
    raise PermissionError(errno.EACCES, problem)


def _problem(path: Path, status: os.stat_result) -> str | None:
    """Why the directory is not safe, and what to do; ``None``: it is safe, or no directory at all."""
    mode, user = status.st_mode, os.geteuid()
    if stat.S_ISLNK(mode):
        # Whoever can replace the link decides where the tokens are stored.
        return f"{path} is a link; give the directory that it leads to"
    if not stat.S_ISDIR(mode):
        return None
    if status.st_uid != user:
        owner = f"the directory {path} belongs to user {status.st_uid}, and this process runs as user {user}"
        return f"{owner}; give a directory that belongs to user {user}"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return (
            f"group or others may write to the directory {path} (mode {stat.S_IMODE(mode):04o}); run `chmod 700 {path}`"
        )
    return None


def _retry(function: Callable[[], _T]) -> _T:
    for _ in range(_TRIES - 1):
        try:
            return function()
        except PermissionError:
            time.sleep(_PAUSE)
    return function()
