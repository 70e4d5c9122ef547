"""What ``auth-plugins check`` reports: its steps, and the whole of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self
from urllib.parse import urlsplit

from auth_plugins._protocol.redaction import one_line

__all__ = ["Report", "State", "Step", "shown"]


class State(Enum):
    """What came of a step; the value is that of ``ok`` in JSON."""

    GOOD = True
    FAILED = False
    #: Neither good nor bad: a fact, or a step that was not taken.
    NOTE = None


@dataclass(frozen=True)
class Step:
    """One step of the check."""

    name: str
    state: State
    detail: str
    #: What to do about it.
    advice: tuple[str, ...] = ()

    @classmethod
    def good(cls, name: str, detail: str, *advice: str) -> Self:
        return cls(name, State.GOOD, one_line(detail), tuple(map(one_line, advice)))

    @classmethod
    def failed(cls, name: str, detail: str, *advice: str) -> Self:
        return cls(name, State.FAILED, one_line(detail), tuple(map(one_line, advice)))

    @classmethod
    def note(cls, name: str, detail: str, *advice: str) -> Self:
        return cls(name, State.NOTE, one_line(detail), tuple(map(one_line, advice)))

    @property
    def mark(self) -> str:
        """How a line on the terminal begins: ``ok``, ``FAILED`` or ``-``."""
        return {State.GOOD: "ok", State.FAILED: "FAILED", State.NOTE: "-"}[self.state]


@dataclass(frozen=True)
class Report:
    """What the check found."""

    prefix: str
    steps: Sequence[Step]
    #: What is known of the token, except itself; ``None``: there is no token.
    token: Mapping[str, Any] | None = None
    #: What is wrong with the configuration; ``None``: nothing.
    error: str | None = None

    @property
    def status(self) -> int:
        """The exit status: 0; 1: there is no token, or a step failed; 2: a mistake in the configuration."""
        if self.error is not None:
            return 2
        return 1 if self.token is None or any(step.state is State.FAILED for step in self.steps) else 0

    def members(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        steps = [
            {"name": step.name, "ok": step.state.value, "detail": step.detail, "advice": list(step.advice)}
            for step in self.steps
        ]
        ok, status = self.status == 0, self.status
        return {
            "ok": ok, "status": status, "prefix": self.prefix, "steps": steps, "token": self.token, "error": self.error
        }  # fmt: skip


def shown(url: str, text: object) -> str:
    """Return *text* on one line, without the query and the user of *url*, which may be secrets."""
    parts = urlsplit(url)
    line = " ".join(str(text).split())
    for secret in filter(None, (parts.query, parts.netloc.rpartition("@")[0])):
        line = line.replace(secret, "...")
    return line
