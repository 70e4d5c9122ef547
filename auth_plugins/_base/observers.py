"""The one place by which the log and the observers of users are given what happens to tokens."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import inspect
import logging
import sys
import threading
from collections.abc import Callable

from .errors import AuthError, ConfigurationError
from .frozen import Record
from .runtime import runtime

_log = logging.getLogger("auth_plugins")

#: Seconds; an observer that takes longer costs a warning.
_SLOW = 0.5
#: Seconds for which an event loop waits for its observers, so that a task finds what they did if they are quick.
_PATIENCE = 0.2

# Where a token, an error or a refusal comes from.
GRANT, REFRESH_TOKEN, SHARED_CACHE, API, LEADER = "grant", "refresh_token", "shared_cache", "api", "leader"


class TokenEvent(Record):
    """What happened to a token, for observers: immutable, and without any secret or token."""

    #: ``"obtained"``: a token was fetched, or found in a shared cache. ``"refused"``: by the token endpoint, or a token
    #: by an API. ``"failed"``: the token endpoint could not be reached, or a secret not be read. ``"waited"``: a caller
    #: waited for the token request of another thread.
    kind: str
    #: The class of the grant, such as ``"ClientCredentials"``.
    grant: str
    #: The token endpoint, without its query. For an ``Issuer`` that was not found its URL; for a grant without a token
    #: endpoint its own name.
    token_url: str
    #: How long the token request took, retries included, or the wait, in seconds. If *source* is ``"shared_cache"`` or
    #: ``"api"``: how old the token is; 0 if that is unknown.
    seconds: float
    #: The error of a token request, without its cause, which may be that of a function of yours. With ``"api"``, an
    #: error says that the API refuses new tokens too. ``None``: none.
    error: AuthError | None
    #: ``"grant"`` or ``"refresh_token"``, which was sent to the token endpoint; ``"shared_cache"``; ``"api"``: an API
    #: refused the token; ``"leader"``: another thread, whose token request this one waited for.
    source: str


Observer = Callable[[TokenEvent], object]
_observers: list[Observer] = []


class _Local(threading.local):
    #: Whether this thread runs an observer, whose own token requests are not given to observers.
    is_observing = False
    #: When what the present event is about ended, by ``runtime.clock.monotonic``; ``None``: just now.
    ended: float | None = None
    #: Set when observers have had the last event of the event loop in this thread.
    done: threading.Event | None = None


_local = _Local()


def add_observer(observer: Observer) -> None:
    """Call *observer* with a :class:`TokenEvent` for each token that is obtained, refused or failed in this process.

    It is called by the thread that had to do with the token, after all that wait for the token have it. A request waits
    for it, so *observer* must be quick: put what takes longer in a queue. Where that thread runs an event loop, another
    one calls it, in the context of the task. If it raises, or takes longer than half a second, a warning is logged. An
    observer that was added before is called once. No event is given for a request that finds its token in memory, for a
    remembered error, or for a token that an observer needs. A forked child has the observers of its parent.

    :raises ConfigurationError: it cannot be called, or is an ``async def``.
    """
    is_async = any(map(inspect.iscoroutinefunction, (observer, getattr(observer, "__call__", None))))  # noqa: B004
    if not callable(observer) or is_async:
        given = "an async def" if callable(observer) else f"an object of type {type(observer).__name__}"
        advice = "give a plain function of one argument"
        raise ConfigurationError(f"must be a callable, got {given}", argument="observer", advice=advice)
    if observer not in _observers:
        _observers.append(observer)


def remove_observer(observer: Observer) -> None:
    """Call *observer* no more. One that was not added is ignored."""
    if observer in _observers:
        _observers.remove(observer)


def has_observers() -> bool:
    """Return whether an observer was added."""
    return bool(_observers)


def ended_ago() -> float:
    """Return for how many seconds the token request of the event that this thread observes has been over."""
    return 0.0 if _local.ended is None else max(0.0, runtime.clock.monotonic() - _local.ended)


def notify(event: TokenEvent, expires_at: float | None = None, ended: float | None = None) -> None:
    """Log *event*, and give it to all observers; under no lock.

    :param expires_at: when the token expires that was obtained, in Unix seconds; ``None``: unknown.
    :param ended: when the token request ended, by ``runtime.clock.monotonic``; ``None``: just now.
    """
    _log_event(event, expires_at)
    if not _observers or _local.is_observing:
        return
    if in_event_loop():
        _observe_beside(event, ended)
    else:
        _observe(event, ended)


def in_event_loop() -> bool:
    """Return whether this thread runs a task of asyncio or trio."""
    trio, asyncio = sys.modules.get("trio"), sys.modules.get("asyncio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return True
    with contextlib.suppress(RuntimeError):
        return asyncio is not None and asyncio.get_running_loop() is not None
    return False


def _observe_beside(event: TokenEvent, ended: float | None) -> None:
    """Give *event* to all observers in another thread: one that is slow must not block the event loop."""
    context, done = contextvars.copy_context(), threading.Event()

    def observe() -> None:
        try:
            context.run(_observe, event, ended)
        finally:
            done.set()

    is_behind = _local.done is not None and not _local.done.is_set()
    _local.done = done
    try:
        runtime.start_thread(observe, "auth-plugins observers")
    except RuntimeError:  # the interpreter exits, or has too many threads
        observe()
    if not is_behind:  # else the loop would wait once more for the same slow observer
        done.wait(_PATIENCE)


def _observe(event: TokenEvent, ended: float | None) -> None:
    """Give *event* to all observers."""
    _local.is_observing, _local.ended = True, ended
    try:
        for observer in _observers.copy():
            _call(observer, event)
    finally:
        _local.is_observing = False


def _call(observer: Observer, event: TokenEvent) -> None:
    began = runtime.clock.monotonic()
    problem = ""
    try:
        observer(event)
    except Exception as error:  # its text may hold anything
        problem = f"raised {type(error).__name__}"
    if not problem and (seconds := runtime.clock.monotonic() - began) > _SLOW:
        problem = f"took {seconds:.1f} s, and a request may have waited for it"
    if problem:
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        _log.warning("the observer %s %s; tokens are not concerned", name, problem)


def _log_event(event: TokenEvent, expires_at: float | None) -> None:
    if event.kind == "obtained" and event.source == SHARED_CACHE:
        _log.debug("a token was found in the shared cache")
    elif event.kind == "obtained" and _log.isEnabledFor(logging.INFO):
        sent = "refresh token" if event.source == REFRESH_TOKEN else event.grant
        expiry = "tells no expiry"
        if expires_at is not None:
            expiry = f"expires at {dt.datetime.fromtimestamp(expires_at, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        _log.info("%s issued a token (%s) in %.2f s; it %s", event.token_url, sent, event.seconds, expiry)
    elif event.source == API and event.error is not None:
        _log.warning("%s", event.error)
