"""Sends token requests by httpx or httpx2: by a client's transports, proxies and hooks, without its credentials."""

from __future__ import annotations

import functools
import importlib
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from auth_plugins._base.hosts import DEFAULT_PORTS, normal_host
from auth_plugins._base.tls_files import NO_FILES

from .attempt import Attempt, EndedError, send_once
from .base import Transport
from .bodies import read_response
from .deadline import Deadline
from .forks import renew_in_children
from .lending import lent

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest, TokenResponse

#: Seconds by which a read of HTTP/2 may outlast the deadline: one that times out ends all requests of its connection.
_HTTP2_GRACE = 1.0
#: Steps of httpcore that do not begin after the deadline.
_STEPS = ("connect_tcp", "retry", "send_request_headers")


def httpx_transport(module: str, client: Any = None) -> Transport:
    """Send by *client*, a ``Client`` of *module* (``"httpx"`` or ``"httpx2"``); ``None``: by a new one each time."""
    httpx = importlib.import_module(module)
    if client is not None:
        renew_in_children(client)

    def exchange(attempt: Attempt) -> TokenResponse:
        if client is not None:
            return _exchange(httpx, client, attempt)
        verify = _trust(httpx, attempt.request)
        with httpx.Client(verify=verify, trust_env=not attempt.is_direct) as own:
            return _exchange(httpx, own, attempt)

    return lambda request, timeout: send_once(request, timeout, httpx.TransportError, exchange)


def _trust(httpx: Any, request: TokenRequest) -> Any:
    if request.tls != NO_FILES:
        return request.tls.context(httpx.create_ssl_context)
    if not request.url.startswith("https"):  # no certificates are loaded
        return False
    return _ssl_context(httpx.__name__, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _ssl_context(module: str, *_: str | None) -> Any:
    """Share one among all own clients: to load the CA certificates takes longer than many a token request."""
    return importlib.import_module(module).create_ssl_context()


def _exchange(httpx: Any, client: Any, attempt: Attempt) -> TokenResponse:
    request, deadline = attempt.request, attempt.deadline
    left = _TimeLeft(deadline, attempt.connect_timeout)
    trace = _Trace(attempt, left)
    changes = {"_cookies": httpx.Cookies(), "_params": httpx.QueryParams()}
    if attempt.is_direct:
        mounts = getattr(client, "_mounts", {})
        changes["_mounts"] = {pattern: each for pattern, each in mounts.items() if not _is_proxy(each)}
    try:
        with (
            lent(client, changes) as lent_client,
            lent_client.stream(
                request.method,
                request.url,
                headers=attempt.headers,
                content=request.body,
                # Without an auth, httpx takes the client's, which may be the caller.
                auth=functools.partial(_restore, httpx, attempt),
                follow_redirects=False,
                extensions={"trace": trace, "timeout": left},
            ) as response,
        ):
            trace.watch(response.extensions.get("network_stream"))
            # A user's hook may have read it; in a mock it is read from the beginning.
            is_read = hasattr(response, "_content")
            chunks = [response.content] if is_read else response.iter_raw()
            return read_response(response.status_code, response.headers, chunks, deadline, packed=not is_read)
    except httpx.HTTPStatusError as error:  # by a hook that raises for a bad status
        response = error.response
    # The response is closed: what the hook has not read is lost.
    return read_response(response.status_code, response.headers, [getattr(response, "_content", b"")], deadline)


def _is_proxy(transport: Any) -> bool:
    pool = getattr(transport, "_pool", None)
    return (getattr(pool, "_proxy_url", None) or getattr(pool, "_proxy", None)) is not None


def _restore(httpx: Any, attempt: Attempt, request: Any) -> Any:
    """Remove what the client added for the API; httpx calls this when everything else is built."""
    request.url = httpx.URL(attempt.request.url)
    for name in attempt.foreign_credentials:
        request.headers.pop(name, None)
    return request


class _TimeLeft(dict[str, float]):
    """The extension ``timeout``: httpcore asks it for seconds before it waits, with HTTP/2 before each read."""

    def __init__(self, deadline: Deadline, connect: float) -> None:
        super().__init__(connect=connect, read=deadline.seconds, write=deadline.seconds, pool=deadline.seconds)
        self._deadline = deadline
        #: Seconds by which a wait may outlast the deadline.
        self.grace = 0.0

    def __getitem__(self, name: str) -> float:
        left = self._deadline.left()
        if left <= 0:
            raise EndedError  # an error during a read would end the other requests of an HTTP/2 connection
        return min(super().__getitem__(name), left + self.grace)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 - this is that method


class _Trace:
    """The extension ``trace``: httpcore calls it before and after each step."""

    def __init__(self, attempt: Attempt, left: _TimeLeft) -> None:
        parts = urlsplit(attempt.request.url)
        self._origin = normal_host(parts.hostname or ""), parts.port or DEFAULT_PORTS.get(parts.scheme)
        self._attempt, self._left = attempt, left
        #: Whether the request of this moment asks a proxy for a tunnel.
        self._is_tunnel = False
        self._is_http2 = False

    def __call__(self, name: str, info: dict[str, Any]) -> None:
        protocol, step, event = f"..{name}".rsplit(".", 2)
        if event == "started":
            self._started(step, info)
        elif step == "receive_response_headers":
            self._answered(info)
        elif event == "complete":
            self.watch(info.get("return_value"))
        if protocol.endswith("http2"):
            # Other requests of a user's client share the connection; each read asks for the time left.
            self._is_http2 = True
            self._attempt.deadline.release()
            self._left.grace = _HTTP2_GRACE

    def watch(self, stream: Any) -> None:
        """Bound what httpcore reads from *stream*, if it is one, and no other request shares its connection."""
        if hasattr(stream, "get_extra_info") and not self._is_http2:
            self._attempt.deadline.watch(stream.get_extra_info("socket"))

    def _started(self, step: str, info: dict[str, Any]) -> None:
        attempt = self._attempt
        if step in _STEPS and attempt.deadline.left() < 0:
            raise EndedError
        if step == "connect_tcp":
            if attempt.answer is not None or attempt.error is not None:  # for a second sending
                raise EndedError
            peer = normal_host(str(info.get("host"))), info.get("port")
            attempt.proxy = None if peer == self._origin else peer  # type: ignore[assignment]
        elif step == "send_request_headers":
            self._is_tunnel = getattr(info.get("request"), "method", b"") == b"CONNECT"
            if not self._is_tunnel:
                attempt.begin(self)

    def _answered(self, info: dict[str, Any]) -> None:
        error: BaseException | None = info.get("exception")
        if self._is_tunnel:
            return
        if error is None:
            # HTTP/1.1: version, status, reason, headers; HTTP/2: status, headers.
            parts = info["return_value"]
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in parts[-1]}
            self._attempt.answer = next(part for part in parts if isinstance(part, int)), headers
        elif type(error).__name__ == "ConnectionNotAvailable":  # HTTP/2: the server did not process the request
            self._attempt.allow_again()
        else:
            self._attempt.error = error
