"""Forked children of the process that runs the tests."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable

import pytest

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


def in_child(check: Callable[[], object]) -> None:
    """Run *check* in a forked child; it must return something true within 30 seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that there are threads, which is the point
        child = os.fork()
    if child == 0:  # pragma: no cover - another process
        signal.alarm(30)
        try:
            os._exit(0 if check() else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
