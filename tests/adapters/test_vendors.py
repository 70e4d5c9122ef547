"""The providers of services against a server that plays them: wire, token, refresh, and how their APIs refuse a token.

What a vendor's document says of the token request is pinned in ``tests/unit/test_providers.py``; here the same request
reaches a socket, the answer is the vendor's, and the API refuses the first token in the vendor's way.
"""

from __future__ import annotations

import base64
import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from auth_plugins import FileCache, LoginRequiredError, TokenRequestError, providers
from auth_plugins.requests import OAuth2Auth
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Loopback, Received, as_json
from tests.support.stores import KEY

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

SECRET = "s3cr3t/of+it"
CLIENT = {"client_id": "the-id", "client_secret": SECRET}
BASIC = "Basic " + base64.b64encode(f"the-id:{SECRET}".encode()).decode()
#: Keycloak decodes what Basic holds.
ENCODED = "Basic " + base64.b64encode(b"the-id:s3cr3t%2Fof%2Bit").decode()


#: The functions that docs/guides/providers.rst gives for ``refused``.
REFUSED = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "vendor_refusals.py"))


@dataclass
class Vendor:
    """One provider: how it is configured, what it sends, and how its server answers."""

    #: The arguments, and the variables, that come before or besides id and secret; ``{url}`` is the server.
    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    path: str
    #: The parameters of the token request; a header that it has.
    parameters: Mapping[str, str]
    header: tuple[str, str] = ("authorization", "")
    #: The members of an answer besides the token; where the answer is nested, a function that makes it.
    members: Mapping[str, Any] = field(default_factory=lambda: {"token_type": "bearer", "expires_in": 3600})
    answer: Callable[[dict[str, Any]], Any] = lambda members: members
    #: What OAuth2Auth needs besides, and how the API refuses a token.
    options: Mapping[str, Any] = field(default_factory=dict)
    refusal: Callable[[], Response] = lambda: as_json({"error": "invalid_token"}, 401)
    scheme: str = "Bearer"
    #: What the API finds in ``Token.extra``.
    extra: Mapping[str, Any] = field(default_factory=dict)
    is_get: bool = False


GRANT = {"grant_type": "client_credentials"}
VENDORS: dict[str, Vendor] = {
    "auth0": Vendor(
        ("{url}", "the-id", SECRET, "orders"), {"BASE_URL": "{url}", "AUDIENCE": "orders"},
        "/oauth/token", {**GRANT, **CLIENT, "audience": "orders"},
    ),
    "cognito": Vendor(
        ("{url}", "the-id", SECRET, "orders/read"), {"BASE_URL": "{url}", "SCOPE": "orders/read"},
        "/oauth2/token", {**GRANT, "scope": "orders/read"}, ("authorization", BASIC),
    ),
    "ebay": Vendor(
        ("the-id", SECRET, "a b"), {"SCOPE": "a b"},
        "/identity/v1/oauth2/token", {**GRANT, "scope": "a b"}, ("authorization", BASIC),
        {"token_type": "Application Access Token", "expires_in": 7200},
    ),
    "entra": Vendor(
        ("the tenant", "the-id", SECRET, "a/.default"), {"TENANT": "the tenant", "SCOPE": "a/.default"},
        "/the%20tenant/oauth2/v2.0/token", {**GRANT, **CLIENT, "scope": "a/.default"},
        members={"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599}, extra={"ext_expires_in": 3599},
    ),
    "feishu": Vendor(
        ("the-id", SECRET), {},
        "/open-apis/auth/v3/tenant_access_token/internal", {"app_id": "the-id", "app_secret": SECRET},
        ("content-type", "application/json; charset=utf-8"), {"expire": 7200},
        lambda members: {"code": 0, "msg": "ok", "tenant_access_token": members["access_token"], "expire": 7200},
        {"refused": REFUSED["feishu_refused"]},
        lambda: as_json({"code": 99991663, "msg": "Invalid access token for authorization."}, 400),
    ),
    "jamf": Vendor(
        ("{url}", "the-id", SECRET), {"BASE_URL": "{url}"},
        "/api/oauth/token", {**GRANT, **CLIENT}, members={"token_type": "Bearer", "expires_in": 599, "scope": "a:2"},
    ),
    "keycloak": Vendor(
        ("{url}", "the realm", "the-id", SECRET), {"BASE_URL": "{url}", "REALM": "the realm"},
        "/realms/the%20realm/protocol/openid-connect/token", GRANT, ("authorization", ENCODED),
    ),
    "marketo": Vendor(
        ("{url}/identity", "the-id", SECRET), {"BASE_URL": "{url}/identity"},
        "/identity/oauth/token", {**GRANT, **CLIENT}, is_get=True,
        options={"refused": REFUSED["marketo_refused"]},
        refusal=lambda: as_json({"success": False, "errors": [{"code": "602", "message": "Access token expired"}]}),
    ),
    "okta": Vendor(
        ("{url}", "the-id", SECRET, "orders"), {"BASE_URL": "{url}", "SCOPE": "orders"},
        "/oauth2/default/v1/token", {**GRANT, "scope": "orders"}, ("authorization", BASIC),
    ),
    "paypal": Vendor(
        ("{url}", "the-id", SECRET), {"BASE_URL": "{url}"},
        "/v1/oauth2/token", GRANT, ("authorization", BASIC), extra={"app_id": "APP-1"},
        members={"token_type": "Bearer", "app_id": "APP-1", "expires_in": 31668},
    ),
    "reddit": Vendor(
        ("the-id", SECRET, "linux:a:1 (by /u/b)"), {"USER_AGENT": "linux:a:1 (by /u/b)"},
        "/api/v1/access_token", GRANT, ("user-agent", "linux:a:1 (by /u/b)"),
    ),
    "salesforce": Vendor(
        ("{url}", "the-id", SECRET), {"BASE_URL": "{url}"},
        "/services/oauth2/token", {**GRANT, **CLIENT}, extra={"instance_url": "https://eu.example"},
        members={"instance_url": "https://eu.example", "issued_at": "1693", "token_type": "Bearer"},
    ),
    "spotify": Vendor(("the-id", SECRET), {}, "/api/token", GRANT, ("authorization", BASIC)),
    "twitch": Vendor(("the-id", SECRET), {}, "/oauth2/token", {**GRANT, **CLIENT}),
    "withings": Vendor(
        ("first", "the-id", SECRET), {"REFRESH_TOKEN": "first"},
        "/v2/oauth2",
        {"action": "requesttoken", "grant_type": "refresh_token", "refresh_token": "first", **CLIENT},
        members={"userid": 363, "expires_in": 10800, "scope": "user.info,user.metrics", "token_type": "Bearer"},
        answer=lambda members: {"status": 0, "body": members},
        options={"refused": REFUSED["withings_refused"]},
        refusal=lambda: as_json({"status": 401, "body": {}, "error": "invalid_token: it is invalid"}),
        extra={"userid": 363},
    ),
    "zoho": Vendor(
        ("{url}", "first", "the-id", SECRET), {"BASE_URL": "{url}", "REFRESH_TOKEN": "first"},
        "/oauth/v2/token", {"grant_type": "refresh_token", "refresh_token": "first", **CLIENT},
        members={"api_domain": "https://www.zohoapis.eu", "token_type": "Bearer", "expires_in": 3600},
        options={"scheme": "Zoho-oauthtoken"},
        refusal=lambda: as_json({"code": "INVALID_TOKEN", "message": "invalid oauth token"}, 401),
        scheme="Zoho-oauthtoken", extra={"api_domain": "https://www.zohoapis.eu"},
    ),
    "zoom": Vendor(
        ("account", "the-id", SECRET), {"ACCOUNT_ID": "account"},
        "/oauth/token", {"grant_type": "account_credentials", "account_id": "account"}, ("authorization", BASIC),
        {"token_type": "bearer", "expires_in": 3599, "api_url": "https://api.zoom.us"},
        extra={"api_url": "https://api.zoom.us"},
    ),
}  # fmt: skip


class ToServer(requests.adapters.HTTPAdapter):
    """Sends each request to the server, whatever its host: some vendors have one address for all."""

    def __init__(self, server: Loopback) -> None:
        super().__init__()
        self._url = server.url

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        request.url = f"{self._url}{parts.path}{'?' if parts.query else ''}{parts.query}"
        return super().send(request, *args, **options)


class Play:
    """The vendor: token-1, token-2 and so on at its token endpoint; its API accepts the newest."""

    def __init__(self, name: str, server: Loopback) -> None:
        self.vendor, self.server = VENDORS[name], server
        self.asked: list[dict[str, str]] = []
        server.api = self.answer

    def answer(self, received: Received) -> Response:
        path, _, query = received.target.partition("?")
        if path != self.vendor.path:
            value = received.headers.get("authorization", "")
            return as_json({"data": 1}) if value in self.server.live else self.vendor.refusal()
        if self.vendor.is_get:
            parameters = parse_qsl(query, strict_parsing=True)
        elif "json" in received.headers["content-type"]:
            parameters = [*json.loads(received.body).items()]
        else:
            parameters = parse_qsl(received.body.decode(), strict_parsing=True)
        assert (received.method, len(parameters)) == ("GET" if self.vendor.is_get else "POST", len(dict(parameters)))
        name, value = self.vendor.header
        assert received.headers.get(name, "") == value
        self.asked.append(dict(parameters))
        number = len(self.asked)
        self.server.live = {f"{self.vendor.scheme} token-{number}"}
        members = {"access_token": f"token-{number}", **self.vendor.members}
        if "userid" in members:  # refresh tokens rotate
            members["refresh_token"] = f"refresh-{number}"
        return as_json(self.vendor.answer(members))


def auths_of(name: str, server: Loopback) -> list[OAuth2Auth]:
    """The auth of the provider in code, and that of its variables."""
    vendor, session = VENDORS[name], requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, ToServer(server))
    arguments: list[Any] = [each.format(url=server.url) for each in vendor.arguments]
    grant = getattr(providers, name)(*arguments)
    variables = {"PROVIDER": name, "CLIENT_ID": "the-id", "CLIENT_SECRET": SECRET, **vendor.variables}
    environ = {f"ACME_{each}": value.format(url=server.url) for each, value in variables.items()}
    if "scheme" in vendor.options:
        environ["ACME_SCHEME"] = vendor.options["scheme"]
    options: Any = dict(vendor.options)
    of_variables = {each: value for each, value in options.items() if each != "scheme"}
    return [
        OAuth2Auth(grant, session=session, **options),
        OAuth2Auth.from_env("ACME", environ, session=session, **of_variables),
    ]


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendor_issues_and_renews_tokens(name: str, server: Loopback) -> None:
    """Code and variables share one token, which the API accepts; one that it refuses is replaced by another."""
    play = Play(name, server)
    vendor, auths = play.vendor, auths_of(name, server)
    assert auths[0].source.grant == auths[1].source.grant
    for auth in auths:
        assert requests.get(server.api_url, auth=auth).json() == {"data": 1}
    assert play.asked == [vendor.parameters]
    token = auths[0].source.token()
    assert (token.access_token, {**token.extra, **vendor.extra}) == ("token-1", token.extra)
    assert (token.expires_at is None) == ("expires_in" not in vendor.members and "expire" not in vendor.members)
    server.live.clear()
    assert requests.get(server.api_url, auth=auths[1]).json() == {"data": 1}
    renewed = {**vendor.parameters, **({"refresh_token": "refresh-1"} if name == "withings" else {})}
    assert play.asked == [vendor.parameters, renewed]
    assert SECRET not in repr(auths)


def test_every_vendor_is_played() -> None:
    """Each provider of a service is in the table; ``unit/test_key_providers.py`` has those with keys."""
    partners = {"upload_api", "jwt_api", "auth_api", "organization_api", "json_api"}
    keys = {name for name in providers.__all__ if getattr(providers, name).__module__.endswith("._keys")}
    assert {*VENDORS} == {*providers.__all__} - partners - keys


@pytest.mark.parametrize("name", ["feishu", "marketo", "withings"])
@pytest.mark.parametrize("body", ["", "[]", "{}", "5", '{"errors": [{}], "code": 0, "status": 0}', '{"errors": null}'])
def test_other_bodies_refuse_no_token(name: str, body: str) -> None:
    """The functions for ``refused`` take any JSON, and the empty body of a HEAD, and read nothing else."""
    response = requests.Response()
    response._content, response.headers["Content-Type"] = body.encode(), "application/json; charset=utf-8"
    assert not REFUSED[f"{name}_refused"](response)
    response.headers["Content-Type"] = "text/csv"
    response._content = False
    assert not REFUSED[f"{name}_refused"](response)


#: The provider, the vendor's error in a 200, the code and the words of ours.
ERRORS: dict[str, tuple[dict[str, Any], type[Exception], str, str]] = {
    "feishu": ({"code": 10014, "msg": "app secret invalid"}, TokenRequestError, "10014", "app secret invalid"),
    "withings": ({"status": 503, "body": {}, "error": "Invalid Params"}, TokenRequestError, "503", "Invalid Params"),
    "zoho": ({"error": "invalid_code"}, LoginRequiredError, "invalid_code", "signing in again"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_a_vendor_in_a_200(name: str, server: Loopback) -> None:
    """It is one of ours, with the vendor's code and words."""
    answer, kind, code, words = ERRORS[name]
    server.api = lambda _: as_json(answer)
    with pytest.raises(kind, match=words) as caught:
        auths_of(name, server)[0].source.token()
    assert isinstance(caught.value, TokenRequestError)
    assert (caught.value.error, caught.value.status_code) == (code, 200)


@pytest.mark.parametrize("driver", each(ALL))
def test_a_token_of_zoho_in_each_library(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """The scheme, the refusal and the shared cache hold for each library and mode."""
    play = Play("zoho", server)
    grant = providers.zoho(server.url, "first", "the-id", SECRET)
    auth = driver.auth(grant, scheme="Zoho-oauthtoken", cache=FileCache(tmp_path, key=KEY))
    assert driver.get(server.api_url, auth).status == 200
    server.live.clear()
    assert driver.get(server.api_url, auth).status == 200
    assert len(play.asked) == 2
