"""The entry of one grant in a shared cache: read, lock, store, delete."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from auth_plugins._base.frozen import Record
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
#: Seconds in which at most one token is withdrawn that an API rejected.
WITHDRAWAL_PAUSE = 30.0


class LockState(enum.Enum):
    """The outcome of one try to lock an entry."""

    ACQUIRED = "this process holds the lock"
    BUSY = "another process holds the lock"
    UNAVAILABLE = "the cache is out of order, so no process can hold the lock"


class SharedEntry(Record):
    """The entry of one grant in a shared cache. Its methods raise nothing that the cache raises."""

    _shared: SharedCache
    #: The name of the entry, then its names under older keys.
    names: tuple[str, ...]
    _about: Mapping[str, str]

    def read(self) -> Token | None:
        """Return the newest stored token, expired or not: its refresh token may be of use."""
        return None if (stored := self._newest()) is None else stored.token

    def _newest(self) -> StoredToken | None:
        entries = filter(None, [self._shared.read(name, self._about) for name in self.names])
        return max(entries, key=lambda entry: entry.token.issued_at, default=None)

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
        withdrawn_at = previous.issued_at if previous is not None and _is_withdrawn(previous) else 0.0
        return self._store(StoredToken(token, self._about, self.names[0], withdrawn_at), _ttl(token), previous)

    def _store(self, stored: StoredToken, ttl: float, previous: Token | None) -> bool:
        if ttl <= 0:
            return False
        shared, (name, *older) = self._shared, self.names
        text = hidden(shared.cipher.encrypt(hidden(stored.dump()), name))

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

    def withdraw(self, token: Token, lease: float, *, is_rejected: bool) -> None:
        """Let no process use the access token of *token*, if it is still stored; its refresh token stays.

        Another process that holds the lock is about to store another token.

        :param is_rejected: an API said so. It may reject each token, so that at most one is withdrawn in 30 seconds.
        """
        with self.locked(lease) as lock:
            stored, now = self._newest() if lock is LockState.ACQUIRED else None, runtime.clock.time()
            if stored is None or stored.token.access_token != token.access_token or _is_withdrawn(stored.token):
                return
            if is_rejected and abs(now - stored.withdrawn_at) < WITHDRAWAL_PAUSE:
                return
            withdrawn = Token(**{**stored.token.members(), "issued_at": now, "expires_at": now})
            ttl = LONGEST_TTL if withdrawn.refresh_token else WITHDRAWAL_PAUSE
            # If that fails, the entry stays as it is: the refresh token in it is not spent.
            self._store(StoredToken(withdrawn, self._about, self.names[0]), ttl, None)

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


def _is_withdrawn(token: Token) -> bool:
    """Return whether *token* counts as expired since the moment of its issue, which is when it was withdrawn."""
    return token.expires_at == token.issued_at


def _ttl(token: Token) -> float:
    """Return the seconds for which the entry of *token* is of use; 0 or less: it is of none."""
    if token.refresh_token or token.expires_at is None:
        return LONGEST_TTL
    # At most the token's lifetime, even if the clock was ahead when it was issued, and has been set back since.
    return min(token.expires_at - runtime.clock.time(), token.expires_at - token.issued_at, LONGEST_TTL)
