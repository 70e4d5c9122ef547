"""Authlib's authorization server where people sign in: PKCE (RFC 7636), ``iss`` (RFC 9207), device codes (RFC 8628)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant, DeviceCredentialDict
from authlib.oauth2.rfc9207 import IssuerParameter
from flask import Flask, Response, jsonify, request

from .authlib_flask import _AUTH_METHODS, AuthlibFlask, _Client

GRANT_TYPES = ("authorization_code", "refresh_token", DeviceCodeGrant.GRANT_TYPE)
_CONSENT = """<!doctype html><link rel="icon" href="data:,"><title>Consent</title><form method="post">
<button name="answer" value="yes">Allow</button> <button name="answer" value="no">Deny</button></form>"""


class _Person(_Client):
    """A client for which people sign in."""

    def get_client_id(self) -> str:
        return self.client_id

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.startswith("http://127.0.0.1:") and redirect_uri.endswith("/callback")


@dataclass
class _Code:
    code: str
    client_id: str
    redirect_uri: str
    scope: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


class AuthlibSignIn(AuthlibFlask):
    """Asks a person at ``/authorize``, by a page with two buttons, or at ``/activate``."""

    #: What the person of a device answers: ``None``: nothing yet.
    allows: bool | None = None
    slow = expired = False
    polls = 0

    @property
    def authorize_url(self) -> str:
        return f"{self.url}/authorize"

    def further_grants(self) -> Sequence[type[Any]]:
        self._clients[self.client_id] = _Person(self.client_id, self.client_secret, GRANT_TYPES)
        codes: dict[str, _Code] = {}
        devices = self._devices = dict[str, Any]()
        outer = self

        class Code(AuthorizationCodeGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS

            def save_authorization_code(self, code: str, request: Any) -> None:
                payload = request.payload
                codes[code] = _Code(
                    code, request.client.client_id, payload.redirect_uri, payload.scope or "",
                    payload.data["code_challenge"], payload.data["code_challenge_method"],
                )  # fmt: skip

            def query_authorization_code(self, code: str, client: Any) -> _Code | None:
                found = codes.get(code)
                return found if found is not None and found.client_id == client.client_id else None

            def delete_authorization_code(self, authorization_code: _Code) -> None:
                del codes[authorization_code.code]

            def authenticate_user(self, authorization_code: _Code) -> str:
                return "ada"

        class Device(DeviceCodeGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = _AUTH_METHODS

            def query_device_credential(self, device_code: str) -> Any:
                outer.polls += 1
                return devices.get(device_code)

            def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
                return None if outer.allows is None else ("ada", outer.allows)

            def should_slow_down(self, credential: Any) -> bool:
                slow, outer.slow = outer.slow, False
                return slow

        self._code_grant = Code
        return [Device]

    def extend(self, app: Flask, server: Any) -> None:
        outer = self

        class Endpoint(DeviceAuthorizationEndpoint):
            CLIENT_AUTH_METHODS = _AUTH_METHODS
            INTERVAL = 1

            def get_verification_uri(self) -> str:
                return f"{outer.url}/activate"

            def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
                ends = time.time() + (-1 if outer.expired else data["expires_in"])
                given = {**data, "client_id": client_id, "scope": scope, "expires_at": ends}
                outer._devices[data["device_code"]] = DeviceCredentialDict(given)

        class Issuer(IssuerParameter):
            def get_issuer(self) -> str:
                return outer.url

        server.register_grant(self._code_grant, [CodeChallenge(required=True)])
        server.register_endpoint(Endpoint)
        server.register_extension(Issuer())

        @app.route("/authorize", methods=["GET", "POST"])
        def authorize() -> Any:
            user = "ada" if request.form.get("answer") == "yes" else None
            grant = server.get_consent_grant(end_user="ada")
            if request.method == "GET":
                return _CONSENT
            return server.create_authorization_response(grant_user=user, grant=grant)

        @app.post("/device")
        def device() -> Response:
            response: Response = server.create_endpoint_response(Endpoint.ENDPOINT_NAME)
            return response

        @app.get("/.well-known/openid-configuration")
        def metadata() -> Response:
            return jsonify(
                issuer=outer.url,
                token_endpoint=outer.token_url,
                authorization_endpoint=outer.authorize_url,
                device_authorization_endpoint=f"{outer.url}/device",
                authorization_response_iss_parameter_supported=True,
            )
