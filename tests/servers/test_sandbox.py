"""The sandbox answers what the documents of its systems describe, and refuses everything else."""

import json
import re
import socket
import struct
import threading
import time
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

import auth_plugins.sandbox
from auth_plugins.sandbox import Sandbox, System
from tests.support.forks import forks, in_child

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Ask:
    """A request; ``None`` leaves that header out."""

    method: str
    target: str
    authorization: str | None = None
    media_type: str | None = None
    body: str | bytes = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def content(self) -> Any:
        return json.loads(self.text)


def connect(system: System) -> HTTPConnection:
    return HTTPConnection(urlsplit(system.url).netloc, timeout=10)


def send(system: System, ask: Ask) -> Reply:
    named = {"Authorization": ask.authorization, "Content-Type": ask.media_type, **ask.headers}
    headers = {name: value for name, value in named.items() if value is not None}
    body = ask.body if isinstance(ask.body, bytes) else ask.body.encode()
    with closing(connect(system)) as connection:
        connection.request(ask.method, ask.target, body, headers)
        response = connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read().decode())


def carrying(access_token: str, path: str, places: str) -> Ask:
    """A request of the API that carries the token in one or more places."""
    return Ask(
        "GET",
        f"{path}?access_token={quote(access_token, safe='')}" if "query" in places else path,
        f"Bearer {access_token}" if "Bearer" in places else None,
        headers={"X-Auth-Token": access_token} if "X-Auth-Token" in places else {},
    )


def call(system: System, access_token: str, path: str = "") -> int:
    """What the API answers to that token, in the place that it wants."""
    return send(system, carrying(access_token, path or urlsplit(system.api_url).path, system.token_place)).status


def claims(access_token: str) -> Any:
    payload = access_token.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def basic(text: str, encoding: str = "utf-8") -> str:
    return "Basic " + b64encode(text.encode(encoding)).decode()


# Spelt out, not computed: these are the bytes that the documents ask for.
CLIENT_CREDENTIALS = "grant_type=client_credentials"
UPLOAD_ID = "5471E010-DDEE-4C98-FF8F-08DB2245E373"
UPLOAD_FORM = f"{CLIENT_CREDENTIALS}&scope=platform_upload_api"
UPLOAD = Ask("POST", "/connect/token", basic(f"{UPLOAD_ID}:7rg6Gt%2BhUiob%3D"), FORM, UPLOAD_FORM)
JWT = Ask("POST", "/oauth/v2/token", basic("acme/ops@example:open sesame + ü"), FORM, CLIENT_CREDENTIALS)
USER = "username=ops%26sales%40example&password=key%3Dvalue%26more"
AUTH = Ask("POST", "/auth/password", None, FORM, USER)
AUTH_REFRESH = replace(AUTH, target="/auth/refresh", body="refresh_token=wrong")
RENEWAL = "grant_type=refresh_token&refresh_token=wrong"
ORGANIZATION = Ask("POST", "/oauth2/token", basic("organization@42:half=50% & ü"), FORM, CLIENT_CREDENTIALS)
ORGANIZATION_CLIENT = "client_id=organization%4042&client_secret=half%3D50%25+%26+%C3%BC"
ORGANIZATION_QUERY = Ask("POST", f"/oauth2/token?{CLIENT_CREDENTIALS}&{ORGANIZATION_CLIENT}")
JSON_BODY = {"client_id": "json-client", "client_secret": 'say "hi" \\ + ü', "grant_type": "client_credentials"}
JSON = Ask("POST", "/oauth/token", None, "application/json", json.dumps(JSON_BODY))
JSON_CLIENT = "client_id=json-client&client_secret=say%20%22hi%22%20%5C%20%2B%20%C3%BC"
JSON_GET = Ask("GET", f"/oauth/token?{CLIENT_CREDENTIALS}&{JSON_CLIENT}")
KEY = {"X-API-Key": "upload-api key of v1"}
APP = {"app_id": "app-7", "app_secret": "nested / secret + ü"}
NESTED = Ask("POST", "/api/login", None, "application/json", json.dumps(APP))
CLERK = "username=clerk%40example&password=session%26password+%3D+%C3%BC"
SESSION = Ask("POST", "/sessions", None, FORM, CLERK)
QUERY_CLIENT = "client_id=query-client&client_secret=query+%26+secret+%3D+%C3%BC"
QUERY_FORM = f"{CLIENT_CREDENTIALS}&{QUERY_CLIENT}"
QUERY = Ask("POST", "/oauth/token", None, FORM, QUERY_FORM)

# Parts of all that is secret, as it is and encoded, and of what the refused requests send in its place.
SECRETS = (
    "7rg6Gt", "sesame", "key=value", "key%3Dvalue", "half=50", "half%3D50", "say ", "say%20", "of v1", "wrong",
    "nested /", "session&", "session%26", "query &", "query+%26",
)  # fmt: skip


def proof(ask: Ask, text: str, encoding: str = "utf-8") -> Ask:
    """*ask* with other Basic credentials."""
    return replace(ask, authorization=basic(text, encoding))


def sent(ask: Ask, body: str | bytes) -> Ask:
    """*ask* with another body."""
    return replace(ask, body=body)


def member(**members: object) -> Ask:
    """json-api's request with other members in its body."""
    return sent(JSON, json.dumps(JSON_BODY | members))


def at(ask: Ask, query: str) -> Ask:
    """*ask* with *query* in its target, after what is there."""
    return replace(ask, target=f"{ask.target}{'&' if '?' in ask.target else '?'}{query}")


def refresh(system: System, refresh_token: str) -> Reply:
    if system.name == "auth-api":
        return send(system, sent(AUTH_REFRESH, f"refresh_token={refresh_token}"))
    return send(system, sent(ORGANIZATION, f"grant_type=refresh_token&refresh_token={refresh_token}"))


def exchange(system: System, request: bytes) -> bytes:
    """All that is answered to *request*, until the system closes."""
    with socket.create_connection(("127.0.0.1", urlsplit(system.url).port or 0), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(clock=clock) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def standing() -> Iterator[Sandbox]:
    """One sandbox for all requests that leave nothing behind."""
    with Sandbox() as sandbox:
        yield sandbox


# ---- The token endpoints

PLAIN = {"access_token", "token_type", "expires_in"}
RENEWABLE = PLAIN | {"refresh_token"}


@pytest.mark.parametrize(
    ("name", "ask", "credentials", "answered", "token_type"),
    [
        ("upload-api", UPLOAD, "Basic, URL-encoded", PLAIN, "Bearer"),
        ("jwt-api", JWT, "Basic", PLAIN, "Bearer"),
        ("auth-api", AUTH, "form", RENEWABLE, "bearer"),
        ("organization-api", ORGANIZATION, "Basic", RENEWABLE, "bearer"),
        ("organization-api", ORGANIZATION_QUERY, "query", RENEWABLE, "bearer"),
        ("json-api", JSON, "JSON body", {"access_token", "expires_in"}, None),
        ("json-api", JSON_GET, "query", {"access_token", "expires_in"}, None),
        ("query-api", QUERY, "form", PLAIN, "Bearer"),
    ],
)
def test_documented_request_is_answered_as_documented(
    standing: Sandbox, name: str, ask: Ask, credentials: str, answered: set[str], token_type: str | None
) -> None:
    """The documented request is answered as documented, the API accepts the token, and the request is recorded."""
    system = standing[name]
    reply = send(system, ask)
    assert (reply.status, set(reply.content)) == (200, answered)
    assert (reply.content.get("token_type"), repr(reply.content["expires_in"])) == (token_type, "3600")
    assert (reply.headers["Content-Type"], reply.headers["Cache-Control"]) == ("application/json", "no-store")
    seen = system.seen[-1]
    assert (seen.at, seen.status, seen.credentials) == ("token", 200, credentials)
    assert seen.grant_type == ("" if name == "auth-api" else "client_credentials")
    assert call(system, reply.content["access_token"]) == 200


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("jwt-api", replace(JWT, media_type=f"{FORM};charset=UTF-8")),
        ("upload-api", proof(UPLOAD, f"%35{UPLOAD_ID[1:]}:7rg6Gt%2bhUiob%3d")),
        ("json-api", replace(JSON_GET, target=JSON_GET.target.replace("%20", "+"))),
    ],
    ids=["charset of a form", "lower-case hex", "plus for a space"],
)
def test_another_spelling_of_the_same_is_answered(standing: Sandbox, name: str, ask: Ask) -> None:
    """A request that means the same by the standards is accepted."""
    assert send(standing[name], ask).status == 200


# For each rule, the systems in which it can break.
REFUSED: dict[tuple[str, int, str], dict[str, Ask]] = {
    ("upload-api", 401, "invalid_client"): {
        "secret as it is": proof(UPLOAD, f"{UPLOAD_ID}:7rg6Gt+hUiob="),
        "not Base64": replace(UPLOAD, authorization=f"{UPLOAD.authorization}!"),
        "scheme in lower case": replace(UPLOAD, authorization=f"b{str(UPLOAD.authorization)[1:]}"),
        "nothing": replace(UPLOAD, authorization=None),
        "API key of v1": replace(UPLOAD, authorization=None, headers=KEY),
    },
    ("upload-api", 400, "invalid_request"): {
        "API key as well": replace(UPLOAD, headers=KEY),
        "further parameter": sent(UPLOAD, f"{UPLOAD_FORM}&audience=wrong"),
    },
    ("upload-api", 400, "invalid_scope"): {
        "no scope": sent(UPLOAD, CLIENT_CREDENTIALS),
        "two scopes": sent(UPLOAD, f"{UPLOAD_FORM}+wrong"),
    },
    ("jwt-api", 401, "invalid_client"): {
        "percent-encoded": proof(JWT, "acme%2Fops%40example:open%20sesame%20%2B%20%C3%BC"),
        "Latin-1": proof(JWT, "acme/ops@example:open sesame + ü", "latin-1"),
        "in the query": at(replace(JWT, authorization=None), "client_id=acme&client_secret=wrong"),
    },
    ("jwt-api", 400, "invalid_request"): {
        "id in the form as well": sent(JWT, f"{CLIENT_CREDENTIALS}&client_id=acme"),
        "grant type in the query as well": at(JWT, CLIENT_CREDENTIALS),
        "repeated": sent(JWT, f"{CLIENT_CREDENTIALS}&{CLIENT_CREDENTIALS}"),
        "broken percent-encoding": sent(JWT, f"{CLIENT_CREDENTIALS}%zz"),
        "percent-encoded, not UTF-8": sent(JWT, f"{CLIENT_CREDENTIALS}%ff"),
        "space not encoded": sent(JWT, "grant_type=client credentials"),
    },
    ("jwt-api", 404, "not_found"): {
        "slash at the end": replace(JWT, target="/oauth/v2/token/"),
        "another system's path": replace(JWT, target="/UploadData"),
    },
    ("jwt-api", 400, "unsupported_grant_type"): {"refresh token": sent(JWT, RENEWAL)},
    ("jwt-api", 400, "invalid_scope"): {"any": sent(JWT, f"{CLIENT_CREDENTIALS}&scope=wrong")},
    ("jwt-api", 415, "invalid_request"): {
        "JSON": replace(JWT, media_type="application/json", body='{"grant_type": "client_credentials"}'),
    },
    ("auth-api", 400, "invalid_grant"): {
        "wrong password": sent(AUTH, f"{USER}wrong"),
    },
    ("auth-api", 400, "invalid_request"): {
        "a grant type": sent(AUTH, f"grant_type=password&{USER}"),
        "Basic as well": replace(AUTH, authorization=basic("acme:wrong")),
        "query": at(sent(AUTH, ""), USER),
        "refresh token for a password": sent(AUTH, "refresh_token=wrong"),
        "refresh: a grant type": sent(AUTH_REFRESH, RENEWAL),
    },
    ("auth-api", 401, "invalid_grant"): {"refresh: unknown": AUTH_REFRESH},
    ("organization-api", 401, "invalid_client"): {
        "percent-encoded": proof(ORGANIZATION, "organization%4042:half%3D50%25%20%26%20%C3%BC"),
        "form": replace(ORGANIZATION, authorization=None, body=f"{CLIENT_CREDENTIALS}&{ORGANIZATION_CLIENT}"),
        "query: wrong secret": at(Ask("POST", "/oauth2/token"), f"{CLIENT_CREDENTIALS}&{ORGANIZATION_CLIENT}wrong"),
    },
    ("organization-api", 400, "invalid_request"): {
        "Basic, and client in the query": at(ORGANIZATION, ORGANIZATION_CLIENT),
        "query, grant type in the form": at(replace(ORGANIZATION, authorization=None), ORGANIZATION_CLIENT),
        "refresh token without its grant type": sent(ORGANIZATION, f"{CLIENT_CREDENTIALS}&refresh_token=wrong"),
    },
    ("organization-api", 400, "invalid_grant"): {
        "unknown refresh token": sent(ORGANIZATION, RENEWAL),
    },
    ("json-api", 401, "invalid_client"): {
        "Basic": replace(JSON, authorization=basic("acme:wrong"), body='{"grant_type": "client_credentials"}'),
        "POST: query": replace(JSON_GET, method="POST"),
    },
    ("json-api", 400, "invalid_request"): {
        "query as well": at(JSON, JSON_CLIENT),
        "secret is a number": member(client_secret=1),
        "repeated member": sent(JSON, f'{{"client_id": "json-client", {json.dumps(JSON_BODY)[1:]}'),
        "no object": sent(JSON, '["wrong"]'),
        "not UTF-8": sent(JSON, b'{"client_id": "\xff"}'),
    },
    ("json-api", 415, "invalid_request"): {
        "form": replace(JSON, media_type=FORM, body=f"{CLIENT_CREDENTIALS}&{JSON_CLIENT}"),
    },
    ("query-api", 401, "invalid_client"): {
        "Basic": replace(QUERY, authorization=basic("query-client:wrong"), body=CLIENT_CREDENTIALS),
        "wrong secret": sent(QUERY, f"{QUERY_FORM}wrong"),
        "query": at(sent(QUERY, ""), QUERY_FORM),
    },
}


@pytest.mark.parametrize(
    ("name", "status", "error", "ask"),
    [
        pytest.param(name, status, error, ask, id=f"{name}: {status} {error}: {why}")
        for (name, status, error), asks in REFUSED.items()
        for why, ask in asks.items()
    ],
)
def test_anything_else_is_refused(standing: Sandbox, name: str, status: int, error: str, ask: Ask) -> None:
    """Every other request is refused as RFC 6749 says, and the answer repeats no secret."""
    reply = send(standing[name], ask)
    assert (reply.status, reply.content["error"]) == (status, error)
    assert reply.headers.get("WWW-Authenticate") == ("Basic" if status == 401 else None)
    assert not [part for part in SECRETS if part in reply.text]
    assert standing[name].seen[-1].status == status


@pytest.mark.parametrize(
    ("name", "ask", "content"),
    [
        # The HTTP status is in the content, under a 200.
        ("nested-api", sent(NESTED, json.dumps({**APP, "app_secret": "wrong"})), {"code": 401, "body": None}),
        ("nested-api", sent(NESTED, json.dumps({**APP, "grant_type": "wrong"})), {"code": 400, "body": None}),
        ("nested-api", sent(NESTED, json.dumps({"client_id": "app-7"})), {"code": 400, "body": None}),
        ("nested-api", replace(NESTED, media_type=FORM, body="app_id=wrong"), {"code": 415, "body": None}),
        ("nested-api", Ask("GET", "/api/login?app_id=app-7&app_secret=wrong"), {"code": 405, "body": None}),
        ("session-api", sent(SESSION, f"{CLERK}wrong"), {"error": "invalid_login"}),
        ("session-api", sent(SESSION, f"grant_type=password&{CLERK}"), {"error": "invalid_request"}),
        ("session-api", Ask("GET", "/sessions"), {"error": "invalid_request"}),
    ],
)  # fmt: skip
def test_a_dialect_refuses_in_its_own_way(
    standing: Sandbox, name: str, ask: Ask, content: Mapping[str, object]
) -> None:
    """Refused is everything else: with a 200 and a code in nested-api, and without a challenge in session-api."""
    reply = send(standing[name], ask)
    statuses = {"invalid_login": 401, "invalid_request": 405 if ask.method == "GET" else 400}
    assert reply.status == statuses.get(str(content.get("error")), 200)
    assert content.items() <= reply.content.items()
    assert "WWW-Authenticate" not in reply.headers
    assert reply.headers.get("Allow") == ("POST" if reply.status == 405 else None)
    assert not [part for part in SECRETS if part in reply.text]


def test_a_dialect_answers_in_its_own_way(sandbox: Sandbox, clock: Clock) -> None:
    """A token is nested, with a date as its expiry; or it comes in a header, and nothing tells its expiry."""
    nested, session = sandbox["nested-api"], sandbox["session-api"]
    reply = send(nested, NESTED)
    content = reply.content
    token = content["body"].pop("access_token")
    expires = datetime.fromtimestamp(clock.now + 3600, UTC).isoformat(timespec="milliseconds")
    assert (reply.status, content) == (200, {"code": 0, "msg": "ok", "body": {"expires": expires}})
    assert (call(nested, token), nested.seen[0].credentials, nested.seen[0].grant_type) == (200, "JSON body", "")
    reply = send(session, SESSION)
    assert (reply.status, reply.content) == (201, {"user": "clerk@example"})
    assert (call(session, reply.headers["X-Auth-Token"]), session.seen[0].credentials) == (200, "form")
    clock.now += 3600
    assert [call(nested, token), call(session, reply.headers["X-Auth-Token"])] == [401, 401]


@pytest.mark.parametrize(
    ("name", "method", "target", "allow"),
    [
        ("upload-api", "GET", f"/connect/token?{UPLOAD_FORM}", "POST"),
        ("json-api", "HEAD", JSON_GET.target, "POST, GET"),
    ],
)
def test_other_methods_are_not_allowed(standing: Sandbox, name: str, method: str, target: str, allow: str) -> None:
    """Another method is answered 405, with the allowed ones."""
    reply = send(standing[name], Ask(method, target))
    assert (reply.status, reply.headers["Allow"]) == (405, allow)
    assert not [part for part in SECRETS if part in reply.text]


def test_a_header_that_is_sent_twice_is_refused(standing: Sandbox) -> None:
    """Credentials that are sent twice are refused, even if both are right."""
    proof = f"Authorization: {JWT.authorization}\r\n".encode()
    rest = f"Content-Type: {FORM}\r\nContent-Length: 29\r\nConnection: close\r\n\r\n{CLIENT_CREDENTIALS}".encode()
    for count, status in ((1, b"200"), (2, b"401")):
        answer = exchange(standing["jwt-api"], b"POST /oauth/v2/token HTTP/1.1\r\n" + count * proof + rest)
        assert answer.startswith(b"HTTP/1.1 %s " % status)


# ---- Refresh tokens


@pytest.fixture(params=["auth-api", "organization-api"])
def renewable(request: pytest.FixtureRequest, sandbox: Sandbox) -> System:
    """Each system that gives refresh tokens."""
    name: str = request.param
    return sandbox[name]


def sign_in(system: System) -> Any:
    return send(system, AUTH if system.name == "auth-api" else ORGANIZATION).content


def is_refused(system: System, refresh_token: str) -> bool:
    reply = refresh(system, refresh_token)
    status = 401 if system.name == "auth-api" else 400
    return (reply.status, reply.content.get("error")) == (status, "invalid_grant")


def test_a_refresh_token_gives_new_tokens(renewable: System) -> None:
    """A refresh token gives a new token of each kind; earlier access tokens stay valid."""
    first = sign_in(renewable)
    reply = refresh(renewable, first["refresh_token"])
    assert (reply.status, set(reply.content)) == (200, RENEWABLE)
    assert not set(first.values()) & {reply.content["access_token"], reply.content["refresh_token"]}
    assert [call(renewable, tokens["access_token"]) for tokens in (first, reply.content)] == [200, 200]
    assert refresh(renewable, reply.content["refresh_token"]).status == 200
    assert renewable.reuses == 0


def test_a_spent_refresh_token_revokes_its_family(renewable: System) -> None:
    """A spent refresh token is refused and revokes all tokens of its sign-in; those of another sign-in stay valid."""
    first, other = sign_in(renewable), sign_in(renewable)
    second = refresh(renewable, first["refresh_token"]).content
    assert is_refused(renewable, first["refresh_token"])
    assert is_refused(renewable, second["refresh_token"])
    assert [call(renewable, tokens["access_token"]) for tokens in (first, second, other)] == [401, 401, 200]
    assert renewable.reuses == 1
    assert is_refused(renewable, first["refresh_token"])
    assert renewable.reuses == 2
    assert refresh(renewable, other["refresh_token"]).status == 200


def test_one_of_fifty_callers_spends_a_refresh_token(renewable: System) -> None:
    """A refresh token that fifty threads send at once gives a token to one of them; the others count as reuses."""
    refresh_token = sign_in(renewable)["refresh_token"]
    with ThreadPoolExecutor(50) as pool:
        statuses = [reply.status for reply in pool.map(lambda _: refresh(renewable, refresh_token), range(50))]
    assert (statuses.count(200), renewable.reuses, len(renewable.token_requests)) == (1, 49, 51)


def test_each_kind_of_token_is_revoked_alone(renewable: System) -> None:
    """``revoke`` revokes access tokens, and ``revoke_refresh_tokens`` refresh tokens; neither counts as a reuse."""
    tokens = sign_in(renewable)
    renewable.revoke()
    assert call(renewable, tokens["access_token"]) == 401
    tokens = refresh(renewable, tokens["refresh_token"]).content
    assert call(renewable, tokens["access_token"]) == 200
    renewable.revoke_refresh_tokens()
    assert is_refused(renewable, tokens["refresh_token"])
    assert call(renewable, tokens["access_token"]) == 200
    assert renewable.reuses == 0
    assert refresh(renewable, sign_in(renewable)["refresh_token"]).status == 200


def test_organization_refreshes_in_the_query_as_well(sandbox: Sandbox) -> None:
    """With client credentials in the query, a refresh token in the query is accepted."""
    system = sandbox["organization-api"]
    refresh_token = send(system, ORGANIZATION_QUERY).content["refresh_token"]
    renewal = f"grant_type=refresh_token&refresh_token={refresh_token}&{ORGANIZATION_CLIENT}"
    assert send(system, Ask("POST", f"/oauth2/token?{renewal}")).status == 200
    assert (system.seen[-1].credentials, system.seen[-1].grant_type) == ("query", "refresh_token")


# ---- Access tokens and the API


def test_access_token_is_a_signed_jwt_that_says_what_it_is(sandbox: Sandbox, clock: Clock) -> None:
    """The JWT has issuer, subject, times, and the scope if there is one."""
    upload = claims(send(sandbox["upload-api"], UPLOAD).content["access_token"])
    auth = claims(sign_in(sandbox["auth-api"])["access_token"])
    assert upload.pop("jti") != auth.pop("jti")
    times = {"iat": clock.now, "exp": clock.now + 3600}
    assert auth == {"iss": sandbox["auth-api"].url, "sub": "ops&sales@example", **times}
    assert upload == {
        "iss": sandbox["upload-api"].url,
        "sub": UPLOAD_ID,
        "scope": "platform_upload_api",
        **times,
    }


@pytest.mark.parametrize(("lifetime", "expires_in"), [(3600.0, "3600"), (0.5, "0.5")])
def test_an_access_token_is_valid_until_it_expires(
    sandbox: Sandbox, clock: Clock, lifetime: float, expires_in: str
) -> None:
    """A token is valid for as long as its ``expires_in`` says, to fractions of a second."""
    system = sandbox["jwt-api"]
    system.lifetime = lifetime
    tokens = send(system, JWT).content
    assert json.dumps(tokens["expires_in"]) == expires_in
    clock.now += lifetime - 0.125
    assert call(system, tokens["access_token"]) == 200
    clock.now += 0.125
    assert call(system, tokens["access_token"]) == 401


def test_the_api_rejects_everything_but_a_valid_token(sandbox: Sandbox) -> None:
    """The API accepts only this system's own, unchanged token, and only as ``Authorization: Bearer``."""
    system = sandbox["jwt-api"]
    token = send(system, JWT).content["access_token"]
    good = Ask("GET", "/things", f"Bearer {token}")
    asks = {
        "nothing": replace(good, authorization=None),
        "another system's": replace(
            good, authorization=f"Bearer {send(sandbox['json-api'], JSON).content['access_token']}"
        ),
        "altered": replace(good, authorization=f"Bearer {token[:-5]}AAAAA"),
        "lower case": replace(good, authorization=f"bearer {token}"),
        "query": Ask("GET", f"/things?access_token={token}"),
        "API key as well": replace(good, headers=KEY),
        "nothing, forbidden": Ask("GET", "/forbidden"),
    }
    replies = {why: send(system, ask) for why, ask in asks.items()}
    assert [call(system, token, "/forbidden"), call(system, token)] == [403, 200]
    assert {why: reply.status for why, reply in replies.items()} == dict.fromkeys(asks, 401)
    assert {reply.headers["WWW-Authenticate"] for reply in replies.values()} == {'Bearer error="invalid_token"'}
    assert not [why for why, reply in replies.items() if token in reply.text]


def token_of(system: System) -> str:
    """A new token of one of the three dialects."""
    reply = send(system, {"nested-api": NESTED, "session-api": SESSION, "query-api": QUERY}[system.name])
    members = reply.content.get("body", reply.content)
    return str(members.get("access_token", reply.headers.get("X-Auth-Token")))


@pytest.mark.parametrize(
    ("name", "place", "refused"),
    [
        ("nested-api", "Bearer", (401, "invalid_token", 'Bearer error="invalid_token"')),
        ("session-api", "X-Auth-Token", (401, "invalid_token", None)),
        ("query-api", "query", (403, "token_expired", None)),
    ],
)
def test_a_token_is_valid_in_its_own_place_only(
    sandbox: Sandbox, clock: Clock, name: str, place: str, refused: tuple[int, str, str | None]
) -> None:
    """A token that is elsewhere, in two places, twice in one, revoked or expired is refused as the API does it."""
    system, others = sandbox[name], {"Bearer", "X-Auth-Token", "query", "none"} - {place}
    token = token_of(system)
    assert [call(system, token), call(system, token, "/forbidden"), call(system, token, "/other")] == [200, 403, 404]
    assert (len(token), "." in token) == (44, False), "it is opaque: no claim tells its expiry"
    good = carrying(token, "/things", place)
    asks = [carrying(token, "/things", other) for other in others]
    asks += [carrying(token, "/things", f"{place} and {other}") for other in others - {"none"}]
    asks += [at(good, f"access_token={quote(token, safe='')}"), carrying(f"{token[:-5]}AAAA=", "/things", place)]
    replies = [send(system, ask) for ask in asks]
    assert system.seen[-1].credentials == place
    system.revoke()
    replies.append(send(system, good))
    expired = token_of(system)
    clock.now += 3600
    replies.append(send(system, carrying(expired, "/things", place)))
    got = [(reply.status, reply.content["error"], reply.headers.get("WWW-Authenticate")) for reply in replies]
    assert got == [refused] * 9


def test_graphql_says_no_in_a_200(sandbox: Sandbox) -> None:
    """query-api's ``/graphql`` answers 200 to all, and an error to those without a valid token."""
    system = sandbox["query-api"]
    token = token_of(system)
    path = urlsplit(system.graphql_url).path
    replies = [send(system, carrying(token, path, place)) for place in ("query", "Bearer")]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].content == {"data": {"system": "query-api", "subject": "query-client", "received": 0}}
    assert replies[1].content["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_the_api_says_what_it_received(sandbox: Sandbox, method: str) -> None:
    """For each method, the API answers who called it, and how many bytes came."""
    system = sandbox["auth-api"]
    token = send(system, AUTH).content["access_token"]
    reply = send(system, Ask(method, "/things?x=1&x=%", f"Bearer {token}", "text/csv", "a;b\n"))
    assert reply.content == {"system": "auth-api", "subject": "ops&sales@example", "received": 4}


def test_version_1_accepts_the_api_key_only(sandbox: Sandbox) -> None:
    """upload-api's version 1 accepts the key in its header and no token; version 2 does not accept the key."""
    system = sandbox["upload-api"]
    asks = [Ask("POST", "/v1/UploadData", headers=headers) for headers in (KEY, {}, {"X-API-Key": "wrong"})]
    asks.append(replace(asks[0], authorization=UPLOAD.authorization))
    assert [send(system, ask).status for ask in asks] == [200, 401, 401, 401]
    assert send(system, replace(asks[0], target="/UploadData")).status == 401
    token = send(system, UPLOAD).content["access_token"]
    assert call(system, token, "/v1/UploadData") == 401


# ---- What a test can read


def test_systems_are_found_by_name_and_iterated(standing: Sandbox) -> None:
    """A system is found by its name; iterating gives all, each on a port of its own."""
    assert [system.name for system in standing] == list(standing.systems)
    assert {standing[system.name] for system in standing} == set(standing.systems.values())
    assert len({system.url for system in standing}) == len(standing.systems)
    paths = {system.name: system.api_url.removeprefix(system.url) for system in standing}
    assert paths == dict.fromkeys(standing.systems, "/things") | {"upload-api": "/UploadData"}


def test_every_request_is_seen_as_it_came(sandbox: Sandbox) -> None:
    """Every request is recorded as it came, in order."""
    system = sandbox["auth-api"]
    tokens = sign_in(system)
    refresh(system, tokens["refresh_token"])
    call(system, tokens["access_token"], "/things?page=1")
    send(system, Ask("POST", "/nowhere", body="x", headers={"X-Trace": "7"}))
    assert [(seen.at, seen.method, seen.target, seen.status, seen.credentials) for seen in system.seen] == [
        ("token", "POST", "/auth/password", 200, "form"),
        ("refresh", "POST", "/auth/refresh", 200, "refresh token in form"),
        ("api", "GET", "/things?page=1", 200, "Bearer"),
        ("api", "POST", "/nowhere", 404, "none"),
    ]
    assert system.token_requests == system.seen[:2]
    assert system.seen[0].body == USER.encode()
    assert (system.seen[3].headers["x-trace"], system.seen[3].body) == ("7", b"x")
    assert [other.seen for other in sandbox if other is not system] == [[]] * (len(sandbox.systems) - 1)


@pytest.mark.parametrize(
    ("name", "ask", "credentials"),
    [
        ("upload-api", proof(UPLOAD, f"{UPLOAD_ID}:7rg6Gt+hUiob%3D"), "Basic"),
        ("jwt-api", replace(JWT, authorization="basic wrong"), "Authorization"),
        ("jwt-api", sent(JWT, "password=wrong"), "Basic and form"),
        ("jwt-api", replace(JSON, target=JWT.target), "JSON body"),
        ("auth-api", sent(AUTH_REFRESH, f"{USER}&refresh_token=wrong"), "form and refresh token in form"),
        ("upload-api", Ask("GET", "/UploadData?client_secret=wrong"), "none"),
    ],
)
def test_misplaced_credentials_are_seen_where_they_were(
    standing: Sandbox, name: str, ask: Ask, credentials: str
) -> None:
    """Where the credentials of a refused request travelled is recorded as well."""
    send(standing[name], ask)
    assert standing[name].seen[-1].credentials == credentials


def test_seen_prints_no_secret(sandbox: Sandbox) -> None:
    """The ``repr`` of a recorded request shows no secret, wherever it travelled."""
    for system, ask in zip(sandbox, (UPLOAD, JWT, AUTH, ORGANIZATION_QUERY, JSON), strict=False):
        call(system, send(system, ask).content["access_token"])
    for name in ("nested-api", "session-api", "query-api"):
        call(sandbox[name], token_of(sandbox[name]))
    printed = repr([system.seen for system in sandbox])
    assert "Basic, URL-encoded" in printed
    assert not [part for part in (*SECRETS, "Bearer ", "eyJ", "Basic ") if part in printed]


def test_latency_delays_token_requests_alone(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """``latency`` delays good and bad token requests after they are recorded, and delays no API request."""
    system = sandbox["jwt-api"]
    waits: list[tuple[float, int]] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: waits.append((seconds, len(system.seen))))
    system.latency = 0.25
    token = send(system, JWT).content["access_token"]
    send(system, replace(JWT, authorization=None))
    call(system, token)
    assert waits == [(0.25, 1), (0.25, 2)]


# ---- HTTP


def test_chunked_body_is_read(sandbox: Sandbox) -> None:
    """A chunked body arrives whole, and so does the next request on that connection."""
    system = sandbox["jwt-api"]
    headers = {"Authorization": str(JWT.authorization), "Content-Type": FORM}
    with closing(connect(system)) as connection:
        for pieces in ([b"grant_type=", b"client_", b"credentials"], [CLIENT_CREDENTIALS.encode()]):
            connection.request("POST", JWT.target, iter(pieces), headers)
            token = json.loads(connection.getresponse().read())["access_token"]
        connection.request("POST", "/things", iter([b"x" * 70_000, b"y"]), {"Authorization": f"Bearer {token}"})
        assert json.loads(connection.getresponse().read())["received"] == 70_001
    assert {seen.body for seen in system.token_requests} == {CLIENT_CREDENTIALS.encode()}


def test_chunk_extensions_and_trailers_are_skipped(sandbox: Sandbox) -> None:
    """Chunk extensions and trailers belong neither to the body nor to the next request; ``Chunked`` has any case."""
    chunked = b"POST /1 HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3;note=x\r\nabc\r\nA\r\n0123456789\r\n0\r\n"
    trailers = b"X-Sum: 1\r\nX-More: 2\r\n\r\n"
    exchange(sandbox["jwt-api"], chunked + trailers + b"GET /2 HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert [(seen.target, seen.body) for seen in sandbox["jwt-api"].seen] == [("/1", b"abc0123456789"), ("/2", b"")]


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"Content-Length: abc\r\n\r\n"])
def test_unreadable_framing_is_a_bad_request(
    standing: Sandbox, capfd: pytest.CaptureFixture[str], framing: bytes
) -> None:
    """A body of unknown length is answered 400, the connection is closed, and nothing is printed."""
    answer = exchange(standing["jwt-api"], b"POST /things HTTP/1.1\r\n" + framing)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert capfd.readouterr() == ("", "")


def test_head_is_answered_without_a_body(standing: Sandbox) -> None:
    """HEAD is answered with the headers of GET and no body."""
    request = b" /things HTTP/1.1\r\nConnection: close\r\n\r\n"
    got, head = (exchange(standing["jwt-api"], method + request).partition(b"\r\n\r\n") for method in (b"GET", b"HEAD"))
    assert (got[2], head[2]) == (b'{"error": "invalid_token"}', b"")
    assert b"Content-Length: 26\r\n" in head[0] + b"\r\n"


def test_connection_is_kept_and_each_answer_comes_whole(sandbox: Sandbox) -> None:
    """A connection serves many requests, and each answer is one packet."""
    address = ("127.0.0.1", urlsplit(sandbox["jwt-api"].url).port or 0)
    with socket.create_connection(address, timeout=10) as connection:
        for _ in range(20):
            connection.sendall(b"GET /things HTTP/1.1\r\n\r\n")
            assert connection.recv(65536).endswith(b'{"error": "invalid_token"}')


def test_client_that_hangs_up_leaves_no_trace(sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    """A client that closes its connection during a request causes no output."""
    address = ("127.0.0.1", urlsplit(sandbox["jwt-api"].url).port or 0)
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"GET /things HTTP/1.1\r\n\r\n")
        connection.recv(65536)  # now it has a thread of its own, which waits for the next request
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by RST
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(10)
    assert capfd.readouterr() == ("", "")


def test_stop_cuts_open_connections_and_forgets_nothing(clock: Clock) -> None:
    """``stop`` closes open connections, also if called twice; tokens and requests are still there after ``start``."""
    sandbox = Sandbox(clock=clock)
    sandbox.stop()
    sandbox.start()
    system = sandbox["jwt-api"]
    with closing(connect(system)) as kept:
        kept.request("POST", JWT.target, str(JWT.body), {"Authorization": str(JWT.authorization), "Content-Type": FORM})
        token = json.loads(kept.getresponse().read())["access_token"]
        sandbox.stop()
        assert kept.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        send(system, JWT)
    with sandbox:
        assert call(system, token) == 200
    assert len(system.seen) == 2


@forks
def test_a_forked_child_stops_nothing_of_its_parent(clock: Clock) -> None:
    """``stop()`` in a child returns at once; the parent goes on to serve, by the open connection as well."""
    with Sandbox(clock=clock) as sandbox:
        with closing(connect(sandbox["jwt-api"])) as kept:
            for _ in range(2):
                kept.request("GET", "/")
                assert kept.getresponse().read()
                in_child(lambda: sandbox.stop() is None)  # type: ignore[func-returns-value]
        assert send(sandbox["jwt-api"], JWT).status == 200


def test_the_sandbox_imports_nothing_of_ours() -> None:
    """Client and server share no code; otherwise a mistake in both would stay hidden."""
    for path in Path(auth_plugins.sandbox.__file__).parent.glob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            assert not re.match(r"\s*(from|import) (\.\.|auth_plugins|authlib)|.*import_module", line), (path, line)
