"""Keyrings for tests. In a child process, which gets a copy of this file, ``PYTHON_KEYRING_BACKEND`` chooses one."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import ClassVar

from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError


class InMemory(KeyringBackend):
    """A keyring in memory."""

    priority: ClassVar[float] = 1

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        #: Raised by each call; ``None``: it works.
        self.error: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        self._fail()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._fail()
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._fail()
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class WinVaultKeyring(InMemory):
    """A keyring with the name of that of Windows, whose entries are short."""


class Files(KeyringBackend):
    """A keyring in the directory that the variable ``KEYRING_FILES`` names, for several processes."""

    priority: ClassVar[float] = 1

    def _path(self, service: str, username: str) -> Path:
        name = base64.urlsafe_b64encode(f"{service} {username}".encode()).decode()
        return Path(os.environ["KEYRING_FILES"]) / name

    def get_password(self, service: str, username: str) -> str | None:
        path = self._path(service, username)
        return path.read_text("utf-8") if path.exists() else None

    def set_password(self, service: str, username: str, password: str) -> None:
        path = self._path(service, username)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.write_text(password, "utf-8")
        new.replace(path)

    def delete_password(self, service: str, username: str) -> None:
        self._path(service, username).unlink()
