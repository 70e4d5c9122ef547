"""Waiting for a flight within asyncio or trio, without holding up the event loop."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .flight import Flight

__all__ = ["wait_for"]


async def wait_for(flight: Flight, seconds: float) -> None:
    """Wait until *flight* is over, or *seconds* have passed; whoever is cancelled leaves it as it is.

    Not ``asyncio.wrap_future``, which cancels the future, that others wait for too.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        await _wait_in_trio(trio, flight, seconds)
    else:
        await _wait_in_asyncio(flight, seconds)


async def _wait_in_asyncio(flight: Flight, seconds: float) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    over = flight.events.get(loop)
    if over is None:
        # One for all tasks of a loop, however many there are.
        over = flight.events[loop] = asyncio.Event()

        def wake(_: object) -> None:
            # The loop may have been closed meanwhile, and nobody waits in it any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(over.set)

        flight.add_done_callback(wake)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await over.wait()


async def _wait_in_trio(trio: Any, flight: Flight, seconds: float) -> None:
    loop, over = trio.lowlevel.current_trio_token(), trio.Event()

    def wake(_: object) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            loop.run_sync_soon(over.set)

    flight.add_done_callback(wake)
    with trio.move_on_after(seconds):
        await over.wait()
