"""One attempt to get a token, and how event loops wait for it."""

from __future__ import annotations

import contextlib
import enum
import sys
import threading
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import AuthError
from auth_plugins._base.frames import without_frames

if TYPE_CHECKING:
    from auth_plugins._protocol.tokens import Token

__all__ = ["GRACE", "Ending", "Flight", "wait_in_loop"]

#: Seconds that others are waited for beyond their own time.
GRACE = 1.0


class Ending(enum.Enum):
    """How an attempt ends that brings neither a token nor an error: its waiters try again."""

    INTERRUPTED = "the leader was interrupted, by KeyboardInterrupt for example; a waiter becomes the new leader"
    REFRESHED_ELSEWHERE = "another process refreshes the token at this moment, and the present one can be used"
    SEEDED = "a token was seeded meanwhile"


class Flight(Future["Token | Ending"]):
    """One attempt to get a token; all that need the token wait for it."""

    def __init__(self, deadline: float, refreshing: Token | None = None, leader: int | None = None) -> None:
        super().__init__()
        #: By ``runtime.monotonic``.
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
        #: Of the token request, for the log: its endpoint, what was sent, and how many seconds it took.
        self.log_details: tuple[str, str, float] | None = None
        self._events: dict[Any, Any] = {}

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


async def wait_in_loop(flight: Flight, seconds: float) -> None:
    """Wait in asyncio or trio until *flight* is complete or *seconds* have passed; cancellation leaves it as it is.

    Not by ``asyncio.wrap_future``, which cancels the future, and others wait for it too.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        token = trio.lowlevel.current_trio_token()
        event = flight.event_of(token, trio.Event, token.run_sync_soon)
        with trio.move_on_after(seconds):
            await event.wait()
        return
    import asyncio

    loop = asyncio.get_running_loop()
    event = flight.event_of(loop, asyncio.Event, loop.call_soon_threadsafe)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
