"""What an API answered, where a flow of httpx is closed before it gets the response; this imports neither library."""

from __future__ import annotations

import contextlib
import sys
import traceback
from types import ModuleType
from typing import Any

from auth_plugins._base.errors import chain


def responses_behind(request: Any, library: ModuleType) -> list[Any]:
    """Return the responses that the error which closes a flow knows.

    An event hook or transport that raises for a bad status closes the flow before it gets the response. The library
    handles that error meanwhile, in the caller's frame. An async flow of the user's around this one hides it.

    First those to *request* that the error, or what it was raised from, holds, as ``HTTPStatusError`` does; then those
    that the library's functions had, newest first. Cancellation and Ctrl-C say nothing of a response.
    """
    error = sys.exc_info()[1]
    while isinstance(error, GeneratorExit):  # the closing of a flow of the user's around this one
        error = error.__context__
    if not isinstance(error, Exception):
        return []
    found: list[Any] = []
    with contextlib.suppress(Exception):  # attributes of a user's own class
        held = [getattr(each, "response", None) for each in chain(error)]
        found = [response for response in held if getattr(response, "_request", None) is request]
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    found += [
        frame.f_locals.get("response")
        for frame in reversed(frames)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == library.__name__
    ]
    return [response for response in found if isinstance(response, library.Response)]
