"""A forked child uses no connection of its parent's: real forks over warm sessions and clients."""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import httpx_retries
import pytest
import requests

from auth_plugins import ClientCredentials, MemoryCache, TokenSource, _forks
from auth_plugins._transport import httpx_transport, requests_transport

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
            try:
                os.write(write, json.dumps(work()).encode())
            except BaseException:  # noqa: BLE001 - of a forked child, which must not go on as a test run
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


def test_what_is_unknown_is_left_alone() -> None:
    """Adapters and transports of the user's own, and other versions of the libraries, make no trouble in a child."""

    class Slotted:
        __slots__ = ()

    class Mine(requests.adapters.BaseAdapter):
        poolmanager = None
        proxy_manager = {"http://proxy": object()}  # noqa: RUF012 - as HTTPAdapter has it

        def close(self) -> None:
            pass

    _forks.renew_in_children(Slotted())
    with requests.Session() as session, httpx.Client(transport=httpx.MockTransport(lambda _: None)) as client:  # type: ignore[arg-type]
        session.mount("http://", Mine())
        for handed in (session, client):
            _forks.renew_in_children(handed)
        _forks._after_fork()


def test_a_session_that_is_gone_is_forgotten() -> None:
    """A session that was handed in is not kept alive for a fork."""
    session = requests.Session()
    requests_transport(session)
    assert session in _forks._handed.values()
    number = id(session)
    del session
    assert number not in _forks._handed
