"""Tokens for libraries that take no ``auth=``: a few lines each, over a :class:`auth_plugins.TokenSource`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aiohttp import OAuth2Middleware
    from .azure import AsyncAzureCredential, AsyncAzureReplayPolicy, AzureCredential, AzureReplayPolicy
    from .google import GoogleCredentials
    from .grpc import grpc_call_credentials, grpc_retry
    from .kafka import kafka_oauth_cb
    from .mail import mail_login

__all__ = [
    "AsyncAzureCredential",
    "AsyncAzureReplayPolicy",
    "AzureCredential",
    "AzureReplayPolicy",
    "GoogleCredentials",
    "OAuth2Middleware",
    "grpc_call_credentials",
    "grpc_retry",
    "kafka_oauth_cb",
    "mail_login",
]

#: The module of each name.
_MODULES = {
    "AsyncAzureCredential": "azure",
    "AsyncAzureReplayPolicy": "azure",
    "AzureCredential": "azure",
    "AzureReplayPolicy": "azure",
    "GoogleCredentials": "google",
    "OAuth2Middleware": "aiohttp",
    "grpc_call_credentials": "grpc",
    "grpc_retry": "grpc",
    "kafka_oauth_cb": "kafka",
    "mail_login": "mail",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use: nothing is loaded before."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
