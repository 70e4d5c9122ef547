"""Private keys for tests, in each kind and format, and what a server reads in an assertion."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.support.loopback import Received

Key = RSAKey | ECKey | OKPKey
#: By the algorithm that a key signs by unless another one is given.
MAKERS: dict[str, Callable[[], Key]] = {
    "RS256": lambda: RSAKey.generate_key(2048),
    "ES256": lambda: ECKey.generate_key("P-256"),
    "ES384": lambda: ECKey.generate_key("P-384"),
    "ES512": lambda: ECKey.generate_key("P-521"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
}


def key(algorithm: str, number: int = 0) -> Key:
    """A key; another *number* is another key."""
    return _key(algorithm, number)


@functools.cache
def _key(algorithm: str, _: int) -> Key:
    return MAKERS[algorithm]()


def pem(algorithm: str, number: int = 0) -> str:
    return key(algorithm, number).as_pem(private=True).decode()


def jwk(algorithm: str, **members: Any) -> str:
    """The key as a JWK, with further *members*; ``None`` removes one."""
    all_members = {**key(algorithm).as_dict(private=True), **members}
    return json.dumps({name: value for name, value in all_members.items() if value is not None})


class Everything(jws.JWSRegistry):
    """All algorithms, without joserfc's warning of EdDSA."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


def opened(assertion: str, by: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of an assertion, whose signature is that of the key *by*."""
    token = jwt.decode(assertion, by, registry=Everything())
    return dict(token.header), dict(token.claims)


def form_of(received: Received) -> dict[str, str]:
    return dict(parse_qsl(received.body.decode()))
