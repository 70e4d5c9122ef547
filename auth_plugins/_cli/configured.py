"""What the variables of a command need: a library, a refresh token that is not lost, an entry of a cache."""

import importlib
import importlib.util
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._caches.shared import shared_cache_for
from auth_plugins._caches.shared_entry import SharedEntry
from auth_plugins._grants.base import Grant

from .listing import probe


def first_installed() -> tuple[Any, Any]:
    """Return the first library that is installed, and its ``OAuth2Auth``."""
    for name in ("requests", "httpx2", "httpx"):
        if importlib.util.find_spec(name):
            return importlib.import_module(name), importlib.import_module(f"auth_plugins.{name}").OAuth2Auth
    raise ConfigurationError(
        "requests, httpx2 or httpx is needed", advice="install one, such as by pip install 'auth-plugins[requests]'"
    )


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
    try:
        probe(shared_cache_for(cache))
    except Exception as error:
        return f"{why}, as the cache cannot be used ({type(error).__name__})", f"check {variable}"
    return None


def shared_entry(grant: Grant, cache: Any) -> SharedEntry | None:
    """Return the entry of *grant* in a shared *cache*; ``None``: the grant has nothing to share."""
    shared = shared_cache_for(cache)
    return shared.entry_of(grant, shared.memory.state(grant))
