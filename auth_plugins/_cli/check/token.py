"""Describes the token of ``auth-plugins check``, without showing it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.answer_paths import suggest_expiry
from auth_plugins._protocol.redaction import Redactor, one_line
from auth_plugins._protocol.tokens import Token, jwt_claims

from .context import FAILED, GOOD, NOTE, Context, Step

#: The claims that are shown: registered ones (RFC 7519 §4.1, RFC 9068 §2.2), and what servers call the same.
_CLAIMS = ("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "azp", "scope", "scp", "roles")
#: Characters of a claim that are shown.
_LONGEST_CLAIM = 500


def facts_of(token: Token, context: Context) -> dict[str, Any]:
    """Return what is known of *token*, for JSON."""
    # Servers quote parts of a token too: the secret half of a key, the signature of a JWT.
    context.redactors.append(Redactor([token.access_token, *token.access_token.split("."), token.refresh_token or ""]))
    return {
        "token_type": context.redacted(token.token_type) or None,
        "expires_at": token.expires_at,
        "expires_in": None if token.expires_at is None else token.expires_at - runtime.clock.time(),
        "scope": None if token.scope is None else context.redacted(token.scope),
        "refresh_token": token.refresh_token is not None,
        "claims": claims_of(token.claims, _CLAIMS, context),
    }


def describe(token: Token, facts: Mapping[str, Any], context: Context) -> Iterator[Step]:
    """Say what *token* is, when it ends, what it allows and whom it is for."""
    ends, left = "no end known", facts["expires_in"]
    if left is not None:
        ends = f"ends in {left:.0f} s, at {datetime.fromtimestamp(token.expires_at or 0.0, UTC):%Y-%m-%d %H:%M:%S} UTC"
    scope = "" if token.scope is None else f", scope {facts['scope']}"
    refresh = "a refresh token" if token.refresh_token else "no refresh token"
    what = f"{facts['token_type'] or 'a key'}, {ends}{scope}, {refresh}"
    if left is not None and left <= 0:
        advice = "it had ended before it came: compare the clocks, or inform the server's owner"
        yield Step(FAILED, "token", what, advice)
    else:
        yield Step(GOOD, "token", what, *(_how_to_read_the_end(token, context) if left is None else ()))
    requested = set(str(getattr(context.grant, "scope", None) or "").split())
    granted = requested if token.scope is None else set(token.scope.split())
    if requested and requested != granted:
        differences = {"not granted": requested - granted, "granted besides": granted - requested}
        parts = [f"{what}: {context.redacted(' '.join(sorted(some)))}" for what, some in differences.items() if some]
        advice = f"change {context.variable('scope')}, or have the client given it"
        yield Step(NOTE, "scope", "; ".join(parts), advice)
    if token.claims:
        yield _describe_jwt(token, facts["claims"], context)


def _how_to_read_the_end(token: Token, context: Context) -> Iterator[str]:
    """Yield the setting by which a member beside the token tells when it ends."""
    if setting := suggest_expiry(token.extra, dict(getattr(context.grant, "answer", None) or ())):
        quote = "'" * (" " in setting)
        path = setting.rpartition("=")[2]
        yield f"the answer has {path}: set {context.variable('answer')}={quote}{setting}{quote}"


def _describe_jwt(token: Token, claims: Mapping[str, Any], context: Context) -> Step:
    header = token.access_token.partition(".")[0]
    algorithm = (jwt_claims(f"{header}.{header}.") or {}).get("alg")  # the header, read as a payload
    what = text_of({"alg": _claim(algorithm, context), **claims})
    begins = token.claims.get("nbf")
    if isinstance(begins, (int, float)) and begins > runtime.clock.time() + 1:
        return Step(NOTE, "JWT", what, "by this machine's clock it is not valid yet: compare the clocks")
    return Step(GOOD, "JWT", what)


def claims_of(claims: Mapping[str, Any], names: Iterable[str], context: Context) -> dict[str, Any]:
    """Return those of *claims* that have one of *names*, without secrets."""
    return {name: _claim(claims[name], context) for name in names if name in claims}


def text_of(claims: Mapping[str, Any]) -> str:
    """Return *claims* as a step shows them."""
    return ", ".join(f"{name} {json.dumps(claim)}" for name, claim in claims.items())


def _claim(claim: Any, context: Context) -> Any:
    """Return a claim, if no secret is in it; a long one, or one that is not JSON, as the beginning of its text."""
    # Each text by itself, as JSON would escape what a server has escaped already.
    if any(context.redacted(text) != one_line(text) for text in _texts(claim)):
        return "***"
    text = json.dumps(claim, ensure_ascii=False)
    # Python reads and writes NaN and Infinity, which other JSON parsers refuse (RFC 8259 §6).
    is_json = not re.search(r"\b(NaN|Infinity)\b", text)
    return claim if is_json and len(text) <= _LONGEST_CLAIM else text[:_LONGEST_CLAIM]


def _texts(claim: Any) -> Iterator[str]:
    """Yield the texts and numbers in a claim."""
    left = [claim]
    while left:
        value = left.pop()
        if isinstance(value, (dict, list)):
            left += [*value, *value.values()] if isinstance(value, dict) else value
        else:
            yield str(value)
