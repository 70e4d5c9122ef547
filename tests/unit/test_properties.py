"""Generated answers, bytes on the wire, variables, URLs and texts: each gives a result or one clear error.

``FUZZ=10`` makes 10 times as many examples, at random; that is ``tox -e fuzz``.
"""

from __future__ import annotations

import base64
import html
import ipaddress
import json
import math
import os
import re
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import httpx
import httpx2
import idna
import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

import auth_plugins.httpx
import auth_plugins.httpx2
import auth_plugins.requests
from auth_plugins import (
    ApiKey,
    AuthError,
    ClientCredentials,
    ConfigurationError,
    Grant,
    MemoryCache,
    Token,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._environment import definitions as _definitions
from auth_plugins._environment.configuration import configuration
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import TokenResponse
from auth_plugins._protocol.redaction import Redactor
from tests.support.endpoints import Endpoint
from tests.support.loopback import Clock

FUZZ = int(os.environ.get("FUZZ") or 0)


def often(count: int, **options: Any) -> settings:
    """So many examples, always the same ones; with FUZZ that many times as many, and others each time."""
    return settings(max_examples=count * max(FUZZ, 1), derandomize=not FUZZ, deadline=None, **options)


@pytest.fixture(autouse=True)
def _no_secret_shows() -> None:
    """In place of the whole suite's, which reads all logs: here servers quote secrets, and each test looks itself."""


NOW = 1_700_000_000.0
URL = "https://id.example.com/token"
CLIENT_SECRET, REFRESH_TOKEN, ASSERTION, TENANT_KEY = (
    "Zq7+x/Kp=4&uW",
    "rT9~v*Lm2'yB!e",
    '{"a5":"Hn6<8%c"}',
    "jD3fG8hK1s",
)
SECRETS = (CLIENT_SECRET, REFRESH_TOKEN, ASSERTION, TENANT_KEY)
GRANT = ClientCredentials(
    URL, "client-7", CLIENT_SECRET, params={"assertion": ASSERTION}, headers={"X-Key": f"Key {TENANT_KEY}"}
)
REQUEST = GRANT.refresh_request(REFRESH_TOKEN)


def spellings(secret: str) -> dict[str, str]:
    """The promised spellings of a secret that a server, or a library, quotes."""
    quoted = quote(secret, safe="")
    return {
        "as it is": secret,
        "percent-encoded": quoted,
        "percent-encoded, in lower case": re.sub("%..", lambda match: match[0].lower(), quoted),
        "percent-encoded, but for what a path may hold": quote(secret),
        "percent-encoded to the last character": "".join(f"%{byte:02X}" for byte in secret.encode()),
        "form-encoded": quote_plus(secret),
        "in HTML": html.escape(secret),
        "in HTML, by numbers": "".join(f"&#{ord(char)};" for char in secret),
        "in Base64": base64.b64encode(secret.encode()).decode(),
        "in JSON": json.dumps(secret)[1:-1],
        "in JSON, in UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "in JSON, with slashes escaped": json.dumps(secret)[1:-1].replace("/", r"\/"),
        "in JSON, to the last character": "".join(f"\\u{ord(char):04x}" for char in secret if ord(char) < 1 << 16),
    }


def shown(error: BaseException) -> str:
    """All that can be shown of an error and of its causes."""
    parts: list[object] = []
    while error is not None:
        parts += [error, repr(error), error.args, vars(error), *traceback.format_exception(error)]
        assert error.__context__ is None or error.__suppress_context__ or error.__context__ is error.__cause__
        error = error.__cause__  # type: ignore[assignment]
    return "\n".join(map(str, parts))


SPELT = {spelt: (secret, how) for secret in SECRETS for how, spelt in spellings(secret).items()}


def assert_no_secret(text: str) -> None:
    """No secret is left in *text*, in any spelling."""
    assert not [where for spelt, where in SPELT.items() if spelt in text], text


def assert_sound(token: Token) -> None:
    """A token that can be sent, and whose end can be compared."""
    assert re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", token.access_token)
    assert token.header_value == f"Bearer {token.access_token}"
    assert token.expires_at is None or (isinstance(token.expires_at, float) and math.isfinite(token.expires_at))
    assert token.refresh_token is None or (token.refresh_token.isascii() and token.refresh_token.isprintable())
    assert isinstance(token.claims, Mapping)


def assert_refusal(error: TokenRequestError) -> None:
    assert str(error).startswith(f"{URL} answered ")
    assert error.retry_after is None or 0 <= error.retry_after < math.inf
    assert error.__cause__ is error.__context__ is None


def outcome(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """The token or the error for an answer, which keeps all promises."""
    answer = TokenResponse(status=status, headers=headers, body=body, received_at=NOW)
    try:
        token = read(REQUEST, answer, NOW)
    except TokenRequestError as error:
        assert_clear(error)
        assert_refusal(error)
        return error
    assert 200 <= status < 300
    assert_sound(token)
    return token


def assert_clear(error: BaseException) -> None:
    """An error in one line that shows no secret."""
    assert str(error).isprintable()
    assert_no_secret(shown(error))


secrets = st.sampled_from(SECRETS).flatmap(lambda secret: st.sampled_from(sorted(spellings(secret).values())))
noise = st.text(max_size=8) | st.sampled_from(["<p>", '"', "\\", "%", "&amp;", "token=", "eyJ", "\r\n", "\x1b[31m"])
echoes = st.lists(noise | secrets, min_size=1, max_size=4).map("".join)

CHARSETS = (
    "utf-8 utf8 UTF-16 utf-16le utf-32 utf-7 utf_8_sig iso-8859-1 iso-2022-jp latin1 windows-1252 cp037 cp65001 ascii "
    "idna punycode hex rot13 zip base64 unicode_escape raw_unicode_escape mbcs undefined klingon"
)
charsets = st.sampled_from(CHARSETS.split()) | st.text(max_size=6)
content_types = st.text(max_size=20) | st.builds(
    "{}{}charset{}{}{}".format,
    st.sampled_from(["application/json", "text/html", "application/x-www-form-urlencoded", ""]),
    st.sampled_from(["; ", ";", " "]),
    st.sampled_from(["=", " = ", "*=''", '="', "='"]),
    charsets,
    st.sampled_from(["", '"', "; charset=utf-8"]),
)
dates = st.builds(
    "{}{} {} {} {}:{} {}".format,
    *map(st.sampled_from, (
        ["", "Mon, ", ", "], range(-1, 99), ["Jan", "Foo", "", "13"], [0, 99999, "", 2030, "2030-01-01"], range(-1, 62),
        ["00", "60:61", "0:0:0", "."], ["GMT", "-0000", "+9999", "-99999999", "EST", "", "UTC (x"],
    )),
)  # fmt: skip
retry_afters = st.one_of(
    st.text(max_size=12), dates, st.integers().map(str), st.floats().map(str), st.sampled_from(["9" * 5000, "٣", "²"])
)
header_sets = st.fixed_dictionaries(
    {},
    optional={
        "content-type": content_types,
        "retry-after": retry_afters,
        "location": echoes | st.builds("https://{}/".format, echoes) | st.just("https://[::1"),
        "www-authenticate": echoes,
    },
)
statuses = st.sampled_from([200, 200, 200, 201, 302, 400, 401, 429, 503]) | st.integers(100, 599)


def segment(part: Any) -> str:
    raw = part if isinstance(part, bytes) else part.encode("utf-8", "replace")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


#: JSON texts, also those that Python's own writer would not write.
SCALARS = (
    "NaN Infinity -Infinity null true false 0 -0 -1 60 3600 1e999 -1e999 1E400 0.1e-9 1700000000 1700003600 "
    '"" "\\t" "Bearer" "bearer" "mac" "3600" "1e3" "NaN" "\\ud800" "\\udc00\\ud800" "a\\nb" "\\u0000" "tok" '
    '"invalid_client" "invalid_grant" "a.b.c"'
)
scalars = st.one_of(
    st.sampled_from(SCALARS.split()),
    st.integers().map(str),
    st.integers(300, 5000).map(lambda digits: "9" * digits),
    st.integers(300, 5000).map(lambda digits: "-1" + "0" * digits),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text(max_size=12).map(json.dumps),
    echoes.map(json.dumps),
)


def in_object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members) + "}"


MEMBERS = (
    "access_token access_token token_type expires_in expires_at expires_on expires refresh_token scope error "
    "error_description error_uri message"
)
member_names = st.sampled_from(MEMBERS.split())


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda values: "[" + ",".join(values) + "]"),
        st.lists(st.tuples(member_names, inner), max_size=3).map(in_object),
        st.builds(lambda depth, value: "[" * depth + value + "]" * depth, st.sampled_from([1, 2, 50, 20_000]), inner),
    )


jsons = st.recursive(scalars, nested, max_leaves=4)
claims = st.lists(
    st.tuples(st.sampled_from(["exp", "iat", "nbf", "sub", "alg"]), scalars | st.integers(0, 2 * 10**9).map(str)),
    max_size=4,
)
jwts = st.builds(
    "{}.{}.{}".format,
    st.sampled_from(['{"alg":"none"}', '{"alg":null,"typ":"JWT"}', "[]", '"alg"', "{", '{"alg":' + "[" * 900]).map(
        segment
    )
    | st.binary(max_size=9).map(segment),
    claims.map(in_object).map(segment) | st.binary(max_size=9).map(segment) | st.text(max_size=5),
    st.sampled_from(["c2ln", "", "ü", "a b", "..", "c2ln.x.y", "\n"]),
)
likely = st.lists(st.tuples(member_names, jsons | jwts.map(json.dumps)), min_size=1, max_size=6).map(in_object)
forms = st.lists(st.tuples(member_names, st.text(max_size=8) | echoes | jwts), max_size=5).map(
    lambda pairs: urlencode(pairs, errors="replace")
)
texts = st.one_of(likely, jsons, forms, jwts, jwts.map(json.dumps), echoes, st.text())
good = st.lists(st.tuples(member_names, scalars), max_size=4).map(
    lambda pairs: in_object([("access_token", '"tok"'), ("expires_in", "60"), *pairs])
)


@st.composite
def encoded(draw: Any, written: st.SearchStrategy[str] = texts) -> bytes:
    """A text as bytes: in whatever charset, cut, or with a byte order mark."""
    codec = draw(st.sampled_from(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp037"]))
    body = draw(written).encode(codec, "replace" if codec != "utf-8" else "surrogatepass")
    cut = draw(st.sampled_from([*["not"] * 7, "cut", "padded", "twice"]))
    if cut == "cut":
        return bytes(body[: draw(st.integers(0, len(body)))])
    return bytes({"not": body, "padded": b" \r\n" + body + b"\0\n", "twice": body * 2}[cut])


@often(350)
@given(statuses, header_sets, encoded() | encoded(good) | st.binary())
def test_any_answer_is_a_token_or_an_error(status: int, headers: dict[str, str], body: bytes) -> None:
    """Any answer of a token endpoint is a token that can be sent, or one error in one line, without secrets."""
    outcome(status, headers, body)
    outcome(200, headers, body)
    outcome(200, {}, b'{"access_token": "tok", "expires_in": 60, "scope": ' + body + b"}")
    assert isinstance(outcome(400, headers, body), AuthError)


PLAIN = b'{"access_token": "tok", "expires_in": 60}'
status_lines = st.sampled_from([
    *[b"HTTP/1.1 200 OK"] * 4, b"HTTP/1.1 401 No", b"HTTP/1.0 503 Oops", b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 101 Switching",
    b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 302 Found\r\nLocation: /other", b"HTTP/2 200", b"HTTP/1.1 99 Low",
    b"HTTP/1.1 999 High", b"ICY 200 OK", b"HTTP/1.1", b"HTTP/1.1 abc", b"SSH-2.0-x", b"\x16\x03\x01", b"",
]) | secrets.map(lambda spelt: f"HTTP/1.1 400 {spelt}".encode())  # fmt: skip
HEADER_LINES = [
    b"Content-Type: application/json; charset=utf-16", b"Content-Length: 5", b"Content-Length: 99999999999999999999",
    b"Content-Length: -1", b"Content-Length: 5, 6", b"Content-Length: x", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b"Content-Encoding: gzip", b"Content-Encoding: deflate, br, zstd",
    b"Set-Cookie: a=\xff; domain=\x01", b"Retry-After: 0", b"Location: http://[::1", b" folded: line", b"no colon",
    b": no name", b"X: " + b"y" * 70_000, b"\x00: \x00", b"X-\xfc: \xe2\x82\xac", b"Connection: upgrade, keep-alive",
]  # fmt: skip
header_lines = st.lists(
    st.sampled_from(HEADER_LINES) | secrets.map(lambda spelt: f"X-Echo: {spelt}".encode()), max_size=4
)
payloads = st.sampled_from(
    [PLAIN] * 4 + [b"", b"29\r\n" + PLAIN + b"\r\n0\r\n\r\n", b"ffffffff\r\n", b"-1\r\nx", b"\x1f\x8b"]
)
wire = st.builds(
    lambda line, lines, ending, body: b"\r\n".join([line, *lines]) + ending + body,
    status_lines,
    header_lines,
    st.sampled_from([b"\r\n\r\n"] * 5 + [b"\n\n", b"\r\n", b""]),
    payloads | encoded() | st.binary(),
)


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_any_bytes_on_the_wire_are_a_token_or_an_error(library: str) -> None:
    """Any bytes on the wire are a token or one clear error, without a long wait."""
    answer = b""
    seen: set[type] = set()

    def play(connection: socket.socket, _: threading.Event) -> None:
        connection.settimeout(1)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # otherwise the answer might be lost with the connection
            pass

    @often(100)
    @given(wire | st.binary())
    @example(b"HTTP/1.1 200 OK\r\n\r\n" + PLAIN)
    @example(b"HTTP/1.1 400 " + CLIENT_SECRET.encode() + b"\r\nX-Echo: " + TENANT_KEY.encode() + b"\r\n\r\n")
    @example(CLIENT_SECRET.encode() + b"\r\n\r\n")
    def answered(content: bytes) -> None:
        nonlocal answer
        answer = content
        source = LIBRARIES[library][1].OAuth2Auth(grant, cache=MemoryCache(), timeout=3).source
        began = time.perf_counter()
        try:
            token = source.token()
            assert_sound(token)
            seen.add(Token)
        except AuthError as error:
            assert_clear(error)
            seen.add(type(error))
        assert time.perf_counter() - began < 10

    with Endpoint(play) as endpoint, pytest.MonkeyPatch.context() as patch:
        grant = ClientCredentials(
            endpoint.url,
            "client-7",
            CLIENT_SECRET,
            params={"assertion": ASSERTION, "extra": REFRESH_TOKEN},
            headers={"X-Key": f"Key {TENANT_KEY}"},
        )
        Clock().rule(patch)
        answered()
    assert seen == {Token, TokenRequestError, TokenTransportError}


CANARY = "c4n4ry"
PLAUSIBLE = {
    "PROVIDER": ["upload-api", "jwt-api", "auth-api", "organization-api", "JSON_API"],
    "GRANT_TYPE": ["client_credentials", "password", "refresh-token", "API_KEY"],
    "CLIENT_AUTH": ["none", "client_secret_post", "client_secret_basic_raw"],
    "ENCODING": ["form", "json", "query"],
    "METHOD": ["GET", "post"],
    "STAGING": ["true", "0"],
    "CREDENTIALS": ["header", "query"],
    "CACHE": ["memory", "file", f"file:{CANARY}", f"file:~{CANARY}/x", "file:~", f"redis://:{CANARY}@h", "file:\0"],
    "CACHE_KEY": ["Kx2XJmMg0e7bl9oVX5lSOe8XgKy6mVQVx2Yt0vJtQ1k=", ","],
    "ALLOWED_HOSTS": ["a.example", "*.example.com, [::1]"],
    "LEEWAY": ["0", "60."],
    "TIMEOUT": ["10", ".5"],
    "API_KEY_HEADER": ["X-Key"],
    "REFRESH_AHEAD": ["yes"],
    "REFUSED": ["403 419"],
    "HEADER": ["X-Auth"],
    "SCHEME": ["a={token}"],
    "SCOPE": ["a b"],
    "RESOURCE": ["urn:a, urn:b"],
}
URLS = ["https://a.example", "https://a.b.example/x", "http://127.0.0.1:8000", "https://[::1]:7/", "a.example", "//"]
URLS += [
    f"https://{CANARY}@h",
    f"https://h/#{CANARY}",
    f"https://h?{CANARY}",
    "https://h:99999",
    "https://[::1",
    "http://",
]
#: The variables of whole configurations, which get further than others.
WHOLE = [
    "TOKEN_URL CLIENT_ID CLIENT_SECRET", "TOKEN_URL USERNAME PASSWORD", "TOKEN_URL REFRESH_TOKEN", "API_KEY",
    "PROVIDER BASE_URL CLIENT_ID CLIENT_SECRET", "PROVIDER BASE_URL USERNAME PASSWORD",
]  # fmt: skip
KNOWN = sorted(_definitions.KNOWN)
typos = st.sampled_from(KNOWN).flatmap(
    lambda name: st.sampled_from([f"{name}S", name[:-1], name.lower(), f"X_{name}", f"{name}_FILE", f"_{name}"])
)
any_value = st.text(max_size=6) | st.sampled_from(["", " ", "\n", "\0", "\udcff", "a:b", f"x{CANARY}", f"{CANARY}ü"])


@st.composite
def environments(draw: Any) -> dict[str, str]:
    names = draw(st.lists(st.sampled_from(KNOWN), max_size=9, unique=True))
    if draw(st.booleans()):
        names = [*draw(st.sampled_from(WHOLE)).split(), *names[:3]]
    if draw(st.integers(0, 9)) == 0:
        names.append(draw(typos | st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=6)))
    variables = {}
    for name in names:
        plausible = URLS if name.endswith("_URL") else PLAUSIBLE.get(name)
        likely_one = st.sampled_from(plausible) if plausible else st.sampled_from(["abc", f"{CANARY}-1"])
        variables[f"ACME_{name}"] = draw(likely_one if draw(st.integers(0, 4)) else any_value)
    others = draw(st.dictionaries(st.text(max_size=9) | typos, any_value, max_size=2))
    return {**{name: value for name, value in others.items() if not name.startswith("ACME_")}, **variables}


def assert_names_a_variable(error: ConfigurationError) -> None:
    assert "ACME_" in str(error)
    assert "\n" not in str(error)
    assert CANARY not in shown(error)


@often(400)
@given(environments())
def test_any_environment_is_a_grant_or_an_error(environ: dict[str, str]) -> None:
    """Any environment makes a grant, or an error that names a variable and shows no value."""
    try:
        grant, arguments = configuration("ACME", environ)
    except ConfigurationError as error:
        assert_names_a_variable(error)
        return
    assert isinstance(grant, Grant)
    policy = {"allowed_hosts", "allow_http", "leeway", "timeout", "refresh_ahead", "refused", "header", "scheme"}
    assert arguments.keys() <= {"cache", *policy}
    assert isinstance(auth_plugins.requests.OAuth2Auth(grant, **arguments).source, TokenSource)


def test_a_home_directory_that_is_none_is_not_shown() -> None:
    """The error for a home directory that does not exist does not show the path."""
    environ = {"ACME_API_KEY": "k", "ACME_CACHE": f"file:~{CANARY}/tokens"}
    with pytest.raises(ConfigurationError, match="ACME_CACHE") as caught:
        configuration("ACME", environ)
    assert CANARY not in shown(caught.value)


def canonical(host: str) -> str:
    """A host in one spelling, by other means than the package's own."""
    host = host.removesuffix(".")
    bare = host[1:-1] if host.startswith("[") else host
    if ":" in bare:
        return str(ipaddress.IPv6Address(bare))
    return bare.lower() if bare.isascii() else idna.encode(bare, uts46=True).decode()


def is_meant(pattern: str, host: str, port: int | None) -> bool:
    """Whether one of :data:`LISTED` means an origin, as the documentation of ``allowed_hosts`` says."""
    name, _, wanted_port = pattern.partition(":") if not pattern.startswith("[") else (pattern, "", "")
    if wanted_port and int(wanted_port) != port:
        return False
    return canonical(host).endswith(name[1:]) if name.startswith("*.") else canonical(name) == canonical(host)


LISTED = ["api.example.com", "*.example.org", "[::1]", "127.0.0.1:8080", "bücher.example"]
PIECES = (
    "api.example.com a.example.org .example.org evil.example [::1] 127.0.0.1:8080 127.0.0.1 bücher.example "
    "BÜCHER.example xn--bcher-kva.example evil \uff41pi.example.com api\u3002example.com [fe80::1%25eth0] "
    "[fe80::1%eth0] [0:0::1] 2130706433 0x7f.1 l @ @ : :443 :x :0 . .. / \\ ? # %2e %2E %40 %00 %2f %5c [ ] ; * & _ "
    "\0 \u200b \u00ad \u2100 \uff0f \u2024"
)
authorities = st.lists(st.sampled_from([*PIECES.split(), "\t", "\n", "\r", " "]), min_size=1, max_size=5).map("".join)
BEGINS = ["https://", "https://", "HTTPS://", "http://", "https:", "https:///", "https:\\\\", "//", " https://"]
ENDS = ["", "/", "/@api.example.com", "?@api.example.com", "#@api.example.com", "\\@api.example.com", "/.."]
nasty_urls = st.builds("{}{}{}".format, st.sampled_from(BEGINS), authorities, st.sampled_from(ENDS)) | st.builds(
    "https://{}/{}".format, st.text(max_size=6), authorities
)


def connects_to(library: str, request: Any) -> tuple[str, str, int | None]:
    """The origin that the library itself makes a connection to for a request that it prepared."""
    if library == "requests":
        if not hasattr(ADAPTER, "build_connection_pool_key_attributes"):  # before 2.32.3
            pool = ADAPTER.get_connection_with_tls_context(request, verify=True)
            return pool.scheme, pool.host or "", pool.port
        origin, _ = ADAPTER.build_connection_pool_key_attributes(request, verify=True)
        return origin["scheme"], origin["host"] or "", origin["port"]
    return request.url.scheme, request.url.raw_host.decode("ascii"), request.url.port


ADAPTER: Any = requests.adapters.HTTPAdapter()
LIBRARIES: dict[str, Any] = {
    "requests": (requests, auth_plugins.requests),
    "httpx": (httpx, auth_plugins.httpx),
    "httpx2": (httpx2, auth_plugins.httpx2),
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_any_url_gets_the_token_only_where_it_leads_to_a_listed_host(library: str) -> None:
    """Whatever a URL looks like, the host that the library connects to gets the token only if it is listed."""
    module, adapters = LIBRARIES[library]
    auth = adapters.OAuth2Auth(ApiKey("k3y"), allowed_hosts=LISTED, allow_http=True)
    carried = set()

    @often(400)
    @given(nasty_urls)
    @example("https://api.example.com@evil.example")
    @example("https://evil.example\\@api.example.com")
    @example("https://api.example.com")
    def called(url: str) -> None:
        try:
            request = module.Request("GET", url)
            request = request.prepare() if library == "requests" else request
            scheme, host, port = connects_to(library, request)
        except (ValueError, requests.RequestException, httpx.InvalidURL, httpx2.InvalidURL):
            return  # it is no URL for the library
        if scheme not in ("http", "https"):
            return
        try:
            signed = auth(request) if library == "requests" else next(auth.sync_auth_flow(request))
        except requests.exceptions.InvalidURL:
            return  # an older requests finds that out later
        has_it = "X-API-Key" in signed.headers
        carried.add(has_it)
        try:
            is_listed = any(is_meant(pattern, host, port) for pattern in LISTED)
        except ValueError:  # an IPv6 address that is none
            is_listed = False
        assert not has_it or is_listed, f"{url!r} leads to {host!r}"

    called()
    assert carried == {True, False}


@pytest.mark.parametrize("url", ["ftp://a:b", "x://a:80:80/"])
def test_a_url_that_is_none_is_an_error_of_requests(url: str) -> None:
    """A URL that is none raises the error that requests has for it, with this auth as without."""
    auth = auth_plugins.requests.OAuth2Auth(ApiKey("k3y"), allowed_hosts=LISTED)
    with pytest.raises(requests.RequestException):
        requests.get(url, auth=auth, timeout=1)


@pytest.mark.parametrize("spelt", [TENANT_KEY, base64.b64encode(CLIENT_SECRET.encode()).decode()])
def test_a_redirect_to_a_secret_does_not_show_it(spelt: str) -> None:
    """The error of a redirect to an address that is a secret does not show it."""
    assert spelt.lower() not in shown(outcome(302, {"location": f"https://{spelt}/"}, b"")).lower()


alphabet = st.characters(exclude_categories=["C"], max_codepoint=0x2FFF) | st.sampled_from("+/=&%\"'<> ~*\\")
passwords = st.text(alphabet, min_size=3, max_size=20).filter(
    lambda secret: len(secret.strip("* ")) > 2 and secret.isprintable() and "\\" not in secret
)


@often(400)
@given(passwords, st.sampled_from(sorted(spellings("x"))), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_is_dropped_however_it_is_spelt(secret: str, spelling: str, before: str, after: str) -> None:
    """A secret of any characters, in each promised spelling, is dropped from a text with the word it is in."""
    spelt = spellings(secret)[spelling]
    left = Redactor([secret, "another-5ecret"])(f"{before}{spelt} another-5ecret {after}")
    assert "another-5ecret" not in left
    assert secret not in left
    assert spelt not in left or spelt in before + after
