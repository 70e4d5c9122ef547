"""One attempt to get a token; loaded by the first that is made."""

from __future__ import annotations

import threading
from concurrent.futures import Future, InvalidStateError, wait
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import AuthError
from auth_plugins._base.frames import without_frames

if TYPE_CHECKING:
    from auth_plugins._protocol.tokens import Token

__all__ = ["Flight", "wait"]


class Flight(Future["Token | None"]):
    """One attempt to get a token, which everyone who needs it waits for; ``None``: it was broken off, try again."""

    def __init__(self, deadline: float, renewing: Token | None = None, leader: int | None = None) -> None:
        super().__init__()
        #: On the clock of :func:`time.monotonic`.
        self.deadline = deadline
        #: The token that is to be renewed although it can still be used.
        self.renewing = renewing
        #: Whether the token lies in a cache where other processes find it, and its refresh token.
        self.is_shared = False
        #: The thread that asks, once it does: it must not wait for itself.
        self.leader = leader
        #: The same as an object; ``None``: it does not ask yet.
        self.thread: threading.Thread | None = None
        #: Whether the token request was built: until then the leader is in the grant's code, or in the cache's.
        self.is_sent = False
        #: A cached token within its leeway: used if no other can be had.
        self.fallback: Token | None = None
        #: How the token was obtained, for the log: endpoint, by what, seconds.
        self.obtained: tuple[str, str, float] | None = None
        #: What the tasks of each asyncio loop wait for.
        self.events: dict[Any, Any] = {}

    def is_held_by_another(self) -> bool:
        """Whether a thread that is alive, and not this one, is in the middle of it."""
        thread = self.thread
        return thread is not None and thread.ident != threading.get_ident() and thread.is_alive() and not self.done()

    def complete(self, outcome: Token | AuthError | None) -> None:
        """Tell those who wait what it came to; only the first call counts."""
        try:
            if isinstance(outcome, AuthError):
                self.set_exception(without_frames(outcome))
            else:
                self.set_result(outcome)
        except InvalidStateError:
            pass  # a seeded token was handed out before
