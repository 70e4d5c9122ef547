"""What tests/test_answers.py reads, as it comes over the wire by each library: the same token, or the same error."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.wrappers import Response

from auth_plugins import ClientCredentials, MemoryCache, Token, TokenRequestError, TokenSource
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import LONGEST_BODY, TokenResponse

from .endpoints import TRANSPORTS
from .loopback import Loopback
from .test_answers import GOOD, LIFETIMES, NO_NUMBERS, NO_TOKEN, PLAIN


def members(**answer: Any) -> bytes:
    return json.dumps({"access_token": "tok", **answer}).encode()


#: Status, content type, body.
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    **{name: (200, content_type, body) for name, (body, content_type, _) in GOOD.items() if "\x00" not in content_type},
    **{
        f"{told}: {number}": (
            200,
            "application/json",
            body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode(),
        )
        for told, bodies in NO_TOKEN.items()
        for number, body in enumerate(bodies)
    },
    **{
        f"token_type {kind!r}": (200, "application/json", members(token_type=kind))
        for kind in (None, "", " bearer\t", "BEARER", "mac", "pop", "DPoP", "n_a", "basic", "JWT", 5, ["Bearer"])
    },
    **{
        f"expires_in {told!r:.20}": (200, "application/json", members(expires_in=told))
        for told in (*LIFETIMES, None, "", True, [], {})
    },
    **{
        f"expires_in {told}": (200, "application/json", f'{{"access_token": "tok", "expires_in": {told}}}'.encode())
        for told in NO_NUMBERS.split()
    },
    **{f"status {status}": (status, "application/json", PLAIN) for status in (201, 299, 400, 401, 403, 404, 409, 410)},
    "an error": (400, "application/json", b'{"error": "invalid_scope", "error_description": "no", "error_uri": "u"}'),
    "an error in a 200": (200, "application/json", b'{"error": "invalid_client"}'),
    "a page": (200, "text/html", b"<html><body>Log in</body></html>"),
}


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("name", ANSWERS)
def test_each_library_reads_the_same(name: str, library: str, server: Loopback) -> None:
    """Whichever library asks, the same answer is the same token, or the same error, with the same parts."""
    status, content_type, body = ANSWERS[name]
    server.token_play = lambda _: Response(body, status, content_type=content_type or None)
    grant = ClientCredentials(server.token_url, "client-7", "s3cr3t")
    source = TokenSource(grant, cache=MemoryCache())
    source._transport = TRANSPORTS[library]()
    came, expected = outcome(source.token), outcome(lambda: _pure(grant, status, content_type, body))
    assert came == expected
    assert len(server.token_requests) == 1


def _pure(grant: ClientCredentials, status: int, content_type: str, body: bytes) -> Token:
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


@pytest.mark.parametrize("library", TRANSPORTS)
def test_a_redirect_is_not_read_for_its_target(library: str, server: Loopback) -> None:
    """A redirect comes with an endless body: it is refused, not taken in, and asked for once."""
    server.token_play = lambda _: Response(
        (b"x" * 65536 for _ in range(100_000)), 302, {"Location": "https://elsewhere.example/"}, direct_passthrough=True
    )
    source = TokenSource(ClientCredentials(server.token_url, "client-7", "s3cr3t"), cache=MemoryCache())
    source._transport = TRANSPORTS[library]()
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


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_does_not_go_off(library: str, encoding: str, server: Loopback) -> None:
    """A small answer unpacks to 200 MB: it is given up after 1 MiB of them."""
    zeros = bytes(200 << 20)
    packed = gzip.compress(zeros, 9) if encoding == "gzip" else zlib.compress(zeros, 9)
    assert len(packed) < LONGEST_BODY
    server.token_play = lambda _: Response(packed, 200, {"Content-Encoding": encoding}, content_type="application/json")
    source = TokenSource(ClientCredentials(server.token_url, "client-7", "s3cr3t"), cache=MemoryCache())
    source._transport = TRANSPORTS[library]()
    with measured_memory() as memory, pytest.raises(TokenRequestError, match="answered more than 1 MiB"):
        source.token()
    assert memory.peak < 20 << 20


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("coding", ["gzip, gzip", "zstd", "br"])
def test_a_bomb_in_a_box_is_not_opened(library: str, coding: str, server: Loopback) -> None:
    """A kilobyte is packed twice, or otherwise than anybody asked for: it stays packed, and I am told."""
    packed = gzip.compress(gzip.compress(bytes(64 << 20), 9), 9)
    server.token_play = lambda _: Response(packed, 200, {"Content-Encoding": coding}, content_type="application/json")
    source = TokenSource(ClientCredentials(server.token_url, "client-7", "s3cr3t"), cache=MemoryCache())
    source._transport = TRANSPORTS[library]()
    with (
        measured_memory() as memory,
        pytest.raises(TokenRequestError, match=f"answered 200, packed by '{coding}' and "),
    ):
        source.token()
    assert memory.peak < 20 << 20
    assert [request.headers["accept-encoding"] for request in server.token_requests] == ["identity"]


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "deflate", "Deflate", "identity", ""])
def test_a_packed_answer_is_read(library: str, coding: str, server: Loopback) -> None:
    """A server packs whatever it sends, asked or not: I get my token."""
    plain = json.dumps({"access_token": "tok-1"}).encode()
    # In two pieces, each with a frame; in one; and without any, as some servers have it.
    gzips, framed = gzip.compress(plain[:9]) + gzip.compress(plain[9:]), zlib.compress(plain)
    body = gzips if "gzip" in coding.lower() else {"deflate": framed, "Deflate": framed[2:-4]}.get(coding, plain)
    server.token_play = lambda _: Response(
        body + b"more" * (body != plain), 200, {"Content-Encoding": coding}, content_type="application/json"
    )
    source = TokenSource(ClientCredentials(server.token_url, "client-7", "s3cr3t"), cache=MemoryCache())
    source._transport = TRANSPORTS[library]()
    assert source.token().access_token == "tok-1"


@pytest.mark.parametrize("library", TRANSPORTS)
def test_nothing_is_unpacked_to_nothing(library: str, server: Loopback) -> None:
    """An empty answer says that it is packed: I am told that it is empty."""
    server.token_play = lambda _: Response(b"", 200, {"Content-Encoding": "gzip"})
    source = TokenSource(ClientCredentials(server.token_url, "client-7", "s3cr3t"), cache=MemoryCache())
    source._transport = TRANSPORTS[library]()
    with pytest.raises(TokenRequestError, match="the body is empty"):
        source.token()


@pytest.mark.parametrize("library", TRANSPORTS)
@pytest.mark.parametrize("how", ["cut off", "no gzip", "damaged"])
def test_what_cannot_be_unpacked_is_no_token(library: str, how: str, server: Loopback) -> None:
    """A packed answer is damaged, or cut off where a form would still be one: I get an error, and no half token."""
    packed = gzip.compress(b"access_token=" + base64.b64encode(random.Random(1).randbytes(300_000)))
    body = {"cut off": packed[:-20], "no gzip": b"access_token=tok-1", "damaged": packed[:-8] + bytes(8)}[how]
    server.token_play = lambda _: Response(body, 200, {"Content-Encoding": "gzip"})
    source = TokenSource(ClientCredentials(server.token_url, "client-7", "s3cr3t"), cache=MemoryCache())
    source._transport = TRANSPORTS[library]()
    with pytest.raises(TokenRequestError, match="answered 200, packed by 'gzip' and not to be unpacked; "):
        source.token()
    assert len(server.token_requests) == 1
