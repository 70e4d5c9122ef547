"""What a response of an API means for the token, and what follows, whatever the library; the first error loads it."""

from __future__ import annotations

import enum
import logging
from typing import Any
from urllib.parse import urlsplit

from auth_plugins._protocol.challenges import bearer_errors
from auth_plugins._protocol.tokens import Token
from auth_plugins._source import rejections
from auth_plugins._source.source import TokenSource

from .rules import ERRORS, RefusalRules

# What follows a refusal, in the log.
NO_BODY = "the token is given up; the body cannot be read a second time, so the request is not sent again"
NO_FLOW = "the token is given up; an event hook or transport raised an error, so the request is not sent again"
NO_CONNECTION = "its adapter names no connection, so it is not sent again"
#: Seconds before a token that is younger than :data:`._source.rejections.SETTLES` is sent once more.
SETTLE_PAUSE = 1.0

_log = logging.getLogger("auth_plugins")


class Verdict(enum.Enum):
    """What a response means for the token that its request carried."""

    ACCEPTED = "it does not refuse the token"
    REFUSED = "a 401, or a challenge says invalid_token: the token is of no use any more"
    DOUBTED = "a rule of refused= says so: the token may be of no use, or permissions are missing"
    UNDECIDED = "the predicate of refused= decides"


def verdict_on(response: Any, rules: RefusalRules) -> Verdict:
    """Return what status and headers of *response* mean by RFC 6750 and the *rules*; nothing of its body is read."""
    status = response.status_code
    errors = bearer_errors(response.headers.get("www-authenticate")) if ERRORS <= status < 500 else ()
    # Another token would have the same scope; or the proof of a DPoP token has to be another one.
    if "insufficient_scope" in errors or "use_dpop_nonce" in errors:
        return Verdict.ACCEPTED
    if status == 401 or "invalid_token" in errors:
        return Verdict.REFUSED
    if status in rules.statuses:
        return Verdict.DOUBTED
    return Verdict.UNDECIDED if rules.has_predicate else Verdict.ACCEPTED


def is_repeatable(refusal: Any, source: TokenSource, token: Token, verdict: Verdict, obstacle: str) -> bool:
    """Reject *token*, and return whether the request of *refusal* can be sent again; *obstacle* says why not.

    The token is rejected whatever the obstacle: the next request needs another.
    """
    is_certain = verdict is Verdict.REFUSED
    if not source.reject(token, is_certain=is_certain):
        obstacle = "new tokens are rejected as well, so no other is requested for now"
    elif obstacle and is_certain:
        rejections.withdraw(source, token)
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
