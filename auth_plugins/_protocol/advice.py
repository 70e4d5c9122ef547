"""What a token endpoint's refusal may be about, and what to do: one table, for messages and ``auth-plugins check``.

A *trouble* is a name in :data:`ADVICE`. Options that it is about follow behind a colon: ``"ends:scope"``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from auth_plugins._base.errors import TROUBLE

from .messages import DEVICE_CODE, TOKEN_EXCHANGE

if TYPE_CHECKING:
    from .messages import RequestFacts


#: What to do, by trouble. ``{scope}`` and the like becomes the name of that option, an argument or a variable;
#: ``{options}`` the names of those behind the colon.
ADVICE = {
    "trouble": "the server is in trouble or asks for a pause: try again later",
    "endpoint": "is {options} the token endpoint?",
    "method": "is {options} the token endpoint, and is {method} (POST or GET) right?",
    "redirect": (
        "redirects are not followed, because the secret would be sent along: set {options} to the final address, "
        "if that is the token endpoint"
    ),
    "answer": "the answer has {paths}: set {answer}",
    "answer_error": "the server sends errors with the status of a success: to have them named, set {answer}",
    "success": "the answer holds a token as well: if this code means success, leave error out of {answer}",
    "packed": "have the server's owner send answers that are not compressed",
    "not_bearer": "have the server's owner give this client Bearer tokens",
    "request": (
        "check what the server's documentation asks for: {client_auth}, {encoding} (form, json or query), {scope}"
    ),
    "client": (
        "check {options}, and that the server expects them where {client_auth} puts them: "
        "client_secret_basic, client_secret_basic_raw or client_secret_post"
    ),
    "key": (
        "check that the server knows the public key of {private_key} under this {key_id} (many servers demand a "
        "kid), that {client_id} is right, that the server expects its token endpoint's URL as the audience of an "
        "assertion, and that this machine's clock is right"
    ),
    "secret_jwt": (
        "check {client_id} and {client_secret}, that the server lets this client use client_secret_jwt, and expects "
        "its token endpoint's URL as the audience of an assertion, and that this machine's clock is right"
    ),
    "revocation_audience": (
        "a revocation endpoint may expect the issuer's URL as the audience: if the token endpoint accepts it too, set "
        "audience= of PrivateKeyJWT or ClientSecretJWT to it"
    ),
    "assertion": (
        "check that {client_assertion} has not expired, and that its issuer, subject and audience are those that the "
        "server trusts for this client"
    ),
    "certificate": (
        "check that the server knows {client_id} by the certificate in {certificate}, that this has not expired, and "
        "that {token_url} is the server's address for mutual TLS"
    ),
    "session_certificate": (
        "check that the server knows {client_id} by the certificate of session= or client=, or give another one by "
        "TLSClientAuth(certificate, key), or by the variables CERTIFICATE and CERTIFICATE_KEY"
    ),
    "no_client": "no client was sent: if the server knows this one, set {client_id} and {client_secret}",
    "no_secret": "no client secret was sent: if this client has one, set {client_secret}",
    "ends": "{options} begins or ends with whitespace or a quote: remove it",
    "spelling": (
        "the id or secret has characters (such as + / = %) that client_secret_basic percent-encodes and "
        "client_secret_basic_raw does not: try the other one as {client_auth}"
    ),
    "user": (
        "check {username} and {password}, and if they are right, ask the server's owner whether this client must send "
        "a DPoP proof (RFC 9449) by {dpop}"
    ),
    "proof": (
        "ask the server's owner whether this client must send a DPoP proof (RFC 9449) by {dpop}, a certificate or a key"
    ),
    "grant": "check that what this grant consists of is valid, and has not expired",
    "subject": (
        "check that {subject_token} is valid, is what its type says, and may be exchanged by this client, and check "
        "{audience}, {resource} and {scope}"
    ),
    "login": "sign in: run auth-plugins login with the same prefix",
    "code": "sign in again, and check that the server knows this client, and its redirect_uri if it has one",
    "jwt_bearer": (
        "check that {assertion} has not expired, and that its issuer, subject and audience are those that the server "
        "trusts"
    ),
    "signed_jwt": (
        "check that the server knows the public key of {private_key} under this {key_id} (many servers demand a kid), "
        "that it trusts the issuer for this subject, that it expects its token endpoint's URL as the audience, and "
        "that this machine's clock is right"
    ),
    "dpop": "the server asks for DPoP (RFC 9449): set {dpop} to true",
    "dpop_proof": (
        "the server may not accept the DPoP proof: check that this machine's clock is right, that the server knows the "
        "algorithm of the key for {dpop}, and that {options} is the URL by which the server knows itself"
    ),
    "dpop_bound": (
        "if that is right, check that this machine's clock is right, as the server may refuse the DPoP proof, and that "
        "the key for {dpop} is the one to which what was sent is bound"
    ),
    "refresh_token": (
        "the refresh token is expired, revoked or already used: obtain a new refresh token by signing in again, "
        "and set {refresh_token}"
    ),
    "new_refresh_token": (
        "if it is new, ask the server's owner whether this client must send a DPoP proof (RFC 9449) by {dpop}"
    ),
    "old_refresh_token": "if the refresh token is expired, revoked or already used, obtain a new refresh token",
    "scope": "set {scope} to what this client was given",
    "no_scope": "no scope was sent: set {scope} to what the server's documentation names",
    "target": "check {audience} and {resource}",
    "unauthorized": (
        "have the server's owner allow this client its grant type, and say whether it must use a certificate or a key "
        "instead of a secret"
    ),
    "issuer": "if that is the server that you mean, set {issuer} to exactly its value",
    "issuer_of_tenant": "the server has one issuer for each tenant: set {issuer} to that of yours",
    "bad_metadata": "have the server's owner correct it, or give the URL of the token endpoint in place of {issuer}",
    "no_metadata": "check {issuer}, or, if the server has no metadata, give the URL of the token endpoint in its place",
    "grant_type": "check that the server offers this grant type at {options}, with this {encoding} and {method}",
}
_BY_CODE = {
    "invalid_client": "client",
    "invalid_scope": "scope",
    "invalid_target": "target",
    "invalid_request": "request",
    "unauthorized_client": "unauthorized",
    "unsupported_grant_type": "grant_type",
    "invalid_dpop_proof": "dpop",
    "use_dpop_nonce": "dpop",
    "bad_refresh_token": "refresh_token",
    **dict.fromkeys(TROUBLE, "trouble"),
}
#: By the grant that was refused by ``invalid_grant``.
_INVALID_GRANT = {
    "client_credentials": "proof",
    "password": "user",
    "refresh_token": "refresh_token",
    TOKEN_EXCHANGE: "subject",
    "authorization_code": "code",
    DEVICE_CODE: "code",
}
#: Troubles that doubt who the client is, and that doubt what it sent.
_DOUBTS_CLIENT = frozenset({"client", "unauthorized", "request"})
_DOUBTS_GRANT = frozenset({"user", "refresh_token", "grant", "subject", "jwt_bearer", "signed_jwt"})
_DOUBTS_REQUEST = _DOUBTS_CLIENT | {"scope", "proof", "user", "refresh_token"}
#: How messages name options that are often set by a variable.
_NAMED = {
    name: f"{name} (or the variable {name.upper()})" for name in ("client_auth", "scope", "refresh_token", "dpop")
}
_NAMED["issuer"] = "the Issuer (or the variable ISSUER)"


def named(option: str) -> str:
    """Return how a message names an option; ``auth-plugins check`` names a variable."""
    return _NAMED.get(option, option)


def troubles_of(code: str | None, status: int, body: str | None, facts: RequestFacts) -> Iterator[str]:
    """Yield what a refusal may be about, the likeliest first.

    :param code: the error code that the server sent.
    :param body: the kind of the body: ``json``, ``form``, ``empty``, ``page`` or ``text``.
    """
    main = _main_trouble(code, status, body, facts)
    if not facts.has_scope and (main == "scope" or (body == "empty" and status in (400, 403))):
        yield "no_scope"
        if main == "scope":
            return
    if main in _DOUBTS_CLIENT and not facts.has_secret and facts.client_trouble == "client":
        if "client_id" in facts.credentials:
            yield "no_secret"
        elif code == "invalid_client":
            yield "no_client"
    if main in _DOUBTS_REQUEST:
        yield from (f"ends:{option}" for option in facts.odd_ends)
    # LemonLDAP::NG answers invalid_request to a refresh token that it does not know.
    if main in _DOUBTS_CLIENT and facts.is_refresh and (code not in _BY_CODE or code == "invalid_request"):
        yield "old_refresh_token"
    if main == "client":
        yield _client_trouble(code, facts)
    else:
        yield f"{main}:{facts.endpoint}" if "{options}" in ADVICE[main] else main
    yield from _further_troubles(main, facts)


def _further_troubles(main: str, facts: RequestFacts) -> Iterator[str]:
    if main in _DOUBTS_GRANT and facts.has_proof:  # oidc-provider calls a refused proof invalid_grant
        yield "dpop_bound"
    if main == "refresh_token" and not facts.has_proof:  # and a missing one as well
        yield "new_refresh_token"
    if main == "client" and facts.endpoint == "revocation_url" and facts.client_trouble in ("key", "secret_jwt"):
        yield "revocation_audience"  # better-auth
    if main in _DOUBTS_CLIENT and facts.has_spellings:
        yield "spelling"
    if main == "unauthorized" and facts.client_trouble != "client":  # Keycloak answers so to a wrong assertion
        yield facts.client_trouble


def _client_trouble(code: str | None, facts: RequestFacts) -> str:
    if facts.client_trouble != "client":
        return facts.client_trouble
    of_client = [option for option in facts.credentials if option.startswith("client_")]
    return f"client:{','.join(of_client if of_client and code == 'invalid_client' else facts.credentials)}"


def advice_for(trouble: str, name_of: Callable[[str], str] = named) -> list[str]:
    """Return what to do about each *trouble*.

    :param trouble: as in ``TokenRequestError.trouble``: several have a space between.
    :param name_of: names an option as its reader sets it: :func:`named`, or the name of a variable.
    """
    advice = []
    for each in trouble.split():
        name, _, options = each.partition(":")
        if name in ("answer", "answer_error"):
            advice.append(_about_answer(name, options, name_of))
            continue
        text = ADVICE[name].replace("{options}", " and ".join(f"{{{option}}}" for option in options.split(",")))
        advice.append(re.sub(r"\{(\w+)\}", lambda match: name_of(match[1]), text))
    return advice


def _about_answer(trouble: str, pairs: str, name_of: Callable[[str], str]) -> str:
    """Return the advice to set ``answer`` to *pairs*, as an argument or as a variable is written.

    :param pairs: those that the answer has, and, behind a ``|``, those of the present setting.
    """
    new, _, _ = pairs.partition("|")
    pairs = pairs.replace("|", ",")
    values = dict(pair.partition("=")[::2] for pair in pairs.split(","))
    if name_of("answer") == "answer":  # an argument, not a variable
        setting = f"answer=dict({', '.join(f'{name}={path!r}' for name, path in values.items())})"
    else:
        text = pairs.replace(",", " ")
        setting = f"{name_of('answer')}={text if len(values) == 1 else repr(text)}"
    found = [pair.partition("=")[2] for pair in new.split(",")]
    paths = " and ".join(path.replace("header:", "the header ") for path in found)
    return ADVICE[trouble].format(paths=paths, answer=setting)


def _main_trouble(code: str | None, status: int, body: str | None, facts: RequestFacts) -> str:
    trouble = _trouble(code, status, body, facts)
    return "dpop_proof" if trouble in ("dpop", "proof") and facts.has_proof else trouble


def _trouble(code: str | None, status: int, body: str | None, facts: RequestFacts) -> str:
    if code in ("invalid_grant", "invalid_code"):  # the latter is Zoho's
        return facts.grant_trouble or _INVALID_GRANT.get(facts.grant_type, "grant")
    if code == "invalid_request" and facts.grant_type == TOKEN_EXCHANGE:
        return "subject"  # RFC 8693 §2.2.2
    # An assertion may prove the client without its id.
    has_client = bool(facts.credentials) or facts.client_trouble != "client"
    if code in _BY_CODE and (has_client or code != "invalid_client"):
        return _BY_CODE[code]
    if status == 429 or status >= 500:
        return "trouble"
    if status in (401, 403) and has_client:
        return "client"
    return "method" if status in (404, 405) or body == "page" else "request"
