"""Keeps secrets out of dumps: strings whose repr does not show them, and calls without frames that hold them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar, cast

from .errors import ConfigurationError

_F = TypeVar("_F", bound=Callable[..., Any])


class Hidden(str):
    """A secret: a str whose repr is ``'***'``, so that dumps of attributes and of frame variables do not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, key: Any) -> str:
        # rich cuts a long string before it takes the repr.
        return _Part(str.__getitem__(self, key))

    def splitlines(self, keepends: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - as str's
        # devtools wraps a long string before it takes the repr of each line.
        return list(map(_Part, str.splitlines(self, keepends)))


class _Part(Hidden):
    """A part of a secret."""

    __slots__ = ()


def hidden(secret: Any) -> Any:
    """Return a str as :class:`Hidden`; a callable or ``None`` unchanged."""
    return Hidden(secret) if isinstance(secret, str) else secret


def hide_arguments(function: _F) -> _F:
    """Make *function*, or a class, raise ConfigurationErrors and TypeErrors without frames that hold its arguments.

    Error reporters store the variables of each frame, and secrets are among the arguments.
    """
    if isinstance(function, type):
        function.__init__ = hide_arguments(function.__init__)  # type: ignore[misc]
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ConfigurationError as error:
            problem: Exception = error.with_traceback(None)
        except TypeError as error:
            problem = error.with_traceback(_skip_own_frames(error.__traceback__))
        del args, kwargs
        try:
            raise problem
        finally:
            del problem  # a cycle: it holds this frame

    return cast("_F", call)


def _skip_own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return *traceback* from the first frame outside this package: a user's subclass may have caused the error."""
    while traceback and traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "auth_plugins":
        traceback = traceback.tb_next
    return traceback
