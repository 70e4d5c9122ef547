"""What several commands need: their arguments, the installed library, and the line that ends a failed command."""

import importlib
import importlib.util
import sys
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._protocol.redaction import one_line

prefix_argument = click.argument("prefix", default="AUTH_PLUGINS")


def check_url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    """Return *url*; ``None``: the option was left out.

    :raises click.BadParameter: it is not an absolute http(s) URL.
    """
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        is_absolute = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # the port or the brackets are not valid
        is_absolute = False
    if not is_absolute:
        raise click.BadParameter("give it whole, such as https://api.example.com/things")
    return url


def fail(problem: object, status: int) -> NoReturn:
    """Print *problem* on one line and exit with *status*."""
    click.echo(f"error: {one_line(str(problem))}", err=True)
    sys.exit(status)


def first_installed() -> tuple[Any, Any]:
    """Return the first of the libraries that is installed, and its ``OAuth2Auth``.

    :raises ConfigurationError: none is installed.
    """
    for name in ("requests", "httpx2", "httpx"):
        if importlib.util.find_spec(name):
            return importlib.import_module(name), importlib.import_module(f"auth_plugins.{name}").OAuth2Auth
    raise ConfigurationError(
        "requests, httpx2 or httpx is needed", advice="install one, such as by pip install 'auth-plugins[requests]'"
    )
