"""Where tokens rest: in the memory of this process; and what a cache is that others share."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from auth_plugins._base.runtime import runtime

if TYPE_CHECKING:
    from auth_plugins._base.errors import AuthError
    from auth_plugins._grants.base import Grant
    from auth_plugins._protocol.tokens import Token
    from auth_plugins._source.flight import Flight

__all__ = ["Failure", "GrantOfSession", "GrantState", "MemoryCache", "TokenCache", "shared_cache"]

#: Seconds after which what nobody looked for any more goes, a token that never ends or a refresh token included.
_IDLE = 86400.0
#: How many refused tokens are remembered.
_REFUSED = 4
#: How many spent refresh tokens are remembered.
_SPENT = 4
#: Slots below which nobody looks for stale ones.
_FEW = 256


@runtime_checkable
class TokenCache(Protocol):
    """A cache that processes, or machines, share: short texts by name. Write one of your own for any other store.

    It is called from any thread, and never from within an event loop; only when this process has no usable token. What
    it raises is logged as a warning, and costs no request: tokens are then shared within the process.

    It should have a fourth method, ``lock(key, lease)``. It returns a context manager, held from before the entry is
    looked at for the last time until the new one is stored, so that one process asks for a token and all others find
    it. Entering it may wait, or return ``False`` at once where another process holds it: then the entry is looked at
    again, and the lock tried again, a moment later. Where the store doesn't notice that a holder is lost, the lock ends
    by itself after *lease* seconds, and then belongs to whoever takes it next. Without it, each process asks.
    """

    def get(self, key: str, /) -> str | None:
        """Return what was stored under *key*; ``None``: nothing, or it has ended."""
        ...

    def set(self, key: str, value: str, ttl: float, /) -> None:
        """Store *value*, in ASCII, under *key*, for good, and in place of what lies there.

        :param ttl: seconds after which nobody needs it any more; the store may forget it then.
        """
        ...

    def delete(self, key: str, /) -> None:
        """Forget what was stored under *key*, if there is anything."""
        ...


class Failure:
    """A refusal that is remembered; *error* has no traceback, which would keep its frames' variables."""

    __slots__ = ("error", "secrets", "times", "until")

    def __init__(self, error: AuthError, *, secrets: int, until: float, times: int) -> None:
        self.error = error
        #: What the secrets were, hashed by this process's own random seed: others are worth another try.
        self.secrets = secrets
        #: On the clock of ``runtime.elapsed``, which is never set back.
        self.until = until
        #: How often in a row; the rest grows with it.
        self.times = times


class GrantOfSession:
    """A grant whose client is known by *session* alone, by its certificate for one: equal for that session only."""

    __slots__ = ("_grant", "_hash", "_session")

    def __init__(self, grant: Grant, session: object) -> None:
        self._grant = grant
        # A weak one, so that no closed session is kept. The id alone may come to be that of another session.
        self._session = weakref.ref(session)
        self._hash = hash((grant, id(session)))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, GrantOfSession):
            return NotImplemented
        session = self._session()
        return session is not None and session is other._session() and self._grant == other._grant

    def __hash__(self) -> int:
        return self._hash


_NONE_SEEN = (None, None, 0.0, 0.0)


class GrantState:
    """What this process knows of one grant; written under the lock of its cache, or by who leads, and read without."""

    __slots__ = (
        "__weakref__",
        "failure",
        "flight",
        "jitter",
        "last_shared",
        "looked_for",
        "names",
        "probation_until",
        "refresh_after",
        "refreshable",
        "refused_refresh_token",
        "rejected",
        "rejection_times",
        "seeded_at",
        "seen",
        "serves_until",
        "spent",
        "spent_origins",
        "stuck",
        "token",
        "warned_until",
    )

    def __init__(self) -> None:
        #: The newest token; ``None``: none was asked for yet, or it was refused.
        self.token: Token | None = None
        #: A number of 0 to 1, drawn once for each token: the part that chance has in when it is refreshed.
        self.jitter = 0.0
        #: The token last looked at, by which leeway and whether it is renewed ahead, and from when until when that is
        #: all there is to know of it, in Unix seconds.
        self.seen: tuple[Token | None, tuple[float, bool] | None, float, float] = _NONE_SEEN
        #: The newest token whose refresh token is this process's to use; it outlives the token.
        self.refreshable: Token | None = None
        #: The latest tokens that were refused, for a shared cache may still hold one.
        self.rejected: tuple[Token, ...] = ()
        #: What lay in the shared cache when this process last took or stored a token there, or got one of its own.
        #: While the same lies there, what this process has is newer: by no clock, as each machine has its own.
        self.last_shared: Token | None = None
        #: The names of its entry in a shared cache, and a hash of what they were made from.
        self.names: tuple[int, tuple[str, ...]] | None = None
        self.flight: Flight | None = None
        self.failure: Failure | None = None
        #: When the latest tokens were given up, on the clock of ``runtime.elapsed``, as are those that follow.
        self.rejection_times: tuple[float, ...] = ()
        #: Until then a refusal of the token asks for no other.
        self.probation_until = 0.0
        #: Until then no renewal begins in the background, as the last one failed.
        self.refresh_after = 0.0
        #: Until then the token is used within its leeway as well, as the last attempt to replace it failed.
        self.serves_until = 0.0
        #: Until then the warning that an API refuses fresh tokens too is not repeated.
        self.warned_until = 0.0
        #: How many leaders in a row did not come back in time.
        self.stuck = 0
        #: Hash of the latest refresh token that the server refused; it may hand it out again. 0: none.
        self.refused_refresh_token = 0
        #: Hashes of the latest refresh tokens that a successor replaced.
        self.spent: tuple[int, ...] = ()
        #: Hashes of the grant's own refresh tokens that a successor replaced: more than one, as secrets rotate.
        self.spent_origins: frozenset[int] = frozenset()
        #: When a token was seeded that tells no time of its issue; Unix seconds, as the next.
        self.seeded_at = 0.0
        self.looked_for = 0.0

    def reject(self, token: Token) -> None:
        """Never hand out *token* again; under the lock."""
        if self.token == token:
            self.token = None
        if token not in self.rejected:
            self.rejected = (token, *self.rejected[: _REFUSED - 1])

    def spend(self, refresh_token: str | None, successor: str | None, *, is_own: bool) -> None:
        """Remember that the server replaced *refresh_token*, if *successor* is another one.

        :param is_own: it is the grant's own one: it is remembered, however many successors there are.
        """
        if refresh_token is None or successor in (None, refresh_token):
            return
        self.spent = (hash(refresh_token), *self.spent[: _SPENT - 1])
        if is_own:
            self.spent_origins |= {hash(refresh_token)}

    def is_spent(self, refresh_token: str) -> bool:
        """Whether a successor of *refresh_token* was received."""
        return hash(refresh_token) in self.spent_origins or hash(refresh_token) in self.spent

    def is_behind(self, lying: Token) -> bool:
        """Whether this process had what lies in the shared cache already, or saw it refused."""
        return lying == self.last_shared or any(lying.access_token == one.access_token for one in self.rejected)

    def is_unused(self, now: float) -> bool:
        """Whether nothing is lost with this slot."""
        if self.flight is not None:
            return False
        token = self.token
        ended = token is None or (token.expires_at is not None and token.expires_at <= now)
        keeps = self.refreshable is not None or (self.failure is not None and runtime.elapsed() < self.failure.until)
        return (ended and not keeps) or now - self.looked_for > _IDLE


class MemoryCache:
    """Tokens in the memory of this process; safe for threads and event loops, empty in none of its forked children.

    Equal grants over one cache share one token. Without ``cache=`` everybody uses one that the whole process shares;
    one of your own sets its users apart. What has ended, and nobody uses, goes by itself.
    """

    def __init__(self) -> None:
        #: Guards the slots, and what is in them; never held over I/O. A signal handler, or a finalizer that the garbage
        #: collector runs, may need a token while its own thread holds it: then it enters once more. What it finds is
        #: whole, as each change below is one assignment: at worst it finds no flight, where its thread is about to
        #: begin one, and makes a token request of its own.
        self.lock = threading.RLock()
        # A source holds its slot, so that those who use a grant always meet in one, even after it went stale.
        self._states: weakref.WeakValueDictionary[Hashable, GrantState] = weakref.WeakValueDictionary()
        self._kept: set[GrantState] = set()
        self._sweep_at = _FEW
        _caches.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()  # what is in memory stays there

    def state(self, grant: Hashable) -> GrantState:
        """The one slot of all grants, or :class:`GrantOfSession`, that are equal to *grant*."""
        now = runtime.time()
        state = self._states.get(grant)
        if (
            state is not None and state in self._kept
        ):  # nearly always; whoever sweeps at this moment drops no live token
            state.looked_for = now
            return state
        with self.lock:
            state = self._states.get(grant)
            if state is None:
                state = self._states[grant] = GrantState()
            state.looked_for = now
            self._kept.add(state)
            if len(self._kept) > self._sweep_at:
                # At twice of what was left the last time, so that looking for stale ones costs next to nothing. One by
                # one, and from a copy: what a signal handler adds meanwhile stays, and it does not sweep as well.
                self._sweep_at = 2 * len(self._kept)
                for each in list(self._kept):
                    if each is not state and each.is_unused(now):
                        self._kept.discard(each)
                self._sweep_at = max(_FEW, 2 * len(self._kept))
        return state

    def keep(self, state: GrantState) -> None:
        """Keep *slot* although no source may be left that holds it: it has a new token. Under the lock."""
        self._kept.add(state)

    def _after_fork(self) -> None:
        # Threads that held the lock, or were asking for a token, don't exist in the child.
        self.lock = threading.RLock()
        for state in list(self._states.values()):
            state.flight, state.stuck = None, 0
            # An equal one, which is looked at anew: each process has its own moment to renew it.
            state.token, state.seen, state.jitter = copy.copy(state.token), _NONE_SEEN, runtime.uniform(0.0, 1.0)
            # The parent has it too, and one that rotates must be used by one of them only.
            state.refreshable = None


_caches: weakref.WeakSet[MemoryCache] = weakref.WeakSet()
_shared = MemoryCache()


def shared_cache() -> MemoryCache:
    """The cache of the whole process."""
    return _shared


def _after_fork() -> None:
    for cache in list(_caches):
        cache._after_fork()


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
