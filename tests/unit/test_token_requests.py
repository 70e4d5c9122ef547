"""The token requests of grants, to the byte, as each server's documentation shows them."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from auth_plugins import ClientCredentials, Password, RefreshToken
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.messages import Answer, TokenRequest, TokenResponse
from auth_plugins.providers import auth_api, json_api, jwt_api, organization_api, upload_api
from tests.support.drivers import SYNC, SyncDriver, each
from tests.support.loopback import Loopback
from tests.unit.test_answers import URL, requests_of

QUERY = {"Accept": "application/json", "Cache-Control": "no-store"}
FORM = QUERY | {"Content-Type": "application/x-www-form-urlencoded"}
JSON = QUERY | {"Content-Type": "application/json"}


def requested(grant: OAuthGrant) -> TokenRequest:
    """The request for the grant itself."""
    return requests_of(grant)[0]


def refresh_of(grant: OAuthGrant) -> TokenRequest:
    return grant.refresh_request("r/1+")


def parts(request: TokenRequest) -> tuple[str, str, dict[str, str], bytes]:
    """All that is sent; the credentials of Basic as they were before Base64."""
    headers = dict(request.headers)
    if headers.get("Authorization", "").startswith("Basic "):
        headers["Authorization"] = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    return request.method, request.url, headers, request.body


def body(**options: Any) -> str:
    return requested(ClientCredentials(URL, "id", **options)).body.decode()


ID, KEY = "a b&c", "s +/&=%€"
FORM_ID, FORM_KEY = "&client_id=a+b%26c", "&client_secret=s+%2B%2F%26%3D%25%E2%82%AC"
QUERY_ID, QUERY_KEY = "&client_id=a%20b%26c", "&client_secret=s%20%2B%2F%26%3D%25%E2%82%AC"
GRANT = "grant_type=client_credentials"
REFRESH = "grant_type=refresh_token&refresh_token=r%2F1%2B"
#: What each adds: to the headers, to a form, to a query, and to JSON.
CLIENT_AUTH: dict[str, tuple[dict[str, str], str, str, dict[str, str]]] = {
    "client_secret_basic": ({"Authorization": "a%20b%26c:s%20%2B%2F%26%3D%25%E2%82%AC"}, "", "", {}),
    "client_secret_basic_raw": ({"Authorization": "a b&c:s +/&=%€"}, "", "", {}),
    "client_secret_post": ({}, FORM_ID + FORM_KEY, QUERY_ID + QUERY_KEY, {"client_id": ID, "client_secret": KEY}),
    "none": ({}, FORM_ID, QUERY_ID, {"client_id": ID}),
}
PLACES = [("form", "POST"), ("json", "POST"), ("query", "POST"), ("form", "GET"), ("query", "GET")]
each_way = pytest.mark.parametrize(
    ("client_auth", "encoding", "method"), [(each, *place) for each in CLIENT_AUTH for place in PLACES]
)


def granted(url: str, client_auth: Any, **options: Any) -> ClientCredentials:
    """A grant with a secret, if *client_auth* uses one."""
    return ClientCredentials(url, ID, None if client_auth == "none" else KEY, client_auth=client_auth, **options)


@each_way
def test_each_way_sends_this_and_nothing_else(client_auth: Any, encoding: Any, method: Any) -> None:
    """Each client_auth, encoding and method sends this URL, these headers and this body, and nothing else."""
    sent = parts(requested(granted(URL, client_auth, scope="x y", encoding=encoding, method=method)))
    header, form, query, members = CLIENT_AUTH[client_auth]
    if (encoding, method) == ("form", "POST"):
        assert sent == (method, URL, FORM | header, f"{GRANT}&scope=x+y{form}".encode())
    elif encoding == "json":
        assert sent[:3] == (method, URL, JSON | header)
        assert json.loads(sent[3]) == {"grant_type": "client_credentials", "scope": "x y", **members}
    else:
        assert sent == (method, f"{URL}?{GRANT}&scope=x%20y{query}", QUERY | header, b"")


@pytest.mark.parametrize(("encoding", "method"), PLACES)
@pytest.mark.parametrize("driver", each(SYNC))
def test_a_request_arrives_as_it_was_built(driver: SyncDriver, encoding: Any, method: Any, server: Loopback) -> None:
    """Each library sends a token request as it was built, and adds no header for the body."""
    grant = granted(server.token_url, "client_secret_post", scope="x ü", encoding=encoding, method=method)
    driver.get(server.api_url, driver.auth(grant))
    [received], built = server.token_requests, requested(grant)
    assert (received.method, server.url + received.target, received.body) == (built.method, built.url, built.body)
    lengths = {"content-length": str(len(built.body))} if method == "POST" else {}
    sent = {name: value for name, value in received.headers.items() if name.startswith("content-")}
    wanted = {"content-type": built.headers["Content-Type"]} if built.body else {}
    assert sent == {**wanted, **lengths}


def test_a_query_of_the_urls_own_stays() -> None:
    """A query in token_url is kept when parameters are added to it."""
    url = URL + "?tenant=a"
    assert requested(ClientCredentials(url, "id", encoding="query")).url == f"{url}&{GRANT}&client_id=id"
    assert requested(ClientCredentials(url, "id")).url == url


def test_a_password_and_a_refresh_token_are_sent() -> None:
    """A password or a refresh token is sent as in RFC 6749, with and without a client."""
    user = "grant_type=password&username=me%40example.com&password=p+w%2B"
    password = Password(URL, "me@example.com", "p w+", scope="x")
    assert parts(requested(password)) == ("POST", URL, FORM, f"{user}&scope=x".encode())
    known = Password(URL, "me@example.com", "p w+", "id", "s")
    assert parts(requested(known))[2:] == (FORM | {"Authorization": "id:s"}, user.encode())
    assert requested(RefreshToken(URL, "r/1+", scope="x")).body == f"{REFRESH}&scope=x".encode()


PARAMS: dict[str, tuple[dict[str, Any], str]] = {
    "added": ({"params": {"tenant": "a b", "ä": "€"}}, f"{GRANT}&client_id=id&tenant=a+b&%C3%A4=%E2%82%AC"),
    "one replaced": ({"params": {"grant_type": "urn:x"}}, "client_id=id&grant_type=urn%3Ax"),
    "one removed": ({"params": {"client_id": None}}, GRANT),
    "all removed": ({"params": {"client_id": None, "grant_type": None}}, ""),
    "repeated": ({"params": {"a": ["1", "2"]}}, f"{GRANT}&client_id=id&a=1&a=2"),
    "falsy": ({"params": {"a": "0", "b": 0, "c": False, "d": ""}}, f"{GRANT}&client_id=id&a=0&b=0&c=false&d="),
    "typed": ({"params": {"a": 1, "b": 1.5, "c": True}}, f"{GRANT}&client_id=id&a=1&b=1.5&c=true"),
    "audience 0": ({"audience": "0", "scope": "0"}, f"{GRANT}&scope=0&audience=0&client_id=id"),
    "resources": ({"resource": ["urn:a", "urn:b"]}, f"{GRANT}&client_id=id&resource=urn%3Aa&resource=urn%3Ab"),
    "resources replaced": ({"resource": ["a", "b"], "params": {"resource": "c"}}, f"{GRANT}&client_id=id&resource=c"),
    "scopes": ({"scope": ["x", "y"]}, f"{GRANT}&scope=x+y&client_id=id"),
}


def test_a_users_grant_type_is_that_of_the_grant() -> None:
    """A grant_type in ``params`` is sent for the grant, and not for a refresh."""
    own = {"params": {"grant_type": "urn:x"}}
    for grant in (ClientCredentials(URL, "id", **own), Password(URL, "me", "p", **own), RefreshToken(URL, "r", **own)):  # type: ignore[arg-type]
        assert dict(parse_qsl(requested(grant).body.decode()))["grant_type"] == "urn:x"
        assert dict(parse_qsl(refresh_of(grant).body.decode()))["grant_type"] == "refresh_token"


@pytest.mark.parametrize(("options", "content"), PARAMS.values(), ids=PARAMS)
def test_parameters(options: dict[str, Any], content: str) -> None:
    """Parameters of the user are added, replace standard ones, or with None remove them; "0" is sent."""
    assert body(**options) == content
    url, mark, query = requested(ClientCredentials(URL, "id", method="GET", **options)).url.partition("?")
    assert (url, mark) == (URL, "?" if content else "")
    assert parse_qsl(query, True) == parse_qsl(content, True)


def test_json_keeps_types() -> None:
    """In JSON a number stays a number, and a repeated parameter becomes an array."""
    options: dict[str, Any] = {
        "resource": ["a", "b", "c"],
        "params": {"n": 0, "t": True, "f": 0.5, "l": ["x"], "e": "€"},
    }
    assert json.loads(body(encoding="json", **options)) == {
        "grant_type": "client_credentials", "client_id": "id", "resource": ["a", "b", "c"],
        "n": 0, "t": True, "f": 0.5, "l": "x", "e": "€",
    }  # fmt: skip


def test_headers() -> None:
    """A header of the user is sent, in place of one of the package's own of that name in any case."""
    grant = ClientCredentials(URL, "id", "s", headers={"X-A": "ü", "ACCEPT": "*/*", "authorization": "mine"})
    kept = {name: value for name, value in FORM.items() if name != "Accept"}
    assert dict(requested(grant).headers) == {**kept, "X-A": "ü", "ACCEPT": "*/*", "authorization": "mine"}


@pytest.mark.parametrize("encoding", ["form", "json", "query"])
def test_a_refresh_is_sent_the_same_way(encoding: str) -> None:
    """A refresh sends the same client, audience, resource and parameters as the grant, but no scope."""
    for client_auth in CLIENT_AUTH:
        options = {"audience": "au", "resource": ["a", "b"], "params": {"p": "1"}, "headers": {"X-A": "b"}}
        grant = granted(URL, client_auth, encoding=encoding, scope="x", **options)
        first, refresh = requested(grant), refresh_of(grant)
        assert (refresh.method, refresh.headers) == (first.method, first.headers)

        def sent(request: TokenRequest) -> list[tuple[str, Any]]:
            if encoding == "json":
                return list(json.loads(request.body).items())
            return parse_qsl(request.body.decode() or request.url.partition("?")[2])

        standard = [("grant_type", "refresh_token"), ("refresh_token", "r/1+")]
        assert sent(refresh) == standard + [pair for pair in sent(first) if pair[0] not in ("grant_type", "scope")]


def test_where_a_refresh_goes() -> None:
    """A refresh goes to refresh_url, if there is one."""
    assert refresh_of(Password(URL, "u", "p")).url == URL
    assert refresh_of(Password(URL, "u", "p", refresh_url=URL + "/refresh")).url == URL + "/refresh"


def test_a_revocation() -> None:
    """Each token is revoked by a request of its own, the refresh token first, with the client's credentials."""
    grant = ClientCredentials(
        URL, "id", "s", method="GET", scope="x", audience="a", resource="r", revocation_url=URL + "/revoke"
    )
    first, second = map(parts, grant.revocation_requests("acc", "ref"))
    headers = FORM | {"Authorization": "id:s"}
    assert first == ("POST", URL + "/revoke", headers, b"token=ref&token_type_hint=refresh_token")
    assert second[3] == b"token=acc&token_type_hint=access_token"
    assert [each.body for each in grant.revocation_requests("acc", None)] == [second[3]]
    assert ClientCredentials(URL, "id").revocation_requests("acc", "ref") == ()


def test_a_request_and_its_answer_show_nothing() -> None:
    """The ``repr`` of a token request, and of its answer, shows no secret and no token; the endpoint has no query."""
    request = requested(ClientCredentials(URL, "id", "s3cr3t", client_auth="client_secret_post", encoding="query"))
    response = TokenResponse(status=200, headers={}, body=b"t0ken", received_at=0.0)
    assert repr(request) == "TokenRequest(method='POST')"
    assert repr(response) == "TokenResponse(status=200)"
    assert repr(Answer(request, response, "json", "t0ken", ["t0ken"])) == "Answer(body='json')"
    assert request.endpoint == URL


# The documents' own credentials and requests.
UPLOAD_ID, UPLOAD_SECRET = "5471E010-DDEE-4C98-FF8F-08DB2245E373", "7rg6Gt+hUiobtXI9Jb37z2vtrhw1CEgDkwFZcMbN5Yc="
UPLOAD_EXAMPLE = (
    "Basic NTQ3MUUwMTAtRERFRS00Qzk4LUZGOEYtMDhEQjIyNDVFMzczOjdyZzZHdCtoVWlvYnRYSTlKYjM3ejJ2dHJodzFDRWdEa3dGWmNNYk41WWM9"
)
BASE = "https://host.example.com"
AUTH, STAGING = "https://auth.example.com/auth/", "https://auth-stg.example.com:8443/v1/auth/"
ORGANIZATION, LOCAL = f"POST {BASE}/oauth2/token", "POST http://127.0.0.1:8080/oauth2/token"
ENCODED = f"{UPLOAD_ID}:7rg6Gt%2BhUiobtXI9Jb37z2vtrhw1CEgDkwFZcMbN5Yc%3D"
JSON_BODY = '{"grant_type": "client_credentials", "client_id": "id", "client_secret": "s+/="}'
#: Method and URL, headers, what is in Basic, body: of the request for the grant, and of that for a renewal.
SYSTEMS: dict[str, tuple[OAuthGrant, list[tuple[str, dict[str, str], str, str]]]] = {
    "upload-api": (
        upload_api("https://identity.example.com", UPLOAD_ID, UPLOAD_SECRET),
        [("POST https://identity.example.com/connect/token", FORM, ENCODED, f"{GRANT}&scope=platform_upload_api")],
    ),
    "jwt-api": (
        jwt_api(BASE, "my id", "s+/="),
        [(f"POST {BASE}/oauth/v2/token", FORM, "my id:s+/=", GRANT)],
    ),
    "auth-api": (
        auth_api("https://auth.example.com", "me", "p w"),
        [(f"POST {AUTH}password", FORM, "", "username=me&password=p+w"),
         (f"POST {AUTH}refresh", FORM, "", "refresh_token=r%2F1%2B")],
    ),
    "auth-api, staging": (
        auth_api("https://auth.example.com:8443/v1/", "me", "p", staging=True),
        [(f"POST {STAGING}password", FORM, "", "username=me&password=p"),
         (f"POST {STAGING}refresh", FORM, "", "refresh_token=r%2F1%2B")],
    ),
    "organization-api": (
        organization_api("host.example.com", "id", "s+/="),
        [(ORGANIZATION, FORM, "id:s+/=", GRANT), (ORGANIZATION, FORM, "id:s+/=", REFRESH)],
    ),
    "organization-api, query": (
        organization_api("http://127.0.0.1:8080/", "id", "s+/=", credentials="query"),
        [(f"{LOCAL}?{GRANT}&client_id=id&client_secret=s%2B%2F%3D", QUERY, "", ""),
         (f"{LOCAL}?{REFRESH}&client_id=id&client_secret=s%2B%2F%3D", QUERY, "", "")],
    ),
    "json-api": (
        json_api(BASE, "id", "s+/="),
        [(f"POST {BASE}/oauth/token", JSON, "", JSON_BODY)],
    ),
    "json-api, GET": (
        json_api(f"{BASE}/v1/", "id", "s+/=", method="GET"),
        [(f"GET {BASE}/v1/oauth/token?{GRANT}&client_id=id&client_secret=s%2B%2F%3D", QUERY, "", "")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("grant", "expected"), SYSTEMS.values(), ids=SYSTEMS)
def test_the_five_systems(grant: OAuthGrant, expected: list[tuple[str, dict[str, str], str, str]]) -> None:
    """Each of the five providers sends what the documentation of its system shows."""
    for request, (line, headers, basic, content) in zip((requested(grant), refresh_of(grant)), expected, strict=False):
        authorization = {"Authorization": basic} if basic else {}
        assert parts(request) == (*line.split(" "), headers | authorization, content.encode())


def test_the_upload_apis_example() -> None:
    """The example of the Upload API's documentation, which differs from its text, is one argument away."""
    grant = upload_api("https://identity.example.com/", UPLOAD_ID, UPLOAD_SECRET, client_auth="client_secret_basic_raw")
    assert requested(grant).headers["Authorization"] == UPLOAD_EXAMPLE
    assert requested(upload_api(BASE, "id", "s", scope="another")).body == f"{GRANT}&scope=another".encode()


def test_a_provider_takes_the_options_of_its_grant() -> None:
    """The options of a grant override what a provider sets."""
    grant = jwt_api(BASE, "id", "s", scope="x", client_auth="client_secret_post", params={"a": "b"})
    assert parts(requested(grant))[2:] == (FORM, f"{GRANT}&scope=x&client_id=id&client_secret=s&a=b".encode())
    assert refresh_of(auth_api(BASE, "u", "p", refresh_url=f"{BASE}/other")).url == f"{BASE}/other"
