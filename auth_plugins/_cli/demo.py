"""Plays the five systems with each client, and compares what the systems saw with what they should have seen.

Returns data; :mod:`.play` prints it.
"""

import asyncio
import importlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from auth_plugins._caches.memory import MemoryCache
from auth_plugins.sandbox import Sandbox, System

ASKED_AGAIN, REFRESH_TOKEN = "asked again", "refresh token"
#: Calls with the second token; before the last one it is revoked.
_CALLS = 5
#: Where the credentials of the three token requests of a row travel, and how the second and third token are fetched.
_EXPECTED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "upload-api": (("Basic, URL-encoded",) * 3, ASKED_AGAIN),
    "jwt-api": (("Basic",) * 3, ASKED_AGAIN),
    "auth-api": (("form", "refresh token in form", "refresh token in form"), REFRESH_TOKEN),
    "organization-api": (("Basic",) * 3, REFRESH_TOKEN),
    "json-api": (("JSON body",) * 3, ASKED_AGAIN),
}


def expected(system: str) -> dict[str, Any]:
    """Return what :attr:`Row.seen` should be."""
    credentials, renewal = _EXPECTED[system]
    return {
        "credentials": credentials,
        "renewals": (renewal,) * 2,
        "passwords": int(system == "auth-api"),
        "reuses": 0,
        "answers": (200,) * (1 + _CALLS),
        "refused": 1,  # the revoked token, and never an expired one
    }


@dataclass(frozen=True)
class Row:
    """One system with one client: what the system saw, and the error that ended it early."""

    system: str
    client: str
    seen: Mapping[str, Any]
    error: str | None = None

    @property
    def problems(self) -> list[str]:
        """What differs from what was expected."""
        pairs = {name: (value, self.seen[name]) for name, value in expected(self.system).items()}
        found = [f"{name}: expected {value}, saw {seen}" for name, (value, seen) in pairs.items() if seen != value]
        return [self.error, *found] if self.error else found


#: Each client: its library, and the class of it that is used.
CLIENTS = {
    "requests": ("requests", "Session"),
    "httpx": ("httpx", "Client"),
    "httpx async": ("httpx", "AsyncClient"),
    "httpx2": ("httpx2", "Client"),
    "httpx2 async": ("httpx2", "AsyncClient"),
}


def play(lifetime: float = 2.0, clients: Iterable[str] = tuple(CLIENTS)) -> list[Row]:
    """Play all rows at once, each with a token of its own.

    :param lifetime: seconds until the first token of each row expires, which the rows wait for.
    :raises ImportError: a library is not installed; the message names the extra that brings it.
    """
    # First of all, so that nothing is started if a library is missing.
    auths = {client: importlib.import_module(f"auth_plugins.{CLIENTS[client][0]}").OAuth2Auth for client in clients}
    with ExitStack() as stack, ThreadPoolExecutor(len(_EXPECTED) * len(auths)) as pool:
        # A sandbox for each client, so that a system sees the requests of one row only.
        sandboxes = {client: stack.enter_context(Sandbox(lifetime)) for client in auths}
        rows = [
            pool.submit(_row, sandboxes[client][name], client, auths[client]) for name in _EXPECTED for client in auths
        ]
        return [row.result() for row in rows]


def _row(system: System, client: str, auth: Any) -> Row:
    answers: list[int] = []
    error = None
    try:
        with _opened(client, auth.from_env("ACME", system.variables("ACME"), cache=MemoryCache())) as get:
            answers.extend(_calls(system, get))
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    return Row(system.name, client, _seen(system, answers), error)


@contextmanager
def _opened(client: str, auth: Any) -> Iterator[Callable[[str], int]]:
    """Open *client*; what it gives is a function that gets a URL and returns the status of the answer."""
    library, kind = CLIENTS[client]
    session: Any = getattr(importlib.import_module(library), kind)()
    session.auth = auth
    with asyncio.Runner() as runner:
        run: Callable[[Any], Any] = runner.run if kind == "AsyncClient" else lambda result: result
        try:
            yield lambda url: run(session.get(url, timeout=10)).status_code
        finally:
            run(session.aclose() if kind == "AsyncClient" else session.close())


def _calls(system: System, get: Callable[[str], int]) -> Iterator[int]:
    """Use a first token until it expires; a second several times, until it is revoked; and a third."""
    yield get(system.api_url)
    time.sleep(system.lifetime)
    system.lifetime = 3600.0
    for _ in range(_CALLS - 1):
        yield get(system.api_url)
    system.revoke()
    yield get(system.api_url)


def _seen(system: System, answers: list[int]) -> dict[str, Any]:
    requests = system.token_requests
    refreshes = [seen.at == "refresh" or seen.grant_type == "refresh_token" for seen in requests[1:]]
    return {
        "credentials": tuple(seen.credentials for seen in requests),
        "renewals": tuple(REFRESH_TOKEN if refreshed else ASKED_AGAIN for refreshed in refreshes),
        "passwords": sum(b"password=" in seen.body for seen in requests),
        "reuses": system.reuses,
        "answers": tuple(answers),
        "refused": sum(seen.status == 401 for seen in system.seen if seen.at == "api"),
    }
