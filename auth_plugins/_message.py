"""A token request and its answer as plain data, so that building, sending and reading stay apart."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote, unquote_plus

__all__ = ["LONGEST_BODY", "Scrubber", "TokenRequest", "TokenResponse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """What is to be sent to the token endpoint; holds secrets, and shows none."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: Takes the secrets of this request out of an answer, or an exception's text, that quotes them.
    scrub: Scrubber = field(repr=False)

    @property
    def endpoint(self) -> str:
        """The URL without its query, where secrets may travel: for messages."""
        return self.url.partition("?")[0]


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


#: What is shorter tells nothing by itself, and would be found in every other word.
_SHORTEST_SECRET = 3


class Scrubber:
    """Takes secrets out of texts that others wrote: a server that quotes the request, an exception that holds a URL."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({text for text in secrets if len(text) >= _SHORTEST_SECRET}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """*text* without secrets, whether they stand there as they are, percent-encoded, escaped or in Base64.

        A spelling that nobody foresaw is found by decoding: then nothing of the text is shown.
        """
        for secret in self._secrets:
            # The longest first, as one may hold another.
            for spelling in sorted(_spellings(secret), key=len, reverse=True):
                text = text.replace(spelling, "***")
        views = [_unescaped(view) for view in (unquote(text), unquote_plus(text), _without_entities(text), text)]
        if any(_unescaped(secret) in view for secret in self._secrets for view in views):
            return "***"
        return text


def _spellings(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    return {
        secret,
        encoded,
        encoded.rstrip("="),
        encoded.rstrip("=").translate({ord("+"): "-", ord("/"): "_"}),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    }


def _without_entities(text: str) -> str:
    # The standard library's fails at a number of thousands of digits; no character has one of more than seven.
    return html.unescape(re.sub(r"&#[xX]?[0-9a-fA-F]{8,};?", "", text))


def _unescaped(text: str) -> str:
    """*text* without the backslashes of JSON or Python, however much the writer escaped, and on one line."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text).replace("\\", "")
    return re.sub(r"[\s\x00-\x1f]+", " ", text)
