"""The auth flow that httpx and httpx2 share; it imports neither.

Sync and async are the same lines: twice, as that is cheaper than a third abstraction, and each request runs them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, Self

from auth_plugins._base.errors import AuthError, ConfigurationError, to_library_error
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

from .base import NO_BODY, NOT_YET, SAME_KEY, SENT_AGAIN, Adapter, header_value, log_refusal

__all__ = ["HttpxAuthFlow", "OriginBoundHeaders"]

_UNAUTHORIZED = 401
#: How many errors are looked through that were raised one from the other; they may go round in a circle.
_MOST_LINKS = 20


if TYPE_CHECKING:
    from types import FrameType

    class Url(Protocol):
        """What is needed of a URL."""

        @property
        def scheme(self) -> str: ...
        @property
        def raw_host(self) -> bytes: ...
        @property
        def port(self) -> int | None: ...

    class Request(Protocol):
        """What is needed of a request."""

        headers: Any
        stream: Any

        @property
        def url(self) -> Url: ...

    class Response(Protocol):
        """What is needed of a response."""

        @property
        def status_code(self) -> int: ...
        @property
        def request(self) -> Any: ...


class OriginBoundHeaders:
    """Mixed into a library's ``Headers``: some of them are kept from other origins.

    On a redirect httpx copies each header to whatever host it leads to; only ``Authorization`` is taken out there, and
    an auth flow sees no more of it than the last answer. So our header's name passes for ``Authorization`` (or, where
    httpx leaves that in place too, for ``Host``, which it replaces) in the copy, and for nothing but itself in here:
    what is looked up or set here, is so in a plain copy. Thus threads may read while the client copies.
    """

    _list: list[tuple[bytes, bytes, bytes]]

    def __init__(self, headers: Any, name: str, value: str, alias: str) -> None:
        super().__init__(headers)  # type: ignore[call-arg]  # of the library's class
        raw_name = name.encode("ascii")
        own = raw_name.lower()
        # Last, as the first of two that pass for Host stays. The inequality of bytes knows no alias.
        self._list = [entry for entry in self._list if entry[1] != own]
        self._list.append((raw_name, _Alias(own, alias.encode("ascii")), value.encode("latin-1")))

    def _plain(self) -> Any:
        """A copy in which each name is but itself."""
        plain: Any = type(self).__mro__[2](encoding=self._encoding)  # type: ignore[attr-defined]  # the library's
        plain._list = [(raw, bytes(name), value) for raw, name, value in self._list]
        return plain

    def _take(self, plain: Any) -> None:
        """Hold what *plain* holds; a name that was bound stays so."""
        bound = {bytes(name): name for _, name, _ in self._list if type(name) is _Alias}
        self._list = [(raw, bound.get(name, name), value) for raw, name, value in plain._list]

    def __repr__(self) -> str:
        shown = self._plain()
        shown._list = [
            (raw, bytes(name), b"[secure]" if type(name) is _Alias else value) for raw, name, value in self._list
        ]
        return repr(shown)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled_headers, (type(self), self._list, self._encoding)  # type: ignore[attr-defined]  # likewise

    def __eq__(self, other: object) -> bool:
        return bool(self._plain() == (other._plain() if isinstance(other, OriginBoundHeaders) else other))

    __hash__ = None  # type: ignore[assignment]  # as the library's

    def __getitem__(self, key: str) -> str:
        value: str = self._plain()[key]
        return value

    def __setitem__(self, key: str, value: str) -> None:
        plain = self._plain()
        plain[key] = value
        self._take(plain)

    def __delitem__(self, key: str) -> None:
        plain = self._plain()
        del plain[key]
        self._take(plain)

    def __contains__(self, key: object) -> bool:
        return key in self._plain()

    def get_list(self, key: str, split_commas: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - httpx's
        """All values of one header."""
        values: list[str] = self._plain().get_list(key, split_commas)
        return values


def _unpickled_headers(kind: type[Any], entries: list[tuple[bytes, bytes, bytes]], encoding: str | None) -> Any:
    headers = object.__new__(kind)
    headers._list, headers._encoding = entries, encoding
    return headers


class _Alias(bytes):
    """A header's name that equals another one as well, in each copy of the headers that the library makes."""

    other: bytes

    def __new__(cls, name: bytes, other: bytes) -> Self:
        alias = super().__new__(cls, name)
        alias.other = other
        return alias

    def __eq__(self, other: object) -> bool:
        if type(other) is not bytes or other != self.other:
            return super().__eq__(other)
        # Who sets Authorization in a copy of the headers means that one, and not ours. Host is set by a redirect.
        return other == b"host" or not _sets_a_header(sys._getframe(1))

    __hash__ = bytes.__hash__

    def lower(self) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _Alias, (bytes(self), self.other)


def _sets_a_header(frame: FrameType) -> bool:
    """Whether *frame* is that of ``Headers.__setitem__``, or in Python 3.11 of a comprehension in it."""
    return any(each is not None and each.f_code.co_name == "__setitem__" for each in (frame, frame.f_back))


class _Closed:
    """Stands for a response, where the flow is closed instead: an event hook raised, or there is no response."""

    status_code = _UNAUTHORIZED


class HttpxAuthFlow(Adapter):
    """Sign a request; answer one refusal with one fresh token."""

    _session_argument = "client"
    #: Our errors as the library's own.
    _own_errors: ClassVar[tuple[type[AuthError], ...]]
    #: The library's headers with :class:`OriginBoundHeaders` mixed in.
    _bound_headers: ClassVar[type[Any]]
    #: The library's class of a body that is bytes.
    _byte_stream: ClassVar[type[Any]]
    #: The library's class of a response.
    _response: ClassVar[type[Any]]

    #: The token of the last request, from when until when it needs no other look (Unix seconds), and its header.
    _ready: tuple[Token, float, float, str] = (Token(access_token=""), 0.0, 0.0, "")
    #: The origin that was found to get the token last.
    _taken: tuple[str, bytes, int | None] | None = None

    def __call__(self, *_: object) -> NoReturn:
        """Say whose auth this is: requests calls whatever it is given."""
        raise ConfigurationError(
            f"this is the OAuth2Auth of {type(self).__module__}; import the one for the library that you call"
        )

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign *request*; ``Client`` calls this."""
        state, (token, since, until, value) = self._state, self._ready
        # What was found out for the last request holds for most others: nothing but this is done for them.
        if token is state.token and request.url.scheme == "https" and since <= runtime.time() < until:
            request.headers[self.header] = value
        else:
            if not self._takes(request):
                yield request
                return
            token = self._token_for(request)
            self._sign(request, token)
        # Bytes have no position, and most requests no other body.
        position = None if type(request.stream) is self._byte_stream else _position(request.stream)
        try:
            response = yield request
        except GeneratorExit:
            response = _Closed
        if response.status_code != _UNAUTHORIZED:
            if state.probation_until:
                self.source.accept(token)
            return
        refused = self._to_be_sent_again(request, response, token, position)
        fresh = refused and self._renewed(refused, response, token)
        if fresh is None:
            return
        try:
            answer = yield refused
        except GeneratorExit:
            answer = _Closed
        if answer is _Closed:
            self._close(refused, fresh, response)
        if answer.status_code != _UNAUTHORIZED:
            self.source.accept(fresh)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sign *request*; ``AsyncClient`` calls this."""
        state, (token, since, until, value) = self._state, self._ready
        # What was found out for the last request holds for most others: nothing but this is done for them.
        if token is state.token and request.url.scheme == "https" and since <= runtime.time() < until:
            request.headers[self.header] = value
        else:
            if not self._takes(request):
                yield request
                return
            token = await self._atoken_for(request)
            self._sign(request, token)
        # Bytes have no position, and most requests no other body.
        position = None if type(request.stream) is self._byte_stream else _position(request.stream)
        try:
            response = yield request
        except GeneratorExit:
            response = _Closed
        if response.status_code != _UNAUTHORIZED:
            if state.probation_until:
                self.source.accept(token)
            return
        refused = self._to_be_sent_again(request, response, token, position)
        fresh = refused and await self._arenewed(refused, response, token)
        if fresh is None:
            return
        try:
            answer = yield refused
        except GeneratorExit:
            answer = _Closed
        if answer is _Closed:
            self._close(refused, fresh, response)
        if answer.status_code != _UNAUTHORIZED:
            self.source.accept(fresh)

    def _takes(self, request: Request) -> bool:
        url = request.url
        if self._hosts is None and url.scheme == "https":
            return True
        origin = url.scheme, url.raw_host, url.port
        if origin == self._taken:
            return True
        try:
            takes = self._may_carry(url.scheme, url.raw_host.decode("ascii"), url.port)
        except AuthError as error:
            raise self._as_own(error, request) from error.__cause__
        if takes:
            self._taken = origin
        return takes

    def _sign(self, request: Request, token: Token) -> None:
        header, value = self.header, header_value(self._scheme, token)
        # httpx takes Authorization out for another origin itself, but not on the way from http to https.
        upgradable = request.url.scheme == "http" and request.url.port is None
        if header.lower() == "authorization" and not upgradable:
            request.headers[header] = value
            if self._hosts is None:
                self._ready = (token, *self.source.fresh_between(token), value)
        else:
            alias = "host" if upgradable else "authorization"
            request.headers = self._bound_headers(request.headers, header, value, alias)

    def _token_for(self, request: Request) -> Token:
        try:
            return self.source.token()
        except AuthError as error:
            raise self._as_own(error, request) from error.__cause__

    async def _atoken_for(self, request: Request) -> Token:
        try:
            return await self.source.atoken()
        except AuthError as error:
            raise self._as_own(error, request) from error.__cause__

    def _renewed(self, refused: Request, response: Response, token: Token) -> Token | None:
        """Sign *refused* with a fresh token, and return that; ``None``: there is no other."""
        if not self.source.grant.is_constant:  # the token request may need the connection
            _read(response, self._byte_stream)
        fresh = self._token_for(refused)
        if not self._signed_again(refused, response, token, fresh):
            return None
        _read(response, self._byte_stream)
        return fresh

    async def _arenewed(self, refused: Request, response: Response, token: Token) -> Token | None:
        """The same as :meth:`_renewed`."""
        if not self.source.grant.is_constant:
            await _aread(response, self._byte_stream)
        fresh = await self._atoken_for(refused)
        if not self._signed_again(refused, response, token, fresh):
            return None
        await _aread(response, self._byte_stream)
        return fresh

    def _to_be_sent_again(self, request: Request, response: Any, token: Token, position: int | None) -> Any:
        """Give up *token*, which an API refused; return the request to be sent again; ``None``: it cannot be."""
        if response is _Closed:
            self._close(request, token)
        refused = self._refused_request(response, token)
        if refused is None:
            return None
        # First of all it is given up: also where the request cannot be sent again, the next one needs another token.
        obstacle = (
            NOT_YET if not self.source.reject(token) else NO_BODY if not _rewind(refused.stream, position) else ""
        )
        if obstacle:
            log_refusal(refused, obstacle)
        return None if obstacle else refused

    def _signed_again(self, refused: Request, response: Response, token: Token, fresh: Token) -> bool:
        """Put *fresh* on a refused request; whether that is another token."""
        if fresh == token:  # a constant key, read again; a probation would put off the next reading
            self.source.accept(fresh)
            log_refusal(refused, SAME_KEY)
            return False
        self._sign(refused, fresh)
        _add_cookies(refused, response)
        log_refusal(refused, SENT_AGAIN)
        return True

    def _close(self, request: Request, token: Token, seen: Response | None = None) -> NoReturn:
        """End a flow that is closed; an async generator must not just return where no loop closes it."""
        self._look_back(request, token, seen)
        raise GeneratorExit

    def _look_back(self, request: Request, token: Token, seen: Response | None) -> None:
        """Note what an API said of *token*, where an event hook raised an error before the flow saw the response.

        The flow is closed while that error is handled by the library: it is the caller's, here. An async flow of the
        user's around this one hides it, as Python sets no context where an async generator is closed.
        """
        error = sys.exc_info()[1]
        while isinstance(error, GeneratorExit):  # a flow of the user's, around this one, closes it
            error = error.__context__
        for response in _responses(error, request, self._response):
            if response is seen or self._refused_request(response, token) is None:
                continue
            if response.status_code == _UNAUTHORIZED:
                self.source.reject(token)
            else:
                self.source.accept(token)
            return

    def _refused_request(self, response: Response, token: Token) -> Any:
        """The request that an API refused *token* on; ``None``: another host did, to which it never went.

        After redirects that is the last of the requests, and the one to be sent again.
        """
        request = response.request
        return request if request.headers.get(self.header) == header_value(self._scheme, token) else None

    def _as_own(self, error: AuthError, request: Request) -> AuthError:
        return to_library_error(error, self._own_errors, _request=request)


def _responses(error: BaseException | None, request: Request, kind: type[Any]) -> Iterator[Any]:
    """The responses, of class *kind*, that an *error* which ended a flow tells of.

    First what it, or what it was raised from, says itself, as ``HTTPStatusError`` does; if that was to *request*, as
    older errors may be among them. Then the ones that the library's own functions had at hand, the latest first.
    Cancellation and Ctrl-C tell nothing.
    """
    link = error
    for _ in range(_MOST_LINKS if isinstance(error, Exception) else 0):
        with contextlib.suppress(Exception):  # attributes of a class that others wrote
            response: Any = getattr(link, "response", None)
            if isinstance(response, kind) and response.request is request:
                yield response
        link = link and (link.__cause__ or link.__context__)
    trace = error.__traceback__ if isinstance(error, Exception) else None
    library, found = kind.__module__.partition(".")[0], list[Any]()
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if str(frame.f_globals.get("__name__")).partition(".")[0] == library:
            found.append(frame.f_locals.get("response"))
    yield from (response for response in reversed(found) if isinstance(response, kind))


def _read(refusal: Any, byte_stream: type[Any]) -> None:
    """Read *refusal*, so that its connection is free; a body that breaks off is no loss, as nothing needs it."""
    if hasattr(refusal, "_content"):  # an event hook read it
        return
    came: list[bytes] = []
    try:
        came.extend(refusal.iter_raw())
    except Exception:
        with contextlib.suppress(Exception):
            refusal.close()
    _keep(refusal, byte_stream(b"".join(came)))


async def _aread(refusal: Any, byte_stream: type[Any]) -> None:
    """The same as :func:`_read`."""
    if hasattr(refusal, "_content"):
        return
    came: list[bytes] = []
    try:
        async for part in refusal.aiter_raw():
            came.append(part)  # noqa: PERF401 - what came is kept
    except Exception:
        with contextlib.suppress(Exception):
            await refusal.aclose()
    _keep(refusal, byte_stream(b"".join(came)))


def _keep(refusal: Any, body: Any) -> None:
    """Have *refusal* hold what came of its *body*, which the library reads once more."""
    refusal.stream = body
    refusal.is_closed = refusal.is_stream_consumed = False
    try:
        refusal.read()
    except Exception:
        refusal._content = b""


def _add_cookies(request: Any, refusal: Any) -> None:
    """Have *request* send the cookies that *refusal* set, in place of older ones of the same names."""
    cookies = refusal.cookies
    if not cookies:
        return
    before = request.headers.pop("Cookie", "")
    cookies.set_cookie_header(request)
    after = request.headers.get("Cookie", "")
    names = {pair.partition("=")[0].strip() for pair in after.split(";")}
    kept = [pair.strip() for pair in before.split(";") if pair.partition("=")[0].strip() not in names]
    if together := "; ".join([*filter(None, kept), *filter(None, [after])]):
        request.headers["Cookie"] = together


def _position(stream: Any) -> int | None:
    """Where a request's body stands before it is sent; nothing is read ahead, and nothing buffered."""
    # An async file has coroutines for tell and seek: it is not sent again.
    body: Any = getattr(stream, "_stream", None) if hasattr(stream, "__iter__") else None
    if not (hasattr(body, "seek") and hasattr(body, "tell")):
        return None
    try:
        position: int = body.tell()
    except (OSError, ValueError):  # a pipe
        return None
    return position


def _rewind(stream: Any, position: int | None) -> bool:
    """Set *stream* back to where it stood; whether it can be sent again: a consumed generator cannot."""
    fields = getattr(stream, "fields", None)
    if fields is not None:  # multipart, which sets each file back to its beginning itself
        return all(_seekable(getattr(field, "file", b"")) for field in fields)
    body = getattr(stream, "_stream", None)
    if isinstance(body, (bytes, list, tuple)):
        return True
    if position is None:
        return False
    try:
        body.seek(position)  # type: ignore[union-attr]  # it has a position
    except (OSError, ValueError):
        return False
    return True


def _seekable(file: Any) -> bool:
    try:
        return isinstance(file, (bytes, str)) or (hasattr(file, "seekable") and bool(file.seekable()))
    except ValueError:  # it was closed
        return False
