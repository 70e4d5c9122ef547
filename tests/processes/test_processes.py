"""Processes that share tokens in real files and a real Redis, and are killed, stopped and forked."""

from __future__ import annotations

import itertools
import json
import operator
import os
import queue
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
from auth_plugins._caches.listing import list_entries
from auth_plugins._caches.shared import SharedCache
from tests.support import workers
from tests.support.loopback import Loopback, Received, as_json
from tests.support.redis_server import RedisServer
from tests.support.workers import Spec, made

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

#: Seconds after which a test fails; nothing takes nearly as long.
SAFETY = 30.0
KEY = Fernet.generate_key().decode()

needs_posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has neither fork nor these signals")


class Process:
    """A process of workers.py."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(auth_plugins.__file__).parents[1])}
        # -P: nothing is imported from the folder of the tests.
        command = [sys.executable, "-P", "-W", "error", workers.__file__]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
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
        answer = json.loads(self._said.get(timeout=SAFETY))
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
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it."""
        self._process.send_signal(signal.SIGSTOP)
        self.wait_until_stopped()

    def wait_until_stopped(self) -> None:
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self.is_of_use:
            self._process.kill()
        self._process.stdin.close()
        self._process.wait(SAFETY)
        self._listener.join()
        self._process.stdout.close()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self._said.put(line)
        self._said.put('{"failed": "it has ended"}')


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

    def gather(count: int, grant: Spec, cache: Spec, speed: float = 1.0, **policy: Any) -> list[Process]:
        new = [Process() for _ in range(count - len(_processes))]
        _processes.extend(new)
        assert [process.hear() for process in new] == ["ready"] * len(new)
        all_do(_processes[:count], "open", grant=grant, cache=cache, speed=speed, policy=policy)
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


def eventually(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + SAFETY
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.01)


class HeldBack:
    """A token endpoint that holds its first request until the test says so, and answers all others at once."""

    def __init__(self, server: Loopback) -> None:
        self._server = server
        self._numbers = itertools.count()
        self._arrived, self._answer = threading.Event(), threading.Event()

    def __call__(self, received: Received) -> Response:
        if next(self._numbers) == 0:
            self._arrived.set()
            self._answer.wait(SAFETY)
        return self._server.issue(received)

    def wait(self) -> None:
        assert self._arrived.wait(SAFETY), "no token request was sent"

    def answer(self) -> None:
        self._answer.set()


@contextmanager
def held_back(server: Loopback) -> Iterator[HeldBack]:
    held = HeldBack(server)
    server.token_play = held
    try:
        yield held
    finally:
        held.answer()


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


@pytest.mark.parametrize("is_encrypted", [False, True], ids=["in the clear", "encrypted"])
def test_a_cold_fleet_makes_one_token_request(fleet: Fleet, server: Loopback, cache: Spec, is_encrypted: bool) -> None:
    """Eight processes of ten threads each that start at once send one token request, and all API requests succeed."""
    server.latency = 0.3
    processes = fleet(8, credentials(server), encrypted(cache) if is_encrypted else cache)
    assert all_do(processes, "get", url=server.api_url, threads=10) == [["200"] * 10] * 8
    assert len(server.token_requests) == 1
    assert {received.headers["authorization"] for received in server.api_requests} == {"Bearer token-1"}
    assert all_do(processes, "warnings") == [[]] * 8


@pytest.mark.parametrize("threads", [1, 10])
def test_a_fleet_never_spends_a_refresh_token_twice(fleet: Fleet, server: Loopback, cache: Spec, threads: int) -> None:
    """Over six refreshes in four processes, the password and each refresh token are sent once."""
    server.token_play = endpoint = Rotating(server)
    grant = "Password", {"token_url": server.token_url, "username": "me", "password": "pass"}
    processes = fleet(4, grant, cache)
    for number in range(7):
        assert all_do(processes, "get", url=server.api_url, threads=threads) == [["200"] * threads] * 4
        assert (endpoint.passwords, endpoint.refreshes, endpoint.reuses) == (1, number, 0)
        if number % 2:
            all_do(processes, "forward", seconds=3600)
        server.revoke()


def test_the_lock_holder_is_killed(fleet: Fleet, server: Loopback, cache: Spec) -> None:
    """After the lock holder is killed, others get a token: with files at once, with Redis within 15 seconds."""
    asking, waiting, later = fleet(3, credentials(server), cache)
    with held_back(server) as held:
        asking.tell("get", url=server.api_url)
        held.wait()
        waiting.tell("get", url=server.api_url)
        asking.kill()
        killed_at = time.monotonic()
        assert later.do("get", url=server.api_url) == ["200"]
        assert waiting.hear() == ["200"]
        assert time.monotonic() - killed_at < {"FileCache": 5, "RedisCache": 15}[cache[0]]
    assert tokens(cache) == [later.do("token")] == [waiting.do("token")]
    assert len(server.token_requests) == 2


@needs_posix
def test_processes_are_killed_again_and_again(fleet: Fleet, server: Loopback, cache: Spec, tmp_path: Path) -> None:
    """Processes that are killed leave no half entry, and no two live ones send a token request at the same time."""
    # With Redis the lock of a killed process lasts for 1.25 times the timeout.
    kills, timeout, server.latency = {"FileCache": (200, 10.0, 0.005), "RedisCache": (20, 0.4, 0.05)}[cache[0]]
    cache = encrypted(cache)
    notes = tmp_path / "notes"
    parent, another = fleet(2, credentials(server), cache, timeout=timeout)
    assert parent.do("get", url=server.api_url) == ["200"]
    chance, numbers = random.Random(20), itertools.count()
    alive: dict[int, int] = {}
    killed_at: dict[int, float] = {}

    def bear() -> None:
        number = next(numbers)
        alive[number] = parent.do("bear", number=number, notes=str(notes))

    def kill(number: int) -> None:
        pid = alive.pop(number)
        killed_at[number] = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        assert parent.do("bury", pid=pid) == signal.SIGKILL

    def wait_for_the_next_token() -> None:
        before = tokens(cache)
        eventually(lambda: tokens(cache) != before, "a token of another process")

    try:
        for _ in range(3):
            bear()
        for _ in range(kills):
            time.sleep(chance.uniform(0, 0.03))
            kill(chance.choice(list(alive)))
            assert all(isinstance(entry, StoredToken) for entry in entries(cache))
            if cache[0] == "RedisCache":
                # Otherwise a process that waits for several such locks would go on without one.
                wait_for_the_next_token()
            bear()
    finally:
        for number in list(alive):
            kill(number)

    noted = notes.read_text()
    asked, cut_short = _times_of_asking(noted, killed_at, timeout)
    assert len(asked) > kills / 4
    assert cut_short > kills / 20, "some were killed during a token request"
    for (_, end), (begin, _) in itertools.pairwise(asked):
        assert end <= begin, "two token requests at the same time"
    assert another.do("get", url=server.api_url) == ["200"], "a later process gets a token"
    assert "failed" not in noted or cache[0] == "RedisCache", "where a slow machine doesn't answer within 0.4 seconds"


def _times_of_asking(notes: str, killed_at: dict[int, float], timeout: float) -> tuple[list[tuple[float, float]], int]:
    """Return when token requests of live processes began and ended, and how many were killed meanwhile."""
    began: dict[int, float] = {}
    times = []
    for line in notes.splitlines():
        number, what, moment = line.split(maxsplit=2)
        if what == "asks":
            began[int(number)] = float(moment)
        elif what == "answered":
            times.append((began.pop(int(number)), float(moment), killed_at[int(number)]))
    # Processes that were killed before they had an answer; without what began after the kill was noted.
    cut_short = [(begin, killed, killed) for number, begin in began.items() if begin < (killed := killed_at[number])]
    asked = [(begin, min(end, killed, begin + timeout)) for begin, end, killed in times + cut_short if begin < killed]
    return sorted(asked), len(cut_short)


def test_redis_restarts_under_load(fleet: Fleet, server: Loopback, own_redis: RedisServer) -> None:
    """While Redis is down no request of three busy processes fails; later they share tokens again."""
    *busy, idle = fleet(4, credentials(server), in_redis(own_redis), speed=25, timeout=100)

    def go_on() -> None:
        least = [calls + 10 for calls in all_do(busy, "calls")]
        eventually(lambda: all(map(operator.gt, all_do(busy, "calls"), least)), "requests")

    def wait_for(text: str) -> None:
        eventually(lambda: all(told and told[-1].startswith(text) for told in all_do(busy, "warnings")), text)

    try:
        all_do(busy, "work", url=server.api_url, threads=4)
        go_on()
        assert all_do(busy, "warnings") == [[]] * 3
        own_redis.stop()
        wait_for("RedisCache is out of order")
        go_on()
        own_redis.start()
        wait_for("RedisCache works again")
        go_on()
    finally:
        outcomes = all_do(busy, "rest")
    assert {status for statuses in outcomes for status in statuses} == {"200"}
    for told in all_do(busy, "warnings"):
        # An answer that was under way when Redis ended may count as its return: then both are logged again.
        changes = ["RedisCache is out of order ", "RedisCache works again: tokens are shared"]
        assert [text.split("(")[0] for text in told] in [changes * times for times in (1, 2, 3)]

    server.token_requests.clear()
    assert [process.do("get", url=server.api_url) for process in (*busy, idle)] == [["200"]] * 4
    assert len(server.token_requests) == 1


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
    with held_back(server) as held:
        forked.do("begin")
        held.wait()
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
    """A child of multiprocessing, which gets the auth object as a pickle, finds the token of its parent."""
    (process,) = fleet(1, credentials(server), cache)
    assert process.do("get", url=server.api_url) == ["200"]
    assert process.do("spawn", url=server.api_url) == "200"
    assert [received.headers["authorization"] for received in server.api_requests] == ["Bearer token-1"] * 2
    assert len(server.token_requests) == 1


@needs_posix
def test_a_stopped_process_is_not_waited_for_with_redis(
    fleet: Fleet, server: Loopback, redis_server: RedisServer
) -> None:
    """A stopped lock holder is waited for until its lease is over; when it resumes it does not replace the token."""
    cache = in_redis(redis_server)
    stopped, *others = fleet(3, credentials(server), cache, timeout=0.4)
    with held_back(server) as held:
        stopped.tell("get", url=server.api_url)
        held.wait()
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
def test_a_token_that_is_stored_too_late_is_not_stored(
    fleet: Fleet, server: Loopback, redis_server: RedisServer
) -> None:
    """A process that is stopped before it stores its token uses it later, and does not replace a newer stored one."""
    cache = in_redis(redis_server)
    stopped, other = fleet(2, credentials(server), cache, timeout=0.4)
    stopped.do("stop_before_storing")
    stopped.tell("get", url=server.api_url)
    stopped.wait_until_stopped()
    assert other.do("get", url=server.api_url) == ["200"]
    assert tokens(cache) == ["token-2"]
    stopped.resume()
    assert stopped.hear() == ["200"]
    assert tokens(cache) == ["token-2"]
    assert (stopped.do("token"), other.do("token")) == ("token-1", "token-2")
    assert any("came after its lock had ended" in text for text in stopped.do("warnings"))


@needs_posix
@pytest.mark.parametrize("moment", ["while it asks", "before it stores"])
def test_a_stopped_process_is_not_waited_for_with_files(
    fleet: Fleet, server: Loopback, tmp_path: Path, moment: str
) -> None:
    """A stopped lock holder is waited for a while, then others fetch tokens of their own, until it resumes."""
    cache = in_files(tmp_path)
    stopped, *others = fleet(3, credentials(server), cache, timeout=0.4)
    with held_back(server) as held:
        if moment == "while it asks":
            stopped.tell("get", url=server.api_url)
            held.wait()
            stopped.stop()
        else:
            held.answer()
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


def test_one_process_refreshes_in_the_background(fleet: Fleet, server: Loopback, cache: Spec) -> None:
    """Of four processes, one refreshes a stale token in the background, and no request waits for it."""
    processes = fleet(4, credentials(server), cache)
    assert all_do(processes, "get", url=server.api_url) == [["200"]] * 4
    all_do(processes, "forward", seconds=3600 - 200)
    with held_back(server) as held:
        assert all_do(processes, "get", url=server.api_url) == [["200"]] * 4
        held.wait()
        eventually(lambda: sum(all_do(processes, "is_asking")) == 1, "the others to see that one refreshes")
        assert all_do(processes, "token") == ["token-1"] * 4
    eventually(lambda: tokens(cache) == ["token-2"], "the renewed token")
    all_do(processes, "forward", seconds=100)
    eventually(lambda: all_do(processes, "token") == ["token-2"] * 4, "the renewed token, everywhere")
    assert len(server.token_requests) == 2
