"""What the steps of ``auth-plugins check`` share: the configuration, the library, and what they have seen so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auth_plugins._environment.configuration import Setting, configuration, settings
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.messages import TokenRequest, TokenResponse
from auth_plugins._protocol.redaction import Redactor
from auth_plugins._transports.base import Transport, default_transport

__all__ = ["Context", "context_of"]

#: Seconds for each thing that is tried, unless ``PREFIX_TIMEOUT`` is set.
_TIMEOUT = 10.0


@dataclass
class Context:
    """One check."""

    prefix: str
    environ: Mapping[str, str]
    grant: Grant
    #: The arguments of an adapter, each with its default.
    policy: Mapping[str, Any]
    #: The variables that are set, and the name of the provider; ``None``: there is none.
    settings: Sequence[Setting]
    provider: str | None
    #: requests, httpx2 or httpx, and its ``OAuth2Auth``.
    library: Any
    adapter: Callable[..., Any]
    #: Asked whether the client may prove itself in these other ways too.
    may_try: Callable[[Sequence[str]], bool]
    #: Seconds that the API may take to answer.
    api_timeout: float
    #: Each takes secrets out of texts of others.
    redactors: list[Redactor]
    transport: Transport = field(default_factory=default_transport)
    #: The answers of the token endpoint to the present attempt.
    answers: list[TokenResponse] = field(default_factory=list)
    #: What is known of the token, for JSON; ``None``: there is no token.
    token_facts: Mapping[str, Any] | None = None

    def variable(self, option: str) -> str:
        """Return the name of the variable of an option, or of the one that names its file, if that one is set."""
        name = option.upper()
        full = f"{self.prefix}_{'BASE_URL' if self.provider and name == 'TOKEN_URL' else name}"
        return next((each.name for each in self.settings if each.name == f"{full}_FILE" and not each.is_empty), full)

    def is_set(self, option: str) -> bool:
        """Return whether the variable of an option is set."""
        return any(each.name == self.variable(option) and not each.is_empty for each in self.settings)

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


def context_of(prefix: str, environ: Mapping[str, str], **others: Any) -> Context:
    """Return the context for what the variables of *prefix* configure.

    :raises ConfigurationError: it cannot work, or a secret cannot be read.
    """
    grant, policy = configuration(prefix, environ)
    found, provider = settings(prefix, environ)
    defaults = {"cache": None, "allowed_hosts": None, "allow_http": False, "timeout": _TIMEOUT}
    return Context(
        prefix=prefix.removesuffix("_"),
        environ=environ,
        grant=grant,
        policy={**defaults, **policy},
        settings=found,
        provider=provider,
        redactors=[Redactor(grant.secrets())],
        **others,
    )
