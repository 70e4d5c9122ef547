"""The files that TLS with the token endpoint needs: the client's certificate and key, and the CA of the server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .frozen import Record
from .loading import request_imports
from .runtime import runtime

if TYPE_CHECKING:
    import ssl

    from cryptography.x509 import Certificate

#: How often files that do not fit are read again, and the seconds before that: another program may be replacing them.
_FURTHER_READS, _PAUSE = 2, 0.1
#: Characters. What is longer is the content of a file rather than its path.
_LONGEST_PATH = 1024
#: OpenSSL's names for a key that does not belong to the certificate, one of another kind included.
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
#: What DER, and so PKCS #12, begins with.
_DER_BEGIN = b"\x30"


class TLSFiles(Record):
    """Paths of files in PEM, read for each token request, so that a certificate that rotates takes effect."""

    #: The client's certificate, and those of its issuers; ``None``: the client has none.
    certificate: str | None = None
    #: Its private key; ``None``: it is in the file of the certificate.
    key: str | None = None
    #: The password of the private key, hidden; ``None``: it has none.
    password: str | None = None
    #: The CA certificates that the server is checked against; ``None``: those that the library trusts.
    ca: str | None = None

    def context(self, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Return a new context with these files.

        Files that do not fit are read again a moment later, as they may be half written.

        :param default: returns a new context with what the library trusts.
        :raises ConfigurationError: a file cannot be used; the error names its path, and shows nothing of its content.
        """
        context = default() if self.ca is None else _context_of_ca(self.ca)
        if self.certificate is None:
            return context
        for _ in range(_FURTHER_READS):
            try:
                self._load(self.certificate, context)
            except ConfigurationError:
                runtime.clock.sleep(_PAUSE)
            else:
                return context
        self._load(self.certificate, context)
        return context

    def digests(self) -> tuple[str, ...]:
        """Return a digest of each file of the client: another one means that the file has changed.

        :raises ConfigurationError: a file cannot be read.
        """
        import hashlib

        paths = {"certificate": self.certificate, "key": self.key}
        return tuple(hashlib.sha256(_read(path, kind)).hexdigest() for kind, path in paths.items() if path)

    def _load(self, path: str, context: ssl.SSLContext) -> None:
        certificate = read_certificate(path)
        if certificate.not_valid_after_utc.timestamp() < runtime.clock.time():
            raise file_error(
                "certificate",
                path,
                f"expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
                "have it renewed, or set this machine's clock right",
            )
        prompts: list[None] = []

        def password() -> str:  # without it, OpenSSL would ask at the terminal
            prompts.append(None)
            return self.password or ""

        try:
            context.load_cert_chain(path, self.key or path, password)
        except (OSError, ValueError) as error:
            problem = self._key_error(error, is_encrypted=bool(prompts))
        else:
            return
        raise problem

    def _key_error(self, error: Exception, *, is_encrypted: bool) -> ConfigurationError:
        """Return what *error*, raised by OpenSSL for the key, means."""
        import ssl

        kind, path = ("key", self.key) if self.key else ("certificate", self.certificate or "")
        reason = getattr(error, "reason", None)
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            return _unreadable(kind, path, error)
        if reason in _MISMATCHES:
            problem, advice = "does not belong to the certificate", f"give the key of {self.certificate!r}"
            return file_error(kind, path, problem if self.key else "has the key of another certificate", advice)
        if is_encrypted and self.password is None:
            return file_error(kind, path, "is encrypted", "decrypt the file, or give {password} to TLSClientAuth")
        if is_encrypted:
            return file_error(kind, path, "cannot be decrypted by this password", "check {password}")
        if reason:
            return file_error(kind, path, f"cannot be used ({reason})", "have a new key and certificate made")
        return _no_pem(kind, path, "private key") if self.key else _no_key(path)


#: The client has no certificate, and the library decides what it trusts.
NO_FILES = TLSFiles()


def check_path(argument: str, path: object) -> str:
    """Return the absolute path of a file; ``~`` is the home directory.

    :raises ConfigurationError: it is empty or no path, looks like the content of a file, or is relative and the working
        directory is gone.
    """
    if not isinstance(path, (str, os.PathLike)) or not (text := os.fspath(path)) or not isinstance(text, str):
        raise ConfigurationError("must be the path of a file", argument=argument)
    if "-----" in text or not text.isprintable() or len(text) > _LONGEST_PATH:
        advice = "store it in a file, and give the path of that"
        raise ConfigurationError("must be the path of a file, not its content", argument=argument, advice=advice)
    try:
        return os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - stays a str
    except OSError:  # the working directory was deleted
        raise ConfigurationError("must be absolute, as the working directory is gone", argument=argument) from None


def read_certificate(path: str) -> Certificate:
    """Return the first certificate in a file, which is the client's.

    :raises ConfigurationError: it cannot be read, or is none in PEM.
    """
    with request_imports():
        from cryptography import x509
    try:
        # The file may hold the key as well: no frame of ours has its content as a variable.
        return x509.load_pem_x509_certificates(_read(path, "certificate"))[0]
    except ConfigurationError:
        raise
    except Exception:  # cryptography's errors have no base class
        problem = _no_pem("certificate", path, "certificate")
    raise problem


def check_ca(path: str) -> None:
    """Refuse a file that holds no CA certificates."""
    _context_of_ca(path)


def file_error(kind: str, path: str, problem: str, advice: str) -> ConfigurationError:
    """Return the error for a file; *kind* says what it should hold."""
    return ConfigurationError(problem, argument=f"the {kind} file {path!r}", advice=advice)


def _context_of_ca(path: str) -> ssl.SSLContext:
    import ssl

    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        problem = _no_pem("CA", path, "CA certificate")
    except OSError as error:
        problem = _unreadable("CA", path, error)
    raise problem


def _read(path: str, kind: str) -> Any:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        problem = _unreadable(kind, path, error)
    raise problem


def _unreadable(kind: str, path: str, error: OSError) -> ConfigurationError:
    return file_error(kind, path, f"cannot be read ({error.strerror})", "check path and permissions")


def _no_key(path: str) -> ConfigurationError:
    advice = "give {key} to TLSClientAuth (or the variable CERTIFICATE_KEY), or a file that holds both"
    return file_error("certificate", path, "holds no private key", advice)


def _no_pem(kind: str, path: str, expected: str) -> ConfigurationError:
    if _read(path, kind).startswith(_DER_BEGIN):
        return file_error(kind, path, "is in DER or PKCS #12, not in PEM", "convert it by openssl x509, pkey or pkcs12")
    return file_error(kind, path, f"holds no {expected} in PEM", "check that it is the right file, and whole")
