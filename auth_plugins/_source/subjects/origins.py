"""Whether a token is still that of the tokens for which it was exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from auth_plugins._caches.grant_state import GrantState
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._grants.base import BaseSource
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.current_token import serves_in_leeway

if TYPE_CHECKING:
    from auth_plugins._source.source import TokenSource


def is_current(state: GrantState, memory: MemoryCache, sources: Sequence[BaseSource | None], token: Token) -> bool:
    """Return whether *token* is still that of *sources*; forget it if one of them has another token.

    Nothing is fetched here, as this may be an event loop. Where a source has to fetch, an attempt asks it.
    """
    origins, given = state.origins, cast("Sequence[TokenSource | None]", sources)
    if origins is None:  # it was seeded: it belongs to what the sources have now
        present = [None if source is None else source._usable() for source in given]
        with memory.lock:
            if state.token is token and state.origins is None:
                state.origins = tuple(None if each is None else each.access_token for each in present)
        return True
    asks = False
    for source, origin in zip(given, origins, strict=False):
        if source is None or origin is None:
            continue
        present_token = source._usable() if source._may_be_kept else source._state.token
        last = present_token or source._state.token
        if last is None or last.access_token != origin:
            forget(state, memory, token)
            return False
        asks |= present_token is None or not source._may_be_kept
    if not asks or serves_in_leeway(state, token):
        return True
    state.asks_sources = True
    return False


def forget(state: GrantState, memory: MemoryCache, token: Token | None) -> None:
    """Forget *token*, and its refresh token, unless there is another token by now."""
    with memory.lock:
        if token is not None and state.token is token:
            state.token = state.refreshable = None
