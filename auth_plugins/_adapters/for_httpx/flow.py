"""The auth flows that httpx and httpx2 share; this imports neither.

The sync and the async flow are the same lines twice: a third form that both are made of would slow each request.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from typing import Any, NoReturn

from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

from .carrier import Client, HttpxCarrier


class HttpxAuthFlow(HttpxCarrier[Client]):
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
        with small_imports():
            from . import replays
        exchange = replays.Exchange(request, token, position)
        del request  # its repr may show the token in this frame, and a predicate of the user's may raise
        while replays.next_request(self, exchange, response):
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
        with small_imports():
            from . import replays
        exchange = replays.Exchange(request, token, position)
        del request
        while await replays.anext_request(self, exchange, response):
            refusal = response
            try:
                response = yield exchange.request
            except GeneratorExit:
                response = None
            if response is None:
                self._end_closed(exchange.request, exchange.token, seen=refusal)

    def _end_closed(self, request: Any, token: Token, seen: Any = None) -> NoReturn:
        """End a flow that was closed, and note what an API said of *token* in a response other than the one *seen*."""
        if sys.exc_info()[1] is not None:  # the library handles an error, which may know a response
            with small_imports():
                from . import closing, replays
            for response in closing.responses_behind(request, self._library):
                if response is not seen and self._carries(response.request, token, request):
                    replays.note(self, response, token)
                    break
        raise GeneratorExit  # an async generator must not just return where no event loop closes it


def position_of(stream: Any) -> int | None:
    """Return where the file behind a request's *stream* stands before it is sent; ``None``: it cannot be rewound."""
    # An async file has coroutines for tell and seek: it is not replayed.
    body: Any = getattr(stream, "_stream", None) if hasattr(stream, "__iter__") else None
    if not (hasattr(body, "seek") and hasattr(body, "tell")):
        return None
    try:
        position: int = body.tell()
    except (OSError, ValueError):  # a pipe
        return None
    return position
