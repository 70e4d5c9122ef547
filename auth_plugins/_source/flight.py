"""One attempt to get a token: how it ends, who waits for it, and what is said about it."""

from __future__ import annotations

import contextlib
import enum
import itertools
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from auth_plugins._base.errors import (
    NOT_ASKED,
    AuthError,
    LoginRequiredError,
    TokenRequestError,
    TokenTransportError,
    copy_error,
)
from auth_plugins._base.frames import without_frames
from auth_plugins._base.observers import GRANT, LEADER, SHARED_CACHE, TokenEvent, notify
from auth_plugins._base.runtime import runtime
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token

from .wiring import endpoint_of

#: Seconds between two looks at whether observers have the events of a token request, and how many looks there are.
_REPORT_POLL, _REPORT_POLLS = 0.001, 1000


class Ending(enum.Enum):
    """How an attempt ends that brings neither a token nor an error: its waiters try again."""

    INTERRUPTED = "the leader was interrupted, by KeyboardInterrupt for example; a waiter becomes the new leader"
    REFRESHED_ELSEWHERE = "another process refreshes the token at this moment, and the present one can be used"
    UNCHANGED = "the token that was exchanged is still used, and so is the token"
    SEEDED = "a token was seeded meanwhile"
    NOT_ASKED = "the leader could ask no one to sign in; a waiter that can becomes the new leader"


_Result = TypeVar("_Result")


class Awaited(Future[_Result]):
    """A future that threads and the tasks of any event loops wait for."""

    def __init__(self) -> None:
        super().__init__()
        #: By event loop, what its tasks wait for.
        self._events: dict[Any, Any] = {}

    def event_of(self, loop: Any, make: Any, call: Any) -> Any:
        """Return the event of *loop* that is set at the end: one for all its tasks, however many there are.

        :param make: makes an event.
        :param call: has the loop call a function; it raises RuntimeError if the loop has ended.
        """
        event = self._events.get(loop)
        if event is None:
            event = self._events[loop] = make()

            def wake(_: object) -> None:
                with contextlib.suppress(RuntimeError):
                    call(event.set)

            self.add_done_callback(wake)
        return event


class Flight(Awaited[Token | Ending]):
    """One attempt to get a token; all that need the token wait for it."""

    def __init__(self, deadline: float, refreshing: Token | None, leader: int | None) -> None:
        super().__init__()
        #: By ``runtime.clock.monotonic``.
        self.deadline = deadline
        #: The token that a background refresh replaces while it is used; ``None``: callers wait.
        self.refreshing = refreshing
        #: The id of the thread that leads, once it is known: that thread must not wait for itself.
        self.leader = leader
        #: The thread itself; ``None``: the attempt has not begun.
        self.thread: threading.Thread | None = None
        #: Whether the test that began it has ended.
        self.is_forgotten = False
        #: Whether a token request is being sent; before that the leader is in the grant's code, or in the cache's.
        self.is_sending = False
        #: Whether other processes find the token in the shared cache.
        self.is_shared = False
        #: A token in the shared cache that is within its leeway: used if no other is available.
        self.fallback: Token | None = None
        #: What was exchanged; ``None``: nothing.
        self.origins: tuple[str, ...] | None = None
        #: The grant whose sources were asked for their tokens; ``None``: it has none.
        self.exchanged: Grant | None = None
        #: Whether it is complete, and its leader gives events to observers.
        self.is_reporting = False
        #: What happened to token requests, for observers and the log.
        self.events: list[TokenEvent] = []
        #: When each of them happened, by ``runtime.clock.monotonic``.
        self._moments: list[float] = []
        #: Until when a person may sign in, the last token request included, by ``runtime.clock.monotonic``; 0: none is
        #: asked. ``login`` ends with an error if no one waits any more.
        self.login_until = 0.0
        self.login: Future[Any] | None = None
        #: How many callers take part; written under the lock.
        self.callers = 0

    def is_stuck(self) -> bool:
        """Return whether another thread, which is alive, has not completed it."""
        thread = self.thread
        return thread is not None and thread.ident != threading.get_ident() and thread.is_alive() and not self.done()

    def complete(self, result: Token | AuthError | Ending) -> None:
        """Give *result* to all waiters; only the first call counts."""
        with contextlib.suppress(InvalidStateError):  # a token was seeded before
            if isinstance(result, AuthError):
                self.set_exception(without_frames(result))
            else:
                self.set_result(result)

    def note(self, grant: Grant, endpoint: str, seconds: float, error: AuthError | None, source: str = GRANT) -> None:
        """Note for observers that a token was obtained in *seconds* by *source*, or the *error*."""
        kind = "obtained" if error is None else "refused" if isinstance(error, TokenRequestError) else "failed"
        kept = None if error is None else copy_error(error, type(error))
        if kept is not None:
            kept.__cause__ = None  # what a callable or a session of the user's raised may quote a secret
        self._moments.append(runtime.clock.monotonic())
        self.events.append(TokenEvent(kind, type(grant).__name__, endpoint, seconds, kept, source))

    def report(self, grant: Grant, result: Token | AuthError | Ending) -> None:
        """Give what was noted to observers and the log; after completion, as they may need this very token."""
        token = result if isinstance(result, Token) else None
        if token is not None and self.is_shared and not any(each.error is None for each in self.events):
            seconds = max(0.0, runtime.clock.time() - token.issued_at) if token.issued_at else 0.0
            self.events.append(
                TokenEvent("obtained", type(grant).__name__, endpoint_of(grant), seconds, None, SHARED_CACHE)
            )
        try:
            for event, moment in itertools.zip_longest(self.events, self._moments):
                notify(event, None if token is None else token.expires_at, moment)
        finally:
            self.is_reporting = False

    def login_seconds(self) -> float:
        """Return the seconds that a person has left to sign in; 0: none is asked, or the attempt is complete."""
        return 0.0 if self.done() else max(0.0, self.login_until - runtime.clock.monotonic())

    def abandon_login(self) -> None:
        """End the login for which no one waits any more; do nothing if there is none."""
        if self.login is not None:
            with contextlib.suppress(InvalidStateError):  # the person has signed in
                self.login.set_exception(
                    LoginRequiredError("sign-in was given up, as no one waits for it any more", trouble=NOT_ASKED)
                )

    def overdue_error(self, grant: Grant) -> TokenTransportError:
        """Return the error for callers that waited too long for the leader."""
        callables = {name: value for name, value in _callables_of(grant) if name != "prompt"}
        if callables and self.thread is not None and not self.is_sending:
            names = " or ".join(f"{name} ({_name(value)})" for name, value in callables.items())
            return TokenTransportError(
                f"the callable of {names} has not returned in another thread within the timeout; "
                "give it a timeout of its own"
            )
        return TokenTransportError(
            "timed out waiting for a token request in another thread; "
            "check that the token endpoint's name resolves, or try again later"
        )


def _callables_of(grant: Grant) -> Iterator[tuple[str, Any]]:
    """Yield the callables of *grant* by the names of their arguments, those in its parameters and headers as well."""
    for name, value in sorted(vars(grant).items()):
        if callable(value):
            yield name, value
        elif isinstance(value, tuple):
            pairs = (pair for pair in value if isinstance(pair, tuple) and callable(pair[-1]))
            yield from ((f"{name}[{pair[0]!r}]", pair[-1]) for pair in pairs)


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


@contextlib.contextmanager
def taking_part(flight: Flight, lock: contextlib.AbstractContextManager[Any]) -> Iterator[None]:
    """Be one of the callers of *flight*: when the last one is interrupted, a login is given up."""
    with lock:
        flight.callers += 1
    is_last = False
    try:
        yield
    except BaseException:
        is_last = True
        raise
    finally:
        with lock:
            flight.callers -= 1
            is_last = is_last and not flight.callers
        if is_last:
            flight.abandon_login()


@contextlib.contextmanager
def observed_wait(flight: Flight, grant: Grant, *, leads: bool) -> Iterator[None]:
    """Give observers the time that a caller waits for *flight*; one that *leads* it waits for no other."""
    began, waits = runtime.clock.monotonic(), not (leads or flight.done())
    yield
    if waits:
        seconds = runtime.clock.monotonic() - began
        notify(TokenEvent("waited", type(grant).__name__, endpoint_of(grant), seconds, None, LEADER))


async def wait_for_report(flight: Flight) -> None:
    """Wait in asyncio or trio, for a second at most, until observers have the events of *flight*, which is complete."""
    for _ in range(_REPORT_POLLS):
        if not flight.is_reporting:
            return
        await runtime.sleep_in_loop(_REPORT_POLL)


async def wait_in_loop(flight: Awaited[Any], seconds: float) -> None:
    """Wait in asyncio or trio until *flight* is complete or *seconds* have passed; cancellation leaves it as it is.

    Not by ``asyncio.wrap_future``, which cancels the future, and others wait for it too.
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        token = trio.lowlevel.current_trio_token()
        with trio.move_on_after(seconds):
            await flight.event_of(token, trio.Event, token.run_sync_soon).wait()
        return
    import asyncio

    loop = asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await flight.event_of(loop, asyncio.Event, loop.call_soon_threadsafe).wait()
