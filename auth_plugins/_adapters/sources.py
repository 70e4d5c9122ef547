"""The token source behind an adapter, and what an adapter leaves for later ones of the same grant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import MemoryCache, process_cache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant
from auth_plugins._source.source import TokenSource
from auth_plugins._transports.base import LibraryTransport, Transport

if TYPE_CHECKING:
    from .base import Adapter

#: The options of an auth that has none; the modules of auths that no subclass changes; and the attributes of one.
_NO_OPTIONS = (None, None, None, None, None, False, None, None, None, None)
_OURS = ("auth_plugins.requests", "auth_plugins.httpx", "auth_plugins.httpx2")
_ATTRIBUTES = ("source", "header", "_scheme", "_rules", "_allow_http", "_state", "_given", "_ready")


def source_for(
    grant_or_source: Grant | TokenSource,
    transport: Transport | LibraryTransport | None,
    *,
    allow_http: bool,
    cache: MemoryCache | TokenCache | None,
    leeway: float | None = None,
    timeout: float | None = None,
    refresh_ahead: bool | None = None,
    session: object = None,
) -> TokenSource:
    """Return the source behind an adapter, which sends its token requests by *transport*.

    A source that the user made keeps its own cache, leeway, timeout and, where *transport* is ``None``, library. A
    grant without a secret has one token for each *session*, the library's own behind *transport*: its certificate or
    headers may be all that the server knows the client by.

    :param leeway: as of :class:`TokenSource`, like the next two; ``None``: not given.
    :raises ConfigurationError: an argument is not valid, or contradicts the source's own.
    """
    has_policy = leeway is not None or timeout is not None or refresh_ahead is not None
    if not isinstance(grant_or_source, TokenSource):
        policy: Any = {}
        if has_policy:
            given = {"leeway": leeway, "timeout": timeout, "refresh_ahead": refresh_ahead}
            policy = {name: value for name, value in given.items() if value is not None}
        source = TokenSource(grant_or_source, cache=cache, **policy)
    elif cache is not None or has_policy:
        raise ConfigurationError("a TokenSource has its own cache and policy; give them to it, or give the grant here")
    elif transport is None and not allow_http:
        return grant_or_source
    else:
        source = object.__new__(type(grant_or_source))
        vars(source).update(vars(grant_or_source), _sender=None, _single_flight=None)
    if transport is not None:
        source._transport, source._session = transport, session
    source._allow_http = allow_http or source._allow_http  # a source of variables may allow it by itself
    if session is not None:
        _separate(source, session)
    return source


def _separate(source: TokenSource, session: object) -> None:
    """Give *source* a token for its *session* alone, if its grant has no secret."""
    with small_imports():
        from auth_plugins._source.wiring import has_no_secret
    if has_no_secret(source.grant):
        # Another process cannot know the session: nothing is shared with one.
        source._shared = None
        source._state, source._session = source._cache.state(source.grant, session), session


def is_copied(auth: Adapter, grant: object, options: tuple[Any, ...]) -> bool:
    """Give *auth* what an earlier one of the same *grant* left, if it has no *options*; return whether it has it.

    Some programs make an auth for each request. One whose token is there already is taken for one of many.
    """
    left = process_cache()._auths.get((type(auth), id(grant)))  # which holds the grant
    if left is None or not _are_none(options):
        return False
    auth.__dict__.update(left)
    auth._state.used_at = runtime.clock.time()
    return True


def let_copy(auth: Adapter, grant: object, options: tuple[Any, ...]) -> None:
    """Let later auths of *grant* be copies of this one, if it has no *options* and neither of them can change.

    Of equal grants the latest one leaves something: they may be made for each request as well.
    """
    is_ours = type(auth).__module__ in _OURS and type(grant).__module__.startswith("auth_plugins._grants.")
    needs_header_only = auth._prover is None and auth._parameter is None
    if not (is_ours and needs_header_only and _are_none(options)):
        return
    cache, state, kind = process_cache(), auth._state, type(auth)
    with cache.lock:
        cache._auths.pop((kind, state.copied.get(kind, 0)), None)
        state.copied = {**state.copied, kind: id(grant)}
        cache._auths[kind, id(grant)] = {name: vars(auth)[name] for name in _ATTRIBUTES}


def share_ready(auth: Adapter) -> None:
    """Have later copies of *auth* begin with what it has ready."""
    left = process_cache()._auths.get((type(auth), id(auth._given[0])))
    if left is not None and left["source"] is auth.source:
        left["_ready"] = auth._ready


def _are_none(options: tuple[Any, ...]) -> bool:
    try:
        return options == _NO_OPTIONS and options[5] is False  # which 0 equals
    except Exception:  # of an object of the user's that has another idea of ==, as an array has
        return False
