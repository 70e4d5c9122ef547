"""The environment variables of one prefix: which there are, what each of them says, and which is a mistake."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auth_plugins import providers
from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden
from auth_plugins._base.hosts import AllowedHosts
from auth_plugins._base.validation import CLIENT_AUTH, ENCODINGS, METHODS, check_header, resolve_secret
from auth_plugins._caches.file import FileCache
from auth_plugins._caches.redis import RedisCache
from auth_plugins._grants.base import Grant
from auth_plugins._grants.oauth import ApiKey, ClientCredentials, Password, RefreshToken, SecretFile

__all__ = ["GRANT_TYPES", "OPTIONS", "POLICY", "PROVIDED", "TELLING", "Setting", "Variables"]

_SECRETS = ("CLIENT_SECRET", "PASSWORD", "REFRESH_TOKEN", "API_KEY", "CACHE_KEY")
#: What may come from a file: the URL of a cache may have a password in it.
_FROM_FILES = (*_SECRETS, "CACHE")
#: Of these the file is read when the variables are, and not for each token request.
_READ_ONCE = ("CACHE", "CACHE_KEY")
#: What is taken as it is, spaces included.
_VERBATIM = (*_SECRETS, "CLIENT_ID", "USERNAME")
#: The options of each OAuth grant.
OPTIONS = ("SCOPE", "AUDIENCE", "RESOURCE", "CLIENT_AUTH", "ENCODING", "METHOD", "REVOCATION_URL")
#: What only a provider understands.
PROVIDED = ("BASE_URL", "STAGING", "CREDENTIALS")
#: What is no matter of the grant.
POLICY = ("ALLOWED_HOSTS", "ALLOW_HTTP", "LEEWAY", "TIMEOUT", "REFRESH_AHEAD")
GRANT_TYPES: Mapping[str, tuple[type[Grant], tuple[str, ...], tuple[str, ...]]] = {
    # grant type: class, what it needs, what it takes besides
    "client_credentials": (ClientCredentials, ("TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET"), OPTIONS),
    "password": (
        Password,
        ("TOKEN_URL", "USERNAME", "PASSWORD"),
        ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_URL", *OPTIONS),
    ),
    "refresh_token": (RefreshToken, ("TOKEN_URL", "REFRESH_TOKEN"), ("CLIENT_ID", "CLIENT_SECRET", *OPTIONS)),
    "api_key": (ApiKey, ("API_KEY",), ("API_KEY_HEADER",)),
}
#: The grant type that a variable tells, the most telling variables first.
TELLING = {
    "API_KEY": "api_key",
    "API_KEY_HEADER": "api_key",
    "USERNAME": "password",
    "PASSWORD": "password",
    "REFRESH_URL": "password",
    "REFRESH_TOKEN": "refresh_token",
    "CLIENT_ID": "client_credentials",
    "CLIENT_SECRET": "client_credentials",
}
_KNOWN = (
    {"PROVIDER", "GRANT_TYPE", "CACHE", "CACHE_KEY", *PROVIDED, *POLICY}
    | {name for _, needed, taken in GRANT_TYPES.values() for name in (*needed, *taken)}
    | {f"{name}_FILE" for name in _FROM_FILES}
)
#: What Kubernetes sets for each service: one that is named as our prefix is, or begins so, is no mistake.
_INJECTED = re.compile(
    r"([A-Z0-9_]+?_)??(?P<tail>SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
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


@dataclass(frozen=True)
class Setting:
    """A variable that is there, but never its value."""

    name: str
    is_secret: bool
    #: Whether its value is the path of a file, from which the secret is read.
    is_file: bool
    #: Whether it counts as one that isn't set.
    is_empty: bool


@dataclass(frozen=True, eq=False)
class _FileOfVariable(SecretFile):
    """A secret file whose errors name the variable, not the path: by mistake that may be the secret itself."""

    variable: str

    def __eq__(self, other: object) -> bool:
        # As one from code: two of the same path share a token.
        return self.path == other.path if isinstance(other, SecretFile) else NotImplemented

    __hash__ = SecretFile.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.variable!r})"

    def __call__(self) -> str:
        return resolve_secret(f"the file of {self.variable}", self.text())

    def text(self) -> str:
        """What the file holds, whatever that is."""
        try:
            return super().__call__()
        except ConfigurationError as error:
            problem = str(error)
        raise ConfigurationError(problem.replace(f"the secret file {self.path!r}", f"the file of {self.variable}"))


class Variables:
    """The variables of one prefix, of which each is taken once; what is left over is an error."""

    def __init__(self, prefix: str, environ: Mapping[str, str]) -> None:
        if not isinstance(prefix, str) or not prefix.strip("_") or not prefix.isprintable():
            raise ConfigurationError(f"prefix is {prefix!r}; give one such as 'ACME', for ACME_TOKEN_URL and so on")
        if not hasattr(environ, "items"):
            raise ConfigurationError(f"environ is of type {type(environ).__name__}; give a mapping, such as os.environ")
        given = {name: value for name, value in environ.items() if isinstance(name, str)}
        self._prefix, self._names = prefix.removesuffix("_") + "_", given.keys()
        found = {
            name.removeprefix(self._prefix): value for name, value in given.items() if name.startswith(self._prefix)
        }
        # Beside the prefix ACME there may be one that is ACME_V2.
        others = tuple(f"{other}_" for other in _prefixes(found))
        found = {
            name: hidden(value) if name in _SECRETS else value
            for name, value in found.items()
            if name in _KNOWN or not (name.startswith(others) or _is_injected(name, value))
        }
        for name in sorted(found):
            if name not in _KNOWN:
                likely = difflib.get_close_matches(name.upper(), sorted(_KNOWN), n=1)
                advice = f"did you mean {self.full(likely[0])}?" if likely else "unset it, or use another prefix"
                raise ConfigurationError(f"{self.full(name)} is no known variable; {advice}")
            if not isinstance(found[name], str):
                raise ConfigurationError(f"{self.full(name)} is of type {type(found[name]).__name__}; give a str")
        # An empty variable is what a shell or a compose file leaves of one that isn't set.
        self._left = {name: value for name, value in found.items() if value.strip()}
        self._empty = found.keys() - self._left.keys()
        self._set = frozenset(self._left)
        for name in _FROM_FILES:
            self._check_files(name, f"{name}_FILE")

    def _check_files(self, name: str, file: str) -> None:
        given = self._left.keys() & {name, file}
        if len(given) > 1:
            raise ConfigurationError(f"{self.full(name)} and {self.full(file)} are both set; unset one of them")
        empty = sorted(self._empty & {name, file})
        if empty and not given and name in _SECRETS:  # a mishap, and not the same as none
            raise ConfigurationError(f"{self.full(empty[0])} is empty; give it its value, or unset it")

    def full(self, name: str) -> str:
        """A variable's name with the prefix."""
        return self._prefix + name

    def named(self, name: str) -> str | None:
        """The variable that is set for *name*, itself or the one of its file; ``None``: neither is."""
        return next((self.full(each) for each in (name, f"{name}_FILE") if each in self._set), None)

    def settings(self) -> Sequence[Setting]:
        """The variables that are there."""
        files = {f"{name}_FILE" for name in _FROM_FILES}
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
        value: str | None
        if f"{name}_FILE" in self._left:
            file = _FileOfVariable(self._left.pop(f"{name}_FILE").strip(), self.full(f"{name}_FILE"))
            if name not in _READ_ONCE:
                return file
            value = file.text()
        else:
            value = self._left.pop(name) if name in self._left else None
        if value is None:
            return None
        if name in _VERBATIM:
            # A space may belong to it. A line's end doesn't: it is left of a file that this was read from.
            value = value.rstrip("\r\n")
            return hidden(value) if name in _SECRETS else value
        read, expected = _READERS.get(name, (str, ""))
        meaning = read(value.strip())
        if meaning is None:
            raise ConfigurationError(f"{self.named(name)} has a value that cannot be; give {expected}")
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
        spelt = {other.upper(): other for other in sorted(_prefixes(self._names))}
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


def _is_injected(name: str, value: object) -> bool:
    """Whether Kubernetes set this variable; one that ends in PORT alone is recognised by its value."""
    match = _INJECTED.fullmatch(name)
    return match is not None and (match["tail"] != "PORT" or "://" in str(value))


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
    "GRANT_TYPE": _one_of(*GRANT_TYPES),
    "RESOURCE": (_words, "URIs, separated by spaces"),
    "CLIENT_AUTH": _one_of(*CLIENT_AUTH),
    "ENCODING": _one_of(*ENCODINGS),
    "METHOD": _one_of(*METHODS),
    "API_KEY_HEADER": (_header, "the name of a header, such as X-API-Key"),
    "CACHE": (_store, "memory, file, file:PATH, redis://HOST:6379/0 or rediss://..."),
    "ALLOWED_HOSTS": (_hosts, "hosts, such as api.example.com, *.example.com or 127.0.0.1:8080, separated by commas"),
    "ALLOW_HTTP": (_switch, "true or false"),
    "LEEWAY": (_seconds, "seconds, such as 60, or 0"),
    "REFRESH_AHEAD": (_switch, "true or false"),
    "TIMEOUT": (lambda value: _seconds(value) or None, "seconds, such as 10"),
}
