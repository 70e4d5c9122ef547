"""``auth-plugins demo`` and ``auth-plugins sandbox``."""

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence

import click
import rich.box
from rich.console import Console
from rich.table import Table

from auth_plugins.sandbox import Sandbox

from .common import fail
from .demo import Row, play

#: Columns that the table of the demo needs.
_WIDTH = 80


@click.command()
@click.option(
    "--lifetime",
    type=click.IntRange(min=1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long an access token is valid.",
)
def sandbox(lifetime: int) -> None:
    """Play five systems on this machine until Ctrl-C; print how to be a client of each."""
    with Sandbox(lifetime) as systems, contextlib.suppress(KeyboardInterrupt):
        for system in systems:
            prefix = f"ACME_{system.name.removesuffix('-api').upper()}"
            _print_exports(system.name, system.variables(prefix), system.api_url, prefix)
        upload = systems["upload-api"]
        url, prefix = f"{upload.url}/v1{upload.api_path}", "ACME_UPLOAD_V1"
        _print_exports("upload-api, version 1", upload.legacy_variables(prefix), url, prefix)
        click.echo("# They run until Ctrl-C.")
        while True:
            time.sleep(3600)


def _print_exports(title: str, variables: Mapping[str, str], url: str, prefix: str) -> None:
    click.echo(f"# {title}")
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f"# auth-plugins get {url} {prefix}\n")


@click.command()
def demo() -> None:
    """Play five systems on this machine with each library; print what they saw."""
    # No request leaves the machine, so none may go to a proxy.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    started = time.monotonic()
    try:
        rows = play()
    except ImportError as error:
        fail(error, 2)
    sys.exit(print_rows(rows, time.monotonic() - started))


def print_rows(rows: Sequence[Row], seconds: float) -> int:
    """Print what was played in so many seconds; return the exit status."""
    failed = [row for row in rows if row.problems]
    console = Console(highlight=False)
    # A narrow terminal would cut or fold the rows.
    console.width = max(console.width, _WIDTH)
    console.print(
        "In each row: a first token, which ends; a second, which is used 5 times and\n"
        "revoked early, so that the API answers 401; a third, with which it says 200.\n"
    )
    console.print(_table(rows))
    for row in failed:
        for problem in row.problems:
            console.print(f"{row.system} with {row.client}: {problem}", markup=False, soft_wrap=True)
    closing = f"\n{len(rows) - len(failed)} of {len(rows)} rows as expected ({seconds:.1f} s)"
    console.print(closing if failed else f"{closing}: passwords sent once, no refresh token twice.")
    return 1 if failed else 0


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("system", "client", "token\nreqs", "credentials\ntravelled as", "renewed by", "calls", "ok?"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        first, renewals = row.seen["credentials"][:1], row.seen["renewals"]
        table.add_row(
            row.system,
            row.client,
            f"{len(first)} + {len(renewals)}",
            *("/".join(dict.fromkeys(several)) for several in (first, renewals)),
            f"{row.seen['answers'].count(200)}x200",
            "[red]NO" if row.problems else "[green]ok",
        )
    return table
