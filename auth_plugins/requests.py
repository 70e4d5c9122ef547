"""OAuth 2.0 for requests: ``requests.get(url, auth=OAuth2Auth(grant))``, or ``session.auth = …``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self, Unpack

try:
    import requests
except ImportError as error:
    raise ImportError("auth_plugins.requests needs requests: pip install 'auth-plugins[requests]'") from error
from requests.auth import AuthBase

from auth_plugins._adapters.base import Adapter, own_class, wrong_session
from auth_plugins._adapters.for_requests.redirects import OriginBoundHeaders, origin_of
from auth_plugins._adapters.for_requests.token_hook import NOT_READY, TokenHook
from auth_plugins._adapters.rules import Refused
from auth_plugins._base import errors
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource
from auth_plugins._transports.base import LibraryTransport, Transport

if TYPE_CHECKING:
    from auth_plugins._adapters.base import Overrides
    from auth_plugins._adapters.for_requests.combined import CombinedAuth
    from auth_plugins._adapters.queries import QueryParameter
    from auth_plugins._client_auth.proofs import Prover

    class _Overrides(Overrides, total=False):
        session: requests.Session | None


__all__ = ["OAuth2Auth"]

if not TYPE_CHECKING:  # which would take any name for one of this module

    def __getattr__(name: str) -> type:
        """Return an error of ours as one of requests: pickle looks for it here."""
        return own_class(requests, name)


#: Sends token requests where no session is given.
_transport = LibraryTransport("requests")


class OAuth2Auth(Adapter, AuthBase):
    """Put a token on requests, and replace it when the API rejects it.

    One object may serve any number of threads and sessions.

    :param grant_or_source: a grant, such as :class:`auth_plugins.ClientCredentials`, or a
        :class:`auth_plugins.TokenSource`.
    :param cache: where tokens are stored, as for :class:`auth_plugins.TokenSource`; ``None``: the memory that the whole
        process shares.
    :param allowed_hosts: the hosts that get the token: ``"api.example.com"``, ``"*.example.com"`` (its subdomains, not
        itself), ``"127.0.0.1:8080"``, ``"[::1]"``; no port means any. ``None``: every host that is sent to with this
        auth.
    :param header: the header that carries the token; ``None``: the one that the grant names, else ``Authorization``.
    :param scheme: the word before the token; or the whole value with ``{token}`` in the token's place, such as
        ``"CWSAuth Bearer={token}"``. ``""``: no word; ``None``: the one that the grant names, else ``Bearer``.
    :param query: the parameter of the URL's query that carries the token in place of a header, such as
        ``"access_token"``; one of that name that is there already is replaced. Proxies and logs see URLs, those of
        this library included, so it is for APIs that accept no header. ``None``: the one that the grant names, else a
        header.
    :param allow_http: send tokens and secrets over ``http://`` to other machines as well.
    :param session: the ``requests.Session`` that sends the token requests: for a proxy, a private CA or a client
        certificate. ``None``: a new one for each, with a timeout. Equal grants share a token whatever their sessions,
        which must therefore not identify different clients; a grant without any secret has one for each session.
    :param leeway: seconds before its end from which a token is not used any more; ``None``: 60; 0: used to the end.
    :param timeout: seconds that a token request may take, retries included; ``None``: 10.
    :param refresh_ahead: refresh a token in the background some time before its end; ``None``: ``True``.
    :param refused: which responses refuse the token besides a 401 and an ``invalid_token`` challenge: statuses, such as
        ``(403, 419)``, or a function that takes the response and returns a bool, such as
        :func:`auth_plugins.graphql_unauthenticated`. It may read the body (``.json()``, ``.text``, ``.content``), which
        is read then, and only then; for that it may be called twice. ``None`` or ``()``: none.
    :raises ConfigurationError: an argument cannot work, or a ``TokenSource`` decides it already.

    While a request is sent, every error is an :class:`auth_plugins.AuthError` and a ``requests.RequestException``.
    """

    _session_argument = "session"

    if TYPE_CHECKING:

        @classmethod
        def from_env(  # noqa: D102 - the base describes it
            cls, prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None, **overrides: Unpack[_Overrides]
        ) -> Self: ...

        def __add__(self, other: AuthBase) -> CombinedAuth: ...

        def __radd__(self, other: AuthBase) -> CombinedAuth: ...

    def __init__(
        self,
        grant_or_source: Grant | TokenSource,
        *,
        cache: MemoryCache | TokenCache | None = None,
        allowed_hosts: str | Iterable[str] | None = None,
        header: str | None = None,
        scheme: str | None = None,
        query: str | None = None,
        allow_http: bool = False,
        session: requests.Session | None = None,
        leeway: float | None = None,
        timeout: float | None = None,
        refresh_ahead: bool | None = None,
        refused: Refused | None = None,
    ) -> None:
        # By its base: requests-cache puts a class of its own in the place of Session.
        if not (session is None or isinstance(session, requests.sessions.SessionRedirectMixin)):
            raise wrong_session("session", "a requests.Session", session)
        transport: Transport | LibraryTransport = _transport
        if session is not None:
            with small_imports():
                transport = _transport.load(session)
        options = (cache, allowed_hosts, header, scheme, query, allow_http, leeway, timeout, refresh_ahead, refused)
        # Not in the class: Python reads an attribute that a class has as well more slowly.
        self._ready: TokenHook = NOT_READY
        self._configure(grant_or_source, transport, session, options)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token on *request*; requests calls this."""
        ready = self._ready
        try:
            # What was found for the last request holds for most others: they cost no more than this check.
            if (
                ready.token is self._state.token
                and request.url.startswith(ready.origin)  # type: ignore[union-attr]  # see below
                and ready.since <= runtime.clock.time() < ready.until
            ):
                request.headers[ready.header] = ready.plain
                request.hooks["response"].append(ready)
                return request
        except (AttributeError, KeyError):  # not a request of requests, or not a whole one
            pass
        return self._sign(request)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if not isinstance(request, requests.PreparedRequest):
            raise self._wrong_library(request)
        try:
            origin = self._allowed_origin(request.url or "")
            token = None if origin is None else self.source.token()
        except errors.AuthError as error:
            raise self._library_error(error, request) from error.__cause__
        if self._parameter is not None:
            return self._sign_url(request, self._parameter, token)
        if token is None:
            return request
        if self._prover is not None:
            return self._sign_with_proof(request, self._prover, token)
        hook = TokenHook(self.source, self.header, self._scheme, self._rules, token)
        if origin and self.header.lower() == "authorization":
            hook.origin, (hook.since, hook.until) = origin, self.source.fresh_between(hook.token)
            self._set_ready(hook)
        else:  # requests keeps no other header within its origin, and not this one from http:// to https:// of one host
            request.headers = OriginBoundHeaders.of(request.headers, self.header)
        request.headers[self.header] = hook.plain
        request.hooks.setdefault("response", []).append(hook)
        return request

    def _sign_with_proof(
        self, request: requests.PreparedRequest, prover: Prover, token: Token
    ) -> requests.PreparedRequest:
        with small_imports():
            from auth_plugins._adapters.for_requests.proof_hook import ProofHook
        hook = ProofHook(self.source, self._rules, token, prover)
        try:
            hook.sign(request)
        except errors.AuthError as error:
            raise self._library_error(error, request) from error.__cause__
        request.hooks.setdefault("response", []).append(hook)
        return request

    def _sign_url(
        self, request: requests.PreparedRequest, parameter: QueryParameter, token: Token | None
    ) -> requests.PreparedRequest:
        """Put *token* in the URL of *request*; ``None``: it gets none, not even by a link that holds it."""
        url, present = request.url or "", self._state.token
        if token is not None:
            with small_imports():
                from auth_plugins._adapters.for_requests.query_hook import QueryHook
            hook = QueryHook(self.source, parameter, url, self._rules, token)
            hook.put(request)
            request.hooks.setdefault("response", []).append(hook)
        elif present is not None and parameter.holds(url, present):
            request.url = parameter.remove(url)
        return request

    def _library_error(self, error: errors.AuthError, request: requests.PreparedRequest) -> errors.AuthError:
        """Return *error* as one of requests, for a *request* that is not sent."""
        self._remove(request)
        with small_imports():
            from auth_plugins._adapters.for_requests.errors import library_error
        return library_error(error, request)

    def _remove(self, request: requests.PreparedRequest) -> None:
        """Remove any token from the URL of *request*, which is not sent: an error holds it."""
        if self._parameter is not None:
            request.url = self._parameter.remove(request.url or "")

    def _combined(self, *auths: AuthBase) -> CombinedAuth:
        with small_imports():
            from auth_plugins._adapters.for_requests.combined import CombinedAuth
        return CombinedAuth(*auths)

    def _allowed_origin(self, url: str) -> str | None:
        """Return how all URLs begin that get the token as *url* does; ``""``: no others; ``None``: it gets none."""
        if self._hosts is None and url.startswith("https://"):
            return "https://"
        origin, plain = origin_of(url), re.match(r"(https://[^/?#@]+|http://[^/?#@]+:\d+)/", url)
        del url  # its query may hold a token, and an error's traceback keeps this frame
        if origin is None or not self._may_carry(*origin):
            return None
        return plain[0] if plain else ""
