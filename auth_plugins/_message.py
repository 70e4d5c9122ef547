"""A token request and its answer as plain data, so that building, sending and reading stay apart."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, urlsplit

__all__ = ["TokenRequest", "TokenResponse", "scrub", "spellings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What is to be sent to the token endpoint; holds secrets, and shows none."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: Every spelling in which a secret of this request could come back, in an answer or in an exception's text.
    secrets: frozenset[str] = field(repr=False)

    @property
    def endpoint(self) -> str:
        """The URL without its query, where secrets may travel: for messages."""
        return self.url.partition("?")[0]

    @property
    def origin(self) -> str:
        """``scheme://host:port``."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def scrub(self, text: str) -> str:
        """Take every secret of this request, and the query that may hold them, out of *text*."""
        return scrub(text, self.secrets)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenResponse:
    """What the token endpoint answered."""

    status: int
    #: Names in lower case.
    headers: Mapping[str, str] = field(repr=False)
    #: At most :data:`LONGEST_BODY` bytes; one more tells that there was more.
    body: bytes = field(repr=False)
    #: Unix seconds.
    received_at: float


#: Bytes of an answer that are read; no token is longer, and nobody fills our memory.
LONGEST_BODY = 1 << 20


_SHORTEST_SECRET = 3


def spellings(secrets: Iterable[str]) -> frozenset[str]:
    """Every way in which *secrets* travel: as they are, percent-encoded, in JSON, in Base64."""
    found: set[str] = set()
    for secret in secrets:
        found |= {
            secret,
            quote(secret, safe=""),
            quote(secret),
            quote_plus(secret),
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
            base64.b64encode(secret.encode()).decode(),
        }
    # What is shorter tells nothing by itself, and would be found in every other word.
    return frozenset(text for text in found if len(text) >= _SHORTEST_SECRET)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace each of *secrets* in *text*, the longest first, since one may hold another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
