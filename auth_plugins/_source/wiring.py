"""Checks the arguments of a token source, and builds the pieces behind it.

It is imported by the first source that needs it, and imports the pieces likewise: an import of an adapter has a goal.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, cast

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.loading import small_imports
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant

if TYPE_CHECKING:
    from auth_plugins._caches.grant_state import GrantState
    from auth_plugins._caches.shared import SharedCache
    from auth_plugins._caches.shared_entry import SharedEntry

    from .freshness import Schedule
    from .negative_cache import NegativeCache
    from .retrying_sender import RetryingSender
    from .single_flight import SingleFlight
    from .source import TokenSource
    from .subjects.exchange_fetch import ExchangeFetch

#: Seconds that waiters give a leader beyond its own time.
GRACE = 1.0
#: Arguments of grants by which a server knows the client.
_SECRETS = ("client_secret", "password", "refresh_token", "value", "subject_token", "assertion")


def open_cache(cache: object, grant: Grant) -> tuple[MemoryCache, SharedCache]:
    """Return the shared cache that *cache* is, for *grant*, and the memory that belongs to it."""
    with small_imports():
        import inspect

        from auth_plugins._caches.shared import shared_cache_for
    # A Redis client has these methods as well, with other arguments.
    is_class, is_redis_client = isinstance(cache, type), hasattr(cache, "execute_command")
    if isinstance(cache, TokenCache) and not (is_class or is_redis_client or inspect.iscoroutinefunction(cache.get)):
        problem, advice = grant.unshared_reason
        if problem:
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
    """Return the token endpoint of *grant*, or what it calls in place of one, for messages, observers and the log."""
    # A third party's repr may contain secrets.
    is_ours = type(grant).__module__.startswith("auth_plugins.")
    if is_ours and not (grant.sends_token_requests or grant.is_constant):
        return repr(grant)
    return str(getattr(grant, "token_url", type(grant).__name__)).partition("?")[0]


def has_no_secret(grant: Grant) -> bool:
    """Return whether an OAuth *grant* holds nothing by which the server knows the client."""
    by_name = isinstance(getattr(grant, "client_auth", None), str)
    # A person's token is that person's, whatever the session.
    return by_name and not grant.is_interactive and all(getattr(grant, name, None) is None for name in _SECRETS)


def sender_of(source: TokenSource) -> RetryingSender:
    """Return what sends the token requests of *source*."""
    if source._sender is None:
        with small_imports():
            from .retrying_sender import RetryingSender
        source._sender = RetryingSender(source._transport, allow_http=source._allow_http, session=source._session)
    return source._sender


def shared_entry(source: TokenSource) -> SharedEntry | None:
    """Return the entry of *source* in the shared cache; ``None``: there is no shared cache."""
    if source._shared is None:
        return None
    # That of the token in memory, whatever its subject has become since.
    origins = source._state.origins
    grant, _ = source.grant.bind(origins) if origins else (source.grant, ())
    return source._shared.entry_of(grant, source._state)


def longest_wait(source: TokenSource) -> float:
    """Return the seconds that a token of *source* may take."""
    return source._timeout + _lock_timeout(source) + GRACE + source.grant.login_seconds


def _lock_timeout(source: TokenSource) -> float:
    """Return the seconds that others are waited for before a token request of *source*."""
    seconds = 0.0
    if source._shared is not None:
        from .shared_fetch import LOCK_GRACE

        seconds = source._lease + LOCK_GRACE
    if others := [other for other in source.grant.sources if other is not None]:
        # Each may be asked twice, and the token requested twice.
        seconds = 2 * (seconds + sum(longest_wait(cast("TokenSource", other)) for other in others)) + source._timeout
    return seconds


def build(source: TokenSource) -> SingleFlight:
    """Return the pieces behind *source*, each of which wraps the next."""
    with small_imports():
        from .single_flight import SingleFlight
    grant, memory, state, schedule = source.grant, source._cache, source._state, source._schedule
    # No method of the source: source and pieces would keep each other, and a session, until the collector runs.
    make = functools.partial(
        _fetcher, memory, state, schedule, sender_of(source), source._timeout, source._shared, source._lease
    )
    fetcher: NegativeCache | ExchangeFetch
    if grant.is_bound_late:
        with small_imports():
            from .subjects.exchange_fetch import ExchangeFetch
        fetcher = ExchangeFetch(grant, memory, state, schedule, make)
    else:
        fetcher = make(grant)
    return SingleFlight(fetcher, grant, memory, state, schedule, source._timeout, _lock_timeout(source))


def _fetcher(
    memory: MemoryCache,
    state: GrantState,
    schedule: Schedule,
    sender: RetryingSender,
    timeout: float,
    shared: SharedCache | None,
    lease: float,
    grant: Grant,
) -> NegativeCache:
    """Return what fetches tokens for *grant*."""
    with small_imports():
        from .grant_fetcher import GrantFetcher
        from .negative_cache import NegativeCache
    by_grant = GrantFetcher(grant, state, sender, timeout)
    if shared is None:
        return NegativeCache(by_grant, grant, memory, state)
    with small_imports():
        from .shared_fetch import SharedFetch
    open_entry = functools.partial(shared.entry_of, grant, state)
    return NegativeCache(SharedFetch(by_grant, state, schedule, open_entry, lease), grant, memory, state)
