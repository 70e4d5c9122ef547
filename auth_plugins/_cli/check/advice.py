"""What ``auth-plugins check`` says: steps, and for what fails the likely cause and the variable to change; no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from auth_plugins._base.errors import TokenRequestError
from auth_plugins._base.validation import resolve_secret
from auth_plugins._environment.configuration import Setting, cache_secrets, configuration, settings
from auth_plugins._grants.api_key import ApiKey
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.refresh_token import RefreshToken
from auth_plugins._protocol.messages import TokenResponse, one_line

__all__ = [
    "KNOWN_CLIENT",
    "Setup",
    "Step",
    "others",
    "refusal_advice",
    "response_advice",
    "shown",
]

#: The refusals by which a server says that it knows the client.
KNOWN_CLIENT = frozenset(
    {"invalid_grant", "invalid_scope", "invalid_target", "unauthorized_client", "unsupported_grant_type"}
)
#: Those that are about something else than the client.
_NOT_OF_CLIENT = KNOWN_CLIENT | {
    "access_denied",
    "bad_refresh_token",
    "invalid_dpop_proof",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "use_dpop_nonce",
}
_CREDENTIALS = ("CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD", "REFRESH_TOKEN", "API_KEY")
#: Seconds for each thing that is tried.
_TIMEOUT = 10.0


@dataclass(frozen=True)
class Step:
    """One thing that was looked at."""

    name: str
    #: ``None``: neither good nor bad: told, or not tried.
    ok: bool | None
    detail: str
    #: What to do about it.
    advice: tuple[str, ...] = ()

    @classmethod
    def good(cls, name: str, detail: str, *advice: str) -> Self:
        """It works."""
        return cls(name, ok=True, detail=one_line(detail), advice=tuple(map(one_line, advice)))

    @classmethod
    def failed(cls, name: str, detail: str, *advice: str) -> Self:
        """It doesn't."""
        return cls(name, ok=False, detail=one_line(detail), advice=tuple(map(one_line, advice)))

    @classmethod
    def told(cls, name: str, detail: str, *advice: str) -> Self:
        """It is as it is."""
        return cls(name, ok=None, detail=one_line(detail), advice=tuple(map(one_line, advice)))


class Setup:
    """What is configured.

    :raises ConfigurationError: it cannot work.
    """

    def __init__(self, prefix: str, environ: Mapping[str, str]) -> None:
        policy: dict[str, Any]
        self.grant, policy = configuration(prefix, environ)
        self.settings, self.provider = settings(prefix, environ)
        self.cache = policy.get("cache")
        #: What an error of the cache may quote.
        self.cache_secrets = cache_secrets(prefix, environ)
        self.allowed_hosts: Sequence[str] | None = policy.get("allowed_hosts")
        self.allow_http: bool = policy.get("allow_http", False)
        self.timeout: float = policy.get("timeout", _TIMEOUT)
        self._prefix = prefix.removesuffix("_")

    def variable(self, option: str) -> str:
        """The name of the variable of an option; of the one that names its file, where that is set."""
        name = option.upper()
        full = f"{self._prefix}_{'BASE_URL' if self.provider and name == 'TOKEN_URL' else name}"
        return next((each.name for each in self.settings if each.name == f"{full}_FILE" and not each.is_empty), full)

    def is_set(self, option: str) -> bool:
        """Whether the variable of an option is."""
        return any(each.name == self.variable(option) and not each.is_empty for each in self.settings)

    def credentials(self) -> str:
        """The variables that prove who asks."""
        return " and ".join(each.name for each in self.settings if _is_credential(each))


def _is_credential(setting: Setting) -> bool:
    return not setting.is_empty and setting.name.removesuffix("_FILE").endswith(_CREDENTIALS)


def refusal_advice(error: TokenRequestError, answer: TokenResponse, grant: Any, setup: Setup) -> Iterator[str]:
    """Advice for a token endpoint that refused by *answer* what *grant* asked for."""
    status, code, variable = error.status_code or 0, error.error, setup.variable
    body = answer.body.strip()
    if status == 429 or status >= 500:
        rest = "later" if error.retry_after is None else f"in {error.retry_after:.0f} s"
        yield f"the server is in trouble or wants a rest: try again {rest}"
    elif code in _BY_CODE:
        yield from _BY_CODE[code](grant, setup)
    elif status == 405:
        method = "POST" if grant.method == "GET" else "GET"
        yield f"set {variable('method')}={method}, or check {variable('token_url')}"
    elif status < 400 or status == 404 or body[:1] == b"<":
        yield f"check that {variable('token_url')} leads to the token endpoint"
    else:
        if not body and grant.scope is None and status in (400, 403):
            yield f"set {variable('scope')}: some servers answer so, and no more, where the scope is missing"
        if status in (401, 403) or code == "invalid_client":
            yield f"check {setup.credentials()}"
            yield from _without_secret(grant, setup)
        else:
            yield _other_encoding(grant, setup)
            yield f"check what else its documentation wants: {variable('client_auth')}, {variable('scope')}"
    if _doubts_client(error, answer):
        yield from _about_basic(grant, setup)


def _without_secret(grant: Any, setup: Setup) -> Iterator[str]:
    if grant.client_secret is None and not setup.provider:
        missing = [setup.variable(name) for name in ("client_id", "client_secret") if getattr(grant, name) is None]
        yield f"no client secret was sent: if this client has one, set {' and '.join(missing)}"


def _invalid_grant(grant: Any, setup: Setup) -> Iterator[str]:
    if isinstance(grant, RefreshToken):
        yield (
            f"{setup.variable('refresh_token')} is not valid any more: it expired, was revoked, or was used before; "
            "obtain a new one, as you obtained this one, and set it"
        )
        return
    yield f"check {setup.credentials()}"
    if isinstance(grant, ClientCredentials):
        yield "if they are right: ask the server's owner whether this client has to send DPoP, a certificate or a key"


def _wants_key(_: Any, __: Setup) -> Iterator[str]:
    yield "the server wants DPoP, which is not supported: have its owner allow this client Bearer tokens"


def _unauthorized_client(grant: Any, _: Setup) -> Iterator[str]:
    yield f"have the server's owner allow this client the grant {type(grant).__name__}"
    if grant.client_secret is not None:
        yield "or have it registered with a secret, if it has to prove itself by a certificate or a key"


def _unsupported_grant_type(grant: Any, setup: Setup) -> Iterator[str]:
    variable = setup.variable("provider" if setup.provider else "grant_type")
    yield f"check {variable}: the server does not offer the grant {type(grant).__name__} at this endpoint"
    yield _other_encoding(grant, setup)


def _other_encoding(grant: Any, setup: Setup) -> str:
    other = "form" if grant.encoding == "json" else "json"
    return f"if the server wants another body than {grant.encoding}: set {setup.variable('encoding')}={other}"


#: Advice by the error code that the server sent.
_BY_CODE: Mapping[str | None, Callable[[Any, Setup], Iterable[str]]] = {
    "invalid_grant": _invalid_grant,
    "bad_refresh_token": _invalid_grant,
    "invalid_dpop_proof": _wants_key,
    "use_dpop_nonce": _wants_key,
    "invalid_scope": lambda _, setup: [f"set {setup.variable('scope')} to what this client was given"],
    "invalid_target": lambda _, setup: [f"check {setup.variable('audience')} and {setup.variable('resource')}"],
    "unauthorized_client": _unauthorized_client,
    "unsupported_grant_type": _unsupported_grant_type,
}


def _about_basic(grant: Any, setup: Setup) -> Iterator[str]:
    """What the two ways of Basic make of this id and secret."""
    sent = _sent(grant)
    encoded, raw = sent.get("client_secret_basic"), sent.get("client_secret_basic_raw")
    if "basic" not in grant.client_auth or raw is None:
        return
    if encoded == raw:
        yield "id and secret have no special characters: client_secret_basic and client_secret_basic_raw are one here"
        return
    other = "client_secret_basic_raw" if grant.client_auth == "client_secret_basic" else "client_secret_basic"
    yield (
        "id or secret has characters (such as + / = %) that client_secret_basic encodes and client_secret_basic_raw "
        f"does not: set {setup.variable('client_auth')}={other} if the server wants the other"
    )


def response_advice(status: int, error: str | None, setup: Setup) -> Iterator[str]:
    """Advice for what an API answered; *error* is what ``WWW-Authenticate`` calls it."""
    variable = setup.variable
    if status == 401 and isinstance(setup.grant, ApiKey):
        yield f"check {setup.credentials()} and {variable('api_key_header')}"
    elif status == 403 or (status == 401 and error == "insufficient_scope"):
        yield f"the token is known but lacks a right: set {variable('scope')}, or have the account given the role"
    elif status == 401:
        yield f"the API does not take this token; check whom it is for: {variable('audience')}, {variable('resource')}"
        yield f"check what it allows, {variable('scope')}, and who issued it, {variable('token_url')}"
    elif status == 429 or status >= 500:
        yield "the API is in trouble or wants a rest: try again later"
    elif status >= 300:
        yield "check the URL: this is not about the token"


def others(error: Exception, answer: TokenResponse, grant: Any) -> list[str]:
    """The other values of client_auth that may be what the server wants, and send something else than now."""
    if not isinstance(error, TokenRequestError) or not _doubts_client(error, answer):
        return []
    sent = _sent(grant)
    now = sent.pop(grant.client_auth, ("",))
    distinct = {what: name for name, what in sent.items() if what != now}
    # A password or a refresh token goes along, and servers count: only where it wasn't judged, and once more at most.
    most = len(distinct) if isinstance(grant, ClientCredentials) else int(error.error == "invalid_client")
    return list(distinct.values())[:most]


def _doubts_client(error: TokenRequestError, answer: TokenResponse) -> bool:
    """Whether a refusal may be about how the client proves itself: it comes from the server, and says nothing else.

    A web page, or plain text that is no 401, comes from a firewall; what says when to come back, from a server in
    trouble.
    """
    if error.status_code not in (400, 401, 403) or error.error in _NOT_OF_CLIENT or error.retry_after is not None:
        return False
    body = answer.body.strip()
    if body[:1] == b"<" or "html" in answer.headers.get("content-type", "").lower():
        return False
    is_form = re.match(rb"[\w.-]+=\S*\Z", body) is not None
    return error.error is not None or not body or body[:1] == b"{" or is_form or error.status_code == 401


def _sent(grant: Any) -> dict[str, tuple[str, ...]]:
    """How the client can prove itself, and what is sent then."""
    if grant.client_secret is None:
        return {}
    pair = (grant.client_id, resolve_secret("client_secret", grant.client_secret))
    sent = {"client_secret_basic_raw": pair} if ":" not in grant.client_id else {}
    encoded = {"client_secret_basic": tuple(quote(each, safe="") for each in pair)}
    # A secret in a URL is for nobody to try.
    post = {} if grant.encoding == "query" or grant.method == "GET" else {"client_secret_post": ("body", *pair)}
    return {**sent, **encoded, **post}


def shown(url: str, text: object) -> str:
    """*text* as one line, without the parts of *url* where secrets may stand."""
    parts = urlsplit(url)
    line = " ".join(str(text).split())
    for secret in filter(None, (parts.query, parts.netloc.rpartition("@")[0])):
        line = line.replace(secret, "...")
    return line
