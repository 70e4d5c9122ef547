"""Caches as arguments: what is refused at once; pickles, copies and equality."""

from __future__ import annotations

import copy
import importlib
import itertools
import pickle
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis
import redis.asyncio
import requests

import auth_plugins.requests
from auth_plugins import (
    ClientCredentials,
    ConfigurationError,
    FileCache,
    InsecureTransportError,
    MemoryCache,
    Password,
    RedisCache,
    TokenSource,
    TokenTransportError,
)
from tests.support import stores
from tests.support.drivers import SYNC, SyncDriver, each
from tests.support.loopback import Loopback, as_json
from tests.support.redis_server import RedisServer
from tests.support.sources import URL, Endpoint
from tests.support.stores import Store, forget, over, process, shown

GRANT = ClientCredentials(URL, "client", "s3cr3t")
OURS = ["files", "files, key", "redis", "redis, key", "keyring"]


# Pickles


def _pickled(value: Any) -> Any:
    data = pickle.dumps(value)
    assert b"token-1" not in data
    assert b"refresh-1" not in data
    return pickle.loads(data)


copies = pytest.mark.parametrize("copied", [_pickled, copy.deepcopy, copy.copy], ids=["pickle", "deepcopy", "copy"])


@copies
@pytest.mark.parametrize("driver", each(SYNC))
def test_an_auth_pickles_to_its_configuration(
    driver: SyncDriver, copied: Any, server: Loopback, grant: ClientCredentials, tmp_path: Path
) -> None:
    """A copy of an auth object has its configuration, and no token; it finds the token in the shared cache."""
    server.api = lambda _: as_json({})
    auth = driver.auth(
        grant, cache=FileCache(tmp_path), allowed_hosts=["127.0.0.1"], header="X-Token", scheme="Token", allow_http=True
    )
    driver.get(server.api_url, auth)
    forget()
    copied_auth = copied(auth)
    assert type(copied_auth) is type(auth)
    assert copied_auth.source.grant == grant
    assert (copied_auth._allow_http, copied_auth._hosts.patterns) == (True, ("127.0.0.1",))
    driver.get(server.api_url, copied_auth)
    assert [received.headers["x-token"] for received in server.api_requests] == ["Token token-1"] * 2
    assert len(server.token_requests) == 1


@copies
@over(OURS)
def test_a_source_pickles_to_its_configuration(store: Store, copied: Any, rotating: Endpoint) -> None:
    """A copy of a TokenSource, alone or in an auth, has its configuration, an equal cache, and no token."""
    tokens = process(store, rotating, Password(URL, "me", "pw"), leeway=7, timeout=3, refresh_ahead=False)
    first = tokens.token()
    for given in (tokens, importlib.import_module("auth_plugins.requests").OAuth2Auth(tokens)):
        forget()
        result = copied(given)
        source = result if given is tokens else result.source
        assert (source.grant, source._given_cache, source._timeout) == (tokens.grant, store.cache(), 3)
        assert source._schedule == tokens._schedule == (7.0, False)
        assert source.token() == first
    assert len(rotating.requests) == 1


@copies
@over(OURS[:-1])
def test_a_cache_pickles_to_its_configuration(store: Store, copied: Any) -> None:
    """A copy of a cache is equal to it, and decrypts the same entries."""
    cache = store.cache()
    cache.set("name", cache._cipher.encrypt("text", "name"), 60)
    result = copied(cache)
    assert (result, hash(result), repr(result)) == (cache, hash(cache), repr(cache))
    assert result._cipher.decrypt(result.get("name"), "name") == "text"


@copies
def test_a_copy_of_a_redis_cache_has_its_password_and_prefix(copied: Any) -> None:
    """A copy of a RedisCache is the same cache: it connects with the same password, and has the same prefix."""
    cache = RedisCache("redis://me:p4ssword@host:6379/1", prefix="mine:")
    result = copied(cache)
    assert result == cache
    assert result._redis.open().get_connection_kwargs() == cache._redis.open().get_connection_kwargs()


@copies
@pytest.mark.parametrize("kind", [None, MemoryCache], ids=["no cache", "memory"])
@pytest.mark.parametrize("driver", each(SYNC))
def test_memory_stays_in_its_process(
    driver: SyncDriver, kind: Any, copied: Any, server: Loopback, grant: ClientCredentials
) -> None:
    """Without a shared cache a copied auth starts with an empty memory, unless it uses the one of its process."""
    cache = kind and kind()
    auth = driver.auth(grant, cache=cache)
    auth.source.token()
    copied_auth = copied(auth)
    assert copied_auth.source.grant == grant
    is_shared = cache is None or copied is copy.copy
    assert copied_auth.source.token().access_token == ("token-1" if is_shared else "token-2")


def test_a_session_of_requests_is_pickled_too(server: Loopback, grant: ClientCredentials) -> None:
    """A session of requests is part of a pickled auth: its copy sends the token requests of the copy."""
    from auth_plugins.requests import OAuth2Auth

    with requests.Session() as session:
        session.headers["X-Proxy"] = "mine"
        copied = _pickled(OAuth2Auth(grant, session=session))
    copied.source.token()
    assert server.token_requests[0].headers["x-proxy"] == "mine"


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_open_connections_do_not_pickle(library: str, copied: Any, redis_server: RedisServer) -> None:
    """An auth with a client of httpx or of Redis does not pickle; the error says what to do."""
    make = importlib.import_module(f"auth_plugins.{library}").OAuth2Auth
    with importlib.import_module(library).Client() as client:
        auth = make(GRANT, client=client)
        with pytest.raises(ConfigurationError, match="pickle; make the auth where it is used"):
            copied(auth)
    with redis_server.client() as connected:
        cache = RedisCache(connected)
        for value in (cache, TokenSource(GRANT, cache=cache), make(GRANT, cache=cache)):
            with pytest.raises(ConfigurationError, match="does not pickle; give it a URL"):
                copied(value)


# Arguments


@pytest.mark.parametrize("path", ["", " ", b"tokens", 5, True, ["tokens"], object()], ids=shown)
def test_an_invalid_path_is_refused(path: Any) -> None:
    """A FileCache needs the path of a directory."""
    with pytest.raises(ConfigurationError, match=r"^path must be the path of a directory, got "):
        FileCache(path)


def test_the_directory_of_a_file_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default is in the user's cache directory; ~ is the home directory; a relative path stays where it was."""
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert FileCache() == FileCache("auth-plugins") == FileCache("~/auth-plugins") == FileCache(Path("auth-plugins"))
    relative, pickled = FileCache("auth-plugins"), pickle.dumps(FileCache())
    monkeypatch.chdir("/")
    assert relative == FileCache() != FileCache("auth-plugins")
    assert "auth-plugins" in repr(relative)
    assert list(tmp_path.iterdir()) == [], "no directory is made before there is a token"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, appauthor: tmp_path / "of another user" / name)
    assert "of another user" in repr(pickle.loads(pickled))


def test_a_missing_home_directory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the user has no home directory, as in some containers, ~ is an error when the cache is made."""

    def fail(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    with pytest.raises(ConfigurationError, match="path is in a home directory, which this user does not have; give "):
        FileCache("~/tokens")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis://",
        "redis://:s3cr3t@host:0",
        "redis://:s3cr3t@host:port",
        "redis://:s3cr3t@[::1",
        "redis://user:s3/cr3t@host",
        "redis://user:12?s3cr3t@host:6379/0",
        "redis://user:12#s3cr3t@host:6379/0",
        "http://:s3cr3t@host",
        "unix://:s3cr3t@",
        "REDIS+TLS://:s3cr3t@host",
    ],
)
def test_an_invalid_url_of_redis_is_refused(url: str) -> None:
    """A URL without a place, or with a password that is not percent-encoded, is an error that does not show it."""
    with pytest.raises(ConfigurationError, match="url_or_client must be a URL of Redis, such as ") as caught:
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
    """The repr of a RedisCache shows the place without the password."""
    shown = repr(RedisCache(url))
    assert "host" in shown or "::1" in shown or "/run/redis.sock" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    "client", [None, 5, object(), b"redis://host", {"url": "s3cr3t"}, RedisServer, redis.asyncio.Redis()], ids=shown
)
def test_an_invalid_client_of_redis_is_refused(client: Any) -> None:
    """A RedisCache needs a URL or a client, which must not be one for asyncio."""
    with pytest.raises(ConfigurationError, match="or a synchronous client of redis-py, got ") as caught:
        RedisCache(client)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", None, 5, b"a:", "a{b}:", "{", "}"], ids=shown)
def test_an_invalid_prefix_is_refused(prefix: Any) -> None:
    """A prefix must not be empty, and has no braces, which have a meaning in a cluster."""
    with pytest.raises(ConfigurationError, match="prefix must be a text without braces, such as "):
        RedisCache("redis://host", prefix=prefix)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py, a RedisCache says how to install it when it is made."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'auth-plugins\[redis\]'"):
        RedisCache("redis://host")


def test_an_invalid_option_of_redis_is_refused() -> None:
    """An option in the URL that redis-py refuses is an error when the cache is made; it does not show the password."""
    with pytest.raises(ConfigurationError, match="url_or_client was refused by redis-py") as caught:
        RedisCache("redis://:s3cr3t@host/0?socket_timeout=soon")
    assert "s3cr3t" not in repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "cache", ["redis://:s3cr3t@host", "file", {"key": "s3cr3t"}, FileCache, MemoryCache, 5, True, object()], ids=shown
)
def test_an_invalid_cache_is_refused(cache: Any) -> None:
    """A URL, a word or a class is not a cache; the error does not show it."""
    from auth_plugins.requests import OAuth2Auth

    for make in (TokenSource, OAuth2Auth):
        with pytest.raises(ConfigurationError, match=r"^cache .*; give a FileCache") as caught:
            make(GRANT, cache=cache)
        assert "s3cr3t" not in str(caught.value)


def test_caches_are_equal_by_their_configuration(tmp_path: Path) -> None:
    """Caches of the same kind, place, prefix and key are equal, and share their connections; others are not."""
    assert FileCache(tmp_path) == FileCache(str(tmp_path))
    assert RedisCache("redis://host") == RedisCache("redis://host", prefix="auth_plugins:")
    others = [FileCache(tmp_path), RedisCache("redis://host"), RedisCache("redis://host", "a:"), str(tmp_path), None]
    others += [RedisCache("redis://:password@host"), RedisCache("redis://host", key=stores.KEY)]
    assert all(one != other for one, other in itertools.combinations(others, 2))
    assert "redis://host" in repr(RedisCache("redis://host"))
    assert "Redis>" in repr(RedisCache(redis.Redis()))
    one, other = RedisCache("redis://host/0"), RedisCache("redis://host/0", key=stores.KEY)
    assert one._redis.open() is other._redis.open()


def test_allow_http_of_an_auth_holds_for_the_users_own_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """``allow_http=True`` lets the token requests of a given source go to ``http://`` as well."""

    def no_name(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(socket, "getaddrinfo", no_name)
    tokens = TokenSource(ClientCredentials("http://id.example.com/token", "client", "s3cr3t"), timeout=0.1)
    with pytest.raises(InsecureTransportError):
        tokens.token()
    auth = auth_plugins.requests.OAuth2Auth(tokens, allow_http=True)
    with pytest.raises(TokenTransportError):
        auth.source.token()
