"""The entry of one grant in a shared cache: read, lock, store, delete."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auth_plugins._base.hidden import hidden
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

from .encryption import BaseCache, LockLostError
from .entries import StoredToken

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .shared import SharedCache

#: Seconds for which an entry is stored that has a refresh token, or a token that tells no expiry.
LONGEST_TTL = 180 * 86400.0


class LockState(enum.Enum):
    """The outcome of one try to lock an entry."""

    ACQUIRED = "this process holds the lock"
    BUSY = "another process holds the lock"
    UNAVAILABLE = "the cache is out of order, so no process can hold the lock"


@dataclass(frozen=True, slots=True)
class SharedEntry:
    """The entry of one grant in a shared cache. Its methods raise nothing that the cache raises."""

    _shared: SharedCache
    #: The name of the entry, then its names under older keys.
    names: tuple[str, ...]
    _about: Mapping[str, str]

    def read(self) -> Token | None:
        """Return the newest stored token, expired or not: its refresh token may be of use."""
        entries = filter(None, [self._shared.read(name, self._about) for name in self.names])
        return max((entry.token for entry in entries), key=lambda token: token.issued_at, default=None)

    @contextlib.contextmanager
    def locked(self, lease: float) -> Iterator[LockState]:
        """Try once to keep other processes from fetching this token, for *lease* seconds if this process is lost."""
        with contextlib.ExitStack() as stack:
            state = LockState.ACQUIRED
            # In the same order in each process: else two could each hold one name's lock, and wait for the other.
            for name in sorted(self.names):
                if state is LockState.ACQUIRED:
                    state = self._lock(stack, name, lease)
            yield state

    def _lock(self, stack: contextlib.ExitStack, name: str, lease: float) -> LockState:
        # Where a cache has no locks, each process fetches its own token.
        make: Any = getattr(self._shared.cache, "lock", lambda *_: contextlib.nullcontext())

        def enter() -> LockState:
            lock = make(name, lease)
            is_held = lock.__enter__() is not False
            stack.callback(release, lock)
            return LockState.ACQUIRED if is_held else LockState.BUSY

        def release(lock: Any) -> None:
            # During an outage too. An error matters only to the next that needs the lock, which meets it again.
            with contextlib.suppress(Exception):
                lock.__exit__(None, None, None)

        return self._shared.attempt("lock", enter) or LockState.UNAVAILABLE

    def released(self) -> Future[None] | None:
        """Return what is done as soon as no process holds the lock; ``None``: the cache cannot tell."""
        cache = self._shared.cache
        # Of several locks, it is not known which one is held.
        return cache.released(self.names[0]) if isinstance(cache, BaseCache) and len(self.names) == 1 else None

    def store(self, token: Token, previous: Token | None) -> bool:
        """Store *token* in place of *previous*, under the lock; return whether other processes can find it."""
        ttl = _ttl(token)
        if ttl <= 0:
            return False
        shared, (name, *older) = self._shared, self.names
        text = hidden(shared.cipher.encrypt(hidden(StoredToken(token, self._about, name).dump()), name))

        def store() -> bool:
            try:
                shared.cache.set(name, str(text), ttl)
            except LockLostError:
                raise
            except Exception:
                # The disk may be full. The refresh token of the stored token is spent: no process should find it.
                with contextlib.suppress(Exception):
                    if previous is not None:
                        self._delete(name, previous)
                raise
            for each in older:
                shared.cache.delete(each)
            return True

        # During an outage too: this process holds the lock, so no other can store the token.
        return bool(shared.attempt("set", store, during_outage=True))

    def withdraw(self, token: Token, lease: float) -> None:
        """Let no process use the access token of *token*, if it is still stored; its refresh token stays.

        Another process that holds the lock is about to store another token.
        """
        with self.locked(lease) as lock:
            stored = self.read() if lock is LockState.ACQUIRED else None
            if stored is None or stored.access_token != token.access_token:
                return
            if stored.refresh_token is None:
                self.clear()  # under older keys too, where there may be an older token
            elif stored.expires_at != stored.issued_at:
                # It counts as expired, whatever the clock says.
                self.store(Token(**{**stored.members(), "expires_at": stored.issued_at}), stored)

    def delete(self, token: Token) -> None:
        """Delete the entry if it still holds *token*: another process may have stored a newer one."""
        for name in self.names:
            self._shared.attempt("delete", self._delete, name, token)

    def _delete(self, name: str, token: Token) -> None:
        entry = self._shared.decode(name, self._shared.get(name) or "")
        if entry is not None and entry.token == token:
            self._shared.cache.delete(name)

    def clear(self) -> None:
        """Delete the entry."""
        for name in self.names:
            self._shared.attempt("delete", self._shared.cache.delete, name)


def _ttl(token: Token) -> float:
    """Return the seconds for which the entry of *token* is of use; 0 or less: it is of none."""
    if token.refresh_token or token.expires_at is None:
        return LONGEST_TTL
    # At most the token's lifetime, even if the clock was ahead when it was issued, and has been set back since.
    return min(token.expires_at - runtime.clock.time(), token.expires_at - token.issued_at, LONGEST_TTL)
