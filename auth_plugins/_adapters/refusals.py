"""Which responses of an API refuse a token, and what follows, whatever the library."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._protocol.challenges import bearer_errors
from auth_plugins._protocol.tokens import Token
from auth_plugins._source import rejections
from auth_plugins._source.source import TokenSource

# What follows a refusal, in the log.
NO_BODY = "the token is given up; the body cannot be read a second time, so the request is not sent again"
NO_CONNECTION = "its adapter names no connection, so it is not sent again"
#: Seconds before a token that is younger than :data:`._source.rejections.SETTLES` is sent once more.
SETTLE_PAUSE = 1.0
#: The least status of an error, and the largest that ``refused`` may name: some APIs answer 999.
_ERRORS, _LARGEST = 400, 999

_log = logging.getLogger("auth_plugins")

#: What ``refused=`` takes.
Refused = Iterable[int] | Callable[[Any], bool]


class Verdict(enum.Enum):
    """What a response means for the token that its request carried."""

    ACCEPTED = "it does not refuse the token"
    REFUSED = "a 401, or a challenge says invalid_token: the token is of no use any more"
    DOUBTED = "a rule of refused= says so: the token may be of no use, or permissions are missing"
    UNDECIDED = "the predicate of refused= decides"


class RefusalRules:
    """Tells which responses refuse a token: those of RFC 6750, and those that ``refused=`` adds.

    :param refused: statuses, or a predicate of a response; ``None``: none.
    :raises ConfigurationError: it is neither.
    """

    __slots__ = ("given", "has_predicate", "least", "predicate", "statuses")

    #: Decides on what neither status nor challenge does; set where it is given.
    predicate: Callable[[Any], bool]

    def __init__(self, refused: Refused | None = None) -> None:
        self.statuses: frozenset[int] = frozenset()
        #: The argument, an iterator as a tuple.
        self.given: Refused | None = None
        #: A response of a lower status refuses nothing.
        self.least = _ERRORS
        self.has_predicate = callable(refused)
        if callable(refused):
            self.given = self.predicate = _checked(refused)
            self.least = 0
        elif refused is not None:
            self.given = _statuses(refused)
            self.statuses = frozenset(self.given)
            self.least = min((_ERRORS, *self.statuses))

    def verdict(self, response: Any) -> Verdict:
        """Return what the status and the headers of *response* mean; nothing of its body is read."""
        status = response.status_code
        errors = bearer_errors(response.headers.get("www-authenticate")) if _ERRORS <= status < 500 else ()
        # Another token would have the same scope; or the proof of a DPoP token has to be another one.
        if "insufficient_scope" in errors or "use_dpop_nonce" in errors:
            return Verdict.ACCEPTED
        if status == 401 or "invalid_token" in errors:
            return Verdict.REFUSED
        if status in self.statuses:
            return Verdict.DOUBTED
        return Verdict.UNDECIDED if self.has_predicate else Verdict.ACCEPTED


#: The rules without ``refused=``.
DEFAULT_RULES = RefusalRules()


def _statuses(refused: Any) -> tuple[int, ...]:
    advice = "give statuses such as (403, 419), or a function that takes a response and returns a bool"
    is_text = isinstance(refused, (str, bytes))
    statuses = tuple(refused) if isinstance(refused, Iterable) and not is_text else None
    if statuses is None:
        problem = f"must be statuses or a callable, got an object of type {type(refused).__name__}"
        raise ConfigurationError(problem, argument="refused", advice=advice)
    for status in statuses:
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= _LARGEST:
            problem = f"must hold statuses from 200 to {_LARGEST}, got {_shown(status)}"
            raise ConfigurationError(problem, argument="refused", advice=advice)
    return statuses


def _shown(status: object) -> str:
    return str(status) if type(status) is int else f"an object of type {type(status).__name__}"


def _checked(predicate: Callable[[Any], bool]) -> Callable[[Any], bool]:
    import inspect  # few programs come here

    if inspect.iscoroutinefunction(predicate) or inspect.iscoroutinefunction(type(predicate).__call__):
        advice = "make it a plain def; where it reads the body, the body is read for it"
        raise ConfigurationError("must return a bool, but is an async def", argument="refused", advice=advice)
    return predicate


def is_repeatable(refusal: Any, source: TokenSource, token: Token, verdict: Verdict, obstacle: str) -> bool:
    """Reject *token*, and return whether the request of *refusal* can be sent again; *obstacle* says why not.

    The token is rejected whatever the obstacle: the next request needs another.
    """
    if not source.reject(token, is_certain=verdict is Verdict.REFUSED):
        obstacle = "new tokens are rejected as well, so no other is requested for now"
    if obstacle:
        log_refusal(refusal, obstacle)
    return not obstacle


def is_restored(refusal: Any, source: TokenSource, token: Token, verdict: Verdict) -> bool:
    """Return whether *token* is used again, as no other can be had, and its *refusal* may be one of permissions."""
    if verdict is not Verdict.DOUBTED:
        return False
    rejections.restore(source, token)
    log_refusal(refusal, "no other token can be had, so this one stays in use, and the request is not sent again")
    return True


def is_replayed(refusal: Any, source: TokenSource, token: Token, fresh: Token) -> bool:
    """Return whether *fresh*, obtained in the place of a rejected *token*, is worth sending the request again."""
    if fresh != token:
        log_refusal(refusal, "a new token was obtained, and the request is sent again")
        return True
    # A constant key, read again, is the same. A probation would put off the next reading.
    source.accept(fresh)
    log_refusal(refusal, "the key is still the same, so the request is not sent again")
    return False


def settles(refusal: Any, source: TokenSource, fresh: Token) -> bool:
    """Return whether the request is sent once more after :data:`SETTLE_PAUSE`, with the *fresh* token again.

    Some servers tell their APIs of a new token a moment after they issued it.
    """
    if not rejections.settles(source, fresh):
        return False
    log_refusal(refusal, f"the token is new, so the request is sent once more in {SETTLE_PAUSE:.0f} s")
    return True


def log_refusal(refusal: Any, outcome: str) -> None:
    """Log at DEBUG what follows *refusal*."""
    # Of the URL only scheme, host, port and path: the rest may hold secrets.
    request, status = refusal.request, refusal.status_code
    url = urlsplit(str(request.url))
    host = url.netloc.rpartition("@")[2]
    _log.debug("%s %s://%s%s was answered %d: %s", request.method, url.scheme, host, url.path, status, outcome)
