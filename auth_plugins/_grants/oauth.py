"""What the grants of OAuth 2.0 have in common: options, token requests, refresh requests and revocation requests."""

# No "from __future__ import annotations": grants in other modules inherit the types of the fields.

import functools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, cast

from auth_plugins._base import mappings, validation
from auth_plugins._base.errors import REFUSED_REFRESH_TOKEN, TokenRequestError
from auth_plugins._base.loading import small_imports
from auth_plugins._base.validation import ClientAuth, Encoding, Method, Parameter, Secret, check_url, one_of
from auth_plugins._client_auth.base import Client, ClientAuthentication
from auth_plugins._client_auth.named import authentication_of, check_client_auth
from auth_plugins._protocol.tokens import Token

from .base import Ask
from .combinations import check_combination
from .frozen import Checks
from .issuer import Issuer, check_endpoint_or_issuer
from .tls import DPoPGrant

if TYPE_CHECKING:
    from auth_plugins._client_auth.dpop import DPoPKey
    from auth_plugins._protocol.messages import TokenRequest
    from auth_plugins._protocol.metadata import Metadata
else:  # so that annotations can be resolved; few grants have a key, and all import this module
    DPoPKey = Any

_Pairs = Sequence[tuple[str, Any]]
#: The options whose values may be callables.
_WITH_CALLABLES = ("params", "refresh_params", "headers")
#: Options that version 0.1.0 did not have. Left out they are no part of the identity, so that its entries are found.
_NEW = ("answer", "names", "refresh_params", "lifetime", "dpop")


def _check_dpop(argument: str, value: Any) -> Any:
    with small_imports():
        from auth_plugins._client_auth.dpop import check_dpop
    return check_dpop(argument, value)


class _Client(DPoPGrant):
    """The client; each grant declares these fields at their place among its positional arguments."""

    client_id: str | None
    client_secret: Secret | None


@dataclass(frozen=True, eq=False, init=False, repr=False)
class OAuthGrant(_Client):
    """The options of every OAuth grant; :class:`ClientCredentials` documents them."""

    token_url: str | Issuer
    _: KW_ONLY
    scope: str | Sequence[str] | None = None
    audience: str | None = None
    resource: str | Sequence[str] | None = None
    client_auth: ClientAuth | ClientAuthentication | None = None
    encoding: Encoding = "form"
    method: Method = "POST"
    params: Mapping[str, Parameter] | tuple[tuple[str, Parameter], ...] | None = field(default=None, repr=False)
    headers: Mapping[str, Secret] | tuple[tuple[str, Secret], ...] | None = field(default=None, repr=False)
    revocation_url: str | None = None
    answer: Mapping[str, str] | tuple[tuple[str, str], ...] | None = None
    names: Mapping[str, str] | tuple[tuple[str, str], ...] | None = None
    refresh_params: Mapping[str, Parameter] | tuple[tuple[str, Parameter], ...] | None = field(default=None, repr=False)
    lifetime: float | None = None
    dpop: bool | DPoPKey | None = None
    #: True, 1 and 1.0 are equal, but not the same in a request.
    _param_types: tuple[str, ...] = field(default=(), init=False, repr=False)
    #: See :class:`.tls.TLSGrant`; no token depends on it.
    _ca_bundle: str | None = field(default=None, init=False, repr=False, compare=False)

    #: Fields on which no token depends.
    _no_identity: ClassVar[Sequence[str]] = ("_ca_bundle",)
    _checks: ClassVar[Checks] = {
        "token_url": check_endpoint_or_issuer,
        "client_id": validation.check_id,
        "client_secret": validation.check_secret,
        "scope": validation.join_scope,
        "audience": validation.check_text,
        "resource": validation.freeze_strings,
        "client_auth": check_client_auth,
        "encoding": one_of(*validation.ENCODINGS),
        "method": one_of(*validation.METHODS),
        "params": mappings.freeze_params,
        "headers": mappings.freeze_headers,
        "revocation_url": check_url,
        "answer": mappings.freeze_answer,
        "names": mappings.freeze_names,
        "refresh_params": mappings.freeze_params,
        "lifetime": validation.check_lifetime,
        "dpop": _check_dpop,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.client_auth is None and (self.client_secret is None or not isinstance(self.token_url, Issuer)):
            default = "none" if self.client_secret is None else "client_secret_basic"
            object.__setattr__(self, "client_auth", default)
        if self.params or self.refresh_params:
            pairs = (*self._pairs("params"), *self._pairs("refresh_params"))
            object.__setattr__(self, "_param_types", tuple(type(value).__name__ for _, value in pairs))
        check_combination(self)

    @abstractmethod
    def _parameters(self) -> dict[str, str]:
        """Return ``grant_type`` and the parameters of this grant, with the present values of its secrets."""

    def metadata_values(self, metadata: "Metadata", issuer: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Return further values of attributes that the metadata of *issuer* name."""
        return {}

    def secrets(self) -> tuple[str, ...]:
        secret = self._present_client_secret()
        authentication = authentication_of(self.client_auth)
        proofs = () if authentication is None else authentication.secrets()
        return (*(() if secret is None else (secret,)), *proofs, *self._dpop_secrets(), *_secret_files(self))

    def _present_client_secret(self) -> str | None:
        return None if self.client_secret is None else validation.resolve_secret("client_secret", self.client_secret)

    def identity(self) -> Mapping[str, Any]:
        # The fields, as a subclass may have them in slots, and all other attributes.
        values = {**{each.name: getattr(self, each.name) for each in fields(self)}, **vars(self)}
        values = {name: value for name, value in values.items() if name not in self._no_identity}
        members = {
            name: validation.resolve_secret(name, value) if callable(value) else value for name, value in values.items()
        }
        resolved = {name: [*self._resolved(name)] for name in _WITH_CALLABLES if members[name] is not None}
        if isinstance(self.client_auth, ClientAuthentication):
            members["client_auth"] = self.client_auth.identity()
        members |= self._dpop_identity()
        members = {name: value for name, value in members.items() if name not in _NEW or value is not None}
        if isinstance(self.token_url, Issuer):  # tokens stay valid when its endpoints move; no URL has a space
            members["token_url"] = f"issuer {self.token_url}"
        return {"grant": type(self).__qualname__, "of": type(self).__module__, **members, **resolved}

    def request_token(self, ask: Ask) -> Token:
        return ask(self.grant_request())

    def grant_request(self) -> "TokenRequest":
        """Return the request for a token by the grant itself; no I/O."""
        parameters = self._parameters()
        if self.scope:
            parameters["scope"] = str(self.scope)
        return self._request("token_url", parameters, self._param_options())

    def _param_options(self) -> tuple[str, ...]:
        """Return the options that hold the further parameters of a request for the grant itself."""
        return ("params",)

    def refresh(self, ask: Ask, refresh_token: str | None) -> Token | None:
        if refresh_token is None:
            return None
        try:
            token = ask(self.refresh_request(refresh_token))
        except TokenRequestError as error:
            if not self.refresh_refused(error, refresh_token):
                raise
            return None
        # "The authorization server MAY issue a new refresh token" (RFC 6749 §6); else the old one stays valid.
        return token if token.refresh_token else Token(**{**token.members(), "refresh_token": refresh_token})

    def refresh_request(self, refresh_token: str) -> "TokenRequest":
        """Return the request that refreshes a token; no I/O."""
        # Without scope, which means "what was granted" (RFC 6749 §6): that may be less than what was requested.
        parameters = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._request(self._refresh_endpoint(), parameters, ("params", "refresh_params"), is_refresh=True)

    def _refresh_endpoint(self) -> str:
        """Return the name of the argument that holds the URL for refresh requests."""
        return "token_url"

    def refresh_refused(self, error: TokenRequestError, refresh_token: str) -> bool:  # noqa: ARG002
        """Return whether *error* means that *refresh_token* is no longer valid, so that the grant itself is used."""
        return error.error in REFUSED_REFRESH_TOKEN

    def revocation_requests(self, access_token: str | None, refresh_token: str | None) -> "Sequence[TokenRequest]":
        if self.revocation_url is None:
            return ()
        hints = {"refresh_token": refresh_token, "access_token": access_token}
        return [
            self._request("revocation_url", {"token": value, "token_type_hint": hint}, ("params",))
            for hint, value in hints.items()
            if value
        ]

    def _pairs(self, option: str) -> _Pairs:
        """Return an option that is a mapping, as it was frozen."""
        return cast("_Pairs", getattr(self, option) or ())

    def _resolved(self, option: str) -> _Pairs:
        """Return an option with the present values of its callables."""
        if not (pairs := self._pairs(option)):
            return ()
        resolve = mappings.resolve_headers if option == "headers" else mappings.resolve_params
        return resolve(option, pairs)

    def _request(
        self,
        endpoint: str,
        parameters: dict[str, str],
        options: tuple[str, ...],
        *,
        is_refresh: bool = False,
        added: _Pairs = (),
    ) -> "TokenRequest":
        """Return a request; *options* hold its further parameters, the last of which count most, and *added* least."""
        from auth_plugins._protocol.authlib_client import build

        is_revocation, names = "grant_type" not in parameters, dict(self._pairs("names"))
        if self.audience and not is_revocation:
            parameters["audience"] = self.audience
        resolved = {name: self._resolved(name) for name in (*options, "headers")}
        if is_refresh:
            # A grant type in params is the grant's, not the refresh's; None removes it from both.
            own = ("grant_type", names.get("grant_type"))
            resolved["params"] = [pair for pair in resolved["params"] if pair[0] not in own or pair[1] is None]
        secret, authentication = self._present_client_secret(), authentication_of(self.client_auth)
        proof = authentication.parameters(Client(self.client_id, secret, str(self.token_url))) if authentication else {}
        request = build(
            getattr(self, endpoint),
            parameters,
            resources=() if is_revocation else tuple(self.resource or ()),
            params=[*added, *(pair for name in options for pair in resolved[name])],
            headers=resolved["headers"],
            called=self._called_values(resolved),
            names=names,
            client_id=self.client_id,
            client_secret=secret,
            client_auth="none" if authentication else str(self.client_auth),
            proof=proof,
            encoding=self.encoding,
            method="POST" if is_revocation else self.method,
            endpoint=endpoint,
        )
        rebuild = functools.partial(self._request, endpoint, parameters, options, is_refresh=is_refresh, added=added)
        if authentication:
            facts = request.facts.having(client_trouble=authentication.trouble)
            request = request.having(facts=facts, rebuild=rebuild)
        request = self._with_proof(request, rebuild)
        return request.having(answer=dict(self._pairs("answer")), lifetime=self.lifetime, tls=self.tls_files())

    def _called_values(self, resolved: Mapping[str, _Pairs]) -> list[str]:
        """Return the texts among *resolved* values that callables returned: secrets, whatever their names."""
        called = {(name, key) for name in resolved for key, value in self._pairs(name) if callable(value)}
        values = [value for name, pairs in resolved.items() for key, value in pairs if (name, key) in called]
        return [text for value in values for text in (value if isinstance(value, tuple) else (value,)) if text]


def _secret_files(grant: OAuthGrant) -> list[str]:
    """Return what the secret files hold that are values of options.

    Other callables are left out: what they return may change with each call, as a nonce does, and then no refusal
    would be remembered.
    """
    called = [value for name in _WITH_CALLABLES for _, value in grant._pairs(name) if callable(value)]
    if not called:
        return []
    from auth_plugins._base.secret_file import SecretFile

    return [value() for value in called if isinstance(value, SecretFile)]
