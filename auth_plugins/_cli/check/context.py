"""What the steps of ``auth-plugins check`` share: the configuration, the library, and what they have seen so far."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from auth_plugins._base.secret_file import SecretFile
from auth_plugins._base.tls_files import NO_FILES, TLSFiles
from auth_plugins._cli.configured import first_installed
from auth_plugins._environment.configuration import configuration
from auth_plugins._environment.variables import Variables
from auth_plugins._grants.base import Grant
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from auth_plugins._protocol.redaction import Redactor, one_line
from auth_plugins._transports.base import Transport, default_transport


class State(Enum):
    """What came of a step; the value is that of ``ok`` in JSON."""

    GOOD = True
    FAILED = False
    #: A fact, or a step that was not taken.
    NOTE = None


GOOD, FAILED, NOTE = State


class Step:
    """One step of the check: what came of it, the details, and what to do about it."""

    def __init__(self, state: State, name: str, detail: str, *advice: str) -> None:
        self.state, self.name, self.detail = state, name, one_line(detail)
        self.advice = [one_line(each) for each in advice]


@dataclass
class Context:
    """One check."""

    prefix: str
    grant: Grant
    #: The arguments of an adapter, each with its default.
    policy: Mapping[str, Any]
    #: All variables, and the name of the provider; ``None``: there is none.
    variables: Variables
    provider: str | None
    #: CLIENT_AUTH, by which one object may have two names; ``None``: it is not set.
    client_auth: str | None
    #: requests, httpx2 or httpx, and its ``OAuth2Auth``.
    library: Any
    adapter: Callable[..., Any]
    #: Asked whether the client may prove itself in these other ways too.
    may_try: Callable[[Sequence[str]], bool]
    #: Each takes secrets out of texts of others.
    redactors: list[Redactor]
    transport: Transport = field(default_factory=lambda: default_transport().load())
    #: The answers of the token endpoint to the present attempt.
    answers: list[TokenResponse] = field(default_factory=list)
    #: What is known of the token, for JSON; ``None``: there is no token.
    token_facts: Mapping[str, Any] | None = None

    def variable(self, option: str) -> str:
        """Return the name of the variable of an option, or of the one that names its file, if that one is set."""
        if self.provider and option == "token_url":  # some providers have one address for all
            option = "base_url" if "BASE_URL" in self.variables.given else "provider"
        if option == "token_url" and "ISSUER" in self.variables.given:
            option = "issuer"
        given = getattr(getattr(self.grant, "client_auth", None), "assertion", None)
        if option == "client_assertion" and isinstance(given, SecretFile) and given._variable is None:
            return f"the file {given.path!r}"  # of a provider
        return self.variables.named(option.upper())

    @property
    def tls(self) -> TLSFiles:
        """The files for TLS with the token endpoint."""
        return self.grant.tls_files() if isinstance(self.grant, OAuthGrant) else NO_FILES

    def redacted(self, text: str) -> str:
        """Return a text of others without secrets."""
        for redact in self.redactors:
            text = redact(text)
        return text

    def send(self, request: TokenRequest, timeout: float) -> TokenResponse:
        """Send a token request, and keep its answer."""
        self.redactors.append(request.redact)
        response = self.transport(request, timeout)
        self.answers.append(response)
        return response


def context_of(prefix: str, may_try: Callable[[Sequence[str]], bool]) -> Context:
    """Return the context for what the variables of *prefix* configure."""
    library, adapter = first_installed()
    grant, policy = configuration(prefix, None)
    return Context(
        prefix=prefix,
        grant=grant,
        policy={"cache": None, "allowed_hosts": None, "allow_http": False, "timeout": 10.0, **policy},
        variables=Variables(prefix, None),
        provider=Variables(prefix, None).take("PROVIDER"),
        client_auth=Variables(prefix, None).take("CLIENT_AUTH"),
        library=library,
        adapter=adapter,
        may_try=may_try,
        redactors=[Redactor(grant.secrets())],
    )
