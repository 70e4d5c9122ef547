"""A token request and its answer as plain data, so that building, sending and reading stay apart."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote

__all__ = ["LONGEST_BODY", "Redactor", "RequestFacts", "TokenRequest", "TokenResponse", "one_line", "redacted_excerpt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What was sent, without any value of it: for the advice about a refusal."""

    #: The option that holds the URL: ``token_url``, ``refresh_url`` or ``revocation_url``.
    endpoint: str = "token_url"
    #: As it was sent; ``""``: none was.
    grant_type: str = ""
    #: Whether a refresh token was sent, to be renewed.
    is_refresh: bool = False
    #: Whether a client id, a proof of the client (a secret for one), and a scope were sent, or no scope belongs there.
    has_client: bool = True
    has_secret: bool = True
    has_scope: bool = True
    #: The options whose value begins or ends with whitespace or a quote.
    odd_ends: tuple[str, ...] = ()
    #: Whether ``client_secret_basic`` and ``client_secret_basic_raw`` send different things, and one of them was used.
    has_spellings: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenRequest:
    """What is to be sent to the token endpoint; holds secrets, and shows none."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: Takes the secrets of this request out of an answer, or an exception's text, that quotes them.
    redact: Redactor = field(repr=False)
    facts: RequestFacts = field(default=RequestFacts(), repr=False)

    @property
    def endpoint(self) -> str:
        """The URL without its query, where secrets may travel: for messages."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenResponse:
    """What the token endpoint answered."""

    status: int
    #: Names in lower case.
    #: A ``content-encoding`` stands there only if the body is packed by it still.
    headers: Mapping[str, str] = field(repr=False)
    #: At most :data:`LONGEST_BODY` bytes; one more tells that there was more.
    body: bytes = field(repr=False)
    #: Unix seconds.
    received_at: float


#: Bytes of an answer that are read; no token is longer, and nobody fills our memory.
LONGEST_BODY = 1 << 20


#: What is shorter tells nothing by itself, and would be found in every other word.
_SHORTEST_SECRET = 3
#: From this many characters on, a secret is told apart from other words in capitals, or with spaces in it, as well.
_LONG_SECRET = 8
#: Characters of a text that are looked through, and of a secret in its longest spelling.
_LONGEST_TEXT, _LONGEST_SPELLING = 1 << 16, 1 << 14
#: How many layers of encoding are taken off.
_LAYERS = 4
_BASE64 = r"(?a:[\w+/-]{8,})"
_ESCAPES = (
    r"(?:\\x[0-9a-fA-F]{2})+|(?:\\u[0-9a-fA-F]{4})+|\\U000[0-9a-fA-F]{5}|\\u\{[0-9a-fA-F]{1,5}\}|(?:\\[0-3][0-7]{2})+"
)
#: What may be a token in what others wrote: a JWT; and what follows "Bearer", or a name or word with "token" in it, in
#: JSON, a form, XML or prose, escaped or not, if it is long or has a digit in it, as ordinary words don't. All of it is
#: bounded, for whoever writes it chooses how it is matched.
_TOKENS = (
    r"(?i)((?:token|\bbearer)\w{0,20}(?>(?:[\s\"'\\:=>\[{(]|%3[AD]|<[^<>]{0,40}>|\bis\b|\bvalue\b){1,40}))"
    r"(?=[^\s\"'<>]{0,15}\d|[^\s\"'<>]{16})[^\s\"'<>]+"
    r"|\beyJ[\w.-]+"
)


class Redactor:
    """Takes secrets out of texts that others wrote: a server that quotes the request, an exception that holds a URL."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({text for text in secrets if len(text) >= _SHORTEST_SECRET}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """*text* without secrets, whether they stand there as they are, percent-encoded, escaped or in Base64.

        A spelling that nobody foresaw is found by decoding, layer by layer: then nothing of the text is shown.
        """
        if len(text) > _LONGEST_TEXT:
            # Where it is cut, half a secret may stand.
            return self(text[:_LONGEST_TEXT])[:-_LONGEST_SPELLING] or "***"
        for secret in self._secrets:
            # The longest first, as one may hold another.
            for spelling in sorted(_spellings(secret), key=len, reverse=True):
                text = text.replace(spelling, "***")
        layers = _layers(text)
        plain = layers[-1]
        # In Latin-1, by which headers are read, UTF-8 looks otherwise; and Base64 is broken into lines.
        lines = re.sub(r"\\[nrt]", " ", plain)
        views = [*layers, lines, plain.encode("latin-1", "ignore").decode("utf-8", "ignore")]
        views += [_from_base64(plain), _from_base64("".join(lines.split()))]
        views += [_from_base64(views[-1])]
        return "***" if self._is_told(_one_spelling(" ".join(views))) else text

    def _is_told(self, text: str) -> bool:
        in_small = _in_small(text)
        for plain in (_one_spelling(_plain(secret)) for secret in self._secrets):
            # One of backslashes and spaces alone would be found in every text.
            if len(plain.strip()) >= _SHORTEST_SECRET and plain in text:
                return True
            if len(plain) >= _LONG_SECRET and _in_small(plain) in in_small:
                return True
        return False


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


def _plain(text: str) -> str:
    """*text* without percent-encoding, entities and escapes, however deep they lie in each other."""
    return _layers(text)[-1]


def _layers(text: str) -> list[str]:
    """What *text* looks like with one after the other taken off: what is no escape may look like one before that."""
    layers = [text]
    for _ in range(_LAYERS):
        unquoted = _without_entities(unquote(layers[-1]))
        unescaped = re.sub(_ESCAPES, _unescaped, unquoted.replace("\\\\", "\\"))
        if unescaped == layers[-1]:
            break
        layers += [unquoted, unescaped]
    return layers


def _one_spelling(text: str) -> str:
    """*text* on one line, without the backslashes that escape what follows, and with a form's spaces as such."""
    return re.sub(r"[\s\x00-\x1f]+", " ", text.replace("\\", "").replace("+", " "))


def _in_small(text: str) -> str:
    return "".join(text.split()).casefold()


def _without_entities(text: str) -> str:
    import html

    # The standard library's fails at a number of thousands of digits; no character has one of more than seven.
    return html.unescape(re.sub(r"&#([xX]?)0*([0-9a-fA-F]*)", _shortened, text))


def _shortened(entity: re.Match[str]) -> str:
    return f"&#{entity[1]}{entity[2]}" if len(entity[2]) < 8 else ""


def _unescaped(match: re.Match[str]) -> str:
    """What escapes of JSON, JavaScript or Python stand for: several in a row may be one character."""
    escapes = match[0]
    if escapes.startswith("\\U") or "{" in escapes:
        return chr(int(escapes.strip("\\uU{}"), 16))
    if escapes.startswith("\\u"):
        return bytes.fromhex(escapes.replace("\\u", "")).decode("utf-16-be", "replace")
    if escapes.startswith("\\x"):
        encoded = bytes.fromhex(escapes.replace("\\x", ""))
    else:
        encoded = bytes(int(code, 8) for code in escapes.split("\\")[1:])
    try:
        return encoded.decode()
    except ValueError:
        return encoded.decode("latin-1")


def _from_base64(text: str) -> str:
    """What may be told in Base64 in *text*, in either alphabet, wherever in a word it begins."""
    found = []
    for run in re.finditer(_BASE64, text):
        for start in range(4):
            part = run[0][start:].translate({ord("-"): "+", ord("_"): "/"})
            whole = part[:-1] if len(part) % 4 == 1 else part
            found.append(_plain(base64.b64decode(whole + "==").decode("utf-8", "ignore")))
    return " ".join(found)


def redacted_excerpt(request: TokenRequest, text: str, longest: int) -> str:
    """What others wrote, without secrets and tokens: scrubbed before it is cut, as half a secret would stay."""
    return one_line(re.sub(_TOKENS, r"\1***", request.redact(text)))[:longest]


def one_line(text: str) -> str:
    """*text* with a space for each run of what cannot be printed."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
