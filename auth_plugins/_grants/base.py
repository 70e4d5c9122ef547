"""What the rest of the package knows of a grant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from auth_plugins._base.errors import not_an_auth
from auth_plugins._protocol.tokens import Token

if TYPE_CHECKING:
    from auth_plugins._client_auth.proofs import Prover
    from auth_plugins._protocol.messages import TokenRequest

#: Sends one token request and reads its answer.
Ask = Callable[["TokenRequest"], Token]


# No ABC, as isinstance() takes longer for one.
class BaseSource:
    """The base of TokenSource, by which a grant that exchanges its tokens knows it."""

    #: The grant of the tokens.
    grant: Grant
    #: The session or client that alone identifies the client of the server; ``None``: the grant does.
    _session: Any = None
    #: It can be called, but returns nothing.
    _is_no_secret: ClassVar[bool] = True

    if TYPE_CHECKING:

        def token(self) -> Token: ...


class Grant(ABC):
    """What is exchanged for a token; a :class:`~auth_plugins.TokenSource` decides when."""

    #: Whether the grant can be used again after its refresh tokens were refused.
    is_repeatable: ClassVar[bool] = True
    #: Whether the token is a constant key, for which no request is sent.
    is_constant: ClassVar[bool] = False
    #: Whether *ask* is used, for which Authlib and an HTTP library are imported.
    sends_token_requests: ClassVar[bool] = True
    #: It can be called, but returns nothing.
    _is_no_secret: ClassVar[bool] = True

    #: Whether a person has to sign in where there is no usable token, and no refresh token that works.
    is_interactive: ClassVar[bool] = False
    #: Seconds that this may take; 0: no one is asked.
    login_seconds: float = 0.0

    @property
    def shares_refresh_token(self) -> bool:
        """Whether a refresh token in a shared cache is used by way of that cache only.

        Then a login ends for all processes when its entry is deleted.
        """
        return self.is_repeatable or self.is_interactive

    @property
    def can_ask(self) -> bool:
        """Whether a person can be asked to sign in now."""
        return False

    @property
    def unshared_reason(self) -> tuple[str, str]:
        """Why no shared cache may be given, and what to do; ``""``: it may. Without an identity it is not used."""
        return "", ""

    def prover(self) -> Prover | None:
        """Return what makes DPoP proofs for token requests and API requests; ``None``: they need none."""
        return None

    @property
    def tls_setting(self) -> str:
        """What decides about TLS with the token endpoint, so that no session may; ``""``: nothing does."""
        return ""

    @property
    def sources(self) -> Sequence[BaseSource | None]:
        """The token sources whose tokens are exchanged, in the order of :meth:`bind`; empty for most grants."""
        return ()

    @property
    def is_bound_late(self) -> bool:
        """Whether what is exchanged may be another with each token request, so that :meth:`bind` is called for it."""
        return False

    def bind(self, texts: Sequence[str | None]) -> tuple[Grant, tuple[str, ...]]:  # noqa: ARG002
        """Return the grant for what is exchanged at this moment, and the texts of it.

        :param texts: the tokens of :attr:`sources`; ``None`` where there is no source.
        """
        return self, ()

    # Not NoReturn: by that a type checker takes a grant for an auth=.
    def __call__(self, *_: object) -> None:
        """Say what ``auth=`` must be: requests and httpx call what they are given there."""
        raise not_an_auth(self)

    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """Return the present values of all secrets: when one changes, a remembered refusal no longer counts."""

    def header_and_scheme(self) -> tuple[str, str]:
        """Return the header that carries the token, and the scheme before the token."""
        return "Authorization", "Bearer"

    def query_parameter(self) -> str | None:
        """Return the parameter of the URL's query that carries the token; ``None``: the header carries it."""
        return None

    def check_login(self, ask: Ask) -> None:  # noqa: B027 - most grants need none
        """Raise a LoginRequiredError if a person has to sign in, and none can be asked."""

    @abstractmethod
    def request_token(self, ask: Ask) -> Token:
        """Get a token for the grant itself by *ask*."""

    def refresh(self, ask: Ask, refresh_token: str | None) -> Token | None:  # noqa: ARG002
        """Get a token for *refresh_token* by *ask*; ``None``: it was refused, or there is none."""
        return None

    def own_refresh_token(self) -> str | None:
        """Return the refresh token that the grant consists of; ``None``: it is another kind of grant."""
        return None

    def revocation_requests(self, access_token: str | None, refresh_token: str | None) -> Sequence[TokenRequest]:  # noqa: ARG002
        """Return the requests that revoke the tokens (RFC 7009 §2.1); none without a revocation endpoint."""
        return ()

    def identity(self) -> Mapping[str, Any] | None:
        """Return all that a token depends on, secrets included, as JSON types; ``None``: it is not shared."""
        return None
