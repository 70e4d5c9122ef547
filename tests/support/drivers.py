"""The matrix: one way of driving each library in each mode, so that a behaviour is written down once."""

from __future__ import annotations

import asyncio
import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx2
import pytest
import requests
import trio


@dataclass
class Answer:
    """What a call came to, whatever the library."""

    status: int
    text: str
    #: The statuses of ``response.history``.
    history: list[int] = field(default_factory=list)
    #: The library's own response.
    response: Any = None


@dataclass
class Call:
    """A request to be made."""

    method: str
    url: str
    #: ``json``, ``data``, ``files``, ``content`` (``data`` in requests), or what :meth:`Driver.chunks` makes.
    body: dict[str, Any] = field(default_factory=dict)
    follow_redirects: bool = True


class Driver(ABC):
    """One library in one mode."""

    library: str
    mode: str
    base_error: type[Exception]

    def __repr__(self) -> str:
        return f"{self.library}-{self.mode}"

    def auth(self, grant: Any, **arguments: Any) -> Any:
        """The library's OAuth2Auth."""
        return importlib.import_module(f"auth_plugins.{self.library}").OAuth2Auth(grant, **arguments)

    def get(self, url: str, auth: Any) -> Answer:
        """One GET."""
        return self.send(Call("GET", url), auth)

    def send(self, call: Call, auth: Any) -> Answer:
        """One request; raises what the library raises."""
        [outcome] = self.send_all([call], [auth])
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def get_all(self, url: str, auths: Sequence[Any]) -> list[Answer | BaseException]:
        """As many GETs at once as there are auths."""
        return self.send_all([Call("GET", url) for _ in auths], auths)

    @abstractmethod
    def send_all(self, calls: Sequence[Call], auths: Sequence[Any]) -> list[Answer | BaseException]:
        """All of *calls* at once, in threads or tasks."""

    @abstractmethod
    def chunks(self, parts: Sequence[bytes]) -> dict[str, Any]:
        """A body that can be read once: a generator."""


class SyncDriver(Driver):
    """A library in threads."""

    mode = "sync"

    def send_all(self, calls: Sequence[Call], auths: Sequence[Any]) -> list[Answer | BaseException]:
        outcomes: list[Any] = [None] * len(calls)
        barrier = threading.Barrier(len(calls))

        def work(index: int) -> None:
            barrier.wait()
            try:
                outcomes[index] = self._send(calls[index], auths[index])
            except BaseException as error:
                outcomes[index] = error

        threads = [threading.Thread(target=work, args=[index]) for index in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes

    def chunks(self, parts: Sequence[bytes]) -> dict[str, Any]:
        return {"data" if self.library == "requests" else "content": iter(list(parts))}

    @abstractmethod
    def _send(self, call: Call, auth: Any) -> Answer: ...


class Requests(SyncDriver):
    library = "requests"
    base_error = requests.RequestException

    def _send(self, call: Call, auth: Any) -> Answer:
        body = {"data" if name == "content" else name: value for name, value in call.body.items()}
        with requests.Session() as session:
            session.trust_env = False
            response = session.request(
                call.method, call.url, auth=auth, allow_redirects=call.follow_redirects, timeout=20, **body
            )
        return Answer(response.status_code, response.text, [each.status_code for each in response.history], response)


class Httpx(SyncDriver):
    def __init__(self, module: Any) -> None:
        self.library = module.__name__
        self.base_error = module.RequestError
        self._module = module
        #: Costs more than all else in a test, so that there is one.
        self._ssl = module.create_ssl_context()

    def _send(self, call: Call, auth: Any) -> Answer:
        with self._module.Client(verify=self._ssl, trust_env=False, timeout=20) as client:
            response = client.request(
                call.method, call.url, auth=auth, follow_redirects=call.follow_redirects, **call.body
            )
        return _answer(response)


class AsyncHttpx(Driver):
    def __init__(self, module: Any, mode: str) -> None:
        self.library = module.__name__
        self.mode = mode
        self.base_error = module.RequestError
        self._module = module
        #: Costs more than all else in a test, so that there is one.
        self._ssl = module.create_ssl_context()

    def send_all(self, calls: Sequence[Call], auths: Sequence[Any]) -> list[Answer | BaseException]:
        return self.run(lambda: self.gather(calls, auths))

    def chunks(self, parts: Sequence[bytes]) -> dict[str, Any]:
        async def generate() -> Any:
            for part in parts:
                yield part

        return {"content": generate()}

    def run(self, function: Callable[[], Any]) -> Any:
        """Run an async function of no arguments in a new loop."""
        return asyncio.run(function()) if self.mode == "asyncio" else trio.run(function)

    async def gather(self, calls: Sequence[Call], auths: Sequence[Any]) -> list[Answer | BaseException]:
        """All of *calls* at once, within a loop that runs."""
        outcomes: list[Any] = [None] * len(calls)
        limits = self._module.Limits(max_connections=50)
        async with self._module.AsyncClient(verify=self._ssl, trust_env=False, timeout=20, limits=limits) as client:

            async def work(index: int) -> None:
                call = calls[index]
                try:
                    response = await client.request(
                        call.method, call.url, auth=auths[index], follow_redirects=call.follow_redirects, **call.body
                    )
                    outcomes[index] = _answer(response)
                except Exception as error:
                    outcomes[index] = error

            if self.mode == "asyncio":
                await asyncio.gather(*map(work, range(len(calls))))
            else:
                async with trio.open_nursery() as nursery:
                    for index in range(len(calls)):
                        nursery.start_soon(work, index)
        return outcomes


def _answer(response: Any) -> Answer:
    return Answer(response.status_code, response.text, [each.status_code for each in response.history], response)


SYNC: list[SyncDriver] = [Requests(), Httpx(httpx), Httpx(httpx2)]
ASYNC: list[AsyncHttpx] = [AsyncHttpx(module, mode) for module in (httpx, httpx2) for mode in ("asyncio", "trio")]
ALL: list[Driver] = [*SYNC, *ASYNC]


def succeeded(outcomes: Sequence[Answer | BaseException]) -> bool:
    """Whether every call was answered with 200; raises the first error there is."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return all(isinstance(outcome, Answer) and outcome.status == 200 for outcome in outcomes)


def each(drivers: Sequence[Driver]) -> list[Any]:
    """Parameters of a test, with readable names."""
    return [pytest.param(driver, id=repr(driver)) for driver in drivers]
