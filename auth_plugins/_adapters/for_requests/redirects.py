"""Redirects of requests: a token or key stays within its origin, and no login in ``.netrc`` replaces it there."""

from __future__ import annotations

import re
import sys
from types import FrameType
from typing import Any, Self
from urllib.parse import urljoin, urlparse

import requests
from requests.structures import CaseInsensitiveDict
from requests.utils import requote_uri

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: The beginning of a URL in which every parser finds the same scheme, host and port.
_ORIGIN = r"(?ai)([a-z][a-z0-9+.-]*)://(?:[^/?#@\\\s\[\]]*@)?([\w.%~-]+|\[[0-9a-f:.]+\])(?::(\d{0,5}))?(?=[/?#]|$)"


class OriginBoundHeaders(CaseInsensitiveDict[str | bytes]):
    """Headers of which some stay within their origin, and are not replaced there.

    For a redirect, a session copies the request that was sent first. A response hook may not see that redirect, where
    another hook has replayed the request. So the copy itself leaves a header out.
    """

    #: Names in lower case.
    _bound: frozenset[str] = frozenset()

    @classmethod
    def of(cls, headers: Any, *names: str) -> Self:
        """Copy *headers*, and bind those of *names* as well."""
        made = cls(headers)
        made._bound = getattr(headers, "_bound", frozenset()).union(name.lower() for name in names)
        return made

    def copy(self) -> OriginBoundHeaders:
        """Copy the headers; for a redirect to another origin, without those that are bound."""
        copied = OriginBoundHeaders.of(self)
        frame = _frame_of("resolve_redirects", below=2)
        if frame is not None:
            response, target = frame.f_locals.get("resp"), frame.f_locals.get("url")
            if not (response is not None and target and _stays(response.url or "", target)):
                for name in self._bound:
                    copied.pop(name, None)
        return copied

    def __setitem__(self, key: str, value: str | bytes) -> None:
        # After a redirect requests puts a login of .netrc in the place of the token. Without one, it may.
        if not (key.lower() in self._bound and key in self and _frame_of("rebuild_auth", below=3)):
            super().__setitem__(key, value)


def _frame_of(function: str, *, below: int) -> FrameType | None:
    """Return the frame of a *function* that called the caller of this one, so many calls below it."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(below):
        frame = frame and frame.f_back
    return frame if frame and frame.f_code.co_name == function else None


def keep_within_origin(
    header: str, response: requests.Response, sent: requests.PreparedRequest | None = None, **_: Any
) -> requests.Response:
    """Bind *header* where *response* is a redirect: a response hook, for a request that was pickled.

    :param sent: the request that the session copies; ``None``: that of *response*.
    """
    if response.is_redirect:
        sent = sent or response.request
        target = requests.sessions.SessionRedirectMixin().get_redirect_target(response) or ""
        # Now, as a wrapper around PreparedRequest.copy() hides its caller. Authorization is removed by requests itself.
        if header.lower() != "authorization" and not _stays(response.url or "", target):
            sent.headers.pop(header, None)
        sent.headers = OriginBoundHeaders.of(sent.headers, header)
    return response


def _stays(url: str, location: str) -> bool:
    """Return whether a redirect from *url* to *location* stays within its origin."""
    if not location.isprintable():  # parsers drop such characters, each in its own way
        return False
    try:
        target = origin_of(_redirect_url(url, location))
    except ValueError:
        return False
    return target is not None and target == origin_of(url)


def next_request(response: requests.Response, sent: requests.PreparedRequest) -> tuple[str | None, str]:
    """Return method and URL of the request that follows *response*, a redirect; the session copies it from *sent*."""
    rules, probe = requests.sessions.SessionRedirectMixin(), requests.PreparedRequest()
    probe.method = sent.method
    rules.rebuild_method(probe, response)
    return probe.method, _redirect_url(response.url or "", rules.get_redirect_target(response) or "")


def _redirect_url(url: str, location: str) -> str:
    """Return the next URL, by the steps of ``Session.resolve_redirects``."""
    if location.startswith("//"):
        location = f"{urlparse(url).scheme}:{location}"
    parsed = urlparse(location)
    location = requote_uri(parsed.geturl())
    return location if parsed.netloc else urljoin(url, location)


def origin_of(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of *url*; ``None``: parsers may disagree on them, so that it must get no token."""
    match = re.match(_ORIGIN, url)  # compiled at the first call, as each program imports this module
    if match is None:
        return None
    scheme, host, port = match[1].lower(), match[2].lower(), int(match[3] or 0)
    return scheme, host, port or _DEFAULT_PORTS.get(scheme)
