"""All commands, and the exit status: 0; 1: there is no token, or a request failed; 2: usage or configuration."""

import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata

import click

from auth_plugins._base.errors import AuthError, ConfigurationError

from .cache import cache
from .check import steps
from .common import check_url, fail, first_installed, prefix_argument
from .get import get, token
from .play import demo, sandbox


def main() -> None:
    """Run the command that ``sys.argv`` names; exits."""
    try:
        cli(prog_name="auth-plugins")
    except ConfigurationError as error:
        fail(error, 2)
    except AuthError as error:
        fail(error, 1)


def _print_version(context: click.Context, _: click.Parameter, is_given: bool) -> None:  # noqa: FBT001 - click's
    if is_given:
        try:
            version = metadata.version("auth-plugins")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        click.echo(f"auth-plugins {version}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def cli() -> None:
    """OAuth 2.0 for requests, httpx and httpx2, at the prompt.

    PREFIX names the environment variables that configure it: PREFIX_TOKEN_URL, PREFIX_CLIENT_ID and so on.
    """


@cli.command()
@prefix_argument
@click.option("--url", callback=check_url, help="A URL of the API, to be tried as well: one GET.")
@click.option(
    "--try-others", is_flag=True, help="Where the server refuses the client, try the other ways of client_auth."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(prefix: str, url: str | None, try_others: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Say what is configured, try it, and explain what fails.

    No secret and no token is printed. Id and secret go to the token endpoint only.
    """
    found: list[steps.Step] = []

    def show(step: steps.Step) -> None:
        found.append(step)
        if not as_json:
            _print_step(step)

    def may_try(others: Sequence[str]) -> bool:
        if try_others or as_json or not (sys.stdin and sys.stdin.isatty()):  # stdin is None if it is closed
            return try_others
        return click.confirm(f"Try {' and '.join(others)} as well, at the same token endpoint?", err=True)

    try:
        library, auth = first_installed()
        report = steps.check(prefix, os.environ, url, library=library, adapter=auth, may_try=may_try, tell=show)
    except ConfigurationError as error:
        if not as_json:
            raise
        report = steps.Report(prefix, found, error=str(error))
    if as_json:
        click.echo(json.dumps(report.members()))
    sys.exit(report.status)


def _print_step(step: steps.Step) -> None:
    lines = [f"{step.mark:<8}{step.name}: {step.detail}", *(f"{'':<8}→ {advice}" for advice in step.advice)]
    # An arrow, or a character that a server sent, may be missing from the encoding of this output.
    encoding = sys.stdout.encoding or "utf-8"
    click.echo("\n".join(lines).encode(encoding, "replace").decode(encoding))


for _command in (token, get, cache, sandbox, demo):
    cli.add_command(_command)
