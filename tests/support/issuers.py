"""Issuers: one on loopback, one without a wire, and what the metadata of well-known servers look like."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from auth_plugins import ClientCredentials, Issuer
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from tests.support.loopback import Clock, Loopback, Play, Received, as_json
from tests.support.sources import URL, Endpoint

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

OPENID, OAUTH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
#: An issuer without a wire, and the places of its metadata.
ISSUER = "https://id.example.com/realms/acme"
PLACES = [f"{ISSUER}{OPENID}", f"https://id.example.com{OAUTH}/realms/acme", f"{ISSUER}{OAUTH}"]


class Published:
    """Metadata on a :class:`Loopback` server; its other paths are as before."""

    def __init__(self, server: Loopback, path: str = "/realms/acme") -> None:
        self.issuer = f"{server.url}{path}"
        self.document: dict[str, Any] = {"issuer": self.issuer, "token_endpoint": server.token_url}
        #: By path; any other is not found.
        self.plays: dict[str, Play] = {f"{path}{OPENID}": self.answer}
        self.requests: list[Received] = []
        #: Seconds that an answer takes.
        self.latency = 0.0
        self._api, server.api = server.api, self._play

    @property
    def grant(self) -> ClientCredentials:
        return ClientCredentials(Issuer(self.issuer), "client", "s3cr3t")

    def answer(self, _: Received) -> Response:
        return as_json(self.document)

    def _play(self, received: Received) -> Response:
        if "/.well-known/" not in received.target and received.target not in self.plays:
            return self._api(received)
        self.requests.append(received)
        time.sleep(self.latency)
        play = self.plays.get(received.target)
        return as_json({}, 404) if play is None else play(received)


class Issuing(Endpoint):
    """A token endpoint without a wire, with the metadata of :data:`ISSUER`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.document: dict[str, Any] = {"issuer": ISSUER, "token_endpoint": URL}
        #: By place: a document, a status, an error to raise, or a function that returns one of these.
        self.found: dict[str, Any] = {PLACES[0]: lambda: self.document}
        self.lookups: list[TokenRequest] = []
        self.lookup_timeouts: list[float] = []

    def __call__(self, request: TokenRequest, timeout: float) -> TokenResponse:
        if "/.well-known/" not in request.url:
            return super().__call__(request, timeout)
        self.lookups.append(request)
        self.lookup_timeouts.append(timeout)
        found = self.found.get(request.url, 404)
        while callable(found):
            found = found()
        if isinstance(found, Exception):
            raise found
        return response(found) if isinstance(found, int) else response(200, found)


def response(status: int = 200, document: Any = None, **headers: str) -> TokenResponse:
    """An answer with *document* as JSON, or with bytes as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return TokenResponse(status=status, headers=headers, body=body, received_at=0.0)


def keycloak(issuer: str) -> dict[str, Any]:
    """What Keycloak 26 publishes."""
    base = f"{issuer}/protocol/openid-connect"
    methods = ["private_key_jwt", "client_secret_basic", "client_secret_post", "tls_client_auth", "client_secret_jwt"]
    urls = {
        "authorization_endpoint": f"{base}/auth",
        "token_endpoint": f"{base}/token",
        "introspection_endpoint": f"{base}/token/introspect",
        "revocation_endpoint": f"{base}/revoke",
        "device_authorization_endpoint": f"{base}/auth/device",
    }
    return {
        "issuer": issuer,
        **urls,
        "jwks_uri": f"{base}/certs",
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token", "password"],
        "token_endpoint_auth_methods_supported": methods,
        "authorization_response_iss_parameter_supported": True,
        "mtls_endpoint_aliases": {name: url.replace("//", "//mtls.") for name, url in urls.items()},
    }


def entra(tenant: str) -> dict[str, Any]:
    """What Microsoft Entra ID publishes for a tenant's id; for ``common`` the issuer is a template."""
    base = f"https://login.microsoftonline.com/{tenant}"
    name = "{tenantid}" if tenant == "common" else "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
    return {
        "token_endpoint": f"{base}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": f"{base}/discovery/v2.0/keys",
        "issuer": f"https://login.microsoftonline.com/{name}/v2.0",
        "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
        "tenant_region_scope": None,
    }


def auth0(domain: str) -> dict[str, Any]:
    """What Auth0 publishes: its issuer ends with a slash."""
    return {
        "issuer": f"{domain}/",
        "authorization_endpoint": f"{domain}/authorize",
        "token_endpoint": f"{domain}/oauth/token",
        "device_authorization_endpoint": f"{domain}/oauth/device/code",
        "revocation_endpoint": f"{domain}/oauth/revoke",
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
    }


def okta(issuer: str) -> dict[str, Any]:
    """What an authorization server of Okta publishes."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/v1/authorize",
        "token_endpoint": f"{issuer}/v1/token",
        "revocation_endpoint": f"{issuer}/v1/revoke",
        "device_authorization_endpoint": f"{issuer}/v1/device/authorize",
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"
        ],
        "dpop_signing_alg_values_supported": ["RS256", "ES256"],
    }  # fmt: skip


GOOGLE: Mapping[str, Any] = {
    "issuer": "https://accounts.google.com",
    "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
    "device_authorization_endpoint": "https://oauth2.googleapis.com/device/code",
    "token_endpoint": "https://oauth2.googleapis.com/token",
    "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
    "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
}
