"""What the tests share: a server that plays a script, a clock that stands, and a cache of each test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import auth_plugins
from auth_plugins import ClientCredentials, MemoryCache, _cache, _shared, _source

from .loopback import Clock, Loopback
from .redis_server import RedisServer

settings.register_profile("stable", derandomize=True, deadline=None, max_examples=200)
settings.load_profile("stable")


def pytest_report_header() -> str:
    return f"auth_plugins: {Path(auth_plugins.__file__).parent}"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever passes no cache gets the process's: each test has one that is empty."""
    monkeypatch.setattr(_cache, "_shared", MemoryCache())
    forget()


def forget() -> None:
    """Lose what this process remembers of shared caches, as another process that starts would know nothing of it."""
    _shared._all.clear()
    _shared._latest.clear()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no variable of ours, from the machine that runs the tests."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("AUTH_PLUGINS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Loopback]:
    loopback = Loopback().start()
    yield loopback
    loopback.stop()


@pytest.fixture
def other_server() -> Iterator[Loopback]:
    """Another origin."""
    loopback = Loopback().start()
    yield loopback
    loopback.stop()


@pytest.fixture(scope="session")
def _one_redis() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture
def redis_server(_one_redis: RedisServer) -> RedisServer:
    """A Redis that is empty; one for all tests that leave it running."""
    with _one_redis.client() as client:
        client.flushall()
    return _one_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis to be stopped, and started again."""
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time by which the package judges tokens and failures; everybody else has the real one."""
    clock = Clock()
    for module in (_source, _cache, _shared):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def grant(server: Loopback) -> ClientCredentials:
    return ClientCredentials(server.token_url, "client", "s3cr3t")
