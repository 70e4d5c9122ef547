"""One system: a token endpoint and an API that answer what a document describes, and refuse everything else."""

import secrets
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple
from urllib.parse import unquote

from ._seen import FORM, Seen


class Reply(NamedTuple):
    """What a request is answered: content, as bytes or for JSON, a status, and further headers."""

    content: object
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})


class Refusal(Exception):  # noqa: N818 - an answer, not a mistake
    """Answers a request with *status* and an error (RFC 6749 §5.2)."""

    def __init__(self, status: int, error: str, description: str = "") -> None:
        self.status = status
        self.content = {"error": error} | ({"error_description": description} if description else {})


class IssuedTokens:
    """Issues tokens, and knows which ones are valid. The caller holds a lock.

    All tokens that descend from one sign-in are a *family*. A spent refresh token that is sent again is held by two
    parties, so the whole family is revoked (RFC 9700 §4.14.2).
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.reuses = 0  #: How many times a spent refresh token was sent.
        self.access: dict[str, tuple[str, float]] = {}  #: Valid access token -> its family, and when it expires.
        self.refresh: dict[str, str] = {}  #: Valid refresh token -> its family.
        self._spent: dict[str, str] = {}
        self._clock, self._key = clock, secrets.token_hex()

    def issue(self, family: str, claims: Mapping[str, object] | None, lifetime: float) -> tuple[str, str]:
        """Issue an access token that is valid for *lifetime* seconds, and a refresh token.

        :param claims: those of the JWT that the access token is; ``None``: it is opaque, Base64 of random bytes.
        """
        now, refresh_token = self._clock(), secrets.token_urlsafe()
        if claims is None:
            access_token = b64encode(secrets.token_bytes(32)).decode()
        else:
            from joserfc import jwk, jwt  # here, as it takes longer to load than the rest of the sandbox

            claims = {**claims, "iat": now, "exp": now + lifetime, "jti": secrets.token_hex()}
            access_token = jwt.encode({"alg": "HS256"}, claims, jwk.OctKey.import_key(self._key))
        self.access[access_token] = family, now + lifetime
        self.refresh[refresh_token] = family
        return access_token, refresh_token

    def is_valid(self, access_token: str) -> bool:
        """Return whether *access_token* was issued here, is not revoked and has not expired."""
        return access_token in self.access and self._clock() < self.access[access_token][1]

    def spend(self, refresh_token: str) -> str | None:
        """Spend *refresh_token* and return its family; ``None``: it is unknown, spent or revoked."""
        if reused := self._spent.get(refresh_token):
            self.reuses += 1
            self.access = {token: about for token, about in self.access.items() if about[0] != reused}
            self.refresh = {token: family for token, family in self.refresh.items() if family != reused}
        family = self.refresh.pop(refresh_token, None)
        if family is not None:
            self._spent[refresh_token] = family
        return family


class System:
    """One of the systems. A subclass holds what its document says, as data. Any thread may call the methods."""

    name: ClassVar[str]
    client_id: ClassVar[str] = ""
    client_secret: ClassVar[str] = ""
    username: ClassVar[str] = ""
    password: ClassVar[str] = ""
    scope: ClassVar[str] = ""  #: The scope that has to be requested; ``""``: none may be.
    grant_types: ClassVar[tuple[str, ...]] = ("client_credentials",)
    token_path: ClassVar[str]
    refresh_path: ClassVar[str | None] = None
    api_path: ClassVar[str] = "/things"
    #: Where credentials may travel, for each endpoint and method.
    accepted: ClassVar[Mapping[tuple[str, str], tuple[str, ...]]]
    media_type: ClassVar[str] = FORM
    #: The members of a token response, in order.
    answered: ClassVar[tuple[str, ...]] = ("token_type", "expires_in", "access_token")
    token_type: ClassVar[str] = "Bearer"
    token_place: ClassVar[str] = "Bearer"  #: Where an access token must travel, as in ``Seen.credentials``.
    is_opaque: ClassVar[bool] = False  #: True: an access token is no JWT.
    #: The variables of a client, besides its credentials; ``None``: the system has a provider, with its name.
    options: ClassVar[Mapping[str, str] | None] = None

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        self.url = ""  #: ``http://127.0.0.1:PORT``, once started.
        self.lifetime = lifetime  #: Seconds until the access tokens that are issued from now on expire.
        self.latency = 0.0  #: Seconds that a token request takes, after it was received and decided.
        self.seen: list[Seen] = []  #: Every request, in order.
        self._lock = threading.Lock()  # guards `seen` and `_issued`; not held while a request waits
        self._issued, self._clock = IssuedTokens(clock), clock

    @property
    def api_url(self) -> str:
        """A URL of the API that needs an access token. The path ``/forbidden`` answers 403 to a valid one."""
        return self.url + self.api_path

    @property
    def token_requests(self) -> list[Seen]:
        """The token requests among :attr:`seen`, with the refused ones."""
        with self._lock:
            return [seen for seen in self.seen if seen.at in ("token", "refresh")]

    @property
    def reuses(self) -> int:
        """How many times a spent refresh token was sent."""
        return self._issued.reuses

    def variables(self, prefix: str) -> dict[str, str]:
        """Return the environment variables of a client of this system, with its secrets."""
        credentials = {name: getattr(self, name) for name in ("client_id", "client_secret", "username", "password")}
        if self.options is None:
            values = {"provider": self.name, "base_url": self.url, **credentials}
        else:
            values = {"token_url": self.url + self.token_path, **credentials, **self.options}
        return {f"{prefix}_{name.upper()}": value for name, value in values.items() if value}

    def revoke(self) -> None:
        """Revoke every access token issued so far; refresh tokens stay valid."""
        with self._lock:
            self._issued.access.clear()

    def revoke_refresh_tokens(self) -> None:
        """Revoke every refresh token issued so far; access tokens stay valid."""
        with self._lock:
            self._issued.refresh.clear()

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, certificate: bytes | None = None
    ) -> Reply:
        """Decide one request; *certificate*: that of the client, if it came by mutual TLS."""
        path = target.partition("?")[0]
        at = {self.token_path: "token", self.refresh_path: "refresh"}.get(path, "api")
        request = Seen(at, method, target, headers, body, certificate)
        request.time = self._clock()
        with self._lock:
            try:
                reply = Reply(self._call_api(path, request)) if at == "api" else self._respond(request)
            except Refusal as refusal:
                reply, request.error = self._refuse(at, refusal), refusal.content["error"]
            request.status = reply.status
            self.seen.append(request)
        if at != "api":
            time.sleep(self.latency)
        return reply

    def _refuse(self, at: str, refusal: Refusal) -> Reply:
        challenge = 'Bearer error="invalid_token"' if at == "api" else "Basic"
        methods = ", ".join(method for place, method in self.accepted if place == at)
        further = {401: {"WWW-Authenticate": challenge}, 405: {"Allow": methods}}.get(refusal.status, {})
        return Reply(refusal.content, refusal.status, further)

    def _call_api(self, path: str, request: Seen) -> object:
        if path not in (self.api_path, "/forbidden"):
            raise Refusal(404, "not_found")
        if not self._has_valid_token(request):
            raise Refusal(401, "invalid_token")
        if path == "/forbidden":
            raise Refusal(403, "insufficient_scope")
        return self._received(request)

    def _has_valid_token(self, request: Seen) -> bool:
        return request.credentials == self.token_place and self._issued.is_valid(request.token)

    def _received(self, request: Seen) -> object:
        return {"system": self.name, "subject": self.client_id or self.username, "received": len(request.body)}

    def _respond(self, request: Seen) -> Reply:
        """Answer a token request."""
        family = self._family(request, self._parameters(request))
        claims = None if self.is_opaque else self._claims(family)
        access_token, refresh_token = self._issued.issue(family, claims, self.lifetime)
        members = {
            "access_token": access_token,
            "refresh_token": refresh_token,
            "token_type": self.token_type,
            "expires_in": int(self.lifetime) if self.lifetime == int(self.lifetime) else self.lifetime,
        }
        return self._shape(members)

    def _claims(self, family: str) -> dict[str, object]:  # noqa: ARG002 - a system may bind tokens to it
        """Return the claims of a new access token, besides those of its time."""
        scope = {"scope": self.scope} if self.scope else {}
        return {"iss": self.url, "sub": self.client_id or self.username, **scope}

    def _shape(self, members: Mapping[str, object]) -> Reply:
        return Reply({name: members[name] for name in self.answered})

    def _parameters(self, request: Seen) -> Mapping[str, str]:
        """Return the parameters of a token request that has its credentials in one place that the document allows."""
        accepted = self.accepted.get((request.at, request.method))
        if accepted is None:
            raise Refusal(405, "invalid_request", "this endpoint needs another method")
        if request.body and request.media_type != self.media_type:
            raise Refusal(415, "invalid_request", f"Content-Type must be {self.media_type}")
        if request.is_malformed:
            raise Refusal(400, "invalid_request", "a parameter is malformed or repeated")
        if len(request.places) > 1:
            raise Refusal(400, "invalid_request", f"credentials in more than one place: {request.credentials}")
        if request.credentials not in accepted:
            # No 401 without a client: from /auth/refresh it means "sign in again", which would hide a mistake.
            status, error = (401, "invalid_client") if self.client_id else (400, "invalid_request")
            raise Refusal(status, error, f"credentials must be in {' or '.join(accepted)}, not {request.credentials}")
        parameters, misplaced = request.in_body, request.in_query
        if request.credentials == "query":
            parameters, misplaced = misplaced, parameters
        if misplaced:
            raise Refusal(400, "invalid_request", "all parameters must be in one place")
        return parameters

    def _family(self, request: Seen, parameters: Mapping[str, str]) -> str:
        """Return the family of the new token: an earlier one for a refresh token, else a new one."""
        names = {"grant_type"}
        client_id, _, client_secret = request.basic.partition(":")
        if request.credentials == "Basic, URL-encoded":
            client_id, client_secret = unquote(client_id), unquote(client_secret)
        elif request.credentials != "Basic":
            client_id, client_secret = parameters.get("client_id", ""), parameters.get("client_secret", "")
            names |= {"client_id", "client_secret"}
        if (client_id, client_secret) != (self.client_id, self.client_secret):
            raise Refusal(401, "invalid_client", "unknown client, or not its secret")
        if "grant_type" in parameters and request.grant_type not in self.grant_types:
            raise Refusal(400, "unsupported_grant_type")
        if parameters.get("scope", "") != self.scope:
            raise Refusal(400, "invalid_scope", f"scope must be {self.scope or 'left out'}")
        if self.scope:
            names.add("scope")
        if request.grant_type == "refresh_token":
            return self._refresh(parameters, names, status=400)
        require(names, parameters)
        return secrets.token_hex()

    def _refresh(self, parameters: Mapping[str, str], names: set[str], status: int) -> str:
        require(names | {"refresh_token"}, parameters)
        family = self._issued.spend(parameters["refresh_token"])
        if family is None:
            raise Refusal(status, "invalid_grant", "the refresh token is unknown, spent or revoked")
        return family


def require(names: set[str], parameters: Mapping[str, str]) -> None:
    """Refuse *parameters* unless their names are exactly *names*."""
    if parameters.keys() != names:
        raise Refusal(400, "invalid_request", f"the parameters must be exactly: {', '.join(sorted(names))}")
