"""Remembers a refused token request, so that the same error is raised without another request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from auth_plugins._base.errors import (
    NOT_ASKED,
    AuthError,
    ConfigurationError,
    TokenRequestError,
    TokenTransportError,
    copy_error,
)
from auth_plugins._base.frames import without_frames
from auth_plugins._base.frozen import Record
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.grant_state import GrantState
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token

from .flight import Ending, Flight
from .wiring import endpoint_of

if TYPE_CHECKING:
    from .grant_fetcher import GrantFetcher
    from .shared_fetch import SharedFetch

_log = logging.getLogger("auth_plugins")

#: Seconds of the first back-off after a refusal, and of the longest.
SHORTEST_BACK_OFF, LONGEST_BACK_OFF = 5.0, 60.0
#: Seconds of the longest back-off that a server may ask for by ``Retry-After``.
LONGEST_RETRY_AFTER = 3600.0
#: How often a back-off doubles at most: larger powers of 2 are too large for a float.
_DOUBLINGS = 12


def back_off(times: int) -> float:
    """Return the seconds of a back-off that doubles with each of *times*."""
    return float(SHORTEST_BACK_OFF * 2 ** min(times, _DOUBLINGS))


class RememberedFailure(Record):
    """A failed token request, whose error is raised again until a back-off ends."""

    #: Without a traceback, which would keep the variables of its frames.
    error: AuthError
    #: Hash of the grant's secrets: other secrets end the back-off.
    secrets: int
    #: End of the back-off, by ``runtime.elapsed``.
    until: float
    #: How many failures in a row; the back-off grows with it.
    times: int


class NegativeCache:
    """Raises the error of a refused token request again for 5 to 60 seconds, unless a secret changes."""

    def __init__(self, inner: GrantFetcher | SharedFetch, grant: Grant, memory: MemoryCache, state: GrantState) -> None:
        self._inner, self._grant, self._memory, self._state = inner, grant, memory, state

    def fetch(self, flight: Flight) -> Token | Ending:
        """Get a token by the inner fetcher, or raise the remembered error."""
        failure = self._state.failure
        if failure is not None and runtime.elapsed() < failure.until and failure.secrets == hash(self._grant.secrets()):
            raise copy_error(failure.error, type(failure.error)) from failure.error.__cause__
        began, noted = runtime.clock.monotonic(), len(flight.events)
        try:
            if runtime.make_token is not None:
                token: Token = runtime.make_token(flight.exchanged or self._grant, self._state.rejected)
                flight.note(self._grant, endpoint_of(self._grant), 0.0, None)
                return token
            return self._inner.fetch(flight)
        except AuthError as error:
            self._note(flight, noted, began, error)
            if isinstance(error, TokenRequestError) and _is_refusal(error):
                self._remember(flight, error, error.retry_after or 0.0)
            raise
        except Exception as error:
            self._note(flight, noted, began, unexpected := unexpected_error(error))
            # The password must not be sent again and again for it.
            self._remember(flight, unexpected, 0.0)
            raise

    def _note(self, flight: Flight, noted: int, began: float, error: AuthError) -> None:
        """Note *error* for observers, unless it is that of a token request, which was noted."""
        if not any(each.error is not None for each in flight.events[noted:]):
            flight.note(self._grant, endpoint_of(self._grant), runtime.clock.monotonic() - began, error)

    def _remember(self, flight: Flight, error: AuthError, at_least: float) -> None:
        """Begin a back-off of *at_least* so many seconds, which grows with each failure in a row.

        The error of a *flight* that a test left behind is not remembered.
        """
        try:
            secrets = hash(self._grant.secrets())
        except ConfigurationError:
            return
        kept = without_frames(error)
        with self._memory.lock:
            if flight.is_forgotten:
                return
            times = self._state.failure.times + 1 if self._state.failure else 1
            seconds = max(min(back_off(times - 1), LONGEST_BACK_OFF), min(at_least, LONGEST_RETRY_AFTER))
            until = runtime.elapsed() + seconds
            self._state.failure = RememberedFailure(error=kept, secrets=secrets, until=until, times=times)
        _log.debug("a refusal is remembered for %.0f s", seconds)


def _is_refusal(error: TokenRequestError) -> bool:
    """Return whether *error* is to be remembered: a 5xx is no refusal, unless the server asks for a pause.

    Where no one was asked to sign in, another caller may ask.
    """
    is_final = error.retry_after is not None or (error.status_code or 0) < 500
    return is_final and error.trouble != NOT_ASKED


def unexpected_error(error: Exception) -> TokenTransportError:
    """Return the error that stands for an unexpected one, whose text may hold a secret."""
    name = type(error).__name__
    return TokenTransportError(f"the token request failed by an unexpected {name}; report it", trouble="unexpected")
