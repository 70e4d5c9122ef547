"""The token of a grant state: whether it may be used, and how another takes its place."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.grant_state import GrantState
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._protocol.tokens import Token

from .freshness import CLOCK_SKEW, Freshness, Schedule, Window, is_alive

if TYPE_CHECKING:
    from .source import TokenSource

_log = logging.getLogger("auth_plugins")

#: After a failure to replace a token the next attempt waits for this part of the time that the token has left, and for
#: this many seconds at least.
_RETRY_SHARE, _SHORTEST_RETRY = 1 / 3, 0.5


def window(state: GrantState, token: Token, schedule: Schedule) -> Window:
    """Return the window of *token*, which *state* holds."""
    return Window(token, schedule, jitter=state.jitter, seeded_at=state.seeded_at)


def serves_in_leeway(state: GrantState, token: Token) -> bool:
    """Return whether *token* is used within its leeway, as an attempt to replace it failed a moment ago."""
    return runtime.elapsed() < state.serves_until and is_alive(token, runtime.clock.time())


def is_usable(state: GrantState, token: Token, schedule: Schedule) -> bool:
    """Return whether *token* may be used now."""
    is_expired = window(state, token, schedule).freshness(runtime.clock.time()) is Freshness.EXPIRED
    return not is_expired or serves_in_leeway(state, token)


def usable(source: TokenSource, token: Token) -> Token | None:
    """Return *token*, the present one of *source*, if it may be used; start its background refresh when that is due."""
    state, schedule, sources = source._state, source._schedule, source.grant.sources
    if sources:
        with small_imports():
            from .subjects.origins import is_current
        if not is_current(state, source._cache, sources, token):
            return None
    limits = window(state, token, schedule)
    freshness = limits.freshness(runtime.clock.time())
    if freshness is Freshness.FRESH:
        if not sources:  # they are asked each time
            state.seen = (token, schedule, limits.usable_from, limits.refresh_at)
    elif freshness is Freshness.EXPIRED:
        return token if serves_in_leeway(state, token) else None
    elif schedule[1] and runtime.elapsed() >= state.refresh_after:
        source._flights().refresh(token)
    return token


def seconds_left(state: GrantState) -> float:
    """Return the seconds until the token really expires; 0 if there is no token with a known end."""
    token = state.token
    return 0.0 if token is None or token.expires_at is None else max(0.0, token.expires_at - runtime.clock.time())


def keep_using(memory: MemoryCache, state: GrantState) -> Token | None:
    """Return the token that serves on after a failed attempt; ``None``: it was rejected, or has really expired."""
    token = state.token
    if token is None or not is_alive(token, runtime.clock.time()):
        return None
    with memory.lock:
        if runtime.elapsed() >= state.serves_until:  # the attempt may still go on: others need not wait for it
            postpone(state, has_failed=True)
    _log.debug("no other token is available; the present one is used until it expires")
    return token


def replace(memory: MemoryCache, state: GrantState, token: Token) -> None:
    """Make *token* the one that is used; under the lock."""
    old, now = state.token, runtime.clock.time()
    state.token, state.jitter, state.failure = token, runtime.uniform(0.0, 1.0), None
    state.doubted = None
    state.refresh_after = state.serves_until = 0.0
    memory.keep(state)
    if old is None or old.access_token != token.access_token or old.expires_at is None:
        return
    if old.issued_at <= now + CLOCK_SKEW:  # otherwise its times are those of a clock that was wrong
        # Some servers issue one token until it ends, and round what is left of it, down to 0 at last.
        ends = max(old.expires_at, token.expires_at or 0.0) if token.expires_at or old.expires_at > now else None
        state.token = Token(**{**token.members(), "expires_at": ends})
        postpone(state, has_failed=True)


def restore(memory: MemoryCache, state: GrantState, token: Token | None) -> None:
    """Use *token* again, which was given up, as no other can be had; under the lock."""
    if token is not None and state.token is None and is_alive(token, runtime.clock.time()):
        state.token = token
        state.rejected = tuple(each for each in state.rejected if each != token)
        memory.keep(state)


def fall_back(memory: MemoryCache, state: GrantState, stored: Token, origins: tuple[str, ...] | None) -> None:
    """Use *stored*, from a shared cache, although it is within its leeway: no other is available; under the lock."""
    has_token = state.token is not None and is_alive(state.token, runtime.clock.time())
    if not has_token and is_alive(stored, runtime.clock.time()) and not state.is_behind(stored):
        state.origins, state.doubted = origins, None
        state.token = state.last_shared = stored
        memory.keep(state)


def postpone(state: GrantState, *, has_failed: bool) -> None:
    """Put off the next attempt to replace the token; after a failure the token is used meanwhile; under the lock."""
    if state.token is not None and state.token.expires_at is not None:
        left = state.token.expires_at - runtime.clock.time()
        state.refresh_after = runtime.elapsed() + max(_SHORTEST_RETRY, left * _RETRY_SHARE)
        if has_failed:
            state.serves_until = state.refresh_after
