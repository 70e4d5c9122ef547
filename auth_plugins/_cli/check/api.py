"""The last step of ``auth-plugins check``: one GET to an API with the token."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

from auth_plugins._base.hosts import AllowedHosts
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._cli.common import API_TIMEOUT, shown
from auth_plugins._grants.api_key import ApiKey
from auth_plugins._protocol.redaction import without_tokens
from auth_plugins._protocol.tokens import Token

from .context import FAILED, GOOD, NOTE, Context, Step
from .network import bounded, origin, reason, refused_in_clear

_CHALLENGE = re.compile(r'\b(error|error_description|scope)="([^"]*)"')


def call(url: str, token: Token, context: Context) -> Step:
    """Send one GET to *url*."""
    place = shown(url, url)
    hosts = context.policy["allowed_hosts"]
    if hosts is not None and origin(url) not in AllowedHosts(hosts):
        variable = context.variable("allowed_hosts")
        return Step(FAILED, "API", f"{place} gets no token, as {variable} leaves it out", f"add its host to {variable}")
    if unsafe := refused_in_clear("API", url, context):
        return unsafe
    # As a constant key: a 401 is to be shown, and another token request would send a password again.
    query = context.grant.query_parameter()
    key = ApiKey(token.access_token, *(context.grant.header_and_scheme() if query is None else ()), query=query)
    options = {name: context.policy.get(name) for name in ("header", "scheme", "query")}
    auth = context.adapter(
        key, cache=MemoryCache(), allowed_hosts=hosts, allow_http=context.policy["allow_http"], **options
    )
    try:
        response = bounded(lambda: _get(url, auth, context.library), API_TIMEOUT)
    except Exception as error:
        problem = shown(url, f"{url} did not answer ({reason(error)})")
        return Step(FAILED, "API", context.redacted(problem), "check the URL, the network and its proxies")
    status, location = response.status_code, response.headers.get("location")
    if location and 300 <= status < 400:
        return _redirected(place, url, urljoin(url, location), context)
    words = dict(_CHALLENGE.findall(response.headers.get("www-authenticate", "")))
    said = ", ".join(f"{name}: {without_tokens(context.redacted(text))}" for name, text in words.items())
    state = GOOD if 200 <= status < 300 else FAILED
    detail = f"{place} answered {status}" + (f" ({said})" if said else "")
    return Step(state, "API", detail, *_advice(status, words.get("error"), context))


def _get(url: str, auth: Any, library: Any) -> Any:
    """Return status and headers: no body is waited for, and no redirect is followed."""
    if library.__name__ == "requests":
        with library.get(url, auth=auth, timeout=API_TIMEOUT, stream=True, allow_redirects=False) as response:
            return response
    with library.stream("GET", url, auth=auth, timeout=API_TIMEOUT) as response:
        return response


def _redirected(place: str, url: str, target: str, context: Context) -> Step:
    try:
        stays, to = origin(target) == origin(url), context.redacted(shown(target, target))
    except (KeyError, ValueError):  # another scheme than HTTP's, or no URL at all
        stays, to = False, "what is no address"
    if stays:
        return Step(NOTE, "API", f"{place} redirects to {to}", "try that address")
    advice = "try the final address, if that is an API; it may be a page to sign in at"
    return Step(FAILED, "API", f"{place} redirects to {to}, where no token goes", advice)


def _advice(status: int, error: str | None, context: Context) -> Iterator[str]:
    """Yield advice for an API's answer; *error* is that of ``WWW-Authenticate`` (RFC 6750 §3.1)."""
    variable = context.variable
    if status == 401 and isinstance(context.grant, ApiKey):
        place = "api_key_header" if context.grant.query is None else "api_key_query"
        yield f"check {variable('api_key')} and {variable(place)}"
    elif status == 403 or (status == 401 and error == "insufficient_scope"):
        yield f"the token is known but lacks a right: set {variable('scope')}, or have the account given the role"
    elif status == 401:
        yield f"the API rejects this token; check whom it is for: {variable('audience')}, {variable('resource')}"
        yield f"check what it allows, {variable('scope')}, and who issued it, {variable('token_url')}"
    elif status == 429 or status >= 500:
        yield "the API is in trouble or asks for a pause: try again later"
    elif status >= 300:
        yield "check the URL: this is not about the token"
