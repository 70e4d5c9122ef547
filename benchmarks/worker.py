"""Does in a process of its own what its arguments say, and prints what came of it as JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from measure import BUILT, at_once


def signs(name: str, url: str, calls: str, requests: str) -> None:
    """Sign so many requests, of those that were made; so that a caller can count its instructions."""
    from auths import AUTHS, FRESH

    sign = AUTHS["requests"][name](url)
    sign(FRESH["requests"]())
    batch = [FRESH["requests"]() for _ in range(int(requests))]
    gc.disable()
    for request in batch[: int(calls)]:
        sign(request)


def cold_threads(name: str, threads: str, *urls: str) -> list[tuple[float, float]]:
    """Seconds until all threads have the token of each URL, for which they ask at once; and nothing."""
    from auths import cold

    return [(at_once(cold(name, url), int(threads)), 0.0) for url in urls]


def cold_tasks(name: str, tasks: str, *urls: str) -> list[tuple[float, float]]:
    """Seconds until all tasks have the token of each URL, and seconds for which they held the loop at a time."""
    import httpx
    from auths import AUTHS, FRESH

    async def sign(auth: Any, request: Any) -> None:
        steps = auth.async_auth_flow(request)
        await anext(steps)
        await steps.aclose()

    async def tick(gaps: list[float]) -> None:
        before, pause = time.perf_counter(), 0.001
        while True:
            await asyncio.sleep(pause)
            now = time.perf_counter()
            gaps.append(now - before - pause)
            before = now

    async def measure(url: str) -> tuple[float, float]:
        auth, batch, gaps = AUTHS["httpx"][name](url), [FRESH["httpx"]() for _ in range(int(tasks))], [0.0]
        ticker = asyncio.create_task(tick(gaps))
        await asyncio.sleep(0.01)
        start = time.perf_counter()
        await asyncio.gather(*(sign(auth, request) for request in batch))
        seconds = time.perf_counter() - start
        await asyncio.sleep(0.01)
        ticker.cancel()
        return seconds, max(gaps)

    async def measure_all() -> list[tuple[float, float]]:
        async with httpx.AsyncClient():  # as a program that sends requests has one: it loads most of httpx
            return [await measure(url) for url in urls]

    return asyncio.run(measure_all())


def shares(name: str, url: str, store: str, key: str, threads: str, warm: str) -> float:
    """Be ready, wait for a line, and ask by so many threads at once; the Unix time at which all had the token."""
    import requests

    auth = _sharing_peer(url, store) if name == "requests-auth" else _sharing(url, store, key)

    def ask() -> None:
        auth(requests.Request("GET", url).prepare())

    def gate() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    at_once(ask, int(threads), gate)
    ended = time.time()
    for _ in range(int(warm)):
        ask()
    return ended


def _sharing(url: str, store: str, key: str) -> Any:
    from auth_plugins import ClientCredentials, FileCache, RedisCache
    from auth_plugins.requests import OAuth2Auth

    cache = (RedisCache if store.startswith("unix:") else FileCache)(store, key=key or None)
    return OAuth2Auth(ClientCredentials(token_url=url, client_id="id", client_secret="secret"), cache=cache)


def _sharing_peer(url: str, store: str) -> Any:
    import requests_auth

    requests_auth.OAuth2.token_cache = requests_auth.JsonTokenFileCache(store)
    return requests_auth.OAuth2ClientCredentials(url, "id", "secret")


def tenants(name: str, number: str, calls: str) -> tuple[float, float]:
    """Bytes that each of so many tenants takes, by tracemalloc, and seconds of each of so many calls for one."""
    from auths import FRESH, tenant

    fresh, count = FRESH["httpx" if name == "httpx-auth" else "requests"], int(number)
    tenant(name, -1)(fresh())
    gc.disable()
    if name != BUILT:  # it takes several times as long, for the same as without building
        tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    signs = [tenant(name, each) for each in range(count)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for sign in signs:
        sign(fresh())  # the first call looks closer at the token
    chance, passes = random.Random(1), []  # noqa: S311 - no secret
    for _ in range(5):
        batch = [(signs[chance.randrange(count)], fresh()) for _ in range(int(calls))]
        start = time.perf_counter()
        for sign, request in batch:
            sign(request)
        passes.append((time.perf_counter() - start) / len(batch))
    return (after - before) / count, statistics.median(passes)


TASKS: dict[str, Callable[..., object]] = {
    "signs": signs,
    "cold_threads": cold_threads,
    "cold_tasks": cold_tasks,
    "shares": shares,
    "tenants": tenants,
}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])))
