"""What the providers of services send, each by the vendor's documentation."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import pytest

from auth_plugins import ConfigurationError, Token, from_env, providers
from auth_plugins._protocol.messages import TokenRequest
from tests.support.loopback import Clock
from tests.support.sources import source

#: A secret that the ways to encode it show apart.
SECRET = "s3cr3t/of+it"
FORM = "application/x-www-form-urlencoded"


def request_of(grant: Any) -> TokenRequest:
    """The token request of *grant*; nothing is sent."""
    sent: list[TokenRequest] = []

    def ask(request: TokenRequest) -> Token:
        sent.append(request)
        return Token(access_token="tok")

    grant.request_token(ask)
    return sent[0]


def check(grant: Any, url: str, *, basic: bool, **parameters: str) -> None:
    """The wire: a POST of a form, with id and secret by Basic, or as parameters."""
    request = request_of(grant)
    assert (request.method, request.url, request.headers["Content-Type"]) == ("POST", url, FORM)
    if basic:
        credentials = base64.b64encode(f"the-id:{SECRET}".encode()).decode()
        assert request.headers["Authorization"] == f"Basic {credentials}"
    else:
        assert "Authorization" not in request.headers
        parameters |= {"client_id": "the-id", "client_secret": SECRET}
    assert dict(parse_qsl(request.body.decode(), strict_parsing=True)) == parameters
    assert all(len(values) == 1 for values in parse_qs(request.body.decode()).values())
    assert SECRET not in repr(grant)


def of(provider: str, **variables: str | None) -> Any:
    """The grant of these variables, with id and secret; one that is ``None`` is not set."""
    variables = {"PROVIDER": provider, "CLIENT_ID": "the-id", "CLIENT_SECRET": SECRET, **variables}
    return from_env("ACME", {f"ACME_{name}": value for name, value in variables.items() if value is not None})


def test_auth0() -> None:
    """The token request to Auth0 is the documented one.

    Auth0, "Get Access Tokens" (https://auth0.com/docs/tokens/get-access-tokens): a form with the audience.
    """
    base = "https://your-tenant.eu.auth0.com"
    grant = providers.auth0(base, "the-id", SECRET, "https://orders.example.com/")
    expected: Any = {"grant_type": "client_credentials", "audience": "https://orders.example.com/"}
    check(grant, f"{base}/oauth/token", basic=False, **expected)
    assert grant == of("auth0", BASE_URL=f"{base}/", AUDIENCE="https://orders.example.com/")


def test_cognito() -> None:
    """The token request to Amazon Cognito is the documented one.

    "The token issuer endpoint" (https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html): ``Basic
    Base64Encode(client_id:client_secret)`` and a form.
    """
    base = "https://your-domain.auth.eu-west-1.amazoncognito.com"
    grant = providers.cognito(base, "the-id", SECRET, ["orders/read", "orders/write"])
    expected: Any = {"grant_type": "client_credentials", "scope": "orders/read orders/write"}
    check(grant, f"{base}/oauth2/token", basic=True, **expected)
    assert grant == of("cognito", BASE_URL=base, SCOPE="orders/read orders/write")
    check(
        providers.cognito(base, "the-id", SECRET, None),
        f"{base}/oauth2/token",
        basic=True,
        grant_type="client_credentials",
    )
    credentials = ("djc98u3jiedmi283eu928", "abcdef01234567890")  # those of the page's example
    example = request_of(providers.cognito(base, *credentials, None))
    assert example.headers["Authorization"] == "Basic ZGpjOTh1M2ppZWRtaTI4M2V1OTI4OmFiY2RlZjAxMjM0NTY3ODkw"


def test_ebay(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The token request to eBay is the documented one.

    "The client credentials grant flow" (https://developer.ebay.com/api-docs/static/oauth-client-credentials-grant.html):
    Basic of ``<client_id>:<client_secret>``, a form with the scope, and the hosts of production and sandbox. The
    default scope is that of eBay's own library (ebay-oauth-python-client, ``test/GetApplicationToken.py``). The
    ``token_type``, "Application Access Token" in "Quick reference", is used as Bearer.
    """
    grant = providers.ebay("the-id", SECRET)
    scope = "https://api.ebay.com/oauth/api_scope"
    expected: Any = {"grant_type": "client_credentials", "scope": scope}
    check(grant, "https://api.ebay.com/identity/v1/oauth2/token", basic=True, **expected)
    assert grant == of("ebay")
    sandbox = providers.ebay("the-id", SECRET, f"{scope}/buy.order", base_url="https://api.sandbox.ebay.com")
    assert request_of(sandbox).url == "https://api.sandbox.ebay.com/identity/v1/oauth2/token"
    assert sandbox == of("ebay", BASE_URL="https://api.sandbox.ebay.com", SCOPE=f"{scope}/buy.order")
    answer = {"access_token": "v^1.1#i^1#p^1", "token_type": "Application Access Token", "expires_in": 7200}
    caplog.set_level(logging.INFO)

    def play(_: TokenRequest, __: float) -> Any:
        from auth_plugins._protocol.messages import TokenResponse

        return TokenResponse(status=200, headers={}, body=json.dumps(answer).encode(), received_at=clock.now)

    assert source(play, grant).token().header_value == "Bearer v^1.1#i^1#p^1"


def test_entra() -> None:
    """The token request to Microsoft Entra ID is the documented one.

    Microsoft, "Microsoft identity platform and the OAuth 2.0 client credentials flow"
    (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow), the first case: a
    form with id, secret and scope.
    """
    tenant, scope = "contoso.onmicrosoft.com", "https://graph.microsoft.com/.default"
    grant = providers.entra(tenant, "the-id", SECRET, scope)
    url = f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    check(grant, url, basic=False, grant_type="client_credentials", scope=scope)
    assert grant == of("entra", TENANT=tenant, SCOPE=scope)


def test_feishu(tmp_path: Path) -> None:
    """The token request to Feishu is the documented one.

    Feishu, "自建应用获取 tenant_access_token"
    (https://open.feishu.cn/document/ukTMukTMukTM/ukDNz4SO0MjL5QzM/auth-v3/auth/tenant_access_token_internal): a POST of
    JSON with ``app_id`` and ``app_secret`` alone, and this Content-Type.
    """
    grant = providers.feishu("cli_slkdjalasdkjasd", "dskLLdkasdjlasdKK")
    request = request_of(grant)
    url = "https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal"
    assert (request.method, request.url) == ("POST", url)
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert "Authorization" not in request.headers
    assert json.loads(request.body) == {"app_id": "cli_slkdjalasdkjasd", "app_secret": "dskLLdkasdjlasdKK"}
    assert grant == of("feishu", CLIENT_ID="cli_slkdjalasdkjasd", CLIENT_SECRET="dskLLdkasdjlasdKK")
    assert "dskLLdkasdjlasdKK" not in f"{grant!r} {request!r}"
    (tmp_path / "secret").write_text("of-a-file\n")
    variables = {"CLIENT_SECRET_FILE": f"{tmp_path}/secret", "CLIENT_SECRET": None}
    assert json.loads(request_of(of("feishu", **variables)).body) == {"app_id": "the-id", "app_secret": "of-a-file"}


def test_jamf() -> None:
    """The token request to Jamf Pro is the documented one.

    Jamf, "Client Credentials" (https://developer.jamf.com/jamf-pro/docs/client-credentials) and "Generating a Client
    Secret" in the documentation of Jamf Pro: a form with id, grant type and secret to ``/api/oauth/token``.
    """
    base = "https://your-server.jamfcloud.com"
    grant = providers.jamf(base, "the-id", SECRET)
    check(grant, f"{base}/api/oauth/token", basic=False, grant_type="client_credentials")
    assert grant == of("jamf", BASE_URL=base)


def test_keycloak() -> None:
    """The token request to Keycloak is the documented one.

    "Using a service account" in the Server Administration Guide: a POST with Basic to
    ``/realms/{realm-name}/protocol/openid-connect/token``. Present releases decode id and secret (RFC 6749 §2.3.1).
    """
    base = "https://keycloak.example.com"
    grant = providers.keycloak(base, "the realm", "product-sa-client", "password")
    request = request_of(grant)
    assert request.url == f"{base}/realms/the%20realm/protocol/openid-connect/token"
    assert request.headers["Authorization"] == "Basic cHJvZHVjdC1zYS1jbGllbnQ6cGFzc3dvcmQ="  # the guide's example
    assert (request.method, request.body) == ("POST", b"grant_type=client_credentials")
    encoded = request_of(providers.keycloak(f"{base}/auth/", "demo", "the-id", SECRET))
    assert encoded.url == f"{base}/auth/realms/demo/protocol/openid-connect/token"
    credentials = base64.b64encode(b"the-id:s3cr3t%2Fof%2Bit").decode()
    assert encoded.headers["Authorization"] == f"Basic {credentials}"
    assert providers.keycloak(base, "demo", "the-id", SECRET) == of("keycloak", BASE_URL=base, REALM="demo")


def test_marketo() -> None:
    """The token request to Marketo is the documented one, with the Identity URL or the REST endpoint as well.

    Adobe, "Authentication" (https://experienceleague.adobe.com/en/docs/marketo-developer/marketo/rest/authentication):
    ``GET <Identity URL>/oauth/token`` with ``grant_type``, ``client_id`` and ``client_secret`` in the query.
    """
    base = "https://123-ABC-456.mktorest.com"
    for address in (base, f"{base}/identity", f"{base}/identity/", f"{base}/rest"):
        grant = providers.marketo(address, "the-id", SECRET)
        assert grant == of("marketo", BASE_URL=address)
        request = request_of(grant)
        url, _, query = request.url.partition("?")
        assert (request.method, url, request.body) == ("GET", f"{base}/identity/oauth/token", b"")
        sent = [("grant_type", "client_credentials"), ("client_id", "the-id"), ("client_secret", SECRET)]
        assert sorted(parse_qsl(query, strict_parsing=True)) == sorted(sent)
        assert "Authorization" not in request.headers


def test_okta() -> None:
    """The token request to Okta is the documented one.

    Okta, "Implement authorization by grant type: client credentials"
    (https://developer.okta.com/docs/guides/implement-client-creds/): Basic by the rules of HTTP, a form with the
    scope, ``/oauth2/default/v1/token``.
    """
    base = "https://your-domain.okta.com"
    grant = providers.okta(base, "the-id", SECRET, "customScope")
    expected: Any = {"grant_type": "client_credentials", "scope": "customScope"}
    check(grant, f"{base}/oauth2/default/v1/token", basic=True, **expected)
    other = providers.okta(f"{base}/oauth2/aus9o8wzkhckw9TLa0h7z", "the-id", SECRET, "customScope")
    assert request_of(other).url == f"{base}/oauth2/aus9o8wzkhckw9TLa0h7z/v1/token"
    assert grant == of("okta", BASE_URL=base, SCOPE="customScope")


def test_paypal() -> None:
    """The token request to PayPal is the documented one.

    PayPal, "Authentication" (https://developer.paypal.com/api/rest/authentication/): ``-u
    CLIENT_ID:CLIENT_SECRET`` and a form with the grant type alone.
    """
    for base in ("https://api-m.paypal.com", "https://api-m.sandbox.paypal.com"):
        grant = providers.paypal(base, "the-id", SECRET)
        check(grant, f"{base}/v1/oauth2/token", basic=True, grant_type="client_credentials")
        assert grant == of("paypal", BASE_URL=base)


def test_reddit() -> None:
    """The token request to Reddit is the documented one.

    "Application Only OAuth" in its wiki (https://github.com/reddit-archive/reddit/wiki/OAuth2#application-only-oauth):
    ``client_credentials`` in the data of a POST, HTTP Basic with id and secret. "API" there, and the "Reddit Data API
    Wiki" of Reddit's help, have the format of the user agent.
    """
    agent = "linux:com.example.orders:v1.2.3 (by /u/orders)"
    grant = providers.reddit("the-id", SECRET, agent)
    check(grant, "https://www.reddit.com/api/v1/access_token", basic=True, grant_type="client_credentials")
    assert request_of(grant).headers["User-Agent"] == agent
    assert grant == of("reddit", USER_AGENT=agent)
    more = request_of(providers.reddit("the-id", SECRET, agent, headers={"X-Trace": "1"}))
    assert (more.headers["User-Agent"], more.headers["X-Trace"]) == (agent, "1")


def test_salesforce() -> None:
    """The token request to Salesforce is the documented one.

    Salesforce, "OAuth 2.0 Client Credentials Flow for Server-to-Server Integration" and the Connect REST API's
    "Step Three: Connect to Connect REST API Using OAuth": a form with id and secret to ``/services/oauth2/token``
    of the My Domain URL.
    """
    base = "https://your-domain.my.salesforce.com"
    grant = providers.salesforce(base, "the-id", SECRET)
    check(grant, f"{base}/services/oauth2/token", basic=False, grant_type="client_credentials")
    assert grant == of("salesforce", BASE_URL=base)


def test_spotify() -> None:
    """The token request to Spotify is the documented one.

    "Client Credentials Flow" (https://developer.spotify.com/documentation/web-api/tutorials/client-credentials-flow):
    ``Basic <base64 encoded client_id:client_secret>`` and a form with the grant type.
    """
    grant = providers.spotify("the-id", SECRET)
    check(grant, "https://accounts.spotify.com/api/token", basic=True, grant_type="client_credentials")
    assert grant == of("spotify")


def test_twitch() -> None:
    """The token request to Twitch is the documented one.

    "Getting OAuth Access Tokens" (https://dev.twitch.tv/docs/authentication/getting-tokens-oauth/) names the client
    credentials grant flow; "Get Started with the Twitch API" (https://dev.twitch.tv/docs/api/get-started/) shows its
    request: a form with id, secret and grant type.
    """
    grant = providers.twitch("the-id", SECRET)
    check(grant, "https://id.twitch.tv/oauth2/token", basic=False, grant_type="client_credentials")
    assert grant == of("twitch")


def test_withings() -> None:
    """The token request to Withings is the documented one, for the first refresh token and for those that follow.

    Withings, "OAuth 2.0 - Request Access and Refresh Tokens"
    (https://developer.withings.com/api-reference#operation/oauth2-getaccesstoken): a form with ``action``, grant type,
    refresh token, id and secret.
    """
    grant = providers.withings("first", "the-id", SECRET)
    expected: Any = {"action": "requesttoken", "grant_type": "refresh_token"}
    check(grant, "https://wbsapi.withings.net/v2/oauth2", basic=False, refresh_token="first", **expected)
    assert dict(parse_qsl(grant.refresh_request("second").body.decode()))["action"] == "requesttoken"
    assert b"action=other&" in request_of(providers.withings("a", "id", SECRET, params={"action": "other"})).body + b"&"
    assert grant == of("withings", REFRESH_TOKEN="first")


def test_zoho() -> None:
    """The token request to Zoho is the documented one.

    Zoho, "Access Token Expiry" (https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token-expiry.html): the
    parameters in the form, one of the three places that it allows.
    """
    base = "https://accounts.zoho.eu"
    grant = providers.zoho(base, "first", "the-id", SECRET)
    expected: Any = {"grant_type": "refresh_token", "refresh_token": "first"}
    check(grant, f"{base}/oauth/v2/token", basic=False, **expected)
    assert grant == of("zoho", BASE_URL=base, REFRESH_TOKEN="first")


def test_zoom() -> None:
    """The token request to Zoom is the documented one.

    Zoom, "OAuth 2.0" and "Server-to-Server OAuth" (https://developers.zoom.us/docs/internal-apps/s2s-oauth/):
    Basic of ``client_id:client_secret``; ``account_credentials`` and ``account_id`` in the query, or as here in a
    form.
    """
    grant = providers.zoom("Wk9PTV9BQ0NPVU5UX0lE", "the-id", SECRET)
    expected: Any = {"grant_type": "account_credentials", "account_id": "Wk9PTV9BQ0NPVU5UX0lE"}
    check(grant, "https://zoom.us/oauth/token", basic=True, **expected)
    assert grant == of("zoom", ACCOUNT_ID="Wk9PTV9BQ0NPVU5UX0lE")
    more = providers.zoom("Wk9PTV9BQ0NPVU5UX0lE", "the-id", SECRET, params={"trace": "1"})
    check(more, "https://zoom.us/oauth/token", basic=True, trace="1", **expected)
    documented = request_of(providers.zoom("a", "ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET")).headers["Authorization"]
    assert documented == "Basic Wk9PTV9DTElFTlRfSUQ6Wk9PTV9DTElFTlRfU0VDUkVU"  # the page's example


WRONG: dict[str, tuple[Any, ...]] = {
    "base_url must be an absolute": (providers.auth0, "your-tenant.eu.auth0.com", "id", SECRET, "a"),
    "audience must be a str, got None": (providers.auth0, "https://a.example", "id", SECRET, None),
    "tenant must not be empty": (providers.entra, "", "id", SECRET, "a"),
    "realm must be a str, got int": (providers.keycloak, "https://a.example", 5, "id", SECRET),
    "user_agent must not have a control": (providers.reddit, "id", SECRET, "a\nb"),
    "account_id must not be empty": (providers.zoom, "", "id", SECRET),
    "app_id must not be empty": (providers.feishu, "", SECRET),
    "app_secret must be a str or a callable that returns one, got None": (providers.feishu, "id", None),
    "accounts_url must be an absolute": (providers.zoho, "accounts.zoho.eu", "first", "id", SECRET),
    "refresh_token must not be empty": (providers.withings, "", "id", SECRET),
    "base_url must have no query": (providers.okta, "https://a.example?b=c", "id", SECRET, "a"),
}


@pytest.mark.parametrize("message", WRONG)
def test_arguments_that_cannot_work(message: str) -> None:
    """They are a ConfigurationError that names the argument."""
    provider, *arguments = WRONG[message]
    with pytest.raises(ConfigurationError, match=message):
        provider(*arguments)


@pytest.mark.parametrize(
    ("provider", "variables", "message"),
    [
        ("zoom", {}, r"ACME_ACCOUNT_ID is not set; ACME_PROVIDER=zoom needs it"),
        ("entra", {"TENANT": "a"}, r"ACME_SCOPE is not set; ACME_PROVIDER=entra needs it"),
        ("entra", {"SCOPE": "a"}, r"ACME_TENANT is not set"),
        ("spotify", {"BASE_URL": "https://a.example"}, r"ACME_BASE_URL contradicts ACME_PROVIDER=spotify"),
        ("okta", {"SCOPE": "a"}, r"ACME_BASE_URL is not set; ACME_PROVIDER=okta needs it"),
        ("okta", {"SCOPE": "a", "BASE_URL": "a.example"}, r"ACME_BASE_URL must be an absolute"),
        ("keycloak", {"BASE_URL": "https://a.example", "REALM": "a", "TENANT": "b"}, r"ACME_TENANT contradicts"),
        ("reddit", {"USER_AGENT": "a", "COLOUR": "b"}, r"ACME_COLOUR is no known variable"),
        ("zoho", {"REFRESH_TOKEN": "a"}, r"ACME_BASE_URL is not set; ACME_PROVIDER=zoho needs it"),
        ("zoho", {"REFRESH_TOKEN": "a", "BASE_URL": "zoho.eu"}, r"ACME_BASE_URL must be an absolute"),
        ("withings", {}, r"ACME_REFRESH_TOKEN \(or ACME_REFRESH_TOKEN_FILE\) is not set"),
        ("feishu", {"CLIENT_SECRET": ""}, r"ACME_CLIENT_SECRET must not be empty"),
        ("feishu", {"CLIENT_ID": " "}, r"ACME_CLIENT_ID \(which is empty\) is not set"),
        ("feishu", {"CLIENT_ID": "a\nb"}, r"ACME_CLIENT_ID must not have a control"),
        ("feishu", {"CLIENT_AUTH": "none"}, r"ACME_CLIENT_AUTH must not be none with ACME_CLIENT_SECRET"),
        ("feishu", {"APP_ID": "a"}, r"ACME_APP_ID is no known variable"),
        ("jamf", {"BASE_URL": "https://a.example", "REFRESH_TOKEN": "a"}, r"ACME_REFRESH_TOKEN contradicts"),
    ],
)
def test_variables_that_cannot_work(provider: str, variables: dict[str, str], message: str) -> None:
    """An error names the variable that is missing, that the provider has no use for, or that is wrong."""
    with pytest.raises(ConfigurationError, match=message):
        of(provider, **variables)


@pytest.mark.parametrize("name", ["feishu", "reddit", "withings", "zoom"])
def test_options_add_to_parameters_and_headers_of_a_provider(name: str) -> None:
    """Parameters and headers in code and in variables add to those of the provider, and are checked."""
    own = {
        "feishu": {},
        "reddit": {"USER_AGENT": "agent"},
        "withings": {"REFRESH_TOKEN": "first"},
        "zoom": {"ACCOUNT_ID": "account"},
    }[name]
    arguments = [*own.values(), "the-id", SECRET] if name != "reddit" else ["the-id", SECRET, "agent"]
    grant = getattr(providers, name)(*arguments, params={"trace": "1"}, headers={"X-Trace": "2"})
    assert grant == of(name, PARAMS="trace=1", HEADERS="X-Trace=2", **own)
    request, plain = request_of(grant), request_of(of(name, **own))
    assert (b"trace" in request.body, request.headers["X-Trace"]) == (True, "2")
    assert plain.headers.items() <= request.headers.items()
    for option in ("params", "headers") if name == "feishu" else ("params",) if name != "reddit" else ("headers",):
        with pytest.raises(ConfigurationError, match=f"{option} must be a mapping"):
            getattr(providers, name)(*arguments, **{option: [5]})


def test_every_provider_has_a_name() -> None:
    """Each public function but two is a provider of the environment, and names the document that says what is sent."""
    names = {name.replace("-", "_") for name in providers.BY_NAME}
    in_code = {"azure_workload_identity", "google_service_account"}  # they have variables and a file of their own
    assert names | in_code == set(providers.__all__)
    partners = {"upload_api", "jwt_api", "auth_api", "organization_api", "json_api"}
    for name in {*names, *in_code} - partners:
        assert "Documented " in getattr(providers, name).__doc__
