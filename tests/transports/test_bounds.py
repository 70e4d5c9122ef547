"""A token request ends in time, whatever the token endpoint does."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest
import requests
from requests.adapters import HTTPAdapter

from auth_plugins import ClientCredentials, TokenSource, TokenTransportError
from auth_plugins._base.runtime import runtime
from auth_plugins._transports.deadline import Deadline
from tests.support.endpoints import (
    LIBRARIES,
    OK,
    TOKEN,
    TRANSPORTS,
    Endpoint,
    Play,
    Wrapping,
    dripping,
    new_session,
    resetting,
    saying,
    silent,
    token_source,
)
from tests.support.forks import forks, in_child
from tests.support.loopback import Loopback

#: A block of deflate that is empty, and not the last one.
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
each_library = pytest.mark.parametrize("library", LIBRARIES)
PLAYS: dict[str, Play] = {
    "it never answers": silent,
    "the status drips": dripping(b"", b"HTTP/1.1 200 Very OK "),
    "the headers drip": dripping(OK, b"X-Header: value\r\n"),
    "the body drips": dripping(OK + b"\r\n", b" "),
    "a form drips": dripping(OK + b"\r\naccess_token=abc", b"d"),
    "a compressed body drips": dripping(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], EMPTY_BLOCK),
    "it resets the connection": resetting,
}


def source_of(library: str, endpoint: Endpoint, session: Any = None, **policy: Any) -> TokenSource:
    return token_source(library, ClientCredentials(endpoint.url, "id", "s3cr3t"), session, **policy)


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    """The thread that watches token requests ends soon after the last one."""
    yield
    deadline = time.monotonic() + 5
    while any(thread.name == "auth-plugins deadline" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@each_library
@pytest.mark.parametrize("play", PLAYS)
def test_a_token_request_ends_whatever_the_server_does(play: str, library: str) -> None:
    """Whatever the endpoint does, all callers get a TokenTransportError soon after the timeout."""
    with Endpoint(PLAYS[play]) as endpoint, ThreadPoolExecutor(5) as pool:
        sources = [source_of(library, endpoint, timeout=0.5) for _ in range(5)]
        began = time.monotonic()
        errors = [future.exception() for future in [pool.submit(source.token) for source in sources]]
        assert time.monotonic() - began < 10, "0.5 and a little; far more only on a busy machine"
        assert {type(error) for error in errors} == {TokenTransportError}
        assert all(str(error).startswith(f"{endpoint.url} could not be reached (") for error in errors)
        assert endpoint.connections <= 3 * len(sources)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WARM_PLAYS = {
    "the body drips": PLAYS["the body drips"],
    "the size of a chunk drips": dripping(CHUNKED + b"1;", b"b"),
    "the trailers drip": dripping(CHUNKED + b"2\r\n{}\r\n0\r\n", b"A: b\r\n"),
}


@each_library
@pytest.mark.parametrize("play", WARM_PLAYS)
def test_the_timeout_holds_on_an_open_connection(play: str, library: str) -> None:
    """The timeout holds when a session had a connection to the endpoint before the token request."""
    first = OK + b"Content-Length: 2\r\n\r\n{}"
    with Endpoint(WARM_PLAYS[play], first) as endpoint, new_session(library) as session:
        session.get(endpoint.url)
        with pytest.raises(TokenTransportError, match="could not be reached"):
            source_of(library, endpoint, session, timeout=0.5).token()
        assert endpoint.connections <= 3


def test_the_timeout_holds_for_the_body_with_a_users_adapter() -> None:
    """The timeout holds for a dripping body if a user's adapter sends by another one."""
    with Endpoint(WARM_PLAYS["the size of a chunk drips"]) as endpoint, requests.Session() as session:
        session.mount("http://", Wrapping())
        began = time.monotonic()
        with pytest.raises(TokenTransportError, match="timed out"):
            source_of("requests", endpoint, session, timeout=0.5).token()
        assert time.monotonic() - began < 5


@forks
def test_the_timeout_holds_in_a_child_that_is_forked_meanwhile() -> None:
    """A child that is forked during a token request of its parent, whose thread it lacks, bounds its own."""
    with Endpoint(PLAYS["the body drips"]) as endpoint, ThreadPoolExecutor(1) as pool:
        begun = pool.submit(source_of("requests", endpoint, timeout=2).token)
        while not any(thread.name == "auth-plugins deadline" for thread in threading.enumerate()):
            time.sleep(0.001)

        def ends() -> bool:
            with pytest.raises(TokenTransportError, match="could not be reached"):
                source_of("requests", endpoint, timeout=0.5).token()
            return True

        in_child(ends)
        assert isinstance(begun.exception(), TokenTransportError)


CUT_OFF = {
    "in the status": b"HTTP/1.1 200",
    "after the status": OK,
    "in a header": OK + b"Content-Type: appl",
    "after a header": OK + b"Content-Type: application/json\r\n",
    "in hints": b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n",
}


@each_library
@pytest.mark.parametrize("cut_off", CUT_OFF.values(), ids=CUT_OFF)
def test_headers_that_are_cut_off_are_no_answer(cut_off: bytes, library: str) -> None:
    """A token request is sent again if the connection ends before the headers of the answer do."""
    with saying(cut_off, TOKEN) as endpoint:
        assert source_of(library, endpoint).token().access_token == "tok-1"
        assert endpoint.connections == 2


@each_library
def test_interim_answers_are_skipped(library: str) -> None:
    """Answers with the status 100, 102 or 103 are skipped (RFC 9110 §15.2)."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    with saying(hints + b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + hints + TOKEN) as endpoint:
        assert source_of(library, endpoint).token().access_token == "tok-1"
        assert endpoint.connections == 1


@each_library
def test_what_follows_a_packed_answer_is_not_waited_for(library: str) -> None:
    """A token is returned as soon as a packed answer has ended, even if more bytes follow slowly."""
    packed = gzip.compress(b'{"access_token": "tok-1"}')
    with Endpoint(dripping(OK + b"Content-Encoding: gzip\r\n\r\n" + packed, b"more")) as endpoint:
        assert source_of(library, endpoint, timeout=5).token().access_token == "tok-1"


@each_library
def test_each_address_gets_a_third_of_the_timeout(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to one address of the token endpoint may take a third of the timeout."""
    connect = mock.Mock(side_effect=TimeoutError)
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    request = ClientCredentials("http://127.0.0.1:9/token", "id", "s3cr3t").refresh_request("r3fr3sh")
    with pytest.raises(TokenTransportError):
        TRANSPORTS[library]()(request, 9.0)
    [call] = connect.call_args_list
    assert 3.0 in (*call.args, call.kwargs.get("timeout"))


@each_library
@pytest.mark.parametrize("line", [b"", b"HTTP/1.1 200OK "])
def test_an_error_about_broken_http_shows_no_token(library: str, line: bytes) -> None:
    """An answer that is not HTTP is quoted in part in the error, without the token in it."""
    broken = line + b'{"access_token": "live-token-12345"}' + b"x" * 60_000 + b"\r\n\r\n"
    with saying(broken) as endpoint, pytest.raises(TokenTransportError) as caught:
        source_of(library, endpoint, timeout=0.1).token()
    assert "live-token" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert len(str(caught.value)) < 350


def test_the_default_timeout_is_10_seconds(server: Loopback) -> None:
    """Without a timeout of its own, a token request has ten seconds, for each read as well."""
    timeouts: list[float] = []

    class Adapter(HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
            timeouts.append(options["timeout"][1])
            return super().send(request, **options)

    with requests.Session() as session:
        session.mount("http://", Adapter())
        token_source("requests", ClientCredentials(server.token_url, "id", "s3cr3t"), session).token()
    assert 9 < timeouts[0] <= 10


@each_library
def test_the_timeout_holds_without_a_thread(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token request ends in time if the system cannot start a thread to watch it."""
    monkeypatch.setattr(runtime, "start_thread", mock.Mock(side_effect=RuntimeError("can't start new thread")))
    with Endpoint(silent) as endpoint, pytest.raises(TokenTransportError):
        source_of(library, endpoint, timeout=0.2).token()


def test_a_connection_that_raises_spoils_no_other_deadline() -> None:
    """A recorder's connection may raise when it is asked for its socket: other token requests end in time."""

    class Broken:
        @property
        def sock(self) -> Any:
            raise RuntimeError("no socket here")

    for connection in (Broken(), None):
        reader, writer = socket.socketpair()
        with reader, writer, Deadline(0.05) as deadline:
            for each in (connection, reader):
                deadline.watch(each)
            reader.settimeout(5)
            assert reader.recv(1) == b""
