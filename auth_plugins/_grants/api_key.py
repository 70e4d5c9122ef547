"""A constant key, for APIs without OAuth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import Secret, check_header, check_parameter_name, check_secret, resolve_secret
from auth_plugins._protocol.tokens import Token

from .base import Ask
from .frozen import Checks, FrozenGrant


@dataclass(frozen=True, eq=False)
class ApiKey(FrozenGrant):
    """A constant key, for APIs, or older versions of them, without OAuth.

    :param value: the key: a str, or a callable without arguments that returns one and is called again when the API
        rejected the key.
    :param header: the header that carries the key; the default is ``"X-API-Key"``.
    :param scheme: the word before the key, with a space between; or the whole value with ``{token}`` in the key's
        place, such as ``"key={token}"``. ``""`` (the default): none.
    :param query: the parameter of the URL's query that carries the key in place of a header, such as ``"api_key"``.
        Proxies and logs see URLs, so prefer a header where the API accepts one. ``None`` (the default): a header.
    :raises ConfigurationError: an argument cannot work, or *query* is given together with *header* or *scheme*.
    """

    value: Secret = field(repr=False)
    header: str = "X-API-Key"
    scheme: str = ""
    query: str | None = field(default=None, kw_only=True)

    is_constant = True
    sends_token_requests = False
    _checks: ClassVar[Checks] = {"value": check_secret, "query": check_parameter_name}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_header(self.header, self.scheme)
        if self.query is not None and (self.header, self.scheme) != (ApiKey.header, ApiKey.scheme):
            other = "{scheme}" if self.header == ApiKey.header else "{header}"
            raise ConfigurationError(f"contradicts {other}", argument="query", advice="give one of them")

    def secrets(self) -> tuple[str, ...]:
        return (resolve_secret("value", self.value),)

    def header_and_scheme(self) -> tuple[str, str]:
        return self.header, self.scheme

    def query_parameter(self) -> str | None:
        return self.query

    def request_token(self, ask: Ask) -> Token:  # noqa: ARG002
        """Return the key as a token that does not expire; no request is sent."""
        (key,) = self.secrets()
        if not key.isascii() or not key.isprintable() or key != key.strip():
            problem = "the API key must be printable ASCII without a space at either end"
            reason = "" if self.query else ", as others cannot stand in a header"
            raise ConfigurationError(f"{problem}{reason}", advice="check the key")
        return Token(access_token=key, token_type=self.scheme)
