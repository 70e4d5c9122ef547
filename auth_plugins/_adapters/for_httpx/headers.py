"""Headers of httpx of which one stays within its origin; this imports neither httpx nor httpx2."""

from __future__ import annotations

import sys
from typing import Any


class OriginBoundHeaders:
    """Mixed into a library's ``Headers``: one header is not copied to other origins, and ``repr`` does not show it.

    On a redirect to another origin httpx copies all headers, removes ``Authorization`` alone (and not even that from
    ``http://`` to ``https://``), and replaces ``Host``. An auth flow has no part in it. So the name of our header
    equals ``Host`` for that one step, which thereby removes it. There is no state: other threads may read meanwhile.
    """

    _list: list[tuple[bytes, bytes, bytes]]

    def __init__(self, headers: Any, name: str, value: str) -> None:
        super().__init__(headers)  # type: ignore[call-arg]  # of the library's class
        key = _BoundKey(name.encode("ascii"))
        bound = key.lower()
        self._list = [entry for entry in self._list if entry[1] != bound]
        self._list.append((key, bound, value.encode("latin-1")))

    def __setitem__(self, key: str, value: str) -> None:
        bound = {bytes(name) for _, name, _ in self._list if isinstance(name, _BoundName)}
        super().__setitem__(key, value)  # type: ignore[misc]  # of the library's class
        self._list = [
            (_BoundKey(raw), _BoundName(name), content) if name in bound else (raw, name, content)
            for raw, name, content in self._list
        ]

    def __repr__(self) -> str:
        own: Any = self
        shown = own.copy()
        for _, name, _ in self._list:
            if isinstance(name, _BoundName):
                shown[name.decode("ascii")] = "[secure]"
        return repr(shown)


class _BoundName(bytes):
    """The name of a header, which copies of the headers hold as well."""

    __slots__ = ()
    __hash__ = bytes.__hash__

    def __eq__(self, other: object) -> bool:
        return True if other == b"host" and _library_sets_a_header() else super().__eq__(other)


class _BoundKey(bytes):
    """The header as it is sent: headers that the library makes of ``Headers.raw`` get their names from ``lower()``."""

    __slots__ = ()

    def lower(self) -> _BoundName:
        return _BoundName(super().lower())


def _library_sets_a_header() -> bool:
    """Return whether the comparison is made by ``Headers.__setitem__``, which httpx itself calls."""
    frame = sys._getframe(2)
    # A comprehension, in which it may be made, has a frame of its own until Python 3.11.
    setter = next((each for each in (frame, frame.f_back) if each and each.f_code.co_name == "__setitem__"), None)
    caller = setter and setter.f_back
    return str(caller and caller.f_globals.get("__name__")).partition(".")[0] in ("httpx", "httpx2")
