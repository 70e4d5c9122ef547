"""A cache that processes share, its outages, and the memory of this process in front of it."""

from __future__ import annotations

import json
import logging
import math
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden
from auth_plugins._base.runtime import runtime
from auth_plugins._grants.base import Grant

from .encryption import BaseCache, EntryCipher, LockLostError, Opaque
from .entries import StoredToken
from .grant_state import GrantState
from .memory import MemoryCache, process_cache
from .protocol import TokenCache
from .shared_entry import LONGEST_TTL, LockState, SharedEntry

_T = TypeVar("_T")
_log = logging.getLogger("auth_plugins")

#: Seconds for which a cache that failed is not used.
_BACK_OFF = 5.0
#: An entry that has this name under each key; the names of all others depend on the key.
KEY_CHECK = "key-check"
#: Seconds after which its lock ends.
_KEY_CHECK_LEASE = 1.0
#: The fields of a grant that are stored in its entry.
_ABOUT = ("grant", "token_url", "client_id", "username", "scope")


class Outages:
    """Calls a shared cache, but not for 5 seconds after it failed; logs the begin and the end of an outage."""

    def __init__(self, cache: TokenCache, memory: MemoryCache) -> None:
        self._kind = type(cache).__name__
        #: Which cache it is, for warnings. The repr of another class may contain secrets.
        self.name = repr(cache) if isinstance(cache, BaseCache) else self._kind
        self._memory = memory
        #: By ``runtime.clock.monotonic``.
        self._back_off_until = -math.inf
        #: The operation that failed, until the same one succeeds: a disk that is full can still be read.
        self.failed_operation: str | None = None
        self._has_warned_of_delete = False

    def attempt(
        self, operation: str, function: Callable[..., _T], *arguments: Any, during_outage: bool = False
    ) -> _T | None:
        """Return what *function* returns; ``None`` if it raises, or is not called because of an outage."""
        began = runtime.clock.monotonic()
        if began < self._back_off_until and not during_outage:
            return None
        try:
            result = function(*arguments)
        except Exception as error:
            is_lost, problem = isinstance(error, LockLostError), _describe(operation, error)
        else:
            # A call that began before the outage does not show that it is over.
            if self.failed_operation == operation and began >= self._back_off_until:
                self._note(None, "%s works again: tokens are shared")
            return result
        # Outside of `except`: the error may quote a token, and tools store the variables of a frame that logs.
        if is_lost:
            _log.warning("%s: %s", self.name, problem)
        elif operation != "delete":
            self._back_off_until = runtime.clock.monotonic() + _BACK_OFF
            message = "%s is out of order (%s); tokens are shared within this process only until it works again"
            self._note(operation, message, problem)
        elif not self._has_warned_of_delete:  # tokens are shared all the same: it is no outage
            self._has_warned_of_delete = True
            _log.warning("%s keeps an entry that should be deleted (%s)", self.name, problem)
        return None

    def _note(self, failed_operation: str | None, message: str, *details: str) -> None:
        """Log that an outage begins or ends, once for all threads that meet it."""
        with self._memory.lock:
            before, self.failed_operation = self.failed_operation, failed_operation
        if (before is None) != (failed_operation is None):
            _log.warning(message, self._kind, *details)


def _describe(operation: str, error: Exception) -> str:
    """Return one line about *error*, which may quote what was to be stored."""
    if isinstance(error, LockLostError):
        return str(error)
    kind, module, detail = type(error).__name__, type(error).__module__, ""
    if isinstance(error, OSError) and module == "builtins":
        detail = f": {error.strerror}: {error.filename}" if error.filename else f": {error.strerror}"
    # A ResponseError quotes the command that the server refused: an AUTH with its password, for one.
    elif module.startswith("redis.") and operation != "set" and kind != "ResponseError":
        detail = f": {' '.join(str(error).split())[:200]}"
    return f"{operation}: {kind}{detail}"


class SharedCache:
    """A cache that processes share. Its errors cost a warning, and never a request."""

    def __init__(self, cache: TokenCache) -> None:
        #: The states of the grants whose tokens this process stores there.
        self.memory = MemoryCache()
        self.cache = cache
        self.cipher: EntryCipher = cache._cipher if isinstance(cache, BaseCache) else EntryCipher(None)
        self._outages = Outages(cache, self.memory)
        #: Calls the cache; see :meth:`Outages.attempt`.
        self.attempt = self._outages.attempt
        self._damaged: set[str] = set()
        self._is_key_checked = not self.cipher.keys
        self._has_name_key = isinstance(cache, BaseCache) and not self.cipher.keys

    def entry_of(self, grant: Grant, state: GrantState) -> SharedEntry | None:
        """Return the entry of *grant*; ``None``: it has no identity to share by, or its name cannot be made.

        :raises ConfigurationError: a secret cannot be read, or the identity is not JSON.
        """
        identity = Opaque(grant.identity())
        if identity.open() is None:
            return None
        try:
            text = hidden(json.dumps(identity.open(), sort_keys=True))
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"{type(grant).__name__} has a field that is neither text nor number, so no shared cache can name its "
                "token",
                advice="override identity()",
            ) from None
        names = self._names(text, grant, state)
        if names is None:
            return None
        about = {name: str(identity.open()[name]) for name in _ABOUT if identity.open().get(name)}
        if "token_url" in about:
            about["token_url"] = about["token_url"].partition("?")[0]
        return SharedEntry(self, names, about)

    def _names(self, text: str, grant: Grant, state: GrantState) -> tuple[str, ...] | None:
        """Return the names of the entry of *grant*, whose identity is *text*; ``None`` in trouble, which is logged."""
        # A grant that cannot be used again must find its successor, whatever becomes of the name key.
        if self._has_name_key and grant.is_repeatable:
            # For each attempt: all processes agree again when another one has deleted it.
            name_key = self.attempt("name key", self.name_key)
            return None if name_key is None else self.cipher.names(text, name_key)
        # Another secret is another identity, and another name.
        if state.names is None or state.names[0] != hash(text):
            names = self.attempt("hash", self.cipher.names, text)
            if names is None:
                return None
            state.names = (hash(text), names)
        return state.names[1]

    def name_key(self) -> str | None:
        """Return the name key; ``None``: this cache has none. Raises what the cache raises."""
        text: str | None = hidden(self.cache.name_key()) if self._has_name_key else None  # type: ignore[attr-defined]
        return text

    def read(self, name: str, about: Mapping[str, str]) -> StoredToken | None:
        """Return the entry of that name; one that is not ours counts as none, with one warning.

        :param about: what an entry of version 0.1.0, which does not hold its name, must be about.
        """
        text = self.attempt("get", self.get, name)
        if text is None:
            self._check_key()
            return None
        entry = self.decode(name, text)
        if entry is not None and entry.name is None and entry.about != about:
            entry = None
        if entry is None and name not in self._damaged:
            self._damaged.add(name)
            _log.warning(
                "an entry in %s is damaged, or another program's or user's; it counts as no token, and is replaced",
                self._outages.name,
            )
        return entry

    def get(self, name: str) -> str | None:
        """Return the text that is stored under *name*. Raises what the cache raises."""
        text: str | None = hidden(self.cache.get(name))
        return text

    def decode(self, name: str, text: str) -> StoredToken | None:
        """Read *text*, which is stored under *name*; ``None``: it is damaged, or was stored under another name."""
        decrypted = hidden(self.cipher.decrypt(text, name))
        entry = None if decrypted is None else StoredToken.load(decrypted)
        return entry if entry is None or entry.name in (None, name) else None

    def _check_key(self) -> None:
        """Warn once if the cache is in use under another key, whose entries this process never finds."""
        if self._is_key_checked or self._outages.failed_operation is not None:
            return
        self._is_key_checked = True
        text = self.attempt("get", self.get, KEY_CHECK)
        if text is not None and self.cipher.decrypt(text, KEY_CHECK) is None:
            _log.warning(
                "%s holds tokens under another key, which count as none; give that key as well, as the last one, "
                "or clear them by `auth-plugins cache clear PREFIX --all`",
                self._outages.name,
            )
        elif text is None or len(self.cipher.keys) > 1:
            # Under its lock, as every entry is written. If another process holds it, that one writes the entry.
            with SharedEntry(self, (KEY_CHECK,), {}).locked(_KEY_CHECK_LEASE) as lock:
                if lock is LockState.ACQUIRED:
                    text = self.cipher.encrypt(KEY_CHECK, KEY_CHECK)
                    self.attempt("set", self.cache.set, KEY_CHECK, text, LONGEST_TTL)


#: By cache, or by the id of one that has no hash: equal caches share what is in memory.
_all: weakref.WeakValueDictionary[object, SharedCache] = weakref.WeakValueDictionary()
#: Keeps the latest, so that auth objects that are made for each call find their tokens in memory.
_latest: deque[SharedCache] = deque(maxlen=32)


def shared_cache_for(cache: TokenCache) -> SharedCache:
    """Return the one :class:`SharedCache` in this process of all caches that are equal to *cache*."""
    key: object = cache
    try:
        hash(cache)
    except TypeError:
        key = id(cache)  # it lives as long as the SharedCache
    # A lock that a finalizer can enter again, when it makes an auth object, and that is free in a forked child.
    with process_cache().lock:
        shared = _all.get(key)
        if shared is None:
            shared = _all.setdefault(key, SharedCache(cache))
            _latest.append(shared)
    return shared
