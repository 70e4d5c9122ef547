"""Whether the variables of a program that runs once let it keep the successor of a refresh token."""

import os

from auth_plugins._caches.protocol import TokenCache
from auth_plugins._caches.shared import SharedCache, shared_cache_for
from auth_plugins._grants.base import Grant

#: Seconds after which the entry and the lock of :func:`probe` end.
_BRIEF = 1.0


def loses_successor(grant: Grant, cache: TokenCache | None, variable: str) -> tuple[str, str] | None:
    """Return why a command must not send the refresh token of *grant*, and what to do; ``None``: it may.

    A server that rotates refresh tokens answers with a new one and refuses the old one from then on. If the new one is
    lost, the next command sends a spent refresh token, for which servers revoke all tokens of the login.

    :param cache: ``None``: the memory of this process.
    :param variable: the name of the variable that configures *cache*.
    """
    if grant.is_repeatable:
        return None
    why = "the server may take a refresh token once only, and its successor would be lost"
    if grant.is_interactive:
        why = "the login would be lost"
    if cache is None:
        return f"{why} in memory", f"set {variable}=file"
    if trouble := trouble_of(cache):
        return f"{why}, as the cache cannot be used ({trouble})", f"check {variable}"
    return None


def trouble_of(cache: TokenCache) -> str | None:
    """Return why *cache* cannot be used; ``None``: it can."""
    try:
        probe(shared_cache_for(cache))
    except Exception as error:
        # The text of another error may quote what was to be stored.
        is_ours = isinstance(error, OSError) and type(error).__module__ == "builtins"
        return (error.strerror if is_ours else None) or type(error).__name__  # type: ignore[attr-defined]
    return None


def probe(shared: SharedCache) -> None:
    """Lock, store, read and delete an entry that is no token.

    Raises what the cache raises, or LookupError if the entry is not found.
    """
    name, text = "probe", os.urandom(8).hex()
    with shared.cache.lock(name, _BRIEF):  # type: ignore[attr-defined]
        shared.cache.set(name, text, _BRIEF)
        found = shared.cache.get(name)
    shared.cache.delete(name)
    if found != text:
        raise LookupError("what was stored is not found again")
