"""A token endpoint and an API on loopback, in a process of their own, so that clients don't disturb them.

``/token/DELAY/LIFETIME/NAME`` issues tokens that live for LIFETIME seconds, after DELAY seconds. ``/api`` takes what
has not ended, and anything that is no token of ours. ``/count`` tells how many requests came for each path. It prints
its URL, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TOKEN = re.compile(rb"\r\nauthorization: *Bearer until-([\d.]+)-", re.IGNORECASE)
_COUNTS: Counter[str] = Counter()


class _Server(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if found and len(rest) >= int(length[1] if length else 0):
            self._received = b""
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        _COUNTS[path] += 1
        if path.startswith("/token/"):
            _, _, delay, lifetime, _ = path.split("/")
            # It ends from when it was asked for, as strict servers count.
            text = f"until-{time.time() + float(lifetime):.3f}-{_COUNTS[path]}-{'x' * 16}"
            answer = {"access_token": text, "token_type": "Bearer", "expires_in": int(lifetime)}
            asyncio.get_running_loop().call_later(float(delay), self._send, b"200 OK", json.dumps(answer).encode())
        elif path == "/count":
            self._send(b"200 OK", json.dumps(_COUNTS).encode())
        elif (token := _TOKEN.search(head)) and float(token[1]) < time.time():
            _COUNTS["/expired"] += 1
            self._send(b"401 Unauthorized", b"{}")
        else:
            self._send(b"200 OK", b"{}")

    def _send(self, status: bytes, body: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - for the type checker
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self._transport.write(head + body)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Server, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
