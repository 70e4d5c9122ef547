"""Strings that dumps don't show."""

from __future__ import annotations

from typing import Any

__all__ = ["Hidden", "hidden"]


class Hidden(str):
    """A secret that dumps of an object's attributes, and of a frame's variables, don't show; else a str like any."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> tuple[Any, ...]:
        return hidden, (str(self),)


def hidden(secret: Any) -> Any:
    """*secret* as a grant keeps it; a callable, or ``None``, as it is."""
    return Hidden(secret) if isinstance(secret, str) else secret
