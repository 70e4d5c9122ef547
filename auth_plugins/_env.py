"""Configuration by environment variables: ``PREFIX_*`` to a grant, and to an adapter's arguments.

What is missing, unknown, misspelt or contradictory is named, with the likely variable; a value is never shown.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import providers
from ._cache_file import FileCache
from ._cache_redis import RedisCache
from ._checks import CLIENT_AUTH, ENCODINGS, METHODS, check_header, reveal
from ._errors import ConfigurationError
from ._grant import Grant
from ._grants import ApiKey, ClientCredentials, Password, RefreshToken, SecretFile
from ._hosts import AllowedHosts

__all__ = ["Setting", "cache_of", "configuration", "from_env", "settings"]

_SECRETS = ("CLIENT_SECRET", "PASSWORD", "REFRESH_TOKEN", "API_KEY", "CACHE_KEY")
#: What is taken as it is, spaces included.
_VERBATIM = (*_SECRETS, "CLIENT_ID", "USERNAME")
#: The options of each OAuth grant.
_OPTIONS = ("SCOPE", "AUDIENCE", "RESOURCE", "CLIENT_AUTH", "ENCODING", "METHOD")
#: What only a provider understands.
_PROVIDED = ("BASE_URL", "STAGING", "CREDENTIALS")
#: What is no matter of the grant.
_POLICY = ("ALLOWED_HOSTS", "ALLOW_HTTP", "LEEWAY", "TIMEOUT")
_GRANT_TYPES: Mapping[str, tuple[type[Grant], tuple[str, ...], tuple[str, ...]]] = {
    # grant type: class, what it needs, what it takes besides
    "client_credentials": (ClientCredentials, ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET"), _OPTIONS),
    "password": (
        Password,
        ("TOKEN_URL", "USERNAME", "PASSWORD"),
        ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_URL", *_OPTIONS),
    ),
    "refresh_token": (RefreshToken, ("TOKEN_URL", "REFRESH_TOKEN"), ("CLIENT_ID", "CLIENT_SECRET", *_OPTIONS)),
    "api_key": (ApiKey, ("API_KEY",), ("API_KEY_HEADER",)),
}
#: The grant type that a variable tells, the most telling variables first.
_TELLING = {
    "API_KEY": "api_key",
    "API_KEY_HEADER": "api_key",
    "USERNAME": "password",
    "PASSWORD": "password",
    "REFRESH_URL": "password",
    "REFRESH_TOKEN": "refresh_token",
    "CLIENT_ID": "client_credentials",
    "CLIENT_SECRET": "client_credentials",
}
#: The arguments that are not called as their variable is.
_ARGUMENTS = {"API_KEY": "value", "API_KEY_HEADER": "header"}
_KNOWN = (
    {"PROVIDER", "GRANT_TYPE", "CACHE", "CACHE_KEY", *_PROVIDED, *_POLICY}
    | {name for _, needed, taken in _GRANT_TYPES.values() for name in (*needed, *taken)}
    | {f"{name}_FILE" for name in _SECRETS}
)
#: Of these at least one set is found in what configures anything.
_SIGNS = (
    {"PROVIDER", "BASE_URL"},
    {"TOKEN_URL", "CLIENT_ID"},
    {"TOKEN_URL", "USERNAME"},
    {"TOKEN_URL", "REFRESH_TOKEN"},
    {"TOKEN_URL", "REFRESH_TOKEN_FILE"},
    {"API_KEY"},
    {"API_KEY_FILE"},
)


def from_env(prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None) -> Grant:
    """Make a grant of the environment variables that begin with *prefix* and ``_``.

    :param prefix: such as ``"ACME"``, for ``ACME_TOKEN_URL``, ``ACME_CLIENT_ID`` and so on.
    :param environ: where the variables are looked up; ``None``: in ``os.environ``.
    :raises ConfigurationError: a variable is missing, unknown, misspelt or contradicts another; it is named, and its
        value isn't.

    A client without a secret is one with ``ACME_CLIENT_AUTH=none``: no secret by itself is one that was forgotten.
    """
    return configuration(prefix, environ)[0]


def configuration(prefix: str, environ: Mapping[str, str] | None) -> tuple[Grant, dict[str, Any]]:
    """The grant, and the arguments of an adapter, that the variables of *prefix* describe."""
    # os.environ is no default value: help() would print it, secrets and all.
    variables = _Variables(prefix, os.environ if environ is None else environ)
    policy = _policy(variables)
    grant = _provided(variables) if variables.has("PROVIDER") else _generic(variables)
    return grant, policy


def cache_of(prefix: str, environ: Mapping[str, str] | None = None) -> FileCache | RedisCache | None:
    """The cache that the variables of *prefix* describe, whatever else they do; ``None``: memory."""
    return _cache(_Variables(prefix, os.environ if environ is None else environ))


@dataclass(frozen=True)
class Setting:
    """A variable that is there, but never its value."""

    name: str
    is_secret: bool
    #: Whether its value is the path of a file, from which the secret is read.
    is_file: bool
    #: Whether it counts as one that isn't set.
    is_empty: bool


def settings(prefix: str, environ: Mapping[str, str]) -> tuple[Sequence[Setting], str | None]:
    """The variables of *prefix* that are there, and the name of the provider; ``None``: there is none."""
    variables = _Variables(prefix, environ)
    return variables.settings(), variables.take("PROVIDER")


def _policy(variables: _Variables) -> dict[str, Any]:
    cache = _cache(variables)
    policy = {name.lower(): value for name in _POLICY if (value := variables.take(name)) is not None}
    # Memory is what an adapter without cache= takes.
    return policy if cache is None else {"cache": cache, **policy}


def _cache(variables: _Variables) -> FileCache | RedisCache | None:
    make, where = variables.take("CACHE") or (None, ())
    key = variables.take("CACHE_KEY")
    name = variables.full("CACHE_KEY")
    if make is None:
        if key is not None:
            raise ConfigurationError(
                f"{name} encrypts a cache that outlives the process, and memory does not; unset it"
            )
        return None
    key = None if key is None else reveal(name, key)
    try:
        cache: FileCache | RedisCache = make(*where, key=key)
    except ConfigurationError as error:
        problem = str(error)
    else:
        return cache
    is_of_key = problem.startswith("key ")
    raise ConfigurationError(problem.replace("key", name, 1) if is_of_key else f"{variables.full('CACHE')}: {problem}")


def _provided(variables: _Variables) -> Grant:
    """The grant of a provider: which variables it takes, its signature says."""
    name = variables.take("PROVIDER")
    provider = providers.BY_NAME[name]
    why = f"{variables.full('PROVIDER')}={name}"
    parameters = [each for each in inspect.signature(provider).parameters.values() if each.kind != each.VAR_KEYWORD]
    arguments = {each.name.upper(): each.name for each in parameters[1:]}
    arguments["BASE_URL"] = parameters[0].name
    needed = ["BASE_URL", *(each.name.upper() for each in parameters[1:] if each.default is each.empty)]
    taken = [*arguments, *_OPTIONS, *(["REFRESH_URL"] if provider is providers.auth_api else [])]
    return _made(variables, provider, variables.take_all(needed, taken, why), arguments)


def _generic(variables: _Variables) -> Grant:
    for name in _PROVIDED:
        if variables.has(name):
            raise variables.missing(["PROVIDER"], variables.full(name))
    grant_type = variables.take("GRANT_TYPE")
    why = f"{variables.full('GRANT_TYPE')}={grant_type}"
    if grant_type is None:
        grant_type, telling = _guessed(variables)
        why = variables.full(telling)
    make, needed, taken = _GRANT_TYPES[grant_type]
    if make is ClientCredentials and variables.is_public() and not variables.has("CLIENT_SECRET"):
        needed = tuple(name for name in needed if name != "CLIENT_SECRET")
    return _made(variables, make, variables.take_all(needed, taken, why), {})


def _guessed(variables: _Variables) -> tuple[str, str]:
    """The grant type, where only one can be meant, and the variable that tells it."""
    told = {_TELLING[name]: name for name in reversed(_TELLING) if variables.has(name)}
    if "password" in told or "refresh_token" in told:
        told.pop("client_credentials", None)  # either has a client as well
    if not told:
        raise variables.nothing_told()
    if len(told) > 1:
        one, other = (variables.full(name) for name in list(told.values())[:2])
        raise ConfigurationError(f"{one} contradicts {other}; unset one of them")
    return next(iter(told.items()))


def _made(
    variables: _Variables, make: Callable[..., Grant], values: Mapping[str, Any], arguments: dict[str, str]
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


@dataclass(frozen=True, eq=False)
class _FileOfVariable(SecretFile):
    """A secret file whose errors name the variable, not the path: by mistake that may be the secret itself."""

    variable: str

    def __eq__(self, other: object) -> bool:
        # As one from code: two of the same path share a token.
        return self.path == other.path if isinstance(other, SecretFile) else NotImplemented

    __hash__ = SecretFile.__hash__

    def __call__(self) -> str:
        try:
            return super().__call__()
        except ConfigurationError as error:
            problem = str(error)
        raise ConfigurationError(problem.replace(f"the secret file {self.path!r}", f"the file of {self.variable}"))


class _Variables:
    """The variables of one prefix, of which each is taken once; what is left over is an error."""

    def __init__(self, prefix: str, environ: Mapping[str, str]) -> None:
        if not isinstance(prefix, str) or not prefix.strip("_"):
            raise ConfigurationError(f"prefix is {prefix!r}; give one such as 'ACME', for ACME_TOKEN_URL and so on")
        self._prefix = prefix.removesuffix("_") + "_"
        self._environ = environ
        found = {
            name.removeprefix(self._prefix): value for name, value in environ.items() if name.startswith(self._prefix)
        }
        # Beside the prefix ACME there may be one that is ACME_V2.
        others = tuple(f"{other}_" for other in _prefixes(found))
        found = {name: value for name, value in found.items() if name in _KNOWN or not name.startswith(others)}
        for name in sorted(found.keys() - _KNOWN):
            likely = difflib.get_close_matches(name.upper(), sorted(_KNOWN), n=1)
            advice = f"did you mean {self.full(likely[0])}?" if likely else "unset it, or use another prefix"
            raise ConfigurationError(f"{self.full(name)} is no known variable; {advice}")
        # An empty variable is what a shell or a compose file leaves of one that isn't set.
        self._left = {name: value for name, value in found.items() if value.strip()}
        self._empty = found.keys() - self._left.keys()
        for name in _SECRETS:
            self._check_secret(name, f"{name}_FILE")

    def _check_secret(self, name: str, file: str) -> None:
        given = self._left.keys() & {name, file}
        if len(given) > 1:
            raise ConfigurationError(f"{self.full(name)} and {self.full(file)} are both set; unset one of them")
        empty = sorted(self._empty & {name, file})
        if empty and not given:  # a mishap, and not the same as none
            raise ConfigurationError(f"{self.full(empty[0])} is empty; give it its value, or unset it")

    def full(self, name: str) -> str:
        """A variable's name with the prefix."""
        return self._prefix + name

    def settings(self) -> Sequence[Setting]:
        """The variables that are there."""
        files = {f"{name}_FILE" for name in _SECRETS}
        return [
            Setting(self.full(name), name in _SECRETS or name in files, name in files, name in self._empty)
            for name in sorted(self._left.keys() | self._empty)
        ]

    def has(self, name: str) -> bool:
        return name in self._left or f"{name}_FILE" in self._left

    def is_public(self) -> bool:
        """Whether it is said that the client has no secret."""
        return self._left.get("CLIENT_AUTH", "").strip().lower() == "none"

    def take(self, name: str) -> Any:
        """What a variable says; ``None``: it isn't set.

        :raises ConfigurationError: it says what it cannot.
        """
        if f"{name}_FILE" in self._left:
            return _FileOfVariable(self._left.pop(f"{name}_FILE").strip(), self.full(f"{name}_FILE"))
        value = self._left.pop(name, None)
        if value is None:
            return None
        if name in _VERBATIM:
            # A space may belong to it. A line's end doesn't: it is left of a file that this was read from.
            return value.rstrip("\r\n")
        read, expected = _READERS.get(name, (str, ""))
        meaning = read(value.strip())
        if meaning is None:
            raise ConfigurationError(f"{self.full(name)} has a value that cannot be; give {expected}")
        return meaning

    def take_all(self, needed: Collection[str], taken: Iterable[str], why: str) -> dict[str, Any]:
        """What all of these say, without those that aren't set.

        :param why: what needs them.
        :raises ConfigurationError: one that is needed isn't set; or others are, for which *why* has no use.
        """
        missing = [name for name in needed if not self.has(name)]
        if missing:
            raise self.missing(missing, why)
        values = {name: self.take(name) for name in dict.fromkeys([*needed, *taken])}
        for name in sorted(self._left):
            raise ConfigurationError(f"{self.full(name)} contradicts {why}, which has no use for it; unset one of them")
        return {name: value for name, value in values.items() if value is not None}

    def missing(self, names: Collection[str], why: str) -> ConfigurationError:
        """The error for variables that *why* needs."""
        *others, last = (
            self.full(name)
            + (f" (or {self.full(name)}_FILE)" if name in _SECRETS else "")
            + (" (which is empty)" if name in self._empty else "")
            for name in names
        )
        listed = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        return ConfigurationError(f"{listed} not set; {why} needs {'them' if others else 'it'}")

    def nothing_told(self) -> ConfigurationError:
        """The error for variables that don't tell what kind of grant they describe."""
        if self._left:
            return self.missing(["CLIENT_ID", "CLIENT_SECRET"], self.full(min(self._left)))
        spelt = {other.upper(): other for other in sorted(_prefixes(self._environ))}
        likely = difflib.get_close_matches(self._prefix.rstrip("_").upper(), spelt, n=1, cutoff=0.5)
        advice = f"did you mean the prefix {spelt[likely[0]]}? Else " if likely else ""
        return ConfigurationError(
            f"nothing that begins with {self._prefix} says how to get a token; {advice}set {self.full('PROVIDER')} and "
            f"{self.full('BASE_URL')}, or {self.full('TOKEN_URL')}, {self.full('CLIENT_ID')} and "
            f"{self.full('CLIENT_SECRET')}"
        )


def _prefixes(names: Collection[str]) -> set[str]:
    """The prefixes with which these *names* configure something."""
    heads = {name.removesuffix(f"_{known}") for name in names for known in _KNOWN if name.endswith(f"_{known}")}
    return {head for head in heads if any(all(f"{head}_{each}" in names for each in sign) for sign in _SIGNS)}


#: Reads what a variable says, ``None`` if that cannot be; and what can be, for the error.
_Reader = tuple[Callable[[str], Any], str]


def _one_of(*values: str) -> _Reader:
    def fold(value: str) -> str:
        return value.lower().replace("_", "-")

    folded = {fold(value): value for value in values}
    return lambda value: folded.get(fold(value)), " or ".join(values)


def _switch(value: str) -> bool | None:
    return {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }.get(value.lower())


def _seconds(value: str) -> float | None:
    # Not by float() alone, whose error holds the value.
    return float(value) if re.fullmatch(r"\d{1,9}(\.\d{0,9})?|\.\d{1,9}", value, re.ASCII) else None


def _words(value: str) -> list[str] | None:
    return value.replace(",", " ").split() or None


def _hosts(value: str) -> list[str] | None:
    try:
        AllowedHosts(hosts := _words(value) or [])
    except ConfigurationError:
        return None
    return hosts


def _header(value: str) -> str | None:
    try:
        check_header(value, "")
    except ConfigurationError:
        return None
    return value


def _store(value: str) -> tuple[Callable[..., Any] | None, tuple[str, ...]] | None:
    """What makes a cache, if anything does, and the arguments for it."""
    kind, colon, rest = value.partition(":")
    kind = kind.lower()
    if kind == "memory" and not colon:
        return None, ()
    if kind == "file" and bool(colon) == bool(rest.strip()):
        return FileCache, (rest,) if rest else ()
    return (RedisCache, (value,)) if kind in ("redis", "rediss", "unix") and colon else None


_READERS: Mapping[str, _Reader] = {
    "PROVIDER": _one_of(*providers.BY_NAME),
    "STAGING": (_switch, "true or false"),
    "CREDENTIALS": _one_of("header", "query"),
    "GRANT_TYPE": _one_of(*_GRANT_TYPES),
    "RESOURCE": (_words, "URIs, separated by spaces"),
    "CLIENT_AUTH": _one_of(*CLIENT_AUTH),
    "ENCODING": _one_of(*ENCODINGS),
    "METHOD": _one_of(*METHODS),
    "API_KEY_HEADER": (_header, "the name of a header, such as X-API-Key"),
    "CACHE": (_store, "memory, file, file:PATH, redis://HOST:6379/0 or rediss://..."),
    "ALLOWED_HOSTS": (_hosts, "hosts, such as api.example.com, *.example.com or 127.0.0.1:8080, separated by commas"),
    "ALLOW_HTTP": (_switch, "true or false"),
    "LEEWAY": (_seconds, "seconds, such as 60, or 0"),
    "TIMEOUT": (lambda value: _seconds(value) or None, "seconds, such as 10"),
}
