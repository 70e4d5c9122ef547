"""OAuth 2.0 for requests: ``requests.get(url, auth=OAuth2Auth(grant))``, or ``session.auth = …``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self, Unpack

try:
    import requests
except ImportError as error:
    raise ImportError("auth_plugins.requests needs requests: pip install 'auth-plugins[requests]'") from error
from requests.auth import AuthBase

from auth_plugins._adapters.base import Adapter, header_value, own_errors, wrong_session
from auth_plugins._adapters.refusals import (
    DEFAULT_RULES,
    NO_BODY,
    NO_CONNECTION,
    SETTLE_PAUSE,
    RefusalRules,
    Refused,
    Verdict,
    is_repeatable,
    is_replayed,
    is_restored,
    settles,
)
from auth_plugins._adapters.requests_redirects import OriginBoundHeaders, keep_within_origin, origin_of
from auth_plugins._adapters.requests_replays import close, discard_body, rewind, send_again, verdict_of
from auth_plugins._base import errors
from auth_plugins._base.loading import small_imports
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import TokenSource
from auth_plugins._transports.base import LibraryTransport, Transport

if TYPE_CHECKING:
    from auth_plugins._adapters.base import Overrides

    class _Overrides(Overrides, total=False):
        session: requests.Session | None


__all__ = ["OAuth2Auth"]

_OWN_ERRORS = own_errors(__name__, requests.RequestException, requests.ConnectionError)
# Pickle finds an error by its name here.
ConfigurationError, InsecureTransportError, LoginRequiredError, TokenRequestError, TokenTransportError, AuthError = (
    _OWN_ERRORS
)
#: Sends token requests where no session is given.
_transport = LibraryTransport("requests")


class _TokenHook:
    """A token with the header that carries it, and the response hook of the requests that carry it.

    As a hook it replaces a rejected token, and keeps the token from other origins. Any number of requests share one.
    """

    __slots__ = ("header", "origin", "plain", "rules", "scheme", "since", "source", "token", "until")

    def __init__(self, source: TokenSource, header: str, scheme: str, rules: RefusalRules, token: Token) -> None:
        self.source, self.header, self.scheme, self.rules, self.token = source, header, scheme, rules, token
        #: What the header holds.
        self.plain = header_value(scheme, token)
        #: URLs that begin so may carry it without a further check, between these Unix seconds.
        self.origin, self.since, self.until = "", 0.0, 0.0

    def __dir__(self) -> list[str]:
        # Dumps show the attributes that are listed here.
        return sorted({*super().__dir__()} - {"plain"})

    def __reduce__(self) -> tuple[Any, ...]:
        # No token and no source: a request that is pickled was sent, as a rule.
        return functools.partial, (keep_within_origin, self.header)

    def __call__(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        sent = response.request
        # After a redirect to another origin, its responses come here as well. They do not concern this token.
        if sent.headers.get(self.header) != self.plain:
            return response
        if response.status_code < self.rules.least:
            self.source.accept(self.token)
        else:
            response = self._answer(response, **kwargs)
        # A session copies these headers to wherever a redirect leads.
        return keep_within_origin(self.header, response, sent)

    def _answer(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        """Return what the user gets for *response*, which may be a refusal."""
        verdict = verdict_of(self.rules, response)
        if verdict is Verdict.ACCEPTED:
            self.source.accept(self.token)
            return response
        return self._replace(response, verdict, **kwargs)

    def _replace(self, refusal: requests.Response, verdict: Verdict, **kwargs: Any) -> requests.Response:
        """Replay a request as ``HTTPDigestAuth`` does: ``history`` gets the refusal, the pool its connection."""
        source, sent = self.source, refusal.request
        # An adapter of the user's own need not say by which connection it answered.
        adapter = getattr(refusal, "connection", None)
        obstacle = NO_CONNECTION if adapter is None else "" if rewind(sent) else NO_BODY
        if not is_repeatable(refusal, source, self.token, verdict, obstacle):
            return refusal
        if not source.grant.is_constant:  # the token request may need the connection
            discard_body(refusal)
        try:
            fresh = _TokenHook(source, self.header, self.scheme, self.rules, source.token())
        except errors.AuthError as error:
            if is_restored(refusal, source, self.token, verdict):
                return refusal
            close(refusal)  # unread, as its body may have no end
            raise _library_error(error, sent) from error.__cause__
        if not is_replayed(refusal, source, self.token, fresh.token):
            return refusal
        response = fresh.replay(refusal, adapter, **kwargs)
        if response.is_redirect:
            # The redirect copies the request that was sent first, which has the rejected token on it.
            hooks = sent.hooks["response"]
            if self in hooks:  # not if another thread, which sends the same request, was here before
                hooks[hooks.index(self)] = fresh
            sent.headers[self.header] = fresh.plain
        return response

    def replay(self, refusal: requests.Response, adapter: Any, **kwargs: Any) -> requests.Response:
        """Send the refused request with this token; once more after a pause, if it is refused because it is new."""
        discard_body(refusal)
        response = send_again(refusal, self, adapter, **kwargs)
        if verdict_of(self.rules, response) is Verdict.ACCEPTED:
            self.source.accept(self.token)
        elif settles(response, self.source, self.token) and rewind(response.request):
            discard_body(response)
            runtime.clock.sleep(SETTLE_PAUSE)
            earlier = response
            response = send_again(earlier, self, adapter, **kwargs)
            response.history[:0] = earlier.history
            if verdict_of(self.rules, response) is Verdict.ACCEPTED:
                self.source.accept(self.token)
        return response


#: What an auth begins with: its time is always over.
_NOT_READY = _TokenHook(None, "", "", DEFAULT_RULES, Token(access_token=""))  # type: ignore[arg-type]  # nothing carries it


def _library_error(error: errors.AuthError, request: requests.PreparedRequest) -> errors.AuthError:
    return errors.to_library_error(error, _OWN_ERRORS, request=request, response=None)


class OAuth2Auth(Adapter, AuthBase):
    """Put a token on requests, and replace it when the API rejects it.

    One object may serve any number of threads and sessions.

    :param grant_or_source: a grant, such as :class:`auth_plugins.ClientCredentials`, or a
        :class:`auth_plugins.TokenSource`.
    :param cache: where tokens are stored, as for :class:`auth_plugins.TokenSource`; ``None``: the memory that the whole
        process shares.
    :param allowed_hosts: the hosts that get the token: ``"api.example.com"``, ``"*.example.com"`` (its subdomains, not
        itself), ``"127.0.0.1:8080"``, ``"[::1]"``; no port means any. ``None``: every host that is sent to with this
        auth.
    :param header: the header that carries the token; ``None``: the one that the grant names, else ``Authorization``.
    :param scheme: the word before the token; or the whole value with ``{token}`` in the token's place, such as
        ``"CWSAuth Bearer={token}"``. ``""``: no word; ``None``: the one that the grant names, else ``Bearer``.
    :param allow_http: send tokens and secrets over ``http://`` to other machines as well.
    :param session: the ``requests.Session`` that sends the token requests: for a proxy, a private CA or a client
        certificate. ``None``: a new one for each, with a timeout. Equal grants share a token whatever their sessions,
        which must therefore not identify different clients; a grant without any secret has one for each session.
    :param leeway: seconds before its end from which a token is not used any more; ``None``: 60; 0: used to the end.
    :param timeout: seconds that a token request may take, retries included; ``None``: 10.
    :param refresh_ahead: refresh a token in the background some time before its end; ``None``: ``True``.
    :param refused: which responses refuse the token besides a 401 and an ``invalid_token`` challenge: statuses, such as
        ``(403, 419)``, or a function that takes the response and returns a bool, such as
        :func:`auth_plugins.graphql_unauthenticated`. It may read the body (``.json()``, ``.text``, ``.content``), which
        is read then, and only then; for that it may be called twice. ``None`` or ``()``: none.
    :raises ConfigurationError: an argument cannot work, or a ``TokenSource`` decides it already.

    While a request is sent, every error is an :class:`auth_plugins.AuthError` and a ``requests.RequestException``.
    """

    _session_argument = "session"

    if TYPE_CHECKING:

        @classmethod
        def from_env(  # noqa: D102 - the base describes it
            cls, prefix: str = "AUTH_PLUGINS", environ: Mapping[str, str] | None = None, **overrides: Unpack[_Overrides]
        ) -> Self: ...

    def __init__(
        self,
        grant_or_source: Grant | TokenSource,
        *,
        cache: MemoryCache | TokenCache | None = None,
        allowed_hosts: str | Iterable[str] | None = None,
        header: str | None = None,
        scheme: str | None = None,
        allow_http: bool = False,
        session: requests.Session | None = None,
        leeway: float | None = None,
        timeout: float | None = None,
        refresh_ahead: bool | None = None,
        refused: Refused | None = None,
    ) -> None:
        # By its base: requests-cache puts a class of its own in the place of Session.
        if not (session is None or isinstance(session, requests.sessions.SessionRedirectMixin)):
            raise wrong_session("session", "a requests.Session", session)
        transport: Transport | LibraryTransport = _transport
        if session is not None:
            with small_imports():
                transport = _transport.load(session)
        options = (cache, allowed_hosts, header, scheme, allow_http, leeway, timeout, refresh_ahead, refused)
        self._configure(grant_or_source, transport, session, options)
        # Not in the class: Python reads an attribute that a class has as well more slowly.
        self._ready = _NOT_READY

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token on *request*; requests calls this."""
        ready = self._ready
        try:
            # What was found for the last request holds for most others: they cost no more than this check.
            if (
                ready.token is self._state.token
                and request.url.startswith(ready.origin)  # type: ignore[union-attr]  # see below
                and ready.since <= runtime.clock.time() < ready.until
            ):
                request.headers[ready.header] = ready.plain
                request.hooks["response"].append(ready)
                return request
        except (AttributeError, KeyError):  # not a request of requests, or not a whole one
            pass
        return self._sign(request)

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if not isinstance(request, requests.PreparedRequest):
            raise self._wrong_library(request)
        try:
            origin = self._allowed_origin(request.url or "")
            if origin is None:
                return request
            hook = _TokenHook(self.source, self.header, self._scheme, self._rules, self.source.token())
        except errors.AuthError as error:
            raise _library_error(error, request) from error.__cause__
        if origin and self.header.lower() == "authorization":
            hook.origin, (hook.since, hook.until) = origin, self.source.fresh_between(hook.token)
            self._ready = hook
        else:  # requests keeps no other header within its origin, and not this one from http:// to https:// of one host
            request.headers = OriginBoundHeaders.of(request.headers, self.header)
        request.headers[self.header] = hook.plain
        request.hooks.setdefault("response", []).append(hook)
        return request

    def _allowed_origin(self, url: str) -> str | None:
        """Return how all URLs begin that get the token as *url* does; ``""``: no others; ``None``: it gets none."""
        if self._hosts is None and url.startswith("https://"):
            return "https://"
        origin = origin_of(url)
        if origin is None or not self._may_carry(*origin):
            return None
        plain = re.match(r"(https://[^/?#@]+|http://[^/?#@]+:\d+)/", url)
        return plain[0] if plain else ""
