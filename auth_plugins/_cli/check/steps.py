"""``auth-plugins check``: what is configured, tried step by step, and what fails explained; prints nothing.

No secret or token is told. What others wrote is scrubbed; a URL goes without query and user.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from auth_plugins._base.errors import TokenRequestError, TokenTransportError
from auth_plugins._base.hosts import AllowedHosts
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.shared import shared_cache_for
from auth_plugins._cli.rotation import loses_successor, stored_token
from auth_plugins._grants.oauth import ApiKey, OAuthGrant
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import Redactor, TokenRequest, TokenResponse
from auth_plugins._protocol.tokens import Token, jwt_claims
from auth_plugins._source.source import source_for
from auth_plugins._transports.base import default_transport
from auth_plugins._transports.reasons import certificate_advice

from .advice import KNOWN_CLIENT, Setup, Step, others, refusal_advice, response_advice, shown
from .pasted import slips
from .probe import bounded, origin, reach, refused_in_clear

__all__ = ["Report", "Step", "check", "shown"]

#: Seconds by which two clocks may differ.
_SKEW = 30.0
#: Seconds that an API may take to answer.
_API_TIMEOUT = 60.0
#: The claims that are told: registered ones (RFC 7519 §4.1, RFC 9068 §2.2), and what servers call the same.
_CLAIMS = ("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "azp", "scope", "scp", "roles")
#: Characters of a claim that are told.
_LONGEST_CLAIM = 500
_CHALLENGE = re.compile(r'\b(error|error_description|scope)="([^"]*)"')
_NO_ANSWER = TokenResponse(status=0, headers={}, body=b"", received_at=0.0)

_T = TypeVar("_T")
#: Steps, and what came of them.
_Steps = Generator[Step, None, _T]
_Outcome = Token | TokenRequestError | TokenTransportError


@dataclass(frozen=True)
class Report:
    """What was found."""

    prefix: str
    steps: Sequence[Step]
    #: What the token says of itself; ``None``: there is none.
    token: Mapping[str, Any] | None = None
    #: What is wrong with the configuration.
    error: str | None = None

    @property
    def status(self) -> int:
        """The exit status: 0; 1: there is no token, or a step failed; 2: configuration."""
        if self.error is not None:
            return 2
        return 1 if self.token is None or any(step.ok is False for step in self.steps) else 0

    def members(self) -> dict[str, Any]:
        """The whole of it, as JSON has it."""
        return {"ok": self.status == 0, "status": self.status, **asdict(self)}


def check(
    prefix: str,
    environ: Mapping[str, str],
    url: str | None,
    *,
    library: Any,
    adapter: Callable[..., Any],
    may_try: Callable[[Sequence[str]], bool],
    tell: Callable[[Step], None],
) -> Report:
    """Try what the variables of *prefix* configure.

    :param url: an API to be tried as well.
    :param library: requests, httpx2 or httpx; *adapter*: its ``OAuth2Auth``.
    :param may_try: asked, where the server refuses the client, whether it may prove itself in these other ways too.
    :param tell: is told each step as soon as it is taken.
    :raises ConfigurationError: it cannot work.
    """
    run, steps = _Run(Setup(prefix, environ), library, adapter, may_try), []
    for step in run.steps(url):
        steps.append(step)
        tell(step)
    return Report(prefix, tuple(steps), run.facts)


class _Run:
    """One check, and what it has seen so far."""

    def __init__(
        self, setup: Setup, library: Any, adapter: Callable[..., Any], may_try: Callable[[Sequence[str]], bool]
    ) -> None:
        self._setup, self._grant, self._library, self._adapter = setup, setup.grant, library, adapter
        self._may_try = may_try
        self._transport = default_transport()
        #: What the token endpoint answered last.
        self._answer = _NO_ANSWER
        #: The status of each answer of the token endpoint to this grant.
        self._statuses: list[int] = []
        # A secret that cannot be read is found before anybody is asked.
        self._scrubbers = [Redactor(self._grant.secrets())]
        #: Whether the grant was asked for as requests do it, with what the cache holds.
        self._by_cache = False
        #: What the token says of itself.
        self.facts: Mapping[str, Any] | None = None

    def steps(self, url: str | None) -> Iterator[Step]:
        """Take all steps, the one to the API at *url* as well."""
        yield from self._configured()
        token = yield from self._obtained()
        if token is not None:
            yield from self._described(token)
        if url is not None and token is not None:
            yield self._called(url, token)
        elif url is not None:
            yield Step.told("API", f"{shown(url, url)} not tried, as there is no token")

    def _configured(self) -> Iterator[Step]:
        setup, grant = self._setup, self._grant
        for each in setup.settings:
            secret, file = " (a secret)" * each.is_secret, " and names a file" * each.is_file
            if each.is_empty:
                yield Step.told("variable", f"{each.name} is empty, as if it were not set{secret}")
            else:
                yield Step.good("variable", f"{each.name} is set in the environment{file}{secret}")
        for argument, oddity in slips(grant):
            variable = setup.variable("api_key" if argument == "value" else argument)
            yield Step.told("variable", f"{variable} {oddity}", "if that does not belong to it, remove it")
        made = type(grant).__name__ + (f" of the provider {setup.provider}" if setup.provider else "")
        if isinstance(grant, OAuthGrant):
            made += f" at {shown(grant.token_url, grant.token_url)}"
            for option in ("client_auth", "encoding", "method"):
                made += f", {option} {getattr(grant, option)}{'' if setup.is_set(option) else ' (by default)'}"
        yield Step.good("grant", made)
        yield self._cached()

    def _cached(self) -> Step:
        """Whether tokens can be shared: a request would not fail for it, and nobody would notice."""
        cache = self._setup.cache
        if cache is None:
            return Step.good("cache", "the memory of each process")
        try:
            shared_cache_for(cache).probe()
        except Exception as error:
            variable = self._setup.variable("cache")
            advice = f"requests go on without it, and each process asks for its own token: check {variable}"
            said = Redactor(self._setup.cache_secrets)(str(error))  # a server that knows no AUTH quotes the password
            return Step.failed("cache", f"{cache!r}: {type(error).__name__}: {said}", advice)
        return Step.good("cache", repr(cache))

    def _obtained(self) -> _Steps[Token | None]:
        """Get a token, or explain why there is none."""
        setup, grant, last = self._setup, self._grant, None
        if not isinstance(grant, OAuthGrant):
            yield Step.told("token request", "an API key needs none")
            return grant.request_token(self._ask)
        for last in reach(grant.token_url, self._library, setup):
            yield last
        if last is not None and last.ok is False:
            yield Step.told("token request", "not tried, as the token endpoint cannot be reached")
            return None
        if loss := loses_successor(grant, setup.cache, setup.variable("cache")):
            yield Step.told("token request", f"not tried: {loss[0]}", loss[1])
            return None
        outcome = self._try(grant)
        yield self._requested(outcome, grant)
        if self._answer.status:
            yield self._clocks()
        return outcome if isinstance(outcome, Token) else (yield from self._obtained_otherwise(outcome, grant))

    def _requested(self, outcome: _Outcome, grant: OAuthGrant) -> Step:
        if not isinstance(outcome, Token):
            return Step.failed("token request", *self._explained(outcome, grant))
        if not self._answer.status:
            return Step.good("token request", "none: the cache has a token")
        how = "by way of the cache" if self._by_cache else "afresh, whatever memory and cache hold"
        answered = ", then ".join(map(str, self._statuses))
        return Step.good("token request", f"answered {answered} to {self._library.__name__}, asked {how}")

    def _obtained_otherwise(self, error: Exception, grant: OAuthGrant) -> _Steps[Token | None]:
        """Have the client prove itself in another way, where that may be what is wrong."""
        ways, variable = others(error, self._answer, grant), self._setup.variable("client_auth")
        if not grant.is_repeatable and stored_token(grant, self._setup.cache):
            ways = []  # the refresh token that is configured was used: another client_auth would not find its successor
        if ways and not self._may_try(ways):
            advice = f"have them tried by --try-others, or set {variable} to one of them"
            yield Step.told("other client_auth", f"not tried: {', '.join(ways)}", advice)
            return None
        for way in ways:
            outcome, works = self._try(replace(grant, client_auth=way)), f"{way} works: set {variable}={way}"
            if isinstance(outcome, Token):
                yield Step.good(f"try {way}", f"answered {self._answer.status}", works)
                return outcome
            detail, *advices = self._explained(outcome, grant)
            is_known = isinstance(outcome, TokenRequestError) and outcome.error in KNOWN_CLIENT
            yield Step.failed(f"try {way}", detail, *([works, *advices] if is_known else []))
            if is_known:
                break
        return None

    def _try(self, grant: OAuthGrant) -> _Outcome:
        setup, self._statuses = self._setup, []
        try:
            stored = stored_token(grant, setup.cache) if grant.is_repeatable else None
            self._by_cache = not grant.is_repeatable or bool(stored and stored.refresh_token)
            if not self._by_cache:
                # By no TokenSource: a request that fails is sent once, as there may be a password in it.
                return grant.request_token(self._ask)
            # What comes of a refresh token belongs where the next process finds it. One that the cache holds is used as
            # requests use it: they would fail where a new token request works.
            source = source_for(
                grant, self._send, allow_http=setup.allow_http, cache=setup.cache, timeout=setup.timeout
            )
            if stored:
                source.invalidate(stored)
            return source.token()
        except (TokenRequestError, TokenTransportError) as error:
            return error

    def _ask(self, request: TokenRequest) -> Token:
        now = time.time()
        return read(request, self._send(request, self._setup.timeout), now)

    def _send(self, request: TokenRequest, timeout: float) -> TokenResponse:
        self._scrubbers.append(request.redact)
        self._answer = _NO_ANSWER
        self._answer = self._transport(request, timeout)
        self._statuses.append(self._answer.status)
        return self._answer

    def _explained(self, error: Exception, grant: OAuthGrant) -> list[str]:
        """What happened, and what to do."""
        setup, what = self._setup, str(error).rpartition("; ")[0]
        if isinstance(error, TokenRequestError):
            return [what, *refusal_advice(error, self._answer, grant, setup)]
        if isinstance(error, TokenTransportError) and error._kind == "certificate":
            variable = setup.variable("token_url")
            return [what, certificate_advice(error._verify_code, self._library.__name__, variable)]
        return [
            what,
            f"check {setup.variable('token_url')}, the network and its proxies, and {setup.variable('timeout')}",
        ]

    def _clocks(self) -> Step:
        try:
            told = email.utils.parsedate_to_datetime(self._answer.headers["date"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            return Step.told("clock", "the answer has no Date to compare with")
        ahead = self._answer.received_at - told
        if abs(ahead) <= _SKEW:
            return Step.good("clock", f"within {_SKEW:.0f} s of the server's")
        way, when = ("ahead of", "early") if ahead > 0 else ("behind", "late")
        what = f"this machine's is {abs(ahead):.0f} s {way} the server's, so that tokens may seem to end {when}"
        return Step.told("clock", what, "set it, by NTP for one; if it is right, tell the server's owner")

    def _described(self, token: Token) -> Iterator[Step]:
        """Tell what the token is, but for itself."""
        hidden = [token.access_token, *token.access_token.split("."), token.refresh_token or ""]
        self._scrubbers.append(Redactor(hidden))
        left = None if token.expires_at is None else token.expires_at - time.time()
        claims = {name: self._clean(token.claims[name]) for name in _CLAIMS if name in token.claims}
        self.facts = {
            "token_type": self._scrubbed(token.token_type) or None,
            "expires_at": token.expires_at,
            "expires_in": left,
            "scope": None if token.scope is None else self._scrubbed(token.scope),
            "refresh_token": token.refresh_token is not None,
            "claims": claims,
        }
        ends = "no end told"
        if left is not None:
            ends = f"ends in {left:.0f} s, at {datetime.fromtimestamp(time.time() + left, UTC):%Y-%m-%d %H:%M:%S} UTC"
        scope = "" if token.scope is None else f", scope {self.facts['scope']}"
        renewal = "a refresh token" if token.refresh_token else "no refresh token"
        what = f"{self.facts['token_type'] or 'a key'}, {ends}{scope}, {renewal}"
        if left is not None and left <= 0:
            yield Step.failed(
                "token", what, "it had ended before it came: compare the clocks, or tell the server's owner"
            )
        else:
            yield Step.good("token", what)
        yield from self._scopes(token)
        if token.claims:
            yield self._claims(token, claims)

    def _scopes(self, token: Token) -> Iterator[Step]:
        asked = set(str(getattr(self._grant, "scope", None) or "").split())
        granted = asked if token.scope is None else set(token.scope.split())
        if asked and asked != granted:
            lacking, more = (self._scrubbed(" ".join(sorted(some))) for some in (asked - granted, granted - asked))
            what = "; ".join([f"not granted: {lacking}"] * bool(lacking) + [f"granted besides: {more}"] * bool(more))
            yield Step.told("scope", what, f"change {self._setup.variable('scope')}, or have the client given it")

    def _claims(self, token: Token, claims: Mapping[str, Any]) -> Step:
        header = token.access_token.partition(".")[0]
        named = {
            "alg": self._clean((jwt_claims(f"{header}.{header}.") or {}).get("alg")),
            **claims,
        }  # read as a payload
        what = ", ".join(f"{name} {json.dumps(claim)}" for name, claim in named.items())
        begins = token.claims.get("nbf")
        if isinstance(begins, (int, float)) and begins > time.time() + 1:
            return Step.told("JWT", what, "by this machine's clock it is not good yet: compare the clocks")
        return Step.good("JWT", what)

    def _called(self, url: str, token: Token) -> Step:
        """Send one GET to an API."""
        setup, place = self._setup, shown(url, url)
        if setup.allowed_hosts is not None and origin(url) not in AllowedHosts(setup.allowed_hosts):
            variable = setup.variable("allowed_hosts")
            return Step.failed(
                "API", f"{place} gets no token, as {variable} leaves it out", f"add its host to {variable}"
            )
        if unsafe := refused_in_clear("API", urlsplit(url), setup):
            return unsafe
        # As a constant key: a 401 is to be seen, and to ask for another token would send a password again.
        key = ApiKey(token.access_token, *self._grant.header_and_scheme())
        auth = self._adapter(key, cache=MemoryCache(), allowed_hosts=setup.allowed_hosts, allow_http=setup.allow_http)
        try:
            response = bounded(lambda: self._got(url, auth), _API_TIMEOUT)
        except Exception as error:
            what = self._scrubbed(shown(url, f"{url} did not answer ({type(error).__name__}: {error})"))
            return Step.failed("API", what, "check the URL, the network and its proxies")
        return self._judged(place, url, response)

    def _got(self, url: str, auth: Any) -> Any:
        """Status and headers, which say what there is to say: no body is waited for, and no redirect followed."""
        if self._library.__name__ == "requests":
            options = {"stream": True, "allow_redirects": False}
            with self._library.get(url, auth=auth, timeout=_API_TIMEOUT, **options) as response:
                return response
        with self._library.stream("GET", url, auth=auth, timeout=_API_TIMEOUT) as response:
            return response

    def _judged(self, place: str, url: str, response: Any) -> Step:
        status, location = response.status_code, response.headers.get("location")
        said = dict(_CHALLENGE.findall(response.headers.get("www-authenticate", "")))
        words = f" ({', '.join(f'{name}: {self._scrubbed(text)}' for name, text in said.items())})" if said else ""
        if location and 300 <= status < 400:
            return self._redirected(place, url, urljoin(url, location))
        made = Step.good if 200 <= status < 300 else Step.failed
        return made(
            "API", f"{place} answered {status}{words}", *response_advice(status, said.get("error"), self._setup)
        )

    def _redirected(self, place: str, url: str, target: str) -> Step:
        try:
            stays, to = origin(target) == origin(url), self._scrubbed(shown(target, target))
        except (KeyError, ValueError):  # of no scheme of HTTP's, or no URL at all
            stays, to = False, "what is no address"
        if stays:
            return Step.told("API", f"{place} redirects to {to}", "try that address")
        advice = "try the final address, if that is an API; it may be a page to sign in at"
        return Step.failed("API", f"{place} redirects to {to}, where no token goes", advice)

    def _scrubbed(self, text: str) -> str:
        """What others wrote, without secrets."""
        for redact in self._scrubbers:
            text = redact(text)
        return text

    def _clean(self, claim: Any) -> Any:
        """A claim, if no secret is in it; one that is long, or no JSON, as the beginning of its text."""
        text = json.dumps(claim, ensure_ascii=False)
        if self._scrubbed(text) != text:
            return "***"
        # Python takes NaN and Infinity for JSON, and others don't.
        is_plain = len(text) <= _LONGEST_CLAIM and not re.search(r"\b(NaN|Infinity)\b", text)
        return claim if is_plain else text[:_LONGEST_CLAIM]
