"""OAuth 2.0 for requests, httpx and httpx2: set ``auth=``, and never think of tokens again.

One grant × one adapter. A grant says what to send to the token endpoint. An adapter, ``OAuth2Auth`` of
``auth_plugins.requests``, ``auth_plugins.httpx`` or ``auth_plugins.httpx2``, puts the token on that library's requests.
Between them, one :class:`TokenSource` for each distinct grant decides when a token is fetched.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auth_plugins._adapters.graphql import graphql_unauthenticated
    from auth_plugins._base.errors import (
        AuthError,
        ConfigurationError,
        InsecureTransportError,
        LoginRequiredError,
        TokenRequestError,
        TokenTransportError,
    )
    from auth_plugins._base.observers import TokenEvent, add_observer, remove_observer
    from auth_plugins._base.secret_file import SecretFile
    from auth_plugins._caches.file import FileCache
    from auth_plugins._caches.keyring import KeyringCache
    from auth_plugins._caches.memory import MemoryCache
    from auth_plugins._caches.protocol import TokenCache
    from auth_plugins._caches.redis import RedisCache
    from auth_plugins._client_auth.assertions import ClientAssertion, ClientSecretJWT, PrivateKeyJWT
    from auth_plugins._client_auth.certificates import TLSClientAuth
    from auth_plugins._client_auth.dpop import DPoPKey
    from auth_plugins._client_auth.signed_jwt import SignedJWT
    from auth_plugins._environment.configuration import from_env
    from auth_plugins._grants.api_key import ApiKey
    from auth_plugins._grants.base import Grant
    from auth_plugins._grants.client_credentials import ClientCredentials
    from auth_plugins._grants.custom import Custom
    from auth_plugins._grants.issuer import Issuer
    from auth_plugins._grants.jwt_bearer import JWTBearer
    from auth_plugins._grants.password import Password
    from auth_plugins._grants.refresh_token import RefreshToken
    from auth_plugins._grants.sign_in.authorization_code import AuthorizationCode
    from auth_plugins._grants.sign_in.device_code import DeviceCode
    from auth_plugins._grants.token_exchange import TokenExchange
    from auth_plugins._protocol.tokens import Token
    from auth_plugins._source.source import TokenSource

__all__ = [
    "ApiKey",
    "AuthError",
    "AuthorizationCode",
    "ClientAssertion",
    "ClientCredentials",
    "ClientSecretJWT",
    "ConfigurationError",
    "Custom",
    "DPoPKey",
    "DeviceCode",
    "FileCache",
    "Grant",
    "InsecureTransportError",
    "Issuer",
    "JWTBearer",
    "KeyringCache",
    "LoginRequiredError",
    "MemoryCache",
    "Password",
    "PrivateKeyJWT",
    "RedisCache",
    "RefreshToken",
    "SecretFile",
    "SignedJWT",
    "TLSClientAuth",
    "Token",
    "TokenCache",
    "TokenEvent",
    "TokenExchange",
    "TokenRequestError",
    "TokenSource",
    "TokenTransportError",
    "add_observer",
    "from_env",
    "graphql_unauthenticated",
    "remove_observer",
]

#: The module of each name.
_MODULES = {
    "_adapters.graphql": "graphql_unauthenticated",
    "_base.errors": (
        "AuthError ConfigurationError InsecureTransportError LoginRequiredError TokenRequestError TokenTransportError"
    ),
    "_base.observers": "TokenEvent add_observer remove_observer",
    "_base.secret_file": "SecretFile",
    "_caches.file": "FileCache",
    "_caches.keyring": "KeyringCache",
    "_caches.memory": "MemoryCache",
    "_caches.protocol": "TokenCache",
    "_caches.redis": "RedisCache",
    "_client_auth.assertions": "ClientAssertion ClientSecretJWT PrivateKeyJWT",
    "_client_auth.certificates": "TLSClientAuth",
    "_client_auth.dpop": "DPoPKey",
    "_client_auth.signed_jwt": "SignedJWT",
    "_environment.configuration": "from_env",
    "_grants.api_key": "ApiKey",
    "_grants.base": "Grant",
    "_grants.client_credentials": "ClientCredentials",
    "_grants.custom": "Custom",
    "_grants.issuer": "Issuer",
    "_grants.jwt_bearer": "JWTBearer",
    "_grants.password": "Password",
    "_grants.refresh_token": "RefreshToken",
    "_grants.sign_in.authorization_code": "AuthorizationCode",
    "_grants.sign_in.device_code": "DeviceCode",
    "_grants.token_exchange": "TokenExchange",
    "_protocol.tokens": "Token",
    "_source.source": "TokenSource",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use; ``__version__`` is in the metadata of the distribution only."""
    if name == "__version__":
        from importlib.metadata import version

        return version("auth-plugins")
    if name == "OAuth2Auth":
        raise ImportError(
            "cannot import name 'OAuth2Auth' from 'auth_plugins', as each HTTP library has its own; import it from "
            "auth_plugins.requests, auth_plugins.httpx or auth_plugins.httpx2"
        )
    for module, names in _MODULES.items():
        if name in names.split():
            from importlib import import_module

            value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, also those that were not used yet."""
    return sorted({*globals(), *__all__})
