"""What a user's type checker sees; mypy and pyright read this file, and nothing runs it."""

from __future__ import annotations

from pathlib import Path

import httpx
import httpx2
import requests
from requests.auth import AuthBase, HTTPBasicAuth, HTTPProxyAuth

import auth_plugins.httpx
import auth_plugins.httpx2
import auth_plugins.opentelemetry
import auth_plugins.requests
from auth_plugins import (
    ApiKey,
    AuthError,
    AuthorizationCode,
    ClientAssertion,
    ClientCredentials,
    ClientSecretJWT,
    Custom,
    DeviceCode,
    DPoPKey,
    Grant,
    Issuer,
    JWTBearer,
    KeyringCache,
    LoginRequiredError,
    MemoryCache,
    Password,
    PrivateKeyJWT,
    RefreshToken,
    SecretFile,
    SignedJWT,
    TLSClientAuth,
    Token,
    TokenEvent,
    TokenExchange,
    TokenRequestError,
    TokenSource,
    add_observer,
    from_env,
    graphql_unauthenticated,
    remove_observer,
)
from auth_plugins.providers import (
    auth0,
    auth_api,
    azure_workload_identity,
    cognito,
    ebay,
    entra,
    feishu,
    google_service_account,
    jamf,
    json_api,
    jwt_api,
    keycloak,
    kubernetes_service_account,
    marketo,
    okta,
    okta_private_key,
    organization_api,
    paypal,
    reddit,
    salesforce,
    salesforce_jwt,
    spotify,
    twitch,
    upload_api,
    withings,
    zoho,
    zoom,
)
from auth_plugins.testing import FakeTokens, TokenServer


def secret() -> str:
    return "s3cr3t"


def log_in() -> dict[str, object]:
    return {"access_token": "token", "expires_in": 60}


grants: list[Grant] = [
    AuthorizationCode("https://id.example.com/token", "id", authorize_url="https://id.example.com/authorize"),
    AuthorizationCode(
        Issuer("https://id.example.com"), "id", secret, authorize_params={"ui": ["a"]}, login_timeout=60, prompt=print
    ),
    DeviceCode(Issuer("https://id.example.com"), "id", scope="a", prompt=print),
    DeviceCode("https://id.example.com/token", "id", device_url="https://id.example.com/device", prompt=None),
    ClientCredentials(
        "https://id.example.com/token", "id", secret, scope=["a", "b"], resource=("https://a", "https://b")
    ),
    ClientCredentials("https://id.example.com/token", "id", params={"tenant": 5, "scope": None}, headers={"X-A": "1"}),
    Password("https://id.example.com/token", "me", SecretFile("/run/secrets/password"), refresh_url=None),
    RefreshToken("https://id.example.com/token", "refresh", client_id="id"),
    ClientCredentials(Issuer("https://id.example.com"), "id", secret, revocation_url="https://a"),
    Password(token_url=Issuer("https://id.example.com"), username="me", password="pw"),
    RefreshToken(Issuer("https://id.example.com"), "refresh"),
    ApiKey("key", header="X-Key", scheme="Key"),
    ApiKey(secret, query="api_key"),
    ClientCredentials(
        "https://id.example.com/token",
        "id",
        secret,
        answer={"access_token": "data.token", "error": "code"},
        names={"client_id": "app_id"},
        params={"nonce": lambda: 5, "key": secret, "file": SecretFile("/run/secrets/key"), "version": 2},
        refresh_params={"scope": "a", "key": secret},
        headers={"X-Key": SecretFile("/run/secrets/key"), "X-A": "1"},
        lifetime=3600,
    ),
    jwt_api("https://a", "id", "secret", answer={"scope": "x"}, names=None, refresh_params={"a": 1}, lifetime=None),
    ClientCredentials("https://a", "id", secret, client_auth="client_secret_post", encoding="json", method="POST"),
    ClientCredentials(
        "https://a", "id", client_auth=TLSClientAuth("c.pem", Path("k.pem"), password=secret, ca="ca.pem")
    ),
    ClientCredentials("https://a", "id", client_auth="self_signed_tls_client_auth"),
    ClientCredentials("https://a", "id", secret, dpop=True),
    RefreshToken("https://a", "token", dpop=DPoPKey(SecretFile("key.pem"))),
    okta("https://a", "id", secret, "a", dpop=DPoPKey.generate("EdDSA")),
    Password("https://a", "me", secret, "id", client_auth=TLSClientAuth(certificate=Path("both.pem"))),
    upload_api("https://a", "id", secret, ["a", "b"], client_auth="client_secret_basic_raw", method="GET"),
    jwt_api("https://a", "id", "secret", scope="a", audience="b", resource=["c"], encoding="query"),
    auth_api("https://a", "me", secret, True, client_id="id", client_secret=secret, refresh_url="https://b"),
    organization_api("organization.example.com", "id", "secret", "query", scope="a"),
    json_api("https://a", "id", "secret", method="GET", params={"a": 1}, headers={"X-A": "b"}, revocation_url=None),
    TokenExchange("https://a", secret, "id", secret, audience="b", requested_token_type="jwt"),
    TokenExchange("https://a", TokenSource(ApiKey("key")), actor_token="b", actor_token_type="id_token", scope=["a"]),
    JWTBearer("https://a", SecretFile("/run/secrets/jwt"), "id", scope="a"),
    JWTBearer("https://a", SignedJWT(secret, issuer="me", subject="you", claims={"scope": "a"}, lifetime=60)),
    from_env("ACME", {"ACME_API_KEY": "key"}),
    ClientCredentials(
        "https://a", "id", client_auth=PrivateKeyJWT(SecretFile("key.pem"), key_id="1", algorithm="PS256")
    ),
    ClientCredentials("https://a", "id", secret, client_auth=ClientSecretJWT(algorithm="HS512", lifetime=30)),
    ClientCredentials("https://a", "id", secret, client_auth="client_secret_jwt"),
    Password("https://a", "me", "s", "id", client_auth=ClientAssertion(secret)),
    okta("https://a", "id", secret, "a", client_auth=ClientSecretJWT(audience="https://a")),
    Custom(secret),
    Custom(log_in, key="ops"),
    Custom(lambda: Token(access_token="token")),
    auth0("https://a", "id", secret, "https://api", scope="a", method="POST"),
    cognito("https://a", "id", secret, ["a/b"], audience=None),
    ebay("id", secret, base_url="https://a", params={"a": 1}),
    entra("tenant", "id", "secret", "https://graph.microsoft.com/.default", client_auth="client_secret_basic"),
    feishu("app", secret, params={"a": 1}),
    jamf("https://a", "id", secret, scope="a"),
    keycloak("https://a", "realm", "id", secret, scope="a", audience="b"),
    marketo("https://a", "id", secret, method="POST"),
    okta("https://a", "id", secret, ("a", "b"), headers={"X-A": "1"}),
    paypal("https://a", "id", secret),
    reddit("id", secret, "linux:a:v1 (by /u/b)"),
    salesforce("https://a", "id", secret, revocation_url="https://a/revoke"),
    spotify("id", secret),
    twitch("id", secret),
    withings(secret, "id", secret, headers={"X-A": secret}),
    zoho("https://a", "refresh", "id", secret, revocation_url="https://a/revoke"),
    zoom("account", "id", secret),
    google_service_account({"client_email": "a"}, ["b"], lifetime=60),
    salesforce_jwt("https://a", "id", "me", secret, lifetime=60),
    okta_private_key("https://a", "id", SecretFile("/run/secrets/key"), "a", key_id="b"),
    azure_workload_identity("https://graph.microsoft.com/.default", {"AZURE_CLIENT_ID": "id"}),
    kubernetes_service_account("https://a", "id", "/run/secrets/token", audience="a"),
]

source: TokenSource = TokenSource(grants[0], cache=MemoryCache(), leeway=30, timeout=5.0, refresh_ahead=False)
of_variables: TokenSource = TokenSource.from_env("ACME", {"ACME_API_KEY": "key"}, cache=MemoryCache(), leeway=30)
token: Token = source.token()
expires_at: float | None = token.expires_at
instance: object = token.extra.get("instance_url")
value: str = token.header_value + str(token.claims.get("sub"))


async def atoken() -> Token:
    return await source.atoken()


with requests.Session() as session:
    session.auth = auth_plugins.requests.OAuth2Auth(grants[0], session=session, allowed_hosts=["*.example.com"])
    session.auth = auth_plugins.requests.OAuth2Auth(grants[0], leeway=30, timeout=5.0, refresh_ahead=False, header=None)
    response: requests.Response = requests.get("https://a", auth=auth_plugins.requests.OAuth2Auth.from_env("ACME"))
    auth = auth_plugins.requests.OAuth2Auth.from_env("ACME", session=session, allowed_hosts=["a"], refresh_ahead=False)
    session.auth = auth_plugins.requests.OAuth2Auth(grants[0], refused=(403, 419))
    session.auth = auth_plugins.requests.OAuth2Auth(grants[0], query="access_token")
    parameter: str | None = auth_plugins.httpx2.OAuth2Auth.from_env("ACME", query="access_token").query
    auth = auth_plugins.requests.OAuth2Auth.from_env("ACME", refused=graphql_unauthenticated)
with httpx.Client(auth=auth_plugins.httpx.OAuth2Auth(grants[0], client=httpx.Client())) as client:
    client.get("https://a", auth=auth_plugins.httpx.OAuth2Auth.from_env("ACME", timeout=3, client=client, header="A"))
two = auth_plugins.requests.OAuth2Auth(grants[0]) + auth_plugins.requests.OAuth2Auth(grants[3], header="X-User")
session.auth = HTTPBasicAuth("me", "mine") + (two + auth_plugins.requests.OAuth2Auth.from_env("ACME"))
any_auth: AuthBase = two + HTTPProxyAuth("me", "mine") + two
httpx_two: httpx.Auth = httpx.NetRCAuth() + auth_plugins.httpx.OAuth2Auth(grants[3], header="X-User")
httpx.AsyncClient(auth=httpx.BasicAuth("me", "mine") + auth_plugins.httpx.OAuth2Auth(source, header="X-Token"))
httpx2.Client(auth=auth_plugins.httpx2.OAuth2Auth(source) + (auth_plugins.httpx2.OAuth2Auth(source) + httpx2.Auth()))
httpx_auth = auth_plugins.httpx.OAuth2Auth(grants[0], refused=lambda response: response.status_code == 403)
httpx2_client = httpx2.AsyncClient(auth=auth_plugins.httpx2.OAuth2Auth(source, scheme="Token", header="X-Token"))

try:
    session.get("https://a")
except LoginRequiredError as error:
    is_transient: bool = error.transient
except TokenRequestError as error:
    code: str | None = error.error
    status: int | None = error.status_code
    rest: float | None = error.retry_after
    explained: tuple[str, str, str] = (error.problem, error.advice, error.trouble)


def observe(event: TokenEvent) -> tuple[str, str, str, float, AuthError | None, str]:
    return event.kind, event.grant, event.token_url, event.seconds, event.error, event.source


add_observer(observe)
remove_observer(observe)

with FakeTokens() as fake, TokenServer() as token_server:
    handed_out: Token = fake.token
    asked: list[Grant] = fake.requests
    fake.refuse("invalid_client", "unknown", status_code=400, retry_after=5)
    fake.refuse(LoginRequiredError("sign in"))
    fake.refuse(None)
    urls: tuple[str, str] = (token_server.token_url, token_server.api_url)
    token_server.fail(503, at="api", times=3, headers={"Retry-After": "5"})
    token_server.credentials = {"client": "s3cr3t"}
auth_plugins.opentelemetry.instrument()
auth_plugins.opentelemetry.uninstrument()
TokenSource(grants[0], cache=KeyringCache("acme"))
