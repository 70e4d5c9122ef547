"""What token requests need besides parameters: files for TLS (certificate and CA), and DPoP proofs (RFC 9449)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from auth_plugins._base.tls_files import NO_FILES, TLSFiles
from auth_plugins._client_auth.base import ClientAuthentication
from auth_plugins._client_auth.named import authentication_of

from .frozen import FrozenGrant

if TYPE_CHECKING:
    from auth_plugins._client_auth.proofs import Prover
    from auth_plugins._protocol.messages import TokenRequest


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
        return files if self._ca_bundle is None else files.having(ca=self._ca_bundle)

    def with_ca_bundle(self, path: str | None) -> Self:
        """Return the same grant, whose token requests trust the CA certificates in the file *path*, and no others."""
        changed: Self = copy.copy(self)
        object.__setattr__(changed, "_ca_bundle", path)
        return changed


class DPoPGrant(TLSGrant):
    """A grant whose tokens may be bound to a key."""

    #: A DPoPKey or OwnKey; ``None``: tokens are bound to none.
    dpop: Any

    def prover(self) -> Prover | None:
        return None if self.dpop is None else self.dpop.prover(self)

    @property
    def unshared_reason(self) -> tuple[str, str]:
        if self.dpop is None or hasattr(self.dpop, "key"):
            return "", ""
        problem = "shared with other processes needs a key for {dpop} that they all have, as tokens are bound to it"
        return (
            problem,
            "give {dpop} a DPoPKey(SecretFile(path)), which PREFIX_DPOP_KEY_FILE is too, or use no shared {cache}",
        )

    def _dpop_secrets(self) -> tuple[str, ...]:
        secrets: tuple[str, ...] = () if self.dpop is None else self.dpop.secrets()
        return secrets

    def _dpop_identity(self) -> dict[str, Any]:
        return {} if self.dpop is None else {"dpop": self.dpop.identity()}

    def _with_proof(self, request: TokenRequest, rebuild: Callable[[], TokenRequest]) -> TokenRequest:
        """Return *request* with a proof, if it is for a token, and tokens are bound to a key."""
        prover = None if request.facts.endpoint == "revocation_url" else self.prover()
        if prover is None:
            return request
        proof = prover.token_proof(request.method, request.url)
        facts = request.facts.having(has_proof=True)
        return proof.put(request).having(facts=facts, rebuild=rebuild, accepts_dpop=True)
