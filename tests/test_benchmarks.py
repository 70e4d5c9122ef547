"""A fleet on paper is one that could be: its numbers, its table, and the package that it is a model of."""

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
from auth_plugins._source.freshness import DEFAULT_SCHEDULE, Window

from .conftest import forget
from .loopback import Clock, Loopback
from .redis_server import RedisServer

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "benchmarks" / "fleet.py"
SUITE = ROOT / "benchmarks" / "run.py"
DOCUMENT = ROOT / "docs" / "sharing.rst"


class CountingRedis(redis.Redis):
    """A client that remembers what its process sent."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.sent: list[str] = []

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        self.sent.append(arguments[0])
        return super().execute_command(*arguments, **options)

    def since(self) -> str:
        """What was sent since the last look."""
        sent, self.sent = " ".join(self.sent), []
        return sent


class Workers:
    """Sources that know nothing of each other, as those of processes do, each with a connection of its own."""

    def __init__(self, grant: ClientCredentials, server: RedisServer, count: int) -> None:
        self.clients = [CountingRedis(port=server.port) for _ in range(count)]
        self.sources = []
        for client in self.clients:
            forget()
            self.sources.append(TokenSource(grant, cache=RedisCache(client)))
            # The name of the entry takes a while, and 20 processes on one processor would not start at once.
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
    """The load by arithmetic, and by simulation."""
    setting = fleet["Setting"](workers, **options)
    return fleet[f"{what}_formula"](setting), fleet[what](setting, 1)


@pytest.mark.parametrize("what", ["cold", "steady"])
@pytest.mark.parametrize("workers", [1, 200, 5000])
def test_however_many_share_a_token_one_is_asked_for(fleet: dict[str, Any], what: str, workers: int) -> None:
    """My fleet starts, and goes on: one token request for each token, be there one worker or 5,000."""
    formula, counted = simulated(fleet, what, workers)
    assert formula.token_requests == counted.token_requests == 1


@pytest.mark.parametrize(
    ("what", "options"),
    [("cold", {}), ("cold", {"within": 10}), ("steady", {}), ("steady", {"lifetime": 60})],
    ids=["cold", "cold, one after the other", "steady", "steady, short-lived"],
)
def test_the_arithmetic_is_what_a_simulation_counts(
    fleet: dict[str, Any], what: str, options: dict[str, float]
) -> None:
    """I calculate what my fleet asks of Redis by the formula, and that is what it asks, within a few per cent."""
    setting = fleet["Setting"](5000, **options)
    formula, counted = fleet[f"{what}_formula"](setting), [fleet[what](setting, seed) for seed in range(8)]
    for name, tolerance in (("commands", 0.02), ("mean", 0.05), ("peak", 0.1)):
        average = statistics.mean(getattr(each, name) for each in counted)
        assert average == pytest.approx(getattr(formula, name), rel=tolerance), name


def test_without_a_shared_cache_everybody_asks(fleet: dict[str, Any]) -> None:
    """I share nothing, and pay for it: as many token requests as there are workers."""
    formula, counted = simulated(fleet, "alone", 200)
    assert (formula.token_requests, counted.token_requests, counted.commands) == (200, 200, 0)


def test_a_slow_redis_is_seen(fleet: dict[str, Any]) -> None:
    """My Redis is too slow for my fleet: that is what I am told, and how late its answers are."""
    overload, setting = fleet["overload"], fleet["Setting"](2000)
    assert " 0 of " in overload(setting, 1, 100_000).replace("\n", " ")
    assert " 0 of " not in overload(setting, 1, 1000).replace("\n", " ")


def test_the_window_is_that_of_the_package(fleet: dict[str, Any]) -> None:
    """Workers on paper renew their tokens when real ones do."""
    for lifetime in (60.0, 3600.0, 86400.0):
        setting, token = fleet["Setting"](1, lifetime=lifetime), Token(access_token="a", expires_at=lifetime)
        first, last = (Window(token, DEFAULT_SCHEDULE, jitter=jitter, seeded_at=0.0) for jitter in (0.0, 1.0))
        assert first.refresh_at == pytest.approx(lifetime - setting.ahead)
        assert last.refresh_at == pytest.approx(first.refresh_at + setting.spread)
        assert first.usable_until == pytest.approx(lifetime - setting.leeway)


def test_real_workers_one_after_the_other(
    clock: Clock, server: Loopback, workers: Callable[[int], Workers], fleet: dict[str, Any]
) -> None:
    """20 processes over a real Redis: 4 commands from who asks, 1 from each other one, cold, and renewing ahead."""
    crowd = workers(20)
    for end in (None, 3600.0 - 200.0):
        if end is not None:
            clock.forward(end)  # the old token is still good, and everybody's renewal is due
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
    """20 processes start within the same moment over a real Redis: and look about as often as those on paper."""
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
    # Within a tenth on a machine that has nothing else to do.
    assert 0.25 * counted.commands < real < 1.5 * formula.commands


def test_the_program_prints_a_table() -> None:
    """I run it for a fleet of my own, and read what it costs; the same seed says the same."""
    command = [sys.executable, str(PROGRAM), "--workers", "200", "--seed", "7"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout == second.stdout
    assert first.stderr == ""
    for what in ("cold start", "steady state"):
        assert re.search(rf"^200 +{what} +1 / 1  ", first.stdout, re.MULTILINE)
    assert re.search(r"^200 +no shared cache +200 / 200 +0 / 0 +0 / 0 +0 / 0$", first.stdout, re.MULTILINE)
    other = subprocess.run([*command[:-1], "8"], capture_output=True, text=True, check=True)
    assert other.stdout != first.stdout


def test_the_documents_numbers_are_those_of_the_program(fleet: dict[str, Any]) -> None:
    """What docs/sharing.rst says of 1,000 and 100,000 workers is what the program says today."""
    text = DOCUMENT.read_text("utf-8")
    documented = [re.split(r" {2,}", line) for line in text.splitlines() if re.match(r"[\d,]+ {2,}\w+ \w+", line)]
    printed = fleet["rows"](fleet["Setting"](1000), 1)
    assert [tuple(row) for row in documented if row[0] == "1,000"] == printed
    # By arithmetic alone for the big one, whose simulation takes its time.
    setting = fleet["Setting"](100_000)
    big = [row for row in documented if row[0] == "100,000"]
    for row, what in zip(big, ("cold", "steady", "alone"), strict=True):
        load = fleet[f"{what}_formula"](setting)
        shown = [fleet["_shown"](each) for each in (load.token_requests, load.commands, load.mean, load.peak)]
        assert [cell.split(" / ")[0] for cell in row[2:]] == shown


def test_the_suite_prints_a_table() -> None:
    """I run the suite where no peers are installed, and with next to no work: each goal has its row, and its number."""
    hot, others = ["calls", "anew", "threads", "traffic"], ["imports", "first", "tenants", "cold", "shared", "steady"]
    # Its modules lie beside it; the package does not.
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
