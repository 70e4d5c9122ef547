"""Bounds the time of one token request, whatever the library, a user's session and the server do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, Self

from auth_plugins._base.runtime import runtime

#: Seconds after the deadline in which the library may raise its own timeout, which says more.
_GRACE = 0.25
#: Seconds between two looks after the deadline, as a connection may be made at that moment.
_POLL_INTERVAL = 0.05


class Deadline:
    """Bounds a whole token request: the libraries bound each read, and a slow answer takes many of them.

    At the deadline a thread shuts the connections down, which ends the read that waits.
    """

    def __init__(self, seconds: float) -> None:
        #: Seconds in all.
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._done = threading.Event()
        # Guards the list, and its sockets while they are shut down: another request may use a connection afterwards.
        self._lock = threading.Lock()
        self._connections: list[Any] = []

    def __enter__(self) -> Self:
        with contextlib.suppress(RuntimeError):  # no thread can be started: only each read is bounded
            runtime.start_thread(self._wait, "auth-plugins deadline")
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

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

    def _wait(self) -> None:
        timeout = max(self.left(), 0.0) + _GRACE
        while not self._done.wait(timeout):
            timeout = _POLL_INTERVAL
            with self._lock:
                for connection in self._connections:
                    # TypeError: not a socket, as in mocks.
                    with contextlib.suppress(OSError, TypeError):
                        # The plain socket's method: after that of TLS, a thread that sends would send in clear.
                        socket.socket.shutdown(getattr(connection, "sock", connection), socket.SHUT_RDWR)
