"""A directory that only its owner can change, held open so that no other one takes its place."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from auth_plugins._base.runtime import runtime

_T = TypeVar("_T")
#: How often, and after how many seconds, an operation is tried while another process has the file open (Windows).
_TRIES, _PAUSE = 4, 0.01


class Directory:
    """An open directory. File names are looked up in the directory that was checked, wherever its path leads by now.

    Windows has neither numbered owners nor open directories: there nothing is checked, and paths are used.

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
        """Rename a file, replacing *target*."""
        descriptor = self._descriptor
        _retry(lambda: os.replace(self._at(name), self._at(target), src_dir_fd=descriptor, dst_dir_fd=descriptor))

    def link(self, name: str, target: str) -> None:
        """Give a file the name *target* as well, if there is no such file."""
        descriptor = self._descriptor
        try:
            os.link(self._at(name), self._at(target), src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except FileExistsError:
            pass
        except OSError:
            # The file system has no hard links. A target that another process made at this moment is replaced.
            self.replace(name, target)

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            _retry(functools.partial(os.unlink, self._at(name), dir_fd=self._descriptor))

    def sync(self) -> None:
        """Make the names of the files safe from a power cut, where the file system can do so."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)

    def names(self) -> list[str]:
        """Return the names of all files."""
        return os.listdir(self._path if self._descriptor is None else self._descriptor)  # noqa: PTH208 - of a descriptor

    def is_link(self, name: str) -> bool:
        """Return whether a file is a link."""
        mode = os.stat(self._at(name), dir_fd=self._descriptor, follow_symlinks=False).st_mode
        return stat.S_ISLNK(mode)

    def _at(self, name: str) -> str:
        return str(self._path / name) if self._descriptor is None else name


def _open_checked(path: Path) -> int:
    # Before it is opened, for the reason: a link, or another user's directory, may not be open to us at all.
    _check(path, path.lstat())
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _check(path, os.fstat(descriptor))  # another one may have taken its place
    except PermissionError:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, status: os.stat_result) -> None:
    """Raise PermissionError, which says what to do, if the directory is not safe; what is no directory may pass."""
    mode, user, problem = status.st_mode, os.geteuid(), None
    if stat.S_ISLNK(mode):
        # The user who can replace the link decides where tokens are stored.
        problem = f"{path} is a link; give the directory that it leads to"
    elif stat.S_ISDIR(mode) and status.st_uid != user:
        problem = (
            f"the directory {path} belongs to user {status.st_uid}, and this process runs as user {user}; "
            f"give a directory that belongs to user {user}"
        )
    elif stat.S_ISDIR(mode) and mode & (stat.S_IWGRP | stat.S_IWOTH):
        permissions = f"{stat.S_IMODE(mode):04o}"
        problem = f"group or others may write to the directory {path} (mode {permissions}); run `chmod 700 {path}`"
    if problem is not None:
        raise PermissionError(errno.EACCES, problem)


def _retry(function: Callable[[], _T]) -> _T:
    for _ in range(_TRIES - 1):
        try:
            return function()
        except PermissionError:
            runtime.clock.sleep(_PAUSE)
    return function()
