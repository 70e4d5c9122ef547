"""Tokens in Redis, for all machines that reach it."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import re
import secrets
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden

from .encryption import LONGEST, Key, LockLostError, Opaque, SealedCache

__all__ = ["RedisCache"]

#: Seconds to wait for Redis, for a connection and for each answer: a request must not hang for it.
_PATIENCE = 1.0

#: Reads an entry; one that is too long for any token is not sent.
_READ = """
local value = redis.call('get', KEYS[1])
if value and #value > tonumber(ARGV[1]) then return '' end
return value
"""
#: Stores an entry for who still holds the lock, and lets go of it. Sent again after a lost answer, it says the same.
_STORE = """
if redis.call('get', KEYS[2]) == ARGV[1] then
  redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
  redis.call('del', KEYS[2])
  return 1
end
return redis.call('get', KEYS[1]) == ARGV[2] and 1 or 0
"""
_RELEASE = "return redis.call('get', KEYS[1]) == ARGV[1] and redis.call('del', KEYS[1])"


class RedisCache(SealedCache):
    """Tokens in Redis 6 or later, or Valkey, shared by all machines that reach it.

    :param url_or_client: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password where there are some;
        or a client of redis-py: a ``redis.Redis``, a ``RedisCluster``, or a Sentinel's ``master_for(...)``. Its
        timeouts are yours to set: a second or two, as requests wait for them.
    :param prefix: what all names begin with.
    :param key: a Fernet key, which encrypts the entries, or several for a rotation: the first one encrypts, each of
        them decrypts. ``None``: tokens lie there as they are, for whoever may read them.
    :raises ConfigurationError: an argument cannot work, or redis-py is missing.

    For any number of threads, processes and machines. Its user needs ``GET``, ``SET``, ``DEL`` and ``EVAL`` on the keys
    that begin with *prefix*, ``SELECT`` for any database but 0, and ``SCAN`` for ``auth-plugins cache``.
    """

    def __init__(self, url_or_client: Any, prefix: str = "auth_plugins:", key: Key = None) -> None:
        hidden_key, place = Opaque(key), Opaque(url_or_client)
        given, self._is_url = type(url_or_client), isinstance(url_or_client, str)
        is_client = callable(getattr(url_or_client, "eval", None))
        is_async = inspect.iscoroutinefunction(getattr(url_or_client, "execute_command", None))
        del key, url_or_client
        if not isinstance(prefix, str) or not prefix or set(prefix) & set("{}"):
            raise ConfigurationError('prefix is empty, no text, or has a brace in it; give one such as "auth_plugins:"')
        if self._is_url:
            if importlib.util.find_spec("redis") is None:
                raise ConfigurationError("a RedisCache needs redis-py: pip install 'auth-plugins[redis]'")
            if not _is_url(place):
                raise ConfigurationError(
                    "this is no URL of Redis; give one such as redis://host:6379/0, or rediss:// for TLS, "
                    "with its password percent-encoded"
                )
        elif is_async:
            raise ConfigurationError("this client of redis-py belongs to an event loop; give a redis.Redis, or a URL")
        elif not is_client:
            raise ConfigurationError(
                f"a {given.__name__} is no client of redis-py; give one, or a URL such as redis://host:6379/0"
            )
        self._prefix = prefix
        self._place = place
        # Now, rather than when a request waits for it; it connects when it is used first. A client's own repr may show
        # its password.
        self._redis = _client(place) if self._is_url else place
        #: The marks of the locks that this thread holds, by name.
        self._held = threading.local()
        super().__init__(hidden_key, place, prefix)

    def __repr__(self) -> str:
        # A URL may hold a password, in its query as well.
        return f"{type(self).__name__}({_shown(self._place)!r}, prefix={self._prefix!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._is_url:
            raise ConfigurationError("a RedisCache with a client of yours doesn't pickle; give it a URL")
        return super().__reduce__()

    def get(self, key: str, /) -> str | None:
        """The entry of that name; ``None``: there is none; ``""``: it is there, and is none of ours."""
        try:
            return _text(self._redis.open().eval(_READ, 1, self._name(key), LONGEST))
        except UnicodeError:  # of a client that decodes
            return ""

    def set(self, key: str, value: str, ttl: float, /) -> None:
        """Replace the entry of that name for *ttl* seconds, and let go of its lock, where this thread holds it.

        :raises LockLostError: it held the lock too long, and another may hold it now; nothing is stored.
        """
        value = hidden(value)
        name, milliseconds = self._name(key), max(1, int(ttl * 1000))
        mark = self._marks().get(key)
        if mark is None:
            self._redis.open().set(name, str(value), px=milliseconds)
            return
        if not self._redis.open().eval(_STORE, 2, name, self._lock_name(key), mark, str(value), milliseconds):
            raise LockLostError("the token came after its lock had ended, and is not stored")
        del self._marks()[key]

    def delete(self, key: str, /) -> None:
        """Forget the entry of that name, if there is one."""
        self._redis.open().delete(self._name(key))

    @contextlib.contextmanager
    def lock(self, key: str, lease: float, /) -> Iterator[bool]:
        """Hold the lock of that name for at most *lease* seconds; ``False``: somebody else does."""
        mark = secrets.token_hex(16)
        if not self._redis.open().set(self._lock_name(key), mark, nx=True, px=max(1, int(lease * 1000))):
            yield False
            return
        marks = self._marks()
        marks[key] = mark
        try:
            yield True
        finally:
            if marks.pop(key, None) is not None:
                self._redis.open().eval(_RELEASE, 1, self._lock_name(key), mark)

    def names(self) -> list[str]:
        """The names of all entries."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self._prefix) + "{*}"
        found = [_text(name) or "" for name in self._redis.open().scan_iter(match=pattern, count=1000)]
        return sorted(name[len(self._prefix) + 1 : -1] for name in found)

    def _name(self, key: str) -> str:
        # In a cluster, what stands in braces decides where a key lies: an entry's lock has to lie with it.
        return f"{self._prefix}{{{key}}}"

    def _lock_name(self, key: str) -> str:
        return f"{self._name(key)}:lock"

    def _marks(self) -> dict[str, str]:
        marks: dict[str, str] = self._held.__dict__
        return marks


@functools.lru_cache(maxsize=16)
def _client(url: Opaque) -> Opaque:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        # No further tries: who asks goes on without the cache, and tries it again later.
        return Opaque(
            redis.Redis.from_url(
                url.open(), socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0)
            )
        )
    except (TypeError, ValueError, redis.RedisError) as error:
        reason = type(error).__name__
    # Outside of `except`: the error quotes the URL.
    raise ConfigurationError(f"redis-py takes no such URL ({reason}); check its options")


def _is_url(place: Opaque) -> bool:
    try:
        parts = urlsplit(place.open())
        whole = bool(parts.path if parts.scheme == "unix" else parts.hostname) and parts.port != 0
        # A password that isn't percent-encoded, and goes on behind the host: part of it would be shown as a path.
        whole = whole and "@" not in parts.path + parts.query + parts.fragment
        # A database that is no number would be number 0.
        whole = whole and (parts.scheme == "unix" or re.fullmatch(r"(/\d*)?", parts.path) is not None)
    except ValueError:  # of a port, or of brackets
        return False
    return whole and parts.scheme in ("redis", "rediss", "unix")


def _shown(place: Opaque) -> str:
    given = place.open()
    if not isinstance(given, str):
        return f"<{type(given).__name__}>"
    parts = urlsplit(given)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _text(value: Any) -> str | None:
    """What Redis said: a client of the user's may decode answers, or not."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
