"""The answer to a device authorization request (RFC 8628 §3.2); no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from auth_plugins._base.errors import ConfigurationError, TokenRequestError
from auth_plugins._base.hidden import hidden
from auth_plugins._base.validation import check_url
from auth_plugins._protocol.answers import read_members
from auth_plugins._protocol.messages import TokenRequest, TokenResponse

#: Seconds between two token requests if the server names none (RFC 8628 §3.5), and the fewest.
DEFAULT_INTERVAL, SHORTEST_INTERVAL = 5.0, 1.0
#: Seconds that a code lives if the server does not say it, although it must, and the most that are waited.
_DEFAULT_LIFETIME, _LONGEST_LIFETIME = 900.0, 86400.0
#: Characters of the code that a person enters.
_LONGEST_CODE = 100


class DeviceAuthorization(NamedTuple):
    """What a person has to enter, and where, and how its outcome is asked for."""

    device_code: str
    user_code: str
    url: str
    #: With the code in it; ``None``: there is none.
    complete_url: str | None
    #: Seconds.
    lifetime: float
    interval: float


def read_device(request: TokenRequest, response: TokenResponse) -> DeviceAuthorization:
    """Return what the server answered.

    :raises TokenRequestError: it refused, or what it sent cannot be used.
    """
    members = read_members(request, response)
    device_code, user_code = members.get("device_code"), members.get("user_code")
    # Google's name for it is that of a draft.
    url = _url(members, "verification_uri") or _url(members, "verification_url")
    texts = {"device_code": device_code, "user_code": user_code, "verification_uri": url}
    missing = [name for name, text in texts.items() if not isinstance(text, str) or not text]
    is_code = isinstance(user_code, str) and user_code.isprintable() and len(user_code) <= _LONGEST_CODE
    if missing or not is_code:
        name = missing[0] if missing else "user_code"
        raise TokenRequestError(
            f"{request.endpoint} answered no {name} that can be used",
            status_code=response.status,
            advice="is device_url the device authorization endpoint (RFC 8628 §3.1)?",
        )
    lifetime = _seconds(members.get("expires_in"))
    interval = _seconds(members.get("interval"))
    return DeviceAuthorization(
        device_code=hidden(device_code),
        user_code=str(user_code),
        url=str(url),
        complete_url=_url(members, "verification_uri_complete"),
        lifetime=min(_DEFAULT_LIFETIME if lifetime is None else lifetime, _LONGEST_LIFETIME),
        interval=DEFAULT_INTERVAL if interval is None else max(interval, SHORTEST_INTERVAL),
    )


def _url(members: Mapping[str, Any], name: str) -> str | None:
    """Return an http(s) URL; nothing else is given to a browser."""
    try:
        return str(check_url(name, members.get(name)))
    except ConfigurationError:
        return None


def _seconds(value: object) -> float | None:
    """Return a number of seconds, which some servers send as text; ``None``: it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
