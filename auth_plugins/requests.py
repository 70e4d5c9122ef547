"""OAuth 2.0 for requests: ``requests.get(url, auth=OAuth2Auth(grant))``, or ``session.auth = …``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin

try:
    import requests
except ImportError as error:
    raise ImportError("auth_plugins.requests needs requests: pip install 'auth-plugins[requests]'") from error
from requests.auth import AuthBase
from requests.utils import rewind_body
from urllib3.util import parse_url

from . import _errors
from ._adapter import Adapter
from ._cache import MemoryCache
from ._grants import Grant
from ._source import TokenSource
from ._token import Token
from ._transport import requests_transport

__all__ = ["OAuth2Auth"]


class ConfigurationError(_errors.ConfigurationError, requests.RequestException):
    """The package's error, as requests' own."""


class InsecureTransportError(_errors.InsecureTransportError, requests.RequestException):
    """The package's error, as requests' own."""


class TokenRequestError(_errors.TokenRequestError, requests.RequestException):
    """The package's error, as requests' own."""


class TokenTransportError(_errors.TokenTransportError, requests.ConnectionError):
    """The package's error, as requests' own."""


class AuthError(_errors.AuthError, requests.RequestException):
    """The package's error, as requests' own."""


_OWN_ERRORS = (ConfigurationError, InsecureTransportError, TokenRequestError, TokenTransportError, AuthError)


class OAuth2Auth(Adapter, AuthBase):
    """Put a token on requests, and renew it when the API refuses it.

    One object may serve any number of threads and sessions.

    :param grant_or_source: a grant, such as :class:`auth_plugins.ClientCredentials`, or a
        :class:`auth_plugins.TokenSource`.
    :param cache: where tokens are shared; ``None``: the memory that the whole process shares.
    :param allowed_hosts: the hosts that get the token: ``"api.example.com"``, ``"*.example.com"`` (its subdomains, not
        itself), ``"127.0.0.1:8080"``, ``"[::1]"``; no port means any. ``None``: every host that is sent to with this
        auth.
    :param header: the header that carries the token.
    :param scheme: what stands before it; ``""``: nothing.
    :param allow_http: send tokens and secrets over ``http://`` to other machines as well.
    :param session: the ``requests.Session`` that sends the token requests: for a proxy, a private CA or a client
        certificate. ``None``: a new one for each, with a timeout.
    :param policy: ``leeway``, ``timeout`` and ``refresh_ahead``, as of :class:`auth_plugins.TokenSource`.
    :raises ConfigurationError: an argument cannot work.

    While a request is sent, every error is an :class:`auth_plugins.AuthError` and a ``requests.RequestException``.
    """

    def __init__(
        self,
        grant_or_source: Grant | TokenSource,
        *,
        cache: MemoryCache | None = None,
        allowed_hosts: str | Iterable[str] | None = None,
        header: str = "Authorization",
        scheme: str = "Bearer",
        allow_http: bool = False,
        session: requests.Session | None = None,
        **policy: Any,
    ) -> None:
        if not (session is None or isinstance(session, requests.Session)):
            raise _errors.ConfigurationError(
                f"session is of type {type(session).__name__}; give a requests.Session, or leave it out"
            )
        self._configure(
            grant_or_source,
            requests_transport,
            session,
            cache=cache,
            allowed_hosts=allowed_hosts,
            header=header,
            scheme=scheme,
            allow_http=allow_http,
            policy=policy,
        )

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign *request*; requests calls this."""
        if not self._takes(request):
            return request
        token = self._token(request)
        request.headers[self._header] = self._value(token)
        request.register_hook("response", _Hook(self, token))
        return request

    def _takes(self, request: requests.PreparedRequest) -> bool:
        url = request.url or ""
        if self._hosts is None and url.startswith("https://"):
            return True
        # By the parser that the connection is made by: where two differ, a token would go astray.
        parts = parse_url(url)
        try:
            return self._may_carry(parts.scheme or "", parts.host or "", parts.port)
        except _errors.AuthError as error:
            raise _as_requests(error, request) from error.__cause__

    def _token(self, request: requests.PreparedRequest) -> Token:
        try:
            return self.source.token()
        except _errors.AuthError as error:
            raise _as_requests(error, request) from error.__cause__

    def answer(self, token: Token, response: requests.Response, **kwargs: Any) -> requests.Response:
        """Replace a refused token and send the request once more; keep the token from other origins."""
        header, sent = self._header, response.request
        # After a redirect to another host this sees that host's answers as well: not to what we sent, not our business.
        if sent.headers.get(header) != self._value(token):
            return response
        if response.status_code == requests.codes.unauthorized:
            response = self._answer_refusal(token, response, **kwargs)
        if response.is_redirect and not _same_origin(sent.url or "", response.headers["location"]):
            # requests drops Authorization by rules of its own, and no other header. It copies the request of the
            # first answer, so that one loses the header; the answer's own may be that of the second try.
            sent.headers.pop(header, None)
        return response

    def _answer_refusal(self, token: Token, refusal: requests.Response, **kwargs: Any) -> requests.Response:
        """As ``HTTPDigestAuth`` does it: the refusal goes to ``history``, its connection back to the pool."""
        if not self.source.replaceable(token) or not _rewind(refusal.request):
            return refusal
        try:
            fresh = self._token(refusal.request)
        except requests.RequestException:
            refusal.close()
            raise
        if fresh == token:  # a constant key, read again
            self.source.end_probation()
            return refusal
        _ = refusal.content
        refusal.close()
        request = refusal.request.copy()
        jar: Any = request._cookies  # noqa: SLF001 - as HTTPDigestAuth
        requests.cookies.extract_cookies_to_jar(jar, refusal.request, refusal.raw)
        request.prepare_cookies(jar)
        request.headers[self._header] = self._value(fresh)
        response: requests.Response = refusal.connection.send(request, **kwargs)
        response.history.append(refusal)
        response.request = request
        if response.status_code != requests.codes.unauthorized:
            self.source.end_probation()
        return response


class _Hook:
    """The response hook of one request: equal to nothing, and small."""

    __slots__ = ("_auth", "_token")

    def __init__(self, auth: OAuth2Auth, token: Token) -> None:
        self._auth = auth
        self._token = token

    def __call__(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        return self._auth.answer(self._token, response, **kwargs)


def _rewind(request: requests.PreparedRequest) -> bool:
    """Set the body back to where it stood; whether that was possible: a generator that was consumed is gone."""
    if request.body is None or isinstance(request.body, (bytes, str)):
        return True
    if not isinstance(request._body_position, int):  # noqa: SLF001 - what redirects use
        return False
    try:
        rewind_body(request)
    except (requests.exceptions.UnrewindableBodyError, ValueError):  # it was closed
        return False
    return True


def _same_origin(url: str, location: str) -> bool:
    """Whether a redirect from *url* to *location* stays within the scheme, host and port."""
    try:
        here, there = (parse_url(each) for each in (url, urljoin(url, location)))
    except ValueError:
        return False
    ports = {"https": 443, "http": 80}
    return (here.scheme, here.host, here.port or ports.get(here.scheme or "")) == (
        there.scheme,
        there.host,
        there.port or ports.get(there.scheme or ""),
    )


def _as_requests(error: _errors.AuthError, request: requests.PreparedRequest) -> _errors.AuthError:
    return _errors.as_one_of(error, _OWN_ERRORS, request=request, response=None)
