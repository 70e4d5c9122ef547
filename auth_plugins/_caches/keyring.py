"""Tokens in the keyring of the operating system, for all processes of a user on one machine."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden

from .file import FileCache

#: Characters that the Credential Manager of Windows keeps of one entry: 2,560 bytes of UTF-16.
_LONGEST_ON_WINDOWS = 1280


class KeyringCache:
    """Tokens in the keyring of the operating system, shared by all processes of one user on one machine.

    The keyring encrypts them: Keychain of macOS, Credential Manager of Windows, Secret Service or KWallet of Linux, or
    any other backend of ``keyring``. A lock in the user's cache directory lets one process at a time fetch a token.
    While there is no keyring, or it is disabled or locked, and for an entry that is too long for it (on Windows one of
    more than 1,280 characters), tokens are shared within the process only; one warning says so.

    :param service: the name under which the keyring shows the entries. Programs that share tokens use the same.
    :raises ConfigurationError: *service* is empty or no text, or the package ``keyring`` is missing.
    """

    def __init__(self, service: str = "auth-plugins") -> None:
        if not isinstance(service, str) or not service.strip() or not service.isprintable():
            raise ConfigurationError('must be a name such as "auth-plugins"', argument="service")
        try:
            import keyring
        except ImportError:
            advice = "pip install 'auth-plugins[keyring]'"
            raise ConfigurationError("a KeyringCache needs the package keyring", advice=advice) from None
        self._service, self._keyring = service, keyring
        #: Of the locks. An entry whose lock was never held does not exist.
        self._files = FileCache(_lock_directory(service))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._service!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyringCache) and self._service == other._service

    def __hash__(self) -> int:
        return hash((KeyringCache, self._service))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._service,)

    def get(self, key: str, /) -> str | None:
        """Return the entry of that name; ``None``: there is none.

        :raises OSError: the keyring cannot be used.
        """
        text: str | None = hidden(self._call("get_password", key))
        return text

    def set(self, key: str, value: str, ttl: float, /) -> None:  # noqa: ARG002 - an entry of a keyring does not expire
        """Replace the entry of that name; under its lock.

        :raises OSError: the keyring cannot be used, or keeps no entry of that length.
        """
        value = hidden(value)
        backend = self._keyring.get_keyring()
        if "WinVault" in type(backend).__name__ and len(value) > _LONGEST_ON_WINDOWS:
            problem = f"{len(value)} characters are too many for the Credential Manager; use a FileCache"
            raise OSError(errno.E2BIG, problem)
        self._call("set_password", key, str(value))

    def delete(self, key: str, /) -> None:
        """Delete the entry of that name, if there is one.

        :raises OSError: the keyring cannot be used.
        """
        if self.get(key) is not None:
            self._call("delete_password", key)

    def lock(self, key: str, lease: float, /) -> contextlib.AbstractContextManager[bool]:
        """Hold the lock of that name; ``False``: another process or thread holds it.

        :raises OSError: the directory of the locks cannot be used.
        """
        return self._files.lock(key, lease)

    def names(self) -> list[str]:
        """Return the names of all entries.

        :raises OSError: the keyring, or the directory of the locks, cannot be used.
        """
        return [name for name in self._files._stems(".lock") if self.get(name) is not None]

    def remove_free_locks(self) -> None:
        """Remove the lock files that no process holds.

        :raises OSError: their directory cannot be read.
        """
        self._files.remove_free_locks()

    def _call(self, operation: str, key: str, *values: str) -> Any:
        try:
            # That of `keyring --disable` keeps no entry that it takes, so refresh tokens would be lost.
            if type(self._keyring.get_keyring()).__module__ != "keyring.backends.null":
                return getattr(self._keyring, operation)(self._service, key, *values)
            problem = "the keyring is disabled; enable it, or use a FileCache"
        except Exception as error:
            problem = _describe(error)
        finally:
            del values
        # Outside of `except`: the error may quote the entry.
        raise OSError(errno.EIO, problem)


def _describe(error: Exception) -> str:
    """Return what the user can do about *error* of a keyring."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "NoKeyringError" in kinds:
        return "there is no keyring; install one, such as GNOME Keyring, or use a FileCache"
    if kinds & {"KeyringLocked", "InitError"}:
        return "the keyring is locked; unlock it"
    return f"the keyring failed ({type(error).__name__})"


def _lock_directory(service: str) -> Any:
    from platformdirs import user_cache_path

    # The name of the service may hold what a file name may not.
    digest = hashlib.sha256(service.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return user_cache_path("auth-plugins", appauthor=False) / f"keyring-{digest}"
