"""Children of the process that runs the tests: forked ones, and spawned ones."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.support.workers import wait_for_ending_threads

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


def in_child(check: Callable[[], object]) -> None:
    """Run *check* in a forked child; it must return something true within 30 seconds."""
    wait_for_ending_threads()
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


@contextlib.contextmanager
def spawned(count: int) -> Iterator[ProcessPoolExecutor]:
    """Spawn up to *count* processes that find the modules of the tests, and import the installed package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])  # the last place, unlike PYTHONPATH
        with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
            yield pool
