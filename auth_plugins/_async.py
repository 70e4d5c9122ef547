"""Waiting for a flight within asyncio or trio, without holding up the event loop."""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import Future
from typing import Any

__all__ = ["wait_for"]


async def wait_for(future: Future[Any], seconds: float) -> None:
    """Wait until *future* is done, or *seconds* have passed; whoever is cancelled leaves the future as it is.

    Not ``asyncio.wrap_future``, which cancels the future, that others wait for too.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        await _wait_in_trio(trio, future, seconds)
    else:
        await _wait_in_asyncio(future, seconds)


async def _wait_in_asyncio(future: Future[Any], seconds: float) -> None:
    import asyncio  # noqa: PLC0415 - heavy; whoever gets here has loaded it already

    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def wake(_: Future[Any]) -> None:
        # The loop may have been closed meanwhile, and nobody waits in it any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(wake)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()


async def _wait_in_trio(trio: Any, future: Future[Any], seconds: float) -> None:
    loop, done = trio.lowlevel.current_trio_token(), trio.Event()

    def wake(_: Future[Any]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            loop.run_sync_soon(done.set)

    future.add_done_callback(wake)
    with trio.move_on_after(seconds):
        await done.wait()
