"""What the tests share: a server that plays a script, a clock that a test sets, and an empty cache for each test."""

from __future__ import annotations

import functools
import gc
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import settings

import auth_plugins.requests
from auth_plugins import AuthError, ClientCredentials, MemoryCache
from auth_plugins._base import hidden as _hidden
from auth_plugins._caches import memory as _cache
from auth_plugins._protocol import answers as _answer
from tests.support.loopback import Clock, Loopback
from tests.support.redis_server import RedisServer
from tests.support.stores import endpoint, files, forget, rotating, store  # noqa: F401 - fixtures

settings.register_profile("stable", derandomize=True, deadline=None, max_examples=200)
settings.load_profile("stable")


def pytest_configure(config: pytest.Config) -> None:
    """Trust one CA, in child processes too: to read those of the world takes each client of httpx 30 ms."""
    directory = tempfile.mkdtemp()
    config.add_cleanup(lambda: shutil.rmtree(directory))
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    (Path(directory) / "ca.pem").write_text(first + end, encoding="utf-8")
    os.environ["SSL_CERT_FILE"] = f"{directory}/ca.pem"
    for library in ("httpcore", "httpcore2"):
        # At DEBUG they write a dozen lines for each request, with all headers of the answer, a token too.
        logging.getLogger(library).setLevel(logging.INFO)


def pytest_collection_finish() -> None:
    """Have no garbage collection look at the tests again, which are more objects than those of a test."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str:
    return f"auth_plugins: {Path(auth_plugins.__file__).parent}"


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name no test by a long text: it may be a key, or hold the time, and each process makes its own."""
    return "long" if isinstance(val, (str, bytes)) and len(val) > 100 else None


@pytest.fixture(autouse=True)
def _own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process remembers is empty, and the machine sets neither a proxy nor a variable of ours."""
    monkeypatch.setattr(_cache, "_shared", MemoryCache())
    forget()
    _answer._warn_once.cache_clear()
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("AUTH_PLUGINS_"):
            monkeypatch.delenv(name)


#: Loggers of libraries: they show URLs with their queries, or answers, whatever the package does.
OTHERS = {"urllib3", "httpx", "httpx2", "authlib", "oauthlib", "requests_cache", "requests_oauthlib", "vcr"}
#: Secrets of tests that are words of messages as well.
WORDS = {"client", "password", "refresh", "secret"}


class _Logged(logging.Handler):
    """The lines that are logged, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] not in OTHERS:
            self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def _no_secret_shows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No secret of a grant is in a log record, or in an error of the package, its causes and contexts.

    Warnings are errors in this suite, so they are searched as well.
    """
    secrets: set[str] = set()
    errors: list[AuthError] = []
    logged, root = _Logged(), logging.getLogger()

    def note(cls: type[str], secret: str) -> str:
        if cls is _hidden.Hidden and len(secret) >= 6 and secret not in WORDS:
            secrets.add(secret)
        return str.__new__(cls, secret)

    init = AuthError.__init__

    @functools.wraps(init)
    def keep(error: AuthError, *arguments: Any, **options: Any) -> None:
        init(error, *arguments, **options)
        errors.append(error)

    monkeypatch.setattr(_hidden.Hidden, "__new__", staticmethod(note))
    monkeypatch.setattr(AuthError, "__init__", keep)
    root.addHandler(logged)
    level = root.level
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.removeHandler(logged)
    shown = list(logged.lines)
    chain: list[BaseException | None] = [*errors]
    for error in chain:
        if error is not None and len(chain) < 10_000:
            shown += [str(error), repr(error), repr(vars(error)), repr(getattr(error, "__notes__", ""))]
            chain += [error.__cause__, error.__context__]
    for text in shown:
        assert not [secret for secret in list(secrets) if secret in text], text  # a thread of a test may go on


def _loopback() -> Iterator[Loopback]:
    loopback = Loopback().start()
    yield loopback
    loopback.stop()


server = pytest.fixture(_loopback, name="server")
other_server = pytest.fixture(_loopback, name="other_server")  # another origin


def _redis() -> Iterator[RedisServer]:
    redis = RedisServer().start()
    yield redis
    redis.close()


one_redis = pytest.fixture(_redis, name="one_redis", scope="session")
own_redis = pytest.fixture(_redis, name="own_redis")  # one that the test may stop and start


@pytest.fixture
def redis_server(one_redis: RedisServer) -> RedisServer:
    """An empty Redis; all tests that leave it running share it."""
    with one_redis.client() as client:
        client.flushall()
    return one_redis


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the package; all other code has the real one."""
    clock = Clock()
    clock.rule(monkeypatch)
    return clock


@pytest.fixture
def grant(server: Loopback) -> ClientCredentials:
    return ClientCredentials(server.token_url, "client", "s3cr3t")
