"""``auth-plugins login`` and ``auth-plugins logout``."""

from typing import Any

import click

from auth_plugins._adapters.sources import source_for
from auth_plugins._base.errors import AuthError, ConfigurationError
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._environment.configuration import configuration
from auth_plugins._environment.successor import loses_successor, trouble_of
from auth_plugins._grants.sign_in.interactive import InteractiveGrant
from auth_plugins._login.prompts import open_browser_anywhere
from auth_plugins._source import wiring
from auth_plugins._source.discovery.resolver import with_endpoints
from auth_plugins._source.source import TokenSource

from .common import fail, shown
from .configured import shared_entry


def sign_in(prefix: str) -> None:
    """Ask the person to sign in, whatever the cache has, and store what comes of it."""
    grant, arguments = configuration(prefix, None)
    name = prefix.removesuffix("_")
    if not isinstance(grant, InteractiveGrant):
        problem = f"{name} describes a {type(grant).__name__} grant, for which no person signs in"
        raise ConfigurationError(problem, advice=f"set {name}_GRANT_TYPE to authorization_code or device_code")
    if loss := loses_successor(grant, arguments.get("cache"), f"{name}_CACHE"):
        raise ConfigurationError(loss[0], advice=loss[1])
    # Without the cache, as its present token may be what the person wants to replace.
    asking = _source(grant.with_prompt(open_browser_anywhere), {**arguments, "cache": MemoryCache()})
    token = asking.token()
    _source(grant, arguments).seed(token)
    cache = arguments["cache"]
    entry = shared_entry(grant, cache)
    if entry is None or entry.read() is None:
        fail(f"the token could not be stored in {cache!r}, and is lost; set {name}_CACHE to another", 1)
    left = "it is renewed from now on" if token.refresh_token else "the server sent no refresh token to renew it"
    click.echo(f"signed in to {_server(grant)}: the token is in {cache!r}; {left}")


def sign_out(prefix: str) -> None:
    """Revoke what the cache has, where the server can, and delete it."""
    grant, arguments = configuration(prefix, None)
    cache, variable = arguments.get("cache"), f"{prefix.removesuffix('_')}_CACHE"
    if cache is None:
        problem = f"{variable} is memory, which ends with its process: there is no login to end"
        raise ConfigurationError(problem, advice=f"set {variable} as the programs do that share the login")
    if trouble := trouble_of(cache):
        raise ConfigurationError(
            f"{cache!r} cannot be used ({trouble}): a login in it stays", advice=f"check {variable}"
        )
    entry, source = shared_entry(grant, cache), _source(grant, arguments)
    stored = entry.read() if entry else None
    if entry is None or stored is None:
        click.echo(f"{cache!r} has no login at {_server(grant)}")
        return
    problem = ""
    try:
        source.revoke()
    except AuthError as error:
        problem = f"{error.problem}: "
    if entry.read() is not None:
        fail(f"{problem}the token is still in {cache!r}", 1)
    if problem:
        fail(f"{problem}the token is deleted from {cache!r}, but may be valid until its end", 1)
    click.echo(f"signed out of {_server(grant)}: {_how(source)} deleted from {cache!r}")


def _how(source: TokenSource) -> str:
    """Return what happened at the server."""
    deadline = runtime.clock.monotonic() + source._timeout
    grant = with_endpoints(source.grant, wiring.sender_of(source), deadline)
    if getattr(grant, "revocation_url", None):
        return "the token is revoked, and"
    return "the server cannot revoke it (no revocation endpoint is known), and it is"


def _source(grant: Any, arguments: Any) -> TokenSource:
    of_source = {name: arguments.get(name) for name in ("cache", "leeway", "timeout", "refresh_ahead")}
    return source_for(grant, None, allow_http=arguments.get("allow_http", False), **of_source)


def _server(grant: Any) -> str:
    url = str(getattr(grant, "token_url", type(grant).__name__))
    return shown(url, url)
