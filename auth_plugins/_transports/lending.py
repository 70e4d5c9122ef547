"""Lends a user's session or client to one token request, without what belongs to the user's other requests."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any


def copy_with(original: Any, changes: Mapping[str, Any]) -> Any:
    """Copy the attributes of *original*, without a call of its class, and make *changes*."""
    copy = object.__new__(type(original))
    vars(copy).update(vars(original), **changes)
    return copy


@contextlib.contextmanager
def lent(original: Any, changes: Mapping[str, Any]) -> Iterator[Any]:
    """Lend a copy of a session or client with *changes*; other attributes that are set on it are kept on *original*.

    What cannot be copied, such as a proxy object, is lent itself.
    """
    # A user's class may call close() when it is deleted; the connections belong to the original.
    changes = {"close": lambda: None, **changes}
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
        changed = {name: value for name, value in attributes.items() if before.get(name, before) is not value}
        vars(original).update({name: value for name, value in changed.items() if name not in changes})


def _rebound(value: Any, original: Any, copy: Any) -> Any:
    """Bind *value* to *copy* if it is a method of *original*: users replace methods on the object."""
    if isinstance(value, functools.partial):
        return functools.partial(_rebound(value.func, original, copy), *value.args, **value.keywords)
    if isinstance(value, types.MethodType) and value.__self__ is original:
        return types.MethodType(value.__func__, copy)
    return value
