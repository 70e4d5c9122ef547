"""At most one attempt at a time to get a token: its leader, its waiters, and background refreshes."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from auth_plugins._base.errors import (
    NOT_ASKED,
    AuthError,
    ConfigurationError,
    LoginRequiredError,
    TokenTransportError,
    copy_error,
)
from auth_plugins._base.observers import has_observers
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.grant_state import GrantState
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token

from . import current_token
from .flight import Ending, Flight, observed_wait, taking_part, wait_for_report, wait_in_loop
from .freshness import Schedule
from .negative_cache import LONGEST_RETRY_AFTER, NegativeCache, back_off, unexpected_error
from .wiring import GRACE

if TYPE_CHECKING:
    from .subjects.exchange_fetch import ExchangeFetch

_log = logging.getLogger("auth_plugins")

#: How many attempts in a row a caller takes part in while they end without a token and without an error.
_MOST_ATTEMPTS = 5


class SingleFlight:
    """Lets one caller get a token by *fetcher* while all others wait for its result.

    :param timeout: seconds that the token requests of one attempt may take.
    :param lock_timeout: seconds that another process is waited for before that.
    """

    def __init__(
        self,
        fetcher: NegativeCache | ExchangeFetch,
        grant: Grant,
        memory: MemoryCache,
        state: GrantState,
        schedule: Schedule,
        timeout: float,
        lock_timeout: float,
    ) -> None:
        self._fetcher, self._grant, self._memory, self._state = fetcher, grant, memory, state
        self._schedule, self._timeout, self._lock_timeout = schedule, timeout, lock_timeout

    def fetch(self) -> Token:
        """Return a new token: lead an attempt in this thread, or wait for that of another."""
        try:
            for _ in range(_MOST_ATTEMPTS):
                # While the old token lives, no caller waits for the whole timeout: it is used then.
                is_urgent = not current_token.seconds_left(self._state)
                flight, leads = self._join(leader=threading.get_ident() if is_urgent else None)
                with taking_part(flight, self._memory.lock):
                    if leads and is_urgent:
                        self._lead(flight)
                    elif leads:
                        self._lead_in_background(flight, contextvars.copy_context().run)
                    if not flight.done():
                        with observed_wait(flight, self._grant, leads=leads):
                            runtime.wait(flight, self._wait_timeout(flight))
                            while seconds := flight.login_seconds():
                                runtime.wait(flight, seconds + GRACE)
                if isinstance(result := self._result(flight), Token):
                    return result
            raise _interrupted_error()
        except AuthError:
            if (token := current_token.keep_using(self._memory, self._state)) is None:
                raise
            return token

    async def afetch(self) -> Token:
        """Return the same in asyncio or trio: a thread leads, so that no event loop is blocked."""
        try:
            for _ in range(_MOST_ATTEMPTS):
                flight, leads = self._join()
                with taking_part(flight, self._memory.lock):
                    if leads:
                        self._lead_in_background(flight, contextvars.copy_context().run)
                    with observed_wait(flight, self._grant, leads=leads):
                        await wait_in_loop(flight, self._wait_timeout(flight))
                        while seconds := flight.login_seconds():
                            await wait_in_loop(flight, seconds + GRACE)
                    if leads:  # as a thread that leads returns after its observers
                        await wait_for_report(flight)
                if isinstance(result := self._result(flight), Token):
                    return result
            raise _interrupted_error()
        except AuthError:
            if (token := current_token.keep_using(self._memory, self._state)) is None:
                raise
            return token

    def refresh(self, token: Token) -> None:
        """Begin to replace *token*, which is used meanwhile: what prevents it now is no error yet."""
        with contextlib.suppress(AuthError):
            flight, leads = self._join(refreshing=token)
            if leads:
                _log.debug("a token is refreshed in the background")
                self._lead_in_background(flight)

    def _wait_timeout(self, flight: Flight) -> float:
        """Return the seconds to wait for *flight*: at most half of the time that a present token lives."""
        seconds = max(self._timeout, flight.deadline - runtime.clock.monotonic()) + GRACE
        left = current_token.seconds_left(self._state)
        return min(seconds, left / 2) if left else seconds

    def _result(self, flight: Flight) -> Token | Ending:
        if not flight.done():
            raise flight.overdue_error(self._grant)
        error = flight.exception()
        if isinstance(error, LoginRequiredError) and error.trouble == NOT_ASKED and self._may_ask(flight):
            return Ending.NOT_ASKED
        if isinstance(error, AuthError):
            # Each caller raises a copy: raising one object in many threads would mix up its traceback.
            raise copy_error(error, type(error)) from error.__cause__
        return flight.result()

    def _may_ask(self, flight: Flight) -> bool:
        """Return whether this caller can ask a person, other than the leader of *flight*."""
        is_other = flight.leader != threading.get_ident()
        return is_other and self._grant.can_ask and current_token.keep_using(self._memory, self._state) is None

    def _join(self, refreshing: Token | None = None, leader: int | None = None) -> tuple[Flight, bool]:
        """Return the present attempt, or a new one, and whether the caller has to lead it."""
        state = self._state
        with self._memory.lock:
            flight, now = state.flight, runtime.clock.monotonic()
            if flight is not None:
                # Later its leader is lost, interrupted before it could say so, or stuck.
                if now < flight.deadline + 2 * GRACE:
                    if flight.leader == threading.get_ident():
                        raise ConfigurationError(
                            "the token request needs the very token that it asks for; let its session, the callable "
                            "that returns its secret, or the signal handler that broke in, do without this auth"
                        )
                    return flight, False
                self._check_stuck(flight)
            flight = Flight(now + self._lock_timeout + self._timeout, refreshing, leader)
            # Look again: the last attempt may have completed meanwhile.
            token = state.token
            is_due = token is refreshing or state.asks_sources
            if token is not None and not is_due and current_token.is_usable(state, token, self._schedule):
                flight.set_result(token)
                return flight, False
            state.flight = flight
            return flight, True

    def _check_stuck(self, flight: Flight) -> None:
        """Raise while the leader of an overdue *flight* is stuck: each new leader could cost one more thread.

        Another may lead after a back-off that doubles each time; under the lock.
        """
        if flight.is_stuck():
            seconds = min(back_off(self._state.stuck), LONGEST_RETRY_AFTER)
            if runtime.clock.monotonic() < flight.deadline + 2 * GRACE + seconds:
                raise flight.overdue_error(self._grant)
            self._state.stuck += 1

    def _lead_in_background(self, flight: Flight, call: Callable[..., None] | None = None) -> None:
        """Fetch in a thread; *call* is of the caller's context, so that traces show whose token request it is."""

        def lead() -> None:
            # The waiters raise the error; if there are none, the present token is still good.
            with contextlib.suppress(AuthError):
                self._lead(flight) if call is None else call(self._lead, flight)

        try:
            runtime.start_thread(lead, "auth-plugins token request")
        except RuntimeError as error:  # the interpreter exits, or has too many threads
            self._complete(flight, TokenTransportError(f"no thread could be started for the token request: {error}"))

    def _lead(self, flight: Flight) -> None:
        """Fetch in this thread, and complete *flight*, whatever happens."""
        # On any other exit (for example KeyboardInterrupt) the waiters retry, and one of them becomes the new leader.
        result: Token | AuthError | Ending = Ending.INTERRUPTED
        try:
            flight.leader, flight.thread = threading.get_ident(), threading.current_thread()
            result = self._fetcher.fetch(flight)
        except AuthError as error:
            result = error
            raise
        except Exception as error:
            result = unexpected_error(error)  # for the waiters: the leader raises it as it is
            raise
        finally:
            flight.is_reporting = has_observers()
            self._complete(flight, result)
            flight.report(self._grant, result)
            del result  # an error and the frames of its traceback must not keep each other

    def _complete(self, flight: Flight, result: Token | AuthError | Ending) -> None:
        """End an attempt: first the state, then the waiters, which look at the state next."""
        state = self._state
        with self._memory.lock:
            state.stuck = 0  # a leader that was stuck has come back, so the next need not be stuck
            if state.flight is flight:
                state.flight = None
                if isinstance(result, Token):
                    # The refresh token in the shared cache belongs to all processes: it is read there under the lock.
                    is_shared_token = flight.is_shared and self._grant.shares_refresh_token
                    state.refreshable = result if result.refresh_token and not is_shared_token else None
                    state.origins = flight.origins  # first, as readers take no lock
                    current_token.replace(self._memory, state, result)
                else:
                    has_failed = isinstance(result, AuthError)
                    if has_failed and flight.fallback is not None:
                        current_token.fall_back(self._memory, state, flight.fallback, flight.origins)
                    if has_failed:
                        current_token.restore(self._memory, state, state.doubted)
                    current_token.postpone(state, has_failed=has_failed)
        flight.complete(result)


def _interrupted_error() -> TokenTransportError:
    return TokenTransportError(
        "the token request was interrupted each time; "
        "check that the callable that returns the secret neither exits nor kills its thread"
    )
