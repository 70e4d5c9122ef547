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

    mode: str
    base_error: type[Exception]

    def __init__(self, module: Any) -> None:
        #: The library, and its name.
        self.module, self.library = module, module.__name__

    def __repr__(self) -> str:
        return f"{self.library}-{self.mode}"

    def auth(self, grant: Any, **arguments: Any) -> Any:
        """The library's OAuth2Auth."""
        return importlib.import_module(f"auth_plugins.{self.library}").OAuth2Auth(grant, **arguments)

    def get(self, url: str, auth: Any, **options: Any) -> Answer:
        """One GET; *options* as of :meth:`send_all`."""
        return self.send(Call("GET", url), auth, **options)

    def send(self, call: Call, auth: Any, **options: Any) -> Answer:
        """One request; raises what the library raises."""
        [outcome] = self.send_all([call], [auth], **options)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def get_all(self, url: str, auths: Sequence[Any]) -> list[Answer | BaseException]:
        """As many GETs at once as there are auths."""
        return self.send_all([Call("GET", url) for _ in auths], auths)

    @abstractmethod
    def send_all(self, calls: Sequence[Call], auths: Sequence[Any], **options: Any) -> list[Answer | BaseException]:
        """All of *calls* at once, in threads or tasks.

        :param options: arguments of the client; in place of ``event_hooks`` a function ``hook`` for responses. For
            requests, ``transport`` is an adapter.
        """

    @abstractmethod
    def signed(self, auth: Any, url: str) -> Any:
        """A request to *url* with the token on it; nothing is sent."""

    @abstractmethod
    def chunks(self, parts: Sequence[bytes]) -> dict[str, Any]:
        """A body that can be read once: a generator."""


class SyncDriver(Driver):
    """A library in threads."""

    mode = "sync"

    def send_all(self, calls: Sequence[Call], auths: Sequence[Any], **options: Any) -> list[Answer | BaseException]:
        outcomes: list[Any] = [None] * len(calls)
        barrier = threading.Barrier(len(calls))

        def work(index: int) -> None:
            barrier.wait()
            try:
                outcomes[index] = _answer(self._send(calls[index], auths[index], **options))
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
    def _send(self, call: Call, auth: Any, **options: Any) -> Any: ...


class MockAdapter(requests.adapters.BaseAdapter):
    """What ``MockTransport`` is for httpx: *play* returns attributes of the response; nothing is sent."""

    def __init__(self, play: Callable[[requests.PreparedRequest], dict[str, Any]]) -> None:
        super().__init__()
        self._play = play

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        fields = {"status_code": 200, "_content": b"", "connection": self, **self._play(request)}
        vars(response).update(fields, request=request, url=request.url)
        return response

    def close(self) -> None:
        pass


class Requests(SyncDriver):
    base_error = requests.RequestException

    def signed(self, auth: Any, url: str) -> Any:
        return auth(requests.Request("GET", url).prepare())

    def _send(self, call: Call, auth: Any, **options: Any) -> Any:
        body = {"data" if name == "content" else name: value for name, value in call.body.items()}
        with requests.Session() as session:
            session.trust_env = False
            session.cookies.update(options.get("cookies", {}))
            if "transport" in options:
                session.mount("http://", options["transport"])
                session.mount("https://", options["transport"])
            return session.request(
                call.method, call.url, auth=auth, allow_redirects=call.follow_redirects, timeout=20, **body
            )


class Httpx(SyncDriver):
    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.base_error = module.RequestError
        #: Costs more than all else in a test, so that there is one.
        self._ssl = module.create_ssl_context()

    def signed(self, auth: Any, url: str) -> Any:
        return next(auth.sync_auth_flow(self.module.Request("GET", url)))

    def _send(self, call: Call, auth: Any, hook: Any = None, **options: Any) -> Any:
        options = {"verify": self._ssl, "trust_env": False, "timeout": 20, **options}
        with self.module.Client(event_hooks={"response": [hook] if hook else []}, **options) as client:
            return client.request(call.method, call.url, auth=auth, follow_redirects=call.follow_redirects, **call.body)


class AsyncHttpx(Driver):
    def __init__(self, module: Any, mode: str) -> None:
        super().__init__(module)
        self.mode, self.base_error = mode, module.RequestError
        self._ssl = module.create_ssl_context()

    def send_all(self, calls: Sequence[Call], auths: Sequence[Any], **options: Any) -> list[Answer | BaseException]:
        return self.run(lambda: self.gather(calls, auths, **options))

    def signed(self, auth: Any, url: str) -> Any:
        async def first() -> Any:
            flow = auth.async_auth_flow(self.module.Request("GET", url))
            request = await anext(flow)
            await flow.aclose()
            return request

        return self.run(first)

    def chunks(self, parts: Sequence[bytes]) -> dict[str, Any]:
        async def generate() -> Any:
            for part in parts:
                yield part

        return {"content": generate()}

    def run(self, function: Callable[[], Any]) -> Any:
        """Run an async function of no arguments in a new loop."""
        return asyncio.run(function()) if self.mode == "asyncio" else trio.run(function)

    async def gather(
        self, calls: Sequence[Call], auths: Sequence[Any], hook: Any = None, **options: Any
    ) -> list[Answer | BaseException]:
        """All of *calls* at once, within a loop that runs."""
        outcomes: list[Any] = [None] * len(calls)
        limits = self.module.Limits(max_connections=50)
        options = {"verify": self._ssl, "trust_env": False, "timeout": 20, "limits": limits, **options}

        async def async_hook(response: Any) -> None:
            hook(response)

        async with self.module.AsyncClient(event_hooks={"response": [async_hook] if hook else []}, **options) as client:

            async def work(index: int) -> None:
                call = calls[index]
                try:
                    response = await client.request(
                        call.method, call.url, auth=auths[index], follow_redirects=call.follow_redirects, **call.body
                    )
                    outcomes[index] = _answer(response)
                except Exception as error:
                    outcomes[index] = error

            if len(calls) == 1:
                await work(0)
            elif self.mode == "asyncio":
                await asyncio.gather(*map(work, range(len(calls))))
            else:
                async with trio.open_nursery() as nursery:
                    for index in range(len(calls)):
                        nursery.start_soon(work, index)
        return outcomes


def _answer(response: Any) -> Answer:
    return Answer(response.status_code, response.text, [each.status_code for each in response.history], response)


SYNC: list[SyncDriver] = [Requests(requests), Httpx(httpx), Httpx(httpx2)]
ASYNC: list[AsyncHttpx] = [AsyncHttpx(module, mode) for module in (httpx, httpx2) for mode in ("asyncio", "trio")]
ALL: list[Driver] = [*SYNC, *ASYNC]
HTTPX: list[Driver] = ALL[1:]
SYNC_HTTPX: list[SyncDriver] = SYNC[1:]


def succeeded(outcomes: Sequence[Answer | BaseException]) -> bool:
    """Whether every call was answered with 200; raises the first error there is."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return all(isinstance(outcome, Answer) and outcome.status == 200 for outcome in outcomes)


def each(drivers: Sequence[Driver]) -> list[Any]:
    """Parameters of a test, with readable names."""
    return [pytest.param(driver, id=repr(driver)) for driver in drivers]
