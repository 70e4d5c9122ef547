"""A login that OAuth 2.0 does not describe, and a header of its own.

$ export LOGIN_PASSWORD=s3cr3t-of-the-shop
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests

from auth_plugins import (
    Grant,
    Token,
    TokenRequestError,
    TokenTransportError,
)
from auth_plugins.requests import OAuth2Auth


@dataclass(frozen=True)  # equal grants share one token
class ShopLogin(Grant):
    """User name and password for a session token."""

    login_url: str
    user: str
    password: str = field(repr=False)  # no secret in a repr

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets: a changed one ends a remembered refusal."""
        return (self.password,)

    def header_and_scheme(self) -> tuple[str, str]:
        """Return where the token goes: ``X-Session: <token>``."""
        return "X-Session", ""

    def request_token(self, ask: Callable[[Any], Token]) -> Token:
        """Log in; called by one thread at a time, if there is no token."""
        now, problem = time.time(), ""
        try:
            response = requests.post(
                self.login_url,
                json={"user": self.user, "password": self.password},
                timeout=10,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # Only its type: the text of such an error may hold a secret.
            problem = f"the login failed: {type(error).__name__}"
        if problem:  # not raised above, as an error keeps the last one
            raise TokenTransportError(problem)
        if response.status_code != 200:
            status = response.status_code
            raise TokenRequestError(
                "the login was refused", status_code=status
            )
        try:
            answer = response.json()
        except ValueError:  # not raised on, as it holds the whole answer
            answer = None
        match answer:
            case {"session": {"token": str(token), "seconds": int(life)}}:
                end = now + life  # Unix seconds
                return Token(
                    access_token=token, expires_at=end, issued_at=now
                )
        raise TokenRequestError("the login answered no session")

    def refresh(
        self, ask: Callable[[Any], Token], refresh_token: str | None
    ) -> None:
        """Return ``None``: there are no refresh tokens."""

    def revocation_requests(
        self, access_token: str | None, refresh_token: str | None
    ) -> Sequence[Any]:
        """Return no requests: sessions cannot be revoked."""
        return ()


login = ShopLogin(
    "https://id.example.com/login", "ops", os.environ["LOGIN_PASSWORD"]
)
response = requests.get(
    "https://orders.example.com/orders", auth=OAuth2Auth(login), timeout=60
)
print(response.status_code, response.request.headers["X-Session"])
