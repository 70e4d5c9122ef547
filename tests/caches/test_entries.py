"""The entries of a shared cache: their names, who can read them, keys, and entries that are damaged."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import hmac
import json
import os
import pickle
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

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
from auth_plugins._caches.encryption import EntryCipher
from auth_plugins._caches.entries import StoredToken
from auth_plugins._caches.shared import SharedCache
from auth_plugins._cli.listing import list_entries
from tests.support.loopback import Clock
from tests.support.posix import needs_posix
from tests.support.redis_server import RedisServer
from tests.support.sources import PASSWORD, URL, Endpoint, expire, refusal, source
from tests.support.stores import (
    ALL,
    FILES,
    KEY,
    OTHER_KEY,
    OWN,
    WITHOUT_KEY,
    LockingCache,
    Store,
    in_files,
    logged,
    name_of,
    over,
    process,
    shown,
    store_of,
)

GRANT = ClientCredentials(URL, "client", "s3cr3t")


# Names


def test_another_secret_finds_nothing(request: pytest.FixtureRequest, endpoint: Endpoint) -> None:
    """A process with the right client id and a wrong secret does not get the token."""
    for name in [*ALL, "own without a lock"]:
        place = store_of(name, request)
        process(place, endpoint).token()
        before = len(endpoint.requests)
        endpoint.script = [refusal()]
        with pytest.raises(TokenRequestError):
            process(place, endpoint, ClientCredentials(URL, "client", "guess")).token()
        assert len(endpoint.requests) == before + 1


def _names(grant: Any, key: Any = KEY, path: Path | str = "tokens") -> tuple[str, ...]:
    entry = SharedCache(FileCache(path, key=key)).entry_of(grant, MemoryCache().state(grant))
    assert entry is not None
    return entry.names


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
    "answer": [None, {"scope": "a"}, {"scope": "b"}, {"error": "a"}],
    "names": [None, {"scope": "a"}, {"audience": "a"}],
    "refresh_params": [None, {"a": "1"}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": None}, {"a": ["1"]}],
    "lifetime": [None, 1, 2.5],
}


@pytest.mark.parametrize("field", _FIELDS)
def test_all_that_a_token_depends_on_is_in_its_name(field: str) -> None:
    """Grants that differ in one field have entries of different names."""
    same = {"token_url": URL, "client_id": "client", "client_secret": "s"}
    names = [_names(ClientCredentials(**{**same, field: value})) for value in _FIELDS[field]]
    assert len(set(names)) == len(names)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Slotted(ClientCredentials):
    """A grant of a user's own, with a field in a slot."""

    tenant: str = ""


def test_grants_of_other_kinds_have_other_names() -> None:
    """A password, a refresh token and a client secret of the same text, and a field in a slot, make other names."""
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
        *(Slotted(URL, "a", secret, tenant=tenant) for secret in ("b", "c") for tenant in ("a", "b")),
    ]
    assert len(set(map(_names, grants))) == len(grants)
    assert pickle.loads(pickle.dumps(grants[-1])) == grants[-1]


_ELSEWHERE = """
from auth_plugins import ClientCredentials, FileCache, MemoryCache
from auth_plugins._caches.shared import SharedCache
grant = ClientCredentials({url!r}, "client", "s3cr3t", scope={{"b", "a", "c"}}, params={{"y": ["1", "2"], "x": 1.5}})
for key in (None, {key!r}):
    print(*SharedCache(FileCache({path!r}, key=key)).entry_of(grant, MemoryCache().state(grant)).names)
"""


def test_equal_grants_have_the_same_name_everywhere(tmp_path: Path) -> None:
    """A process with another hash seed, and mappings in another order, finds the same entry."""
    grant = ClientCredentials(URL, "client", "s3cr3t", scope="a b c", params={"x": 1.5, "y": ("1", "2")})
    here = [*_names(grant, None, tmp_path), *_names(grant, KEY)]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", _ELSEWHERE.format(url=URL, key=KEY, path=str(tmp_path))]
        there = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
        assert there.stdout.split() == here


@over(FILES)
def test_a_rotated_secret_finds_no_older_token(store: Store, endpoint: Endpoint, tmp_path: Path) -> None:
    """A token that the old secret got is not found with the new one."""
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


def test_a_name_reveals_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name is no quick hash of what can be guessed: it is an HMAC under a key or a name key, or a slow hash.

    The slow hash is for caches of a user's own, and for grants whose entry must be found without the name key.
    """
    used: list[str] = []

    def note(module: Any, name: str) -> None:
        function = getattr(module, name)

        def noting(*arguments: Any, **more: Any) -> Any:
            used.append(name)
            if name == "scrypt":
                assert more["n"] * more["r"] * 128 >= 1 << 24, "bytes of memory that make it slow"
            return function(*arguments, **more)

        monkeypatch.setattr(module, name, noting)

    note(hashlib, "scrypt")
    note(hmac, "digest")
    own = SharedCache(LockingCache())
    entry = own.entry_of(GRANT, own.memory.state(GRANT))
    assert entry is not None
    names = [
        *(_names(GRANT, None, tmp_path / directory)[0] for directory in ("a", "b", "b")),
        *(_names(GRANT, key)[0] for key in (KEY, OTHER_KEY)),
        *(_names(RefreshToken(URL, "client"), None, tmp_path / "a")[0], entry.names[0]),
    ]
    assert used == ["scrypt", *["digest"] * 5, "scrypt"]
    assert (names[1], len(set(names))) == (names[2], 6)
    assert all(name.isalnum() and "client" not in name for name in names)


def test_names_are_those_of_older_versions() -> None:
    """Entries of version 0.1.0 have the names that this version looks up; a secret that is not UTF-8 has one too."""
    assert EntryCipher(None).names("text") == ("3e6dd3996edb9723ef417a8a26043d2e750d9dd89c520d2301b13daa2f37c2c6",)
    assert EntryCipher(KEY).names("text") == ("424791764934b7c92208bc6152ea9e5d7baa9bd1e9fe2631e09b9c751bd30ccc",)
    assert EntryCipher(KEY).names("\udcff") != EntryCipher(KEY).names("\udcfe")


def test_a_name_costs_once(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The slow hash is computed once per process and secret, not for each token."""
    hashed = []

    def count(text: bytes, **_: Any) -> bytes:
        hashed.append(text)
        return bytes(32)

    monkeypatch.setattr(hashlib, "scrypt", count)
    tokens = process(LockingCache(), endpoint)
    for _ in range(5):
        tokens.token()
        expire(clock)
    assert len(hashed) == 1


# What can be read


_SECRETS = ["token-1", "refresh-1", "s3cr3t-of-the-client", "p4ssw0rd", "the-client-id", "the-user-name", "id.example"]
_SECRET_GRANT = Password(
    f"{URL}?code=s3cr3t-code", "the-user-name", "p4ssw0rd", "the-client-id", "s3cr3t-of-the-client", scope="a-scope"
)


@over(["files, key", "redis, key"])
def test_with_a_key_nothing_can_be_read(store: Store, rotating: Endpoint) -> None:
    """With a key, neither names nor values in the directory or in Redis show a token, or whom it is for."""
    process(store, rotating, _SECRET_GRANT).token()
    content = store.look()
    assert len(content) > 300
    assert [text for text in (*_SECRETS, "a-scope", "Password") if text.encode() in content] == []
    assert process(store, rotating, _SECRET_GRANT).token().refresh_token == "refresh-1"
    assert len(rotating.requests) == 1


@over(WITHOUT_KEY)
def test_without_a_key_an_entry_shows_no_secret_of_the_client(store: Store, rotating: Endpoint) -> None:
    """Without a key an entry shows the token and whom it is for, but no client secret, password or query."""
    process(store, rotating, _SECRET_GRANT).token()
    content = store.look()
    for text in ("token-1", "refresh-1", "the-client-id", "the-user-name", "https://id.example.com/token", "a-scope"):
        assert text.encode() in content
    assert b"s3cr3t" not in content
    assert b"p4ssw0rd" not in content


@pytest.mark.parametrize("name", [name for name in ALL if name not in OWN])
def test_entries_can_be_listed(name: str, request: pytest.FixtureRequest, rotating: Endpoint) -> None:
    """The list shows whom each entry is for, and which ones are damaged or were moved to another name."""
    place = store_of(name, request)
    tokens = process(place, rotating, _SECRET_GRANT)
    shared = tokens._shared
    assert shared is not None
    assert list_entries(shared) == []
    tokens.token()
    place.put("broken", b"{")
    place.put("moved", str(place.cache().get(name_of(tokens))).encode())
    [entry, *damaged] = sorted(list_entries(shared), key=lambda each: isinstance(each, str))
    assert damaged == [damaged[0]] * 2
    assert str(damaged[0]).startswith("damaged, or under ")
    assert isinstance(entry, StoredToken)
    assert entry.token == tokens.token()
    assert dict(entry.about) == {
        "grant": "Password",
        "token_url": URL,
        "client_id": "the-client-id",
        "username": "the-user-name",
        "scope": "a-scope",
    }


def test_an_entry_that_is_deleted_during_the_listing_is_left_out(
    files: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that another process deletes during the listing is left out."""
    tokens = process(files, endpoint)
    tokens.token()
    shared, names = tokens._shared, files.cache().names()
    assert shared is not None
    tokens.revoke()
    monkeypatch.setattr(FileCache, "names", lambda _: names)
    assert list_entries(shared) == []


def test_an_entry_from_before_the_key_is_listed_as_not_encrypted(tmp_path: Path, endpoint: Endpoint) -> None:
    """Entries that were stored before the cache had a key are listed as not encrypted."""
    process(FileCache(tmp_path), endpoint).token()
    assert list_entries(SharedCache(FileCache(tmp_path, key=Fernet.generate_key()))) == ["not encrypted"]


def test_a_prefix_is_taken_literally(redis_server: RedisServer) -> None:
    """Wildcards of Redis in a prefix match themselves only."""
    prefixes = ("a*:", "ab:", "a?:", "a[b]:", "a\\:", "a\\\\:")
    caches = [RedisCache(redis_server.url, prefix=prefix) for prefix in prefixes]
    for cache in caches:
        cache.set("name", "text", 60)
    assert [cache.names() for cache in caches] == [["name"]] * len(caches)


# Files


@needs_posix
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_their_owner_reads_the_files(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """Whatever the umask, only their owner reads the files, from the first byte on, and each new directory."""
    made: dict[str, int] = {}
    open_file = os.open

    def note(path: Any, *arguments: Any, **more: Any) -> int:
        descriptor = open_file(path, *arguments, **more)
        made.setdefault(Path(path).suffix, stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    monkeypatch.setattr(os, "open", note)
    before = os.umask(umask)
    try:
        process(in_files(tmp_path / "a" / "tokens"), endpoint).token()
    finally:
        os.umask(before)
    assert (made[".new"], made[".key"], made[".lock"]) == (0o600, 0o600, 0o600)
    modes = {(path.suffix, stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.glob("**/*")}
    assert modes == {("", 0o700), *((suffix, 0o600) for suffix in (".token", ".key", ".lock"))}


def test_what_a_killed_process_left_is_replaced(files: Store, endpoint: Endpoint, tmp_path: Path) -> None:
    """A half-written file of a killed process is replaced, and is never taken for a token."""
    tokens = process(files, endpoint)
    files.put("any", b"")
    left = tmp_path / "tokens" / f"{name_of(tokens)}.new"
    left.write_text('{"token"')
    assert tokens.token() == process(files, endpoint).token()
    assert (len(endpoint.requests), left.exists()) == (1, False)


def test_a_file_that_is_open_elsewhere_is_tried_again(
    files: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On Windows an operation fails while another process has the file open: it is tried again."""
    failures = {"open": 0, "replace": 0}

    def patched(name: str) -> Callable[..., Any]:
        function = getattr(os, name)

        def fail_twice(path: Any, *arguments: Any, **more: Any) -> Any:
            is_ours = str(path).endswith((".token", ".new")) and not (name == "open" and arguments[0] & os.O_CREAT)
            if is_ours and failures[name] < 2:
                failures[name] += 1
                raise PermissionError(errno.EACCES, "it is open elsewhere")
            failures[name] = 0
            return function(path, *arguments, **more)

        return fail_twice

    for name in failures:
        monkeypatch.setattr(os, name, patched(name))
    process(files, endpoint).token()
    process(files, endpoint).token()
    assert (len(endpoint.requests), logged(caplog)) == (1, [])


# Keys


def _with_key(store: Store, key: Any, server: RedisServer) -> Any:
    """Return the cache of a store, with another key."""
    cache = store.cache()
    return FileCache(cache._directory, key) if isinstance(cache, FileCache) else RedisCache(server.url, key=key)


@over(["files, key", "redis, key"])
def test_a_key_is_rotated(
    store: Store, endpoint: Endpoint, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """With a new key before the old one tokens are found; when they were replaced, the new key is enough."""

    def having(*keys: str) -> TokenSource:
        return process(_with_key(store, [*keys], redis_server), endpoint)

    new, old = Fernet.generate_key().decode(), KEY
    having(old).token()
    both = having(new, old)
    first = both.token()
    assert (first.access_token, len(endpoint.requests)) == ("token-1", 1)
    both.invalidate(first)
    assert both.token().access_token == "token-2"
    assert having(new).token().access_token == "token-2"
    assert having(new, old).token().access_token == "token-2"
    assert (len(endpoint.requests), logged(caplog)) == (2, [])
    assert having(old).token().access_token == "token-3", "the entry under the old key was deleted"
    assert len(logged(caplog)) == 1


def test_during_a_key_rotation_the_newest_token_is_used(endpoint: Endpoint, clock: Clock, tmp_path: Path) -> None:
    """Of two entries, one under the new key and one under the old key, the newer token is used."""
    both, old = in_files(tmp_path, key=[OTHER_KEY, KEY]), in_files(tmp_path, key=KEY)
    process(both, endpoint).token()
    clock.forward(1)
    assert process(old, endpoint).token().access_token == "token-2"
    assert process(both, endpoint).token().access_token == "token-2"
    clock.forward(1)
    tokens = process(both, endpoint)
    tokens.invalidate(tokens.token())
    assert tokens.token() == process(both, endpoint).token()
    assert len(list(tmp_path.glob("*.token"))) == 2, "the token, and the key check"
    assert len(endpoint.requests) == 3


@over(["files, key", "redis, key"])
def test_a_wrong_key_counts_as_no_token(
    store: Store, endpoint: Endpoint, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """A process with another key logs one warning; its entries and the others' do not disturb each other."""
    first = process(store, endpoint).token()
    other = _with_key(store, OTHER_KEY, redis_server)
    odd = process(other, endpoint)
    for grant in (GRANT, PASSWORD, _SECRET_GRANT):
        source(endpoint, grant, cache=other).token()
    expire(clock)
    odd.token()
    [warning] = logged(caplog)
    assert "another key" in warning
    assert "auth-plugins cache clear" in warning
    assert not any(key in warning for key in (KEY, OTHER_KEY))
    clock.forward(-3600)
    assert process(store, endpoint).token() == first
    assert len(logged(caplog)) == 1


def test_a_key_may_be_written_in_several_ways(tmp_path: Path) -> None:
    """Text or bytes, one or several, between commas or whitespace: caches with the same keys in order are equal."""

    def having(key: Any) -> FileCache:
        return FileCache(tmp_path, key=key)

    one, two = having(KEY), having([KEY, OTHER_KEY])
    assert one == having(KEY.encode()) == having(iter([KEY])) == having(f" {KEY}\n") != FileCache(tmp_path)
    assert (
        two == having(f"{KEY}, {OTHER_KEY}\n") == having(f"{KEY} {OTHER_KEY}") == having([KEY, OTHER_KEY, KEY.encode()])
    )
    assert two != having([OTHER_KEY, KEY]) != one


@pytest.mark.parametrize(
    "key",
    [
        *([], (), "", b"", "s3cr3t", KEY[:-4], KEY + KEY, KEY.replace(KEY[5], "!"), "ß" * 44, b"\xff" * 44),
        *([KEY, "s3cr3t"], [KEY, None], [None], 5, 1.5, True, object(), [[KEY]]),
    ],
    ids=shown,
)
@pytest.mark.parametrize("kind", [FileCache, lambda key: RedisCache("redis://host", key=key)], ids=["file", "redis"])
def test_an_invalid_key_is_refused(kind: Any, key: Any) -> None:
    """The error for a wrong key is raised when the cache is made; it says how to make a key, and does not show it."""
    with pytest.raises(ConfigurationError, match=r"^key must be a Fernet key, or several; make one by ") as caught:
        kind(key=key)
    assert "s3cr3t" not in str(caught.value)
    assert KEY[:8] not in str(caught.value)


# Damaged entries


#: Whom the entry of :data:`GRANT` is for.
ABOUT = {"grant": "ClientCredentials", "token_url": URL, "client_id": "client"}


def entry(about: Any = ABOUT, **members: Any) -> bytes:
    """Return an entry as version 0.1.0 stored it for GRANT, good for an hour, with other *members* of its token."""
    token = {
        "access_token": "stored",
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
    "no text": bytes(range(256)),
    "a list": b"[]",
    "no token": b'{"about": {}}',
    "token a list": b'{"token": [], "about": {}}',
    "no about": entry().replace(b'"about"', b'"other"'),
    "about a text": entry("x"),
    "deep": b"[" * 100_000,
    "a long number": entry(expires_at=1).replace(b'"expires_at": 1', b'"expires_at": ' + b"1" * 5000),
    "ends NaN": entry(expires_at=float("nan")),
    "ends beyond floats": entry(expires_at=1).replace(b'"expires_at": 1', b'"expires_at": 1e999'),
    "ends beyond integers": entry(expires_at=10**400),
    "ends in words": entry(expires_at="tomorrow"),
    "issued NaN": entry(issued_at=float("nan")),
    "issued null": entry(issued_at=None),
    "no access token": entry(access_token=None),
    "access token a number": entry(access_token=5),
    "access token of two lines": entry(access_token="a\r\nX-Evil: 1"),
    "access token not ASCII": entry(access_token="tökén"),
    "refresh token no text": entry(refresh_token="\ud800"),
    "scope a list": entry(scope=["a"]),
    "token type null": entry(token_type=None),
    "extra a list": entry(extra=[1]),
    "extra null": entry(extra=None),
}


def _assert_replaced(store: Store, tokens: TokenSource, endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """The entry of *tokens* counts as none: one request, one warning, and a whole entry replaces it."""
    assert tokens.token().access_token == "token-1"
    [warning] = logged(caplog)
    assert "damaged" in warning or "another key" in warning
    assert "stored" not in warning
    assert process(store, endpoint).token().access_token == "token-1"
    assert (len(endpoint.requests), len(logged(caplog))) == (1, 1)


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@over(["files", "redis", "redis, client that decodes", "own"])
def test_a_damaged_entry_counts_as_none(
    store: Store, content: bytes, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged entry costs one token request and one warning, and is replaced."""
    tokens = process(store, endpoint)
    store.put(name_of(tokens), content)
    _assert_replaced(store, tokens, endpoint, caplog)


@over(["files, key", "redis, key"])
@pytest.mark.parametrize(
    "content",
    [entry(), b"gAAAAA", bytes(range(256)), Fernet(OTHER_KEY).encrypt(entry())],
    ids=["in clear", "the beginning of one", "all bytes", "under another key"],
)
def test_an_entry_without_the_key_counts_as_none(
    store: Store, content: bytes, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """With a key, an entry that was written without it counts as none, even if it is good otherwise."""
    tokens = process(store, endpoint)
    store.put(name_of(tokens), content)
    _assert_replaced(store, tokens, endpoint, caplog)


def _cipher_of(store: Store) -> EntryCipher:
    return getattr(store.cache(), "_cipher", EntryCipher(None))


@over(ALL)
@pytest.mark.parametrize("named", [False, True], ids=["as 0.1.0 stored it", "with its name"])
def test_a_good_entry_is_used(store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, named: bool) -> None:
    """The entry that the damaged ones were made from is used."""
    tokens = process(store, endpoint)
    name = name_of(tokens)
    text = json.dumps({**json.loads(entry({})), "name": name}) if named else entry().decode()
    store.put(name, _cipher_of(store).encrypt(text, name).encode())
    assert (tokens.token().access_token, endpoint.requests, logged(caplog)) == ("stored", [], [])


EXTRA = {"instance_url": "https://a", "n": 5, "big": 2**80, "x": 1.5, "y": [None, True, {"id_token": "ü"}]}


@over(ALL)
def test_extra_members_are_stored(store: Store, endpoint: Endpoint) -> None:
    """``Token.extra`` is in the entry as it was in the answer, and is that of the process that finds it."""
    endpoint.script = [({"access_token": "tok", "expires_in": 3600, **EXTRA}, 200)]
    token = process(store, endpoint).token()
    found = process(store, endpoint).token()
    assert (found, found.extra, len(endpoint.requests)) == (token, EXTRA, 1)
    assert type(found.extra["n"]) is int
    assert (b"instance_url" in store.look()) is not bool(_cipher_of(store).keys)


@over(ALL)
@pytest.mark.parametrize("secret", ["s3cr3t", "0ther"])
def test_an_entry_of_another_grant_counts_as_damaged(
    store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, secret: str
) -> None:
    """An entry that was copied to another name is not used: another tenant's token stays there."""
    grant = ClientCredentials(URL, "client" if secret == "0ther" else "other", secret)
    mine, others = process(store, endpoint), process(store, endpoint, grant)
    others.token()
    store.put(name_of(mine), str(store.cache().get(name_of(others))).encode())
    assert mine.token().access_token == "token-2"
    [warning] = logged(caplog)
    assert "damaged" in warning
    assert process(store, endpoint).token() == mine.token()
    assert process(store, endpoint, grant).token() == others.token()
    assert len(endpoint.requests) == 2


@over([*FILES, "redis", "own"])
@pytest.mark.parametrize("about", [{}, {**ABOUT, "client_id": "other"}, {**ABOUT, "scope": "a"}], ids=shown)
def test_an_entry_without_a_name_is_used_by_its_grant_only(
    store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, about: Any
) -> None:
    """An entry of version 0.1.0, which has no name, is used only if it is for the same grant."""
    tokens = process(store, endpoint)
    store.put(name_of(tokens), _cipher_of(store).encrypt(entry(about).decode(), name_of(tokens)).encode())
    assert tokens.token().access_token == "token-1"
    assert process(store, endpoint).token() == tokens.token()
    assert "damaged" in "".join(logged(caplog))
    assert len(endpoint.requests) == 1


def test_a_damaged_entry_is_logged_once(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """An entry that is damaged again and again costs one warning."""
    cache = LockingCache()
    tokens = process(cache, endpoint)
    for _ in range(5):
        cache.entries[name_of(tokens)] = "{"
        tokens.invalidate(tokens.token())
    assert len(logged(caplog)) == 1


@pytest.mark.parametrize("issued_ago", [3600, -1000, -1e300, 1e300])
def test_an_expired_stored_token_is_not_used(endpoint: Endpoint, clock: Clock, issued_ago: float) -> None:
    """A stored token that has expired is not used, whenever it says that it was issued."""
    cache = LockingCache()
    tokens = process(cache, endpoint)
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
    "a pipe": getattr(os, "mkfifo", Path.touch),
    "too large": lambda path: path.write_bytes(entry() + b" " * (1 << 23)),
}


@needs_posix
@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_a_link_or_pipe_in_the_place_of_an_entry_counts_as_none(
    files: Store, make: Callable[[Path], Any], endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link or a pipe in the place of an entry is neither followed nor waited for, and is replaced."""
    tokens = process(files, endpoint)
    path = tmp_path / "tokens" / f"{name_of(tokens)}.token"
    make(path)
    _assert_replaced(files, tokens, endpoint, caplog)
    assert path.is_file()
    assert not path.is_symlink()
    elsewhere = path.with_name("elsewhere")
    assert not elsewhere.exists() or elsewhere.read_bytes().count(b"stored") == 1, "the link was not written through"


def test_a_directory_in_the_place_of_an_entry_costs_no_request(
    files: Store, endpoint: Endpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory in the place of an entry cannot be replaced: a warning says so, and each process gets its token."""
    tokens = process(files, endpoint)
    (tmp_path / "tokens" / f"{name_of(tokens)}.token").mkdir(parents=True)
    assert tokens.token().access_token == "token-1"
    assert process(files, endpoint).token().access_token == "token-2"
    assert {"damaged" in text or "out of order" in text for text in logged(caplog)} == {True}


@needs_posix
@pytest.mark.parametrize("whose", ["another user's", "not readable"])
def test_a_foreign_file_counts_as_none(
    files: Store,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    whose: str,
) -> None:
    """A file of another user, or one that cannot be read, in the place of an entry is not used, and is replaced."""
    tokens = process(files, endpoint)
    files.put(name_of(tokens), entry())
    status, open_file = os.fstat, os.open
    entry_file = (tmp_path / "tokens" / f"{name_of(tokens)}.token").stat()

    def of_another_user(descriptor: int) -> os.stat_result:
        values = list(status(descriptor))
        values[4] += values[1] == entry_file.st_ino
        return os.stat_result(values)

    def refuse(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if str(path).endswith(".token"):
            raise PermissionError(errno.EACCES, "forbidden")
        return open_file(path, flags, *arguments, **more)

    with monkeypatch.context() as patch:
        if whose == "not readable":
            patch.setattr(os, "open", refuse)
        else:
            patch.setattr(os, "fstat", of_another_user)
        tokens.token()
    _assert_replaced(files, tokens, endpoint, caplog)
