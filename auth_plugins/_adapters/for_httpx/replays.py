"""What follows a response in httpx and httpx2: nothing, or the same request again; this imports neither.

The sync and the async form are the same lines twice, as in the flows.
"""

from __future__ import annotations

import contextlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from auth_plugins._adapters.refusals import (
    NO_BODY,
    SETTLE_PAUSE,
    Verdict,
    is_repeatable,
    is_replayed,
    is_restored,
    settles,
)
from auth_plugins._base.errors import AuthError
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

from .bodies import add_cookies, aread, read, rewind
from .carrier import Client, HttpxCarrier

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


def put_proof(auth: HttpxCarrier[Any], request: Any, response: Any) -> None:
    """Put a new DPoP proof on *request*, which follows *response*."""
    from . import proofs  # the first request has imported it

    proofs.put_proof(auth, request, response)


class HttpxReplays(HttpxCarrier[Client]):
    """Replaces a token that a response refuses, and says which request is sent next."""

    def _next(self, exchange: Exchange, response: Any) -> bool:
        """Set the request that follows *response*, and return whether there is one; else the user gets the response."""
        if self._prover is not None and self._needs_proof(exchange, response):
            read(response)
            self._prove(exchange, response)
            return True
        is_ours = self._carries(response.request, exchange.token, exchange.request)
        verdict = self._verdict(response, is_ours=is_ours)
        request = self._refused_request(exchange, response, verdict)
        if request is None:
            return False
        if exchange.replays:
            read(response)
            runtime.clock.sleep(SETTLE_PAUSE)
        elif not self._renew(exchange, request, response, verdict):
            return False
        exchange.replays += 1
        add_cookies(request, response)
        if self._prover is not None:
            put_proof(self, request, response)
        exchange.request = request
        return True

    async def _anext(self, exchange: Exchange, response: Any) -> bool:
        if self._prover is not None and self._needs_proof(exchange, response):
            await aread(response, self._byte_stream)
            self._prove(exchange, response)
            return True
        is_ours = self._carries(response.request, exchange.token, exchange.request)
        verdict = await self._averdict(response, is_ours=is_ours)
        request = self._refused_request(exchange, response, verdict)
        if request is None:
            return False
        if exchange.replays:
            await aread(response, self._byte_stream)
            await runtime.sleep_in_loop(SETTLE_PAUSE)
        elif not await self._arenew(exchange, request, response, verdict):
            return False
        exchange.replays += 1
        add_cookies(request, response)
        if self._prover is not None:
            put_proof(self, request, response)
        exchange.request = request
        return True

    def _needs_proof(self, exchange: Exchange, response: Any) -> bool:
        with small_imports():
            from . import proofs
        exchange.proved = exchange.proved or proofs.Proved()
        return proofs.is_asked_for(
            self, exchange.proved, exchange.request, response, exchange.replays, exchange.position
        )

    def _prove(self, exchange: Exchange, response: Any) -> None:
        """Set the request that follows *response*, which asks for another proof."""
        exchange.request = request = response.request
        add_cookies(request, response)
        put_proof(self, request, response)

    def _verdict(self, response: Any, *, is_ours: bool) -> Verdict:
        """Return what *response* means; where a predicate needs the body, that is read.

        It is asked only if the request carried our token. Another origin may send a large download.
        """
        verdict = self._rules.verdict(response)
        if verdict is Verdict.UNDECIDED:
            is_refused = is_ours and _predicates().judge(self._rules.predicate, response, self._byte_stream)
            verdict = Verdict.DOUBTED if is_refused else Verdict.ACCEPTED
        return verdict

    async def _averdict(self, response: Any, *, is_ours: bool) -> Verdict:
        verdict = self._rules.verdict(response)
        if verdict is Verdict.UNDECIDED:
            is_refused = is_ours and await _predicates().ajudge(self._rules.predicate, response, self._byte_stream)
            verdict = Verdict.DOUBTED if is_refused else Verdict.ACCEPTED
        return verdict

    def _refused_request(self, exchange: Exchange, response: Any, verdict: Verdict) -> Any:
        """Note what *response* says of the token, and return the request if it is sent again, else ``None``."""
        token, request = exchange.token, response.request  # after redirects the last one
        if verdict is Verdict.ACCEPTED:
            self.source.accept(token)
            return None
        if exchange.replays > 1 or not self._carries(
            request, token, exchange.request
        ):  # another origin has not seen the token
            return None
        if exchange.replays:
            is_new = settles(response, self.source, token)
            return request if is_new and rewind(request.stream, exchange.position) else None
        obstacle = "" if rewind(request.stream, exchange.position) else NO_BODY
        return request if is_repeatable(response, self.source, token, verdict, obstacle) else None

    def _renew(self, exchange: Exchange | Part, request: Any, refusal: Any, verdict: Verdict) -> bool:
        """Put a fresh token on *request*, and return whether there is another than the refused one."""
        if not self.source.grant.is_constant:  # the token request may need the connection
            read(refusal)
        try:
            fresh = self.source.token()
        except AuthError as error:
            if is_restored(refusal, self.source, exchange.token, verdict):
                return False
            raise self._library_error(error, request) from error.__cause__
        if not is_replayed(refusal, self.source, exchange.token, fresh):
            return False
        read(refusal)  # here, as the library raises for a body that breaks off
        exchange.token = self._put(request, fresh)
        return True

    async def _arenew(self, exchange: Exchange | Part, request: Any, refusal: Any, verdict: Verdict) -> bool:
        if not self.source.grant.is_constant:
            await aread(refusal, self._byte_stream)
        try:
            fresh = await self.source.atoken()
        except AuthError as error:
            if is_restored(refusal, self.source, exchange.token, verdict):
                return False
            raise self._library_error(error, request) from error.__cause__
        if not is_replayed(refusal, self.source, exchange.token, fresh):
            return False
        await aread(refusal, self._byte_stream)  # here, as the library raises for a body that breaks off
        exchange.token = self._put(request, fresh)
        return True

    def _note(self, response: Any, token: Token) -> None:
        """Note what *response* says of *token* where its flow was closed; a body that was not read is not read now."""
        verdict = self._rules.verdict(response)
        if verdict is Verdict.UNDECIDED:
            is_refused, is_unknown = False, True
            with contextlib.suppress(Exception):  # the user gets the error that closed the flow
                is_refused, is_unknown = _predicates().ask(self._rules.predicate, response)
            if is_unknown:
                return
            verdict = Verdict.DOUBTED if is_refused else Verdict.ACCEPTED
        if verdict is Verdict.ACCEPTED:
            self.source.accept(token)
        else:
            self.source.reject(token, is_certain=verdict is Verdict.REFUSED)


def _predicates() -> ModuleType:
    """Import what asks a predicate: few programs have one."""
    with small_imports():
        from . import predicates
    return predicates
