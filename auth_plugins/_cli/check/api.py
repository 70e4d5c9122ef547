"""The last step of ``auth-plugins check``: one GET to an API with the token."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from auth_plugins._adapters.graphql import graphql_unauthenticated
from auth_plugins._adapters.refusals import Verdict, verdict_on
from auth_plugins._adapters.rules import RefusalRules
from auth_plugins._base.hosts import AllowedHosts
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._cli.common import shown
from auth_plugins._grants.api_key import ApiKey
from auth_plugins._protocol.redaction import Redactor, secret_words, without_tokens
from auth_plugins._protocol.tokens import Token

from .api_answer import ApiAnswer, complaint, get
from .context import FAILED, GOOD, NOTE, Context, Step
from .network import origin, reason, refused_in_clear
from .proof import PresentedToken, advice_on_proof

_CHALLENGE = re.compile(r'\b(error|error_description|scope)="([^"]*)"')
#: Statuses that no standard has, by which servers say that a token or session has expired.
_EXPIRED = (419, 440, 498)


def call(url: str, token: Token, context: Context) -> Step:
    """Send one GET to *url*."""
    place = shown(url, url)
    # An API may quote them.
    context.redactors.append(Redactor(word for pair in parse_qsl(urlsplit(url).query) for word in secret_words(*pair)))
    hosts = context.policy["allowed_hosts"]
    if hosts is not None and origin(url) not in AllowedHosts(hosts):
        variable = context.variable("allowed_hosts")
        return Step(FAILED, "API", f"{place} gets no token, as {variable} leaves it out", f"add its host to {variable}")
    if unsafe := refused_in_clear("API", url, context):
        return unsafe
    # As a constant key: a refusal is to be shown, and another token request would send a password again.
    query = context.grant.query_parameter()
    prover = context.grant.prover()
    key = (
        ApiKey(token.access_token, *(context.grant.header_and_scheme() if query is None else ()), query=query)
        if prover is None
        else PresentedToken(token, prover)
    )
    options = {name: context.policy.get(name) for name in ("header", "scheme", "query")}
    auth = context.adapter(
        key, cache=MemoryCache(), allowed_hosts=hosts, allow_http=context.policy["allow_http"], **options
    )
    try:
        answer = get(url, auth, context.library)
    except Exception as error:
        problem = shown(url, f"{url} did not answer ({reason(error)})")
        return Step(FAILED, "API", context.redacted(problem), "check the URL, the network and its proxies")
    status, location = answer.status_code, answer.headers.get("location")
    if location and 300 <= status < 400:
        return _redirected(place, url, urljoin(url, location), context)
    return _judged(place, answer, context)


def _redirected(place: str, url: str, target: str, context: Context) -> Step:
    try:
        stays, to = origin(target) == origin(url), context.redacted(shown(target, target))
    except (KeyError, ValueError):  # another scheme than HTTP's, or no URL at all
        stays, to = False, "what is no address"
    if stays:
        return Step(NOTE, "API", f"{place} redirects to {to}", "try that address")
    advice = "try the final address, if that is an API; it may be a page to sign in at"
    return Step(FAILED, "API", f"{place} redirects to {to}, where no token goes", advice)


def _judged(place: str, answer: ApiAnswer, context: Context) -> Step:
    """Return the step for what the API says: by its status, its challenge (RFC 6750 §3.1) or its body."""

    def clean(text: str) -> str:
        return without_tokens(context.redacted(text))

    status = answer.status_code
    words = dict(_CHALLENGE.findall(answer.headers.get("www-authenticate", "")))
    body = "" if "error" in words or status == 429 else complaint(answer, clean)
    said = ", ".join([*(f"{name}: {clean(text)}" for name, text in words.items()), *filter(None, [body])])
    advice = [*_advice(answer, words.get("error"), body, context)]
    state = GOOD if 200 <= status < 300 and not advice else FAILED
    return Step(state, "API", f"{place} answered {status}" + (f" ({said})" if said else ""), *advice)


def _advice(answer: ApiAnswer, error: str | None, body: str, context: Context) -> Iterator[str]:
    """Yield advice for an API's answer.

    :param error: that of the challenge; ``None``: there is none.
    :param body: what the body says of a token that is of no use.
    """
    status, refused = answer.status_code, tuple(context.policy.get("refused") or ())
    verdict = verdict_on(answer, RefusalRules(refused))
    if error in ("invalid_dpop_proof", "use_dpop_nonce") and status >= 400:
        yield advice_on_proof(context)
    elif error == "insufficient_scope" and status >= 400:
        yield _about_rights(context)
    elif verdict is Verdict.REFUSED:
        yield from _about_token(context)
    elif body or status in _EXPIRED:
        yield from _how_to_name_it(answer, refused, context)
        yield from _about_token(context)
    elif verdict is Verdict.DOUBTED:
        replaced = (
            f"a request gets another token for it, as {context.variable('refused')} says; if that is refused too, "
        )
        yield _about_rights(context, replaced)
    elif status == 403:
        yield _about_rights(context)
    elif status == 429 or status >= 500:
        yield "the API is in trouble or asks for a pause: try again later"
    elif status >= 300:
        yield "check the URL: this is not about the token"


def _how_to_name_it(answer: ApiAnswer, refused: tuple[Any, ...], context: Context) -> Iterator[str]:
    """Yield the setting by which such an answer has a token replaced, as a 401 has; none if it is set."""
    status, what = answer.status_code, "for requests to replace a token that expired"
    if status in refused:
        return
    if graphql_unauthenticated(answer):
        yield f"{what}, give refused=graphql_unauthenticated to OAuth2Auth in code: no variable can"
    elif status < 400:
        yield f"{what}, give a function that knows this body as refused= to OAuth2Auth in code: no variable can"
    else:
        statuses = " ".join(map(str, (*refused, status)))
        yield f"{what}, set {context.variable('refused')}={repr(statuses) if refused else statuses}"


def _about_rights(context: Context, condition: str = "") -> str:
    scope = context.variable("scope")
    return f"{condition}the token is known but lacks a right: set {scope}, or have the account given the role"


def _about_token(context: Context) -> Iterator[str]:
    variable = context.variable
    if isinstance(context.grant, ApiKey):
        place = "api_key_header" if context.grant.query is None else "api_key_query"
        yield f"check {variable('api_key')} and {variable(place)}"
        return
    yield f"the API rejects this token; check whom it is for: {variable('audience')}, {variable('resource')}"
    yield f"check what it allows, {variable('scope')}, and who issued it, {variable('token_url')}"
