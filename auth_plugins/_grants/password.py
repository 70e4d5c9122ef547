"""The password grant (RFC 6749 §4.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from auth_plugins._base.errors import TROUBLE, TokenRequestError
from auth_plugins._base.validation import Secret, check_id, check_secret, check_url, resolve_secret
from auth_plugins._protocol.tokens import Token

from .base import Ask
from .frozen import Checks
from .oauth import OAuthGrant

#: Hashes of grants with refresh tokens that were refused vaguely, the latest last: the password was sent for them.
_vaguely_refused: dict[int, None] = {}
_MOST_REMEMBERED = 1000


def is_vague(error: TokenRequestError) -> bool:
    """Return whether *error* may mean a refresh token that is refused: some servers say no more than 400.

    Not so the page of a firewall, or a server in trouble.
    """
    status, is_trouble = error.status_code or 0, error.retry_after is not None or error.error in TROUBLE
    is_answer = 200 <= status < 300 or (400 <= status < 500 and status != 429)
    return is_answer and not is_trouble and error._body_kind in ("json", "form", "empty")


@dataclass(frozen=True, eq=False)
class Password(OAuthGrant):
    """Exchange a user's name and password for a token, once (RFC 6749 §4.3); then refresh it by refresh tokens.

    :param token_url: the URL of the token endpoint: ``https://``, or ``http://`` on loopback; or an :class:`Issuer`.
    :param username: the user's name.
    :param password: a str, or a callable without arguments that returns one and is called whenever it is sent.
    :param client_id: the client's id; ``None`` (the default): the server does not ask for one.
    :param client_secret: the client's secret, as in :class:`ClientCredentials`; ``None`` (the default): it has none.
    :param refresh_url: the URL for refresh requests; ``None`` (the default): *token_url*.
    :raises ConfigurationError: an argument cannot work, or contradicts another.

    Further keyword arguments: as in :class:`ClientCredentials`.
    """

    username: str
    password: Secret = field(repr=False)
    client_id: str | None = None
    client_secret: Secret | None = field(default=None, repr=False)
    refresh_url: str | None = None

    _checks: ClassVar[Checks] = {
        **OAuthGrant._checks, "username": check_id, "password": check_secret, "refresh_url": check_url
    }  # fmt: skip

    def _parameters(self) -> dict[str, str]:
        password = resolve_secret("password", self.password)
        return {"grant_type": "password", "username": self.username, "password": password}

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), resolve_secret("password", self.password))

    def _refresh_endpoint(self) -> str:
        return "refresh_url" if self.refresh_url else "token_url"

    def refresh(self, ask: Ask, refresh_token: str | None) -> Token | None:
        token = super().refresh(ask, refresh_token)
        if token is not None:
            _vaguely_refused.pop(hash((self, refresh_token)), None)
        return token

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:
        if error.error == "invalid_client":
            return False
        if super().refresh_refused(error, refresh_token):
            return True
        # The password is sent for a vague refusal too, once for each refresh token.
        key = hash((self, refresh_token))
        if not is_vague(error) or key in _vaguely_refused:
            return False
        # Without a lock, as a fork may interrupt: at worst the password is sent once more.
        _vaguely_refused[key] = None
        for oldest in list(_vaguely_refused)[:-_MOST_REMEMBERED]:
            _vaguely_refused.pop(oldest, None)
        return True
