"""The systems end to end: from code and from variables alone, with every library, to the byte on the wire."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import pytest

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    Issuer,
    MemoryCache,
    Password,
    PrivateKeyJWT,
    SecretFile,
    TLSClientAuth,
    TokenRequestError,
    from_env,
    graphql_unauthenticated,
    providers,
)
from auth_plugins._environment.definitions import API_POLICY
from auth_plugins.sandbox import Sandbox, Seen, System
from tests.support.drivers import ALL, SYNC, Call, Driver, each, succeeded
from tests.support.loopback import Clock

PARTNERS = ["upload-api", "jwt-api", "auth-api", "organization-api", "json-api"]
SYSTEMS = [*PARTNERS, "nested-api", "session-api", "query-api"]


def dialect(system: Any) -> tuple[Any, dict[str, Any]]:
    """Return the grant and the options of an adapter for a system without a provider: what its variables make."""
    if system.name == "nested-api":
        grant: Any = ClientCredentials(
            f"{system.url}/api/login", system.client_id, system.client_secret,
            client_auth="client_secret_post", encoding="json", params={"grant_type": None},
            names={"client_id": "app_id", "client_secret": "app_secret"},
            answer={"access_token": "body.access_token", "error": "code", "error_description": "msg"},
        )  # fmt: skip
        return grant, {}
    if system.name == "session-api":
        answer = {"access_token": "header:X-Auth-Token"}
        url = f"{system.url}/sessions"
        grant = Password(url, system.username, system.password, params={"grant_type": None}, answer=answer)
        return grant, {"header": "X-Auth-Token", "scheme": ""}
    url = f"{system.url}/oauth/token"
    grant = ClientCredentials(url, system.client_id, system.client_secret, client_auth="client_secret_post")
    return grant, {"query": "access_token", "refused": (403,)}


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(clock=clock.time) as sandbox:
        yield sandbox


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


FORM = "application/x-www-form-urlencoded"


def documented(system: System, variant: str = "") -> tuple[str, str, dict[str, str], bytes]:  # noqa: PLR0911 - a row each
    """Return the token request that the system's document describes: method, target, headers, body."""
    s: Any = system
    credentials = {"client_id": s.client_id, "client_secret": s.client_secret}
    if s.name == "upload-api":
        authorization = basic(quote(s.client_id, safe=""), quote(s.client_secret, safe=""))
        form = b"grant_type=client_credentials&scope=platform_upload_api"
        return "POST", "/connect/token", {"authorization": authorization, "content-type": FORM}, form
    if s.name == "jwt-api":
        headers = {"authorization": basic(s.client_id, s.client_secret), "content-type": FORM}
        return "POST", "/oauth/v2/token", headers, b"grant_type=client_credentials"
    if s.name == "auth-api":
        form = urlencode({"username": s.username, "password": s.password}).encode()
        return "POST", "/auth/password", {"content-type": FORM}, form
    if s.name == "nested-api":
        body = rb'{"app_id": "app-7", "app_secret": "nested / secret + \u00fc"}'
        return "POST", "/api/login", {"content-type": "application/json"}, body
    if s.name == "session-api":
        form = urlencode({"username": s.username, "password": s.password}).encode()
        return "POST", "/sessions", {"content-type": FORM}, form
    if s.name == "query-api":
        form = urlencode({"grant_type": "client_credentials", **credentials}).encode()
        return "POST", "/oauth/token", {"content-type": FORM}, form
    if s.name == "organization-api":
        if variant == "query":
            query = urlencode({"grant_type": "client_credentials", **credentials}, quote_via=quote)
            return "POST", f"/oauth2/token?{query}", {}, b""
        headers = {"authorization": basic(s.client_id, s.client_secret), "content-type": FORM}
        return "POST", "/oauth2/token", headers, b"grant_type=client_credentials"
    if variant == "GET":
        query = urlencode({"grant_type": "client_credentials", **credentials}, quote_via=quote)
        return "GET", f"/oauth/token?{query}", {}, b""
    escaped = r"say \"hi\" \\ + \u00fc"
    text = f'{{"grant_type": "client_credentials", "client_id": "{s.client_id}", "client_secret": "{escaped}"}}'
    return "POST", "/oauth/token", {"content-type": "application/json"}, text.encode()


def sent(seen: Seen) -> tuple[str, str, dict[str, str], bytes]:
    telling = {name: seen.headers[name] for name in ("authorization", "content-type") if name in seen.headers}
    return seen.method, seen.target, telling, seen.body


def auth_of(driver: Driver, system: System, variables: dict[str, str]) -> Any:
    kind: Any = type(driver.auth(ApiKey("any")))
    return kind.from_env("ACME", {**system.variables("ACME"), **variables}, cache=MemoryCache())


ROWS: list[tuple[str, str, dict[str, str]]] = [(name, "", {}) for name in SYSTEMS] + [
    ("organization-api", "query", {"ACME_CREDENTIALS": "query"}),
    ("json-api", "GET", {"ACME_METHOD": "GET"}),
]


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize(("name", "variant", "variables"), ROWS, ids=[f"{row[0]} {row[1]}".strip() for row in ROWS])
def test_each_system_gets_what_its_document_says(
    driver: Driver, sandbox: Sandbox, name: str, variant: str, variables: dict[str, str]
) -> None:
    """Configured by variables, the token request is the documented one, to the byte."""
    system = sandbox[name]
    auth = auth_of(driver, system, variables)
    assert succeeded([driver.get(system.api_url, auth) for _ in range(2)])
    [token_request] = system.token_requests
    assert sent(token_request) == documented(system, variant)
    assert token_request.headers["accept"] == "application/json"
    assert {seen.credentials for seen in system.seen if seen.at == "api"} == {system.token_place}


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize("name", SYSTEMS)
def test_each_system_is_renewed_by_its_own_way(driver: Driver, sandbox: Sandbox, clock: Clock, name: str) -> None:
    """A token that expired or was revoked is replaced as documented; where no expiry is known, it is refused first.

    The password is sent once, and once more after a refused refresh token. A 403 costs no token.
    """
    system = sandbox[name]
    auth = auth_of(driver, system, {})
    assert driver.get(system.api_url, auth).status == 200
    clock.forward(3600)
    assert driver.get(system.api_url, auth).history == ([401] if name == "session-api" else [])
    system.revoke()
    answer = driver.get(system.api_url, auth)
    assert (answer.status, answer.history) == (200, [403 if name == "query-api" else 401])
    first, *renewals = [(seen.at, seen.grant_type) for seen in system.token_requests]
    own_way = {"auth-api": ("refresh", ""), "organization-api": ("token", "refresh_token")}.get(name, first)
    assert (first[0], renewals) == ("token", [own_way] * 2)
    if name == "auth-api":
        refresh = system.token_requests[-1]
        assert (refresh.target, [*parse_qs(refresh.body.decode())]) == ("/auth/refresh", ["refresh_token"])
    assert system.reuses == 0
    clock.forward(30)  # one token in 30 s for refusals by REFUSED
    system.revoke()
    system.revoke_refresh_tokens()
    assert driver.get(system.api_url, auth).status == 200
    assert driver.get(f"{system.url}/forbidden", auth).status == 403
    refused = {"auth-api": [401], "organization-api": [400]}.get(name, [])
    issued = 201 if name == "session-api" else 200
    assert [seen.status for seen in system.token_requests] == [issued] * 3 + [*refused, issued]


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize("name", SYSTEMS)
def test_each_system_from_code(driver: Driver, sandbox: Sandbox, name: str) -> None:
    """A provider's function, or the options of a dialect, make the grant that the variables make."""
    system: Any = sandbox[name]
    variables, options = system.variables("ACME"), dict[str, Any]()
    if name not in PARTNERS:
        grant, options = dialect(system)
        variables = {name: value for name, value in variables.items() if name.removeprefix("ACME_") not in API_POLICY}
    elif name == "auth-api":
        grant = providers.auth_api(system.url, system.username, system.password)
    else:
        function = getattr(providers, name.replace("-", "_"))
        grant = function(system.url, system.client_id, system.client_secret)
    assert grant == from_env("ACME", variables)
    assert driver.get(system.api_url, driver.auth(grant, **options)).status == 200


@pytest.mark.parametrize("driver", each(ALL))
def test_the_enterprise_system_by_keys_and_certificates(driver: Driver, sandbox: Sandbox, clock: Clock) -> None:
    """Code and variables make the same grants. Each nonce is asked for once, and a stale one costs no token."""
    system = sandbox["enterprise-api"]
    files, issuer, client = system.files, Issuer(system.url), system.client_id
    key = PrivateKeyJWT(SecretFile(files.private_key), key_id="2026-11")
    auth = auth_of(driver, system, {})
    assert auth.source.grant == ClientCredentials(issuer, client, client_auth=key, dpop=True)
    first = [(0, ""), (400, "use_dpop_nonce"), (200, ""), (401, "use_dpop_nonce"), (200, "")]
    for act, asked in (
        (lambda: None, first),
        (lambda: clock.forward(900), [(401, "use_dpop_nonce"), (200, "")]),
        (lambda: clock.forward(3600), first),  # the metadata are an hour old, too
        (system.revoke, [(401, "invalid_token"), (200, ""), (200, "")]),
    ):
        count = len(system.seen)
        act()
        assert driver.get(system.api_url, auth).status == 200
        assert [(seen.status * (seen.at != "metadata"), seen.error) for seen in system.seen[count:]] == asked
    certificate = TLSClientAuth(files.certificate, files.certificate_key, ca=files.ca)
    grant: Any = from_env("ACME", system.mtls_variables("ACME"))
    token = driver.auth(grant, cache=MemoryCache()).source.token()
    assert token.claims["cnf"] == {"x5t#S256": system.seen[-1].certificate}
    assert driver.auth(ClientCredentials(issuer, client, client_auth=certificate)).source.token().token_type == "Bearer"


@pytest.mark.parametrize("driver", each(ALL))
def test_an_error_in_a_200_says_what_the_server_says(driver: Driver, sandbox: Sandbox) -> None:
    """nested-api answers a wrong secret with a 200 and a code: our error says so, and asks no more."""
    system = sandbox["nested-api"]
    auth = auth_of(driver, system, {"ACME_CLIENT_SECRET": "s3cr3t canary"})
    for _ in range(2):
        with pytest.raises(driver.base_error, match="invalid_client: unknown app") as caught:
            driver.get(system.api_url, auth)
        assert isinstance(caught.value, TokenRequestError)
        assert (caught.value.error, caught.value.status_code) == ("401", 200)
        assert "canary" not in str(caught.value)
    assert len(system.seen) == 1


@pytest.mark.parametrize("driver", each(ALL))
def test_a_graphql_error_is_a_refusal(driver: Driver, sandbox: Sandbox) -> None:
    """query-api's ``/graphql`` says UNAUTHENTICATED in a 200: the request is sent again, with a new token."""
    system = sandbox["query-api"]
    grant, options = dialect(system)
    auth = driver.auth(grant, **{**options, "refused": graphql_unauthenticated})
    for history in ([], [200]):
        answer = driver.send(Call("POST", system.graphql_url, {"json": {"query": "{me}"}}), auth)
        assert (answer.history, "query-client" in answer.text) == (history, True)
        system.revoke()
    assert {seen.credentials for seen in system.seen} == {"form", "query"}
    assert len({seen.token for seen in system.seen if seen.at == "api"}) == len(system.token_requests) == 2
