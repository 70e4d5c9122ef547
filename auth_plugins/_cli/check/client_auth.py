"""What ``auth-plugins check`` says of a client that has a key or an assertion; never the key or the assertion."""

from collections.abc import Iterator

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.runtime import runtime
from auth_plugins._base.validation import resolve_secret
from auth_plugins._client_auth.assertions import ClientAssertion, ClientSecretJWT, PrivateKeyJWT
from auth_plugins._client_auth.base import Client
from auth_plugins._client_auth.keys import load_key
from auth_plugins._client_auth.named import authentication_of
from auth_plugins._client_auth.signed_jwt import SignedJWT
from auth_plugins._grants.jwt_bearer import JWTBearer
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._grants.token_exchange import TokenExchange
from auth_plugins._protocol.tokens import jwt_claims

from .context import FAILED, GOOD, NOTE, Context, Step
from .token import claims_of, text_of

#: The claims by which a server knows the client (RFC 7523 §3).
_CLAIMS = ("iss", "sub", "aud", "exp", "nbf")
#: Those of an assertion that is signed for each attempt.
_SIGNED_CLAIMS = ("iss", "sub", "aud")


def describe_client_auth(context: Context) -> Iterator[Step]:
    """Describe the key or the assertion by which the client proves who it is."""
    grant = context.grant
    authentication = authentication_of(grant.client_auth) if isinstance(grant, OAuthGrant) else None
    if isinstance(authentication, PrivateKeyJWT):
        yield _describe_key(authentication, context)
    elif isinstance(authentication, ClientAssertion):
        yield _describe_assertion("client_assertion", authentication.present("assertion"), context)
    elif isinstance(authentication, ClientSecretJWT):
        yield from _describe_secret(authentication, context)


def describe_exchanged(context: Context) -> Iterator[Step]:
    """Describe what the grant exchanges: an assertion, or the key that signs it; or a subject token that is a JWT."""
    grant = context.grant
    if isinstance(grant, JWTBearer) and isinstance(signed := grant.assertion, SignedJWT):
        yield _describe_key(signed, context)
    elif isinstance(grant, JWTBearer):
        yield _describe_assertion("assertion", grant.secrets()[-1], context)
    elif isinstance(grant, TokenExchange) and jwt_claims(text := grant.subject_text()) is not None:
        yield _describe_assertion("subject_token", text, context)


def describe_signed(grant: OAuthGrant, context: Context) -> Iterator[Step]:
    """Describe the assertions that a key signs for the token endpoint of *grant*, which is known by now."""
    token_url, authentication = str(grant.token_url), authentication_of(grant.client_auth)
    made: list[str] = []
    if isinstance(grant, JWTBearer) and isinstance(grant.assertion, SignedJWT):
        made.append(grant.assertion.sign(token_url))
    if isinstance(authentication, PrivateKeyJWT):
        made.append(authentication.parameters(Client(grant.client_id, None, token_url))["client_assertion"])
    for text in made:
        yield Step(GOOD, "assertion", text_of(claims_of(jwt_claims(text) or {}, _SIGNED_CLAIMS, context)))


def _describe_key(signer: PrivateKeyJWT | SignedJWT, context: Context) -> Step:
    try:
        key = load_key("key", signer.key)
        algorithm = key.choose_algorithm(signer.algorithm)
    except ConfigurationError as error:
        names = {"key": context.variable("private_key"), "algorithm": context.variable("algorithm")}
        raise error.renamed(names) from None
    key_id = signer.key_id or key.key_id
    what = f"{key.description}, signs by {algorithm}"
    if key_id is None:
        return Step(NOTE, "key", f"{what}, no kid", f"many servers demand a kid: set {context.variable('key_id')}")
    return Step(GOOD, "key", f"{what}, kid {key_id}")


def _describe_assertion(option: str, text: str, context: Context) -> Step:
    claims, variable = jwt_claims(text), context.variable(option)
    label = option.removeprefix("client_").replace("_", " ")
    if claims is None:
        return Step(NOTE, label, f"{variable} is no JWT", "check that it is the assertion itself, and complete")
    what = text_of(claims_of(claims, _CLAIMS, context)) or "none of the claims that a server needs"
    ends = claims.get("exp")
    if isinstance(ends, (int, float)) and ends <= runtime.clock.time():
        advice = f"renew what {variable} has, or compare the clocks"
        return Step(FAILED, label, f"expired {runtime.clock.time() - ends:.0f} s ago: {what}", advice)
    return Step(GOOD, label, what)


def _describe_secret(authentication: ClientSecretJWT, context: Context) -> Iterator[Step]:
    """Note a short secret: to sign by it is no worse than to send it, but the RFC asks for more."""
    secret = getattr(context.grant, "client_secret", "")
    size = len(resolve_secret("client_secret", secret).encode())
    least = int(authentication.algorithm[2:]) // 8
    if size < least:
        what = f"{context.variable('client_secret')} has {size} bytes, and RFC 7518 §3.2 asks for {least} or more"
        yield Step(NOTE, "key", what, "if the server refuses it, ask its owner for a longer one")
