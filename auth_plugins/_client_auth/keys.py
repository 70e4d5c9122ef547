"""Private keys: read from PEM or JWK text, checked, and kept, as to read an RSA key takes 100 times as long as to sign.

joserfc and cryptography hold the keys and sign; they are imported by the first key.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Mapping
from typing import Any, Self

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import Hidden, hidden, hide_arguments
from auth_plugins._base.loading import request_imports
from auth_plugins._base.secret_file import SecretFile
from auth_plugins._base.validation import Secret, call_secret, check_callable, check_text, wrong_type

#: How many keys are kept.
_MOST = 64
#: Bits of the shortest RSA key (RFC 7518 §3.3).
_SHORTEST_RSA = 2048
#: The algorithms that a key of each kind can sign by, the usual one first.
_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC P-256": ("ES256",),
    "EC P-384": ("ES384",),
    "EC P-521": ("ES512",),
    "Ed25519": ("EdDSA", "Ed25519"),
}
_KINDS = " or ".join(_ALGORITHMS)
ALGORITHMS = tuple(name for names in _ALGORITHMS.values() for name in names)
#: What may begin with ``-----BEGIN``, but is no private key.
_OTHER_PEM = {"CERTIFICATE-----": "a certificate", "PUBLIC KEY-----": "a public key", "PRIVATE KEY-----": "cut off"}
_PRIVATE_PEM = r"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----(.*?)-----END \1-----"
_PATH = r"(?=.*[/\\]|.*\.\w{2,5}$)[^\n{]{1,300}"
#: By the path of a file, the text of the key that was read there last; and the files that were damaged since.
_last_keys: dict[str, str] = {}
_damaged: set[str] = set()
_log = logging.getLogger("auth_plugins")
_ADVICE = "give the private key whose public key the server knows"


class SigningKey:
    """A private key. Its ``repr`` tells the kind and the size, and nothing else."""

    def __init__(self, jose_key: Any, kind: str, description: str, jwk: Mapping[str, Any]) -> None:
        self._jose_key = jose_key
        #: Kind and size, such as ``RSA, 2048 bits``.
        self.description = description
        #: The algorithms that it can sign by; the first is used unless another one is given.
        self.algorithms = tuple(dict.fromkeys([jwk.get("alg") or _ALGORITHMS[kind][0], *_ALGORITHMS[kind]]))
        #: The ``kid`` of the JWK; ``None``: it has none.
        self.key_id: str | None = jwk.get("kid")

    def __repr__(self) -> str:
        return f"SigningKey({self.description})"

    def __deepcopy__(self, _: object) -> Self:
        return self  # it does not change, and older versions of cryptography cannot copy it

    def choose_algorithm(self, given: str | None) -> str:
        """Return the algorithm to sign by: *given*, or the key's own; ConfigurationError: *given* does not fit."""
        if given is not None and given not in self.algorithms:
            problem = f"must be {' or '.join(self.algorithms)}, as {{key}} is {self.description}"
            raise ConfigurationError(problem, argument="algorithm", advice="leave it out, or give another {key}")
        return given or self.algorithms[0]

    def public_jwk(self) -> dict[str, Any]:
        """Return the public key as a JWK (RFC 7517)."""
        public: dict[str, Any] = self._jose_key.as_dict(private=False)
        return public

    def thumbprint(self) -> str:
        """Return the thumbprint of the public key (RFC 7638)."""
        thumbprint: str = self._jose_key.thumbprint()
        return thumbprint

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """Return a JWT (RFC 7519) of *claims*, signed by the ``alg`` of *header*."""
        return sign(self._jose_key, header, claims)


def sign(jose_key: Any, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Return a JWT of *claims*, signed by a key of joserfc; hidden from dumps."""
    from joserfc import jwt

    return Hidden(jwt.encode(dict(header), dict(claims), jose_key, registry=_registry()))


@functools.cache
def _registry() -> Any:
    """Return joserfc's algorithms without its warning of ``EdDSA``, whose new name (RFC 9864) few servers know."""
    from joserfc.jws import JWSRegistry

    class Registry(JWSRegistry):
        # Bytes: a kid may be a URL, and the header of a DPoP proof holds a key.
        max_header_length = 1 << 13

        def get_alg(self, name: str) -> Any:
            return self.algorithms[name]

    return Registry()


def check_key(argument: str, key: Any, advice: str = _ADVICE) -> Any:
    """Return a key as a str that dumps do not show, or a callable; a str is read at once, to find mistakes."""
    if callable(key):
        return check_callable(argument, key)
    if not isinstance(key, str):
        problem = wrong_type(argument, key, "PEM or JWK text, or a callable that returns it").problem
        raise ConfigurationError(problem, argument=argument, advice="for a file, give SecretFile(path)")
    load_key(argument, key, advice)
    return hidden(key.strip())


@hide_arguments
def present_text(argument: str, secret: Secret) -> str:
    """Return the present text of a key or an assertion, without whitespace around it; it may have several lines.

    Of a key's file that is written at this moment, that is the key which was read there last.
    """
    if isinstance(secret, SecretFile):
        argument, secret = secret._label(), _whole(secret, hidden(secret.read().strip()))
    text = call_secret(argument, secret) if callable(secret) else secret
    return Hidden(check_text(argument, check_text(argument, text).strip()))


def _whole(file: SecretFile, text: str) -> str:
    """Return *text*, the content of *file*, or the last key of the file if that is damaged."""
    problem, last = "", _last_keys.get(path := str(file.path), text)
    if text != last:
        try:
            _read(text)
        except ConfigurationError as error:
            problem = error.problem
    if not problem:
        _damaged.discard(path)
        return text
    if path not in _damaged:
        _damaged.add(path)
        _log.warning("%s %s; the key that it held before is used until it holds another one", file._label(), problem)
    return last


@hide_arguments
def load_key(argument: str, key: Secret, advice: str = _ADVICE) -> SigningKey:
    """Return the key of a text or a callable; a text that was read lately is not read again.

    :param advice: what to do about a text that is no such key.
    :raises ConfigurationError: it is no private key that can sign, or a weak one; the error says which.
    """
    text = present_text(argument, key)
    try:
        loaded = _read(text)
    except ConfigurationError as error:
        subject = key._label() if isinstance(key, SecretFile) else argument
        problem = ConfigurationError(error.problem, argument=subject, advice=error.advice or advice)
    else:
        if isinstance(key, SecretFile):
            _last_keys[str(key.path)] = text
        return loaded
    raise problem  # without a context: what cryptography says may hold a part of the key


@functools.lru_cache(maxsize=_MOST)
def _read(text: str) -> SigningKey:
    with request_imports():
        import joserfc.jwt  # noqa: F401 - now, while no fork can happen
    if text.startswith("{"):
        return _read_jwk(text)
    if "-----BEGIN" in text:
        return _read_pem(text)
    if re.fullmatch(_PATH, text):
        raise ConfigurationError("must be the text of a key, and is a path", advice="give the path by {SecretFile}")
    raise ConfigurationError("is no key: PEM begins with -----BEGIN PRIVATE KEY-----, a JWK with {")


def _read_pem(text: str) -> SigningKey:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    match = re.search(_PRIVATE_PEM, text, re.DOTALL)
    if match is None:
        kind = next((kind for mark, kind in _OTHER_PEM.items() if mark in text), "other PEM")
        raise ConfigurationError(f"must be a private key, and is {kind}")
    label, body = match.groups()
    # In a variable, line breaks are often written as \n, or have become spaces.
    lines = [f"-----BEGIN {label}-----", *body.replace("\\n", "\n").split(), f"-----END {label}-----", ""]
    load = load_ssh_private_key if "OPENSSH" in label else load_pem_private_key
    try:
        is_encrypted = "ENCRYPTED" in label or "ENCRYPTED" in body
        native = None if is_encrypted else load("\n".join(lines).encode(), password=None)
    except TypeError:  # OpenSSH's own format does not tell
        is_encrypted = True
    except Exception:
        raise ConfigurationError("is a PEM that is damaged", advice="copy it again") from None
    if is_encrypted:
        advice = "decrypt it (openssl pkey -in FILE -out OTHER_FILE)"
        raise ConfigurationError("is encrypted with a password", advice=advice)
    return _checked(native, {})


def _read_jwk(text: str) -> SigningKey:
    from joserfc.jwk import JWKRegistry

    try:
        jwk = json.loads(text)
        problem = _jwk_problem(jwk)
        native = None if problem else JWKRegistry.import_key(jwk).private_key
    except Exception:
        raise ConfigurationError("is a JWK that is damaged", advice="copy it again") from None
    if problem:
        raise ConfigurationError(problem)
    return _checked(native, jwk)


def _jwk_problem(jwk: Mapping[str, Any]) -> str:
    """Return why *jwk* cannot be used; ``""``: nothing is known yet."""
    from joserfc.util import base64_to_int

    kind = jwk.get("kty")
    names = [name for name in _ALGORITHMS if jwk.get("crv", kind) in name.split()]
    algorithms = _ALGORITHMS[names[0]] if names else ()
    # joserfc only warns of it.
    size = base64_to_int(jwk["n"]).bit_length() if kind == "RSA" else _SHORTEST_RSA
    problems = (
        ("private_key" in jwk, "must be a key, and is JSON that has one in its member private_key: give that"),
        ("keys" in jwk, "must be one key, and is a set of JWKs: give one of its keys"),
        (kind is None, "is a JWK without kty, the kind of the key"),
        (kind == "oct", "must be a private key, and is a symmetric JWK (oct)"),
        (not names, f"must be {_KINDS}, and is a JWK of another kind or curve"),
        ("d" not in jwk, "must be a private key, and is a JWK of a public one"),
        (jwk.get("use", "sig") != "sig", "is a JWK that is not for signatures"),
        ("sign" not in jwk.get("key_ops", ["sign"]), "is a JWK that is not for signing"),
        (jwk.get("alg", "") not in ("", *algorithms), f"is a JWK whose alg is none of {', '.join(algorithms)}"),
        (size < _SHORTEST_RSA, _short(size)),
    )
    return next((problem for is_so, problem in problems if is_so), "")


def _checked(native: Any, jwk: Mapping[str, Any]) -> SigningKey:
    """Return the key for *native*, a private key of cryptography, if it is of a kind that signs here."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if isinstance(native, RSAPrivateKey):
        if native.key_size < _SHORTEST_RSA:
            raise ConfigurationError(_short(native.key_size))
        return SigningKey(RSAKey(native, native), "RSA", f"RSA, {native.key_size} bits", jwk)
    if isinstance(native, EllipticCurvePrivateKey):
        kind = f"EC P-{native.key_size}"
        if kind in _ALGORITHMS and re.fullmatch(r"secp\d+r1", native.curve.name):
            return SigningKey(ECKey(native, native), kind, kind, jwk)
    if isinstance(native, Ed25519PrivateKey):
        return SigningKey(OKPKey(native, native), "Ed25519", "Ed25519", jwk)
    raise ConfigurationError(f"must be {_KINDS}, and is of another kind or curve")


def _short(size: int) -> str:
    return f"is an RSA key of {size} bits, and RFC 7518 §3.3 asks for {_SHORTEST_RSA} or more"
