"""What a 401 means, whatever the library: the token is rejected, and the request may be replayed with another."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource

# What follows a 401, in the log.
NO_BODY = "the token is given up; the body cannot be read a second time, so the request is not sent again"
NO_CONNECTION = "its adapter names no connection, so it is not sent again"

_log = logging.getLogger("auth_plugins")


def may_be_replayed(request: Any, source: TokenSource, token: Token, obstacle: str) -> bool:
    """Reject *token*, and return whether *request* can be sent again; *obstacle* says why not.

    The token is rejected whatever the obstacle: the next request needs another.
    """
    if not source.reject(token):
        obstacle = "new tokens are rejected as well, so no other is requested for now"
    if obstacle:
        _log_refusal(request, obstacle)
    return not obstacle


def is_replayed(request: Any, source: TokenSource, token: Token, fresh: Token) -> bool:
    """Return whether *fresh*, obtained in the place of a rejected *token*, is worth sending *request* again."""
    if fresh != token:
        _log_refusal(request, "a new token was obtained, and the request is sent again")
        return True
    # A constant key, read again, is the same. A probation would put off the next reading.
    source.accept(fresh)
    _log_refusal(request, "the key is still the same, so the request is not sent again")
    return False


def _log_refusal(request: Any, outcome: str) -> None:
    # Of the URL only scheme, host, port and path: the rest may hold secrets.
    url = urlsplit(str(request.url))
    host = url.netloc.rpartition("@")[2]
    _log.debug("%s %s://%s%s was answered 401: %s", request.method, url.scheme, host, url.path, outcome)
