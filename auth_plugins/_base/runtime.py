"""Time, chance and threads: the one object by which the package reaches them, so that a test can replace them."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable

__all__ = ["Runtime", "runtime"]


class Runtime:
    """What the package takes from the machine. A test sets an attribute of :data:`runtime`, and resets it afterwards.

    Times of sockets are no matter of it: :mod:`auth_plugins._transports` has real ones.
    """

    __slots__ = ("elapsed", "monotonic", "sleep", "start_thread", "time", "uniform")

    #: Unix seconds, of a clock that can be set.
    time: Callable[[], float]
    #: Seconds since a fixed moment; stands still while the machine sleeps.
    monotonic: Callable[[], float]
    #: Seconds since a fixed moment, the machine's sleep included.
    elapsed: Callable[[], float]
    #: Wait for so many seconds.
    sleep: Callable[[float], None]
    #: A random number between two others.
    uniform: Callable[[float, float], float]
    #: Run a function in a new daemon thread of that name; raises RuntimeError if there can be none.
    start_thread: Callable[[Callable[[], object], str], None]

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Take everything from the machine."""
        self.time, self.monotonic, self.sleep = time.time, time.monotonic, time.sleep
        self.elapsed = _clock_with_sleep() or time.monotonic
        self.uniform, self.start_thread = random.uniform, _start_thread


def _clock_with_sleep() -> Callable[[], float] | None:
    """A clock that counts the machine's sleep; ``None``: there is none, or :func:`time.monotonic` does."""
    # time.monotonic() stands still during sleep on Linux and macOS. On Windows it goes on.
    name = "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME"
    clock: int | None = getattr(time, name, None)
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
    # A daemon, as the interpreter must not wait for it in order to end.
    threading.Thread(target=function, name=name, daemon=True).start()


runtime = Runtime()
