"""Prints the demo: the stories of two rows, a line for each row, and the verdict. All of it is what the servers saw.

80 columns; ASCII where the encoding of the output has no more; colour where the terminal has it.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .demo import STEPS, Event, Row, Step, play, story

_WIDTH = 80
_CLIENT = "requests"
#: The systems whose stories are printed, and how each begins.
_STORIES = {
    "auth-api": (
        f"[bold]The story of one program,[/] which calls auth-api with {_CLIENT}. Each line is a real request, as the"
        " server saw it. The server runs on this machine.\n"
    ),
    "enterprise-api": (
        "[bold]The same story with keys instead of a password.[/] Metadata name the token endpoint of enterprise-api. A"
        " key of the program signs an assertion, and another one a proof for each request (DPoP), which has a nonce of"
        " the server in it.\n"
    ),
}
#: What the demo does in each step of a story.
_CAPTIONS = {
    "first call": "The program calls the API. It has no token yet.",
    "reuse": "It calls again, twice.",
    "expiry": "It waits until token 1 has expired, and calls again.",
    "early revocation": "The server revokes token 2 early. The program calls again.",
}
_STYLES = {"token 1": "cyan", "token 2": "yellow", "token 3": "magenta", "200": "green", "401": "red"}
#: What is special about the systems that no provider knows.
_DIALECTS = {
    "sign-in-api": "a person signs in once (played by HTTP); then refresh tokens",
    "nested-api": "a token within an object, a date as expiry, an error in a 200",
    "session-api": "a token in a header of its own, used until it is rejected",
    "query-api": "a token in the query of the URL, rejected by a 403",
}


def new_console() -> Console:
    """Return a console that writes colour to a terminal that has it; plain text elsewhere, and with ``NO_COLOR``."""
    # By its own rule, rich leaves bold text in; and old versions of it count an empty NO_COLOR as set.
    console = Console(highlight=False, no_color=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
    # A narrow terminal would cut or fold the lines.
    console.width = _WIDTH
    return console


def print_all(console: Console, auths: Mapping[str, Any]) -> int:
    """Play the stories and all rows, and print them; return the exit status."""
    started = time.monotonic()
    stories = [print_story(console, name, story(name, _CLIENT, auths[_CLIENT])) for name in _STORIES]
    console.print(
        "[bold]The same four steps with each system and client,[/] at once."
        " The last two columns count the API's answers. Four systems are special:\n"
    )
    for system, text in _DIALECTS.items():
        console.print(f"   {system:<11}  {text}", style="dim")
    console.print()
    rows = play(auths)
    console.print(_table(rows))
    return print_verdict(console, stories, rows, time.monotonic() - started)


def print_story(console: Console, system: str, steps: Iterator[Step]) -> Row:
    """Print each step when it is done; return the row."""
    console.print(_STORIES[system])
    console.print("    seconds  request             it carried             answer", style="dim")
    row = Row(system, _CLIENT, [])
    for number, name in enumerate(STEPS, 1):
        console.print(f"[bold]{number}. {_CAPTIONS[name]}")
        step = next(steps)
        for index, event in enumerate(step.seen):
            console.print(_line(event, _note(event, [*row.calls, *step.seen[:index]])))
        row.steps.append(step)
        answers = " and ".join(map(str, step.returned)) or "no answer"
        console.print(Text.assemble("   ", _mark(step.problems), f": the program got {answers}.\n"))
        if step.error:
            break
    return row


def _line(event: Event, note: str) -> Text:
    cells = (
        (f"{event.seconds:11.3f}  ", "dim"),
        (f"{event.request if len(event.request) < 20 else f'{event.request[:16]}...':<19} ", ""),
        (f"{event.carried:<22} ", _STYLES.get(event.carried, "")),
        (f"{event.status}  ", _STYLES.get(str(event.status), "red")),
        (note, "dim"),
    )
    line = Text.assemble(*cells)
    line.rstrip()
    return line


def _note(event: Event, earlier: Sequence[Event]) -> str:
    """Return what makes *event* remarkable after the *earlier* ones."""
    if event.asks_for_nonce:
        return "asks for a nonce"
    if event.at == "metadata":
        return "the metadata"
    if not event.is_call:
        return "issues a token" if event.status < 300 else "refused"
    if event.status == 401:
        return "rejected"
    calls = [each for each in earlier if each.is_call]
    if calls and calls[-1].status == 401:
        return "replayed"
    return "used again" if event.carried in [each.carried for each in calls] else ""


def _mark(problems: Sequence[str]) -> Text:
    return Text("NO", "bold red") if problems else Text("ok", "green")


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in ("", "system", "client", "first token by", "later tokens by", "200", "4xx"):
        table.add_column(heading, no_wrap=True, overflow="crop", justify="right" if heading[:1].isdigit() else "left")
    for row in rows:
        carried = [event.carried for event in row.token_requests]
        # The story shows where a refresh token travels.
        later = dict.fromkeys("refresh token" if "refresh" in each else each for each in carried[1:])
        good = sum(event.status < 400 for event in row.calls)
        counts = (str(good), str(len(row.calls) - good))
        table.add_row(_mark(row.problems), row.system, row.client, "".join(carried[:1]), "/".join(later), *counts)
    return table


def _print_problems(console: Console, row: Row, where: str) -> None:
    console.print(f"{row.system} with {row.client}{where}:", style="bold red")
    for problem in row.problems:
        console.print(Padding(Text(problem), (0, 0, 0, 3)))
    console.print()


def print_verdict(console: Console, stories: Sequence[Row], rows: Sequence[Row], seconds: float) -> int:
    """Print what failed in the rows of *stories* or in *rows*, and sums of all *rows*; return the exit status."""
    console.print()
    failed = [
        (row, where) for where, group in ((" in the story", stories), ("", rows)) for row in group if row.problems
    ]
    for row, where in failed:
        _print_problems(console, row, where)
    verdict = Text("FAILED", "bold red") if failed else Text("PASSED", "bold green")
    passed = f"{sum(not row.problems for row in rows)} of {len(rows)} rows"
    is_good = not any(row.problems for row in stories)
    outcome = f"{passed} as expected" if is_good else f"a story is not as expected; {passed} are"
    console.print(Text.assemble(verdict, f": {outcome}, in {seconds:.1f} s."))
    requests = [event for row in rows for event in row.token_requests]
    passwords = sum("password" in event.carried for event in requests)
    calls = [event for row in rows for event in row.calls]
    nonces = sum(event.asks_for_nonce for event in (*requests, *calls))
    refused, rejected = (
        sum(event.status >= 300 and not event.asks_for_nonce for event in events) for events in (requests, calls)
    )
    returned = [status for row in rows for step in row.steps for status in step.returned]
    console.print(
        f"The servers saw {len(requests)} token requests ({passwords} with a password, {refused} refused) and"
        f" {len(calls)} API requests ({rejected} of them with a token that was rejected)."
        f" They asked {nonces} times for a nonce. The programs made {len(returned)} calls;"
        f" {returned.count(200)} returned 200."
    )
    return 1 if failed else 0
