"""``auth-plugins token`` and ``auth-plugins get``."""

from collections.abc import Mapping
from typing import Any

import click

from auth_plugins._adapters.sources import source_for
from auth_plugins._base.errors import AuthError, ConfigurationError
from auth_plugins._environment.configuration import configuration
from auth_plugins._environment.successor import loses_successor
from auth_plugins._grants.base import Grant

from .common import API_TIMEOUT, fail, shown
from .configured import first_installed


def print_token(prefix: str) -> None:
    """Print an access token; an HTTP library is imported only if no cache has one."""
    grant, arguments = _configured(prefix)
    of_source = {name: arguments.get(name) for name in ("cache", "leeway", "timeout", "refresh_ahead")}
    source = source_for(grant, None, allow_http=arguments.get("allow_http", False), **of_source)
    click.echo(source.token().access_token)


def print_answer(url: str, prefix: str) -> None:
    """Get *url* with a token, and print the body of the answer."""
    library, adapter = first_installed()
    grant, arguments = _configured(prefix)
    auth = adapter(grant, **arguments)
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


def _configured(prefix: str) -> tuple[Grant, Mapping[str, Any]]:
    """Return the grant and the arguments of the variables of *prefix*."""
    grant, arguments = configuration(prefix, None)
    if loss := loses_successor(grant, arguments.get("cache"), f"{prefix.removesuffix('_')}_CACHE"):
        raise ConfigurationError(loss[0], advice=loss[1])
    return grant, arguments
