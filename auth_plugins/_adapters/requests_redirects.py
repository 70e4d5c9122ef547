"""Redirects of requests: a token or key stays within its origin, and no login in ``.netrc`` replaces it there."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Self
from urllib.parse import urljoin, urlparse, urlsplit

import requests
from requests.structures import CaseInsensitiveDict
from requests.utils import requote_uri
from urllib3.util import parse_url

from auth_plugins._base.hosts import DEFAULT_PORTS, normal_host

__all__ = ["KeptHeaders", "OriginBoundHeaders", "is_clear", "keep_within_origin"]


class OriginBoundHeaders(CaseInsensitiveDict[str | bytes]):
    """Headers of which some stay within their origin.

    A session copies the request that was sent first to wherever it is redirected. Whether a response hook sees that
    redirect is not certain: another hook may have sent the request again. So the copy itself leaves a header out.
    """

    #: Names in lower case.
    _bound: frozenset[str] = frozenset()

    @classmethod
    def of(cls, headers: Any, names: Iterable[str] = ()) -> Self:
        """Copy *headers*, and bind those of *names* as well."""
        made = cls(headers)
        made._bound = getattr(headers, "_bound", frozenset()).union(name.lower() for name in names)
        return made

    def copy(self) -> OriginBoundHeaders:
        """Copy the headers; for a redirect to another origin, without those that are bound."""
        copied = self._copied_as().of(self)
        frame = sys._getframe(2)
        if frame.f_code.co_name == "resolve_redirects":
            redirect, target = frame.f_locals.get("resp"), frame.f_locals.get("url")
            for name in self._bound:
                if not (redirect is not None and target and _stays_or_is_stripped(name, redirect.url or "", target)):
                    copied.pop(name, None)
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        return CaseInsensitiveDict, (list(self.items()),)

    def _copied_as(self) -> type[OriginBoundHeaders]:
        return OriginBoundHeaders


class _RedirectedHeaders(OriginBoundHeaders):
    """The headers of a request that is redirected within its origin, which requests copies for the next request."""

    def _copied_as(self) -> type[OriginBoundHeaders]:
        return KeptHeaders


class KeptHeaders(_RedirectedHeaders):
    """Headers in which a login that requests finds in ``.netrc`` after a redirect does not replace the token.

    Where requests removed the token first, as it does for another host, the login is set.
    """

    def __setitem__(self, key: str, value: str | bytes) -> None:
        if not (key.lower() == "authorization" and key in self and str(value).startswith("Basic ")):
            super().__setitem__(key, value)


def keep_within_origin(header: str, response: requests.Response, sent: requests.PreparedRequest) -> requests.Response:
    """Prepare *sent* for the redirect that *response* may be: requests copies it to wherever that leads."""
    if response.is_redirect:
        target = requests.sessions.SessionRedirectMixin().get_redirect_target(response) or ""
        if not _stays_or_is_stripped(header, response.url or "", target):
            sent.headers.pop(header, None)
        elif header.lower() == "authorization":
            sent.headers = _RedirectedHeaders.of(sent.headers)
    return response


def _stays_or_is_stripped(header: str, url: str, location: str) -> bool:
    """Whether a redirect from *url* to *location* stays within its origin, or requests takes *header* out of it."""
    if not location.isprintable():  # parsers drop such characters, each in its own way
        return False
    try:
        target = _redirect_url(url, location)
        if _origin(url) == _origin(target):
            return True
        strips = requests.sessions.SessionRedirectMixin().should_strip_auth(url, target)
    except ValueError:
        return False
    return header.lower() == "authorization" and strips


def _redirect_url(url: str, location: str) -> str:
    """The next URL, by the very steps of ``Session.resolve_redirects``: parsed, put together again, quoted last."""
    if location.startswith("//"):
        location = f"{urlparse(url).scheme}:{location}"
    parsed = urlparse(location)
    location = requote_uri(parsed.geturl())
    return location if parsed.netloc else urljoin(url, location)


def is_clear(url: str) -> bool:
    """Whether either parser finds the same host; where they differ, as in a URL made by hand, nobody gets a token."""
    try:
        (_, urllib3s, _), (_, pythons, _) = _origin(url)
    except ValueError:  # the one finds a host, and the other none
        return False
    return normal_host(urllib3s or "") == normal_host(pythons or "")


def _origin(url: str) -> tuple[tuple[str | None, str | None, int | None], ...]:
    """Scheme, host and port by either parser that is used on the way to a connection."""
    urllib3s, pythons = parse_url(url), urlsplit(url)
    return tuple(
        (scheme, host, port or DEFAULT_PORTS.get(scheme or ""))
        for scheme, host, port in (
            (urllib3s.scheme, urllib3s.host, urllib3s.port),
            (pythons.scheme, pythons.hostname, pythons.port),
        )
    )
