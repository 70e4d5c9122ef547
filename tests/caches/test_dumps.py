"""Dumps of a cache show no secret: neither its attributes, nor the variables of frames that an error passes."""

from __future__ import annotations

import functools
import hashlib
import hmac
import inspect
import io
import json
import logging
import math
import os
import pprint
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import rich
import rich.console
from cryptography.fernet import Fernet, MultiFernet

from auth_plugins import (
    ClientCredentials,
    ConfigurationError,
    FileCache,
    Password,
    RedisCache,
    SecretFile,
    TokenSource,
)
from auth_plugins._cli.listing import list_entries
from tests.support import stores
from tests.support.frames import PACKAGE, variables_in, variables_of
from tests.support.loopback import Clock
from tests.support.posix import needs_posix
from tests.support.sources import URL, Endpoint
from tests.support.stores import ALL, KEY, OTHER_KEY, LockingCache, Store, forget, name_of, over, process, shown

PASSWORD_OF_REDIS = "p4ss-of-redis"
SECRETS = (KEY, OTHER_KEY, PASSWORD_OF_REDIS, "token-1", "token-2", "refresh-1", "refresh-2", "s3cr3t-of-the-client")


# Attributes


def _caches(client: redis.Redis) -> list[Any]:
    url = f"redis://me:{PASSWORD_OF_REDIS}@host:6379/0"
    return [
        RedisCache(url),
        RedisCache(f"unix:///run/redis.sock?password={PASSWORD_OF_REDIS}", key=KEY),
        RedisCache(url, key=[KEY, OTHER_KEY]),
        RedisCache(client, key=KEY.encode()),
        FileCache("tokens", key=KEY),
        FileCache("tokens", key=[KEY, OTHER_KEY]),
    ]


def _inspected(value: object) -> str:
    console = rich.console.Console(file=io.StringIO(), width=10_000)
    rich.inspect(value, console=console, private=True, dunder=True, all=True, value=True)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


DUMPS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "vars": lambda cache: repr(vars(cache)),
    "pprint": lambda cache: pprint.pformat(vars(cache)),
    "getmembers": lambda cache: repr(inspect.getmembers(cache)),
    "rich": _inspected,
}


class _ClientThatShows(redis.Redis):
    """A client whose repr shows its password, as in some versions of redis-py."""

    def __repr__(self) -> str:
        return f"Redis(password={PASSWORD_OF_REDIS})"


@pytest.mark.parametrize("dump", DUMPS.values(), ids=DUMPS)
def test_a_dump_of_a_cache_shows_neither_password_nor_key(dump: Callable[[Any], str]) -> None:
    """Tools that print a cache and its attributes show neither the password in the URL nor a key."""
    for cache in _caches(_ClientThatShows(password=PASSWORD_OF_REDIS)):
        for each in (
            cache,
            cache._cipher,
            *vars(cache).values(),
            TokenSource(ClientCredentials(URL, "id", "s"), cache=cache),
        ):
            if hasattr(each, "__dict__"):
                text = dump(each)
                assert not [secret for secret in SECRETS if secret in text], text


# Variables of frames


def _leaks(variables: str, *more: str) -> list[str]:
    """Return the secrets that variables show."""
    return [secret for secret in (*SECRETS, *more) if secret in variables]


def _name_keys(store: Store) -> list[str]:
    """Return the name key of a store that has one."""
    name_key = getattr(store.cache(), "name_key", None)
    return [str(name_key())] if name_key else []


class Interruption(BaseException):
    """An exception that a signal handler may raise anywhere, as Ctrl-C and the time limits of job queues do."""


_GRANT = Password(URL, "me", "pa55-of-me", "client", "s3cr3t-of-the-client")


def _interrupt(*_: Any, **__: Any) -> Any:
    raise Interruption


#: Where the interruption happens, by an object and its function.
PLACES: dict[str, tuple[Any, str]] = {
    "while the name is made": (hashlib, "scrypt"),
    "while the identity is dumped": (json, "dumps"),
    "while an entry is read": (json, "loads"),
    "while an entry is checked": (math, "isfinite"),
    "while an entry is encrypted": (MultiFernet, "encrypt"),
    "while an entry is decrypted": (MultiFernet, "decrypt"),
    "while the name is made with a key": (hmac, "digest"),
    "while a file is written": (os, "fsync"),
    "while a file is renamed": (os, "replace"),
    "while Redis is asked": (redis.Redis, "execute_command"),
}


@pytest.mark.parametrize("place", PLACES)
@over([*ALL, "own without a lock"])
def test_no_variable_of_our_frames_shows_a_secret(
    store: Store, place: str, rotating: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an exception passes through a cache, no variable of our frames shows a token, a key or a secret."""
    process(store, rotating, _GRANT).token()
    found, asked = (
        process(store, rotating, _GRANT),
        process(store, rotating, ClientCredentials(URL, "other", SECRETS[-1])),
    )
    errors = []
    with monkeypatch.context() as patch:
        patch.setattr(*PLACES[place], _interrupt)
        for tokens in (found, asked):
            forget()
            assert tokens._shared is not None
            for step in (tokens.token, functools.partial(list_entries, tokens._shared), tokens.revoke):
                try:
                    step()
                except (Interruption, AttributeError) as error:  # a cache of a user's own cannot be listed
                    errors.append(error)
    assert [leak for error in errors for leak in _leaks(variables_of(error, "_caches"), *_name_keys(store))] == []


@pytest.mark.parametrize("place", ["while a file is written", "while a file is read", "while Redis is asked"])
@over(["files", "redis"])
def test_no_variable_shows_a_name_key_that_is_made(
    store: Store, place: str, rotating: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the process that makes the name key is interrupted, no variable or attribute of ours shows it."""
    tokens = process(store, rotating, _GRANT)
    assert tokens._shared is not None
    monkeypatch.setattr(secrets, "token_hex", lambda count: "5e" * count)
    variables = ""
    try:
        with monkeypatch.context() as patch:
            patch.setattr(*{**PLACES, "while a file is read": (os, "read")}[place], _interrupt)
            tokens.token()
    except Interruption as error:
        variables = variables_of(error, "_caches")
    assert _leaks(variables, "5e" * 32) == []
    assert tokens._shared.name_key() == "5e" * 32
    assert _leaks(repr(vars(tokens._shared.cache)), "5e" * 32) == []


class Interrupting(LockingCache):
    """A cache of a user's own that is interrupted."""

    at = ""

    def get(self, key: str) -> str | None:
        return self.then("get", super().get(key))

    def set(self, key: str, value: str, ttl: float) -> None:
        assert type(value) is str, "a store may take nothing else"
        super().set(key, value, ttl)
        self.then("set", None)

    def delete(self, key: str) -> None:
        super().delete(key)
        self.then("delete", None)

    def then(self, what: str, result: Any) -> Any:
        if what == self.at:
            raise Interruption
        return result


@pytest.mark.parametrize("at", ["get", "set", "delete"])
def test_no_variable_shows_a_secret_when_a_users_cache_is_interrupted(at: str, rotating: Endpoint) -> None:
    """The same holds for a cache of a user's own, which gets a plain str."""
    cache = Interrupting()
    tokens = process(cache, rotating, _GRANT)
    tokens.invalidate(tokens.token())
    cache.at = at
    with pytest.raises(Interruption) as caught:
        tokens.revoke() if at == "delete" else tokens.token()
    assert _leaks(variables_of(caught.value, "_caches")) == []


class _Looking(logging.Handler):
    """Searches the variables of all frames at each log record, as Sentry's attach_stacktrace does."""

    def __init__(self) -> None:
        super().__init__()
        self.leaks: list[str] = []
        self.warnings = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings += record.levelno >= logging.WARNING
        self.leaks += _leaks(variables_in((info.frame for info in inspect.stack(0)), "_caches"))


@pytest.fixture
def looking() -> Iterator[_Looking]:
    handler, logger = _Looking(), logging.getLogger("auth_plugins")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@needs_posix
def test_no_variable_shows_a_secret_when_a_warning_is_logged(
    rotating: Endpoint, looking: _Looking, clock: Any, tmp_path: Path
) -> None:
    """No variable on the stack shows a token when a warning is logged."""
    for store in (stores.in_files(tmp_path / "a"), stores.in_files(tmp_path / "b", key=KEY)):
        tokens = process(store, rotating, _GRANT)
        tokens.token()
        # An entry that is damaged, but the token can still be read.
        entry = store.cache().get(name_of(tokens))
        store.put(name_of(tokens), entry.encode()[:-1] + b" ")
        process(store, rotating, _GRANT).token()
        # An outage that ends.
        (store.cache()._directory).chmod(0o777)
        tokens = process(store, rotating, _GRANT)
        tokens.token()
        (store.cache()._directory).chmod(0o700)
        clock.forward(3600)
        tokens.token()
    # Another key.
    process(stores.in_files(tmp_path / "b", key=OTHER_KEY), rotating, _GRANT).token()
    assert looking.warnings >= 7
    assert looking.leaks == []


def test_no_variable_shows_a_secret_of_an_error_that_quotes_it(
    rotating: Endpoint, looking: _Looking, clock: Clock
) -> None:
    """No frame shows the exception of a user's own cache that quotes the entry, as those of SQL libraries do."""

    class Quoting(LockingCache):
        def set(self, key: str, value: str, ttl: float) -> None:
            raise ValueError(value)

        def delete(self, key: str) -> None:
            raise ValueError("token-1")

    tokens = process(Quoting(), rotating, _GRANT)
    tokens.token()
    clock.forward(6)
    tokens.revoke()
    assert looking.warnings == 2
    assert looking.leaks == []


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: RedisCache(f"redis://me:{PASSWORD_OF_REDIS}@host:port"), "a URL of Redis"),
        (lambda: RedisCache(f"redis://me:{PASSWORD_OF_REDIS}@host/0?socket_timeout=soon"), "refused by redis-py"),
        (lambda: RedisCache(f"redis://me:{PASSWORD_OF_REDIS}@host", prefix="{", key=KEY), "prefix"),
        (lambda: RedisCache("redis://host", key=[KEY, f"{OTHER_KEY}="]), "a Fernet key"),
        (lambda: RedisCache({"password": PASSWORD_OF_REDIS}, key=KEY), "synchronous client"),
        (lambda: FileCache("", key=KEY), "path must be"),
        (lambda: FileCache("~no-such-user/tokens", key=KEY), "is in a home directory"),
        (lambda: FileCache("tokens", key=iter([KEY.encode(), OTHER_KEY.encode() + b"="])), "a Fernet key"),
    ],
    ids=range(8),
)
def test_no_variable_shows_a_secret_when_a_cache_is_refused(make: Callable[[], Any], problem: str) -> None:
    """The frames of the error for wrong arguments show neither the password nor the keys."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        make()
    assert _leaks(variables_of(caught.value, "_caches")) == []


def test_no_variable_shows_a_secret_when_a_grant_cannot_be_named(rotating: Endpoint, tmp_path: Path) -> None:
    """The frames of the error for a grant without a usable identity do not show its secret."""
    (tmp_path / "secret").write_text(SECRETS[-1])

    class Odd(ClientCredentials):
        pass

    grant = Odd(URL, "client", SecretFile(tmp_path / "secret"))
    object.__setattr__(grant, "realms", frozenset("ab"))
    with pytest.raises(ConfigurationError, match="has a field that is neither text nor number") as caught:
        process(LockingCache(), rotating, grant).token()
    assert _leaks(variables_of(caught.value, "_caches")) == []


def test_the_search_for_secrets_finds_them() -> None:
    """The search of this file finds a secret in a variable of ours, in containers too."""
    namespace: dict[str, Any] = {}
    code = compile("def fail(value):\n    raise ValueError", str(PACKAGE / "_caches" / "module.py"), "exec")
    exec(code, namespace)  # as if it were one of ours
    for value in (KEY, [{"a": (KEY,)}], KEY.encode(), {KEY: 1}):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - it has no text
            namespace["fail"](value)
        assert _leaks(variables_of(caught.value, "_caches")) == [KEY], shown(value)
    assert Fernet(KEY)
