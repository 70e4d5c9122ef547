"""The token: what a grant is traded for, and what goes into a request."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from auth_plugins._base.hidden import hidden

__all__ = ["Token"]


class Token:
    """An access token as the token endpoint issued it (RFC 6749 §5.1); immutable, and safe to share between threads.

    Neither ``repr`` nor ``str`` shows the token. Two are equal if all that is told of them is.
    """

    # No dataclass: to load dataclasses, and to make one, takes longer than all else that an import of an adapter does.
    __slots__ = ("access_token", "expires_at", "issued_at", "refresh_token", "scope", "token_type")

    #: The token itself; opaque to the client.
    access_token: str
    #: How the token is used, as the server named it; ``"Bearer"`` where it named nothing.
    token_type: str
    #: When the token ends, in Unix seconds; ``None``: nobody told, so it is used until it is refused.
    expires_at: float | None
    #: What renews this token; ``None``: the server sent none.
    refresh_token: str | None
    #: What the token allows, as the server said; ``None``: it did not say, so it is what was asked for.
    scope: str | None
    #: When the token was issued, in Unix seconds; 0.0 for a constant key.
    issued_at: float

    def __init__(
        self,
        *,
        access_token: str,
        token_type: str = "Bearer",
        expires_at: float | None = None,
        refresh_token: str | None = None,
        scope: str | None = None,
        issued_at: float = 0.0,
    ) -> None:
        put = object.__setattr__
        put(self, "access_token", hidden(access_token))
        put(self, "token_type", token_type)
        put(self, "expires_at", expires_at)
        put(self, "refresh_token", hidden(refresh_token))
        put(self, "scope", scope)
        put(self, "issued_at", issued_at)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Token is immutable; {name} stays as it is")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Token is immutable; {name} stays as it is")

    def __repr__(self) -> str:
        return (
            f"Token(token_type={self.token_type!r}, expires_at={self.expires_at!r}, scope={self.scope!r}, "
            f"issued_at={self.issued_at!r})"
        )

    def __eq__(self, other: object) -> bool:
        return self.members() == other.members() if isinstance(other, Token) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.members().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _token, (self.members(),)

    def members(self) -> dict[str, Any]:
        """All that makes it up, by name; the tokens included."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def header_value(self) -> str:
        """What goes into ``Authorization``: ``"Bearer …"`` (RFC 6750 §2.1); a str whose repr does not show it."""
        value: str = hidden(f"Bearer {self.access_token}")
        return value

    @property
    def claims(self) -> Mapping[str, Any]:
        """The payload of a JWT, *unverified* (RFC 7519 §4): good for a look, never for a decision.

        Empty where the token is opaque. The API verifies the signature; a client has no business with it.
        """
        return MappingProxyType(jwt_claims(self.access_token) or {})


def _token(members: Mapping[str, Any]) -> Token:
    return Token(**members)


def jwt_claims(text: str) -> dict[str, Any] | None:
    """Read the payload of a compact JWT (RFC 7519 §3); ``None`` if *text* isn't one, or is encrypted."""
    segments = text.split(".")
    if len(segments) != 3:
        return None
    return _json_segment(segments[1]) if _json_segment(segments[0]) is not None else None


def looks_like_jwt(text: str) -> bool:
    """Whether *text* begins as each signed or encrypted JWT does: with a header that names an algorithm."""
    first, dot, _ = text.partition(".")
    return bool(dot) and "alg" in (_json_segment(first) or {}) and not any(map(str.isspace, text))


def _json_segment(segment: str) -> dict[str, Any] | None:
    try:
        members = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None
