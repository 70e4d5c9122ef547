"""Client authentication by a JWT (RFC 7523 §2.2): signed by a key, by the client secret, or ready-made."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, cast

from auth_plugins._base.frozen import Checks
from auth_plugins._base.loading import request_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._base.secret_file import SecretFile
from auth_plugins._base.validation import (
    Secret,
    check_callable,
    check_id,
    check_seconds,
    check_text,
    one_of,
)

from .base import Client, ClientAuthentication
from .keys import ALGORITHMS, check_key, load_key, present_text, sign

#: The algorithms of :class:`ClientSecretJWT`.
HMAC_ALGORITHMS = ("HS256", "HS384", "HS512")
_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Seconds by which a server's clock may be behind: part of the lifetime, and at most so many.
_SKEW_SHARE, _LONGEST_SKEW = 1 / 6, 10.0


def timed_claims(lifetime: float) -> dict[str, Any]:
    """Return the claims that are new in each assertion: ``iat`` and ``exp``, in Unix seconds, and ``jti``.

    ``iat`` is some seconds ago, as a server whose clock is behind refuses one that is in its future.
    """
    issued_at = int(runtime.clock.time() - min(lifetime * _SKEW_SHARE, _LONGEST_SKEW))
    return {"iat": issued_at, "exp": issued_at + max(int(lifetime), 1), "jti": secrets.token_urlsafe(24)}


def _claims(client: Client, audience: str | None, lifetime: float) -> dict[str, Any]:
    issuer, times = client.client_id, timed_claims(lifetime)
    return {"iss": issuer, "sub": issuer, "aud": audience or str(client.token_url), **times}


def _parameters(assertion: str) -> Mapping[str, str]:
    return {"client_assertion_type": _TYPE, "client_assertion": assertion}


@dataclass(frozen=True, eq=False)
class PrivateKeyJWT(ClientAuthentication):
    """The client signs a JWT by its private key: ``private_key_jwt`` (RFC 7523 §2.2).

    Each attempt has a new assertion, retries included.

    :param key: the private key, as the text of a PEM or a JWK: RSA of 2048 bits or more, EC P-256, P-384 or P-521, or
        Ed25519. A str, or a callable without arguments, such as :class:`SecretFile`, that returns one and is called
        for each attempt; a text is read once, until it changes.
    :param key_id: the ``kid`` by which the server finds the public key; ``None`` (the default): that of the JWK, and
        for a PEM none is sent.
    :param algorithm: such as ``"PS256"``; ``None`` (the default): the ``alg`` of the JWK, else ``RS256`` for RSA,
        ``ES256``, ``ES384`` or ``ES512`` for EC, and ``EdDSA`` for Ed25519.
    :param audience: the ``aud`` of the assertion, a str; ``None`` (the default): the URL of the token endpoint.
    :param lifetime: seconds, more than 0, from the ``iat`` of the assertion to its ``exp``; the default is 60. ``iat``
        is up to 10 seconds in the past, for servers whose clock is behind.
    :raises ConfigurationError: *key* is no private key, a weak one, or one that *algorithm* does not fit. For a
        callable, it is raised by the token request.
    """

    key: Secret = field(repr=False)
    _: KW_ONLY
    key_id: str | None = None
    algorithm: str | None = None
    audience: str | None = None
    lifetime: float = 60.0

    name: ClassVar[str] = "private_key_jwt"
    trouble: ClassVar[str] = "key"
    _checks: ClassVar[Checks] = {
        "key": check_key,
        "key_id": check_text,
        "algorithm": one_of(*ALGORITHMS),
        "audience": check_text,
        "lifetime": check_seconds,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.key):
            load_key("key", self.key).choose_algorithm(self.algorithm)

    def parameters(self, client: Client) -> Mapping[str, str]:
        key = load_key("key", self.key)
        key_id = self.key_id or key.key_id
        header = {"alg": key.choose_algorithm(self.algorithm), **({"kid": key_id} if key_id else {})}
        return _parameters(key.sign(header, _claims(client, self.audience, self.lifetime)))

    def secrets(self) -> tuple[str, ...]:
        return (present_text("key", self.key),)

    def present(self, field: str) -> Any:
        return self.secrets()[0] if field == "key" else super().present(field)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClientSecretJWT(ClientAuthentication):
    """The client signs a JWT by its client secret, which is not sent: ``client_secret_jwt`` (RFC 7523 §2.2).

    The server chooses the secret. RFC 7518 §3.2 asks for as many bytes as the hash has, 32 for ``HS256``; a shorter one
    is used as well.

    :param algorithm: ``HS256`` (the default), ``HS384`` or ``HS512``.
    :param audience: as :class:`PrivateKeyJWT` has it.
    :param lifetime: as :class:`PrivateKeyJWT` has it.
    :raises ConfigurationError: an argument cannot work.
    """

    algorithm: str = "HS256"
    audience: str | None = None
    lifetime: float = 60.0

    name: ClassVar[str] = "client_secret_jwt"
    trouble: ClassVar[str] = "secret_jwt"
    needs_client_secret: ClassVar[bool] = True
    _checks: ClassVar[Checks] = {
        "algorithm": one_of(*HMAC_ALGORITHMS),
        "audience": check_text,
        "lifetime": check_seconds,
    }

    def parameters(self, client: Client) -> Mapping[str, str]:
        with request_imports():
            import joserfc.jwt  # noqa: F401 - now, while no fork can happen
            from joserfc.jwk import OctKey
        # Not by import_key, which warns of a short secret, and refuses one that looks like a public key.
        key = OctKey(cast("str", client.client_secret).encode(), None)
        return _parameters(sign(key, {"alg": self.algorithm}, _claims(client, self.audience, self.lifetime)))

    def secrets(self) -> tuple[str, ...]:
        return ()  # the client secret is the grant's


def _present_assertion(argument: str, assertion: Secret) -> str:
    return check_id(argument, present_text(argument, assertion))


def _check_assertion(argument: str, assertion: Any) -> Any:
    return check_callable(argument, assertion) if callable(assertion) else _present_assertion(argument, assertion)


@dataclass(frozen=True, eq=False)
class ClientAssertion(ClientAuthentication):
    """A ready-made assertion, such as the token of a Kubernetes service account, of GitHub Actions or SPIFFE.

    :param assertion: the assertion: a str, or a callable without arguments, such as :class:`SecretFile`, that returns
        one and is called for each attempt, retries included. Whitespace around it is dropped.
    :raises ConfigurationError: an argument cannot work.
    """

    assertion: Secret = field(repr=False)

    # Another system signs it, but by a private key all the same.
    name: ClassVar[str] = "private_key_jwt"
    trouble: ClassVar[str] = "assertion"
    needs_client_id: ClassVar[bool] = False
    is_renewed: ClassVar[bool] = True
    _checks: ClassVar[Checks] = {"assertion": _check_assertion}

    def parameters(self, client: Client) -> Mapping[str, str]:  # noqa: ARG002
        return _parameters(_present_assertion("assertion", self.assertion))

    def secrets(self) -> tuple[str, ...]:
        # Another callable may return another assertion each time, and then no refusal would be remembered.
        if callable(self.assertion) and not isinstance(self.assertion, SecretFile):
            return ()
        return (_present_assertion("assertion", self.assertion),)

    def present(self, field: str) -> Any:  # noqa: ARG002
        return _present_assertion("assertion", self.assertion)
