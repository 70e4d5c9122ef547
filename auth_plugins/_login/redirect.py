"""The redirect URI of a login: a page on this machine (RFC 8252 §7.3)."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hosts import is_loopback
from auth_plugins._base.validation import check_url


class Redirect(NamedTuple):
    """The parts of a redirect URI."""

    #: The address to listen at.
    address: str
    #: 0: any port that is free.
    port: int
    path: str
    #: The URI before and after the port.
    before: str
    after: str

    def uri(self, port: int) -> str:
        """Return the URI with the *port* that is listened at."""
        return f"{self.before}:{port}{self.after}"

    def hosts(self, port: int) -> set[str]:
        """Return the values of ``Host`` by which a browser asks for it."""
        host = self.before.partition("://")[2]
        return {f"{host}:{port}"} | ({host} if port == 80 else set())


def check_redirect(argument: str, value: object) -> str:
    """Return a redirect URI that this machine can serve."""
    uri = check_url(argument, value)
    parts = urlsplit(uri)
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        problem = "must be http:// on this machine (RFC 8252 §7.3)"
        advice = "give http://127.0.0.1/callback, or http://127.0.0.1:8400/callback where the server wants one port"
        raise ConfigurationError(problem, argument=argument, advice=advice)
    return uri


def parse_redirect(uri: str) -> Redirect:
    """Return the parts of a redirect URI that :func:`check_redirect` returned."""
    parts = urlsplit(uri)
    name = (parts.hostname or "").lower()
    host = f"[{name}]" if ":" in name else name
    after = uri.partition("://")[2].partition("/")[2]
    after = f"/{after}" if "/" in uri.partition("://")[2] else f"?{parts.query}" * bool(parts.query)
    address = "127.0.0.1" if name.rstrip(".") == "localhost" else name
    return Redirect(address, parts.port or 0, parts.path or "/", f"http://{host}", after)
