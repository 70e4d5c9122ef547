"""OAuth 2.0 for requests: ``requests.get(url, auth=OAuth2Auth(grant))``, or ``session.auth = …``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any, Unpack

try:
    import requests
except ImportError as error:
    raise ImportError("auth_plugins.requests needs requests: pip install 'auth-plugins[requests]'") from error
from requests.auth import AuthBase
from requests.utils import rewind_body
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from auth_plugins._adapters.base import NO_BODY, NOT_YET, SAME_KEY, SENT_AGAIN, Adapter, header_value, log_refusal
from auth_plugins._adapters.requests_redirects import KeptHeaders, OriginBoundHeaders, is_clear, keep_within_origin
from auth_plugins._base import errors
from auth_plugins._base.runtime import runtime
from auth_plugins._caches.memory import MemoryCache
from auth_plugins._caches.protocol import TokenCache
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.tokens import Token
from auth_plugins._source.source import Policy, TokenSource
from auth_plugins._transports.requests import requests_transport

__all__ = ["OAuth2Auth"]


class ConfigurationError(errors.ConfigurationError, requests.RequestException):
    """The package's error, as requests' own."""


class InsecureTransportError(errors.InsecureTransportError, requests.RequestException):
    """The package's error, as requests' own."""


class TokenRequestError(errors.TokenRequestError, requests.RequestException):
    """The package's error, as requests' own."""


class TokenTransportError(errors.TokenTransportError, requests.ConnectionError):
    """The package's error, as requests' own."""


class AuthError(errors.AuthError, requests.RequestException):
    """The package's error, as requests' own."""


#: Sends token requests where no session is handed in.
_transport = requests_transport()
#: How a URL begins in which every parser finds the same scheme, host and port.
_PLAIN_ORIGIN = r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d+)?/"
#: Bytes of a refusal's body that are read at once.
_CHUNK = 65536
_OWN_ERRORS = (ConfigurationError, InsecureTransportError, TokenRequestError, TokenTransportError, AuthError)


class OAuth2Auth(Adapter, AuthBase):
    """Put a token on requests, and renew it when the API refuses it.

    One object may serve any number of threads and sessions.

    :param grant_or_source: a grant, such as :class:`auth_plugins.ClientCredentials`, or a
        :class:`auth_plugins.TokenSource`.
    :param cache: where tokens are shared, as of :class:`auth_plugins.TokenSource`; ``None``: the memory that the whole
        process shares.
    :param allowed_hosts: the hosts that get the token: ``"api.example.com"``, ``"*.example.com"`` (its subdomains, not
        itself), ``"127.0.0.1:8080"``, ``"[::1]"``; no port means any. ``None``: every host that is sent to with this
        auth.
    :param header: the header that carries the token.
    :param scheme: what stands before it; ``""``: nothing.
    :param allow_http: send tokens and secrets over ``http://`` to other machines as well.
    :param session: the ``requests.Session`` that sends the token requests: for a proxy, a private CA or a client
        certificate. ``None``: a new one for each, with a timeout. Equal grants share a token whatever their sessions,
        which must therefore not identify different clients; a grant without any secret has one for each session.
    :param policy: ``leeway``, ``timeout`` and ``refresh_ahead``, as of :class:`auth_plugins.TokenSource`.
    :raises ConfigurationError: an argument cannot work.

    While a request is sent, every error is an :class:`auth_plugins.AuthError` and a ``requests.RequestException``.
    """

    _session_argument = "session"

    def __init__(
        self,
        grant_or_source: Grant | TokenSource,
        *,
        cache: MemoryCache | TokenCache | None = None,
        allowed_hosts: str | Iterable[str] | None = None,
        header: str = "Authorization",
        scheme: str = "Bearer",
        allow_http: bool = False,
        session: requests.Session | None = None,
        **policy: Unpack[Policy],
    ) -> None:
        # By its base: requests-cache puts a class of its own in the place of Session.
        if not (session is None or isinstance(session, requests.sessions.SessionRedirectMixin)):
            raise errors.ConfigurationError(
                f"session is of type {type(session).__name__}; give a requests.Session, or leave it out"
            )
        self._configure(
            grant_or_source,
            _transport if session is None else requests_transport(session),
            session,
            cache=cache,
            allowed_hosts=allowed_hosts,
            header=header,
            scheme=scheme,
            allow_http=allow_http,
            policy=policy,
        )
        self._ready = _UNREADY

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign *request*; requests calls this."""
        ready = self._ready
        try:
            # What was found out for the last request holds for most others: nothing but this is done for them.
            if (
                ready.token is self._state.token
                and request.url.startswith(ready.origin)  # type: ignore[union-attr]  # see below
                and ready.since <= runtime.time() < ready.until
            ):
                request.headers[ready.header] = ready.value.plain
                request.hooks["response"].append(ready)
                return request
        except (AttributeError, KeyError):  # it is no request of requests, or not a whole one
            pass
        return self._signed(request)

    def _signed(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if not isinstance(request, requests.PreparedRequest):
            raise errors.ConfigurationError(
                "this is the OAuth2Auth of auth_plugins.requests; import the one for the library that you call"
            )
        origin = self._origin(request)
        if origin is None:
            return request
        token = _token_for(request, self.source)
        signature = _TokenHook(self.source, self.header, self._scheme, token)
        is_key = self.header.lower() != "authorization"
        if is_key:  # requests itself keeps no other header within its origin
            request.headers = OriginBoundHeaders.of(request.headers, [self.header])
        request.headers[self.header] = signature.value.plain
        request.hooks.setdefault("response", []).append(signature)
        if origin and not is_key:
            signature.origin, (signature.since, signature.until) = origin, self.source.fresh_between(token)
            self._ready = signature
        return request

    def _origin(self, request: requests.PreparedRequest) -> str | None:
        """How URLs begin that carry a token as *request* does, which may be none but its own; ``None``: it doesn't."""
        url = request.url or ""
        if self._hosts is None and url.startswith("https://"):
            return "https://"
        # By the parser that the connection is made by: where two differ, a token would go astray.
        try:
            parts = parse_url(url)
        except LocationParseError as error:  # of a scheme that requests leaves to an adapter of the user's
            raise requests.exceptions.InvalidURL(str(error), request=request) from None
        try:
            may_carry = is_clear(url) and self._may_carry(parts.scheme or "", parts.host or "", parts.port)
        except errors.AuthError as error:
            raise _as_requests(error, request) from error.__cause__
        plain = re.match(_PLAIN_ORIGIN, url)
        return (plain[0] if plain else "") if may_carry else None


class _TokenHook:
    """A token as it stands on requests, and the response hook of those that carry it.

    The hook replaces a refused token, and keeps the token from other origins. Any number of requests share one.
    """

    __slots__ = ("header", "origin", "scheme", "since", "source", "token", "until", "value")

    def __init__(self, source: TokenSource, header: str, scheme: str, token: Token) -> None:
        self.source, self.header, self.scheme, self.token = source, header, scheme, token
        self.value = header_value(scheme, token)
        #: What else may carry it: URLs that begin so, between these (Unix seconds), while the slot has the token.
        self.origin, self.since, self.until = "", 0.0, 0.0

    def __call__(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        sent = response.request
        # After a redirect to another host this sees that host's answers as well: not to what we sent, not our business.
        if sent.headers.get(self.header) != self.value:
            return response
        if type(sent.headers) is KeptHeaders:  # requests has set its own headers; the user may set any
            sent.headers = OriginBoundHeaders.of(sent.headers)
        if response.status_code == requests.codes.unauthorized:
            response = self._answer_refusal(response, **kwargs)
        else:
            self.source.accept(self.token)
        return keep_within_origin(self.header, response, sent)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Guard, (self.header,)  # no token, and no source: a request that is pickled was sent, as a rule

    def _answer_refusal(self, refusal: requests.Response, **kwargs: Any) -> requests.Response:
        """As ``HTTPDigestAuth`` does it: the refusal goes to ``history``, its connection back to the pool."""
        source, sent = self.source, refusal.request
        # An adapter of the user's own need not say by which connection it answered.
        adapter = getattr(refusal, "connection", None)
        # First of all it is given up: also where the request cannot be sent again, the next one needs another token.
        obstacle = NOT_YET if not source.reject(self.token) else NO_BODY if adapter and not _rewind(sent) else ""
        if obstacle or adapter is None:
            log_refusal(sent, obstacle or "its adapter names no connection, so it is not sent again")
            return refusal
        if not source.grant.is_constant:  # the token request may need the connection
            _discard_body(refusal)
        try:
            fresh = _TokenHook(source, self.header, self.scheme, _token_for(sent, source))
        except requests.RequestException:
            _close(refusal)
            raise
        if fresh.token == self.token:  # a constant key, read again; a probation would put off the next reading
            source.accept(fresh.token)
            log_refusal(sent, SAME_KEY)
            return refusal
        return self._send_again(refusal, fresh, adapter, **kwargs)

    def _send_again(
        self, refusal: requests.Response, fresh: _TokenHook, adapter: requests.adapters.BaseAdapter, **kwargs: Any
    ) -> requests.Response:
        """Send the refused request with the *fresh* token."""
        sent = refusal.request
        _discard_body(refusal)
        log_refusal(sent, SENT_AGAIN)
        request = sent.copy()
        request.headers.pop(self.header, None)  # see KeptHeaders
        request.headers[self.header] = fresh.value.plain
        jar: Any = request._cookies
        requests.cookies.extract_cookies_to_jar(jar, sent, refusal.raw)
        request.prepare_cookies(jar)
        # No adapter knows it; requests-cache hands it to hooks, and requests itself does not.
        kwargs.pop("allow_redirects", None)
        response: requests.Response = adapter.send(request, **kwargs)
        response.history.append(refusal)
        response.request = request
        if response.status_code != requests.codes.unauthorized:
            self.source.accept(fresh.token)
        if response.is_redirect:
            # It is the request that was sent first which requests copies then, with the refused token on it.
            hooks = sent.hooks["response"]
            if self in hooks:  # not if another thread, which sends the same request, was here before
                hooks[hooks.index(self)] = fresh
            sent.headers[self.header] = fresh.value.plain
        return response


#: What an auth begins with: its time is always over.
_UNREADY = _TokenHook(None, "", "", Token(access_token=""))  # type: ignore[arg-type]  # no request ever carries it


def _token_for(request: requests.PreparedRequest, source: TokenSource) -> Token:
    """The token for *request*; its errors are requests' own."""
    try:
        return source.token()
    except errors.AuthError as error:
        raise _as_requests(error, request) from error.__cause__


class _Guard:
    """What is left of a :class:`_Signature` in a request that was pickled: the key stays within its origin."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, response: requests.Response, **_: Any) -> requests.Response:
        return keep_within_origin(self._header, response, response.request)


def _discard_body(refusal: requests.Response) -> None:
    """Read the body of *refusal*, so that its connection is free; what breaks off is no loss, as nothing needs it."""
    came: list[bytes] = []
    if refusal._content is False:
        try:
            came.extend(refusal.iter_content(_CHUNK))
        except Exception:
            refusal._content_consumed = True
        refusal._content = b"".join(came)
    _close(refusal)


def _close(refusal: requests.Response) -> None:
    with contextlib.suppress(Exception):  # what an adapter of the user's made need not be whole
        refusal.close()


def _rewind(request: requests.PreparedRequest) -> bool:
    """Set the body back to where it stood; whether that was possible: a generator that was consumed is gone."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    if not isinstance(request._body_position, int):
        return False
    try:
        rewind_body(request)
    except (requests.exceptions.UnrewindableBodyError, ValueError):  # it was closed
        return False
    return True


def _as_requests(error: errors.AuthError, request: requests.PreparedRequest) -> errors.AuthError:
    return errors.to_library_error(error, _OWN_ERRORS, request=request, response=None)
