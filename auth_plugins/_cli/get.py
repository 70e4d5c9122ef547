"""``auth-plugins token`` and ``auth-plugins get``."""

from typing import Any

import click

from auth_plugins._base.errors import AuthError, ConfigurationError
from auth_plugins._environment.configuration import configuration

from .common import API_TIMEOUT, check_url, fail, first_installed, loses_successor, prefix_argument, shown


@click.command()
@prefix_argument
def token(prefix: str) -> None:
    """Print an access token, and nothing else."""
    _, auth = _configured(prefix)
    click.echo(auth.source.token().access_token)


@click.command()
@click.argument("url", callback=check_url)
@prefix_argument
def get(url: str, prefix: str) -> None:
    """Get URL with a token; print the body of the answer."""
    library, auth = _configured(prefix)
    # requests follows redirects by default.
    options = {} if library.__name__ == "requests" else {"follow_redirects": True}
    try:
        response = library.get(url, auth=auth, timeout=API_TIMEOUT, **options)
    except AuthError:
        raise
    except Exception as error:
        fail(f"{shown(url, url)} did not answer ({type(error).__name__}: {shown(url, error)})", 1)
    click.echo(response.content, nl=False)
    if response.status_code >= 400:
        click.echo("" if response.content.endswith(b"\n") else "\n", err=True, nl=False)
        fail(f"{shown(url, url)} answered {response.status_code}", 1)


def _configured(prefix: str) -> tuple[Any, Any]:
    """Return the library, and its ``OAuth2Auth`` of the variables of *prefix*."""
    library, adapter = first_installed()
    grant, arguments = configuration(prefix, None)
    if loss := loses_successor(grant, arguments.get("cache"), f"{prefix.removesuffix('_')}_CACHE"):
        raise ConfigurationError(loss[0], advice=loss[1])
    return library, adapter(grant, **arguments)
