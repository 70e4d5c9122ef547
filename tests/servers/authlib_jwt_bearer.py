"""Authlib's authorization server with its JWT bearer grant (RFC 7523 §2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError
from authlib.oauth2.rfc7523 import JWTBearerGrant

from tests.support.keys import key

from .authlib_flask import AuthlibFlask, _Client


class AuthlibJWTBearer(AuthlibFlask):
    """Knows the ES256 key of :attr:`issuer`, and refuses an assertion that it has seen."""

    issuer, subject = "robot@example.com", "ada"

    def further_grants(self) -> Sequence[type[Any]]:
        self._clients[self.issuer] = _Client(self.issuer, "unused", (JWTBearerGrant.GRANT_TYPE,))
        server, seen = self, set[str]()

        class JWTBearer(JWTBearerGrant):
            LEEWAY = 0

            def verify_claims(self, claims: Any) -> None:
                super().verify_claims(claims)
                if claims["jti"] in seen:
                    raise InvalidGrantError(description="the assertion was used before")
                seen.add(claims["jti"])

            def resolve_issuer_client(self, issuer: str) -> Any:
                if issuer not in server._clients:  # which Authlib 1.7.0 does not expect
                    raise InvalidGrantError(description="the issuer is not known")
                return server._clients[issuer]

            def resolve_client_public_key(self, client: Any) -> Any:
                return key("ES256")

            def authenticate_user(self, subject: str) -> str | None:
                return subject if subject in (server.issuer, server.subject) else None

            def get_audiences(self) -> list[str]:
                return [server.token_url]

            def has_granted_permission(self, client: Any, user: str) -> bool:
                return True

        return [JWTBearer]
