"""Time, chance and threads: the one object through which the package reaches them, so that a test can replace them."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Runtime", "runtime"]


class Runtime:
    """What the package takes from the machine. A test replaces an attribute of :data:`runtime`, and resets it later.

    The timeouts of sockets are always real, whatever this object says.
    """

    __slots__ = ("elapsed", "monotonic", "sleep", "start_thread", "time", "uniform", "wait")

    #: Unix time in seconds, of a clock that can be set.
    time: Callable[[], float]
    #: Seconds since a fixed moment; the clock stands still while the machine sleeps.
    monotonic: Callable[[], float]
    #: Seconds since a fixed moment, the machine's sleep included.
    elapsed: Callable[[], float]
    #: Sleep for so many seconds.
    sleep: Callable[[float], None]
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
        self.time, self.monotonic, self.sleep = _time, _monotonic, _sleep
        self.elapsed = _clock_with_sleep() or time.monotonic
        self.uniform, self.start_thread, self.wait = random.uniform, _start_thread, _wait


# These look up the function at each call: libraries that freeze the time of a test replace it in its module.


def _time() -> float:
    return time.time()


def _monotonic() -> float:
    return time.monotonic()


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


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
