"""The auth flows that httpx and httpx2 share; this imports neither.

The sync and the async flow are the same lines twice: a third form that both are made of would slow each request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, NoReturn

from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

from .bodies import position_of
from .carrier import Client
from .closing import responses_behind
from .replays import Exchange, HttpxReplays


class HttpxAuthFlow(HttpxReplays[Client]):
    """Puts the token on a request, and answers a refusal with a replay."""

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Put the token on *request*, and answer a refusal with a replay; ``Client`` calls this."""
        state, (token, since, until, value) = self._state, self._ready
        # What was found for the last request holds for most others: they cost no more than this check.
        if token is state.token and request.url.scheme == "https" and since <= runtime.clock.time() < until:
            request.headers[self.header] = value
        else:
            needed = self._sign(request)
            if needed is None:
                yield request
                return
            token = needed
        # Most bodies are bytes, which have no position.
        position = None if type(request.stream) is self._byte_stream else position_of(request.stream)
        try:
            response = yield request
        except GeneratorExit:
            response = None
        if response is None:
            self._end_closed(request, token)
        if response.status_code < self._rules.least:
            if state.probation_until:
                self.source.accept(token)
            return
        exchange = Exchange(request, token, position)
        del request  # its repr may show the token in this frame, and a predicate of the user's may raise
        while self._next(exchange, response):
            refusal = response
            try:
                response = yield exchange.request
            except GeneratorExit:
                response = None
            if response is None:
                self._end_closed(exchange.request, exchange.token, seen=refusal)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Put the token on *request*, and answer a refusal with a replay; ``AsyncClient`` calls this."""
        state, (token, since, until, value) = self._state, self._ready
        if token is state.token and request.url.scheme == "https" and since <= runtime.clock.time() < until:
            request.headers[self.header] = value
        else:
            needed = await self._asign(request)
            if needed is None:
                yield request
                return
            token = needed
        position = None if type(request.stream) is self._byte_stream else position_of(request.stream)
        try:
            response = yield request
        except GeneratorExit:
            response = None
        if response is None:
            self._end_closed(request, token)
        if response.status_code < self._rules.least:
            if state.probation_until:
                self.source.accept(token)
            return
        exchange = Exchange(request, token, position)
        del request
        while await self._anext(exchange, response):
            refusal = response
            try:
                response = yield exchange.request
            except GeneratorExit:
                response = None
            if response is None:
                self._end_closed(exchange.request, exchange.token, seen=refusal)

    def _end_closed(self, request: Any, token: Token, seen: Any = None) -> NoReturn:
        """End a flow that was closed, and note what an API said of *token* in a response other than the one *seen*."""
        for response in responses_behind(request, self._library):
            if response is not seen and self._carries(response.request, token, request):
                self._note(response, token)
                break
        raise GeneratorExit  # an async generator must not just return where no event loop closes it
