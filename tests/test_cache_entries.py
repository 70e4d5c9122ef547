"""What lies in a shared cache: names that tell nothing, entries that only their owner reads, and damaged ones."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import hmac
import itertools
import json
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from auth_plugins import (
    ClientCredentials,
    ConfigurationError,
    FileCache,
    MemoryCache,
    Password,
    RedisCache,
    RefreshToken,
    SecretFile,
    TokenRequestError,
    TokenSource,
)
from auth_plugins._caches import shared as _shared
from auth_plugins._caches.encryption import EntryCipher
from auth_plugins._caches.entries import StoredToken
from auth_plugins._caches.shared import SharedCache

from . import stores
from .conftest import forget
from .loopback import Clock
from .redis_server import RedisServer
from .stores import (
    ALL,
    FILES,
    KEY,
    OTHER_KEY,
    OWN,
    WITHOUT_KEY,
    LockingCache,
    Store,
    in_files,
    name_of,
    over,
    process,
    shown,
    store_of,
    told,
)
from .test_source import PASSWORD, URL, Endpoint, expire, refusal, source

endpoint, rotating, files, store, quick_names = (
    stores.endpoint,
    stores.rotating,
    stores.files,
    stores.store,
    stores.quick_names,
)
GRANT = ClientCredentials(URL, "client", "s3cr3t")


# Names


def test_another_secret_finds_nothing(request: pytest.FixtureRequest, endpoint: Endpoint) -> None:
    """Who knows the client id, and not its secret, doesn't get the token out of a cache."""
    for name in [*ALL, "own without a lock"]:
        place = store_of(name, request)
        process(place, endpoint).token()
        asked = len(endpoint.requests)
        endpoint.script = [refusal()]
        with pytest.raises(TokenRequestError):
            process(place, endpoint, ClientCredentials(URL, "client", "guess")).token()
        assert len(endpoint.requests) == asked + 1


def _names(grant: Any, key: Any = KEY) -> tuple[str, ...]:
    shelf = _shared.SharedCache(FileCache("tokens", key=key)).entry_of(grant, MemoryCache().state(grant))
    assert shelf is not None
    return shelf.names


_FIELDS: dict[str, list[Any]] = {
    "token_url": [URL, f"{URL}?tenant=1", "https://other.example.com/token"],
    "client_id": ["client", "Client", "client ", "client\\", '"'],
    "client_secret": ["s", "S", "s ", "ß", "client"],
    "scope": [None, "a", "a b", "b a"],
    "audience": [None, "a", "b"],
    "resource": [None, "https://a", ["https://a", "https://b"], ["https://b", "https://a"]],
    "client_auth": ["client_secret_basic", "client_secret_basic_raw", "client_secret_post"],
    "encoding": ["form", "json", "query"],
    "method": ["POST", "GET"],
    "params": [None, {"a": "1"}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": None}, {"a": ["1"]}, {"a": "1", "b": "2"}],
    "headers": [None, {"A": "1"}, {"A": "2"}],
    "revocation_url": [None, "https://id.example.com/revoke"],
}


@pytest.mark.parametrize("field", _FIELDS)
def test_all_that_a_token_depends_on_is_in_its_name(field: str) -> None:
    """Two grants that differ in anything never share a token."""
    same = {"token_url": URL, "client_id": "client", "client_secret": "s"}
    names = [_names(ClientCredentials(**{**same, field: value})) for value in _FIELDS[field]]
    assert len(set(names)) == len(names)


def test_grants_of_other_kinds_have_other_names() -> None:
    """A password, a refresh token and a client's secret that read the same are not the same; nor users, or paths."""
    grants = [
        ClientCredentials(URL, "a", "b"),
        Password(URL, "a", "b"),
        Password(URL, "a", "B"),
        Password(URL, "A", "b"),
        Password(URL, "a", "b", client_id="c"),
        Password(URL, "a", "b", client_id="c", client_secret="d"),
        Password(URL, "a", "b", refresh_url=f"{URL}/refresh"),
        RefreshToken(URL, "b"),
        RefreshToken(URL, "b", client_id="a"),
        RefreshToken(URL, "b", client_id="a", client_secret="b"),
        RefreshToken(URL, "c", client_id="a", client_secret="b"),
    ]
    assert len(set(map(_names, grants))) == len(grants)


_ELSEWHERE = """
from auth_plugins import ClientCredentials, FileCache, MemoryCache
from auth_plugins._caches import shared as _shared
grant = ClientCredentials({url!r}, "client", "s3cr3t", scope={{"b", "a", "c"}}, params={{"y": ["1", "2"], "x": 1.5}})
for key in (None, {key!r}):
    print(*_shared.SharedCache(FileCache("anywhere", key=key)).entry_of(grant, MemoryCache().state(grant)).names)
"""


def test_equal_grants_have_the_same_name_everywhere() -> None:
    """Another process, which hashes by another seed and wrote its mappings in another order, finds my token."""
    grant = ClientCredentials(URL, "client", "s3cr3t", scope="a b c", params={"x": 1.5, "y": ("1", "2")})
    here = [*_names(grant, None), *_names(grant, KEY)]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        program = _ELSEWHERE.format(url=URL, key=KEY)
        there = subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True, timeout=60
        )
        assert there.stdout.split() == here


@over(["files", "files, key"])
def test_a_rotated_secret_finds_no_older_token(store: Store, endpoint: Endpoint, tmp_path: Path) -> None:
    """My secret is replaced in its file: the token that the old one got is found by nobody who has the new one."""
    file = tmp_path / "secret"
    file.write_text("one")
    grant = ClientCredentials(URL, "client", SecretFile(file))
    tokens = process(store, endpoint, grant)
    first = tokens.token()
    assert process(store, endpoint, ClientCredentials(URL, "client", "one")).token() == first
    file.write_text("two")
    assert tokens.token() is first
    tokens.invalidate(first)
    second = tokens.token()
    assert process(store, endpoint, ClientCredentials(URL, "client", "one")).token() == first
    assert process(store, endpoint, grant).token() == second != first
    file.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        process(store, endpoint, grant).token()


def test_a_name_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are no quick hash of what can be guessed: without a key they take a slow one, with a key that itself."""
    used: list[str] = []

    def noting(module: Any, name: str) -> None:
        function = getattr(module, name)

        def note(*arguments: Any, **more: Any) -> Any:
            used.append(name)
            if name == "scrypt":
                assert more["n"] * more["r"] * 128 >= 1 << 24, "as much memory as makes it slow"
            return function(*arguments, **more)

        monkeypatch.setattr(module, name, note)

    noting(hashlib, "scrypt")
    noting(hmac, "digest")
    [plain], [keyed], [other] = _names(GRANT, None), _names(GRANT, KEY), _names(GRANT, OTHER_KEY)
    assert used == ["scrypt", "digest", "digest"]
    assert len({plain, keyed, other}) == 3
    identity = json.dumps(GRANT.identity(), sort_keys=True, default=str)
    for guess in (*map("".join, itertools.permutations([URL, "client", "s3cr3t"])), "client:s3cr3t", identity):
        for text in (guess, f"auth_plugins 1{guess}"):
            quick = {hashlib.new(kind, text.encode()).hexdigest() for kind in ("md5", "sha1", "sha256", "blake2s")}
            assert not quick & {plain, keyed, other}
    assert all(name.isalnum() and "client" not in name for name in (plain, keyed))


def test_names_are_those_of_older_versions() -> None:
    """What version 0.1.0 stored is found by this version: its entries have the same names."""
    assert EntryCipher(None).names("text") == ("3e6dd3996edb9723ef417a8a26043d2e750d9dd89c520d2301b13daa2f37c2c6",)
    assert EntryCipher(KEY).names("text") == ("424791764934b7c92208bc6152ea9e5d7baa9bd1e9fe2631e09b9c751bd30ccc",)


def test_a_name_costs_once(files: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The slow hash is taken once per process and secret, and not for each token."""
    hashed: list[Any] = []
    names = EntryCipher.names

    def count(*arguments: Any) -> tuple[str, ...]:
        hashed.append(arguments)
        return names(*arguments)

    monkeypatch.setattr(EntryCipher, "names", count)
    tokens = process(files, endpoint)
    for _ in range(5):
        tokens.token()
        expire(clock)
    assert len(hashed) == 1


# What lies there


_SECRETS = ["token-1", "refresh-1", "s3cr3t-of-the-client", "p4ssw0rd", "the-client-id", "the-user-name", "id.example"]
_SECRET_GRANT = Password(
    f"{URL}?code=s3cr3t-code", "the-user-name", "p4ssw0rd", "the-client-id", "s3cr3t-of-the-client", scope="a-scope"
)


@over(["files, key", "redis, key"])
def test_with_a_key_nothing_can_be_read(store: Store, rotating: Endpoint) -> None:
    """Who gets hold of the directory, or of Redis, finds no token, and not even whose it is, in values or names."""
    process(store, rotating, _SECRET_GRANT).token()
    lying = store.look()
    assert len(lying) > 300
    assert [text for text in (*_SECRETS, "a-scope", "Password") if text.encode() in lying] == []
    assert process(store, rotating, _SECRET_GRANT).token().refresh_token == "refresh-1"
    assert len(rotating.requests) == 1


@over(WITHOUT_KEY)
def test_without_a_key_tokens_lie_there_and_secrets_dont(store: Store, rotating: Endpoint) -> None:
    """Without a key an entry holds the token, and whose it is; but no secret of the client, no password, no query."""
    process(store, rotating, _SECRET_GRANT).token()
    lying = store.look()
    for text in ("token-1", "refresh-1", "the-client-id", "the-user-name", "https://id.example.com/token", "a-scope"):
        assert text.encode() in lying
    for text in ("s3cr3t", "p4ssw0rd"):
        assert text.encode() not in lying


@pytest.mark.parametrize("name", [name for name in ALL if name not in OWN])
def test_entries_can_be_listed(name: str, request: pytest.FixtureRequest, rotating: Endpoint) -> None:
    """I can see what lies in a cache of ours: whose, until when, and what is damaged; other programs' things not."""
    place = store_of(name, request)
    shared = process(place, rotating, _SECRET_GRANT)._shared
    assert shared is not None
    assert [each for each in shared.entries() if isinstance(each, StoredToken)] == []
    tokens = process(place, rotating, _SECRET_GRANT)
    tokens.token()
    place.put("broken", b"{")
    [broken, entry] = sorted(shared.entries(), key=lambda each: isinstance(each, StoredToken))
    assert str(broken).startswith("damaged, or under ")
    assert isinstance(entry, StoredToken)
    assert entry.token == tokens.token()
    assert dict(entry.about) == {
        "grant": "Password",
        "token_url": URL,
        "client_id": "the-client-id",
        "username": "the-user-name",
        "scope": "a-scope",
    }


def test_an_entry_that_goes_while_it_is_listed_is_none(files: Store, endpoint: Endpoint, tmp_path: Path) -> None:
    """Another process clears the cache while I list it: what has gone is no error."""
    tokens = process(files, endpoint)
    tokens.token()
    shared = tokens._shared
    assert shared is not None
    names = shared.cache.names()  # type: ignore[attr-defined]
    tokens.revoke()
    shared.cache.names = lambda: names  # type: ignore[attr-defined]
    assert shared.entries() == []


def test_an_entry_that_was_moved_is_none(tmp_path: Path, endpoint: Endpoint) -> None:
    """Whoever writes the files, without the key, gives me another tenant's entry: it counts as none."""
    sources = []
    for tenant in ("admin", "guest"):
        forget()
        sources.append(source(endpoint, ClientCredentials(URL, tenant, "s3cr3t"), cache=FileCache(tmp_path, key=KEY)))
        sources[-1].token()
    admins, guests = ((tmp_path / f"{name_of(each)}.token") for each in sources)
    guests.write_bytes(admins.read_bytes())
    forget()
    fresh = source(endpoint, ClientCredentials(URL, "guest", "s3cr3t"), cache=FileCache(tmp_path, key=KEY))
    assert fresh.token().access_token == "token-3"


def test_what_was_stored_before_there_was_a_key_is_listed_as_such(tmp_path: Path, endpoint: Endpoint) -> None:
    """I gave my cache a key: what lies there unencrypted is listed, so that I clear it."""
    forget()
    source(endpoint, ClientCredentials(URL, "id", "s3cr3t"), cache=FileCache(tmp_path)).token()
    shared = SharedCache(FileCache(tmp_path, key=Fernet.generate_key()))
    assert shared.entries() == ["not encrypted"]


def test_a_prefix_is_taken_literally(redis_server: RedisServer, endpoint: Endpoint) -> None:
    """My prefix has the wildcards of Redis in it: I see what begins with just that."""
    url = redis_server.url
    caches = [RedisCache(url, prefix=prefix) for prefix in ("a*:", "ab:", "a?:", "a[b]:", "a\\:", "a\\\\:")]
    for cache in caches:
        cache.set("name", "text", 60)
    assert [cache.names() for cache in caches] == [["name"]] * len(caches)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such modes")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_their_owner_reads_the_files(
    files: Store, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """Whatever my umask: from the first byte on, only I can read the files, and enter the directory."""
    made: dict[str, int] = {}
    open_file = os.open

    def noting(path: Any, *arguments: Any, **more: Any) -> int:
        descriptor = open_file(path, *arguments, **more)
        made.setdefault(Path(path).name, stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", noting)
    before = os.umask(umask)
    try:
        process(files, endpoint).token()
    finally:
        os.umask(before)
    directory = tmp_path / "tokens"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {Path(name).suffix: mode for name, mode in made.items() if name.endswith((".new", ".lock", ".token"))}
    assert modes == {".new": 0o600, ".lock": 0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert {path.suffix for path in directory.iterdir()} == {".token", ".lock"}


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such modes")
def test_a_directory_of_mine_is_left_as_it_is(endpoint: Endpoint, tmp_path: Path) -> None:
    """The directory is there already: its mode is my business."""
    directory = tmp_path / "mine"
    directory.mkdir()
    directory.chmod(0o750)
    process(in_files(directory), endpoint).token()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o750


def test_what_a_killed_process_left_is_in_nobodys_way(files: Store, endpoint: Endpoint, tmp_path: Path) -> None:
    """A process was killed while it wrote: what is left of it is replaced, and is never taken for a token."""
    tokens = process(files, endpoint)
    files.put("any", b"")
    left = tmp_path / "tokens" / f"{name_of(tokens)}.new"
    left.write_text('{"token"')
    assert tokens.token() == process(files, endpoint).token()
    assert (len(endpoint.requests), left.exists()) == (1, False)


def test_a_directory_that_cannot_be_synced_is_no_matter(
    files: Store, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A token is stored on a file system that syncs no directory."""
    synced, sync = [], os.fsync

    def refuse_directories(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        if synced[-1]:
            raise OSError(errno.EINVAL, "a directory")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_directories)
    process(files, endpoint).token()
    process(files, endpoint).token()
    assert (len(endpoint.requests), told(caplog), synced) == (1, [], [False, True])


def test_a_file_that_is_open_elsewhere_is_tried_again(
    files: Store, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On Windows a file that another process has open at that moment is an error: it passes, and nothing is lost."""
    open_file, replace = os.open, os.replace
    failures = {"open": 0, "replace": 0}

    def fail(what: str, path: Any) -> None:
        if str(path).endswith((".token", ".new")) and failures[what] % 3 < 2:
            failures[what] += 1
            raise PermissionError(errno.EACCES, "it is open elsewhere")
        failures[what] = 0

    def open_at_times(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if not flags & os.O_CREAT:
            fail("open", path)
        return open_file(path, flags, *arguments, **more)

    def replace_at_times(path: Any, target: Any, **more: Any) -> None:
        fail("replace", path)
        replace(path, target, **more)

    monkeypatch.setattr(os, "open", open_at_times)
    monkeypatch.setattr(os, "replace", replace_at_times)
    process(files, endpoint).token()
    process(files, endpoint).token()
    assert (len(endpoint.requests), told(caplog)) == (1, [])


# Keys


@over(["files, key", "redis, key"])
def test_a_key_is_rotated(
    store: Store, endpoint: Endpoint, tmp_path: Path, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """I put a new key before the old one: tokens are still found, and after their renewal the new one is enough."""

    def having(*keys: str) -> TokenSource:
        cache: Any = store.cache()
        key = [*keys]
        again: Any = (
            FileCache(cache._directory, key) if isinstance(cache, FileCache) else RedisCache(redis_server.url, key=key)
        )
        forget()
        return source(endpoint, cache=again)

    new, old = Fernet.generate_key().decode(), KEY
    having(old).token()
    both = having(new, old)
    first = both.token()
    assert (first.access_token, len(endpoint.requests)) == ("token-1", 1)
    both.invalidate(first)
    assert both.token().access_token == "token-2"
    assert having(new).token().access_token == "token-2"
    assert having(new, old).token().access_token == "token-2"
    assert (len(endpoint.requests), told(caplog)) == (2, [])
    assert having(old).token().access_token == "token-3", "what the old key closed is gone"
    assert len(told(caplog)) == 1


def test_while_a_key_is_rotated_the_newest_token_is_taken(endpoint: Endpoint, clock: Clock, tmp_path: Path) -> None:
    """Some workers have the new key before the old one, some the old one only: who knows both takes the newest."""
    both, old = in_files(tmp_path, key=[OTHER_KEY, KEY]), in_files(tmp_path, key=KEY)
    process(both, endpoint).token()
    clock.forward(1)
    assert process(old, endpoint).token().access_token == "token-2"
    assert process(both, endpoint).token().access_token == "token-2"
    clock.forward(1)
    tokens = process(both, endpoint)
    tokens.invalidate(tokens.token())
    assert tokens.token() == process(both, endpoint).token()
    assert len(list(tmp_path.glob("*.token"))) == 2, "it, and the mark of the key"
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize("key", [[KEY, KEY], [KEY, OTHER_KEY, KEY], [KEY, KEY.encode()]])
def test_a_key_that_is_given_twice_counts_once(key: Any, tmp_path: Path, endpoint: Endpoint, clock: Clock) -> None:
    """The new and the old key are the same, as after a rotation that is over: tokens are shared as by one."""
    store = in_files(tmp_path / "tokens", key=key)
    process(store, endpoint).token()
    process(store, endpoint).token()
    assert (len(endpoint.requests), clock.sleeps) == (1, [])


@over(["files, key", "redis, key"])
def test_a_wrong_key_counts_as_no_token(
    store: Store, endpoint: Endpoint, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """A worker has another key: one warning says so, and its tokens and those of the others lie side by side."""
    first = process(store, endpoint).token()
    cache: Any = store.cache()
    other: Any = (
        FileCache(cache._directory, OTHER_KEY)
        if isinstance(cache, FileCache)
        else RedisCache(redis_server.url, key=OTHER_KEY)
    )
    forget()
    odd = source(endpoint, cache=other)
    for grant in (GRANT, PASSWORD, _SECRET_GRANT):
        source(endpoint, grant, cache=other).token()
    expire(clock)
    odd.token()
    [warning] = told(caplog)
    assert "another key" in warning
    assert "auth-plugins cache clear" in warning
    assert not any(key in warning for key in (KEY, OTHER_KEY))
    clock.forward(-3600)
    assert process(store, endpoint).token() == first
    assert len(told(caplog)) == 1


@pytest.mark.parametrize("kind", [str, str.encode, lambda key: [key], lambda key: iter([key]), lambda key: f" {key}\n"])
def test_a_key_may_be_written_in_several_ways(kind: Any, tmp_path: Path) -> None:
    """Text or bytes, one or several, with a line's end from its file: it is the same key, and an equal cache."""
    assert FileCache(tmp_path, key=kind(KEY)) == FileCache(tmp_path, key=KEY) != FileCache(tmp_path)


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
def test_several_keys_may_be_one_text(between: str, tmp_path: Path) -> None:
    """Keys in one text, between commas or whitespace, are as many keys, in that order."""
    two = FileCache(tmp_path, key=f"{KEY}{between}{OTHER_KEY}\n")
    assert two == FileCache(tmp_path, key=[KEY, OTHER_KEY]) != FileCache(tmp_path, key=[OTHER_KEY, KEY])


def test_an_identity_that_is_no_utf8_has_a_name() -> None:
    """A secret that an environment variable holds in another encoding names an entry of its own."""
    [one], [other] = EntryCipher(KEY).names("\udcff"), EntryCipher(KEY).names("\udcfe")
    assert one != other


@pytest.mark.parametrize(
    "key",
    [
        [],
        (),
        "",
        b"",
        "s3cr3t",
        KEY[:-4],
        KEY + KEY,
        KEY.replace(KEY[5], "!"),
        "ß" * 44,
        b"\xff" * 44,
        [KEY, "s3cr3t"],
        [KEY, None],
        [None],
        5,
        1.5,
        True,
        object(),
        [[KEY]],
    ],
    ids=shown,
)
@pytest.mark.parametrize(
    "kind", [FileCache, lambda key: RedisCache("redis://localhost", key=key)], ids=["file", "redis"]
)
def test_what_is_no_key_is_told_at_once(kind: Any, key: Any) -> None:
    """A key that is none is an error when the cache is made; it says how to make one, and doesn't show it."""
    with pytest.raises(ConfigurationError) as caught:
        kind(key=key)
    assert "key" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert KEY[:8] not in str(caught.value)


# Entries that are none


#: What is told of :data:`GRANT` in its entry.
ABOUT = {"grant": "ClientCredentials", "token_url": URL, "client_id": "client"}


def entry(about: Any = ABOUT, **members: Any) -> bytes:
    """An entry as version 0.1.0 stored it for GRANT, but for *members* of its token; it is good for an hour."""
    import time

    token = {
        "access_token": "lying",
        "token_type": "Bearer",
        "expires_at": time.time() + 3600,
        "refresh_token": None,
        "scope": None,
        "issued_at": time.time(),
    }
    return json.dumps({"token": {**token, **members}, "about": about}).encode()


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "half": entry()[:50],
    "zeros": bytes(200),
    "no text": bytes(range(256)),
    "a list": b"[]",
    "a number": b"5",
    "a string": b'"token"',
    "null": b"null",
    "no token": b'{"about": {}}',
    "token null": b'{"token": null, "about": {}}',
    "token a list": b'{"token": [], "about": {}}',
    "no about": entry().replace(b'"about"', b'"other"'),
    "about a text": entry("x"),
    "about a list": entry(["x"]),
    "deep": b"[" * 100_000,
    "a long number": entry(expires_at=1).replace(b'"expires_at": 1', b'"expires_at": ' + b"1" * 5000),
    "twice": entry() + entry(),
    "ends NaN": entry(expires_at=float("nan")),
    "ends never": entry(expires_at=float("inf")),
    "ends beyond floats": entry(expires_at=1).replace(b'"expires_at": 1', b'"expires_at": 1e999'),
    "ends beyond integers": entry(expires_at=10**400),
    "ends true": entry(expires_at=True),
    "ends in words": entry(expires_at="tomorrow"),
    "issued NaN": entry(issued_at=float("nan")),
    "issued null": entry(issued_at=None),
    "issued false": entry(issued_at=False),
    "no access token": entry(access_token=None),
    "access token empty": entry(access_token=""),
    "access token a number": entry(access_token=5),
    "access token of two lines": entry(access_token="a\r\nX-Evil: 1"),
    "access token not ASCII": entry(access_token="tökén"),
    "refresh token a number": entry(refresh_token=5),
    "refresh token no text": entry(refresh_token="\ud800"),
    "scope a list": entry(scope=["a"]),
    "token type null": entry(token_type=None),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@over(["files", "redis", "redis, client that decodes", "own"])
def test_a_damaged_entry_counts_as_none(
    store: Store, content: bytes, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever lies in the place of my token: I get one, one warning says so, and a whole entry replaces it."""
    tokens = process(store, endpoint)
    store.put(name_of(tokens), content)
    assert tokens.token().access_token == "token-1"
    [warning] = told(caplog)
    assert "damaged" in warning
    assert "lying" not in warning
    assert process(store, endpoint).token().access_token == "token-1"
    assert (len(endpoint.requests), len(told(caplog))) == (1, 1)


@over(["files, key", "redis, key"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{}", entry(), b"gAAAAA", bytes(range(256)), Fernet(OTHER_KEY).encrypt(entry())],
    ids=["nothing", "an empty object", "in clear", "the beginning of one", "all bytes", "under another key"],
)
def test_what_no_key_of_mine_closed_counts_as_none(
    store: Store, content: bytes, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """With a key, an entry that somebody else wrote into my cache is none, be it a good one otherwise."""
    tokens = process(store, endpoint)
    store.put(name_of(tokens), content)
    assert tokens.token().access_token == "token-1"
    assert process(store, endpoint).token().access_token == "token-1"
    assert (len(endpoint.requests), len(told(caplog))) == (1, 1)


@over(ALL)
@pytest.mark.parametrize("named", [False, True], ids=["as 0.1.0 stored it", "with its name"])
def test_a_good_entry_is_taken(store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, named: bool) -> None:
    """What the damaged ones were made from is a good one: with nothing wrong in it, it is taken."""
    tokens = process(store, endpoint)
    cipher = store.cache()._cipher if hasattr(store.cache(), "_cipher") else EntryCipher(None)
    name = name_of(tokens)
    text = json.dumps({**json.loads(entry({})), "name": name}) if named else entry().decode()
    store.put(name, cipher.encrypt(text, name).encode())
    assert (tokens.token().access_token, endpoint.requests, told(caplog)) == ("lying", [], [])


_OTHER_GRANT = ClientCredentials(URL, "other", "s3cr3t")


@over(WITHOUT_KEY)
@pytest.mark.parametrize("grant", [_OTHER_GRANT, ClientCredentials(URL, "client", "0ther")], ids=["client", "secret"])
def test_an_entry_of_another_grant_counts_as_damaged(
    store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, grant: Any
) -> None:
    """An entry that was stored under one name is not taken under another name: files were swapped, or values copied."""
    cache = store.cache()
    mine, others = process(store, endpoint), process(store, endpoint, grant)
    others.token()
    stored = cache.get(name_of(others))
    assert stored is not None
    store.put(name_of(mine), stored.encode())
    assert mine.token().access_token == "token-2"
    [warning] = told(caplog)
    assert "damaged" in warning
    assert process(store, endpoint).token() == mine.token()
    assert process(store, endpoint, grant).token() == others.token()
    assert len(endpoint.requests) == 2


@over([*FILES, "redis", "own"])
@pytest.mark.parametrize("about", [{}, {**ABOUT, "client_id": "other"}, {**ABOUT, "scope": "a"}], ids=shown)
def test_an_entry_without_a_name_is_taken_by_its_grant_only(
    store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, about: Any
) -> None:
    """An entry of version 0.1.0 that tells of another grant than mine counts as damaged."""
    tokens = process(store, endpoint)
    cipher = store.cache()._cipher if hasattr(store.cache(), "_cipher") else EntryCipher(None)
    store.put(name_of(tokens), cipher.encrypt(entry(about).decode(), name_of(tokens)).encode())
    assert tokens.token().access_token == "token-1"
    assert process(store, endpoint).token() == tokens.token()
    assert "damaged" in "".join(told(caplog))
    assert len(endpoint.requests) == 1


def test_an_entry_under_another_name_is_listed_as_damaged(files: Store, endpoint: Endpoint) -> None:
    """`auth-plugins cache list` shows an entry that was moved as a damaged one."""
    tokens = process(files, endpoint)
    tokens.token()
    shared, cache = tokens._shared, files.cache()
    assert shared is not None
    files.put("other", cache.get(name_of(tokens)).encode())
    assert sorted(map(type, shared.entries()), key=str) == [StoredToken, str]


def test_a_damaged_entry_is_told_once(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Something damages my entry again and again: the log has it once."""
    cache = LockingCache()
    tokens = source(endpoint, cache=cache)
    for _ in range(5):
        cache.entries[name_of(tokens)] = "{"
        tokens.invalidate(tokens.token())
    assert len(told(caplog)) == 1


@pytest.mark.parametrize("issued_ago", [3600, 1, 0, -1000, -1e300, 1e300])
def test_a_token_that_has_ended_is_not_taken(endpoint: Endpoint, clock: Clock, issued_ago: float) -> None:
    """What lies there has ended, whenever it says that it was issued: I get another token."""
    cache = LockingCache()
    tokens = source(endpoint, cache=cache)
    cache.entries[name_of(tokens)] = entry(expires_at=clock.now - 1, issued_at=clock.now - issued_ago).decode()
    assert tokens.token().access_token == "token-1"


def _link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    elsewhere.write_bytes(entry())
    path.symlink_to(elsewhere)


STRANGE: dict[str, Callable[[Path], Any]] = {
    "a link": _link,
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": os.mkfifo,
    "too large": lambda path: path.write_bytes(entry() + b" " * (1 << 23)),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_file_of_ours_counts_as_none(
    files: Store, make: Callable[[Path], Any], endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link, or a pipe, lies in the place of my token: it is not followed, not waited for, and replaced."""
    tokens = process(files, endpoint)
    path = tmp_path / "tokens" / f"{name_of(tokens)}.token"
    path.parent.mkdir()
    make(path)
    assert tokens.token().access_token == "token-1"
    assert process(files, endpoint).token().access_token == "token-1"
    assert (len(endpoint.requests), len(told(caplog))) == (1, 1)
    assert "damaged" in caplog.text
    assert path.is_file()
    assert not path.is_symlink()
    elsewhere = path.with_name("elsewhere")
    assert not elsewhere.exists() or elsewhere.read_bytes().count(b"lying") == 1, "nobody wrote through the link"


def test_a_directory_in_the_place_of_a_token_costs_no_request(
    files: Store, endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory lies where my token should: it cannot be replaced, I am told, and get my token."""
    tokens = process(files, endpoint)
    (tmp_path / "tokens" / f"{name_of(tokens)}.token").mkdir(parents=True)
    assert tokens.token().access_token == "token-1"
    assert process(files, endpoint).token().access_token == "token-2"
    assert {"damaged" in text or "out of order" in text for text in told(caplog)} == {True}


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows knows no owner by number")
def test_a_file_of_somebody_else_counts_as_none(
    files: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another user put a token where mine should lie: I don't use it, and replace it."""
    tokens = process(files, endpoint)
    files.put(name_of(tokens), entry())
    status = os.fstat

    def of_another_user(descriptor: int) -> os.stat_result:
        found = status(descriptor)
        values = list(found)
        values[4] += stat.S_ISREG(found.st_mode)
        return os.stat_result(values)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", of_another_user)
        assert tokens.token().access_token == "token-1"
    assert process(files, endpoint).token().access_token == "token-1"
    assert (len(endpoint.requests), len(told(caplog))) == (1, 1)


def test_where_files_have_no_owner_all_are_mine(
    files: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows files have no owner by number: their directory is what keeps others out."""
    process(files, endpoint).token()
    monkeypatch.delattr(os, "geteuid", raising=False)
    process(files, endpoint).token()
    assert len(endpoint.requests) == 1


def test_a_file_that_i_may_not_read_counts_as_none(
    files: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in my directory is forbidden to me: it counts as no token, and is replaced."""
    tokens = process(files, endpoint)
    files.put(name_of(tokens), entry())
    open_file = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if str(path).endswith(".token"):
            raise PermissionError(errno.EACCES, "forbidden")
        return open_file(path, flags, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert tokens.token().access_token == "token-1"
    assert process(files, endpoint).token().access_token == "token-1"
    assert (len(endpoint.requests), len(told(caplog))) == (1, 1)
    assert "damaged" in caplog.text


#: What is told of :data:`PASSWORD` in its entry.
_PASSWORDS = {"grant": "Password", "token_url": URL, "client_id": "app", "username": "me"}
_NUMBERS = st.one_of(st.sampled_from([0, 10**308, -(10**308), 10**400, 1e308, -1e308]), st.floats(), st.integers())
_TEXTS = st.text(st.characters(exclude_categories=()))
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
_TOKENS = st.fixed_dictionaries(
    {
        "access_token": st.one_of(st.just("lying"), st.just("lying"), _TEXTS),
        "token_type": st.just("Bearer"),
        "expires_at": st.one_of(st.none(), _NUMBERS),
        "refresh_token": st.one_of(st.none(), st.sampled_from(["refresh", "\ud800"]), _TEXTS),
        "scope": st.one_of(st.none(), _TEXTS),
        "issued_at": _NUMBERS,
    }
)
# One of them is anything at all.
_ODD = st.builds(
    lambda token, name, value: {**token, name: value},
    _TOKENS,
    st.sampled_from(["access_token", "token_type", "expires_at", "refresh_token", "scope", "issued_at"]),
    _JSON,
)
_ENTRIES = st.fixed_dictionaries(
    {
        "token": st.one_of(_TOKENS, _TOKENS, _ODD, _JSON),
        "about": st.one_of(st.just(_PASSWORDS), st.just(_PASSWORDS), _JSON),
    }
)


@settings(max_examples=500)
@example(entry(_PASSWORDS, expires_at=10**308, issued_at=-(10**308)).decode())
@example(entry(_PASSWORDS, expires_at=0, refresh_token="\ud800").decode())
@given(st.one_of(_ENTRIES.map(json.dumps), _TEXTS, _JSON.map(json.dumps)))
def test_no_entry_is_an_error(text: str) -> None:
    """Whatever another program, or a broken disk, leaves in the place of my token: I get one that can be sent."""
    forget()
    cache, endpoint = LockingCache(), Endpoint(Clock())
    tokens = source(endpoint, PASSWORD, cache=cache)
    cache.entries[name_of(tokens)] = text
    token = tokens.token()
    assert token.access_token.isascii()
    assert token.access_token.isprintable()
    assert token.access_token


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Slotted(ClientCredentials):
    """A grant of a user's own, whose fields are no attributes of a dict."""

    tenant: str = ""


def test_a_grant_with_slots_has_a_name_of_its_own() -> None:
    """My own grants keep their fields in slots: all that a token depends on is in its name all the same."""
    grants = [Slotted(URL, "id", secret, tenant=tenant) for secret in ("one", "two") for tenant in ("a", "b")]
    assert len({json.dumps(grant.identity(), sort_keys=True) for grant in grants}) == len(set(grants)) == 4
    assert all(grant.identity()["client_id"] == "id" for grant in grants)
    assert pickle.loads(pickle.dumps(grants[0])) == grants[0]
