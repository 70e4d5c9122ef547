"""The name key: the random text beside the entries of a cache without a key, on which their names depend."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import FileCache, RedisCache, RefreshToken
from auth_plugins._caches.encryption import EntryCipher
from auth_plugins._caches.shared import SharedCache
from auth_plugins._cli.listing import list_entries
from tests.cli.test_cli import Run, client
from tests.cli.test_cli import run as run_of_cli
from tests.support.loopback import Clock, Loopback
from tests.support.posix import needs_posix
from tests.support.redis_server import RedisServer
from tests.support.sources import URL, Endpoint, expire, sent
from tests.support.stores import KEY, Store, forget, in_files, logged, name_of, over, process

run = run_of_cli
BOTH = ["files", "redis", "redis, client that decodes"]
#: Its name in Redis.
IN_REDIS = "auth_plugins:name-key"


def _empty(store: Store, server: RedisServer) -> None:
    """Remove all that is stored, as ``rm -rf`` or FLUSHDB do."""
    cache = store.cache()
    if isinstance(cache, FileCache):
        for path in cache._directory.iterdir():
            path.unlink()
        cache._directory.rmdir()
    else:
        server.client().flushdb()


@over(BOTH)
def test_processes_that_start_at_once_agree(store: Store) -> None:
    """Processes that make the name key at the same moment use the same one, of 256 bits; another place has another."""
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: store.cache().name_key(), range(64)))
    assert set(found) == {store.cache().name_key()}
    assert len(bytes.fromhex(found[0])) == 32


def test_a_file_system_without_hard_links_has_a_name_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no hard links, the name key is made all the same, and nothing is left of how it was made."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", forbidden)
    first = FileCache(tmp_path).name_key()
    assert (FileCache(tmp_path).name_key(), [path.name for path in tmp_path.iterdir()]) == (first, ["name.key"])


def test_of_two_files_that_are_made_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that makes a name key while another process does uses that of the other; only one file stays."""
    link, others = os.link, []

    def late(*arguments: Any, **more: Any) -> None:
        monkeypatch.setattr(os, "link", link)
        others.append(FileCache(tmp_path).name_key())
        link(*arguments, **more)

    monkeypatch.setattr(os, "link", late)
    assert [FileCache(tmp_path).name_key()] == others
    assert [path.name for path in tmp_path.iterdir()] == ["name.key"]


def test_the_name_key_in_redis_has_no_end(redis_server: RedisServer) -> None:
    """In Redis the name key has no end, and each prefix has its own."""
    assert RedisCache(redis_server.url).name_key() != RedisCache(redis_server.url, "other:").name_key()
    with redis_server.client() as own:
        assert (own.ttl(IN_REDIS), own.ttl("other:name-key")) == (-1, -1)


def test_with_a_key_there_is_no_name_key(tmp_path: Path, endpoint: Endpoint) -> None:
    """With a key no name key is made."""
    process(FileCache(tmp_path, key=KEY), endpoint).token()
    assert [path for path in tmp_path.iterdir() if path.suffix == ".key"] == []


@over(BOTH)
def test_processes_agree_again_after_all_was_removed(
    store: Store, endpoint: Endpoint, redis_server: RedisServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """After all was removed, processes that ran before and those that start later share tokens again."""
    old = process(store, endpoint)
    old.token()
    before = name_of(old)
    _empty(store, redis_server)
    new = process(store, endpoint)
    assert new.token().access_token == "token-2"
    expire(clock)
    assert old.token().access_token == "token-3"
    assert new.token() == old.token()
    assert name_of(old) == name_of(new) != before
    assert logged(caplog) == []


@over(BOTH)
def test_a_successor_is_found_without_the_name_key(store: Store, rotating: Endpoint, clock: Clock) -> None:
    """The successor of a RefreshToken grant's refresh token is found when the name key has been lost."""
    grant = RefreshToken(URL, "rt-0")
    process(store, rotating, grant).token()
    store.cache().name_key()
    store.cache().delete_name_key()
    expire(clock)
    process(store, rotating, grant).token()
    assert sent(rotating) == ["rt-0", "refresh-1"]


@over(BOTH)
def test_an_entry_of_an_older_version_is_ignored(
    store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """An entry that version 0.1.0 stored is not found, without a warning; it can be listed and cleared."""
    tokens = process(store, endpoint)
    [old] = EntryCipher(None).names(json.dumps(tokens.grant.identity(), sort_keys=True))
    store.put(old, b'{"token": {}, "about": {}}')
    assert tokens.token().access_token == "token-1"
    assert logged(caplog) == []
    assert sorted(store.cache().names()) == sorted([old, name_of(tokens)])


@over(BOTH)
def test_it_is_no_entry(store: Store, endpoint: Endpoint) -> None:
    """The name key is neither listed nor counted."""
    tokens = process(store, endpoint)
    name = name_of(tokens)
    shared = SharedCache(store.cache())
    assert (store.cache().names(), list_entries(shared)) == ([], [])
    tokens.token()
    assert (store.cache().names(), len(list_entries(shared))) == ([name], 1)


# In trouble


def _in_files(place: Path) -> dict[str, Callable[[], Any]]:
    return {
        "empty": lambda: place.write_text(""),
        "half": lambda: place.write_text("0" * 63),
        "no ASCII": lambda: place.write_bytes(b"\xff" * 64),
        "too large": lambda: place.write_bytes(b"0" * (1 << 24)),
        "a link": lambda: place.symlink_to("elsewhere"),
        "a pipe": lambda: os.mkfifo(place),
        "a directory": place.mkdir,
    }


IN_FILES = list(_in_files(Path()))
REDIS_VALUES: dict[str, bytes] = {
    "empty": b"",
    "half": b"0" * 63,
    "no text": b"\xff" * 64,
    "too large": b"0" * (1 << 24),
}


def _assert_alone(
    store: Store, endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture, mend: Callable[[], Any]
) -> None:
    """Each process fetches its own token, with one warning; when the name key was deleted, they share one again."""
    workers = [process(store, endpoint) for _ in range(2)]
    for worker in workers:
        for _ in range(3):
            worker.token()
            assert worker.token() == worker.token()
            expire(clock)
    warnings = logged(caplog)
    assert (len(endpoint.requests), len(warnings)) == (6, 2)
    assert all("out of order (name key: " in warning for warning in warnings)
    mend()
    assert workers[0].token() == workers[1].token()
    assert len(endpoint.requests) == 7


@needs_posix
@pytest.mark.parametrize("what", IN_FILES)
def test_a_damaged_file_is_an_outage(
    files: Store, endpoint: Endpoint, clock: Clock, tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged name key, or something else in its place, costs one warning that says what to delete."""
    place = tmp_path / "tokens" / "name.key"
    place.parent.mkdir(mode=0o700)
    _in_files(place)[what]()
    _assert_alone(files, endpoint, clock, caplog, place.rmdir if what == "a directory" else place.unlink)
    assert f"it is damaged, or another program's or user's; delete it: {place}" in caplog.text
    assert not (tmp_path / "tokens" / "elsewhere").exists()


@over(["redis", "redis, client that decodes"])
@pytest.mark.parametrize("value", REDIS_VALUES.values(), ids=REDIS_VALUES)
def test_a_damaged_value_in_redis_is_an_outage(
    store: Store,
    endpoint: Endpoint,
    clock: Clock,
    redis_server: RedisServer,
    value: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A damaged name key in Redis costs one warning that says what to delete; one that is too large is not sent."""
    with redis_server.client() as own:
        own.set(IN_REDIS, value)
        before = own.info("stats")["total_net_output_bytes"]
        _assert_alone(store, endpoint, clock, caplog, lambda: own.delete(IN_REDIS))
        assert own.info("stats")["total_net_output_bytes"] - before < 1 << 20
    assert f"it is damaged, or another program's or user's; delete it: {IN_REDIS}" in caplog.text


@pytest.mark.parametrize("how", ["write", "fsync"])
def test_a_name_key_that_cannot_be_made_is_an_outage(
    tmp_path: Path,
    endpoint: Endpoint,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    """Where the name key cannot be made, tokens stay within their process, and nothing is left of it."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fail_to_write(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        return fail() if flags & os.O_CREAT else open_file(path, flags, *arguments, **more)

    def mend() -> None:
        assert [path for path in tmp_path.iterdir() if path.suffix == ".key"] == []
        patch.undo()

    open_file = os.open
    with monkeypatch.context() as patch:
        patch.setattr(*((os, "open", fail_to_write) if how == "write" else (os, "fsync", fail)))
        _assert_alone(in_files(tmp_path), endpoint, clock, caplog, mend)
    monkeypatch.setattr(os, "link", fail)  # it is not needed any more
    assert process(in_files(tmp_path), endpoint).token().access_token == "token-7"


def test_a_directory_that_is_emptied_during_a_token_request_keeps_its_names(
    files: Store, endpoint: Endpoint, redis_server: RedisServer
) -> None:
    """The name key that a token was stored under is put back, so that other processes find the token."""

    def remove() -> Any:
        _empty(files, redis_server)
        return endpoint.issue

    endpoint.script = [remove]
    tokens = process(files, endpoint)
    name = name_of(tokens)
    tokens.token()
    assert process(files, endpoint).token() == tokens.token()
    assert (name_of(tokens), len(endpoint.requests)) == (name, 1)


# The command line


@pytest.mark.parametrize("where", ["files", "redis"])
def test_clearing_all_deletes_the_name_key(
    run: Run, server: Loopback, tmp_path: Path, redis_server: RedisServer, where: str
) -> None:
    """`cache clear PREFIX` says that the name key is damaged, and fails; with ``--all`` it deletes that as well."""
    cache = FileCache(tmp_path) if where == "files" else RedisCache(redis_server.url)
    at = f"file:{tmp_path}" if where == "files" else redis_server.url
    variables = {**client(server), "ACME_CACHE": at}
    assert run("token", "ACME", **variables).out == b"token-1\n"
    assert len(cache.name_key()) == 64
    assert run("cache", "clear", "ACME").out.startswith(b"forgot 1 of ")
    if where == "files":
        (tmp_path / "killed.key").write_text("what a killed process left")
        (tmp_path / "name.key").write_text("damaged")
    else:
        with redis_server.client() as own:
            own.set(IN_REDIS, "damaged")
    outcome = run("cache", "clear", "ACME")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, b"", 1)
    assert "delete it" in outcome.err
    assert run("cache", "clear", "ACME", "--all").out.startswith(b"forgot 0 of ")
    with redis_server.client() as own:
        assert (list(tmp_path.iterdir()), own.keys()) == ([], [])
    forget()
    assert run("token", "ACME").out == b"token-2\n"
