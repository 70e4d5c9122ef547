"""What lies in a cache that others can look into: names that tell nothing, and entries that only a key opens."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden

__all__ = ["LONGEST", "Key", "LockLostError", "Opaque", "Seal", "SealedCache"]

#: Bytes of the longest entry that a cache of ours reads; no token is that long.
LONGEST = 1 << 23

#: A Fernet key, or several of them for a rotation: the first one seals, each of them opens.
Key = str | bytes | Iterable[str | bytes] | None

#: Goes into every name: what is stored may change with a later version of this package.
_VERSION = b"auth_plugins 1"


class LockLostError(RuntimeError):
    """The lock ended before what it was held for; the cache itself is well."""


class Opaque:
    """A value that no dump of variables or attributes shows, whatever the value's own ``repr`` is."""

    __slots__ = ("open",)

    def __init__(self, value: Any) -> None:
        #: Returns the value.
        self.open: Callable[[], Any] = lambda: value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and bool(self.open() == other.open())

    def __hash__(self) -> int:
        return hash(self.open())


class Seal:
    """Names entries, and encrypts them where there is a key.

    :raises ConfigurationError: *key* is no Fernet key.
    """

    def __init__(self, key: Key | Opaque) -> None:
        given = key if isinstance(key, Opaque) else Opaque(key)
        del key
        # Each once, or its lock would be taken twice.
        keys = tuple(dict.fromkeys(map(_checked, _several(given))))
        if None in keys:
            raise ConfigurationError("key is no Fernet key, nor a list of them; make one by `auth-plugins cache key`")
        if not keys and given.open() is not None:
            raise ConfigurationError("key holds no key; give one, or None")
        self.keys: tuple[str, ...] = keys
        # Now, rather than when a request waits for it.
        if keys:
            _cipher(keys)

    def names(self, identity: str) -> tuple[str, ...]:
        """The name of the entry for what *identity* tells, secrets included; under each older key it may lie as well.

        What can be guessed cannot be tried out: without the key not at all, and where there is none by a slow hash.
        """
        text = Opaque(identity.encode("utf-8", "surrogatepass"))
        del identity
        if not self.keys:
            return (hashlib.scrypt(text.open(), salt=_VERSION, n=2**14, r=8, p=1, dklen=32).hex(),)
        keys = map(Opaque, map(base64.urlsafe_b64decode, self.keys))
        return tuple(hmac.digest(key.open(), _VERSION + text.open(), "sha256").hex() for key in keys)

    def close(self, text: str, name: str) -> str:
        """*text* as it may lie there under *name*, and under no other: nobody can move it to another tenant's."""
        return str(_cipher(self.keys).encrypt(f"{name} {text}".encode()).decode() if self.keys else text)

    def open(self, sealed: str, name: str) -> str | None:
        """What :meth:`close` was given; ``None``: another key closed it, it lay elsewhere, or it was damaged."""
        if not self.keys:
            return sealed
        from cryptography.fernet import InvalidToken

        try:
            opened = Opaque(_cipher(self.keys).decrypt(sealed.encode()).decode())
        except (InvalidToken, UnicodeError):
            return None
        whose, _, _ = opened.open().partition(" ")
        return str(opened.open().removeprefix(f"{name} ")) if whose == name else None


class SealedCache:
    """What our own caches have in common: equal by configuration, and pickled by it."""

    def __init__(self, key: Key | Opaque, *configuration: Any) -> None:
        hidden_key = key if isinstance(key, Opaque) else Opaque(key)
        del key
        self._seal = Seal(hidden_key)
        self._configuration = configuration

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedCache) and self._settings() == other._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    def __reduce__(self) -> tuple[Any, ...]:
        plain = (each.open() if isinstance(each, Opaque) else each for each in self._configuration)
        return type(self), (*plain, self._seal.keys or None)

    def _settings(self) -> tuple[Any, ...]:
        return type(self), self._configuration, self._seal.keys


@functools.lru_cache(maxsize=16)
def _cipher(keys: tuple[str, ...]) -> Any:
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(key) for key in keys])


def _several(given: Opaque) -> Iterable[object]:
    key = given.open()
    if isinstance(key, str):
        return re.split(r"[\s,]+", key.strip())
    if key is None:
        return ()
    return key if isinstance(key, Iterable) and not isinstance(key, bytes) else (key,)


def _checked(key: object) -> Any:
    """A key as text that no dump shows; ``None``: it is no Fernet key."""
    try:
        text = key.encode("ascii") if isinstance(key, str) else key
        if isinstance(text, bytes) and len(base64.b64decode(text.strip(), altchars=b"-_", validate=True)) == 32:
            return hidden(text.strip().decode("ascii"))
    except (UnicodeError, binascii.Error):
        pass
    return None
