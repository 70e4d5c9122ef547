"""Reads the answer to a token request: no more of it than needed, as it arrives, and unpacked with care."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from auth_plugins._base.runtime import runtime

from .deadline import Deadline

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenResponse

#: For :mod:`zlib`: gzip, or deflate in the frame that HTTP wants; and deflate without it.
_GZIP_OR_DEFLATE, _BARE_DEFLATE = 47, -15
_GZIP_BEGIN = b"\x1f\x8b"


def read_response(
    status: int, headers: Any, chunks: Iterable[bytes], deadline: Deadline, *, packed: bool = False
) -> TokenResponse:
    """Read an answer.

    :param chunks: the body as it arrives.
    :param packed: whether the chunks are still packed as the header ``Content-Encoding`` says.
    :raises TimeoutError: it did not end before *deadline*.
    """
    from auth_plugins._protocol.messages import LONGEST_BODY, TokenResponse

    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    coding = lowered.get("content-encoding", "").strip().lower()
    if packed and coding in ("gzip", "x-gzip", "deflate"):
        chunks, packed = _unpacked(chunks, LONGEST_BODY + 1), False
    body = bytearray()
    try:
        for chunk in chunks:
            body += chunk
            if len(body) > LONGEST_BODY:
                break
            deadline.check()
    except zlib.error:
        packed = True
    if not packed or coding in ("", "identity"):  # otherwise the error message names it
        lowered.pop("content-encoding", None)
    # A connection that was shut down at the deadline looks like one that ended.
    deadline.check()
    return TokenResponse(
        status=status, headers=lowered, body=bytes(body[: LONGEST_BODY + 1]), received_at=runtime.clock.time()
    )


def _unpacked(chunks: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """Yield the unpacked chunks, each of at most *longest* bytes, of which a caller needs no more.

    What follows the end is not waited for.
    """
    unpacker, chunk = zlib.decompressobj(_GZIP_OR_DEFLATE), b""
    for number, chunk in enumerate(chunks):
        packed = chunk
        while packed:
            try:
                yield unpacker.decompress(packed, longest)
            except zlib.error:
                if number:
                    raise
                # Some servers send deflate without its frame (RFC 9110 §8.4.1.2).
                unpacker = zlib.decompressobj(_BARE_DEFLATE)
                yield unpacker.decompress(packed, longest)
            packed = unpacker.unused_data
            if unpacker.eof:
                if not packed.startswith(_GZIP_BEGIN):
                    return
                unpacker = zlib.decompressobj(_GZIP_OR_DEFLATE)
    if chunk:
        raise zlib.error("it was cut off")
