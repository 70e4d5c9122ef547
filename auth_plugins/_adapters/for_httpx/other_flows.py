"""The flows of other auths around a request of httpx, such as digest authentication; this imports neither library.

The sync and the async form are the same lines twice, as in the flows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class OtherFlows:
    """Runs the flows of *auths* for one request; the first one is the outermost, and gets its response last."""

    __slots__ = ("_auths", "_flows")

    def __init__(self, auths: Sequence[Any]) -> None:
        self._auths = auths
        #: Those that have begun.
        self._flows: list[Any] = []

    def start(self, request: Any) -> Any:
        """Begin the flows that have not begun, and return what is sent first."""
        outgoing = request
        for auth in self._auths[len(self._flows) :]:
            self._flows.append(auth.sync_auth_flow(request))
            outgoing = next(self._flows[-1])
            if outgoing is not request:  # a token request of that auth, which must not carry what others add
                break
        return outgoing

    def follow(self, request: Any, response: Any) -> Any:
        """Hand *response* to the flows, and return what is sent next; ``None``: they have ended."""
        while self._flows:
            try:
                outgoing = self._flows[-1].send(response)
            except StopIteration:
                self._flows.pop()
            else:
                return self.start(request) if outgoing is request else outgoing
        return None

    def close(self) -> None:
        """Close the flows that have not ended."""
        while self._flows:
            self._flows.pop().close()

    async def astart(self, request: Any) -> Any:
        """Do the same as :meth:`start`."""
        outgoing = request
        for auth in self._auths[len(self._flows) :]:
            self._flows.append(auth.async_auth_flow(request))
            outgoing = await anext(self._flows[-1])
            if outgoing is not request:
                break
        return outgoing

    async def afollow(self, request: Any, response: Any) -> Any:
        """Do the same as :meth:`follow`."""
        while self._flows:
            try:
                outgoing = await self._flows[-1].asend(response)
            except StopAsyncIteration:
                self._flows.pop()
            else:
                return await self.astart(request) if outgoing is request else outgoing
        return None

    async def aclose(self) -> None:
        """Do the same as :meth:`close`."""
        while self._flows:
            await self._flows.pop().aclose()
