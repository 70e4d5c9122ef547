"""Reads when a token ends, from the answer's members and from the token, if that is a JWT."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from .tokens import jwt_claims

#: Seconds. A longer lifetime is a mistake, or means "for ever".
_LONGEST_LIFETIME = 10 * 365 * 86400
#: A number from here on counts milliseconds: as seconds it is the year 5138, as milliseconds 1973.
_MILLISECONDS = 1e11
_NUMBER = r"(?a:[+-]?\d+(\.\d*)?([eE][+-]?\d+)?)"
#: Characters of the longest date that is parsed.
_LONGEST_DATE = 64
#: Names of time zones that mean UTC, and Java's name of a zone behind its offset: ``+01:00[Europe/Paris]``.
_ZONE_NAME = r"(Z?\s*\[[^\]]*\]|\s*(UTC|GMT))\Z"
#: Texts by which servers that convert null to a string say that a member is absent.
_ABSENT = frozenset({"", "null", "none", "nil", "undefined"})


def is_absent(value: Any) -> bool:
    """Return whether *value* stands for no value: null, an empty string, or a text such as ``"null"``."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _ABSENT)


def expires_at(
    members: Mapping[str, Any], access_token: str, now: float, unreadable: Callable[[str], None]
) -> float | None:
    """Return the moment at which the token ends, in Unix seconds; ``None``: the server does not say.

    The first that is there counts: ``expires_in`` (or the lifetime of the JWT, if that is shorter), the JWT's ``exp``,
    ``expires_at``, ``expires_on``, ``expires``. A moment in the last three that has passed is ignored: the clocks
    differ, or the server means something else.

    :param now: Unix seconds from which a lifetime counts.
    :param unreadable: called with the name of each member that cannot be read.
    """
    claims = jwt_claims(access_token) or {}
    begins, ends = (_in_seconds(_number(claims.get(name))) for name in ("iat", "exp"))
    jwt_lifetime = ends - begins if begins is not None and ends is not None and ends > begins else math.inf
    lifetime = _lifetime(members.get("expires_in"), now, unreadable)
    if lifetime is not None:
        return now + min(lifetime, jwt_lifetime, _LONGEST_LIFETIME)
    if ends is not None:
        if ends <= now and jwt_lifetime < math.inf:
            # Expired before it arrived: the clocks differ, but the lifetime is the same by both.
            ends = now + jwt_lifetime
        return max(0.0, min(ends, now + _LONGEST_LIFETIME))
    return _first_moment(members, now, unreadable)


def moment_of(value: Any) -> float | None:
    """Return *value*, a number of seconds or milliseconds or a date, in Unix seconds; ``None``: it is none of these."""
    number = _number(value)
    return _in_seconds(number) if number is not None else _date(value)


def _lifetime(value: Any, now: float, unreadable: Callable[[str], None]) -> float | None:
    """Return the seconds of ``expires_in``; ``None``: unknown, as with 0 and less."""
    if value is False or is_absent(value):
        return None
    seconds = _number(value)
    if seconds is None:
        moment = _date(value)
        if moment is None:
            unreadable("expires_in")
            return None
        seconds = moment - now
    else:
        # Some servers send a moment. A lifetime is shorter than any moment of today.
        for moment in (seconds, seconds / 1000):
            if moment > _LONGEST_LIFETIME and now < moment <= now + _LONGEST_LIFETIME:
                seconds = moment - now
    return seconds if seconds > 0 else None


def _first_moment(members: Mapping[str, Any], now: float, unreadable: Callable[[str], None]) -> float | None:
    for name in ("expires_at", "expires_on", "expires"):
        value = members.get(name)
        if value is False or is_absent(value):
            continue
        number, moment = _number(value), moment_of(value)
        if moment is None:
            unreadable(name)
        elif name == "expires" and number is not None and 0 < number <= _LONGEST_LIFETIME:
            return now + number  # the name of the lifetime in early drafts of OAuth 2.0
        elif moment > now:
            return min(moment, now + _LONGEST_LIFETIME)
    return None


def _in_seconds(number: float | None) -> float | None:
    return number if number is None or number < _MILLISECONDS else number / 1000


def _number(value: Any) -> float | None:
    """Return a number, also one in a text; ``None``: it is none. One that is too large for a float becomes infinite."""
    if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - NaN
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _date(value: Any) -> float | None:
    """Return an ISO 8601 date in Unix seconds, in UTC if it has no zone; ``None``: it is none."""
    if not isinstance(value, str) or len(value) > _LONGEST_DATE:
        return None
    text = value.strip().upper()
    try:
        date = datetime.fromisoformat(re.sub(_ZONE_NAME, "", text))
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
