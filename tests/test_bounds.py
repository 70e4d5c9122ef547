"""Every wait ends: token endpoints that accept and never answer, drip, reset, or say what cannot be read."""

from __future__ import annotations

import gzip
import importlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, Self

import pytest

from auth_plugins import AuthError, ClientCredentials, MemoryCache, TokenSource, TokenTransportError
from auth_plugins._base.runtime import runtime
from auth_plugins._transports.base import Transport
from auth_plugins._transports.httpx import httpx_transport
from auth_plugins._transports.requests import requests_transport

from .drivers import ALL, Driver, each

Play = Callable[[socket.socket, threading.Event], None]
TRANSPORTS: dict[str, Callable[[], Transport]] = {
    "requests": requests_transport,
    "httpx": lambda: httpx_transport("httpx"),
    "httpx2": lambda: httpx_transport("httpx2"),
}


class Endpoint:
    """A token endpoint below HTTP: *play* has the connection."""

    def __init__(self, play: Play) -> None:
        self._play = play
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
                self._play(connection, self._over)
            except OSError:
                pass


def silent(_: socket.socket, over: threading.Event) -> None:
    over.wait(20)


def dripping(begin: bytes, drop: bytes) -> Play:
    """Sends *begin*, and then *drop* again and again, a byte at a time."""

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
#: An empty block of deflate that is not the last one: bytes without end, of which nothing comes.
NOTHING = b"\x00\x00\x00\xff\xff"
PLAYS: dict[str, Play] = {
    "it never answers": silent,
    "the status drips": dripping(b"", b"HTTP/1.1 200 Very OK "),
    "the headers drip": dripping(OK, b"X-Header: value\r\n"),
    "the body drips": dripping(OK + b"\r\n", b" "),
    "a form drips": dripping(OK + b"\r\naccess_token=abc", b"d"),
    "a compressed body drips": dripping(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], NOTHING),
    "it resets the connection": resetting,
}


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("play", PLAYS)
def test_a_token_endpoint_cannot_hold_me_up(play: str, library: str) -> None:
    """Whatever it does, I get an error of ours about when the timeout is over; and so do those who wait with me."""
    with Endpoint(PLAYS[play]) as endpoint, ThreadPoolExecutor(5) as pool:
        sources = [TokenSource(ClientCredentials(endpoint.url, "id", "s3cr3t"), timeout=0.5) for _ in range(5)]
        for source in sources:
            source._transport = TRANSPORTS[library]()
        began = time.monotonic()
        errors = [future.exception() for future in [pool.submit(source.token) for source in sources]]
        assert time.monotonic() - began < 10, "0.5 and a little; far more only on a busy machine"
        assert {type(error) for error in errors} == {TokenTransportError}
        assert all(str(error).startswith(f"{endpoint.url} could not be reached (") for error in errors)
        assert endpoint.connections <= 3 * len(sources)


class Warm(Endpoint):
    """One that answers the first request of a connection, and leaves it open; *play* has the second."""

    def _serve(self, connection: socket.socket) -> None:
        def play(connection: socket.socket, over: threading.Event) -> None:
            connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")
            connection.recv(65536)
            self._second(connection, over)

        self._second, self._play = self._play, play
        super()._serve(connection)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WARM_PLAYS = {
    "the body drips": PLAYS["the body drips"],
    "the size of a chunk drips": dripping(CHUNKED + b"1;", b"b"),
    "the trailers drip": dripping(CHUNKED + b"2\r\n{}\r\n0\r\n", b"A: b\r\n"),
}


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("play", WARM_PLAYS)
def test_a_connection_that_i_had_cannot_hold_me_up(play: str, library: str) -> None:
    """My own session has a connection to the server already, and the answer to the token request drips: it ends."""
    with Warm(WARM_PLAYS[play]) as endpoint:
        module = importlib.import_module(library)
        with module.Session() if library == "requests" else module.Client() as mine:
            mine.get(endpoint.url)
            source = TokenSource(ClientCredentials(endpoint.url, "id", "s3cr3t"), timeout=0.5)
            source._transport = requests_transport(mine) if library == "requests" else httpx_transport(library, mine)
            with pytest.raises(TokenTransportError, match="could not be reached"):
                source.token()
        assert endpoint.connections <= 3


CUT_OFF = {
    "in the status": b"HTTP/1.1 200",
    "after the status": OK,
    "in a header": OK + b"Content-Type: appl",
    "after a header": OK + b"Content-Type: application/json\r\n",
    "in hints": b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n",
}


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("handed_in", [False, True], ids=["own", "handed in"])
@pytest.mark.parametrize("where", CUT_OFF)
def test_headers_that_are_cut_off(where: str, handed_in: bool, library: str) -> None:
    """The connection ends before the headers do: that is no answer, and the token request is tried again."""
    endings = iter([CUT_OFF[where], OK + b'Content-Length: 25\r\n\r\n{"access_token": "tok-1"}'])
    with Endpoint(lambda connection, _: connection.sendall(next(endings))) as endpoint:
        source = TokenSource(ClientCredentials(endpoint.url, "id", "s3cr3t"), cache=MemoryCache())
        module = importlib.import_module(library)
        with module.Session() if library == "requests" else module.Client() as mine:
            used = mine if handed_in else None
            source._transport = requests_transport(used) if library == "requests" else httpx_transport(library, used)
            assert source.token().access_token == "tok-1"
        assert endpoint.connections == 2


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("handed_in", [False, True], ids=["own", "handed in"])
def test_interim_answers_are_skipped(handed_in: bool, library: str) -> None:
    """Answers of 100, 102 and 103 come before the one that counts: it is the one that is read."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    interim = hints + b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + hints
    answer = interim + OK + b'Content-Length: 25\r\n\r\n{"access_token": "tok-1"}'
    with Endpoint(lambda connection, _: connection.sendall(answer)) as endpoint:
        source = TokenSource(ClientCredentials(endpoint.url, "id", "s3cr3t"), cache=MemoryCache())
        module = importlib.import_module(library)
        with module.Session() if library == "requests" else module.Client() as mine:
            used = mine if handed_in else None
            source._transport = requests_transport(used) if library == "requests" else httpx_transport(library, used)
            assert source.token().access_token == "tok-1"
        assert endpoint.connections == 1


@pytest.mark.parametrize("library", TRANSPORTS)
def test_more_after_the_end_is_not_waited_for(library: str) -> None:
    """A packed answer has ended, and more of it drips: I have my token already."""
    packed = gzip.compress(b'{"access_token": "tok-1"}')
    with Endpoint(dripping(OK + b"Content-Encoding: gzip\r\n\r\n" + packed, b"more")) as endpoint:
        source = TokenSource(ClientCredentials(endpoint.url, "id", "s3cr3t"), timeout=5)
        source._transport = TRANSPORTS[library]()
        assert source.token().access_token == "tok-1"


@pytest.mark.parametrize("library", TRANSPORTS)
def test_no_address_takes_all_the_time(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of my token endpoint has several addresses, and none answers: each gets a part of the time."""
    asked: list[Any] = []

    def connect(_: Any, timeout: float, **__: Any) -> NoReturn:
        asked.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    send = TRANSPORTS[library]()
    request = ClientCredentials("http://127.0.0.1:9/token", "id", "s3cr3t").refresh_request("r3fr3sh")
    with pytest.raises(TokenTransportError):
        send(request, 9.0)
    assert asked == [3.0]


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize(
    "line", [b'{"access_token":"live-token-12345"}', b'HTTP/1.1 200OK {"access_token": "live-token-12345"}']
)
def test_what_is_no_http_is_told_without_tokens(library: str, line: bytes) -> None:
    """The server forgets HTTP around its answer, which is long: the error has its beginning, and no token."""
    with Endpoint(lambda connection, _: connection.sendall(line + b"x" * 60_000 + b"\r\n\r\n")) as endpoint:
        source = TokenSource(ClientCredentials(endpoint.url, "id", "s3cr3t"), timeout=0.1)
        source._transport = TRANSPORTS[library]()
        with pytest.raises(TokenTransportError) as caught:
            source.token()
    assert "live-token" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("driver", each(ALL))
def test_by_default_it_takes_10_seconds(driver: Driver) -> None:
    """Without a timeout of my own, the libraries are told 10 seconds for each read as well."""
    with Endpoint(resetting) as endpoint:
        auth = driver.auth(ClientCredentials(endpoint.url, "id", "s3cr3t"))
        asked: list[float] = []
        send = auth.source._transport

        def transport(request: Any, timeout: float) -> Any:
            asked.append(timeout)
            return send(request, timeout)

        auth.source._transport = transport
        with pytest.raises(AuthError):
            driver.get(endpoint.url.replace("/token", "/api"), auth)
    assert 9 < asked[0] <= 10


@pytest.mark.parametrize("library", TRANSPORTS)
def test_no_thread_to_watch_with(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no thread left to watch the time: each read is bounded all the same."""
    with Endpoint(silent) as endpoint:
        source = TokenSource(ClientCredentials(endpoint.url, "id", "s3cr3t"), timeout=0.2)
        source._transport = TRANSPORTS[library]()
        with monkeypatch.context() as patch:
            patch.setattr(runtime, "start_thread", _no_thread)
            with pytest.raises(TokenTransportError):
                source.token()


def _no_thread(*_: Any) -> None:
    raise RuntimeError("can't start new thread")


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """What watches a token request ends with it."""
    yield
    deadline = time.monotonic() + 5
    while any(thread.name == "auth-plugins deadline" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
