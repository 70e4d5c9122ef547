"""A JWT that is signed for each token request, as an assertion (RFC 7523 §2.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.frozen import Checks, Frozen
from auth_plugins._base.hidden import Hidden, hidden, hide_arguments
from auth_plugins._base.validation import (
    Secret,
    check_id,
    check_seconds,
    check_text,
    one_of,
    wrong_type,
)

from .assertions import timed_claims
from .keys import ALGORITHMS, check_key, load_key, present_text

#: Claims that an argument sets, with its name; and those that are new in each assertion.
_ARGUMENTS = {"iss": "issuer", "sub": "subject", "aud": "audience", "exp": "lifetime"}
_NEW = ("iat", "jti")


def _freeze_claims(argument: str, claims: Any) -> Any:
    """Return claims as JSON: immutable, so that equal ones are equal and hashable, and hidden."""
    if isinstance(claims, Hidden):  # of a copy
        return claims
    if not isinstance(claims, Mapping):
        raise wrong_type(argument, claims, "a mapping")
    for name, value in claims.items():
        if value is None:
            continue
        if name in _ARGUMENTS:
            problem, advice = f"must not have {name}", f"give {{{_ARGUMENTS[name]}}}"
            raise ConfigurationError(problem, argument=argument, advice=advice)
        if name in _NEW:
            problem, advice = f"must not have {name}, which is new in each assertion", "leave it out"
            raise ConfigurationError(problem, argument=argument, advice=advice)
    text = None
    if all(isinstance(name, str) for name in claims):
        try:
            text = hidden(json.dumps(dict(claims), sort_keys=True, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            text = None
    if text is None:  # without a cause, whose frames hold the claims
        problem = "must be a mapping of what JSON is made of: text, numbers, lists and the like"
        raise ConfigurationError(problem, argument=argument)
    return text if claims else None


@hide_arguments
@dataclass(frozen=True, eq=False)
class SignedJWT(Frozen):
    """A JWT that a private key signs, for :class:`JWTBearer`: another one for each attempt, retries included.

    Frozen, comparable and hashable. Its ``iat`` is up to 10 seconds in the past, for servers whose clock is behind.

    :param key: the private key, as in :class:`PrivateKeyJWT`.
    :param issuer: who issues the JWT (``iss``), as the server knows it.
    :param subject: for whom a token is requested (``sub``); ``None`` (the default): *issuer*.
    :param audience: the server that the JWT is for (``aud``); ``None`` (the default): the URL of the token endpoint.
    :param claims: further claims, a mapping of what JSON is made of, such as ``{"scope": "…"}`` for Google; ``None``
        (the default): none. ``None`` as the value of a standard claim, such as ``sub``, leaves that out. Claims are not
        shown.
    :param key_id: as in :class:`PrivateKeyJWT`, like *algorithm*.
    :param lifetime: seconds, more than 0, from ``iat`` to ``exp``, as whole numbers; the default is 300.
    :raises ConfigurationError: an argument cannot work, or *claims* has one that another argument sets.
    """

    key: Secret = field(repr=False)
    _: KW_ONLY
    issuer: str
    subject: str | None = None
    audience: str | None = None
    claims: Mapping[str, Any] | str | None = field(default=None, repr=False)
    key_id: str | None = None
    algorithm: str | None = None
    lifetime: float = 300.0

    _checks: ClassVar[Checks] = {
        "key": check_key,
        "issuer": check_id,
        "subject": check_id,
        "audience": check_text,
        "claims": _freeze_claims,
        "key_id": check_text,
        "algorithm": one_of(*ALGORITHMS),
        "lifetime": check_seconds,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.key):
            load_key("key", self.key).choose_algorithm(self.algorithm)

    def sign(self, token_url: str) -> str:
        """Return a new assertion, for the server with this token endpoint unless *audience* was given."""
        key = load_key("key", self.key)
        key_id = self.key_id or key.key_id
        header = {"alg": key.choose_algorithm(self.algorithm), **({"kid": key_id} if key_id else {})}
        names = {"iss": self.issuer, "sub": self.subject or self.issuer, "aud": self.audience or token_url}
        claims = json.loads(self.claims) if isinstance(self.claims, str) else {}
        standard = {**names, **timed_claims(self.lifetime)}
        kept = {name: value for name, value in standard.items() if name not in claims}
        return key.sign(header, {**{name: claims[name] for name in claims if name not in standard}, **kept})

    def present_key(self) -> str:
        """Return the present text of the key."""
        return present_text("key", self.key)

    def identity(self) -> Mapping[str, Any]:
        """Return all that a token depends on, the key included, as JSON types."""
        return {**{each.name: getattr(self, each.name) for each in fields(self)}, "key": self.present_key()}
