"""What ``auth-plugins check`` says: steps, and for what fails the likely cause and the variable to change; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from ._checks import reveal
from ._env import Setting, configuration, settings
from ._errors import TokenRequestError
from ._grants import ApiKey, ClientCredentials
from ._message import one_line

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
        self.allowed_hosts: Sequence[str] | None = policy.get("allowed_hosts")
        self.allow_http: bool = policy.get("allow_http", False)
        self.timeout: float = policy.get("timeout", _TIMEOUT)
        self._prefix = prefix.removesuffix("_")

    def variable(self, option: str) -> str:
        """The name of the variable of an option."""
        name = option.upper()
        return f"{self._prefix}_{'BASE_URL' if self.provider and name == 'TOKEN_URL' else name}"

    def is_set(self, option: str) -> bool:
        """Whether the variable of an option is."""
        return any(each.name == self.variable(option) and not each.is_empty for each in self.settings)

    def credentials(self) -> str:
        """The variables that prove who asks."""
        return " and ".join(each.name for each in self.settings if _is_credential(each))


def _is_credential(setting: Setting) -> bool:
    return not setting.is_empty and setting.name.removesuffix("_FILE").endswith(_CREDENTIALS)


def refusal_advice(error: TokenRequestError, body: bytes, grant: Any, setup: Setup) -> Iterator[str]:
    """Advice for a token endpoint that refused; *body* is what it sent, and *grant* what was asked by."""
    status, code, variable = error.status_code or 0, error.error, setup.variable
    credentials = f"check {setup.credentials()}"
    other = "form" if grant.encoding == "json" else "json"
    encoding = f"if the server wants another body than {grant.encoding}: set {variable('encoding')}={other}"
    by_code = {
        "invalid_grant": credentials,
        "invalid_scope": f"set {variable('scope')} to what this client was given",
        "invalid_target": f"check {variable('audience')} and {variable('resource')}",
        "unauthorized_client": f"have the server's owner allow this client the grant {type(grant).__name__}",
        "unsupported_grant_type": encoding,
    }
    if status == 429 or status >= 500:  # noqa: PLR2004 - Too Many Requests; server errors
        rest = "later" if error.retry_after is None else f"in {error.retry_after:.0f} s"
        yield f"the server is in trouble or wants a rest: try again {rest}"
    elif code in by_code:
        yield by_code[code]
    elif status == 405:  # noqa: PLR2004 - Method Not Allowed
        method = "POST" if grant.method == "GET" else "GET"
        yield f"set {variable('method')}={method}, or check {variable('token_url')}"
    elif status < 400 or status == 404 or body.lstrip()[:1] == b"<":  # noqa: PLR2004 - no refusal; Not Found
        yield f"check that {variable('token_url')} leads to the token endpoint"
    elif status in (401, 403) or code == "invalid_client":
        yield credentials
    else:
        yield encoding
        yield f"check what else its documentation wants: {variable('client_auth')}, {variable('scope')}"
    if _doubts_client(error) and _is_plain(grant):
        yield "id and secret have no special characters: client_secret_basic and client_secret_basic_raw are one here"


def response_advice(status: int, error: str | None, setup: Setup) -> Iterator[str]:
    """Advice for what an API answered; *error* is what ``WWW-Authenticate`` calls it."""
    variable = setup.variable
    if status == 401 and isinstance(setup.grant, ApiKey):  # noqa: PLR2004 - Unauthorized
        yield f"check {setup.credentials()} and {variable('api_key_header')}"
    elif status == 403 or (status == 401 and error == "insufficient_scope"):  # noqa: PLR2004 - Forbidden; Unauthorized
        yield f"the token is known but lacks a right: set {variable('scope')}, or have the account given the role"
    elif status == 401:  # noqa: PLR2004 - Unauthorized
        yield f"the API does not take this token; check whom it is for: {variable('audience')}, {variable('resource')}"
        yield f"check what it allows, {variable('scope')}, and who issued it, {variable('token_url')}"
    elif status == 429 or status >= 500:  # noqa: PLR2004 - Too Many Requests; server errors
        yield "the API is in trouble or wants a rest: try again later"
    elif status >= 300:  # noqa: PLR2004 - a redirect that leads nowhere; client errors
        yield "check the URL: this is not about the token"


def others(error: Exception, grant: Any) -> list[str]:
    """The other values of client_auth that may be what the server wants, and send something else than now."""
    if not isinstance(error, TokenRequestError) or not _doubts_client(error):
        return []
    sent = _sent(grant)
    now = sent.pop(grant.client_auth, ("",))
    distinct = {what: name for name, what in sent.items() if what != now}
    # A password or a refresh token goes along, and servers count: only where it wasn't judged, and once more at most.
    most = len(distinct) if isinstance(grant, ClientCredentials) else int(error.error == "invalid_client")
    return list(distinct.values())[:most]


def _doubts_client(error: TokenRequestError) -> bool:
    """Whether a refusal may be about how the client proves itself."""
    return error.status_code in (400, 401, 403) and error.error not in KNOWN_CLIENT


def _sent(grant: Any) -> dict[str, tuple[str, ...]]:
    """How the client can prove itself, and what is sent then."""
    if grant.client_secret is None:
        return {}
    pair = (grant.client_id, reveal("client_secret", grant.client_secret))
    sent = {"client_secret_basic_raw": pair} if ":" not in grant.client_id else {}
    encoded = {"client_secret_basic": tuple(quote(each, safe="") for each in pair)}
    # A secret in a URL is for nobody to try.
    post = {} if grant.encoding == "query" or grant.method == "GET" else {"client_secret_post": ("body", *pair)}
    return {**sent, **encoded, **post}


def _is_plain(grant: Any) -> bool:
    """Whether Basic is the same, percent-encoded and as it is."""
    sent = _sent(grant)
    return "basic" in grant.client_auth and sent["client_secret_basic"] == sent.get("client_secret_basic_raw")


def shown(url: str, text: object) -> str:
    """*text* as one line, without the parts of *url* where secrets may stand."""
    parts = urlsplit(url)
    line = " ".join(str(text).split())
    for secret in filter(None, (parts.query, parts.netloc.rpartition("@")[0])):
        line = line.replace(secret, "...")
    return line
