"""Gets a token through a shared cache: read, lock, read again, fetch, store, release."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from auth_plugins._base.runtime import runtime
from auth_plugins._caches.grant_state import GrantState
from auth_plugins._caches.shared_entry import LockState, SharedEntry
from auth_plugins._protocol.tokens import Token

from .current_token import window
from .flight import Ending, Flight
from .freshness import Freshness, Schedule
from .grant_fetcher import GrantFetcher
from .retrying_sender import with_jitter

#: Seconds that a busy lock is waited for after its lease has ended.
LOCK_GRACE = 1.0
#: Seconds between two reads while another process fetches: this part of the time waited so far, within limits, so that
#: the wait is hardly longer than needed, and a fleet does not keep the cache busy. Where the cache can tell that its
#: lock is released, that ends a wait of the longest pause.
POLL_SHARE, SHORTEST_POLL, LONGEST_POLL = 0.2, 0.01, 0.5


class SharedFetch:
    """Takes the token that another process stored, or fetches and stores one under the lock of the entry.

    :param open_entry: returns the entry; called for each attempt, as its name depends on secrets, which rotate.
    :param lease: seconds for which the lock is held at most.
    """

    def __init__(
        self,
        inner: GrantFetcher,
        state: GrantState,
        schedule: Schedule,
        open_entry: Callable[[], SharedEntry | None],
        lease: float,
    ) -> None:
        self._inner, self._state, self._schedule = inner, state, schedule
        self._open_entry, self._lease = open_entry, lease

    def fetch(self, flight: Flight) -> Token | Ending:
        """Get a token; ``Ending.REFRESHED_ELSEWHERE``: another process does, and there is no hurry."""
        entry = self._open_entry()
        if entry is not None:
            for _ in lock_attempts(entry, self._lease):
                if (found := self._usable(entry.read(), flight)) is not None:
                    return found
                with entry.locked(self._lease) as lock:
                    if lock is LockState.ACQUIRED:
                        # Read again: the last lock holder may have stored a token meanwhile.
                        stored = entry.read()
                        return self._usable(stored, flight) or self._fetch_and_store(entry, stored, flight)
                if lock is LockState.UNAVAILABLE:
                    break
                if flight.refreshing is not None:
                    return Ending.REFRESHED_ELSEWHERE
        # No lock is available (cache down, or its holder is stuck): fetch without coordination.
        return self._inner.fetch(flight)

    def _usable(self, stored: Token | None, flight: Flight) -> Token | None:
        """Return *stored*, a token in the shared cache, if *flight* can end with it."""
        flight.fallback = stored
        if stored is None or self._state.is_behind(stored):
            return None
        if window(self._state, stored, self._schedule).freshness(runtime.clock.time()) is Freshness.EXPIRED:
            return None
        flight.is_shared, self._state.last_shared = True, stored
        return stored

    def _fetch_and_store(self, entry: SharedEntry, stored: Token | None, flight: Flight) -> Token:
        """Fetch a token, and store it before it is used: a refresh token that is lost costs a new login."""
        state, own = self._state, self._state.refreshable
        flight.fallback = stored
        # Another process has stored a newer refresh token than this process knows.
        is_newer = stored is not None and stored.refresh_token and (own is None or stored != state.last_shared)
        token = self._inner.fetch(flight, stored if is_newer else None, entry)
        flight.is_shared = entry.store(token, stored)
        state.last_shared = token if flight.is_shared else stored
        if state.flight is not flight:  # revoked or overdue meanwhile: the token is for the waiters alone
            entry.delete(token)
        return token


@contextlib.contextmanager
def lock_if_possible(entry: SharedEntry, lease: float) -> Iterator[None]:
    """Hold the lock of *entry*; go on without it if it is unavailable, or busy for too long."""
    for _ in lock_attempts(entry, lease):
        with entry.locked(lease) as lock:
            if lock is not LockState.BUSY:
                yield
                return
    yield


def lock_attempts(entry: SharedEntry, lease: float) -> Iterator[None]:
    """Yield once for each attempt to lock *entry*, and wait in between, until *lease* and a second have passed."""
    began, slept = runtime.clock.monotonic(), 0.0
    yield
    # The time slept counts as well: a test that freezes time stops the clock.
    while (waited := max(runtime.clock.monotonic() - began, slept)) <= lease + LOCK_GRACE:
        if (released := entry.released()) is None:
            pause = with_jitter(min(max(SHORTEST_POLL, waited * POLL_SHARE), LONGEST_POLL))
            runtime.clock.sleep(pause)
        else:
            runtime.sleep_until(released, LONGEST_POLL)
            # A lock that is released again and again, and never free, is no loop without end.
            pause = SHORTEST_POLL if released.done() else LONGEST_POLL
        slept += pause
        yield
