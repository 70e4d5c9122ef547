"""The arguments of the adapters of httpx and httpx2, and where the token stands; this imports neither."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, Unpack

from auth_plugins._adapters.base import Adapter, header_value, wrong_session
from auth_plugins._adapters.rules import Refused
from auth_plugins._base.errors import AuthError, to_library_error
from auth_plugins._base.hidden import Hidden
from auth_plugins._base.loading import small_imports
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource
from auth_plugins._transports.base import LibraryTransport, Transport

Client = TypeVar("Client")

if TYPE_CHECKING:
    from auth_plugins._adapters.base import Overrides

    class _Overrides(Overrides, Generic[Client], total=False):
        client: Client | None

    class _Typed(Generic[Client]): ...

else:

    class _Typed:  # Generic takes longer than the rest of this module
        def __class_getitem__(cls, _: object) -> type:
            return cls


#: No token: its time is always over.
_NOT_READY = (Token(access_token=""), 0.0, 0.0, "")


class HttpxCarrier(Adapter, _Typed[Client]):
    """Puts the token on a request."""

    if TYPE_CHECKING:

        @classmethod
        def from_env(
            cls,
            prefix: str = "AUTH_PLUGINS",
            environ: Mapping[str, str] | None = None,
            **overrides: Unpack[_Overrides[Client]],
        ) -> Self: ...

    _session_argument = "client"
    _library: ModuleType
    _client: ClassVar[type[Any]]
    #: Sends token requests where no client is given.
    _own_transport: ClassVar[LibraryTransport]
    _byte_stream: ClassVar[type[Any]]
    _allowed_origin: tuple[str, str, int | None] | None = None

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
        client: Client | None = None,
        leeway: float | None = None,
        timeout: float | None = None,
        refresh_ahead: bool | None = None,
        refused: Refused | None = None,
    ) -> None:
        transport: Transport | LibraryTransport = self._own_transport
        if client is not None:
            if not isinstance(client, self._client):
                raise wrong_session("client", f"an {self._library.__name__}.Client", client)
            with small_imports():
                transport = self._own_transport.load(client)
        options = (cache, allowed_hosts, header, scheme, query, allow_http, leeway, timeout, refresh_ahead, refused)
        #: The last token, from when until when it needs no further check (Unix seconds), and what the header holds.
        self._ready: tuple[Token, float, float, str] = _NOT_READY
        self._configure(grant_or_source, transport, client, options)

    def _combined(self, *auths: Any) -> Any:
        with small_imports():
            from .combined import class_for
        return class_for(self._library)(*auths)

    def __call__(self, request: object) -> None:
        """Raise an error that names the right module: requests calls any ``auth=``, and so does httpx for httpx2's."""
        raise self._wrong_library(request)

    def _sign(self, request: Any) -> Token | None:
        """Put the token on *request*, and return it; ``None``: it gets none."""
        try:
            if self._is_allowed(request.url):
                token = self.source.token()
                if self._prover is not None:
                    proofs().wait_for_nonce(self._prover, token, request)
                return self._put(request, token)
        except AuthError as error:
            raise self._library_error(error, request) from error.__cause__
        self._withhold(request)
        return None

    async def _asign(self, request: Any) -> Token | None:
        try:
            if self._is_allowed(request.url):
                token = await self.source.atoken()
                if self._prover is not None:
                    await proofs().await_nonce(self._prover, token, request)
                return self._put(request, token)
        except AuthError as error:
            raise self._library_error(error, request) from error.__cause__
        self._withhold(request)
        return None

    def _is_allowed(self, url: Any) -> bool:
        if self._hosts is None and url.scheme == "https":
            return True
        origin = url.scheme, url.raw_host.decode("ascii"), url.port
        del url  # its query may hold a token, and an error's traceback keeps this frame
        if is_allowed := origin == self._allowed_origin or self._may_carry(*origin):
            self._allowed_origin = origin  # not read again: another thread may set it meanwhile
        return is_allowed

    def _put(self, request: Any, token: Token) -> Token:
        if self._prover is not None:
            proofs().put(self, request, token)
            return token
        if self._parameter is not None:
            request.url = self._library.URL(self._parameter.put(str(request.url), token))
            return token
        header, value, url = self.header, Hidden(header_value(self._scheme, token)), request.url
        # On redirects to other origins httpx removes Authorization only, and not from http:// to https:// of one host.
        if header.lower() != "authorization" or (url.scheme == "http" and url.port is None):
            request.headers = self._bound_headers(request.headers, header, value)
        else:
            request.headers[header] = value
            if self._hosts is None:
                self._set_ready((token, *self.source.fresh_between(token), value))
        return token

    def _library_error(self, error: AuthError, request: Any) -> AuthError:
        """Return *error* as the library's own, for a *request* that is not sent."""
        self._remove(request)
        with small_imports():
            from auth_plugins._adapters.own_classes import own_errors
        return to_library_error(error, own_errors(self._library), _request=request)

    @functools.cached_property
    def _bound_headers(self) -> type[Any]:
        """The library's headers, of which one stays within its origin: few programs need them."""
        with small_imports():
            from auth_plugins._adapters.own_classes import bound_headers
        return bound_headers(self._library)

    def _remove(self, request: Any) -> None:
        """Remove any token from the URL of *request*, which is shown by its ``repr``."""
        if self._parameter is not None:
            request.url = self._library.URL(self._parameter.remove(str(request.url)))

    def _withhold(self, request: Any) -> None:
        """Remove our token from the URL of a *request* that gets none: a link of the API may hold it."""
        present = self._state.token
        if self._parameter is not None and present is not None and self._parameter.holds(str(request.url), present):
            self._remove(request)

    def _carries(self, request: Any, token: Token, first: Any) -> bool:
        """Return whether *request*, to which redirects from the *first* one led, carries *token* by our doing.

        In a URL that the server wrote, a token is ours only within the origin of the first request.
        """
        if self._parameter is not None:
            return _origin(request) == _origin(first) and self._parameter.holds(str(request.url), token)
        return bool(request.headers.get(self.header) == header_value(self._scheme, token))


def proofs() -> ModuleType:
    """Import what makes DPoP proofs: few programs need it."""
    with small_imports():
        from . import proofs
    return proofs


def _origin(request: Any) -> tuple[Any, ...]:
    return request.url.scheme, request.url.host, request.url.port
