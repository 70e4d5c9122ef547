"""A clock that only goes forward, and goes on while the machine sleeps."""

from __future__ import annotations

import sys
import time

__all__ = ["elapsed"]


def _clock() -> int | None:
    """Return the id of a clock that counts the machine's sleep; ``None``: use :func:`time.monotonic`."""
    # time.monotonic() stands still during sleep on Linux and macOS. On Windows it goes on.
    name = "CLOCK_MONOTONIC" if sys.platform == "darwin" else "CLOCK_BOOTTIME"
    clock: int | None = getattr(time, name, None)
    if clock is not None:
        try:
            time.clock_gettime(clock)
        except OSError:  # the kernel does not know it, or a sandbox forbids it
            return None
    return clock


_CLOCK = _clock()


def elapsed() -> float:
    """Return seconds since a fixed moment, the machine's sleep included; this clock cannot be set."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
