"""All commands, and the exit status: 0; 1: there is no token, or a request failed; 2: usage or configuration."""

import sys

import click

from auth_plugins._base.errors import AuthError, ConfigurationError

from .cache import cache
from .common import check_url, fail, prefix_argument
from .get import get, token
from .play import demo, sandbox


def main() -> None:
    """Run the command that ``sys.argv`` names; exits."""
    try:
        cli(prog_name="auth-plugins")
    except AuthError as error:
        fail(error, 2 if isinstance(error, ConfigurationError) else 1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="auth-plugins", message="%(package)s %(version)s", help="Show the version.")
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
    from .check.report import run

    sys.exit(run(prefix, url, try_others=try_others, as_json=as_json))


for _command in (token, get, cache, sandbox, demo):
    cli.add_command(_command)
