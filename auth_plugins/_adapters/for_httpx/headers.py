"""Headers of httpx of which one stays within its origin; this imports neither httpx nor httpx2."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class OriginBoundHeaders:
    """Mixed into a library's ``Headers``: one header is not copied to other origins, and ``repr`` does not show it.

    On a redirect to another origin httpx copies all headers, removes ``Authorization`` alone (and not even that from
    ``http://`` to ``https://``), and replaces ``Host``. An auth flow has no part in it. So the name of our header
    equals ``Host`` for that one step, which thereby removes it. There is no state: other threads may read meanwhile.
    """

    _list: list[tuple[bytes, bytes, bytes]]

    def __init__(self, headers: Any, name: str, value: str, renew: Renew | None = None) -> None:
        super().__init__(headers)  # type: ignore[call-arg]  # of the library's class
        key = _BoundKey(name.encode("ascii")) if renew is None else _RenewedKey(name.encode("ascii"), renew)
        bound = key.lower()
        self._list = [entry for entry in self._list if entry[1] != bound]
        self._list.append((key, bound, value.encode("latin-1")))

    def __setitem__(self, key: str, value: str) -> None:
        bound = {bytes(name) for _, name, _ in self._list if isinstance(name, _BoundName)}
        super().__setitem__(key, value)  # type: ignore[misc]  # of the library's class
        self._list = [
            (raw, name, content)
            if isinstance(name, _BoundName) or name not in bound
            else (_BoundKey(raw), _BoundName(name), content)
            for raw, name, content in self._list
        ]

    def __repr__(self) -> str:
        own: Any = self
        shown = own.copy()
        for _, name, _ in self._list:
            if isinstance(name, _BoundName):
                shown[name.decode("ascii")] = "[secure]"
        return repr(shown)


#: Returns the value of a header for the next hop of a redirect, from its headers, method and URL; ``None``: the same.
Renew = Callable[[Any, str, Any], str | None]


class _BoundName(bytes):
    """The name of a header, which copies of the headers hold as well."""

    __slots__ = ()
    __hash__ = bytes.__hash__
    renew: Renew | None = None

    def __eq__(self, other: object) -> bool:
        if other == b"host" and _library_sets_a_header():
            return True
        if self.renew is not None and other == b"cookie":
            self._renew_on_redirect(self.renew)
        return super().__eq__(other)

    def _renew_on_redirect(self, renew: Renew) -> None:
        """Replace the value where the library makes the headers of a redirect, from which it removes ``Cookie``."""
        frame: FrameType | None = sys._getframe(2)
        for _ in range(_REDIRECT_DEPTH):
            if frame is not None and frame.f_code.co_name != "_redirect_headers":
                frame = frame.f_back
        if frame is None or frame.f_code.co_name != "_redirect_headers" or not _is_of_library(frame):
            return
        with contextlib.suppress(Exception):  # the old value may be refused, and that is answered
            headers: Any = frame.f_locals["headers"]
            value = renew(headers, frame.f_locals["method"], frame.f_locals["url"])
            headers._list = [
                (raw, name, value.encode("latin-1")) if name is self and value is not None else (raw, name, content)
                for raw, name, content in headers._list
            ]


class _BoundKey(bytes):
    """The header as it is sent: headers that the library makes of ``Headers.raw`` get their names from ``lower()``."""

    __slots__ = ()

    def lower(self) -> _BoundName:
        return _BoundName(super().lower())


class _RenewedName(_BoundName):
    """The name of a header that has another value on the next hop of a redirect."""

    def __new__(cls, name: bytes, renew: Renew) -> Self:
        made = super().__new__(cls, name)
        made.renew = renew
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _BoundName, (bytes(self),)  # another process has another key


class _RenewedKey(_BoundKey):
    def __new__(cls, name: bytes, renew: Renew) -> Self:
        made = super().__new__(cls, name)
        made._renew = renew
        return made

    _renew: Renew

    def __reduce__(self) -> tuple[Any, ...]:
        return _BoundKey, (bytes(self),)

    def lower(self) -> _BoundName:
        return _RenewedName(bytes(self).lower(), self._renew)


#: Calls between what removes a header and what compares its name.
_REDIRECT_DEPTH = 5


def _library_sets_a_header() -> bool:
    """Return whether the comparison is made by ``Headers.__setitem__``, which httpx itself calls."""
    frame = sys._getframe(2)
    # A comprehension, in which it may be made, has a frame of its own until Python 3.11.
    setter = next((each for each in (frame, frame.f_back) if each and each.f_code.co_name == "__setitem__"), None)
    caller = setter and setter.f_back
    return caller is not None and _is_of_library(caller)


def _is_of_library(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in ("httpx", "httpx2")
