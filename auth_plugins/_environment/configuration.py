"""Configuration by environment variables: ``PREFIX_*`` to a grant, and to an adapter's arguments.

What is missing, unknown, misspelt or contradictory is named, with the likely variable; a value is never shown.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from auth_plugins import providers
from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import hide_arguments
from auth_plugins._caches.file import FileCache
from auth_plugins._caches.redis import RedisCache
from auth_plugins._grants.base import Grant
from auth_plugins._grants.oauth import ClientCredentials

from .variables import GRANT_TYPES, OPTIONS, POLICY, PROVIDED, TELLING, Setting, Variables

__all__ = [
    "Setting",
    "cache_of",
    "cache_secrets",
    "configuration",
    "from_env",
    "settings",
    "source_configuration",
]

#: The arguments that are not called as their variable is.
_ARGUMENTS = {"API_KEY": "value", "API_KEY_HEADER": "header"}


@hide_arguments
def from_env(prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None) -> Grant:
    """Make a grant of the environment variables that begin with *prefix* and ``_``.

    :param prefix: such as ``"ACME"``, for ``ACME_TOKEN_URL``, ``ACME_CLIENT_ID`` and so on.
    :param environ: where the variables are looked up; ``None``: in ``os.environ``.
    :raises ConfigurationError: a variable is missing, unknown, misspelt or contradicts another; it is named, and its
        value isn't.

    A client without a secret is one with ``ACME_CLIENT_AUTH=none``: no secret by itself is one that was forgotten.
    A grant has no cache and no policy, so that a variable for one of them is an error here.
    """
    variables = _variables(prefix, environ)
    grant, policy = _configured(variables)
    for name in ["CACHE"] * ("cache" in policy) + [name for name in ("CACHE_KEY", *POLICY) if variables.named(name)]:
        doors = "OAuth2Auth.from_env" + " or TokenSource.from_env" * (name != "ALLOWED_HOSTS")
        raise ConfigurationError(f"a grant cannot carry {variables.named(name)}; use {doors}, or unset it")
    return grant


@hide_arguments
def configuration(prefix: str, environ: Mapping[str, str] | None) -> tuple[Grant, dict[str, Any]]:
    """The grant, and the arguments of an adapter, that the variables of *prefix* describe."""
    return _configured(_variables(prefix, environ))


def source_configuration(prefix: str, environ: Mapping[str, str] | None) -> tuple[Grant, dict[str, Any], bool]:
    """The grant, the arguments of a TokenSource, and whether ``http://`` is allowed.

    :raises ConfigurationError: as for :func:`from_env`; or there are allowed hosts, of which a source knows nothing.
    """
    variables = _variables(prefix, environ)
    grant, policy = _configured(variables)
    if "allowed_hosts" in policy:
        raise ConfigurationError(
            f"a TokenSource sends no API requests and cannot carry {variables.full('ALLOWED_HOSTS')}; "
            "use OAuth2Auth.from_env, or unset it and give allowed_hosts= to the OAuth2Auth of this source"
        )
    return grant, policy, policy.pop("allow_http", False)


def _variables(prefix: str, environ: Mapping[str, str] | None) -> Variables:
    # os.environ is no default value: help() would print it, secrets and all.
    return Variables(prefix, os.environ if environ is None else environ)


def _configured(variables: Variables) -> tuple[Grant, dict[str, Any]]:
    policy = _policy(variables)
    grant = _provided(variables) if variables.has("PROVIDER") else _generic(variables)
    return grant, policy


def cache_of(prefix: str, environ: Mapping[str, str] | None = None) -> FileCache | RedisCache | None:
    """The cache that the variables of *prefix* describe, whatever else they do; ``None``: memory."""
    return _cache(_variables(prefix, environ))


def cache_secrets(prefix: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What of a cache's URL may be a secret, in the spellings in which an error of Redis may quote it."""
    _, where = _variables(prefix, environ).take("CACHE") or (None, ())
    parts = [urlsplit(url) for url in where]
    found = [text for each in parts for text in (each.password or each.username, *dict(parse_qsl(each.query)).values())]
    return [spelling for text in found if text for spelling in (text, unquote(text))]


def settings(prefix: str, environ: Mapping[str, str]) -> tuple[Sequence[Setting], str | None]:
    """The variables of *prefix* that are there, and the name of the provider; ``None``: there is none."""
    variables = Variables(prefix, environ)
    return variables.settings(), variables.take("PROVIDER")


def _policy(variables: Variables) -> dict[str, Any]:
    cache = _cache(variables)
    policy = {name.lower(): value for name in POLICY if (value := variables.take(name)) is not None}
    # Memory is what an adapter without cache= takes.
    return policy if cache is None else {"cache": cache, **policy}


def _cache(variables: Variables) -> FileCache | RedisCache | None:
    make, where = variables.take("CACHE") or (None, ())
    if make is None:
        if name := variables.named("CACHE_KEY"):
            raise ConfigurationError(
                f"{name} encrypts a cache that outlives the process, and memory does not; unset it"
            )
        return None
    key = variables.take("CACHE_KEY")
    try:
        cache: FileCache | RedisCache = make(*where, key=key)
    except ConfigurationError as error:
        where, encryption = str(variables.named("CACHE")), str(variables.named("CACHE_KEY"))
        problem = error.renamed({"key": encryption, "path": where, "url_or_client": where})
    else:
        return cache
    raise problem


def _provided(variables: Variables) -> Grant:
    """The grant of a provider: which variables it takes, its signature says."""
    name = variables.take("PROVIDER")
    provider = providers.BY_NAME[name]
    why = f"{variables.full('PROVIDER')}={name}"
    parameters = [each for each in inspect.signature(provider).parameters.values() if each.kind != each.VAR_KEYWORD]
    arguments = {each.name.upper(): each.name for each in parameters[1:]}
    arguments["BASE_URL"] = parameters[0].name
    needed = ["BASE_URL", *(each.name.upper() for each in parameters[1:] if each.default is each.empty)]
    taken = [*arguments, *OPTIONS, *(["REFRESH_URL"] if provider is providers.auth_api else [])]
    return _made(variables, provider, variables.take_all(needed, taken, why), arguments)


def _generic(variables: Variables) -> Grant:
    for name in PROVIDED:
        if variables.has(name):
            raise variables.missing(["PROVIDER"], variables.full(name))
    grant_type = variables.take("GRANT_TYPE")
    why = f"{variables.full('GRANT_TYPE')}={grant_type}"
    if grant_type is None:
        grant_type, telling = _guessed(variables)
        why = variables.full(telling)
    make, needed, taken = GRANT_TYPES[grant_type]
    if make is ClientCredentials and variables.is_public() and not variables.has("CLIENT_SECRET"):
        needed = tuple(name for name in needed if name != "CLIENT_SECRET")
    return _made(variables, make, variables.take_all(needed, taken, why), {})


def _guessed(variables: Variables) -> tuple[str, str]:
    """The grant type, where only one can be meant, and the variable that tells it."""
    told = {TELLING[name]: name for name in reversed(TELLING) if variables.has(name)}
    if "password" in told or "refresh_token" in told:
        told.pop("client_credentials", None)  # either has a client as well
    if not told:
        raise variables.nothing_told()
    if len(told) > 1:
        one, other = (variables.full(name) for name in list(told.values())[:2])
        raise ConfigurationError(f"{one} contradicts {other}; unset one of them")
    return next(iter(told.items()))


def _made(
    variables: Variables, make: Callable[..., Grant], values: Mapping[str, Any], arguments: dict[str, str]
) -> Grant:
    """Make a grant of the *values* of variables; *arguments* are those of them with another name than usual.

    :raises ConfigurationError: what the grant objects to, with variables in place of arguments.
    """
    arguments = {name: name.lower() for name in values} | _ARGUMENTS | arguments
    try:
        return make(**{arguments[name]: value for name, value in values.items()})
    except ConfigurationError as error:
        problem = str(error)
    names = {arguments[name]: name for name in values} | {"client_id": "CLIENT_ID", "client_secret": "CLIENT_SECRET"}
    if "BASE_URL" in values:
        names["token_url"] = "BASE_URL"
    # "a client_secret needs its client_id" becomes "ACME_CLIENT_SECRET needs its ACME_CLIENT_ID"; but "the staging URL"
    # and "give credentials as" are plain English.
    pattern = rf"\b(?:an? )?({'|'.join(names)})\b(?! URL| as )"
    raise ConfigurationError(re.sub(pattern, lambda match: variables.full(names[match[1]]), problem))
