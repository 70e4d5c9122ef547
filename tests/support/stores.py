"""Shared caches for tests: files, Redis, and caches of a user's own; and other processes that use them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import FileCache, KeyringCache, RedisCache, TokenSource
from auth_plugins._caches import shared as _shared
from auth_plugins._caches.shared_entry import SharedEntry
from auth_plugins._grants import password as _password
from auth_plugins._source import wiring
from tests.support.loopback import Clock
from tests.support.redis_server import RedisServer
from tests.support.sources import Endpoint, source

#: Two Fernet keys.
KEY, OTHER_KEY = "TheKeyOfTheseTests-0123456789_abcdefghijklm=", "AnotherKeyOfTheseTests-9876543210_abcdefghA="


def forget() -> None:
    """Lose what this process remembers of shared caches and refusals, as if it had just started."""
    _shared._all.clear()
    _shared._latest.clear()
    _password._vaguely_refused.clear()


def age(directory: Path) -> None:
    """Expire all entries of a FileCache without a key, and forget what this process knows of them."""
    forget()
    for path in directory.glob("*.token"):
        entry = json.loads(path.read_text())
        if "token" in entry:
            entry["token"]["expires_at"] = 1.0
            path.write_text(json.dumps(entry))


class OwnCache:
    """A cache of a user's own with the three methods that it must have, and no lock."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def get(self, key: str) -> str | None:
        return self.entries.get(key)

    def set(self, key: str, value: str, ttl: float) -> None:
        self.entries[key] = value

    def delete(self, key: str) -> None:
        self.entries.pop(key, None)


class LockingCache(OwnCache):
    """A cache whose lock says at once that another process holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextlib.contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        held = self.locks[key].acquire(blocking=False)
        try:
            yield held
        finally:
            if held:
                self.locks[key].release()


class WaitingCache(LockingCache):
    """A cache whose lock waits."""

    def lock(self, key: str, lease: float) -> Any:
        return self.locks[key]


@dataclass
class Store:
    """A place where tokens are stored."""

    #: Makes the cache, as another process would.
    cache: Callable[[], Any]
    #: Returns all that can be read there, names included.
    look: Callable[[], bytes]
    #: Puts an entry there, as another program may.
    put: Callable[[str, bytes], None]


def process(place: Any, endpoint: Endpoint, grant: Any = None, **policy: Any) -> TokenSource:
    """Return the source of another process over a store or a cache: one with an empty memory."""
    forget()
    return source(endpoint, grant, cache=place.cache() if isinstance(place, Store) else place, **policy)


def finish() -> None:
    """Wait for what a shared cache does beside an event loop, as the interpreter does at exit."""
    for thread in threading.enumerate():
        if thread.name == "auth-plugins cache":
            thread.join()


def entry_of(tokens: TokenSource) -> SharedEntry:
    """Return the entry of a source."""
    entry = wiring.shared_entry(tokens)
    assert entry is not None
    return entry


def name_of(tokens: TokenSource) -> str:
    """Return the name of its entry."""
    return entry_of(tokens).names[0]


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    """Return what the package logged, at *level* or above."""
    return [each.getMessage() for each in caplog.records if each.name == "auth_plugins" and each.levelno >= level]


def shown(argument: object) -> str:
    """Return a name for a test, the same one in each run."""
    return f"{argument!r}".partition(" at 0x")[0]


def in_files(directory: Path, **arguments: Any) -> Store:
    def look() -> bytes:
        return b"\n".join(str(path).encode() + b"\n" + path.read_bytes() for path in sorted(directory.glob("**/*.*")))

    def put(name: str, content: bytes) -> None:
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.token").write_bytes(content)

    return Store(lambda: FileCache(directory, **arguments), look, put)


def in_redis(server: RedisServer, cache: Callable[[], RedisCache]) -> Store:
    def look() -> bytes:
        with server.client() as client:
            return b"\n".join(name + b"\n" + (client.get(name) or b"") for name in client.scan_iter())

    def put(name: str, content: bytes) -> None:
        with server.client() as client:
            client.set(f"auth_plugins:{{{name}}}", content)

    return Store(cache, look, put)


def in_memory(kind: type[OwnCache]) -> Store:
    cache = kind()

    def put(name: str, content: bytes) -> None:
        cache.entries[name] = content.decode("latin-1")

    return Store(lambda: cache, lambda: str(cache.entries).encode(), put)


def in_keyring(request: pytest.FixtureRequest) -> Store:
    keyring = pytest.importorskip("keyring")
    from tests.support.keyrings import InMemory

    backend, patch = InMemory(), request.getfixturevalue("monkeypatch")
    patch.setenv("XDG_CACHE_HOME", str(request.getfixturevalue("tmp_path") / "locks"))
    patch.setattr(keyring.core, "_keyring_backend", backend)

    def put(name: str, content: bytes) -> None:
        backend.entries["auth-plugins", name] = content.decode("latin-1")
        with KeyringCache().lock(name, 1):
            pass

    return Store(KeyringCache, lambda: str(backend.entries).encode(), put)


FILES = ["files", "files, key"]
REDIS = ["redis", "redis, key", "redis, client", "redis, client that decodes"]
OWN = ["own", "own that waits"]
#: The stores that have a lock.
ALL = [*FILES, *REDIS, "keyring", *OWN]
WITHOUT_KEY = [name for name in ALL if "key" not in name]
#: The stores whose lock says at once that another process holds it.
PROMPT = [*FILES, *REDIS, "keyring", "own"]


def store_of(name: str, request: pytest.FixtureRequest) -> Store:
    """Return the store of that name, empty."""
    if name.startswith("own"):
        return in_memory({"own": LockingCache, "own that waits": WaitingCache, "own without a lock": OwnCache}[name])
    key = {"key": KEY} if name.endswith("key") else {}
    if name.startswith("files"):
        return in_files(request.getfixturevalue("tmp_path") / "tokens", **key)
    if name == "keyring":
        return in_keyring(request)
    server = request.getfixturevalue("redis_server")
    if "client" not in name:
        return in_redis(server, lambda: RedisCache(server.url, **key))
    client = server.client(decode_responses=name.endswith("decodes"))
    request.addfinalizer(client.close)
    return in_redis(server, lambda: RedisCache(client))


#: scrypt takes 35 ms on purpose; tests hash the same text again and again.
_quick_scrypt = functools.cache(hashlib.scrypt)


@pytest.fixture(autouse=True)
def quick_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "scrypt", _quick_scrypt)


@pytest.fixture
def endpoint(clock: Clock) -> Endpoint:
    return Endpoint(clock)


@pytest.fixture
def rotating(endpoint: Endpoint) -> Endpoint:
    """A token endpoint that sends a new refresh token each time."""
    endpoint.refresh_tokens = True
    return endpoint


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    return store_of(request.param, request)


@pytest.fixture
def files(tmp_path: Path) -> Store:
    return in_files(tmp_path / "tokens")


def over(names: list[str]) -> pytest.MarkDecorator:
    """Run a test over the stores of these names."""
    return pytest.mark.parametrize("store", names, indirect=True)
