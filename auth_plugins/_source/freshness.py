"""Whether a token is fresh, stale or expired: arithmetic on its times, without state."""

from __future__ import annotations

import enum
import math

from auth_plugins._protocol.tokens import Token

#: How one token source treats the times of a token: its leeway in seconds, and whether it refreshes in the background.
#: Sources that share a token may differ in it.
Schedule = tuple[float, bool]
#: Cap the leeway at this share of the token's lifetime; otherwise a 30-second token could never be used.
LEEWAY_SHARE = 0.1
#: A background refresh is due at this share of the lifetime before the end, and at most so many seconds before the
#: leeway begins.
REFRESH_SHARE, REFRESH_SECONDS = 0.2, 240.0
#: It is put off by a random part of that time, up to this share: a fleet that got its tokens at one moment must not
#: refresh them at one moment.
JITTER_SHARE = 0.25
#: Seconds by which the time of issue may lie in the future, as machines' clocks differ; beyond that a clock was wrong.
CLOCK_SKEW = 300.0


class Freshness(enum.Enum):
    """What may be done with a token."""

    FRESH = "it is used"
    STALE = "it is used while a background refresh replaces it"
    EXPIRED = "it is not used; callers wait for another token"


class Window:
    """The moments at which a token becomes usable, stale and expired, in Unix seconds.

    :param jitter: a number of 0 to 1, which stays the same for one token.
    :param seeded_at: the time of issue of a token that tells none, in Unix seconds.
    """

    __slots__ = ("refresh_at", "usable_from", "usable_until")

    def __init__(self, token: Token, schedule: Schedule, *, jitter: float, seeded_at: float) -> None:
        self.usable_from = token.issued_at - CLOCK_SKEW
        if token.expires_at is None:
            self.refresh_at = self.usable_until = math.inf
            return
        leeway, refresh_ahead = schedule
        # A token from another machine may have been issued in the future of this one.
        lifetime = max(0.0, token.expires_at - (token.issued_at or seeded_at))
        leeway = min(leeway, LEEWAY_SHARE * lifetime)
        ahead = min(leeway + REFRESH_SECONDS, REFRESH_SHARE * lifetime) if refresh_ahead else leeway
        self.refresh_at = token.expires_at - ahead + jitter * JITTER_SHARE * (ahead - leeway)
        self.usable_until = token.expires_at - leeway

    def freshness(self, now: float) -> Freshness:
        """Return what the token is at *now*; before the window a clock was wrong when it was issued, or is now."""
        if not self.usable_from <= now < self.usable_until:
            return Freshness.EXPIRED
        return Freshness.FRESH if now < self.refresh_at else Freshness.STALE


def is_alive(token: Token, now: float) -> bool:
    """Return whether *token* has not expired at *now*, leeway or not."""
    return token.expires_at is None or now < token.expires_at
