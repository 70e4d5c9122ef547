"""A token request and its answer as plain data, so that building, sending and reading are kept apart."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from auth_plugins._base.tls_files import NO_FILES, TLSFiles

from .redaction import Redactor, without_tokens

#: Bytes of an answer that are read. No token is longer, and no server can fill the memory.
LONGEST_BODY = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What was sent, without any value of it: for the advice about a refusal."""

    #: The option that holds the URL: ``token_url``, ``refresh_url`` or ``revocation_url``.
    endpoint: str = "token_url"
    #: As it was sent; ``""``: none was.
    grant_type: str = ""
    #: Whether a refresh token was sent to get a new token.
    is_refresh: bool = False
    #: The options with which client and user prove who they are, such as ``client_id``.
    credentials: tuple[str, ...] = ()
    #: Whether a proof of the client was sent: a secret or an assertion.
    has_secret: bool = True
    #: Whether a scope was sent, or does not belong into this request.
    has_scope: bool = True
    #: The options whose value begins or ends with whitespace or a quote.
    odd_ends: tuple[str, ...] = ()
    #: The name of the advice for a client that is refused.
    client_trouble: str = "client"
    #: The name of the advice for a grant that is refused by ``invalid_grant``; ``""``: the grant type says it.
    grant_trouble: str = ""
    #: Whether ``client_secret_basic`` and ``client_secret_basic_raw`` send different things, and one of them was used.
    has_spellings: bool = False
    #: Whether a DPoP proof was sent.
    has_proof: bool = False


class Proof(Protocol):
    """The DPoP proof of one token request (RFC 9449)."""

    def wanted_nonce(self, response: TokenResponse) -> str | None:
        """Remember the nonce that *response* has, and return it if it asks for a proof with it."""

    def with_nonce(self, request: TokenRequest, nonce: str) -> TokenRequest:
        """Return *request*, the one of this proof built again, with a proof that has *nonce*."""

    def bind(self, access_token: str) -> None:
        """Remember that *access_token*, the answer, is bound to the key of this proof."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenRequest:
    """What is to be sent to the token endpoint. It holds secrets, and its ``repr`` shows none."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: Takes the secrets of this request out of an answer, or an exception's text, that quotes them.
    redact: Redactor = field(repr=False)
    facts: RequestFacts = field(default=RequestFacts(), repr=False)
    #: Where the members of the answer are, by their standard names; empty: where RFC 6749 puts them.
    answer: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Seconds that the token lives if the answer tells no expiry; ``None``: until it is refused.
    lifetime: float | None = field(default=None, repr=False)
    #: The client's certificate, and the CA to trust: for a session or client of the transport's own.
    tls: TLSFiles = field(default=NO_FILES, repr=False)
    #: Builds the request again, with new proofs, for a further attempt; ``None``: the same request is sent again.
    rebuild: Callable[[], TokenRequest] | None = field(default=None, repr=False)
    #: The DPoP proof among the headers; ``None``: there is none.
    proof: Proof | None = field(default=None, repr=False)
    #: Whether a token of type DPoP is of use.
    accepts_dpop: bool = field(default=False, repr=False)

    def again(self) -> TokenRequest:
        """Return the request of a further attempt; no I/O."""
        return self if self.rebuild is None else self.rebuild()

    @property
    def endpoint(self) -> str:
        """The URL without its query, which may hold secrets: for messages."""
        return self.url.partition("?")[0]

    def excerpt(self, text: str, longest: int) -> str:
        """Return at most *longest* characters of *text* on one line, without secrets of this request and tokens."""
        return without_tokens(self.redact(text))[:longest]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenResponse:
    """What the token endpoint answered."""

    status: int
    #: Names in lower case. A ``content-encoding`` is there only if the body is still compressed.
    headers: Mapping[str, str] = field(repr=False)
    #: At most :data:`LONGEST_BODY` bytes, and one more if there was more.
    body: bytes = field(repr=False)
    #: Unix seconds.
    received_at: float

    @property
    def retry_after(self) -> float | None:
        """The seconds that the server asks to wait (RFC 9110 §10.2.3); ``None``: it does not say."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return float(value[:9])
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - self.received_at)
        except (ValueError, OverflowError):
            return None
