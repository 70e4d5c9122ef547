"""Rotation of refresh tokens: what is stored of one, and when a command may send one."""

from typing import Any

from auth_plugins._caches.listing import probe
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._caches.shared import shared_cache_for
from auth_plugins._caches.shared_entry import SharedEntry
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token


def loses_successor(grant: Grant, cache: TokenCache | None, variable: str) -> tuple[str, str] | None:
    """Return why a command must not send the refresh token of *grant*, and what to do; ``None``: it may.

    A server that rotates refresh tokens answers with a new one and refuses the old one from then on. If the new one is
    lost, the next command sends a spent refresh token, for which servers revoke all tokens of the login.

    :param cache: where the new refresh token would be stored; ``None``: in the memory of this process.
    :param variable: the name of the variable that configures *cache*.
    """
    if grant.is_repeatable:
        return None
    why = "the server may take a refresh token once only, and its successor would be lost"
    if cache is None:
        return f"{why} in memory", f"set {variable}=file"
    try:
        probe(shared_cache_for(cache))
    except Exception as error:
        return f"{why}, as the cache cannot be used ({type(error).__name__})", f"check {variable}"
    return None


def shared_entry(grant: Grant, cache: Any) -> SharedEntry | None:
    """Return the entry of *grant* in a shared *cache*; ``None``: the grant has nothing to share."""
    shared = shared_cache_for(cache)
    return shared.entry_of(grant, shared.memory.state(grant))


def stored_token(grant: Grant, cache: Any) -> Token | None:
    """Return the token of *grant* in a shared *cache*, which may have expired; ``None``: there is none."""
    entry = None if cache is None else shared_entry(grant, cache)
    return entry.read() if entry else None
