"""Forgets tokens, and gives them back to the server (RFC 7009)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from auth_plugins._base.errors import AuthError, TokenRequestError
from auth_plugins._base.runtime import runtime
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import TokenRequest
from auth_plugins._protocol.tokens import Token

from . import wiring
from .discovery.resolver import with_endpoints
from .retrying_sender import RetryingSender
from .shared_fetch import lock_if_possible

if TYPE_CHECKING:
    from .source import TokenSource


def revoke(source: TokenSource) -> None:
    """Forget all tokens of *source*, and revoke them."""
    if runtime.make_token is not None:  # a test, which sends nothing
        _forget(source, None)
        return
    sender, entry = wiring.sender_of(source), wiring.shared_entry(source)
    sender.load()
    if entry is None:
        access, refresh = _forget(source, None)
    else:
        with lock_if_possible(entry, source._lease):
            access, refresh = _forget(source, entry.read())
            entry.clear()
    access, refresh, deadline = [*access], [*refresh], runtime.clock.monotonic() + source._timeout
    if access or any(refresh):
        grant = with_endpoints(source.grant, sender, deadline)
        revoke_tokens(grant, access, refresh, sender, deadline)


def _forget(source: TokenSource, stored: Token | None) -> tuple[Iterable[str], Iterable[str | None]]:
    """Forget all tokens; return the access tokens and the refresh tokens to be revoked."""
    state = source._state
    with source._cache.lock:
        token, refreshable = state.token, state.refreshable
        for each in filter(None, (token, stored, state.doubted)):
            state.reject(each)
        # An attempt under way completes for its waiters, and for no other caller.
        state.token = state.refreshable = state.failure = state.flight = None
    access = dict.fromkeys(each.access_token for each in (token, stored) if each)
    return access, dict.fromkeys(each.refresh_token for each in (refreshable, stored) if each)


def revoke_tokens(
    grant: Grant, access: Iterable[str], refresh: Iterable[str | None], sender: RetryingSender, deadline: float
) -> None:
    """Revoke each refresh token, then its access token; try all of them, and raise the first error.

    After a refresh token was revoked, a refusal for an access token is no error: most servers revoke both at once
    (RFC 7009 §2.1), and some revoke refresh tokens only.
    """
    errors: list[AuthError] = []
    for access_token, refresh_token in itertools.zip_longest(access, refresh):
        revoked = [_revoke(request, sender, deadline) for request in grant.revocation_requests(None, refresh_token)]
        others = [_revoke(request, sender, deadline) for request in grant.revocation_requests(access_token, None)]
        is_revoked = None in revoked
        errors += [error for error in revoked if error]
        errors += [error for error in others if error and not (is_revoked and _is_needless(error))]
    if errors:
        raise errors[0]


def _revoke(request: TokenRequest, sender: RetryingSender, deadline: float) -> AuthError | None:
    """Send *request*; return the error, if there is one."""
    try:
        request, response, asked_at = sender.send(request, deadline)
        if not 200 <= response.status < 300:
            read(request, response, asked_at)
    except AuthError as error:
        return error
    return None


def _is_needless(error: AuthError) -> bool:
    """Return whether the server says that an access token is dead already, or that it revokes none."""
    if not isinstance(error, TokenRequestError) or error.error == "invalid_client":
        return False
    return 400 <= (error.status_code or 0) < 500 and error.status_code != 429
