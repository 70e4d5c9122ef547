"""What the scrubbers take out of cassettes; ``tests/adapters/test_tools.py`` records and replays some."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from auth_plugins import ApiKey, ClientCredentials, TokenSource
from auth_plugins.testing import scrub_request, scrub_response

vcr_request = pytest.importorskip("vcr.request")
URL = "https://id.example.com/token"
SECRET = "s3cr3t +of= the-client"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


def request(url: str = URL, body: Any = None, **headers: Any) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return vcr_request.Request("POST", url, body, named)


def response(body: bytes, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return {"status": {"code": 200, "message": "OK"}, "headers": named, "body": {"string": body}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"grant_type=password&password=abc&username=me", b"grant_type=password&password=scrubbed&username=me"),
        (b"client_assertion=abc&client_assertion_type=urn", b"client_assertion=scrubbed&client_assertion_type=urn"),
        (
            b'{"client_secret": "abc", "a": [{"api_key": "x"}]}',
            b'{"client_secret": "scrubbed", "a": [{"api_key": "scrubbed"}]}',
        ),
        (b'{"a":  1}', b'{"a":  1}'),
        (b"a=1&b=%20", b"a=1&b=%20"),
        (f"a note: {JWT}".encode(), b"a note: scrubbed"),
        (b"client_secret=abc&scope=a b\n", b"client_secret=scrubbed&scope=a b\n"),
        ('{"client_secret": ["abc"]}'.encode("utf-8-sig"), b'{"client_secret": ["scrubbed"]}'),
        (b"\xff\xfe", b"\xff\xfe"),
        (None, None),
    ],
)
def test_the_body_of_a_request_is_scrubbed(body: Any, expected: Any) -> None:
    """Secrets in forms and JSON have no value left; what holds none is as it was."""
    assert scrub_request(request(body=body)).body == expected


def test_a_body_that_is_an_iterator_is_left_as_it_is() -> None:
    """It can be read once, and is the API's."""
    chunks = iter([b"a"])
    given = request()
    given.body = chunks
    assert list(scrub_request(given).body) == [b"a"]


def test_url_and_headers_of_a_request_are_scrubbed() -> None:
    """Credentials in the URL and in headers are left out, other headers and parameters are not."""
    url = "https://me:pw@id.example.com/token?client_secret=abc&page=2"
    scrubbed = scrub_request(request(url, None, Authorization="Basic abc", X_API_Key="k", Cookie="s=1", Accept="a/b"))
    assert scrubbed.uri == "https://id.example.com/token?client_secret=scrubbed&page=2"
    assert dict(scrubbed.headers) == {"Accept": "a/b"}


def test_what_a_grant_in_use_says_is_scrubbed() -> None:
    """Names of ``names``, ``answer`` and ``query``, the header of a key, and the values of secrets and tokens."""
    odd = TokenSource(
        ClientCredentials(
            URL,
            "client",
            SECRET,
            client_auth="client_secret_post",
            names={"client_secret": "app_word"},
            answer={"access_token": "data.ticket", "refresh_token": "header:X-Renew"},
            params={"tenant": "value-that-is-hidden"},
        )
    )
    odd.seed({"access_token": "token-in-memory", "refresh_token": "refresh-in-memory"})
    key, in_query = TokenSource(ApiKey("k3y-of-the-api", header="X-Odd")), TokenSource(ApiKey("k", query="sig"))
    assert key.token() != in_query.token()
    sent = scrub_request(
        request(f"{URL}?sig=1", b"app_word=abc&page=token-in-memory", X_Odd="1", X_Page="refresh-in-memory")
    )
    assert (sent.uri, sent.body, dict(sent.headers)) == (
        f"{URL}?sig=scrubbed",
        b"app_word=scrubbed&page=scrubbed",
        {"X-Page": "scrubbed"},
    )
    members = {"data": {"ticket": "abc"}, "echo": ["token-in-memory", SECRET]}
    answered = scrub_response(response(json.dumps(members).encode(), X_Renew="def", X_Echo="k3y-of-the-api"))
    assert json.loads(answered["body"]["string"]) == {"data": {"ticket": "scrubbed"}, "echo": ["scrubbed", "scrubbed"]}
    assert answered["headers"] == {"X-Renew": ["scrubbed"], "X-Echo": ["scrubbed"]}


def test_a_response_is_scrubbed() -> None:
    """Tokens in JSON, compressed too, and in forms; cookies are left out; the length fits."""
    body = json.dumps({"access_token": "abc", "token_type": "Bearer", "expires_in": 5}).encode()
    expected = {"access_token": "scrubbed", "token_type": "Bearer", "expires_in": 5}
    packed = response(gzip.compress(body), Content_Encoding="gzip", Content_Length="9", Set_Cookie="s=1")
    scrubbed = scrub_response(packed)
    assert json.loads(scrubbed["body"]["string"]) == expected
    assert {name.lower(): value for name, value in scrubbed["headers"].items()} == {
        "content-length": [str(len(scrubbed["body"]["string"]))]
    }
    assert packed["headers"]["Set-Cookie"] == ["s=1"]
    form = scrub_response({**response(b"access_token=abc&scope=a"), "headers": {"Content-Type": "text/plain"}})
    assert form["body"]["string"] == b"access_token=scrubbed&scope=a"
    assert form["headers"] == {"Content-Type": "text/plain"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"access_token=abc&scope=a b\n", b"access_token=scrubbed&scope=a b\n"),
        ('{"access_token": "abc"}'.encode("utf-8-sig"), b'{"access_token": "scrubbed"}'),
        (b'{"sessionToken": "abc"}', b'{"sessionToken": "scrubbed"}'),
        (
            b'{"access_token": "a-token", "data": ["a-token", "b"], "max_tokens": "5"}',
            b'{"access_token": "scrubbed", "data": ["scrubbed", "b"], "max_tokens": "5"}',
        ),
        (b'{"nextPageToken": "abc", "token_type": "x"}', b'{"nextPageToken": "abc", "token_type": "x"}'),
        (b"eyJhbGciOiJkaXIifQ..aXY.dGV4dA.dGFn", b"scrubbed"),
    ],
)
def test_an_answer_in_any_form_is_scrubbed(body: bytes, expected: bytes) -> None:
    """What is read as a token is scrubbed: also with a byte order mark, a line end, or a second name."""
    assert scrub_response(response(body))["body"]["string"] == expected


def test_headers_of_a_response_are_scrubbed() -> None:
    """A token in a URL or under a name that says so; a challenge and the rest stay."""
    given = {"Location": "/cb?access_token=abc&page=2", "X_Subject_Token": "abc", "WWW_Authenticate": 'Bearer a="b"'}
    assert scrub_response(response(b"", **given))["headers"] == {
        "Location": ["/cb?access_token=scrubbed&page=2"],
        "X-Subject-Token": ["scrubbed"],
        "WWW-Authenticate": ['Bearer a="b"'],
    }


def test_what_only_a_callable_knows_is_scrubbed_by_its_name() -> None:
    """A parameter or header of the grant that a callable returns; a token in the query may be percent-encoded."""
    options: dict[str, Any] = {
        option: {f"x-{option}": lambda: "v"} for option in ("params", "refresh_params", "headers")
    }
    tokens = TokenSource(ClientCredentials(URL, "client", SECRET, **options))
    tokens.seed({"access_token": "to/ken+in=memory"})
    sent = scrub_request(request(f"{URL}?sid=to%2Fken%2Bin%3Dmemory", b"x-params=v&x-refresh_params=v", x_headers="v"))
    assert (sent.uri, sent.body) == (f"{URL}?sid=scrubbed", b"x-params=scrubbed&x-refresh_params=scrubbed")
    assert dict(sent.headers) == {}


def test_an_address_or_media_type_of_a_grant_is_no_secret() -> None:
    """Requests keep their host, by which they are found, and answers their type."""
    tokens = TokenSource(
        ClientCredentials(
            URL,
            "client",
            SECRET,
            params={"audience": "https://api-1.example.com", "tenant": "t3nant-of-odd-name"},
            headers={"Accept": "application/vnd.acme.v2+json"},
        )
    )
    sent = request("https://me@api-1.example.com/t3nant-of-odd-name", None, Referer=b"https://api-1.example.com/")
    assert scrub_request(sent).uri == "https://api-1.example.com/scrubbed"
    assert dict(sent.headers) == {"Referer": "https://api-1.example.com/"}
    kept = {"Content-Type": ["application/vnd.acme.v2+json"]}
    assert scrub_response({**response(b""), "headers": kept})["headers"] == kept
    assert tokens.grant


def test_a_response_that_cannot_be_decoded_has_no_body() -> None:
    """It may hold a token."""
    assert scrub_response(response(b"??", Content_Encoding="odd"))["body"]["string"] == b""
