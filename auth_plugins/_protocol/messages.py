"""A token request and its answer as plain data, so that building, sending and reading are kept apart."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from auth_plugins._base.frozen import Record
from auth_plugins._base.tls_files import NO_FILES, TLSFiles

from .redaction import Redactor, without_tokens

#: Grant types (RFC 8693 §2.1, RFC 7523 §2.1, RFC 8628 §3.4).
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
#: Bytes of an answer that are read. No token is longer, and no server can fill the memory.
LONGEST_BODY = 1 << 20


class RequestFacts(Record):
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


class TokenRequest(Record):
    """What is to be sent to the token endpoint. It holds secrets, and its ``repr`` shows none."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    #: Takes the secrets of this request out of an answer, or an exception's text, that quotes them.
    redact: Redactor
    facts: RequestFacts = RequestFacts()
    #: Where the members of the answer are, by their standard names; empty: where RFC 6749 puts them.
    answer: Mapping[str, str] = MappingProxyType({})
    #: Seconds that the token lives if the answer tells no expiry; ``None``: until it is refused.
    lifetime: float | None = None
    #: The client's certificate, and the CA to trust: for a session or client of the transport's own.
    tls: TLSFiles = NO_FILES
    #: Builds the request again, with new proofs, for a further attempt; ``None``: the same request is sent again.
    rebuild: Callable[[], TokenRequest] | None = None
    #: The DPoP proof among the headers; ``None``: there is none.
    proof: Proof | None = None
    #: Whether a token of type DPoP is of use.
    accepts_dpop: bool = False

    def __repr__(self) -> str:
        return f"TokenRequest(method={self.method!r})"

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


class TokenResponse(Record):
    """What the token endpoint answered."""

    status: int
    #: Names in lower case. A ``content-encoding`` is there only if the body is still compressed.
    headers: Mapping[str, str]
    #: At most :data:`LONGEST_BODY` bytes, and one more if there was more.
    body: bytes
    #: Unix seconds.
    received_at: float

    def __repr__(self) -> str:
        return f"TokenResponse(status={self.status})"

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


class Answer(Record):
    """What the server sent, and what it was read as."""

    request: TokenRequest
    response: TokenResponse
    #: The kind of the body: ``json``, ``form``, ``empty``, ``page`` or ``text``; ``None``: it was not read.
    body: str | None
    text: str
    #: What the body was parsed as.
    document: Any = None
    #: Its members, by their standard names.
    members: Mapping[str, Any] = MappingProxyType({})
    #: Whether the members say that it is an error.
    is_error: bool = False
    #: The other members beside the access token.
    extra: Mapping[str, Any] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"Answer(body={self.body!r})"
