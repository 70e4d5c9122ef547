"""Log lines and errors about attempts to get a token; never a secret."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import TokenTransportError

if TYPE_CHECKING:
    from auth_plugins._grants.base import Grant
    from auth_plugins._protocol.tokens import Token

    from .flight import Flight

__all__ = ["interrupted_error", "log_token", "overdue_error", "unexpected_error"]

_log = logging.getLogger("auth_plugins")


def log_token(token: Token, endpoint: str, sent: str, seconds: float) -> None:
    """Log that *endpoint* issued *token*.

    :param sent: what was sent for it: a refresh token, or the name of a grant.
    """
    if _log.isEnabledFor(logging.INFO):
        _log.info("%s issued a token (%s) in %.2f s; it %s", endpoint, sent, seconds, _expiry(token))


def _expiry(token: Token) -> str:
    if token.expires_at is None:
        return "tells no expiry"
    try:
        moment = dt.datetime.fromtimestamp(token.expires_at, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return "expires after the year 9999"
    return f"expires at {moment:%Y-%m-%d %H:%M:%S} UTC"


def overdue_error(flight: Flight, grant: Grant) -> TokenTransportError:
    """Return the error for callers that waited too long for another thread."""
    names = [] if flight.is_sending or flight.thread is None else _callables(grant)
    if names:
        return TokenTransportError(
            f"{' or '.join(names)} has not returned in another thread within the timeout; give it a timeout of its own"
        )
    return TokenTransportError(
        "timed out waiting for a token request in another thread; "
        "check that the token endpoint's name resolves, or try again later"
    )


def _callables(grant: Grant) -> list[str]:
    """Return descriptions of the callables that return the secrets of *grant*."""
    return [
        f"the callable of {name} ({_name(value)})" for name, value in sorted(vars(grant).items()) if callable(value)
    ]


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def interrupted_error() -> TokenTransportError:
    """Return the error for callers whose leaders were interrupted each time."""
    return TokenTransportError(
        "the token request was interrupted each time; "
        "check that the callable that returns the secret neither exits nor kills its thread"
    )


def unexpected_error(error: Exception) -> TokenTransportError:
    """Return the error that stands for *error*, an unexpected one, for all but the leader."""
    return TokenTransportError(f"the token request failed by an unexpected {type(error).__name__}; report it")
