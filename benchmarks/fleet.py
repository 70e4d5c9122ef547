"""A fleet on paper: what 1,000 and 100,000 workers that share one token through Redis ask of it, and of the server.

Each worker is a process of its own, such as a container, with one ``TokenSource`` over a ``RedisCache`` without a key.
The rows:

cold start
    no process has a token, and all workers start within one second.
steady state
    all have one, and use it all the time: what one token costs, until all have the next one.
no shared cache
    for comparison: each worker asks for a token of its own.

Each number stands there twice: by arithmetic, from the functions that end in ``_formula``, and as a simulation counted
it, in which each worker is a generator that does what ``SharedFetch.fetch`` does, by the package's own constants. The
simulated Redis answers at once, however many ask: what is counted is what a fleet asks for, over connections that it
has. Below the table stands what becomes of a cold start if Redis answers ``--capacity`` commands per second, one after
the other, and each worker opens its connection first, by commands as well.

.. code-block:: console

    $ python benchmarks/fleet.py
    $ python benchmarks/fleet.py --workers 5000 --within 30 --lifetime 300 --seed 7

It needs nothing but the package, and takes some seconds.
"""

from __future__ import annotations

import argparse
import heapq
import inspect
import math
import random
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

from auth_plugins import TokenSource
from auth_plugins._caches.redis import _TIMEOUT
from auth_plugins._source.freshness import JITTER_SHARE, LEEWAY_SHARE, REFRESH_SECONDS, REFRESH_SHARE
from auth_plugins._source.shared_fetch import LOCK_GRACE, LONGEST_POLL
from auth_plugins._source.source import LEASE_SHARE

#: Seconds that the token endpoint takes, and a command to Redis and back.
LATENCY, ROUND_TRIP = 0.3, 0.001
#: The arguments that a TokenSource has by default, in seconds.
LEEWAY, TIMEOUT = (inspect.signature(TokenSource).parameters[name].default for name in ("leeway", "timeout"))
#: Commands by which an attempt begins, without a key: EVAL reads the name key.
BEGINS = 1
#: Commands of who finds the token: EVAL; of who asks for it: EVAL, SET NX, EVAL, EVAL; both begin an attempt before.
FINDS, ASKS = BEGINS + 1, BEGINS + 4
#: Commands of a look in vain: EVAL, SET NX; and of who begins to wait for the release of the lock: SUBSCRIBE, PTTL.
IN_VAIN, WAITS = 2, 2
#: Commands by which redis-py opens a connection: HELLO, and three that Redis may not know, by CLIENT.
CONNECTS = 4
#: How many tokens in a row a simulated steady state lasts.
TOKENS = 3

#: A worker: yields the seconds until it goes on.
Worker = Generator[float, None, None]


@dataclass(frozen=True)
class Setting:
    """What a fleet is, and what it does."""

    workers: int
    #: Seconds within which all of them start.
    within: float = 1.0
    #: Seconds that a token lives.
    lifetime: float = 3600.0

    @property
    def leeway(self) -> float:
        """Seconds before its end from which a token is no longer used, as in ``Window``."""
        return float(min(LEEWAY, LEEWAY_SHARE * self.lifetime))

    @property
    def ahead(self) -> float:
        """Seconds before its end from which a token is renewed, as in ``Window``."""
        return min(self.leeway + REFRESH_SECONDS, REFRESH_SHARE * self.lifetime)

    @property
    def spread(self) -> float:
        """Seconds over which workers begin to renew, each at a random moment."""
        return (self.ahead - self.leeway) * JITTER_SHARE


@dataclass(frozen=True)
class Load:
    """What a fleet asks for: by token, and by second."""

    token_requests: float
    commands: float
    #: Commands per second: on average, and in the second in which there are most.
    mean: float
    peak: float


# By arithmetic


def looks_in_vain(wait: float) -> float:
    """How often one looks while a token is *wait* seconds away: once, and again whenever the wait is long."""
    return 1 + math.floor(wait / LONGEST_POLL)


def cold_formula(setting: Setting) -> Load:
    """Each process looks at least once; one that starts before the token is stored waits for it."""
    others, away = setting.workers - 1, LATENCY + ASKS * ROUND_TRIP
    waiting = others * min(1.0, away / setting.within)
    looks = _mean(looks_in_vain(away - late) for late in _evenly(min(away, setting.within)))
    in_vain = waiting * (IN_VAIN * looks + WAITS)
    # The token is there before the first second has passed.
    in_first_second = others * FINDS * min(1.0, 1.0 / setting.within)
    commands = ASKS + others * FINDS + in_vain
    return Load(1, commands, commands / max(1.0, setting.within), ASKS + in_first_second + in_vain)


def steady_formula(setting: Setting) -> Load:
    """Each process looks once; one that finds no token, as the first still waits for it, begins again much later."""
    others = setting.workers - 1
    share_while_asking = min(1.0, (LATENCY + ASKS * ROUND_TRIP) / setting.spread)
    in_vain = (BEGINS + IN_VAIN) * others * share_while_asking
    commands = ASKS + others * FINDS + in_vain
    share_per_second = min(1.0, 1.0 / setting.spread)
    # In the first second there are those who look in vain, and those who find it; the former find it later.
    finders = max(0.0, share_per_second - share_while_asking) * others * FINDS
    return Load(1, commands, commands / (setting.lifetime - setting.ahead), ASKS + in_vain + finders)


def alone_formula(setting: Setting) -> Load:
    """Each process sends a token request."""
    return Load(setting.workers, 0, 0, 0)


def _evenly(end: float, count: int = 1000) -> Iterator[float]:
    return (end * (index + 0.5) / count for index in range(count))


def _mean(numbers: Iterable[float]) -> float:
    several = list(numbers)
    return sum(several) / len(several)


# By simulation


@dataclass
class Fleet:
    """Workers, a Redis, a token endpoint, and a clock."""

    setting: Setting
    seed: int
    #: Commands per second that Redis answers.
    capacity: float = math.inf
    #: Commands by which each worker begins.
    connects: int = 0
    now: float = 0.0
    token_requests: int = 0
    #: When the token was issued that lies in Redis; tokens differ by that.
    stored: float = -math.inf
    locked: bool = False
    #: Commands, by the second in which they were sent.
    commands: Counter[int] = field(default_factory=Counter)
    #: Seconds for which Redis took longest to answer, and how many of its answers no process waits for any more.
    slowest: float = 0.0
    late: int = 0
    _idle_at: float = 0.0
    #: When each worker goes on, by its number; the queue has older moments as well.
    _due: dict[int, float] = field(default_factory=dict)
    _queue: list[tuple[float, int]] = field(default_factory=list)
    #: Who waits for the release of the lock.
    _waiting: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - no secret

    def run(self, workers: Iterable[Worker]) -> float:
        """Let all workers run to their ends; the seconds that it took."""
        numbered = list(workers)
        for number in range(len(numbered)):
            self._go_on(number, 0.0)
        while self._queue:
            moment, self._number = heapq.heappop(self._queue)
            if self._due[self._number] == moment:
                self.now = moment
                self._waiting.discard(self._number)
                pause = next(numbered[self._number], None)
                if pause is not None:
                    self._go_on(self._number, self.now + pause)
        return self.now

    def _go_on(self, number: int, moment: float) -> None:
        self._due[number] = moment
        heapq.heappush(self._queue, (moment, number))

    def _release(self) -> None:
        """Let go of the lock, and let all go on that wait for it."""
        self.locked = False
        for number in sorted(self._waiting):
            self._go_on(number, self.now + ROUND_TRIP)
        self._waiting.clear()

    def starting(self) -> Worker:
        """A worker that starts without a token."""
        yield self.random.uniform(0.0, self.setting.within)
        for _ in range(self.connects):
            yield self._command()
        yield from self._ask(None)

    def working(self) -> Worker:
        """A worker that has the first token, and renews it, and those that follow."""
        token = self.stored
        for _ in range(TOKENS):
            ends = token + self.setting.lifetime
            yield ends - self.setting.ahead + self.random.uniform(0.0, self.setting.spread) - self.now
            while (newer := (yield from self._ask(token))) is None:
                # As a background refresh has it: at a third of the way to its end.
                yield max(0.5, (ends - self.now) / 3)
            token = newer

    def alone(self) -> Worker:
        """A worker that shares nothing."""
        yield self.random.uniform(0.0, self.setting.within)
        yield from self._request()

    def _ask(self, renewing: float | None) -> Generator[float, None, float | None]:
        """Do as ``SharedFetch.fetch``; return the token, or ``None`` if another worker renews it at this moment."""
        yield self._command()  # EVAL reads the name key
        began, subscribed = self.now, False
        while True:
            yield self._command()  # EVAL reads the entry
            if self._is_good(renewing):
                return self.stored
            yield self._command()  # SET NX
            if not self.locked:
                self.locked = True
                yield self._command()  # EVAL: the last lock holder may have stored one
                if not self._is_good(renewing):
                    yield from self._request()
                    issued = self.now
                    yield self._command()  # EVAL stores it, and lets go of the lock
                    self.stored = issued
                    self._release()
                    return issued
                yield self._command()  # EVAL lets go of the lock
                self._release()
                return self.stored
            waited = self.now - began
            if waited > TIMEOUT * LEASE_SHARE + LOCK_GRACE:
                yield from self._request()
                return self.now
            if renewing is not None:
                return None
            if not subscribed:
                subscribed = True
                for _ in range(WAITS):  # SUBSCRIBE, PTTL
                    yield self._command()
            if self.locked:
                self._waiting.add(self._number)
                yield LONGEST_POLL

    def _is_good(self, renewing: float | None) -> bool:
        return self.stored > (-math.inf if renewing is None else renewing)

    def _request(self) -> Worker:
        self.token_requests += 1
        yield LATENCY

    def _command(self) -> float:
        """Count a command, which takes its turn; the seconds until its answer is there."""
        self.commands[int(self.now)] += 1
        self._idle_at = max(self.now, self._idle_at) + 1 / self.capacity
        answered_in = self._idle_at - self.now + ROUND_TRIP
        self.slowest = max(self.slowest, answered_in)
        self.late += answered_in > _TIMEOUT
        return answered_in


def cold(setting: Setting, seed: int) -> Load:
    """Simulate a cold start."""
    fleet = Fleet(setting, seed)
    seconds = fleet.run(fleet.starting() for _ in range(setting.workers))
    commands = fleet.commands.total()
    return Load(fleet.token_requests, commands, commands / max(1.0, seconds), max(fleet.commands.values()))


def steady(setting: Setting, seed: int) -> Load:
    """Simulate a steady state; what one token costs, on average."""
    fleet = Fleet(setting, seed, stored=0.0)
    fleet.run([fleet.working() for _ in range(setting.workers)])
    commands = fleet.commands.total() / TOKENS
    return Load(fleet.token_requests / TOKENS, commands, commands * TOKENS / fleet.stored, max(fleet.commands.values()))


def alone(setting: Setting, seed: int) -> Load:
    """Simulate workers that share nothing."""
    fleet = Fleet(setting, seed)
    fleet.run(fleet.alone() for _ in range(setting.workers))
    return Load(fleet.token_requests, 0, 0, 0)


# The table

_HEADERS = (
    ("workers", ""),
    ("", ""),
    ("token requests", "formula / simulated"),
    ("Redis commands", "formula / simulated"),
    ("a second, on average", "formula / simulated"),
    ("at the peak second", "formula / simulated"),
)


def rows(setting: Setting, seed: int) -> list[tuple[str, ...]]:
    """The rows of the table for one fleet."""
    loads = {
        "cold start": (cold_formula(setting), cold(setting, seed)),
        "steady state": (steady_formula(setting), steady(setting, seed)),
        "no shared cache": (alone_formula(setting), alone(setting, seed)),
    }
    return [(f"{setting.workers:,}", what, *_cells(*both)) for what, both in loads.items()]


def _cells(formula: Load, simulated: Load) -> Iterator[str]:
    for name in ("token_requests", "commands", "mean", "peak"):
        yield f"{_shown(getattr(formula, name))} / {_shown(getattr(simulated, name))}"


def _shown(number: float) -> str:
    return f"{number:,.2f}" if 0 < number < 1 else f"{number:,.0f}"


def table(body: Iterable[tuple[str, ...]]) -> str:
    """The table, as reStructuredText has simple ones."""
    headers = list(zip(*_HEADERS, strict=True))
    lines = [*headers, *body]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    texts = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([rule, *texts[: len(headers)], rule, *texts[len(headers) :], rule])


def overload(setting: Setting, seed: int, capacity: float) -> str:
    """What a cold start is like if Redis answers no more than *capacity* commands per second."""
    fleet = Fleet(setting, seed, capacity, CONNECTS)
    seconds = fleet.run(fleet.starting() for _ in range(setting.workers))
    return (
        f"{setting.workers:,} workers start within {setting.within:g} s, Redis answers {capacity:,.0f} a second:\n"
        f"all have the token after {seconds:.1f} s; the slowest answer takes {fleet.slowest:.2f} s;\n"
        f"{fleet.late:,} of {fleet.commands.total():,} take more than the {_TIMEOUT:g} s that are waited for one."
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, action="append", help="how many, in place of 1,000 and 100,000")
    parser.add_argument("--within", type=float, default=Setting.within, help="seconds in which they start: %(default)g")
    parser.add_argument("--lifetime", type=float, default=Setting.lifetime, help="of a token, in s: %(default)g")
    parser.add_argument("--capacity", type=float, default=100_000, help="of Redis, per second: %(default)g")
    parser.add_argument("--seed", type=int, default=1, help="of what is random: %(default)d")
    given = parser.parse_args()
    settings = [Setting(workers, given.within, given.lifetime) for workers in given.workers or (1_000, 100_000)]
    print(table(row for setting in settings for row in rows(setting, given.seed)))
    for setting in settings:
        print("\n" + overload(setting, given.seed, given.capacity))


if __name__ == "__main__":
    main()
