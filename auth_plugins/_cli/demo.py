"""Plays all systems with each client, and compares what their servers saw with what they should have seen.

Returns data; :mod:`.play` prints it.
"""

import asyncio
import importlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from auth_plugins._caches.memory import MemoryCache
from auth_plugins._environment.configuration import from_env
from auth_plugins._grants.sign_in.interactive import InteractiveGrant
from auth_plugins.sandbox import Sandbox, Seen, SignInApi, System

#: The steps of a row, in this order, with the number of calls in each.
STEPS = {"first call": 1, "reuse": 2, "expiry": 1, "early revocation": 1}


class Wire(NamedTuple):
    """What is particular to one system: what its requests carry, and how they are answered."""

    first: str  #: What the first token request of a row carries.
    later: str  #: What the two later ones carry.
    issues: int = 200  #: The status of a token request that was answered by a token.
    rejects: int = 401  #: The status of a request whose token expired or was revoked.
    tells_expiry: bool = True  #: If not, a token is used until it is rejected.
    asks: bool = False  #: If so, its metadata are read first, and each endpoint asks once for a proof with its nonce.


WIRES: Mapping[str, Wire] = {
    "upload-api": Wire("Basic, URL-encoded", "Basic, URL-encoded"),
    "jwt-api": Wire("Basic", "Basic"),
    "auth-api": Wire("password in form", "refresh token in form"),
    "organization-api": Wire("Basic", "refresh token, Basic"),
    "json-api": Wire("JSON body", "JSON body"),
    "enterprise-api": Wire("assertion, DPoP", "assertion, DPoP", asks=True),
    "sign-in-api": Wire("code in form", "refresh token, form"),
    "nested-api": Wire("JSON body", "JSON body"),
    "session-api": Wire("password in form", "password in form", issues=201, tells_expiry=False),
    "query-api": Wire("form", "form", rejects=403),
}
#: The libraries and their classes that send the calls.
CLIENTS = {
    "requests": ("requests", "Session"),
    "httpx": ("httpx", "Client"),
    "httpx async": ("httpx", "AsyncClient"),
    "httpx2": ("httpx2", "Client"),
    "httpx2 async": ("httpx2", "AsyncClient"),
}


class Event(NamedTuple):
    """One request, as a server saw it."""

    seconds: float  #: Since the server's first request.
    at: str  #: Where: ``api``, ``metadata``; all others are token requests.
    request: str  #: Method and path.
    carried: str  #: ``token 1``, the first one that the API saw; or what a token request carried, and where.
    status: int  #: Of the answer.
    error: str = ""  #: The code of a refusal.

    @property
    def is_call(self) -> bool:
        """Whether it is a call of the API."""
        return self.at == "api"

    @property
    def asks_for_nonce(self) -> bool:
        """Whether it was answered by a nonce for another one."""
        return self.error == "use_dpop_nonce"


def expected(system: str) -> dict[str, list[tuple[str, int]]]:
    """Return what the server of *system* should see in each step: what each request carries, and the answer."""
    wire = WIRES[system]
    first, later = (wire.first, wire.issues), (wire.later, wire.issues)
    return {
        "first call": [
            *[("nothing", 200), (wire.first, 400)] * wire.asks,
            first,
            *[("token 1", 401)] * wire.asks,
            ("token 1", 200),
        ],
        "reuse": [("token 1", 200)] * STEPS["reuse"],
        "expiry": [("token 1", wire.rejects)] * (not wire.tells_expiry) + [later, ("token 2", 200)],
        "early revocation": [("token 2", wire.rejects), later, ("token 3", 200)],
    }


@dataclass(frozen=True)
class Step:
    """What a server saw in one step, what each call returned, and the error that ended the step early."""

    name: str
    expected: list[tuple[str, int]]
    seen: list[Event]
    returned: list[int]
    error: str | None = None

    @property
    def problems(self) -> list[str]:
        """What differs from what was expected."""
        if self.error is not None:
            return [f"{self.name}: {self.error}"]
        found, calls = [], STEPS[self.name]
        if (seen := [(event.carried, event.status) for event in self.seen]) != self.expected:
            found.append(f"{self.name}: expected {_shown(self.expected)}; saw {_shown(seen)}")
        if self.returned != [200] * calls:
            found.append(f"{self.name}: expected 200 for each of {calls} calls; they returned {self.returned}")
        return found


def _shown(pairs: Iterable[tuple[str, int]]) -> str:
    return ", then ".join(f"{carried} ({status})" for carried, status in pairs) or "nothing"


@dataclass(frozen=True)
class Row:
    """One system with one client."""

    system: str
    client: str
    steps: list[Step]

    @property
    def problems(self) -> list[str]:
        """What differs from what was expected. A step that fails by an error is the last one."""
        return [problem for step in self.steps for problem in step.problems]

    @property
    def token_requests(self) -> list[Event]:
        """The token requests that the server saw."""
        return [event for step in self.steps for event in step.seen if event.at not in ("api", "metadata")]

    @property
    def calls(self) -> list[Event]:
        """The requests of the API that the server saw."""
        return [event for step in self.steps for event in step.seen if event.is_call]


def load(clients: Iterable[str] = tuple(CLIENTS)) -> dict[str, Any]:
    """Return the ``OAuth2Auth`` for each client.

    :raises ImportError: a library is not installed; the message names the extra that brings it.
    """
    return {client: importlib.import_module(f"auth_plugins.{CLIENTS[client][0]}").OAuth2Auth for client in clients}


def story(name: str, client: str, auth: Any, lifetime: float = 2.0) -> Iterator[Step]:
    """Play one row, and yield each step when it is done.

    :param lifetime: seconds until the first token expires, which the third step waits for.
    """
    with Sandbox(lifetime) as sandbox:
        yield from _steps(sandbox[name], client, auth)


def play(auths: Mapping[str, Any], lifetime: float = 4.0) -> list[Row]:
    """Play all rows at once, each with a token of its own.

    :param lifetime: as for :func:`story`; longer, as all rows share the processor.
    """
    count = len(WIRES) * len(auths)
    # To make all clients takes seconds on a busy machine, in which a first token would expire.
    all_are_open = threading.Barrier(count)

    def row(system: System, client: str) -> Row:
        return Row(system.name, client, list(_steps(system, client, auths[client], all_are_open.wait)))

    with ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        # A sandbox for each client, so that a system sees the requests of one row only.
        sandboxes = {client: stack.enter_context(Sandbox(lifetime)) for client in auths}
        rows = [pool.submit(row, sandboxes[client][name], client) for name in WIRES for client in auths]
        return [each.result() for each in rows]


def _steps(system: System, client: str, auth: Any, is_open: Callable[[], object] = lambda: None) -> Iterator[Step]:
    """Use a first token until it expires; a second one until it is revoked; and a third one.

    :param is_open: called when the client has been made, or could not be made.
    """
    with ExitStack() as stack:
        for name, calls in STEPS.items():
            before, returned, error = len(system.seen), list[int](), None
            if name == "expiry":
                time.sleep(system.lifetime)
                system.lifetime = 3600.0
            elif name == "early revocation":
                system.revoke()
            try:
                if name == "first call":
                    try:
                        # httpx reads proxies and certificates from variables when a client is made, and raises here.
                        get = stack.enter_context(_opened(client, _configured(system, auth)))
                    finally:
                        is_open()
                returned.extend(get(system.api_url) for _ in range(calls))
            except Exception as problem:
                error = f"{type(problem).__name__}: {problem}"
            yield Step(name, expected(system.name)[name], _events(system)[before:], returned, error)
            if error:
                return


def _configured(system: System, auth: Any) -> Any:
    """Return the auth that the variables of *system* describe; a person is played by HTTP, without a browser."""
    if isinstance(system, SignInApi):
        grant = cast("InteractiveGrant", from_env("ACME", system.variables("ACME")))
        return auth(grant.with_prompt(system.person), cache=MemoryCache())
    return auth.from_env("ACME", system.variables("ACME"), cache=MemoryCache())


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


def _events(system: System) -> list[Event]:
    def has_token(seen: Seen) -> bool:
        return seen.at == "api" and seen.credentials == system.token_place

    tokens = list(dict.fromkeys(seen.token for seen in system.seen if has_token(seen)))

    def carried(seen: Seen) -> str:
        if has_token(seen):
            return f"token {tokens.index(seen.token) + 1}"
        if seen.at == "metadata":
            return "nothing"
        if "password" in seen.in_body:
            return f"password in {seen.credentials}"
        if "code_verifier" in seen.in_body:
            return f"code in {seen.credentials}"
        if seen.grant_type == "refresh_token":
            return f"refresh token, {seen.credentials}"
        has_proof = seen.credentials == "client assertion" and "dpop" in seen.headers
        return "assertion, DPoP" if has_proof else seen.credentials

    return [
        Event(
            seen.time - system.seen[0].time,
            seen.at,
            f"{seen.method} {seen.target.partition('?')[0]}",
            carried(seen),
            seen.status,
            seen.error,
        )
        for seen in list(system.seen)
    ]
