"""One attempt to get a token: how it ends, who waits for it, and what is said about it."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from auth_plugins._base.errors import AuthError, TokenTransportError
from auth_plugins._base.frames import without_frames
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token

_log = logging.getLogger("auth_plugins")


class Ending(enum.Enum):
    """How an attempt ends that brings neither a token nor an error: its waiters try again."""

    INTERRUPTED = "the leader was interrupted, by KeyboardInterrupt for example; a waiter becomes the new leader"
    REFRESHED_ELSEWHERE = "another process refreshes the token at this moment, and the present one can be used"
    UNCHANGED = "the token that was exchanged is still used, and so is the token"
    SEEDED = "a token was seeded meanwhile"


_Result = TypeVar("_Result")


class Awaited(Future[_Result]):
    """A future that threads and the tasks of any event loops wait for."""

    def __init__(self) -> None:
        super().__init__()
        #: By event loop, what its tasks wait for.
        self._events: dict[Any, Any] = {}

    def event_of(self, loop: Any, make: Any, call: Any) -> Any:
        """Return the event of *loop* that is set at the end: one for all its tasks, however many there are.

        :param make: makes an event.
        :param call: has the loop call a function; it raises RuntimeError if the loop has ended.
        """
        event = self._events.get(loop)
        if event is None:
            event = self._events[loop] = make()

            def wake(_: object) -> None:
                with contextlib.suppress(RuntimeError):
                    call(event.set)

            self.add_done_callback(wake)
        return event


class Flight(Awaited[Token | Ending]):
    """One attempt to get a token; all that need the token wait for it."""

    def __init__(self, deadline: float, refreshing: Token | None, leader: int | None) -> None:
        super().__init__()
        #: By ``runtime.clock.monotonic``.
        self.deadline = deadline
        #: The token that a background refresh replaces while it is used; ``None``: callers wait.
        self.refreshing = refreshing
        #: The id of the thread that leads, once it is known: that thread must not wait for itself.
        self.leader = leader
        #: The thread itself; ``None``: the attempt has not begun.
        self.thread: threading.Thread | None = None
        #: Whether a token request is being sent; before that the leader is in the grant's code, or in the cache's.
        self.is_sending = False
        #: Whether other processes find the token in the shared cache.
        self.is_shared = False
        #: A token in the shared cache that is within its leeway: used if no other is available.
        self.fallback: Token | None = None
        #: What was exchanged; ``None``: nothing.
        self.origins: tuple[str, ...] | None = None
        #: Of the token request, for the log: its endpoint, what was sent, and how many seconds it took.
        self.log_details: tuple[str, str, float] | None = None

    def is_stuck(self) -> bool:
        """Return whether another thread, which is alive, has not completed it."""
        thread = self.thread
        return thread is not None and thread.ident != threading.get_ident() and thread.is_alive() and not self.done()

    def complete(self, result: Token | AuthError | Ending) -> None:
        """Give *result* to all waiters; only the first call counts."""
        with contextlib.suppress(InvalidStateError):  # a token was seeded before
            if isinstance(result, AuthError):
                self.set_exception(without_frames(result))
            else:
                self.set_result(result)

    def overdue_error(self, grant: Grant) -> TokenTransportError:
        """Return the error for callers that waited too long for the leader."""
        callables = dict(_callables_of(grant))
        if callables and self.thread is not None and not self.is_sending:
            names = " or ".join(f"{name} ({_name(value)})" for name, value in callables.items())
            return TokenTransportError(
                f"the callable of {names} has not returned in another thread within the timeout; "
                "give it a timeout of its own"
            )
        return TokenTransportError(
            "timed out waiting for a token request in another thread; "
            "check that the token endpoint's name resolves, or try again later"
        )


def _callables_of(grant: Grant) -> Iterator[tuple[str, Any]]:
    """Yield the callables of *grant* by the names of their arguments, those in its parameters and headers as well."""
    for name, value in sorted(vars(grant).items()):
        if callable(value):
            yield name, value
        elif isinstance(value, tuple):
            pairs = (pair for pair in value if isinstance(pair, tuple) and callable(pair[-1]))
            yield from ((f"{name}[{pair[0]!r}]", pair[-1]) for pair in pairs)


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


async def wait_in_loop(flight: Awaited[Any], seconds: float) -> None:
    """Wait in asyncio or trio until *flight* is complete or *seconds* have passed; cancellation leaves it as it is.

    Not by ``asyncio.wrap_future``, which cancels the future, and others wait for it too.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        token = trio.lowlevel.current_trio_token()
        with trio.move_on_after(seconds):
            await flight.event_of(token, trio.Event, token.run_sync_soon).wait()
        return
    import asyncio

    loop = asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await flight.event_of(loop, asyncio.Event, loop.call_soon_threadsafe).wait()


def log_token(token: Token, endpoint: str, sent: str, seconds: float) -> None:
    """Log that *endpoint* issued *token* after *seconds*, for what was *sent*: a refresh token, or a kind of grant."""
    if _log.isEnabledFor(logging.INFO):
        expiry = "tells no expiry"
        if token.expires_at is not None:
            expiry = f"expires at {dt.datetime.fromtimestamp(token.expires_at, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        _log.info("%s issued a token (%s) in %.2f s; it %s", endpoint, sent, seconds, expiry)
