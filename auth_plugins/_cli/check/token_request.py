"""The token request of ``auth-plugins check``: as it is configured, and by other ways of client authentication."""

import contextlib
import email.utils
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from auth_plugins._adapters.sources import source_for
from auth_plugins._base.errors import (
    NOT_ASKED,
    REFUSED_REFRESH_TOKEN,
    TROUBLE,
    AuthError,
    ConfigurationError,
    TokenRequestError,
    TokenTransportError,
)
from auth_plugins._base.runtime import runtime
from auth_plugins._base.validation import ClientAuth
from auth_plugins._cli.configured import shared_entry
from auth_plugins._client_auth.assertions import ClientSecretJWT
from auth_plugins._client_auth.named import authentication_of
from auth_plugins._environment.successor import loses_successor
from auth_plugins._grants.client_credentials import ClientCredentials
from auth_plugins._grants.jwt_bearer import JWTBearer
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._grants.sign_in.interactive import InteractiveGrant
from auth_plugins._protocol.advice import advice_for
from auth_plugins._protocol.answers import read
from auth_plugins._protocol.messages import TokenRequest
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.retrying_sender import send_once
from auth_plugins._transports.reasons import certificate_advice

from .certificate import check_certificate
from .client_auth import describe_signed
from .context import FAILED, GOOD, NOTE, Context, Step
from .metadata import find_endpoints, resolved
from .proof import answered

#: Seconds by which two clocks may differ.
_SKEW = 30.0
#: The refusals by which a server says that it knows the client.
_KNOWN_CLIENT = frozenset(
    {"invalid_grant", "invalid_scope", "invalid_target", "unauthorized_client", "unsupported_grant_type"}
)
#: Those that are not about the client.
_NOT_OF_CLIENT = (
    _KNOWN_CLIENT | TROUBLE | REFUSED_REFRESH_TOKEN | {"access_denied", "invalid_dpop_proof", "use_dpop_nonce"}
)

_Steps = Generator[Step, None, Token | None]


def fetch_token(context: Context) -> _Steps:
    """Get a token, or explain why there is none."""
    grant = context.grant
    if not isinstance(grant, OAuthGrant):
        yield Step(NOTE, "token request", "an API key needs none")
        return grant.request_token(lambda request: _read(context, request))
    if not (yield from check_certificate(context)):
        yield Step(NOTE, "token request", "not tried, as the certificate cannot be used")
        return None
    if not (yield from find_endpoints(grant, context, _explained)):
        yield Step(NOTE, "token request", "not tried, as the token endpoint cannot be reached")
        return None
    yield from describe_signed(resolved(grant, context), context)
    if loss := loses_successor(grant, context.policy["cache"], context.variable("cache")):
        yield Step(NOTE, "token request", f"not tried: {loss[0]}", loss[1])
        return None
    if isinstance(grant, InteractiveGrant):
        grant = grant.with_prompt(None)  # a check opens no browser
    stored = _stored_token(grant, context)
    outcome = _attempt(context, grant, stored)
    if not isinstance(outcome, Token):
        yield Step(FAILED, "token request", *_explained(outcome, context))
    elif not context.answers:
        yield Step(GOOD, "token request", "none: the cache has a token")
    else:
        how = "by way of the cache" if _uses_cache(grant, stored) else "without any stored token"
        said = answered(context.answers)
        yield Step(GOOD, "token request", f"answered {said} to {context.library.__name__}, asked {how}")
    if context.answers:
        yield _compare_clocks(context)
    return outcome if isinstance(outcome, Token) else (yield from _try_others(outcome, grant, context))


def _attempt(context: Context, grant: OAuthGrant, stored: Token | None) -> Token | AuthError:
    """Send one token request as requests would, but without a token from memory or cache.

    :param stored: the token of *grant* in the shared cache.
    """
    context.answers.clear()
    try:
        if not _uses_cache(grant, stored):
            # Without a TokenSource, which would retry: there may be a password in the request.
            return resolved(grant, context).request_token(lambda request: _read(context, request))
        options: Any = {name: context.policy[name] for name in ("allow_http", "cache", "timeout")}
        source = source_for(grant, context.send, **options)
        if stored and grant.is_repeatable:
            source.reject(stored)  # which leaves it in the cache, should there be no other
        return source.token()
    except (TokenRequestError, TokenTransportError) as error:
        return error


def _uses_cache(grant: OAuthGrant, stored: Token | None) -> bool:
    """Return whether a refresh token is sent: its successor must be stored where the next process finds it.

    A refresh token of the cache is used as requests use it: they would fail where a new token request works.
    """
    return not grant.is_repeatable or (stored is not None and stored.refresh_token is not None)


def _stored_token(grant: OAuthGrant, context: Context) -> Token | None:
    """Return the token of *grant* in the shared cache, which may have expired; ``None``: there is none."""
    cache = context.policy["cache"]
    entry = None if cache is None else shared_entry(grant, cache)
    return entry.read() if entry else None


def _read(context: Context, request: TokenRequest) -> Token:
    now, deadline = runtime.clock.time(), runtime.clock.monotonic() + context.policy["timeout"]
    sent, response = send_once(context.send, request, deadline)
    token = read(sent, response, now)
    if sent.proof is not None:
        sent.proof.bind(token.access_token)
    return token


def _explained(error: AuthError, context: Context) -> list[str]:
    """Return what happened, and what to do."""
    if isinstance(error, TokenRequestError):
        # The client of a provider is an argument of it, where it has one.
        ignored = ("no_client", "no_secret") if context.provider else ()
        trouble = " ".join(each for each in error.trouble.split() if each not in ignored)
        status = error.status_code or 0
        if trouble == NOT_ASKED:
            return ["a person has to sign in first; a check asks no one to", *advice_for(trouble, context.variable)]
        is_in_success = error.error is not None and 200 <= status < 300
        problem = error.problem + f": an error with {status}, the status of a success" * is_in_success
        return [problem, *filter(None, advice_for(trouble, context.variable) or [error.advice])]
    variable = context.variable("token_url")
    if isinstance(error, TokenTransportError) and error.trouble == "client_certificate":
        return [error.problem, error.advice]
    if isinstance(error, TokenTransportError) and error.trouble == "certificate":
        return [
            error.problem,
            certificate_advice(
                error.verify_code, context.library.__name__, variable, context.tls.ca, context.variable("ca_bundle")
            ),
        ]
    return [error.problem, f"check {variable}, the network and its proxies, and {context.variable('timeout')}"]


def _compare_clocks(context: Context) -> Step:
    answer = context.answers[-1]
    try:
        date = email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return Step(NOTE, "clock", "the answer has no Date to compare with")
    ahead = answer.received_at - date
    if abs(ahead) <= _SKEW:
        return Step(GOOD, "clock", f"within {_SKEW:.0f} s of the server's")
    way, when = ("ahead of", "early") if ahead > 0 else ("behind", "late")
    what = f"this machine's is {abs(ahead):.0f} s {way} the server's, so that tokens may seem to end {when}"
    return Step(NOTE, "clock", what, "set it, for example by NTP; if it is right, inform the server's owner")


def _try_others(error: AuthError, grant: OAuthGrant, context: Context) -> _Steps:
    """Try other ways of client authentication, where the refusal may be about that."""
    if grant.is_interactive:
        return None  # only a login shows what the server expects
    ways, variable = _other_ways(error, resolved(grant, context)), context.variable("client_auth")
    if not grant.is_repeatable and _stored_token(grant, context):
        return None  # the configured refresh token was used: another client_auth would not find its successor
    if ways and not context.may_try(ways):
        advice = f"have them tried by --try-others, or set {variable} to one of them"
        yield Step(NOTE, "other client_auth", f"not tried: {', '.join(ways)}", advice)
        return None
    for way in ways:
        changed = replace(grant, client_auth=way).with_ca_bundle(context.tls.ca)
        outcome = _attempt(context, changed, _stored_token(changed, context))
        works = f"{way} works: set {variable}={way}"
        if isinstance(outcome, Token):
            answers = context.answers
            what = f"answered {answers[-1].status}" if answers else "none: the cache has a token"
            yield Step(GOOD, f"try {way}", what, works)
            return outcome
        is_known = isinstance(outcome, TokenRequestError) and outcome.error in _KNOWN_CLIENT
        detail, *advice_of_it = _explained(outcome, context)
        yield Step(FAILED, f"try {way}", detail, *([works, *advice_of_it] if is_known else []))
        if is_known:
            break
    return None


def _other_ways(error: AuthError, grant: OAuthGrant) -> list[ClientAuth]:
    """Return the other values of client_auth that the server may expect, and that send something else."""
    if grant.client_secret is None or not isinstance(error, TokenRequestError) or not _doubts_client(error):
        return []
    others: tuple[ClientAuth, ...] = (
        "client_secret_basic", "client_secret_basic_raw", "client_secret_post", "client_secret_jwt"
    )  # fmt: skip
    ways: list[ClientAuth] = []
    requests = [_sent(grant)]
    for way in others:
        if way == "client_secret_post" and (grant.encoding == "query" or grant.method == "GET"):
            continue  # a secret is not put into a URL to see what happens
        if way == "client_secret_jwt" and isinstance(authentication_of(grant.client_auth), ClientSecretJWT):
            continue  # no two assertions are alike
        with contextlib.suppress(ConfigurationError):  # an id with a colon, as Basic without encoding
            request = _sent(replace(grant, client_auth=way))
            if request not in requests:
                ways.append(way)
                requests.append(request)
    # A password or a refresh token is sent along, and servers count: only where it was not judged, and only once more.
    most = len(ways) if isinstance(grant, ClientCredentials) else int(error.error == "invalid_client")
    return ways[:most]


def _doubts_client(error: TokenRequestError) -> bool:
    """Return whether a refusal may be about client authentication.

    A web page, and plain text unless with a 401, is a firewall's; a ``Retry-After`` is that of a server in trouble.
    """
    if error.status_code not in (400, 401, 403) or error.error in _NOT_OF_CLIENT or error.retry_after is not None:
        return False
    return error._body_kind in ("json", "form", "empty") or (error._body_kind == "text" and error.status_code == 401)


def _sent(grant: OAuthGrant) -> tuple[str | None, bytes]:
    """Return what *grant* would send, but for its assertion."""
    requests: list[TokenRequest] = []
    if isinstance(grant, JWTBearer):
        grant = replace(grant, assertion="-")  # no two that a key signs are alike
    grant.request_token(lambda request: requests.append(request) or Token(access_token="none"))  # type: ignore[func-returns-value]
    return requests[0].headers.get("Authorization"), requests[0].body
