"""A predicate of ``refused=`` in httpx: the body is read if the predicate reads it; this imports neither library."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def judge(predicate: Callable[[Any], bool], response: Any, byte_stream: type[Any]) -> bool:
    """Return what *predicate* says of *response*; where it needs the body, that is read, and it is asked again."""
    is_refused, needs_body = ask(predicate, response)
    if needs_body:
        _keep(response, b"".join(response.iter_raw()), byte_stream)
        is_refused = bool(predicate(response))
    return is_refused


async def ajudge(predicate: Callable[[Any], bool], response: Any, byte_stream: type[Any]) -> bool:
    """Do the same as :func:`judge` for a response of an ``AsyncClient``."""
    is_refused, needs_body = ask(predicate, response)
    if needs_body:
        _keep(response, b"".join([part async for part in response.aiter_raw()]), byte_stream)
        is_refused = bool(predicate(response))
    return is_refused


def ask(predicate: Callable[[Any], bool], response: Any) -> tuple[bool, bool]:
    """Return what *predicate* says of *response*, and whether it needs the body, which was not read."""
    kind: Any = type(response)
    if hasattr(response, "_content"):
        return bool(predicate(response)), False
    response.__class__ = _unread(kind)
    try:
        is_refused = bool(predicate(response))
    except Exception:
        # Not by the kind of error: a predicate may handle it, or raise its own.
        if not hasattr(response, "_needs_body"):
            raise
        is_refused = False
    finally:
        response.__class__ = kind
    return is_refused, vars(response).pop("_needs_body", False)


@functools.cache
def _unread(kind: type) -> type:
    """Return a class of responses of *kind* that note when their body is needed, and do not read it."""

    class Unread(kind):  # type: ignore[misc]  # of the library's class
        @property
        def content(self) -> Any:
            self._needs_body = True
            return super().content  # which raises the library's error

        def read(self) -> Any:
            return self.content

    return Unread


def _keep(response: Any, raw: bytes, byte_stream: type[Any]) -> None:
    """Give *response* its *raw* body, as if it came from the network just now: the caller may stream it."""
    response.stream = byte_stream(raw)
    response.is_closed = response.is_stream_consumed = False
    response.read()
    response.is_closed = response.is_stream_consumed = False
