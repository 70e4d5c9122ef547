"""What an error reporter stores of an error: the variables of each frame that it passed through."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import auth_plugins

PACKAGE = str(Path(auth_plugins.__file__).parent)


def variables_of(error: BaseException | None) -> str:
    """The variables of the package's frames in *error*, its causes and contexts, as a reporter writes them.

    Frames of code that dataclasses made count as well; those of the test itself do not.
    """
    seen: list[str] = []
    chain = [error]
    for link in chain:
        if link is None:
            continue
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename.startswith((PACKAGE, "<string>")):
                seen += [f"{name}={text}" for name, value in frame.f_locals.items() for text in _texts(value)]
        chain += [each for each in (link.__cause__, link.__context__) if each not in chain]
    return "\n".join(seen)


def _texts(value: Any) -> Iterator[str]:
    """The value's repr; of a mapping or a sequence those of what it holds, as reporters descend into them."""
    if isinstance(value, Mapping):
        for item in value.items():
            for each in item:
                yield from _texts(each)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _texts(each)
    else:
        yield repr(value)
