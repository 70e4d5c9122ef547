"""A server on loopback that plays a script: token endpoints and APIs that misbehave as no sandbox should."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from auth_plugins._base.runtime import runtime


@dataclass
class Received:
    """A request as it reached the server."""

    method: str
    #: Path and query as they were sent.
    target: str
    #: Names in lower case.
    headers: Mapping[str, str]
    body: bytes


Play = Callable[[Received], Response]


class _QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: Any) -> None:
        pass


class Loopback:
    """Answers ``/token`` with token-1, token-2 and so on, which live for an hour, and any other path by :attr:`api`."""

    def __init__(self) -> None:
        self.token_requests: list[Received] = []
        self.api_requests: list[Received] = []
        #: Seconds that the token endpoint takes.
        self.latency = 0.0
        self.token_play: Play = self.issue
        self.api: Play = self.check
        self.lifetime: float | None = 3600
        #: The tokens that the API accepts.
        self.live: set[str] = set()
        self._numbers = itertools.count(1)
        self._server = make_server("127.0.0.1", 0, self._wsgi, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def start(self) -> Loopback:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    def issue(self, _: Received) -> Response:
        """A good answer, with the next token."""
        token = f"token-{next(self._numbers)}"
        self.live.add(token)
        answer = {"access_token": token, "token_type": "Bearer"}
        return as_json(answer if self.lifetime is None else {**answer, "expires_in": self.lifetime})

    def check(self, received: Received) -> Response:
        """200 to a live token, else 401; says what the body was."""
        if received.headers.get("authorization", "").removeprefix("Bearer ") in self.live:
            return as_json({"received": received.body.decode("latin-1")})
        return as_json({"error": "invalid_token"}, 401)

    def revoke(self) -> None:
        """The API rejects all tokens issued so far."""
        self.live.clear()

    def refuse_once(self) -> None:
        """The API rejects the next request, and accepts the others, as servers do that revoke one token early."""
        accepted = self.api

        def refuse(_: Received) -> Response:
            self.api = accepted
            return as_json({"error": "invalid_token"}, 401)

        self.api = refuse

    def _wsgi(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        received = Received(
            request.method,
            environ["RAW_URI"],
            {name.lower(): value for name, value in request.headers.items()},
            request.get_data(),
        )
        if request.path == "/token":
            self.token_requests.append(received)
            time.sleep(self.latency)
            response = self.token_play(received)
        else:
            self.api_requests.append(received)
            response = self.api(received)
        return response(environ, start_response)


def as_json(members: Any, status: int = 200, **headers: str) -> Response:
    """A JSON answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(json.dumps(members), status, named, content_type="application/json")


class Clock:
    """A clock that stands still, in place of the machine's; a sleep moves it forward."""

    def __init__(self) -> None:
        self.now = time.time()
        #: The seconds of each sleep.
        self.sleeps: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.monotonic()

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    async def sleep_in_loop(self, seconds: float) -> None:
        self.sleep(seconds)

    def forward(self, seconds: float) -> None:
        self.now += seconds

    def rule(self, monkeypatch: Any) -> None:
        """Make this the clock of the package."""
        monkeypatch.setattr(runtime, "clock", self)
        monkeypatch.setattr(runtime, "sleep_in_loop", self.sleep_in_loop)
        monkeypatch.setattr(runtime, "sleep_until", lambda _, seconds: self.sleep(seconds))
        monkeypatch.setattr(runtime, "elapsed", lambda: self.elapsed())  # noqa: PLW0108 - a test may replace it
