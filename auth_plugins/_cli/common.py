"""What several commands need: the URL of an API, and how a command fails. It imports little."""

import re
import sys
from typing import NoReturn
from urllib.parse import urlsplit

import click

#: Seconds that an API may take to answer: longer than a token request, which has ``PREFIX_TIMEOUT``.
API_TIMEOUT = 60.0


def check_url(_: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
    """Return *url* if it is an absolute http(s) URL, and ``None`` if the option was left out."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        is_absolute = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # the port or the brackets are not valid
        is_absolute = False
    if not is_absolute:
        place = ", before the prefix" if isinstance(parameter, click.Argument) else ""
        raise click.BadParameter(f"give it whole, such as https://api.example.com/things{place}")
    return url


def shown(url: str, text: object) -> str:
    """Return *text* on one line, without the user of *url* and the queries of all URLs in it: they may be secrets."""
    parts = urlsplit(url)
    line = " ".join(str(text).split())
    for secret in filter(None, (parts.query, parts.netloc.rpartition("@")[0])):
        line = line.replace(secret, "...")
    return re.sub(r"\?\S+", "?...", line)


def fail(problem: object, status: int) -> NoReturn:
    """Print *problem* on one line and exit with *status*."""
    from auth_plugins._protocol.redaction import one_line

    click.echo(f"error: {one_line(str(problem))}", err=True)
    sys.exit(status)
