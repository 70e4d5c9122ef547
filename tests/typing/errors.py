"""What a user's type checker refuses. mypy and pyright read this file, and nothing runs it.

Each expected error is ignored on its line. If it is missing, both report the comment that ignores nothing.
"""

from __future__ import annotations

import httpx
import httpx2
import requests
from requests.auth import AuthBase

import auth_plugins.httpx
import auth_plugins.httpx2
import auth_plugins.requests
from auth_plugins import ApiKey, ClientCredentials, Custom, Password, RefreshToken, SecretFile, TokenSource, providers

URL = "https://id.example.com"
grant = ClientCredentials(URL, "id", "secret")
source = TokenSource(grant)
client = httpx.Client()
session = requests.Session()

# An auth= is an OAuth2Auth, of the library that gets it; a grant and a token source are none.
requests.get(URL, auth=grant)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
requests.get(URL, auth=source)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
requests.get(URL, auth=auth_plugins.httpx.OAuth2Auth(grant))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
session.auth = grant  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
httpx.get(URL, auth=grant)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx.AsyncClient(auth=source)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx.get(URL, auth=auth_plugins.requests.OAuth2Auth(grant))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx.get(URL, auth=auth_plugins.httpx2.OAuth2Auth(grant))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx2.Client(auth=grant)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx2.get(URL, auth=source)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
httpx2.get(URL, auth=auth_plugins.httpx.OAuth2Auth(grant))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# What is added to an auth is one of its library.
auth_plugins.requests.OAuth2Auth(grant) + grant  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
auth_plugins.httpx.OAuth2Auth(grant) + auth_plugins.httpx2.OAuth2Auth(grant)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
source + auth_plugins.httpx2.OAuth2Auth(grant)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
httpx.get(URL, auth=auth_plugins.requests.OAuth2Auth(grant) + AuthBase())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# A session or client is the library's own, and sync.
auth_plugins.requests.OAuth2Auth(grant, session=client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
auth_plugins.httpx.OAuth2Auth(grant, client=httpx.AsyncClient())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
auth_plugins.httpx2.OAuth2Auth(grant, client=client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Options with few values.
ClientCredentials(URL, "id", "s", client_auth="basic")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ClientCredentials(URL, "id", dpop="key")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ClientCredentials(URL, "id", client_auth=SecretFile("key"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Password(URL, "me", "s", encoding="JSON")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RefreshToken(URL, "s", method="PUT")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
providers.json_api(URL, "id", "s", method="PUT")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
providers.organization_api(URL, "id", "s", "body")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Options of a provider's grant.
providers.upload_api(URL, "id", "s", client_auth="basic")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
providers.upload_api(URL, "id", "s", token_url=URL)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
providers.jwt_api(URL, "id", "s", client_auht="none")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
providers.jwt_api(URL, "id", "s", refresh_url=URL)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
providers.auth_api(URL, "me", "s", headers=["X-A"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Arguments that a provider needs, and options that are arguments of it.
providers.entra("tenant", "id", "s")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
providers.zoho("https://a", "refresh", "id")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
providers.zoom("account", "id", "s", account="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

# A function of the user's takes no argument, and is not async.
Custom(len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Custom("token")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Where the token goes.
ApiKey("key", "X-Key", "Key", "api_key")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
auth_plugins.requests.OAuth2Auth(grant, query=["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Overrides of variables.
auth_plugins.requests.OAuth2Auth.from_env("ACME", timeoutt=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
auth_plugins.requests.OAuth2Auth.from_env(client=client)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
auth_plugins.httpx.OAuth2Auth.from_env("ACME", session=session)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
auth_plugins.httpx.OAuth2Auth.from_env(client=httpx2.Client())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
auth_plugins.httpx2.OAuth2Auth.from_env(client=client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
TokenSource.from_env("ACME", allowed_hosts="*.example.com")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
TokenSource.from_env("ACME", leeway="30")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
