"""Bodies and cookies of httpx where a request is replayed; this imports neither httpx nor httpx2."""

from __future__ import annotations

import contextlib
from typing import Any


def read(refusal: Any) -> None:
    """Read *refusal*, so that its connection is free. A body that breaks off is dropped, as nothing needs it."""
    try:
        refusal.read()
    except Exception:
        refusal._content = b""
        with contextlib.suppress(Exception):
            refusal.close()


async def aread(refusal: Any, byte_stream: type[Any]) -> None:
    """Do the same as :func:`read`, by way of a *byte_stream*, the library's class of a body that is bytes."""
    if hasattr(refusal, "_content"):  # an event hook read it
        return
    try:
        # In steps: where decoding fails, Response.aread() leaves an async generator behind, of which trio warns.
        refusal.stream = byte_stream(b"".join([part async for part in refusal.aiter_raw()]))
        refusal.is_closed = refusal.is_stream_consumed = False
        refusal.read()
    except Exception:
        refusal._content = b""
        with contextlib.suppress(Exception):
            await refusal.aclose()


def add_cookies(request: Any, refusal: Any) -> None:
    """Put the cookies that *refusal* set on *request*, in place of older ones of the same names."""
    cookies = refusal.cookies
    if not cookies:
        return
    before = request.headers.pop("Cookie", "")
    cookies.set_cookie_header(request)
    after = request.headers.get("Cookie", "")
    names = {pair.partition("=")[0].strip() for pair in after.split(";")}
    kept = [pair.strip() for pair in before.split(";") if pair.partition("=")[0].strip() not in names]
    if together := "; ".join(filter(None, [*kept, after])):
        request.headers["Cookie"] = together


def rewind(stream: Any, position: int | None) -> bool:
    """Rewind *stream* to its *position*, and return whether it can be sent again: a consumed generator cannot."""
    fields = getattr(stream, "fields", None)
    if fields is not None:  # multipart, which rewinds each of its files itself
        return all(_is_seekable(getattr(field, "file", b"")) for field in fields)
    body = getattr(stream, "_stream", None)
    if position is None:
        return isinstance(body, (bytes, list, tuple))
    try:
        body.seek(position)  # type: ignore[union-attr]  # it has a position
    except Exception:  # a class of the user's may raise anything
        return False
    return True


def _is_seekable(file: Any) -> bool:
    try:
        return isinstance(file, (bytes, str)) or (hasattr(file, "seekable") and bool(file.seekable()))
    except Exception:  # it was closed, or is of a class of the user's
        return False
