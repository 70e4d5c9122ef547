"""Takes a token that was obtained elsewhere: reads it, without I/O, and puts it where a fetched one would be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import ConfigurationError, TokenRequestError
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.answers import is_printable, read
from auth_plugins._protocol.expiry import moment_of
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from auth_plugins._protocol.redaction import Redactor, one_line
from auth_plugins._protocol.tokens import Token

from . import current_token, wiring
from .flight import Ending
from .shared_fetch import lock_if_possible

if TYPE_CHECKING:
    from .source import TokenSource

#: Characters of a member's name that an error shows.
_LONGEST_NAME = 40


def use(source: TokenSource, token: Token, now: float) -> None:
    """Use *token* in this process, then store it for others; an attempt under way ends for its waiters."""
    memory, state = source._cache, source._state
    with memory.lock:
        flight, state.flight = state.flight, None
        state.rejected = tuple(each for each in state.rejected if each.access_token != token.access_token)
        state.seeded_at, state.refreshable = now, token if token.refresh_token else None
        state.origins = None  # unknown
        current_token.replace(memory, state, token)
    if flight is not None:
        flight.complete(Ending.SEEDED)
        flight.abandon_login()
    if (entry := wiring.shared_entry(source)) is None:
        return
    # Other processes tell the newest token by its time of issue.
    dated = token if token.issued_at else Token(**{**token.members(), "issued_at": now})
    with lock_if_possible(entry, source._lease):
        is_shared = entry.store(dated, entry.read())
    with memory.lock:
        if is_shared and state.token is token:
            state.last_shared = dated
            if source.grant.shares_refresh_token:  # its refresh token now belongs to all processes
                state.refreshable = None


@hide_arguments
def read_seed(given: object, grant: Grant, now: float) -> Token:
    """Return the token of *grant* that *given* is.

    :raises ConfigurationError: it is no token; the message names the member, and no value.
    """
    if isinstance(given, Mapping):
        return _read_members(given, grant, now)
    if not isinstance(given, Token):
        raise ConfigurationError(
            "must be a Token or the members of a token endpoint's answer (RFC 6749 §5.1), "
            f"got a {type(given).__name__}",
            argument="token",
        )
    for name, text in (("access_token", given.access_token), ("refresh_token", given.refresh_token)):
        if not (name == "refresh_token" and text is None) and not is_printable(text):
            raise ConfigurationError("must be printable ASCII", argument=name, advice="check where it was stored")
    for name, moment in (("expires_at", given.expires_at), ("issued_at", given.issued_at)):
        is_number = isinstance(moment, (int, float)) and not isinstance(moment, bool) and math.isfinite(moment)
        if not (name == "expires_at" and moment is None) and not is_number:
            raise ConfigurationError("must be a finite number of Unix seconds", argument=name)
    return given


def _read_members(given: Mapping[str, Any], grant: Grant, now: float) -> Token:
    """Read the members as those of a token endpoint's answer that arrives at this moment.

    A readable ``expires_at`` counts more than ``expires_in``: it does not depend on when the token was stored.
    """
    members = {str(name): value for name, value in given.items()}
    url, lifetime = wiring.endpoint_of(grant), getattr(grant, "lifetime", None)
    request = TokenRequest(
        method="POST", url=url, headers={}, body=b"", redact=Redactor(()), lifetime=lifetime,
        accepts_dpop=grant.prover() is not None,
    )  # fmt: skip

    def as_token(some: Mapping[str, Any]) -> Token | None:
        try:
            body = json.dumps(some).encode()
            return read(request, TokenResponse(status=200, headers={}, body=body, received_at=now), now)
        except (TokenRequestError, TypeError, ValueError, RecursionError):
            return None

    moment = moment_of(members.get("expires_at")) or None  # 0 says nothing
    if moment is not None:
        members.pop("expires_in", None)
    token = as_token(members)
    if token is None:
        # Each good member makes a token together with the access token.
        access = {"access_token": members.get("access_token")}
        bad = (name for name in members if as_token({**access, name: members[name]}) is None)
        name = next(bad, "access_token") if as_token(access) else "access_token"
        raise ConfigurationError(
            f"{one_line(name)[:_LONGEST_NAME]} is missing, or not what a token endpoint may answer (RFC 6749 §5.1); "
            "give a Token, or the members of such an answer"
        )
    if moment is not None and moment <= now:
        # It has expired since it was stored; its refresh token may still be good.
        token = Token(**{**token.members(), "expires_at": moment, "issued_at": min(now, moment)})
    return token
