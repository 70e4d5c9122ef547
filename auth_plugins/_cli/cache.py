"""``auth-plugins cache``: the tokens that a shared cache stores."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from auth_plugins._base.errors import AuthError, ConfigurationError
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.encryption import BaseCache
from auth_plugins._caches.entries import StoredToken
from auth_plugins._caches.file import FileCache
from auth_plugins._caches.keyring import KeyringCache
from auth_plugins._caches.redis import RedisCache
from auth_plugins._caches.shared import KEY_CHECK, shared_cache_for
from auth_plugins._environment.configuration import cache_of, configuration

from .common import fail
from .configured import shared_entry
from .listing import explain_error, list_entries

_LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 1


def print_entries(prefix: str) -> None:
    """Print what the cache of *prefix* stores."""
    with _cache_errors(prefix):
        found = _cache_of(prefix)
        entries = list_entries(shared_cache_for(found))
    for entry in entries:
        click.echo(f"({entry})" if isinstance(entry, str) else _described(entry))
    if not entries:
        click.echo(f"nothing is stored in {found!r}", err=True)


def delete(prefix: str | None, *, everything: bool) -> None:
    """Delete the token of *prefix*, or *everything* in its cache; of ``None``: all of the default cache."""
    with _cache_errors(prefix or "AUTH_PLUGINS"):
        found = _cache_of(prefix or "AUTH_PLUGINS")
        if prefix is None or everything:
            if isinstance(found, BaseCache):
                found.delete_name_key()  # first: entries that are stored from now on have other names
            names = set(found.names())
        else:
            shared_cache_for(found).name_key()  # raises what would be logged only, and end in "forgot 0"
            entry = shared_entry(configuration(prefix, None)[0], found)
            names = {name for name in entry.names if found.get(name) is not None} if entry else set()
        for name in names:
            found.delete(name)
        if isinstance(found, FileCache | KeyringCache) and (prefix is None or everything):
            found.remove_free_locks()
    click.echo(f"forgot {len(names - {KEY_CHECK})} of {found!r}")


@contextlib.contextmanager
def _cache_errors(prefix: str) -> Iterator[None]:
    """Make one line of any error that the cache of *prefix* raises. A request only logs it."""
    try:
        yield
    except AuthError:
        raise
    except Exception as error:
        variable = f"{prefix.removesuffix('_')}_CACHE"
        fail(f"the cache cannot be used ({explain_error(error, prefix)}); check {variable}", 1)


def _cache_of(prefix: str) -> FileCache | KeyringCache | RedisCache:
    found = cache_of(prefix)
    if found is None and prefix == "AUTH_PLUGINS":
        return FileCache()
    if found is None:
        raise ConfigurationError(
            "is memory, which ends with its process", argument="cache", advice="set it to file, keyring or redis://..."
        ).renamed({"cache": f"{prefix.removesuffix('_')}_CACHE"})
    return found


def _described(entry: StoredToken) -> str:
    about, expires_at = entry.about, entry.token.expires_at
    whom = " ".join(about[name] for name in ("username", "client_id") if name in about)
    line = f"{about.get('grant', '?')} {whom} at {about.get('token_url', '?')}"
    if "scope" in about:
        line += f", scope {about['scope']}"
    if expires_at is None:
        line += ": no expiry known"
    else:
        line += f": until {datetime.fromtimestamp(min(max(expires_at, 0.0), _LATEST), UTC):%Y-%m-%d %H:%M:%S} UTC"
        line += " (expired)" if expires_at <= runtime.clock.time() else ""
    line += ", renewable" if entry.token.refresh_token else ""
    # A name may hold characters that steer a terminal.
    return "".join(char if char.isprintable() else "?" for char in line)
