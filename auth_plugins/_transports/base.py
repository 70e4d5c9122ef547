"""What a transport is, and which one is used where no adapter has chosen it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from auth_plugins._base.errors import ConfigurationError

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest, TokenResponse

#: Sends one token request within so many seconds, and follows no redirect.
#:
#: :raises TokenTransportError: there was no answer.
Transport = Callable[["TokenRequest", float], "TokenResponse"]


def default_transport() -> Transport:
    """Return the transport of the first installed library of requests, httpx2 and httpx.

    :raises ConfigurationError: none of them is installed.
    """
    import importlib.util

    # The library is imported here, not by the first request: the caller holds off forks during imports.
    if importlib.util.find_spec("requests"):
        from .requests import requests_transport

        return requests_transport()
    for module in ("httpx2", "httpx"):
        if importlib.util.find_spec(module):
            from .httpx import httpx_transport

            return httpx_transport(module)
    raise ConfigurationError(
        "token requests need requests, httpx2 or httpx",
        advice="install one, such as by pip install 'auth-plugins[requests]'",
    )
