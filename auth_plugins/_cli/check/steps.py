"""The steps of ``auth-plugins check``: they try what is configured, and explain what fails; :mod:`.report` prints them.

No secret and no token is shown: secrets are taken out of texts of others, and a URL goes without query and user.
"""

from collections.abc import Iterator

from auth_plugins._base.validation import has_odd_ends, resolve_secret
from auth_plugins._caches.shared import shared_cache_for
from auth_plugins._cli.common import shown
from auth_plugins._cli.listing import explain_error
from auth_plugins._environment.definitions import MAY_HOLD_SECRETS, SECRETS
from auth_plugins._environment.successor import probe
from auth_plugins._grants.issuer import Issuer
from auth_plugins._grants.oauth import OAuthGrant

from .api import call
from .client_auth import describe_client_auth, describe_exchanged
from .context import FAILED, GOOD, NOTE, Context, Step
from .proof import describe_binding, describe_key
from .token import describe, facts_of
from .token_request import fetch_token

#: The arguments of grants that a person is given, and copies.
_COPIED = ("client_id", "client_secret", "username", "password", "refresh_token", "scope", "value")


def take_steps(context: Context, url: str | None) -> Iterator[Step]:
    """Yield each step as soon as it is taken.

    :param url: an API to be tried as well; ``None``: none.
    """
    yield from _check_variables(context)
    yield _check_grant(context)
    yield from describe_client_auth(context)
    yield from describe_exchanged(context)
    yield from describe_key(context)
    yield _check_cache(context)
    token = yield from fetch_token(context)
    if token is not None:
        context.token_facts = facts_of(token, context)
        yield from describe(token, context.token_facts, context)
        yield from describe_binding(token, context)
    if url is not None and token is not None:
        yield call(url, token, context)
    elif url is not None:
        yield Step(NOTE, "API", f"{shown(url, url)} not tried, as there is no token")


def _check_variables(context: Context) -> Iterator[Step]:
    """Name each variable, and those whose value has something at its ends that may have been copied along."""
    variables = context.variables
    for name in sorted(variables.given | variables.empty):
        is_file = name.endswith("_FILE")
        secret, file = " (a secret)" * (is_file or name in SECRETS), " and names a file" * is_file
        if name in variables.empty:
            yield Step(NOTE, "variable", f"{variables.full(name)} is empty, as if it were not set{secret}")
        else:
            secret = secret or " (which may hold secrets)" * (name in MAY_HOLD_SECRETS)
            yield Step(GOOD, "variable", f"{variables.full(name)} is set in the environment{file}{secret}")
    for name in _COPIED:
        value = getattr(context.grant, name, None)
        if has_odd_ends(resolve_secret(name, value) if callable(value) else value or ""):
            variable = context.variable("api_key" if name == "value" else name)
            oddity = "begins or ends with whitespace, an invisible character or a quote"
            yield Step(NOTE, "variable", f"{variable} {oddity}", "if that does not belong to it, remove it")


def _check_grant(context: Context) -> Step:
    """Describe the grant, with its defaults."""
    grant = context.grant
    text = type(grant).__name__ + (f" of the provider {context.provider}" if context.provider else "")
    if isinstance(grant, OAuthGrant):
        url = str(grant.token_url)
        text += f" at {'the issuer ' * isinstance(grant.token_url, Issuer)}{shown(url, url)}"
        for option in ("client_auth", "encoding", "method"):
            default = "" if option.upper() in context.variables.given else " (by default)"
            value = (option == "client_auth" and context.client_auth) or getattr(grant, option)
            text += f", {option} {getattr(value, 'name', value) or 'as the metadata say'}{default}"
    return Step(GOOD, "grant", text)


def _check_cache(context: Context) -> Step:
    """Try the cache. Requests go on without one that fails, so that only a warning would say so."""
    cache = context.policy["cache"]
    if cache is None:
        return Step(GOOD, "cache", "the memory of each process")
    try:
        probe(shared_cache_for(cache))
    except Exception as error:
        advice = f"requests go on without it, and each process fetches its own token: check {context.variable('cache')}"
        return Step(FAILED, "cache", f"{cache!r}: {explain_error(error, context.prefix)}", advice)
    return Step(GOOD, "cache", repr(cache))
