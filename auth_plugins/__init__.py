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
    from auth_plugins._caches.memory import MemoryCache
    from auth_plugins._caches.protocol import TokenCache
    from auth_plugins._caches.redis import RedisCache
    from auth_plugins._environment.configuration import from_env
    from auth_plugins._grants.base import Grant
    from auth_plugins._grants.oauth import ApiKey, ClientCredentials, Password, RefreshToken, SecretFile
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
    "_caches.memory": ("MemoryCache",),
    "_caches.protocol": ("TokenCache",),
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
    "_grants.oauth": ("ApiKey", "ClientCredentials", "Password", "RefreshToken", "SecretFile"),
    "_source.source": ("TokenSource",),
    "_protocol.tokens": ("Token",),
}


def __getattr__(name: str) -> Any:
    """What nobody asked for so far; ``__version__`` stands in setup.cfg alone."""
    if name == "__version__":
        from importlib.metadata import version

        return version("auth-plugins")
    for file, names in _FILES.items():
        if name in names:
            from importlib import import_module

            value = globals()[name] = getattr(import_module(f".{file}", __name__), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, those that nobody asked for so far included."""
    return sorted({*globals(), *__all__})
