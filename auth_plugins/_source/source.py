"""Decides when a token is fetched, for one grant: the facade of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from auth_plugins._base.errors import ConfigurationError, not_an_auth
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import MemoryCache, process_cache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import BaseSource, Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._transports.base import LibraryTransport, Transport

if TYPE_CHECKING:
    from auth_plugins._caches.shared import SharedCache

    from .freshness import Schedule
    from .retrying_sender import RetryingSender
    from .single_flight import SingleFlight

#: Seconds, as :class:`TokenSource` describes them.
DEFAULT_LEEWAY, DEFAULT_TIMEOUT = 60.0, 10.0
#: How long another process may hold the lock of a shared cache, in timeouts.
LEASE_SHARE = 1.25


if TYPE_CHECKING:

    class Overrides(TypedDict, total=False):
        """For type checkers: the keyword arguments of :class:`TokenSource`."""

        cache: MemoryCache | TokenCache | None
        leeway: float
        timeout: float
        refresh_ahead: bool

else:  # so that annotations can be resolved; to make a TypedDict takes longer than to load a module
    Overrides = dict


class TokenSource(BaseSource):
    """Tokens of one grant: returns one that can be used, and decides when to fetch another.

    Sources of equal grants over one cache share the token, and the request for it; any thread and event loop may use
    them. It also serves what is no HTTP request: gRPC metadata, Kafka, WebSockets.

    :param grant: what is sent to the token endpoint.
    :param cache: where tokens are shared: a :class:`MemoryCache`, :class:`FileCache`, :class:`RedisCache`, or your own
        :class:`TokenCache`; ``None``: the memory cache of the whole process.
    :param leeway: seconds before its end from which a token is no longer used, 60 by default; at most a tenth of its
        lifetime, so that a short-lived token is of use. 0: it is used until it expires.
    :param timeout: seconds that a token request may take, retries included; 10 by default, more than 0. While another
        process that shares the cache fetches a token, this one waits a little longer than that.
    :param refresh_ahead: whether a token is refreshed in the background some time before its end, so that no request
        waits; ``True`` by default.
    :raises ConfigurationError: an argument is not valid.

    Token requests are sent by the first installed of requests, httpx2 and httpx.
    """

    # Defaults stand here, as some programs make a source for each request.
    _given_cache: MemoryCache | TokenCache | None = None
    _shared: SharedCache | None = None
    _schedule: Schedule = (DEFAULT_LEEWAY, True)
    _timeout, _lease, _refresh_ahead = DEFAULT_TIMEOUT, DEFAULT_TIMEOUT * LEASE_SHARE, True
    _transport: Transport | LibraryTransport | None = None
    _allow_http = False
    #: The user's session or client behind the transport.
    _session: object = None
    #: Whether an adapter may use a token without another call while it is fresh: not if a subclass decides.
    _may_be_kept = True
    _sender: RetryingSender | None = None
    _single_flight: SingleFlight | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._may_be_kept = cls.token is TokenSource.token and cls.atoken is TokenSource.atoken

    def __init__(
        self,
        grant: Grant,
        *,
        cache: MemoryCache | TokenCache | None = None,
        leeway: float = DEFAULT_LEEWAY,
        timeout: float = DEFAULT_TIMEOUT,
        refresh_ahead: bool = True,
    ) -> None:
        if Grant not in type(grant).__mro__:
            advice = "give one, such as auth_plugins.ClientCredentials(...)"
            raise ConfigurationError(f"a {type(grant).__name__} is no grant", advice=advice)
        self.grant = grant
        if cache is None:
            self._cache = process_cache()
        elif isinstance(cache, MemoryCache):
            self._given_cache = self._cache = cache
        else:
            self._given_cache = cache
            with small_imports():
                from . import wiring
            self._cache, self._shared = wiring.open_cache(cache, grant)
        is_default = leeway == DEFAULT_LEEWAY and timeout == DEFAULT_TIMEOUT and refresh_ahead is True
        if not is_default or self._shared is not None:
            with small_imports():
                from . import wiring
            self._timeout, self._refresh_ahead = wiring.check_policy(leeway, timeout, refresh_ahead)
            # A script that exits during a background refresh must not lose a refresh token that others need.
            may_refresh = refresh_ahead and (grant.is_repeatable or self._shared is None)
            self._schedule = (float(leeway), may_refresh)
            self._lease = self._timeout * LEASE_SHARE + grant.login_seconds
        # First, as the state may keep this grant, and with it the key of its tokens, which copies of it have too.
        grant.prover()
        self._state = self._cache.state(grant)

    @classmethod
    @hide_arguments
    def from_env(
        cls, prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None, **overrides: Unpack[Overrides]
    ) -> Self:
        """Configure by environment variables: ``ACME_TOKEN_URL`` and so on for the *prefix* ``"ACME"``.

        :param prefix: the first part of each name, such as ``"ACME"``; the default is ``"AUTH_PLUGINS"``.
        :param environ: where the variables are looked up; ``None`` (the default): in ``os.environ``.
        :param overrides: arguments of this class, which take precedence over variables.
        :raises ConfigurationError: a variable is missing, unknown, misspelt, contradicts another, or is an adapter's.
        """
        from auth_plugins._environment.configuration import source_configuration

        grant, policy, allow_http = source_configuration(prefix, environ)
        source = cls(grant, **{**policy, **overrides})
        source._allow_http = allow_http
        return source

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.grant!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration: no token, but the secrets of the grant; the session of a library is left out."""
        policy = {"leeway": self._schedule[0], "timeout": self._timeout, "refresh_ahead": self._refresh_ahead}
        return _unpickle, (type(self), self.grant, self._given_cache, policy, self._allow_http)

    # Not NoReturn: by that a type checker takes a source for an auth=.
    def __call__(self, *_: object) -> None:
        """Raise the error that says what ``auth=`` needs: requests and httpx call the object that they are given."""
        raise not_an_auth(self)

    def token(self) -> Token:
        """Return a token that can be used now; blocks only if one has to be fetched.

        :raises TokenRequestError: the token endpoint refused; the same again, without a request, for 5 to 60 seconds.
        :raises TokenTransportError: the token endpoint could not be reached in time.
        :raises InsecureTransportError: its URL is ``http://``, and not on loopback.
        :raises ConfigurationError: a secret cannot be read.
        """
        state = self._state
        token, (seen, schedule, since, until) = state.token, state.seen
        if token is not None and seen is token and schedule == self._schedule and since <= runtime.clock.time() < until:
            return token
        return self._usable() or self._flights().fetch()

    async def atoken(self) -> Token:
        """Return the same as :meth:`token`, in asyncio and trio; a thread fetches, so that no loop is blocked.

        A task that is cancelled while it waits does not cancel the token request of others.
        """
        state = self._state
        token, (seen, schedule, since, until) = state.token, state.seen
        if token is not None and seen is token and schedule == self._schedule and since <= runtime.clock.time() < until:
            return token
        return self._usable() or await self._flights().afetch()

    def _usable(self) -> Token | None:
        """Return the present token if it may be used; start its background refresh when that is due."""
        token = self._state.token
        if token is None:
            return None
        from .current_token import usable  # what set the token has imported it

        return usable(self, token)

    def fresh_between(self, token: Token) -> tuple[float, float]:
        """For adapters: return from when until when *token* is fresh while the state holds it, in Unix seconds."""
        seen, schedule, since, until = self._state.seen
        return (since, until) if seen is token and schedule == self._schedule and self._may_be_kept else (0.0, 0.0)

    def invalidate(self, token: Token) -> None:
        """Never return *token* again, in any process that shares it. A newer token and the refresh token stay."""
        with small_imports():
            from . import rejections
        rejections.invalidate(self, token)

    def reject(self, token: Token, *, is_certain: bool = True) -> bool:
        """Give up *token*, which an API rejected; return whether another may be fetched in its place.

        For adapters; others call :meth:`invalidate`. While new tokens are rejected as well, another one is fetched at
        most every 30 seconds (but ten, if other APIs accept them and it *is_certain*), and *token* stays in use.
        """
        with small_imports():
            from . import rejections
        return rejections.reject(self, token, is_certain=is_certain)

    def accept(self, token: Token) -> None:
        """For adapters: note that an API accepted *token*, so that its next rejection counts as a new one."""
        # Without the lock, as it is called for each answer: at worst a probation that just began ends at once.
        if self._state.probation_until and self._state.token is token:
            self._state.probation_until = 0.0

    def revoke(self) -> None:
        """Revoke the tokens at the server (RFC 7009), if the grant has a ``revocation_url``, and forget them.

        :raises TokenRequestError: the server refused; the tokens are forgotten all the same.
        :raises TokenTransportError: the server could not be reached; likewise.
        """
        with small_imports():
            from . import revocation
        revocation.revoke(self)

    def seed(self, token: Token | Mapping[str, Any]) -> None:
        """Use *token*, which was obtained elsewhere, as if it had just been fetched, with its refresh token.

        Callers that wait for a token request get it, a remembered refusal ends, and a shared cache stores it.

        :param token: a :class:`Token`, or the members of a token endpoint's answer (RFC 6749 §5.1).
        :raises ConfigurationError: it is neither; the message names the member, and no value.
        """
        with small_imports():
            from . import seeding
        now = runtime.clock.time()
        try:
            seeded = seeding.read_seed(token, self.grant, now)
        finally:
            del token  # a traceback, or a tool that looks at the stack meanwhile, shows the variables of this frame
        seeding.use(self, seeded, now)

    def _flights(self) -> SingleFlight:
        """Return what fetches; built by the first call that needs it, as most sources find a fresh token."""
        if self._single_flight is None:
            with small_imports():
                from . import wiring
            self._single_flight = wiring.build(self)
        return self._single_flight


def _unpickle(kind: type[TokenSource], grant: Grant, cache: Any, policy: Any, allow_http: Any) -> TokenSource:
    source = kind(grant, cache=cache, **policy)
    source._allow_http = allow_http
    return source
