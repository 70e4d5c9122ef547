"""A forked child uses no connection of its parent's: real forks over warm sessions and clients."""

from __future__ import annotations

import faulthandler
import functools
import gc
import importlib
import json
import logging
import os
import ssl
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import httpx_retries
import pytest
import requests

from auth_plugins import ClientCredentials, MemoryCache, TokenSource
from auth_plugins._transports.httpx import httpx_transport
from auth_plugins._transports.requests import requests_transport

from .keep_alive import KeepAlive, make_certificate

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
LIBRARIES = ["requests", "httpx", "httpx2"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["http", "https"])
def endpoint(request: pytest.FixtureRequest, certificate: Path) -> Iterator[KeepAlive]:
    with KeepAlive(certificate if request.param == "https" else None) as endpoint:
        yield endpoint


@pytest.fixture
def handed(certificate: Path) -> Iterator[Callable[[str], Any]]:
    """Make a session or client that trusts the endpoint."""
    with ExitStack() as stack:

        def make(library: str) -> Any:
            if library == "requests":
                session = stack.enter_context(requests.Session())
                session.verify, session.trust_env = str(certificate), False
                return session
            verify = ssl.create_default_context(cafile=certificate)
            return stack.enter_context(importlib.import_module(library).Client(verify=verify))

        yield make


def by(library: str, handed: Any, url: str, client: str) -> TokenSource:
    grant = ClientCredentials(url, client, "s3cr3t", client_auth="client_secret_post")
    source = TokenSource(grant, cache=MemoryCache(), timeout=5)
    source._transport = requests_transport(handed) if library == "requests" else httpx_transport(library, handed)
    return source


class Child:
    """A forked child that does *work*."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._read, write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            faulthandler.dump_traceback_later(20, exit=True)
            # Another thread may have been writing to a handler's stream at the fork: its lock is held for ever here.
            logging.disable()
            try:
                os.write(write, json.dumps(work()).encode())
            except BaseException:
                os.write(write, json.dumps(traceback.format_exc()).encode())
            finally:
                os._exit(0)
        os.close(write)

    def outcome(self) -> Any:
        with os.fdopen(self._read, "rb") as pipe:
            written = pipe.read()
        os.waitpid(self._pid, 0)
        return json.loads(written)


@pytest.mark.parametrize("library", LIBRARIES)
def test_children_do_not_share_a_connection(library: str, endpoint: KeepAlive, handed: Callable[[str], Any]) -> None:
    """Two children, each with a tenant of its own, share a warm session: each gets its own tenant's token only."""
    mine = handed(library)
    sources = {name: by(library, mine, endpoint.url, name) for name in ("parent", "a", "b")}
    assert sources["parent"].token().access_token == "token-of-parent"
    ready = [os.pipe(), os.pipe()]

    def work(name: str, number: int) -> list[str]:
        os.read(ready[number][0], 1)
        tokens = []
        for _ in range(5):
            token = sources[name].token()
            sources[name].invalidate(token)
            tokens.append(token.access_token)
        return tokens

    children = [Child(lambda: work("a", 0)), Child(lambda: work("b", 1))]
    for _, write in ready:
        os.write(write, b"x")
    assert [child.outcome() for child in children] == [["token-of-a"] * 5, ["token-of-b"] * 5]
    sources["parent"].invalidate(sources["parent"].token())
    assert sources["parent"].token().access_token == "token-of-parent"
    used = {name: {number for client, number in endpoint.requests if client == name} for name in sources}
    assert used == {"parent": {0}, "a": used["a"], "b": used["b"]}, "the parent's connection lives on"
    assert not used["a"] & (used["b"] | {0})
    assert len(used["a"]) == 1, "and a child keeps its own open"


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_else_a_child_sends_has_a_connection_of_its_own(
    library: str, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """A child sends other requests by the session as well: not by its parent's connection either."""
    mine = handed(library)
    by(library, mine, endpoint.url, "parent").token()
    assert Child(lambda: mine.post(endpoint.url, data={"client_id": "other"}).status_code).outcome() == 200
    assert endpoint.requests[0] == ("parent", 0)
    assert endpoint.requests[1][0] == "other"
    assert endpoint.requests[1][1] != 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_fork_in_the_middle_of_a_token_request(
    library: str, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """A process forks while another thread waits for a token by the session: child and parent get their own."""
    mine = handed(library)
    by(library, mine, endpoint.url, "before").token()
    endpoint.came.clear()
    endpoint.gate.clear()
    source, tokens = by(library, mine, endpoint.url, "parent"), []
    thread = threading.Thread(target=lambda: tokens.append(source.token().access_token))
    thread.start()
    assert endpoint.came.wait(10)
    child = Child(lambda: by(library, mine, endpoint.url, "child").token().access_token)
    endpoint.gate.set()
    thread.join()
    assert (tokens, child.outcome()) == (["token-of-parent"], "token-of-child")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_fork_while_a_lock_is_held(library: str, endpoint: KeepAlive, handed: Callable[[str], Any]) -> None:
    """A process forks while another thread holds a lock of the session's pools: the child waits for no ghost."""
    mine = handed(library)
    by(library, mine, endpoint.url, "parent").token()
    if library == "requests":
        pools = mine.get_adapter(endpoint.url).poolmanager.pools
        [pool] = pools._container.values()
        locks = [pools.lock, pool.pool.mutex]
    else:
        locks = [mine._transport._pool._optional_thread_lock]
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    try:
        child = Child(lambda: by(library, mine, endpoint.url, "child").token().access_token)
    finally:
        leave.set()
        thread.join()
    assert child.outcome() == "token-of-child"


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_stream_that_a_child_inherits_is_closed(
    library: str, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """A process forks while it reads an answer by the client: the child can close it, and the parent reads on."""
    mine = handed(library)
    source = by(library, mine, endpoint.url, "child")
    with mine.stream("POST", endpoint.url, data={"client_id": "parent"}) as response:

        def work() -> str:
            response.close()
            return source.token().access_token

        assert Child(work).outcome() == "token-of-child"
        assert response.read() == b'{"access_token": "token-of-parent"}'


def test_a_transport_within_another(endpoint: KeepAlive, certificate: Path) -> None:
    """A client's transport wraps an HTTPTransport, as those that repeat or cache do: it is renewed too."""
    inner = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=certificate))
    with httpx.Client(transport=httpx_retries.RetryTransport(inner)) as mine:
        by("httpx", mine, endpoint.url, "parent").token()
        assert Child(lambda: by("httpx", mine, endpoint.url, "child").token().access_token).outcome()
    assert len({number for _, number in endpoint.requests}) == 2


class Wrapping(requests.adapters.BaseAdapter):
    """Sends by another adapter, as those that limit, repeat or record do."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.itself = self

    def send(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        return self.inner.send(request, **options)

    def close(self) -> None:
        self.inner.close()


class SlottedAdapter(Wrapping):
    """Has its adapters in a list in a slot, and nothing that sends in its ``__dict__``."""

    __slots__ = ("__inners", "unset")

    def __init__(self, inner: Any) -> None:
        self.__inners = [inner]

    @property
    def inner(self) -> Any:
        return self.__inners[0]


class SlottedTransport(httpx.BaseTransport):
    """Sends by another transport, which is in a slot."""

    __slots__ = ("__inner", "unset")

    def __init__(self, inner: Any) -> None:
        self.__inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.__inner.handle_request(request)

    def close(self) -> None:
        self.__inner.close()


class TransparentTransport(SlottedTransport):
    """Has, so it seems, each attribute of the other."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._SlottedTransport__inner, name)


def tokens_of_four_children(work: Callable[[str], str]) -> list[Any]:
    """What *work* returns in each of four children that run at once, given their names."""
    start = [os.pipe() for _ in range(4)]

    def begin(number: int) -> list[str]:
        os.read(start[number][0], 1)
        return [work(f"c{number}") for _ in range(5)]

    children = [Child(functools.partial(begin, number)) for number in range(4)]
    for _, write in start:
        os.write(write, b"x")
    return [child.outcome() for child in children]


FOUR = [[f"token-of-c{number}"] * 5 for number in range(4)]


@pytest.mark.parametrize("kind", [Wrapping, SlottedAdapter, lambda inner: Wrapping(SlottedAdapter(inner))])
def test_an_adapter_within_another(
    kind: Callable[[Any], Any], endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """A session's adapter wraps an HTTPAdapter, once or twice: four children get their own tokens only."""
    mine = handed("requests")
    mine.mount(endpoint.url, kind(requests.adapters.HTTPAdapter()))
    by("requests", mine, endpoint.url, "parent").token()
    tokens = tokens_of_four_children(lambda name: by("requests", mine, endpoint.url, name).token().access_token)
    assert tokens == FOUR
    assert [client for client, number in endpoint.requests if number == 0] == ["parent"]


@pytest.mark.parametrize("kind", [SlottedTransport, TransparentTransport])
def test_a_transport_in_a_slot_of_another(kind: Callable[[Any], Any], endpoint: KeepAlive, certificate: Path) -> None:
    """A client's transport keeps the HTTPTransport in a slot: four children get their own tokens only."""
    inner = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=certificate))
    with httpx.Client(transport=kind(inner)) as mine:
        by("httpx", mine, endpoint.url, "parent").token()
        tokens = tokens_of_four_children(lambda name: by("httpx", mine, endpoint.url, name).token().access_token)
    assert tokens == FOUR
    assert [client for client, number in endpoint.requests if number == 0] == ["parent"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_warm_session_that_is_handed_in_by_children_only(
    library: str, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """The parent warms a session; only its children hand it in: each gets its own token, by one new connection."""
    mine = handed(library)
    assert mine.post(endpoint.url, data={"client_id": "parent"}).status_code == 200
    tokens = tokens_of_four_children(lambda name: by(library, mine, endpoint.url, name).token().access_token)
    assert tokens == FOUR
    assert mine.post(endpoint.url, data={"client_id": "parent"}).status_code == 200
    used = {client: {number for name, number in endpoint.requests if name == client} for client, _ in endpoint.requests}
    assert used["parent"] == {0}, "the parent's connection lives on"
    assert sorted(len(numbers) for numbers in used.values()) == [1] * 5
    assert len(set.union(*used.values())) == 5


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_session_that_is_in_use_as_a_child_hands_it_in(
    library: str, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """Another thread of the child waits for an answer by the session that is handed in: it gets its answer."""
    mine = handed(library)
    endpoint.gate.clear()

    def work() -> list[Any]:
        answers: list[Any] = []

        def ask() -> None:
            answers.append(mine.post(endpoint.url, data={"client_id": "other"}).json()["access_token"])

        thread = threading.Thread(target=ask)
        thread.start()
        os.read(asked[0], 1)
        source = by(library, mine, endpoint.url, "child")
        os.write(registered[1], b"x")
        thread.join()
        return [*answers, source.token().access_token]

    asked, registered = os.pipe(), os.pipe()
    child = Child(work)
    assert endpoint.came.wait(10)
    os.write(asked[1], b"x")
    os.read(registered[0], 1)
    endpoint.gate.set()
    assert child.outcome() == ["token-of-other", "token-of-child"]


def test_what_is_unknown_is_left_alone() -> None:
    """Adapters and transports of the user's own, and other versions of the libraries, make no trouble in a child."""
    assert Child(_hand_in_what_is_unknown).outcome() == "alive"


def _hand_in_what_is_unknown() -> str:
    class Slotted:
        __slots__ = ()

    class Mine(requests.adapters.BaseAdapter):
        poolmanager = None
        proxy_manager = {"http://proxy": object()}  # noqa: RUF012 - as HTTPAdapter has it

        def close(self) -> None:
            pass

    class Raises:
        close = mock.Mock()
        _transport = _mounts = property(lambda _: 1 / 0)

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    unknown = [Slotted(), Raises(), mock.Mock(), mock.MagicMock()]
    for each in unknown:
        requests_transport(each)
    with requests.Session() as session, httpx.Client(transport=httpx.MockTransport(lambda _: None)) as client:  # type: ignore[arg-type]
        session.mount("http://", Mine())
        session.mount("http://raises", Wrapping(Raises()))
        session.mount("http://mock", mock.Mock())
        threads = Wrapping(Mine())
        threads._pool = executor = ThreadPoolExecutor()  # type: ignore[attr-defined]
        session.mount("http://threads", threads)
        requests_transport(session)
        httpx_transport("httpx", client)
        assert threads._pool is executor  # type: ignore[attr-defined]
        # All of these are in use now, and the child forks again. In its child, faulthandler would wait for this thread.
        faulthandler.cancel_dump_traceback_later()
        return str(Child(lambda: "alive").outcome())


def test_a_session_that_is_gone_is_forgotten() -> None:
    """A session that was handed in is not kept alive for a fork."""
    session = requests.Session()
    requests_transport(session)
    known = weakref.ref(session)
    del session
    gc.collect()
    assert known() is None
