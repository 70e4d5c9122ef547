"""A partner that takes keys and certificates instead of secrets, and binds its tokens to them."""

import os
import secrets
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ._seen import Seen
from ._system import Refusal, Reply, System, require

if TYPE_CHECKING:
    from ._key_files import KeyStore

#: The algorithms by which clients may sign.
ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Seconds until a nonce is replaced; the last one is accepted as well.
_NONCE_LIFETIME = 300


class KeyFiles(NamedTuple):
    """The paths of the PEM files that a client of :class:`EnterpriseApi` needs."""

    private_key: str  #: The client's key for assertions.
    certificate: str  #: The client's certificate.
    certificate_key: str  #: Its private key.
    ca: str  #: The certificate of the server.


def _remove(directory: str, process: int) -> None:
    if process == os.getpid():  # a forked child that ends leaves its parent the files
        shutil.rmtree(directory, ignore_errors=True)


class EnterpriseApi(System):
    """Metadata (RFC 8414); ``private_key_jwt`` (RFC 7523), with DPoP and nonces (RFC 9449); or mutual TLS (RFC 8705).

    An assertion needs its ``kid``, and as its audience the token endpoint or the issuer. Both endpoints want a proof
    with a nonce of their own, which each answer has. Mutual TLS is served at :attr:`mtls_url`: token endpoint and API,
    which both want the certificate of the client.

    The keys are made when they are first needed, by joserfc and cryptography, which are loaded then.
    """

    name = "enterprise-api"
    client_id = "enterprise-client"
    key_id = "2026-11"  #: The ``kid`` of the client's key.
    token_path = "/oauth2/token"
    metadata_paths = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
    accepted: ClassVar = {("token", "POST"): ("client assertion", "certificate")}
    token_place = "DPoP"

    def __init__(self, lifetime: float, clock: Callable[[], float]) -> None:
        super().__init__(lifetime, clock)
        self.mtls_url = ""  #: ``https://127.0.0.1:PORT``, once started.
        self._salt, self._spent = secrets.token_hex(8), set[str]()  # the ``jti`` of each assertion and proof
        self._store: KeyStore | None = None
        self._making = threading.Lock()  # guards `_store`

    @property
    def mtls_api_url(self) -> str:
        """A URL of the API for tokens that are bound to a certificate."""
        return self.mtls_url + self.api_path

    @property
    def files(self) -> KeyFiles:
        """The files of the client, which are made when they are first needed.

        They are in a temporary directory, which is removed with the system, at the latest when Python ends.
        """
        return self._keys().files

    def variables(self, prefix: str) -> dict[str, str]:
        """Return the environment variables of a client with a key, whose tokens are bound to another key."""
        key = {"client_auth": "private_key_jwt", "private_key_file": self.files.private_key, "key_id": self.key_id}
        return self._variables(prefix, {**key, "dpop": "true"})

    def mtls_variables(self, prefix: str) -> dict[str, str]:
        """Return the environment variables of a client with a certificate."""
        files = self.files
        paths = {"certificate": files.certificate, "certificate_key": files.certificate_key, "ca_bundle": files.ca}
        return self._variables(prefix, {"client_auth": "self_signed_tls_client_auth", **paths})

    def tls(self) -> SSLContext:
        """Return what serves :attr:`mtls_url`."""
        return self._keys().tls

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, certificate: bytes | None = None
    ) -> Reply:
        reply = super().answer(method, target, headers, body, certificate)
        path = target.partition("?")[0]
        nonce = {} if path in self.metadata_paths else {"DPoP-Nonce": self._nonces(path == self.token_path)[0]}
        return reply._replace(headers={**reply.headers, **nonce})

    def _variables(self, prefix: str, others: Mapping[str, str]) -> dict[str, str]:
        values = {"issuer": self.url, "client_id": self.client_id, **others}
        return {f"{prefix}_{name.upper()}": value for name, value in values.items()}

    def _keys(self) -> "KeyStore":
        with self._making:
            if self._store is None:
                from ._key_files import KeyStore

                directory = tempfile.mkdtemp(prefix="auth-plugins-sandbox-")
                weakref.finalize(self, _remove, directory, os.getpid())
                self._store = KeyStore(Path(directory), self.client_id, self.key_id)
            return self._store

    def _call_api(self, path: str, request: Seen) -> object:
        if path in self.metadata_paths:
            request.at = "metadata"
            return self._metadata()
        return super()._call_api(path, request)

    def _metadata(self) -> object:
        token_endpoint = self.url + self.token_path
        return {
            "issuer": self.url,
            "token_endpoint": token_endpoint,
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "self_signed_tls_client_auth"],
            "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "dpop_signing_alg_values_supported": ALGORITHMS,
            "grant_types_supported": self.grant_types,
            "response_types_supported": [],
            "tls_client_certificate_bound_access_tokens": True,
            "mtls_endpoint_aliases": {"token_endpoint": self.mtls_url + self.token_path},
        }

    def _refuse(self, at: str, refusal: Refusal) -> Reply:
        if refusal.status != 401:
            return super()._refuse(at, refusal)
        challenge = {"WWW-Authenticate": f'DPoP error="{refusal.content["error"]}", algs="{" ".join(ALGORITHMS)}"'}
        return Reply(refusal.content, 401, challenge if at == "api" else {})

    def _has_valid_token(self, request: Seen) -> bool:
        if not self._issued.is_valid(request.token):
            return False
        kind, _, bound_to = self._issued.access[request.token][0].partition(" ")
        if kind == "x5t#S256":
            return (request.credentials, request.certificate) == ("Bearer", bound_to)
        return request.credentials == "DPoP" and self._prove(request, 401, request.token) == bound_to

    def _respond(self, request: Seen) -> Reply:
        reply: Any = super()._respond(request)
        return Reply({**reply.content, "token_type": "Bearer" if request.credentials == "certificate" else "DPoP"})

    def _claims(self, family: str) -> dict[str, object]:
        kind, _, bound_to = family.partition(" ")
        return {**super()._claims(family), "cnf": {kind: bound_to}}

    def _family(self, request: Seen, parameters: Mapping[str, str]) -> str:
        """Return what the token is bound to: its kind, and its thumbprint."""
        names, bound_to = {"grant_type", "client_id"}, f"x5t#S256 {request.certificate}"
        if parameters.get("client_id", self.client_id) != self.client_id:
            raise Refusal(401, "invalid_client", "unknown client")
        if request.credentials == "client assertion":
            from ._verification import assertion_id

            names |= {"client_assertion", "client_assertion_type"}
            audiences, now = (self.url + self.token_path, self.url), self._clock()
            jti = assertion_id(parameters["client_assertion"], self._keys().public_key, self.client_id, audiences, now)
            self._spend(f"assertion {jti}", Refusal(401, "invalid_client", "client assertion: its jti was used before"))
            bound_to = f"jkt {self._prove(request, 400)}"
            parameters = {"client_id": self.client_id, **parameters}  # the assertion names the client as well
        require(names, parameters)
        if parameters.get("client_assertion_type", _ASSERTION_TYPE) != _ASSERTION_TYPE:
            raise Refusal(400, "invalid_request", f"client_assertion_type must be {_ASSERTION_TYPE}")
        if request.grant_type != "client_credentials":
            raise Refusal(400, "unsupported_grant_type")
        return bound_to

    def _prove(self, request: Seen, status: int, access_token: str = "") -> str:
        """Return the thumbprint of the key by whose proof *request* was sent."""
        from ._verification import proof_of

        path, nonces = request.target.partition("?")[0], self._nonces(request.at == "token")
        urls = [self.url + path, self.mtls_url + path]
        proof = request.headers.get("dpop", "")
        thumbprint, jti = proof_of(proof, status, request.method, urls, access_token, nonces, self._clock())
        self._spend(f"proof {jti}", Refusal(status, "invalid_dpop_proof", "DPoP proof: its jti was used before"))
        return thumbprint

    def _spend(self, jti: str, refusal: Refusal) -> None:
        if jti in self._spent:
            raise refusal
        self._spent.add(jti)

    def _nonces(self, is_token: bool) -> list[str]:  # noqa: FBT001 - one of two servers
        """Return the nonces that one of the two servers accepts, the present one first."""
        number = int(self._clock() // _NONCE_LIFETIME)
        return [f"{'token' if is_token else 'api'}-{each}-{self._salt}" for each in (number, number - 1)]
