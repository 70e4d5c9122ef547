"""Hosts: which of them are this machine, and which may get a token."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from .errors import ConfigurationError, InsecureTransportError

DEFAULT_PORTS = {"http": 80, "https": 443}
#: A name, an IPv4 address, or an IPv6 address in brackets; and a port.
_PATTERN = r"(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?"


class AllowedHosts:
    """The hosts that may get a token.

    :param patterns: as ``allowed_hosts`` of the adapters.
    :raises ConfigurationError: there is no pattern, or one is no host.
    """

    def __init__(self, patterns: str | Iterable[str]) -> None:
        if not isinstance(patterns, Iterable):
            raise _error(f"must be a sequence of hosts, got {type(patterns).__name__}")
        self.patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        if not self.patterns:
            raise _error("must not be empty, as no request would get the token", "None allows every host")
        self._rules = [_rule(pattern) for pattern in self.patterns]

    def __contains__(self, origin: tuple[str, str, int | None]) -> bool:
        """Return whether the host of an origin, ``(scheme, host, port)``, is allowed."""
        scheme, host, port = origin
        name, port = normal_host(host), port or DEFAULT_PORTS.get(scheme)
        return any(
            (name.endswith(allowed) if allowed.startswith(".") else name == allowed) and allowed_port in (None, port)
            for allowed, allowed_port in self._rules
        )


def _error(problem: str, advice: str = "") -> ConfigurationError:
    return ConfigurationError(problem, argument="allowed_hosts", advice=advice)


def _rule(pattern: object) -> tuple[str, int | None]:
    """Return host and port; a host that begins with a dot allows its subdomains."""
    if not isinstance(pattern, str):
        raise _error(f"must hold hosts as str, got {type(pattern).__name__}")
    text = pattern.strip()
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # a bare IPv6 address
    match = re.fullmatch(_PATTERN, text.removeprefix("*."))
    host, port = (normal_host(match[1]), int(match[2]) if match[2] else None) if match else ("", None)
    if not host or (port is not None and not 0 < port <= 65535):
        raise _error(f"must hold hosts such as api.example.com, *.example.com or 127.0.0.1:8080, got {pattern!r}")
    return f".{host}" if text.startswith("*.") else host, port


def normal_host(host: str) -> str:
    """Return a host in the spelling that is compared: lower case, ASCII (IDNA), no trailing dot, no brackets."""
    host = host.strip("[]").removesuffix(".").lower()
    if ":" in host:
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(host))
    if host.isascii():
        return host
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return host


def check_transport(scheme: str, host: str, *, allow_http: bool) -> None:
    """Raise an InsecureTransportError if a secret or a token would travel unencrypted to another machine."""
    if scheme == "http" and not allow_http and not is_loopback(host):
        raise InsecureTransportError(
            f"http://{host} would get a secret or a token in clear",
            advice="use https://, or allow_http=True (the variable ALLOW_HTTP=true)",
        )


def check_endpoint(url: str, *, allow_http: bool) -> None:
    """Check the URL of an endpoint in the same way."""
    parts = urlsplit(url)
    scheme, host = parts.scheme, parts.hostname or ""
    del url, parts  # they hold the query, which may hold a secret; the error's traceback keeps this frame
    check_transport(scheme, host, allow_http=allow_http)


@functools.lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine."""
    host = normal_host(host)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
