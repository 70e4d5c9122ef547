"""Plays the five systems with each client, and compares what the systems saw with what they should have seen.

Returns data; :mod:`.play` prints it.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from auth_plugins._caches.memory import MemoryCache
from auth_plugins.sandbox import Sandbox, System

__all__ = ["CLIENTS", "EXPECTED", "Row", "Story", "play"]

ASKED_AGAIN, REFRESH_TOKEN = "asked again", "refresh token"
#: Calls with the second token; before the last one it is revoked.
_CALLS = 5


@dataclass(frozen=True)
class Story:
    """What happened in a row, or should have happened."""

    #: Where the credentials of each token request travelled, in order.
    credentials: tuple[str, ...]
    #: How each token after the first was fetched.
    renewals: tuple[str, ...]
    #: How many times the user's password was sent.
    passwords: int = 0
    #: How many times a spent refresh token was sent.
    reuses: int = 0
    #: The status of each call, as its caller got it.
    answers: tuple[int, ...] = (200,) * (1 + _CALLS)
    #: How many times the API rejected a token: once, the revoked one, and never an expired one.
    refused: int = 1


EXPECTED: Mapping[str, Story] = {
    "upload-api": Story(("Basic, URL-encoded",) * 3, (ASKED_AGAIN,) * 2),
    "jwt-api": Story(("Basic",) * 3, (ASKED_AGAIN,) * 2),
    "auth-api": Story(("form", *("refresh token in form",) * 2), (REFRESH_TOKEN,) * 2, passwords=1),
    "organization-api": Story(("Basic",) * 3, (REFRESH_TOKEN,) * 2),
    "json-api": Story(("JSON body",) * 3, (ASKED_AGAIN,) * 2),
}


@dataclass(frozen=True)
class Row:
    """One system with one client."""

    system: str
    client: str
    seen: Story
    #: The error that ended the row early; ``None``: there was none.
    error: str | None = None

    @property
    def problems(self) -> list[str]:
        """What differs from what was expected."""
        seen, expected = asdict(self.seen), asdict(EXPECTED[self.system])
        differences = [
            f"{name}: expected {expected[name]}, saw {seen[name]}" for name in seen if seen[name] != expected[name]
        ]
        return [self.error, *differences] if self.error else differences


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
    with ExitStack() as stack, ThreadPoolExecutor(len(EXPECTED) * len(auths)) as pool:
        # A sandbox for each client, so that a system sees the requests of one row only.
        sandboxes = {client: stack.enter_context(Sandbox(lifetime)) for client in auths}
        rows = [
            pool.submit(_row, sandboxes[client][name], client, auths[client]) for name in EXPECTED for client in auths
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
    return Row(system.name, client, _story(system, answers), error)


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


def _story(system: System, answers: list[int]) -> Story:
    requests = system.token_requests
    refreshes = [seen.at == "refresh" or seen.grant_type == "refresh_token" for seen in requests[1:]]
    return Story(
        credentials=tuple(seen.credentials for seen in requests),
        renewals=tuple(REFRESH_TOKEN if refreshed else ASKED_AGAIN for refreshed in refreshes),
        passwords=sum(b"password=" in seen.body for seen in requests),
        reuses=system.reuses,
        answers=tuple(answers),
        refused=sum(seen.status == 401 for seen in system.seen if seen.at == "api"),
    )
