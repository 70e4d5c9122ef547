"""OAuth 2.0 for requests, httpx and httpx2: set ``auth=``, and never think of tokens again.

One grant × one adapter: a grant says what to ask the token endpoint, ``OAuth2Auth`` of ``auth_plugins.requests``,
``auth_plugins.httpx`` or ``auth_plugins.httpx2`` puts the token on that library's requests, and between them one
:class:`TokenSource` per distinct grant decides when to ask. Importing this loads nothing: each name loads its file.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._cache import MemoryCache, TokenCache
    from ._cache_file import FileCache
    from ._cache_redis import RedisCache
    from ._env import from_env
    from ._errors import (
        AuthError,
        ConfigurationError,
        InsecureTransportError,
        TokenRequestError,
        TokenTransportError,
    )
    from ._grant import Grant
    from ._grants import ApiKey, ClientCredentials, Password, RefreshToken, SecretFile
    from ._source import TokenSource
    from ._token import Token

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
    "_cache": ("MemoryCache", "TokenCache"),
    "_cache_file": ("FileCache",),
    "_cache_redis": ("RedisCache",),
    "_env": ("from_env",),
    "_errors": (
        "AuthError",
        "ConfigurationError",
        "InsecureTransportError",
        "TokenRequestError",
        "TokenTransportError",
    ),
    "_grant": ("Grant",),
    "_grants": ("ApiKey", "ClientCredentials", "Password", "RefreshToken", "SecretFile"),
    "_source": ("TokenSource",),
    "_token": ("Token",),
}


def __getattr__(name: str) -> Any:
    """What nobody asked for so far; ``__version__`` stands in setup.cfg alone."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - loaded by who asks

        return version("auth-plugins")
    for file, names in _FILES.items():
        if name in names:
            from importlib import import_module  # noqa: PLC0415 - likewise

            value = globals()[name] = getattr(import_module(f".{file}", __name__), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, those that nobody asked for so far included."""
    return sorted({*globals(), *__all__})
