"""A cache that processes share, behind the memory of this one: what lies in it, and what its trouble means."""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden
from auth_plugins._base.runtime import runtime
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token

from .encryption import LockLostError, Opaque, Seal, SealedCache
from .memory import GrantState, MemoryCache, TokenCache

__all__ = ["KEY_CHECK", "Entry", "LockState", "SharedCache", "SharedEntry", "shared_cache_for"]

_T = TypeVar("_T")
_log = logging.getLogger("auth_plugins")

#: Seconds for which a cache that failed is left alone.
_REST = 5.0
#: Seconds for which an entry is kept that may be of use for so long: it has a refresh token, or nobody told its end.
_LONG = 180 * 86400.0
#: Seconds that the lock is held for the next.
_BRIEF = 1.0
#: What tells, without telling anything, whether the key is that of those who were here before.
KEY_CHECK = "key-check"
#: What of a grant goes into its entry, for those who list them.
_ABOUT = ("grant", "token_url", "client_id", "username", "scope")


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies in a shared cache for one grant."""

    token: Token
    #: Whose token it is: members of the grant that are no secrets.
    about: Mapping[str, str]
    #: The name under which the entry was stored; ``None``: version 0.1.0 stored it, which wrote none.
    name: str | None = None

    def dump(self) -> str:
        """The entry as a text in ASCII."""
        name = {} if self.name is None else {"name": self.name}
        return json.dumps({"token": self.token.members(), "about": self.about, **name})

    @classmethod
    def load(cls, text: str) -> Entry | None:
        """Read an entry; ``None``: it is none of ours, or not whole."""
        text = hidden(text)
        try:
            members = json.loads(text, object_hook=_without_secrets)
            members["token"].update({name: _as_float(members["token"][name]) for name in ("expires_at", "issued_at")})
            token, about, stored_as = members["token"], members["about"], members.get("name")
            for name, kind in _MEMBERS.items():
                if not isinstance(token[name], kind):
                    return None
            access_token = token["access_token"]
            if not (access_token and access_token.isascii() and access_token.isprintable()):
                return None
            (token["refresh_token"] or "").encode()
            about = {str(k): str(about[k]) for k in about}
            return cls(Token(**{name: token[name] for name in _MEMBERS}), about, stored_as)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
            return None


_MEMBERS: Mapping[str, Any] = {
    "access_token": str,
    "token_type": str,
    "expires_at": float | None,
    "refresh_token": str | None,
    "scope": str | None,
    "issued_at": float,
}


def _without_secrets(members: dict[str, Any]) -> dict[str, Any]:
    """The members of an entry, or of its token, as a dump of variables may show them."""
    return {name: hidden(value) if name.endswith("_token") else value for name, value in members.items()}


def _as_float(value: Any) -> float | None:
    """A number of seconds, or what stands for none.

    :raises ValueError: it is neither.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return float(value)


class SharedCache:
    """A cache that others use as well. Whatever it raises costs a warning, and never a request."""

    def __init__(self, cache: TokenCache) -> None:
        #: What this process knows of the grants whose tokens lie there.
        self.memory = MemoryCache()
        self.cache = cache
        self.seal: Seal = cache._seal if isinstance(cache, SealedCache) else Seal(None)
        # What others write into a repr, nobody knows.
        self._name = repr(cache) if isinstance(cache, SealedCache) else type(cache).__name__
        # On the clock of runtime.monotonic().
        self._rests_until = -math.inf
        #: What it failed at, until it succeeds at just that: a disk that is full can still be read.
        self._fails_at: str | None = None
        #: Whether it was told that nothing is forgotten.
        self._keeps = False
        self._damaged: set[str] = set()
        self._knows_key = not self.seal.keys

    def shelf(self, grant: Grant, state: GrantState) -> SharedEntry | None:
        """The place of *grant*; ``None``: it has nothing to share.

        :raises ConfigurationError: a secret cannot be read.
        """
        identity = Opaque(grant.identity())
        if identity.open() is None:
            return None
        try:
            text = hidden(json.dumps(identity.open(), sort_keys=True))
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"{type(grant).__name__} has a field that is no text or number, so that no shared cache can name its "
                "token; give it an identity() of your own"
            ) from None
        # Secrets change: what is remembered goes with them.
        if state.names is None or state.names[0] != hash(text):
            # Where the hash is forbidden, as in some hardened systems, each process goes on by itself.
            names = self.attempt("hash", self.seal.names, text)
            if names is None:
                return None
            state.names = (hash(text), names)
        about = {name: str(identity.open()[name]) for name in _ABOUT if identity.open().get(name)}
        if "token_url" in about:
            about["token_url"] = about["token_url"].partition("?")[0]
        return SharedEntry(self, state.names[1], about)

    def attempt(self, what: str, function: Callable[..., _T], *arguments: Any, in_rest: bool = False) -> _T | None:
        """What *function* returns; ``None``: the cache is in trouble, and is left alone for a while.

        :param in_rest: try even then.
        """
        began = runtime.monotonic()
        if began < self._rests_until and not in_rest:
            return None
        try:
            result = function(*arguments)
        except Exception as error:
            is_lost, problem = isinstance(error, LockLostError), _described(what, error)
        else:
            if self._fails_at == what and began >= self._rests_until:  # not one that began before the trouble
                self._note(None)
            return result
        # Here the error is gone, which may quote a token: tools store the variables of what logs.
        if is_lost:
            _log.warning("%s: %s", self._name, problem)
        elif what != "delete":
            self._rests_until = runtime.monotonic() + _REST
            self._note(what, problem)
        elif not self._keeps:  # it is no matter of sharing, and comes too seldom to tell when it works again
            self._keeps = True
            _log.warning("%s keeps what it should forget (%s)", self._name, problem)
        return None

    def _note(self, fails_at: str | None, problem: str = "") -> None:
        """Tell of a change, once however many threads meet it."""
        with self.memory.lock:
            before, self._fails_at = self._fails_at, fails_at
        name = type(self.cache).__name__
        if before is None and fails_at is not None:
            _log.warning(
                "%s is out of order (%s); tokens are shared within this process only until it works again",
                name,
                problem,
            )
        elif before is not None and fails_at is None:
            _log.warning("%s works again: tokens are shared", name)

    def read(self, name: str, about: Mapping[str, str]) -> Entry | None:
        """The entry of that name; what is no entry of ours counts as none, with one warning.

        :param about: what an entry of version 0.1.0, which has no name in it, must be about.
        """
        text = self.attempt("get", self._get, name)
        if text is None:
            self._check_key()
            return None
        entry = self.entry(name, text)
        if entry is not None and entry.name is None and entry.about != about:
            entry = None
        if entry is None and name not in self._damaged:
            self._damaged.add(name)
            _log.warning(
                "an entry in %s is damaged, or another program's or user's; it counts as no token, and is replaced",
                self._name,
            )
        return entry

    def _get(self, name: str) -> str | None:
        text: str | None = hidden(self.cache.get(name))
        return text

    def entry(self, name: str, text: str) -> Entry | None:
        """What *text* is, which lies under *name*; ``None``: it is no entry, or was stored under another name."""
        opened = hidden(self.seal.open(text, name))
        entry = None if opened is None else Entry.load(opened)
        return entry if entry is None or entry.name in (None, name) else None

    def entries(self) -> list[Entry | str]:
        """All entries of a cache that can list them; of one that cannot be read, why.

        Raises what the cache does.
        """
        listed: list[Entry | str] = []
        for name in self.cache.names():  # type: ignore[attr-defined]  # ours have it, and nobody else is asked
            text = self._get(name)
            if name == KEY_CHECK or text is None:
                continue
            entry = self.entry(name, text)
            if entry is not None:
                listed.append(entry)
            elif self.seal.keys and Entry.load(text):
                listed.append("not encrypted")
            else:
                listed.append(f"damaged, or under {'another' if self.seal.keys else 'a'} key")
        return listed

    def probe(self) -> None:
        """Do what a token does to a cache, with a name of its own.

        Raises what the cache does.
        """
        name, text = "probe", os.urandom(8).hex()
        with self.cache.lock(name, _BRIEF):  # type: ignore[attr-defined]  # as above
            self.cache.set(name, text, _BRIEF)
            found = self.cache.get(name)
        self.cache.delete(name)
        if found != text:
            raise LookupError("what was stored is not found again")

    def _check_key(self) -> None:
        """Tell of a wrong key: names depend on it, so that what was made by another one is never met."""
        if self._knows_key or self._fails_at:
            return
        self._knows_key = True
        mark = self.attempt("get", self._get, KEY_CHECK)
        if mark is not None and self.seal.open(mark, KEY_CHECK) is None:
            _log.warning(
                "%s holds tokens under another key, which count as none; give that key as well, as the last one, "
                "or clear them by `auth-plugins cache clear PREFIX --all`",
                self._name,
            )
        elif mark is None or len(self.seal.keys) > 1:
            # Under its lock, as every entry is written; who doesn't get it has had somebody else write it.
            with SharedEntry(self, (KEY_CHECK,), {}).locked(_BRIEF) as lock:
                if lock is LockState.ACQUIRED:
                    self.attempt("set", self.cache.set, KEY_CHECK, self.seal.close(KEY_CHECK, KEY_CHECK), _LONG)


class LockState(enum.Enum):
    """The outcome of one try to lock an entry."""

    ACQUIRED = "this process holds the lock"
    BUSY = "another process holds the lock"
    UNAVAILABLE = "the cache is out of order, so no process can hold the lock"


@dataclass(frozen=True, slots=True)
class SharedEntry:
    """Where the token of one grant lies in a shared cache."""

    _shared: SharedCache
    #: The name of the entry, and those that it has under older keys.
    names: tuple[str, ...]
    _about: Mapping[str, str]

    def read(self) -> Token | None:
        """The newest token that lies there. It may have ended, and be of use for its refresh token."""
        entries = filter(None, [self._shared.read(name, self._about) for name in self.names])
        return max((entry.token for entry in entries), key=lambda token: token.issued_at, default=None)

    @contextlib.contextmanager
    def locked(self, lease: float) -> Iterator[LockState]:
        """Keep others from asking for this token; for at most *lease* seconds, should this process be lost."""
        with contextlib.ExitStack() as stack:
            answer = LockState.ACQUIRED
            for name in sorted(self.names):
                if answer is LockState.ACQUIRED:
                    answer = self._entered(stack, name, lease)
            yield answer

    def store(self, token: Token, lying: Token | None) -> bool:
        """Store *token* for good, under the lock, in place of what was *lying* there; whether others can rely on it."""
        ttl = _ttl(token)
        if ttl <= 0:
            return False
        shared, (name, *older) = self._shared, self.names
        text = hidden(Entry(token, self._about, name).dump())
        text = hidden(shared.seal.close(text, name))

        def store() -> bool:
            try:
                shared.cache.set(name, str(text), ttl)
            except LockLostError:
                raise
            except Exception:
                # A disk may be full: a refresh token that lies there has been spent, and nobody should find it.
                with contextlib.suppress(Exception):
                    if lying is not None:
                        self._forget(name, lying)
                raise
            for each in older:
                shared.cache.delete(each)
            return True

        # Be it left alone or not: who holds the lock is the only one who can.
        return bool(shared.attempt("set", store, in_rest=True))

    def delete(self, token: Token) -> None:
        """Forget *token*, if it is still what lies there: somebody else may have stored another meanwhile."""
        for name in self.names:
            self._shared.attempt("delete", self._forget, name, token)

    def _forget(self, name: str, token: Token) -> None:
        shared = self._shared
        entry = shared.entry(name, shared._get(name) or "")
        if entry is not None and entry.token == token:
            shared.cache.delete(name)

    def clear(self) -> None:
        """Forget what lies there."""
        for name in self.names:
            self._shared.attempt("delete", self._shared.cache.delete, name)

    def _entered(self, stack: contextlib.ExitStack, name: str, lease: float) -> LockState:
        shared = self._shared
        # A cache without one leaves it to each process to ask for its own token.
        make: Callable[..., Any] = getattr(shared.cache, "lock", lambda *_: contextlib.nullcontext())

        def enter() -> LockState:
            lock = make(name, lease)
            is_held = lock.__enter__() is not False
            stack.callback(release, lock)
            return LockState.ACQUIRED if is_held else LockState.BUSY

        def release(lock: Any) -> None:
            # Be the cache in trouble by now or not. What an error here means, who wants the lock next finds out.
            with contextlib.suppress(Exception):
                lock.__exit__(None, None, None)

        return shared.attempt("lock", enter) or LockState.UNAVAILABLE


def _ttl(token: Token) -> float:
    """Seconds for which the entry of *token* is of use."""
    if token.refresh_token or token.expires_at is None:
        return _LONG
    # Not longer than the token lives, even if the clock was ahead when it was issued, and has been set back since.
    return min(token.expires_at - runtime.time(), token.expires_at - token.issued_at, _LONG)


def _described(what: str, error: Exception) -> str:
    if isinstance(error, LockLostError):
        return str(error)
    kind = f"{what}: {type(error).__name__}"
    # Whatever was to be stored may be quoted, whole or in part, by anything but the operating system and Redis.
    if type(error).__module__ == "builtins" and isinstance(error, OSError):
        return f"{kind}: {error.strerror}: {error.filename}" if error.filename else f"{kind}: {error.strerror}"
    # Redis names what it refuses by a class, but for an error that quotes what it was sent, an AUTH as well.
    if type(error).__module__.startswith("redis.") and what != "set" and type(error).__name__ != "ResponseError":
        return f"{kind}: {' '.join(str(error).split())[:200]}"
    return kind


#: A cache, or the id of one that cannot be hashed, and what stands before it: equal ones share what is in memory.
_all: weakref.WeakValueDictionary[object, SharedCache] = weakref.WeakValueDictionary()
#: Keeps the latest, so that auth objects that are made anew for each call find their tokens in memory.
_latest: deque[SharedCache] = deque(maxlen=32)
#: A signal handler or a finalizer may make an auth object while its own thread holds the lock: it enters once more.
_lock = threading.RLock()


def shared_cache_for(cache: TokenCache) -> SharedCache:
    """What stands before *cache* in this process, and before all that are equal to it."""
    key: object = cache
    try:
        hash(cache)
    except TypeError:
        key = id(cache)  # it lives as long as what is found by it
    with _lock:
        shared = _all.get(key)
        if shared is None:
            shared = _all.setdefault(key, SharedCache(cache))
            _latest.append(shared)
    return shared


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - a thread that held it doesn't exist in the child
    _lock = threading.RLock()


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
