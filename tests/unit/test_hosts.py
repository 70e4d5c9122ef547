"""Which hosts get a token, and which of them in clear: what is compared is the host, in any spelling."""

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
from auth_plugins._base.hosts import AllowedHosts, check_transport, normal_host

# A pattern; the URLs whose hosts it means; those that it doesn't.
PATTERNS: dict[str, tuple[str, str]] = {
    "api.example.com": (
        "https://api.example.com https://API.Example.COM https://api.example.com. https://api.example.com:8443",
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
    " API.example.com ": ("https://api.example.com", "https://example.com"),
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
    "[0:0:0:0:0:0:0:1]": ("https://[::1] https://[0::1]", "https://[::2]"),
    "[2001:db8::0:1]:65535": ("https://[2001:db8:0:0::1]:65535", "https://[2001:db8::1]:65534"),
    "a.example:1": ("https://a.example:1", "https://a.example"),
    "[2001:DB8::1]:8443": ("https://[2001:db8::1]:8443", "https://[2001:db8::1]"),
    "bücher.example": (
        "https://bücher.example https://xn--bcher-kva.example https://BÜCHER.example.",
        "https://bucher.example",
    ),
    "XN--bcher-kva.example": ("https://bücher.example https://xn--bcher-kva.example", "https://bucher.example"),
    "*.bücher.example": ("https://a.xn--bcher-kva.example https://ä.bücher.example", "https://bücher.example"),
    "intra_net": ("https://intra_net", "https://intranet"),
}
ROWS = [
    pytest.param(pattern, url, allowed, id=f"{pattern}-{url}")
    for pattern, meant in PATTERNS.items()
    for allowed, urls in zip((True, False), meant, strict=True)
    for url in urls.split()
]


def carried(library: str, url: str, allowed_hosts: Any, **options: Any) -> bool:
    """Whether the library's request to *url* gets the key; no server is asked."""
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
    assert carried(library, url, [pattern], allow_http=True) is allowed
    assert carried(library, url, ["other.example", pattern], allow_http=True) is allowed


def test_one_host_is_a_list_of_one() -> None:
    """A single str is one pattern."""
    assert ("https", "a.example", None) in AllowedHosts("a.example")
    assert ("https", "a", None) not in AllowedHosts("a.example")


BAD: dict[str, Any] = {
    "port 0": "a.example:0",
    "none at all": [], "no host": "", "space": "  ", "a dot": ".", "a URL": "https://api.example.com",
    "a path": "api.example.com/v1", "a query": "api.example.com?", "a fragment": "api.example.com#a",
    "a user": "me@api.example.com", "an empty user": "@api.example.com", "a star": "*", "a star and a dot": "*.",
    "two stars": "*.*.example.com", "a star within": "api.*.example.com", "a star at the end": "api.*",
    "a leading dot": ".example.com", "a list in a string": "a.example, b.example", "a port that is none": "a.example:x",
    "a port too high": "a.example:65536", "half an IPv6 address": "[::1", "None": [None], "bytes": [b"a.example"],
    "bytes alone": b"a.example", "a number": 7, "more than an IPv6 address": "[::1]evil.example",
}  # fmt: skip


@pytest.mark.parametrize("patterns", BAD.values(), ids=BAD)
def test_a_pattern_that_is_no_host_is_told(patterns: Any) -> None:
    """A pattern that is no host is refused."""
    with pytest.raises(ConfigurationError, match="allowed_hosts"):
        AllowedHosts(patterns)
    with pytest.raises(ConfigurationError, match="allowed_hosts"):
        auth_plugins.requests.OAuth2Auth(ApiKey("k3y"), allowed_hosts=patterns)


def test_what_idna_makes_of_a_host() -> None:
    """Full-width letters name the same host; a name that IDNA refuses is compared unchanged."""
    assert normal_host("\uff21PI\u3002example") == "api.example"
    assert normal_host("ä..Example") == "ä..example"


def test_what_is_no_ip_address_raises_nothing() -> None:
    """A host in brackets that is no IP address is compared unchanged, and is not loopback."""
    assert normal_host("[1:2]") == "1:2"
    with pytest.raises(InsecureTransportError):
        check_transport("http", "[1:2]", allow_http=False)


LOOPBACK = ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.8.9.10", "::1", "[::1]"]
REMOTE = [
    "example.com", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "192.168.1.1", "0.0.0.0", "[::]",
    "2130706433", "127.1", "l\u043ecalhost", "",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK)
def test_http_is_good_enough_on_this_machine(host: str) -> None:
    """http:// to loopback is allowed."""
    check_transport("http", host, allow_http=False)


@pytest.mark.parametrize("host", REMOTE)
def test_http_to_another_machine_is_refused(host: str) -> None:
    """http:// to another machine is refused without allow_http=True; https:// is allowed."""
    with pytest.raises(InsecureTransportError, match="use https://, or allow_http=True") as caught:
        check_transport("http", host, allow_http=False)
    assert f"http://{host} " in str(caught.value)
    check_transport("http", host, allow_http=True)
    check_transport("https", host, allow_http=False)


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize(
    "url", ["http://api.example.com/", "HTTP://API.example.com", "http://127.0.0.1@api.example.com/"]
)
def test_every_spelling_of_http_is_seen(library: str, url: str) -> None:
    """HTTP:// in capitals, and a user that looks like loopback, are refused as well."""
    with pytest.raises(InsecureTransportError):
        carried(library, url, None)
    assert carried(library, url, None, allow_http=True)
    assert not carried(library, url, "other.example")


def test_one_dot_at_the_end_is_the_same_host() -> None:
    """A name with one dot at its end is the same host; with two dots it is not."""
    hosts = AllowedHosts(["api.example.com"])
    assert ("https", "api.example.com.", None) in hosts
    assert ("https", "api.example.com..", None) not in hosts
