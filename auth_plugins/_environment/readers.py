"""The values of variables: what each may be, and what it means."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from auth_plugins import providers
from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hosts import AllowedHosts
from auth_plugins._base.validation import CLIENT_AUTH, ENCODINGS, METHODS, check_header
from auth_plugins._caches.file import FileCache
from auth_plugins._caches.redis import RedisCache

from .names import GRANT_TYPES

#: Reads the text of a variable, and returns ``None`` if it is not valid; and what is expected, for the error.
_Reader = tuple[Callable[[str], Any], str]

_SWITCHES = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _choice(*values: str) -> _Reader:
    def fold(value: str) -> str:
        return value.lower().replace("_", "-")

    folded = {fold(value): value for value in values}
    return lambda value: folded.get(fold(value)), " or ".join(values)


_SWITCH: _Reader = (lambda value: _SWITCHES.get(value.lower()), "true or false")


def _seconds(value: str) -> float | None:
    # float() alone accepts too much, and its error holds the value.
    return float(value) if re.fullmatch(r"\d{1,9}(\.\d{0,9})?|\.\d{1,9}", value, re.ASCII) else None


def _words(value: str) -> list[str] | None:
    return value.replace(",", " ").split() or None


def _checked(read: Callable[[str], Any], check: Callable[[Any], object]) -> Callable[[str], Any]:
    """Return a reader for what *check* accepts."""

    def checked(value: str) -> Any:
        try:
            check(meaning := read(value))
        except ConfigurationError:
            return None
        return meaning

    return checked


def _cache(value: str) -> tuple[Callable[..., Any] | None, tuple[str, ...]] | None:
    """Return the class of a cache, ``None`` for memory, and its positional arguments."""
    kind, colon, rest = value.partition(":")
    kind = kind.lower()
    if kind == "memory" and not colon:
        return None, ()
    if kind == "file" and bool(colon) == bool(rest.strip()):
        return FileCache, (rest,) if rest else ()
    return (RedisCache, (value,)) if kind in ("redis", "rediss", "unix") and colon else None


READERS: Mapping[str, _Reader] = {
    "PROVIDER": _choice(*providers.BY_NAME),
    "STAGING": _SWITCH,
    "CREDENTIALS": _choice("header", "query"),
    "GRANT_TYPE": _choice(*GRANT_TYPES),
    "RESOURCE": (_words, "URIs, separated by spaces"),
    "CLIENT_AUTH": _choice(*CLIENT_AUTH),
    "ENCODING": _choice(*ENCODINGS),
    "METHOD": _choice(*METHODS),
    "API_KEY_HEADER": (_checked(str, lambda name: check_header(name, "")), "the name of a header, such as X-API-Key"),
    "CACHE": (_cache, "memory, file, file:PATH, redis://HOST:6379/0 or rediss://..."),
    "ALLOWED_HOSTS": (
        _checked(lambda value: _words(value) or [], AllowedHosts),
        "hosts, such as api.example.com, *.example.com or 127.0.0.1:8080, separated by commas",
    ),
    "ALLOW_HTTP": _SWITCH,
    "LEEWAY": (_seconds, "seconds, such as 60, or 0"),
    "REFRESH_AHEAD": _SWITCH,
    "TIMEOUT": (lambda value: _seconds(value) or None, "seconds, such as 10"),
}
