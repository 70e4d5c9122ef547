"""Takes secrets and tokens out of texts of others: of servers that quote a request, of errors that hold a URL.

The rule: each word (what stands between two spaces) becomes ``***`` if it holds a secret of the request, as it is,
percent-encoded, escaped for JSON or HTML, or in Base64; or if it looks like a token: a JWT, 20 or more letters and
digits in a row (``-`` and ``_`` count as well) that are neither all letters nor a UUID; or has over 1,000 characters.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus

from auth_plugins._base.loading import small_imports

#: Characters. A shorter secret is part of many words.
_SHORTEST_SECRET = 3
#: Characters of a text that are read, and of the longest word that is shown.
_LONGEST_TEXT, _LONGEST_WORD = 1 << 16, 1000
#: What HTML escapes; its module, with all names of characters, is imported where one of them, or an escape, is met.
_HTML = frozenset("&<>\"'")
#: In place of a secret, before its word is dropped. It is not printable, so no text has it.
_MARK = "\0"
_JWT = r"(?<![A-Za-z0-9])eyJ[\w-]"
_RUN = r"[A-Za-z0-9_-]{20,}"
_MIXED = r"(?=.*[A-Za-z]).*\d"
_UUID = r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
#: Names of parameters and headers that say that the value is a secret.
_SECRET_NAMES = (
    r"(?i)secret|pass|pw|pin\b|key|token|assert|code|otp|sign|auth|cred|proof|cookie|session|ticket|kennwort"
)
#: Eight characters or more, letters and digits: no ordinary word.
_ODD_WORD = r"(?=.{8})(?=.*\d)(?=.*[^\W\d])"


class Redactor:
    """Replaces words that hold one of *secrets*; those of less than three characters are ignored."""

    _lines: list[str] | None = None

    def __init__(self, secrets: Iterable[str]) -> None:
        self._given = tuple(secrets)

    @property
    def _secrets(self) -> list[str]:
        """The secrets, each on one line: the longest first, because one may contain another. Few answers need them."""
        if self._lines is None:  # no cached_property: that of Python 3.11 has a lock, which a forked child may inherit
            lines = set(map(one_line, self._given))
            self._lines = sorted((line for line in lines if len(line) >= _SHORTEST_SECRET), key=len, reverse=True)
        return self._lines

    def __call__(self, text: str) -> str:
        """Return *text* on one line, with ``***`` for each word that holds a secret; a very long text is cut."""
        line, longest = one_line(text[:_LONGEST_TEXT]), 0
        for secret in self._secrets:
            for spelling in _spellings(secret):
                line, longest = line.replace(spelling, _MARK), max(longest, len(spelling))
        if len(text) > _LONGEST_TEXT:
            # Half a secret may stand at the cut.
            line = line[: len(line) - longest].rpartition(" ")[0] or _MARK
        in_base64 = [part for secret in self._secrets for part in _parts_in_base64(secret)]
        # For all words at once, as a server chooses how many there are.
        is_any = self._is_escaped_in(line, in_base64)
        return " ".join(
            "***"
            if _MARK in word or len(word) > _LONGEST_WORD or (is_any and self._is_escaped_in(word, in_base64))
            else word
            for word in line.split(" ")
        )

    def including(self, secrets: Iterable[str]) -> Redactor:
        """Return a redactor that replaces words that hold one of *secrets* as well."""
        return Redactor([*self._given, *secrets])

    def __contains__(self, text: str) -> bool:
        """Return whether *text* is a secret."""
        return text in self._secrets

    def _is_escaped_in(self, word: str, in_base64: list[str]) -> bool:
        views = {unquote(word), unquote_plus(word), *_without_html(word), *_without_escapes(word)} - {word}
        standard = word.replace("-", "+").replace("_", "/")
        return any(secret in view for secret in self._secrets for view in views) or any(
            part in standard for part in in_base64
        )


def without_tokens(line: str) -> str:
    """Return *line* with ``***`` for each word that looks like a token."""

    def is_token(word: str) -> bool:
        runs = re.findall(_RUN, word)
        is_odd = any(re.match(_MIXED, run) and not re.fullmatch(_UUID, run) for run in runs)
        return is_odd or re.search(_JWT, word) is not None

    return " ".join("***" if is_token(word) else word for word in line.split(" "))


def one_line(text: str) -> str:
    """Return *text* with one space for each run of spaces and of characters that cannot be printed."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def secret_words(name: str, value: Any) -> list[str]:
    """Return what may be secret in a parameter or header of the user's.

    That is each word where the name says so, because a scheme may precede the secret. Elsewhere only words of eight
    characters or more with letters and digits are taken: ordinary words would be dropped from every message.
    """
    values = value if isinstance(value, tuple) else (value,)
    given = [each for each in values if each is not None and not isinstance(each, bool)]
    texts = [each if isinstance(each, str) else json.dumps(each) for each in given]
    words = [word for text in texts for word in (text, *text.split())]
    return words if re.search(_SECRET_NAMES, name) else [word for word in words if re.search(_ODD_WORD, word)]


def _spellings(secret: str) -> Iterator[str]:
    """Yield *secret* as it is and escaped: with spaces in it, it is more than one word."""
    yield secret
    for escaped in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield escaped
        yield escaped.replace("/", "\\/")
    if _HTML.isdisjoint(secret):
        return
    with small_imports():
        import html
    for apostrophe in ("'", "&#x27;", "&#39;", "&#039;", "&apos;"):
        yield html.escape(secret).replace("&#x27;", apostrophe)
    yield html.escape(secret, quote=False)


def _without_html(word: str) -> list[str]:
    if "&" not in word:
        return []
    with small_imports():
        import html
    return [html.unescape(word)]


def _without_escapes(text: str) -> tuple[str, str]:
    """Return *text* without the escapes of JSON, in which two of them may be one character; and of JSON in JSON."""
    plain = re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", lambda match: match[2] or chr(int(match[1], 16)), text)
    nested = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text).replace("\\", "")
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), nested


def _parts_in_base64(secret: str) -> Iterator[str]:
    """Yield what *secret* looks like within Base64: three texts, as its first byte may be any of three."""
    content = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + content).decode()
        # Without the characters that depend on what stands before and behind.
        part = encoded[(8 * before + 5) // 6 : 8 * (before + len(content)) // 6]
        if len(part) > _SHORTEST_SECRET:
            yield part
