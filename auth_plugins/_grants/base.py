"""What a grant is, whatever it asks for: all that the rest of the package knows of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from auth_plugins._base.errors import not_an_auth
from auth_plugins._protocol.tokens import Token

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest

__all__ = ["Grant"]


class Grant(ABC):
    """What a token is traded for; a :class:`~auth_plugins.TokenSource` decides when."""

    #: Whether the grant can be traded again, whatever became of the refresh tokens that came of it.
    is_repeatable: ClassVar[bool] = True
    #: Whether the token is a constant key, for which no request is sent.
    is_constant: ClassVar[bool] = False

    def __call__(self, *_: object) -> NoReturn:
        """Say what ``auth=`` wants: requests and httpx call whatever they are given there."""
        raise not_an_auth(self)

    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """What the secrets are at this moment: a remembered refusal is void once they are others."""

    @abstractmethod
    def header_and_scheme(self) -> tuple[str, str]:
        """The header that carries the token, and the scheme before it."""

    @abstractmethod
    def request_token(self, ask: Callable[[TokenRequest], Token]) -> Token:
        """Get a token for the grant itself, by *ask*, which sends one token request and reads its answer."""

    @abstractmethod
    def refresh(self, ask: Callable[[TokenRequest], Token], refresh_token: str | None) -> Token | None:
        """Get a token by *refresh_token*, and *ask*; ``None``: it is good no more, or there is none."""

    def own_refresh_token(self) -> str | None:
        """The refresh token that the grant itself is; ``None``: it is none, and can be traded again."""
        return None

    @abstractmethod
    def revocation_requests(self, access_token: str | None, refresh_token: str | None) -> Sequence[TokenRequest]:
        """The requests that give the tokens back (RFC 7009 §2.1); none where no endpoint for it is known."""

    def identity(self) -> Mapping[str, Any] | None:
        """All that a token depends on, secrets included, as JSON has it; ``None``: no other process is told of it."""
        return None
