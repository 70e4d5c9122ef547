"""The environment variables of one prefix: looked up, read once each, and mistakes in them."""

import difflib
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden
from auth_plugins._base.secret_file import SecretFile

from . import definitions
from .definitions import FROM_FILES, KNOWN, SECRETS

#: How many prefixes an error suggests.
_MOST_SUGGESTED = 3
#: From this likeness of 0 to 1 on, a prefix may be meant; others are suggested only if there is none.
_SIMILAR = 0.5


class Variables:
    """The variables of one prefix, each of which is taken once; a variable that is left is an error."""

    def __init__(self, prefix: str, environ: Mapping[str, str] | None) -> None:
        # os.environ is nowhere a default value, as help() would print it with its secrets.
        environ = os.environ if environ is None else environ
        if not isinstance(prefix, str) or not prefix.strip("_") or not prefix.isprintable():
            problem = f"must be a name such as 'ACME', for ACME_TOKEN_URL and so on, got {prefix!r}"
            raise ConfigurationError(problem, argument="prefix")
        if not hasattr(environ, "items"):
            problem = f"must be a mapping such as os.environ, got {type(environ).__name__}"
            raise ConfigurationError(problem, argument="environ")
        texts = {name: value for name, value in environ.items() if isinstance(name, str)}
        self._prefix, self._environment = prefix.removesuffix("_") + "_", texts.keys()
        self.given = frozenset[str]()
        found = self._own_variables(texts)
        for name in sorted(found):
            if name not in KNOWN:
                of_provider = definitions.OF_PROVIDERS.get(name.lower())
                similar = [of_provider] if of_provider else difflib.get_close_matches(name.upper(), sorted(KNOWN), n=1)
                advice = f"did you mean {self.full(similar[0])}?" if similar else "unset it, or use another prefix"
                raise self._error(name, "is no known variable", advice)
            if not isinstance(found[name], str):
                raise self._error(name, f"must be a str, got {type(found[name]).__name__}")
        # Shells and compose files set a variable that has no value to an empty text.
        self._left = {name: value for name, value in found.items() if value.strip()}
        #: The variables that are set but have no value, and those that have one.
        self.empty = frozenset(found.keys() - self._left.keys())
        self.given = frozenset(self._left)
        for name in FROM_FILES:
            self._check_file(name, f"{name}_FILE")

    def _own_variables(self, texts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the variables of this prefix, without it."""
        own = [name for name in texts if name.startswith(self._prefix)]
        found = {name.removeprefix(self._prefix): texts[name] for name in own}
        # Beside the prefix ACME there may be another one, ACME_V2.
        others = tuple(f"{other}_" for other in definitions.configured_prefixes(found))
        return {
            name: hidden(value) if name in SECRETS or name in definitions.MAY_HOLD_SECRETS else value
            for name, value in found.items()
            if name in KNOWN or not (name.startswith(others) or definitions.is_injected(name, value))
        }

    def _check_file(self, name: str, file: str) -> None:
        given = self._left.keys() & {name, file}
        if len(given) > 1:
            both = f"{self.full(name)} and {self.full(file)}"
            raise ConfigurationError(f"{both} are both set", advice="unset one of them")
        empty = sorted(self.empty & {name, file})
        if empty and not given and name in SECRETS:  # a mistake: a client without a secret sets none
            raise self._error(empty[0], "must not be empty", "give it its value, or unset it")

    def _error(self, name: str, problem: str, advice: str = "") -> ConfigurationError:
        return ConfigurationError(problem, argument=self.named(name), advice=advice)

    def full(self, name: str) -> str:
        """Return a variable's name with the prefix."""
        return self._prefix + name

    def named(self, name: str) -> str:
        """Return the full name of a variable, or of the one for its file if that is set."""
        return self.full(f"{name}_FILE" if f"{name}_FILE" in self.given else name)

    def has(self, name: str) -> bool:
        """Return whether a variable or the one for its file is left."""
        return name in self._left or f"{name}_FILE" in self._left

    def needs_no_secret(self) -> bool:
        """Return whether the client has no secret, or proves who it is by another thing."""
        return self._client_auth() in definitions.WITHOUT_SECRET or self.has_key()

    def has_key(self) -> bool:
        """Return whether the client has a key, an assertion or a certificate."""
        is_by_certificate = self._client_auth() in definitions.BY_CERTIFICATE
        return is_by_certificate or any(map(self.has, ("PRIVATE_KEY", "CLIENT_ASSERTION", "CERTIFICATE")))

    def _client_auth(self) -> str:
        return str(self._left.get("CLIENT_AUTH", "")).strip().lower().replace("-", "_")

    def take(self, name: str) -> Any:
        """Return what a variable means, which is an error if it is not valid; ``None``: it is not set."""
        text: str | None = self._left.pop(name, None)
        if (path := self._left.pop(f"{name}_FILE", None)) is not None:
            file = SecretFile(path.strip(), _variable=self.named(name))
            if name not in definitions.READ_ONCE:
                return file
            text = file.read()
        if text is None:
            return None
        if name in SECRETS or name in definitions.VERBATIM:
            # Spaces may belong to it, but not a line end, which comes from the file that it was read from.
            return hidden(text.rstrip("\r\n")) if name in SECRETS else text.rstrip("\r\n")
        read, expected = definitions.READERS.get(name, (str, ""))
        value = read(text.strip())
        if value is None:
            raise self._error(name, "is not valid", f"expected {expected}")
        return value

    def take_all(self, needed: Collection[str], accepted: Iterable[str], user: str) -> dict[str, Any]:
        """Return what these variables mean, by name, without those that are not set.

        A *needed* one that is not set is an error; so is another one that is set, which *user* does not accept.
        """
        if missing := [name for name in needed if not self.has(name)]:
            raise self.missing_error(missing, user)
        values = {name: self.take(name) for name in dict.fromkeys([*needed, *accepted])}
        for name in sorted(self._left):
            raise self._error(name, f"contradicts {user}, which has no use for it", "unset one of them")
        return {name: value for name, value in values.items() if value is not None}

    def missing_error(self, names: Collection[str], user: str) -> ConfigurationError:
        """Return the error for variables that *user* needs."""
        *others, last = (
            self.full(name)
            + (f" (or {self.full(name)}_FILE)" if name in SECRETS else "")
            + (" (which is empty)" if name in self.empty else "")
            for name in names
        )
        subject = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        return ConfigurationError(f"{subject} not set", advice=f"{user} needs {'them' if others else 'it'}")

    def no_grant_error(self) -> ConfigurationError:
        """Return the error for variables that do not say what kind of grant they describe."""
        if self._left:
            return self.missing_error(["CLIENT_ID", "CLIENT_SECRET"], self.full(min(self._left)))
        prefixes = {prefix.upper(): prefix for prefix in sorted(definitions.configured_prefixes(self._environment))}
        wanted = self._prefix.rstrip("_").upper()
        likeness = {name: difflib.SequenceMatcher(None, name, wanted).ratio() for name in prefixes}
        closest = sorted(prefixes, key=lambda name: -likeness[name])[:_MOST_SUGGESTED]
        similar = [name for name in closest if likeness[name] >= _SIMILAR] or closest
        suggested = " or ".join(prefixes[name] for name in similar)
        names = [self.full(each) for each in ("PROVIDER", "BASE_URL", "TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET")]
        return ConfigurationError(
            f"nothing that begins with {self._prefix} says how to get a token",
            advice=(f"did you mean the prefix {suggested}? Else " if suggested else "")
            + "set {} and {}, or {}, {} and {}".format(*names),
        )
