"""How a token request travels: by requests, httpx or httpx2; no library is imported before one is needed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from ._errors import AuthError, ConfigurationError, TokenTransportError

if TYPE_CHECKING:
    from ._message import TokenRequest, TokenResponse

__all__ = ["Transport", "default_transport", "httpx_transport", "requests_transport"]

#: Sends one token request within so many seconds, and follows no redirect.
#:
#: :raises TokenTransportError: there was no answer.
Transport = Callable[["TokenRequest", float], "TokenResponse"]

#: The share of the time that it may take to connect: each address of a name that has several gets as much.
_CONNECT_SHARE = 1 / 3
#: What is small on the wire may unpack to anything.
_NOT_PACKED = {"Accept-Encoding": "identity"}
#: Seconds that a library may be late by to notice that its time is over.
_GRACE = 0.25
#: Characters of a library's error that are told: it may quote what the server sent.
_LONGEST_REASON = 300


def requests_transport(session: Any = None) -> Transport:
    """Send by *session*, a ``requests.Session``; ``None``: by a new one for each token request."""

    def send(request: TokenRequest, timeout: float) -> TokenResponse:
        import requests  # noqa: PLC0415 - a heavy library, which need not be the one that is used

        watch, redirect = _Watch(timeout), _Redirect()
        used = requests.Session() if session is None else session
        if session is None:
            for scheme in ("https://", "http://"):
                used.mount(scheme, _watched_adapter()(watch))
        try:
            with watch:
                try:
                    response = used.request(
                        request.method,
                        request.url,
                        headers={**_NOT_PACKED, **request.headers},
                        data=request.body.decode("ascii"),  # text is what mocks and recorders can read
                        # Ours, since without one requests takes the session's (this very auth perhaps) or .netrc's.
                        auth=_unchanged,
                        timeout=(timeout * _CONNECT_SHARE, timeout),
                        allow_redirects=False,
                        stream=True,
                        # A request's hooks stand in for the session's.
                        hooks={"response": [*used.hooks["response"], redirect.hide]},
                    )
                except requests.HTTPError as error:  # a hook of the user's session that raises for a bad status
                    if error.response is None:
                        raise
                    response = error.response
                redirect.show(response)
                try:
                    watch.add(getattr(getattr(response.raw, "_connection", None), "sock", None))
                    chunks, packed = _as_they_come(response)
                    return _answer(response.status_code, response.headers, chunks, watch, packed=packed)
                finally:
                    if response.raw is not None:  # as an adapter of the user's own may leave it
                        response.close()
        except AuthError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's session has hooks and adapters, which may raise anything
            failure = _failure(request, watch.reason(error), requests.RequestException)
        finally:
            if session is None:
                used.close()
        raise failure

    return send


def httpx_transport(module: str, client: Any = None) -> Transport:
    """Send by *client*, a ``Client`` of *module* (``"httpx"`` or ``"httpx2"``); ``None``: by a new one each time."""

    def send(request: TokenRequest, timeout: float) -> TokenResponse:
        httpx = importlib.import_module(module)
        watch = _Watch(timeout)
        try:
            # Where there is no TLS, no certificates are loaded for it.
            verify = request.url.startswith("https") and _ssl_context(module)
            used = httpx.Client(verify=verify) if client is None else client
            try:
                with (
                    watch,
                    used.stream(
                        request.method,
                        request.url,
                        headers={**_NOT_PACKED, **request.headers},
                        content=request.body,
                        # Ours, since without one httpx takes the client's: this very auth perhaps.
                        auth=httpx.Auth(),
                        timeout=httpx.Timeout(timeout, connect=timeout * _CONNECT_SHARE),
                        follow_redirects=False,
                        extensions={"trace": watch.trace},
                    ) as response,
                ):
                    watch.trace("", {"return_value": response.extensions.get("network_stream")})
                    # A hook of the user's client may have read it; a mock has from the beginning.
                    is_read = hasattr(response, "_content")
                    chunks = [response.content] if is_read else response.iter_raw()
                    return _answer(response.status_code, response.headers, chunks, watch, packed=not is_read)
            except httpx.HTTPStatusError as error:  # a hook of the user's client that raises for a bad status
                response = error.response
            finally:
                if client is None:
                    used.close()
            # It is closed by now: what the hook didn't read is gone.
            return _answer(response.status_code, response.headers, [getattr(response, "_content", b"")], watch)
        except AuthError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's client has hooks and a transport, which may raise anything
            failure = _failure(request, watch.reason(error), httpx.TransportError)
        raise failure

    return send


def default_transport() -> Transport:
    """The transport of the first installed of requests, httpx2 and httpx.

    :raises ConfigurationError: none of them is installed.
    """
    import importlib.util  # noqa: PLC0415 - an adapter does without

    for module in ("requests", "httpx2", "httpx"):
        if importlib.util.find_spec(module):
            importlib.import_module(module)  # now, as whoever calls this holds off forks
            return requests_transport() if module == "requests" else httpx_transport(module)
    raise ConfigurationError(
        "token requests need requests, httpx2 or httpx; install one, such as by pip install 'auth-plugins[requests]'"
    )


class _Redirect:
    """Keeps requests from preparing for a redirect that nobody follows: it would read the whole answer for it."""

    def __init__(self) -> None:
        self._location: str | None = None

    def hide(self, response: Any, **_: Any) -> None:
        """Take the redirect's target out of *response*: a hook."""
        self._location = response.headers.pop("location", None)

    def show(self, response: Any) -> None:
        """Put it back."""
        if self._location is not None:
            response.headers["location"] = self._location


class _Watch:
    """Bounds a whole token request: the libraries bound each read, and an answer that drips takes many of them.

    At its end the connections are shut down, which ends the read that waits. One that a user's own session had before
    is known once there is an answer: until then it is bounded by read.
    """

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._done = threading.Event()
        self._sockets: list[Any] = []

    def __enter__(self) -> Self:
        with contextlib.suppress(RuntimeError):  # no thread is to be had: then each read is bounded, as ever
            threading.Thread(target=self._wait, name="auth-plugins deadline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def add(self, connection: Any) -> None:
        """Watch a connection, by its socket."""
        self._sockets.append(connection)

    def trace(self, _: str, info: dict[str, Any]) -> None:
        """Watch what httpcore connects: its extension "trace"."""
        stream: Any = info.get("return_value")
        if hasattr(stream, "get_extra_info"):
            tls = stream.get_extra_info("ssl_object")
            # With HTTP/2, other requests of a user's client share the connection.
            if tls is None or tls.selected_alpn_protocol() != "h2":
                self.add(stream.get_extra_info("socket"))

    def check(self) -> None:
        """End a request whose time is over.

        :raises TimeoutError: it is.
        """
        if time.monotonic() > self._deadline:
            raise TimeoutError("the answer did not end in time")

    def reason(self, error: BaseException) -> BaseException:
        """What *error* means: one of a connection that was shut down is no matter of the network."""
        try:
            self.check()
        except TimeoutError as timeout:
            # Where the library has an error for it, that one.
            return error if "timeout" in type(error).__name__.lower() else timeout
        return error

    def _wait(self) -> None:
        # A little later than the library's own timeout, whose error says more.
        pause = max(self._deadline - time.monotonic(), 0.0) + _GRACE
        # Again and again, as it may be connecting at that moment.
        while not self._done.wait(pause):
            pause = 0.05
            for each in list(self._sockets):
                # By the plain socket's method: with that of TLS, a thread that sends at this moment goes on in clear.
                with contextlib.suppress(OSError, TypeError):  # closed by now; or none, as in mocks
                    socket.socket.shutdown(each, socket.SHUT_RDWR)


@functools.cache
def _watched_adapter() -> Any:
    """An adapter of requests that tells a :class:`_Watch` of its connections."""
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - a heavy library

    class WatchedAdapter(HTTPAdapter):
        def __init__(self, watch: _Watch) -> None:
            self._watch = watch
            super().__init__()

        def get_connection_with_tls_context(self, *arguments: Any, **keywords: Any) -> Any:
            pool: Any = super().get_connection_with_tls_context(*arguments, **keywords)
            # Of this pool alone: what records or mocks connections has replaced its class perhaps.
            make = pool._new_conn  # noqa: SLF001 - urllib3 has no other place for it

            def make_watched() -> Any:
                connection = make()
                connect = connection.connect

                def connect_watched() -> None:
                    connect()
                    # Now, as it is the answer's alone once the server says that it will close it.
                    self._watch.add(connection.sock)
                    self._watch.check()

                # Past what vcrpy has there: it sets each attribute of its stub on the real connection as well.
                object.__setattr__(connection, "connect", connect_watched)
                return connection

            pool._new_conn = make_watched  # noqa: SLF001 - likewise
            return pool

    return WatchedAdapter


@functools.cache
def _ssl_context(module: str) -> Any:
    """One for all clients of our own: to load the CA certificates takes longer than many a token request."""
    return importlib.import_module(module).create_ssl_context()


def _unchanged(request: Any) -> Any:
    return request


def _as_they_come(response: Any) -> tuple[Iterable[bytes], bool]:
    """The bytes of a response of requests, and whether they are packed still.

    As they come: ``iter_content`` waits for as many as it was told.
    """
    from urllib3 import HTTPResponse  # noqa: PLC0415 - comes with requests

    raw = response.raw
    if response._content is not False:  # noqa: SLF001 - a hook has read it, or an adapter of the user's own put it there
        return [response.content], False
    if not isinstance(raw, HTTPResponse):  # such an adapter again
        return response.iter_content(1), False
    if not hasattr(raw, "read1"):  # urllib3 1.26
        return raw.stream(1, decode_content=False), True
    return iter(lambda: raw.read1(8192, decode_content=False), b""), True


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Take off one layer of gzip or deflate, and of what comes of it no more at once than an answer may have."""
    from ._message import LONGEST_BODY  # noqa: PLC0415 - loaded by the first token request

    unpacker, chunk = zlib.decompressobj(wbits=47), b""  # either of them
    for number, chunk in enumerate(chunks):
        rest = chunk
        while rest:
            try:
                yield unpacker.decompress(rest, LONGEST_BODY)
            except zlib.error:
                if number:
                    raise
                # Deflate as some servers have it, without the frame that HTTP wants (RFC 9110 §8.4.1.2).
                unpacker = zlib.decompressobj(wbits=-15)
                yield unpacker.decompress(rest, LONGEST_BODY)
            rest = unpacker.unconsumed_tail
            if unpacker.eof:
                rest = unpacker.unused_data
                if not rest.startswith(b"\x1f\x8b"):  # whatever comes after that, and for however long
                    return
                unpacker = zlib.decompressobj(wbits=47)
    if chunk:
        raise zlib.error("it was cut off")


def _answer(
    status: int, headers: Any, chunks: Iterable[bytes], watch: _Watch, *, packed: bool = False
) -> TokenResponse:
    """Take in an answer: no more of it than is needed, and no longer than *watch* allows."""
    from ._message import LONGEST_BODY, TokenResponse  # noqa: PLC0415 - likewise

    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    coding = lowered.get("content-encoding", "").strip().lower()
    if packed and coding in ("gzip", "x-gzip", "deflate"):
        chunks, packed = _unpacked(chunks), False
    body = bytearray()
    try:
        for chunk in chunks:
            body += chunk
            if len(body) > LONGEST_BODY:
                break
            watch.check()
    except zlib.error:
        packed = True
    if not packed or coding in ("", "identity"):  # else whoever reads it is told how it is packed
        lowered.pop("content-encoding", None)
    # A connection that was closed at the deadline looks like one that ended.
    watch.check()
    return TokenResponse(status=status, headers=lowered, body=bytes(body[: LONGEST_BODY + 1]), received_at=time.time())


def _failure(request: TokenRequest, error: BaseException, base: type[Exception]) -> TokenTransportError:
    """Our error for a library's, which is made anew: its request, its URL and its own causes hold secrets.

    It must be raised *after* the ``except`` block, or the error itself would come along as ``__context__``.
    """
    from ._message import quoted  # noqa: PLC0415 - likewise

    query = request.url.partition("?")[2]
    text = str(error).replace(request.url, request.endpoint)
    text = quoted(request, text.replace(query, "…") if query else text, _LONGEST_REASON)
    try:
        cause = type(error)(text) if isinstance(error, base) else base(text)
    except Exception:  # noqa: BLE001 - a user's class may want, and refuse, anything
        cause = base(text)
    failure = TokenTransportError(
        f"{request.endpoint} could not be reached ({type(error).__name__}: {text}); "
        "check token_url, the network and its proxies, or try again later"
    )
    failure.__cause__ = cause
    return failure
