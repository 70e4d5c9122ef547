"""Checks the arguments of a token source, and builds the pieces behind it.

These pieces are imported by the first source that needs them: plainly imported they would miss the goal for imports.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.loading import small_imports
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant

if TYPE_CHECKING:
    from auth_plugins._caches.shared import SharedCache

    from .retrying_sender import RetryingSender
    from .single_flight import SingleFlight
    from .source import TokenSource

#: Arguments of grants by which a server knows the client.
_SECRETS = ("client_secret", "password", "refresh_token", "value")


def open_cache(cache: object, grant: Grant) -> tuple[MemoryCache, SharedCache | None]:
    """Return the memory that *cache* is, or that belongs to it, and the shared cache, if it is one, for *grant*."""
    if isinstance(cache, MemoryCache):
        return cache, None
    with small_imports():
        import inspect

        from auth_plugins._caches.shared import shared_cache_for
    # A Redis client has these methods as well, with other arguments.
    is_class, is_redis_client = isinstance(cache, type), hasattr(cache, "execute_command")
    if isinstance(cache, TokenCache) and not (is_class or is_redis_client or inspect.iscoroutinefunction(cache.get)):
        if not grant.can_be_shared:
            problem = "shared with other processes needs a {key}: by it they know which credential a token is for"
            advice = f"give {type(grant).__name__}(..., key=...), or a MemoryCache, or no {{cache}}"
            raise ConfigurationError(problem, argument="cache", advice=advice)
        shared = shared_cache_for(cache)
        return shared.memory, shared
    raise ConfigurationError(
        f"must be a cache, got {f'the class {cache.__name__}' if isinstance(cache, type) else type(cache).__name__}",
        argument="cache",
        advice="give a FileCache(), RedisCache(url or client), MemoryCache(), or an object of your own with get, set "
        "and delete, none of them async",
    )


def check_policy(leeway: Any, timeout: Any, refresh_ahead: Any) -> tuple[float, bool]:
    """Return the timeout in seconds, and whether tokens are refreshed in the background, if all three are valid."""
    for name, value, least in (("leeway", leeway, 0.0), ("timeout", timeout, 0.001)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value < math.inf:
            raise ConfigurationError(f"must be a number of seconds, {least:g} or more, got {value!r}", argument=name)
    if not isinstance(refresh_ahead, bool):
        got = type(refresh_ahead).__name__
        raise ConfigurationError(f"must be True or False, got a {got}", argument="refresh_ahead")
    return float(timeout), refresh_ahead


def endpoint_of(grant: Grant) -> str:
    """Return the token endpoint of *grant*, for messages and the log."""
    return str(getattr(grant, "token_url", type(grant).__name__)).partition("?")[0]


def has_no_secret(grant: Grant) -> bool:
    """Return whether an OAuth *grant* holds nothing by which the server knows the client."""
    by_name = isinstance(getattr(grant, "client_auth", None), str)
    return by_name and all(getattr(grant, name, None) is None for name in _SECRETS)


def sender_of(source: TokenSource) -> RetryingSender:
    """Return what sends the token requests of *source*."""
    if source._sender is None:
        with small_imports():
            from .retrying_sender import RetryingSender
        source._sender = RetryingSender(source._transport, allow_http=source._allow_http, session=source._session)
    return source._sender


def build(source: TokenSource) -> SingleFlight:
    """Return the pieces behind *source*, each of which wraps the next."""
    with small_imports():
        from .grant_fetcher import GrantFetcher
        from .negative_cache import NegativeCache
        from .single_flight import SingleFlight
    grant, memory, state, schedule = source.grant, source._cache, source._state, source._schedule
    by_grant = GrantFetcher(grant, state, sender_of(source), source._timeout)
    fetcher: GrantFetcher | SharedFetch = by_grant
    lock_timeout = 0.0
    if source._shared is not None:
        with small_imports():
            from .shared_fetch import LOCK_GRACE, SharedFetch
        # No method of the source: source and pieces would keep each other, and a session, until the collector runs.
        open_entry = functools.partial(source._shared.entry_of, grant, state)
        fetcher = SharedFetch(by_grant, state, schedule, open_entry, source._lease)
        lock_timeout = source._lease + LOCK_GRACE
    remembering = NegativeCache(fetcher, grant, memory, state)
    return SingleFlight(remembering, grant, memory, state, schedule, source._timeout, lock_timeout)
