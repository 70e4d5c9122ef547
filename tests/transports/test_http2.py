"""Token requests by HTTP/2, over a client that other requests share: against a server below HTTP."""

from __future__ import annotations

import contextlib
import importlib
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import pytest

from auth_plugins import ClientCredentials, TokenSource, TokenTransportError
from tests.support.endpoints import new_session, token_source

LIBRARIES = ["httpx", "httpx2"]
#: Plays the answer to one request: the server, the connection, the stream.
Play = Callable[["Http2", "Connection", int], None]


class Connection:
    """One connection, whose frames any thread may send."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.lock = threading.RLock()
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.state = h2.connection.H2Connection(config)

    def send(self, make: Callable[[h2.connection.H2Connection], Any]) -> None:
        with self.lock:
            make(self.state)
            self._socket.sendall(self.state.data_to_send())

    def events(self) -> Any:
        self.send(lambda state: state.initiate_connection())
        while data := self._socket.recv(65536):
            with self.lock:
                events = self.state.receive_data(data)
                self._socket.sendall(self.state.data_to_send())
            yield from events


class Http2:
    """A server with prior knowledge; *plays* has the token requests, one each, and ``/api`` answers in two parts."""

    def __init__(self, *plays: Play) -> None:
        self._plays = [*plays]
        #: How many token requests came, and connections.
        self.token_requests = self.connections = 0
        #: Is set when the test is over; and when the second part of an API's answer shall come.
        self.over, self.go_on = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.go_on.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=self._play, args=[target, *arguments]))
        self._threads[-1].start()

    def _play(self, target: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            target(*arguments)

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connected)

    def _serve(self, connected: socket.socket) -> None:
        with connected:
            connection = Connection(connected)
            paths: dict[int, bytes] = {}
            for event in connection.events():
                if isinstance(event, h2.events.RequestReceived):
                    paths[event.stream_id] = dict(event.headers)[b":path"]
                elif isinstance(event, h2.events.StreamEnded):
                    if paths[event.stream_id] == b"/api":
                        self._start(self._api, connection, event.stream_id)
                    else:
                        self.token_requests += 1
                        self._start(self._plays.pop(0), self, connection, event.stream_id)

    def _api(self, connection: Connection, stream: int) -> None:
        connection.send(lambda state: state.send_headers(stream, [(b":status", b"200")]))
        connection.send(lambda state: state.send_data(stream, b"one"))
        self.go_on.wait(20)
        connection.send(lambda state: state.send_data(stream, b"two", end_stream=True))


def pinging(server: Http2, connection: Connection, _: int) -> None:
    while not server.over.wait(0.03):
        connection.send(lambda state: state.ping(b"12345678"))


def dripping(server: Http2, connection: Connection, stream: int) -> None:
    connection.send(lambda state: state.send_headers(stream, [(b":status", b"200")]))
    while not server.over.wait(0.03):
        connection.send(lambda state: state.send_data(stream, b" "))


def early_hints(server: Http2, connection: Connection, stream: int) -> None:
    connection.send(lambda state: state.send_headers(stream, [(b":status", b"103"), (b"link", b"</style.css>")]))
    good(server, connection, stream)


def good(_: Http2, connection: Connection, stream: int) -> None:
    connection.send(lambda state: state.send_headers(stream, [(b":status", b"200")]))
    connection.send(lambda state: state.send_data(stream, b'{"access_token": "tok-1"}', end_stream=True))


def going_away(_: Http2, connection: Connection, __: int) -> None:
    """Says that this request was not processed."""
    connection.send(lambda state: state.close_connection(last_stream_id=1))


def source(library: str, client: Any, server: Http2, timeout: float = 5) -> TokenSource:
    return token_source(library, ClientCredentials(f"{server.url}/token", "id", "s3cr3t"), client, timeout=timeout)


def client_of(library: str) -> Any:
    return new_session(library, http1=False, http2=True, trust_env=False)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("play", [pinging, dripping])
def test_the_timeout_holds_with_frames_without_end(library: str, play: Play) -> None:
    """The timeout holds if the endpoint sends frames and no answer; other requests of the connection go on."""
    with Http2(play) as server, client_of(library) as client:
        with client.stream("GET", f"{server.url}/api") as other:
            parts = other.iter_raw()
            assert next(parts) == b"one"
            with pytest.raises(TokenTransportError, match=r"timed out after 0\.5 s") as caught:
                source(library, client, server, timeout=0.5).token()
            server.go_on.set()
            assert next(parts) == b"two"
        assert isinstance(caught.value.__cause__, importlib.import_module(library).TransportError)
        assert (server.token_requests, server.connections) == (1, 1)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("play", [good, early_hints])
def test_a_token_request_by_http2(library: str, play: Play) -> None:
    """A token request uses the connection of API requests, and gets a token, after hints as well."""
    with Http2(play, good) as server, client_of(library) as client:
        server.go_on.set()
        assert client.get(f"{server.url}/api").text == "onetwo"
        assert source(library, client, server).token().access_token == "tok-1"
        assert source(library, client, server).token().access_token == "tok-1"
        assert server.connections == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_request_that_was_not_processed_is_sent_by_another_connection(library: str) -> None:
    """A token request that the server did not process, as it closes the connection, is sent by a new one."""
    with Http2(going_away, good) as server, client_of(library) as client:
        server.go_on.set()
        assert client.get(f"{server.url}/api").text == "onetwo"
        assert source(library, client, server).token().access_token == "tok-1"
        assert (server.token_requests, server.connections) == (2, 2)
