"""What tests/unit/test_answers.py reads, over the wire by each library: the same token, or the same error."""

from __future__ import annotations

import base64
import contextlib
import gzip
import importlib
import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.wrappers import Response

from auth_plugins import ClientCredentials, Grant, MemoryCache, Token, TokenRequestError, TokenSource
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import LONGEST_BODY, TokenResponse
from tests.support.loopback import Loopback
from tests.unit.test_answers import GOOD, PLAIN


def source_of(library: str, server: Loopback) -> TokenSource:
    """A source whose token requests are sent by *library*."""
    adapter = importlib.import_module(f"auth_plugins.{library}").OAuth2Auth
    return adapter(ClientCredentials(server.token_url, "client-7", "s3cr3t"), cache=MemoryCache()).source


#: Status, content type, body: what a library could change on the way. Reading itself is tested in test_answers.
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    **{name: (200, content_type, body) for name, (body, content_type, _) in GOOD.items() if "\x00" not in content_type},
    **{f"status {status}": (status, "application/json", PLAIN) for status in (201, 299, 400, 401, 403, 404, 409, 410)},
    "an error": (400, "application/json", b'{"error": "invalid_scope", "error_description": "no", "error_uri": "u"}'),
    "an error in a 200": (200, "application/json", b'{"error": "invalid_client"}'),
    "a page": (200, "text/html", b"<html><body>Log in</body></html>"),
    "nothing": (200, "application/json", b""),
}


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize("name", ANSWERS)
def test_each_library_reads_the_same(name: str, library: str, server: Loopback) -> None:
    """The same answer is the same token or the same error with each library."""
    status, content_type, body = ANSWERS[name]
    server.token_play = lambda _: Response(body, status, content_type=content_type or None)
    source = source_of(library, server)
    grant = source.grant
    came, expected = outcome(source.token), outcome(lambda: _pure(grant, status, content_type, body))
    assert came == expected
    assert len(server.token_requests) == 1


def _pure(grant: Grant, status: int, content_type: str, body: bytes) -> Token:
    requests: list[Any] = []

    def ask(request: Any) -> Token:
        requests.append(request)
        return Token(access_token="none")

    grant.request_token(ask)
    headers = {"content-type": content_type} if content_type else {}
    return read(requests[0], TokenResponse(status=status, headers=headers, body=body, received_at=0.0), 0.0)


def outcome(ask: Any) -> Any:
    """A token, as far as it doesn't tell when it was issued; or an error."""
    try:
        token = ask()
    except TokenRequestError as error:
        return str(error), error.error, error.description, error.uri, error.status_code
    # When a JWT ends, it says itself.
    told = token.expires_at is not None and not token.claims
    lifetime = round((token.expires_at or 0.0) - token.issued_at, 3) if told else None
    return token.access_token, token.token_type, token.refresh_token, token.scope, lifetime


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_redirect_is_not_read_for_its_target(library: str, server: Loopback) -> None:
    """The endless body of a redirect is not read, and one request is sent."""
    server.token_play = lambda _: Response(
        (b"x" * 65536 for _ in range(100_000)), 302, {"Location": "https://elsewhere.example/"}, direct_passthrough=True
    )
    source = source_of(library, server)
    with pytest.raises(TokenRequestError, match=r"302|answered more than 1 MiB"):
        source.token()
    assert len(server.token_requests) == 1


@contextlib.contextmanager
def measured_memory() -> Iterator[SimpleNamespace]:
    """Measure the most that was taken within, in bytes."""
    measured = SimpleNamespace()
    tracemalloc.start()
    try:
        yield measured
        measured.peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_does_not_go_off(library: str, encoding: str, server: Loopback) -> None:
    """Of an answer that decompresses to 200 MB only 1 MiB is read."""
    zeros = bytes(200 << 20)
    packed = gzip.compress(zeros, 9) if encoding == "gzip" else zlib.compress(zeros, 9)
    assert len(packed) < LONGEST_BODY
    server.token_play = lambda _: Response(packed, 200, {"Content-Encoding": encoding}, content_type="application/json")
    source = source_of(library, server)
    with measured_memory() as memory, pytest.raises(TokenRequestError, match="answered more than 1 MiB"):
        source.token()
    assert memory.peak < 20 << 20


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize("coding", ["gzip, gzip", "zstd", "br"])
def test_a_bomb_in_a_box_is_not_opened(library: str, coding: str, server: Loopback) -> None:
    """An answer that is compressed twice, or in an unknown way, is not decompressed; the error says so."""
    packed = gzip.compress(gzip.compress(bytes(64 << 20), 9), 9)
    server.token_play = lambda _: Response(packed, 200, {"Content-Encoding": coding}, content_type="application/json")
    source = source_of(library, server)
    with (
        measured_memory() as memory,
        pytest.raises(TokenRequestError, match=f"answered 200, compressed by '{coding}', which cannot be read; "),
    ):
        source.token()
    assert memory.peak < 20 << 20
    assert [request.headers["accept-encoding"] for request in server.token_requests] == ["identity"]


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "deflate", "Deflate", "identity", ""])
def test_a_packed_answer_is_read(library: str, coding: str, server: Loopback) -> None:
    """A compressed answer is read, although none was asked for."""
    plain = json.dumps({"access_token": "tok-1"}).encode()
    # In two pieces, each with a frame; in one; and without any, as some servers have it.
    gzips, framed = gzip.compress(plain[:9]) + gzip.compress(plain[9:]), zlib.compress(plain)
    body = gzips if "gzip" in coding.lower() else {"deflate": framed, "Deflate": framed[2:-4]}.get(coding, plain)
    server.token_play = lambda _: Response(
        body + b"more" * (body != plain), 200, {"Content-Encoding": coding}, content_type="application/json"
    )
    source = source_of(library, server)
    assert source.token().access_token == "tok-1"


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_nothing_is_unpacked_to_nothing(library: str, server: Loopback) -> None:
    """An empty answer that claims to be compressed is an empty one."""
    server.token_play = lambda _: Response(b"", 200, {"Content-Encoding": "gzip"})
    source = source_of(library, server)
    with pytest.raises(TokenRequestError, match="the body is empty"):
        source.token()


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize("how", ["cut off", "no gzip", "damaged"])
def test_what_cannot_be_unpacked_is_no_token(library: str, how: str, server: Loopback) -> None:
    """A compressed answer that is damaged or cut off is an error, and no half of a token."""
    packed = gzip.compress(b"access_token=" + base64.b64encode(random.Random(1).randbytes(300_000)))
    body = {"cut off": packed[:-20], "no gzip": b"access_token=tok-1", "damaged": packed[:-8] + bytes(8)}[how]
    server.token_play = lambda _: Response(body, 200, {"Content-Encoding": "gzip"})
    source = source_of(library, server)
    with pytest.raises(TokenRequestError, match="answered 200, compressed by 'gzip', which cannot be read; "):
        source.token()
    assert len(server.token_requests) == 1
