"""Tokens in Redis, for all machines that reach it."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import math
import re
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from auth_plugins._base.errors import ConfigurationError
from auth_plugins._base.hidden import hidden, hide_arguments

from .encryption import LONGEST, BaseCache, Key, LockLostError, Opaque, check_name_key, new_name_key

#: Seconds to wait for a connection to Redis, and for each answer: a request waits as well.
_TIMEOUT = 1.0

#: The share of a client's connections that may wait for locks: the others are for its user, and for tokens.
_WAIT_SHARE = 0.25

#: Reads an entry. One that is too long for any token is not sent.
_READ = """
local value = redis.call('get', KEYS[1])
if value and #value > tonumber(ARGV[1]) then return '' end
return value
"""
#: Stores an entry if the lock is still held, and releases it. Sent again after a lost answer, it answers the same.
#: Who may not publish still releases: others look at the lock again and again.
_STORE = """
if redis.call('get', KEYS[2]) == ARGV[1] then
  redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
  redis.call('del', KEYS[2])
  redis.pcall('publish', KEYS[2], '')
  return 1
end
return redis.call('get', KEYS[1]) == ARGV[2] and 1 or 0
"""
#: Returns the name key; stores the given one if there is none.
_NAME_KEY = """
local value = redis.call('get', KEYS[1])
if not value then
  redis.call('set', KEYS[1], ARGV[1])
  return ARGV[1]
end
return #value == #ARGV[1] and value or ''
"""
_RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  redis.call('del', KEYS[1])
  redis.pcall('publish', KEYS[1], '')
end
"""


class RedisCache(BaseCache):
    """Tokens in Redis 6 or later, or Valkey, shared by all threads, processes and machines that reach it.

    The user of Redis needs ``GET``, ``SET``, ``DEL`` and ``EVAL`` on the keys that begin with *prefix*, ``SELECT`` for
    any database but 0, and ``SCAN`` for ``auth-plugins cache``. With ``PTTL``, and ``SUBSCRIBE`` and ``PUBLISH`` on
    channels that begin with *prefix*, a process that waits for another one has the token at once; that takes at most a
    quarter of a client's connections.

    :param url_or_client: a ``redis://``, ``rediss://`` (TLS) or ``unix://`` URL, with user and password if needed; or a
        client of redis-py: a ``redis.Redis``, a ``RedisCluster``, or a Sentinel's ``master_for(...)``. Set the timeouts
        of a client to a second or two, as requests wait for it; a URL has 1 second.
    :param prefix: the beginning of all names.
    :param key: a Fernet key, which encrypts the entries, or several for a rotation: the first one encrypts, each of
        them decrypts. ``None``: tokens are stored in clear.
    :raises ConfigurationError: an argument cannot work, or redis-py is missing.
    """

    @hide_arguments
    def __init__(self, url_or_client: Any, prefix: str = "auth_plugins:", key: Key = None) -> None:
        if not isinstance(prefix, str) or not prefix or set(prefix) & set("{}"):
            raise ConfigurationError('must be a text without braces, such as "auth_plugins:"', argument="prefix")
        self._prefix = prefix
        # A client's own repr may show its password.
        self._place = self._redis = Opaque(url_or_client)
        self._is_url = isinstance(url_or_client, str)
        if self._is_url:
            _check_url(url_or_client)
            self._redis = _client(self._place)
        else:
            _check_client(url_or_client)
        #: By name of the locks that this thread holds, a random text that proves it.
        self._proofs = threading.local()
        super().__init__(key, self._place, prefix)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_password(self._place.open())!r}, prefix={self._prefix!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._is_url:
            raise ConfigurationError("a RedisCache with a client of yours does not pickle", advice="give it a URL")
        return type(self), (self._place.open(), self._prefix, self._cipher.keys or None)

    def get(self, key: str, /) -> str | None:
        """Return the entry of that name; ``None``: there is none; ``""``: there is one, but it is not ours."""
        return self._eval(_READ, self._name(key), LONGEST)

    def set(self, key: str, value: str, ttl: float, /) -> None:
        """Replace the entry of that name for *ttl* seconds, and release its lock if this thread holds it.

        :raises LockLostError: the lock ended, and another process may hold it; nothing is stored.
        """
        value = hidden(value)
        name, milliseconds = self._name(key), max(1, int(ttl * 1000))
        proof = vars(self._proofs).get(key)
        if proof is None:
            self._redis.open().set(name, str(value), px=milliseconds)
            return
        if not self._redis.open().eval(_STORE, 2, name, self._lock_name(key), proof, str(value), milliseconds):
            raise LockLostError("the token came after its lock had ended, and is not stored")
        del vars(self._proofs)[key]

    def delete(self, key: str, /) -> None:
        """Delete the entry of that name, if there is one."""
        self._redis.open().delete(self._name(key))

    @contextlib.contextmanager
    def lock(self, key: str, lease: float, /) -> Iterator[bool]:
        """Hold the lock of that name for at most *lease* seconds; ``False``: another process or thread holds it."""
        proof = secrets.token_hex(16)
        if not self._redis.open().set(self._lock_name(key), proof, nx=True, px=max(1, int(lease * 1000))):
            yield False
            return
        proofs = vars(self._proofs)
        proofs[key] = proof
        try:
            yield True
        finally:
            if proofs.pop(key, None) is not None:
                self._redis.open().eval(_RELEASE, 1, self._lock_name(key), proof)

    def released(self, key: str, /) -> Future[None] | None:
        """Return what is done as soon as no one holds the lock of that name; ``None``: Redis does not tell."""
        from .lock_watch import MOST_WAITS, released

        name = self._lock_name(key)
        most = min(MOST_WAITS, _most_connections(self._redis.open()) * _WAIT_SHARE)
        # A client of the user's own class may have no hash.
        place = self._place if self._is_url else id(self._redis.open())
        return released((place, name), functools.partial(_wait_until_free, self._redis, name), most)

    def name_key(self) -> str:
        """Return the random text that names depend on without a key. It has no end."""
        name = self._name_key_name()
        return check_name_key(self._eval(_NAME_KEY, name, new_name_key()), name)

    def delete_name_key(self) -> None:
        """Delete that text."""
        self._redis.open().delete(self._name_key_name())

    def names(self) -> list[str]:
        """Return the names of all entries."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self._prefix) + "{*}"
        found = [_text(name) or "" for name in self._redis.open().scan_iter(match=pattern, count=1000)]
        return sorted(name[len(self._prefix) + 1 : -1] for name in found)

    def _eval(self, script: str, name: str, argument: object) -> str | None:
        try:
            return _text(self._redis.open().eval(script, 1, name, str(argument)))
        except UnicodeError:  # of a client that decodes answers
            return ""

    def _name_key_name(self) -> str:
        return f"{self._prefix}name-key"  # without braces: no entry has this name

    def _name(self, key: str) -> str:
        # In a cluster, the text in braces decides on the node: an entry and its lock must be on the same one.
        return f"{self._prefix}{{{key}}}"

    def _lock_name(self, key: str) -> str:
        return f"{self._name(key)}:lock"


def _most_connections(client: Any) -> float:
    with contextlib.suppress(Exception):  # a client of another kind
        if hasattr(client, "get_default_node"):  # of a cluster: each node has as many
            client = client.get_redis_connection(client.get_default_node())
        return float(client.connection_pool.max_connections)
    return math.inf


def _wait_until_free(client: Opaque, name: str) -> None:
    redis = client.open()
    with redis.pubsub() as subscription:
        subscription.subscribe(name)
        subscription.get_message(timeout=_TIMEOUT)  # it is subscribed: no release is missed from now on
        if (milliseconds := redis.pttl(name)) > 0:
            subscription.get_message(timeout=milliseconds / 1000)


@functools.lru_cache(maxsize=16)
def _client(url: Opaque) -> Opaque:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        # Without retries: the request goes on without the cache, which is tried again later.
        retry = Retry(NoBackoff(), 0)
        return Opaque(
            redis.Redis.from_url(url.open(), socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=retry)
        )
    except (TypeError, ValueError, redis.RedisError) as error:
        reason = type(error).__name__
    # Outside of `except`: the error quotes the URL.
    raise ConfigurationError(
        f"was refused by redis-py ({reason})", argument="url_or_client", advice="check the options in it"
    )


def _check_client(client: Any) -> None:
    is_async = inspect.iscoroutinefunction(getattr(client, "execute_command", None))
    if is_async or not callable(getattr(client, "eval", None)):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise ConfigurationError(
            f"must be a URL such as redis://host:6379/0, or a synchronous client of redis-py, got {kind}",
            argument="url_or_client",
        )


def _check_url(url: str) -> None:
    if importlib.util.find_spec("redis") is None:
        raise ConfigurationError("a RedisCache needs redis-py: pip install 'auth-plugins[redis]'")
    try:
        parts = urlsplit(url)
        # redis-py would take a database that is no number for number 0.
        has_place = bool(parts.hostname) and parts.port != 0 and re.fullmatch(r"(/\d*)?", parts.path) is not None
    except ValueError:  # of a port, or of brackets
        is_whole = False
    else:
        is_whole = has_place if parts.scheme in ("redis", "rediss") else parts.scheme == "unix" and bool(parts.path)
        # With an "@" behind the host, part of the password would be shown as the path.
        is_whole = is_whole and "@" not in parts.path + parts.query + parts.fragment
    if not is_whole:
        raise ConfigurationError(
            "must be a URL of Redis, such as redis://host:6379/0, or rediss:// for TLS",
            argument="url_or_client",
            advice="percent-encode the password in it",
        )


def _without_password(place: object) -> str:
    if not isinstance(place, str):
        return f"<{type(place).__name__}>"
    # A URL may have the password in its query as well.
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _text(value: Any) -> str | None:
    """Return an answer as text: some clients decode answers, others do not."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
