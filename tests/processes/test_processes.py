"""Processes that share tokens in real files and a real Redis, and are killed, stopped and forked."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
from cryptography.fernet import Fernet

import auth_plugins
from auth_plugins._caches.entries import StoredToken
from auth_plugins._caches.shared import SharedCache
from auth_plugins._cli.listing import list_entries
from tests.support import workers
from tests.support.loopback import Loopback, Received, as_json
from tests.support.posix import needs_posix
from tests.support.redis_server import RedisServer
from tests.support.workers import Spec, made

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

#: Seconds after which a test fails; nothing takes nearly as long.
SAFETY = 30.0
pytestmark = pytest.mark.unmeasured

KEY = Fernet.generate_key().decode()


class Process:
    """A process of workers.py."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(auth_plugins.__file__).parents[1])}
        # -P: nothing is imported from the folder of the tests.
        command = [sys.executable, "-P", "-W", "error", workers.__file__]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        # Its first line says that it has imported everything.
        self._due = 1
        self._is_forked = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_of_use(self) -> bool:
        """Return whether the next test may use it."""
        return self._process.poll() is None and self._due == 0 and not self._is_forked

    def tell(self, name: str, **arguments: Any) -> None:
        """Send a command, and do not wait for its result."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        self._due += 1

    def hear(self) -> Any:
        """Wait for the result of a command."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "it has ended"
        answer = json.loads(line)
        self._due -= 1
        assert "failed" not in answer, answer["failed"]
        return answer["said"]

    def do(self, name: str, **arguments: Any) -> Any:
        self.tell(name, **arguments)
        return self.hear()

    def fork(self) -> int:
        """Fork it, and talk to the child from now on."""
        self._is_forked = True
        return int(self.do("fork"))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        self.wait_until_stopped()

    def wait_until_stopped(self) -> None:
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        if not self.is_of_use:
            self._process.kill()
        with self._process:
            pass  # closes its pipes, at which it ends, and waits for it


def all_do(processes: list[Process], name: str, **arguments: Any) -> list[Any]:
    """Have all of them do the same at the same time."""
    for process in processes:
        process.tell(name, **arguments)
    return [process.hear() for process in processes]


@pytest.fixture(scope="module")
def _processes() -> Iterator[list[Process]]:
    """The processes that the tests of this module share, as starting one takes long."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.end()


Fleet = Callable[..., list[Process]]


@pytest.fixture
def fleet(_processes: list[Process]) -> Iterator[Fleet]:
    """Start a number of processes, each with an auth object of this configuration."""

    def gather(count: int, grant: Spec, cache: Spec, **policy: Any) -> list[Process]:
        new = [Process() for _ in range(count - len(_processes))]
        _processes.extend(new)
        assert [process.hear() for process in new] == ["ready"] * len(new)
        all_do(_processes[:count], "open", grant=grant, cache=cache, policy=policy)
        return _processes[:count]

    yield gather
    for process in list(_processes):
        if not process.is_of_use:
            _processes.remove(process)
            process.end()


def in_files(tmp_path: Path, **arguments: Any) -> Spec:
    return "FileCache", {"path": str(tmp_path / "tokens"), **arguments}


def in_redis(server: RedisServer, **arguments: Any) -> Spec:
    return "RedisCache", {"url_or_client": server.url, **arguments}


@pytest.fixture(params=[in_files, in_redis], ids=["files", "redis"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Spec:
    if request.param is in_files:
        return in_files(tmp_path)
    return in_redis(request.getfixturevalue("redis_server"))


def credentials(server: Loopback) -> Spec:
    return "ClientCredentials", {"token_url": server.token_url, "client_id": "client", "client_secret": "s3cr3t"}


def entries(cache: Spec) -> list[StoredToken | str]:
    """List the entries of a cache; for one that cannot be read, the reason."""
    return list_entries(SharedCache(made(cache)))


def encrypted(cache: Spec) -> Spec:
    kind, arguments = cache
    return kind, {**arguments, "key": KEY}


def tokens(cache: Spec) -> list[str]:
    return [entry.token.access_token for entry in entries(cache) if isinstance(entry, StoredToken)]


@contextmanager
def held_back(server: Loopback) -> Iterator[threading.Event]:
    """Let the token endpoint hold its first request until the block ends; yield what is set when that arrives."""
    arrived, answer = threading.Event(), threading.Event()

    def hold(received: Received) -> Response:
        if not arrived.is_set():
            arrived.set()
            answer.wait(SAFETY)
        return server.issue(received)

    server.token_play = hold
    try:
        yield arrived
    finally:
        answer.set()


class Rotating:
    """A token endpoint that rotates refresh tokens, and revokes all when one is used twice."""

    def __init__(self, server: Loopback) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._newest: str | None = None
        self._spent: set[str] = set()
        self.passwords = self.reuses = self.refreshes = 0

    def __call__(self, received: Received) -> Response:
        form = dict(parse_qsl(received.body.decode()))
        with self._lock:
            spent = form.get("refresh_token")
            if spent is None:
                self.passwords += 1
            elif spent != self._newest:
                self.reuses += spent in self._spent
                self._newest = None
                return as_json({"error": "invalid_grant"}, 400)
            else:
                self.refreshes += 1
                self._spent.add(spent)
            number = self.passwords + self.refreshes
            self._newest = f"refresh-{number}"
            self._server.live.add(f"token-{number}")
            return as_json(
                {"access_token": f"token-{number}", "expires_in": 3600, "refresh_token": f"refresh-{number}"}
            )


def test_a_cold_fleet_makes_one_token_request(fleet: Fleet, server: Loopback, cache: Spec) -> None:
    """Eight processes of ten threads each that start at once send one token request, and all API requests succeed."""
    server.latency = 0.3
    processes = fleet(8, credentials(server), encrypted(cache))
    assert all_do(processes, "get", url=server.api_url, threads=10) == [["200"] * 10] * 8
    assert len(server.token_requests) == 1
    assert {received.headers["authorization"] for received in server.api_requests} == {"Bearer token-1"}
    assert all_do(processes, "warnings") == [[]] * 8


def test_a_fleet_never_spends_a_refresh_token_twice(fleet: Fleet, server: Loopback, cache: Spec) -> None:
    """Over six refreshes in four processes, the password and each refresh token are sent once."""
    server.token_play = endpoint = Rotating(server)
    grant = "Password", {"token_url": server.token_url, "username": "me", "password": "pass"}
    processes = fleet(4, grant, cache)
    for number in range(7):
        assert all_do(processes, "get", url=server.api_url, threads=10) == [["200"] * 10] * 4
        assert (endpoint.passwords, endpoint.refreshes, endpoint.reuses) == (1, number, 0)
        if number % 2:
            all_do(processes, "forward", seconds=3600)
        server.revoke()


def test_the_lock_holder_is_killed(fleet: Fleet, server: Loopback, cache: Spec) -> None:
    """After the lock holder is killed, others get a token: with files at once, with Redis when its lease has ended."""
    asking, waiting, later = fleet(3, credentials(server), cache, timeout=2)
    with held_back(server) as arrived:
        asking.tell("get", url=server.api_url)
        assert arrived.wait(SAFETY)
        waiting.tell("get", url=server.api_url)
        asking.kill()
        killed_at = time.monotonic()
        assert later.do("get", url=server.api_url) == ["200"]
        assert waiting.hear() == ["200"]
        assert time.monotonic() - killed_at < {"FileCache": 2, "RedisCache": 5}[cache[0]]
    assert tokens(cache) == [later.do("token")] == [waiting.do("token")]
    assert len(server.token_requests) == 2


@needs_posix
def test_processes_are_killed_again_and_again(fleet: Fleet, server: Loopback, cache: Spec) -> None:
    """Processes that are killed at any moment leave no half entry, and a later process gets a token."""
    # With Redis the lock of a killed process lasts for 1.25 times the timeout.
    enough, timeout, server.latency = {"FileCache": (20, 10.0, 0.005), "RedisCache": (15, 0.4, 0.05)}[cache[0]]
    cache = encrypted(cache)
    parent, another = fleet(2, credentials(server), cache, timeout=timeout)
    assert parent.do("get", url=server.api_url) == ["200"]
    chance = random.Random(20)
    alive = [parent.do("bear") for _ in range(3)]
    try:
        for _ in range(500):  # on a busy machine a process is often killed before it sends anything
            if len(server.token_requests) > enough:
                break
            time.sleep(chance.uniform(0, 0.03))
            assert parent.do("kill", pid=alive.pop(chance.randrange(3))) == signal.SIGKILL
            assert all(isinstance(entry, StoredToken) for entry in entries(cache))
            before = len(server.token_requests)
            while cache[0] == "RedisCache" and len(server.token_requests) == before:
                time.sleep(0.01)  # until the lock of the killed process has ended
            alive.append(parent.do("bear"))
    finally:
        for pid in alive:
            parent.do("kill", pid=pid)
    assert len(server.token_requests) > enough
    assert another.do("get", url=server.api_url) == ["200"]


@needs_posix
def test_a_forked_child_goes_on_with_the_token(fleet: Fleet, server: Loopback, cache: Spec) -> None:
    """A forked child has the token, and can replace it, for the others too."""
    forked, other = fleet(2, credentials(server), cache)
    assert forked.do("get", url=server.api_url) == ["200"]
    assert forked.fork() != forked.pid
    assert forked.do("get", url=server.api_url, threads=5) == ["200"] * 5
    assert len(server.token_requests) == 1
    server.revoke()
    assert forked.do("get", url=server.api_url, threads=5) == ["200"] * 5
    assert other.do("get", url=server.api_url) == ["200"]
    assert len(server.token_requests) == 2
    assert tokens(cache) == [forked.do("token")] == [other.do("token")]


@needs_posix
def test_a_fork_inherits_no_lock(fleet: Fleet, server: Loopback, tmp_path: Path) -> None:
    """A process that forks during a token request, and is killed, holds up neither its child nor others."""
    cache = in_files(tmp_path)
    forked, other = fleet(2, credentials(server), cache)
    with held_back(server) as arrived:
        forked.do("begin")
        assert arrived.wait(SAFETY)
        child = forked.fork()
        try:
            forked.kill()
            killed_at = time.monotonic()
            assert other.do("get", url=server.api_url) == ["200"], "although the child is alive"
            assert forked.do("get", url=server.api_url) == ["200"]
            assert time.monotonic() - killed_at < 10
            assert tokens(cache) == [forked.do("token")] == [other.do("token")]
            assert len(server.token_requests) == 2
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_spawned_child_finds_the_token(fleet: Fleet, server: Loopback, cache: Spec) -> None:
    """A child of multiprocessing, which gets the auth as a pickle, finds the token of its parent."""
    (process,) = fleet(1, credentials(server), cache)
    assert process.do("get", url=server.api_url) == ["200"]
    assert process.do("spawn", url=server.api_url) == "200"
    assert [received.headers["authorization"] for received in server.api_requests] == ["Bearer token-1"] * 2
    assert len(server.token_requests) == 1


@needs_posix
def test_a_stopped_process_is_waited_for_until_its_lease_ends_with_redis(
    fleet: Fleet, server: Loopback, redis_server: RedisServer
) -> None:
    """A stopped lock holder is waited for until its lease is over; when it resumes it does not replace the token."""
    cache = in_redis(redis_server)
    stopped, *others = fleet(3, credentials(server), cache, timeout=0.4)
    with held_back(server) as arrived:
        stopped.tell("get", url=server.api_url)
        assert arrived.wait(SAFETY)
        stopped.stop()
        assert all_do(others, "get", url=server.api_url) == [["200"], ["200"]]
    assert len(server.token_requests) == 2
    assert tokens(cache) == ["token-1"]
    stopped.resume()
    stopped.hear()  # its own token request took too long
    assert tokens(cache) == ["token-1"]
    assert stopped.do("get", url=server.api_url) == ["200"]
    assert stopped.do("token") == "token-1"


@needs_posix
@pytest.mark.parametrize("moment", ["while it asks", "before it stores"])
def test_a_stopped_process_is_not_waited_for_with_files(
    fleet: Fleet, server: Loopback, tmp_path: Path, moment: str
) -> None:
    """A stopped lock holder is waited for a while, then others fetch tokens of their own, until it resumes."""
    cache = in_files(tmp_path)
    stopped, *others = fleet(3, credentials(server), cache, timeout=0.4)
    with held_back(server) as arrived:
        if moment == "while it asks":
            stopped.tell("get", url=server.api_url)
            assert arrived.wait(SAFETY)
            stopped.stop()
        else:
            arrived.set()
            stopped.do("stop_before_storing")
            stopped.tell("get", url=server.api_url)
            stopped.wait_until_stopped()
        assert all_do(others, "get", url=server.api_url) == [["200"], ["200"]]
    assert entries(cache) == [], "the others do not hold the lock"
    stopped.resume()
    stopped.hear()
    all_do([stopped, *others], "forward", seconds=3600)
    server.token_requests.clear()
    assert all_do([stopped, *others], "get", url=server.api_url) == [["200"]] * 3
    assert len(server.token_requests) == 1
    assert len(tokens(cache)) == 1
