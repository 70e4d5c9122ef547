"""One attempt to get a token; loaded by the first that is made."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._token import Token

__all__ = ["Flight", "wait"]


class Flight(Future["Token | None"]):
    """One attempt to get a token, which everyone who needs it waits for; ``None``: it was broken off, try again."""

    def __init__(self, deadline: float, renewing: Token | None = None) -> None:
        super().__init__()
        #: On the clock of :func:`time.monotonic`.
        self.deadline = deadline
        #: The token that is to be renewed although it can still be used.
        self.renewing = renewing
        #: Whether the token lies in a cache where other processes find it, and its refresh token.
        self.is_shared = False
        #: The thread that asks, once it does: it must not wait for itself.
        self.leader: int | None = None
        #: What the tasks of each asyncio loop wait for.
        self.events: dict[Any, Any] = {}
