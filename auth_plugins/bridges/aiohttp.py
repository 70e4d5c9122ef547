"""aiohttp: a client middleware; this imports no aiohttp."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from auth_plugins._base.hosts import AllowedHosts, check_transport
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.rejections import withdraw
from auth_plugins._source.source import TokenSource

#: What the schemes of WebSockets are for a handshake.
_SCHEMES = {"ws": "http", "wss": "https"}


class OAuth2Middleware:
    """Put a token on the requests of aiohttp (3.12 or later), and replace it after a 401.

    For ``ClientSession(middlewares=[…])`` or one request. The request is repeated once if its body can be sent twice.
    The handshakes of WebSockets are served too. While new tokens are rejected as well, at most one is fetched in 30
    seconds.

    :param source: where the tokens come from.
    :param allowed_hosts: the hosts that get the token, as for ``OAuth2Auth``. aiohttp runs a middleware for each hop of
        a redirect, so they have to be named.
    :param allow_http: whether ``http://`` and ``ws://`` to another machine get it; ``False`` by default.
    :raises ConfigurationError: *allowed_hosts* is empty, or holds what is no host.
    """

    def __init__(self, source: TokenSource, *, allowed_hosts: str | Iterable[str], allow_http: bool = False) -> None:
        self._source, self._hosts, self._allow_http = source, AllowedHosts(allowed_hosts), allow_http

    async def __call__(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Send *request* with a token; aiohttp calls this.

        :raises AuthError: there is no token.
        :raises InsecureTransportError: it would travel unencrypted to another machine.
        """
        scheme, host = _SCHEMES.get(request.url.scheme, request.url.scheme), request.url.host
        if (scheme, host, request.url.port) not in self._hosts:
            return await handler(request)
        check_transport(scheme, host, allow_http=self._allow_http)
        token = await self._add_token(request)
        response = await handler(request)
        if response.status == 401 and self._source.reject(token):
            if getattr(request.body, "consumed", False):
                withdraw(self._source, token)
            else:
                response.release()
                token = await self._add_token(request)
                response = await handler(request)
        if response.status < 400:
            self._source.accept(token)
        return response

    async def _add_token(self, request: Any) -> Token:
        token = await self._source.atoken()
        # Hidden, as the errors of aiohttp show the headers of the request in their repr.
        request.headers["Authorization"] = token.header_value
        return token
