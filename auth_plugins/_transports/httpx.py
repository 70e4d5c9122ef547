"""A client of httpx or httpx2 for one token request: its transports, proxies, hooks; no credentials, no repeats."""

from __future__ import annotations

import functools
import importlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from auth_plugins._base.hosts import DEFAULT_PORTS, normal_host

from .deadline import Deadline, EndedError, Sending
from .lending import lent

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest

__all__ = ["TimeLeft", "Trace", "exact", "lent_client"]

#: Seconds by which a read of HTTP/2 may outlast the deadline: one that times out ends all requests of its connection.
_GRACE = 1.0
#: Steps of httpcore before which the deadline is looked at: each may begin after it.
_STEPS = ("connect_tcp", "retry", "send_request_headers")


def lent_client(module: str, client: Any, *, direct: bool) -> AbstractContextManager[Any]:
    """Lend *client*, without proxies if *direct*."""
    httpx = importlib.import_module(module)
    changes = {"_cookies": httpx.Cookies(), "_params": httpx.QueryParams()}
    if direct:
        mounts = getattr(client, "_mounts", {})
        changes["_mounts"] = {pattern: each for pattern, each in mounts.items() if not _is_proxy(each)}
    return lent(client, changes)


def _is_proxy(transport: Any) -> bool:
    pool = getattr(transport, "_pool", None)
    return (getattr(pool, "_proxy_url", None) or getattr(pool, "_proxy", None)) is not None


def exact(module: str, request: TokenRequest) -> Any:
    """The ``auth=`` to which httpx hands the request that it built: what the client added goes again."""
    return _exact_auth(module)(request)


@functools.cache
def _exact_auth(module: str) -> Any:
    httpx = importlib.import_module(module)

    class ExactAuth(httpx.Auth):  # type: ignore[name-defined,misc]
        def __init__(self, request: TokenRequest) -> None:
            self._url = request.url
            self._own = {name.lower() for name in request.headers}

        def auth_flow(self, request: Any) -> Any:
            request.url = httpx.URL(self._url)
            for name in ("authorization", "cookie"):
                if name not in self._own:
                    request.headers.pop(name, None)
            yield request

    return ExactAuth


class TimeLeft(dict[str, float]):
    """The extension ``timeout``: httpcore looks there before it waits, with HTTP/2 before each read.

    :param connect: seconds for each address that may be connected to.
    """

    def __init__(self, deadline: Deadline, connect: float) -> None:
        seconds = deadline.seconds
        super().__init__(connect=connect, read=seconds, write=seconds, pool=seconds)
        self._deadline = deadline
        #: Seconds by which each wait may outlast the deadline.
        self.grace = 0.0

    def __getitem__(self, name: str) -> float:
        left = self._deadline.left()
        # Before it reads: what is raised while it reads ends the other requests of a connection of HTTP/2.
        if left <= 0:
            raise EndedError
        return min(super().__getitem__(name), left + self.grace)

    def get(self, name: str, default: Any = None) -> Any:
        """Seconds that are left, at most those for *name*."""
        return self[name] if name in self else default  # noqa: SIM401 - this is that method


class Trace:
    """The extension ``trace``: what httpcore does, step by step."""

    def __init__(self, url: str, deadline: Deadline, sending: Sending, left: TimeLeft) -> None:
        parts = urlsplit(url)
        self._origin = normal_host(parts.hostname or ""), parts.port or DEFAULT_PORTS.get(parts.scheme)
        self._deadline, self._sending, self._left = deadline, sending, left
        #: Whether it is the proxy that is asked, for a tunnel.
        self._is_tunnel = False

    def __call__(self, name: str, info: dict[str, Any]) -> None:
        protocol, step, event = f"..{name}".rsplit(".", 2)
        if event == "started":
            self._started(step, info)
        elif step == "receive_response_headers":
            self._answered(info)
        elif event == "complete":
            self.watch(info.get("return_value"))
        if protocol.endswith("http2"):
            # Other requests of a user's client share the connection; each read looks at the deadline.
            self._deadline.release()
            self._left.grace = _GRACE

    def watch(self, stream: Any) -> None:
        """Bound what httpcore reads from *stream*, if it is one of a connection that no other request shares."""
        if hasattr(stream, "get_extra_info"):
            tls = stream.get_extra_info("ssl_object")
            if tls is None or tls.selected_alpn_protocol() != "h2":
                self._deadline.watch(stream.get_extra_info("socket"))

    def _started(self, step: str, info: dict[str, Any]) -> None:
        if step in _STEPS and self._deadline.left() < 0:
            raise EndedError
        if step == "connect_tcp":
            self._sending.check()
            peer = normal_host(str(info.get("host"))), info.get("port")
            self._deadline.proxy = None if peer == self._origin else peer  # type: ignore[assignment]
        elif step == "send_request_headers":
            self._is_tunnel = getattr(info.get("request"), "method", b"") == b"CONNECT"
            if not self._is_tunnel:
                self._sending.begin(self)

    def _answered(self, info: dict[str, Any]) -> None:
        if self._is_tunnel:
            return
        error: BaseException | None = info.get("exception")
        if error is None:
            parts = info["return_value"]
            # HTTP/1.1: version, status, reason, headers; HTTP/2: status, headers.
            self._sending.answer = next(part for part in parts if isinstance(part, int)), parts[-1]
        elif type(error).__name__ == "ConnectionNotAvailable":  # HTTP/2: the server says that it has not read this one
            self._sending.forget()
        else:
            self._sending.failure = error
