"""The first steps of ``auth-plugins check``: the variables, the grant and the cache that they configure."""

from __future__ import annotations

from collections.abc import Iterator

from auth_plugins._base.validation import resolve_secret
from auth_plugins._caches.listing import probe
from auth_plugins._caches.shared import shared_cache_for
from auth_plugins._environment.configuration import cache_secrets
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.advice import has_odd_ends
from auth_plugins._protocol.redaction import Redactor

from .context import Context
from .report import Step, shown

__all__ = ["check_cache", "check_grant", "check_variables"]

#: The arguments of grants that a person is given, and copies.
_COPIED = ("client_id", "client_secret", "username", "password", "refresh_token", "scope", "value")


def check_variables(context: Context) -> Iterator[Step]:
    """Name each variable, and those whose value has something at its ends that may have been copied along."""
    for each in context.settings:
        secret, file = " (a secret)" * each.is_secret, " and names a file" * each.is_file
        if each.is_empty:
            yield Step.note("variable", f"{each.name} is empty, as if it were not set{secret}")
        else:
            yield Step.good("variable", f"{each.name} is set in the environment{file}{secret}")
    for name in _COPIED:
        value = getattr(context.grant, name, None)
        if has_odd_ends(resolve_secret(name, value) if callable(value) else value or ""):
            variable = context.variable("api_key" if name == "value" else name)
            oddity = "begins or ends with whitespace, an invisible character or a quote"
            yield Step.note("variable", f"{variable} {oddity}", "if that does not belong to it, remove it")


def check_grant(context: Context) -> Step:
    """Describe the grant, with its defaults."""
    grant = context.grant
    text = type(grant).__name__ + (f" of the provider {context.provider}" if context.provider else "")
    if isinstance(grant, OAuthGrant):
        text += f" at {shown(grant.token_url, grant.token_url)}"
        for option in ("client_auth", "encoding", "method"):
            text += f", {option} {getattr(grant, option)}{'' if context.is_set(option) else ' (by default)'}"
    return Step.good("grant", text)


def check_cache(context: Context) -> Step:
    """Try the cache. Requests go on without one that fails, so that only a warning would say so."""
    cache = context.policy["cache"]
    if cache is None:
        return Step.good("cache", "the memory of each process")
    try:
        probe(shared_cache_for(cache))
    except Exception as error:
        advice = f"requests go on without it, and each process fetches its own token: check {context.variable('cache')}"
        text = Redactor(cache_secrets(context.prefix, context.environ))(
            str(error)
        )  # a server that does not know AUTH quotes the password
        return Step.failed("cache", f"{cache!r}: {type(error).__name__}: {text}", advice)
    return Step.good("cache", repr(cache))
