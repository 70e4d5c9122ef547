"""The way of each request: signing it with a token that is there, in one thread and in many, and sending it.

Each call gets a request of its own, made outside of what is timed: to sign one twice would replace a header in place of
adding it, and in requests pile up hooks. The garbage collector rests meanwhile, as it does in ``timeit``. What drives a
flow is timed along, for all of them alike. Rounds are many and short: what disturbs one round spoils no more than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import httpx2
import measure
import requests
from auths import AUTHS, FRESH, Sign, built
from measure import OURS, STATIC, Row, Site

#: Seconds after which one thread hands over to the next one: so short that each is interrupted amid its calls.
_TURN = 0.0001


@contextlib.contextmanager
def _garbage_left() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _seconds(library: str, sign: Sign, calls: int) -> float:
    """Seconds for each of so many calls, as a session or client of *library* makes them."""
    batch = [FRESH[library]() for _ in range(calls)]
    if library == "requests":
        with _garbage_left():
            start = time.perf_counter()
            for request in batch:
                sign(request)
            return (time.perf_counter() - start) / calls
    answer = (httpx if library == "httpx" else httpx2).Response(200)
    with _garbage_left():
        start = time.perf_counter()
        for request in batch:
            steps = sign(request)
            next(steps)
            try:
                steps.send(answer)
            except StopIteration:
                continue
        return (time.perf_counter() - start) / calls


def _async_seconds(library: str, sign: Sign, calls: int) -> float:
    """The same, as an async client makes them."""

    async def seconds() -> float:
        batch, answer = (
            [FRESH[library]() for _ in range(calls)],
            (httpx if library == "httpx" else httpx2).Response(200),
        )
        with _garbage_left():
            start = time.perf_counter()
            for request in batch:
                steps = sign(request)
                await anext(steps)
                try:
                    await steps.asend(answer)
                except StopAsyncIteration:
                    continue
            return (time.perf_counter() - start) / calls

    return asyncio.run(seconds())


def _threads_seconds(threads: int, sign: Sign, calls: int) -> float:
    """The same, by so many threads at once."""
    batches = iter([[FRESH["requests"]() for _ in range(calls)] for _ in range(threads)])

    def call() -> None:
        for request in next(batches):
            sign(request)

    with _garbage_left():
        return measure.at_once(call, threads) / (threads * calls)


def _measured(signs: dict[str, Sign], timed: Callable[[Sign, int], float], calls: int, rounds: int) -> measure.Results:
    for sign in signs.values():
        timed(sign, 1)  # from now on it has a token
    return measure.in_turn({name: functools.partial(timed, sign, calls) for name, sign in signs.items()}, rounds)


def _auths(site: Site, library: str) -> dict[str, Any]:
    url = site.token_url()
    return {name: AUTHS[library][name](url) for name in site.installed(AUTHS[library])}


def calls(site: Site) -> Iterator[Row]:
    """A call with a token that is there."""
    rounds, number = site.some(301), site.some(100, 20)
    results = _measured(_auths(site, "requests"), functools.partial(_seconds, "requests"), number, rounds)
    yield measure.ratio_row("a call, requests", results, 2.2)
    shown = (f"{1e6 * statistics.median(values):.2f} µs ({name})" for name, values in results.items())
    site.notes.append(f"Time of a call, requests: {', '.join(shown)}.")
    for library in ("httpx", "httpx2"):
        auths = _auths(site, library)
        for kind, timed in {"sync": _seconds, "async": _async_seconds}.items():
            signs = {name: getattr(auth, f"{kind}_auth_flow") for name, auth in auths.items()}
            results = _measured(signs, functools.partial(timed, library), number, rounds)
            yield measure.ratio_row(f"a call, {library}, {kind}", results, 1.0)


def instructions(site: Site) -> Iterator[Row]:
    """Machine instructions of a call: those of a process that makes twice as many, less those of one that doesn't."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        site.notes.append("Instructions were not counted, as valgrind is not installed.")
        return
    number, url, names, processes = site.some(2000, 50), site.token_url(), (STATIC, OURS, "Authlib")[: site.some(3)], []
    options = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    logs = {(name, times): site.directory / f"{name}-{times}" for name in names for times in (1, 2)}
    for name in names:
        site.output_of("signs", name, url, 1, 1)  # compiles what it loads
    for (name, times), log in logs.items():
        counting = [*options, f"--log-file={log}"]
        processes.append(site.worker("signs", name, url, times * number, 2 * number, prefix=counting))
    with measure.stopped(*processes):
        for process in processes:
            measure.finish(process)
    counts = {name: [(_counted(logs[name, 2]) - _counted(logs[name, 1])) / number] for name in names}
    yield measure.ratio_row("a call, requests, instructions", counts, 2.1)
    shown = (f"{count:,.0f} ({name})" for name, [count] in counts.items())
    site.notes.append(f"Instructions of a call: {', '.join(shown)}.")


def _counted(log: Path) -> int:
    return int(log.read_text("utf-8").rsplit(":", 1)[1].replace(",", ""))


def build(site: Site) -> Iterator[Row]:
    """A call with an auth that is made for it; the token is there."""
    rounds, number = site.some(151), site.some(50, 10)
    peers = {"requests": ["requests-auth"], "httpx": ["httpx-auth"], "httpx2": []}
    for library, limit in {"requests": 7.0, "httpx": 2.8, "httpx2": 2.8}.items():
        signs = built(library, site.token_url(), site.installed(peers[library]))
        results = _measured(signs, functools.partial(_seconds, library), number, rounds)
        yield measure.ratio_row(f"auth and grant built for each call, {library}", results, limit)
        yield measure.ratio_row(f"auth built for each call, {library}", results, limit, measure.OF_ONE_GRANT)


def threads(site: Site) -> Iterator[Row]:
    """Calls a second of one auth that many threads use at once."""
    rounds, auths, before = site.some(11), _auths(site, "requests"), sys.getswitchinterval()
    signs = {name: auths[name] for name in (STATIC, OURS, "Authlib") if name in auths}
    sys.setswitchinterval(_TURN)
    try:
        for number, limit in {1: None, 8: None, 64: 0.55}.items():
            timed = functools.partial(_threads_seconds, number)
            results = _measured(signs, timed, site.some(12_800, 640) // number, rounds)
            speeds = {name: [1 / seconds for seconds in values] for name, values in results.items()}
            what = f"calls a second of {number} thread" + "s" * (number > 1)
            yield replace(measure.ratio_row(what, speeds, limit), at_least=True)
    finally:
        sys.setswitchinterval(before)


def traffic(site: Site) -> Iterator[Row]:
    """Processor time of a request to an API on loopback, over a connection that is kept alive."""
    rounds, number = site.some(151), site.some(20, 5)
    for library, make in {"requests": requests.Session, "httpx": httpx.Client, "httpx2": httpx2.Client}.items():
        url = site.token_url()
        auths = {name: AUTHS[library][name](url) for name in (STATIC, OURS)}
        # Once more, for what the same thing differs by from round to round.
        auths |= {measure.AGAIN: auths[STATIC], measure.NO_AUTH: None}
        with make() as session:

            def seconds(auth: Any, calls: int, session: Any = session) -> float:
                start = time.process_time()
                for _ in range(calls):
                    session.get(f"{site.url}/api", auth=auth).raise_for_status()
                return (time.process_time() - start) / calls

            results = _measured(auths, seconds, number, rounds)
        spread = measure.ratio_row("", results, subject=measure.AGAIN).spread
        yield measure.ratio_row(f"processor time of a request, {library}", results, spread and spread[1])
        shown = (f"{1e6 * statistics.median(values):,.0f} µs ({name})" for name, values in results.items())
        site.notes.append(f"Processor time of a request, {library}: {', '.join(shown)}.")
