"""The token: what a grant is traded for, and what goes into a request."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ._hidden import hidden

__all__ = ["Token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token as the token endpoint issued it (RFC 6749 §5.1); immutable, and safe to share between threads.

    Neither ``repr`` nor ``str`` shows the token.
    """

    #: The token itself; opaque to the client.
    access_token: str = field(repr=False)
    #: How the token is used, as the server named it; ``"Bearer"`` where it named nothing.
    token_type: str = "Bearer"
    #: When the token ends, in Unix seconds; ``None``: nobody told, so it is used until it is refused.
    expires_at: float | None = None
    #: What renews this token; ``None``: the server sent none.
    refresh_token: str | None = field(default=None, repr=False)
    #: What the token allows, as the server said; ``None``: it did not say, so it is what was asked for.
    scope: str | None = None
    #: When the token was issued, in Unix seconds; 0.0 for a constant key.
    issued_at: float = 0.0

    def __post_init__(self) -> None:
        for name in ("access_token", "refresh_token"):
            object.__setattr__(self, name, hidden(getattr(self, name)))

    @property
    def header_value(self) -> str:
        """What goes into ``Authorization``: ``"Bearer …"`` (RFC 6750 §2.1)."""
        return f"Bearer {self.access_token}"

    @property
    def claims(self) -> Mapping[str, Any]:
        """The payload of a JWT, *unverified* (RFC 7519 §4): good for a look, never for a decision.

        Empty where the token is opaque. The API verifies the signature; a client has no business with it.
        """
        return MappingProxyType(jwt_claims(self.access_token) or {})


def jwt_claims(text: str) -> dict[str, Any] | None:
    """Read the payload of a compact JWT (RFC 7519 §3); ``None`` if *text* isn't one, or is encrypted."""
    segments = text.split(".")
    if len(segments) != 3:  # noqa: PLR2004 - header, payload, signature
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
