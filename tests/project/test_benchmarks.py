"""The simulated fleet behaves like the package, and the benchmarks run."""

from __future__ import annotations

import os
import re
import runpy
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from auth_plugins import ClientCredentials, MemoryCache, RedisCache, TokenSource
from tests.support.loopback import Clock, Loopback
from tests.support.redis_server import RedisServer
from tests.support.stores import forget

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks" / "fleet.py"
SUITE = ROOT / "benchmarks" / "run.py"
DOCUMENT = ROOT / "docs" / "sharing.rst"


class Worker:
    """A source that shares no memory with others, like that of another process; its Redis client counts commands."""

    def __init__(self, grant: ClientCredentials, server: RedisServer) -> None:
        self.sent: list[str] = []
        sent = self.sent

        class Counting(redis.Redis):
            def execute_command(self, *arguments: Any, **options: Any) -> Any:
                sent.append(arguments[0])
                return super().execute_command(*arguments, **options)

        forget()
        self.client = Counting(port=server.port)
        self.source = TokenSource(grant, cache=RedisCache(self.client))

    def commands(self) -> str:
        """Return the commands since the last call."""
        commands = " ".join(self.sent)
        self.sent.clear()
        return commands


@pytest.fixture
def workers(grant: ClientCredentials, redis_server: RedisServer) -> Iterator[list[Worker]]:
    workers = [Worker(grant, redis_server) for _ in range(20)]
    yield workers
    for worker in workers:
        worker.client.close()


@pytest.fixture(scope="module")
def fleet() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


def wait_for_refreshes() -> None:
    for thread in threading.enumerate():
        if thread.name == "auth-plugins token request":
            thread.join(10)


@pytest.mark.parametrize(
    ("what", "options", "requests"),
    [
        ("cold", {}, 1),
        ("cold", {"within": 10}, 1),
        ("steady", {}, 1),
        ("steady", {"lifetime": 60}, 1),
        ("alone", {}, 5000),  # without a shared cache
    ],
)
def test_the_arithmetic_is_what_a_simulation_counts(
    fleet: dict[str, Any], what: str, options: dict[str, float], requests: int
) -> None:
    """The formulas and the simulation agree within a few per cent: on token requests, and commands to Redis."""
    setting = fleet["Setting"](5000, **options)
    formula, counted = fleet[f"{what}_formula"](setting), [fleet[what](setting, seed) for seed in range(4)]
    assert {formula.token_requests, *(each.token_requests for each in counted)} == {requests}
    for name, tolerance in (("commands", 0.05), ("mean", 0.05), ("peak", 0.2)):
        average = statistics.mean(getattr(each, name) for each in counted)
        assert average == pytest.approx(getattr(formula, name), rel=tolerance), name


def test_a_slow_redis_is_seen(fleet: dict[str, Any]) -> None:
    """If Redis is too slow for the fleet, the program says how many answers are late."""
    fast, slow = (fleet["overload"](fleet["Setting"](2000), 1, speed) for speed in (100_000, 1000))
    assert " 0 of " in fast.replace("\n", " ")
    assert " 0 of " not in slow.replace("\n", " ")


@pytest.mark.parametrize("lifetime", [60.0, 3600.0, 86400.0])
def test_simulated_workers_refresh_when_real_ones_do(
    fleet: dict[str, Any], grant: ClientCredentials, server: Loopback, clock: Clock, lifetime: float
) -> None:
    """The fleet's background refreshes begin within the window of the package, and its leeway is the package's."""
    server.lifetime = lifetime
    setting = fleet["Setting"](1, lifetime=lifetime)
    last_begin = lifetime - setting.ahead + (setting.ahead - setting.leeway) / 4
    for refresh_ahead, last_fresh, first_due in (
        (True, lifetime - setting.ahead - 0.1, last_begin),
        (False, lifetime - setting.leeway - 0.1, lifetime - setting.leeway),
    ):
        source = TokenSource(grant, cache=MemoryCache(), refresh_ahead=refresh_ahead)
        before, began = len(server.token_requests), clock.now
        for moment, requests in ((0.0, 1), (last_fresh, 1), (first_due + 0.1, 2)):
            clock.now = began + moment
            source.token()
            wait_for_refreshes()
            assert len(server.token_requests) - before == requests


def test_real_workers_one_after_the_other(
    clock: Clock, server: Loopback, workers: list[Worker], fleet: dict[str, Any]
) -> None:
    """One worker sends 5 commands to a real Redis, each other one 2: at a cold start, and for a background refresh."""
    assert (fleet["ASKS"], fleet["FINDS"]) == (5, 2)
    for requests in (1, 2):
        for worker in workers[:3]:
            worker.source.token()
            wait_for_refreshes()
        assert [worker.commands() for worker in workers[:3]] == ["EVAL EVAL SET EVAL EVAL", "EVAL EVAL", "EVAL EVAL"]
        assert len(server.token_requests) == requests
        clock.forward(3600.0 - 200.0)  # the token is stale


def test_real_workers_at_once(server: Loopback, workers: list[Worker], fleet: dict[str, Any]) -> None:
    """Workers whose tokens expire together send one token request, and look at Redis as often as simulated ones."""
    server.lifetime = 1.0
    for worker in workers:
        worker.source.token()  # this opens the connection
        worker.commands()
    time.sleep(1.1)
    before = len(server.token_requests)
    server.latency, server.lifetime = fleet["LATENCY"], 3600.0
    with ThreadPoolExecutor(20) as pool:
        assert len({token.access_token for token in pool.map(lambda worker: worker.source.token(), workers)}) == 1
    assert len(server.token_requests) - before == 1
    sent = [worker.commands() for worker in workers]
    assert [each for each in sent if not re.fullmatch(r"EVAL EVAL( SET( PTTL)? EVAL)*( EVAL)?", each)] == []
    setting, real = fleet["Setting"](20, within=0.001), sum(len(each.split()) for each in sent)
    # Within a tenth on a machine that is otherwise idle.
    assert 0.25 * fleet["cold"](setting, 1).commands < real < 1.5 * fleet["cold_formula"](setting).commands


def test_the_program_prints_a_table() -> None:
    """The program prints what a fleet of a given size costs."""
    command = [sys.executable, str(PROGRAM), "--workers", "200", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    for row in ("cold start +1 / 1  ", "steady state +1 / 1  ", "no shared cache +200 / 200 +0 / 0 +0 / 0 +0 / 0$"):
        assert re.search(f"^200 +{row}", done.stdout, re.MULTILINE)


def test_the_documents_numbers_are_those_of_the_program(fleet: dict[str, Any]) -> None:
    """The numbers in docs/sharing.rst, for 1,000 and 100,000 workers, are those of the program."""
    text = DOCUMENT.read_text("utf-8")
    documented = [re.split(r" {2,}", line) for line in text.splitlines() if re.match(r"[\d,]+ {2,}\w+ \w+", line)]
    printed = fleet["rows"](fleet["Setting"](1000), 1)
    assert [tuple(row) for row in documented if row[0] == "1,000"] == printed
    # The simulation of the big fleet would take too long; its formulas do not.
    setting = fleet["Setting"](100_000)
    big = [row for row in documented if row[0] == "100,000"]
    for row, what in zip(big, ("cold", "steady", "alone"), strict=True):
        load = fleet[f"{what}_formula"](setting)
        shown = [fleet["_shown"](each) for each in (load.token_requests, load.commands, load.mean, load.peak)]
        assert [cell.split(" / ")[0] for cell in row[2:]] == shown


def test_the_suite_prints_a_table() -> None:
    """Without peers, and with hardly any work, the suite prints a row with a number for each goal."""
    hot, processes = ["calls", "build", "threads", "traffic"], ["imports", "first", "cached", "prompt", "tenants"]
    ways = ["cold", "shared", "steady", "post", "commands"]
    # The modules of the suite are in its own folder, where PYTHONSAFEPATH would hide them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(SUITE), "--quick", "--only", *hot, *processes, *ways]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    rule, headers, _, *lines = printed.partition("\n\n")[0].splitlines()
    starts = [match.start() for match in re.finditer("=+", rule)]
    cells = [
        [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in [headers, *lines[:-1]]
    ]
    assert cells[0] == ["What", "Goal", "Measured", "Best peer"]
    measured = {what: number for what, _, number, _ in cells[1:]}
    assert len(measured) == len(lines) - 1 > 30
    for what, number in measured.items():
        assert re.match(r"-?[\d,.]+( |$)", number), what
        if what.endswith(": token requests"):
            assert number == "1", what
    assert measured["100 requests a second, tokens of 5 s: sent with a token that had ended"] == "0"
    sent = [number for what, number in measured.items() if what.startswith("commands to Redis")]
    assert sent == ["5", "2", "0"]
