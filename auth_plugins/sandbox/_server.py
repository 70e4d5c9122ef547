"""The HTTP server of one system, on a free port of 127.0.0.1."""

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socket import SHUT_RDWR, socket
from socketserver import ThreadingTCPServer
from ssl import SSLContext, SSLError, SSLSocket
from typing import Any

from ._seen import JSON
from ._system import System


class Server(ThreadingTCPServer):  # HTTPServer looks its own name up in the DNS, which takes seconds on some machines
    """Serves *system* in threads until :meth:`stop`.

    :param tls: returns what serves TLS, and is called for each connection; ``None``: HTTP without TLS.
    """

    daemon_threads = True
    request_queue_size = 128  # with the default, 5, some of fifty clients that connect at once are reset

    def __init__(self, system: System, tls: Callable[[], SSLContext] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.system, self._tls = system, tls
        self._open: set[socket] = set()
        self._process = os.getpid()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name=system.name, daemon=True)
        self._thread.start()

    def get_request(self) -> tuple[socket, Any]:
        connection, address = super().get_request()
        if self._tls is not None:  # the handshake comes with the first read, in the thread of the connection
            connection = self._tls().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def stop(self) -> None:
        """Accept no more connections, and close the open ones; in a forked child only its copy of the server."""
        if self._process != os.getpid():  # no thread serves here, so a shutdown would wait for ever
            self.server_close()
            return
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):  # its own thread may close it at the same moment
                socket.shutdown(connection, SHUT_RDWR)  # that of TLS would stop its thread in the middle


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Buffered: a body in a packet of its own can wait 40 ms for the acknowledgement of the headers.
    wbufsize = -1
    server: Server

    def handle(self) -> None:
        with suppress(ConnectionError, SSLError):  # the client closed the connection, or has another certificate
            super().handle()

    def answer(self) -> None:
        headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        try:
            body = self._read_body()
        except ValueError:
            self.send_error(400)  # this closes the connection, as the start of the next request is unknown
            return
        certificate = self.connection.getpeercert(True) if isinstance(self.connection, SSLSocket) else None  # noqa: FBT003
        reply = self.server.system.answer(self.command, self.path, headers, body, certificate)
        payload = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
        self.send_response(reply.status)
        fixed = {"Content-Type": JSON, "Content-Length": str(len(payload)), "Cache-Control": "no-store"}
        for name, value in (fixed | dict(reply.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def _read_body(self) -> bytes:
        """Return the body; ValueError: its framing is not valid (RFC 9112 §6 and §7)."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):  # extensions follow the semicolon
            body += self.rfile.read(size)
            self.rfile.readline()  # the line end behind the chunk
        while self.rfile.readline().strip():
            pass  # a trailer; an empty line ends them
        return body

    def log_message(self, *_: object) -> None:
        pass
