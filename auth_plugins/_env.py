"""Configuration by environment variables: ``PREFIX_*`` to a grant, and to an adapter's arguments.

What is missing, unknown, misspelt or contradictory is named, with the likely variable; a value is never shown.
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Mapping
from typing import Any

from . import providers
from ._errors import ConfigurationError
from ._grants import ApiKey, ClientCredentials, Grant, Password, RefreshToken, SecretFile

__all__ = ["configuration", "from_env"]

_SECRETS = ("CLIENT_SECRET", "PASSWORD", "REFRESH_TOKEN", "API_KEY", "CACHE_KEY")
#: The arguments of an OAuth grant, beside those of the single grants.
_OPTIONS = ("SCOPE", "AUDIENCE", "RESOURCE", "CLIENT_AUTH", "ENCODING", "METHOD")
#: What is no matter of the grant.
_POLICY = ("CACHE", "CACHE_KEY", "ALLOWED_HOSTS", "ALLOW_HTTP", "LEEWAY", "TIMEOUT")
_GRANT_TYPES: Mapping[str, tuple[type[Grant], tuple[str, ...], tuple[str, ...]]] = {
    # grant type: class, what it needs, what it takes besides
    "client_credentials": (ClientCredentials, ("TOKEN_URL", "CLIENT_ID"), ("CLIENT_SECRET", *_OPTIONS)),
    "password": (
        Password,
        ("TOKEN_URL", "USERNAME", "PASSWORD"),
        ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_URL", *_OPTIONS),
    ),
    "refresh_token": (RefreshToken, ("TOKEN_URL", "REFRESH_TOKEN"), ("CLIENT_ID", "CLIENT_SECRET", *_OPTIONS)),
    "api_key": (ApiKey, ("API_KEY",), ("API_KEY_HEADER",)),
}
#: The variables that only one grant type can be meant by, the most telling first.
_TELLING = {
    "API_KEY": "api_key",
    "USERNAME": "password",
    "PASSWORD": "password",
    "REFRESH_TOKEN": "refresh_token",
    "CLIENT_ID": "client_credentials",
    "CLIENT_SECRET": "client_credentials",
}
_NAMES = frozenset(
    ("PROVIDER", "BASE_URL", "STAGING", "CREDENTIALS", "GRANT_TYPE", *_POLICY, *_OPTIONS)
    + tuple(name for _, needed, taken in _GRANT_TYPES.values() for name in (*needed, *taken))
)
_KNOWN = _NAMES | {f"{name}_FILE" for name in _SECRETS}
_TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def from_env(prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None) -> Grant:
    """Make a grant of the environment variables that begin with *prefix* and ``_``.

    :param prefix: such as ``"ACME"``, for ``ACME_TOKEN_URL``, ``ACME_CLIENT_ID`` and so on.
    :param environ: where the variables are looked up; ``None``: in ``os.environ``.
    :raises ConfigurationError: a variable is missing, unknown, misspelt or contradicts another; it is named, and its
        value isn't.
    """
    return configuration(prefix, environ)[0]


def configuration(prefix: str, environ: Mapping[str, str] | None) -> tuple[Grant, dict[str, Any]]:
    """The grant, and the arguments of an adapter, that the variables of *prefix* describe."""
    # os.environ is no default value: help() would print it, secrets and all.
    variables = _Variables(prefix, os.environ if environ is None else environ)
    policy = _policy(variables)
    grant = _provided(variables) if variables.has("PROVIDER") else _generic(variables)
    variables.refuse_the_rest()
    return grant, policy


class _Variables:
    """The variables of one prefix, of which each is taken once; what is left over is an error."""

    def __init__(self, prefix: str, environ: Mapping[str, str]) -> None:
        if not isinstance(prefix, str) or not prefix.rstrip("_"):
            raise ConfigurationError(f"prefix is {prefix!r}; give one such as 'ACME', for ACME_TOKEN_URL and so on")
        self.prefix = prefix.removesuffix("_") + "_"
        found = {
            name.removeprefix(self.prefix): value for name, value in environ.items() if name.startswith(self.prefix)
        }
        found = _without_longer_prefixes(found)
        self._check_names(found)
        # An empty variable is what a shell or a compose file leaves of one that isn't set; an empty secret is a mishap.
        self._left = {name: value.strip() for name, value in found.items() if value.strip()}
        for name in set(found) - set(self._left):
            if name.removesuffix("_FILE") in _SECRETS:
                raise ConfigurationError(f"{self.prefix}{name} is empty; give it its value, or unset it")
        self._context = ""

    def _check_names(self, found: Mapping[str, str]) -> None:
        for name in sorted(found):
            if name not in _KNOWN:
                likely = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=0.6)
                meant = f"did you mean {self.prefix}{likely[0]}?" if likely else "unset it, or use another prefix"
                raise ConfigurationError(f"{self.prefix}{name} is no known variable; {meant}")
        for name in _SECRETS:
            if found.get(name) and found.get(f"{name}_FILE"):
                raise ConfigurationError(f"{self.prefix}{name} and {self.prefix}{name}_FILE are both set; unset one")

    def __bool__(self) -> bool:
        return bool(self._left)

    def has(self, name: str) -> bool:
        return name in self._left or f"{name}_FILE" in self._left

    def take(self, name: str) -> Any:
        """The value of a variable, or the file of a secret; ``None``: it isn't set."""
        if f"{name}_FILE" in self._left and name in _SECRETS:
            return SecretFile(self._left.pop(f"{name}_FILE"))
        return self._left.pop(name, None)

    def need(self, name: str, why: str) -> Any:
        if not self.has(name):
            raise self.missing(name, why)
        return self.take(name)

    def missing(self, name: str, why: str) -> ConfigurationError:
        file = f" (or {self.prefix}{name}_FILE)" if name in _SECRETS else ""
        return ConfigurationError(f"{self.prefix}{name}{file} is not set; {why} needs it")

    def choose(self, name: str, allowed: Mapping[str, Any]) -> Any:
        """The one of *allowed* that a variable names, however its case; ``None``: it isn't set."""
        value = self.take(name)
        if value is None:
            return None
        key = value.lower().replace("_", "-") if name == "PROVIDER" else value.lower()
        if key not in allowed:
            raise ConfigurationError(f"{self.prefix}{name} has an unknown value; give one of {', '.join(allowed)}")
        return allowed[key]

    def number(self, name: str) -> float | None:
        value = self.take(name)
        try:
            return None if value is None else float(value)
        except ValueError:
            pass
        raise ConfigurationError(f"{self.prefix}{name} is no number; give seconds, such as 10")

    def words(self, name: str) -> list[str] | None:
        value = self.take(name)
        return None if value is None else value.replace(",", " ").split()

    def now_about(self, what: str) -> None:
        """Say what the variables describe, for the error about those that don't belong to it."""
        self._context = what

    def refuse_the_rest(self) -> None:
        for name in sorted(self._left):
            raise ConfigurationError(
                f"{self.prefix}{name} contradicts {self._context}, which has no use for it; unset one"
            )


def _without_longer_prefixes(found: Mapping[str, str]) -> dict[str, str]:
    """Leave out ``V2_TOKEN_URL`` and ``V2_CLIENT_ID``: beside the prefix ACME there is one that is ACME_V2."""
    heads: dict[str, list[str]] = {}
    for name in found:
        if name not in _KNOWN:
            for known in _KNOWN:
                if name.endswith(f"_{known}"):
                    heads.setdefault(name.removesuffix(f"_{known}"), []).append(name)
    others = {name for names in heads.values() if len(set(names)) > 1 for name in names}
    return {name: value for name, value in found.items() if name not in others}


def _policy(variables: _Variables) -> dict[str, Any]:
    cache = variables.take("CACHE")
    if cache not in (None, "memory"):
        raise ConfigurationError(f"{variables.prefix}CACHE has an unknown value; give memory")
    if variables.has("CACHE_KEY"):
        raise ConfigurationError(
            f"{variables.prefix}CACHE_KEY is for a cache that outlives the process; memory needs none"
        )
    arguments = {
        "allowed_hosts": variables.words("ALLOWED_HOSTS"),
        "allow_http": variables.choose("ALLOW_HTTP", _TRUTH),
        "leeway": variables.number("LEEWAY"),
        "timeout": variables.number("TIMEOUT"),
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _provided(variables: _Variables) -> Grant:
    provider = variables.choose("PROVIDER", providers.BY_NAME)
    name = f"{variables.prefix}PROVIDER={provider.__name__.replace('_', '-')}"
    variables.now_about(name)
    arguments: dict[str, Any] = {}
    first, *others = inspect.signature(provider).parameters.values()
    arguments[first.name] = variables.need("BASE_URL", name)
    for parameter in others:
        variable = parameter.name.upper()
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(_options(variables))
        elif parameter.default is parameter.empty:
            arguments[parameter.name] = variables.need(variable, name)
        elif isinstance(parameter.default, bool):
            arguments[parameter.name] = variables.choose(variable, _TRUTH)
        else:
            arguments[parameter.name] = variables.take(variable)
    if provider is providers.auth_api:
        arguments["refresh_url"] = variables.take("REFRESH_URL")
    return _made(variables, provider, arguments)


def _generic(variables: _Variables) -> Grant:
    grant_types = {name: name for name in _GRANT_TYPES}
    grant_type = variables.choose("GRANT_TYPE", grant_types) or _guessed(variables)
    variables.now_about(f"{variables.prefix}GRANT_TYPE={grant_type}")
    kind, needed, taken = _GRANT_TYPES[grant_type]
    arguments = {name.lower(): variables.need(name, f"{variables.prefix}GRANT_TYPE={grant_type}") for name in needed}
    if kind is ApiKey:
        arguments = {"value": arguments["api_key"], "header": variables.take("API_KEY_HEADER")}
    else:
        arguments |= {name.lower(): variables.take(name) for name in taken if name not in _OPTIONS} | _options(
            variables
        )
    return _made(variables, kind, arguments)


def _guessed(variables: _Variables) -> str:
    """The grant type, where only one can be meant."""
    told = {_TELLING[name]: name for name in reversed(_TELLING) if variables.has(name)}
    if "password" in told or "refresh_token" in told:
        told.pop("client_credentials", None)  # either has a client as well
    if not told:
        raise (
            variables.missing("PROVIDER" if not variables else "CLIENT_ID", "an auth")
            if variables
            else (
                ConfigurationError(
                    f"no variable begins with {variables.prefix}; set {variables.prefix}TOKEN_URL, "
                    f"{variables.prefix}CLIENT_ID and {variables.prefix}CLIENT_SECRET, or {variables.prefix}PROVIDER"
                )
            )
        )
    if len(told) > 1:
        one, other = sorted(told.values())[:2]
        raise ConfigurationError(
            f"{variables.prefix}{one} contradicts {variables.prefix}{other}; unset one, or set {variables.prefix}GRANT_TYPE"
        )
    return next(iter(told))


def _options(variables: _Variables) -> dict[str, Any]:
    options: dict[str, Any] = {name.lower(): variables.take(name) for name in _OPTIONS if name != "RESOURCE"}
    if options.get("method"):
        options["method"] = options["method"].upper()
    options["resource"] = variables.words("RESOURCE")
    return {name: value for name, value in options.items() if value is not None}


def _made(variables: _Variables, make: Any, arguments: Mapping[str, Any]) -> Grant:
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        grant: Grant = make(**given)
    except ConfigurationError as error:
        problem = str(error)
    else:
        return grant
    raise ConfigurationError(f"{variables.prefix}*: {problem}")
