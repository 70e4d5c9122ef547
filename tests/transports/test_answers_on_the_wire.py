"""Answers over the wire, by each library: the token or the error that tests/unit/test_answers.py has for them."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import random
import tracemalloc
import zlib
from typing import Any

import pytest
from werkzeug.wrappers import Response

from auth_plugins import ClientCredentials, TokenRequestError, TokenSource
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import LONGEST_BODY, TokenResponse
from tests.support.endpoints import LIBRARIES, token_source
from tests.support.loopback import Loopback
from tests.unit.test_answers import GOOD, PLAIN, requests_of

each_library = pytest.mark.parametrize("library", LIBRARIES)


def source_of(library: str, server: Loopback, *answer: Any, **options: Any) -> TokenSource:
    """A source whose token requests *library* sends, and *server* answers by this Response."""
    server.token_play = lambda _: Response(*answer, **options)
    return token_source(library, ClientCredentials(server.token_url, "client-7", "s3cr3t"))


#: Status, content type, body: what a library could change on the way.
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    **{name: (200, content_type, body) for name, (body, content_type, _) in GOOD.items() if "\x00" not in content_type},
    "status 201": (201, "application/json", PLAIN),
    "an error": (400, "application/json", b'{"error": "invalid_scope", "error_description": "no", "error_uri": "u"}'),
    "an error in a 200": (200, "application/json", b'{"error": "invalid_client"}'),
    "a page": (404, "text/html", b"<html><body>Log in</body></html>"),
    "nothing": (200, "application/json", b""),
}


@each_library
@pytest.mark.parametrize("name", ANSWERS)
def test_each_library_reads_the_same(name: str, library: str, server: Loopback) -> None:
    """The same answer is the same token or the same error with each library."""
    status, content_type, body = ANSWERS[name]
    source = source_of(library, server, body, status, content_type=content_type or None)
    headers = {"content-type": content_type} if content_type else {}
    answer = TokenResponse(status=status, headers=headers, body=body, received_at=0.0)
    [request] = requests_of(source.grant)  # type: ignore[arg-type]
    assert outcome(source.token) == outcome(lambda: read(request, answer, 0.0))
    assert len(server.token_requests) == 1


def outcome(fetch: Any) -> Any:
    """A token, without the moment of its issue; or an error."""
    try:
        token = fetch()
    except TokenRequestError as error:
        return str(error), error.error, error.description, error.uri, error.status_code
    is_counted = token.expires_at is not None and not token.claims  # a JWT says its end itself
    lifetime = round((token.expires_at or 0.0) - token.issued_at, 3) if is_counted else None
    return token.access_token, token.token_type, token.refresh_token, token.scope, lifetime


@each_library
def test_a_redirect_is_not_read_for_its_target(library: str, server: Loopback) -> None:
    """The endless body of a redirect is not read, and one request is sent."""
    body = (b"x" * 65536 for _ in range(100_000))
    source = source_of(library, server, body, 302, {"Location": "https://elsewhere.example/"}, direct_passthrough=True)
    with pytest.raises(TokenRequestError, match=r"302|answered more than 1 MiB"):
        source.token()
    assert len(server.token_requests) == 1


def assert_bounded(source: TokenSource, error: str) -> None:
    """Fail unless the token request raises *error*, and takes less than 20 MiB of memory."""
    tracemalloc.start()
    try:
        with pytest.raises(TokenRequestError, match=error):
            source.token()
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@functools.cache
def bomb(coding: str) -> bytes:
    """Return 64 MiB in less than one."""
    return (gzip if coding == "gzip" else zlib).compress(bytes(64 << 20), 1)


@each_library
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_does_not_go_off(library: str, coding: str, server: Loopback) -> None:
    """Of an answer that decompresses to 64 MiB only 1 MiB is read."""
    packed = bomb(coding)
    assert len(packed) < LONGEST_BODY
    source = source_of(library, server, packed, 200, {"Content-Encoding": coding}, content_type="application/json")
    assert_bounded(source, "answered more than 1 MiB")


@each_library
@pytest.mark.parametrize("coding", ["gzip, gzip", "zstd", "br"])
def test_a_bomb_in_a_box_is_not_opened(library: str, coding: str, server: Loopback) -> None:
    """An answer that is compressed twice, or in an unknown way, is not decompressed; the error says so."""
    source = source_of(library, server, gzip.compress(bomb("gzip")), 200, {"Content-Encoding": coding})
    assert_bounded(source, f"answered 200, compressed by '{coding}', which cannot be read; ")
    assert [request.headers["accept-encoding"] for request in server.token_requests] == ["identity"]


TOKEN = json.dumps({"access_token": "tok-1"}).encode()
ZLIB = zlib.compress(TOKEN)
#: In two pieces, each with a frame; in one; and without any, as some servers have it.
PACKED = {
    "x-gzip": gzip.compress(TOKEN[:9]) + gzip.compress(TOKEN[9:]) + b"more",
    "GZIP": gzip.compress(TOKEN),
    "deflate": ZLIB + b"more",
    "Deflate": ZLIB[2:-4] + b"more",
    "identity": TOKEN,
    "": TOKEN,
}


@each_library
@pytest.mark.parametrize("coding", PACKED)
def test_a_packed_answer_is_read(library: str, coding: str, server: Loopback) -> None:
    """A compressed answer is read, although the request did not accept one."""
    source = source_of(library, server, PACKED[coding], 200, {"Content-Encoding": coding})
    assert source.token().access_token == "tok-1"


LONG = gzip.compress(b"access_token=" + base64.b64encode(random.Random(1).randbytes(300_000)))
UNREADABLE = "answered 200, compressed by 'gzip', which cannot be read; "
BROKEN = {
    "cut off": (LONG[:-20], UNREADABLE),
    "no gzip": (b"access_token=tok-1", UNREADABLE),
    "damaged": (LONG[:-8] + bytes(8), UNREADABLE),
    "empty": (b"", "the body is empty"),
}


@each_library
@pytest.mark.parametrize(("body", "error"), BROKEN.values(), ids=BROKEN)
def test_a_broken_packed_answer_is_an_error(library: str, body: bytes, error: str, server: Loopback) -> None:
    """A compressed answer that is damaged or cut off is an error, and no half of a token."""
    source = source_of(library, server, body, 200, {"Content-Encoding": "gzip"})
    with pytest.raises(TokenRequestError, match=error):
        source.token()
    assert len(server.token_requests) == 1
