"""Checks of arguments: each returns the argument in its normal form, or raises a ConfigurationError that names it."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast, get_args
from urllib.parse import urlsplit

from .errors import ConfigurationError
from .hidden import Hidden, hidden

#: A secret, or a callable that returns it; the callable is called for each token request.
Secret = str | Callable[[], str]
#: The value of a parameter; ``None`` removes a standard parameter.
Value = str | int | float | bool | Sequence[str] | None
#: The value of a parameter in ``params``, or a callable that returns it; the callable is called for each token request.
Parameter = Value | Callable[[], Value]

ClientAuth = Literal[
    "client_secret_basic", "client_secret_basic_raw", "client_secret_post", "client_secret_jwt",
    "tls_client_auth", "self_signed_tls_client_auth", "none",
]  # fmt: skip
Encoding = Literal["form", "json", "query"]
Method = Literal["POST", "GET"]
CLIENT_AUTH, ENCODINGS, METHODS = get_args(ClientAuth), get_args(Encoding), get_args(Method)
#: ASCII and Latin-1 control characters, and the two line separators of Unicode.
_CONTROLS = "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]"
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER_VALUE = r"[\t\x20-\x7e\x80-\xff]*"

#: What a copy from elsewhere may bring along.
_ODD_ENDS = " \t\r\n\v\f\xa0\u200b\ufeff\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"


class _URL(Hidden):
    """A URL whose repr omits the query, which may hold a secret."""

    __slots__ = ()

    def __repr__(self) -> str:
        before, mark, _ = self.partition("?")
        return repr(before + mark + "..." * bool(mark))


def resolve_secret(argument: str, secret: Secret) -> str:
    """Return the present value of a secret."""
    if callable(secret):
        secret = call_secret(argument, secret)
    secret = hidden(secret)
    if refusal := _secret_error(argument, secret):
        del secret  # a reporter would show bytes, for example, among the variables of this frame
        raise refusal
    return cast("str", secret)


def call_secret(argument: str, function: Callable[[], Any]) -> Any:
    """Return what a callable returns, a str so that dumps do not show it."""
    try:
        return hidden(function())
    except ConfigurationError:
        raise
    except Exception as error:
        problem = f"must be readable, but its callable raised {type(error).__name__}"
        raise ConfigurationError(problem, argument=argument, advice="call it by hand to see why") from error


def check_secret(argument: str, secret: Any) -> Any:
    """Return a secret as a str that dumps do not show; a callable is checked when the secret is needed."""
    if callable(secret):
        return check_callable(argument, secret)
    if error := _secret_error(argument, secret):
        raise error
    return hidden(secret)


def check_callable(argument: str, function: Any) -> Any:
    """Return a callable that can be hashed, as the grant that holds it is."""
    if getattr(function, "_is_no_secret", False):
        advice = "for the token of a TokenSource, give a function that returns source.token().access_token"
        problem = wrong_type(argument, function, "a str or a callable that returns one").problem
        raise ConfigurationError(problem, argument=argument, advice=advice)
    with contextlib.suppress(TypeError):
        hash(function)
        return function
    raise ConfigurationError("must be a callable that can be hashed", argument=argument, advice="freeze it")


def _secret_error(argument: str, secret: object) -> ConfigurationError | None:
    return _text_error(argument, secret, "a str or a callable that returns one", "ask the server's owner for it")


def wrong_type(argument: str, value: object, expected: str) -> ConfigurationError:
    """Return the error for an argument of another type than the *expected*."""
    given = "None" if value is None else type(value).__name__
    return ConfigurationError(f"must be {expected}, got {given}", argument=argument)


def _text_error(
    argument: str, text: object, expected: str, advice: str, *, allow_controls: bool = False
) -> ConfigurationError | None:
    if not isinstance(text, str):
        return wrong_type(argument, text, expected)
    if not text:
        problem = "must not be empty"
    elif text.isprintable():  # nearly always
        return None
    elif any("\ud800" <= char <= "\udfff" for char in text):
        # Nothing is raised from a UnicodeEncodeError, which holds the text.
        problem, advice = "must not have lone surrogates, which UTF-8 cannot encode", "read it as UTF-8"
    elif re.search(_CONTROLS, text) and not allow_controls:
        # Secrets and ids have none; a line break comes from a file or the clipboard.
        problem, advice = "must not have a control character, such as a line break", "remove it"
    else:
        return None
    return ConfigurationError(problem, argument=argument, advice=advice)


def check_text(argument: str, text: object, *, allow_controls: bool = True) -> str:
    """Return a str that is not empty."""
    if error := _text_error(argument, text, "a str", "give a value", allow_controls=allow_controls):
        raise error
    return cast("str", text)


def check_id(argument: str, text: object) -> str:
    """Return a str that is not empty and has no control characters."""
    return check_text(argument, text, allow_controls=False)


def check_url(argument: str, url: object) -> str:
    """Return the absolute URL of an endpoint, without user and fragment (RFC 6749 §3.2)."""
    text = check_text(argument, url)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not text.isprintable() or " " in text:
        advice = "give it with https:// and the host"
        raise ConfigurationError("must be an absolute http(s) URL", argument=argument, advice=advice)
    if "@" in parts.netloc or "#" in text:
        problem, advice = "must have no user and no fragment", "give credentials by {client_id} and {client_secret}"
        raise ConfigurationError(f"{problem} (RFC 6749 §3.2)", argument=argument, advice=advice)
    return _URL(text)


def check_parameter_name(argument: str, name: object) -> str:
    """Return the name of a parameter in the query of a URL."""
    if not isinstance(name, str) or not name or not name.isprintable():
        problem = "must be the name of a parameter in the query, such as access_token"
        raise ConfigurationError(problem, argument=argument)
    return name


def one_of(*allowed: str) -> Callable[[str, Any], str]:
    """Return a check for one of a few values."""

    def check(argument: str, value: Any) -> str:
        if value not in allowed:
            raise ConfigurationError(f"must be one of {', '.join(allowed)}", argument=argument)
        return cast("str", value)

    return check


def freeze_strings(argument: str, values: object) -> tuple[str, ...] | None:
    """Return *values* as a tuple of strings that are not empty; one string is a sequence of one; ``None``: no value."""
    if isinstance(values, str):
        values = (values,)
    if isinstance(values, (bytes, Mapping)) or not isinstance(values, Iterable):
        raise wrong_type(argument, values, "a str or a sequence of them")
    # A set has no order of its own; equal ones must make equal grants.
    ordered = sorted(values, key=str) if isinstance(values, (set, frozenset)) else values
    return tuple(check_text(argument, value) for value in ordered) or None


def join_scope(argument: str, scope: object) -> str | None:
    """Return a scope as it is sent: its values joined by spaces (RFC 6749 §3.3)."""
    values = freeze_strings(argument, scope)
    return check_id(argument, " ".join(values)) if values else None


def check_lifetime(argument: str, seconds: object) -> float:
    """Return the lifetime of a token: a number of seconds that is more than 0."""
    return check_seconds(argument, seconds, "leave it out if tokens are to be used until they are refused")


def check_seconds(argument: str, seconds: object, advice: str = "") -> float:
    """Return a number of seconds that is more than 0."""
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 < cast("float", seconds) < math.inf:
        raise ConfigurationError("must be a number of seconds, more than 0", argument=argument, advice=advice)
    return float(cast("float", seconds))


def check_header(name: object, value: object, name_argument: str = "header", value_argument: str = "scheme") -> None:
    """Refuse what cannot be a header (RFC 9110 §5)."""
    if not isinstance(name, str) or not re.fullmatch(_HEADER_NAME, name):
        raise ConfigurationError("must be a header name, such as X-API-Key", argument=name_argument)
    if not isinstance(value, str) or not re.fullmatch(_HEADER_VALUE, value):
        problem = "must be a str of printable Latin-1 characters, as a header carries it"
        raise ConfigurationError(problem, argument=value_argument)


def has_odd_ends(value: str) -> bool:
    """Return whether *value* begins or ends with whitespace, an invisible character or a quote."""
    return value != value.strip(_ODD_ENDS)
