"""For all tests of transports: the pauses between the tries of a token request take no time."""

from __future__ import annotations

import time

import pytest

from auth_plugins._base.runtime import runtime


class ClockWithoutPauses:
    """The machine's clock, which a sleep sets forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def time(self) -> float:
        return time.time() + self._ahead

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def sleep(self, seconds: float, /) -> None:
        self._ahead += seconds


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "clock", ClockWithoutPauses())
