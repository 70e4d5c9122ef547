"""Gets a token by token requests: by the refresh token if there is one, else by the grant."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from auth_plugins._base.errors import (
    REFUSED_REFRESH_TOKEN,
    STILL_PENDING,
    AuthError,
    LoginRequiredError,
    TokenRequestError,
    copy_error,
)
from auth_plugins._base.hosts import check_endpoint
from auth_plugins._base.loading import small_imports
from auth_plugins._base.observers import GRANT, REFRESH_TOKEN
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.grant_state import GrantState
from auth_plugins._grants.base import Grant
from auth_plugins._grants.issuer import Issuer
from auth_plugins._protocol.tokens import Token

from .flight import Flight
from .freshness import is_alive
from .retrying_sender import RetryingSender
from .wiring import endpoint_of

if TYPE_CHECKING:
    from concurrent.futures import Future

    from auth_plugins._caches.shared_entry import SharedEntry
    from auth_plugins._protocol.messages import TokenRequest, TokenResponse

_log = logging.getLogger("auth_plugins")


class GrantFetcher:
    """Refreshes, or, without a refresh token or where it is refused, requests a token by the grant.

    The order of changes to ``state.refreshable`` matters, as an attempt may end at any point: a refused refresh token
    is cleared before the grant is used, and a new one is set before the attempt completes.

    :param timeout: seconds for all token requests of one attempt.
    """

    def __init__(self, grant: Grant, state: GrantState, sender: RetryingSender, timeout: float) -> None:
        self._grant, self._state, self._sender, self._timeout = grant, state, sender, timeout

    def fetch(self, flight: Flight, newer: Token | None = None, entry: SharedEntry | None = None) -> Token:
        """Get a token.

        :param newer: a token from the shared cache, whose refresh token is to be sent rather than this process's own.
        :param entry: the entry in the shared cache, whose lock is held.
        """
        if self._grant.sends_token_requests:
            self._sender.load()
        exchange = _Exchange(self._grant, self._sender, flight, self._timeout)
        if flight.refreshing is not None or any(
            is_alive(each, runtime.clock.time()) for each in (self._state.token, flight.fallback) if each
        ):
            exchange.no_login = "no one is asked to while the present token can be used"
        exchange.find_endpoints()
        refreshable = newer or self._state.refreshable
        old = refreshable.refresh_token if refreshable else None
        try:
            token = exchange.grant.refresh(exchange, old)
            if token is None:
                return self._request(exchange, flight, refreshable, entry)
        finally:
            exchange.refusal = None  # an error and the frames of its traceback must not keep each other
        token = _keep_extra(token, refreshable)
        self._state.spend(old, token.refresh_token, is_own=old == self._grant.own_refresh_token())
        if self._owns(flight, refreshable):
            self._state.refreshable = token
        return token

    def _request(
        self, exchange: _Exchange, flight: Flight, refreshable: Token | None, entry: SharedEntry | None
    ) -> Token:
        """Get a token by the grant, after the refresh token of *refreshable* was refused, or there is none."""
        grant, state = exchange.grant, self._state
        old, origin = refreshable.refresh_token if refreshable else None, grant.own_refresh_token()
        if origin is not None and (state.is_spent(origin) or (entry and old not in (None, origin))):
            raise exchange.refusal or LoginRequiredError(
                f"the refresh token of this {type(grant).__name__} was used, and its successor was revoked, or belongs "
                "to the process that forked this one; obtain a new refresh token, or share the cache",
                error="invalid_grant",
            )
        if old is not None:
            state.refused_refresh_token = hash(old)
        if self._owns(flight, refreshable):
            state.refreshable = None
        if refreshable and entry:
            self._forget(refreshable, entry)
        grant.check_login(exchange)
        exchange.sends = GRANT
        if exchange.refusal is not None:
            status = exchange.refusal.status_code
            sent = type(grant).__name__
            _log.debug("the refresh token was refused (%s); the credentials are sent (%s)", status, sent)
        began = runtime.clock.monotonic()
        token = grant.request_token(exchange)
        if not (grant.sends_token_requests or grant.is_constant):
            flight.note(grant, endpoint_of(grant), runtime.clock.monotonic() - began, None)
        if origin is not None:  # it was a refresh as well
            token = _keep_extra(token, state.token or flight.fallback or next(iter(state.rejected), None))
        state.spend(origin, token.refresh_token, is_own=True)
        if token.refresh_token is not None and hash(token.refresh_token) == state.refused_refresh_token:
            # The server issues a refresh token that it refuses: do not send it at each expiry.
            return Token(**{**token.members(), "refresh_token": None})
        return token

    def _forget(self, refused: Token, entry: SharedEntry) -> None:
        """Delete the token whose refresh token was *refused*; where the next one costs a login, only the latter."""
        if self._grant.is_interactive and is_alive(refused, runtime.clock.time()) and entry.read() == refused:
            rest = Token(**{**refused.members(), "refresh_token": None})
            if entry.store(rest, refused):
                self._state.last_shared = rest
                return
        entry.delete(refused)

    def _owns(self, flight: Flight, refreshable: Token | None) -> bool:
        """Return whether the refresh token of this process is that of *flight*: no other was seeded, none revoked."""
        return self._state.flight is flight or self._state.refreshable is refreshable


def _keep_extra(token: Token, old: Token | None) -> Token:
    """Return *token* with the extra members of *old*, the token that it replaces, that it has not itself."""
    if old is None or old.extra.keys() <= token.extra.keys():
        return token
    return Token(**{**token.members(), "extra": {**old.extra, **token.extra}})


class _Exchange:
    """Sends the token requests of one attempt, and reads their answers."""

    def __init__(self, grant: Grant, sender: RetryingSender, flight: Flight, timeout: float) -> None:
        self._sender, self._flight, self._timeout = sender, flight, timeout
        #: The grant whose requests are sent.
        self.grant = grant
        self._deadline = runtime.clock.monotonic() + timeout
        #: Why no person may be asked to sign in; ``""``: one may.
        self.no_login = ""
        #: What is sent, for observers.
        self.sends = REFRESH_TOKEN
        #: The last error that the token endpoint answered.
        self.refusal: TokenRequestError | None = None

    def find_endpoints(self) -> None:
        """Use the endpoints of the grant's issuer, if it has one."""
        if not isinstance(getattr(self.grant, "token_url", None), Issuer):
            return
        with small_imports():
            from .discovery.resolver import with_endpoints
        self._flight.is_sending = True
        try:
            self.grant = with_endpoints(self.grant, self._sender, self.deadline)
        finally:
            self._flight.is_sending = False

    @property
    def deadline(self) -> float:
        """When to end, by ``runtime.clock.monotonic``; during a login each request has the whole time."""
        return runtime.clock.monotonic() + self._timeout if self._flight.login is not None else self._deadline

    def send(self, request: TokenRequest) -> tuple[TokenRequest, TokenResponse]:
        """Send a request; return what was sent last, and the answer."""
        return self._send(request)[:2]

    def _send(self, request: TokenRequest) -> tuple[TokenRequest, TokenResponse, float]:
        self._flight.is_sending = True
        try:
            return self._sender.send(request, self.deadline)
        finally:
            self._flight.is_sending = False

    def check_url(self, url: str) -> None:
        """Raise an InsecureTransportError if credentials would travel to *url* in clear."""
        check_endpoint(url, allow_http=self._sender.allow_http)

    def begin_login(self, seconds: float, answer: Future[Any]) -> None:
        """Note that a person has so many seconds: callers wait for that long; *answer* ends when none does."""
        flight = self._flight
        flight.login = answer
        flight.login_until = runtime.clock.monotonic() + seconds + self._timeout
        flight.deadline = max(flight.deadline, flight.login_until)
        _log.info("a person is asked to sign in (%s)", type(self.grant).__name__)

    def __call__(self, request: TokenRequest) -> Token:
        from auth_plugins._protocol.answers import read

        began = runtime.clock.monotonic()
        try:
            sent, response, asked_at = self._send(request)
            token = read(sent, response, asked_at)
            if sent.proof is not None:
                sent.proof.bind(token.access_token)
        except TokenRequestError as error:
            self.refusal = self._refusal(error)
            # That a person has not entered the code yet is no refusal.
            if self._flight.login is None or error.error not in STILL_PENDING:
                self._note(request, began, self.refusal)
            raise self.refusal from error.__cause__
        except AuthError as error:
            self._note(request, began, error)
            raise
        self._note(request, began, None)
        return token

    def _note(self, request: TokenRequest, began: float, error: AuthError | None) -> None:
        seconds = runtime.clock.monotonic() - began
        self._flight.note(self.grant, request.endpoint, seconds, error, self.sends)

    def _refusal(self, error: TokenRequestError) -> TokenRequestError:
        """Return the error to raise for *error*: only a login replaces what a grant that is used up consisted of."""
        if self.grant.is_repeatable or error.error not in REFUSED_REFRESH_TOKEN:
            return error
        return copy_error(error, LoginRequiredError, transient=False)
