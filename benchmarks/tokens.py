"""The way to a token: many who need one at once, in a process and in several, and one that ends again and again.

The token endpoint is in a process of its own, and counts. Each cold start is one of a new process, where the first
token request loads what nothing else needs; it is shown apart from the later ones, of other grants.
"""

from __future__ import annotations

import base64
import functools
import importlib
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import measure
import requests
from auths import AUTHS, fetches
from measure import OURS, RATIO, STATIC, Row, Site

#: Seconds that the token endpoint takes for those who start cold, and for those who go on.
_DELAY, _SLOW = 0.2, 0.3
#: Requests a second of those who go on.
_RATE = 100
_DELAYS = f"{RATIO} 200 ms"
#: Commands by which redis-py opens a connection.
_CONNECTS = {"HELLO", "AUTH", "CLIENT", "SELECT"}


def cold(site: Site) -> Iterator[Row]:
    """Many of one process that need a token at once."""
    threads, tasks = site.some(64, 4), site.some(1000, 20)
    peers = site.installed(["Authlib", "requests-auth", "httpx-auth"])
    yield from _cold(site, "cold_threads", threads, f"{threads} threads, cold", 1.15, peers)
    yield from _cold(site, "cold_tasks", tasks, f"{tasks:,} tasks, cold", 1.5, site.installed(["httpx-auth"]))


def _cold(site: Site, task: str, size: int, what: str, limit: float, peers: list[str]) -> Iterator[Row]:
    counts: dict[str, int] = dict.fromkeys([OURS, *peers], 0)
    times: dict[str, dict[str, list[float]]] = {which: {name: [] for name in counts} for which in ("first", "later")}
    held: dict[str, list[float]] = {name: [] for name in counts}

    def start(name: str, starts: int) -> None:
        urls = [site.token_url(_DELAY) for _ in range(starts)]
        for number, [seconds, longest] in enumerate(site.output_of(task, name, size, *urls)):
            times["later" if number else "first"][name].append(seconds / _DELAY)
            held[name].append(1000 * longest)
        counts[name] = max(counts[name], *map(site.count, urls))

    if not site.quick:
        site.output_of(task, OURS, 1, site.token_url())  # compiles what it loads
    for _ in range(site.some(5, 1)):
        start(OURS, 2)
    # Once, and at the same time, as some of them have one thread wait for the other.
    with ThreadPoolExecutor() as pool:
        list(pool.map(functools.partial(start, starts=1), peers))
    yield Row(f"{what}: token requests", counts.pop(OURS), "", 1, peers=counts)
    for which, results in times.items():
        yield measure.median_row(f"{what}: time, {which} in its process", results, _DELAYS, limit)
    if task == "cold_tasks":
        yield measure.median_row(f"{what}: the loop is held", held, "ms", 60.0)


def shared(site: Site) -> Iterator[Row]:
    """Many processes that need a token at once, and share a cache."""
    processes, threads, counts = site.some(8), site.some(8), dict[str, list[int]]()
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    with measure.redis_url(site) as redis:
        stores = {"FileCache": str(site.directory / "tokens"), **({"RedisCache": redis} if redis else {})}

        def delays(name: str, store: str, used_key: str, who: str = OURS) -> float:
            url = site.token_url(_DELAY)
            seconds = _together(site, processes, who, url, store, used_key, threads, 0)
            counts.setdefault(name, []).append(site.count(url))
            return seconds / _DELAY

        for store in [*stores.values()][: site.some(2, 0)]:
            _together(site, 1, OURS, site.token_url(), store, key, 1, 0)  # compiles what it loads
        subjects = {
            f"{name}{suffix}": functools.partial(delays, f"{name}{suffix}", store, used_key)
            for name, store in stores.items()
            for suffix, used_key in [("", ""), (" with a key", key)][: site.some(2, 1)]
        }
        results = measure.in_turn(subjects, site.some(3, 1))
    # Once: each of its processes writes over the file of the others.
    peers = {each: [delays(each, f"{site.directory}/{each}", "", each)] for each in site.installed(["requests-auth"])}
    for name in results:
        what, beside = f"{processes} processes of {threads} threads, cold, {name}", peers if name == "FileCache" else {}
        requests_of = {peer: max(counts[peer]) for peer in beside}
        yield Row(f"{what}: token requests", max(counts[name]), "", 1, peers=requests_of)
        yield measure.median_row(f"{what}: time", {OURS: results[name], **beside}, _DELAYS, 1.5)


def _together(site: Site, processes: int, *arguments: object) -> float:
    """Seconds from the signal to all processes until each thread of each has the token."""
    workers = [site.worker("shares", *arguments) for _ in range(processes)]
    with measure.stopped(*workers):
        for worker in workers:
            measure.first_line(worker)
        start = time.time()
        for worker in workers:
            assert worker.stdin is not None  # noqa: S101 - for the type checker
            worker.stdin.write("\n")
            worker.stdin.flush()
        return max(float(measure.finish(worker)) for worker in workers) - start


def post(site: Site) -> Iterator[Row]:
    """Processor time of one token request, beyond that of the form posted by the library alone."""
    for library in ("requests", "httpx"):
        found, number = fetches(library, site.token_url()), site.some(20, 1)

        def seconds(fetch: Callable[[], object], number: int = number) -> float:
            start = time.process_time()
            for _ in range(number):
                fetch()
            return (time.process_time() - start) / number

        subjects = {name: functools.partial(seconds, found[name]) for name in site.installed(found)}
        measure.in_turn(subjects, 1)  # loads what a token request needs
        results = measure.in_turn(subjects, site.some(31))
        yield measure.excess_row(f"a token request beyond post, {library}: processor time", results, 0.2)
        shown = (f"{1000 * statistics.median(values):.2f} ms ({name})" for name, values in results.items())
        site.notes.append(f"Processor time of a token request, {library}: {', '.join(shown)}.")


def commands(site: Site) -> Iterator[Row]:
    """Commands to a Redis, but for those that open a connection."""
    with ExitStack() as stack:
        store = stack.enter_context(measure.redis_url(site))
        if store is None:
            return
        make = importlib.import_module("redis").Redis.from_url
        client = stack.enter_context(make(store, socket_timeout=measure.PATIENCE))
        monitor, url = stack.enter_context(client.monitor()), site.token_url()

        def sent(warm: int) -> int:
            _together(site, 1, OURS, url, store, "", 1, warm)
            client.echo("end")
            seen = itertools.takewhile(lambda each: each["command"] != "ECHO end", iter(monitor.next_command, None))
            # Those that a script runs are no commands that were sent.
            names = [each["command"].split()[0].upper() for each in seen if each["client_type"] != "lua"]
            return len([name for name in names if name not in _CONNECTS])

        asks, finds, warm = sent(0), sent(0), sent(1000)
    # One of them reads the name key, which makes names that cannot be guessed without the 35 ms of a slow hash.
    yield Row("commands to Redis: who asks", asks, "", 5)
    yield Row("commands to Redis: each other process", finds, "", 2)
    yield Row("commands to Redis: 1,000 warm requests", warm - finds, "", 0)


def steady(site: Site) -> Iterator[Row]:
    """Requests at a steady rate, with a token that ends again and again; before and after that, a static one."""
    number, url, expired = site.some(2000, 40), site.token_url(_SLOW, 5.0), site.count("/expired")
    static, ours = AUTHS["requests"][STATIC](url), AUTHS["requests"][OURS](url)
    latencies = {STATIC: _paced(site, static, number // 2)}
    ours(requests.Request("GET", url).prepare())  # the first token is waited for
    latencies[OURS] = _paced(site, ours, number)
    latencies[STATIC] += _paced(site, static, number // 2)
    what = f"{_RATE} requests a second, tokens of 5 s"
    waited = {name: len([each for each in values if each > 50]) for name, values in latencies.items()}
    percentiles = {name: statistics.quantiles(values, n=100) for name, values in latencies.items()}
    yield Row(f"{what}: waited for more than 50 ms", waited[OURS], "", 0)
    yield Row(f"{what}: sent with a token that had ended", site.count("/expired") - expired, "", 0)
    yield Row(f"{what}: token requests", site.count(url), "", 7)
    yield Row(f"{what}: p99 over static's", percentiles[OURS][98] - percentiles[STATIC][98], "ms", 2.0)
    site.notes += [
        f"{what}, {name}: p50 {percentiles[name][49]:.2f} ms, p99 {percentiles[name][98]:.2f} ms, "
        f"maximum {max(values):.2f} ms; {waited[name]} of {len(values):,} waited."
        for name, values in latencies.items()
    ]


def _paced(site: Site, auth: requests.auth.AuthBase, number: int) -> list[float]:
    """Milliseconds from when each request was due until it was answered, by four threads."""
    numbers, latencies, start = iter(range(number)), list[float](), time.perf_counter() + 0.1

    def work() -> None:
        with requests.Session() as session:
            for each in numbers:
                due = start + each / _RATE
                time.sleep(max(0.0, due - time.perf_counter()))
                session.get(f"{site.url}/api", auth=auth, timeout=measure.PATIENCE).raise_for_status()
                latencies.append(1000 * (time.perf_counter() - due))

    measure.at_once(work, 4)
    return latencies
