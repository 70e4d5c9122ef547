"""Which hosts get a token, and which of them over http://: what is compared is the host, in any spelling."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest
import requests

import auth_plugins.httpx
import auth_plugins.httpx2
import auth_plugins.requests
from auth_plugins import ApiKey, ConfigurationError, InsecureTransportError
from auth_plugins._base.hosts import check_transport, normal_host

#: By pattern, the URLs whose hosts it allows, and those whose hosts it does not.
PATTERNS: dict[str, tuple[str, str]] = {
    "api.example.com": (
        "https://API.Example.COM https://api.example.com. https://api.example.com:8443",
        "https://example.com https://a.api.example.com https://xapi.example.com https://api.example.com.evil.example",
    ),
    "api.example.com.": (
        "https://me@api.example.com",
        "https://api.example.com@evil.example https://api.example.com:x@evil.example https://evil.example/api.example.com",
    ),
    "*.example.co": (
        "https://a.example.co",
        "https://a.example.co.uk https://evil.example?.example.co https://evil.example#@a.example.co",
    ),
    " API.example.com ": ("https://api.example.com", "https://api.example.com.."),
    "api.example.com:8443": ("https://api.example.com:8443", "https://api.example.com https://api.example.com:443"),
    "api.example.com:443": (
        "https://api.example.com https://api.example.com:443",
        "http://api.example.com https://api.example.com:8443",
    ),
    "api.example.com:80": ("http://api.example.com http://api.example.com:80", "https://api.example.com"),
    "*.example.com": (
        "https://api.example.com https://a.b.example.com https://API.EXAMPLE.COM.",
        "https://example.com https://badexample.com https://example.com.evil.example https://evil.example/.example.com",
    ),
    "*.example.com:8443": ("https://a.example.com:8443", "https://a.example.com https://example.com:8443"),
    "127.0.0.1:8080": ("http://127.0.0.1:8080", "http://127.0.0.1 http://127.0.0.1:80 http://127.0.0.2:8080"),
    "[::1]": ("https://[::1] http://[::1]:8080", "https://[::2] http://127.0.0.1"),
    "::1": ("https://[::1] http://[::1]:8080", "https://[::2]"),
    "[2001:DB8::0:1]:65535": ("https://[2001:db8:0:0::1]:65535", "https://[2001:db8::1]:65534 https://[2001:db8::1]"),
    "bücher.example": ("https://BÜCHER.example. https://xn--bcher-kva.example", "https://bucher.example"),
    "XN--bcher-kva.example": ("https://bücher.example https://xn--bcher-kva.example", "https://bucher.example"),
    "*.bücher.example": ("https://a.xn--bcher-kva.example https://ä.bücher.example", "https://bücher.example"),
    "intra_net": ("https://intra_net", "https://intranet"),
}
ROWS = [
    pytest.param(pattern, url, allowed, id=f"{pattern}-{url}")
    for pattern, both in PATTERNS.items()
    for allowed, urls in zip((True, False), both, strict=True)
    for url in urls.split()
]


def carried(library: str, url: str, allowed_hosts: Any, **options: Any) -> bool:
    """Whether the library's request to *url* gets the key; none is sent."""
    auth: Any = {"requests": auth_plugins.requests, "httpx": auth_plugins.httpx, "httpx2": auth_plugins.httpx2}[library]
    auth = auth.OAuth2Auth(ApiKey("k3y"), allowed_hosts=allowed_hosts, **options)
    if library == "requests":
        return "X-API-Key" in auth(requests.Request("GET", url).prepare()).headers
    request: Any = {"httpx": httpx, "httpx2": httpx2}[library].Request("GET", url)
    return "X-API-Key" in next(auth.sync_auth_flow(request)).headers


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize(("pattern", "url", "allowed"), ROWS)
def test_allowed_hosts(library: str, pattern: str, url: str, allowed: bool) -> None:
    """A token goes to the listed hosts, in any spelling, and to no other."""
    assert carried(library, url, pattern, allow_http=True) is allowed
    assert carried(library, url, ["other.example", pattern], allow_http=True) is allowed


BAD: list[Any] = [
    *([], 7, [None], b"a.example", [b"a.example"], "", "  ", "."),
    *("https://api.example.com", "api.example.com/v1", "api.example.com?", "api.example.com#a", "@api.example.com"),
    *("*", "*.", "*.*.example.com", "api.*.example.com", ".example.com", "a.example, b.example"),
    *("a.example:x", "a.example:0", "a.example:65536", "[::1", "[::1]evil.example"),
]


@pytest.mark.parametrize("patterns", BAD, ids=repr)
def test_a_pattern_that_is_no_host_is_refused(patterns: Any) -> None:
    """A pattern that is no host is refused when the auth is made."""
    with pytest.raises(ConfigurationError, match="allowed_hosts must "):
        auth_plugins.requests.OAuth2Auth(ApiKey("k3y"), allowed_hosts=patterns)


def test_what_is_no_host_name_is_compared_unchanged() -> None:
    """Full-width letters name the same host; what neither IDNA nor a parser of IP addresses accepts stays as it is."""
    assert normal_host("\uff21PI\u3002example") == "api.example"
    assert normal_host("ä..Example") == "ä..example"
    assert normal_host("[1:2]") == "1:2"


@pytest.mark.parametrize("host", ["LOCALHOST", "localhost.", "127.8.9.10", "::1", "[::1]"])
def test_http_is_good_enough_on_this_machine(host: str) -> None:
    """http:// to loopback is allowed."""
    check_transport("http", host, allow_http=False)


REMOTE = ["localhost.example.com", "127.0.0.1.example.com", "192.168.1.1", "0.0.0.0", "[::]", "[1:2]"]


@pytest.mark.parametrize("host", [*REMOTE, "2130706433", "127.1", "l\u043ecalhost", ""])
def test_http_to_another_machine_is_refused(host: str) -> None:
    """http:// to another machine is refused without allow_http=True; https:// is allowed."""
    with pytest.raises(InsecureTransportError, match="use https://, or allow_http=True") as caught:
        check_transport("http", host, allow_http=False)
    assert f"http://{host} " in str(caught.value)
    check_transport("http", host, allow_http=True)
    check_transport("https", host, allow_http=False)


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize("url", ["HTTP://API.example.com", "http://127.0.0.1@api.example.com/"])
def test_every_spelling_of_http_is_seen(library: str, url: str) -> None:
    """HTTP:// in capitals, and a user that looks like loopback, are refused as well."""
    with pytest.raises(InsecureTransportError):
        carried(library, url, None)
    assert carried(library, url, None, allow_http=True)
    assert not carried(library, url, "other.example")
