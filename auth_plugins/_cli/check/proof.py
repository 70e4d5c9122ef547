"""What ``auth-plugins check`` says of DPoP: the key to which tokens are bound, never shown, and what came of it."""

from collections.abc import Iterator, Sequence

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._client_auth.dpop import DPoPKey
from auth_plugins._client_auth.proofs import Prover, codes_of
from auth_plugins._grants.base import Ask, Grant
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._protocol.messages import TokenResponse
from auth_plugins._protocol.tokens import Token

from .context import GOOD, NOTE, Context, Step

_CHALLENGE = " (which asked for a nonce in the DPoP proof, as RFC 9449 §8 has it: nothing is wrong)"


class PresentedToken(Grant):
    """A token that is bound to a key, as it is: a refusal of it is shown, and no other one is requested."""

    is_constant = True
    sends_token_requests = False

    def __init__(self, token: Token, prover: Prover) -> None:
        self._token, self._prover = token, prover

    def prover(self) -> Prover:
        return self._prover

    def secrets(self) -> tuple[str, ...]:
        return (self._token.access_token,)

    def request_token(self, ask: Ask) -> Token:  # noqa: ARG002
        return self._token


def describe_key(context: Context) -> Iterator[Step]:
    """Describe the key to which tokens are bound."""
    grant = context.grant
    if not isinstance(grant, OAuthGrant) or (prover := grant.prover()) is None:
        return
    try:
        key = prover.load()
    except ConfigurationError as error:
        raise error.renamed({"key": context.variable("dpop_key")}) from None
    owner = "" if isinstance(grant.dpop, DPoPKey) else "a new key of each process, "
    what = f"{owner}{key.description}, signs proofs by {key.algorithms[0]}, thumbprint {key.thumbprint()}"
    yield Step(GOOD, "DPoP", what)


def describe_binding(token: Token, context: Context) -> Iterator[Step]:
    """Note that the server did not bind *token* to the key."""
    if context.grant.prover() is not None and token.token_type != "DPoP":
        what = "the server answered a bearer token, which is bound to no key and is sent without a proof"
        yield Step(
            NOTE, "DPoP", what, f"have the server's owner enable it for this client, or unset {_variable(context)}"
        )


def answered(answers: Sequence[TokenResponse]) -> str:
    """Return the statuses of *answers*, the last one a success, and which of them ask for a nonce only."""
    return ", then ".join(
        f"{answer.status}{_CHALLENGE * (answer.status >= 400 and bool(codes_of(answer)))}" for answer in answers
    )


def advice_on_proof(context: Context) -> str:
    """Return what to do about an API that asks for another proof."""
    if context.grant.prover() is None:
        return f"the API asks for DPoP (RFC 9449): set {context.variable('dpop')}=true"
    return "the API refuses the DPoP proof: compare the clocks, and check that the API knows itself by this URL"


def _variable(context: Context) -> str:
    return context.variable("dpop" if "DPOP" in context.variables.given else "dpop_key")
