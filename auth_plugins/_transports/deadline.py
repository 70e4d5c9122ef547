"""Bounds one token request, whatever the library, a user's session and the server do: in time, and to one sending."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, Self

__all__ = ["Deadline", "EndedError", "Sending"]

#: Seconds that a library may be late by to notice that its time is over.
_GRACE = 0.25
#: Seconds between two looks after the deadline, as the request may be connecting at that moment.
_PAUSE = 0.05


class EndedError(BaseException):
    """Ends a token request that a user's session would go on with.

    It is no ``Exception``: a session that repeats a request after each error would repeat it after this one as well.
    """


class Deadline:
    """Bounds a whole token request: the libraries bound each read, and an answer that drips takes many of them.

    At the deadline a thread shuts the connections down, which ends the read that waits.
    """

    def __init__(self, seconds: float) -> None:
        #: Seconds in all.
        self.seconds = seconds
        #: Host and port of the proxy that the request goes by; ``None``: it goes by none, or by an unknown one.
        self.proxy: tuple[str, int] | None = None
        self._end = time.monotonic() + seconds
        self._done = threading.Event()
        # Guards the list, and its sockets while they are shut down: another request may take a connection afterwards.
        self._lock = threading.Lock()
        self._connections: list[Any] = []

    def __enter__(self) -> Self:
        with contextlib.suppress(RuntimeError):  # no thread is to be had: then each read is bounded, as ever
            threading.Thread(target=self._wait, name="auth-plugins deadline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._end - time.monotonic()

    def watch(self, connection: Any) -> None:
        """Shut *connection* down at the deadline: a socket, or what has one as its ``sock`` by then."""
        with self._lock:
            self._connections.append(connection)

    def release(self) -> None:
        """Watch no connection any more: the next request may have it."""
        with self._lock:
            self._connections.clear()

    def check(self) -> None:
        """End a request whose time is over.

        :raises TimeoutError: it is.
        """
        if self.left() < 0:
            raise TimeoutError("the answer did not end in time")

    def reason(self, error: BaseException) -> BaseException:
        """What *error* means: one of a connection that was shut down is no matter of the network."""
        try:
            self.check()
        except TimeoutError as timeout:
            # Where the library has an error for it, that one.
            return error if "timeout" in type(error).__name__.lower() else timeout
        return error

    def _wait(self) -> None:
        # A little later than the library's own timeout, whose error says more.
        pause = max(self.left(), 0.0) + _GRACE
        while not self._done.wait(pause):
            pause = _PAUSE
            with self._lock:
                for each in self._connections:
                    _shut_down(each)


def _shut_down(connection: Any) -> None:
    # By the plain socket's method: with that of TLS, a thread that sends at this moment goes on in clear.
    with contextlib.suppress(OSError, TypeError):  # closed by now; or none, as in mocks
        socket.socket.shutdown(getattr(connection, "sock", connection), socket.SHUT_RDWR)


class Sending:
    """The one sending of a token request: what a user's session sends after it, for whatever reason, is stopped.

    How often a token request is sent is decided in one place: an account may be locked after a few wrong passwords.
    """

    def __init__(self) -> None:
        #: Status and headers of the answer.
        self.answer: tuple[int, Any] | None = None
        #: Why there was no answer.
        self.failure: BaseException | None = None
        self._sent: Any = None

    def begin(self, sent: Any) -> None:
        """Note that *sent* is about to be sent.

        :raises EndedError: it was sent before.
        """
        if self._sent == sent:
            raise EndedError
        # A hook of the user's may send something else.
        if self._sent is None:
            self._sent = sent

    def check(self) -> None:
        """Stop what would lead to a second sending.

        :raises EndedError: an attempt has ended.
        """
        if self.answer is not None or self.failure is not None:
            raise EndedError

    def forget(self) -> None:
        """Let it be sent again: the server has not looked at it."""
        self._sent = None
