"""Sends a token request once, whatever a user's session does, and makes each failure an error of this package."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auth_plugins._base.errors import AuthError, TokenTransportError, chain
from auth_plugins._base.hosts import is_loopback
from auth_plugins._base.loading import small_imports

from .bodies import read_response
from .deadline import Deadline

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest, TokenResponse

#: The share of the timeout for connecting to one address: a name may have several.
_CONNECT_SHARE = 1 / 3
#: Characters of a library's error in the cause, and in the message: it may quote what the server sent.
_LONGEST_CAUSE, _LONGEST_REASON = 300, 120


class EndedError(BaseException):
    """Ends a token request that a user's session would go on with.

    It is no ``Exception``: a session that retries after each error would retry after this one as well.
    """


class Attempt:
    """One token request, which is sent once.

    Its retries are counted in one place, as an account may be locked after a few wrong passwords. What the user's
    session sends after the first sending is therefore stopped.
    """

    def __init__(self, request: TokenRequest, timeout: float) -> None:
        self.request = request
        self.deadline = Deadline(timeout)
        #: Seconds in which a connection to one address must be made.
        self.connect_timeout = timeout * _CONNECT_SHARE
        # The answer to a packed request may unpack to any size.
        self.headers = {"Accept-Encoding": "identity", **request.headers}
        own = {name.lower() for name in request.headers}
        #: Headers that a session may add for the API.
        self.foreign_credentials = [name for name in ("Authorization", "Cookie") if name.lower() not in own]
        #: Loopback is never reached through a proxy, which would see secret and token.
        self.is_direct = is_loopback(urlsplit(request.url).hostname or "")
        #: Host and port of the proxy in use; ``None``: none, or an unknown one.
        self.proxy: tuple[str, int] | None = None
        #: Status and headers of the answer.
        self.answer: tuple[int, Mapping[str, str]] | None = None
        #: Why there was no answer.
        self.error: BaseException | None = None
        self._sent: object = None

    def begin(self, sent: object) -> None:
        """Note that *sent* is about to be sent.

        :raises EndedError: it was sent before.
        """
        if self._sent == sent:
            raise EndedError
        # A user's hook may send a request of its own, which differs.
        if self._sent is None:
            self._sent = sent

    def allow_again(self) -> None:
        """Allow another sending: the server did not process this one."""
        self._sent = None

    def cause_of(self, error: BaseException) -> BaseException:
        """Return what *error* means: a connection that the deadline shut down did not fail by itself."""
        if isinstance(error, EndedError) and self.error is not None:
            error = self.error
        is_late = self.deadline.left() < 0 and "timeout" not in type(error).__name__.lower()
        if not is_late and not isinstance(error, EndedError):
            return error
        timeout = TimeoutError("no answer in time")
        timeout.__cause__ = error  # it may say what took so long
        return timeout


def send_once(
    request: TokenRequest, timeout: float, library_error: type[Exception], exchange: Callable[[Attempt], TokenResponse]
) -> TokenResponse:
    """Send *request* by *exchange*, within *timeout* seconds.

    :param library_error: the base class of the transport errors of the library in use.
    :raises TokenTransportError: there was no answer; its cause is a *library_error*.
    """
    attempt, outer = Attempt(request, timeout), sys.exception()
    try:
        with attempt.deadline:
            return exchange(attempt)
    except AuthError:
        raise
    except (Exception, EndedError) as error:
        if isinstance(error, EndedError) and attempt.answer is not None and attempt.deadline.left() >= 0:
            # The session was about to repeat a request that the server had answered.
            return read_response(*attempt.answer, [], Deadline(math.inf))
        failed = attempt.cause_of(error)
    # Not in the ``except`` block, where the library's error, which holds secrets, would become the context.
    try:
        failure = _transport_error(attempt, failed, outer, library_error)
    finally:
        del failed
    raise failure


def _transport_error(
    attempt: Attempt, error: BaseException, outer: BaseException | None, library_error: type[Exception]
) -> TokenTransportError:
    """Return the error to raise for *error*.

    Its cause is a new error of the library: the request, URL and causes of the original one hold secrets.

    :param outer: the error that was being handled before the request; it is no cause of this one.
    """
    with small_imports():
        from .reasons import reason_of  # most programs meet no error
    request = attempt.request
    text = _without_secrets(attempt, str(error), _LONGEST_CAUSE)
    try:
        cause = type(error)(text) if isinstance(error, library_error) else library_error(text)
    except Exception:  # a class with other arguments
        cause = library_error(text)
    reason = reason_of(
        chain(error, outer),
        request.endpoint,
        seconds=attempt.deadline.seconds,
        proxy=attempt.proxy,
        library=library_error.__module__.partition(".")[0],
        tls=request.tls,
    )
    text = _without_secrets(attempt, reason.text, _LONGEST_REASON)
    failure = TokenTransportError(
        f"{request.endpoint} could not be reached ({text})",
        trouble=reason.trouble,
        advice=reason.advice,
        verify_code=reason.verify_code,
    )
    failure.__cause__ = cause
    return failure


def _without_secrets(attempt: Attempt, text: str, longest: int) -> str:
    request = attempt.request
    query = request.url.partition("?")[2]
    text = text.replace(request.url, request.endpoint)
    return request.excerpt(text.replace(query, "…") if query else text, longest)
