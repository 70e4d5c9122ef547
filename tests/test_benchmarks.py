"""The model of a fleet of workers agrees with the package, and with the numbers in the documentation."""

from __future__ import annotations

import os
import re
import runpy
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from auth_plugins import ClientCredentials, RedisCache, Token, TokenSource

from .conftest import forget
from .loopback import Clock, Loopback
from .redis_server import RedisServer

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "benchmarks" / "fleet.py"
SUITE = ROOT / "benchmarks" / "run.py"
DOCUMENT = ROOT / "docs" / "sharing.rst"


class CountingRedis(redis.Redis):
    """A client that records its commands."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.sent: list[str] = []

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        self.sent.append(arguments[0])
        return super().execute_command(*arguments, **options)

    def since(self) -> str:
        """Return the commands since the last call."""
        sent, self.sent = " ".join(self.sent), []
        return sent


class Workers:
    """Token sources that share nothing but Redis, as those of different processes."""

    def __init__(self, grant: ClientCredentials, server: RedisServer, count: int) -> None:
        self.clients = [CountingRedis(port=server.port) for _ in range(count)]
        self.sources = []
        for client in self.clients:
            forget()
            self.sources.append(TokenSource(grant, cache=RedisCache(client)))
            # Computed here, as it takes long: 20 sources on one processor would not start at once.
            self.sources[-1]._shared_entry()
        assert len({id(source._shared) for source in self.sources}) == count

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def workers(grant: ClientCredentials, redis_server: RedisServer):
    made: list[Workers] = []

    def make(count: int) -> Workers:
        made.append(Workers(grant, redis_server, count))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def fleet() -> dict[str, Any]:
    return runpy.run_path(str(PROGRAM))


def simulated(fleet: dict[str, Any], what: str, workers: int, **options: float) -> tuple[Any, Any]:
    """The load by formula, and by simulation."""
    setting = fleet["Setting"](workers, **options)
    return fleet[f"{what}_formula"](setting), fleet[what](setting, 1)


@pytest.mark.parametrize("what", ["cold", "steady"])
@pytest.mark.parametrize("workers", [1, 200, 5000])
def test_any_number_of_workers_makes_one_token_request(fleet: dict[str, Any], what: str, workers: int) -> None:
    """One worker or 5,000 make one token request for each token."""
    formula, counted = simulated(fleet, what, workers)
    assert formula.token_requests == counted.token_requests == 1


@pytest.mark.parametrize(
    ("what", "options"),
    [("cold", {}), ("cold", {"within": 10}), ("steady", {}), ("steady", {"lifetime": 60})],
    ids=["cold", "cold, one after the other", "steady", "steady, short-lived"],
)
def test_the_formula_agrees_with_the_simulation(fleet: dict[str, Any], what: str, options: dict[str, float]) -> None:
    """Formula and simulation of the commands to Redis agree within a few per cent."""
    setting = fleet["Setting"](5000, **options)
    formula, counted = fleet[f"{what}_formula"](setting), [fleet[what](setting, seed) for seed in range(8)]
    for name, tolerance in (("commands", 0.02), ("mean", 0.05), ("peak", 0.1)):
        average = statistics.mean(getattr(each, name) for each in counted)
        assert average == pytest.approx(getattr(formula, name), rel=tolerance), name


def test_without_a_shared_cache_each_worker_makes_a_token_request(fleet: dict[str, Any]) -> None:
    """Without a shared cache there are as many token requests as workers."""
    formula, counted = simulated(fleet, "alone", 200)
    assert (formula.token_requests, counted.token_requests, counted.commands) == (200, 200, 0)


def test_a_slow_redis_is_seen(fleet: dict[str, Any]) -> None:
    """The program says if Redis is too slow for the fleet."""
    overload, setting = fleet["overload"], fleet["Setting"](2000)
    assert " 0 of " in overload(setting, 1, 100_000).replace("\n", " ")
    assert " 0 of " not in overload(setting, 1, 1000).replace("\n", " ")


def test_the_window_is_that_of_the_package(fleet: dict[str, Any], grant: ClientCredentials) -> None:
    """The model refreshes tokens at the same moments as the package."""
    for lifetime in (60.0, 3600.0, 86400.0):
        setting, source = fleet["Setting"](1, lifetime=lifetime), TokenSource(grant)
        windows = [source._window(Token(access_token=str(i), expires_at=lifetime)) for i in range(5000)]
        begins = sorted({begin for begin, _ in windows})
        expected = [lifetime - setting.ahead + number * setting.step for number in range(fleet["STEPS"])]
        assert begins == pytest.approx(expected)
        assert [end for _, end in windows] == pytest.approx([lifetime - setting.leeway] * len(windows))


def test_real_workers_one_after_the_other(
    clock: Clock, server: Loopback, workers: Callable[[int], Workers], fleet: dict[str, Any]
) -> None:
    """The leader of 20 workers sends four commands to Redis, each other one sends one: cold, and for a refresh."""
    crowd = workers(20)
    for end in (None, 3600.0 - 200.0):
        if end is not None:
            clock.forward(end)  # the token is stale for all of them
        for source in crowd.sources:
            source.token()
            for thread in threading.enumerate():
                if thread.name == "auth-plugins token request":
                    thread.join(10)
        sent = [client.since() for client in crowd.clients]
        assert sent == ["EVAL SET EVAL EVAL", *["EVAL"] * 19]
        assert (len(sent[0].split()), len(sent[1].split())) == (fleet["ASKS"], fleet["FINDS"])
        assert [source.token().access_token for source in crowd.sources] == [source.token().access_token] * 20
        assert [client.since() for client in crowd.clients] == [""] * 20  # a warm request asks Redis for nothing
    assert len(server.token_requests) == 2


def test_real_workers_at_once(server: Loopback, workers: Callable[[int], Workers], fleet: dict[str, Any]) -> None:
    """20 workers that start at once send about as many commands to Redis as the model says."""
    server.latency = fleet["LATENCY"]
    crowd = workers(20)
    with ThreadPoolExecutor(20) as pool:
        assert len({token.access_token for token in pool.map(TokenSource.token, crowd.sources)}) == 1
    assert len(server.token_requests) == 1
    sent = [client.since() for client in crowd.clients]
    for each in sent:
        assert re.fullmatch(r"(EVAL SET )*EVAL( EVAL)?", each)
    formula, counted = simulated(fleet, "cold", 20, within=0.001)
    real = sum(len(each.split()) for each in sent)
    # Within a tenth on an idle machine.
    assert 0.25 * counted.commands < real < 1.5 * formula.commands


def test_the_program_prints_a_table() -> None:
    """The program prints a table, the same one for the same seed."""
    command = [sys.executable, str(PROGRAM), "--workers", "200", "--seed", "7"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout == second.stdout
    assert first.stderr == ""
    for what in ("cold start", "steady state"):
        assert re.search(rf"^200 +{what} +1 / 1  ", first.stdout, re.MULTILINE)
    assert re.search(r"^200 +no shared cache +200 / 200 +0 / 0 +0 / 0 +0 / 0$", first.stdout, re.MULTILINE)
    other = subprocess.run([*command[:-1], "8"], capture_output=True, text=True, check=True)
    assert other.stdout != first.stdout


def test_the_documented_numbers_are_those_of_the_program(fleet: dict[str, Any]) -> None:
    """docs/sharing.rst has the program's numbers for 1,000 and 100,000 workers."""
    text = DOCUMENT.read_text("utf-8")
    documented = [re.split(r" {2,}", line) for line in text.splitlines() if re.match(r"[\d,]+ {2,}\w+ \w+", line)]
    printed = fleet["rows"](fleet["Setting"](1000), 1)
    assert [tuple(row) for row in documented if row[0] == "1,000"] == printed
    # By formula for the large fleet, whose simulation takes long.
    setting = fleet["Setting"](100_000)
    big = [row for row in documented if row[0] == "100,000"]
    for row, what in zip(big, ("cold", "steady", "alone"), strict=True):
        load = fleet[f"{what}_formula"](setting)
        shown = [fleet["_shown"](each) for each in (load.token_requests, load.commands, load.mean, load.peak)]
        assert [cell.split(" / ")[0] for cell in row[2:]] == shown


def test_the_suite_prints_a_table() -> None:
    """The benchmark suite prints a row with a number for each goal, without other libraries installed."""
    hot, others = ["calls", "anew", "threads", "traffic"], ["imports", "first", "tenants", "cold", "shared", "steady"]
    # It imports modules beside it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, str(SUITE), "--quick", "--only", *hot, *others, "commands"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    rule, headers, _, *lines = printed.partition("\n\n")[0].splitlines()
    starts = [match.start() for match in re.finditer("=+", rule)]
    cells = [
        [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for line in [headers, *lines[:-1]]
    ]
    assert cells[0] == ["What", "Goal", "Measured", "Best peer"]
    measured = {what: number for what, _, number, _ in cells[1:]}
    assert len(measured) == len(lines) - 1 > 40
    for what, number in measured.items():
        assert re.match(r"-?[\d,.]+( |$)", number), what
        if what.endswith(": token requests"):
            assert number == "1", what
    assert measured["100 requests a second, tokens of 5 s: sent with a token that had ended"] == "0"
    sent = [number for what, number in measured.items() if what.startswith("commands to Redis")]
    assert sent == ["4", "1", "0"]
