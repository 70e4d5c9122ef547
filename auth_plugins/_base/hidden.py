"""Strings whose repr does not show them."""

from __future__ import annotations

from typing import Any


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
