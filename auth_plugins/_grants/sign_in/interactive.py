"""What the grants have in common for which a person signs in."""

# No "from __future__ import annotations": grants in other modules inherit the types of the fields.

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Self, cast
from urllib.parse import urlsplit

from auth_plugins._base.errors import NOT_ASKED, ConfigurationError, LoginRequiredError, TokenRequestError
from auth_plugins._base.validation import Secret, check_id
from auth_plugins._client_auth.base import ClientAuthentication
from auth_plugins._grants.base import Ask
from auth_plugins._grants.frozen import Checks
from auth_plugins._grants.issuer import Issuer
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._grants.password import is_vague
from auth_plugins._login.prompts import Prompt, can_ask, check_prompt, open_browser
from auth_plugins._protocol.tokens import Token

from .login_ask import LoginAsk


@dataclass(frozen=True, eq=False)
class InteractiveGrant(OAuthGrant):
    """A grant that asks a person to sign in; then it refreshes its token for as long as the server lets it."""

    client_id: str
    client_secret: Secret | None = field(default=None, repr=False)
    _: KW_ONLY
    prompt: Prompt | None = field(default=open_browser, repr=False, compare=False)
    #: The prefix of the variables that it was made of.
    _prefix: str | None = field(default=None, init=False, repr=False, compare=False)

    is_interactive = True
    # Each login costs a person's time.
    is_repeatable = False
    _no_identity: ClassVar[Sequence[str]] = (*OAuthGrant._no_identity, "prompt", "_prefix")
    _checks: ClassVar[Checks] = {**OAuthGrant._checks, "client_id": check_id, "prompt": check_prompt}

    @property
    def can_ask(self) -> bool:
        return can_ask(self.prompt)

    def identity(self) -> Mapping[str, Any]:
        members, authentication = super().identity(), self.client_auth
        if isinstance(authentication, ClientAuthentication) and authentication.is_renewed:
            # The login, and its refresh token, must be found by the next assertion.
            members = {**members, "client_auth": type(authentication).__qualname__}
        return members

    @abstractmethod
    def _sign_in(self, prompt: Prompt, ask: LoginAsk) -> Token:
        """Ask a person to sign in by *prompt*, and get the token by *ask*."""

    def _parameters(self) -> dict[str, str]:
        raise NotImplementedError  # what is sent, only a login tells

    def check_login(self, ask: Ask) -> None:
        why = ""
        if self.prompt is None:
            why = "no one is asked to, as prompt is None"
        elif not self.can_ask:
            why = "no one can be asked to, as there is neither a terminal nor a display"
        if why := why or cast("LoginAsk", ask).no_login:
            raise LoginRequiredError(
                f"a person has to sign in to {self._server()}, and {why}", advice=self._command(), trouble=NOT_ASKED
            )

    def _command(self) -> str:
        """Return what a person can do where no program can ask."""
        if self._prefix is not None:
            return f"run: auth-plugins login {self._prefix}"
        return "run: auth-plugins login PREFIX, for variables that describe the same login and a cache that both share"

    def request_token(self, ask: Ask) -> Token:
        self.check_login(ask)
        return self._sign_in(cast("Prompt", self.prompt), cast("LoginAsk", ask))

    def _server(self) -> str:
        """Return the name of the server, for messages and pages."""
        return urlsplit(str(self.token_url)).netloc

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:
        is_known_client = error.error not in ("invalid_client", "unauthorized_client")
        return super().refresh_refused(error, refresh_token) or (is_known_client and is_vague(error))

    def of_prefix(self, prefix: str) -> Self:
        """Return the same grant, whose errors name the command for the variables of *prefix*."""
        return self._changed(_prefix=prefix)

    def with_prompt(self, prompt: Prompt | None) -> Self:
        """Return the same grant with another *prompt*."""
        return self._changed(prompt=prompt)

    def _changed(self, **values: Any) -> Self:
        changed = copy.copy(self)
        for name, value in values.items():
            object.__setattr__(changed, name, value)
        return changed

    def _check_endpoint_is_known(self, argument: str, what: str) -> None:
        if getattr(self, argument) is None and not isinstance(self.token_url, Issuer):
            problem = f"is needed, the URL of the {what}, where {{token_url}} is no Issuer"
            raise ConfigurationError(problem, argument=argument, advice="give it, or an Issuer that names it")

    def _endpoint(self, argument: str, what: str, ask: LoginAsk) -> str:
        """Return the URL of an endpoint that the grant or its issuer has."""
        url = getattr(self, argument)
        if url is None:
            problem = f"is needed, as the metadata of the issuer name no {what}"
            raise ConfigurationError(problem, argument=argument, advice="give it, or use another grant")
        ask.check_url(url)
        return str(url)
