"""Authorization servers that others wrote, each with a small protected API, on loopback.

A subclass of `AuthorizationServer` sets up one server. Grants, client authentication, rotation and reuse detection are
the server's own.
"""

from __future__ import annotations

import io
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app


@dataclass(frozen=True)
class TokenCall:
    """One request to the token endpoint, as it arrived, and how it was answered."""

    method: str
    form: Mapping[str, str]
    status: int


class _Handler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log errors only."""


class AuthorizationServer(ABC):
    """A server that runs while its context is open.

    It answers one request at a time: of two requests with one refresh token, the second is always a reuse.
    """

    name: ClassVar[str]

    # Basic carries these only with percent-encoding (RFC 6749 §2.3.1): the colon would end the id, %2B become a plus.
    client_id = "client:1"
    client_secret = "7rg6Gt+hUiob=/ %2B€"
    password_client_id = "client:2"
    password_client_secret = "pw+secret=/ %20é"
    username = "user+1@example.com"
    password = "pass+word=/ %26ß"

    def __init__(self) -> None:
        self.reuses = 0  # requests with a refresh token that was spent, or revoked with its family
        self.lifetime = 3600  # of further access tokens, in seconds
        self._calls: list[TokenCall] = []
        self._lock = threading.Lock()  # held during each request and each change of what was issued
        self._app = self._wsgi_app()
        self._listener = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Handler)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), name=self.name, daemon=True)

    @abstractmethod
    def _wsgi_app(self) -> WSGIApplication:
        """Make the app: tokens at ``/token``; at ``/api`` the client's name for a valid token, otherwise 401."""

    @abstractmethod
    def revoke_access_tokens(self) -> None:
        """Let the API reject all access tokens so far; refresh tokens stay valid."""

    @abstractmethod
    def forget_refresh_tokens(self) -> None:
        """Refuse all refresh tokens so far, without counting a reuse, as after a loss of data."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_port}"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    def token_requests(self) -> list[TokenCall]:
        """Return the token requests since the last `reset`, in order."""
        with self._lock:
            return list(self._calls)

    def reset(self) -> None:
        """Begin a new test: counters at zero, and no valid tokens."""
        self.revoke_access_tokens()
        self.forget_refresh_tokens()
        with self._lock:
            self.reuses, self.lifetime = 0, 3600
            self._calls.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self._lock:
            answer, status, headers = run_wsgi_app(self._app, environ, buffered=True)
            if environ["PATH_INFO"] == "/token":
                form = dict(parse_qsl(body.decode(), keep_blank_values=True))
                self._calls.append(TokenCall(environ["REQUEST_METHOD"], form, int(status.split()[0])))
        start_response(status, headers.to_wsgi_list())
        return answer
