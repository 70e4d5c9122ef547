"""A login that OAuth 2.0 does not describe: a JSON answer with other names, and a session token in its own header.

$ export SHOP_PASSWORD=s3cr3t-of-the-shop
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from auth_plugins import Grant, Token, TokenRequestError, TokenTransportError
from auth_plugins.requests import OAuth2Auth


@dataclass(frozen=True)  # equal grants share one token
class ShopLogin(Grant):
    """User name and password for a session token."""

    login_url: str
    user: str
    password: str = field(repr=False)  # no secret in a repr

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets: a remembered refusal ends when one of them changes."""
        return (self.password,)

    def header_and_scheme(self) -> tuple[str, str]:
        """Return where the token goes: ``X-Session: <token>``."""
        return "X-Session", ""

    def request_token(self, ask: Callable[[Any], Token]) -> Token:
        """Log in; called by one thread at a time, and only if there is no usable token."""
        now = time.time()
        try:
            response = requests.post(
                self.login_url, json={"user": self.user, "password": self.password}, timeout=10, allow_redirects=False
            )
        except requests.RequestException as error:
            # Only the type: the text of another library's error may hold a secret.
            raise TokenTransportError(f"the login could not be reached: {type(error).__name__}") from None
        if response.status_code != 200:
            raise TokenRequestError("the login was refused", status_code=response.status_code)
        session = response.json()["session"]
        return Token(access_token=session["token"], expires_at=now + session["seconds"], issued_at=now)

    def refresh(self, ask: Callable[[Any], Token], refresh_token: str | None) -> None:
        """Return ``None``: there are no refresh tokens."""

    def revocation_requests(self, access_token: str | None, refresh_token: str | None) -> Sequence[Any]:
        """Return no requests: sessions cannot be revoked."""
        return ()


auth = OAuth2Auth(ShopLogin("https://id.example.com/login", "ops", os.environ["SHOP_PASSWORD"]))
response = requests.get("https://orders.example.com/orders", auth=auth, timeout=60)
print(response.status_code, response.request.headers["X-Session"])
