"""Keeps a forked child from its parent's connections: two readers of one socket get each other's tokens."""

from __future__ import annotations

import contextlib
import copy
import os
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["renew_in_children"]

#: The sessions and clients that were handed in, by their ``id``, and what gives each of them new connections.
_handed: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def renew_in_children(handed: Any) -> None:
    """Have a forked child use none of the connections of *handed*, a session of requests or a client of httpx.

    What is no HTTPAdapter, no HTTPTransport and no wrapper of one is left to itself.
    """
    with contextlib.suppress(TypeError):  # of a class whose objects cannot be referred to weakly
        _handed[id(handed)] = handed


def _after_fork() -> None:
    for handed in list(_handed.values()):
        for adapter in getattr(handed, "adapters", {}).values():
            managers = [getattr(adapter, "poolmanager", None), *getattr(adapter, "proxy_manager", {}).values()]
            _try_each(_renew_manager, managers)
        mounts = getattr(handed, "_mounts", {}).values()
        _try_each(_renew_transport, _transports([getattr(handed, "_transport", None), *mounts]))


def _try_each(renew: Callable[[Any], None], each: Iterable[Any]) -> None:
    for one in each:
        with contextlib.suppress(AttributeError, TypeError):  # one of the user's own kind, or of another version
            renew(one)


def _renew_manager(manager: Any) -> None:
    """Replace the pools of a PoolManager of urllib3: a lock of theirs may be held by a thread that is no more."""
    old = manager.pools
    manager.pools = type(old)(old._maxsize, old.dispose_func)  # noqa: SLF001 - urllib3 has no other place for it
    for pool in list(old._container.values()):  # noqa: SLF001 - likewise
        waiting = pool.pool
        idle = [connection.sock for connection in waiting.queue if connection is not None]
        # The pool closes what waits there when it is deleted, by that lock.
        type(waiting).__init__(waiting, waiting.maxsize)
        _close(idle)


def _transports(transports: Iterable[Any]) -> Iterator[Any]:
    """HTTPTransports among *transports*, or wrapped by one of them: by what repeats or caches, for example."""
    seen = list(transports)
    for transport in seen:  # and those that are added meanwhile
        if hasattr(transport, "_pool"):
            yield transport
        elif hasattr(transport, "handle_request"):
            inner = getattr(transport, "__dict__", {}).values()
            seen += [each for each in inner if hasattr(each, "handle_request") and each not in seen]


def _renew_transport(transport: Any) -> None:
    """Replace the pool of an HTTPTransport: a copy with the same settings, and nothing in it."""
    old = transport._pool  # noqa: SLF001 - httpx has no other place for it
    fresh = copy.copy(old)
    fresh._connections, fresh._requests = [], []  # noqa: SLF001 - likewise
    for name, value in vars(old).items():
        if name.endswith("lock"):
            # A response that the child inherited is closed by the old one.
            for pool in (old, fresh):
                setattr(pool, name, type(value)())
    transport._pool = fresh  # noqa: SLF001 - likewise
    idle = [each for each in old._connections if each.is_idle()]  # noqa: SLF001 - likewise
    _close(_socket_of(each) for each in idle)


def _socket_of(connection: Any) -> Any:
    """The socket of a connection of httpcore, which may be one within another: a tunnel through a proxy."""
    while hasattr(connection, "_connection"):
        connection = connection._connection  # noqa: SLF001 - httpcore has no other place for it
    return connection._network_stream.get_extra_info("socket")  # noqa: SLF001 - likewise


def _close(sockets: Iterable[Any]) -> None:
    """Give up descriptors; nothing is said to the other side, to which the parent talks on."""
    for each in sockets:
        with contextlib.suppress(AttributeError, OSError):  # one that is closed already
            each.close()


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
