"""Checks the arguments of a token source."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.loading import small_imports
from auth_plugins._caches.memory import TokenCache

if TYPE_CHECKING:
    from auth_plugins._caches.shared import SharedCache

__all__ = ["flag", "open_shared_cache", "seconds"]


def open_shared_cache(cache: object) -> SharedCache:
    with small_imports():
        import inspect

        from auth_plugins._caches.shared import shared_cache_for

        from . import shared_fetch  # noqa: F401 - while no fork can happen
    # A Redis client has these methods as well, with other arguments.
    is_class, is_redis_client = isinstance(cache, type), hasattr(cache, "execute_command")
    if isinstance(cache, TokenCache) and not (is_class or is_redis_client or inspect.iscoroutinefunction(cache.get)):
        return shared_cache_for(cache)
    what = f"the class {cache.__name__}" if isinstance(cache, type) else f"a {type(cache).__name__}"
    raise ConfigurationError(
        f"must be a cache, got {what}",
        argument="cache",
        advice="give a FileCache(), RedisCache(url or client), MemoryCache(), or an object of your own with get, set "
        "and delete, none of them async",
    )


def seconds(name: str, value: object, *, at_least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not at_least <= value < math.inf:
        raise ConfigurationError(f"must be a number of seconds, {at_least:g} or more, got {value!r}", argument=name)
    return float(value)


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"must be True or False, got a {type(value).__name__}", argument=name)
    return value
