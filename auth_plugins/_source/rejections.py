"""What a rejected token costs: another one, at most every 30 seconds while new tokens are rejected as well.

Where only a rule of ``refused=`` says that a token is rejected, permissions may be missing instead. That costs one
token in 30 seconds, whatever is accepted meanwhile.

A rejected token is replaced in a shared cache by the next one. A process that may end before it needs one withdraws it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from auth_plugins._base.errors import AuthError
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.tokens import Token

from . import current_token, wiring

if TYPE_CHECKING:
    from .source import TokenSource

#: Seconds in which at most one token is replaced while new ones are rejected as well.
PROBATION = 30.0
#: How many tokens are replaced within those seconds if an API accepted each: one API may accept what another rejects.
_MOST_REJECTIONS = 10
#: Seconds after its issue in which a rejected token may be one that the API does not know yet.
SETTLES = 5.0
#: How many tokens are remembered that were sent once more for that reason.
_MOST_SETTLED = 4


def reject(source: TokenSource, token: Token, *, is_certain: bool) -> bool:
    """Give up *token*, which an API rejected; return whether another token may be fetched in its place.

    :param is_certain: ``False``: the API may mean that permissions are missing.
    """
    now, state = runtime.elapsed(), source._state
    with source._cache.lock:
        if state.token != token:
            if is_certain or state.doubted != token:
                state.reject(token)
            return True
        recent = tuple(moment for moment in state.rejection_times if moment > now - PROBATION)
        is_due = now >= state.probation_until and (is_certain or now >= state.doubted_until)
        if is_due and len(recent) < _MOST_REJECTIONS:
            state.failure = None
            state.rejection_times = (*recent, now)
            if is_certain:
                state.probation_until = now + PROBATION
            else:
                state.doubted_until = now + PROBATION
            state.reject(token)
            state.doubted = None if is_certain else token
            is_rejected, is_reported = True, True
        else:
            is_rejected, is_reported = False, is_certain and now >= state.warned_until
            if is_reported:
                state.warned_until = now + PROBATION
    if is_reported:
        _report(source, token, is_new=not is_rejected)
    return is_rejected


def _report(source: TokenSource, token: Token, *, is_new: bool) -> None:
    """Give observers and the log a rejected *token*.

    :param is_new: it took the place of another one that was rejected.
    """
    with small_imports():
        from auth_plugins._base.observers import API, TokenEvent, notify
    endpoint, error = wiring.endpoint_of(source.grant), None
    if is_new:
        advice = "check audience and scope, and that the API trusts this server"
        if token.token_type.lower() == "dpop":
            advice += (
                "; if the API refuses the DPoP proof instead, check this machine's clock, and that the API knows "
                "itself by the URL that is requested, as a proxy may change it"
            )
        error = AuthError(f"an API rejects new tokens of {endpoint} too", advice=advice)
    seconds = max(0.0, runtime.clock.time() - token.issued_at) if token.issued_at else 0.0
    notify(TokenEvent("refused", type(source.grant).__name__, endpoint, seconds, error, API))


def invalidate(source: TokenSource, token: Token) -> None:
    """Give up *token* for good, as the program says."""
    with source._cache.lock:
        source._state.reject(token)
        source._state.failure = None
    withdraw(source, token, is_rejected=False)


def withdraw(source: TokenSource, token: Token, *, is_rejected: bool = True) -> None:
    """Let no other process find *token* in the shared cache.

    No error of the cache is raised. In an event loop a thread does it, for which the interpreter waits at exit.

    :param is_rejected: an API rejected it for certain; ``False``: the program gives it up.
    """
    if source._shared is None or runtime.make_token is not None:
        return
    with small_imports():
        from auth_plugins._base.observers import in_event_loop

    def act() -> None:
        with contextlib.suppress(AuthError):  # the entry has no name, as a secret cannot be read
            entry = wiring.shared_entry(source)
            if entry is not None:
                entry.withdraw(token, source._lease, is_rejected=is_rejected)

    if in_event_loop():
        with contextlib.suppress(RuntimeError):  # no thread can be started: the next process meets the token
            runtime.start_thread(act, "auth-plugins cache", is_daemon=False)
    else:
        act()


def restore(source: TokenSource, token: Token, *, is_accepted: bool = False) -> None:
    """Use *token* again, as no other can be had, if its rejection was not certain, or it *is_accepted* by now."""
    memory, state = source._cache, source._state
    with memory.lock:
        if is_accepted or state.doubted == token:
            current_token.restore(memory, state, token)


def settles(source: TokenSource, token: Token) -> bool:
    """Return whether *token*, which was rejected on a replay, is so new that it is sent once more; once per token."""
    if not -SETTLES < runtime.clock.time() - token.issued_at < SETTLES:
        return False
    state = source._state
    with source._cache.lock:
        if token in state.settled:
            return False
        state.settled = (token, *state.settled[: _MOST_SETTLED - 1])
    return True
