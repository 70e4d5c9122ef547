"""The adapter and the auth flow that httpx and httpx2 share; this imports neither.

The sync and the async flow are the same lines twice: a third form that both are made of would slow each request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar, Unpack

from auth_plugins._base.errors import AuthError, to_library_error
from auth_plugins._base.hidden import Hidden
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource
from auth_plugins._transports.base import LibraryTransport, Transport

from .base import Adapter, header_value, wrong_session
from .httpx_bodies import add_cookies, aread, position_of, read, rewind
from .httpx_closing import responses_behind
from .refusals import NO_BODY, is_replayed, may_be_replayed

Client = TypeVar("Client")

if TYPE_CHECKING:
    from .base import Overrides

    class _Overrides(Overrides, Generic[Client], total=False):
        client: Client | None


#: No token: its time is always over.
_NOT_READY = (Token(access_token=""), 0.0, 0.0, "")


class HttpxAuthFlow(Adapter, Generic[Client]):
    """Puts the token on a request, and answers a 401 with one replay."""

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
    #: Our errors as the library's own.
    _own_errors: ClassVar[tuple[type[AuthError], ...]]
    #: Sends token requests where no client is given.
    _own_transport: ClassVar[LibraryTransport]
    #: The library's headers with :class:`.httpx_headers.OriginBoundHeaders` mixed in.
    _bound_headers: ClassVar[type[Any]]
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
        allow_http: bool = False,
        client: Client | None = None,
        leeway: float | None = None,
        timeout: float | None = None,
        refresh_ahead: bool | None = None,
    ) -> None:
        transport: Transport | LibraryTransport = self._own_transport
        if client is not None:
            if not isinstance(client, self._client):
                raise wrong_session("client", f"an {self._library.__name__}.Client", client)
            with small_imports():
                transport = self._own_transport.load(client)
        options = (cache, allowed_hosts, header, scheme, allow_http, leeway, timeout, refresh_ahead)
        self._configure(grant_or_source, transport, client, options)
        #: The last token, from when until when it needs no further check (Unix seconds), and what the header holds.
        self._ready = _NOT_READY

    def __call__(self, request: object) -> None:
        """Raise an error that names the right module: requests calls any ``auth=``, and so does httpx for httpx2's."""
        raise self._wrong_library(request)

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Put the token on *request*, and answer a 401 with one replay; ``Client`` calls this."""
        state, (token, since, until, value) = self._state, self._ready
        # What was found for the last request holds for most others: they cost no more than this check.
        if token is state.token and request.url.scheme == "https" and since <= runtime.clock.time() < until:
            request.headers[self.header] = value
        else:
            needed = self._sign(request)
            if needed is None:
                yield request
                return
            token = needed
        # Most bodies are bytes, which have no position.
        position = None if type(request.stream) is self._byte_stream else position_of(request.stream)
        try:
            response = yield request
        except GeneratorExit:
            response = None
        if response is None:
            self._end_closed(request, token)
        if response.status_code != 401:
            if state.probation_until:
                self.source.accept(token)
            return
        refused = self._replayable(response, token, position)
        fresh = refused and self._renewed(refused, response, token)
        if fresh is None:
            return
        add_cookies(refused, response)
        try:
            answer = yield refused
        except GeneratorExit:
            answer = None
        self._note_answer(refused, answer, fresh, response)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Put the token on *request*, and answer a 401 with one replay; ``AsyncClient`` calls this."""
        state, (token, since, until, value) = self._state, self._ready
        if token is state.token and request.url.scheme == "https" and since <= runtime.clock.time() < until:
            request.headers[self.header] = value
        else:
            needed = await self._asign(request)
            if needed is None:
                yield request
                return
            token = needed
        position = None if type(request.stream) is self._byte_stream else position_of(request.stream)
        try:
            response = yield request
        except GeneratorExit:
            response = None
        if response is None:
            self._end_closed(request, token)
        if response.status_code != 401:
            if state.probation_until:
                self.source.accept(token)
            return
        refused = self._replayable(response, token, position)
        fresh = refused and await self._arenewed(refused, response, token)
        if fresh is None:
            return
        add_cookies(refused, response)
        try:
            answer = yield refused
        except GeneratorExit:
            answer = None
        self._note_answer(refused, answer, fresh, response)

    def _sign(self, request: Any, *, again: bool = False) -> Token | None:
        """Put the token on *request*, and return it; ``None``: it gets none. A replay goes where its token went."""
        try:
            return self._put(request, self.source.token()) if again or self._is_allowed(request.url) else None
        except AuthError as error:
            raise to_library_error(error, self._own_errors, _request=request) from error.__cause__

    async def _asign(self, request: Any, *, again: bool = False) -> Token | None:
        try:
            return self._put(request, await self.source.atoken()) if again or self._is_allowed(request.url) else None
        except AuthError as error:
            raise to_library_error(error, self._own_errors, _request=request) from error.__cause__

    def _renewed(self, refused: Any, response: Any, token: Token) -> Token | None:
        """Put a fresh token on *refused*, and return it; ``None``: there is no other than *token*."""
        if not self.source.grant.is_constant:  # the token request may need the connection
            read(response)
        fresh = self._sign(refused, again=True)
        if fresh is None or not is_replayed(refused, self.source, token, fresh):
            return None
        read(response)  # here, as the library raises for a body that breaks off
        return fresh

    async def _arenewed(self, refused: Any, response: Any, token: Token) -> Token | None:
        if not self.source.grant.is_constant:
            await aread(response, self._byte_stream)
        fresh = await self._asign(refused, again=True)
        if fresh is None or not is_replayed(refused, self.source, token, fresh):
            return None
        await aread(response, self._byte_stream)  # here, as the library raises for a body that breaks off
        return fresh

    def _is_allowed(self, url: Any) -> bool:
        if self._hosts is None and url.scheme == "https":
            return True
        origin = url.scheme, url.raw_host.decode("ascii"), url.port
        if is_allowed := origin == self._allowed_origin or self._may_carry(*origin):
            self._allowed_origin = origin  # not read again: another thread may set it meanwhile
        return is_allowed

    def _put(self, request: Any, token: Token) -> Token:
        header, value, url = self.header, Hidden(header_value(self._scheme, token)), request.url
        # On redirects to other origins httpx removes Authorization only, and not from http:// to https:// of one host.
        if header.lower() != "authorization" or (url.scheme == "http" and url.port is None):
            request.headers = self._bound_headers(request.headers, header, value)
        else:
            request.headers[header] = value
            if self._hosts is None:
                self._ready = (token, *self.source.fresh_between(token), value)
        return token

    def _carries(self, request: Any, token: Token) -> bool:
        return bool(request.headers.get(self.header) == header_value(self._scheme, token))

    def _replayable(self, response: Any, token: Token, position: int | None) -> Any:
        """Reject *token*, which got the 401 *response*; return the request to replay, or ``None``."""
        request = response.request  # after redirects the last one
        if not self._carries(request, token):  # another origin said 401, without having seen the token
            return None
        obstacle = "" if rewind(request.stream, position) else NO_BODY
        return request if may_be_replayed(request, self.source, token, obstacle) else None

    def _note_answer(self, request: Any, answer: Any, fresh: Token, refusal: Any) -> None:
        if answer is None:
            self._end_closed(request, fresh, seen=refusal)
        if answer.status_code != 401:
            self.source.accept(fresh)

    def _end_closed(self, request: Any, token: Token, seen: Any = None) -> NoReturn:
        """End a flow that was closed, and note what an API said of *token* in a response other than the one *seen*."""
        for response in responses_behind(request, self._library):
            if response is not seen and self._carries(response.request, token):
                if response.status_code == 401:
                    self.source.reject(token)
                else:
                    self.source.accept(token)
                break
        raise GeneratorExit  # an async generator must not just return where no event loop closes it
