"""What a user's type checker sees; mypy reads this file, and nothing runs it."""

from __future__ import annotations

import httpx
import httpx2
import requests

import auth_plugins.httpx
import auth_plugins.httpx2
import auth_plugins.requests
from auth_plugins import (
    ApiKey,
    ClientCredentials,
    Grant,
    MemoryCache,
    Password,
    RefreshToken,
    SecretFile,
    Token,
    TokenRequestError,
    TokenSource,
    from_env,
)
from auth_plugins.providers import organization_api


def secret() -> str:
    return "s3cr3t"


grants: list[Grant] = [
    ClientCredentials(
        "https://id.example.com/token", "id", secret, scope=["a", "b"], resource=("https://a", "https://b")
    ),
    ClientCredentials("https://id.example.com/token", "id", params={"tenant": 5, "scope": None}, headers={"X-A": "1"}),
    Password("https://id.example.com/token", "me", SecretFile("/run/secrets/password"), refresh_url=None),
    RefreshToken("https://id.example.com/token", "refresh", client_id="id"),
    ApiKey("key", header="X-Key", scheme="Key"),
    organization_api("organization.example.com", "id", "secret", "query", scope="a"),
    from_env("ACME", {"ACME_API_KEY": "key"}),
]

source: TokenSource = TokenSource(grants[0], cache=MemoryCache(), leeway=30, timeout=5.0, refresh_ahead=False)
of_variables: TokenSource = TokenSource.from_env("ACME", {"ACME_API_KEY": "key"}, cache=MemoryCache(), leeway=30)
token: Token = source.token()
expires_at: float | None = token.expires_at
value: str = token.header_value + str(token.claims.get("sub"))


async def atoken() -> Token:
    return await source.atoken()


with requests.Session() as session:
    session.auth = auth_plugins.requests.OAuth2Auth(grants[0], session=session, allowed_hosts=["*.example.com"])
    session.auth = auth_plugins.requests.OAuth2Auth(grants[0], leeway=30, timeout=5.0, refresh_ahead=False, header=None)
    response: requests.Response = requests.get("https://a", auth=auth_plugins.requests.OAuth2Auth.from_env("ACME"))
with httpx.Client(auth=auth_plugins.httpx.OAuth2Auth(grants[0], client=httpx.Client())) as client:
    client.get("https://a", auth=auth_plugins.httpx.OAuth2Auth.from_env("ACME", timeout=3))
httpx2_client = httpx2.AsyncClient(auth=auth_plugins.httpx2.OAuth2Auth(source, scheme="Token", header="X-Token"))

try:
    session.get("https://a")
except TokenRequestError as error:
    code: str | None = error.error
    status: int | None = error.status_code
    rest: float | None = error.retry_after
    explained: tuple[str, str, str] = (error.problem, error.advice, error.trouble)
