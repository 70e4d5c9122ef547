"""What a token endpoint may answer, and what is made of it: a token, or an error that says what to do."""

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

from auth_plugins import ClientCredentials, Password, Token, TokenRequestError, providers
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol import answers as _answer
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import LONGEST_BODY, TokenRequest, TokenResponse
from auth_plugins._protocol.redaction import Redactor

NOW = 1_700_000_000.0
URL = "https://id.example.com/token"
#: Spelt differently by each encoding.
SECRET = '7rg6Gt+hU/ob="€ü'
DECADE = 10 * 365 * 86400


def request(**options: Any) -> TokenRequest:
    """A token request of client credentials, with a scope."""
    return requests_of(ClientCredentials(URL, "client-7", SECRET, **{"scope": "all", **options}))[0]


def requests_of(grant: OAuthGrant) -> list[TokenRequest]:
    """The token request of *grant*."""
    requests: list[TokenRequest] = []
    grant.request_token(lambda each: requests.append(each) or Token(access_token="tok"))  # type: ignore[func-returns-value]
    return requests


def response(body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> TokenResponse:
    """*body* as bytes, as text, or as what JSON is made of."""
    text = body if isinstance(body, (bytes, str)) else json.dumps(body)
    content = text if isinstance(text, bytes) else text.encode()
    headers = {"content-type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    return TokenResponse(status=status, headers=headers, body=content, received_at=NOW)


def taken(body: Any, status: int = 200, content_type: str = "application/json") -> Token:
    return read(request(), response(body, status, content_type), NOW)


def refused(body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> TokenRequestError:
    with pytest.raises(TokenRequestError) as caught:
        read(request(), response(body, status, content_type, **headers), NOW)
    error = caught.value
    assert error.status_code == status
    assert str(error).startswith(f"{URL} answered ")
    assert str(error).isprintable(), "one line, and nothing that steers a terminal"
    assert error.__cause__ is error.__context__ is None, "what was parsed comes along in no other error"
    return error


def jwt(claims: Any, header: Any = None) -> str:
    parts = (
        base64.urlsafe_b64encode(part if isinstance(part, bytes) else json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none"} if header is None else header, claims)
    )
    return ".".join((*parts, "c2lnbmF0dXJl"))


def rows(table: Mapping[str, Iterable[Any]]) -> list[Any]:
    """Parameters of a table that has what is expected on its left."""
    return [pytest.param(value, told, id=f"{value!r:.60}") for told, values in table.items() for value in values]


JWT = jwt({"exp": NOW + 600, "sub": "me"})
#: The bare answer of the Upload API's documentation: it was cut, and ends in dots.
SAMPLE = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6IjBFNUMxNEU4OEIzRjFFMEFCNDlGNUIzMkU5NzNDMDQ0NkY0MjJDRURSUzI1NiIsInR5cCI6ImE0K2p3dCJ9"
)
SAMPLE += "..."
ENCRYPTED = jwt({}, {"alg": "dir", "enc": "A256GCM"}) + ".x.y"
PLAIN = b'{"access_token": "tok"}'
BOM = codecs.BOM_UTF8 + PLAIN
FORM = "application/x-www-form-urlencoded"
GOOD: dict[str, tuple[bytes, str, str]] = {
    "a JSON object": (PLAIN, "application/json", "tok"),
    "without a content type": (PLAIN, "", "tok"),
    "as text/html": (PLAIN, "text/html; charset=utf-8", "tok"),
    "as a form": (PLAIN, FORM, "tok"),
    "between white space": (b"\r\n " + PLAIN + b"\n", "application/json", "tok"),
    "with a byte order mark": (BOM, "application/json", "tok"),
    "with a byte order mark and a charset": (BOM, 'application/json; charset="UTF-8"', "tok"),
    "with another name of the charset": (BOM, "application/json; charset=utf8", "tok"),
    "in UTF-16": (PLAIN.decode().encode("utf-16"), "application/json; charset=UTF-16", "tok"),
    "in Latin-1": (b'{"access_token": "tok", "x": "\xff"}', "application/json; charset=iso-8859-1", "tok"),
    "with bytes that are not UTF-8": (b'{"access_token": "tok", "x": "\xff"}', "application/json", "tok"),
    "with an unknown charset": (PLAIN, "application/json; charset=klingon", "tok"),
    "with a charset that is none": (PLAIN, "application/json; charset=hex", "tok"),
    "with a code page that is none": (PLAIN, "application/json; charset=cp99999", "tok"),
    "with a charset in a charset that is none": (PLAIN, "application/json; charset*=\x00'en'utf-8", "tok"),
    "with a charset for host names": (PLAIN, "application/json; charset=idna", "tok"),
    "with a charset that takes minutes": (PLAIN, "application/json; charset=punycode", "tok"),
    "with a member twice": (b'{"access_token": "old", "access_token": "tok"}', "application/json", "tok"),
    "with a null error": (b'{"access_token": "tok", "error": null}', "application/json", "tok"),
    "with an empty error": (b'{"access_token": "tok", "error": ""}', "application/json", "tok"),
    "with an error that is false": (b'{"access_token": "tok", "error": false}', "application/json", "tok"),
    "form-encoded": (b"access_token=tok&expires_in=60", FORM, "tok"),
    "form-encoded as text": (b"expires=60&access_token=t%20o+k\n", "text/plain", "t o k"),
    "form-encoded, with raw spaces": (b"access_token=tok&note=read write&expires_in=60", FORM, "tok"),
    "form-encoded, with raw spaces at first": (b"note=read write&access_token=tok", "text/plain", "tok"),
    "with its scheme": (b'{"access_token": "Bearer tok"}', "application/json", "tok"),
    "with its scheme in small letters": (b'{"access_token": "bearer  tok"}', "application/json", "tok"),
    "with its scheme in capitals, in a form": (b"access_token=BEARER%20tok", FORM, "tok"),
    "with its scheme twice": (b'{"access_token": "Bearer bearer tok"}', "application/json", "tok"),
    "called bearer": (b'{"access_token": "bearer"}', "application/json", "bearer"),
    "a bare JWT with its scheme": (b"Bearer " + JWT.encode(), "text/plain", JWT),
    "a JSON string that is a JWT with its scheme": (json.dumps(f"bearer {JWT}").encode(), "application/json", JWT),
    "with an error that is the text null": (b'{"access_token": "tok", "error": "null"}', "application/json", "tok"),
    "a bare JWT": (JWT.encode(), "text/plain", JWT),
    "a JSON string that is a JWT": (json.dumps(JWT).encode(), "application/json", JWT),
    "the documented sample": (json.dumps(SAMPLE).encode(), "application/json", SAMPLE),
    "the documented sample, bare": (SAMPLE.encode() + b"\n", "", SAMPLE),
    "an encrypted JWT": (ENCRYPTED.encode(), "application/jwt", ENCRYPTED),
}


@pytest.mark.parametrize(("body", "content_type", "access_token"), GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_token_is_read_however_it_comes(body: bytes, content_type: str, access_token: str, status: int) -> None:
    """A token in any of these forms is read, as Bearer, issued at the moment of the request."""
    token = taken(body, status, content_type)
    assert (token.access_token, token.header_value) == (access_token, f"Bearer {access_token}")
    assert (token.token_type, token.refresh_token, token.scope, token.issued_at) == ("Bearer", None, None, NOW)


@pytest.mark.parametrize("body", [PLAIN, JWT, b"access_token=tok", b'{"access_token": "tok", "error": null}'])
@pytest.mark.parametrize("status", [100, 199, 300, 304, 400, 401, 404, 429, 500, 503])
def test_only_a_success_has_a_token(body: bytes, status: int) -> None:
    """An access_token in any other answer than a 2xx is not used."""
    assert refused(body, status).error is None


NO_TOKEN: dict[str, list[Any]] = {
    "answered no token: the body is empty; is token_url": [b"", b" \r\n"],
    "answered no token: it is a web page; is token_url": [
        b"<!DOCTYPE html><title>Log in</title>",
        b" <html>access_token=tok",
    ],
    "neither a JSON object nor a form nor a JWT; is token_url": [
        *(b"tok", b'"tok"', b"a.b.c", b"3", b"null", b"{}", b"[" * 100_000, PLAIN[:-1], [{"access_token": "tok"}]),
        *(b"access_token=a b", b"error: a=b", jwt({}, {"typ": "JWT"}), jwt({}, ["alg"]), f"{JWT} {JWT}"),
        JWT.partition(".")[0],
    ],
    "answered no access_token; is token_url": [
        *({"access_token": each} for each in list[Any]((None, "", " ", "null", "None", "undefined"))),
        b"access_token=null",
    ],
    "answered no access_token, but state, x; is token_url": [{"state": 5, "x": None}, b"state=5&x=1&access_token=null"],
    "answered no access_token, but message (welcome); is token_url": [{"message": "welcome"}, b"message=welcome"],
    "answered no access_token, but errcode, errmsg (invalid appid); ": [{"errcode": 40013, "errmsg": "invalid appid"}],
    "answered no access_token, but data; is token_url": [{"data": {"access_token": "tok"}}],
    "answered no access_token, but m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 and 2 more; is": [
        {f"m{number}": number for number in range(12)}
    ],
    "answered an access_token that cannot stand in a header; is token_url": [
        *(
            {"access_token": each}
            for each in list[Any]((5, {}, True, "a\r\nX-Injected: 1", "tok\n", "tok ", "a\x00b", "a\tb", "tök"))
        ),
        b"access_token=%ff",
    ],
    "answered more than 1 MiB; is token_url": [b" " * LONGEST_BODY + b"x", b"x" * (LONGEST_BODY + 1)],
}


@pytest.mark.parametrize(("body", "told"), rows(NO_TOKEN))
def test_what_is_no_token_is_an_error(body: Any, told: str) -> None:
    """Another body with a 200, such as a login page, is an error that asks for the URL."""
    error = refused(body)
    assert told in str(error)
    assert (error.error, error.uri, error.retry_after) == (None, None, None)


def test_a_body_of_1_mib_is_read() -> None:
    """A body of exactly 1 MiB is read."""
    assert taken(PLAIN + b" " * (2**20 - len(PLAIN))).access_token == "tok"
    assert LONGEST_BODY == 2**20


@pytest.mark.parametrize("spelt", [None, "", "  ", "Bearer", "bearer", "BEARER", " bearer\t"])
def test_bearer_however_it_is_spelt(spelt: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Any spelling of ``bearer``, and none at all, is a Bearer token without a warning."""
    assert taken({"access_token": "tok", "token_type": spelt}).token_type == "Bearer"
    assert not caplog.records


@pytest.mark.parametrize("kind", ["mac", "MAC", "PoP", "DPoP", "N_A", "Basic", " dpop "])
def test_what_is_not_bearer_is_refused_by_name(kind: str) -> None:
    """A token that needs a proof with each request is refused by the name of its type."""
    error = refused({"access_token": "tok", "token_type": kind})
    assert f"of type {kind.strip().lower()!r}; have the server's owner give this client Bearer tokens" in str(error)


@pytest.mark.parametrize("kind", [5, False, ["Bearer"], {}])
def test_a_token_type_that_is_no_string_is_refused(kind: Any) -> None:
    """A token_type that is no string is an error."""
    assert "token_type that is no string" in str(refused({"access_token": "tok", "token_type": kind}))


@pytest.mark.parametrize("kind", ["JWT", "access_token", "Bearer JWT", "x" * 100])
def test_an_unknown_token_type_is_used_as_bearer(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A token of an unknown type is used as Bearer, with one warning."""
    for _ in range(3):
        token = taken({"access_token": "tok", "token_type": kind})
        assert (token.token_type, token.header_value) == (kind[:40], "Bearer tok")
    [record] = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "auth_plugins")
    assert record.message.startswith(f"{URL} answered the unknown token_type {kind[:40]!r}")


def test_each_endpoint_and_type_gets_its_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Each endpoint and type is warned of once, and the memory for that is bounded."""
    other = ClientCredentials("https://other.example.com/token", "id", "s3cr3t")
    for asked in (request(), *requests_of(other), request(params={"a": "b"})):
        for kind in ("JWT", "magic"):
            read(asked, response({"access_token": "tok", "token_type": kind}), NOW)
    assert len(caplog.records) == 4
    for number in range(1000):
        taken({"access_token": "tok", "token_type": f"kind {number}"})
    assert _answer._warn_once.cache_info().currsize == 256


@pytest.mark.parametrize("before", [0, 25, 36, 40])
def test_a_token_type_shows_no_secret(before: int, caplog: pytest.LogCaptureFixture) -> None:
    """A secret in the token_type is in no log, wherever the warning cuts it."""
    token = taken({"access_token": "tok", "token_type": "x" * before + SECRET})
    assert SECRET[:4] not in caplog.text + repr(token)


LIFETIMES: dict[Any, float] = {
    3600: 3600, 3600.5: 3600.5, "3600": 3600, "3600.5": 3600.5, "3600.": 3600, "3.6e3": 3600, " 3600\n": 3600,
    "+3600": 3600, 1e-9: 0, 10**12: DECADE, "1e99": DECADE, "1e999": DECADE, 10**400: DECADE, DECADE: DECADE,
}  # fmt: skip


@pytest.mark.parametrize(("told", "seconds"), LIFETIMES.items(), ids=[f"{told!r:.20}" for told in LIFETIMES])
def test_the_lifetime_counts_from_the_request(told: Any, seconds: float) -> None:
    """The token ends ``expires_in`` seconds after the request, in any spelling, whatever the JWT's exp says."""
    assert taken({"access_token": JWT, "expires_in": told, "expires_at": 1}).expires_at == NOW + seconds


NOTHING: list[Any] = [0, "0", -0.0, -10, "-10", "-1e999", -(10**400), None, False, "", "  ", "null", "None"]


@pytest.mark.parametrize("told", NOTHING, ids=[f"{told!r:.20}" for told in NOTHING])
@pytest.mark.parametrize("name", ["expires_in", "expires_at", "expires_on", "expires"])
def test_a_lifetime_of_0_says_nothing(name: str, told: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A lifetime of 0 or less is ignored: the JWT's exp counts, or the token has no known end."""
    assert taken({"access_token": JWT, name: told}).expires_at == NOW + 600
    assert taken({"access_token": "tok", name: told}).expires_at is None
    assert taken({"access_token": "tok", "expires_on": NOW + 5, name: told}).expires_at == (
        None if name == "expires_on" else NOW + 5
    )
    assert not caplog.records


NO_NUMBERS = 'true [] [60] {} "soon" "1h" "1_000" "٣" "0x10" "NaN" "inf" NaN Infinity -Infinity'
NO_DATES = (
    "1 hour", "2030-13-01", "2030-02-30T00:00:00Z", "2030-01-01T00:00:00+25:00",
    "01/02/2030", "2030-01-01T00:00:00 CET", "٢٠٣٠-01-01", "\ud800", "2030-01-01" + "0" * 1000,
)  # fmt: skip


@pytest.mark.parametrize("told", [*NO_NUMBERS.split(), *map(json.dumps, NO_DATES)])
@pytest.mark.parametrize("name", ["expires_in", "expires_at", "expires_on", "expires"])
def test_a_lifetime_that_cannot_be_read_costs_the_lifetime(
    name: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A lifetime that cannot be read is ignored, with one warning; another member may say the end."""
    for _ in range(3):
        assert taken(f'{{"access_token": "tok", "{name}": {told}}}').expires_at is None
    [record] = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "auth_plugins")
    assert record.message.startswith(f"{URL} answered an {name} that is neither a number nor a date; ")
    other = "expires_on" if name != "expires_on" else "expires"
    assert taken(f'{{"access_token": "tok", "{name}": {told}, "{other}": {NOW + 5}}}').expires_at == NOW + 5
    assert taken(f'{{"access_token": "{JWT}", "{name}": {told}}}').expires_at == NOW + 600


#: What may be sent as a moment, and the seconds from now until then; ``None``: it tells nothing.
MOMENTS: dict[Any, float | None] = {
    NOW + 60: 60, f" {NOW + 60:.0f} ": 60, NOW + 0.5: 0.5, (NOW + 60) * 1000: 60, str((NOW + 60) * 1000): 60,
    NOW + DECADE: DECADE, (NOW + DECADE) * 1000: DECADE, NOW + DECADE + 1: DECADE, "1e999": DECADE,
    NOW: None, NOW - 1: None, NOW * 1000: None, 1e11: None, 1e11 - 1: DECADE,
    "2023-11-14T22:14:20Z": 60, "2023-11-14T22:14:20": 60, "2023-11-14T22:14:20.5z": 60.5, "20231114T221420Z": 60,
    "2023-11-14 22:14:20": 60, "2023-11-14t23:14:20+01:00": 60, "2023-11-15T03:44:20+0530": 60,
    "2023-11-13T22:15:20-23:59": 60, "2023-11-14T22:14:20.1234567Z": 60.123456, "2023-11-14T22:14:20 UTC": 60,
    "2023-11-14T22:14:20GMT": 60, "2023-11-14T23:14:20+01:00[Europe/Paris]": 60, "2023-11-14T22:14:20Z[UTC]": 60,
    "2023-11-15": 6400, "2023-W46-3": 6400, "2023-11-14T22:13:20Z": None, "2020-01-01": None,
    "0001-01-01T00:00:00+23:59": None, "9999-12-31T23:59:59-23:59": DECADE,
}  # fmt: skip


@pytest.mark.parametrize("name", ["expires_at", "expires_on", "expires"])
@pytest.mark.parametrize(("told", "seconds"), MOMENTS.items(), ids=map(repr, MOMENTS))
def test_a_moment_in_seconds_milliseconds_or_iso_8601(name: str, told: Any, seconds: float | None) -> None:
    """The end may be in seconds, milliseconds or ISO 8601; a moment that has passed is ignored."""
    got = taken({"access_token": "tok", name: told}).expires_at
    assert got == (None if seconds is None else pytest.approx(NOW + seconds, abs=1e-6))


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs time.tzset")
def test_a_date_without_a_zone_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date without a zone is in UTC in every time zone."""
    for zone in ("Asia/Tokyo", "America/New_York", "UTC-5"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert taken({"access_token": "tok", "expires_at": "2023-11-14T22:14:20"}).expires_at == NOW + 60
    monkeypatch.delenv("TZ")
    time.tzset()


#: What stands in expires_in though it is a moment, and the seconds until then.
MOMENTS_AS_LIFETIMES: dict[Any, float | None] = {
    NOW + 60: 60, f"{NOW + 60:.0f}": 60, (NOW + 60) * 1000: 60, f"{NOW + 60:.0f}000": 60, NOW + 0.5: 0.5,
    NOW + DECADE: DECADE, (NOW + DECADE) * 1000: DECADE, "2023-11-14T22:14:20Z": 60, "2023-11-14T22:13:20Z": None,
    # Neither of them can be a moment within the next ten years.
    NOW: DECADE, NOW - 60: DECADE, NOW + DECADE + 1: DECADE, NOW * 1000: DECADE, DECADE: DECADE, DECADE - 1: DECADE - 1,
}  # fmt: skip


@pytest.mark.parametrize(("told", "seconds"), MOMENTS_AS_LIFETIMES.items(), ids=map(repr, MOMENTS_AS_LIFETIMES))
def test_an_expires_in_that_can_only_be_a_moment(told: Any, seconds: float | None) -> None:
    """An ``expires_in`` that can only be a moment is read as one."""
    got = taken({"access_token": "tok", "expires_in": told}).expires_at
    assert got == (None if seconds is None else NOW + seconds)


def test_a_lifetime_is_no_moment_where_the_clock_was_not_set() -> None:
    """Where the clock was not set, 3600 is still an hour."""
    answer = response({"access_token": "tok", "expires_in": 3600})
    assert read(request(), answer, 500.0).expires_at == 4100


#: iat and exp of the JWT, expires_in, and the seconds that the token is used.
SHORTER: list[tuple[dict[str, Any], Any, float]] = [
    ({"iat": NOW, "exp": NOW + 300}, 3600, 300),
    ({"iat": NOW - 9000, "exp": NOW - 8700}, 3600, 300),  # of another clock
    ({"iat": NOW, "exp": NOW + 3599}, 3600, 3599),
    ({"iat": NOW, "exp": NOW + 3600}, 3600, 3600),
    ({"iat": NOW, "exp": NOW + 3601}, 3600, 3600),
    ({"iat": NOW - 3000, "exp": NOW + 600}, 600, 600),  # handed out again: what is left of it
    ({"iat": NOW, "exp": NOW + 300}, NOW + 3600, 300),
    ({"iat": NOW * 1000, "exp": (NOW + 300) * 1000}, 3600, 300),
    ({"iat": str(NOW), "exp": str(NOW + 300)}, "3600", 300),
    ({"exp": NOW + 300}, 3600, 3600),
    ({"iat": NOW + 300, "exp": NOW}, 3600, 3600),
    ({"iat": NOW, "exp": NOW}, 3600, 3600),
    ({"iat": NOW, "exp": "soon"}, 3600, 3600),
    ({"iat": True, "exp": NOW + 300}, 3600, 3600),
]


@pytest.mark.parametrize(("claims", "told", "seconds"), SHORTER)
def test_the_shorter_life_counts(claims: dict[str, Any], told: Any, seconds: float) -> None:
    """The shorter of ``expires_in`` and the JWT's own lifetime counts."""
    assert taken({"access_token": jwt(claims), "expires_in": told}).expires_at == NOW + seconds


UNTOLD: dict[str, tuple[dict[str, Any], float | None]] = {
    "nowhere": ({"access_token": "tok"}, None),
    "in the JWT": ({"access_token": JWT, "expires_at": NOW + 1}, NOW + 600),
    "in the JWT, as a float": ({"access_token": jwt({"exp": NOW + 0.5})}, NOW + 0.5),
    "in a JWT without exp": ({"access_token": jwt({}), "expires_on": NOW + 1}, NOW + 1),
    "in a JWT, as words": ({"access_token": jwt({"exp": "soon"}), "expires_on": NOW + 1}, NOW + 1),
    "in a JWT, as a bool": ({"access_token": jwt({"exp": True})}, None),
    "in a JWT, as NaN": ({"access_token": jwt(b'{"exp": NaN}')}, None),
    "in a JWT, never": ({"access_token": jwt(b'{"exp": Infinity}')}, NOW + DECADE),
    "in a JWT that is over": ({"access_token": jwt({"exp": NOW - 60})}, NOW - 60),
    "in a JWT that is over, and never began": ({"access_token": jwt({"iat": NOW, "exp": NOW - 60})}, NOW - 60),
    "in a JWT of another clock": ({"access_token": jwt({"iat": NOW - 4000, "exp": NOW - 400})}, NOW + 3600),
    "in a JWT that is over this moment": ({"access_token": jwt({"iat": NOW - 60, "exp": NOW})}, NOW + 60),
    "in a JWT that is over since ever": ({"access_token": jwt({"exp": -5})}, 0),
    "in a JWT, its beginning": ({"access_token": jwt({"iat": NOW})}, None),
    "in a JWT of a slow clock": ({"access_token": jwt({"iat": NOW - 400, "exp": NOW + 3200})}, NOW + 3200),
    "in expires_at": ({"access_token": "tok", "expires_at": NOW + 60, "expires_on": NOW + 1}, NOW + 60),
    "in expires_on": ({"access_token": "tok", "expires_at": " ", "expires_on": NOW + 60, "expires": 5}, NOW + 60),
    "in expires_on, as expires_at has passed": (
        {"access_token": "tok", "expires_at": 5, "expires_on": NOW + 9},
        NOW + 9,
    ),
    "in expires": ({"access_token": "tok", "expires": NOW + 60}, NOW + 60),
    "in expires, as a lifetime": ({"access_token": "tok", "expires": "60"}, NOW + 60),
    "in expires, as the longest lifetime": ({"access_token": "tok", "expires": DECADE}, NOW + DECADE),
    "in expires, as a date of long ago": ({"access_token": "tok", "expires": "1975-01-01"}, None),
    "in expires, as milliseconds of long ago": ({"access_token": "tok", "expires": 2e11}, None),
    "in expires, as a long time ago": ({"access_token": "tok", "expires": DECADE + 1}, None),
}


@pytest.mark.parametrize(("members", "expires_at"), UNTOLD.values(), ids=UNTOLD)
@pytest.mark.parametrize("empty", [{}, {"expires_in": None}, {"expires_in": ""}, {"expires_in": "  "}], ids=str)
def test_without_expires_in_the_end_is_looked_for(
    members: dict[str, Any], expires_at: float | None, empty: dict[str, Any]
) -> None:
    """Without ``expires_in``, the JWT's exp counts, then expires_at, expires_on and expires."""
    assert taken({**members, **empty}).expires_at == expires_at


FORMS = {"expires=60": 60, "expires_in=60&expires=5": 60, "expires_in=0": None, "expires_in=": None, "x=1": None}


@pytest.mark.parametrize(("body", "seconds"), FORMS.items())
def test_a_form_tells_its_lifetime(body: str, seconds: float | None) -> None:
    """A form may call the lifetime ``expires``."""
    expires_at = taken(f"access_token=tok&{body}", content_type=FORM).expires_at
    assert expires_at == (None if seconds is None else NOW + seconds)


@pytest.mark.parametrize(
    ("told", "taken_as"),
    [
        ("again", "again"), ("nullable", "nullable"), (5, None), (["a"], None),
        *((absent, None) for absent in ("", None, " ", "null", "NULL", " null ", "None", "nil", "undefined")),
    ],
)  # fmt: skip
def test_a_refresh_token_is_a_string(told: Any, taken_as: str | None) -> None:
    """A refresh token is a string that says something."""
    assert taken({"access_token": "tok", "refresh_token": told}).refresh_token == taken_as


@pytest.mark.parametrize(("told", "taken_as"), [("a b", "a b"), (["a", "b"], "a b"), ("", ""), (None, None), (5, None)])
def test_the_scope_is_what_was_granted(told: Any, taken_as: str | None) -> None:
    """The scope is one string, also where the server sends a list."""
    assert taken({"access_token": "tok", "scope": told}).scope == taken_as


def test_a_refresh_token_that_cannot_be_sent_does_no_harm() -> None:
    """A refresh token that no request can carry does not fail the refresh."""
    token = taken(b'{"access_token": "tok", "refresh_token": "\\ud800"}')
    if token.refresh_token is not None:
        ClientCredentials(URL, "id", "s3cr3t").refresh_request(token.refresh_token)


CLAIMS: dict[str, tuple[str, dict[str, Any]]] = {
    "a JWT": (jwt({"name": "ü€", "roles": ["a"]}), {"name": "ü€", "roles": ["a"]}),
    "two parts": (jwt({"sub": "me"}).rpartition(".")[0], {}),
    "no JSON": ("a.b.c", {}),
    "the documented sample": (SAMPLE, {}),
    "encrypted": (jwt({"sub": "me"}) + ".x.y", {}),
    "a list": (jwt(["sub"]), {}),
    "a header that is no object": (jwt({"sub": "me"}, "header"), {}),
    "nesting without end": (jwt(b"[" * 100_000), {}),
    "beyond ASCII": ("ü.ü.ü", {}),
}


@pytest.mark.parametrize(("access_token", "claims"), CLAIMS.values(), ids=CLAIMS)
def test_claims_are_for_a_look(access_token: str, claims: dict[str, Any]) -> None:
    """The claims of a JWT can be read and not changed; another token has none."""
    token = Token(access_token=access_token)
    assert token.claims == claims
    with pytest.raises(TypeError):
        token.claims["sub"] = "root"  # type: ignore[index]


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
        *((status, {"error": "invalid_client"}) for status in (200, 400, 401, 500)),
        *((401, {"error": "E42"}), (401, {"message": "nope"}), (401, b"<html>Log in"), (401, b"")),
        *((403, {"error": {"x": 7}}), (403, b"<html>"), (403, b" ")),
    ],
    "is token_url the token endpoint, and is method (POST or GET) right?": [
        *((400, b"<html>Bad Request</html>"), (404, b"<html>"), (404, {"message": "nope"}), (404, b""), (405, b"x")),
    ],
    "the server is in trouble or asks for a pause: try again later": [
        *((500, {"error": "E42"}), (500, b"<html>\nOops"), (503, {"message": "nope"}), (429, b""), (599, b"x")),
    ],
    "check what the server's documentation asks for": [
        *((400, {"error": "invalid_request"}), (400, {"message": "nope"}), (400, b""), (400, b"Bad"), (402, b"x")),
        *((200, {"error": "x", "access_token": "tok"}), (200, {"error": {"x": 7}})),
    ],
    "ask the server's owner whether this client must send a DPoP proof": [(400, {"error": "invalid_grant"})],
    "the server asks for DPoP (RFC 9449): have its owner give this client Bearer tokens": [
        *((400, {"error": each}) for each in ("invalid_dpop_proof", "use_dpop_nonce")),
    ],
    "set scope (or the variable SCOPE) to what this client was given": [(400, {"error": "invalid_scope"})],
    "check audience and resource": [(400, {"error": "invalid_target"})],
    "have the server's owner allow this client its grant type": [(400, {"error": "unauthorized_client"})],
    "check that the server offers this grant type": [(400, {"error": "unsupported_grant_type"})],
}


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


def test_without_a_client_the_user_is_to_be_checked() -> None:
    """A refused user name and password without a client are named in the advice."""
    grant = providers.auth_api("https://auth.example.com", "user", "p4ssw0rd")
    with pytest.raises(TokenRequestError, match="check username and password, and that"):
        grant.request_token(lambda request: read(request, response({"message": "nope"}, 401), NOW))


def test_a_pause_that_the_server_asks_for_is_shown() -> None:
    """The message of a refusal with a Retry-After has its seconds."""
    assert "answered 503 (an empty body), and asks to wait 7 s; " in str(refused(b"", 503, retry_after="7"))


def test_an_html_page_is_known_by_its_type_too() -> None:
    """A body of type text/html is a page, also without a tag at its start."""
    assert "is token_url the token endpoint" in str(refused(b"Oops", 400, "Text/HTML; charset=utf-8"))
    assert "web page" in str(refused(b"Oops", 200, "text/html"))


def test_a_refusals_parts_are_attributes() -> None:
    """The parts of a refusal are attributes."""
    body = {"error": "invalid_grant", "error_description": "Account\nlocked", "error_uri": "https://example.com/e/7"}
    for error in (refused(body, 400, retry_after="7"), refused(urlencode(body), 400, retry_after="7")):
        assert (error.error, error.description, error.uri) == (body["error"], "Account locked", body["error_uri"])
        assert error.retry_after == 7.0
        assert "(invalid_grant: Account locked)" in str(error)
    for value in list[Any]((5, "", None, {})):
        error = refused({"error": "x", "error_description": value, "error_uri": value}, 400)
        assert (error.description, error.uri) == (None, None)


@pytest.mark.parametrize("body", ["x " * 2500, {"message": "x " * 2500}, "a\x00\x1b[31m\x85\u2028" * 500], ids=type)
def test_a_body_is_quoted_in_part(body: Any) -> None:
    """A page of HTML does not fill a log."""
    assert 200 < len(str(refused(body, 500))) < 400


REDIRECTS = {
    "https://login.example.com/?next=/token": "a redirect to https://login.example.com/; ",
    "https://ann:pw@login.example.com:8443/a/b?c#d": "a redirect to https://login.example.com:8443/a/b; ",
    "http://LOGIN.example.com": "a redirect to http://login.example.com; ",
    "https://[2001:DB8::1]:8443/token": "a redirect to https://[2001:db8::1]:8443/token; ",
    "/v2/token?x=1": "a redirect to https://id.example.com/v2/token; ",
    "v2/token": "a redirect to https://id.example.com/v2/token; ",
    "../v2/token": "a redirect to https://id.example.com/v2/token; ",
    "//other.example.com/token": "a redirect to https://other.example.com/token; ",
    "?next=1": "a redirect to https://id.example.com/token; ",
    f"https://login.example.com/{quote(SECRET, safe='')}/x": "a redirect to ***; ",
    f"https://login.example.com/{JWT}/a": "a redirect to https://login.example.com/***/a; ",
    **dict.fromkeys(
        [
            *(
                "",
                " ",
                "https://[bad",
                "https://a\x85b.example.com/",
                "https://a b.example.com/",
                "/a\tb",
                "\x01/a",
                "/a\r\nb",
            ),
            *("ftp://id.example.com/token", "javascript:alert(1)", "mailto:a@b.example.com", "data:,x"),
            *("https://id.example.com:99999/", "https://id.example.com:x/", "https://\u202eid.example.com/"),
        ],
        "a redirect; ",
    ),
}


@pytest.mark.parametrize("status", [300, 302, 399])
@pytest.mark.parametrize(("location", "named"), REDIRECTS.items())
def test_a_redirect_is_refused(status: int, location: str, named: str) -> None:
    """A redirect is not followed; the error shows its target and says what to set."""
    error = refused(b"", status, location=location)
    assert f"answered {named}" in str(error)
    assert "set token_url to the final address" in str(error)


def test_a_redirects_host_shows_no_secret() -> None:
    """A secret in the host of a redirect, which is read in lower case, is not shown."""
    with pytest.raises(TokenRequestError, match=r"a redirect to \*\*\*; ") as caught:
        read(request(params={"pin": "AbCdE"}), response("", 302, location="https://AbCdE.example.com/x"), NOW)
    assert "abcde" not in str(caught.value).lower()


#: How servers spell a secret that they quote.
SPELLINGS = {
    "raw": SECRET,
    "percent-encoded": quote(SECRET, safe=""),
    "percent-encoded by JavaScript": quote(SECRET, safe="!'()*/"),
    "percent-encoded in lower case": re.sub("%..", lambda match: match[0].lower(), quote(SECRET, safe="")),
    "form-encoded": quote_plus(SECRET),
    "in HTML": html.escape(SECRET),
    "in HTML, by numbers": "".join(f"&#{ord(char)};" for char in SECRET),
    "in Base64": base64.b64encode(SECRET.encode()).decode(),
    "in Base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    "in Base64, behind one byte": base64.b64encode(f":{SECRET}".encode()).decode(),
    "in Base64, behind two": base64.b64encode(f"x:{SECRET} ".encode()).decode(),
    "as Basic": base64.b64encode(f"client-7:{quote(SECRET, safe='')}".encode()).decode(),
    "as raw Basic": base64.b64encode(f"client-7:{SECRET}".encode()).decode(),
    "in JSON": json.dumps(SECRET)[1:-1],
    "in JSON in JSON": json.dumps(json.dumps(SECRET))[3:-3],
    "in PHP's JSON": json.dumps(SECRET)[1:-1].replace("/", r"\/"),
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
    for name in ("error", "error_description", "error_uri", "message"):
        assert_no_secret(refused({"error": "x", name: f"no: {spelt}"}, 401), spelt)


@pytest.mark.parametrize(
    ("secret", "spelt"),
    [
        ("it's my horse", "it&#39;s my horse"),
        ("it's my horse", "it&#039;s my horse"),
        ('my "own" <horse>', 'my "own" &lt;horse&gt;'),
        (r"horse\7+battery", r"horse\\7\u002Bbattery"),
        ("h\U0001f40ers+e", r"h\uD83D\uDC0Ers\u002Be"),
    ],
)
def test_escapes_of_other_languages_are_seen(secret: str, spelt: str) -> None:
    """A secret that the server escaped for JSON or HTML by other means than Python's is not shown."""
    asked = requests_of(ClientCredentials(URL, "client-7", secret))[0]
    with pytest.raises(TokenRequestError, match=r"no: \*\*\*") as caught:
        read(asked, response(f"no: {spelt}", 400, "text/plain"), NOW)
    assert spelt not in str(caught.value)


@pytest.mark.parametrize("secret", ["correct horse battery", 'correct "horse" battery/staple', "open sesame"])
def test_a_secret_of_ordinary_words_is_not_shown(secret: str) -> None:
    """A secret with spaces is dropped as a whole, also where the server breaks its line or escapes it."""
    asked = requests_of(ClientCredentials(URL, "client-7", secret))[0]
    escaped = json.dumps(secret)[1:-1]
    spaced = [
        secret,
        escaped,
        escaped.replace("/", r"\/"),
        secret.replace(" ", "  "),
        secret.replace(" ", "\n"),
        secret.replace(" ", "\x00"),
    ]
    for spelt in (*spaced, html.escape(secret), quote_plus(secret), quote(secret)):
        for body in (f"<p>{spelt} is wrong</p>", {"error": "x", "error_description": f"{spelt} is wrong"}):
            with pytest.raises(TokenRequestError) as caught:
                read(asked, response(body, 400), NOW)
            shown = f"{caught.value} {vars(caught.value)}"
            assert not [word for word in re.findall(r"\w+", secret) if word in shown]


SHORT = "s+cr~t?>"
SHORT_SPELLINGS = [
    *(SHORT, quote(SHORT, safe=""), json.dumps(SHORT)[1:-1], html.escape(SHORT), f"'{SHORT}',", f"id:{SHORT}@host"),
    *(
        base64.b64encode(f"{before}{SHORT}{after}".encode()).decode()
        for before in ("", "a", "ab")
        for after in ("", ":")
    ),
    *(base64.urlsafe_b64encode(f"{before}{SHORT}".encode()).decode().rstrip("=") for before in ("", "a", "ab")),
]


@pytest.mark.parametrize("spelt", SHORT_SPELLINGS)
def test_the_word_of_a_short_secret_is_dropped(spelt: str) -> None:
    """A secret that does not look like a token is dropped in each spelling, Base64 at any offset included."""
    assert Redactor([SHORT])(f"no {spelt} here") == "no *** here"


def test_the_longer_secret_is_dropped_first() -> None:
    """A secret that contains another is dropped as a whole."""
    assert Redactor(["abc", "abc def", "x"])("x abc def") == "x ***"


def test_every_secret_of_the_request_is_one() -> None:
    """The client's secret, the password and the tokens that are sent are in no error."""
    grant = Password(URL, "user", "p4ssw0rd", "id", "s3cr3t", revocation_url=URL)
    requests = [grant.refresh_request("r3fr3sh"), *grant.revocation_requests("4ccess", "r3fr3sh")]
    grant.request_token(lambda each: requests.append(each) or Token(access_token="tok"))  # type: ignore[func-returns-value]
    for sent, words in zip(requests, ("r3fr3sh", "r3fr3sh", "4ccess", "p4ssw0rd"), strict=True):
        with pytest.raises(TokenRequestError, match=r"\(no \*\*\* and \*\*\*\)"):
            read(sent, response(f"no {words} and s3cr3t", 400), NOW)


OPAQUE = "mF9B5f41JqM4n8cZ2xW7"
#: Words that look like tokens, and others of the same kind that do not.
TOKENS = [
    *(
        "eyJhbGciOjF9.e30.c2ln",
        JWT,
        JWT.partition(".")[0],
        SAMPLE,
        ENCRYPTED,
        f"token:{JWT},",
        OPAQUE,
        f"'{OPAQUE}'.",
        f"id={OPAQUE};x",
    ),
    *("ya29.a0AfB_byC-mF9B5f41JqM4n8cZ2xW7", "gho_16C7e42F292c6912E7710c838347Ae178B4a", "0123456789abcdef0123456789"),
    *("YWJjZGVm+MTIzNDU2Nzg5MDEyMzQ1Njc4OTA/MTI=", "A" * 19 + "1", "x" * 1001, "9e0f6a3a-1f0c-4d2e-8b7a-0a1b2c3d4e5f1"),
]
NO_TOKENS = [
    *("AADSTS7000215:", "a1" * 9 + "a", "InvalidClientAuthenticationException", "01234567890123456789"),
    *("9e0f6a3a-1f0c-4d2e-8b7a-0a1b2c3d4e5f", "(9E0F6A3A-1F0C-4D2E-8B7A-0A1B2C3D4E5F)", "client_secret_basic"),
    *("https://id.example.com/oauth2/v2.0/token", "2023-11-14T22:14:20.123Z", "apikeyJson", "x" * 1000),
]


@pytest.mark.parametrize("name", ["error", "error_description", "error_uri", "message"])
def test_a_word_that_looks_like_a_token_is_dropped(name: str) -> None:
    """A JWT, or 20 letters and digits in a row, is dropped wherever a server writes it; other words stay."""
    for word in TOKENS:
        assert f"{refused({name: f'bad {word} (end)'}, 400).description or ''}" in ("", "bad *** (end)")
        assert word.strip("'.;,") not in str(refused({name: f"bad {word} (end)"}, 400))
    for word in NO_TOKENS:
        error = refused(
            {"error": "x", name: f"bad {word} (end)"} if name != "error" else {name: f"bad {word} (end)"}, 400
        )
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
    "Auth0": (401, "access_denied", "Unauthorized", {}),
    "Auth0, audience": (403, "access_denied", "Service not found: https://api.example.com/v2", {}),
    "Keycloak": (401, "unauthorized_client", "Invalid client or Invalid client credentials", {}),
    "Salesforce": (400, "invalid_client_id", "client identifier invalid", {}),
    "Salesforce, login": (400, "invalid_grant", "authentication failure", {}),
    "Google": (401, "invalid_client", "The OAuth client was not found.", {}),
    "Google, clock": (
        400,
        "invalid_grant",
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
        {},
    ),
    "Spotify": (400, "invalid_client", "Invalid client secret", {}),
    "PayPal": (401, "invalid_client", "Client Authentication failed", {}),
    "GitHub": (
        200,
        "incorrect_client_credentials",
        "The client_id and/or client_secret passed are incorrect.",
        {"error_uri": f"{GITHUB}#incorrect-client-credentials"},
    ),
    "Zoom": (400, "invalid_client", "", {"reason": "Invalid client_id or client_secret"}),
    "Cognito": (400, "invalid_client", "invalid_client_secret", {}),
    "Django OAuth Toolkit": (401, "invalid_client", "Invalid client credentials.", {}),
    "Zitadel": (400, "invalid_client", "Errors.User.NotFound (QUERY-Dfbg2)", {}),
    "Apigee": (401, "", "", {"ErrorCode": "invalid_client", "description": "ClientId is Invalid"}),
    "Okta's API": (401, "", "", {"errorCode": "E0000011", "errorSummary": "Invalid token provided", "errorId": "oaeQ"}),
}


@pytest.mark.parametrize(("status", "code", "words", "others"), REAL.values(), ids=REAL)
def test_what_real_servers_say_is_shown_whole(status: int, code: str, words: str, others: dict[str, Any]) -> None:
    """The code and the words of a real server's refusal, such as ``AADSTS7000215``, lose nothing."""
    error = refused({"error": code, "error_description": words, **others}, status)
    words = words or next(value for name, value in others.items() if name in ("reason", "description", "errorSummary"))
    assert (error.error, error.description) == (code or None, words)
    assert f"answered {status} ({f'{code}: ' if code else ''}{words})" in str(error)
    assert "***" not in f"{error} {vars(error)}"


ORDINARY: list[tuple[dict[str, Any], str]] = [
    ({"params": {"prompt": "login"}}, "login_required"),
    ({"params": {"response_type": "token"}}, "invalid_token"),
    ({"params": {"tenant": "Production"}}, "no_production"),
    ({"headers": {"User-Agent": "acme sync for the token"}}, "token_expired"),
]


@pytest.mark.parametrize(("options", "code"), ORDINARY)
def test_ordinary_words_that_i_send_are_told(options: dict[str, Any], code: str) -> None:
    """Ordinary words among the parameters and headers of the user stay in the server's words."""
    said = "The token for the user needs consent in production"
    with pytest.raises(TokenRequestError) as caught:
        read(request(**options), response({"error": code, "error_description": said}, 400), NOW)
    assert (caught.value.error, caught.value.description) == (code, said)


def test_a_code_that_is_a_secret_is_not_told() -> None:
    """A secret that the server sends as the code is not shown."""
    with pytest.raises(TokenRequestError) as caught:
        read(request(params={"pin": "my_own_secret"}), response({"error": "my_own_secret"}, 400), NOW)
    assert "my_own_secret" not in f"{caught.value} {vars(caught.value)}"


def test_what_is_told_of_a_token_does_not_hold_it(caplog: pytest.LogCaptureFixture) -> None:
    """A token that the server repeats as type and scope is in no log and no dump."""
    answer = {"access_token": "live-token-12345", "token_type": "live-token-12345", "scope": "a live-token-12345"}
    token = read(request(), response(answer), NOW)
    assert (token.access_token, token.scope) == ("live-token-12345", "a ***")
    assert "live-token" not in caplog.text + repr(token) + repr(token.members())


def test_a_secret_where_a_large_page_is_cut_is_not_shown() -> None:
    """No half of a secret is shown where a page that is too large is cut."""
    for length in range((1 << 16) - 40, (1 << 16) + 40, 7):
        assert_no_secret(refused(" " * length + SECRET, 400, "text/plain"), SECRET)
    for length in range((1 << 16) - 24, 1 << 16, 3):
        page = "x " * (length // 2) + "&" * (length % 2)
        assert "%2B" not in Redactor(["++++++++"])(page + "%2B" * 8)
        assert "correct" not in Redactor(["correct horse battery"])(page + "correct horse battery")


@pytest.mark.timeout(60)
def test_many_secrets_in_a_large_body_take_no_time() -> None:
    """Twenty secrets are looked for in a megabyte without delay."""
    sent = request(params={f"p{number}": f"s3cr3t-{number}" for number in range(20)})
    with pytest.raises(TokenRequestError):
        read(sent, response(b"%41&amp;\\x41" * (LONGEST_BODY // 12), 400), NOW)


@pytest.mark.parametrize("unit", ["eyJ-", "token ", "token=", "&amp", "%41", "\\u00", "a=b&", "{[", "****"])
@pytest.mark.timeout(60)
def test_no_body_takes_long(unit: str) -> None:
    """No body of a megabyte keeps the process busy: what is not linear would take hours here."""
    assert refused(unit * (LONGEST_BODY // len(unit)), 400).status_code == 400


PROOFS: list[dict[str, Any]] = [
    *({"params": {"assertion": each}} for each in ("as53rt10n", ["as53rt10n", "other"])),
    *({"headers": {"Authorization": each}} for each in ("as53rt10n", "Bearer as53rt10n")),
]


@pytest.mark.parametrize("options", PROOFS, ids=str)
def test_what_i_add_to_the_request_is_a_secret_too(options: dict[str, Any]) -> None:
    """An assertion in ``params`` or ``headers`` is a secret."""
    with pytest.raises(TokenRequestError) as caught:
        read(request(**options), response(b"as53rt10n is wrong", 400), NOW)
    assert "as53rt10n" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("options", [{"headers": {"X-Tenant": "client"}}, {"params": {"realm": "client"}}], ids=str)
def test_a_code_is_told_whatever_i_add(options: dict[str, Any]) -> None:
    """A short word of the user's own does not change the error code."""
    with pytest.raises(TokenRequestError) as caught:
        read(request(**options), response({"error": "invalid_client"}, 401), NOW)
    assert caught.value.error == "invalid_client"


REST: dict[str, float | None] = {
    "120": 120, " 120 ": 120, "0": 0, "9" * 40: 999_999_999, "": None, "-5": None, "1.5": None, "soon": None, "٣": None,
    email.utils.formatdate(NOW + 90, usegmt=True): 90, email.utils.formatdate(NOW - 90, usegmt=True): 0,
    "Mon, 99 Foo 2030 00:00:00 GMT": None,
}  # fmt: skip


@pytest.mark.parametrize(("value", "seconds"), REST.items())
def test_retry_after(value: str, seconds: float | None) -> None:
    """``Retry-After`` in seconds or as a date is read as seconds."""
    assert refused(b"", 503, retry_after=value).retry_after == seconds


def test_a_long_description_is_cut() -> None:
    """A description of a megabyte is cut to 500 characters."""
    error = refused({"error": "invalid_scope", "error_description": "long " * 200_000}, 400)
    assert error.description is not None
    assert (len(error.description), len(str(error)) < 1000) == (500, True)


def test_a_secret_in_the_query_of_the_endpoint_is_one() -> None:
    """A key in the query of the token endpoint is a secret."""
    asked = ClientCredentials(f"{URL}?code=QUERYKEY99", "client-7").refresh_request("r3fr3sh")
    with pytest.raises(TokenRequestError) as caught:
        read(asked, response("Cannot POST /token?code=QUERYKEY99", 404), NOW)
    assert "QUERYKEY99" not in str(caught.value)


def test_a_scope_shows_no_secret() -> None:
    """A secret in the scope is not shown by the token."""
    assert SECRET not in repr(taken({"access_token": "tok", "scope": f"a {SECRET}"}))
