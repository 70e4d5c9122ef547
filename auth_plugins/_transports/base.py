"""How a token request travels: by requests, httpx or httpx2; no library is imported before one is needed."""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from auth_plugins._base.errors import AuthError, ConfigurationError, TokenTransportError
from auth_plugins._base.hosts import is_loopback

from .bodies import as_they_come, read_whole
from .deadline import Deadline, EndedError, Sending
from .forks import renew_in_children
from .httpx import TimeLeft, Trace, lent_client
from .httpx import exact as httpx_exact
from .reasons import chain, reason_of
from .requests import exact as requests_exact
from .requests import lent_session

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest, TokenResponse

__all__ = ["Transport", "default_transport", "httpx_transport", "requests_transport"]

#: Sends one token request within so many seconds, and follows no redirect.
#:
#: :raises TokenTransportError: there was no answer.
Transport = Callable[["TokenRequest", float], "TokenResponse"]

#: The share of the time that it may take to connect: each address of a name that has several gets as much.
_CONNECT_SHARE = 1 / 3
#: What is small on the wire may unpack to anything.
_NOT_PACKED = {"Accept-Encoding": "identity"}
#: Characters of a library's error that are told: it may quote what the server sent.
_LONGEST_REASON = 300


def requests_transport(session: Any = None) -> Transport:
    """Send by *session*, a ``requests.Session``; ``None``: by a new one for each token request."""
    if session is not None:
        renew_in_children(session)

    def send(request: TokenRequest, timeout: float) -> TokenResponse:
        import requests

        route, outside = _Route(request, timeout), sys.exception()
        own = requests.Session() if session is None else None
        try:
            return _send_by_requests(request, own or session, route)
        except AuthError:
            raise
        except (Exception, EndedError) as error:
            if (answer := route.repeated_answer(error)) is not None:
                return answer
            failure = _failure(request, route.reason(error), route, outside, requests.RequestException)
        finally:
            if own is not None:
                own.close()
        raise failure

    return send


def _send_by_requests(request: TokenRequest, session: Any, route: _Route) -> TokenResponse:
    import requests

    deadline, redirect = route.deadline, _Redirect()
    with lent_session(session, deadline, route.sending, direct=route.is_direct) as lent, deadline:
        try:
            response = lent.request(
                request.method,
                request.url,
                headers={**_NOT_PACKED, **request.headers},
                data=request.body.decode("ascii"),  # text is what mocks and recorders can read
                # Ours, since without one requests takes the session's (this very auth perhaps) or .netrc's.
                auth=requests_exact(request),
                timeout=(deadline.seconds * _CONNECT_SHARE, deadline.seconds),
                allow_redirects=False,
                stream=True,
                # A request's hooks stand in for the session's.
                hooks={"response": [*session.hooks["response"], redirect.hide]},
                **({"proxies": dict.fromkeys(("http", "https", "all"))} if route.is_direct else {}),
            )
        except requests.HTTPError as error:  # a hook of the user's session that raises for a bad status
            if error.response is None:
                raise
            response = error.response
        redirect.show(response)
        try:
            deadline.watch(getattr(getattr(response.raw, "_connection", None), "sock", None))
            chunks, packed = as_they_come(response)
            return read_whole(response.status_code, response.headers, chunks, deadline, packed=packed)
        finally:
            if response.raw is not None:  # as an adapter of the user's own may leave it
                response.close()


def httpx_transport(module: str, client: Any = None) -> Transport:
    """Send by *client*, a ``Client`` of *module* (``"httpx"`` or ``"httpx2"``); ``None``: by a new one each time."""
    if client is not None:
        renew_in_children(client)

    def send(request: TokenRequest, timeout: float) -> TokenResponse:
        httpx = importlib.import_module(module)
        route, outside, own = _Route(request, timeout), sys.exception(), None
        try:
            if client is None:
                # Where there is no TLS, no certificates are loaded for it.
                verify = request.url.startswith("https") and _ssl_context(module)
                own = httpx.Client(verify=verify, trust_env=not route.is_direct)
            return _send_by_httpx(request, module, own or client, route)
        except AuthError:
            raise
        except (Exception, EndedError) as error:
            if (answer := route.repeated_answer(error)) is not None:
                return answer
            failure = _failure(request, route.reason(error), route, outside, httpx.TransportError)
        finally:
            if own is not None:
                own.close()
        raise failure

    return send


def _send_by_httpx(request: TokenRequest, module: str, client: Any, route: _Route) -> TokenResponse:
    httpx, deadline = importlib.import_module(module), route.deadline
    left = TimeLeft(deadline, deadline.seconds * _CONNECT_SHARE)
    trace = Trace(request.url, deadline, route.sending, left)
    try:
        with (
            lent_client(module, client, direct=route.is_direct) as lent,
            deadline,
            lent.stream(
                request.method,
                request.url,
                headers={**_NOT_PACKED, **request.headers},
                content=request.body,
                # Ours, since without one httpx takes the client's: this very auth perhaps.
                auth=httpx_exact(module, request),
                follow_redirects=False,
                extensions={"trace": trace, "timeout": left},
            ) as response,
        ):
            trace.watch(response.extensions.get("network_stream"))
            # A hook of the user's client may have read it; a mock has from the beginning.
            is_read = hasattr(response, "_content")
            chunks = [response.content] if is_read else response.iter_raw()
            return read_whole(response.status_code, response.headers, chunks, deadline, packed=not is_read)
    except httpx.HTTPStatusError as error:  # a hook of the user's client that raises for a bad status
        response = error.response
    # It is closed by now: what the hook didn't read is gone.
    return read_whole(response.status_code, response.headers, [getattr(response, "_content", b"")], deadline)


def default_transport() -> Transport:
    """The transport of the first installed of requests, httpx2 and httpx.

    :raises ConfigurationError: none of them is installed.
    """
    import importlib.util

    for module in ("requests", "httpx2", "httpx"):
        if importlib.util.find_spec(module):
            importlib.import_module(module)  # now, as whoever calls this holds off forks
            return requests_transport() if module == "requests" else httpx_transport(module)
    raise ConfigurationError(
        "token requests need requests, httpx2 or httpx; install one, such as by pip install 'auth-plugins[requests]'"
    )


class _Route:
    """The way of one token request: its deadline, its one sending, and whether it goes by a proxy."""

    def __init__(self, request: TokenRequest, timeout: float) -> None:
        self.deadline, self.sending = Deadline(timeout), Sending()
        #: Loopback is never reached by a proxy, which would see secret and token.
        self.is_direct = is_loopback(urlsplit(request.url).hostname or "")

    def repeated_answer(self, error: BaseException) -> TokenResponse | None:
        """The answer after which a user's session would have sent the request again, if *error* ended that."""
        if not isinstance(error, EndedError) or self.sending.answer is None or self.deadline.left() < 0:
            return None
        status, headers = self.sending.answer
        if isinstance(headers, list):  # as httpcore has them
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        return read_whole(status, headers, [], Deadline(math.inf))

    def reason(self, error: BaseException) -> BaseException:
        """What *error* means: the end of our own making is none that the user knows."""
        known = self.sending.failure if isinstance(error, EndedError) else error
        return self.deadline.reason(known or TimeoutError("the answer did not end in time"))


class _Redirect:
    """Keeps requests from preparing for a redirect that nobody follows: it would read the whole answer for it."""

    def __init__(self) -> None:
        self._location: str | None = None

    def hide(self, response: Any, **_: Any) -> None:
        """Take the redirect's target out of *response*: a hook."""
        self._location = response.headers.pop("location", None)

    def show(self, response: Any) -> None:
        """Put it back."""
        if self._location is not None:
            response.headers["location"] = self._location


@functools.cache
def _ssl_context(module: str) -> Any:
    """One for all clients of our own: to load the CA certificates takes longer than many a token request."""
    return importlib.import_module(module).create_ssl_context()


def _failure(
    request: TokenRequest,
    error: BaseException,
    route: _Route,
    outside: BaseException | None,
    base: type[Exception],
) -> TokenTransportError:
    """Our error for a library's, which is made anew: its request, its URL and its own causes hold secrets.

    It must be raised *after* the ``except`` block, or the error itself would come along as ``__context__``.
    """
    from auth_plugins._protocol.messages import redacted_excerpt

    def scrubbed(text: str) -> str:
        query = request.url.partition("?")[2]
        text = text.replace(request.url, request.endpoint)
        return redacted_excerpt(request, text.replace(query, "…") if query else text, _LONGEST_REASON)

    text = scrubbed(str(error))
    try:
        cause = type(error)(text) if isinstance(error, base) else base(text)
    except Exception:
        cause = base(text)
    deadline, library = route.deadline, base.__module__.partition(".")[0]
    reason = reason_of(
        chain(error, outside), request.endpoint, seconds=deadline.seconds, proxy=deadline.proxy, library=library
    )
    failure = TokenTransportError(
        f"{request.endpoint} could not be reached ({scrubbed(reason.text)})",
        trouble=reason.kind,
        advice=reason.advice,
        verify_code=reason.verify_code,
    )
    failure.__cause__ = cause
    return failure
