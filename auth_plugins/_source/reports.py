"""Log lines about tokens, and the error for callers whose leader does not return; never a secret."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import TokenTransportError

if TYPE_CHECKING:
    from auth_plugins._grants.base import Grant
    from auth_plugins._protocol.tokens import Token

    from .flight import Flight

__all__ = ["log_token", "overdue"]

_log = logging.getLogger("auth_plugins")


def log_token(token: Token, endpoint: str, how: str, seconds: float) -> None:
    """Log that *token* was obtained from *endpoint*."""
    if _log.isEnabledFor(logging.INFO):
        _log.info("%s issued a token (%s) in %.2f s; it %s", endpoint, how, seconds, _expiry(token))


def _expiry(token: Token) -> str:
    if token.expires_at is None:
        return "tells no expiry"
    try:
        moment = dt.datetime.fromtimestamp(token.expires_at, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return "expires some day"
    return f"expires at {moment:%Y-%m-%d %H:%M:%S} UTC"


def overdue(flight: Flight, grant: Grant) -> TokenTransportError:
    """Return the error for those who waited in vain for another thread's token request."""
    names = [] if flight.is_sent or flight.thread is None else _callables(grant)
    if names:
        return TokenTransportError(
            f"{' or '.join(names)} has not returned in another thread within the timeout; "
            "give what it waits for a timeout of its own"
        )
    return TokenTransportError(
        "the token request of another thread takes longer than its timeout; "
        "check that the token endpoint's name resolves, or try again later"
    )


def _callables(grant: Grant) -> list[str]:
    """Return what names the callables that a grant asks for its secrets."""
    return [
        f"the callable of {name} ({_name(value)})" for name, value in sorted(vars(grant).items()) if callable(value)
    ]


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
