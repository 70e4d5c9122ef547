"""Authlib's authorization server for clients with keys (RFC 7523): it wants a ``kid``, and each ``jti`` once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any
from wsgiref.types import WSGIApplication

from authlib.common.security import generate_token
from authlib.integrations import flask_oauth2
from authlib.oauth2.rfc6749 import ClientMixin, InvalidClientError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from flask import Flask, Response
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, OctKey

from . import AuthorizationServer

_METHOD = JWTBearerClientAssertion.CLIENT_AUTH_METHOD
_ALGORITHMS = ("HS256", "HS512", "RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")


@dataclass(frozen=True)
class _Client(ClientMixin):
    client_id: str
    keys: Any

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == _METHOD

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


class _ClientCredentials(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = (_METHOD,)


class AuthlibAssertions(AuthorizationServer):
    """The client's public keys are :attr:`keys`; that of the client ``secret`` is its secret."""

    name = "authlib, assertions"

    def _wsgi_app(self) -> WSGIApplication:
        self.keys = KeySet([])
        self.seen: set[str] = set()
        server = self

        class Assertion(JWTBearerClientAssertion):
            def get_audiences(self) -> list[str]:
                return [server.token_url]

            def process_assertion_claims(self, assertion: str, resolve_key: Any) -> Any:
                # Authlib's own accepts HS256, RS256 and ES256 only.
                try:
                    claims = jwt.decode(assertion, resolve_key, algorithms=_ALGORITHMS).claims
                except JoseError as error:
                    raise InvalidClientError(description=error.description) from error
                self.verify_claims(claims)
                return claims

            def validate_jti(self, claims: Any, jti: str) -> bool:
                is_new = jti not in server.seen
                server.seen.add(jti)
                return is_new

            def resolve_client_public_key(self, client: _Client) -> Any:
                return client.keys()

        app = Flask(__name__)
        clients = {
            "key": _Client("key", lambda: self.keys),
            "secret": _Client("secret", lambda: OctKey(self.client_secret.encode(), b"")),
        }
        authlib = flask_oauth2.AuthorizationServer(app, clients.get, lambda *_: None)
        bearer = BearerTokenGenerator(lambda **_: generate_token(42), expires_generator=lambda *_: self.lifetime)
        authlib.register_token_generator("default", bearer)
        authlib.register_client_auth_method(_METHOD, Assertion(leeway=0))
        authlib.register_grant(_ClientCredentials)

        @app.post("/token")
        def token() -> Response:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # of EdDSA
                response: Response = authlib.create_token_response()
            return response

        return app

    def revoke_access_tokens(self) -> None:
        """No API is here."""

    def forget_refresh_tokens(self) -> None:
        """There are none."""
