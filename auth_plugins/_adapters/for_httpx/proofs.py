"""A token that is bound to a key, on a request of httpx: each request has a DPoP proof of its own (RFC 9449).

This imports neither httpx nor httpx2.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from auth_plugins._adapters import meetings
from auth_plugins._adapters.base import header_value
from auth_plugins._adapters.proofs import AUTHORIZATION, HEADER, Challenge, carried, challenge_of, nonce_of, prove
from auth_plugins._base.hidden import Hidden
from auth_plugins._protocol.tokens import Token

from .bodies import rewind

if TYPE_CHECKING:
    from auth_plugins._client_auth.proofs import Prover

    from .carrier import HttpxCarrier


class Proved:
    """For which request another proof was sent last: each gets one more, and so does each hop of a redirect."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[Any, ...] = ()

    def is_first(self, request: Any, attempt: int) -> bool:
        """Return whether *request* gets another proof now; *attempt* tells replays with other tokens apart."""
        last, self._last = self._last, (attempt, request.method, str(request.url))
        return last != self._last


def wait_for_nonce(prover: Prover, token: Token, request: Any) -> None:
    """Wait for the first answer of the server of *request*, if that is on its way."""
    meetings.wait_for_nonce(prover, token, _plain(request.url))


async def await_nonce(prover: Prover, token: Token, request: Any) -> None:
    """Do the same in asyncio or trio."""
    await meetings.await_nonce(prover, token, _plain(request.url))


def put(auth: HttpxCarrier[Any], request: Any, token: Token) -> None:
    """Put *token* and a proof on *request*, and keep them from other origins."""
    request.headers = auth._bound_headers(request.headers, AUTHORIZATION, header_value(auth._scheme, token))
    put_proof(auth, request)


def put_proof(auth: HttpxCarrier[Any], request: Any, response: Any = None) -> None:
    """Put a new proof on *request*; none if its token is a bearer token, or is not there any more.

    :param response: what the request follows; ``None``: it is the first one.
    """
    prover, nonce = auth._prover, None if response is None else nonce_of(response.headers)
    proof = None if prover is None else prove(prover, carried(request), request.method, _plain(request.url), nonce)
    if prover is None or proof is None:
        request.headers.pop(HEADER, None)
    else:
        # httpx itself makes the requests to which redirects lead.
        renew = functools.partial(_renewed, prover)
        request.headers = auth._bound_headers(request.headers, HEADER, proof, renew)


def _renewed(prover: Prover, headers: Any, method: str, url: Any) -> str | None:
    """Return the proof for the next hop of a redirect, which has *headers*."""
    return prove(prover, Hidden(headers.get(AUTHORIZATION, "")), method, _plain(url))


def put_proofs(auths: Iterable[HttpxCarrier[Any]], request: Any, response: Any) -> None:
    """Put new proofs on *request*, which follows *response*."""
    for auth in auths:
        if auth._prover is not None:
            put_proof(auth, request, response)


def is_asked_for(
    auth: HttpxCarrier[Any], proved: Proved, first: Any, response: Any, attempt: int, position: int | None
) -> bool:
    """Return whether the request of *response* is sent once more with another proof; the token is not given up.

    :param first: the request from which redirects led to that of *response*.
    """
    request, prover = response.request, auth._prover
    if prover is None or HEADER not in request.headers:
        return False
    challenge = challenge_of(prover, response, _plain(request.url))
    # Where the headers are not ours any more, httpx copies the proof to the next hop of a redirect.
    is_copied = request is not first and request.headers[HEADER] == first.headers.get(HEADER)
    if challenge is Challenge.NONE and not (is_copied and response.status_code == 401):
        return False
    return proved.is_first(request, attempt) and rewind(request.stream, position)


def _plain(url: Any) -> str:
    """Return a *url* of the library as it is sent, without user and query."""
    path = url.raw_path.decode("ascii").partition("?")[0]
    return f"{url.scheme}://{url.netloc.decode('ascii')}{path}"
