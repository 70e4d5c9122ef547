"""What a transport is, and which one is used where no adapter has chosen it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import ConfigurationError

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest, TokenResponse

#: Sends one token request within so many seconds, and follows no redirect.
#:
#: :raises TokenTransportError: there was no answer.
Transport = Callable[["TokenRequest", float], "TokenResponse"]


class LibraryTransport:
    """The transport of one library, whose modules are loaded late.

    :param library: ``"requests"``, ``"httpx"`` or ``"httpx2"``.
    """

    def __init__(self, library: str) -> None:
        self._library = library

    def load(self, session: Any = None) -> Transport:
        """Import the modules, and the library; the caller holds off forks.

        :param session: the user's session or client; ``None``: a new one for each token request.
        """
        if self._library == "requests":
            from .requests import requests_transport

            return requests_transport(session)
        from .httpx import httpx_transport

        return httpx_transport(self._library, session)


def default_transport() -> LibraryTransport:
    """Return the transport of the first installed library of requests, httpx2 and httpx.

    :raises ConfigurationError: none of them is installed.
    """
    import importlib.util

    for library in ("requests", "httpx2", "httpx"):
        if importlib.util.find_spec(library):
            return LibraryTransport(library)
    raise ConfigurationError(
        "token requests need requests, httpx2 or httpx",
        advice="install one, such as by pip install 'auth-plugins[requests]'",
    )
