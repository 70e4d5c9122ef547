"""The auth flow that httpx and httpx2 share; this imports neither.

The sync and the async flow are the same lines twice: a third form that both are made of would slow each request.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import AsyncGenerator, Generator
from typing import Any, NoReturn

from auth_plugins._base.errors import AuthError, to_library_error
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token
from auth_plugins._transports.reasons import chain

from .httpx_base import Client, HttpxAdapter
from .httpx_bodies import add_cookies, aread, position_of, read, rewind
from .refusals import NO_BODY, is_replayed, may_be_replayed

__all__ = ["HttpxAuthFlow"]


class HttpxAuthFlow(HttpxAdapter[Client]):
    """Puts the token on a request, and answers a 401 with one replay."""

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Put the token on *request*, and answer a 401 with one replay; ``Client`` calls this."""
        state, (token, since, until, value) = self._state, self._ready
        # What was found for the last request holds for most others: they cost no more than this check.
        if token is state.token and request.url.scheme == "https" and since <= runtime.clock.time() < until:
            request.headers[self.header] = value
        else:
            needed = self._token_for(request)
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
        if response.status_code != 401:
            if state.probation_until:
                self.source.accept(token)
            return
        refused = self._replayable(response, token, position)
        fresh = refused and self._renewed(refused, response, token)
        if fresh is None:
            return
        try:
            answer = yield refused
        except GeneratorExit:
            answer = None
        self._note_answer(refused, answer, fresh, response)

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Put the token on *request*, and answer a 401 with one replay; ``AsyncClient`` calls this."""
        state, (token, since, until, value) = self._state, self._ready
        # What was found for the last request holds for most others: they cost no more than this check.
        if token is state.token and request.url.scheme == "https" and since <= runtime.clock.time() < until:
            request.headers[self.header] = value
        else:
            needed = await self._atoken_for(request)
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
        if response.status_code != 401:
            if state.probation_until:
                self.source.accept(token)
            return
        refused = self._replayable(response, token, position)
        fresh = refused and await self._arenewed(refused, response, token)
        if fresh is None:
            return
        try:
            answer = yield refused
        except GeneratorExit:
            answer = None
        self._note_answer(refused, answer, fresh, response)

    def _token_for(self, request: Any) -> Token | None:
        """Put the token on *request*, and return it; ``None``: the request gets no token."""
        try:
            token = self.source.token() if self._is_allowed(request.url) else None
        except AuthError as error:
            raise to_library_error(error, self._own_errors, _request=request) from error.__cause__
        return token and self._sign(request, token)

    async def _atoken_for(self, request: Any) -> Token | None:
        """Do the same as :meth:`_token_for`."""
        try:
            token = await self.source.atoken() if self._is_allowed(request.url) else None
        except AuthError as error:
            raise to_library_error(error, self._own_errors, _request=request) from error.__cause__
        return token and self._sign(request, token)

    def _renewed(self, refused: Any, response: Any, token: Token) -> Token | None:
        """Put a fresh token on *refused*, and return it; ``None``: there is no other than *token*."""
        if not self.source.grant.is_constant:  # the token request may need the connection
            read(response)
        try:
            fresh = self.source.token()
        except AuthError as error:
            raise to_library_error(error, self._own_errors, _request=refused) from error.__cause__
        if not is_replayed(refused, self.source, token, fresh):
            return None
        read(response)
        add_cookies(refused, response)
        return self._sign(refused, fresh)

    async def _arenewed(self, refused: Any, response: Any, token: Token) -> Token | None:
        """Do the same as :meth:`_renewed`."""
        if not self.source.grant.is_constant:
            await aread(response, self._byte_stream)
        try:
            fresh = await self.source.atoken()
        except AuthError as error:
            raise to_library_error(error, self._own_errors, _request=refused) from error.__cause__
        if not is_replayed(refused, self.source, token, fresh):
            return None
        await aread(response, self._byte_stream)
        add_cookies(refused, response)
        return self._sign(refused, fresh)

    def _replayable(self, response: Any, token: Token, position: int | None) -> Any:
        """Reject *token*, which got the 401 *response*; return the request to replay, or ``None``."""
        request = response.request  # after redirects the last one
        if not self._carries(request, token):  # another origin said 401, without having seen the token
            return None
        obstacle = "" if rewind(request.stream, position) else NO_BODY
        return request if may_be_replayed(request, self.source, token, obstacle) else None

    def _note_answer(self, request: Any, answer: Any, fresh: Token, refusal: Any) -> None:
        if answer is None:
            self._end_closed(request, fresh, seen=refusal)
        if answer.status_code != 401:
            self.source.accept(fresh)

    def _end_closed(self, request: Any, token: Token, seen: Any = None) -> NoReturn:
        """End a flow that is closed, and note what an API said of *token* in a response other than the one *seen*.

        An event hook or transport that raises for a bad status closes the flow before it gets the response. The library
        handles that error meanwhile, in the caller's frame. An async flow of the user's around this one hides it.
        """
        error = sys.exc_info()[1]
        while isinstance(error, GeneratorExit):  # the closing of a flow of the user's around this one
            error = error.__context__
        for response in _responses_behind(error, request, self._response):
            if response is not seen and self._carries(response.request, token):
                if response.status_code == 401:
                    self.source.reject(token)
                else:
                    self.source.accept(token)
                break
        raise GeneratorExit  # an async generator must not just return where no event loop closes it


def _responses_behind(error: BaseException | None, request: Any, kind: type[Any]) -> list[Any]:
    """Return the responses, of class *kind*, that an *error* which ended a flow knows.

    First those to *request* that the error, or what it was raised from, holds, as ``HTTPStatusError`` does; then those
    that the library's functions had, newest first. Cancellation and Ctrl-C say nothing of a response.
    """
    if not isinstance(error, Exception):
        return []
    found = list[Any]()
    with contextlib.suppress(Exception):  # attributes of a user's own class
        held = [getattr(each, "response", None) for each in chain(error)]
        found = [response for response in held if isinstance(response, kind) and response.request is request]
    library, frames = kind.__module__.partition(".")[0], [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == library:
            found.append(frame.f_locals.get("response"))
    return [response for response in found if isinstance(response, kind)]
