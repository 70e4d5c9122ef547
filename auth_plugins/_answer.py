"""Reading the token endpoint's answer: a :class:`~auth_plugins.Token`, or an error that says what to do; no I/O."""

from __future__ import annotations

import codecs
import contextlib
import email.utils
import json
import logging
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

from ._errors import TokenRequestError
from ._message import LONGEST_BODY, Scrubber, TokenRequest, TokenResponse, one_line, quoted
from ._token import Token, jwt_claims, looks_like_jwt

__all__ = ["read", "retry_after"]

_log = logging.getLogger("auth_plugins")

#: Seconds; a longer lifetime is a mistake or a way of saying "for ever".
_LONGEST_LIFETIME = 10 * 365 * 86400
#: Characters of a body that an error may quote.
_EXCERPT = 200
#: Characters of an error's description that are kept.
_LONGEST_PART = 500
#: Characters of a token type that are kept; the registered ones are shorter.
_LONGEST_TYPE = 40
#: Types in the IANA registry that are sent otherwise than as Bearer, and Basic, which some servers announce.
_NOT_BEARER = frozenset({"mac", "pop", "dpop", "n_a", "basic"})
_NUMBER = r"(?a:[+-]?\d+(\.\d*)?([eE][+-]?\d+)?)"
#: Those that JSON comes in, but for UTF-8, whose byte order mark goes; Python has codecs that take minutes, or no text.
_CHARSET = r"utf-?(16|32)([bl]e)?|(iso-|windows-|cp)[\d-]+|latin-?1|(us-)?ascii"
#: Characters of the shortest token that is kept out of what is told about it.
_SHORTEST = 8
#: As all registered ones are.
_CODE = r"[a-z_]{3,40}"
_PRINTABLE = r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?"

_WHO = (
    "check the client id and secret, or the user name and password, "
    "and that the server wants them where client_auth puts them (or the variable CLIENT_AUTH)"
)
_HINTS = {
    "invalid_client": (
        "check the client id and secret, and that the server wants them where client_auth (or the variable CLIENT_AUTH)"
        " puts them: client_secret_basic, client_secret_basic_raw or client_secret_post"
    ),
    "invalid_grant": "check the user name and password, or the refresh token",
    "invalid_scope": "ask for a scope that this client was given",
    "invalid_target": "check audience and resource",
    "invalid_request": "check what the server's documentation wants sent: client_auth, encoding, scope, params",
    "unauthorized_client": "have the server's owner allow this client the grant",
    "unsupported_grant_type": "check the grant, and that encoding is what the server reads",
}


def read(request: TokenRequest, response: TokenResponse, now: float) -> Token:
    """Read a token (RFC 6749 §5.1).

    :param now: Unix seconds at which the token was asked for, from which its lifetime counts.
    :raises TokenRequestError: the server refused, or what it sent is no token.
    """
    members = _members(request, response)
    if members.get("error") or not 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's success
        _refused(request, response, members)
    if not members:
        _fail(request, response, "answered no token", _what_it_looks_like(response))
    access_token = members.get("access_token")
    if not isinstance(access_token, str) or not re.fullmatch(_PRINTABLE, access_token):
        what = "no access_token" if access_token in (None, "") else "an access_token that cannot stand in a header"
        _fail(request, response, f"answered {what}", "is token_url the token endpoint?")
    from ._authlib import members_of  # noqa: PLC0415 - Authlib is loaded by the first token request, not by an import

    if isinstance(scope := members.get("scope"), list):
        scope = " ".join(map(str, scope))
    answer = members_of({"access_token": access_token, "refresh_token": members.get("refresh_token")})
    refresh_token = answer["refresh_token"]
    usable = isinstance(refresh_token, str) and re.fullmatch(_PRINTABLE, refresh_token)
    # What is shown of a token must not hold it; a short one is no secret, and in every other word.
    hide = Scrubber(each for each in (access_token, refresh_token) if isinstance(each, str) and len(each) >= _SHORTEST)
    return Token(
        access_token=answer["access_token"],
        token_type=_token_type(request, response, members.get("token_type"), hide),
        expires_at=_expires_at(request, response, members, now),
        refresh_token=refresh_token if usable else None,
        scope=one_line(hide(request.scrub(scope))) if isinstance(scope, str) else None,
        issued_at=now,
    )


def retry_after(response: TokenResponse, now: float) -> float | None:
    """Seconds that the server asks to wait (RFC 9110 §10.2.3); ``None`` if it doesn't say, or not understandably."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _members(request: TokenRequest, response: TokenResponse) -> Mapping[str, Any]:
    """The members of an answer in any of the forms in which tokens were seen to come; empty if it is none of them."""
    if coding := response.headers.get("content-encoding"):
        what = (
            f"answered {response.status}, packed by {quoted(request, coding, _LONGEST_TYPE)!r} and not to be unpacked"
        )
        _fail(request, response, what, "have its owner send answers as they are: nothing else was asked for")
    if len(response.body) > LONGEST_BODY:
        _fail(request, response, "answered more than 1 MiB", "is token_url the token endpoint?")
    text = _text(response).strip()
    try:
        answer = json.loads(text, parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError):
        if not looks_like_jwt(text):
            # A form, as early OAuth 2.0 drafts had it; `expires` is what such servers call the lifetime.
            form = dict(parse_qsl(text)) if re.match(r"[\w.-]+=\S*\Z", text) else {}
            return {**form, "expires_in": form.get("expires_in", form.get("expires"))} if form else {}
        answer = text
    if isinstance(answer, dict):
        return answer
    # Some identity servers answer the bare JWT, as a JSON string or not even that.
    return {"access_token": answer} if isinstance(answer, str) and looks_like_jwt(answer) else {}


def _text(response: TokenResponse) -> str:
    _, _, told = response.headers.get("content-type", "").lower().partition("charset")
    if told and (charset := re.match(r"""\s*=\s*["']?([\w-]+)""", told)) and re.fullmatch(_CHARSET, charset[1]):
        with contextlib.suppress(LookupError):
            return response.body.decode(charset[1], "replace")
    return response.body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def _token_type(request: TokenRequest, response: TokenResponse, value: Any, hide: Scrubber) -> str:
    if value is not None and not isinstance(value, str):
        _fail(request, response, "answered a token_type that is no string", "this is no RFC 6749 token")
    name = (value or "").strip()
    if not name or name.lower() == "bearer":
        return "Bearer"
    if name.lower() in _NOT_BEARER:
        _fail(request, response, f"answered a token of type {name.lower()!r}", "have this client given Bearer tokens")
    shown = hide(quoted(request, name, _LONGEST_TYPE))
    _log.warning("%s answered the unknown token_type %r; it is used as Bearer", request.endpoint, shown)
    return shown


def _expires_at(request: TokenRequest, response: TokenResponse, members: Mapping[str, Any], now: float) -> float | None:
    """When the token ends: what the server says, else what the JWT says, else what other servers' members say."""
    lifetime = members.get("expires_in")
    if not _untold(lifetime):
        seconds = _number(lifetime)
        if seconds is None:
            _fail(request, response, "answered an expires_in that is no number of seconds", "this is no RFC 6749 token")
        return now + max(-_LONGEST_LIFETIME, min(seconds, _LONGEST_LIFETIME))
    claims = jwt_claims(members["access_token"]) or {}
    issued, ends = _number(claims.get("iat")), _number(claims.get("exp"))
    if issued is not None and ends is not None and issued < ends <= now:
        # Over before it arrived: the clocks differ, and the length of its life doesn't.
        return now + min(ends - issued, _LONGEST_LIFETIME)
    for value in (claims.get("exp"), members.get("expires_at"), members.get("expires_on")):
        moment = None if _untold(value) else _number(value)
        if moment is not None:
            return max(0.0, min(moment, now + _LONGEST_LIFETIME))
    return None


def _untold(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _number(value: Any) -> float | None:
    """A number of seconds however it is written; ``None`` if it is none. What is too large for a float is huge."""
    if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # noqa: PLR0124 - NaN
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _refused(request: TokenRequest, response: TokenResponse, members: Mapping[str, Any]) -> NoReturn:
    code, description, uri = (
        quoted(request, members[name], _LONGEST_PART) if isinstance(members.get(name), str) and members[name] else None
        for name in ("error", "error_description", "error_uri")
    )
    # A code says nothing but itself, unless it is a secret.
    if isinstance(raw := members.get("error"), str) and re.fullmatch(_CODE, raw) and request.scrub(raw) != "***":
        code = raw
    if response.status in range(300, 400):
        _fail(
            request,
            response,
            "answered a redirect" + _target(request, response),
            "none is followed, as the secret would go along: set token_url to the final address",
        )
    if code:
        said = f"{code}: {description}" if description else code
    else:
        said = quoted(request, _text(response), _EXCERPT) or "an empty body"
    _fail(
        request,
        response,
        f"answered {response.status} ({said})",
        _HINTS.get(code or "") or _advice(response),
        error=code,
        description=description,
        uri=uri,
    )


def _target(request: TokenRequest, response: TokenResponse) -> str:
    try:
        # Scrubbed before the name is lowered, and after it: a secret may stand there in either.
        location = urlsplit(request.scrub(response.headers.get("location", "")))
        host = location.hostname
    except ValueError:
        host = None
    return f" to {quoted(request, host, _EXCERPT)}" if host else ""


def _advice(response: TokenResponse) -> str:
    if response.status == 429 or response.status >= 500:  # noqa: PLR2004 - Too Many Requests; server errors
        return "the server is in trouble or wants a rest: try again later"
    if response.status in (401, 403):
        return _WHO
    if response.status in (404, 405) or _is_html(response):
        return "is token_url the token endpoint, and method the one it wants?"
    return _HINTS["invalid_request"]


def _what_it_looks_like(response: TokenResponse) -> str:
    if not response.body.strip():
        return "the body is empty: is token_url the token endpoint?"
    if _is_html(response):
        return "it is a web page: is token_url the token endpoint?"
    return "the body is neither a JSON object nor a form nor a JWT: is token_url the token endpoint?"


def _is_html(response: TokenResponse) -> bool:
    return "html" in response.headers.get("content-type", "").lower() or response.body.lstrip()[:1] == b"<"


def _fail(request: TokenRequest, response: TokenResponse, what: str, advice: str, **details: str | None) -> NoReturn:
    raise TokenRequestError(
        f"{request.endpoint} {what}; {advice}",
        status_code=response.status,
        retry_after=retry_after(response, response.received_at),
        **details,
    )
