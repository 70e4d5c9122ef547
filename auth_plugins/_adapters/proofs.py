"""DPoP proofs on API requests (RFC 9449 §7, §9): where they go, and which responses ask for another one."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import Hidden
from auth_plugins._client_auth.proofs import HEADER, INVALID_PROOF, USE_NONCE, nonce_of
from auth_plugins._protocol.challenges import bearer_errors

from .meetings import end_meeting

if TYPE_CHECKING:
    from auth_plugins._client_auth.proofs import Prover

__all__ = ["AUTHORIZATION", "HEADER", "Challenge", "carried", "challenge_of", "check_place", "nonce_of", "prove"]

#: The header that carries the token: DPoP knows no other place (RFC 9449 §7.1).
AUTHORIZATION = "Authorization"
_SCHEME = "DPoP "


class Challenge(enum.Enum):
    """What a response says of the proof that its request had."""

    NONE = "nothing"
    NONCE = "it must have the server's nonce, which came along"
    INVALID = "it is not valid: it may be too old, or for another URL, or a transport has sent it twice"


def check_place(header: str | None, scheme: str | None, query: str | None) -> None:
    """Refuse places of the token that DPoP does not know."""
    given = {
        "query": query is not None,
        "header": header is not None and header.lower() != AUTHORIZATION.lower(),
        "scheme": scheme is not None and scheme.lower() != "dpop",
    }
    for argument, is_other in given.items():
        if is_other:
            problem = "contradicts the dpop of the grant, which sends Authorization: DPoP"
            raise ConfigurationError(problem, argument=argument, advice="leave one of them out")


def carried(request: Any) -> Hidden:
    """Return what carries the token of *request*, hidden, as an error's traceback keeps the frames of :func:`prove`."""
    return Hidden(request.headers.get(AUTHORIZATION, ""))


def prove(prover: Prover, authorization: Hidden, method: str, url: str, nonce: str | None = None) -> str | None:
    """Return a proof for a request with this *authorization*; ``None``: its token is a bearer token.

    :param url: without its query, which may hold a secret.
    :param nonce: that of the response that the request follows; ``None``: the last one of the server.
    """
    is_bound = authorization.startswith(_SCHEME)
    return prover.api_proof(method, url, authorization[len(_SCHEME) :], nonce) if is_bound else None


def challenge_of(prover: Prover, response: Any, url: str) -> Challenge:
    """Remember the nonce of a *response* to a request of ours for *url*, and return what it says of the proof."""
    has_nonce = prover.note_api(url, response.headers)
    end_meeting(prover, url)
    if not 400 <= response.status_code < 500:
        return Challenge.NONE
    errors = bearer_errors(response.headers.get("www-authenticate"))
    if USE_NONCE in errors and has_nonce:
        return Challenge.NONCE
    return Challenge.INVALID if INVALID_PROOF in errors else Challenge.NONE
