"""What the providers send that know a key, or a token of the platform, each by the vendor's documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from auth_plugins import ConfigurationError, SecretFile, Token, from_env, providers
from auth_plugins._protocol.messages import TokenRequest
from tests.support.frames import variables_of
from tests.support.keys import jwk, key, opened, pem
from tests.support.loopback import Clock

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
INFO = {
    "type": "service_account",
    "private_key_id": "k1",
    "private_key": pem("RS256"),
    "client_email": "robot@project.iam.gserviceaccount.com",
    "client_id": "1234567890",
    "token_uri": "https://oauth2.googleapis.com/token",
}


def sent(grant: Any, url: str) -> dict[str, str]:
    """The parameters of the token request of *grant*, a POST to *url*; nothing is sent."""
    requests: list[TokenRequest] = []

    def ask(request: TokenRequest) -> Token:
        requests.append(request)
        return Token(access_token="tok")

    grant.request_token(ask)
    assert (requests[0].method, requests[0].url) == ("POST", url)
    assert "Authorization" not in requests[0].headers
    assert pem("RS256").split("\n")[1] not in repr(grant)
    return dict(parse_qsl(requests[0].body.decode(), strict_parsing=True))


def test_google_service_account(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token request to Google is the documented one.

    "Using OAuth 2.0 for Server to Server Applications", "HTTP/REST"
    (https://developers.google.com/identity/protocols/oauth2/service-account): ``grant_type`` and ``assertion``; the JWT
    has ``iss``, ``scope``, ``aud``, ``exp`` (an hour later at most) and ``iat``; its header ``kid`` and ``RS256``.
    """
    path = tmp_path / "key.json"
    path.write_text(json.dumps(INFO), "utf-8-sig")  # as PowerShell writes
    monkeypatch.setenv("HOME", str(tmp_path))
    grant = providers.google_service_account(INFO, ["https://a/auth/b", "https://a/auth/c"])
    parameters = sent(grant, INFO["token_uri"])
    assert parameters.keys() == {"grant_type", "assertion"}
    assert parameters["grant_type"] == JWT_BEARER
    header, claims = opened(parameters["assertion"], key("RS256"))
    assert (header["alg"], header["kid"], header["typ"]) == ("RS256", "k1", "JWT")
    assert claims.keys() == {"iss", "scope", "aud", "exp", "iat", "jti"}
    assert (claims["iss"], claims["scope"]) == (INFO["client_email"], "https://a/auth/b https://a/auth/c")
    assert (claims["aud"], claims["exp"] - claims["iat"]) == ("https://oauth2.googleapis.com/token", 3600)
    for info in (json.dumps(INFO), f" {json.dumps(INFO)}", str(path), path, "~/key.json"):
        assert providers.google_service_account(info, "https://a/auth/b https://a/auth/c") == grant
    bare = {name: INFO[name] for name in ("private_key", "client_email")}
    assert sent(providers.google_service_account(bare, "a"), "https://oauth2.googleapis.com/token")


@pytest.mark.parametrize(
    ("info", "scope", "message"),
    [
        ({}, "a", "info must be the key of a service account, and has no client_email"),
        ({**INFO, "private_key": None}, "a", "has no private_key; give the file as Google Cloud made it"),
        (json.dumps(INFO)[:-5], "a", "info must be the key of a service account: a dict, its JSON text, or the path"),
        ([INFO], "a", "info must be the key of a service account"),
        ("/nowhere/key.json", "a", "info is the path of a file that cannot be read .No such file"),
        ("a\0b", "a", "info is the path of a file that cannot be read"),
        (INFO, [], "scope must not be empty"),
    ],
)
def test_a_service_account_that_cannot_be(info: Any, scope: Any, message: str) -> None:
    """The error says what is missing, and shows nothing of the key."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        providers.google_service_account(info, scope)
    assert pem("RS256").split("\n")[1] not in f"{caught.value} {variables_of(caught.value)}"


@pytest.mark.parametrize(
    ("base", "audience"),
    [
        ("https://login.salesforce.com", "https://login.salesforce.com"),
        ("https://test.salesforce.com/", "https://test.salesforce.com"),
        ("https://acme.my.salesforce.com", "https://login.salesforce.com"),
        ("https://acme--dev.sandbox.my.salesforce.com", "https://test.salesforce.com"),
        ("https://site.force.com/customers", "https://site.force.com/customers"),
    ],
)
def test_salesforce_jwt(base: str, audience: str, clock: Clock) -> None:
    """The token request to Salesforce is the documented one.

    "OAuth 2.0 JWT Bearer Flow for Server-to-Server Integration"
    (https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_jwt_flow.htm): ``grant_type`` and
    ``assertion``, by RS256; ``iss`` is the consumer key, ``sub`` the user's name, ``aud`` one of the two login hosts
    or the site's URL, and ``exp`` within three minutes.
    """
    grant = providers.salesforce_jwt(base, "consumer-key", "ada@example.com", pem("RS256"))
    parameters = sent(grant, f"{base.rstrip('/')}/services/oauth2/token")
    assert parameters.keys() == {"grant_type", "assertion"}
    assert parameters["grant_type"] == JWT_BEARER
    header, claims = opened(parameters["assertion"], key("RS256"))
    assert header["alg"] == "RS256"
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("consumer-key", "ada@example.com", audience)
    assert 0 < claims["exp"] - clock.now <= 180


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://your-domain.okta.com", "https://your-domain.okta.com/oauth2/v1/token"),
        ("https://your-domain.okta.com/oauth2/default", "https://your-domain.okta.com/oauth2/default/v1/token"),
    ],
)
def test_okta_private_key(base: str, url: str, clock: Clock) -> None:
    """The token request to Okta is the documented one.

    "Implement OAuth for Okta with a service app"
    (https://developer.okta.com/docs/guides/implement-oauth-for-okta-serviceapp/main/): ``client_credentials`` with a
    scope, and a client assertion whose ``aud`` is the token endpoint, ``iss`` and ``sub`` the client's id.
    """
    grant = providers.okta_private_key(base, "the-id", pem("RS256"), "okta.users.read", key_id="k1")
    parameters = sent(grant, url)
    header, claims = opened(parameters.pop("client_assertion"), key("RS256"))
    assert (header["alg"], header["kid"]) == ("RS256", "k1")
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("the-id", "the-id", url)
    parameters.pop("client_id", None)  # it may be sent besides
    expected = {"grant_type": "client_credentials", "scope": "okta.users.read"}
    assert parameters == {**expected, "client_assertion_type": ASSERTION_TYPE}
    own = providers.okta_private_key(base, "the-id", jwk("RS256", kid="own"), "okta.users.read")
    assert opened(sent(own, url)["client_assertion"], key("RS256"))[0]["kid"] == "own"


def test_azure_workload_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token request to Microsoft Entra ID is the documented one.

    "OAuth 2.0 client credentials flow", "Third case: Access token request with a federated credential"
    (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow); the variables are those of
    Azure AD Workload Identity (https://azure.github.io/azure-workload-identity/docs/), the host with a slash.
    """
    path = tmp_path / "azure-identity-token"
    path.write_text("header.payload.signature")
    environ = {
        "AZURE_CLIENT_ID": "the-id",
        "AZURE_TENANT_ID": "the-tenant",
        "AZURE_FEDERATED_TOKEN_FILE": str(path),
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/",
    }
    scope = "https://graph.microsoft.com/.default"
    grant = providers.azure_workload_identity(scope, environ)
    assert sent(grant, "https://login.microsoftonline.us/the-tenant/oauth2/v2.0/token") == {
        "grant_type": "client_credentials",
        "client_id": "the-id",
        "scope": scope,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": "header.payload.signature",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert providers.azure_workload_identity(scope) == grant
    del environ["AZURE_AUTHORITY_HOST"]
    grant = providers.azure_workload_identity(scope, environ)
    assert grant.token_url == "https://login.microsoftonline.com/the-tenant/oauth2/v2.0/token"
    with pytest.raises(ConfigurationError, match="environ has no AZURE_TENANT_ID and no AZURE_FEDERATED_TOKEN_FILE; "):
        providers.azure_workload_identity(scope, {"AZURE_CLIENT_ID": "the-id"})


def test_kubernetes_service_account(tmp_path: Path) -> None:
    """The token that Kubernetes projects is the client's assertion (RFC 7523 §2.2), read for each attempt.

    "Configure Service Accounts for Pods", "Launch a Pod using service account token projection"
    (https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/): the kubelet rotates the file.
    """
    path, url = tmp_path / "token", "https://id.example.com/token"
    grant = providers.kubernetes_service_account(url, "the-id", str(path), scope="a")
    for text in ("first.projected.token", "second.projected.token"):
        path.write_text(text)
        assert sent(grant, url) == {
            "grant_type": "client_credentials",
            "client_id": "the-id",
            "scope": "a",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": text,
        }
    by_default: Any = providers.kubernetes_service_account(url, "the-id")
    assert by_default.client_auth.assertion == SecretFile("/var/run/secrets/tokens/token")


def test_providers_of_keys_in_the_environment() -> None:
    """The key is PRIVATE_KEY, and the other arguments have their names."""
    text = pem("RS256").strip()
    common = {"A_CLIENT_ID": "the-id", "A_PRIVATE_KEY": text}
    salesforce = {"A_PROVIDER": "salesforce-jwt", "A_BASE_URL": "https://login.salesforce.com", "A_USERNAME": "ada"}
    expected: Any = providers.salesforce_jwt("https://login.salesforce.com", "the-id", "ada", text)
    assert from_env("A", {**common, **salesforce}) == expected
    base = "https://your-domain.okta.com"
    okta = {"A_PROVIDER": "okta_private_key", "A_BASE_URL": base, "A_SCOPE": "a", "A_KEY_ID": "k1"}
    expected = providers.okta_private_key(base, "the-id", text, "a", key_id="k1")
    assert from_env("A", {**common, **okta}) == expected
    cluster = {"A_PROVIDER": "kubernetes-service-account", "A_TOKEN_URL": base, "A_CLIENT_ID": "the-id"}
    assert from_env("A", cluster) == providers.kubernetes_service_account(base, "the-id")
    with pytest.raises(ConfigurationError, match="A_KEY_ID contradicts A_PROVIDER=salesforce-jwt"):
        from_env("A", {**common, **salesforce, "A_KEY_ID": "k1"})
    with pytest.raises(ConfigurationError, match="A_PRIVATE_KEY is no key"):
        from_env("A", {**common, **okta, "A_PRIVATE_KEY": "nonsense-s3cr3t"})
