"""Time, chance and threads: the one object through which the package reaches them, so that a test can replace them."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Protocol

    class _Clock(Protocol):
        """What the package uses of the module ``time``."""

        def time(self) -> float: ...
        def monotonic(self) -> float: ...
        def sleep(self, seconds: float, /) -> None: ...


class Runtime:
    """What the package takes from the machine. A test replaces an attribute of :data:`runtime`, and resets it later.

    The timeouts of sockets are always real, whatever this object says.
    """

    def __init__(self) -> None:
        #: The module ``time``, and no function of it: libraries that freeze the time of a test replace its functions.
        self.clock: _Clock = time
        #: Seconds since a fixed moment, the machine's sleep included.
        self.elapsed = _clock_with_sleep()
        #: A random number between two others.
        self.uniform = random.uniform
        #: Run a function in a new thread of that name, for which the interpreter does not wait at exit, unless
        #: ``is_daemon=False``; RuntimeError: no thread can be started.
        self.start_thread = _start_thread
        #: Wait until a future is done, for at most so many seconds.
        self.wait = _wait
        #: Sleep for so many seconds, or until a future is done.
        self.sleep_until = _wait
        #: Sleep in asyncio or trio, for so many seconds; other tasks go on.
        self.sleep_in_loop: Callable[[float], Awaitable[None]] = _sleep_in_loop
        #: Makes the token of a grant in place of all token requests and shared caches, given the tokens that were
        #: rejected: for ``auth_plugins.testing``. ``None``: token requests are sent.
        self.make_token: Callable[[Any, Any], Any] | None = None


def _clock_with_sleep() -> Callable[[], float]:
    # time.monotonic() stands still during sleep on Linux and macOS; on Windows it goes on.
    clock: int | None = getattr(time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None)
    if clock is None:
        return time.monotonic

    def elapsed() -> float:
        return time.clock_gettime(clock)

    try:
        elapsed()
    except OSError:  # the kernel does not know it, or a sandbox forbids it
        return time.monotonic
    return elapsed


def _start_thread(function: Callable[[], object], name: str, *, is_daemon: bool = True) -> None:
    threading.Thread(target=function, name=name, daemon=is_daemon).start()


def _wait(future: Future[Any], seconds: float) -> None:
    from concurrent.futures import wait  # the caller has imported it: no other process needs it

    wait([future], seconds)


async def _sleep_in_loop(seconds: float) -> None:
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        await trio.sleep(seconds)
        return
    import asyncio  # a program that waits in a loop of asyncio has imported it

    await asyncio.sleep(seconds)


runtime = Runtime()
