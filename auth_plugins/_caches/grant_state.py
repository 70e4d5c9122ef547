"""What one process knows of one grant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auth_plugins._base.runtime import runtime

if TYPE_CHECKING:
    from auth_plugins._base.errors import AuthError
    from auth_plugins._protocol.tokens import Token
    from auth_plugins._source.flight import Flight

__all__ = ["NOT_SEEN", "GrantState", "RememberedFailure"]

#: Seconds after which a state that was not used is dropped, even if its token never expires.
_IDLE = 86400.0
#: How many rejected tokens, and how many spent refresh tokens, are remembered.
_REJECTED, _SPENT = 4, 4

#: The value of :attr:`GrantState.seen` before a token was checked.
NOT_SEEN = (None, None, 0.0, 0.0)


class RememberedFailure:
    """A failed token request, whose error is raised again until a back-off ends."""

    __slots__ = ("error", "secrets", "times", "until")

    def __init__(self, error: AuthError, *, secrets: int, until: float, times: int) -> None:
        #: Without a traceback, which would keep the variables of its frames.
        self.error = error
        #: Hash of the grant's secrets: other secrets end the back-off.
        self.secrets = secrets
        #: End of the back-off, by ``runtime.elapsed``.
        self.until = until
        #: How many failures in a row; the back-off grows with it.
        self.times = times


class GrantState:
    """What this process knows of one grant. It is read without a lock; each attribute says how it is written.

    "Locked" means under the lock of the memory cache. "Leader" means by the leader, of which there is one at a time.
    Moments are by ``runtime.elapsed``, which is never set back, if nothing else is said.
    """

    __slots__ = (
        "__weakref__",
        "failure",
        "flight",
        "jitter",
        "last_shared",
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
        "used_at",
        "warned_until",
    )

    def __init__(self) -> None:
        #: The newest token; ``None``: none was fetched yet, or it was rejected. Locked.
        self.token: Token | None = None
        #: A number of 0 to 1, drawn for each new token: when its background refresh is due. Locked.
        self.jitter = 0.0
        #: The token last checked, by which leeway and whether with background refresh, and from when until when it is
        #: fresh, in Unix seconds. Any thread, in one assignment: each value is right at its time.
        self.seen: tuple[Token | None, tuple[float, bool] | None, float, float] = NOT_SEEN
        #: The newest token whose refresh token this process may use; it outlives the token. Leader or locked.
        self.refreshable: Token | None = None
        #: The latest rejected tokens: a shared cache may still hold them. Locked.
        self.rejected: tuple[Token, ...] = ()
        #: What the shared cache held when this process last read or stored a token there, or fetched one. While it
        #: holds the same, this process has a newer token; clocks differ between machines. Leader or locked.
        self.last_shared: Token | None = None
        #: Hash of the grant's identity, and the names of its entry in a shared cache. Any thread, in one assignment.
        self.names: tuple[int, tuple[str, ...]] | None = None
        #: The token request under way. Locked.
        self.flight: Flight | None = None
        #: The last failed token request. Locked.
        self.failure: RememberedFailure | None = None
        #: When the latest tokens were rejected. Locked.
        self.rejection_times: tuple[float, ...] = ()
        #: End of the probation, in which a rejected token is not replaced. Locked; set to 0 by any thread.
        self.probation_until = 0.0
        #: Until then no background refresh starts, as the last one failed. Locked.
        self.refresh_after = 0.0
        #: Until then the token is used within its leeway as well, as it could not be replaced. Locked.
        self.serves_until = 0.0
        #: Until then the warning that an API rejects each new token is not repeated. Locked.
        self.warned_until = 0.0
        #: How many leaders in a row did not return in time. Locked.
        self.stuck = 0
        #: Hash of the refresh token that the server refused last; it may issue the same again. 0: none. Leader.
        self.refused_refresh_token = 0
        #: Hashes of the latest spent refresh tokens. Leader.
        self.spent: tuple[int, ...] = ()
        #: Hashes of all spent refresh tokens that were the grant's own: several, where its secret rotates. Leader.
        self.spent_origins: frozenset[int] = frozenset()
        #: When a token without a time of issue was seeded, in Unix seconds. Locked.
        self.seeded_at = 0.0
        #: When the state was last used, in Unix seconds. Any thread.
        self.used_at = 0.0

    def reject(self, token: Token) -> None:
        """Never use *token* again; under the lock."""
        if self.token == token:
            self.token = None
        if token not in self.rejected:
            self.rejected = (token, *self.rejected[: _REJECTED - 1])

    def spend(self, refresh_token: str | None, successor: str | None, *, is_own: bool) -> None:
        """Remember that the server replaced *refresh_token*, unless *successor* is the same one.

        :param is_own: it is the grant's own: it is remembered for good, however many successors follow.
        """
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
