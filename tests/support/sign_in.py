"""An authorization server on loopback where people sign in, and the people."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from werkzeug.wrappers import Response

from auth_plugins import AuthorizationCode, DeviceCode, Issuer
from tests.support.loopback import Loopback, Received, as_json


class SignIn:
    """Makes a :class:`Loopback` such a server: all agree at once, unless :attr:`answer` says otherwise."""

    def __init__(self, server: Loopback) -> None:
        self.server, self._api = server, server.api
        server.api, server.token_play = self._play, self._token
        self.authorize_url, self.device_url = f"{server.url}/authorize?tenant=a%20b", f"{server.url}/device"
        #: The parameters of each authorization request and device request.
        self.logins: list[dict[str, str]] = []
        self.devices: list[dict[str, str]] = []
        #: Those of each request to the token endpoint, and what was revoked.
        self.tokens: list[dict[str, str]] = []
        self.revoked: list[str] = []
        #: Changes to the answer of an authorization request; ``None`` removes a parameter.
        self.answer: dict[str, str | None] = {}
        #: What the device endpoint answers, and what the outcome is, in this order; then it is a token.
        self.device: dict[str, Any] = {"interval": 1, "expires_in": 60}
        self.outcomes: list[Any] = []
        #: Whether refresh tokens are issued, and how they are refused.
        self.refreshes = True
        self.refused: tuple[dict[str, str], int] = ({"error": "invalid_grant"}, 400)
        self._valid: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def code(self, **options: Any) -> AuthorizationCode:
        """A grant whose person signs in at once."""
        options = {"authorize_url": self.authorize_url, "prompt": visit, **options}
        return AuthorizationCode(self.server.token_url, "the-client", **options)

    def of_device(self, **options: Any) -> DeviceCode:
        options = {"device_url": self.device_url, "prompt": lambda _url, _code: None, **options}
        return DeviceCode(self.server.token_url, "the-client", **options)

    def publish(self, **more: Any) -> Issuer:
        """Publish metadata; return the issuer."""
        document = {
            "issuer": self.server.url,
            "token_endpoint": self.server.token_url,
            "authorization_endpoint": self.authorize_url,
            "device_authorization_endpoint": self.device_url,
            "revocation_endpoint": f"{self.server.url}/revoke",
            **more,
        }
        play = self.server.api
        self.server.api = lambda received: (
            as_json({name: value for name, value in document.items() if value is not None})
            if "/.well-known/openid" in received.target
            else play(received)
        )
        return Issuer(self.server.url)

    def forget(self) -> None:
        """Refuse all refresh tokens so far."""
        self._valid = {name: value for name, value in self._valid.items() if not name.startswith("refresh")}

    def _play(self, received: Received) -> Response:
        parts = urlsplit(received.target)
        form = dict(parse_qsl(received.body.decode()))
        if parts.path == "/authorize":
            return self._authorize(dict(parse_qsl(parts.query)))
        if parts.path == "/revoke":
            self.revoked.append(form["token"])
            return as_json({})
        if parts.path == "/device":
            self.devices.append(form)
            given = {"device_code": f"device-{len(self.devices)}-secret", "user_code": "WDJB-MJHT"}
            return as_json({**given, "verification_uri": f"{self.server.url}/activate", **self.device})
        return self._api(received)

    def _authorize(self, query: dict[str, str]) -> Response:
        with self._lock:
            self.logins.append(query)
            code = f"code-{len(self.logins)}-secret"
        self._valid[code] = query["code_challenge"]
        answer = {"code": code, "state": query["state"], **self.answer}
        given = urlencode({name: value for name, value in answer.items() if value is not None})
        target = query["redirect_uri"]
        return Response(status=302, headers={"Location": f"{target}{'&' if '?' in target else '?'}{given}"})

    def _token(self, received: Received) -> Response:
        form = dict(parse_qsl(received.body.decode()))
        self.tokens.append(form)
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if self._valid.pop(form["code"], None) != challenge:
                return as_json({"error": "invalid_grant"}, 400)
        elif form["grant_type"] == "refresh_token":
            if self._valid.pop(form["refresh_token"], None) is None:
                return as_json(*self.refused)
        elif self.outcomes:
            outcome = self.outcomes.pop(0)
            return as_json(*outcome) if isinstance(outcome, tuple) else as_json({"error": outcome}, 400)
        members: dict[str, Any] = self.server.issue(received).json  # type: ignore[assignment]
        if self.refreshes:
            members["refresh_token"] = f"refresh-{next(self._numbers)}-secret"
            self._valid[members["refresh_token"]] = ""
        return as_json(members)


def visit(url: str) -> requests.Response:
    """Open *url* as a browser does, to the last page."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=20)


class Person:
    """Opens each page in a thread of its own, and keeps what came of it."""

    def __init__(self, changes: Mapping[str, str] | None = None) -> None:
        self.pages: list[requests.Response] = []
        self.urls: list[str] = []

    def __call__(self, url: str) -> None:
        self.urls.append(url)
        self.pages.append(visit(url))

    @property
    def page(self) -> str:
        """The text of the last page."""
        return re.sub(r"\s+", " ", re.sub(r"<style>.*</style>|<[^>]*>", " ", self.pages[-1].text, flags=re.DOTALL))


def parameters(url: str) -> dict[str, str]:
    """The parameters in the query of *url*."""
    return dict(parse_qsl(urlsplit(url).query))
