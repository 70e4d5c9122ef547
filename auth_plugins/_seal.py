"""What lies in a cache that others can look into: names that tell nothing, and entries that only a key opens."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Any

from ._errors import ConfigurationError

__all__ = ["Key", "LockLostError", "Seal", "SealedCache"]

#: A Fernet key, or several of them for a rotation: the first one seals, each of them opens.
Key = str | bytes | Iterable[str | bytes] | None

#: Goes into every name: what is stored may change with a later version of this package.
_VERSION = b"auth_plugins 1"


class LockLostError(RuntimeError):
    """The lock ended before what it was held for; the cache itself is well."""


class Seal:
    """Names entries, and encrypts them where there is a key.

    :raises ConfigurationError: *key* is no Fernet key.
    """

    def __init__(self, key: Key) -> None:
        several: Iterable[object] = ()
        if isinstance(key, str):
            several = re.split(r"[\s,]+", key.strip())
        elif key is not None:
            several = key if isinstance(key, Iterable) and not isinstance(key, bytes) else (key,)
        # Each once, or its lock would be taken twice.
        self.keys = tuple(dict.fromkeys(map(_checked, several)))
        if key is not None and not self.keys:
            raise ConfigurationError("key holds no key; give one, or None")
        # Now, rather than when a request waits for it.
        self._fernet = _cipher(self.keys) if self.keys else None

    def names(self, identity: str) -> tuple[str, ...]:
        """The name of the entry for what *identity* tells, secrets included; under each older key it may lie as well.

        What can be guessed cannot be tried out: without the key not at all, and where there is none by a slow hash.
        """
        text = identity.encode("utf-8", "surrogatepass")
        if not self.keys:
            return (hashlib.scrypt(text, salt=_VERSION, n=2**14, r=8, p=1, dklen=32).hex(),)
        return tuple(hmac.digest(base64.urlsafe_b64decode(key), _VERSION + text, "sha256").hex() for key in self.keys)

    def close(self, text: str, name: str) -> str:
        """*text* as it may lie there under *name*, and under no other: nobody can move it to another tenant's."""
        return str(self._fernet.encrypt(f"{name} {text}".encode()).decode()) if self._fernet else text

    def open(self, sealed: str, name: str) -> str | None:
        """What :meth:`close` was given; ``None``: another key closed it, it lay elsewhere, or it was damaged."""
        if self._fernet is None:
            return sealed
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - a heavy one

        try:
            whose, _, text = str(self._fernet.decrypt(sealed.encode()).decode()).partition(" ")
        except (InvalidToken, UnicodeError):
            return None
        return text if whose == name else None


class SealedCache:
    """What our own caches have in common: equal by configuration, and pickled by it."""

    def __init__(self, key: Key, *configuration: Any) -> None:
        self._seal = Seal(key)
        self._configuration = configuration

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedCache) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self._configuration, self._seal.keys or None)

    def _settings(self) -> tuple[Any, ...]:
        return type(self), self._configuration, self._seal.keys


@functools.lru_cache(maxsize=16)
def _cipher(keys: tuple[bytes, ...]) -> Any:
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - a heavy one

    return MultiFernet([Fernet(key) for key in keys])


def _checked(key: object) -> bytes:
    try:
        text = key.encode("ascii") if isinstance(key, str) else key
        if isinstance(text, bytes) and len(base64.b64decode(text.strip(), altchars=b"-_", validate=True)) == 32:  # noqa: PLR2004
            return text.strip()
    except (UnicodeError, binascii.Error):
        pass
    raise ConfigurationError("key is no Fernet key, nor a list of them; make one by `auth-plugins cache key`")
