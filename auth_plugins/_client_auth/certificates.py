"""Client authentication by a certificate (RFC 8705): the one of files, or the one of a session."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from auth_plugins._base.frozen import Checks
from auth_plugins._base.hidden import hidden, hide_arguments
from auth_plugins._base.tls_files import TLSFiles, check_path
from auth_plugins._base.validation import Secret, check_secret, resolve_secret

from .base import Client, ClientAuthentication

_Path = str | os.PathLike[str]


class SessionCertificate(ClientAuthentication):
    """The certificate of the session or client that sends the token requests: its name is in ``client_auth``."""

    name = "tls_client_auth"
    trouble = "session_certificate"

    def parameters(self, client: Client) -> Mapping[str, str]:  # noqa: ARG002 - the base's
        return {}

    def secrets(self) -> tuple[str, ...]:
        return ()


@hide_arguments
@dataclass(frozen=True, eq=False)
class TLSClientAuth(ClientAuthentication):
    """Mutual TLS with the token endpoint (RFC 8705): the client presents a certificate, and sends its id only.

    Frozen, comparable and hashable, as grants are. The files are in PEM and read for each token request, so that a
    certificate that rotates takes effect: a changed one ends a remembered refusal.

    :param certificate: the path of the client's certificate, followed by those of its issuers if the server needs them;
        ``~`` is the home directory, and a relative path counts from the present working directory.
    :param key: the path of its private key; ``None`` (the default): it is in the file of the certificate.
    :param password: the password of the private key, a str or a callable that returns it; ``None`` (the default): the
        key is not encrypted.
    :param ca: the path of the CA certificates that the server's certificate is checked against, and no others; ``None``
        (the default): those that the HTTP library trusts.
    :raises ConfigurationError: an argument is no path, or holds the content of a file. A file that cannot be used is
        an error of the token request, which names its path.

    The adapters present it by a connection of their own, as a session carries a certificate of its own: together with
    ``session=`` or ``client=`` it is a :class:`ConfigurationError`.
    """

    certificate: _Path
    key: _Path | None = None
    _: KW_ONLY
    password: Secret | None = field(default=None, repr=False)
    ca: _Path | None = None

    name = "tls_client_auth"
    trouble = "certificate"
    brings_certificate = True
    _checks: ClassVar[Checks] = {
        "certificate": check_path,
        "key": check_path,
        "password": check_secret,
        "ca": check_path,
    }

    def parameters(self, client: Client) -> Mapping[str, str]:  # noqa: ARG002 - the base's
        return {}

    def secrets(self) -> tuple[str, ...]:
        files = self.tls_files()
        return (*files.digests(), *(() if files.password is None else (files.password,)))

    def tls_files(self) -> TLSFiles:
        password = None if self.password is None else hidden(resolve_secret("password", self.password))
        certificate, key, ca = (None if path is None else str(path) for path in (self.certificate, self.key, self.ca))
        return TLSFiles(certificate, key, password, ca)

    def identity(self) -> Mapping[str, Any]:
        # By their content: other machines have the same certificate in other places. The CA changes no token.
        return {"client_auth": type(self).__qualname__, "certificate": [*self.secrets()]}
