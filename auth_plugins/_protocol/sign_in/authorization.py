"""The authorization request and its answer (RFC 6749 §4.1, RFC 7636, RFC 9207); no I/O."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from auth_plugins._base.errors import TROUBLE, LoginRequiredError
from auth_plugins._base.hidden import hidden
from auth_plugins._protocol.redaction import one_line, without_tokens

#: Bytes of chance in ``state`` and in the code verifier (RFC 7636 §7.1: at least 32).
_STATE_BYTES, _VERIFIER_BYTES = 32, 48
#: Characters of a text of the server's that an error shows.
_LONGEST_SHOWN = 200


class AuthorizationRequest(NamedTuple):
    """A request that a browser carries, and by what its answer is known; hidden from dumps."""

    url: str
    state: str
    #: Proves to the token endpoint that the code was sent to the program that asked for it.
    verifier: str


def authorization_request(
    url: str,
    *,
    client_id: str,
    redirect_uri: str,
    scope: str | None,
    audience: str | None,
    resources: Sequence[str],
    params: Sequence[tuple[str, Any]],
) -> AuthorizationRequest:
    """Build an authorization request with PKCE, by Authlib.

    :param url: the authorization endpoint; its query is kept.
    :param params: the user's own parameters, applied last: they replace those of the same name, ``None`` removes one.
    """
    from authlib.oauth2.client import OAuth2Client

    state = hidden(secrets.token_urlsafe(_STATE_BYTES))
    verifier = hidden(secrets.token_urlsafe(_VERIFIER_BYTES))
    client = OAuth2Client(session=None, client_id=client_id, code_challenge_method="S256")
    whole, _ = client.create_authorization_url(
        url,
        state=str(state),
        code_verifier=str(verifier),
        redirect_uri=redirect_uri,
        scope=scope,
        audience=audience,
        resource=list(resources) or None,
    )
    before, _, query = whole.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    for name, value in params:
        pairs = [pair for pair in pairs if pair[0] != name]
        if value is not None:
            pairs += [(name, each) for each in (value if isinstance(value, tuple) else (value,))]
    return AuthorizationRequest(hidden(f"{before}?{urlencode(pairs, quote_via=quote, safe='')}"), state, verifier)


def read_code(answer: Mapping[str, Sequence[str]], state: str, issuer: str | None, *, requires_issuer: bool) -> str:
    """Return the code in the *answer* to an authorization request (RFC 6749 §4.1.2).

    :param answer: its parameters, each with all its values.
    :param issuer: the issuer that was asked; ``None``: unknown.
    :param requires_issuer: whether the server promises to name itself in each answer.
    :raises LoginRequiredError: it belongs to another request or server, is an error, or has no code.
    """
    repeated = sorted(name for name in answer.keys() & {"state", "iss", "code", "error"} if len(answer[name]) > 1)
    one = {name: values[0] for name, values in answer.items()}
    if repeated:
        raise _failed(f"the answer has more than one {repeated[0]}")
    if not secrets.compare_digest(one.get("state", "").encode(), state.encode()):
        problem = (
            "the answer has a wrong state, so it belongs to another sign-in"
            if "state" in one
            else ("the answer has no state, so that no one knows to which sign-in it belongs")
        )
        raise _failed(problem)
    if issuer is not None and one.get("iss", issuer) != issuer:
        raise _failed(f"the answer has a wrong iss: it came from another server than {issuer}")
    if requires_issuer and "iss" not in one:
        raise _failed(f"the answer has no iss (RFC 9207), which {issuer} promises to send")
    if error := one.get("error"):
        raise _refused(error, one.get("error_description", ""), one.get("error_uri"))
    code: str = hidden(one.get("code", ""))
    if not code:
        raise _failed("the answer has no code")
    return code


def _failed(problem: str) -> LoginRequiredError:
    return LoginRequiredError(f"sign-in failed: {problem}", advice="sign in again")


def _refused(code: str, description: str, uri: str | None) -> LoginRequiredError:
    """Return the error for an error that the server sent (RFC 6749 §4.1.2.1)."""
    code, description, uri = (_shown(text or "") for text in (code, description, uri))
    said = f"{code}: {description}" if description else code
    if code == "access_denied":
        problem, advice = f"sign-in was denied ({said})", "sign in again, and allow the access"
    elif code in TROUBLE:
        problem, advice = f"sign-in failed ({said})", "the server is in trouble: sign in again later"
    else:
        advice = "check client_id, redirect_uri, scope and authorize_params, as the server knows them"
        problem = f"sign-in failed ({said})"
    return LoginRequiredError(problem, error=code, description=description or None, uri=uri or None, advice=advice)


def _shown(text: str) -> str:
    return without_tokens(one_line(text))[:_LONGEST_SHOWN]
