"""Lends a user's session or client to one token request, without what belongs to the user's other requests."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["copy_with", "lent"]


def copy_with(original: Any, changes: Mapping[str, Any]) -> Any:
    """Copy *original*, attribute by attribute and without any call of its class, with *changes*."""
    copy = object.__new__(type(original))
    vars(copy).update(vars(original), **changes)
    return copy


@contextlib.contextmanager
def lent(original: Any, changes: Mapping[str, Any]) -> Iterator[Any]:
    """Lend a copy of a session or client with *changes*; what a class of the user's sets on it is kept on *original*.

    What cannot be copied, such as a proxy object, is lent itself.
    """
    # A class of the user's may close itself when it is deleted: the connections are the original's.
    changes = {"close": _nothing, **changes}
    try:
        copy = copy_with(original, changes)
    except TypeError:
        yield original
        return
    attributes = vars(copy)
    for name in attributes.keys() - changes.keys():
        attributes[name] = _rebound(attributes[name], original, copy)
    before = dict(attributes)
    try:
        yield copy
    finally:
        for name, value in attributes.items():
            if before.get(name, _nothing) is not value and name not in changes:
                vars(original)[name] = value


def _nothing() -> None:
    pass


def _rebound(value: Any, original: Any, copy: Any) -> Any:
    """*value* with *copy* in place of *original*, if it is one of its methods: users replace them on the object."""
    if isinstance(value, functools.partial):
        return functools.partial(_rebound(value.func, original, copy), *value.args, **value.keywords)
    if isinstance(value, types.MethodType) and value.__self__ is original:
        return types.MethodType(value.__func__, copy)
    return value
