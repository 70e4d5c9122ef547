"""Names that reveal nothing, and entries that only a key decrypts."""

from __future__ import annotations

import base64
import errno
import functools
import hashlib
import hmac
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Bytes of the longest entry that a cache of ours reads; no token is that long.
LONGEST = 1 << 23

#: A Fernet key, or several for a rotation: the first encrypts, each of them decrypts.
Key = str | bytes | Iterable[str | bytes] | None

#: Part of every name, so that a later version of this package can store other entries beside these.
_VERSION = b"auth_plugins 1"


class LockLostError(RuntimeError):
    """The lock ended before the token was stored; the cache itself works."""


class Opaque:
    """A value that no dump of variables or attributes shows, whatever its own ``repr`` is."""

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


class EntryCipher:
    """Names the entries of a shared cache, and encrypts them if there is a *key*.

    :raises ConfigurationError: *key* is neither a Fernet key, nor several, nor ``None``.
    """

    def __init__(self, key: Key) -> None:
        #: The keys, hidden from dumps.
        self.keys = _keys(key)
        if self.keys:
            _fernet(self.keys)  # loads cryptography here, rather than when a request waits for it

    def names(self, identity: str, name_key: str | None = None) -> tuple[str, ...]:
        """Return the name of an entry, then its names under older keys.

        *identity*, which contains secrets, cannot be guessed from a name without a key or a *name_key*. If there is
        neither, each guess costs a slow hash.

        :param name_key: for a cache without a key, what its :meth:`BaseCache.name_key` returned.
        """
        text = Opaque(identity.encode("utf-8", "surrogatepass"))
        del identity
        if not (self.keys or name_key):
            return (hashlib.scrypt(text.open(), salt=_VERSION, n=2**14, r=8, p=1, dklen=32).hex(),)
        keys = [Opaque(name_key.encode())] if name_key else map(Opaque, map(base64.urlsafe_b64decode, self.keys))
        return tuple(hmac.digest(key.open(), _VERSION + text.open(), "sha256").hex() for key in keys)

    def encrypt(self, text: str, name: str) -> str:
        """Return *text* as it is stored under *name*; under another name it is not decrypted."""
        return str(_fernet(self.keys).encrypt(f"{name} {text}".encode()).decode()) if self.keys else text

    def decrypt(self, stored: str, name: str) -> str | None:
        """Return the text that :meth:`encrypt` was given; ``None``: another key or name was used, or it is damaged."""
        if not self.keys:
            return stored
        from cryptography.fernet import InvalidToken

        try:
            text = Opaque(_fernet(self.keys).decrypt(stored.encode()).decode())
        except (InvalidToken, UnicodeError):
            return None
        stored_name, _, _ = text.open().partition(" ")
        return str(text.open().removeprefix(f"{name} ")) if stored_name == name else None


class BaseCache(ABC):
    """The base of :class:`FileCache` and :class:`RedisCache`, which are equal by their configuration."""

    def __init__(self, key: Key, *configuration: object) -> None:
        self._cipher = EntryCipher(key)
        self._identity = type(self), configuration, self._cipher.keys

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseCache) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @abstractmethod
    def name_key(self) -> str:
        """Return the random text that names depend on without a key; the first process makes it, for all others.

        Raises what the cache raises, or OSError if the text is not one that this package made.
        """

    @abstractmethod
    def released(self, key: str, /) -> Future[None] | None:
        """Return what is done as soon as no process holds the lock of that name; ``None``: the cache cannot tell."""

    @abstractmethod
    def delete_name_key(self) -> None:
        """Delete that text: no process finds the entries that were stored before."""


def new_name_key() -> str:
    """Return a new random text, of 256 bits, for :meth:`BaseCache.name_key`."""
    text: str = hidden(secrets.token_hex(32))
    return text


def check_name_key(text: str | None, place: str) -> str:
    """Return *text*, which was read at *place*, if it is such a text; raise OSError, which says what to do, if not."""
    checked: str = hidden(text or "")
    del text
    if len(checked) != 64 or not set(checked) <= set("0123456789abcdef"):
        raise OSError(errno.EINVAL, "it is damaged, or another program's or user's; delete it", place)
    return checked


@functools.lru_cache(maxsize=16)
def _fernet(keys: tuple[str, ...]) -> Any:
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(key) for key in keys])


def _keys(key: Any) -> tuple[str, ...]:
    if key is None:
        return ()
    given = re.split(r"[\s,]+", key.strip()) if isinstance(key, str) else [key] if isinstance(key, bytes) else key
    try:
        texts = [each.decode("ascii") if isinstance(each, bytes) else each for each in given]
        # Each once: the lock of a name is taken once.
        keys = tuple(dict.fromkeys(hidden(each.strip()) for each in texts))
        are_keys = all(len(base64.b64decode(each, altchars=b"-_", validate=True)) == 32 for each in keys)
    except (TypeError, ValueError, AttributeError):
        are_keys, keys = False, ()
    # Outside of `except`, whose error quotes the key.
    if not are_keys or not keys:
        raise ConfigurationError(
            "must be a Fernet key, or several", argument="key", advice="make one by `auth-plugins cache key`"
        )
    return keys
