"""The auth flow that httpx and httpx2 share; it imports neither.

Sync and async are the same six lines: twice, as that is cheaper than a third abstraction.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, ClassVar, Protocol, Self

from ._adapter import Adapter
from ._errors import AuthError, as_one_of
from ._token import Token

__all__ = ["BoundHeaders", "Flows"]

_UNAUTHORIZED = 401


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
        super().__init__(headers)  # type: ignore[call-arg]  # of the library's class
        self._alias = alias
        self.pop(name, None)  # type: ignore[attr-defined]  # likewise
        raw_name = name.encode("ascii")
        # Last, as the first of two that pass for Host stays.
        self._list.append((raw_name, _Alias(raw_name.lower(), alias), value.encode("latin-1")))

    def __getitem__(self, key: str) -> str:
        return self._plain(key)[key]  # type: ignore[no-any-return]

    def __contains__(self, key: object) -> bool:
        return key in self._plain(key)

    def get_list(self, key: str, split_commas: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - httpx's
        """All values of one header."""
        return self._plain(key).get_list(key, split_commas)  # type: ignore[no-any-return]

    def _plain(self, key: object) -> Any:
        """The library's own view, without our header where it would pass for *key*."""
        hidden = isinstance(key, str) and key.lower() == self._alias
        plain = super().copy()  # type: ignore[misc]  # of the library's class
        if hidden:
            plain._list = [entry for entry in self._list if not isinstance(entry[1], _Alias)]  # noqa: SLF001
        return plain


class _Alias(bytes):
    """A header's name that equals another one as well."""

    _alias: bytes

    def __new__(cls, name: bytes, alias: str) -> Self:
        self = super().__new__(cls, name)
        self._alias = alias.encode("ascii")
        return self

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) or other == self._alias

    __hash__ = bytes.__hash__

    def lower(self) -> _Alias:
        return self

    def __reduce__(self) -> tuple[type[bytes], tuple[bytes]]:
        return bytes, (bytes(self),)  # a request that was pickled is sent no more


class Flows(Adapter):
    """Sign a request; answer one refusal with one fresh token."""

    #: Our errors as the library's own.
    _own_errors: ClassVar[tuple[type[AuthError], ...]]
    #: The library's headers with :class:`BoundHeaders` mixed in.
    _bound_headers: ClassVar[type[Any]]

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign *request*; ``Client`` calls this."""
        if not self._takes(request):
            yield request
            return
        try:
            token = self.source.token()
        except AuthError as error:
            raise self._as_own(error, request) from error.__cause__
        self._sign(request, token)
        body = _Body(request.stream)
        response = yield request
        refused = self._refused_request(response, token)
        if refused is None or not self.source.replaceable(token) or not body.rewind(refused.stream):
            return
        try:
            fresh = self.source.token()
        except AuthError as error:
            raise self._as_own(error, refused) from error.__cause__
        if fresh == token:  # a constant key, read again
            self.source.end_probation()
            return
        self._sign(refused, fresh)
        response = yield refused
        if response.status_code != _UNAUTHORIZED:
            self.source.end_probation()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sign *request*; ``AsyncClient`` calls this."""
        if not self._takes(request):
            yield request
            return
        try:
            token = await self.source.atoken()
        except AuthError as error:
            raise self._as_own(error, request) from error.__cause__
        self._sign(request, token)
        body = _Body(request.stream)
        response = yield request
        refused = self._refused_request(response, token)
        if refused is None or not self.source.replaceable(token) or not body.rewind(refused.stream):
            return
        try:
            fresh = await self.source.atoken()
        except AuthError as error:
            raise self._as_own(error, refused) from error.__cause__
        if fresh == token:  # a constant key, read again
            self.source.end_probation()
            return
        self._sign(refused, fresh)
        response = yield refused
        if response.status_code != _UNAUTHORIZED:
            self.source.end_probation()

    def _takes(self, request: Request) -> bool:
        url = request.url
        if self._hosts is None and url.scheme == "https":
            return True
        try:
            return self._may_carry(url.scheme, url.raw_host.decode("ascii"), url.port)
        except AuthError as error:
            raise self._as_own(error, request) from error.__cause__

    def _sign(self, request: Request, token: Token) -> None:
        header, value = self._header, self._value(token)
        # httpx takes Authorization out for another origin itself, but not on the way from http to https.
        upgradable = request.url.scheme == "http" and request.url.port is None
        if header.lower() == "authorization" and not upgradable:
            request.headers[header] = value
        else:
            alias = "host" if upgradable else "authorization"
            request.headers = self._bound_headers(request.headers, header, value, alias)

    def _refused_request(self, response: Response, token: Token) -> Any:
        """The request that an API refused *token* on; ``None``: it didn't, or another host did, to which it never went.

        After redirects that is the last of the requests, and the one to be sent again.
        """
        if response.status_code != _UNAUTHORIZED:
            return None
        request = response.request
        return request if request.headers.get(self._header) == self._value(token) else None

    def _as_own(self, error: AuthError, request: Request) -> AuthError:
        return as_one_of(error, self._own_errors, _request=request)


class _Body:
    """Where a request's body stood before it was sent; nothing is read ahead, and nothing buffered."""

    __slots__ = ("_position",)

    def __init__(self, stream: Any) -> None:
        self._position: int | None = None
        body: Any = getattr(stream, "_stream", None)
        if hasattr(body, "seek") and hasattr(body, "tell"):
            try:
                self._position = body.tell()
            except (OSError, ValueError):  # a pipe
                return

    def rewind(self, stream: Any) -> bool:
        """Set *stream* back to where it stood; whether it can be sent again: a consumed generator cannot."""
        fields = getattr(stream, "fields", None)
        if fields is not None:  # multipart, which sets each file back to its beginning itself
            return all(_seekable(getattr(field, "file", b"")) for field in fields)
        body = getattr(stream, "_stream", None)
        if isinstance(body, (bytes, list, tuple)):
            return True
        if self._position is None:
            return False
        try:
            body.seek(self._position)  # type: ignore[union-attr]  # it has a position
        except (OSError, ValueError):
            return False
        return True


def _seekable(file: Any) -> bool:
    return isinstance(file, (bytes, str)) or (hasattr(file, "seekable") and bool(file.seekable()))
