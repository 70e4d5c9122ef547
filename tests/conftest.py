"""What the tests share: a server that plays a script, a clock that stands, and a cache of each test's own."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import settings

import auth_plugins.requests
from auth_plugins import (
    AuthError,
    ClientCredentials,
    MemoryCache,
)
from auth_plugins._base import hidden as _hidden
from auth_plugins._caches import memory as _cache
from auth_plugins._grants import password as _password
from auth_plugins._protocol import answers as _answer
from tests.support.loopback import Clock, Loopback
from tests.support.redis_server import RedisServer
from tests.support.stores import endpoint, files, forget, rotating, store  # noqa: F401 - fixtures

settings.register_profile("stable", derandomize=True, deadline=None, max_examples=200)
settings.load_profile("stable")


def pytest_report_header() -> str:
    return f"auth_plugins: {Path(auth_plugins.__file__).parent}"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever passes no cache gets the process's: each test has one that is empty."""
    monkeypatch.setattr(_cache, "_shared", MemoryCache())
    forget()


@pytest.fixture(autouse=True)
def _own_memory_of_answers() -> None:
    """What this process remembers of refusals and warnings is a test's own."""
    _password._vaguely_refused.clear()
    _answer._warn_of_type.cache_clear()
    _answer._warn_of_lifetime.cache_clear()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and no variable of ours, from the machine that runs the tests."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("AUTH_PLUGINS_"):
            monkeypatch.delenv(name)


class _Heard(logging.Handler):
    """All that is logged, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # A URL with its query is shown by the libraries' own logs, whatever we do, and the README says so. That of
        # requests-cache shows it too, and that of vcrpy shows whole answers. Authlib's and oauthlib's logs are those of
        # the authorization servers that the tests run.
        if record.name.partition(".")[0] not in OTHERS:
            self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def _no_secret_shows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the whole suite: no secret of any grant is in a log record, or in an error of ours, its causes and contexts.

    Warnings are errors in this suite, and so are looked into as well.
    """
    secrets: set[str] = set()
    errors: list[AuthError] = []
    heard, root = _Heard(), logging.getLogger()

    class Hidden(_hidden.Hidden):
        def __new__(cls, secret: str) -> Self:
            if len(secret) >= 6 and secret not in WORDS:
                secrets.add(secret)
            return super().__new__(cls, secret)

        def __reduce__(self) -> tuple[Any, ...]:
            return _hidden.hidden, (str(self),)

    init = AuthError.__init__

    @functools.wraps(init)
    def keep(error: AuthError, *arguments: Any, **options: Any) -> None:
        init(error, *arguments, **options)
        errors.append(error)

    monkeypatch.setattr(_hidden, "Hidden", Hidden)
    monkeypatch.setattr(AuthError, "__init__", keep)
    root.addHandler(heard)
    level = root.level
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.removeHandler(heard)
    shown = list(heard.lines)
    chain: list[BaseException | None] = [*errors]
    for error in chain:
        if error is not None and len(chain) < 10_000:
            shown += [str(error), repr(error), repr(vars(error)), repr(getattr(error, "__notes__", ""))]
            chain += [error.__cause__, error.__context__]
    for text in shown:
        assert not [secret for secret in secrets if secret in text], text


#: Loggers of libraries that show what we cannot hide from them.
OTHERS = {"urllib3", "httpx", "httpx2", "authlib", "oauthlib", "requests_cache", "vcr"}
#: Secrets of tests that are words of our messages as well.
WORDS = {"client", "password", "refresh", "secret"}


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
    clock.rule(monkeypatch)
    return clock


@pytest.fixture
def grant(server: Loopback) -> ClientCredentials:
    return ClientCredentials(server.token_url, "client", "s3cr3t")
