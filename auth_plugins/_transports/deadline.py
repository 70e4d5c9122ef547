"""Bounds the time of one token request, whatever the library, a user's session and the server do."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import Any, Self

from auth_plugins._base.runtime import runtime

#: Seconds after the deadline in which the library may raise its own timeout, which says more.
_GRACE = 0.25
#: Seconds between two looks at the token requests that are sent: twice as many each time. After the last one, their
#: thread ends at the next look: no fork meets it that comes later.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.025, 0.2


class Deadline:
    """Bounds a whole token request: the libraries bound each read, and a slow answer takes many of them.

    At the deadline a thread shuts the connections down, which ends the read that waits.
    """

    def __init__(self, seconds: float) -> None:
        #: Seconds in all.
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        # Guards the list, and its sockets while they are shut down: another request may use a connection afterwards.
        self._lock = threading.Lock()
        self._connections: list[Any] = []

    def __enter__(self) -> Self:
        _watcher.begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watcher.end(self)

    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._end - time.monotonic()

    def check(self) -> None:
        """End a request after the deadline.

        :raises TimeoutError: the deadline has passed.
        """
        if self.left() < 0:
            raise TimeoutError("no answer in time")

    def watch(self, connection: Any) -> None:
        """Shut *connection* down at the deadline: a socket, or an object with a socket as its ``sock`` by then."""
        with self._lock:
            self._connections.append(connection)

    def release(self) -> None:
        """Watch no connection any more: the next request may use it."""
        with self._lock:
            self._connections.clear()

    def enforce(self) -> None:
        """Shut the connections down if the library has not ended the request by itself."""
        if self.left() > -_GRACE:
            return
        with self._lock:
            for connection in self._connections:
                # Whatever the connections of mocks and recorders raise: the thread serves other requests too.
                with contextlib.suppress(Exception):
                    # The plain socket's method: after that of TLS, a thread that sends would send in clear.
                    socket.socket.shutdown(getattr(connection, "sock", connection), socket.SHUT_RDWR)


class _Watcher:
    """Enforces the deadlines of all token requests by one thread: to start one for each takes longer than the rest."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all, as a forked child has to, which has no such thread."""
        self._lock = threading.RLock()  # a signal handler may break in, and send a token request of its own
        self._deadlines: set[Deadline] = set()
        self._is_running = False

    def begin(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadlines.add(deadline)
            if not self._is_running:
                with contextlib.suppress(RuntimeError):  # no thread can be started: only each read is bounded
                    runtime.start_thread(self._watch, "auth-plugins deadline")
                    self._is_running = True

    def end(self, deadline: Deadline) -> None:
        with self._lock:
            self._deadlines.discard(deadline)

    def _watch(self) -> None:
        pause, never = _SHORTEST_PAUSE, threading.Event()
        while True:
            never.wait(pause)
            with self._lock:
                deadlines = list(self._deadlines)
                if not deadlines:
                    self._is_running = False
                    return
            for each in deadlines:
                each.enforce()
            pause = min(2 * pause, _LONGEST_PAUSE)


_watcher = _Watcher()
with contextlib.suppress(AttributeError):  # Windows has no fork
    os.register_at_fork(after_in_child=_watcher.reset)
