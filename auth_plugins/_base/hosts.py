"""Hosts: which of them are this machine, and which may get a token."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from .errors import ConfigurationError, InsecureTransportError

__all__ = ["DEFAULT_PORTS", "AllowedHosts", "check_endpoint", "check_transport", "is_loopback", "normal_host"]

DEFAULT_PORTS = {"http": 80, "https": 443}
_HIGHEST_PORT = 65535
#: A name, an IPv4 address, or an IPv6 address in brackets; and a port.
_PATTERN = r"(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(?::(\d{1,5}))?"


class AllowedHosts:
    """The hosts that may get a token.

    :param patterns: ``"api.example.com"``, ``"*.example.com"`` (its subdomains, not itself), ``"127.0.0.1:8080"``,
        ``"[::1]"``; without a port any port will do.
    :raises ConfigurationError: a pattern is no host, or there is none at all.
    """

    def __init__(self, patterns: str | Iterable[str]) -> None:
        if not isinstance(patterns, Iterable):
            raise ConfigurationError(f"allowed_hosts is of type {type(patterns).__name__}; give a sequence of hosts")
        #: As they were given.
        self.patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        if not self.patterns:
            raise ConfigurationError("allowed_hosts is empty, so no request would get the token; None means every host")
        self._rules = [_rule(pattern) for pattern in self.patterns]

    def __contains__(self, origin: tuple[str, str, int | None]) -> bool:
        """Whether the host of an origin, as ``(scheme, host, port)``, is one of these."""
        scheme, host, port = origin
        name, port = normal_host(host), port or DEFAULT_PORTS.get(scheme)
        return any(
            (name.endswith(wanted) if wanted.startswith(".") else name == wanted) and wanted_port in (None, port)
            for wanted, wanted_port in self._rules
        )


def _rule(pattern: object) -> tuple[str, int | None]:
    if not isinstance(pattern, str):
        raise ConfigurationError(f"allowed_hosts holds a {type(pattern).__name__}; give hosts as str")
    text = pattern.strip()
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # a bare IPv6 address
    wildcard = text.startswith("*.")
    match = re.fullmatch(_PATTERN, text.removeprefix("*."))
    host, port = (normal_host(match[1]), int(match[2]) if match[2] else None) if match else ("", None)
    if not host or (port is not None and not 0 < port <= _HIGHEST_PORT):
        raise ConfigurationError(
            f"allowed_hosts holds {pattern!r}; give a host such as api.example.com, *.example.com or 127.0.0.1:8080"
        )
    return f".{host}" if wildcard else host, port


def normal_host(host: str) -> str:
    """A host in the one spelling that is compared: lower case, ASCII (IDNA), no trailing dot, no brackets."""
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
    """Refuse to send a secret or a token in clear to another machine.

    :raises InsecureTransportError: *scheme* is ``http`` and *host* isn't loopback.
    """
    if scheme == "http" and not allow_http and not is_loopback(host):
        raise InsecureTransportError(
            f"http://{host} would get a secret or a token in clear; "
            "use https://, or allow_http=True (the variable ALLOW_HTTP=true)"
        )


def check_endpoint(url: str, *, allow_http: bool) -> None:
    """The same for the URL of an endpoint; a function of its own, as its variables hold the query, secrets included.

    :raises InsecureTransportError: as :func:`check_transport`.
    """
    scheme, host = _scheme_and_host(url)
    del url  # an error's traceback keeps this frame's variables
    check_transport(scheme, host, allow_http=allow_http)


def _scheme_and_host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or ""


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine itself."""
    host = normal_host(host)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
