"""The command line: ``auth-plugins``, or ``python -m auth_plugins``.

Exit status: 0; 1: a token could not be had, or a request failed; 2: usage or configuration.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

try:
    import click
    import rich.box
    from rich.console import Console
    from rich.table import Table
except ImportError:
    print("error: the command line needs click and rich: pip install 'auth-plugins[cli]'", file=sys.stderr)
    raise SystemExit(2) from None

from auth_plugins._base.errors import AuthError, ConfigurationError
from auth_plugins._caches.entries import StoredToken
from auth_plugins._caches.file import FileCache
from auth_plugins._caches.redis import RedisCache
from auth_plugins._caches.shared import KEY_CHECK, shared_cache_for
from auth_plugins._cli.check import steps
from auth_plugins._cli.check.advice import shown
from auth_plugins._environment.configuration import cache_of, cache_secrets, configuration
from auth_plugins._protocol.messages import Redactor, one_line
from auth_plugins.sandbox import Sandbox

from .rotation import loses_successor

if TYPE_CHECKING:
    from . import demo

__all__ = ["main"]

#: Seconds that an API may take to answer.
_TIMEOUT = 60.0
#: Columns that the table of the demo needs.
_WIDTH = 80

_prefix = click.argument("prefix", default="AUTH_PLUGINS")


def main() -> None:
    """Run the command that ``sys.argv`` names; exits."""
    try:
        cli(prog_name="auth-plugins")
    except ConfigurationError as error:
        _fail(error, 2)
    except AuthError as error:
        _fail(error, 1)


def _fail(problem: object, status: int) -> NoReturn:
    click.echo(f"error: {one_line(str(problem))}", err=True)
    sys.exit(status)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    if wanted:
        try:
            version = importlib.metadata.version("auth-plugins")
        except importlib.metadata.PackageNotFoundError:
            version = "(not installed)"
        click.echo(f"auth-plugins {version}")
        context.exit()


def _check_url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    if url is None:  # an option that was left out
        return None
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a port, or of brackets
        whole = False
    if not whole:
        raise click.BadParameter("give it whole, such as https://api.example.com/things")
    return url


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def cli() -> None:
    """OAuth 2.0 for requests, httpx and httpx2, at the prompt.

    PREFIX names the environment variables that configure it: PREFIX_TOKEN_URL, PREFIX_CLIENT_ID and so on.
    """


@cli.command()
@_prefix
def token(prefix: str) -> None:
    """Print an access token, and nothing else."""
    _, auth = _configured(prefix)
    click.echo(auth.source.token().access_token)


@cli.command()
@click.argument("url", callback=_check_url)
@_prefix
def get(url: str, prefix: str) -> None:
    """Get URL with a token; print the body of the answer."""
    library, auth = _configured(prefix)
    # requests follows redirects without being told.
    options = {} if library.__name__ == "requests" else {"follow_redirects": True}
    try:
        response = library.get(url, auth=auth, timeout=_TIMEOUT, **options)
    except AuthError:
        raise
    except Exception as error:
        _fail(f"{shown(url, url)} did not answer ({type(error).__name__}: {shown(url, error)})", 1)
    click.echo(response.content, nl=False)
    if response.status_code >= 400:
        click.echo("" if response.content.endswith(b"\n") else "\n", err=True, nl=False)
        _fail(f"{shown(url, url)} answered {response.status_code}", 1)


@cli.command()
@_prefix
@click.option("--url", callback=_check_url, help="An address of the API, to be tried as well: one GET.")
@click.option(
    "--try-others", is_flag=True, help="Where the server refuses the client, try the other ways of client_auth."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(prefix: str, url: str | None, try_others: bool, as_json: bool) -> None:  # noqa: FBT001 - click's
    """Say what is configured, try it, and explain what fails.

    No secret and no token is printed. Id and secret go to the token endpoint only.
    """
    found: list[steps.Step] = []

    def tell(step: steps.Step) -> None:
        found.append(step)
        if not as_json:
            _print_step(step)

    def may_try(others: Sequence[str]) -> bool:
        if try_others or as_json or not (sys.stdin and sys.stdin.isatty()):  # None: it is closed
            return try_others
        return click.confirm(f"Try {' and '.join(others)} as well, at the same token endpoint?", err=True)

    try:
        library, auth = _first_installed()
        report = steps.check(prefix, os.environ, url, library=library, adapter=auth, may_try=may_try, tell=tell)
    except ConfigurationError as error:
        if not as_json:
            raise
        report = steps.Report(prefix, found, error=str(error))
    if as_json:
        click.echo(json.dumps(report.members()))
    sys.exit(report.status)


def _print_step(step: steps.Step) -> None:
    mark = {True: "ok", False: "FAILED", None: "-"}[step.ok]
    lines = [f"{mark:<8}{step.name}: {step.detail}", *(f"{'':<8}→ {advice}" for advice in step.advice)]
    # An arrow, or what a server wrote, may be more than this output can show.
    encoding = sys.stdout.encoding or "utf-8"
    click.echo("\n".join(lines).encode(encoding, "replace").decode(encoding))


@cli.command()
@click.option(
    "--lifetime",
    type=click.IntRange(min=1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long an access token is good for.",
)
def sandbox(lifetime: int) -> None:
    """Play five systems on this machine until Ctrl-C; print how to be a client of each."""
    with Sandbox(lifetime) as systems:
        for system in systems:
            prefix = f"ACME_{system.name.removesuffix('-api').upper()}"
            _print_exports(system.name, system.variables(prefix), system.api_url, prefix)
        upload = systems["upload-api"]
        prefix = "ACME_UPLOAD_V1"
        _print_exports(
            "upload-api, version 1", upload.legacy_variables(prefix), f"{upload.url}/v1{upload.api_path}", prefix
        )
        click.echo("# They run until Ctrl-C.")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


@cli.group()
def cache() -> None:
    """Look after the tokens that processes share.

    PREFIX_CACHE and PREFIX_CACHE_KEY say where they lie: in the user's own directory, where no PREFIX is given and
    AUTH_PLUGINS_CACHE isn't set.
    """


@cache.command("list")
@_prefix
def list_cache(prefix: str) -> None:
    """Print all that lies in the cache that PREFIX_CACHE names: for whom, and until when; never a token."""
    with _cache_errors(prefix):
        found = _cache_of(prefix)
        entries = shared_cache_for(found).entries()
    for entry in entries:
        click.echo(f"({entry})" if isinstance(entry, str) else _described(entry))
    if not entries:
        click.echo(f"nothing lies in {found!r}", err=True)


@cache.command()
@click.argument("prefix", required=False)
@click.option("--all", "everything", is_flag=True, help="All that lie in the cache of PREFIX, for whomever.")
def clear(prefix: str | None, everything: bool) -> None:  # noqa: FBT001 - click's
    """Forget the token of PREFIX.

    Without PREFIX: all that lie in the user's own directory, or where AUTH_PLUGINS_CACHE says.
    """
    with _cache_errors(prefix or "AUTH_PLUGINS"):
        found = _cache_of(prefix or "AUTH_PLUGINS")
        if prefix is None or everything:
            names: Sequence[str] = found.names()
        else:
            shared, grant = shared_cache_for(found), configuration(prefix, None)[0]
            found_entry = shared.entry_of(grant, shared.memory.state(grant))
            names = [name for name in found_entry.names if found.get(name) is not None] if found_entry else ()
        for name in names:
            found.delete(name)
        if isinstance(found, FileCache) and (prefix is None or everything):
            found.remove_free_locks()
    click.echo(f"forgot {len(set(names) - {KEY_CHECK})} of {found!r}")


@cache.command()
def key() -> None:
    """Print a new key, for PREFIX_CACHE_KEY."""
    from cryptography.fernet import Fernet

    click.echo(Fernet.generate_key().decode())


@contextlib.contextmanager
def _cache_errors(prefix: str) -> Iterator[None]:
    """Everything that the cache of *prefix* raises, of which a request never hears, becomes one line."""
    try:
        yield
    except AuthError:
        raise
    except Exception as error:
        # A server that knows no AUTH quotes the password.
        said = Redactor(cache_secrets(prefix))(str(error))
        _fail(f"the cache cannot be used ({type(error).__name__}: {said})", 1)


def _cache_of(prefix: str) -> FileCache | RedisCache:
    found = cache_of(prefix)
    if found is None and prefix == "AUTH_PLUGINS":
        return FileCache()
    if found is None:
        raise ConfigurationError(
            f"{prefix.removesuffix('_')}_CACHE is memory, which ends with its process; set it to file or redis://..."
        )
    return found


def _described(entry: StoredToken) -> str:
    about, ends = entry.about, entry.token.expires_at
    whom = " ".join(about[name] for name in ("username", "client_id") if name in about)
    scope = f", scope {about['scope']}" if "scope" in about else ""
    until = "no end told"
    if ends is not None:
        latest = datetime.max.replace(tzinfo=UTC).timestamp() - 1
        until = f"until {datetime.fromtimestamp(min(max(ends, 0.0), latest), UTC):%Y-%m-%d %H:%M:%S} UTC"
    ended = " (ended)" if ends is not None and ends <= time.time() else ""
    renewable = ", renewable" if entry.token.refresh_token else ""
    line = f"{about.get('grant', '?')} {whom} at {about.get('token_url', '?')}{scope}: {until}{ended}{renewable}"
    # Nothing in it steers a terminal.
    return "".join(char if char.isprintable() else "?" for char in line)


@cli.command("demo")
def play_demo() -> None:
    """Play five systems on this machine with each library; print what they saw."""
    # No request leaves the machine, so none may go to a proxy.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    from . import demo

    started = time.monotonic()
    try:
        rows = demo.play()
    except ImportError as error:
        _fail(error, 2)
    seconds = time.monotonic() - started
    failed = [row for row in rows if row.problems]
    console = Console(highlight=False)
    # A row that is cut off or folded would hide what it says.
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
    sys.exit(1 if failed else 0)


def _table(rows: Sequence[demo.Row]) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("system", "client", "token\nreqs", "credentials\ntravelled as", "renewed by", "calls", "ok?"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        seen = row.seen
        table.add_row(
            row.system,
            row.client,
            f"{len(seen.credentials[:1])} + {len(seen.renewals)}",
            *("/".join(dict.fromkeys(several)) for several in (seen.credentials[:1], seen.renewals)),
            f"{seen.answers.count(200)}x200",
            "[red]NO" if row.problems else "[green]ok",
        )
    return table


def _print_exports(title: str, variables: Mapping[str, str], url: str, prefix: str) -> None:
    click.echo(f"# {title}")
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f"# auth-plugins get {url} {prefix}\n")


def _configured(prefix: str) -> tuple[Any, Any]:
    """The first installed of the libraries, and its ``OAuth2Auth`` of the variables of *prefix*.

    :raises ConfigurationError: it cannot work, or would spend a refresh token whose successor is lost.
    """
    library, adapter = _first_installed()
    grant, arguments = configuration(prefix, None)
    variable = f"{prefix.removesuffix('_')}_CACHE"
    if loss := loses_successor(grant, arguments.get("cache"), variable):
        raise ConfigurationError("; ".join(loss))
    return library, adapter(grant, **arguments)


def _first_installed() -> tuple[Any, Any]:
    """The first installed of the libraries, and its ``OAuth2Auth``."""
    for name in ("requests", "httpx2", "httpx"):
        if importlib.util.find_spec(name):
            return importlib.import_module(name), importlib.import_module(f"auth_plugins.{name}").OAuth2Auth
    raise ConfigurationError(
        "requests, httpx2 or httpx is needed; install one, such as by pip install 'auth-plugins[requests]'"
    )
