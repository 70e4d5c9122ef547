"""OAuth 2.0 for httpx2: ``httpx2.Client(auth=OAuth2Auth(grant))``, and ``AsyncClient`` alike, in asyncio and trio."""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import httpx2
except ImportError as error:
    raise ImportError("auth_plugins.httpx2 needs httpx2: pip install 'auth-plugins[httpx2]'") from error

from auth_plugins._adapters.base import own_class
from auth_plugins._adapters.for_httpx.flow import HttpxAuthFlow
from auth_plugins._transports.base import LibraryTransport

if TYPE_CHECKING:
    from auth_plugins._adapters.for_httpx.combined import HttpxCombined

    class CombinedAuth(HttpxCombined[httpx2.Auth], httpx2.Auth):
        """For type checkers: what ``auth_a + auth_b`` is."""


__all__ = ["OAuth2Auth"]

if not TYPE_CHECKING:  # which would take any name for one of this module

    def __getattr__(name: str) -> type:
        """Return a class that is ours and one of httpx2 at once: pickle looks for it here."""
        return own_class(httpx2, name)


class OAuth2Auth(HttpxAuthFlow[httpx2.Client], httpx2.Auth):
    """Put a token on requests, and replace it when the API rejects it.

    One object may serve any number of threads, event loops and clients, sync and async.

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
    :param client: the ``httpx2.Client`` that sends the token requests: for a proxy, a private CA or a client
        certificate. Not an ``AsyncClient``, which belongs to one event loop. ``None``: a new one for each, with a
        timeout. Equal grants share a token whatever their clients, which must therefore not identify different clients
        of the server; a grant without any secret has one for each client.
    :param leeway: seconds before its end from which a token is not used any more; ``None``: 60; 0: used to the end.
    :param timeout: seconds that a token request may take, retries included; ``None``: 10.
    :param refresh_ahead: refresh a token in the background some time before its end; ``None``: ``True``.
    :param refused: which responses refuse the token besides a 401 and an ``invalid_token`` challenge: statuses, such as
        ``(403, 419)``, or a function that takes the response and returns a bool, such as
        :func:`auth_plugins.graphql_unauthenticated`. It may read the body (``.json()``, ``.text``, ``.content``), which
        is read then, and only then; for that it may be called twice. ``None`` or ``()``: none.
    :raises ConfigurationError: an argument cannot work, or a ``TokenSource`` decides it already.

    While a request is sent, every error is an :class:`auth_plugins.AuthError` and an ``httpx2.RequestError``.
    """

    if TYPE_CHECKING:

        def __add__(self, other: httpx2.Auth) -> CombinedAuth: ...

        def __radd__(self, other: httpx2.Auth) -> CombinedAuth: ...

    _library = httpx2
    _client = httpx2.Client  # now, as tracers put a class of their own in its place
    _own_transport = LibraryTransport("httpx2")
    _byte_stream = httpx2.ByteStream
