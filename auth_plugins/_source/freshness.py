"""Whether a token is fresh, stale or expired: arithmetic on its times, without state."""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

from auth_plugins._protocol.tokens import Token

__all__ = ["CLOCK_SKEW", "DEFAULT_LEEWAY", "Freshness", "Schedule", "Window", "is_alive", "window_of"]

#: Seconds before its end from which a token is no longer used, by default.
DEFAULT_LEEWAY = 60.0
#: Cap the leeway at this share of the token's lifetime; otherwise a 30-second token could never be used.
LEEWAY_SHARE = 0.1
#: A background refresh is due at this share of the lifetime before its end, and at most so many seconds before the
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


class Schedule(NamedTuple):
    """How one token source treats the times of a token; sources that share a token may differ in it."""

    #: Seconds.
    leeway: float = DEFAULT_LEEWAY
    refresh_ahead: bool = True


class Window(NamedTuple):
    """Moments in the life of a token, in Unix seconds."""

    usable_from: float
    refresh_at: float
    usable_until: float

    def freshness(self, now: float) -> Freshness:
        """Return what the token is at *now*. Before the window it is expired: a clock was wrong when it was issued."""
        if not self.usable_from <= now < self.usable_until:
            return Freshness.EXPIRED
        return Freshness.FRESH if now < self.refresh_at else Freshness.STALE


def window_of(token: Token, schedule: Schedule, *, jitter: float = 0.0, seeded_at: float = 0.0) -> Window:
    """Return the window of *token*.

    :param jitter: a number of 0 to 1, which stays the same for one token.
    :param seeded_at: the time of issue of a token that tells none, in Unix seconds.
    """
    usable_from = token.issued_at - CLOCK_SKEW
    if token.expires_at is None:
        return Window(usable_from, math.inf, math.inf)
    # A token from another machine may have been issued in the future of this one.
    lifetime = max(0.0, token.expires_at - (token.issued_at or seeded_at))
    leeway = min(schedule.leeway, LEEWAY_SHARE * lifetime)
    ahead = min(leeway + REFRESH_SECONDS, REFRESH_SHARE * lifetime) if schedule.refresh_ahead else leeway
    delay = jitter * JITTER_SHARE * (ahead - leeway)
    return Window(usable_from, token.expires_at - ahead + delay, token.expires_at - leeway)


def is_alive(token: Token, now: float) -> bool:
    """Return whether *token* has not expired at *now*, leeway or not."""
    return token.expires_at is None or now < token.expires_at
