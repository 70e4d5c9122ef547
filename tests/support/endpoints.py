"""Token endpoints below HTTP, which never answer, answer slowly or reset; and sources that send requests to them."""

from __future__ import annotations

import importlib
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import requests

from auth_plugins import MemoryCache, TokenSource
from auth_plugins._transports.base import Transport
from auth_plugins._transports.httpx import httpx_transport
from auth_plugins._transports.requests import requests_transport

TRANSPORTS: dict[str, Callable[..., Transport]] = {
    "requests": requests_transport,
    "httpx": lambda client=None: httpx_transport("httpx", client),
    "httpx2": lambda client=None: httpx_transport("httpx2", client),
}
LIBRARIES = [*TRANSPORTS]
#: Has a connection on which a request has arrived.
Play = Callable[[socket.socket, threading.Event], None]


def token_source(library: str, grant: Any, session: Any = None, **arguments: Any) -> TokenSource:
    """A source with a cache of its own, which sends by *session*, a session or client of *library*."""
    adapter = importlib.import_module(f"auth_plugins.{library}")
    arguments = {"cache": MemoryCache(), "session" if library == "requests" else "client": session, **arguments}
    source: TokenSource = adapter.OAuth2Auth(grant, **arguments).source
    return source


def new_session(library: str, **arguments: Any) -> Any:
    """A session or client of *library*."""
    module = importlib.import_module(library)
    return module.Session() if library == "requests" else module.Client(**arguments)


class Wrapping(requests.adapters.BaseAdapter):
    """Sends by another adapter, as adapters that limit or record do."""

    def __init__(self, inner: Any = None) -> None:
        super().__init__()
        self.inner = inner or requests.adapters.HTTPAdapter()
        self.itself = self

    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        return self.inner.send(request, **options)

    def close(self) -> None:
        self.inner.close()


class Endpoint:
    """Listens on loopback.

    :param play: has each connection after a request has arrived.
    :param first: the answer to the first request of each connection, before *play* has the second.
    """

    def __init__(self, play: Play, first: bytes = b"") -> None:
        self._play, self._first = play, first
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/token"
        #: How many connections were made.
        self.connections = 0

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=[connection]))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                connection.recv(65536)
                if self._first:
                    connection.sendall(self._first)
                    connection.recv(65536)
                self._play(connection, self._over)
            except OSError:
                pass


def saying(*answers: bytes) -> Endpoint:
    """An endpoint that sends one answer on each connection, and closes it; the last answer on all further ones."""
    left = [*answers]
    return Endpoint(lambda connection, _: connection.sendall(left.pop(0) if len(left) > 1 else left[0]))


def silent(_: socket.socket, over: threading.Event) -> None:
    over.wait(20)


def dripping(begin: bytes, drop: bytes) -> Play:
    """Send *begin*, and then *drop* again and again, a byte at a time."""

    def play(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(begin)
        for _ in range(1000):
            for byte in drop:
                connection.sendall(bytes([byte]))
                if over.wait(0.02):
                    return

    return play


def resetting(connection: socket.socket, _: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


OK = b"HTTP/1.1 200 OK\r\n"
TOKEN = OK + b'Content-Length: 25\r\n\r\n{"access_token": "tok-1"}'
