"""What follows a response in httpx and httpx2: nothing, or the same request again; this imports neither.

The sync and the async form are the same lines twice, as in the flows.
"""

from __future__ import annotations

import contextlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from auth_plugins._adapters.refusals import (
    NO_BODY,
    NO_FLOW,
    SETTLE_PAUSE,
    Verdict,
    is_repeatable,
    is_replayed,
    is_restored,
    settles,
    verdict_on,
)
from auth_plugins._base.errors import AuthError
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

from .bodies import add_cookies, aread, read, rewind
from .carrier import HttpxCarrier

if TYPE_CHECKING:
    from auth_plugins._adapters.parts import Part


class Exchange:
    """One request of the user's, with its replays."""

    __slots__ = ("position", "proved", "replays", "request", "token")

    def __init__(self, request: Any, token: Token, position: int | None) -> None:
        #: The request that was sent last, or is sent next. Redirects may lead from it to others.
        self.request = request
        #: The token that the request carries.
        self.token = token
        #: Where the file that is its body stood at first; ``None``: it is none, or cannot be rewound.
        self.position = position
        #: How many times the request was sent again.
        self.replays = 0
        #: For which request another DPoP proof was sent.
        self.proved: Any = None


def next_request(auth: HttpxCarrier[Any], exchange: Exchange, response: Any) -> bool:
    """Set the request that follows *response*, and return whether there is one; else the user gets the response."""
    if auth._prover is not None and _needs_proof(auth, exchange, response):
        read(response)
        _prove(auth, exchange, response)
        return True
    is_ours = auth._carries(response.request, exchange.token, exchange.request)
    verdict = verdict_of(auth, response, is_ours=is_ours)
    request = _refused_request(auth, exchange, response, verdict)
    if request is None:
        return False
    if exchange.replays:
        read(response)
        runtime.clock.sleep(SETTLE_PAUSE)
    elif not renew(auth, exchange, request, response, verdict):
        return False
    exchange.replays += 1
    add_cookies(request, response)
    if auth._prover is not None:
        put_proof(auth, request, response)
    exchange.request = request
    return True


async def anext_request(auth: HttpxCarrier[Any], exchange: Exchange, response: Any) -> bool:
    if auth._prover is not None and _needs_proof(auth, exchange, response):
        await aread(response, auth._byte_stream)
        _prove(auth, exchange, response)
        return True
    is_ours = auth._carries(response.request, exchange.token, exchange.request)
    verdict = await averdict_of(auth, response, is_ours=is_ours)
    request = _refused_request(auth, exchange, response, verdict)
    if request is None:
        return False
    if exchange.replays:
        await aread(response, auth._byte_stream)
        await runtime.sleep_in_loop(SETTLE_PAUSE)
    elif not await arenew(auth, exchange, request, response, verdict):
        return False
    exchange.replays += 1
    add_cookies(request, response)
    if auth._prover is not None:
        put_proof(auth, request, response)
    exchange.request = request
    return True


def _needs_proof(auth: HttpxCarrier[Any], exchange: Exchange, response: Any) -> bool:
    with small_imports():
        from . import proofs
    exchange.proved = exchange.proved or proofs.Proved()
    return proofs.is_asked_for(auth, exchange.proved, exchange.request, response, exchange.replays, exchange.position)


def _prove(auth: HttpxCarrier[Any], exchange: Exchange, response: Any) -> None:
    """Set the request that follows *response*, which asks for another proof."""
    exchange.request = request = response.request
    add_cookies(request, response)
    put_proof(auth, request, response)


def put_proof(auth: HttpxCarrier[Any], request: Any, response: Any) -> None:
    """Put a new DPoP proof on *request*, which follows *response*."""
    from . import proofs  # the first request has imported it

    proofs.put_proof(auth, request, response)


def verdict_of(auth: HttpxCarrier[Any], response: Any, *, is_ours: bool) -> Verdict:
    """Return what *response* means; where a predicate needs the body, that is read.

    It is asked only if the request carried our token. Another origin may send a large download.
    """
    verdict = verdict_on(response, auth._rules)
    if verdict is Verdict.UNDECIDED:
        is_refused = is_ours and _predicates().judge(auth._rules.predicate, response, auth._byte_stream)
        verdict = Verdict.DOUBTED if is_refused else Verdict.ACCEPTED
    return verdict


async def averdict_of(auth: HttpxCarrier[Any], response: Any, *, is_ours: bool) -> Verdict:
    verdict = verdict_on(response, auth._rules)
    if verdict is Verdict.UNDECIDED:
        is_refused = is_ours and await _predicates().ajudge(auth._rules.predicate, response, auth._byte_stream)
        verdict = Verdict.DOUBTED if is_refused else Verdict.ACCEPTED
    return verdict


def _refused_request(auth: HttpxCarrier[Any], exchange: Exchange, response: Any, verdict: Verdict) -> Any:
    """Note what *response* says of the token, and return the request if it is sent again, else ``None``."""
    token, request = exchange.token, response.request  # after redirects the last one
    if verdict is Verdict.ACCEPTED:
        auth.source.accept(token)
        return None
    if exchange.replays > 1 or not auth._carries(request, token, exchange.request):  # another origin has not seen it
        return None
    if exchange.replays:
        is_new = settles(response, auth.source, token)
        return request if is_new and rewind(request.stream, exchange.position) else None
    obstacle = "" if rewind(request.stream, exchange.position) else NO_BODY
    return request if is_repeatable(response, auth.source, token, verdict, obstacle) else None


def renew(auth: HttpxCarrier[Any], exchange: Exchange | Part, request: Any, refusal: Any, verdict: Verdict) -> bool:
    """Put a fresh token on *request*, and return whether there is another than the refused one."""
    if not auth.source.grant.is_constant:  # the token request may need the connection
        read(refusal)
    try:
        fresh = auth.source.token()
    except AuthError as error:
        if is_restored(refusal, auth.source, exchange.token, verdict):
            return False
        raise auth._library_error(error, request) from error.__cause__
    if not is_replayed(refusal, auth.source, exchange.token, fresh):
        return False
    read(refusal)  # here, as the library raises for a body that breaks off
    exchange.token = auth._put(request, fresh)
    return True


async def arenew(
    auth: HttpxCarrier[Any], exchange: Exchange | Part, request: Any, refusal: Any, verdict: Verdict
) -> bool:
    if not auth.source.grant.is_constant:
        await aread(refusal, auth._byte_stream)
    try:
        fresh = await auth.source.atoken()
    except AuthError as error:
        if is_restored(refusal, auth.source, exchange.token, verdict):
            return False
        raise auth._library_error(error, request) from error.__cause__
    if not is_replayed(refusal, auth.source, exchange.token, fresh):
        return False
    await aread(refusal, auth._byte_stream)  # here, as the library raises for a body that breaks off
    exchange.token = auth._put(request, fresh)
    return True


def note(auth: HttpxCarrier[Any], response: Any, token: Token) -> None:
    """Note what *response* says of *token* where its flow was closed; a body that was not read is not read now."""
    verdict = verdict_on(response, auth._rules)
    if verdict is Verdict.UNDECIDED:
        is_refused, is_unknown = False, True
        with contextlib.suppress(Exception):  # the user gets the error that closed the flow
            is_refused, is_unknown = _predicates().ask(auth._rules.predicate, response)
        if is_unknown:
            return
        verdict = Verdict.DOUBTED if is_refused else Verdict.ACCEPTED
    if verdict is Verdict.ACCEPTED:
        auth.source.accept(token)
    else:
        is_repeatable(response, auth.source, token, verdict, NO_FLOW)


def _predicates() -> ModuleType:
    """Import what asks a predicate: few programs have one."""
    with small_imports():
        from . import predicates
    return predicates
