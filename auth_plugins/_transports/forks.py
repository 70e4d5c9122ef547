"""Keeps a forked child from its parent's connections: two readers of one socket get each other's tokens."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["renew_in_children"]

#: The sessions and clients that were handed in, by their ``id``.
_handed: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
#: Whether this process was forked after this module was loaded.
_is_child = False
#: One of these is what an adapter, a transport, or a session or client that one of them uses, has.
_SENDERS = ("send", "poolmanager", "handle_request")
#: Objects that are looked at, about: what a transport caches may be anything, and much.
_MOST = 100
#: Seconds in which a thread that lives has let a lock of a queue go.
_LONGEST_HOLD = 0.1


def renew_in_children(handed: Any) -> None:
    """Have a forked child use none of the connections of *handed*, a session of requests or a client of httpx.

    In a process that is a forked child already, these may be its parent's: they are given up at once, the first time.
    What is no HTTPAdapter, no HTTPTransport and no wrapper of one is left to itself.
    """
    if _handed.get(id(handed)) is handed:
        return
    if _is_child:
        _try_each(_renew, [handed])
    with contextlib.suppress(TypeError):  # of a class whose objects cannot be referred to weakly
        _handed[id(handed)] = handed


def _after_fork() -> None:
    global _is_child  # noqa: PLW0603 - of the process
    _is_child = True
    _try_each(_renew, list(_handed.values()))


def _try_each(renew: Callable[[Any], None], each: Iterable[Any]) -> None:
    for one in each:
        with contextlib.suppress(Exception):  # one of the user's own kind, or of another version
            renew(one)


def _renew(handed: Any) -> None:
    _try_each(_renew_sender, _within(handed))


def _renew_sender(sender: Any) -> None:
    # What seems to have the pool of another, which it wraps, is not where to replace it.
    _try_each(_renew_transport, [sender] if "_pool" in _attributes(sender) else [])
    managers = [getattr(sender, "poolmanager", None), *getattr(sender, "proxy_manager", {}).values()]
    _try_each(_renew_manager, managers)


def _within(handed: Any) -> list[Any]:
    """Adapters and transports of *handed*, and those that they wrap: to limit, repeat or cache, for example."""
    found = _senders(getattr(handed, name, None) for name in ("adapters", "_transport", "_mounts"))
    for each in itertools.islice(found, _MOST):  # and those that are added meanwhile
        known = {id(one) for one in found}
        found += [one for one in _senders(_attributes(each).values()) if id(one) not in known]
    return found


def _senders(values: Iterable[Any]) -> list[Any]:
    """What sends, among *values* and what is in their lists and dicts."""
    found: dict[int, Any] = {}
    for value in values:
        several = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        for each in itertools.islice(list(several), _MOST):
            with contextlib.suppress(Exception):  # the user's own kind may raise anything when it is asked
                if any(hasattr(each, name) for name in _SENDERS):
                    found[id(each)] = each
    return list(found.values())


def _attributes(each: Any) -> dict[str, Any]:
    """Attributes of *each*, those in slots too; nothing of the user's is called."""
    found = dict(getattr(each, "__dict__", {}))
    for kind in type(each).__mro__:
        for name, state in vars(kind).items():
            if isinstance(state, types.MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # one that is not set
                    found[name] = state.__get__(each)
    return found


def _renew_manager(manager: Any) -> None:
    """Replace the pools of a PoolManager of urllib3: a lock of theirs may be held by a thread that is no more."""
    old = manager.pools
    manager.pools = type(old)(old._maxsize, old.dispose_func)
    for pool in list(old._container.values()):
        waiting = pool.pool
        free = waiting.mutex.acquire(timeout=_LONGEST_HOLD)
        idle = [connection.sock for connection in waiting.queue if connection is not None]
        if free:  # another thread of the child may be about to take one
            waiting.queue[:] = [None] * len(waiting.queue)
            waiting.mutex.release()
        else:
            # The pool closes what waits there when it is deleted, by that lock.
            type(waiting).__init__(waiting, waiting.maxsize)
        _close(idle)


def _renew_transport(transport: Any) -> None:
    """Replace the pool of an HTTPTransport: a copy with the same settings, and nothing in it."""
    old = transport._pool
    # Another kind of pool, of threads perhaps, has none of these and is left as it is.
    connections, requests = old._connections, old._requests
    fresh = copy.copy(old)
    fresh._connections, fresh._requests = [], []
    for name, value in vars(old).items():
        if name.endswith("lock"):
            # A response that the child inherited is closed by the old one.
            for pool in (old, fresh):
                setattr(pool, name, type(value)())
    transport._pool = fresh
    taken = [getattr(each, "connection", None) for each in requests]
    idle = [each for each in connections if each.is_idle() and each not in taken]
    _close(_socket_of(each) for each in idle)


def _socket_of(connection: Any) -> Any:
    """The socket of a connection of httpcore, which may be one within another: a tunnel through a proxy."""
    while hasattr(connection, "_connection"):
        connection = connection._connection
    return connection._network_stream.get_extra_info("socket")


def _close(sockets: Iterable[Any]) -> None:
    """Give up descriptors; nothing is said to the other side, to which the parent talks on."""
    for each in sockets:
        with contextlib.suppress(AttributeError, OSError):  # one that is closed already
            each.close()


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
