"""The auth flow that httpx and httpx2 share; it imports neither.

Sync and async are the same lines: twice, as that is cheaper than a third abstraction, and each request runs them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

from ._adapter import Adapter, header_value
from ._errors import AuthError, ConfigurationError, as_one_of
from ._token import Token

__all__ = ["BoundHeaders", "Flows"]

_UNAUTHORIZED = 401


if TYPE_CHECKING:

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


class BoundHeaders:
    """Mixed into a library's ``Headers``: one of them is kept from other origins.

    On a redirect httpx copies each header to whatever host it leads to; only ``Authorization`` is taken out there, and
    an auth flow sees no more of it than the last answer. So our header's name passes for ``Authorization`` (or, where
    httpx leaves that in place too, for ``Host``, which it replaces) in the copy, and for nothing but itself in here.
    """

    _list: list[tuple[bytes, bytes, bytes]]

    def __init__(self, headers: Any, name: str, value: str, alias: str) -> None:
        raw_name = name.encode("ascii")
        self._alias, self._value = _Alias(raw_name.lower()), value
        super().__init__(headers)  # type: ignore[call-arg]  # of the library's class
        self.pop(name, None)  # type: ignore[attr-defined]  # likewise
        # Last, as the first of two that pass for Host stays.
        self._list.append((raw_name, self._alias, value.encode("latin-1")))
        self._alias.other = alias.encode("ascii")

    def __repr__(self) -> str:
        return super().__repr__().replace(self._value, "[secure]")

    def __reduce__(self) -> tuple[Any, ...]:
        # As the library's own: a request that was pickled is sent no more.
        return type(self).__mro__[2], (self.raw,)  # type: ignore[attr-defined]  # of the library's class

    def __getitem__(self, key: str) -> str:
        with self._alias.being_itself():
            return super().__getitem__(key)  # type: ignore[misc,no-any-return]

    def __setitem__(self, key: str, value: str) -> None:
        with self._alias.being_itself():
            super().__setitem__(key, value)  # type: ignore[misc]

    def __delitem__(self, key: str) -> None:
        with self._alias.being_itself():
            super().__delitem__(key)  # type: ignore[misc]

    def __contains__(self, key: object) -> bool:
        with self._alias.being_itself():
            return super().__contains__(key)  # type: ignore[misc,no-any-return]

    def get_list(self, key: str, split_commas: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - httpx's
        """All values of one header."""
        with self._alias.being_itself():
            return super().get_list(key, split_commas)  # type: ignore[misc,no-any-return]


class _Alias(bytes):
    """A header's name that equals another one as well."""

    other: bytes | None = None

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) or other == self.other

    __hash__ = bytes.__hash__

    def lower(self) -> _Alias:
        return self

    @contextlib.contextmanager
    def being_itself(self) -> Iterator[None]:
        """Equal to nothing else meanwhile."""
        other, self.other = self.other, None
        try:
            yield
        finally:
            self.other = other

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        return bytes, (bytes(self),)  # a request that was pickled is sent no more


class Flows(Adapter):
    """Sign a request; answer one refusal with one fresh token."""

    _session_argument = "client"
    #: Our errors as the library's own.
    _own_errors: ClassVar[tuple[type[AuthError], ...]]
    #: The library's headers with :class:`BoundHeaders` mixed in.
    _bound_headers: ClassVar[type[Any]]
    #: The library's class of a body that is bytes.
    _byte_stream: ClassVar[type[Any]]

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
        slot, (token, since, until, value) = self._slot, self._ready
        # What was found out for the last request holds for most others: nothing but this is done for them.
        if token is slot.token and request.url.scheme == "https" and since <= time.time() < until:
            request.headers[self.header] = value
        else:
            if not self._takes(request):
                yield request
                return
            try:
                token = self.source.token()
            except AuthError as error:
                raise self._as_own(error, request) from error.__cause__
            self._sign(request, token)
        # Bytes have no position, and most requests no other body.
        position = None if type(request.stream) is self._byte_stream else _position(request.stream)
        response = yield request
        if response.status_code != _UNAUTHORIZED:
            if slot.probation_until:
                self.source.end_probation(token)
            return
        refused = self._refused_request(response, token)
        # First of all it is given up: also where the request cannot be sent again, the next one needs another token.
        if refused is None or not self.source.give_up(token) or not _rewind(refused.stream, position):
            return
        try:
            fresh = self.source.token()
        except AuthError as error:
            raise self._as_own(error, refused) from error.__cause__
        if fresh == token:  # a constant key, read again; a probation would put off the next reading
            self.source.end_probation(fresh)
            return
        self._sign(refused, fresh)
        response = yield refused
        if response.status_code != _UNAUTHORIZED:
            self.source.end_probation(fresh)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sign *request*; ``AsyncClient`` calls this."""
        slot, (token, since, until, value) = self._slot, self._ready
        # What was found out for the last request holds for most others: nothing but this is done for them.
        if token is slot.token and request.url.scheme == "https" and since <= time.time() < until:
            request.headers[self.header] = value
        else:
            if not self._takes(request):
                yield request
                return
            try:
                token = await self.source.atoken()
            except AuthError as error:
                raise self._as_own(error, request) from error.__cause__
            self._sign(request, token)
        # Bytes have no position, and most requests no other body.
        position = None if type(request.stream) is self._byte_stream else _position(request.stream)
        response = yield request
        if response.status_code != _UNAUTHORIZED:
            if slot.probation_until:
                self.source.end_probation(token)
            return
        refused = self._refused_request(response, token)
        # First of all it is given up: also where the request cannot be sent again, the next one needs another token.
        if refused is None or not self.source.give_up(token) or not _rewind(refused.stream, position):
            return
        try:
            fresh = await self.source.atoken()
        except AuthError as error:
            raise self._as_own(error, refused) from error.__cause__
        if fresh == token:  # a constant key, read again; a probation would put off the next reading
            self.source.end_probation(fresh)
            return
        self._sign(refused, fresh)
        response = yield refused
        if response.status_code != _UNAUTHORIZED:
            self.source.end_probation(fresh)

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

    def _refused_request(self, response: Response, token: Token) -> Any:
        """The request that an API refused *token* on; ``None``: another host did, to which it never went.

        After redirects that is the last of the requests, and the one to be sent again.
        """
        request = response.request
        return request if request.headers.get(self.header) == header_value(self._scheme, token) else None

    def _as_own(self, error: AuthError, request: Request) -> AuthError:
        return as_one_of(error, self._own_errors, _request=request)


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
