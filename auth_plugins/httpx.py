"""OAuth 2.0 for httpx: ``httpx.Client(auth=OAuth2Auth(grant))``, and ``AsyncClient`` alike, in asyncio and trio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

try:
    import httpx
except ImportError as error:
    raise ImportError("auth_plugins.httpx needs httpx: pip install 'auth-plugins[httpx]'") from error

from auth_plugins._adapters.httpx_flow import HttpxAuthFlow, OriginBoundHeaders
from auth_plugins._base import errors
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant
from auth_plugins._source.source import Policy, TokenSource
from auth_plugins._transports.httpx import httpx_transport

__all__ = ["OAuth2Auth"]


#: Sends token requests where no client is handed in.
_transport = httpx_transport("httpx")


class ConfigurationError(errors.ConfigurationError, httpx.RequestError):
    """The package's error, as httpx's own."""


class InsecureTransportError(errors.InsecureTransportError, httpx.RequestError):
    """The package's error, as httpx's own."""


class TokenRequestError(errors.TokenRequestError, httpx.RequestError):
    """The package's error, as httpx's own."""


class TokenTransportError(errors.TokenTransportError, httpx.TransportError):
    """The package's error, as httpx's own."""


class AuthError(errors.AuthError, httpx.RequestError):
    """The package's error, as httpx's own."""


class _OriginBoundHeaders(OriginBoundHeaders, httpx.Headers):
    pass


class OAuth2Auth(HttpxAuthFlow, httpx.Auth):
    """Put a token on requests, and renew it when the API refuses it.

    One object may serve any number of threads, event loops and clients, sync and async.

    :param grant_or_source: a grant, such as :class:`auth_plugins.ClientCredentials`, or a
        :class:`auth_plugins.TokenSource`.
    :param cache: where tokens are shared, as of :class:`auth_plugins.TokenSource`; ``None``: the memory that the whole
        process shares.
    :param allowed_hosts: the hosts that get the token: ``"api.example.com"``, ``"*.example.com"`` (its subdomains, not
        itself), ``"127.0.0.1:8080"``, ``"[::1]"``; no port means any. ``None``: every host that is sent to with this
        auth.
    :param header: the header that carries the token.
    :param scheme: what stands before it; ``""``: nothing.
    :param allow_http: send tokens and secrets over ``http://`` to other machines as well.
    :param client: the ``httpx.Client`` that sends the token requests: for a proxy, a private CA or a client
        certificate. Not an ``AsyncClient``: it belongs to one event loop, a token to all. ``None``: a new one for each.
        Equal grants share a token whatever their clients, which must therefore not identify different clients of the
        server; a grant without any secret has one for each client.
    :param policy: ``leeway``, ``timeout`` and ``refresh_ahead``, as of :class:`auth_plugins.TokenSource`.
    :raises ConfigurationError: an argument cannot work.

    While a request is sent, every error is an :class:`auth_plugins.AuthError` and an ``httpx.RequestError``.
    """

    _own_errors = (ConfigurationError, InsecureTransportError, TokenRequestError, TokenTransportError, AuthError)
    _bound_headers = _OriginBoundHeaders
    _byte_stream = httpx.ByteStream
    _response = httpx.Response

    def __init__(
        self,
        grant_or_source: Grant | TokenSource,
        *,
        cache: MemoryCache | TokenCache | None = None,
        allowed_hosts: str | Iterable[str] | None = None,
        header: str = "Authorization",
        scheme: str = "Bearer",
        allow_http: bool = False,
        client: httpx.Client | None = None,
        **policy: Unpack[Policy],
    ) -> None:
        if not (client is None or isinstance(client, httpx.Client)):
            raise errors.ConfigurationError(
                f"client is of type {type(client).__name__}; give an httpx.Client, or leave it out"
            )
        self._configure(
            grant_or_source,
            _transport if client is None else httpx_transport("httpx", client),
            client,
            cache=cache,
            allowed_hosts=allowed_hosts,
            header=header,
            scheme=scheme,
            allow_http=allow_http,
            policy=policy,
        )
