"""What a token endpoint may answer: a token, or an error that shows no secret."""

from __future__ import annotations

import base64
import codecs
import email.utils
import html
import json
import logging
import pickle
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest

from auth_plugins import ClientCredentials, Password, Token, TokenRequestError
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import LONGEST_BODY, TokenRequest, TokenResponse
from auth_plugins._protocol.redaction import Redactor

NOW = 1_700_000_000.0
URL = "https://id.example.com/token"
#: Each encoding spells it differently.
SECRET = '7rg6Gt+hU/ob="€ü'
DECADE = 10 * 365 * 86400


def requests_of(grant: OAuthGrant) -> list[TokenRequest]:
    """The token request of *grant*."""
    requests: list[TokenRequest] = []
    grant.request_token(lambda each: requests.append(each) or Token(access_token="tok"))  # type: ignore[func-returns-value]
    return requests


def request(**options: Any) -> TokenRequest:
    """A token request of client credentials, with a scope."""
    return requests_of(ClientCredentials(URL, "client-7", **{"client_secret": SECRET, "scope": "all", **options}))[0]


def response(body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> TokenResponse:
    """*body* as bytes, as text, or as what JSON is made of."""
    text = body if isinstance(body, (bytes, str)) else json.dumps(body)
    content = text if isinstance(text, bytes) else text.encode()
    headers = {"content-type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    return TokenResponse(status=status, headers=headers, body=content, received_at=NOW)


def token_of(body: Any, status: int = 200, content_type: str = "application/json") -> Token:
    return read(request(), response(body, status, content_type), NOW)


def error_of(asked: TokenRequest, *answer: Any, **headers: Any) -> TokenRequestError:
    """The error for an answer to *asked*, given as to :func:`response`."""
    with pytest.raises(TokenRequestError) as caught:
        read(asked, response(*answer, **headers), NOW)
    return caught.value


def refused(body: Any, status: int = 200, *content_type: str, **headers: str) -> TokenRequestError:
    error = error_of(request(), body, status, *content_type, **headers)
    assert error.status_code == status
    assert str(error).startswith(f"{URL} answered ")
    assert str(error).isprintable(), "one line, and nothing that steers a terminal"
    assert error.__cause__ is error.__context__ is None, "no other error holds what was parsed"
    return error


def jwt(claims: Any, header: Any = None) -> str:
    parts = (
        base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none"} if header is None else header, claims)
    )
    return ".".join((*parts, "c2lnbmF0dXJl"))


def rows(table: Mapping[str, Iterable[Any]]) -> list[Any]:
    """Parameters of a table whose keys are what is expected."""
    return [
        pytest.param(value, expected, id=f"{value!r:.60}") for expected, values in table.items() for value in values
    ]


JWT = jwt({"exp": NOW + 600, "sub": "me"})
#: The bare answer of the Upload API's documentation: it was cut, and ends in dots.
SAMPLE = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6IjBFNUMxNEU4OEIzRjFFMEFCNDlGNUIzMkU5NzNDMDQ0NkY0MjJDRURSUzI1NiIsInR5cCI6ImE0K2p3"
    "dCJ9..."
)
ENCRYPTED = jwt({}, {"alg": "dir", "enc": "A256GCM"}) + ".x.y"
PLAIN = b'{"access_token": "tok"}'
OTHER = b'{"access_token": "tok", "x": "\xff"}'
APP = "application/json"
FORM = "application/x-www-form-urlencoded"
#: A body, its content type, and the token in it.
GOOD: dict[str, tuple[bytes, str, str]] = {
    "a JSON object": (PLAIN, APP, "tok"),
    "without a content type": (PLAIN, "", "tok"),
    "as text/html": (PLAIN, "text/html; charset=utf-8", "tok"),
    "between white space": (b"\r\n " + PLAIN + b"\n", APP, "tok"),
    "with a byte order mark": (codecs.BOM_UTF8 + PLAIN, 'application/json; charset="UTF-8"', "tok"),
    "in UTF-16": (PLAIN.decode().encode("utf-16"), "application/json; charset=UTF-16", "tok"),
    "in Latin-1": (OTHER, "application/json; charset=iso-8859-1", "tok"),
    "with bytes that are not UTF-8": (OTHER, APP, "tok"),
    "with a code page that does not exist": (PLAIN, "application/json; charset=cp99999", "tok"),
    "with a charset in a charset that is none": (PLAIN, "application/json; charset*=\x00'en'utf-8", "tok"),
    "with a charset that takes minutes": (PLAIN, "application/json; charset=punycode", "tok"),
    "with a member twice": (b'{"access_token": "old", "access_token": "tok"}', APP, "tok"),
    "with a null error": (b'{"access_token": "tok", "error": null}', APP, "tok"),
    "with an error that is the text null": (b'{"access_token": "tok", "error": "null"}', APP, "tok"),
    "form-encoded as text": (b"expires=60&access_token=t%20o+k\n", "text/plain", "t o k"),
    "form-encoded, with raw spaces": (b"access_token=tok&note=read write&expires_in=60", FORM, "tok"),
    "form-encoded, with raw spaces at first": (b"note=read write&access_token=tok", "text/plain", "tok"),
    "with its scheme twice": (b'{"access_token": "Bearer bearer  tok"}', APP, "tok"),
    "with its scheme in a form": (b"access_token=BEARER%20tok", FORM, "tok"),
    "called bearer": (b'{"access_token": "bearer"}', APP, "bearer"),
    "a bare JWT with its scheme": (b"Bearer " + JWT.encode(), "text/plain", JWT),
    "a JSON string that is a JWT": (json.dumps(JWT).encode(), APP, JWT),
    "the documented sample": (SAMPLE.encode() + b"\n", "", SAMPLE),
    "an encrypted JWT": (ENCRYPTED.encode(), "application/jwt", ENCRYPTED),
}


@pytest.mark.parametrize(("body", "content_type", "access_token"), GOOD.values(), ids=GOOD)
def test_a_token_is_read_in_each_form(body: bytes, content_type: str, access_token: str) -> None:
    """A token in any of these forms is read, as Bearer, issued at the moment of the request."""
    token = token_of(body, 200, content_type)
    assert (token.access_token, token.header_value) == (access_token, f"Bearer {access_token}")
    assert (token.token_type, token.refresh_token, token.scope, token.issued_at) == ("Bearer", None, None, NOW)


def test_only_a_success_has_a_token() -> None:
    """A token in an answer is used with a 2xx, and with no other status."""
    for body in (PLAIN, JWT, b"access_token=tok"):
        assert token_of(body, 201).access_token == token_of(body, 299).access_token
        for status in (199, 300, 304, 401, 500):
            assert refused(body, status).error is None


NO_TOKEN: dict[str, list[Any]] = {
    "answered no token: the body is empty; is token_url": [b"", b" \r\n"],
    "answered no token: it is a web page; is token_url": [b"<!DOCTYPE html><title>Log in", b" <html>access_token=tok"],
    "neither a JSON object nor a form nor a JWT; is token_url": [
        b"tok", b'"tok"', b"a.b.c", b"3", b"null", b"{}", b"[]", b"[" * 100_000, PLAIN[:-1],
        b"access_token=a b", b"error: a=b", jwt({}, {"typ": "JWT"}), jwt({}, ["alg"]), f"{JWT} {JWT}",
        JWT.partition(".")[0],
    ],
    "answered no access_token; is token_url": [
        {"access_token": None}, {"access_token": " "}, {"access_token": "undefined"}, b"access_token=null",
    ],
    "answered no access_token, but state, x; is token_url": [{"state": 5, "x": None}, b"state=5&x=1&access_token=null"],
    "answered no access_token, but errcode, errmsg (invalid appid); ": [{"errcode": 40013, "errmsg": "invalid appid"}],
    "answered no access_token, but m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 2 more; is": [
        {f"m{number}": number for number in range(12)}
    ],
    "answered an access_token that cannot stand in a header; is token_url": [
        {"access_token": 5}, {"access_token": True}, {"access_token": "a\r\nX-Injected: 1"}, {"access_token": "tok "},
        {"access_token": "tök"}, b"access_token=%ff",
    ],
    "answered more than 1 MiB; is token_url": [b" " * LONGEST_BODY + b"x"],
}  # fmt: skip


@pytest.mark.parametrize(("body", "problem"), rows(NO_TOKEN))
def test_an_answer_without_a_token_is_an_error(body: Any, problem: str) -> None:
    """Another body with a 200, such as a login page, is an error that asks for the URL."""
    error = refused(body)
    assert problem in str(error)
    assert (error.error, error.uri, error.retry_after) == (None, None, None)


def test_a_body_of_1_mib_is_read() -> None:
    """A body of exactly 1 MiB is read."""
    assert token_of(PLAIN + b" " * (2**20 - len(PLAIN))).access_token == "tok"
    assert LONGEST_BODY == 2**20


@pytest.mark.parametrize("spelt", [None, "  ", "Bearer", "BEARER", " bearer\t"])
def test_bearer_in_any_spelling(spelt: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Any spelling of ``bearer``, and none at all, is a Bearer token without a warning."""
    assert token_of({"access_token": "tok", "token_type": spelt}).token_type == "Bearer"
    assert not caplog.records


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        *((kind, f"of type {kind.strip().lower()!r}; have the server's owner give this client Bearer tokens")
          for kind in ("MAC", "PoP", "Basic", "N_A")),
        (" dpop ", "of type 'dpop'; the server asks for DPoP (RFC 9449): set dpop (or the variable DPOP) to true"),
        *((kind, "token_type that is no string") for kind in list[Any]((5, ["Bearer"]))),
    ],
)  # fmt: skip
def test_a_token_that_is_no_bearer_token_is_an_error(kind: Any, problem: str) -> None:
    """A token that needs a proof with each request is refused by the name of its type."""
    assert problem in str(refused({"access_token": "tok", "token_type": kind}))


def test_an_unknown_token_type_is_used_as_bearer(caplog: pytest.LogCaptureFixture) -> None:
    """A token of an unknown type is used as Bearer, with one warning for each endpoint and type."""
    [other] = requests_of(ClientCredentials("https://other.example.com/token", "id", "s3cr3t"))
    for asked in (request(), other, request(params={"a": "b"})):
        for kind in ("JWT", "x" * 100):
            token = read(asked, response({"access_token": "tok", "token_type": kind}), NOW)
            assert (token.token_type, token.header_value) == (kind[:40], "Bearer tok")
    assert {(record.levelno, record.name) for record in caplog.records} == {(logging.WARNING, "auth_plugins")}
    assert len(caplog.records) == 4
    assert caplog.messages[0].startswith(f"{URL} answered the unknown token_type 'JWT'")


def test_warnings_take_little_memory(caplog: pytest.LogCaptureFixture) -> None:
    """Of a server that answers a thousand token types, the oldest are forgotten: they are warned of again."""
    for number in (*range(1000), 0, 999):
        token_of({"access_token": "tok", "token_type": f"kind {number}"})
    assert len(caplog.records) == 1001


LIFETIMES: dict[Any, float] = {
    3600: 3600, 3600.5: 3600.5, "3600": 3600, "3600.": 3600, "3.6e3": 3600, " 3600\n": 3600, "+3600": 3600, 1e-9: 0,
    10**12: DECADE, "1e999": DECADE, 10**400: DECADE, DECADE: DECADE, DECADE - 1: DECADE - 1,
    # Moments, within the next ten years.
    NOW + 60: 60, f"{NOW + 60:.0f}": 60, (NOW + 60) * 1000: 60, NOW + DECADE: DECADE, (NOW + DECADE) * 1000: DECADE,
    "2023-11-14T22:14:20Z": 60,
    # Neither of them can be such a moment.
    NOW: DECADE, NOW - 60: DECADE, NOW + DECADE + 1: DECADE, NOW * 1000: DECADE,
}  # fmt: skip


@pytest.mark.parametrize(("given", "seconds"), LIFETIMES.items(), ids=[f"{given!r:.20}" for given in LIFETIMES])
def test_the_lifetime_counts_from_the_request(given: Any, seconds: float) -> None:
    """The token ends ``expires_in`` seconds after the request, in any spelling; a moment there is read as one."""
    assert token_of({"access_token": JWT, "expires_in": given, "expires_at": 1}).expires_at == NOW + seconds


def test_a_lifetime_is_no_moment_where_the_clock_was_not_set() -> None:
    """Where the clock was not set, 3600 is still an hour."""
    answer = response({"access_token": "tok", "expires_in": 3600})
    assert read(request(), answer, 500.0).expires_at == 4100


NOTHING: list[Any] = [0, "0", -10, "-1e999", -(10**400), None, False, "  ", "null"]
NAMES = ["expires_in", "expires_at", "expires_on", "expires"]


@pytest.mark.parametrize("given", NOTHING, ids=[f"{given!r:.20}" for given in NOTHING])
@pytest.mark.parametrize("name", NAMES)
def test_a_lifetime_of_0_says_nothing(name: str, given: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A lifetime of 0 or less is ignored: the JWT's exp counts, or the token has no known end."""
    assert token_of({"access_token": JWT, name: given}).expires_at == NOW + 600
    end = None if name == "expires_on" else NOW + 5
    assert token_of({"access_token": "tok", "expires_on": NOW + 5, name: given}).expires_at == end
    assert not caplog.records


NO_LIFETIMES = 'true [60] {} "soon" "1_000" "٣" "0x10" "inf" NaN Infinity "2030-02-30T00:00:00Z" "٢٠٣٠-01-01" "\\ud800"'


@pytest.mark.parametrize("given", [*NO_LIFETIMES.split(), '"2030-01-01T00:00:00 CET"', f'"2030-01-01{"0" * 1000}"'])
@pytest.mark.parametrize("name", NAMES)
def test_a_lifetime_that_cannot_be_read_is_ignored(name: str, given: str, caplog: pytest.LogCaptureFixture) -> None:
    """A lifetime that cannot be read is ignored, with one warning; another member may say the end."""
    for _ in range(3):
        assert token_of(f'{{"access_token": "tok", "{name}": {given}}}').expires_at is None
    [record] = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "auth_plugins")
    assert record.message.startswith(f"{URL} answered an {name} that is neither a number nor a date; ")
    other = "expires_on" if name != "expires_on" else "expires"
    assert token_of(f'{{"access_token": "tok", "{name}": {given}, "{other}": {NOW + 5}}}').expires_at == NOW + 5
    assert token_of(f'{{"access_token": "{JWT}", "{name}": {given}}}').expires_at == NOW + 600


#: What may be sent as a moment, and the seconds from now until then; ``None``: it is ignored.
MOMENTS: dict[Any, float | None] = {
    NOW + 60: 60, f" {NOW + 60:.0f} ": 60, NOW + 0.5: 0.5, (NOW + 60) * 1000: 60, str((NOW + 60) * 1000): 60,
    NOW + DECADE + 1: DECADE, "1e999": DECADE, NOW: None, NOW * 1000: None, 1e11: None, 1e11 - 1: DECADE,
    "2023-11-14T22:14:20Z": 60, "2023-11-14T22:14:20.5z": 60.5, "20231114T221420Z": 60, "2023-11-14 22:14:20": 60,
    "2023-11-14t23:14:20+01:00": 60, "2023-11-14T22:14:20.1234567Z": 60.123456, "2023-11-14T22:14:20 UTC": 60,
    "2023-11-14T22:14:20GMT": 60, "2023-11-14T23:14:20+01:00[Europe/Paris]": 60, "2023-11-14T22:14:20Z[UTC]": 60,
    "2023-11-15": 6400, "2020-01-01": None, "0001-01-01T00:00:00+23:59": None, "9999-12-31T23:59:59-23:59": DECADE,
}  # fmt: skip


@pytest.mark.parametrize("name", ["expires_at", "expires_on", "expires"])
@pytest.mark.parametrize(("given", "seconds"), MOMENTS.items(), ids=map(repr, MOMENTS))
def test_a_moment_in_seconds_milliseconds_or_iso_8601(name: str, given: Any, seconds: float | None) -> None:
    """The end may be in seconds, milliseconds or ISO 8601; a moment that has passed is ignored."""
    end = token_of({"access_token": "tok", name: given}).expires_at
    assert end == (None if seconds is None else pytest.approx(NOW + seconds, abs=1e-6))


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs time.tzset")
def test_a_date_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date without a zone is in UTC in every time zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert token_of({"access_token": "tok", "expires_at": "2023-11-14T22:14:20"}).expires_at == NOW + 60
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


#: The token, other members, and when it ends.
ENDS: dict[str, tuple[str, dict[str, Any], float | None]] = {
    "nowhere": ("tok", {"expires_in": " "}, None),
    "in the JWT": (JWT, {"expires_in": None, "expires_at": NOW + 1}, NOW + 600),
    "in a JWT, as words": (jwt({"exp": "soon"}), {"expires_on": NOW + 1}, NOW + 1),
    "in a JWT, as a bool": (jwt({"exp": True}), {}, None),
    "in a JWT, as NaN": (jwt(b'{"exp": NaN}'), {}, None),
    "in a JWT, never": (jwt(b'{"exp": Infinity}'), {}, NOW + DECADE),
    "in a JWT that is over": (jwt({"exp": NOW - 60}), {}, NOW - 60),
    "in a JWT that is over, and never began": (jwt({"iat": NOW, "exp": NOW - 60}), {}, NOW - 60),
    "in a JWT of another clock": (jwt({"iat": NOW - 4000, "exp": NOW - 400}), {}, NOW + 3600),
    "in a JWT that is over this moment": (jwt({"iat": NOW - 60, "exp": NOW}), {}, NOW + 60),
    "in a JWT that lives shorter": (jwt({"iat": NOW - 9000, "exp": NOW - 8700}), {"expires_in": 3600}, NOW + 300),
    "in expires_in, which is the rest": (jwt({"iat": NOW - 9, "exp": NOW + 600}), {"expires_in": 600}, NOW + 600),
    "in a JWT with a moment": (jwt({"iat": NOW, "exp": NOW + 300}), {"expires_in": NOW + 3600}, NOW + 300),
    "in a JWT, as milliseconds": (
        jwt({"iat": str(NOW * 1000), "exp": (NOW + 300) * 1000}), {"expires_in": "3600"}, NOW + 300
    ),
    "in expires_in, as the JWT has no iat": (jwt({"exp": NOW + 300}), {"expires_in": 3600}, NOW + 3600),
    "in expires_in, as the JWT never lived": (jwt({"iat": NOW, "exp": NOW}), {"expires_in": 3600}, NOW + 3600),
    "in expires_at": ("tok", {"expires_at": NOW + 60, "expires_on": NOW + 1}, NOW + 60),
    "in expires_on, as expires_at has passed": ("tok", {"expires_at": 5, "expires_on": NOW + 9, "expires": 5}, NOW + 9),
    "in expires, as the longest lifetime": ("tok", {"expires": str(DECADE)}, NOW + DECADE),
    "in expires, as a long time ago": ("tok", {"expires": DECADE + 1}, None),
}  # fmt: skip


@pytest.mark.parametrize(("access_token", "others", "end"), ENDS.values(), ids=ENDS)
def test_where_the_end_is_said(access_token: str, others: dict[str, Any], end: float | None) -> None:
    """The shorter of ``expires_in`` and a JWT's lifetime counts; else exp, expires_at, expires_on and expires."""
    assert token_of({"access_token": access_token, **others}).expires_at == end
    if not access_token.startswith("ey"):
        assert token_of(f"access_token=tok&{urlencode(others)}").expires_at == end


ABSENT = ["", " ", None, 5, ["a"], " NULL ", "None", "nil", "undefined", "\ud800"]
OTHERS: dict[str, list[tuple[Any, Any]]] = {
    "refresh_token": [("again", "again"), ("nullable", "nullable"), *((each, None) for each in ABSENT)],
    "scope": [("a b", "a b"), (["a", "b"], "a b"), ("", ""), (None, None), (5, None)],
}


@pytest.mark.parametrize(("given_and_read", "name"), rows(OTHERS))
def test_a_refresh_token_and_a_scope_are_strings(given_and_read: tuple[Any, Any], name: str) -> None:
    """A refresh token is a string that says something; the scope is one string, also where the server sends a list."""
    given, read_as = given_and_read
    assert getattr(token_of({"access_token": "tok", name: given}), name) == read_as


CLAIMS: dict[str, tuple[str, dict[str, Any]]] = {
    "a JWT": (jwt({"name": "ü€", "roles": ["a"]}), {"name": "ü€", "roles": ["a"]}),
    "the documented sample": (SAMPLE, {}),
    "encrypted": (jwt({"sub": "me"}) + ".x.y", {}),
    "a header that is no object": (jwt({"sub": "me"}, "header"), {}),
    "nesting without end": (jwt(b"[" * 100_000), {}),
    "beyond ASCII": ("ü.ü.ü", {}),
}


@pytest.mark.parametrize(("access_token", "claims"), CLAIMS.values(), ids=CLAIMS)
def test_claims_can_be_read(access_token: str, claims: dict[str, Any]) -> None:
    """The claims of a JWT can be read and not changed; another token has none."""
    assert Token(access_token=access_token).claims == claims
    with pytest.raises(TypeError):
        Token(access_token=access_token).claims["sub"] = "root"  # type: ignore[index]


def test_a_token_is_immutable_and_shows_nothing() -> None:
    """A token shows no secret, cannot be changed, and is equal to another with the same attributes."""
    token = Token(access_token="tok-123", refresh_token="again-456", scope="read", expires_at=NOW)
    assert "read" in repr(token)
    assert pickle.loads(pickle.dumps(token)) == token
    assert Token(access_token="tok") == Token(access_token="tok", token_type="Bearer", expires_at=None, issued_at=0.0)
    assert not [secret for secret in ("tok-123", "again-456") if secret in f"{token} {token!r}"]
    with pytest.raises(AttributeError):
        token.access_token = "other"
    with pytest.raises(AttributeError, match="a Token is immutable"):
        del token.access_token
    assert len({token, Token(access_token="tok-123", refresh_token="again-456", scope="read", expires_at=NOW)}) == 1


#: What to do, for which statuses and bodies.
ADVICE: dict[str, list[tuple[int, Any]]] = {
    "check client_id and client_secret, and that the server expects them where": [
        (200, {"error": "invalid_client"}), (500, {"error": "invalid_client"}), (401, {"error": "E42"}),
        (401, b"<html>Log in"), (401, b""), (403, {"error": {"x": 7}}), (403, b" "),
    ],
    "is token_url the token endpoint, and is method (POST or GET) right?": [
        (400, b"<html>Bad Request</html>"), (404, {"message": "nope"}), (404, b""), (405, b"x"),
    ],
    "the server is in trouble or asks for a pause: try again later": [
        (500, {"error": "E42"}), (500, b"<html>\nOops"), (503, {"message": "nope"}), (429, b""),
    ],
    "check what the server's documentation asks for": [
        (400, {"error": "invalid_request"}), (400, {"message": "nope"}), (400, b"Bad"), (402, b"x"),
        (200, {"error": "x", "access_token": "tok"}), (200, {"error": {"x": 7}}),
    ],
    "ask the server's owner whether this client must send a DPoP proof": [(400, {"error": "invalid_grant"})],
    "the server asks for DPoP (RFC 9449): set dpop (or the variable DPOP) to true": [
        (400, {"error": "invalid_dpop_proof"}), (400, {"error": "use_dpop_nonce"}),
    ],
    "set scope (or the variable SCOPE) to what this client was given": [(400, {"error": "invalid_scope"})],
    "check audience and resource": [(400, {"error": "invalid_target"})],
    "have the server's owner allow this client its grant type": [(400, {"error": "unauthorized_client"})],
    "check that the server offers this grant type": [(400, {"error": "unsupported_grant_type"})],
}  # fmt: skip


@pytest.mark.parametrize(("answer", "advice"), rows(ADVICE))
def test_a_refusal_says_what_to_do(answer: tuple[int, Any], advice: str) -> None:
    """A refusal in any form becomes one line with the server's words and what to do."""
    status, body = answer
    error = refused(body, status)
    code = body["error"] if isinstance(body, dict) and isinstance(body.get("error"), str) else None
    words = body.get("message") or json.dumps(body) if isinstance(body, dict) else " ".join(body.decode().split())
    assert f"answered {status} ({code or words or 'an empty body'}); {advice}" in str(error)
    assert error.error == code
    assert error.advice.startswith(advice)


def test_a_refusals_parts_are_attributes() -> None:
    """The parts of a refusal are attributes, and a pause that the server asks for is in the message."""
    body = {"error": "invalid_grant", "error_description": "Account\nlocked", "error_uri": "https://example.com/e/7"}
    for sent in (body, urlencode(body)):
        error = refused(sent, 400, retry_after="7")
        assert (error.error, error.description, error.uri) == (body["error"], "Account locked", body["error_uri"])
        assert error.retry_after == 7.0
        assert "(invalid_grant: Account locked), and asks to wait 7 s; " in str(error)
    for value in list[Any]((5, "", None, {})):
        error = refused({"error": "x", "error_description": value, "error_uri": value}, 400)
        assert (error.description, error.uri) == (None, None)


LONG = ["x " * 2500, {"message": "x " * 2500}, {"error_description": "x " * 500_000}, "a\x00\x1b[31m\x85\u2028" * 500]


@pytest.mark.parametrize("body", LONG, ids=type)
def test_a_body_is_quoted_in_part(body: Any) -> None:
    """A page of HTML does not fill a log, and a description is cut to 500 characters."""
    error = refused(body, 500)
    assert 200 < len(str(error)) < 700
    assert error.description is None or len(error.description) == 500


NO_ADDRESSES = [
    "", "https://[bad", "https://a\x85b.example.com/", "https://a b.example.com/", "/a\r\nb", "javascript:alert(1)",
    "https://id.example.com:99999/", "https://\u202eid.example.com/",
]  # fmt: skip
REDIRECTS = {
    "https://ann:pw@login.example.com:8443/a/b?c#d": "a redirect to https://login.example.com:8443/a/b; ",
    "http://LOGIN.example.com": "a redirect to http://login.example.com; ",
    "https://[2001:DB8::1]:8443/token": "a redirect to https://[2001:db8::1]:8443/token; ",
    "/v2/token?x=1": "a redirect to https://id.example.com/v2/token; ",
    "//other.example.com/token": "a redirect to https://other.example.com/token; ",
    "?next=1": "a redirect to https://id.example.com/token; ",
    f"https://login.example.com/{quote(SECRET, safe='')}/x": "a redirect to ***; ",
    f"https://login.example.com/{JWT}/a": "a redirect to https://login.example.com/***/a; ",
    **dict.fromkeys(NO_ADDRESSES, "a redirect; "),
}


@pytest.mark.parametrize(("location", "named"), REDIRECTS.items())
def test_a_redirect_is_refused(location: str, named: str) -> None:
    """A redirect is not followed; the error shows its target and says what to set."""
    for status in (300, 302, 399):
        error = refused(b"", status, location=location)
        assert f"answered {named}" in str(error)
        assert "set token_url to the final address" in str(error)


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


#: How servers spell a secret that they quote; more spellings are below, and in test_properties.
SPELLINGS = {
    "raw": SECRET,
    "percent-encoded by JavaScript": quote(SECRET, safe="!'()*/"),
    "as Basic": base64_of(f"client-7:{quote(SECRET, safe='')}"),
    "in JSON in JSON": json.dumps(json.dumps(SECRET))[3:-3],
    "in .NET's JSON": json.dumps(SECRET)[1:-1].replace("+", r"\u002B").replace(r"\"", r"\u0022"),
}


def assert_no_secret(error: TokenRequestError, spelt: str) -> None:
    shown = f"{error} {error!r} {vars(error)}"
    for text in (SECRET, spelt):
        assert not [text[start : start + 6] for start in range(len(text) - 5) if text[start : start + 6] in shown]


@pytest.mark.parametrize("spelt", SPELLINGS.values(), ids=SPELLINGS)
def test_no_spelling_of_the_secret_is_shown(spelt: str) -> None:
    """A server that quotes the secret, plain or encoded, gets no part of it into an error, wherever the text is cut."""
    for before in (0, 150, 190, 198):
        assert_no_secret(refused("x" * before + spelt + " wrong", 400, "text/plain"), spelt)
    assert_no_secret(refused(b"", 400, content_encoding=f"br {spelt}"), spelt)
    for name in ("error", "error_description", "error_uri", "message"):
        assert_no_secret(refused({"error": "x", name: f"no: {spelt}"}, 401), spelt)


@pytest.mark.parametrize("secret", ['correct "horse" battery/staple', "open sesame"])
def test_a_secret_of_ordinary_words_is_not_shown(secret: str) -> None:
    """A secret with spaces is dropped as a whole, also where the server breaks its line or escapes it."""
    escaped = json.dumps(secret)[1:-1]
    spaced = [secret.replace(" ", space) for space in (" ", "  ", "\n", "\x00")]
    for spelt in (*spaced, escaped, escaped.replace("/", r"\/"), html.escape(secret), quote_plus(secret)):
        for body in (f"<p>{spelt} is wrong</p>", {"error": "x", "error_description": f"{spelt} is wrong"}):
            error = error_of(request(client_secret=secret), body, 400)
            assert not [word for word in re.findall(r"\w+", secret) if word in f"{error} {vars(error)}"]


SHORT = "s+cr~t?>"
SHORT_SPELLINGS = [
    *((SHORT, spelt) for spelt in (SHORT, f"'{SHORT}',", f"id:{SHORT}@host")),
    *((SHORT, base64_of(f"{before}{SHORT}{after}")) for before in ("", "a", "ab") for after in ("", ":")),
    (SHORT, base64.urlsafe_b64encode(SHORT.encode()).decode().rstrip("=")),
    # As other languages than Python escape it for HTML and JSON.
    ("it's my horse", "it&#039;s my horse"),
    ('my "own" <horse>', 'my "own" &lt;horse&gt;'),
    (r"horse\7+battery", r"horse\\7\u002Bbattery"),
    ("h\U0001f40ers+e", r"h\uD83D\uDC0Ers\u002Be"),
]


@pytest.mark.parametrize(("secret", "spelt"), SHORT_SPELLINGS)
def test_the_word_of_a_secret_is_dropped(secret: str, spelt: str) -> None:
    """A secret that does not look like a token is dropped in each spelling, Base64 at any offset included."""
    assert Redactor([secret, "no"])(f"see {spelt} here") == "see *** here"
    assert Redactor([secret[:4], secret])(f"see {spelt} here") == "see *** here", "the longer one first"


GRANT = Password(URL, "user", "p4ssw0rd", "id", "s3cr3t", revocation_url=URL)
REFRESH, ACCESS = GRANT.revocation_requests("4ccess", "r3fr3sh")
SENT_SECRETS: dict[str, tuple[TokenRequest, str]] = {
    "a client secret": (GRANT.refresh_request("r3fr3sh"), "s3cr3t"),
    "a refresh token": (GRANT.refresh_request("r3fr3sh"), "r3fr3sh"),
    "a revoked refresh token": (REFRESH, "r3fr3sh"),
    "a revoked access token": (ACCESS, "4ccess"),
    "a password": (requests_of(GRANT)[0], "p4ssw0rd"),
    "an assertion": (request(params={"assertion": ["as53rt10n", "other"]}), "as53rt10n"),
    "a header": (request(headers={"Authorization": "as53rt10n"}), "as53rt10n"),
    "a header with a scheme": (request(headers={"Authorization": "Bearer as53rt10n"}), "as53rt10n"),
    "a short code": (request(params={"pin": "my_own_secret"}), "my_own_secret"),
    "a number": (request(params={"pin": 48151623}), "48151623"),
    "a number that a callable returns": (request(params={"n": lambda: 4815.25}), "4815.25"),
    "an old name": (request(params={"user_pw": "hunterhunter"}), "hunterhunter"),
    "another name": (request(params={"x": "hunterhunter"}, names={"password": "x"}), "hunterhunter"),
    "a key in the URL": (ClientCredentials(f"{URL}?code=QUERYKEY99", "id").refresh_request("r"), "QUERYKEY99"),
}


@pytest.mark.parametrize(("sent", "secret"), SENT_SECRETS.values(), ids=SENT_SECRETS)
def test_every_secret_of_the_request_is_one(sent: TokenRequest, secret: str) -> None:
    """The secrets, passwords, tokens and keys that are sent are in no error."""
    assert "(no *** ***)" in str(error_of(sent, f"no {secret} /token?code={secret}", 400))
    error = error_of(sent, {"error": secret, "message": f"no {secret}"}, 400)
    assert secret not in f"{error} {error!r} {vars(error)}"


ORDINARY: list[tuple[dict[str, Any], str]] = [
    ({"params": {"prompt": "login"}}, "login_required"),
    ({"params": {"tenant": "Production"}}, "no_production"),
    ({"headers": {"User-Agent": "acme sync for the token"}}, "token_expired"),
    ({"headers": {"X-Tenant": "client"}}, "invalid_client"),
]


@pytest.mark.parametrize(("options", "code"), ORDINARY)
def test_ordinary_words_of_a_request_are_shown(options: dict[str, Any], code: str) -> None:
    """Ordinary words among the user's parameters and headers stay in the server's code and words."""
    words = "The token for the user needs consent in production"
    error = error_of(request(**options), {"error": code, "error_description": words}, 400)
    assert (error.error, error.description) == (code, words)


OPAQUE = "mF9B5f41JqM4n8cZ2xW7"
#: Words that look like tokens, and others of the same kind that do not.
TOKENS = [
    "eyJhbGciOjF9.e30.c2ln", JWT.partition(".")[0], SAMPLE, ENCRYPTED, f"token:{JWT},", f"'{OPAQUE}'.",
    f"id={OPAQUE};x", "ya29.a0AfB_byC-mF9B5f41JqM4n8cZ2xW7", "0123456789abcdef0123456789",
    "YWJjZGVm+MTIzNDU2Nzg5MDEyMzQ1Njc4OTA/MTI=", "A" * 19 + "1", "x" * 1001, "9e0f6a3a-1f0c-4d2e-8b7a-0a1b2c3d4e5f1",
]  # fmt: skip
NO_TOKENS = [
    "AADSTS7000215:", "a1" * 9 + "a", "InvalidClientAuthenticationException", "01234567890123456789", "x" * 1000,
    "(9E0F6A3A-1F0C-4D2E-8B7A-0A1B2C3D4E5F)", "client_secret_basic", "https://id.example.com/oauth2/v2.0/token",
    "2023-11-14T22:14:20.123Z",
]  # fmt: skip


@pytest.mark.parametrize("name", ["error", "error_description", "error_uri", "message"])
def test_a_word_that_looks_like_a_token_is_dropped(name: str) -> None:
    """A JWT, or 20 letters and digits in a row, is dropped wherever a server writes it; other words stay."""
    for word in TOKENS:
        error = refused({name: f"bad {word} (end)"}, 400)
        assert error.description in (None, "bad *** (end)")
        assert word.strip("'.;,") not in str(error)
    for word in NO_TOKENS:
        error = refused({"error": "x"} | {name: f"bad {word} (end)"}, 400)
        assert f"bad {word} (end)"[:500] in f"{error.error} {error.description} {error.uri}"


@pytest.mark.parametrize("body", [{"access_token": "t0k3n-1"}, "refresh_token=t0k3n-1&x=y", f"<p> {JWT} </p>", JWT])
def test_a_refusal_shows_no_token(body: Any) -> None:
    """A token in an answer with status 500 is in no message."""
    message = str(refused(body, 500))
    assert "***" in message
    assert not [word for word in ("t0k3n-1", *JWT.split(".")) if word in message]


ENTRA = (
    "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
    "value, not the client secret ID, for a secret added to app '5f1e2d3c-0b1a-4c2d-8e3f-a0b1c2d3e4f5'. Trace ID: "
    "0d1e2f3a-4b5c-6d7e-8f90-a1b2c3d4e5f6 Correlation ID: 6f5e4d3c-2b1a-0f9e-8d7c-6b5a4f3e2d1c Timestamp: "
    "2026-11-14 22:14:20Z"
)
GITHUB = "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/"
#: Refusals of real servers: status, error, description, and other members.
REAL: dict[str, tuple[int, str, str, dict[str, Any]]] = {
    "Entra": (401, "invalid_client", ENTRA, {}),
    "Okta": (401, "invalid_client", "The client secret supplied for a confidential client is invalid.", {}),
    "Auth0": (403, "access_denied", "Service not found: https://api.example.com/v2", {}),
    "Keycloak": (401, "unauthorized_client", "Invalid client or Invalid client credentials", {}),
    "Salesforce": (400, "invalid_client_id", "client identifier invalid", {}),
    "Google": (400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes).", {}),
    "Spotify": (400, "invalid_client", "Invalid client secret", {}),
    "PayPal": (401, "invalid_client", "Client Authentication failed", {}),
    "GitHub": (200, "incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.",
               {"error_uri": f"{GITHUB}#incorrect-client-credentials"}),
    "Zoom": (400, "invalid_client", "", {"reason": "Invalid client_id or client_secret"}),
    "Cognito": (400, "invalid_client", "invalid_client_secret", {}),
    "Zitadel": (400, "invalid_client", "Errors.User.NotFound (QUERY-Dfbg2)", {}),
    "Apigee": (401, "", "", {"ErrorCode": "invalid_client", "description": "ClientId is Invalid"}),
    "Okta's API": (401, "", "", {"errorCode": "E0000011", "errorSummary": "Invalid token provided", "errorId": "oaeQ"}),
}  # fmt: skip


@pytest.mark.parametrize(("status", "code", "words", "others"), REAL.values(), ids=REAL)
def test_what_real_servers_say_is_shown_whole(status: int, code: str, words: str, others: dict[str, Any]) -> None:
    """The code and the words of a real server's refusal, such as ``AADSTS7000215``, lose nothing."""
    error = refused({"error": code, "error_description": words, **others}, status)
    words = words or next(value for name, value in others.items() if name in ("reason", "description", "errorSummary"))
    assert (error.error, error.description) == (code or None, words)
    assert f"answered {status} ({f'{code}: ' if code else ''}{words})" in str(error)
    assert "***" not in f"{error} {vars(error)}"


@pytest.mark.parametrize("before", [0, 25, 36, 40])
def test_a_token_that_its_answer_repeats_is_not_shown(before: int, caplog: pytest.LogCaptureFixture) -> None:
    """A token, or a secret, that the server repeats as type and scope is in no log and no dump, wherever it is cut."""
    for repeated in ("live-token-12345", SECRET):
        answer = {"access_token": "live-token-12345", "token_type": "x" * before + repeated, "scope": f"a {repeated}"}
        token = token_of(answer)
        assert (token.access_token, token.scope) == ("live-token-12345", "a ***")
        assert repeated[:4] not in caplog.text + repr(token) + repr(token.members())


def test_a_secret_where_a_large_page_is_cut_is_not_shown() -> None:
    """No half of a secret is shown where a page that is too large is cut."""
    for length in range((1 << 16) - 40, (1 << 16) + 40, 7):
        assert_no_secret(refused(" " * length + SECRET, 400, "text/plain"), SECRET)
    for length in range((1 << 16) - 24, 1 << 16, 3):
        page = "x " * (length // 2) + "&" * (length % 2)
        assert "%2B" not in Redactor(["++++++++"])(page + "%2B" * 8)
        assert "correct" not in Redactor(["correct horse battery"])(page + "correct horse battery")


@pytest.mark.parametrize("unit", ["eyJ-", "token ", "token=", "&amp", "%41&amp;\\x41", "\\u00", "a=b&", "{[", "****"])
@pytest.mark.timeout(60)
def test_no_body_takes_long(unit: str) -> None:
    """No body of a megabyte keeps the process busy, with twenty secrets in the request: all searches are linear."""
    sent = request(params={f"p{number}": f"s3cr3t-{number}" for number in range(20)})
    assert error_of(sent, unit * (LONGEST_BODY // len(unit)), 400).status_code == 400


PAUSES: dict[str, float | None] = {
    "120": 120, " 120 ": 120, "0": 0, "9" * 40: 999_999_999, "": None, "-5": None, "1.5": None, "soon": None, "٣": None,
    email.utils.formatdate(NOW + 90, usegmt=True): 90, email.utils.formatdate(NOW - 90, usegmt=True): 0,
    "Mon, 99 Foo 2030 00:00:00 GMT": None,
}  # fmt: skip


@pytest.mark.parametrize(("value", "seconds"), PAUSES.items())
def test_retry_after(value: str, seconds: float | None) -> None:
    """``Retry-After`` in seconds or as a date is read as seconds."""
    assert refused(b"", 503, retry_after=value).retry_after == seconds
