"""The authorization code grant with PKCE, by a browser on this machine (RFC 6749 §4.1, RFC 7636, RFC 8252)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from auth_plugins._base import mappings
from auth_plugins._base.errors import ConfigurationError, LoginRequiredError
from auth_plugins._base.validation import Value, check_lifetime, check_url
from auth_plugins._grants.frozen import Checks
from auth_plugins._login.prompts import Prompt, application_name, wait_for
from auth_plugins._login.prompts import ask as ask_person
from auth_plugins._login.redirect import check_redirect
from auth_plugins._protocol.tokens import Token

from .interactive import InteractiveGrant
from .login_ask import LoginAsk

if TYPE_CHECKING:
    from auth_plugins._protocol.metadata import Metadata

#: Parameters by which an answer is known: the login itself sets them.
_OWN = ("client_id", "code_challenge", "code_challenge_method", "redirect_uri", "response_type", "state")


def _freeze_params(argument: str, given: object) -> tuple[tuple[str, Value], ...] | None:
    """Return parameters as pairs, with the values as texts."""
    pairs = mappings.freeze_params(argument, given) or ()
    for name, value in pairs:
        if name in _OWN:
            raise ConfigurationError(f"must not have {name}, which each login sets", argument=argument)
        if callable(value):
            raise ConfigurationError(f"must have no callable, got one as {name}", argument=argument)
    return tuple((name, _text(cast("Value", value))) for name, value in pairs) or None


def _text(value: Value) -> Value:
    # As in a token request, True is spelt as in JSON.
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, (int, float)) else value


def _check_timeout(argument: str, value: object) -> float:
    try:
        return check_lifetime(argument, value)
    except ConfigurationError as error:
        problem = error.problem
    raise ConfigurationError(problem, argument=argument, advice="300 are the default")


@dataclass(frozen=True, eq=False)
class AuthorizationCode(InteractiveGrant):
    """A person signs in with the browser of this machine (RFC 6749 §4.1 with PKCE, RFC 7636; RFC 8252).

    The browser comes back to a page on loopback, which is served for the time of the login only. Then the token is
    refreshed for as long as the server lets it; when it refuses, the person is asked again. Callers that need a token
    meanwhile wait, whatever their *timeout*; 50 threads open one tab.

    :param token_url: the URL of the token endpoint: ``https://``, or ``http://`` on loopback; or an :class:`Issuer`,
        whose metadata name both endpoints, and whose ``iss`` is then checked in each answer (RFC 9207).
    :param client_id: the client's id (RFC 6749 §2.2).
    :param client_secret: the client's secret, as in :class:`ClientCredentials`; ``None`` (the default): it has none,
        as programs on a person's machine (RFC 8252 §8.4).
    :param authorize_url: the URL of the authorization endpoint (RFC 6749 §3.1); its query is kept. ``None`` (the
        default): that of the issuer.
    :param authorize_params: further parameters for it, a mapping, such as ``{"prompt": "login"}``, applied last: they
        replace others of the same name, ``None`` as a value removes one, a sequence of str repeats it. ``None`` (the
        default): none.
    :param redirect_uri: where the browser comes back to, ``http://`` on loopback; without a port (the default:
        ``http://127.0.0.1/callback``) at any that is free (RFC 8252 §7.3). Register it at the server.
    :param login_timeout: seconds, more than 0, that the person has; 300 by default. No token depends on it.
    :param prompt: a callable that is given the URL to open. It is called in a thread of its own, and may return at once
        or block. By default the browser is opened, and the URL is printed on stderr; where there is neither a terminal
        nor a display, no one is asked. ``None``: no one ever is. No token depends on it.
    :raises ConfigurationError: an argument cannot work, or contradicts another.

    A login that is denied, not made in time, or answered with a wrong ``state`` or ``iss`` is a
    :class:`LoginRequiredError`, as is one for which no one can be asked. Further keyword arguments: as in
    :class:`ClientCredentials`; *scope*, *audience* and *resource* are sent to both endpoints.
    """

    _: KW_ONLY
    authorize_url: str | None = None
    authorize_params: Mapping[str, Value] | tuple[tuple[str, Value], ...] | None = field(default=None, repr=False)
    redirect_uri: str = "http://127.0.0.1/callback"
    login_timeout: float = field(default=300.0, compare=False)
    #: What the metadata of the issuer say; ``None`` and ``False``: it has none.
    _issuer: str | None = field(default=None, init=False, repr=False, compare=False)
    _requires_issuer: bool = field(default=False, init=False, repr=False, compare=False)

    _no_identity: ClassVar[Sequence[str]] = (
        *InteractiveGrant._no_identity, "login_timeout", "_issuer", "_requires_issuer"
    )  # fmt: skip
    _checks: ClassVar[Checks] = {
        **InteractiveGrant._checks,
        "authorize_url": check_url,
        "authorize_params": _freeze_params,
        "redirect_uri": check_redirect,
        "login_timeout": _check_timeout,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_endpoint_is_known("authorize_url", "authorization endpoint")

    @property
    def login_seconds(self) -> float:  # type: ignore[override]
        return 0.0 if self.prompt is None else self.login_timeout

    def metadata_values(self, metadata: Metadata, issuer: str) -> Mapping[str, Any]:
        return {
            "authorize_url": self.authorize_url or metadata.endpoint("authorization_endpoint"),
            "_issuer": issuer,
            "_requires_issuer": metadata.promises_iss,
        }

    def _sign_in(self, prompt: Prompt, ask: LoginAsk) -> Token:
        from auth_plugins._login.listener import Listener
        from auth_plugins._protocol.sign_in.authorization import authorization_request, read_code

        endpoint = self._endpoint("authorize_url", "authorization endpoint", ask)
        with Listener(self.redirect_uri, application_name(), self._server()) as listener:
            request = authorization_request(
                endpoint,
                client_id=self.client_id,
                redirect_uri=listener.uri,
                scope=None if self.scope is None else str(self.scope),
                audience=self.audience,
                resources=tuple(self.resource or ()),
                params=self._pairs("authorize_params"),
            )
            ask.begin_login(self.login_timeout, listener.answer)
            ask_person(prompt, (request.url, None, None), listener.answer)
            if not wait_for(listener.answer, self.login_timeout):
                problem = f"sign-in timed out: no one signed in to {self._server()} within {self.login_timeout:g} s"
                raise LoginRequiredError(problem, advice="sign in again")
            code = read_code(
                listener.answer.result(), request.state, self._issuer, requires_issuer=self._requires_issuer
            )
            parameters = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": listener.uri,
                "code_verifier": request.verifier,
            }
            return ask(self._request("token_url", parameters, ("params",)))
