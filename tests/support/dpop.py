"""A token endpoint and an API that check DPoP proofs (RFC 9449 §4.3) by joserfc alone."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import JWKRegistry

from auth_plugins._base.runtime import runtime
from tests.support.keys import Everything
from tests.support.loopback import Loopback, Received, as_json

if TYPE_CHECKING:
    from werkzeug.wrappers import Response


class _Registry(Everything):
    max_header_length = 1 << 13


class RefusedError(Exception):
    """A proof that is refused; the first argument is the error code."""


class DPoPServer:
    """Plays both servers on a :class:`Loopback`.

    :param token_nonces, api_nonces: whether the server wants its nonce in each proof.
    """

    def __init__(self, loopback: Loopback, *, token_nonces: bool = False, api_nonces: bool = False) -> None:
        self.loopback, self.url = loopback, loopback.url
        self.nonces = {"token": "token-nonce-0" if token_nonces else None, "api": "api-nonce-0" if api_nonces else None}
        self.token_type = "DPoP"
        #: By token, the thumbprint of its key; ``None``: it is a bearer token.
        self.tokens: dict[str, str | None] = {}
        #: The key of each refresh token.
        self.refresh_tokens: dict[str, str] = {}
        #: Claims of each good proof, and why each other one was refused.
        self.proofs: list[dict[str, Any]] = []
        self.refusals: list[str] = []
        #: What the API answers to a good request.
        self.serve: Callable[[Received], Response] = lambda received: as_json({"received": received.body.decode()})
        self._jtis: set[str] = set()
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        loopback.token_play, loopback.api = self.issue, self.check

    def rotate(self, kind: str = "api") -> None:
        """Use another nonce from now on."""
        self.nonces[kind] = f"{kind}-nonce-{next(self._numbers)}"

    def verify(self, received: Received, kind: str, access_token: str | None = None) -> str:
        """The thumbprint of the key of a good proof."""
        proof = received.headers.get("dpop")
        if proof is None:
            raise RefusedError("invalid_dpop_proof", "missing")
        header = json.loads(base64.urlsafe_b64decode(proof.split(".")[0] + "=="))
        if header["typ"] != "dpop+jwt" or "d" in header["jwk"] or header["alg"].startswith("HS"):
            raise RefusedError("invalid_dpop_proof", "header")
        key = JWKRegistry.import_key(header["jwk"])
        claims = dict(jwt.decode(proof, key, registry=_Registry(algorithms=[header["alg"]])).claims)
        path = received.target.partition("?")[0]
        digest = hashlib.sha256((access_token or "").encode()).digest()
        ath = base64.urlsafe_b64encode(digest).decode().rstrip("=") if access_token else None
        expected = {"htm": received.method, "htu": self.url + path, "ath": ath}
        for name, value in expected.items():
            if claims.get(name) != value:
                raise RefusedError("invalid_dpop_proof", name)
        if not -25 <= claims["iat"] - runtime.clock.time() <= 0:
            raise RefusedError("invalid_dpop_proof", "iat")
        if self.nonces[kind] is not None and claims.get("nonce") != self.nonces[kind]:
            raise RefusedError("use_dpop_nonce", "nonce")
        with self._lock:
            if claims["jti"] in self._jtis:
                raise RefusedError("invalid_dpop_proof", "jti")
            self._jtis.add(claims["jti"])
            self.proofs.append(claims)
        return str(key.thumbprint())

    def issue(self, received: Received) -> Response:
        try:
            thumbprint = self.verify(received, "token")
        except RefusedError as error:
            self.refusals.append(f"token {error.args[1]}")
            return self._with_nonce(as_json({"error": error.args[0]}, 400), "token")
        form = parse_qs(received.body.decode())
        if (old := form.get("refresh_token")) and self.refresh_tokens.get(old[0]) != thumbprint:
            return as_json({"error": "invalid_grant"}, 400)
        number = next(self._numbers)
        token, refresh_token = f"dpop-token-{number}", f"refresh-{number}"
        self.tokens[token] = thumbprint if self.token_type.lower() == "dpop" else None
        self.refresh_tokens[refresh_token] = thumbprint
        answer = {"access_token": token, "token_type": self.token_type, "expires_in": 3600}
        if "refresh" in form.get("scope", []) or old:
            answer["refresh_token"] = refresh_token
        return self._with_nonce(as_json(answer), "token")

    def check(self, received: Received) -> Response:
        scheme, _, token = received.headers.get("authorization", "").partition(" ")
        if token not in self.tokens or (scheme == "DPoP") is (self.tokens[token] is None):
            return self._refuse("invalid_token", "token")
        if self.tokens[token] is not None:
            try:
                thumbprint = self.verify(received, "api", token)
            except RefusedError as error:
                return self._refuse(*error.args)
            if thumbprint != self.tokens[token]:
                return self._refuse("invalid_token", "key")
        return self._with_nonce(self.serve(received), "api")

    def _refuse(self, code: str, reason: str) -> Response:
        self.refusals.append(f"api {reason}")
        challenge = f'Bearer, DPoP error="{code}", algs="ES256"'
        return self._with_nonce(as_json({}, 401, WWW_Authenticate=challenge), "api")

    def _with_nonce(self, response: Response, kind: str) -> Response:
        if (nonce := self.nonces[kind]) is not None:
            response.headers["DPoP-Nonce"] = nonce
        return response
