"""Takes in the answer to a token request: no more of it than is needed, as it comes, and unpacked with care."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenResponse

    from .deadline import Deadline

__all__ = ["as_they_come", "read_whole"]


def as_they_come(response: Any) -> tuple[Iterable[bytes], bool]:
    """The bytes of a response of requests, and whether they are packed still.

    As they come: ``iter_content`` waits for as many as it was told.
    """
    from urllib3 import HTTPResponse

    raw = response.raw
    if response._content is not False:
        return [response.content], False
    if not isinstance(raw, HTTPResponse):  # such an adapter again
        return response.iter_content(1), False
    if not hasattr(raw, "read1"):  # urllib3 1.26
        raw.enforce_content_length = True  # as later ones do: else a body that was cut off passes for a whole one
        return raw.stream(1, decode_content=False), True
    return iter(lambda: raw.read1(8192, decode_content=False), b""), True


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Take off one layer of gzip or deflate, and of what comes of it no more at once than an answer may have."""
    from auth_plugins._protocol.messages import LONGEST_BODY

    unpacker, chunk = zlib.decompressobj(wbits=47), b""  # either of them
    for number, chunk in enumerate(chunks):
        rest = chunk
        while rest:
            try:
                yield unpacker.decompress(rest, LONGEST_BODY)
            except zlib.error:
                if number:
                    raise
                # Deflate as some servers have it, without the frame that HTTP wants (RFC 9110 §8.4.1.2).
                unpacker = zlib.decompressobj(wbits=-15)
                yield unpacker.decompress(rest, LONGEST_BODY)
            rest = unpacker.unconsumed_tail
            if unpacker.eof:
                rest = unpacker.unused_data
                if not rest.startswith(b"\x1f\x8b"):  # whatever comes after that, and for however long
                    return
                unpacker = zlib.decompressobj(wbits=47)
    if chunk:
        raise zlib.error("it was cut off")


def read_whole(
    status: int, headers: Any, chunks: Iterable[bytes], deadline: Deadline, *, packed: bool = False
) -> TokenResponse:
    """Take in an answer: no more of it than is needed, and no longer than *deadline* allows."""
    from auth_plugins._protocol.messages import LONGEST_BODY, TokenResponse

    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    coding = lowered.get("content-encoding", "").strip().lower()
    if packed and coding in ("gzip", "x-gzip", "deflate"):
        chunks, packed = _unpacked(chunks), False
    body = bytearray()
    try:
        for chunk in chunks:
            body += chunk
            if len(body) > LONGEST_BODY:
                break
            deadline.check()
    except zlib.error:
        packed = True
    if not packed or coding in ("", "identity"):  # else whoever reads it is told how it is packed
        lowered.pop("content-encoding", None)
    # A connection that was closed at the deadline looks like one that ended.
    deadline.check()
    return TokenResponse(status=status, headers=lowered, body=bytes(body[: LONGEST_BODY + 1]), received_at=time.time())
