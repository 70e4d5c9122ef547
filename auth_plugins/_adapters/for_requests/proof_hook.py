"""A token that is bound to a key, on a request of requests: each request has a DPoP proof of its own (RFC 9449)."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from auth_plugins._adapters.base import BY_TYPE
from auth_plugins._adapters.meetings import wait_for_nonce
from auth_plugins._adapters.proofs import AUTHORIZATION, HEADER, Challenge, carried, challenge_of, nonce_of, prove
from auth_plugins._adapters.rules import RefusalRules
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource

from .redirects import OriginBoundHeaders, keep_within_origin, next_request
from .replays import discard_body, rewind, send_again
from .token_hook import TokenHook

if TYPE_CHECKING:
    import requests

    from auth_plugins._client_auth.proofs import Prover


class ProofHook(TokenHook):
    """A token in ``Authorization``, a proof in ``DPoP``, and the response hook of the requests that carry them."""

    __slots__ = ("prover",)

    def __init__(self, source: TokenSource, rules: RefusalRules, token: Token, prover: Prover) -> None:
        super().__init__(source, AUTHORIZATION, BY_TYPE, rules, token)
        self.prover = prover

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial, (_keep_both,)

    def renewed(self, token: Token) -> ProofHook:
        return ProofHook(self.source, self.rules, token, self.prover)

    def sign(self, request: requests.PreparedRequest) -> None:
        """Put token and proof on *request*, and keep them from other origins."""
        request.headers = OriginBoundHeaders.of(request.headers, AUTHORIZATION, HEADER)
        self.put(request)
        wait_for_nonce(self.prover, self.token, plain(request))
        self.prove(request, request.method, plain(request))

    def prove(self, request: requests.PreparedRequest, method: str | None, url: str, nonce: str | None = None) -> None:
        """Put a new proof on *request*, for this method and URL; none if its token is a bearer token."""
        url = re.sub("%[0-9a-f]{2}", lambda escape: escape[0].upper(), url, flags=re.IGNORECASE)  # so urllib3 sends it
        proof = prove(self.prover, carried(request), method or "GET", url, nonce)
        if proof is None:
            request.headers.pop(HEADER, None)
        else:
            request.headers[HEADER] = proof

    def __call__(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        sent = response.request
        if not self.carries(sent):
            return response
        response = self.answer(response, getattr(response, "connection", None), **kwargs)
        return self.follow(self._answer(response, **kwargs), sent)

    def replay(self, refusal: requests.Response, adapter: Any, **kwargs: Any) -> requests.Response:
        response = super().replay(refusal, self.over(adapter), **kwargs)
        response.history[:0] = refusal.history
        return response

    def answer(self, response: requests.Response, adapter: Any, **kwargs: Any) -> requests.Response:
        """Send the request of *response* once more if that asks for another proof; the token is not given up."""
        sent = response.request
        if HEADER not in sent.headers:
            return response
        challenge = challenge_of(self.prover, response, plain(sent))
        if challenge is Challenge.NONE or adapter is None or not rewind(sent):
            return response
        discard_body(response)
        transport = _ProvingTransport(adapter, self, nonce=nonce_of(response.headers), is_last=True)
        return send_again(response, self, transport, **kwargs)

    def over(self, adapter: Any) -> Any:
        return _ProvingTransport(adapter, self)

    def follow(self, response: requests.Response, sent: requests.PreparedRequest) -> requests.Response:
        """Put a proof for the next request on *sent*, where *response* redirects within the origin."""
        _keep_both(response, sent)
        if response.is_redirect and HEADER in sent.headers:
            method, url = next_request(response, sent)
            self.prove(sent, method, url.partition("?")[0])
        return response


class _ProvingTransport:
    """A transport adapter that sends by another one, each request with a new proof.

    :param nonce: for the proof; ``None``: the last one of the server.
    :param is_last: whether a request to send another proof is not answered.
    """

    def __init__(self, adapter: Any, hook: ProofHook, *, nonce: str | None = None, is_last: bool = False) -> None:
        self._adapter, self._hook, self._nonce, self._is_last = adapter, hook, nonce, is_last

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        self._hook.prove(request, request.method, plain(request), self._nonce)
        response: requests.Response = self._adapter.send(request, **kwargs)
        if self._is_last:
            challenge_of(self._hook.prover, response, plain(request))  # for the nonce of the next request
            return response
        return self._hook.answer(response, self._adapter, **kwargs)


def plain(request: requests.PreparedRequest) -> str:
    """Return the URL of *request* without its query."""
    return (request.url or "").partition("?")[0]


def _keep_both(
    response: requests.Response, sent: requests.PreparedRequest | None = None, **_: Any
) -> requests.Response:
    """Keep token and proof within the origin: a response hook, for a request that was pickled."""
    for header in (AUTHORIZATION, HEADER):
        keep_within_origin(header, response, sent)
    return response
