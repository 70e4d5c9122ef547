"""A rejected token that this process does not replace: the next process does not find it in a shared cache."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from auth_plugins import ClientCredentials, FileCache, SecretFile
from auth_plugins._base.runtime import runtime
from tests.support.drivers import ALL, HTTPX, SYNC, Call, Driver, each
from tests.support.loopback import Clock, Loopback, as_json
from tests.support.sources import PASSWORD, URL, Endpoint
from tests.support.stores import ALL as STORES
from tests.support.stores import LockingCache, Store, entry_of, finish, forget, over, process


class Watched(LockingCache):
    """A shared cache that notes which threads write to it."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def set(self, key: str, value: str, ttl: float) -> None:
        self.threads.append(threading.current_thread().name)
        super().set(key, value, ttl)


class Full(LockingCache):
    """A shared cache whose disk may be full."""

    is_full = False

    def set(self, key: str, value: str, ttl: float) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().set(key, value, ttl)


def upload(driver: Driver, url: str, auth: Any) -> int:
    """Send a body that cannot be sent again; return the status."""
    return driver.send(Call("POST", url, driver.chunks([b"rows"])), auth).status


def raise_in_a_hook(driver: Driver, url: str, auth: Any) -> int:
    """Send a request, of which a hook raises an error for a 401; return the status."""

    def hook(response: Any) -> None:
        if response.is_error:
            response.raise_for_status()

    try:
        return driver.get(url, auth, hook=hook).status
    except driver.module.HTTPStatusError as error:
        return int(error.response.status_code)


SENDS = [*((driver, upload) for driver in ALL), *((driver, raise_in_a_hook) for driver in HTTPX)]


@pytest.mark.parametrize(("driver", "send"), SENDS, ids=lambda each: getattr(each, "__name__", repr(each)))
def test_the_next_process_gets_another_token(
    driver: Driver, send: Callable[..., int], server: Loopback, grant: ClientCredentials
) -> None:
    """A token whose refused request is not sent again is of no use in a shared cache, which no event loop calls."""
    cache, statuses = Watched(), []
    for _ in range(3):
        forget()
        statuses.append(send(driver, server.api_url, driver.auth(grant, cache=cache)))
        finish()
        server.live &= {"token-2"}
    assert (statuses, len(server.token_requests)) == ([200, 401, 200], 2)
    assert (cache.threads[1] == "auth-plugins cache") is (driver.mode != "sync")


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_doubtful_refusal_withdraws_nothing(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A token that may be good, as permissions may be missing, stays in a shared cache."""
    server.api = lambda _: as_json({}, 403)
    cache = LockingCache()
    for _ in range(3):
        forget()
        assert upload(driver, server.api_url, driver.auth(grant, cache=cache, refused=[403])) == 403
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("driver", each(SYNC))
def test_an_api_that_rejects_each_token_costs_no_more(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """One token is replaced in 30 seconds, however many processes have an upload rejected."""
    server.api = lambda _: as_json({}, 401)
    cache = LockingCache()
    for count in (2, 3):
        for _ in range(4):
            forget()
            assert upload(driver, server.api_url, driver.auth(grant, cache=cache)) == 401
        assert len(server.token_requests) == count
        clock.forward(31)


SCRIPTS = {
    "requests": """
import requests
from auth_plugins.requests import OAuth2Auth

requests.post(api, data=iter([b"rows"]), auth=OAuth2Auth(grant, cache=cache))
""",
    "asyncio": """
import asyncio, httpx
from auth_plugins.httpx import OAuth2Auth

async def raise_for_status(response):
    response.raise_for_status()

async def main():
    hooks = {"response": [raise_for_status]}
    async with httpx.AsyncClient(event_hooks=hooks, trust_env=False) as client:
        await client.get(api, auth=OAuth2Auth(grant, cache=cache))

asyncio.run(main())
""",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_that_ends_at_once(server: Loopback, tmp_path: Path, script: str) -> None:
    """A script that ends with its first 401, by an error too, has withdrawn the token before."""
    begin = f"""
import auth_plugins
grant = auth_plugins.ClientCredentials({server.token_url!r}, "client", "s3cr3t")
cache, api = auth_plugins.FileCache({str(tmp_path / "tokens")!r}), {server.api_url!r}
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", begin + script], capture_output=True, timeout=60, check=False)
        server.live &= {"token-2"}
    shown = [received.headers["authorization"] for received in server.api_requests]
    assert shown == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


@over([*STORES, "own without a lock"])
def test_invalidate_withdraws(store: Store, endpoint: Endpoint) -> None:
    """A token that the program gave up is not found by the next process; a newer one of another process stays."""
    for number in (1, 2):
        tokens = process(store, endpoint)
        first = tokens.token()
        assert first.access_token == f"token-{number}"
        tokens.invalidate(first)
    second = process(store, endpoint).token()
    tokens.invalidate(first)
    assert process(store, endpoint).token() == second


@over([*STORES, "own without a lock"])
def test_a_refresh_token_outlives_its_access_token(store: Store, rotating: Endpoint) -> None:
    """Of a withdrawn token the refresh token stays: the next process uses it, and logs in no second time."""
    tokens = process(store, rotating, PASSWORD)
    first = tokens.token()
    for _ in range(2):
        tokens.invalidate(first)
    stored = entry_of(tokens).read()
    assert stored is not None
    assert (stored.refresh_token, stored.expires_at) == ("refresh-1", stored.issued_at)
    assert process(store, rotating, PASSWORD).token().access_token == "token-2"
    assert "refresh_token=refresh-1" in rotating.bodies[1]


def test_a_token_that_another_process_is_about_to_replace(endpoint: Endpoint) -> None:
    """A process that holds the lock stores a newer token, so it is not waited for."""
    cache = LockingCache()
    tokens = process(cache, endpoint)
    first = tokens.token()
    with entry_of(tokens).locked(1.0):
        tokens.invalidate(first)
    assert entry_of(tokens).read() == first


def test_what_keeps_a_token_from_being_withdrawn(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache or a secret that cannot be used, and a thread that cannot be started, are no errors of ``invalidate``."""
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t", "utf-8")
    cache = LockingCache()
    tokens = process(cache, endpoint, ClientCredentials(URL, "client", SecretFile(secret)))
    first = tokens.token()
    process(FileCache(secret / "no directory"), endpoint).invalidate(first)
    secret.unlink()
    tokens.invalidate(first)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(runtime, "start_thread", fail)

    async def invalidate() -> None:
        tokens.invalidate(first)

    secret.write_text("s3cr3t", "utf-8")
    asyncio.run(invalidate())
    trio.run(invalidate)
    assert entry_of(tokens).read() == first


def test_a_cache_that_cannot_be_written_keeps_the_refresh_token(rotating: Endpoint) -> None:
    """A token that cannot be withdrawn, as the disk is full, loses no refresh token."""
    cache = Full()
    tokens = process(cache, rotating, PASSWORD)
    first = tokens.token()
    cache.is_full = True
    tokens.invalidate(first)
    assert process(cache, rotating, PASSWORD).token() == first
