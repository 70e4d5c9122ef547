"""Values that look as if something was pasted along with them; no I/O but for callables and files of the values."""

from __future__ import annotations

from collections.abc import Iterator

from auth_plugins._base.validation import resolve_secret
from auth_plugins._grants.base import Grant

__all__ = ["slips"]

#: The arguments of grants that a person is given, and copies.
_COPIED = ("client_id", "client_secret", "username", "password", "refresh_token", "scope", "value")
#: Straight ones, and those that a word processor makes of them.
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"


def slips(grant: Grant) -> Iterator[tuple[str, str]]:
    """The names of such arguments of *grant*, each with what is odd about its value.

    :raises ConfigurationError: a secret cannot be read.
    """
    for name in _COPIED:
        value = getattr(grant, name, None)
        if value is not None and (what := _oddity(resolve_secret(name, value) if callable(value) else value)):
            yield name, what


def _oddity(text: str) -> str | None:
    for where, char in (("begins", text[:1]), ("ends", text[-1:])):
        if char.isspace() or not char.isprintable():
            return f"{where} with a space or an invisible character"
        if char in _QUOTES:
            return f"{where} with a quotation mark"
    return None
