"""The keys of the enterprise system's client, and certificates of both, made when they are first needed, in files."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey

from ._enterprise import KeyFiles


class KeyStore:
    """Makes the keys and writes the files into *directory*."""

    def __init__(self, directory: Path, client_id: str, key_id: str) -> None:
        private_key = ec.generate_private_key(ec.SECP256R1())
        #: The public key of the client, as the server has it registered.
        self.public_key = ECKey.import_key(private_key.public_key(), {"kid": key_id})
        subject, host = x509.DNSName(client_id), x509.IPAddress(ip_address("127.0.0.1"))
        contents = (_pem(private_key), *_certificate(client_id, subject), *_certificate("127.0.0.1", host))
        paths = [directory / f"{name}.pem" for name in ("private-key", "client", "client-key", "ca", "server-key")]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        self.files = KeyFiles(*map(str, paths[:4]))
        #: Serves TLS, and knows the client by its certificate. Without one, the server refuses by HTTP.
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.files.certificate)
        self.tls.verify_mode = ssl.CERT_OPTIONAL
        self.tls.load_cert_chain(self.files.ca, paths[4])


def _certificate(name: str, address: x509.GeneralName) -> tuple[bytes, bytes]:
    """Return a certificate that is signed by its own key, and that key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _pem(key)


def _pem(key: Any) -> bytes:
    content: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return content
