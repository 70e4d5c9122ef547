"""Token exchange (RFC 8693): one token for another."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from auth_plugins._base.errors import ConfigurationError, TokenRequestError
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.validation import Secret, check_secret, check_text, resolve_secret
from auth_plugins._protocol.messages import TOKEN_EXCHANGE
from auth_plugins._protocol.tokens import Token

from .base import Ask, BaseSource, Grant
from .frozen import Checks
from .oauth import OAuthGrant

_ARGUMENTS = ("subject_token", "actor_token")
_TYPE = "urn:ietf:params:oauth:token-type:"
#: The short names of RFC 8693 §3.
_TYPES = ("access_token", "refresh_token", "id_token", "jwt", "saml1", "saml2")


class SourceToken:
    """The token of the moment of a token source. Two are equal if the grants of their sources are."""

    __slots__ = ("source",)

    def __init__(self, source: BaseSource) -> None:
        self.source = source

    def __repr__(self) -> str:
        return repr(self.source)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SourceToken):
            return NotImplemented
        return self.source.grant == other.source.grant and self.source._session is other.source._session

    def __hash__(self) -> int:
        return hash(self.source.grant)


def _check_subject(argument: str, given: Any) -> Any:
    """Return a secret, or a token source as a :class:`SourceToken`."""
    if isinstance(given, SourceToken):
        return given
    if isinstance(given, BaseSource):
        return SourceToken(given)
    advice = ""
    if isinstance(given, Grant):
        advice = "give TokenSource(...) of it"
    elif isinstance(getattr(given, "source", None), BaseSource):
        advice = "give its source"
    if advice:
        problem = f"must be a str, a callable that returns one, or a TokenSource, got {type(given).__name__}"
        raise ConfigurationError(problem, argument=argument, advice=advice)
    return check_secret(argument, given)


def _check_type(argument: str, given: Any) -> str:
    """Return a token type as the URI that is sent; RFC 8693 §3 has the URNs of short names."""
    text = check_text(argument, given, allow_controls=False)
    if text in _TYPES:
        return _TYPE + text
    if ":" not in text or " " in text:
        raise ConfigurationError(f"must be one of {', '.join(_TYPES)}, or a URI", argument=argument)
    return text


@hide_arguments
@dataclass(frozen=True, eq=False)
class TokenExchange(OAuthGrant):
    """Exchange one token for another: for another API, or on behalf of its user (RFC 8693).

    :param token_url: the URL of the token endpoint: ``https://``, or ``http://`` on loopback.
    :param subject_token: the token that is exchanged: a str; a callable without arguments that returns one, such as
        :class:`SecretFile`, and is called for each token request; or a :class:`TokenSource`, whose token of the moment
        is exchanged. When that token changes, so does the exchanged one.
    :param client_id: the client's id; ``None`` (the default): the server does not ask for one.
    :param client_secret: the client's secret, as in :class:`ClientCredentials`; ``None`` (the default): it has none.
    :param subject_token_type: what *subject_token* is: ``access_token`` (the default), ``refresh_token``, ``id_token``,
        ``jwt``, ``saml1`` or ``saml2`` (RFC 8693 §3), or a URI.
    :param actor_token: a token of who acts for the subject (RFC 8693 §1.1), as *subject_token*; ``None`` (the default):
        not sent.
    :param actor_token_type: what *actor_token* is, as *subject_token_type*.
    :param requested_token_type: what the server shall issue, as *subject_token_type*; ``None`` (the default): the
        server decides.
    :raises ConfigurationError: an argument cannot work, or contradicts another.

    Further keyword arguments: as in :class:`ClientCredentials`; *audience*, *resource* and *scope* say what the token
    is for. What the server issued is in ``token.extra["issued_token_type"]``. It is sent as Bearer, even if its type is
    ``N_A``. A refresh token is used as long as the subject token is the same; of a :class:`TokenSource`'s token, which
    can be exchanged again at any time, none is kept. The errors of that source reach the caller as they are.
    """

    subject_token: Secret | BaseSource = field(repr=False)
    client_id: str | None = None
    client_secret: Secret | None = field(default=None, repr=False)
    _: KW_ONLY
    subject_token_type: str = "access_token"
    actor_token: Secret | BaseSource | None = field(default=None, repr=False)
    actor_token_type: str = "access_token"
    requested_token_type: str | None = None
    #: Whether a token source gave the subject token, so that no refresh token is needed.
    _has_source: bool = field(default=False, init=False, repr=False)

    _checks: ClassVar[Checks] = {
        **OAuthGrant._checks,
        "subject_token": _check_subject,
        "subject_token_type": _check_type,
        "actor_token": _check_subject,
        "actor_token_type": _check_type,
        "requested_token_type": _check_type,
    }

    @property
    def sources(self) -> Sequence[BaseSource | None]:
        found = [given.source if isinstance(given, SourceToken) else None for given in self._given()]
        return found if any(found) else ()

    @property
    def is_bound_late(self) -> bool:
        return any(isinstance(given, SourceToken) or callable(given) for given in self._given())

    def _given(self) -> tuple[Any, Any]:
        return self.subject_token, self.actor_token

    def _texts(self) -> tuple[str, ...]:
        """Return the tokens of the moment that are exchanged: that of the subject, and that of the actor."""
        found = []
        for argument, given in zip(_ARGUMENTS, self._given(), strict=True):
            if isinstance(given, SourceToken):
                found.append(given.source.token().access_token)
            elif given is not None:
                found.append(resolve_secret(argument, given))
        return tuple(found)

    def subject_text(self) -> str:
        """Return the subject token of the moment."""
        return self._texts()[0]

    def bind(self, texts: Sequence[str | None]) -> tuple[Grant, tuple[str, ...]]:
        bound = copy.copy(self)
        for argument, text in zip(_ARGUMENTS, texts, strict=False):
            if text is not None:
                object.__setattr__(bound, argument, text)
        found = bound._texts()
        for argument, text in zip(_ARGUMENTS, found, strict=False):
            object.__setattr__(bound, argument, text)
        object.__setattr__(bound, "_has_source", self._has_source or bool(self.sources))
        return bound, found

    def _parameters(self) -> dict[str, str]:
        subject, *actor = self._texts()
        parameters = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": subject,
            "subject_token_type": self.subject_token_type,
        }
        if actor:
            parameters |= {"actor_token": actor[0], "actor_token_type": self.actor_token_type}
        if self.requested_token_type:
            parameters["requested_token_type"] = self.requested_token_type
        return parameters

    def request_token(self, ask: Ask) -> Token:
        token = super().request_token(ask)
        return Token(**{**token.members(), "refresh_token": None}) if self._has_source else token

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), *self._texts())

    def identity(self) -> Mapping[str, Any]:
        if self.sources:
            bound, _ = self.bind(())
            return bound.identity() or {}
        return super().identity()

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:  # noqa: ARG002
        # To exchange the token again reveals no more than the refused request did, as with client credentials.
        return error.error != "invalid_client"
