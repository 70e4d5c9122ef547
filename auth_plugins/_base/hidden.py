"""Strings that dumps don't show."""

from __future__ import annotations

from typing import Any

__all__ = ["Hidden", "hidden"]


class Hidden(str):
    """A secret that dumps of an object's attributes, and of a frame's variables, don't show; else a str like any."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __getitem__(self, key: Any) -> str:
        # rich cuts a long string before it asks for its repr.
        return _Part(str.__getitem__(self, key))

    def splitlines(self, keepends: bool = False) -> list[str]:  # noqa: FBT001, FBT002 - as str's
        # devtools wraps a long string before it asks for the repr of each line.
        return list(map(_Part, str.splitlines(self, keepends)))

    def __reduce__(self) -> tuple[Any, ...]:
        return hidden, (str(self),)


class _Part(Hidden):
    """A part of a secret."""

    __slots__ = ()


def hidden(secret: Any) -> Any:
    """*secret* as a grant keeps it; a callable, or ``None``, as it is."""
    return Hidden(secret) if isinstance(secret, str) else secret
