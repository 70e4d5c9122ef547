"""Private keys: what is read, by which algorithm it signs, what is refused and why, and that a key is read once."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from joserfc.jwk import RSAKey

from auth_plugins import ConfigurationError, PrivateKeyJWT, SecretFile
from auth_plugins._client_auth.keys import load_key
from tests.support.frames import variables_of
from tests.support.keys import MAKERS, jwk, key, opened, pem
from tests.support.stores import logged

FORMATS = {
    "PEM": pem,
    "PEM with \\n": lambda algorithm: pem(algorithm).replace("\n", "\\n"),
    "PEM on one line": lambda algorithm: pem(algorithm).replace("\n", " "),
    "PEM behind a certificate": lambda algorithm: "-----BEGIN CERTIFICATE-----\nAA==\n" + pem(algorithm),
    "JWK": jwk,
}


def native(private_key: Any, how: str = "PKCS8", password: bytes | None = None) -> str:
    """A key of cryptography as PEM."""
    encrypt = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = getattr(serialization.PrivateFormat, how)
    return str(private_key.private_bytes(serialization.Encoding.PEM, form, encrypt).decode())


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("algorithm", MAKERS)
def test_the_key_says_the_algorithm(form: Any, algorithm: str) -> None:
    """A key of each kind is read from PEM and JWK, however its lines are broken, and signs by its own algorithm."""
    signing_key = load_key("key", f"\n{form(algorithm)}\n")
    assert signing_key.choose_algorithm(None) == algorithm
    header, claims = opened(signing_key.sign({"alg": algorithm}, {"a": 1}), key(algorithm))
    assert (header, claims) == ({"typ": "JWT", "alg": algorithm}, {"a": 1})


@pytest.mark.parametrize("how", ["TraditionalOpenSSL", "OpenSSH"])
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_the_older_formats_are_read(how: str, algorithm: str) -> None:
    """The formats that OpenSSL and OpenSSH write by themselves are read."""
    text = native(key(algorithm).private_key, how)
    assert load_key("key", text).public_jwk() == key(algorithm).as_dict(private=False)


PRIVATE_JWK = json.loads(jwk("ES256"))
PUBLIC = "give the private key whose public key the server knows"
CURVES = "must be RSA or EC P-256 or EC P-384 or EC P-521 or Ed25519, and is of another kind or curve"
JWK_CURVES = "must be RSA or EC P-256 or EC P-384 or EC P-521 or Ed25519, and is a JWK of another kind or curve"
#: Written by ssh-keygen; cryptography needs bcrypt to write one.
ENCRYPTED = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAoAfYzfW
9lJdmVK5OeelwAAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIHBgMeHt4LH8St6r
/WVfjdJp292UYRB/hixpftDlf+N2AAAAkNf/iRBLkkjiYNIf7HHsrYJgNawBqKHYN6LsQr
Z10bVuqqUv+5ujRJxuwxFYXZtyh2jdE2TM7PSteaBy3Cqh7Q76fm5XutkHPXG5lJTF9enu
pSx5D7UK/woO2TwU+Cr4X9lSdGtIAZzXpc65a/niXbSyq1Oa3pvVhCZuSDHcQHtqpf4lFY
+C2Vgb5cWsPRV3Pg==
-----END OPENSSH PRIVATE KEY-----"""
SMALL = rsa.generate_private_key(65537, 1024)
SMALL_JWK = RSAKey(SMALL, SMALL).as_dict(private=True)
WRONG: dict[str, tuple[str, str]] = {
    "RSA, 1024 bits": (native(SMALL), "is an RSA key of 1024 bits, and RFC 7518 §3.3 asks for 2048 or more"),
    "a JWK of 1024 bits": (json.dumps(SMALL_JWK), "is an RSA key of 1024 bits"),
    "a public key": (
        key("ES256").as_pem(private=False).decode(),
        f"must be a private key, and is a public key; {PUBLIC}",
    ),
    "a public JWK": (jwk("ES256", d=None), "must be a private key, and is a JWK of a public one"),
    "encrypted": (native(SMALL, password=b"pass"), "is encrypted with a password; decrypt it"),
    "encrypted, as of old": (native(SMALL, "TraditionalOpenSSL", b"pass"), "is encrypted with a password"),
    "encrypted, OpenSSH": (ENCRYPTED, "is encrypted with a password"),
    "a certificate": ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "and is a certificate"),
    "other PEM": ("-----BEGIN X509 CRL-----\nAA==\n-----END X509 CRL-----", "must be a private key, and is other PEM"),
    "a part of a PEM": (pem("ES256")[:-30], "must be a private key, and is cut off"),
    "a damaged PEM": (pem("ES256").replace("M", "A"), "is a PEM that is damaged; copy it again"),
    "another curve": (native(ec.generate_private_key(ec.SECP256K1())), CURVES),
    "a Brainpool curve": (native(ec.generate_private_key(ec.BrainpoolP256R1())), CURVES),
    "Ed448": (native(ed448.Ed448PrivateKey.generate()), CURVES),
    "DSA": (native(dsa.generate_private_key(1024)), CURVES),
    "a JWK of another curve": (jwk("ES256", crv="secp256k1"), JWK_CURVES),
    "a JWK of another kind": (jwk("ES256", kty="X", crv=None), JWK_CURVES),
    "no kty": (jwk("ES256", kty=None), "is a JWK without kty, the kind of the key"),
    "a symmetric JWK": (json.dumps({"kty": "oct", "k": "AAAA"}), "must be a private key, and is a symmetric JWK (oct)"),
    "a set of keys": (json.dumps({"keys": [PRIVATE_JWK]}), "must be one key, and is a set of JWKs"),
    "a service account": (json.dumps({"private_key": "x"}), "is JSON that has one in its member private_key"),
    "a key for encryption": (jwk("ES256", use="enc"), "is a JWK that is not for signatures"),
    "a key for other things": (jwk("ES256", key_ops=["deriveKey"]), "is a JWK that is not for signing"),
    "another alg": (jwk("ES256", alg="ES384"), "is a JWK whose alg is none of ES256"),
    "a damaged JWK": (jwk("ES256", x="AAAA"), "is a JWK that is damaged; copy it again"),
    "no JSON": (jwk("ES256")[:-1], "is a JWK that is damaged"),
    "a path": ("/etc/keys/client", "must be the text of a key, and is a path; give the path by SecretFile"),
    "a file": ("client.pem", "give the path by SecretFile"),
    "a word": ("s3cr3t-w0rd", "is no key: PEM begins with -----BEGIN PRIVATE KEY-----, a JWK with {"),
    "nothing": (" \n", "must not be empty"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_key_is_named(text: str, said: str, tmp_path: Path) -> None:
    """A text is refused at once, a callable and a file by the token request; the error says what it is, and no more."""
    with pytest.raises(ConfigurationError) as caught:
        PrivateKeyJWT(text)
    assert str(caught.value).startswith("key ")
    assert said in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert not text.strip() or text not in variables_of(caught.value)
    file = tmp_path / "key"
    file.write_text(text)
    for late in (lambda: text, SecretFile(file)):
        with pytest.raises(ConfigurationError) as caught:
            load_key("key", PrivateKeyJWT(late).key)
        assert said in str(caught.value)


HALVES = {
    "half": lambda text: text[: len(text) // 2],
    "a few characters": lambda text: text[:5],
    "empty": lambda _: "",
    "one key's begin, another one's end": lambda text: text[:80] + pem("ES256", 1)[80:],
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("form", [pem, jwk])
def test_a_file_that_is_being_written_keeps_its_key(
    form: Any, half: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file whose content is damaged has the key that was read there before; one warning says so, and not the key."""
    path = tmp_path / "key"
    client, file = PrivateKeyJWT(SecretFile(path)), SecretFile(path)
    path.write_text(half(form("ES256")))
    with pytest.raises(ConfigurationError):
        load_key("key", file)
    for number, text in enumerate((form("ES256"), form("RS256"))):
        path.write_text(text)
        good, secrets = load_key("key", file), client.secrets()
        for _ in range(3):
            path.write_text(half(form("ES256")))
            assert load_key("key", file) is good
            assert client.secrets() == secrets
        assert len(logged(caplog)) == number + 1
    assert logged(caplog)[0].startswith(f"the secret file {str(path)!r} ")
    assert "the key that it held before is used" in caplog.text
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_key("key", file)


@pytest.mark.parametrize("value", [b"key", None, 1, {"kty": "EC"}, Path("key.pem")], ids=repr)
def test_a_key_is_text(value: Any) -> None:
    """Anything but a str or a callable is refused."""
    with pytest.raises(ConfigurationError, match=r"^key must be PEM or JWK text.*SecretFile\(path\)$"):
        PrivateKeyJWT(value)


@pytest.mark.parametrize(
    ("text", "algorithm", "said"),
    [
        (pem("RS256"), "ES256", "algorithm must be RS256 or .* or PS512, as key is RSA, 2048 bits; leave it out, or"),
        (pem("ES256"), "ES384", "algorithm must be ES256, as key is EC P-256"),
        (pem("EdDSA"), "RS256", "algorithm must be EdDSA or Ed25519, as key is Ed25519"),
        (pem("RS256"), "HS256", "algorithm must be one of RS256, "),
    ],
)
def test_an_algorithm_that_does_not_fit_is_refused(text: str, algorithm: str, said: str) -> None:
    """An algorithm that the key cannot sign by is refused at once."""
    with pytest.raises(ConfigurationError, match=said):
        PrivateKeyJWT(text, algorithm=algorithm)


def test_a_jwk_says_its_algorithm_and_kid() -> None:
    """``alg`` and ``kid`` of a JWK are used; another algorithm that fits may be given."""
    signing_key = load_key("key", jwk("RS256", alg="PS256", kid="k1"))
    assert (signing_key.choose_algorithm(None), signing_key.choose_algorithm("RS512")) == ("PS256", "RS512")
    assert (signing_key.key_id, repr(signing_key)) == ("k1", "SigningKey(RSA, 2048 bits)")
    assert load_key("key", jwk("ES256")).key_id is None


def test_a_key_is_read_once() -> None:
    """A text that was read is kept, as that of a callable is, until it changes; few are kept."""
    texts = [pem("ES256", number) for number in range(70)]
    now = texts[0]
    kept = load_key("key", lambda: now)
    assert load_key("key", texts[0]) is load_key("other", lambda: "".join(now)) is kept
    now = texts[1]
    assert load_key("key", lambda: now) is not kept
    for text in texts:
        load_key("key", text)
    assert load_key("key", texts[0]) is not kept


def test_libraries_are_loaded_by_the_first_key() -> None:
    """An import loads no cryptography; a key from a callable is read by the token request."""
    code = (
        "import sys, auth_plugins; make = auth_plugins.PrivateKeyJWT; make(auth_plugins.SecretFile('/gone'));"
        "print(*{'cryptography', 'joserfc', 'authlib'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_key_can_be_pickled() -> None:
    """Its object is pickled with the text, as grants are."""
    made = PrivateKeyJWT(pem("ES256"), key_id="k")
    assert pickle.loads(pickle.dumps(made)) == made
