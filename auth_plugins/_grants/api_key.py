"""A constant key, for APIs without OAuth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import Secret, check_header, check_secret, resolve_secret
from auth_plugins._protocol.tokens import Token

from .base import Ask, Checks, FrozenGrant


@dataclass(frozen=True, eq=False)
class ApiKey(FrozenGrant):
    """A constant key, for APIs, or older versions of them, without OAuth.

    :param value: the key: a str, or a callable without arguments that returns one and is called again when the API
        rejected the key.
    :param header: the header that carries the key; the default is ``"X-API-Key"``.
    :param scheme: the word before the key, with a space between; or the whole value with ``{token}`` in the key's
        place, such as ``"key={token}"``. ``""`` (the default): none.
    :raises ConfigurationError: an argument cannot work.
    """

    value: Secret = field(repr=False)
    header: str = "X-API-Key"
    scheme: str = ""

    is_constant = True
    sends_token_requests = False
    _checks: ClassVar[Checks] = {"value": check_secret}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_header(self.header, self.scheme)

    def secrets(self) -> tuple[str, ...]:
        return (resolve_secret("value", self.value),)

    def header_and_scheme(self) -> tuple[str, str]:
        return self.header, self.scheme

    def request_token(self, ask: Ask) -> Token:  # noqa: ARG002
        """Return the key as a token that does not expire; no request is sent."""
        (key,) = self.secrets()
        if not key.isascii() or not key.isprintable() or key != key.strip():
            problem = "the API key must be printable ASCII without a space at either end"
            raise ConfigurationError(f"{problem}, as others cannot stand in a header", advice="check the key")
        return Token(access_token=key, token_type=self.scheme)
