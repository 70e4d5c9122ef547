"""The errors that this package raises.

.. code-block:: text

    AuthError
    ├── ConfigurationError (also a ValueError)   an argument or variable cannot work
    ├── InsecureTransportError                   a secret or token would travel unencrypted
    ├── TokenRequestError                        the token endpoint refused, or answered no token
    │   └── LoginRequiredError                   a person has to sign in again
    └── TokenTransportError                      the token endpoint could not be reached

Every message is one line that says what happened, where, and what to do next. No message holds a secret or a token.
Each error that an adapter raises is also its library's own base error (``requests.RequestException``,
``httpx.RequestError``), so that existing ``except`` clauses keep working.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self, TypeVar

#: The most errors that are looked at.
_LONGEST_CHAIN = 50
#: Error codes of a server that is in trouble, or asks for a pause (RFC 6749 §4.1.2.1, RFC 8628 §3.5).
TROUBLE = frozenset({"server_error", "slow_down", "temporarily_unavailable"})
#: Those that tell a device to ask for the outcome again (RFC 8628 §3.5).
STILL_PENDING = ("authorization_pending", "slow_down")
#: Those that say that a refresh token is not valid (RFC 6749 §5.2, GitHub, Zoho).
REFUSED_REFRESH_TOKEN = frozenset({"invalid_grant", "bad_refresh_token", "invalid_code"})
#: ``TokenRequestError.trouble`` of a login for which no one was asked, or waits: another caller may ask.
NOT_ASKED = "login"
#: What keeps a token endpoint from being reached until someone acts: see ``TokenTransportError.trouble``.
_LASTING_TROUBLE = frozenset({"certificate", "client_certificate", "fork", "unexpected"})


class AuthError(Exception):
    """The base class of every error of this package. Its text is ``problem; advice``. It can be pickled."""

    #: What happened, without advice.
    problem: str = ""
    #: What to do next; ``""``: *problem* says it.
    advice: str = ""
    #: Whether trying later may help without anyone acting: after a connection error, a 5xx, a 429, or where the server
    #: asks to wait, and while such an error is remembered. ``False`` (the default): someone has to act.
    transient: bool = False

    def __init__(self, problem: str = "", *others: object, advice: str = "") -> None:
        self.problem, self.advice = problem, advice
        super().__init__(f"{problem}; {advice}" if advice else problem, *others)

    def __reduce__(self) -> tuple[Any, ...]:
        # Other values are dropped: the library's request and response hold the token, and locks, which do not pickle.
        plain = {name: value if isinstance(value, _PLAIN) else None for name, value in self.__dict__.items()}
        plain.pop("__notes__", None)
        return _restore, (type(self), self.args, plain)


class ConfigurationError(AuthError, ValueError):
    """An argument or environment variable is missing, misspelt or contradicts another; a retry cannot help.

    Its text is ``argument problem; advice``.

    :param problem: what is wrong, without a value that may be secret. It may name other arguments in braces, as in
        ``needs {client_id}``, and so may *advice*. For an error about variables, :meth:`renamed` replaces these names.
    :param argument: the argument that is wrong; ``None``: none in particular.
    :param advice: what to do next; ``""``: *problem* says it.
    """

    argument: str | None = None

    def __init__(self, problem: str, *, argument: str | None = None, advice: str = "") -> None:
        super().__init__(problem, advice=advice)
        self.argument = argument
        self._name({})

    def renamed(self, names: Mapping[str, str]) -> Self:
        """Return the same error with other *names* for arguments, such as variables; ``""`` is for no argument."""
        renamed = copy_error(self, type(self))
        renamed._name(names)
        return renamed

    def _name(self, names: Mapping[str, str]) -> None:
        text = f"{self.problem}; {self.advice}" if self.advice else self.problem
        text = re.sub(r"\{(\w+)\}", lambda match: names.get(match[1], match[1]), text)
        subject = names.get(self.argument or "", self.argument)
        self.args = (text if subject is None else f"{subject} {text}",)


class InsecureTransportError(AuthError):
    """A secret or token would travel over ``http://`` to another machine; use ``https://`` or ``allow_http=True``."""


class TokenRequestError(AuthError):
    """The token endpoint refused a token request (RFC 6749 §5.2), or its answer holds no token."""

    #: The kind of the body: ``json``, ``form``, ``empty``, ``page`` or ``text``; ``None``: it was not read.
    _body_kind: str | None = None
    #: The members of :attr:`extra`, as JSON: immutable, so that copies can share it.
    _extra: str = "{}"

    def __init__(
        self,
        message: str,
        *,
        error: str | None = None,
        description: str | None = None,
        uri: str | None = None,
        status_code: int | None = None,
        retry_after: float | None = None,
        extra: Mapping[str, Any] | None = None,
        trouble: str = "",
        advice: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        #: The ``error`` code that the server sent, such as ``"invalid_client"``; ``None``: it sent none.
        self.error = error
        #: The server's ``error_description``, without secrets; ``None``: it sent none.
        self.description = description
        #: The server's ``error_uri``, a page about the error; ``None``: it sent none.
        self.uri = uri
        #: The HTTP status of the answer; ``None``: there was no answer.
        self.status_code = status_code
        #: Seconds that the server asked to wait, from ``Retry-After`` (RFC 9110 §10.2.3); ``None``: it did not say.
        self.retry_after = retry_after
        #: Names of the advice table of ``_protocol``, separated by spaces: what the error may be about.
        self.trouble = trouble
        if extra:
            self._extra = json.dumps(dict(extra), default=str)
        self.transient = (
            retry_after is not None
            or error in TROUBLE
            or (status_code is not None and (status_code == 429 or status_code >= 500))
        )

    @property
    def extra(self) -> Mapping[str, Any]:
        """The other members of the server's answer, such as Azure's ``correlation_id``, without secrets and tokens.

        Long texts are cut. ``"***"`` replaces a secret, ``"..."`` what is too long.
        """
        return MappingProxyType(json.loads(self._extra))


class LoginRequiredError(TokenRequestError):
    """A person has to sign in again.

    A refresh token that was obtained by a login was refused (:class:`RefreshToken`). Or an interactive grant has no
    usable token: the login was denied, expired or timed out, its answer belongs to another login, or no person can be
    asked. It is never :attr:`~AuthError.transient`.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.transient = False


class TokenTransportError(AuthError):
    """The token endpoint could not be reached in time; ``__cause__`` is the library's own error, without secrets."""

    def __init__(self, message: str, *, trouble: str = "other", advice: str = "", verify_code: int = 0) -> None:
        super().__init__(message, advice=advice)
        #: What kept it from being reached, as ``_transports.reasons`` names it; ``"other"``: unknown.
        self.trouble = trouble
        self.transient = trouble not in _LASTING_TROUBLE
        #: OpenSSL's number for a certificate that is not trusted; 0: there is none.
        self.verify_code = verify_code


def not_an_auth(given: object) -> ConfigurationError:
    """Return the error for a grant or a token source that was passed as ``auth=``."""
    return ConfigurationError(
        f"must be an OAuth2Auth, got {type(given).__name__}",
        argument="auth",
        advice="give OAuth2Auth(...) of it, from auth_plugins.requests, auth_plugins.httpx or auth_plugins.httpx2",
    )


_PLAIN = (str, int, float, type(None))
_E = TypeVar("_E", bound=AuthError)


def copy_error(error: AuthError, kind: type[_E], **attributes: Any) -> _E:
    """Return a new error of class *kind* with the text, attributes and cause of *error*.

    Each waiter of one token request raises a copy: threads that raise one object all write to its traceback.
    """
    if error.transient != kind.transient:  # a class of the user's may set it for all its errors
        attributes = {"transient": error.transient, **attributes}
    copy = _restore(kind, error.args, {**error.__dict__, **attributes})
    copy.__cause__ = error.__cause__
    return copy


def to_library_error(error: AuthError, kinds: Iterable[type[AuthError]], **attributes: Any) -> AuthError:
    """Return a copy of *error* whose class is the first of *kinds* that fits: one library's own errors.

    Each is derived from one class of this module, the last from AuthError. *error* may be another library's.
    """
    kind = next(kind for kind in kinds if isinstance(error, kind.__mro__[1]))
    return copy_error(error, kind, **attributes)


def _restore(kind: type[_E], args: tuple[Any, ...], attributes: dict[str, Any]) -> _E:
    try:
        error = kind(*args)
    except TypeError:  # a class of the user's, with other arguments
        error = kind.__new__(kind, *args)
    error.args = args  # a text with braces stays as it is
    error.__dict__.update(attributes)
    if "__notes__" in attributes:
        error.__notes__ = list(attributes["__notes__"])
    return error


def chain(error: BaseException, outer: BaseException | None = None) -> list[BaseException]:
    """Return *error* and all that it wraps, the outermost first; not *outer*, which was being handled before."""
    found, seen = [error], {id(error), id(outer)}
    for each in found:  # and those that are added meanwhile
        wrapped = [getattr(each, name, None) for name in ("reason", "original_error", "__cause__", "__context__")]
        for inner in (*each.args, *wrapped):
            if isinstance(inner, BaseException) and id(inner) not in seen and len(found) < _LONGEST_CHAIN:
                seen.add(id(inner))
                found.append(inner)
    return found
