"""What a rejected token costs: another one, at most every 30 seconds while new tokens are rejected as well."""

from __future__ import annotations

import logging

from auth_plugins._base.runtime import runtime
from auth_plugins._caches.grant_state import GrantState
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._protocol.tokens import Token

_log = logging.getLogger("auth_plugins")

#: Seconds in which at most one token is replaced while new ones are rejected as well.
PROBATION = 30.0
#: How many tokens are replaced within those seconds if an API accepted each: one API may accept what another rejects.
_MOST_REJECTIONS = 10


def reject(memory: MemoryCache, state: GrantState, token: Token, endpoint: str) -> bool:
    """Give up *token*, which an API rejected; return whether another token may be fetched in its place."""
    now = runtime.elapsed()
    with memory.lock:
        if state.token != token:
            state.reject(token)
            return True
        recent = tuple(moment for moment in state.rejection_times if moment > now - PROBATION)
        if now >= state.probation_until and len(recent) < _MOST_REJECTIONS:
            state.failure = None
            state.probation_until, state.rejection_times = now + PROBATION, (*recent, now)
            state.reject(token)
            return True
        is_logged = now < state.warned_until
        if not is_logged:
            state.warned_until = now + PROBATION
    if not is_logged:
        _log.warning(
            "an API rejects new tokens of %s too; check audience and scope, and that the API trusts this server",
            endpoint,
        )
    return False
