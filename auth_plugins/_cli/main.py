"""All commands, and the exit status: 0; 1: there is no token, or a request failed; 2: usage or configuration.

What a command does is imported when it runs, so that none waits for what another one needs.
"""

import sys

import click

from .common import check_url, fail

_prefix = click.argument("prefix", default="AUTH_PLUGINS")


def main() -> None:
    """Run the command that ``sys.argv`` names; exits."""
    try:
        cli(prog_name="auth-plugins")
    except Exception as error:
        from auth_plugins._base.errors import AuthError, ConfigurationError

        if not isinstance(error, AuthError):
            raise
        fail(error, 2 if isinstance(error, ConfigurationError) else 1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="auth-plugins", message="%(package)s %(version)s", help="Show the version.")
def cli() -> None:
    """OAuth 2.0 for requests, httpx and httpx2, at the prompt.

    PREFIX names the environment variables that configure it: PREFIX_TOKEN_URL, PREFIX_CLIENT_ID and so on.
    """


@cli.command()
@_prefix
def token(prefix: str) -> None:
    """Print an access token, and nothing else."""
    from .get import print_token

    print_token(prefix)


@cli.command()
@_prefix
def login(prefix: str) -> None:
    """Sign in with a browser, once for all programs that use the cache of PREFIX."""
    from .login import sign_in

    sign_in(prefix)


@cli.command()
@_prefix
def logout(prefix: str) -> None:
    """End the login of PREFIX: at the server, where it can, and in the cache."""
    from .login import sign_out

    sign_out(prefix)


@cli.command()
@click.argument("url", callback=check_url)
@_prefix
def get(url: str, prefix: str) -> None:
    """Get URL with a token; print the body of the answer."""
    from .get import print_answer

    print_answer(url, prefix)


@cli.command()
@_prefix
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


@cli.group()
def cache() -> None:
    """Look after the tokens that processes share.

    PREFIX_CACHE and PREFIX_CACHE_KEY say where they are stored. Without PREFIX and without AUTH_PLUGINS_CACHE, they are
    in the user's own cache directory.
    """


@cache.command("list")
@_prefix
def list_cache(prefix: str) -> None:
    """Print what the cache of PREFIX stores: for whom, and until when; never a token."""
    from .cache import print_entries

    print_entries(prefix)


@cache.command()
@click.argument("prefix", required=False)
@click.option("--all", "everything", is_flag=True, help="Delete all tokens in the cache of PREFIX.")
def clear(prefix: str | None, everything: bool) -> None:  # noqa: FBT001 - click's
    """Delete the token of PREFIX.

    Without PREFIX: all tokens in the user's own cache directory, or in the cache of AUTH_PLUGINS_CACHE.
    """
    from .cache import delete

    delete(prefix, everything=everything)


@cache.command()
def key() -> None:
    """Print a new key, for PREFIX_CACHE_KEY."""
    from cryptography.fernet import Fernet

    click.echo(Fernet.generate_key().decode())


@cli.command()
@click.option(
    "--lifetime",
    type=click.IntRange(min=1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long an access token is valid.",
)
def sandbox(lifetime: int) -> None:
    """Play ten systems on this machine until Ctrl-C; print how to be a client of each."""
    from .play import play_sandbox

    play_sandbox(lifetime)


@cli.command()
def demo() -> None:
    """Play ten systems on this machine with each library; print what they saw."""
    from .play import play_demo

    play_demo()
