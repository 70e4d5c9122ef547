"""Prints what ``auth-plugins check`` finds: each step as soon as it is taken, or one JSON object."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from auth_plugins._base.errors import ConfigurationError

from .context import FAILED, GOOD, NOTE, Step, context_of
from .steps import take_steps

#: How the line of a step begins on the terminal.
_MARKS = {GOOD: "ok", FAILED: "FAILED", NOTE: "-"}


@dataclass
class _Report:
    """What the check found."""

    prefix: str
    steps: list[Step] = field(default_factory=list)
    #: What is known of the token, except itself; ``None``: there is no token.
    token: Mapping[str, Any] | None = None
    #: What is wrong with the configuration; ``None``: nothing.
    error: str | None = None

    @property
    def status(self) -> int:
        """The exit status: 0; 1: there is no token, or a step failed; 2: a mistake in the configuration."""
        if self.error is not None:
            return 2
        return int(self.token is None or any(step.state is FAILED for step in self.steps))

    def as_json(self) -> str:
        """Return one JSON object."""
        members = {
            "ok": self.status == 0,
            "status": self.status,
            "prefix": self.prefix,
            "steps": [
                {"name": step.name, "ok": step.state.value, "detail": step.detail, "advice": step.advice}
                for step in self.steps
            ],
            "token": self.token,
            "error": self.error,
        }
        return json.dumps(members)


def run(prefix: str, url: str | None, *, try_others: bool, as_json: bool) -> int:
    """Try what the variables of *prefix* configure, print what was found, and return the exit status.

    :param url: an API to be tried as well; ``None``: none.
    """
    report = _Report(prefix)
    try:
        context = context_of(prefix, lambda ways: try_others or (not as_json and _confirm(ways)))
        for step in take_steps(context, url):
            report.steps.append(step)
            if not as_json:
                _print(step)
        report.token = context.token_facts
    except ConfigurationError as error:
        if not as_json:
            raise
        report.error = str(error)
    if as_json:
        click.echo(report.as_json())
    return report.status


def _confirm(ways: Sequence[str]) -> bool:
    """Ask the user at the terminal whether *ways* may be tried; elsewhere they may not."""
    if not (sys.stdin and sys.stdin.isatty()):  # stdin is None if it is closed
        return False
    return click.confirm(f"Try {' and '.join(ways)} as well, at the same token endpoint?", err=True)


def _print(step: Step) -> None:
    lines = [f"{_MARKS[step.state]:<8}{step.name}: {step.detail}", *(f"{'':<8}→ {advice}" for advice in step.advice)]
    # An arrow, or a character that a server sent, may be missing from the encoding of this output.
    encoding = sys.stdout.encoding or "utf-8"
    click.echo("\n".join(lines).encode(encoding, "replace").decode(encoding))
