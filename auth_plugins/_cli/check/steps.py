"""``auth-plugins check``: tries what is configured, step by step, and explains what fails.

No secret and no token is shown: secrets are taken out of texts of others, and a URL goes without query and user.
"""

import json
import sys
from collections.abc import Iterator, Sequence

import click

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.validation import resolve_secret
from auth_plugins._caches.listing import probe
from auth_plugins._caches.shared import shared_cache_for
from auth_plugins._cli.common import shown
from auth_plugins._environment.definitions import MAY_HOLD_SECRETS, SECRETS
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.advice import has_odd_ends

from .api import call
from .context import FAILED, GOOD, NOTE, Context, Step, context_of
from .token import describe, facts_of
from .token_request import fetch_token

#: The arguments of grants that a person is given, and copies.
_COPIED = ("client_id", "client_secret", "username", "password", "refresh_token", "scope", "value")
#: The value of ``ok`` in JSON.
_OK = {GOOD: True, FAILED: False, NOTE: None}


def run(prefix: str, url: str | None, *, try_others: bool, as_json: bool) -> int:
    """Try what the variables of *prefix* configure, and print each step, or one JSON object.

    :param url: an API to be tried as well; ``None``: none.
    :return: the exit status: 0; 1: there is no token, or a step failed; 2: a mistake in the configuration.
    """

    def may_try(ways: Sequence[str]) -> bool:
        if try_others or as_json or not (sys.stdin and sys.stdin.isatty()):  # stdin is None if it is closed
            return try_others
        return click.confirm(f"Try {' and '.join(ways)} as well, at the same token endpoint?", err=True)

    steps: list[Step] = []
    token = error = None
    try:
        context = context_of(prefix, may_try)
        for step in _steps(context, url):
            steps.append(step)
            if not as_json:
                _print(step)
        token = context.token_facts
    except ConfigurationError as problem:
        if not as_json:
            raise
        error = str(problem)
    status = 2 if error else int(token is None or any(step.state == FAILED for step in steps))
    if as_json:
        listed = [
            {"name": step.name, "ok": _OK[step.state], "detail": step.detail, "advice": step.advice} for step in steps
        ]
        report = {"ok": not status, "status": status, "prefix": prefix, "steps": listed, "token": token, "error": error}
        click.echo(json.dumps(report))
    return status


def _print(step: Step) -> None:
    lines = [f"{step.state:<8}{step.name}: {step.detail}", *(f"{'':<8}→ {advice}" for advice in step.advice)]
    # An arrow, or a character that a server sent, may be missing from the encoding of this output.
    encoding = sys.stdout.encoding or "utf-8"
    click.echo("\n".join(lines).encode(encoding, "replace").decode(encoding))


def _steps(context: Context, url: str | None) -> Iterator[Step]:
    yield from _check_variables(context)
    yield _check_grant(context)
    yield _check_cache(context)
    token = yield from fetch_token(context)
    if token is not None:
        context.token_facts = facts_of(token, context)
        yield from describe(token, context.token_facts, context)
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
        text += f" at {shown(grant.token_url, grant.token_url)}"
        for option in ("client_auth", "encoding", "method"):
            default = "" if option.upper() in context.variables.given else " (by default)"
            text += f", {option} {getattr(grant, option)}{default}"
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
        # A server that does not know AUTH quotes the password.
        return Step(FAILED, "cache", f"{cache!r}: {type(error).__name__}: {context.redacted(str(error))}", advice)
    return Step(GOOD, "cache", repr(cache))
