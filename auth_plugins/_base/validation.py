"""What an argument may be: each check returns it in its one normal form, or says what is wrong with it, and why."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from .errors import ConfigurationError
from .hidden import Hidden, hidden

__all__ = [
    "CLIENT_AUTH",
    "ENCODINGS",
    "METHODS",
    "Parameter",
    "Secret",
    "check_header",
    "check_secret",
    "checked_id",
    "checked_resources",
    "checked_text",
    "checked_url",
    "frozen_headers",
    "frozen_params",
    "hide_arguments",
    "joined_scope",
    "one_of",
    "resolve_secret",
]

#: A secret, or what returns it; called anew for each token request.
Secret = str | Callable[[], str]
#: What a parameter of the user's own may be; ``None`` leaves a standard parameter out.
Parameter = str | int | float | bool | Sequence[str] | None

CLIENT_AUTH = ("client_secret_basic", "client_secret_basic_raw", "client_secret_post", "none")
ENCODINGS = ("form", "json", "query")
METHODS = ("POST", "GET")
#: Control characters, and the two that break a line in Unicode.
_CONTROLS = "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]"
_F = TypeVar("_F", bound=Callable[..., Any])


class _URL(Hidden):
    """A URL of whose query dumps show nothing, as a secret may stand there."""

    __slots__ = ()

    def __repr__(self) -> str:
        before, mark, _ = self.partition("?")
        return repr(before + mark + "..." * bool(mark))

    def __reduce__(self) -> tuple[Any, ...]:
        return _URL, (str(self),)


def hide_arguments(function: _F) -> _F:
    """*function*, but its ConfigurationErrors and TypeErrors have no frame whose variables hold its arguments.

    Error reporters store the variables of each frame, and secrets are among the arguments.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ConfigurationError as error:
            problem: Exception = error.with_traceback(None)  # its text says all that there is to say
        except TypeError as error:
            problem = error.with_traceback(_not_ours(error.__traceback__))
        del args, kwargs
        try:
            raise problem
        finally:
            del problem  # it would hold this frame, which holds it

    return cast("_F", call)


def _not_ours(traceback: TracebackType | None) -> TracebackType | None:
    """*traceback* from the first frame on that is not of this package: a subclass of the user's may be to blame."""
    while traceback and traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "auth_plugins":
        traceback = traceback.tb_next
    return traceback


def resolve_secret(name: str, secret: Secret) -> str:
    """What a secret is at this moment.

    :raises ConfigurationError: the callable failed, or returned what can be no secret.
    """
    if callable(secret):
        try:
            secret = hidden(secret())
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"{name}: the callable that returns it raised {type(error).__name__}; call it by hand to see why"
            ) from error
    secret = hidden(secret)
    if problem := _secret_problem(secret):
        del secret  # bytes, for one, would be shown with this frame
        raise ConfigurationError(f"{name} {problem}")
    return cast("str", secret)


def check_secret(name: str, secret: object) -> None:
    """Refuse what can be no secret; a callable is asked later, when the secret is needed."""
    if not callable(secret):
        if problem := _secret_problem(secret):
            raise ConfigurationError(f"{name} {problem}")
        return
    try:
        hash(secret)
    except TypeError:
        pass
    else:
        return
    raise ConfigurationError(f"{name} is a callable that cannot be hashed, by which grants are told apart; freeze it")


def _secret_problem(secret: object) -> str | None:
    """Why *secret* is none: it is a string that isn't empty, and has no control characters."""
    if not isinstance(secret, str):
        return f"is of type {type(secret).__name__}; give a str, or a callable that returns it"
    if not secret:
        return "is empty; give the one that the server's owner gave you"
    return _encoding_problem(secret) or _control_problem(secret)


def _encoding_problem(text: str) -> str | None:
    # Nothing is raised from the UnicodeEncodeError, which holds the text.
    if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
        return None
    return "has lone surrogates, which UTF-8 cannot encode; read it as UTF-8"


def _control_problem(text: str) -> str | None:
    # A server's owner hands out none; a line break is left over from a file or the clipboard.
    if text.isprintable() or not re.search(_CONTROLS, text):  # nearly always the former, and at once
        return None
    return "contains a control character, such as a line break; remove it"


def _check_encodable(name: str, text: str) -> None:
    if problem := _encoding_problem(text):
        raise ConfigurationError(f"{name} {problem}")


def checked_id(name: str, text: object) -> str | None:
    """A string that isn't empty and has no control characters, or ``None``."""
    checked = checked_text(name, text)
    if checked is not None and (problem := _control_problem(checked)):
        raise ConfigurationError(f"{name} {problem}")
    return checked


def checked_text(name: str, text: object) -> str | None:
    """A string that isn't empty, or ``None``."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise ConfigurationError(f"{name} is of type {type(text).__name__}; give a str")
    if not text:
        raise ConfigurationError(f"{name} is empty; leave it out, or give a value")
    _check_encodable(name, text)
    return text


def checked_url(name: str, url: object) -> str:
    """The URL of an endpoint (RFC 6749 §3.2): whole, without a user and a fragment."""
    text = checked_text(name, url)
    if text is None:
        raise ConfigurationError(f"{name} is None; give the URL of the endpoint")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not text.isprintable() or " " in text:
        raise ConfigurationError(f"{name} is no http(s) URL; give it whole, with https:// and the host")
    if parts.username is not None or "#" in text:
        raise ConfigurationError(
            f"{name} has a user or a fragment in it; give credentials as client_id and client_secret (RFC 6749 §3.2)"
        )
    return _URL(text)


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """One of *allowed*."""
    if value not in allowed:
        raise ConfigurationError(f"{name} is not one of {', '.join(allowed)}; give one of them")
    return str(value)


def _strings(name: str, values: object) -> tuple[str, ...]:
    """*values* as a tuple of strings; one string is a sequence of one."""
    if isinstance(values, str):
        values = (values,)
    if isinstance(values, (bytes, Mapping)) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} is of type {type(values).__name__}; give a str, or a sequence of them")
    # A set has no order of its own; equal ones must make equal grants.
    listed = sorted(values, key=str) if isinstance(values, (set, frozenset)) else list(values)
    for value in listed:
        if checked_text(name, value) is None:
            raise ConfigurationError(f"{name} holds None; leave it out")
    return tuple(listed)


def joined_scope(scope: object) -> str | None:
    """A scope as it is sent: values with a space between."""
    return None if scope is None else checked_id("scope", " ".join(_strings("scope", scope)) or None)


def checked_resources(resource: object) -> tuple[str, ...] | None:
    """Resources as a tuple; one string is one resource."""
    return None if resource is None else _strings("resource", resource) or None


def _pairs(name: str, mapping: object) -> list[tuple[str, Any]]:
    if isinstance(mapping, Mapping):
        mapping = tuple(mapping.items())
    if not (isinstance(mapping, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in mapping)):
        raise ConfigurationError(f"{name} is of type {type(mapping).__name__}; give a mapping")
    for key, _ in mapping:
        if checked_text(f"a name in {name}", key) is None:
            raise ConfigurationError(f"a name in {name} is None; give a str")
    return sorted(mapping, key=lambda pair: pair[0])


def frozen_params(params: object) -> tuple[tuple[str, Parameter], ...] | None:
    """Parameters as pairs, in the order of their names, so that equal mappings are equal and hashable."""
    if params is None:
        return None
    frozen: list[tuple[str, Parameter]] = []
    for name, value in _pairs("params", params):
        if isinstance(value, str):
            _check_encodable(f"params[{name!r}]", value)
            value = hidden(value)  # noqa: PLW2901 - it may be a secret, nobody can tell
        elif value is not None and not isinstance(value, (bool, int, float)):
            # Hashable, as the grant must be.
            value = tuple(map(hidden, _strings(f"params[{name!r}]", value)))  # noqa: PLW2901
        frozen.append((name, value))
    return tuple(frozen) or None


def frozen_headers(headers: object) -> tuple[tuple[str, str], ...] | None:
    """Headers, likewise."""
    if headers is None:
        return None
    for name, value in (pairs := _pairs("headers", headers)):
        if not isinstance(value, str):
            raise ConfigurationError(f"headers[{name!r}] is of type {type(value).__name__}; give a str")
        check_header(name, value)
    return tuple((name, hidden(value)) for name, value in pairs) or None


def check_header(name: object, value: object) -> None:
    """Refuse what cannot be a header (RFC 9110 §5).

    :raises ConfigurationError: the name is no token, or the value has line breaks or characters beyond Latin-1.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise ConfigurationError(f"{name!r} is no name of a header; give one such as X-API-Key")
    if not isinstance(value, str) or not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
        raise ConfigurationError(f"what is to stand in the header {name} has characters that cannot; check it")
