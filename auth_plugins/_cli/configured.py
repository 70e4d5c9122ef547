"""What the variables of a command need: a library, an entry of a cache."""

import importlib
import importlib.util
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._caches.shared import shared_cache_for
from auth_plugins._caches.shared_entry import SharedEntry
from auth_plugins._grants.base import Grant


def first_installed() -> tuple[Any, Any]:
    """Return the first library that is installed, and its ``OAuth2Auth``."""
    for name in ("requests", "httpx2", "httpx"):
        if importlib.util.find_spec(name):
            return importlib.import_module(name), importlib.import_module(f"auth_plugins.{name}").OAuth2Auth
    raise ConfigurationError(
        "requests, httpx2 or httpx is needed", advice="install one, such as by pip install 'auth-plugins[requests]'"
    )


def shared_entry(grant: Grant, cache: Any) -> SharedEntry | None:
    """Return the entry of *grant* in a shared *cache*; ``None``: the grant has nothing to share."""
    shared = shared_cache_for(cache)
    return shared.entry_of(grant, shared.memory.state(grant))
