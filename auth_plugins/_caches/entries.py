"""The text that a shared cache stores for one grant."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from auth_plugins._base.frozen import Record
from auth_plugins._base.hidden import hidden
from auth_plugins._protocol.tokens import Token, hide_tokens


class StoredToken(Record):
    """A token as a shared cache stores it."""

    token: Token
    #: Whom the token is for: fields of the grant that are not secret, for the command line.
    about: Mapping[str, str]
    #: The name of the entry, so that one that was copied to another name is not used; ``None``: version 0.1.0 wrote it.
    name: str | None = None
    #: When the token before it was withdrawn, as an API rejected it, in Unix seconds; 0: it was not.
    withdrawn_at: float = 0.0

    def dump(self) -> str:
        """Return the text of the entry, in ASCII."""
        members = {"token": self.token.members(), "about": self.about, "name": self.name}
        return json.dumps({**members, **({"withdrawn_at": self.withdrawn_at} if self.withdrawn_at else {})})

    @classmethod
    def load(cls, text: str) -> StoredToken | None:
        """Read the text of an entry; ``None``: it is damaged, or another program's."""
        text = hidden(text)
        try:
            members = json.loads(text, object_hook=hide_tokens)
            # Version 0.1.0 stored no extra members.
            given: dict[str, Any] = {"extra": {}, **members["token"]}
            token: dict[str, Any] = {name: given[name] for name in _MEMBERS}
            token |= {name: float(value) for name, value in token.items() if type(value) is int}
            about = {str(name): str(value) for name, value in members["about"].items()}
            access_token = token["access_token"]
            is_whole = (
                all(isinstance(token[name], kind) for name, kind in _MEMBERS.items())
                and all(math.isfinite(token[name] or 0.0) for name in ("expires_at", "issued_at"))
                and bool(access_token and access_token.isascii() and access_token.isprintable())
            )
            (token["refresh_token"] or "").encode()  # raises if it has half of a surrogate pair
            withdrawn_at = float(members.get("withdrawn_at", 0.0))
            return cls(Token(**token), about, members.get("name"), withdrawn_at) if is_whole else None
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
            return None


_MEMBERS: Mapping[str, Any] = {
    "access_token": str,
    "token_type": str,
    "expires_at": float | None,
    "refresh_token": str | None,
    "scope": str | None,
    "issued_at": float,
    "extra": dict,
}
