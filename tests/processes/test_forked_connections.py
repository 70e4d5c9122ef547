"""A forked child uses no connection that its parent opened: real forks with open sessions and clients."""

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

from auth_plugins import ClientCredentials, TokenSource
from auth_plugins._transports.requests import requests_transport
from tests.support.endpoints import LIBRARIES, Wrapping, new_session, token_source
from tests.support.keep_alive import KeepAlive, make_certificate
from tests.support.workers import wait_for_ending_threads

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


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
            if library != "requests":
                # 60 s without a request: by default 5 s, which a busy machine needs for the children.
                limits = importlib.import_module(library).Limits(keepalive_expiry=60)
                verify = ssl.create_default_context(cafile=certificate)
                return stack.enter_context(new_session(library, verify=verify, limits=limits))
            session = stack.enter_context(new_session(library))
            session.verify, session.trust_env = str(certificate), False
            return session

        yield make


def by(library: str, session: Any, url: str, client: str) -> TokenSource:
    grant = ClientCredentials(url, client, "s3cr3t", client_auth="client_secret_post")
    return token_source(library, grant, session, timeout=5)


class Child:
    """A forked child that does *work*."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._read, write = os.pipe()
        wait_for_ending_threads()
        self._pid = os.fork()
        if self._pid == 0:
            faulthandler.dump_traceback_later(20, exit=True)
            # At the fork, another thread may have held the lock of a handler's stream: here it stays locked.
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


def tokens_of_four_children(source_of: Callable[[str], TokenSource]) -> list[Any]:
    """Five tokens of each of four children that run at once: of the source that *source_of* returns for their names."""
    start = [os.pipe() for _ in range(4)]

    def work(number: int) -> list[str]:
        os.read(start[number][0], 1)
        source, tokens = source_of(f"c{number}"), []
        for _ in range(5):
            token = source.token()
            source.invalidate(token)
            tokens.append(token.access_token)
        return tokens

    children = [Child(functools.partial(work, number)) for number in range(4)]
    for _, write in start:
        os.write(write, b"x")
    return [child.outcome() for child in children]


FOUR = [[f"token-of-c{number}"] * 5 for number in range(4)]


def assert_nothing_is_shared(endpoint: KeepAlive) -> None:
    """Fail unless the parent used its first connection only, and each child one of its own."""
    used = {client: {number for name, number in endpoint.requests if name == client} for client, _ in endpoint.requests}
    assert used["parent"] == {0}, "the parent's connection lives on"
    assert [len(numbers) for numbers in used.values()] == [1] * 5
    assert len(set.union(*used.values())) == 5


@pytest.mark.unmeasured
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("is_new", [False, True], ids=["in use", "new to children"])
def test_children_do_not_share_a_connection(
    library: str, is_new: bool, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """Children that share an open session, or make the first auth for it, get the tokens of their own clients only."""
    mine = handed(library)
    if is_new:
        assert mine.post(endpoint.url, data={"client_id": "parent"}).status_code == 200
    else:
        assert by(library, mine, endpoint.url, "parent").token().access_token == "token-of-parent"
    assert tokens_of_four_children(lambda name: by(library, mine, endpoint.url, name)) == FOUR
    assert mine.post(endpoint.url, data={"client_id": "parent"}).status_code == 200
    assert_nothing_is_shared(endpoint)
    if not is_new:
        # Other requests of a child do not use the parent's connection either.
        assert Child(lambda: mine.post(endpoint.url, data={"client_id": "other"}).status_code).outcome() == 200
        assert endpoint.requests[-1][0] == "other"
        assert endpoint.requests[-1][1] != 0


@pytest.mark.unmeasured
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_fork_in_the_middle_of_a_token_request(
    library: str, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """After a fork while another thread waits for a token, child and parent get their own tokens."""
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
    """A child does not wait for a lock of the session's pools that a thread of its parent held at the fork."""
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


@pytest.mark.unmeasured
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_stream_that_a_child_inherits_is_closed(
    library: str, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """A child can close a response that its parent was reading at the fork, and the parent goes on reading."""
    mine = handed(library)
    source = by(library, mine, endpoint.url, "child")
    with mine.stream("POST", endpoint.url, data={"client_id": "parent"}) as response:

        def work() -> str:
            response.close()
            return source.token().access_token

        assert Child(work).outcome() == "token-of-child"
        assert response.read() == b'{"access_token": "token-of-parent"}'


class SlottedTransport(httpx.BaseTransport):
    """Sends by another transport, in a list in a slot."""

    __slots__ = ("__inners", "unset")

    def __init__(self, inner: Any) -> None:
        self.__inners = [inner]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.__inners[0].handle_request(request)

    def close(self) -> None:
        self.__inners[0].close()


@pytest.mark.unmeasured
@pytest.mark.parametrize("kind", [Wrapping, lambda inner: Wrapping(Wrapping(inner))])
def test_an_adapter_within_another(
    kind: Callable[[Any], Any], endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """Children that share an adapter within another, once or twice, get their own tokens only."""
    mine = handed("requests")
    mine.mount(endpoint.url, kind(requests.adapters.HTTPAdapter()))
    by("requests", mine, endpoint.url, "parent").token()
    assert tokens_of_four_children(lambda name: by("requests", mine, endpoint.url, name)) == FOUR
    assert_nothing_is_shared(endpoint)


class Delegating(requests.Session):
    """Has no attributes of its own: those of a session that *make* returns."""

    def __init__(self, make: Callable[[], requests.Session]) -> None:
        vars(self)["_made"] = functools.cache(make)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)


def test_a_session_that_delegates_to_another(endpoint: KeepAlive, handed: Callable[[str], Any]) -> None:
    """Children that share a session which is made at its first use get their own tokens only."""
    mine = Delegating(lambda: handed("requests"))
    by("requests", mine, endpoint.url, "parent").token()
    assert tokens_of_four_children(lambda name: by("requests", mine, endpoint.url, name)) == FOUR
    assert_nothing_is_shared(endpoint)


@pytest.mark.parametrize(
    "kind", [SlottedTransport, pytest.param(httpx_retries.RetryTransport, marks=pytest.mark.unmeasured)]
)
def test_a_transport_within_another(kind: Callable[[Any], Any], endpoint: KeepAlive, certificate: Path) -> None:
    """Children that share a transport within another, in a slot for example, get their own tokens only."""
    inner = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=certificate))
    with httpx.Client(transport=kind(inner)) as mine:
        by("httpx", mine, endpoint.url, "parent").token()
        assert tokens_of_four_children(lambda name: by("httpx", mine, endpoint.url, name)) == FOUR
    assert_nothing_is_shared(endpoint)


@pytest.mark.unmeasured
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_session_that_is_in_use_as_a_child_hands_it_in(
    library: str, endpoint: KeepAlive, handed: Callable[[str], Any]
) -> None:
    """A request that another thread of a child has sent gets its answer while an auth is made for the same session."""
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


def test_unknown_sessions_cause_no_error() -> None:
    """Unknown kinds of adapters, transports and sessions cause no error in a child."""
    assert Child(_hand_in_unknown_sessions).outcome() == "alive"


def _hand_in_unknown_sessions() -> str:
    class Slotted:
        __slots__ = ()

    class Raises:
        close = mock.Mock()
        _transport = _mounts = property(lambda _: 1 / 0)

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    for each in (Slotted(), Raises(), mock.Mock(), mock.MagicMock()):
        requests_transport(each)
    with requests.Session() as session, httpx.Client(transport=httpx.MockTransport(lambda _: None)) as client:  # type: ignore[arg-type]
        session.mount("http://raises", Wrapping(Raises()))
        session.mount("http://mock", mock.Mock())
        threads = Wrapping()
        threads._pool = executor = ThreadPoolExecutor()  # type: ignore[attr-defined]
        session.mount("http://threads", threads)
        requests_transport(session)
        requests_transport(client)
        assert threads._pool is executor  # type: ignore[attr-defined]
        # All of these are in use now, and the child forks again. In its child, faulthandler would wait for this thread.
        faulthandler.cancel_dump_traceback_later()
        return str(Child(lambda: "alive").outcome())


def test_an_unused_session_is_not_kept_alive() -> None:
    """A session is deleted when the program needs it no more."""
    session = requests.Session()
    requests_transport(session)
    known = weakref.ref(session)
    del session
    gc.collect()
    assert known() is None
