"""Time, chance and threads: the one object through which the package reaches them, so that a test can replace them."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Runtime", "runtime"]


class Clock(Protocol):
    """What the package uses of the module ``time``."""

    def time(self) -> float:
        """Return the Unix time in seconds, of a clock that can be set."""
        ...

    def monotonic(self) -> float:
        """Return seconds since a fixed moment; the clock stands still while the machine sleeps."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Sleep for so many seconds."""
        ...


class Runtime:
    """What the package takes from the machine. A test replaces an attribute of :data:`runtime`, and resets it later.

    The timeouts of sockets are always real, whatever this object says.
    """

    __slots__ = ("clock", "elapsed", "start_thread", "uniform", "wait")

    #: The module ``time``, and no function of it: libraries that freeze the time of a test replace its functions.
    clock: Clock
    #: Seconds since a fixed moment, the machine's sleep included.
    elapsed: Callable[[], float]
    #: A random number between two others.
    uniform: Callable[[float, float], float]
    #: Run a function in a new daemon thread of that name; RuntimeError: no thread can be started.
    start_thread: Callable[[Callable[[], object], str], None]
    #: Wait until a future is done, for at most so many seconds.
    wait: Callable[[Future[Any], float], None]

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Use the machine's own clocks, random numbers and threads."""
        self.clock = time
        self.elapsed = _clock_with_sleep() or time.monotonic
        self.uniform, self.start_thread, self.wait = random.uniform, _start_thread, _wait


def _clock_with_sleep() -> Callable[[], float] | None:
    """Return a clock that counts the machine's sleep; ``None``: there is none, or :func:`time.monotonic` counts it."""
    # time.monotonic() stands still during sleep on Linux and macOS; on Windows it goes on.
    clock: int | None = getattr(time, "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None)
    if clock is None:
        return None

    def elapsed() -> float:
        return time.clock_gettime(clock)

    try:
        elapsed()
    except OSError:  # the kernel does not know it, or a sandbox forbids it
        return None
    return elapsed


def _start_thread(function: Callable[[], object], name: str) -> None:
    # A daemon thread: the interpreter must not wait for it at exit.
    threading.Thread(target=function, name=name, daemon=True).start()


def _wait(future: Future[Any], seconds: float) -> None:
    from concurrent.futures import wait  # the caller has imported it: no other process needs it

    wait([future], seconds)


runtime = Runtime()
