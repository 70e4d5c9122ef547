"""The page on loopback that receives the answer to an authorization request (RFC 8252 §7.3)."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import socketserver
from concurrent.futures import Future, InvalidStateError
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from auth_plugins._base.errors import AuthError, ConfigurationError, LoginRequiredError
from auth_plugins._base.hidden import hidden
from auth_plugins._base.runtime import runtime

from .page import HEADERS, failure_page, not_found_page, success_page
from .redirect import Redirect, parse_redirect

#: The parameters of the answer, by name, each with all its values.
Answer = dict[str, list[str]]

#: Those that errors show.
_SHOWN = ("error", "error_description", "error_uri", "iss")
#: Seconds between two looks at whether the listener is closed.
_POLL = 0.05
#: Seconds that a browser may take to send a request, and to receive the page.
_SLOWEST = 10.0
#: Seconds that the browser's page waits for the token, and the login's end for the page.
_LONGEST_WAIT, _LAST_WAIT = 60.0, 2.0


class Listener:
    """Listens at a redirect URI while its context is open; the page that it shows says how the context ended.

    :param redirect_uri: without a port: at any that is free.
    :param application: the name of the program, for the page.
    :param server: the name of the server, for the page.
    :raises ConfigurationError: the port is not free.
    """

    def __init__(self, redirect_uri: str, application: str, server: str) -> None:
        self.application, self.server = application, server
        #: What the server answered; a caller that waits for it may set an error.
        self.answer: Future[Answer] = Future()
        #: The page to show.
        self.page: Future[bytes] = Future()
        #: Whether the browser has the page.
        self.shown: Future[None] = Future()
        self.redirect = parse_redirect(redirect_uri)
        self._server = _open(self.redirect, self)
        self.port: int = self._server.server_address[1]
        #: The redirect URI with its port.
        self.uri = self.redirect.uri(self.port)

    def __enter__(self) -> Self:
        try:
            runtime.start_thread(self._serve, "auth-plugins sign-in page")
        except BaseException as error:
            self._close()
            if not isinstance(error, RuntimeError):  # Ctrl-C
                raise
            # The interpreter exits, or has too many threads.
            problem = f"no one was asked to sign in, as no thread could be started: {error}"
        else:
            return self
        raise LoginRequiredError(problem)

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._close()
        if error is None:
            page = success_page(self.application, self.server)
        else:
            problem = error.problem if isinstance(error, AuthError) else "it was interrupted"
            page = failure_page(self.application, self.server, problem)
        self.page.set_result(page)
        if self.answer.done() and self.answer.exception() is None and not isinstance(error, KeyboardInterrupt):
            runtime.wait(self.shown, _LAST_WAIT)

    def _serve(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # it is closed
            while self._server.fileno() >= 0:
                self._server.handle_request()

    def _close(self) -> None:
        """Listen no longer, at once; connections go on."""
        # Not by closing it alone: a process that was forked meanwhile has a copy, at which browsers would wait.
        with contextlib.suppress(OSError):  # some systems know it for connections only
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def take(self, query: str) -> bool:
        """Take the answer in *query*, if there is one and no other came before; return whether that is so."""
        answer: Answer = {}
        for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=100):
            answer.setdefault(name, []).append(value if name in _SHOWN else hidden(value))
        if not answer.keys() & {"state", "code", "error"}:
            return False
        try:
            self.answer.set_result(answer)
        except InvalidStateError:
            # A browser that loads the page again has the same page.
            return self.answer.exception() is None and self.answer.result() == answer
        return True


class _Server(socketserver.ThreadingTCPServer):
    # On Windows it would let another program listen at the same port.
    allow_reuse_address = os.name != "nt"
    daemon_threads = True
    block_on_close = False
    timeout = _POLL
    # With the default, 5, a browser that opens more connections at once waits a second for some.
    request_queue_size = 128
    listener: Listener

    def handle_error(self, *_: object) -> None:
        """Print nothing: a browser may close a connection at any time."""


class _SixServer(_Server):
    address_family = socket.AF_INET6


def _open(redirect: Redirect, listener: Listener) -> _Server:
    kind = _SixServer if ":" in redirect.address else _Server
    try:
        server = kind((redirect.address, redirect.port), _Handler)
    except OSError as error:
        problem = f"names {redirect.address}:{redirect.port}, where nothing can listen ({error.strerror})"
        advice = "end the program that listens there, or give another one that the server knows"
        raise ConfigurationError(problem, argument="redirect_uri", advice=advice) from None
    server.listener = listener
    return server


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _SLOWEST
    server: _Server

    def do_GET(self) -> None:
        """Show the page for the first answer at the redirect URI; anything else is not found."""
        listener = self.server.listener
        target = urlsplit(self.path)
        is_ours = self.headers.get("Host", "").lower() in listener.redirect.hosts(listener.port)
        if not is_ours or target.path != listener.redirect.path or not _take(listener, target.query):
            self.send_error(404)
            return
        try:
            self._send(200, listener.page.result(_LONGEST_WAIT))
        finally:
            with contextlib.suppress(InvalidStateError):  # it is loaded again
                listener.shown.set_result(None)

    def send_error(self, code: int, *_: Any, **__: Any) -> None:  # noqa: ARG002
        """Answer 404, whatever is wrong."""
        self._send(404, not_found_page(self.server.listener.application))

    def _send(self, status: int, page: bytes) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # the browser has gone
            self.send_response_only(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Log nothing: the address holds the code."""


def _take(listener: Listener, query: str) -> bool:
    try:
        return listener.take(query)
    except ValueError:  # too many parameters
        return False
