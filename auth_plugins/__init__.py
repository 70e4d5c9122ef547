"""OAuth 2.0 for requests, httpx and httpx2: set ``auth=``, and never think of tokens again.

One grant × one adapter: a grant says what to ask the token endpoint, ``OAuth2Auth`` of ``auth_plugins.requests``,
``auth_plugins.httpx`` or ``auth_plugins.httpx2`` puts the token on that library's requests, and between them one
:class:`TokenSource` per distinct grant decides when to ask. Importing this loads no HTTP library.
"""

from typing import Any

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
from ._grants import ApiKey, ClientCredentials, Grant, Password, RefreshToken, SecretFile
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


def __getattr__(name: str) -> Any:
    """``__version__``, which stands in setup.cfg alone; importlib.metadata is loaded by who asks."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415 - as above

    return version("auth-plugins")
