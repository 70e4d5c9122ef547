"""Refresh tokens that a server takes once only: what is stored of them, and when one may be sent by a command."""

from __future__ import annotations

from typing import Any

from auth_plugins._caches.protocol import TokenCache
from auth_plugins._caches.shared import shared_cache_for
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token

__all__ = ["loses_successor", "stored_token"]


def loses_successor(grant: Grant, cache: TokenCache | None, variable: str) -> tuple[str, str] | None:
    """Why a command must not send the refresh token of *grant*, and what to do; ``None``: it may.

    A server that rotates refresh tokens takes each of them once. Where the successor ends with the process, the next
    command would send a used one, for which servers revoke all tokens of the login.

    :param cache: where the successor would be stored; ``None``: in the memory of this process.
    :param variable: the name of the variable that configures *cache*.
    """
    if grant.is_repeatable:
        return None
    why = "the server may take a refresh token once only, and its successor would be lost"
    if cache is None:
        return f"{why} in memory", f"set {variable}=file"
    try:
        shared_cache_for(cache).probe()
    except Exception as error:
        return f"{why}, as the cache cannot be used ({type(error).__name__})", f"check {variable}"
    return None


def stored_token(grant: Grant, cache: Any) -> Token | None:
    """What a shared *cache* holds for *grant*; it may have expired, and be of use for its refresh token."""
    if cache is None:
        return None
    shared = shared_cache_for(cache)
    entry = shared.entry_of(grant, shared.memory.state(grant))
    return entry.read() if entry else None
