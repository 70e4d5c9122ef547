"""Nine token endpoints and their APIs on loopback, each exactly as its document says.

.. code-block:: python

    with Sandbox() as sandbox:
        system = sandbox["jwt-api"]
        os.environ.update(system.variables("ACME"))
        ...                             # the program under test: asks system.url for tokens and calls system.api_url
        print(system.token_requests)    # what the system received, and where the credentials travelled

A request that the document does not describe is refused, so a client that works here does not work by luck. Where a
document says nothing about errors, RFC 6749 applies. No error repeats a value that was sent: it may be secret.

The sandbox imports nothing from the rest of the package; a mistake that both sides made would stay hidden.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, Self, overload

from ._dialects import NestedApi, QueryApi, SessionApi
from ._enterprise import EnterpriseApi, KeyFiles
from ._partners import AuthApi, JsonApi, JwtApi, OrganizationApi, UploadApi
from ._seen import Seen
from ._server import Server
from ._sign_in import SignInApi
from ._system import System

__all__ = [
    "AuthApi",
    "EnterpriseApi",
    "JsonApi",
    "JwtApi",
    "KeyFiles",
    "NestedApi",
    "OrganizationApi",
    "QueryApi",
    "Sandbox",
    "Seen",
    "SessionApi",
    "SignInApi",
    "System",
    "UploadApi",
]


class Sandbox:
    """Five partner systems, one of an enterprise, one where people sign in, and three with a dialect of their own.

    Each has a port of its own.

    Iterating over it gives the systems.

    :param lifetime: seconds until an access token expires.
    :param clock: returns the present Unix time, in seconds.
    """

    def __init__(self, lifetime: float = 3600.0, clock: Callable[[], float] = time.time) -> None:
        partners = (UploadApi, JwtApi, AuthApi, OrganizationApi, JsonApi, EnterpriseApi)
        kinds = (*partners, SignInApi, NestedApi, SessionApi, QueryApi)
        self.systems: Mapping[str, System] = MappingProxyType({kind.name: kind(lifetime, clock) for kind in kinds})
        self._servers: list[Server] = []

    @overload
    def __getitem__(self, name: Literal["upload-api"]) -> UploadApi: ...
    @overload
    def __getitem__(self, name: Literal["enterprise-api"]) -> EnterpriseApi: ...
    @overload
    def __getitem__(self, name: Literal["query-api"]) -> QueryApi: ...
    @overload
    def __getitem__(self, name: Literal["sign-in-api"]) -> SignInApi: ...
    @overload
    def __getitem__(self, name: str) -> System: ...
    def __getitem__(self, name: str) -> System:
        return self.systems[name]

    def __iter__(self) -> Iterator[System]:
        return iter(self.systems.values())

    def start(self) -> None:
        """Serve on free ports of 127.0.0.1 until :meth:`stop`."""
        for system in self:
            self._servers.append(server := Server(system))
            system.url = server.url
        enterprise = self["enterprise-api"]
        self._servers.append(server := Server(enterprise, enterprise.tls))
        enterprise.mtls_url = server.url

    def stop(self) -> None:
        """Accept no more requests and close open connections.

        Does nothing if the sandbox is not running. In a forked child it leaves the parent's servers as they are.
        """
        while self._servers:
            self._servers.pop().stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
