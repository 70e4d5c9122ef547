"""What a rejected token costs: another one, at most every 30 seconds while new tokens are rejected as well.

Where only a rule of ``refused=`` says that a token is rejected, permissions may be missing instead. That costs one
token in 30 seconds, whatever is accepted meanwhile.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

from . import current_token, wiring

if TYPE_CHECKING:
    from .source import TokenSource

_log = logging.getLogger("auth_plugins")

#: Seconds in which at most one token is replaced while new ones are rejected as well.
PROBATION = 30.0
#: How many tokens are replaced within those seconds if an API accepted each: one API may accept what another rejects.
_MOST_REJECTIONS = 10
#: Seconds after its issue in which a rejected token may be one that the API does not know yet.
SETTLES = 5.0
#: How many tokens are remembered that were sent once more for that reason.
_MOST_SETTLED = 4


def reject(source: TokenSource, token: Token, *, is_certain: bool) -> bool:
    """Give up *token*, which an API rejected; return whether another token may be fetched in its place.

    :param is_certain: ``False``: the API may mean that permissions are missing.
    """
    now, state = runtime.elapsed(), source._state
    with source._cache.lock:
        if state.token != token:
            if is_certain or state.doubted != token:
                state.reject(token)
            return True
        recent = tuple(moment for moment in state.rejection_times if moment > now - PROBATION)
        is_due = now >= state.probation_until and (is_certain or now >= state.doubted_until)
        if is_due and len(recent) < _MOST_REJECTIONS:
            state.failure = None
            state.rejection_times = (*recent, now)
            if is_certain:
                state.probation_until = now + PROBATION
            else:
                state.doubted_until = now + PROBATION
            state.reject(token)
            state.doubted = None if is_certain else token
            return True
        is_logged = now < state.warned_until or not is_certain
        if not is_logged:
            state.warned_until = now + PROBATION
    if not is_logged:
        _log.warning(
            "an API rejects new tokens of %s too; check audience and scope, and that the API trusts this server",
            wiring.endpoint_of(source.grant),
        )
    return False


def restore(source: TokenSource, token: Token, *, is_accepted: bool = False) -> None:
    """Use *token* again, as no other can be had, if its rejection was not certain, or it *is_accepted* by now."""
    memory, state = source._cache, source._state
    with memory.lock:
        if is_accepted or state.doubted == token:
            current_token.restore(memory, state, token)


def settles(source: TokenSource, token: Token) -> bool:
    """Return whether *token*, which was rejected on a replay, is so new that it is sent once more; once per token."""
    if not -SETTLES < runtime.clock.time() - token.issued_at < SETTLES:
        return False
    state = source._state
    with source._cache.lock:
        if token in state.settled:
            return False
        state.settled = (token, *state.settled[: _MOST_SETTLED - 1])
    return True
