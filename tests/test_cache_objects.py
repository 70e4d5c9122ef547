"""Caches as arguments: what is none is told at once; pickles, copies and equality."""

from __future__ import annotations

import copy
import importlib
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import requests
from cryptography.fernet import Fernet

from auth_plugins import (
    ClientCredentials,
    ConfigurationError,
    FileCache,
    MemoryCache,
    Password,
    RedisCache,
    TokenSource,
)

from . import stores
from .conftest import forget
from .drivers import ALL as DRIVERS
from .loopback import Loopback, as_json
from .redis_server import RedisServer
from .stores import (
    Store,
    over,
    process,
    shown,
)
from .test_source import URL, Endpoint

endpoint, rotating, files, store, quick_names = (
    stores.endpoint,
    stores.rotating,
    stores.files,
    stores.store,
    stores.quick_names,
)
GRANT = ClientCredentials(URL, "client", "s3cr3t")


# Pickles


def _auth(library: str, given: Any, **arguments: Any) -> Any:
    return importlib.import_module(f"auth_plugins.{library}").OAuth2Auth(given, **arguments)


def _pickled(value: Any) -> Any:
    data = pickle.dumps(value)
    assert b"token-1" not in data
    assert b"refresh-1" not in data
    return pickle.loads(data)


_COPIES = {"pickle": _pickled, "deepcopy": copy.deepcopy, "copy": copy.copy}


@pytest.mark.parametrize("copied", _COPIES.values(), ids=_COPIES)
@over(["files", "files, key", "redis", "redis, key"])
@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_an_auth_pickles_to_its_configuration(
    library: str, store: Store, copied: Any, server: Loopback, grant: ClientCredentials
) -> None:
    """I hand my auth object to another process: no token goes along, but all that finds it, as I configured it."""
    driver = next(each for each in DRIVERS if (each.library, each.mode) == (library, "sync"))
    server.api = lambda _: as_json({})
    auth = _auth(
        library,
        grant,
        cache=store.cache(),
        allowed_hosts=["127.0.0.1"],
        header="X-Token",
        scheme="Token",
        allow_http=True,
        leeway=7,
        timeout=3,
        refresh_ahead=False,
    )
    driver.get(server.api_url, auth)
    forget()
    twin = copied(auth)
    assert type(twin) is type(auth)
    assert twin.source.grant == grant
    assert twin.source._shared.cache == store.cache()
    assert (twin._allow_http, twin.source._allow_http, twin._hosts.patterns) == (
        True,
        True,
        ("127.0.0.1",),
    )
    assert (twin.source._schedule[0], twin.source._timeout, twin.source._refresh_ahead) == (
        7,
        3,
        False,
    )
    driver.get(server.api_url, twin)
    assert [received.headers["x-token"] for received in server.api_requests] == ["Token token-1"] * 2
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("copied", _COPIES.values(), ids=_COPIES)
@over(["files", "files, key", "redis", "redis, key"])
def test_a_source_pickles_to_its_configuration(store: Store, copied: Any, rotating: Endpoint) -> None:
    """So does a source that I made by hand, in an auth or without one; what is installed sends for it."""
    grant = Password(URL, "me", "pw")
    tokens = process(store, rotating, grant, leeway=7, timeout=3, refresh_ahead=False)
    tokens._allow_http = True
    first = tokens.token()
    forget()
    twin = copied(tokens)
    assert (twin.grant, twin._schedule[0], twin._timeout, twin._refresh_ahead) == (
        grant,
        7,
        3,
        False,
    )
    assert twin._allow_http is True
    assert twin._transport is None
    assert twin.token() == first
    forget()
    auth = copied(_auth("requests", tokens))
    assert auth.source.token() == first
    assert len(rotating.requests) == 1


@pytest.mark.parametrize("copied", _COPIES.values(), ids=_COPIES)
@over(["files", "files, key", "redis", "redis, key"])
def test_a_cache_pickles_to_its_configuration(store: Store, copied: Any) -> None:
    """A cache of ours goes to another process by where it is, and its keys: it is equal, and reads what lies there."""
    cache = store.cache()
    cache.set("name", cache._seal.close("text", "name"), 60)
    twin = copied(cache)
    assert (twin, hash(twin), repr(twin)) == (cache, hash(cache), repr(cache))
    assert twin._seal.open(twin.get("name"), "name") == "text"


@pytest.mark.parametrize("copied", _COPIES.values(), ids=_COPIES)
@pytest.mark.parametrize("kind", [None, MemoryCache], ids=["no cache", "memory"])
@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_memory_stays_where_it_is(
    library: str, kind: Any, copied: Any, server: Loopback, grant: ClientCredentials
) -> None:
    """Without a shared cache no token goes along: another process starts with an empty memory."""
    cache = kind and kind()
    auth = _auth(library, grant, cache=cache)
    auth.source.token()
    twin = copied(auth)
    assert twin.source.grant == grant
    if cache is None or copied is copy.copy:
        assert twin.source._cache is auth.source._cache, "it is this process's own"
    else:
        assert twin.source.token().access_token == "token-2"


def test_a_session_of_requests_goes_along(server: Loopback, grant: ClientCredentials) -> None:
    """My session sends the token requests: it pickles, and so does an auth that has one; the copy sends by its copy."""
    with requests.Session() as session:
        session.headers["X-Proxy"] = "mine"
        twin = _pickled(_auth("requests", grant, session=session))
    twin.source.token()
    assert server.token_requests[0].headers["x-proxy"] == "mine"


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_what_holds_connections_says_that_it_cannot(library: str, copied: Any, redis_server: RedisServer) -> None:
    """A client of httpx or of Redis is of this process: I am told so, and what to do, where I pickle what has one."""
    grant = ClientCredentials(URL, "client", "s3cr3t")
    with importlib.import_module(library).Client() as client:
        auth = _auth(library, grant, client=client)
        with pytest.raises(ConfigurationError, match="doesn't pickle; make the auth where it is used"):
            copied(auth)
    with redis_server.client() as connected:
        cache = RedisCache(connected)
        for value in (cache, TokenSource(grant, cache=cache), _auth(library, grant, cache=cache)):
            with pytest.raises(ConfigurationError, match="doesn't pickle; give it a URL"):
                copied(value)


# Arguments


@pytest.mark.parametrize("path", ["", " ", b"tokens", 5, True, ["tokens"], object()], ids=shown)
def test_what_is_no_path_is_told_at_once(path: Any) -> None:
    """A FileCache wants a directory's path."""
    with pytest.raises(ConfigurationError, match="path is empty, or of type"):
        FileCache(path)


def test_where_a_file_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default below my cache directory; ~ is my home; a path may be relative, and stays where it was made."""
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert FileCache() == FileCache("auth-plugins") == FileCache("~/auth-plugins") == FileCache(Path("auth-plugins"))
    relative = FileCache("auth-plugins")
    monkeypatch.chdir("/")
    assert relative == FileCache() != FileCache("auth-plugins")
    assert "auth-plugins" in repr(relative)
    assert list(tmp_path.iterdir()) == [], "nothing is made before there is a token"


def test_without_a_home_directory_i_am_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user has no home, ~ leads nowhere: I am told when the cache is made."""

    def fail(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    with pytest.raises(ConfigurationError, match="home directory that isn't known"):
        FileCache("~/tokens")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:6379",
        "redis://",
        "redis:///0",
        "redis://:s3cr3t@",
        "redis://:s3cr3t@:6379/0",
        "redis://:s3cr3t@host:0",
        "redis://:s3cr3t@host:port",
        "redis://:s3cr3t@host:99999",
        "redis://:s3cr3t@[::1",
        "redis://user:s3/cr3t@host",
        "redis://user:12/s3cr3t@host:6379/0",
        "redis://user:12?s3cr3t@host:6379/0",
        "redis://user:12#s3cr3t@host:6379/0",
        "http://:s3cr3t@host",
        "unix://:s3cr3t@",
        "file:///s3cr3t",
        "REDIS+TLS://:s3cr3t@host",
    ],
)
def test_what_is_no_url_of_redis_is_told_at_once(url: str) -> None:
    """A URL that leads nowhere, as with a password that is not percent-encoded: I am told, and don't see it again."""
    with pytest.raises(ConfigurationError, match="this is no URL of Redis") as caught:
        RedisCache(url)
    assert "s3cr3t" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:s3cr3t@host:6379/0",
        "redis://:s3cr3t@host",
        "rediss://me:s3cr3t@[::1]:6379/1",
        "redis://host/0?password=s3cr3t&username=me",
        "unix://me:s3cr3t@/run/redis.sock?db=1",
        "unix:///run/redis.sock?password=s3cr3t",
    ],
)
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    """I print the cache, and see where it is, without the password."""
    shown = repr(RedisCache(url))
    assert "host" in shown or "::1" in shown or "/run/redis.sock" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("client", [None, 5, object(), b"redis://host", {"url": "s3cr3t"}, RedisServer], ids=shown)
def test_what_is_no_client_of_redis_is_told_at_once(client: Any) -> None:
    """A RedisCache wants a URL, or a client."""
    with pytest.raises(ConfigurationError, match="is no client of redis-py") as caught:
        RedisCache(client)
    assert "s3cr3t" not in str(caught.value)


def test_a_client_of_an_event_loop_is_refused() -> None:
    """The cache is used in threads: a client of redis.asyncio would never be awaited, and I am told so."""
    with pytest.raises(ConfigurationError, match="belongs to an event loop"):
        RedisCache(redis.asyncio.Redis())


@pytest.mark.parametrize("prefix", ["", None, 5, b"a:", "a{b}:", "{", "}"], ids=shown)
def test_what_is_no_prefix_is_told_at_once(prefix: Any) -> None:
    """Braces have a meaning of their own in a cluster, and without any prefix names would be anybody's."""
    with pytest.raises(ConfigurationError, match="prefix is empty, no text, or has a brace in it"):
        RedisCache("redis://host", prefix=prefix)


def test_without_its_library_a_redis_cache_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """redis-py is not installed: I am told how to get it, when the cache is made, and not by a request."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'auth-plugins\[redis\]'"):
        RedisCache("redis://host")


@pytest.mark.parametrize(
    "cache", ["redis://:s3cr3t@host", "file", {"key": "s3cr3t"}, FileCache, MemoryCache, 5, True, object()], ids=shown
)
@pytest.mark.parametrize("made", [TokenSource, lambda *given, **more: _auth("requests", *given, **more)])
def test_what_is_no_cache_is_told_at_once(made: Any, cache: Any) -> None:
    """A cache is an object: a URL, a word or a class is none, and the error doesn't show what it was."""
    with pytest.raises(ConfigurationError, match=r"^cache must be .*; give a FileCache") as caught:
        made(GRANT, cache=cache)
    assert "s3cr3t" not in str(caught.value)


def test_caches_of_other_kinds_are_not_equal(tmp_path: Path) -> None:
    """Caches are equal by what they are and where, and to nothing else."""
    assert FileCache(tmp_path) == FileCache(str(tmp_path))
    assert RedisCache("redis://host") == RedisCache("redis://host", prefix="auth_plugins:")
    others = [FileCache(tmp_path), RedisCache("redis://host"), RedisCache("redis://host", "a:"), str(tmp_path), None]
    assert all(one != other for one, other in itertools.combinations(others, 2))
    assert "redis://host" in repr(RedisCache("redis://host"))
    assert "Redis>" in repr(RedisCache(redis.Redis()))


def test_an_option_that_redis_does_not_take() -> None:
    """My URL has an option that redis-py refuses: I am told when I make the cache, and the password isn't."""
    with pytest.raises(ConfigurationError, match="redis-py takes no such URL") as caught:
        RedisCache("redis://:s3cr3t@host/0?socket_timeout=soon")
    assert "s3cr3t" not in repr(caught.value)
    assert caught.value.__context__ is None


def test_caches_of_one_url_share_their_connections() -> None:
    """I make a cache for each task, from variables: that opens no connection of its own."""
    one, other = RedisCache("redis://host/0"), RedisCache("redis://host/0", key=Fernet.generate_key())
    assert one._redis.open() is other._redis.open()
