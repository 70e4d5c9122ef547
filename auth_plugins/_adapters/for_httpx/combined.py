"""Several auths of httpx or httpx2 as one; this imports neither.

The sync and the async form are the same lines twice, as in the flow of a single auth.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Generator, Iterable
from types import ModuleType
from typing import Any, ClassVar, NoReturn

from auth_plugins._adapters.base import Adapter
from auth_plugins._adapters.combined import Auth, Combined, overwritten
from auth_plugins._adapters.parts import Exchange, Part
from auth_plugins._adapters.refusals import NO_BODY, SETTLE_PAUSE
from auth_plugins._base.errors import AuthError
from auth_plugins._base.runtime import runtime

from . import proofs, replays
from .bodies import add_cookies, aread, read, rewind
from .closing import responses_behind
from .flow import HttpxAuthFlow, position_of
from .other_flows import OtherFlows


class HttpxCombined(Combined[Auth]):
    """Puts the credentials of several auths on each request; on a refusal, their tokens are replaced in turn."""

    _library: ClassVar[ModuleType]

    def __call__(self, request: object) -> None:
        """Raise the error that names the right module: another library calls this."""
        raise next(auth for auth in self._auths if isinstance(auth, Adapter))._wrong_library(request)

    def _is_own(self, auth: Any) -> bool:
        # A flow of a subclass adds something of its own.
        kind: Any = type(auth)
        return (
            isinstance(auth, HttpxAuthFlow)
            and kind.sync_auth_flow is HttpxAuthFlow.sync_auth_flow
            and kind.async_auth_flow is HttpxAuthFlow.async_auth_flow
        )

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Put the credentials on a request, and answer a refusal with replays; ``Client`` calls this."""
        flows, seen = OtherFlows(self._others), None
        try:
            exchange = _exchange([(auth, auth._sign(request)) for auth in self._own])
            outgoing = flows.start(request)
            _check_carried(exchange, request)
            position = position_of(request.stream)
            while outgoing is not None:
                try:
                    response = yield outgoing
                except GeneratorExit:
                    response = None
                if response is None:
                    self._end_closed(exchange, request, seen)
                seen, outgoing = response, flows.follow(request, response)
                if outgoing is None and (again := _next(exchange, request, response, position)) is not None:
                    request, outgoing = again, flows.start(again)
        except Exception:
            _clear(self._auths, request)
            raise
        finally:
            flows.close()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Put the credentials on a request, and answer a refusal with replays; ``AsyncClient`` calls this."""
        flows, seen = OtherFlows(self._others), None
        try:
            exchange = _exchange([(auth, await auth._asign(request)) for auth in self._own])
            outgoing = await flows.astart(request)
            _check_carried(exchange, request)
            position = position_of(request.stream)
            while outgoing is not None:
                try:
                    response = yield outgoing
                except GeneratorExit:
                    response = None
                if response is None:
                    self._end_closed(exchange, request, seen)
                seen, outgoing = response, await flows.afollow(request, response)
                if outgoing is None and (again := await _anext(exchange, request, response, position)) is not None:
                    request, outgoing = again, await flows.astart(again)
        except Exception:
            _clear(self._auths, request)
            raise
        finally:
            await flows.aclose()

    def _end_closed(self, exchange: Exchange, request: Any, seen: Any) -> NoReturn:
        """End a flow that was closed, and note what an API said in a response other than the one *seen*."""
        for response in responses_behind(request, self._library):
            parts = [part for part in exchange.parts if _carries(part, response.request, request)]
            if response is not seen and parts:
                for part in parts:
                    replays.note(part.carrier, response, part.token)
                break
        raise GeneratorExit  # an async generator must not just return where no event loop closes it


@functools.cache
def class_for(library: ModuleType) -> Any:
    """Return the class of combined auths of *library*."""
    members = {
        "__module__": f"auth_plugins.{library.__name__}",
        "_library": library,
        "_library_name": library.__name__,
        "_auth_base": library.Auth,
        "_authorizing": (library.BasicAuth, library.DigestAuth),
    }
    return type("CombinedAuth", (HttpxCombined, library.Auth), members)


def _exchange(tokens: list[tuple[Any, Any]]) -> Exchange:
    """Return the exchange for auths and their tokens; one without a token has no part in it."""
    exchange = Exchange(Part(auth, auth.source, token) for auth, token in tokens if token is not None)
    exchange.proved = proofs.Proved()
    return exchange


def _needs_proof(exchange: Exchange, first: Any, response: Any, position: int | None) -> bool:
    """Return whether the request of *response* is sent once more with another DPoP proof."""
    asked, attempt = (exchange.proved, first, response), exchange.attempts()
    return any(proofs.is_asked_for(part.carrier, *asked, attempt, position) for part in exchange.parts)


def _again(exchange: Exchange, request: Any, response: Any) -> Any:
    """Return *request*, which is sent after *response*."""
    add_cookies(request, response)
    proofs.put_proofs((part.carrier for part in exchange.parts), request, response)
    return request


def _carries(part: Part, request: Any, first: Any) -> bool:
    return bool(part.carrier._carries(request, part.token, first))


def _check_carried(exchange: Exchange, request: Any) -> None:
    for part in exchange.parts:
        if not _carries(part, request, request):
            raise part.carrier._library_error(overwritten(part.carrier.header or part.carrier._place()), request)


def _clear(auths: Iterable[Any], request: Any) -> None:
    """Remove the tokens of *auths* from the URL of *request*, which is not sent again: errors and frames show it."""
    for auth in auths:
        if isinstance(auth, Adapter):
            auth._remove(request)


def _next(exchange: Exchange, first: Any, response: Any, position: int | None) -> Any:
    """Return the request that follows *response* to the *first* one; ``None``: the user gets the response."""
    request = response.request  # after redirects the last one
    if _needs_proof(exchange, first, response, position):
        read(response)
        return _again(exchange, request, response)
    for part in exchange.parts:
        part.verdict = replays.verdict_of(part.carrier, response, is_ours=_carries(part, request, first))
    if not exchange.is_refused(lambda part: _carries(part, request, first)):
        return None
    obstacle = "" if rewind(request.stream, position) else NO_BODY
    for part in exchange.renewable(response, obstacle):
        try:
            part.is_renewed = replays.renew(part.carrier, part, request, response, part.verdict)
        except AuthError as error:
            part.failure = error
            part.carrier._put(request, part.token)  # another token may be replaced, and the request sent again
        if part.is_renewed:
            return _again(exchange, request, response)
    if not obstacle and exchange.settles(response):
        read(response)
        runtime.clock.sleep(SETTLE_PAUSE)
        return _again(exchange, request, response)
    if (failure := exchange.failure()) is not None:
        _clear([part.carrier for part in exchange.parts], request)
        raise failure
    return None


async def _anext(exchange: Exchange, first: Any, response: Any, position: int | None) -> Any:
    request = response.request
    if _needs_proof(exchange, first, response, position):
        await aread(response, exchange.parts[0].carrier._byte_stream)
        return _again(exchange, request, response)
    for part in exchange.parts:
        part.verdict = await replays.averdict_of(part.carrier, response, is_ours=_carries(part, request, first))
    if not exchange.is_refused(lambda part: _carries(part, request, first)):
        return None
    obstacle = "" if rewind(request.stream, position) else NO_BODY
    for part in exchange.renewable(response, obstacle):
        try:
            part.is_renewed = await replays.arenew(part.carrier, part, request, response, part.verdict)
        except AuthError as error:
            part.failure = error
            part.carrier._put(request, part.token)  # another token may be replaced, and the request sent again
        if part.is_renewed:
            return _again(exchange, request, response)
    if not obstacle and exchange.settles(response):
        await aread(response, exchange.parts[0].carrier._byte_stream)
        await runtime.sleep_in_loop(SETTLE_PAUSE)
        return _again(exchange, request, response)
    if (failure := exchange.failure()) is not None:
        _clear([part.carrier for part in exchange.parts], request)
        raise failure
    return None
