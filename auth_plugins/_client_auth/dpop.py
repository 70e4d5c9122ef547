"""The key of DPoP (RFC 9449): given by the user, or a key of the process's own."""

from __future__ import annotations

import functools
import json
import weakref
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.frozen import Checks, Frozen
from auth_plugins._base.hidden import hide_arguments
from auth_plugins._base.loading import request_imports, small_imports
from auth_plugins._base.validation import Secret, one_of

if TYPE_CHECKING:
    from .keys import SigningKey
    from .proofs import Prover

#: Each server that knows DPoP knows it.
DEFAULT_ALGORITHM = "ES256"
#: Bits of an RSA key that is generated.
_RSA_SIZE = 2048
_ADVICE = "give a private key of your own, which no server has to know"
#: How many provers of given keys are kept.
_MOST_PROVERS = 64


# What reads keys is imported when there is one: each grant imports this module.
def _check_key(argument: str, key: Any) -> Any:
    from .keys import check_key

    return check_key(argument, key, _ADVICE)


@dataclass(frozen=True, eq=False)
class DPoPKey(Frozen):
    """The private key to which a server binds tokens (RFC 9449); it signs a proof for each request.

    It is not the key of client authentication, and no server has to know it beforehand.

    :param key: the private key, as the text of a PEM or a JWK: RSA of 2048 bits or more, EC P-256, P-384 or P-521, or
        Ed25519. A str, or a callable without arguments, such as :class:`SecretFile`, that returns one and is called
        for each token request. The ``alg`` of a JWK says by which algorithm it signs; the default is ``RS256``,
        ``ES256``, ``ES384``, ``ES512`` or ``EdDSA``.
    :raises ConfigurationError: *key* is no private key, or a weak one. For a callable, it is raised by the token
        request.
    """

    key: Secret = field(repr=False)

    _checks: ClassVar[Checks] = {"key": _check_key}

    @classmethod
    def generate(cls, algorithm: str = DEFAULT_ALGORITHM) -> Self:
        """Return a new key, which is in the memory of this process only.

        :param algorithm: the algorithm that it signs by, such as ``"PS256"`` or ``"EdDSA"``; the default is
            ``"ES256"``, which every server that has DPoP knows.
        :raises ConfigurationError: *algorithm* is none of those.
        """
        from .keys import ALGORITHMS

        return cls(_generate(one_of(*ALGORITHMS)("algorithm", algorithm)))

    def signing_key(self) -> SigningKey:
        """Return the present key."""
        from .keys import load_key

        return load_key("key", self.key, _ADVICE)

    def secrets(self) -> tuple[str, ...]:
        """Return the present text of the key: when it changes, a remembered refusal no longer counts."""
        from .keys import present_text

        return (present_text("key", self.key),)

    def prover(self, grant: Hashable) -> Prover:  # noqa: ARG002 - as OwnKey's
        """Return what makes proofs by this key: one in the process for equal keys."""
        return _prover_of(self)

    def identity(self) -> Mapping[str, Any]:
        """Return the public key's thumbprint (RFC 7638), whatever the private key is written like."""
        return {"dpop": _prover_of(self).load().thumbprint()}


class OwnKey:
    """A key of this process for one grant, for which ``dpop=True`` stands: made when it is first needed.

    Equal grants have one, as they share tokens. It is not pickled: in another process, the grant has another key.
    """

    __slots__ = ("_prover",)

    #: Set once, under the lock of late imports; ``None``: it was not needed yet.
    _prover: Prover | None

    def __init__(self) -> None:
        self._prover = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnKey)

    def __hash__(self) -> int:
        return hash(OwnKey)

    def __repr__(self) -> str:
        return "True"

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnKey, ()

    def secrets(self) -> tuple[str, ...]:
        """Return no secret: the key of a process does not change."""
        return ()

    def prover(self, grant: Hashable) -> Prover:
        """Return what makes proofs by the key of *grant*.

        Copies of the grant, such as one with the endpoints of its issuer, keep what the first call found.
        """
        if self._prover is None:
            # By the hash, as a grant as a key would live for ever. At worst two grants have one key.
            name = hash(grant)
            with small_imports():
                self._prover = _own.get(name)
                if self._prover is None:
                    from .proofs import Prover

                    self._prover = _own[name] = Prover(_make_once())
        return self._prover

    def identity(self) -> Mapping[str, Any]:
        """Return what tells it from no key; no other process has it."""
        return {"dpop": True}


_own: weakref.WeakValueDictionary[int, Prover] = weakref.WeakValueDictionary()


@functools.lru_cache(_MOST_PROVERS)
def _prover_of(key: DPoPKey) -> Prover:
    from .proofs import Prover

    return Prover(key.signing_key)


def _make_once() -> Callable[[], SigningKey]:
    """Return what returns one key, which is made at its first call."""
    made: list[SigningKey] = []

    def load() -> SigningKey:
        if not made:
            from .keys import load_key

            with request_imports():
                made[:] = made or [load_key("key", _generate(DEFAULT_ALGORITHM))]
        return made[0]

    return load


def _generate(algorithm: str) -> str:
    """Return a new private key as a JWK."""
    with request_imports():
        from joserfc.jwk import ECKey, OKPKey, RSAKey
    key: Any
    if algorithm.startswith("ES"):
        key = ECKey.generate_key({"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm])
    elif algorithm.startswith("Ed"):
        key = OKPKey.generate_key("Ed25519")
    else:
        key = RSAKey.generate_key(_RSA_SIZE)
    return json.dumps({**key.as_dict(private=True), "alg": algorithm})


@hide_arguments
def check_dpop(argument: str, value: object) -> DPoPKey | OwnKey | None:
    """Return the key for which the value of ``dpop`` stands; ``None``: there is none."""
    if value is True:
        return OwnKey()
    if value is False:
        return None
    if isinstance(value, (DPoPKey, OwnKey)):
        return value
    problem = f"must be True or a DPoPKey, got an object of type {type(value).__name__}"
    raise ConfigurationError(problem, argument=argument, advice="give DPoPKey(SecretFile(path))")
