"""Copies of errors to be kept: a traceback would keep the variables of all its frames in memory."""

from __future__ import annotations

import copy
from typing import TypeVar

from .errors import AuthError, copy_error

_E = TypeVar("_E", bound=AuthError)


def without_frames(error: _E) -> _E:
    """Return a copy of *error* and its causes, without tracebacks and contexts."""
    kept = copy_error(error, type(error))
    kept.__cause__ = _copy_cause(error.__cause__, depth=5)
    return kept


def _copy_cause(cause: BaseException | None, depth: int) -> BaseException | None:
    if cause is None or depth == 0:
        return None
    if cause.__traceback__ is None and cause.__context__ is None and cause.__cause__ is None:
        return cause
    try:
        kept = _copy(cause)
    except Exception:
        return None
    if type(kept) is not type(cause) or kept is cause:
        return None
    kept.__traceback__ = None
    kept.__cause__ = _copy_cause(cause.__cause__, depth - 1)
    return kept


def _copy(error: BaseException) -> BaseException:
    try:
        return copy.copy(error)
    except TypeError:  # it takes other arguments than its text, as httpx.HTTPStatusError does
        made = type(error).__new__(type(error), *error.args)
        made.__dict__.update(error.__dict__)
        return made
