"""What a grant for which a person signs in needs of the token source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

    from auth_plugins._protocol.messages import TokenRequest, TokenResponse
    from auth_plugins._protocol.tokens import Token


class LoginAsk(Protocol):
    """An :data:`~auth_plugins._grants.base.Ask` that can do what a login needs."""

    #: Why no person may be asked now; ``""``: one may.
    no_login: str

    def __call__(self, request: TokenRequest, /) -> Token: ...

    def send(self, request: TokenRequest, /) -> tuple[TokenRequest, TokenResponse]:
        """Send a request whose answer holds no token."""
        ...

    def check_url(self, url: str, /) -> None:
        """Raise an InsecureTransportError if a person would send credentials there in clear."""
        ...

    def begin_login(self, seconds: float, answer: Future[Any], /) -> None:
        """Note that a person is asked, and has so many seconds; *answer* gets the error if no one waits any more."""
        ...
