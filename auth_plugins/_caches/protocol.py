"""The interface of a shared cache."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class TokenCache(Protocol):
    """A cache that processes, or machines, share: short texts by name. Implement it for any other store.

    Its methods are called from any thread, never within an event loop, and only while this process has no usable token.
    An error that they raise is logged as a warning and fails no request: tokens are then shared within the process.

    It should have a fourth method, ``lock(key, lease)``. It returns a context manager, which is held from the last read
    of the entry until a new one is stored, so that one process sends a token request and all others find its token.
    Entering it may wait, or return ``False`` at once while another process holds it: the entry and the lock are then
    tried again a moment later. Where the store does not notice that a lock holder is lost, the lock ends by itself
    after *lease* seconds. Without this method each process sends a token request of its own.
    """

    def get(self, key: str, /) -> str | None:
        """Return the text that is stored under *key*; ``None``: there is none, or it has expired."""
        ...

    def set(self, key: str, value: str, ttl: float, /) -> None:
        """Store *value*, ASCII text, under *key*, in place of what is stored there.

        :param ttl: seconds, more than 0, after which the store may delete it.
        """
        ...

    def delete(self, key: str, /) -> None:
        """Delete what is stored under *key*, if there is anything."""
        ...
