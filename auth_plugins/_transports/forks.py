"""Keeps a forked child from the connections of its parent: two readers of one socket get each other's tokens."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import types
import weakref
from collections.abc import Iterable
from typing import Any

#: The sessions and clients that are in use, by their ``id``.
_in_use: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
#: Whether this process was forked after this module was loaded.
_is_child = False
#: Adapters, transports, sessions and clients have one of these methods.
_SENDING_METHODS = ("send", "handle_request")
#: Objects that are looked at for each session: a transport may cache many.
_MOST_OBJECTS = 100
#: Seconds for which a living thread holds the lock of a queue at most.
_LONGEST_HOLD = 0.1


def renew_in_children(session: Any) -> None:
    """Keep forked children from the connections of *session*, a session of requests or a client of httpx.

    In a forked child, its connections are dropped at the first call: they may be the parent's. Only HTTPAdapter,
    HTTPTransport and what wraps them are known.
    """
    if _in_use.get(id(session)) is session:
        return
    if _is_child:
        _drop_connections(session)
    with contextlib.suppress(TypeError):  # its class has no weak references
        _in_use[id(session)] = session


def _after_fork() -> None:
    global _is_child  # noqa: PLW0603 - of the process
    _is_child = True
    for session in list(_in_use.values()):
        _drop_connections(session)


def _drop_connections(session: Any) -> None:
    """Replace the pools of *session* and of the adapters and transports in it, also of those that they wrap."""
    found, seen = [session], {id(session)}
    for owner in itertools.islice(found, _MOST_OBJECTS):  # and those that are added meanwhile
        for name, value in _attributes(owner).items():
            for each in _members(value):
                with contextlib.suppress(Exception):  # another version of the library, or a class of the user's
                    if name == "_pool" and each is value:
                        setattr(owner, name, _without_connections(each))
                    elif hasattr(type(each), "connection_from_host"):
                        _renew_manager(each)
                    elif id(each) not in seen and any(hasattr(type(each), method) for method in _SENDING_METHODS):
                        seen.add(id(each))
                        found.append(each)


def _attributes(owner: Any) -> dict[str, Any]:
    """Return the attributes of *owner*, those in slots too."""
    found = {}
    for name in ("adapters", "_transport", "_mounts"):  # by name, as a session may be a proxy object
        with contextlib.suppress(Exception):
            found[name] = getattr(owner, name)
    with contextlib.suppress(Exception):
        found.update(vars(owner))
    for kind in type(owner).__mro__:
        for name, slot in vars(kind).items():
            if isinstance(slot, types.MemberDescriptorType):
                with contextlib.suppress(AttributeError):  # it is not set
                    found[name] = slot.__get__(owner)
    return found


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(dict.values(value))
    return list(value) if type(value) in (list, tuple) else [value]


def _renew_manager(manager: Any) -> None:
    """Replace the pools of a PoolManager of urllib3: a thread that the child lacks may hold one of their locks."""
    old = manager.pools
    manager.pools = type(old)(old._maxsize, old.dispose_func)
    for pool in list(old._container.values()):
        waiting = pool.pool
        idle, waiting.queue = waiting.queue, type(waiting.queue)([None] * len(waiting.queue))
        if waiting.mutex.acquire(timeout=_LONGEST_HOLD):
            waiting.mutex.release()
        else:
            # When the pool is deleted, it takes this lock.
            type(waiting).__init__(waiting, waiting.maxsize)
        _close(idle)


def _without_connections(pool: Any) -> Any:
    """Copy the pool of an HTTPTransport, with its settings and none of its connections."""
    # A pool of another kind, such as one of threads, has no such attributes and stays.
    connections, requests = pool._connections, pool._requests
    fresh = copy.copy(pool)
    fresh._connections, fresh._requests = [], []
    for name, lock in vars(pool).items():
        if name.endswith("lock"):
            # Of both: the old pool closes the responses that the child inherited.
            for each in (pool, fresh):
                setattr(each, name, type(lock)())
    used = [getattr(each, "connection", None) for each in requests]
    _close(each for each in connections if each.is_idle() and each not in used)
    return fresh


def _close(connections: Iterable[Any]) -> None:
    """Close the child's descriptors. Nothing is sent, as the parent goes on with the connection."""
    for each in connections:
        with contextlib.suppress(Exception):
            each.close()


with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
