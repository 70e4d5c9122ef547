"""Reads the token endpoint's answer: a :class:`~auth_plugins.Token`, or an error that says what to do; no I/O."""

from __future__ import annotations

import codecs
import contextlib
import functools
import json
import logging
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeGuard
from urllib.parse import parse_qsl

from auth_plugins._base.errors import TokenRequestError
from auth_plugins._base.loading import small_imports

from .answer_paths import find_members
from .expiry import expires_at, is_absent
from .messages import LONGEST_BODY, TOKEN_EXCHANGE, Answer, TokenRequest, TokenResponse
from .redaction import Redactor
from .tokens import Token, looks_like_jwt

_log = logging.getLogger("auth_plugins")

#: Characters of a token type that are kept; the registered ones are shorter.
_LONGEST_TYPE = 40
#: Types in the IANA registry that are not sent as Bearer, and Basic, which some servers announce.
_NOT_BEARER = frozenset({"mac", "pop", "dpop", "n_a", "basic"})
#: The charsets of JSON other than UTF-8. Python has codecs that take minutes, or make no text.
_CHARSET = r"utf-?(16|32)([bl]e)?|(iso-|windows-|cp)[\d-]+|latin-?1|(us-)?ascii"
#: Characters of the shortest token that is hidden elsewhere in its answer; a shorter one is part of many words.
_SHORTEST_TOKEN = 8
#: What some servers put before the token.
_SCHEME = r"(?i)\A(bearer +)+(?=.)"
#: Names and values. Some servers do not encode the spaces in a scope. One name before prose is no form.
_FORM = r"[\w.-]+=(\S*|[^\r\n&]*&[\w.-]+=[^\r\n]*)\Z"
#: How many warnings are remembered, so that each is logged once.
_MOST_WARNINGS = 256


def read(request: TokenRequest, response: TokenResponse, now: float) -> Token:
    """Return the token of an answer (RFC 6749 §5.1).

    :param now: Unix seconds at which the try began that was answered, from which its lifetime counts.
    :raises TokenRequestError: the server refused, or what it sent is no token.
    """
    try:
        return _read(request, response, now)
    except TokenRequestError as error:
        # Error reporters store the variables of each frame, and these frames hold what the server sent.
        raise error.with_traceback(None) from None


def read_members(request: TokenRequest, response: TokenResponse) -> Mapping[str, Any]:
    """Return the members of an answer that holds no token.

    :raises TokenRequestError: the server refused.
    """
    try:
        answer = _parsed(request, response)
        if answer.is_error or not 200 <= response.status < 300:
            _refuse(answer)
    except TokenRequestError as error:
        raise error.with_traceback(None) from None  # as in read()
    return answer.members


def is_printable(value: object) -> TypeGuard[str]:
    """Return whether *value* is a text that a header can carry."""
    if not isinstance(value, str) or value != value.strip():
        return False
    return value != "" and value.isascii() and value.isprintable()


def _read(request: TokenRequest, response: TokenResponse, now: float) -> Token:
    answer = _parsed(request, response)
    members = answer.members
    if answer.is_error or not 200 <= response.status < 300:
        _refuse(answer)
    access_token = members.get("access_token")
    if is_absent(access_token):
        with small_imports():
            from .refusals import no_token
        no_token(answer)
    if not is_printable(access_token):
        _fail(answer, "answered an access_token that cannot stand in a header")
    access_token = _without_scheme(access_token)
    refresh_token = members.get("refresh_token")
    if not is_printable(refresh_token) or is_absent(refresh_token):
        refresh_token = None
    if isinstance(scope := members.get("scope"), list):
        scope = " ".join(map(str, scope))

    def warn(name: str) -> None:
        problem = f"an {name} that is neither a number nor a date; the token is used without it"
        _warn_once(request.endpoint, problem)

    ends = expires_at(members, access_token, now, warn)
    hide = Redactor(each for each in (access_token, refresh_token or "") if len(each) >= _SHORTEST_TOKEN)
    return Token(
        access_token=access_token,
        token_type=_token_type(answer, hide),
        expires_at=now + request.lifetime if ends is None and request.lifetime is not None else ends,
        refresh_token=refresh_token,
        scope=hide(request.redact(scope)) if isinstance(scope, str) else None,
        issued_at=now,
        extra=answer.extra,
    )


def _parsed(request: TokenRequest, response: TokenResponse) -> Answer:
    """Return an answer in any of the forms in which tokens were seen; in another form it has no members."""
    unread = Answer(request, response, None, "")
    if coding := response.headers.get("content-encoding"):
        shown = request.excerpt(coding, _LONGEST_TYPE)
        _fail(unread, f"answered {response.status}, compressed by {shown!r}, which cannot be read", "packed")
    if len(response.body) > LONGEST_BODY:
        _fail(unread, "answered more than 1 MiB")
    text = _text(response)
    kind, document = _document(response, text.strip())
    found = find_members(document, response.headers, request.answer, is_absent)
    # What the user calls a token is hidden in an error whatever the server calls it; by its standard name it always is.
    tokens = [found.members.get(name) for name in request.answer if name in ("access_token", "refresh_token")]
    if texts := [str(token) for token in tokens if isinstance(token, (str, int))]:
        request = request.having(redact=request.redact.including(texts))
    return Answer(request, response, kind, text, document, found.members, found.is_error, found.extra)


def _document(response: TokenResponse, text: str) -> tuple[str, Any]:
    """Return the kind of a body, and what it was read as."""
    try:
        members = json.loads(text, parse_constant=lambda _: math.nan)
        kind = "json" if isinstance(members, (dict, list)) else "text"
    except (ValueError, RecursionError):
        if re.match(_FORM, text):
            # A firewall's page or line may look like a form as well.
            is_plain = response.headers.get("content-type", "").lower().startswith("text/plain")
            return "page" if _is_html(response) else "text" if is_plain else "form", dict(parse_qsl(text))
        members, kind = text, "empty" if not text else "page" if _is_html(response) else "text"
    if isinstance(members, str):
        # Some identity servers answer the bare JWT, quoted or not.
        jwt = _without_scheme(members)
        members = {"access_token": jwt} if looks_like_jwt(jwt) else {}
    return kind, members


def _text(response: TokenResponse) -> str:
    _, _, parameter = response.headers.get("content-type", "").lower().partition("charset")
    if parameter:
        charset = re.match(r"""\s*=\s*["']?([\w-]+)""", parameter)
        if charset and re.fullmatch(_CHARSET, charset[1]):
            with contextlib.suppress(LookupError):
                return response.body.decode(charset[1], "replace")
    return response.body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


def _is_html(response: TokenResponse) -> bool:
    return "html" in response.headers.get("content-type", "").lower() or response.body.lstrip()[:1] == b"<"


def _refuse(answer: Answer) -> NoReturn:
    with small_imports():
        from .refusals import refuse  # most programs meet no refusal
    refuse(answer)


def _fail(answer: Answer, problem: str, *troubles: str) -> NoReturn:
    with small_imports():
        from .refusals import fail
    fail(answer, problem, *troubles)


def _without_scheme(token: str) -> str:
    return re.sub(_SCHEME, "", token) if token[:6].lower() == "bearer" else token


def _token_type(answer: Answer, hide: Redactor) -> str:
    request, value = answer.request, answer.members.get("token_type")
    if value is not None and not isinstance(value, str):
        _fail(answer, "answered a token_type that is no string")
    name = "" if is_absent(value) else str(value).strip()
    if not name or name.lower() == "bearer":
        return "Bearer"
    if name.lower() == "n_a" and request.facts.grant_type == TOKEN_EXCHANGE:
        return name  # what it is, issued_token_type says (RFC 8693 §2.2.1)
    if name.lower() == "dpop" and request.accepts_dpop:
        return "DPoP"
    if name.lower() in _NOT_BEARER:
        trouble = "dpop" if name.lower() == "dpop" else "not_bearer"
        _fail(answer, f"answered a token of type {name.lower()!r}", trouble)
    shown = hide(request.excerpt(name, _LONGEST_TYPE))
    _warn_once(request.endpoint, f"the unknown token_type {shown!r}; it is used as Bearer")
    return shown


@functools.lru_cache(_MOST_WARNINGS)
def _warn_once(endpoint: str, problem: str) -> None:
    _log.warning("%s answered %s", endpoint, problem)
