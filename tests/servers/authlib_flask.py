"""Authlib's authorization server under Flask; its tokens are stored in a list.

Its Basic authentication decodes id and secret with ``unquote``: ``%20`` is a space there, and a plus stays a plus.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from wsgiref.types import WSGIApplication

from authlib.common.security import generate_token
from authlib.integrations import flask_oauth2
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc6749.grants import (
    ClientCredentialsGrant,
    RefreshTokenGrant,
    ResourceOwnerPasswordCredentialsGrant,
)
from authlib.oauth2.rfc6750 import BearerTokenGenerator, BearerTokenValidator
from flask import Flask, Response, jsonify

from . import AuthorizationServer

_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


@dataclass(frozen=True)
class _Client(ClientMixin):
    client_id: str
    client_secret: str
    grant_types: tuple[str, ...]

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_client_secret(self, client_secret: str) -> bool:
        return hmac.compare_digest(self.client_secret.encode(), client_secret.encode())

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in _AUTH_METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types


@dataclass
class _Issued(TokenMixin):
    access_token: str
    refresh_token: str | None
    expires_at: float
    scope: str
    client_id: str
    user: str | None
    family: str  # the first access token before all refreshes
    revoked: bool = False  # the access token
    spent: bool = False  # the refresh token was used, or its family was revoked

    def check_client(self, client: _Client) -> bool:
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        return self.scope

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at

    def is_revoked(self) -> bool:
        return self.revoked


class _ClientCredentials(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS


class _Password(ResourceOwnerPasswordCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS

    def authenticate_user(self, username: str, password: str) -> str | None:
        known = (AuthorizationServer.username, AuthorizationServer.password)
        return username if (username, password) == known else None


class AuthlibFlask(AuthorizationServer):
    name = "authlib"

    def _wsgi_app(self) -> WSGIApplication:
        self._issued: list[_Issued] = []
        self._clients = {
            self.client_id: _Client(self.client_id, self.client_secret, ("client_credentials",)),
            self.password_client_id: _Client(
                self.password_client_id, self.password_client_secret, ("password", "refresh_token")
            ),
        }
        present, find = self._present, self._find

        class Refresh(RefreshTokenGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS
            INCLUDE_NEW_REFRESH_TOKEN = True

            def authenticate_refresh_token(self, refresh_token: str) -> _Issued | None:
                return present(refresh_token)

            def authenticate_user(self, issued: _Issued) -> str | None:
                return issued.user

            def revoke_old_credential(self, issued: _Issued) -> None:
                issued.spent = issued.revoked = True

        class Bearer(BearerTokenValidator):
            def authenticate_token(self, access_token: str) -> _Issued | None:
                return find(access_token=access_token)

        app = Flask(__name__)
        server = flask_oauth2.AuthorizationServer(app, self._clients.get, self._save)
        server.register_token_generator(
            "default",
            BearerTokenGenerator(
                lambda **_: generate_token(42), lambda **_: generate_token(48), lambda *_: self.lifetime
            ),
        )
        for grant in (_ClientCredentials, _Password, Refresh, *self.further_grants()):
            server.register_grant(grant)
        self.extend(app, server)
        require_oauth = flask_oauth2.ResourceProtector()
        require_oauth.register_token_validator(Bearer())

        @app.post("/token")
        def token() -> Response:
            response: Response = server.create_token_response()
            return response

        @app.get("/api")
        @require_oauth()
        def api() -> Response:
            return jsonify(client=flask_oauth2.current_token.client_id)

        return app

    def further_grants(self) -> Sequence[type[Any]]:
        """Return the grants that a subclass adds."""
        return ()

    def extend(self, app: Flask, server: Any) -> None:
        """Add the endpoints of a subclass."""

    def revoke_access_tokens(self) -> None:
        with self._lock:
            for issued in self._issued:
                issued.revoked = True

    def forget_refresh_tokens(self) -> None:
        with self._lock:
            for issued in self._issued:
                issued.refresh_token = None

    def _find(self, **token: str) -> _Issued | None:
        ((kind, value),) = token.items()
        return next((each for each in self._issued if getattr(each, kind) == value), None)

    def _save(self, token: dict[str, Any], request: Any) -> None:
        old: _Issued | None = request.refresh_token
        self._issued.append(
            _Issued(
                access_token=token["access_token"],
                refresh_token=token.get("refresh_token"),
                expires_at=time.time() + token["expires_in"],
                scope=token.get("scope", ""),
                client_id=request.client.client_id,
                user=request.user,
                family=old.family if old else token["access_token"],
            )
        )

    def _present(self, refresh_token: str) -> _Issued | None:
        """Find what was issued with *refresh_token*; the reuse of a spent one revokes its family (RFC 9700 §4.14.2)."""
        issued = self._find(refresh_token=refresh_token)
        if issued is None or not issued.spent:
            return issued
        self.reuses += 1
        for each in self._issued:
            if each.family == issued.family:
                each.spent = each.revoked = True
        return None
