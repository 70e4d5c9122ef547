"""When to ask for a token: one flight for all who need one, renewal, refusals, and rest after a failure."""

from __future__ import annotations

import contextlib
import logging  # before the hooks of _loading: its own, which take its lock, then come later than they
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypedDict, TypeGuard

from auth_plugins._base.errors import (
    AuthError,
    ConfigurationError,
    TokenRequestError,
    TokenTransportError,
    copy_error,
    not_an_auth,
)
from auth_plugins._base.hosts import check_endpoint
from auth_plugins._base.loading import loading
from auth_plugins._base.runtime import runtime
from auth_plugins._base.validation import hide_arguments
from auth_plugins._caches.memory import Failure, GrantOfSession, MemoryCache, TokenCache, shared_cache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._transports.base import Transport, default_transport

# What is loaded by the first who needs it: most processes import this before they know whether they need a token.
if TYPE_CHECKING:
    from auth_plugins._caches.shared import SharedCache, SharedEntry
    from auth_plugins._protocol.messages import TokenRequest, TokenResponse

    from .flight import Flight

__all__ = ["Policy", "TokenSource", "source_for"]

_log = logging.getLogger("auth_plugins")

#: The share of its life in which a token is no longer handed out, whatever the leeway: else one of 30 seconds never is.
_LEEWAY_SHARE = 0.1
#: The share of its life, and the seconds, from which on a token is renewed in the background.
_AHEAD_SHARE, _AHEAD = 0.2, 240.0
#: Tells processes apart that have the same id, as containers do.
_OWN = os.urandom(8)
#: Seconds in which at most one token is asked for while fresh ones are refused as well.
_PROBATION = 30.0
#: How many tokens are given up within those seconds, though an API took each: one may take what another refuses.
_MOST_GIVEN_UP = 10
#: Seconds for which a refusal is remembered: the first one, the longest, and the longest that a server may ask for.
_REST, _LONGEST_REST, _LONGEST_RETRY_AFTER = 5.0, 60.0, 3600.0
#: How often a rest doubles at most: by then it is the longest, and a larger power is too large for a float.
_DOUBLINGS = 12
#: Seconds for which the token is kept, at least, after an attempt to replace it failed.
_SHORTEST_REST = 0.5
#: Seconds to wait before the second and the third try of a token request, more or less.
_PAUSES = (0.2, 0.8)
#: How often those who wait start over, when whoever asks is broken off, by Ctrl-C for one.
_TURNS = 5
#: Seconds that those who wait give the one who asks beyond his own time.
_GRACE = 1.0
#: Seconds, as :class:`TokenSource` describes them.
_LEEWAY, _TIMEOUT = 60.0, 10.0
#: Seconds by which the issue of a token may lie in the future, as machines' clocks differ; more: a clock was wrong.
_SKEW = 300.0
#: Arguments of grants by which a server knows the client.
_SECRETS = ("client_secret", "password", "refresh_token", "value")
#: How long another process may hold the lock of a shared cache, in shares of the timeout of its token request.
_LEASE_SHARE = 1.25
#: Seconds between two looks at a token that another process asks for: the least and the most, and the share of what was
#: waited so far, so that nobody waits for much longer than he has to, and a fleet doesn't keep the cache busy.
_SHORTEST_PAUSE, _LONGEST_PAUSE, _PAUSE_SHARE = 0.01, 0.5, 0.2


class Policy(TypedDict, total=False):
    """The arguments of a :class:`TokenSource` that its adapters hand on."""

    leeway: float
    timeout: float
    refresh_ahead: bool


class TokenSource:
    """Tokens of one grant: hands one out, and knows when to ask for another.

    Sources of equal grants over one cache share the token, and the request for it. Any thread and any event loop may
    use one, at the same time too. It serves what is no HTTP request as well: gRPC metadata, Kafka, WebSockets.

    :param grant: what to ask for.
    :param cache: where tokens are shared: a :class:`MemoryCache`, :class:`FileCache`, :class:`RedisCache`, or a
        :class:`TokenCache` of your own; ``None``: the memory that the whole process shares.
    :param leeway: seconds before its end from which a token is no longer handed out; at most a tenth of its life, so
        that a short-lived one is of use. 0: it is handed out to the last moment.
    :param timeout: seconds that a token request may take, further tries included. While another process asks, with a
        shared cache, it is waited for a little longer than that before this one asks.
    :param refresh_ahead: renew a token in the background some time before its end, so that no request waits.
    :raises ConfigurationError: an argument cannot work.

    Token requests are sent by the first installed of requests, httpx2 and httpx.
    """

    # What most sources have in common stands here once, as some make one for each request.
    _given_cache: MemoryCache | TokenCache | None = None
    #: What stands before a cache that processes share, and the memory of this one.
    _shared: SharedCache | None = None
    #: The leeway, and whether it is renewed ahead; sources that share a token need not have it in common.
    _window_of = (_LEEWAY, True)
    _timeout = _TIMEOUT
    _refresh_ahead = True
    #: An adapter puts its own library here.
    _transport: Transport | None = None
    _allow_http = False
    #: Whether an adapter may keep a token and ask no more while it is fresh: not where a subclass wants to be asked.
    _may_be_kept = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._may_be_kept = cls.token is TokenSource.token and cls.atoken is TokenSource.atoken

    def __init__(
        self,
        grant: Grant,
        *,
        cache: MemoryCache | TokenCache | None = None,
        leeway: float = _LEEWAY,
        timeout: float = _TIMEOUT,
        refresh_ahead: bool = True,
    ) -> None:
        if Grant not in type(grant).__mro__:
            raise ConfigurationError(
                f"a {type(grant).__name__} is no grant; give one, such as auth_plugins.ClientCredentials(...)"
            )
        self.grant = grant
        if cache is None:
            self._cache = shared_cache()
        else:
            self._cache = self._memory_before(cache)
        if self._shared is not None or leeway != _LEEWAY or timeout != _TIMEOUT or refresh_ahead is not True:
            self._timeout = _seconds("timeout", timeout, at_least=0.001)
            if not isinstance(refresh_ahead, bool):
                raise ConfigurationError(f"refresh_ahead is of type {type(refresh_ahead).__name__}; give True or False")
            self._refresh_ahead = refresh_ahead
            # Others may rely on a refresh token that nothing replaces: a script that ends in mid-renewal must not lose
            # it.
            renews_ahead = refresh_ahead and (grant.is_repeatable or self._shared is None)
            self._window_of = (_seconds("leeway", leeway, at_least=0.0), renews_ahead)
        self._state = self._cache.state(grant)

    @classmethod
    @hide_arguments
    def from_env(cls, prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Configure by environment variables: ``ACME_TOKEN_URL`` and so on for the *prefix* ``"ACME"``.

        :param environ: where the variables are looked up; ``None``: in ``os.environ``.
        :param overrides: arguments of this class, which win over variables.
        :raises ConfigurationError: a variable is missing, unknown, misspelt or contradicts another; or there are
            allowed hosts, which are a matter of an adapter.
        """
        from auth_plugins._environment.configuration import source_configuration

        grant, policy, allow_http = source_configuration(prefix, environ)
        source = cls(grant, **{**policy, **overrides})
        source._allow_http = allow_http
        return source

    def _memory_before(self, cache: MemoryCache | TokenCache) -> MemoryCache:
        self._given_cache = cache
        if isinstance(cache, MemoryCache):
            return cache
        if _is_token_cache(cache):
            with loading("cache"):
                from auth_plugins._caches.shared import shared_cache_for

            self._shared = shared_cache_for(cache)
            return self._shared.memory
        what = f"the class {cache.__name__}" if isinstance(cache, type) else f"a {type(cache).__name__}"
        raise ConfigurationError(
            f"cache is {what}; give a FileCache(), RedisCache(url or client), MemoryCache(), or an object of your "
            "own with get, set and delete, none of them async"
        )

    @property
    def _lease(self) -> float:
        return self._timeout * _LEASE_SHARE

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.grant!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled source is its configuration: no token, but the secrets of its grant; a library's session stays."""
        policy = Policy(leeway=self._window_of[0], timeout=self._timeout, refresh_ahead=self._refresh_ahead)
        return _unpickled, (type(self), self.grant, self._given_cache, policy, self._allow_http)

    def __call__(self, *_: object) -> NoReturn:
        """Say what ``auth=`` wants: requests and httpx call whatever they are given there."""
        raise not_an_auth(self)

    def token(self) -> Token:
        """A token that can be used now; blocks only if one has to be asked for.

        :raises TokenRequestError: the token endpoint refused; the same again, without asking, for 5 to 60 seconds.
        :raises TokenTransportError: the token endpoint could not be reached in time.
        :raises InsecureTransportError: it is ``http://``, and not on loopback.
        :raises ConfigurationError: a secret cannot be read.
        """
        state = self._state
        token, (seen, window, since, until) = state.token, state.seen
        if token is not None and seen is token and window == self._window_of and since <= runtime.time() < until:
            return token
        return self._usable() or self._wait()

    async def atoken(self) -> Token:
        """The same as :meth:`token`, for asyncio and trio; a token is asked for in a thread, and no loop is held up.

        A task that is cancelled meanwhile takes the token from nobody else.
        """
        state = self._state
        token, (seen, window, since, until) = state.token, state.seen
        if token is not None and seen is token and window == self._window_of and since <= runtime.time() < until:
            return token
        return self._usable() or await self._await()

    def fresh_between(self, token: Token) -> tuple[float, float]:
        """For adapters: from when until when *token*, while the slot has it, needs no other look; Unix seconds.

        Before that the clock was set back: it was wrong when the token came, or is now.
        """
        seen, window, since, until = self._state.seen
        return (since, until) if seen is token and window == self._window_of and self._may_be_kept else (0.0, 0.0)

    def invalidate(self, token: Token) -> None:
        """Never hand out *token* again: it was refused. A newer one stays, and so does the refresh token."""
        with self._cache.lock:
            self._state.refuse(token)
            self._state.failure = None

    def revoke(self) -> None:
        """Give the tokens back to the server (RFC 7009), where the grant has a ``revocation_url``, and forget them.

        :raises TokenRequestError: the server refused; the tokens are forgotten all the same.
        :raises TokenTransportError: the server could not be reached; likewise.
        """
        read, state, shelf = self._loaded(), self._state, self._shared_entry()
        from .revocation import revoke_tokens

        with contextlib.nullcontext() if shelf is None else self._waiting_for(shelf):
            lying = shelf.read() if shelf else None
            with self._cache.lock:
                token, refreshable = state.token, state.refreshable
                for each in filter(None, (token, lying)):
                    state.refuse(each)
                # A flight under way lands for those who wait for it, and for nobody else.
                state.token = state.refreshable = state.failure = state.flight = None
            if shelf:
                shelf.clear()
        deadline = runtime.monotonic() + self._timeout

        def send(request: TokenRequest) -> None:
            response = self._send(request, deadline)
            if not 200 <= response.status < 300:
                read(request, response, runtime.time())

        revoke_tokens(
            self.grant,
            dict.fromkeys(each.access_token for each in (token, lying) if each),
            dict.fromkeys(each.refresh_token for each in (refreshable, lying) if each),
            send,
        )

    def seed(self, token: Token | Mapping[str, Any]) -> None:
        """Use *token*, which was obtained elsewhere, as if it had just been fetched.

        Whoever waits for a token request gets it, a remembered refusal ends, and a shared cache holds it. The refresh
        token comes along.

        :param token: a :class:`Token`, or the members of a token endpoint's answer (RFC 6749 §5.1).
        :raises ConfigurationError: it is neither; the message names the member, and no value.
        """
        state, now = self._state, runtime.time()
        seeded = self._read_seed(token, now)
        del token  # a traceback keeps this frame's variables
        if isinstance(seeded, ConfigurationError):
            raise seeded
        with self._cache.lock:
            flight, state.flight = state.flight, None
            state.refused = tuple(each for each in state.refused if each.access_token != seeded.access_token)
            state.seeded_at, state.refreshable = now, seeded if seeded.refresh_token else None
            self._put(seeded)
        if flight is not None:
            flight.complete(None)  # those who wait look again
        shelf = self._shared_entry()
        if shelf is None:
            return
        # Other processes tell the newest by the time of its issue.
        dated = seeded if seeded.issued_at else Token(**{**seeded.members(), "issued_at": now})
        with self._waiting_for(shelf):
            is_shared = shelf.store(dated, shelf.read())
        with self._cache.lock:
            if is_shared and state.token is seeded:
                state.lay = dated
                if self.grant.is_repeatable:
                    state.refreshable = None

    def _read_seed(self, given: object, now: float) -> Token | ConfigurationError:
        if not isinstance(given, (Token, Mapping)):
            return ConfigurationError(
                f"seed() was given a {type(given).__name__}; give a Token, or the members of a token endpoint's answer"
            )
        self._loaded()
        from .seeding import problem_of, token_of

        if isinstance(given, Token):
            return problem_of(given) or given
        return token_of(given, getattr(self.grant, "token_url", "seed()"), now)

    def reject(self, token: Token) -> bool:
        """Give up *token*, which an API refused; return whether another may be had in its place.

        For adapters, which call it whether or not they can send the request again; others call :meth:`invalidate`.
        It may not while fresh tokens are refused as well: an API that answers 401 to every token is asked for one at
        most every 30 seconds (for ten, where others take them), and *token* stays in use, for something has to be sent.
        """
        state, now = self._state, runtime.elapsed()
        with self._cache.lock:
            if state.token != token:
                state.refuse(token)
                return True
            recent = tuple(moment for moment in state.given_up if moment > now - _PROBATION)
            if now >= state.probation_until and len(recent) < _MOST_GIVEN_UP:
                state.failure = None
                state.probation_until, state.given_up = now + _PROBATION, (*recent, now)
                state.refuse(token)
                return True
            is_told = now < state.warned_until
            if not is_told:
                state.warned_until = now + _PROBATION
        if not is_told:
            name = getattr(self.grant, "token_url", type(self.grant).__name__)
            _log.warning(
                "an API refuses fresh tokens of %s too; check audience and scope, and that the API trusts this server",
                name.partition("?")[0],
            )
        return False

    def accept(self, token: Token) -> None:
        """For adapters: note that an API took *token*, so that its next refusal is another matter."""
        state = self._state
        # Without the lock, as it is called for each answer: at worst a probation that just began ends at once.
        if state.probation_until and state.token is token:
            state.probation_until = 0.0

    def _usable(self) -> Token | None:
        """The token, if it may still be handed out; its renewal begins where it is time for it."""
        state, now = self._state, runtime.time()
        token = state.token
        if token is None:
            return None
        refresh_at, until = self._window(token)
        if now >= until or now < token.issued_at - _SKEW:
            # The token endpoint could not give another a moment ago: better this one than an error.
            return token if runtime.elapsed() < state.serves_until and self._is_alive(token) else None
        if now < refresh_at:
            state.seen = (token, self._window_of, token.issued_at - _SKEW, refresh_at)
        elif self._window_of[1] and runtime.elapsed() >= state.renew_after:
            self._renew_in_background(token)
        return token

    def _renew_in_background(self, token: Token) -> None:
        # The token is good: what prevents a renewal now is an error only for a caller that has no token.
        with contextlib.suppress(AuthError):
            flight, leads = self._join(renewing=token)
            if leads:
                _log.debug("a token is renewed in the background")
                self._lead_in_background(flight)

    @staticmethod
    def _is_alive(token: Token) -> bool:
        return token.expires_at is None or runtime.time() < token.expires_at

    def _spare(self) -> Token | None:
        """The token that goes on being used when no other can be had: not refused, and not really expired."""
        token = self._state.token
        if token is None or not self._is_alive(token):
            return None
        with self._cache.lock:
            if runtime.elapsed() >= self._state.serves_until:  # the attempt goes on: others need not wait for it
                self._wait_to_replace(has_failed=True)
        _log.debug("no other token can be had; this one is used until it expires")
        return token

    def _window(self, token: Token) -> tuple[float, float]:
        """From when *token* is renewed in the background, and until when it is handed out; Unix seconds."""
        if token.expires_at is None:
            return math.inf, math.inf
        # One from another machine may have been issued in what is the future here.
        lifetime = max(0.0, token.expires_at - (token.issued_at or self._state.seeded_at))
        leeway, renews_ahead = self._window_of
        leeway = min(leeway, _LEEWAY_SHARE * lifetime)
        ahead = min(leeway + _AHEAD, _AHEAD_SHARE * lifetime) if renews_ahead else leeway
        # A fleet that got its tokens in step must not renew them in step; for one token it has to stay the same.
        spread = (hash((token.access_token, os.getpid(), _OWN)) & 0xFF) / 0x400
        return token.expires_at - ahead + spread * (ahead - leeway), token.expires_at - leeway

    def _wait(self) -> Token:
        try:
            return self._waited()
        except AuthError:
            if (token := self._spare()) is None:
                raise
            return token

    def _waited(self) -> Token:
        with loading("flight"):
            from .flight import wait

        for _ in range(_TURNS):
            has_spare = self._life_left() is not None
            flight, leads = self._join(leader=None if has_spare else threading.get_ident())
            if leads and not has_spare:
                self._lead(flight)
            else:
                if leads:
                    self._lead_in_background(flight)
                wait([flight], self._patience(flight))
            if (token := self._outcome(flight)) is not None:
                return token
        raise _broken_off()

    async def _await(self) -> Token:
        try:
            return await self._awaited()
        except AuthError:
            if (token := self._spare()) is None:
                raise
            return token

    async def _awaited(self) -> Token:
        with loading("async"):
            from .waiting import wait_for

        for _ in range(_TURNS):
            flight, leads = self._join()
            if leads:
                self._lead_in_background(flight)
            await wait_for(flight, self._patience(flight))
            if (token := self._outcome(flight)) is not None:
                return token
        raise _broken_off()

    def _patience(self, flight: Flight) -> float:
        """Seconds to wait for a flight: those it has left, or one's own, and a little more.

        Half of the time that a token still lives, if there is one: it is used then.
        """
        patience, left = max(self._timeout, flight.deadline - runtime.monotonic()) + _GRACE, self._life_left()
        return patience if left is None else min(patience, left / 2)

    def _life_left(self) -> float | None:
        """Seconds until the token really expires; ``None``: there is no such token."""
        token = self._state.token
        if token is None or token.expires_at is None or not self._is_alive(token):
            return None
        return token.expires_at - runtime.time()

    def _outcome(self, flight: Flight) -> Token | None:
        """What a flight brought to one who waited for it; ``None``: it was broken off, and is to be tried again."""
        if not flight.done():
            from .reports import overdue

            raise overdue(flight, self.grant)
        error = flight.exception()
        if error is None:
            return flight.result()
        assert isinstance(error, AuthError)  # noqa: S101 - nothing else is ever put there
        raise copy_error(error, type(error)) from error.__cause__

    def _join(self, renewing: Token | None = None, leader: int | None = None) -> tuple[Flight, bool]:
        """The flight under way, or a new one, which the caller then leads.

        :param renewing: the token to be renewed although it can still be used.
        :param leader: the thread that leads a new one, if it is this one.
        """
        with loading("flight"):
            from . import reports  # noqa: F401 - loaded here, and used further on
            from .flight import Flight

        state = self._state
        with self._cache.lock:
            flight = state.flight
            # One whose leader was lost, killed before it could say so, is waited for by nobody.
            if flight is not None and runtime.monotonic() < flight.deadline + 2 * _GRACE:
                if flight.leader == threading.get_ident():
                    raise ConfigurationError(
                        "the token request needs the very token that it asks for; "
                        "let its session, the callable that returns its secret, or the signal handler that broke in, "
                        "do without this auth"
                    )
                return flight, False
            if flight is not None:
                self._hold_back(flight)
            patience = self._lease + _GRACE if self._shared else 0.0
            flight = Flight(runtime.monotonic() + patience + self._timeout, renewing, leader)
            # Look again: the last flight may have landed since we looked.
            token = state.token
            if token is not None and token is not renewing and self._serves(token):
                flight.set_result(token)
                return flight, False
            state.flight = flight
            return flight, True

    def _serves(self, token: Token) -> bool:
        """Whether *token* may be handed out."""
        now = runtime.time()
        in_time = token.issued_at - _SKEW <= now < self._window(token)[1]
        return in_time or (runtime.elapsed() < self._state.serves_until and self._is_alive(token))

    def _hold_back(self, flight: Flight) -> None:
        """Raise while the leader of an overdue *flight* hangs: each new one would cost one more stuck thread.

        Another may lead after a while that doubles each time. Under the lock.
        """
        if not flight.is_held_by_another():
            return
        state = self._state
        rest = min(_REST * 2 ** min(state.stuck, _DOUBLINGS), _LONGEST_RETRY_AFTER)
        if runtime.monotonic() < flight.deadline + 2 * _GRACE + rest:
            from .reports import overdue

            raise overdue(flight, self.grant)
        state.stuck += 1

    def _lead_in_background(self, flight: Flight) -> None:
        def lead() -> None:
            # Those who wait get the error; where none does, the token is still good, and it will be tried again.
            with contextlib.suppress(AuthError):
                self._lead(flight)

        try:
            runtime.start_thread(lead, "auth-plugins token request")
        except RuntimeError as error:  # the interpreter ends, or has too many threads
            self._land(flight, TokenTransportError(f"no thread could be started for the token request: {error}"))

    def _lead(self, flight: Flight) -> None:
        outcome: Token | AuthError | None = None
        failure: Failure | None = None
        try:
            flight.leader, flight.thread = threading.get_ident(), threading.current_thread()
            failure = self._resting()
            if failure is not None:
                raise copy_error(failure.error, type(failure.error)) from failure.error.__cause__  # noqa: TRY301 - it lands too
            outcome = self._ask(flight)
        except AuthError as error:
            outcome = error
            if failure is None:
                self._remember(error)
            raise
        except Exception as error:
            # Who asks sees it as it is; those who wait must not ask again for it, and send the password each time.
            outcome = TokenTransportError(
                f"the token request failed by an unexpected {type(error).__name__}; report it"
            )
            self._rest(outcome)
            raise
        finally:
            # Broken off by anything else, Ctrl-C for one: those who wait look again, and one of them leads.
            self._land(flight, outcome)
            del outcome  # an error whose traceback has this frame: they would keep each other
        if flight.obtained is not None and (token := flight.result()) is not None:
            from .reports import log_token

            # After the landing: a log handler may need this very token.
            log_token(token, *flight.obtained)

    def _land(self, flight: Flight, outcome: Token | AuthError | None) -> None:
        """End a flight: first the slot, then those who wait, for what they see next has to be there."""
        state = self._state
        with self._cache.lock:
            if state.flight is flight:
                state.flight, state.stuck = None, 0
                if isinstance(outcome, Token):
                    # One that lies where others find it is theirs as well: it is looked up again under the lock.
                    theirs = flight.is_shared and self.grant.is_repeatable
                    state.refreshable = outcome if outcome.refresh_token and not theirs else None
                    self._put(outcome)
                else:
                    self._put_off(flight, has_failed=outcome is not None)
            else:
                state.stuck = 0  # a leader that hung has come back: the next need not hang
        flight.complete(outcome)

    def _put(self, token: Token) -> None:
        """Have *token* be the one that is handed out; under the lock."""
        state, old, now = self._state, self._state.token, runtime.time()
        state.token, state.failure = token, None
        state.renew_after = state.serves_until = 0.0
        self._cache.keep(state)
        if old is None or old.access_token != token.access_token or old.expires_at is None:
            return
        if old.issued_at <= now + _SKEW:  # else it was dated by a clock that was wrong
            # A server that hands out one token until it ends, and rounds what is left of it, down to 0 at last.
            ends = max(old.expires_at, token.expires_at or 0.0) if token.expires_at or old.expires_at > now else None
            state.token = Token(**{**token.members(), "expires_at": ends})
            self._wait_to_replace(has_failed=True)

    def _put_off(self, flight: Flight, *, has_failed: bool) -> None:
        """Go on with the token that there is, and don't try to replace it for a while; under the lock."""
        state, lying = self._state, flight.fallback
        has_none = state.token is None or not self._is_alive(state.token)
        if has_failed and has_none and lying and self._is_alive(lying) and not state.is_behind(lying):
            state.token = state.lay = lying
            self._cache.keep(state)
        self._wait_to_replace(has_failed=has_failed)

    def _wait_to_replace(self, *, has_failed: bool) -> None:
        """Don't try to replace the token for a while; after a failure it is used meanwhile; under the lock."""
        state = self._state
        if state.token is not None and state.token.expires_at is not None:
            # One more try at a third of the way to its end, and so on.
            until = runtime.elapsed() + max(_SHORTEST_REST, (state.token.expires_at - runtime.time()) / 3)
            state.renew_after = until
            if has_failed:
                state.serves_until = until

    def _resting(self) -> Failure | None:
        """The refusal that is still remembered; none if a secret has changed since."""
        failure = self._state.failure
        if failure is None or runtime.elapsed() >= failure.until or failure.secrets != hash(self.grant.secrets()):
            return None
        return failure

    def _remember(self, error: AuthError) -> None:
        """Remember a refusal for a while that grows; a server in trouble is no refusal, unless it asks for rest."""
        if not isinstance(error, TokenRequestError):
            return
        if error.retry_after is None and (error.status_code or 0) >= 500:
            return
        self._rest(error, error.retry_after or 0.0)

    def _rest(self, error: AuthError, at_least: float = 0.0) -> None:
        """Ask no more for a while, which grows; *at_least* so many seconds."""
        try:
            secrets = hash(self.grant.secrets())
        except ConfigurationError:
            return
        from auth_plugins._base.frames import without_frames

        kept = without_frames(error)
        with self._cache.lock:
            times = self._state.failure.times + 1 if self._state.failure else 1
            rest = min(_REST * 2 ** min(times - 1, _DOUBLINGS), _LONGEST_REST)
            rest = max(rest, min(at_least, _LONGEST_RETRY_AFTER))
            self._state.failure = Failure(error=kept, secrets=secrets, until=runtime.elapsed() + rest, times=times)
        _log.debug("a refusal is remembered for %.0f s", rest)

    def _shared_entry(self) -> SharedEntry | None:
        """Where the token lies in the shared cache, if there is one."""
        return self._shared.shelf(self.grant, self._state) if self._shared else None

    def _ask(self, flight: Flight) -> Token | None:
        """Get a token: the one that another process put into the shared cache, or one of one's own.

        ``None``: another process renews it at this moment, and there is no hurry.
        """
        shelf = self._shared_entry()
        for _ in self._turns():
            if shelf is None:
                break
            if (found := self._taken(shelf.read(), flight)) is not None:
                return found
            with shelf.locked(self._lease) as held:
                if held:
                    # Look again: whoever held it before may have stored one since we looked.
                    lying = shelf.read()
                    return self._taken(lying, flight) or self._stored(shelf, lying, flight)
            if held is None:
                break
            if flight.renewing is not None:
                return None
        # Nobody can be agreed with, or whoever holds the lock is stuck: this process goes on by itself.
        return self._obtain(flight, self._state.refreshable)

    @contextlib.contextmanager
    def _waiting_for(self, shelf: SharedEntry) -> Iterator[None]:
        """Hold the lock of *shelf*; without it, where it cannot be had in time."""
        for _ in self._turns():
            with shelf.locked(self._lease) as held:
                if held is not False:
                    yield
                    return
        yield

    def _turns(self) -> Iterator[None]:
        """Turns to try the lock that another process holds, for as long as it is waited for."""
        began, slept = runtime.monotonic(), 0.0
        yield
        # By what was slept as well: a test that freezes time stops the clock.
        while (waited := max(runtime.monotonic() - began, slept)) <= self._lease + _GRACE:
            pause = _pause(waited)
            slept += pause
            runtime.sleep(pause)
            yield

    def _stored(self, shelf: SharedEntry, lying: Token | None, flight: Flight) -> Token:
        """Ask for a token, and store it before anyone uses it: a refresh token that is lost is worth a password."""
        state = self._state
        own, flight.fallback = state.refreshable, lying
        if lying is not None and lying.refresh_token and (own is None or lying != state.lay):
            own = lying  # another process stored it since
        token = self._obtain(flight, own, shelf)
        flight.is_shared = shelf.store(token, lying)
        state.lay = token if flight.is_shared else lying
        if state.flight is not flight:  # it was revoked, or given up, meanwhile, and is for those who wait alone
            shelf.delete(token)
        return token

    def _taken(self, lying: Token | None, flight: Flight) -> Token | None:
        """What another process left in the shared cache, if it is what *flight* is after."""
        flight.fallback = lying
        if lying is None or self._state.is_behind(lying):
            return None
        if not lying.issued_at - _SKEW <= runtime.time() < self._window(lying)[1]:
            return None
        flight.is_shared, self._state.lay = True, lying
        _log.debug("a token was found in the shared cache")
        return lying

    def _obtain(self, flight: Flight, refreshable: Token | None, shelf: SharedEntry | None = None) -> Token:
        """Renew by the refresh token where there is one, else, or where it is refused, trade the grant."""
        read, deadline = self._loaded(), runtime.monotonic() + self._timeout
        state, how = self._state, "refresh token"
        refusals: list[TokenRequestError] = []

        def ask(request: TokenRequest) -> Token:
            asked_at, began = runtime.time(), runtime.monotonic()
            flight.is_sent = True
            try:
                token = read(request, self._send(request, deadline), asked_at)
            except TokenRequestError as error:
                refusals.append(error)
                raise
            finally:
                flight.is_sent = False
            flight.obtained = request.endpoint, how, runtime.monotonic() - began
            return token

        try:
            old = refreshable.refresh_token if refreshable else None
            token = self.grant.refresh(ask, old)
            if token is not None:
                state.spend(old, token.refresh_token, is_own=old == self.grant.own_refresh_token())
                if state.flight is flight or state.refreshable is refreshable:
                    # The old one is spent, whatever becomes of this flight.
                    state.refreshable = token
                return token
            origin = self.grant.own_refresh_token()
            if origin is not None and (state.is_spent(origin) or (shelf and old not in (None, origin))):
                raise refusals[-1] if refusals else _spent(self.grant)
            how = type(self.grant).__name__
            if old is not None:
                state.refused_refresh = hash(old)
            if state.flight is flight or state.refreshable is refreshable:  # else it is one that was seeded meanwhile
                state.refreshable = None
            if refreshable and shelf:
                shelf.delete(refreshable)
            token = self.grant.request_token(ask)
            state.spend(origin, token.refresh_token, is_own=True)
            return _without(token, state.refused_refresh)
        finally:
            refusals.clear()  # an error's traceback has this frame: they would keep each other

    def _loaded(self) -> Callable[[TokenRequest, TokenResponse, float], Token]:
        """Load all that a token request needs, while nobody can fork; return what reads its answer."""
        global _read  # noqa: PLW0603 - loaded once
        if _read is None or self._transport is None:
            with loading("request"):
                # Loaded here, and used by grants, and further on.
                from auth_plugins._protocol import authlib_client  # noqa: F401 - see above
                from auth_plugins._protocol.answers import read

                from . import revocation, seeding  # noqa: F401 - see above

                self._transport = self._transport or default_transport()
                _read = read
        return _read

    def _send(self, request: TokenRequest, deadline: float) -> TokenResponse:
        """Send a token request, and again where that may help, at most twice."""
        check_endpoint(request.url, allow_http=self._allow_http)
        assert self._transport is not None  # noqa: S101 - it is loaded before a request is made
        pauses = iter(_PAUSES)
        while True:
            pause = next(pauses, None)
            try:
                response = self._transport(request, max(deadline - runtime.monotonic(), 0.001))
            except TokenTransportError:
                delay = _about(pause)
                if delay is None or runtime.monotonic() + delay >= deadline:
                    raise
            else:
                delay = _delay(response, pause)
                if delay is None or runtime.monotonic() + delay >= deadline:
                    return response
            _log.debug("%s did not answer, or is in trouble; it is asked again in %.1f s", request.endpoint, delay)
            runtime.sleep(delay)


#: What reads an answer; ``None``: it is not loaded yet.
_read: Callable[[TokenRequest, TokenResponse, float], Token] | None = None


def _without(token: Token, refused: int) -> Token:
    """*token*, without a refresh token whose hash is *refused*: the server hands out what it does not take."""
    is_refused = token.refresh_token is not None and hash(token.refresh_token) == refused
    return Token(**{**token.members(), "refresh_token": None}) if is_refused else token


def _spent(grant: Grant) -> TokenRequestError:
    """The error for a grant whose own refresh token has a successor that is not known here."""
    return TokenRequestError(
        f"the refresh token of this {type(grant).__name__} was used, and its successor was revoked, or belongs to the "
        "process that forked this one; obtain a new refresh token, or share the cache",
        error="invalid_grant",
    )


def _delay(response: TokenResponse, pause: float | None) -> float | None:
    """Seconds after which to ask again; ``None``: the answer is final."""
    if response.status != 429 and response.status < 500:
        return None
    from auth_plugins._protocol.answers import retry_after

    asked = retry_after(response, response.received_at) if response.status in (429, 503) else None
    if pause is None or (asked is None and response.status == 429):
        return None
    return _about(pause) if asked is None else asked


def _about(pause: float | None) -> float | None:
    """Spread *pause*, so that many who failed at once don't come back at once."""
    return None if pause is None else pause * _spread()


def _spread() -> float:
    return runtime.uniform(0.5, 1.0)


def _is_token_cache(cache: object) -> TypeGuard[TokenCache]:
    # A class; a client of Redis, which has these methods and others' arguments; one that belongs to an event loop.
    import inspect

    odd = isinstance(cache, type) or hasattr(cache, "execute_command")
    return not odd and isinstance(cache, TokenCache) and not inspect.iscoroutinefunction(cache.get)


def _pause(waited: float) -> float:
    """Seconds until the next look at what another process asks for."""
    return min(max(_SHORTEST_PAUSE, waited * _PAUSE_SHARE), _LONGEST_PAUSE) * _spread()


def _unpickled(
    kind: type[TokenSource],
    grant: Grant,
    cache: MemoryCache | TokenCache | None,
    policy: Policy,
    allow_http: bool,  # noqa: FBT001 - as pickle hands it over
) -> TokenSource:
    source = kind(grant, cache=cache, **policy)
    source._allow_http = allow_http
    return source


def _broken_off() -> TokenTransportError:
    return TokenTransportError(
        "the token request was broken off again and again; "
        "check that the callable that returns the secret neither exits nor kills its thread"
    )


def _seconds(name: str, value: object, *, at_least: float) -> float:
    if type(value) is float and at_least <= value < math.inf:  # nearly always
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not at_least <= value < math.inf:
        raise ConfigurationError(f"{name} is {value!r}; give seconds, as a number of {at_least:g} or more")
    return float(value)


def source_for(
    grant_or_source: Grant | TokenSource,
    transport: Transport | None,
    *,
    allow_http: bool,
    cache: MemoryCache | TokenCache | None,
    leeway: float | None = None,
    timeout: float | None = None,
    refresh_ahead: bool | None = None,
    session: object = None,
) -> TokenSource:
    """Return the source behind an adapter, which sends its token requests by *transport*.

    A source that the user made keeps its own cache, leeway, timeout and, where *transport* is ``None``, library. A
    grant without a secret has one token for each *session*, the library's own behind *transport*: its certificate or
    headers may be all that the server knows the client by.

    :param leeway: as of :class:`TokenSource`, like the next two; ``None``: not given.
    :raises ConfigurationError: an argument is not valid, or contradicts the source's own.
    """
    given = {"leeway": leeway, "timeout": timeout, "refresh_ahead": refresh_ahead}
    policy: Any = {name: value for name, value in given.items() if value is not None}
    if not isinstance(grant_or_source, TokenSource):
        source = TokenSource(grant_or_source, cache=cache, **policy)
    elif cache is not None or policy:
        raise ConfigurationError("a TokenSource has its own cache and policy; give them to it, or give the grant here")
    elif transport is None and not allow_http:
        return grant_or_source
    else:
        source = object.__new__(type(grant_or_source))
        vars(source).update(vars(grant_or_source))
    if transport is not None:
        source._transport = transport
    source._allow_http = allow_http or source._allow_http  # a source of variables may allow it by itself
    if session is not None and _has_no_secret(source.grant):
        # Another process cannot know the session: nothing is shared with one.
        source._shared = None
        source._state = source._cache.state(GrantOfSession(source.grant, session))
    return source


def _has_no_secret(grant: Grant) -> bool:
    return hasattr(grant, "client_auth") and all(getattr(grant, name, None) is None for name in _SECRETS)
