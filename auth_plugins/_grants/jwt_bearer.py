"""The JWT bearer grant (RFC 7523 §2.1): an assertion for a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from auth_plugins._base.errors import TokenRequestError
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.secret_file import SecretFile
from auth_plugins._base.validation import Secret, check_secret, resolve_secret
from auth_plugins._client_auth.signed_jwt import SignedJWT
from auth_plugins._protocol.messages import JWT_BEARER

from .frozen import Checks
from .oauth import OAuthGrant

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest


def _check_assertion(argument: str, given: Any) -> Any:
    return given if isinstance(given, SignedJWT) else check_secret(argument, given)


@hide_arguments
@dataclass(frozen=True, eq=False)
class JWTBearer(OAuthGrant):
    """Exchange an assertion, a JWT that the server trusts, for a token (RFC 7523 §2.1).

    Google's service accounts and Salesforce's JWT flow do this; :mod:`auth_plugins.providers` has both.

    :param token_url: the URL of the token endpoint: ``https://``, or ``http://`` on loopback.
    :param assertion: a :class:`SignedJWT`, which signs another JWT for each attempt; or a ready-made JWT: a str, or a
        callable without arguments that returns one, such as :class:`SecretFile`, and is called for each attempt,
        retries included.
    :param client_id: the client's id; ``None`` (the default): the assertion says who asks.
    :param client_secret: the client's secret, as in :class:`ClientCredentials`; ``None`` (the default): it has none.
    :raises ConfigurationError: an argument cannot work, or contradicts another.

    Further keyword arguments: as in :class:`ClientCredentials`.
    """

    assertion: Secret | SignedJWT = field(repr=False)
    client_id: str | None = None
    client_secret: Secret | None = field(default=None, repr=False)

    _checks: ClassVar[Checks] = {**OAuthGrant._checks, "assertion": _check_assertion}

    def _parameters(self) -> dict[str, str]:
        assertion = self.assertion
        if isinstance(assertion, SignedJWT):
            text = assertion.sign(str(self.token_url))
        else:
            text = resolve_secret("assertion", assertion)
        return {"grant_type": JWT_BEARER, "assertion": text}

    def grant_request(self) -> TokenRequest:
        request = super().grant_request()
        trouble = "signed_jwt" if isinstance(self.assertion, SignedJWT) else "jwt_bearer"
        return request.having(facts=request.facts.having(grant_trouble=trouble), rebuild=self.grant_request)

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), *self._assertion_secrets())

    def _assertion_secrets(self) -> tuple[str, ...]:
        assertion = self.assertion
        if isinstance(assertion, SignedJWT):
            return (assertion.present_key(),)
        # Another callable may return another assertion each time, and then no refusal would be remembered.
        if callable(assertion) and not isinstance(assertion, SecretFile):
            return ()
        return (resolve_secret("assertion", assertion),)

    def identity(self) -> Mapping[str, Any]:
        members = super().identity()
        return {**members, "assertion": self.assertion.identity()} if isinstance(self.assertion, SignedJWT) else members

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:  # noqa: ARG002
        # Another assertion reveals no more than the refused request did, as with client credentials.
        return error.error != "invalid_client"
