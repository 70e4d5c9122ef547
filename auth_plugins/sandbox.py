"""Five token endpoints and their APIs on loopback, each played strictly by its document.

    with Sandbox() as sandbox:
        system = sandbox["jwt-api"]
        os.environ.update(system.variables("ACME"))
        ...                             # whatever asks system.url for tokens and calls system.api_url
        print(system.token_requests)    # what reached it, and where the credentials travelled

Strictly: what a document does not ask for is refused, so that a client which works here does so by no luck. Where a
document is silent about refusals they are RFC 6749's, and none repeats a value that was sent: it could be a secret.

Nothing is imported from the rest of the package: a mistake made on both sides would go unseen.
"""

import json
import re
import secrets
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socket import SHUT_RDWR, socket
from socketserver import ThreadingTCPServer
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, overload
from urllib.parse import parse_qsl, unquote

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

__all__ = ["AuthApi", "JsonApi", "JwtApi", "OrganizationApi", "Sandbox", "Seen", "System", "UploadApi"]

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Seen:
    """One request that reached a system. Its ``repr`` leaves out whatever may hold a secret.

    *at*: ``token``, ``refresh`` (auth-api's second endpoint) or ``api`` (all else, unknown paths as well).
    *target*: as in the request line, query included. *headers*: names in lower case, repeated ones joined by a comma.
    *status*: what was answered. *grant_type*: as sent, empty if none was.
    *credentials*: where they travelled: ``Basic``, ``Basic, URL-encoded``, ``JSON body``, ``query``, ``form``,
    ``refresh token in form``, ``Bearer``, ``X-API-Key``, ``Authorization`` (any other scheme or spelling) or ``none``;
    several, which is always refused, are joined by ``and``.
    """

    at: str
    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int
    credentials: str
    grant_type: str


class System:
    """One of the five. What its document says is data in a subclass; playing it is here. Any thread may call."""

    name: ClassVar[str]
    client_id: ClassVar[str] = ""
    client_secret: ClassVar[str] = ""
    username: ClassVar[str] = ""
    password: ClassVar[str] = ""
    scope: ClassVar[str] = ""  # has to be asked for; "": none may be
    grant_types: ClassVar[tuple[str, ...]] = ("client_credentials",)
    token_path: ClassVar[str]
    refresh_path: ClassVar[str | None] = None
    api_path: ClassVar[str] = "/things"
    accepted: ClassVar[Mapping[tuple[str, str], tuple[str, ...]]]  # (at, method) -> where credentials may travel
    media_type: ClassVar[str] = FORM
    answered: ClassVar[tuple[str, ...]] = ("token_type", "expires_in", "access_token")
    token_type: ClassVar[str] = "Bearer"

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        self.url = ""  # http://127.0.0.1:PORT once started
        self.lifetime = lifetime  # seconds that the next access tokens are good for
        self.latency = 0.0  # seconds that a token request takes; what is answered is decided, and seen, before them
        self.seen: list[Seen] = []
        self.reuses = 0  # how often a refresh token came that had been used already
        self._clock = clock
        self._key = OctKey.generate_key(256)
        self._lock = threading.Lock()  # guards `seen`, `reuses` and the three below
        # A family is all that goes back to one sign-in. When a used refresh token comes again, two parties hold it, so
        # the whole family falls (RFC 9700 §4.14.2).
        self._access: dict[str, str] = {}  # jti of each access token that is good -> its family
        self._refresh: dict[str, str] = {}  # refresh token that is good -> its family
        self._used: dict[str, str] = {}  # refresh token that was traded for a new one -> its family

    @property
    def api_url(self) -> str:
        """An address of the API that wants an access token; the path ``/forbidden`` answers 403 to a good one."""
        return self.url + self.api_path

    @property
    def token_requests(self) -> list[Seen]:
        """Those of `seen` that asked for a token, the refused ones as well."""
        with self._lock:
            return [seen for seen in self.seen if seen.at != "api"]

    def variables(self, prefix: str) -> dict[str, str]:
        """Return the environment variables that make a client of this system, secrets in clear."""
        credentials = {name: getattr(self, name) for name in ("client_id", "client_secret", "username", "password")}
        values = {"provider": self.name, "base_url": self.url, **credentials}
        return {f"{prefix}_{name.upper()}": value for name, value in values.items() if value}

    def revoke(self) -> None:
        """Refuse every access token issued so far; refresh tokens stay good."""
        with self._lock:
            self._access.clear()

    def revoke_refresh_tokens(self) -> None:
        """Refuse every refresh token issued so far; access tokens stay good."""
        with self._lock:
            self._refresh.clear()

    def answer(self, asked: "_Asked") -> tuple[int, Mapping[str, str], object]:
        """Decide about one request: the status, further headers, and what the JSON body says."""
        further: Mapping[str, str] = {}
        with self._lock:
            try:
                status, content = 200, self._api(asked) if asked.at == "api" else self._tokens(asked)
            except _Refusal as refusal:
                status, content = refusal.status, refusal.content
                challenge = 'Bearer error="invalid_token"' if asked.at == "api" else "Basic"
                methods = ", ".join(method for at, method in self.accepted if at == asked.at)
                further = {401: {"WWW-Authenticate": challenge}, 405: {"Allow": methods}}.get(status, {})
            self.seen.append(asked.seen(status))
        if asked.at != "api":
            time.sleep(self.latency)
        return status, further, content

    def _api(self, asked: "_Asked") -> object:
        if asked.path not in (self.api_path, "/forbidden"):
            raise _Refusal(404, "not_found")
        if asked.credentials != "Bearer" or not self._is_good(asked.authorization):
            raise _Refusal(401, "invalid_token")
        if asked.path == "/forbidden":
            raise _Refusal(403, "insufficient_scope")
        return self._received(asked)

    def _is_good(self, access_token: str) -> bool:
        try:
            claims = jwt.decode(access_token, self._key, algorithms=["HS256"]).claims
        except JoseError:
            return False
        return claims["jti"] in self._access and self._clock() < claims["exp"]

    def _received(self, asked: "_Asked") -> object:
        return {"system": self.name, "subject": self.client_id or self.username, "received": len(asked.body)}

    def _tokens(self, asked: "_Asked") -> object:
        accepted = self.accepted.get((asked.at, asked.method))
        if accepted is None:
            raise _Refusal(405, "invalid_request", "another method is wanted here")
        if asked.body and asked.media_type != self.media_type:
            raise _Refusal(415, "invalid_request", f"Content-Type has to be {self.media_type}")
        if asked.malformed:
            raise _Refusal(400, "invalid_request", "a parameter is malformed or repeated")
        if len(asked.places) > 1:
            raise _Refusal(400, "invalid_request", f"credentials in more than one place: {asked.credentials}")
        if asked.credentials not in accepted:
            # Without a client it is no 401: from /auth/refresh that means "sign in again", which would hide a mistake.
            status, error = (401, "invalid_client") if self.client_id else (400, "invalid_request")
            raise _Refusal(status, error, f"credentials go into {' or '.join(accepted)}, not {asked.credentials}")
        parameters, misplaced = asked.in_body, asked.in_query
        if asked.credentials == "query":
            parameters, misplaced = misplaced, parameters
        if misplaced:
            raise _Refusal(400, "invalid_request", "all parameters belong in one place")
        return self._shape(self._issue(self._family(asked, parameters)))

    def _family(self, asked: "_Asked", parameters: Mapping[str, str]) -> str:
        """Return the family for which *parameters* rightly ask for a token: an earlier one to renew, else a new one."""
        wanted = {"grant_type"}
        client_id, _, client_secret = asked.basic.partition(":")
        if asked.credentials == "Basic, URL-encoded":
            client_id, client_secret = unquote(client_id), unquote(client_secret)
        elif asked.credentials != "Basic":
            client_id, client_secret = parameters.get("client_id", ""), parameters.get("client_secret", "")
            wanted |= {"client_id", "client_secret"}
        if (client_id, client_secret) != (self.client_id, self.client_secret):
            raise _Refusal(401, "invalid_client", "unknown client, or not its secret")
        if "grant_type" in parameters and asked.grant_type not in self.grant_types:
            raise _Refusal(400, "unsupported_grant_type")
        if parameters.get("scope", "") != self.scope:
            raise _Refusal(400, "invalid_scope", f"scope has to be {self.scope or 'left out'}")
        if self.scope:
            wanted.add("scope")
        if asked.grant_type != "refresh_token":
            _demand(wanted, parameters)
            return secrets.token_hex()
        _demand(wanted | {"refresh_token"}, parameters)
        return self._renewed(parameters["refresh_token"], refused=400)

    def _renewed(self, refresh_token: str, refused: int) -> str:
        """Use up *refresh_token* and return its family; *refused* is the status if it is not good."""
        if refresh_token in self._used:
            self.reuses += 1
            fallen = self._used[refresh_token]
            for tokens in (self._access, self._refresh):
                for token in [token for token, family in tokens.items() if family == fallen]:
                    del tokens[token]
        if refresh_token not in self._refresh:
            raise _Refusal(refused, "invalid_grant", "the refresh token is unknown, used or revoked")
        family = self._used[refresh_token] = self._refresh.pop(refresh_token)
        return family

    def _issue(self, family: str) -> dict[str, object]:
        now, jti, refresh_token = self._clock(), secrets.token_hex(), secrets.token_urlsafe()
        claims = {"iss": self.url, "sub": self.client_id or self.username, "iat": now, "exp": now + self.lifetime}
        claims |= {"jti": jti, "scope": self.scope} if self.scope else {"jti": jti}
        self._access[jti] = self._refresh[refresh_token] = family
        return {
            "access_token": jwt.encode({"alg": "HS256"}, claims, self._key),
            "refresh_token": refresh_token,
            "token_type": self.token_type,
            "expires_in": int(self.lifetime) if self.lifetime == int(self.lifetime) else self.lifetime,
        }

    def _shape(self, tokens: Mapping[str, object]) -> object:
        return {name: tokens[name] for name in self.answered}


class UploadApi(System):
    """Basic with the secret URL-encoded, and a scope. Its version 1, ``/v1/UploadData``, takes an API key."""

    name = "upload-api"
    client_id = "5471E010-DDEE-4C98-FF8F-08DB2245E373"
    client_secret = "7rg6Gt+hUiob="
    api_key = "upload-api key of v1"
    scope = "platform_upload_api"
    token_path = "/connect/token"
    api_path = "/UploadData"
    accepted: ClassVar = {("token", "POST"): ("Basic, URL-encoded",)}
    bare = False  # True: the answer is no object but, as in the document's example, a JSON string that is the token

    def legacy_variables(self, prefix: str) -> dict[str, str]:
        """Return the environment variables that make a client of version 1, the secret in clear."""
        return {f"{prefix}_API_KEY": self.api_key}

    def _api(self, asked: "_Asked") -> object:
        if asked.path != "/v1/UploadData":
            return super()._api(asked)
        if asked.credentials != "X-API-Key" or asked.headers["x-api-key"] != self.api_key:
            raise _Refusal(401, "invalid_api_key")
        return self._received(asked)

    def _shape(self, tokens: Mapping[str, object]) -> object:
        return tokens["access_token"] if self.bare else super()._shape(tokens)


class JwtApi(System):
    """Basic with id and secret as they are, in UTF-8; the id is the user's own choice."""

    name = "jwt-api"
    client_id = "acme/ops@example"
    client_secret = "open sesame + ü"
    token_path = "/oauth/v2/token"
    accepted: ClassVar = {("token", "POST"): ("Basic",)}


class AuthApi(System):
    """A user name and password without any client, then a refresh token at an endpoint of its own."""

    name = "auth-api"
    username = "ops&sales@example"
    password = "key=value&more"
    token_path = "/auth/password"
    refresh_path = "/auth/refresh"
    accepted: ClassVar = {("token", "POST"): ("form",), ("refresh", "POST"): ("refresh token in form",)}
    answered = ("access_token", "refresh_token", "token_type", "expires_in")
    token_type = "bearer"

    def _family(self, asked: "_Asked", parameters: Mapping[str, str]) -> str:
        if asked.at == "refresh":
            _demand({"refresh_token"}, parameters)
            return self._renewed(parameters["refresh_token"], refused=401)
        _demand({"username", "password"}, parameters)
        if (parameters["username"], parameters["password"]) != (self.username, self.password):
            raise _Refusal(400, "invalid_grant", "unknown user, or not the password")
        return secrets.token_hex()


class OrganizationApi(System):
    """Basic as it is, or everything in the query. A refresh token comes with client credentials."""

    name = "organization-api"
    client_id = "organization@42"
    client_secret = "half=50% & ü"
    grant_types = ("client_credentials", "refresh_token")
    token_path = "/oauth2/token"
    accepted: ClassVar = {("token", "POST"): ("Basic", "query")}
    answered = ("access_token", "refresh_token", "token_type", "expires_in")
    token_type = "bearer"


class JsonApi(System):
    """A JSON object by POST, or the same parameters in the query by GET."""

    name = "json-api"
    client_id = "json-client"
    client_secret = 'say "hi" \\ + ü'
    token_path = "/oauth/token"
    accepted: ClassVar = {("token", "POST"): ("JSON body",), ("token", "GET"): ("query",)}
    media_type = JSON
    answered = ("access_token", "expires_in")


class Sandbox:
    """All five systems, each on a port of its own; iterating gives the systems.

    *lifetime*: seconds that access tokens are good for. *clock*: returns the Unix time that the systems go by.
    """

    def __init__(self, lifetime: float = 3600.0, clock: Callable[[], float] = time.time) -> None:
        kinds = (UploadApi, JwtApi, AuthApi, OrganizationApi, JsonApi)
        self.systems: Mapping[str, System] = MappingProxyType({kind.name: kind(lifetime, clock) for kind in kinds})
        self._servers: list[_Server] = []

    @overload
    def __getitem__(self, name: Literal["upload-api"]) -> UploadApi: ...
    @overload
    def __getitem__(self, name: str) -> System: ...
    def __getitem__(self, name: str) -> System:
        return self.systems[name]

    def __iter__(self) -> Iterator[System]:
        return iter(self.systems.values())

    def start(self) -> None:
        """Serve on free ports of 127.0.0.1 until `stop`."""
        self._servers.extend(_Server(system) for system in self)

    def stop(self) -> None:
        """Take no more requests, and cut the connections that are open; harmless when not started."""
        while self._servers:
            self._servers.pop().stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Refusal(Exception):  # noqa: N818 - an answer, not a mistake
    def __init__(self, status: int, error: str, description: str = "") -> None:
        self.status = status
        self.content = {"error": error} | ({"error_description": description} if description else {})


class _Asked:
    """A request taken apart: what it sent, and in which *places* there were credentials."""

    def __init__(self, system: System, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.path, _, query = target.partition("?")
        self.at = {system.token_path: "token", system.refresh_path: "refresh"}.get(self.path, "api")
        self.media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        self.in_query: dict[str, str] = {}
        self.in_body: dict[str, str] = {}
        self.malformed = False
        if self.at != "api":
            try:
                self.in_query = _read_form(query)
                read = {FORM: _read_form, JSON: _read_json}.get(self.media_type)
                self.in_body = read(body.decode()) if read else {}
            except ValueError:
                self.malformed = True
        self.grant_type = (self.in_query | self.in_body).get("grant_type", "")

        scheme, _, self.authorization = headers.get("authorization", "").partition(" ")
        self.basic = ""  # what Basic credentials say; "" where it is no Base64
        with suppress(ValueError):
            self.basic = b64decode(self.authorization, validate=True).decode()
        # Encoded means all of it: what has to be encoded and isn't, like +, makes it credentials as they are.
        encoded = "%" in self.basic and re.fullmatch(r"(?:[\w.~:-]|%[0-9A-Fa-f]{2})*", self.basic, re.ASCII)
        known = {"Basic": "Basic, URL-encoded" if encoded else "Basic", "Bearer": "Bearer"}
        secretive = {"client_id", "client_secret", "username", "password"}
        found = {
            known.get(scheme, "Authorization"): "authorization" in headers,
            "X-API-Key": "x-api-key" in headers,
            "query": secretive & self.in_query.keys(),
            "JSON body" if self.media_type == JSON else "form": secretive & self.in_body.keys(),
            "refresh token in form": self.at == "refresh" and "refresh_token" in self.in_body,
        }
        self.places = [place for place, there in found.items() if there]
        self.credentials = " and ".join(self.places) or "none"

    def seen(self, status: int) -> Seen:
        return Seen(
            self.at, self.method, self.target, self.headers, self.body, status, self.credentials, self.grant_type
        )


def _read_form(text: str) -> dict[str, str]:
    if not re.fullmatch(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*", text):
        raise ValueError
    return _unrepeated(parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict"))


def _read_json(text: str) -> dict[str, str]:
    parameters = json.loads(text or "{}", object_pairs_hook=_unrepeated)
    if not isinstance(parameters, dict):
        raise ValueError  # noqa: TRY004 - what was sent is wrong, not our types
    return parameters


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, str]:
    parameters = dict(pairs)
    if len(parameters) < len(pairs) or not all(isinstance(value, str) for value in parameters.values()):
        raise ValueError
    return parameters


def _demand(wanted: set[str], parameters: Mapping[str, str]) -> None:
    if parameters.keys() != wanted:
        raise _Refusal(400, "invalid_request", f"wanted are exactly: {', '.join(sorted(wanted))}")


class _Server(ThreadingTCPServer):  # HTTPServer would ask the DNS for a name, which takes seconds on some machines
    daemon_threads = True
    request_queue_size = 128  # with the default, 5, some of fifty clients that come at once wait a second or are reset

    def __init__(self, system: System) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.system = system
        self._open: set[socket] = set()
        system.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name=system.name, daemon=True)
        self._thread.start()

    def get_request(self) -> tuple[socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):  # its own thread may be closing it
                connection.shutdown(SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client may leave when it likes
            super().handle()

    def answer(self) -> None:
        headers = MappingProxyType({name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers})
        try:
            body = self._body()
        except ValueError:
            self.send_error(400)  # and close: nobody knows where the next request begins
            return
        system = self.server.system
        status, further, content = system.answer(_Asked(system, self.command, self.path, headers, body))
        payload = json.dumps(content).encode()
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"Date: {self.date_time_string()}",
            f"Content-Type: {JSON}",
            f"Content-Length: {len(payload)}",
            "Cache-Control: no-store",
            *(f"{name}: {value}" for name, value in further.items()),
        ]
        # One send for all: a body that follows in a packet of its own can wait 40 ms for the first one's ACK.
        head = "\r\n".join([*lines, "", ""]).encode()
        self.wfile.write(head if self.command == "HEAD" else head + payload)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body

    def log_message(self, *_: object) -> None:
        pass
