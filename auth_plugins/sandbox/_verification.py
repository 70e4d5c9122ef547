"""Verifies by joserfc what a client signs: assertions (RFC 7523 §3) and DPoP proofs (RFC 9449 §4.3).

It is imported when the enterprise system gets such a request, as joserfc takes longer to load than the whole sandbox.
"""

from collections.abc import Sequence
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import JWKRegistry

from ._enterprise import ALGORITHMS
from ._seen import digest
from ._system import Refusal

#: Seconds from now to the latest ``exp`` of an assertion, and from the earliest ``iat`` of a proof.
_LONGEST_LIFETIME, _OLDEST_PROOF = 3600, 60


class _Registry(jws.JWSRegistry):
    max_header_length = 1 << 13  # bytes: the header of a proof holds a key

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]  # without joserfc's warning of EdDSA, whose new name few clients know


def assertion_id(assertion: str, key: Any, client_id: str, audiences: Sequence[str], now: float) -> str:
    """Return the ``jti`` of an assertion.

    :raises Refusal: it is not one of this client, by *key* and its ``kid``, for one of the *audiences*.
    """
    client: Any = {"essential": True, "value": client_id}
    audience: Any = {"essential": True, "values": list(audiences)}
    try:
        token = jwt.decode(assertion, key, registry=_Registry())
        problem = _problem(token.claims, now, iss=client, sub=client, aud=audience, exp={"essential": True})
        if token.header.get("kid") != key.kid:
            problem = "no registered key has its kid"
        elif not problem and token.claims["exp"] > now + _LONGEST_LIFETIME:
            problem = "its exp is too far in the future"
    except Exception:  # whatever joserfc finds in what is no JWT
        problem = "it is no JWT, or not signed by the registered key"
    if problem:
        raise Refusal(401, "invalid_client", f"client assertion: {problem}")
    return str(token.claims["jti"])


def proof_of(
    proof: str, status: int, method: str, urls: Sequence[str], access_token: str, nonces: Sequence[str], now: float
) -> tuple[str, str]:
    """Return the thumbprint of the key that signed a proof (RFC 7638), and the ``jti`` of the proof.

    :raises Refusal: with *status*: it is not a proof for this request, or has none of the *nonces*.
    """
    claims: dict[str, Any] = {
        "htm": {"essential": True, "value": method},
        "htu": {"essential": True, "values": list(urls)},
        "iat": {"essential": True},
    }
    if access_token:
        claims["ath"] = {"essential": True, "value": digest(access_token.encode())}
    try:
        key = JWKRegistry.import_key(dict(jws.extract_compact(proof.encode(), registry=_Registry()).headers()["jwk"]))
        token = jwt.decode(proof, key, registry=_Registry())
        problem = _problem(token.claims, now, **claims)
        if token.header.get("typ") != "dpop+jwt" or key.is_private:
            problem = "its header must have the type dpop+jwt and a public key"
        elif not problem and token.claims["iat"] < now - _OLDEST_PROOF:
            problem = "its iat is too old"
    except Exception:  # whatever joserfc finds in what is no JWT
        problem = "it is missing, no JWT, or not signed by the key in its header"
    if problem:
        raise Refusal(status, "invalid_dpop_proof", f"DPoP proof: {problem}")
    if token.claims.get("nonce") not in nonces:
        raise Refusal(status, "use_dpop_nonce", "the DPoP proof must have the nonce of this server")
    return key.thumbprint(), str(token.claims["jti"])


def _problem(claims: dict[str, Any], now: float, **expected: Any) -> str:
    """Return what is wrong with *claims*; ``""``: nothing."""
    try:
        jwt.JWTClaimsRegistry(int(now), jti={"essential": True}, **expected).validate(claims)
    except JoseError as error:  # older versions of joserfc do not name a time that is wrong
        return f"its {getattr(error, 'claim', 'exp, iat or nbf')} is missing or wrong"
    return ""
