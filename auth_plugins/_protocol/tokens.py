"""The token, and how a JWT is read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NoReturn

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden, hide_arguments

#: :attr:`Token.extra` of most tokens.
_NO_EXTRA = "{}"


class Token:
    """An access token as the token endpoint issued it (RFC 6749 §5.1): immutable, and safe to share between threads.

    Neither ``repr`` nor ``str`` shows the token, or :attr:`extra`. Two tokens are equal if all their attributes are.

    :raises ConfigurationError: *extra* is no mapping of what JSON is made of.
    """

    # No dataclass: to load dataclasses, and to make one, takes longer than all else that an import of an adapter does.
    __slots__ = ("_extra", "access_token", "expires_at", "issued_at", "refresh_token", "scope", "token_type")

    #: The token itself; opaque to the client.
    access_token: str
    #: How the token is used, as the server named it; ``"Bearer"`` where the server named nothing.
    token_type: str
    #: When the token ends, in Unix seconds; ``None``: the server does not say, and the token is used until an API
    #: rejects it.
    expires_at: float | None
    #: What a new token can be requested with; ``None``: the server sent none.
    refresh_token: str | None
    #: What the token allows, as the server said; ``None``: it did not say, so it is what was requested.
    scope: str | None
    #: When the token was issued, in Unix seconds; 0.0 for a constant key.
    issued_at: float
    #: The members of :attr:`extra`, as JSON: immutable, so that equal tokens can be hashed, and hidden.
    _extra: str

    @hide_arguments
    def __init__(
        self,
        *,
        access_token: str,
        token_type: str = "Bearer",
        expires_at: float | None = None,
        refresh_token: str | None = None,
        scope: str | None = None,
        issued_at: float = 0.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        text = _json_of(extra) if extra else _NO_EXTRA
        values = (text, hidden(access_token), expires_at, issued_at, hidden(refresh_token), scope, token_type)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object = None) -> NoReturn:
        raise AttributeError(f"a Token is immutable; make a new one with another {name}")

    __delattr__ = __setattr__

    def __repr__(self) -> str:
        shown = ("token_type", "expires_at", "scope", "issued_at")
        return f"Token({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Token) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Token, **self.members()), ()

    def members(self) -> dict[str, Any]:
        """Return all attributes by name, the tokens included: the arguments of an equal token."""
        return {**{name: getattr(self, name) for name in self.__slots__[1:]}, "extra": dict(self.extra)}

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    @property
    def extra(self) -> Mapping[str, Any]:
        """The other members that stand beside ``access_token`` in the answer, such as Salesforce's ``instance_url``.

        Immutable; empty if there are none. A refresh whose answer omits one keeps it. They may be secrets (OpenID
        Connect's ``id_token`` is one of them), so neither the ``repr`` of a token nor a log shows them.
        """
        return MappingProxyType(json.loads(self._extra, object_hook=hide_tokens))

    @property
    def header_value(self) -> str:
        """The value of ``Authorization``; a str whose ``repr`` does not show it.

        ``"Bearer …"`` (RFC 6750 §2.1), or for a token of type DPoP, which needs a proof besides, ``"DPoP …"`` (RFC 9449
        §7.1).
        """
        scheme = "DPoP" if self.token_type.lower() == "dpop" else "Bearer"
        value: str = hidden(f"{scheme} {self.access_token}")
        return value

    @property
    def claims(self) -> Mapping[str, Any]:
        """The payload of a JWT, *unverified* (RFC 7519 §4): to look at, never to decide by. Empty for other tokens.

        The API verifies the signature; the client cannot.
        """
        return MappingProxyType(jwt_claims(self.access_token) or {})


def hide_tokens(members: dict[str, Any]) -> dict[str, Any]:
    """Return *members* with tokens that a dump of variables does not show."""
    return {name: hidden(value) if name.endswith("_token") else value for name, value in members.items()}


def _json_of(extra: Mapping[str, Any]) -> str:
    try:
        # Sorted, as the order of members means nothing.
        text: str = hidden(json.dumps(dict(extra), sort_keys=True))
    except (TypeError, ValueError, RecursionError):
        text = ""
    if not text:  # without a cause, whose frames hold the members
        problem = "must be a mapping of what JSON is made of: text, numbers, lists and the like"
        raise ConfigurationError(problem, argument="extra")
    return text


def jwt_claims(text: str) -> dict[str, Any] | None:
    """Return the payload of a compact JWT (RFC 7519 §3); ``None``: *text* is none, or is encrypted."""
    segments = text.split(".")
    if len(segments) != 3:
        return None
    return _json_segment(segments[1]) if _json_segment(segments[0]) is not None else None


def looks_like_jwt(text: str) -> bool:
    """Return whether *text* begins as signed and encrypted JWTs do: with a header that names an algorithm."""
    first, dot, _ = text.partition(".")
    return bool(dot) and "alg" in (_json_segment(first) or {}) and not any(map(str.isspace, text))


def _json_segment(segment: str) -> dict[str, Any] | None:
    try:
        members = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None
