"""Reading a token that was obtained elsewhere; no I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from auth_plugins._base.errors import ConfigurationError, TokenRequestError
from auth_plugins._protocol.answers import is_printable, read
from auth_plugins._protocol.expiry import moment_of
from auth_plugins._protocol.messages import Redactor, TokenRequest, TokenResponse, one_line
from auth_plugins._protocol.tokens import Token

__all__ = ["problem_of", "token_of"]

#: Characters of a member's name that an error shows.
_LONGEST_NAME = 40


def problem_of(token: Token) -> ConfigurationError | None:
    """The error for a :class:`Token` that no request can carry, or whose times are no numbers; ``None``: it is fine."""
    for name in ("access_token", "refresh_token"):
        text = getattr(token, name)
        if not (name == "refresh_token" and text is None) and not (is_printable(text)):
            return ConfigurationError(f"seed(): {name} must be text that a header can carry; check where it was stored")
    for name in ("expires_at", "issued_at"):
        moment = getattr(token, name)
        is_number = isinstance(moment, (int, float)) and not isinstance(moment, bool) and math.isfinite(moment)
        if not (name == "expires_at" and moment is None) and not is_number:
            return ConfigurationError(f"seed(): {name} must be a finite number of Unix seconds")
    return None


def token_of(given: Mapping[str, Any], url: str, now: float) -> Token | ConfigurationError:
    """Read an RFC 6749 §5.1 mapping as the answer of a token endpoint is read that came at this moment.

    If there is both an ``expires_in`` and a readable ``expires_at``, as in tokens that OAuth libraries store, the
    latter counts: it does not depend on when the token was stored.

    :param url: the token endpoint, for messages.
    :return: the token; or the error to raise, which names the member, and no value: a traceback from here would keep
        *given*.
    """
    members = {str(name): value for name, value in given.items()}
    request = TokenRequest(method="POST", url=url, headers={}, body=b"", redact=Redactor(()))

    def as_token(some: Mapping[str, Any]) -> Token | None:
        try:
            body = json.dumps(some).encode()
            return read(request, TokenResponse(status=200, headers={}, body=body, received_at=now), now)
        except (TokenRequestError, TypeError, ValueError, RecursionError):
            return None

    access = {"access_token": members.get("access_token")}
    moment = moment_of(members.get("expires_at")) or None  # 0 says nothing
    if moment is not None:
        members.pop("expires_in", None)
    token = as_token(members)
    if token is not None and moment is not None and moment <= now:
        # It was stored, and has ended since: its refresh token may be good still.
        token = Token(**{**token.members(), "expires_at": moment, "issued_at": min(now, moment)})
    if token is None:
        # Alone each good member makes a token together with the access token.
        odd = (name for name in members if as_token({**access, name: members[name]}) is None)
        name = next(odd, "access_token") if as_token(access) else "access_token"
        return ConfigurationError(
            f"seed(): {one_line(name)[:_LONGEST_NAME]} is missing, or not what a token endpoint may answer "
            "(RFC 6749 §5.1); give a Token, or the members of such an answer"
        )
    return token
