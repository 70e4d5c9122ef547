"""DPoP proofs (RFC 9449 §4): made for each request, with the nonce that its server sent last; no I/O."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from auth_plugins._base.hidden import Hidden
from auth_plugins._base.hosts import DEFAULT_PORTS, normal_host
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.challenges import bearer_errors
from auth_plugins._protocol.messages import TokenRequest, TokenResponse

from .keys import SigningKey

#: The header of a proof, and that of a nonce.
HEADER, NONCE = "DPoP", "DPoP-Nonce"
#: By these codes a server asks for another proof: with its nonce, or, as some do for a nonce that is too old as well,
#: since this one is not valid.
USE_NONCE, INVALID_PROOF = "use_dpop_nonce", "invalid_dpop_proof"
#: The kinds of servers.
_TOKEN, _API = "token endpoint", "API"
#: Seconds by which ``iat`` is in the past, for servers whose clock is behind. Keycloak takes proofs of 25 seconds.
_AGE = 5
#: Characters of a nonce (RFC 9449 §8.1), and how many may be in it.
_NQCHARS = r"[\x21\x23-\x5b\x5d-\x7e]{1,2000}"
#: What may stand in a path as it is.
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
#: How many servers' nonces, and how many tokens' keys, are remembered for one key.
_MOST_NONCES, _MOST_TOKENS = 256, 64


class Prover:
    """Makes proofs by one key, and remembers the nonces of servers, for any number of threads.

    :param load: returns the present key, which may be another one than at the last call.
    """

    __slots__ = ("__weakref__", "_keys", "_latest", "_load", "_nonces", "meetings")

    def __init__(self, load: Callable[[], SigningKey]) -> None:
        self._load = load
        # Written by any thread, in one assignment.
        #: The key of the last token request.
        self._latest: SigningKey | None = None
        #: By kind of server and origin. A server may be both, and have two kinds of nonces.
        self._nonces: dict[tuple[str, str], str] = {}
        #: By token, the key to which it is bound: the key may rotate before the token is replaced.
        self._keys: dict[str, SigningKey] = {}
        #: By origin of an API, the first request to it, of the adapters' own class; ``None``: it has ended.
        self.meetings: dict[str, Any] = {}

    def load(self) -> SigningKey:
        """Return the present key, which is used from now on."""
        self._latest = key = self._load()
        return key

    def token_proof(self, method: str, url: str, nonce: str | None = None) -> TokenProof:
        """Return a proof for a token request (RFC 9449 §5).

        :param nonce: as in :meth:`api_proof`.
        """
        key, (target, origin) = self.load(), target_of(url)
        nonce = nonce or self._nonces.get((_TOKEN, origin))
        return TokenProof(self, key, origin, nonce, _sign(key, method, target, nonce, {}))

    def api_proof(self, method: str, url: str, access_token: str, nonce: str | None = None) -> str:
        """Return a proof for an API request with *access_token* (RFC 9449 §7).

        :param nonce: the one that came with the response that this request follows: others may be spent, or older.
            ``None``: the last one of the server.
        """
        key = self._keys.get(access_token)
        if key is None:  # a shared cache or the user had it
            key = self._latest or self.load()
            self.bind(access_token, key)
        target, origin = target_of(url)
        digest = hashlib.sha256(access_token.encode()).digest()
        claims = {"ath": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}
        # Plain text: recorders of requests store no class of ours.
        return f"{_sign(key, method, target, nonce or self._nonces.get((_API, origin)), claims)}"

    def bind(self, access_token: str, key: SigningKey) -> None:
        """Remember that *access_token* is bound to *key*."""
        self._keys[Hidden(access_token)] = key
        drop_oldest(self._keys, _MOST_TOKENS)

    def note_api(self, url: str, headers: Mapping[str, str]) -> bool:
        """Remember the nonce that an API sent, if it did, and return whether there is one."""
        return self.note(_API, target_of(url)[1], nonce_of(headers))

    def note(self, kind: str, origin: str, nonce: str | None) -> bool:
        """Remember the *nonce* of a server, and return whether there is one."""
        if nonce is None:
            return False
        self._nonces[kind, origin] = nonce
        drop_oldest(self._nonces, _MOST_NONCES)
        return True


class TokenProof:
    """The proof of one token request."""

    __slots__ = ("_key", "_nonce", "_origin", "_prover", "text")

    def __init__(self, prover: Prover, key: SigningKey, origin: str, nonce: str | None, text: str) -> None:
        self._prover, self._key, self._origin, self._nonce = prover, key, origin, nonce
        #: What the header holds; hidden from dumps.
        self.text = text

    def wanted_nonce(self, response: TokenResponse) -> str | None:
        """Remember the nonce that *response* has, and return it if it asks for a proof with it."""
        nonce = nonce_of(response.headers, NONCE.lower())
        if not self._prover.note(_TOKEN, self._origin, nonce) or not 400 <= response.status < 500:
            return None
        codes = codes_of(response)
        return nonce if USE_NONCE in codes or (INVALID_PROOF in codes and nonce != self._nonce) else None

    def put(self, request: TokenRequest) -> TokenRequest:
        """Return *request* with this proof."""
        headers = {**request.headers, HEADER: self.text}
        return request.having(headers=headers, redact=request.redact.including([self.text]), proof=self)

    def with_nonce(self, request: TokenRequest, nonce: str) -> TokenRequest:
        """Return *request*, the one of this proof built again, with a proof that has *nonce*.

        It has it already, unless another request has heard another nonce meanwhile.
        """
        if isinstance(request.proof, TokenProof) and request.proof._nonce == nonce:
            return request
        return self._prover.token_proof(request.method, request.url, nonce).put(request)

    def bind(self, access_token: str) -> None:
        """Remember that *access_token*, the answer, is bound to the key of this proof."""
        self._prover.bind(access_token, self._key)


def codes_of(response: TokenResponse) -> list[str]:
    """Return the codes by which *response*, one of a token endpoint, refuses a proof."""
    errors = bearer_errors(response.headers.get("www-authenticate"))
    return [code for code in (USE_NONCE, INVALID_PROOF) if code in errors or code.encode() in response.body]


def nonce_of(headers: Mapping[str, str], name: str = NONCE) -> str | None:
    """Return the nonce that a server sent; ``None``: it sent none that is valid."""
    nonce = headers.get(name)
    return nonce if nonce is not None and re.fullmatch(_NQCHARS, nonce) else None


def target_of(url: str) -> tuple[str, str]:
    """Return the URL that a proof names, without user, query and fragment (RFC 9449 §4.2), and its origin."""
    parts = urlsplit(url)
    host, port, path = parts.hostname or "", parts.port, parts.path or "/"
    # As the libraries send what is not ASCII; the rest is the caller's affair.
    host = host if host.isascii() else normal_host(host)
    path = path if path.isascii() else quote(path, safe=_ASCII)
    host = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{host}{'' if port in (None, DEFAULT_PORTS.get(parts.scheme)) else f':{port}'}"
    return f"{origin}{path}", origin


@functools.lru_cache(64)
def _header(key: SigningKey) -> Mapping[str, Any]:
    return {"typ": "dpop+jwt", "alg": key.algorithms[0], "jwk": key.public_jwk()}


def _sign(key: SigningKey, method: str, target: str, nonce: str | None, others: Mapping[str, str]) -> str:
    claims = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": target, "iat": int(runtime.clock.time()) - _AGE}
    return key.sign(_header(key), {**claims, **others, **({} if nonce is None else {"nonce": nonce})})


def drop_oldest(values: dict[Any, Any], most: int) -> None:
    """Keep at most so many *values*, the latest."""
    while len(values) > most:
        with contextlib.suppress(StopIteration, KeyError, RuntimeError):  # another thread changes it meanwhile
            del values[next(iter(values))]
