"""What an error reporter stores: the variables of each frame of the package that an error passed, or that logs."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import auth_plugins

PACKAGE = Path(auth_plugins.__file__).parent


def variables_of(error: BaseException | None, folder: str = "") -> str:
    """The variables of the package's frames in *error*, its causes and contexts, as a reporter writes them."""
    return variables_in(frames_of(error), folder)


def variables_in(frames: Iterable[FrameType], folder: str = "") -> str:
    """The variables of those of *frames* that are the package's, or those of a *folder* of it.

    Frames of code that dataclasses made count as well; those of the test itself do not.
    """
    return "\n".join(
        f"{name}={text}"
        for frame in frames
        if frame.f_code.co_filename.startswith((str(PACKAGE / folder), "<string>"))
        for name, value in frame.f_locals.items()
        for text in _texts(value)
    )


def frames_of(error: BaseException | None) -> Iterator[FrameType]:
    """All frames that *error*, its causes and contexts passed."""
    chain = [error]
    for link in chain:
        if link is not None:
            yield from (frame for frame, _ in traceback.walk_tb(link.__traceback__))
            chain += [each for each in (link.__cause__, link.__context__) if each not in chain]


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
        try:
            yield repr(value)
        except AttributeError:  # of an object whose __init__ failed
            yield ""
