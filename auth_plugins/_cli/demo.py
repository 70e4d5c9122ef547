"""What ``auth-plugins demo`` plays: each of the five systems with each client, and what the systems saw of it.

Rows come back as data; whoever asks prints them.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from auth_plugins._caches.memory import MemoryCache
from auth_plugins.sandbox import Sandbox, System

__all__ = ["CLIENTS", "EXPECTED", "Row", "Story", "play"]

#: Gets a URL, and returns the status of the answer.
Get = Callable[[str], int]
ASKED_AGAIN, REFRESH_TOKEN = "asked again", "refresh token"
#: Calls made with the second token, the last of which meets its revocation.
_CALLS = 5


@dataclass(frozen=True)
class Story:
    """What happened in a row, or has to."""

    #: Where the credentials of each token request travelled, in order.
    credentials: tuple[str, ...]
    #: How each token after the first was got.
    renewals: tuple[str, ...]
    #: How often the user's password was sent.
    passwords: int = 0
    #: How often a refresh token was sent that had been used already.
    reuses: int = 0
    #: The status of each call, as its caller got it.
    answers: tuple[int, ...] = (200,) * (1 + _CALLS)
    #: How often the API refused a token: once, for it revokes one, and never for a token that ended.
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
    expected: Story
    #: What broke the row off; ``None``: nothing did.
    error: str | None = None

    @property
    def problems(self) -> list[str]:
        """Why the row is not as expected; empty: it is."""
        seen, expected = asdict(self.seen), asdict(self.expected)
        differences = [
            f"{name}: expected {expected[name]}, saw {seen[name]}" for name in seen if seen[name] != expected[name]
        ]
        return [self.error, *differences] if self.error else differences


def play(lifetime: float = 2.0) -> list[Row]:
    """Play all rows at once, each with a token of its own.

    :param lifetime: seconds that the first token of each row is good for, and that the rows wait.
    :raises ImportError: one of the libraries isn't installed; the extra that brings it is named.
    """
    # First of all, so that a library that is missing is missed before anything happens.
    auths = {client: importlib.import_module(f"auth_plugins.{library}") for client, (library, _) in CLIENTS.items()}
    with ExitStack() as stack, ThreadPoolExecutor(len(EXPECTED) * len(CLIENTS)) as pool:
        # A sandbox for each client, so that what a system sees is of one row.
        sandboxes = {client: stack.enter_context(Sandbox(lifetime)) for client in CLIENTS}
        rows = [
            pool.submit(_row, sandboxes[client][name], client, auths[client].OAuth2Auth)
            for name in EXPECTED
            for client in CLIENTS
        ]
        return [row.result() for row in rows]


def _row(system: System, client: str, auth: Any) -> Row:
    library, connect = CLIENTS[client]
    answers: list[int] = []
    error = None
    try:
        auth = auth.from_env("ACME", system.variables("ACME"), cache=MemoryCache())
        with connect(importlib.import_module(library), auth) as get:
            answers.extend(_calls(system, get))
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
    return Row(system.name, client, _story(system, answers), EXPECTED[system.name], error)


def _calls(system: System, get: Get) -> Iterator[int]:
    """A first token, which ends; a second, which is used again and again, until it is revoked early; and a third."""
    yield get(system.api_url)
    time.sleep(system.lifetime)
    system.lifetime = 3600.0
    for _ in range(_CALLS - 1):
        yield get(system.api_url)
    system.revoke()
    yield get(system.api_url)


def _story(system: System, answers: list[int]) -> Story:
    requests = system.token_requests
    return Story(
        credentials=tuple(seen.credentials for seen in requests),
        renewals=tuple(
            REFRESH_TOKEN if seen.at == "refresh" or seen.grant_type == "refresh_token" else ASKED_AGAIN
            for seen in requests[1:]
        ),
        passwords=sum(b"password=" in seen.body for seen in requests),
        reuses=system.reuses,
        answers=tuple(answers),
        refused=sum(seen.status == 401 for seen in system.seen if seen.at == "api"),
    )


@contextmanager
def _session(requests: Any, auth: Any) -> Iterator[Get]:
    with requests.Session() as session:
        session.auth = auth
        yield lambda url: session.get(url, timeout=10).status_code


@contextmanager
def _client(httpx: Any, auth: Any) -> Iterator[Get]:
    with httpx.Client(auth=auth) as client:
        yield lambda url: client.get(url).status_code


@contextmanager
def _async_client(httpx: Any, auth: Any) -> Iterator[Get]:
    with asyncio.Runner() as runner:
        client = httpx.AsyncClient(auth=auth)
        try:
            yield lambda url: runner.run(client.get(url)).status_code
        finally:
            runner.run(client.aclose())


#: Each client: the library, and how it is put to use with an auth.
CLIENTS: Mapping[str, tuple[str, Callable[[Any, Any], AbstractContextManager[Get]]]] = {
    "requests": ("requests", _session),
    "httpx": ("httpx", _client),
    "httpx async": ("httpx", _async_client),
    "httpx2": ("httpx2", _client),
    "httpx2 async": ("httpx2", _async_client),
}
