"""What one process knows of one grant."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

if TYPE_CHECKING:
    from auth_plugins._source.flight import Flight
    from auth_plugins._source.negative_cache import RememberedFailure

#: Seconds after which a state that was not used is dropped, even if its token never expires.
_IDLE = 86400.0
#: How many rejected tokens, and how many spent refresh tokens, are remembered.
_REJECTED, _SPENT = 4, 4
#: The value of :attr:`GrantState.seen` before a token was checked.
NOT_SEEN = (None, None, 0.0, 0.0)


class GrantState:
    """What this process knows of one grant; read without a lock. Moments are by ``runtime.elapsed`` by default."""

    # Written under the lock of the memory cache.
    #: The newest token; ``None``: none was fetched yet, or it was rejected.
    token: Token | None = None
    #: A number of 0 to 1, drawn for each token: how much later than possible its background refresh starts.
    jitter = 0.0
    #: What the token was exchanged for; in place of a text ``None``: unknown. ``None``: nothing, or it was seeded.
    origins: tuple[str | None, ...] | None = None
    #: The latest rejected tokens: a shared cache may still hold them.
    rejected: tuple[Token, ...] = ()
    #: When tokens were rejected lately.
    rejection_times: tuple[float, ...] = ()
    #: The token that was given up last for a refusal that may be one of permissions, until there is another.
    doubted: Token | None = None
    #: Until then a token is not replaced for such a refusal.
    doubted_until = 0.0
    #: The latest tokens that were sent once more as they were new.
    settled: tuple[Token, ...] = ()
    #: The token request under way.
    flight: Flight | None = None
    #: The last failed token request.
    failure: RememberedFailure | None = None
    #: Until then no background refresh starts, as the last one failed.
    refresh_after = 0.0
    #: Until then the token is used within its leeway as well, as it could not be replaced.
    serves_until = 0.0
    #: Until then the warning that an API rejects each new token is not repeated.
    warned_until = 0.0
    #: How many leaders in a row did not return in time.
    stuck = 0
    #: When a token without a time of issue was seeded, in Unix seconds.
    seeded_at = 0.0
    # Written under the lock, or by the leader, of which there is one at a time.
    #: The newest token whose refresh token this process may use; it outlives the token.
    refreshable: Token | None = None
    #: What the shared cache held when this process last read or stored a token there, or fetched one. While it
    #: holds the same, this process has a newer token. Times do not tell, as clocks of machines differ.
    last_shared: Token | None = None
    #: Hash of the refresh token that the server refused last, as it may issue the same again. 0: none.
    refused_refresh_token = 0
    #: Hashes of the latest spent refresh tokens; and of all that were the grant's own, whose secret may rotate.
    spent: tuple[int, ...] = ()
    spent_origins: frozenset[int] = frozenset()

    # Written by any thread, in one assignment; a value that another thread replaces is not wrong.
    #: End of the probation, in which a rejected token is not replaced; it begins under the lock.
    probation_until = 0.0
    #: The token last checked, its schedule, and from when until when it is fresh, in Unix seconds.
    seen: tuple[Token | None, tuple[float, bool] | None, float, float] = NOT_SEEN
    #: Whether a token that was exchanged has expired, so that its source has to be asked before the token is used.
    asks_sources = False
    #: Hash of the grant's identity, and the names of its entry in a shared cache.
    names: tuple[int, tuple[str, ...]] | None = None
    #: In Unix seconds.
    used_at = 0.0
    #: By class of auths, the id of the one of the equal grants whose auths are copied; written under the lock.
    copied: Mapping[type, int] = MappingProxyType({})

    def reject(self, token: Token) -> None:
        """Never use *token* again; under the lock."""
        if self.token == token:
            self.token = None
        if self.doubted == token:
            self.doubted = None
        if token not in self.rejected:
            self.rejected = (token, *self.rejected[: _REJECTED - 1])

    def spend(self, refresh_token: str | None, successor: str | None, *, is_own: bool) -> None:
        """Remember *refresh_token* if the server replaced it by *successor*; for good if it is the grant's own."""
        if refresh_token is None or successor in (None, refresh_token):
            return
        self.spent = (hash(refresh_token), *self.spent[: _SPENT - 1])
        if is_own:
            self.spent_origins |= {hash(refresh_token)}

    def is_spent(self, refresh_token: str) -> bool:
        """Return whether the server replaced *refresh_token*."""
        return hash(refresh_token) in self.spent_origins or hash(refresh_token) in self.spent

    def is_behind(self, stored: Token) -> bool:
        """Return whether this process has a newer token than *stored*, the one in the shared cache, or rejected it."""
        return stored == self.last_shared or any(stored.access_token == each.access_token for each in self.rejected)

    def is_unused(self, now: float) -> bool:
        """Return whether nothing is lost without this state, at *now*, in Unix seconds."""
        if self.flight is not None:
            return False
        token = self.token
        has_expired = token is None or (token.expires_at is not None and token.expires_at <= now)
        is_needed = self.refreshable is not None or (
            self.failure is not None and runtime.elapsed() < self.failure.until
        )
        return (has_expired and not is_needed) or now - self.used_at > _IDLE
