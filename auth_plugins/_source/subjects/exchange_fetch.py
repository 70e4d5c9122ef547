"""Asks the sources of subject tokens, and exchanges what they have.

No lock is held while another source is asked, so that the single flights of both never wait for each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from auth_plugins._base.errors import AuthError, TokenRequestError
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.grant_state import GrantState
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._source import current_token, rejections
from auth_plugins._source.flight import Ending, Flight
from auth_plugins._source.freshness import Schedule
from auth_plugins._source.negative_cache import NegativeCache

from .origins import forget

if TYPE_CHECKING:
    from auth_plugins._source.source import TokenSource

_log = logging.getLogger("auth_plugins")

#: The error that RFC 8693 §2.2.2 names for a token that cannot be exchanged, and that has other reasons too; and all
#: errors by which servers say so.
_VAGUE = "invalid_request"
_REFUSED = ("invalid_grant", "invalid_token", _VAGUE)


class ExchangeFetch:
    """Asks the sources of a grant for their tokens, and gets a token by those.

    :param make: returns what fetches for the grant that is bound to them, which is another for other tokens: so a
        remembered refusal, and an entry in a shared cache, belong to these tokens alone.
    """

    def __init__(
        self,
        grant: Grant,
        memory: MemoryCache,
        state: GrantState,
        schedule: Schedule,
        make: Callable[[Grant], NegativeCache],
    ) -> None:
        self._grant, self._memory, self._state, self._schedule, self._make = grant, memory, state, schedule, make

    def fetch(self, flight: Flight) -> Token | Ending:
        """Get a token; once more if the token of a source is refused, and that source has another one."""
        began, remembered = runtime.clock.time(), self._state.failure
        flight.exchanged = self._grant
        tokens = self._ask()
        try:
            return self._exchange(flight, tokens)
        except TokenRequestError as error:
            refusal = error
            # What is remembered was dealt with, and what was issued for this attempt is not replaced.
            is_known = remembered is not None and self._state.failure is remembered
            refused = [each for each in tokens if each[1].issued_at < began and not is_known]
            if not _reject(refused, refusal):
                raise
        others = self._ask()
        if others == tokens:  # a constant key, for one; or the refusal is vague, and there is no other
            raise refusal
        _log.debug("what was to be exchanged was refused (%s); its source has another token", refusal.error)
        return self._exchange(flight, others)

    def _ask(self) -> list[tuple[TokenSource, Token]]:
        """Return the sources with their present tokens; what they raise is raised."""
        state, sources = self._state, cast("Sequence[TokenSource | None]", self._grant.sources)
        try:
            return [(source, source.token()) for source in sources if source is not None]
        except AuthError as error:
            # While a server is down, the last token counts. If it refuses, the token of this grant ends as well.
            if not error.transient:
                forget(state, self._memory, state.token)
            raise

    def _exchange(self, flight: Flight, tokens: list[tuple[TokenSource, Token]]) -> Token | Ending:
        state, texts = self._state, (token.access_token for _, token in tokens)
        bound, origins = self._grant.bind([None if each is None else next(texts) for each in self._grant.sources])
        with self._memory.lock:
            if state.flight is flight and any(
                old not in (None, new) for old, new in zip(state.origins or (), origins, strict=False)
            ):
                state.token = state.doubted = state.refreshable = None
        flight.origins, state.asks_sources, token = origins, False, state.token
        is_due = token is None or token is flight.refreshing
        if token is not None and not is_due and current_token.is_usable(state, token, self._schedule):
            return Ending.UNCHANGED
        issued = self._make(bound).fetch(flight)
        for source, each in tokens:
            source.accept(each)
        return issued


def _reject(refused: list[tuple[TokenSource, Token]], refusal: TokenRequestError) -> bool:
    """Give up the *refused* tokens, and return whether others may be fetched in their place."""
    if refusal.error not in _REFUSED:
        return False
    may_be_replaced = [rejections.reject(*each, is_certain=refusal.error != _VAGUE) for each in refused]
    return True in may_be_replaced
