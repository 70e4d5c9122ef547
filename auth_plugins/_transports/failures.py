"""Makes a library's error a :class:`TokenTransportError`, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auth_plugins._base.errors import TokenTransportError

from .reasons import chain, reason_of

if TYPE_CHECKING:
    from .attempt import Attempt

__all__ = ["to_transport_error"]

#: Characters of a library's error in the cause, and in the message: it may quote what the server sent.
_LONGEST_CAUSE, _LONGEST_REASON = 300, 120


def to_transport_error(
    attempt: Attempt, error: BaseException, outer: BaseException | None, library_error: type[Exception]
) -> TokenTransportError:
    """Return the error to raise for *error*.

    Its cause is a new error of the library: the request, URL and causes of the original one hold secrets.

    :param outer: the error that was being handled before the request; it is no cause of this one.
    """
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
    from auth_plugins._protocol.messages import redacted_excerpt

    request = attempt.request
    query = request.url.partition("?")[2]
    text = text.replace(request.url, request.endpoint)
    return redacted_excerpt(request, text.replace(query, "…") if query else text, longest)
