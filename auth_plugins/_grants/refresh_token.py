"""A refresh token as a grant (RFC 6749 §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from auth_plugins._base.errors import TokenRequestError
from auth_plugins._base.validation import Secret, check_secret, resolve_secret
from auth_plugins._client_auth.base import ClientAuthentication

from .frozen import Checks
from .oauth import OAuthGrant


@dataclass(frozen=True, eq=False)
class RefreshToken(OAuthGrant):
    """Use a refresh token that was obtained elsewhere, for example by a login in a browser (RFC 6749 §6).

    Where the server rotates refresh tokens, only the cache holds the newest one.

    :param token_url: the URL of the token endpoint: ``https://``, or ``http://`` on loopback; or an :class:`Issuer`.
    :param refresh_token: a str, or a callable without arguments that returns one.
    :param client_id: the client that it was issued to; ``None`` (the default): the server does not ask for one.
    :param client_secret: the client's secret, as in :class:`ClientCredentials`; ``None`` (the default): it has none.
    :raises ConfigurationError: an argument cannot work, or contradicts another.

    Further keyword arguments: as in :class:`ClientCredentials`.
    """

    refresh_token: Secret = field(repr=False)
    client_id: str | None = None
    client_secret: Secret | None = field(default=None, repr=False)

    # Where refresh tokens are rotated, the first token request has spent the grant's own.
    is_repeatable = False
    _checks: ClassVar[Checks] = {**OAuthGrant._checks, "refresh_token": check_secret}

    def _parameters(self) -> dict[str, str]:
        return {"grant_type": "refresh_token", "refresh_token": self.own_refresh_token()}

    def _param_options(self) -> tuple[str, ...]:
        return ("params", "refresh_params")

    def own_refresh_token(self) -> str:
        return resolve_secret("refresh_token", self.refresh_token)

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:
        # The grant is a refresh token itself: the same one is not sent twice.
        return super().refresh_refused(error, refresh_token) and refresh_token != self.own_refresh_token()

    def identity(self) -> Mapping[str, Any]:
        members, authentication = super().identity(), self.client_auth
        if isinstance(authentication, ClientAuthentication) and authentication.is_renewed:
            # The refresh token is a secret that tells users apart. By the next assertion its successor must be found.
            members = {**members, "client_auth": type(authentication).__qualname__}
        return members

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), self.own_refresh_token())
