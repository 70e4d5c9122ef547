"""A login that no option describes: the user's own function."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from auth_plugins._base.errors import AuthError, ConfigurationError, TokenRequestError, TokenTransportError
from auth_plugins._base.hidden import hidden
from auth_plugins._base.runtime import runtime
from auth_plugins._base.validation import check_id
from auth_plugins._protocol.answers import is_printable, read
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from auth_plugins._protocol.redaction import Redactor
from auth_plugins._protocol.tokens import Token

from .base import Ask
from .frozen import Checks, FrozenGrant

#: Errors of requests, httpx and httpx2 that say that there was no answer.
_UNREACHABLE = {
    "requests": ("ConnectionError", "Timeout", "ChunkedEncodingError"),
    **dict.fromkeys(("httpx", "httpx2"), ("TransportError",)),
}
_RETURN = "return a str, a Token, or a mapping with the members of RFC 6749 §5.1"


def _check_function(argument: str, function: Any) -> Any:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
        problem = "must be a plain function, got a coroutine function"
        raise ConfigurationError(problem, argument=argument, advice="it runs in a thread of its own: let it block")
    if not callable(function):
        problem = f"must be a function without arguments, got {type(function).__name__}"
        raise ConfigurationError(problem, argument=argument, advice="give the function itself, not its result")
    return function


def _check_key(argument: str, key: Any) -> Any:
    return hidden(check_id(argument, key))  # it may be made of credentials


@dataclass(frozen=True, eq=False, repr=False)
class Custom(FrozenGrant):
    """Get tokens by a function of your own, for a login that no option describes.

    :param fetch: a function without arguments that gets a token. It returns a str (the access token), a mapping with
        the members of RFC 6749 §5.1, or a :class:`Token`. A refresh token in it is not used. At most one thread of the
        process calls it at a time, whenever a token is needed, and never on an event loop: it may block. Give its
        requests a timeout.
    :param key: a name for the credential: grants with equal names are equal, and share their token, in shared caches as
        well. Give each account its own. ``None`` (the default): the function itself is what makes grants equal, and a
        shared cache is an error, as other processes cannot know the function.
    :raises ConfigurationError: an argument cannot work.

    What *fetch* raises: an :class:`AuthError` is raised as it is. An ``OSError``, or an error of requests, httpx and
    httpx2 for a failed connection or a timeout, becomes a :class:`TokenTransportError`. Any other error, that for an
    HTTP status (``raise_for_status()``) included, becomes a :class:`TokenRequestError`, and so does a result that is no
    token: it is raised again for 5 to 60 seconds without another call. ``__cause__`` is the error of *fetch*.
    """

    fetch: Callable[[], str | Mapping[str, Any] | Token]
    _: KW_ONLY
    key: str | None = field(default=None)

    sends_token_requests = False
    _checks: ClassVar[Checks] = {"fetch": _check_function, "key": _check_key}

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            hash(self)
        except TypeError:
            problem = "must be a function that can be hashed"
            raise ConfigurationError(problem, argument="fetch", advice="give {key} as well") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_name(self.fetch)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self._credential() == other._credential() and self._other_attributes() == other._other_attributes()

    def __hash__(self) -> int:
        return hash((type(self), self._credential()))

    def _credential(self) -> tuple[str | None, object]:
        return (None, self.fetch) if self.key is None else (self.key, None)

    @property
    def unshared_reason(self) -> tuple[str, str]:
        if self.key is not None:
            return "", ""
        problem = "shared with other processes needs a {key}: by it they know which credential a token is for"
        return problem, f"give {type(self).__name__}(..., key=...), or a MemoryCache, or no {{cache}}"

    def secrets(self) -> tuple[str, ...]:
        return ()  # the function keeps them

    def identity(self) -> Mapping[str, Any] | None:
        if self.key is None:
            return None
        members = {"grant": type(self).__qualname__, "of": type(self).__module__, "key": self.key}
        return {**self._other_attributes(), **members}

    def request_token(self, ask: Ask) -> Token:
        """Return the token that the function gets."""
        name = f"{type(self).__name__} ({_name(self.fetch)})"
        with _turn(self, getattr(ask, "deadline", runtime.clock.monotonic()) - runtime.clock.monotonic()):
            now = runtime.clock.time()
            outcome: Token | AuthError
            try:
                outcome = _token_of(name, self.fetch(), now)
            except AuthError:
                raise
            except Exception as error:
                outcome = _error_of(name, error, now)
        if isinstance(outcome, Token):
            return outcome
        # Not in the ``except`` block, where the cause would be the context as well, and not from frames with tokens.
        raise outcome from outcome.__cause__


def _name(function: Any) -> str:
    # The repr of a partial, or of another object, may hold secrets.
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _token_of(name: str, result: object, now: float) -> Token | TokenRequestError:
    """Return the token that a function returned, or the error for what is none."""
    if isinstance(result, Token):
        return _checked(name, result, now)
    members = {"access_token": result} if isinstance(result, str) else result
    if not isinstance(members, Mapping):
        if inspect.iscoroutine(result):
            result.close()  # else it warns that it was never awaited
        return TokenRequestError(f"{name} returned a {type(result).__name__}, which is no token", advice=_RETURN)
    try:
        body = json.dumps(dict(members), default=_plain).encode()
    except (TypeError, ValueError, RecursionError):
        return TokenRequestError(f"{name} returned a mapping that JSON cannot hold", advice=_RETURN)
    # Its text names the function where others name the token endpoint.
    request = TokenRequest(method="POST", url=name, headers={}, body=b"", redact=Redactor(()))
    try:
        token = read(request, TokenResponse(status=200, headers={}, body=body, received_at=now), now)
    except TokenRequestError as error:
        return TokenRequestError(
            error.problem,
            error=error.error,
            description=error.description,
            uri=error.uri,
            extra=error.extra,
            advice="" if error.error else _RETURN,
        )
    return _checked(name, token, now)


def _plain(value: object) -> object:
    """Return what JSON can hold of a *value*: of a date, for example, as ``expires_at``."""
    if isinstance(value, Mapping):
        return dict(value)
    if callable(as_text := getattr(value, "isoformat", None)):
        return as_text()
    return float(value)  # type: ignore[arg-type]  # a TypeError is caught


def _checked(name: str, token: Token, now: float) -> Token | TokenRequestError:
    """Return *token* without its refresh token, or the error for one that cannot be used."""
    if not is_printable(token.access_token):
        problem = "returned an access_token that cannot stand in a header"
        return TokenRequestError(f"{name} {problem}", advice=_RETURN)
    for member in ("expires_at", "issued_at"):
        moment = getattr(token, member)
        is_number = isinstance(moment, (int, float)) and not isinstance(moment, bool) and math.isfinite(moment)
        if not is_number and not (member == "expires_at" and moment is None):
            return TokenRequestError(f"{name} returned an {member} that is no finite number of Unix seconds")
    # Its lifetime counts from its issue.
    return Token(**{**token.members(), "refresh_token": None, "issued_at": token.issued_at or now})


def _error_of(name: str, error: Exception, now: float) -> TokenRequestError | TokenTransportError:
    """Return the error that stands for *error*, which a function raised; its text may hold a secret."""
    problem, advice = f"{name} raised {type(error).__name__}", "its cause says more"
    response = getattr(error, "response", None)  # of requests and httpx, if the status was an error
    status = getattr(response if response is not None else error, "code" if response is None else "status_code", None)
    outcome: TokenRequestError | TokenTransportError
    if isinstance(status, int) and 100 <= status <= 599:
        headers = getattr(response if response is not None else error, "headers", None) or {}
        answer = TokenResponse(
            status=status, headers={"retry-after": str(headers.get("Retry-After") or "")}, body=b"", received_at=now
        )
        outcome = TokenRequestError(
            f"{problem} for an answer {status}", status_code=status, retry_after=answer.retry_after, advice=advice
        )
    elif _is_unreachable(error):
        outcome = TokenTransportError(problem, advice=advice)
    else:
        outcome = TokenRequestError(problem, advice=advice)
    outcome.__cause__ = error
    return outcome


def _is_unreachable(error: Exception) -> bool:
    classes = {(base.__module__.partition(".")[0], base.__name__) for base in type(error).__mro__}
    if any((library, name) in classes for library, names in _UNREACHABLE.items() for name in names):
        return True
    # A URL or an answer that cannot be read is an error of requests as well, and so an OSError.
    return isinstance(error, OSError) and not isinstance(error, ValueError)


class _Turn:
    """Whose turn it is to call a function: one thread's at a time, whatever cache its grants use."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        #: The id of the thread that holds the lock.
        self.owner: int | None = None


_turns: weakref.WeakValueDictionary[Custom, _Turn] = weakref.WeakValueDictionary()
_turns_lock = threading.RLock()


@contextlib.contextmanager
def _turn(grant: Custom, seconds: float) -> Iterator[None]:
    """Let this thread alone call the function of *grant*: the last call may go on, although nothing waits for it.

    A lock over I/O, as the promise is that there is one call at a time.

    :param seconds: how long to wait for the last call.
    """
    with _turns_lock:
        turn = _turns.setdefault(grant, _Turn())
    if turn.owner == threading.get_ident():
        raise ConfigurationError(
            f"the function {_name(grant.fetch)} needs the very token that it gets; let it do without this auth"
        )
    if not turn.lock.acquire(timeout=max(0.0, seconds)):
        raise TokenTransportError(
            f"the function {_name(grant.fetch)} still runs in another thread; give its requests a timeout"
        )
    turn.owner = threading.get_ident()
    try:
        yield
    finally:
        turn.owner = None
        turn.lock.release()


def _after_fork() -> None:
    # The threads that held the locks do not exist in the child.
    global _turns_lock  # noqa: PLW0603
    _turns_lock = threading.RLock()
    _turns.clear()


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
