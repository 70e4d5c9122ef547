"""Giving tokens back to the server (RFC 7009)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from auth_plugins._base.errors import AuthError, TokenRequestError

if TYPE_CHECKING:
    from auth_plugins._grants.base import Grant
    from auth_plugins._protocol.messages import TokenRequest

__all__ = ["revoke_tokens"]

_TOO_MANY_REQUESTS = 429


def revoke_tokens(
    grant: Grant, access: Iterable[str], refresh: Iterable[str | None], send: Callable[[TokenRequest], None]
) -> None:
    """Revoke each refresh token, then its access token; try all of them, and raise the first error.

    *send* raises what the server answered. After a refresh token was revoked, a refusal for an access token is no
    error: most servers revoke both at once (RFC 7009 §2.1), and some revoke refresh tokens only.
    """
    errors: list[AuthError] = []
    for access_token, refresh_token in itertools.zip_longest(access, refresh):
        is_revoked = False
        for request in grant.revocation_requests(None, refresh_token):
            try:
                send(request)
                is_revoked = True
            except AuthError as error:
                errors.append(error)
        for request in grant.revocation_requests(access_token, None):
            try:
                send(request)
            except AuthError as error:
                if not (is_revoked and _is_needless(error)):
                    errors.append(error)
    if errors:
        raise errors[0]


def _is_needless(error: AuthError) -> bool:
    """Return whether a server says that an access token is dead already, or that it revokes none."""
    if not isinstance(error, TokenRequestError) or error.error == "invalid_client":
        return False
    status = error.status_code or 0
    return 400 <= status < 500 and status != _TOO_MANY_REQUESTS
