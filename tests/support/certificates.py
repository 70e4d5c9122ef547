"""Certificates of clients in files, whole and broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.keep_alive import make_certificate


def pair_of(directory: Path, name: str, days: int = 1) -> tuple[Path, Path]:
    """A self-signed certificate of that name, and its key, in two files."""
    (directory / name).mkdir(parents=True)
    both = make_certificate(directory / name, name, days)
    key, mark, certificate = both.read_text().partition("-----BEGIN CERTIFICATE")
    paths = directory / name / "certificate.pem", directory / name / "key.pem"
    paths[0].write_text(mark + certificate)
    paths[1].write_text(key)
    return paths


def rewritten(path: Path, *, password: str | None = None, kind: str = "PEM") -> Path:
    """A copy of a key, encrypted or in DER; of a certificate, in DER."""
    target, encoding, content = path.with_suffix(".copy"), getattr(serialization.Encoding, kind), path.read_bytes()
    if "certificate" in path.name:
        target.write_bytes(x509.load_pem_x509_certificate(content).public_bytes(encoding))
        return target
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    key = serialization.load_pem_private_key(content, None)
    target.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, encryption))
    return target


def rsa_key(path: Path) -> Path:
    """A key of another kind than those of the certificates here."""
    key = rsa.generate_private_key(65537, 2048)
    no_password = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password))
    return path


def swap(link: Path, target: Path) -> None:
    """Make *link* point to *target* in one step, as cert-manager and the kubelet do."""
    if os.name == "nt":
        pytest.skip("needs POSIX: a link that is swapped")
    link.with_suffix(".new").symlink_to(target)
    link.with_suffix(".new").replace(link)
