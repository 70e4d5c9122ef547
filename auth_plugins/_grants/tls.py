"""TLS with the servers of a grant: the client's certificate, and the CA that is trusted."""

from __future__ import annotations

from typing import Any, Self, cast

from auth_plugins._base.tls_files import NO_FILES, TLSFiles
from auth_plugins._client_auth.base import ClientAuthentication
from auth_plugins._client_auth.named import authentication_of

from .base import FrozenGrant


class TLSGrant(FrozenGrant):
    """A grant whose token requests may need files for TLS."""

    client_auth: Any
    #: The path of the CA certificates to trust, by the variable CA_BUNDLE; ``None``: those that the library trusts.
    _ca_bundle: str | None

    @property
    def tls_setting(self) -> str:
        if isinstance(self.client_auth, ClientAuthentication) and self.client_auth.brings_certificate:
            return "client_auth"
        return "" if self._ca_bundle is None else "CA_BUNDLE"

    @property
    def uses_mutual_tls(self) -> bool:
        """Whether the client has a certificate: the endpoints for it may be other ones (RFC 8705 §5)."""
        authentication = authentication_of(self.client_auth)
        return authentication is not None and authentication.name == "tls_client_auth"

    def tls_files(self) -> TLSFiles:
        """Return the files for TLS with the token endpoint, the revocation endpoint and the server's metadata."""
        authentication = authentication_of(self.client_auth)
        files = NO_FILES if authentication is None else authentication.tls_files()
        return files if self._ca_bundle is None else files._replace(ca=self._ca_bundle)

    def with_ca_bundle(self, path: str | None) -> Self:
        """Return the same grant, whose token requests trust the CA certificates in the file *path*, and no others."""
        from dataclasses import replace

        changed = cast("Self", replace(cast("Any", self)))
        object.__setattr__(changed, "_ca_bundle", path)
        return changed
