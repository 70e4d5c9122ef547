"""A token endpoint and an API on loopback, for the tests of users."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import unquote

from auth_plugins.sandbox import Seen
from auth_plugins.sandbox._server import Server
from auth_plugins.sandbox._system import Reply

#: The parameters by which a user or client is known, with those of its secret.
_CREDENTIALS = (("client_id", "client_secret"), ("username", "password"))


class _Fault(NamedTuple):
    at: str
    reply: Reply


class TokenServer:
    """A token endpoint and an API on a free port of 127.0.0.1: the fixture ``token_server``.

    The token endpoint issues a token for any grant type and any credentials. The API answers 200 to a request that
    carries a valid token, in whichever header or query parameter, and 401 to any other one. As a context manager it
    serves other test frameworks.
    """

    name = "token server"  # of its thread

    def __init__(self) -> None:
        #: ``http://127.0.0.1:PORT``, once it serves.
        self.url = ""
        #: Seconds that the tokens live which are issued from now on; ``None``: the answers tell no expiry.
        self.lifetime: float | None = 3600.0
        #: By client id, or user name, its secret; an empty mapping refuses all. ``None``: any are accepted.
        self.credentials: Mapping[str, str] | None = None
        #: Whether a refresh token comes with each token. The old one is then spent when it is used.
        self.refresh_tokens = False
        #: Seconds that a token request takes.
        self.latency = 0.0
        #: The token requests, in the order in which they came.
        self.token_requests: list[Seen] = []
        #: The requests of the API, likewise.
        self.api_requests: list[Seen] = []
        self._lock = threading.Lock()
        self._live: dict[str, float] = {}
        self._refresh: set[str] = set()
        self._faults: deque[_Fault] = deque()

    def __enter__(self) -> Self:
        self._server = Server(self)  # type: ignore[arg-type]  # which calls answer() only
        self.url = self._server.url
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.url}/token"

    @property
    def api_url(self) -> str:
        """A URL of the API; any other path is one too."""
        return f"{self.url}/api"

    def revoke(self) -> None:
        """Let the API answer 401 to all tokens issued so far; refresh tokens stay valid."""
        with self._lock:
            self._live.clear()

    def fail(
        self,
        status: int = 500,
        error: str = "server_error",
        *,
        at: Literal["token", "api"] = "token",
        times: int = 1,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the next requests with a fault, whatever they carry.

        :param status: of the answer. A 5xx of the token endpoint is retried twice: it is seen with *times* 3 or more.
        :param error: the ``error`` member of the answer.
        :param at: ``"token"``: the token endpoint; ``"api"``: the API.
        :param times: how many requests.
        :param content: the whole answer, as JSON, in place of *error*; ``None``: not given.
        :param headers: further headers, such as ``{"Retry-After": "5"}``; ``None``: none.
        """
        reply = Reply({"error": error} if content is None else content, status, headers or {})
        with self._lock:
            self._faults.extend([_Fault(at, reply)] * times)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes, _: bytes | None) -> Reply:
        """Answer one request; the server on loopback calls this."""
        at = "token" if target.partition("?")[0] == "/token" else "api"
        request = Seen(at, method, target, headers, body, None)
        request.time = time.time()
        with self._lock:
            (self.token_requests if at == "token" else self.api_requests).append(request)
            fault = next((each for each in self._faults if each.at == at), None)
            if fault is not None:
                self._faults.remove(fault)
                reply = fault.reply
            else:
                reply = self._issue(request) if at == "token" else self._serve(request)
        request.status = reply.status
        if at == "token":
            time.sleep(self.latency)
        return reply

    def _issue(self, request: Seen) -> Reply:
        sent = {**request.in_query, **request.in_body}
        if self.credentials is not None and not self._knows(request, sent):
            return Reply({"error": "invalid_client"}, 401, {"WWW-Authenticate": "Basic"})
        spent = sent.get("refresh_token")
        if request.grant_type == "refresh_token" and self.refresh_tokens:
            if spent not in self._refresh:
                return Reply({"error": "invalid_grant"}, 400)
            self._refresh.discard(spent)
        token = secrets.token_urlsafe()
        self._live[token] = time.time() + (self.lifetime or 1e9)
        members: dict[str, Any] = {"access_token": token, "token_type": "Bearer"}
        if self.lifetime is not None:
            members["expires_in"] = self.lifetime
        if self.refresh_tokens:
            members["refresh_token"] = secrets.token_urlsafe()
            self._refresh.add(members["refresh_token"])
        return Reply(members)

    def _knows(self, request: Seen, sent: Mapping[str, str]) -> bool:
        name, _, secret = request.basic.partition(":")
        given = [(name, secret), (unquote(name), unquote(secret))]
        given += [(sent.get(one, ""), sent.get(other, "")) for one, other in _CREDENTIALS]
        known = self.credentials or {}
        return sent.get("refresh_token") in self._refresh or any(known.get(each[0]) == each[1] for each in given)

    def _serve(self, request: Seen) -> Reply:
        now = time.time()
        path, _, query = request.target.partition("?")
        # Behind any scheme, and in any place of a header: a token consists of these characters.
        carried = re.findall(r"[\w-]+", " ".join([*request.headers.values(), query]))
        if not any(self._live.get(each, 0.0) > now for each in carried):
            return Reply({"error": "invalid_token"}, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return Reply({"method": request.method, "path": path, "body": request.body.decode("utf-8", "replace")})
