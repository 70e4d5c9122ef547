"""Tokens in the memory of this process."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Self

from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._grants.base import Grant

from .grant_state import NOT_SEEN, GrantState

if TYPE_CHECKING:
    from .issuer_state import IssuerState

#: How many states a cache holds before it first looks for unused ones.
_FEW = 256
#: How many issuers' metadata are kept: the latest.
_MOST_ISSUERS = 256


class _SameObject(weakref.ref[Any]):
    """A weak reference that equals those to the same object only, whatever the ``==`` of that object says."""

    _id: int

    def __new__(cls, given: Any) -> Self:
        reference = super().__new__(cls, given)
        reference._id = id(given)
        return reference

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, _SameObject) and self() is not None and self() is other())

    def __hash__(self) -> int:
        return self._id


class MemoryCache:
    """Tokens in the memory of this process, for any number of threads and event loops. A forked child has a copy.

    Equal grants over one cache share one token. Without ``cache=`` all use one cache of the whole process; a cache of
    your own keeps its users apart from others. Tokens that have expired, and that no auth object needs, are dropped.
    """

    def __init__(self) -> None:
        #: Guards the states and what is in them; never held over I/O. It can be entered again: a signal handler or
        #: finalizer may need a token while its own thread holds the lock. What it finds is consistent, as each change
        #: is one assignment; at worst it sends a token request although its thread is about to send one.
        self.lock = threading.RLock()
        # A source holds its state, so that all users of a grant share one, even if it was dropped below.
        self._states: weakref.WeakValueDictionary[Hashable, GrantState] = weakref.WeakValueDictionary()
        self._kept: set[GrantState] = set()
        self._sweep_at = _FEW
        self._issuers: dict[Hashable, IssuerState] = {}
        #: By class and id of their grant, the attributes of auths that are made for each request, with their state.
        self._auths: dict[tuple[type, int], dict[str, Any]] = {}
        _caches.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()  # the tokens stay in this process

    def state(self, grant: Grant, session: object = None) -> GrantState:
        """Return the one state of all grants that are equal to *grant*.

        :param session: what alone identifies the client, by its certificate for one: each has a state of its own.
        """
        now = runtime.clock.time()
        key: Hashable = grant if session is None else (grant, _SameObject(session))
        state = self._states.get(key)
        if state is not None and state in self._kept:  # nearly always, so without the lock
            state.used_at = now
            return state
        with self.lock:
            state = self._states.get(key)
            if state is None:
                state = self._states[key] = GrantState()
            state.used_at = now
            self._kept.add(state)
            if len(self._kept) > self._sweep_at:
                # At twice the number that was left last time, so that sweeps cost next to nothing. From a copy, as a
                # signal handler may add a state meanwhile; with a higher limit first, so that it does not sweep too.
                self._sweep_at = 2 * len(self._kept)
                for each in list(self._kept):
                    if each is not state and each.is_unused(now):
                        self._kept.discard(each)
                # Likewise from a copy.
                self._auths = {key: each for key, each in list(self._auths.items()) if each["_state"] in self._kept}
                self._sweep_at = max(_FEW, 2 * len(self._kept))
        return state

    def issuer_state(self, issuer: str, ca: str | None = None, session: object = None) -> IssuerState:
        """Return what is known of *issuer*, by those that trust the same.

        :param ca: the path of the CA certificates that are trusted; ``None``: those that the library trusts.
        :param session: the user's session or client that fetches the metadata; ``None``: no user's own.
        """
        with small_imports():
            from .issuer_state import IssuerState
        key: Hashable = issuer, ca, None if session is None else _SameObject(session)
        with self.lock:
            state = self._issuers.get(key)
            if state is None:
                state = self._issuers[key] = IssuerState()
                for oldest in list(self._issuers)[:-_MOST_ISSUERS]:
                    self._issuers.pop(oldest, None)
        return state

    def keep(self, state: GrantState) -> None:
        """Keep *state*, which has a new token, although no source may hold it any more; under the lock."""
        self._kept.add(state)

    def _after_fork(self) -> None:
        # The threads that held the lock, or sent a token request, do not exist in the child.
        self.lock = threading.RLock()
        for state in list(self._states.values()):
            state.flight, state.stuck = None, 0
            # An equal token, which is checked again: parent and child must not refresh it at the same moment.
            state.token, state.seen, state.jitter = copy.copy(state.token), NOT_SEEN, runtime.uniform(0.0, 1.0)
            # The parent has it too; a refresh token that rotates must be used by one of them only.
            state.refreshable = None
        for issuer_state in list(self._issuers.values()):
            issuer_state.lookup = None


_caches: weakref.WeakSet[MemoryCache] = weakref.WeakSet()
_shared = MemoryCache()


def process_cache() -> MemoryCache:
    """Return the cache of the whole process."""
    return _shared


def forget_all() -> None:
    """Forget the tokens, refusals and metadata in all caches of this process, for tests; auth objects stay usable."""
    for cache in list(_caches):
        with cache.lock:
            for state in list(cache._states.values()):
                if state.flight is not None:
                    state.flight.is_forgotten = True
                vars(state).clear()  # what is left are the defaults
            cache._issuers.clear()
            cache._auths.clear()


def known_grants() -> list[tuple[Grant, GrantState]]:
    """Return the grants that are in use in this process, with their states."""
    found = [item for cache in list(_caches) for item in list(cache._states.items())]
    return [(key[0] if isinstance(key, tuple) else key, state) for key, state in found]  # type: ignore[misc]  # as above


def _after_fork() -> None:
    for cache in list(_caches):
        cache._after_fork()


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
