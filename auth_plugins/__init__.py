"""OAuth 2.0 for requests, httpx and httpx2: set ``auth=``, and never think of tokens again.

One grant × one adapter: a grant says what to ask the token endpoint, ``OAuth2Auth`` of ``auth_plugins.requests``,
``auth_plugins.httpx`` or ``auth_plugins.httpx2`` puts the token on that library's requests, and between them one
:class:`TokenSource` per distinct grant decides when to ask. Importing this loads nothing: each name loads its file.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auth_plugins._base.errors import (
        AuthError,
        ConfigurationError,
        InsecureTransportError,
        TokenRequestError,
        TokenTransportError,
    )
    from auth_plugins._caches.file import FileCache
    from auth_plugins._caches.memory import MemoryCache, TokenCache
    from auth_plugins._caches.redis import RedisCache
    from auth_plugins._environment.configuration import from_env
    from auth_plugins._grants.api_key import ApiKey
    from auth_plugins._grants.base import Grant
    from auth_plugins._grants.client_credentials import ClientCredentials
    from auth_plugins._grants.password import Password
    from auth_plugins._grants.refresh_token import RefreshToken
    from auth_plugins._grants.secret_file import SecretFile
    from auth_plugins._protocol.tokens import Token
    from auth_plugins._source.source import TokenSource

__all__ = [
    "ApiKey",
    "AuthError",
    "ClientCredentials",
    "ConfigurationError",
    "FileCache",
    "Grant",
    "InsecureTransportError",
    "MemoryCache",
    "Password",
    "RedisCache",
    "RefreshToken",
    "SecretFile",
    "Token",
    "TokenCache",
    "TokenRequestError",
    "TokenSource",
    "TokenTransportError",
    "from_env",
]

#: The names of each file.
_FILES = {
    "_caches.memory": ("MemoryCache", "TokenCache"),
    "_caches.file": ("FileCache",),
    "_caches.redis": ("RedisCache",),
    "_environment.configuration": ("from_env",),
    "_base.errors": (
        "AuthError",
        "ConfigurationError",
        "InsecureTransportError",
        "TokenRequestError",
        "TokenTransportError",
    ),
    "_grants.base": ("Grant",),
    "_grants.api_key": ("ApiKey",),
    "_grants.client_credentials": ("ClientCredentials",),
    "_grants.password": ("Password",),
    "_grants.refresh_token": ("RefreshToken",),
    "_grants.secret_file": ("SecretFile",),
    "_source.source": ("TokenSource",),
    "_protocol.tokens": ("Token",),
}


def __getattr__(name: str) -> Any:
    """Load a name at its first use; ``__version__`` is stored in the distribution's metadata alone."""
    if name == "__version__":
        from importlib.metadata import version

        return version("auth-plugins")
    if name == "OAuth2Auth":
        raise ImportError(
            "cannot import name 'OAuth2Auth' from 'auth_plugins', as each HTTP library has its own; import it from "
            "auth_plugins.requests, auth_plugins.httpx or auth_plugins.httpx2"
        )
    for file, names in _FILES.items():
        if name in names:
            from importlib import import_module

            value = globals()[name] = getattr(import_module(f".{file}", __name__), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all names, those that are not loaded yet included."""
    return sorted({*globals(), *__all__})
