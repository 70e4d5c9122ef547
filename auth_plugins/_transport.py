"""How a token request travels: by requests, httpx or httpx2; no library is imported before one is needed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ._errors import AuthError, ConfigurationError, TokenTransportError
from ._message import LONGEST_BODY, TokenRequest, TokenResponse

__all__ = ["Transport", "default_transport", "httpx_transport", "requests_transport"]

#: Sends one token request within so many seconds, and follows no redirect.
#:
#: :raises TokenTransportError: there was no answer.
Transport = Callable[[TokenRequest, float], TokenResponse]


def requests_transport(session: Any = None) -> Transport:
    """Send by *session*, a ``requests.Session``; ``None``: by a new one for each token request."""

    def send(request: TokenRequest, timeout: float) -> TokenResponse:
        import requests  # noqa: PLC0415 - a heavy library, which need not be the one that is used

        deadline = time.monotonic() + timeout
        used = requests.Session() if session is None else session
        try:
            try:
                response = used.request(
                    request.method,
                    request.url,
                    headers=dict(request.headers),
                    data=request.body,
                    # Ours, since without one requests takes the session's (this very auth perhaps) or that of .netrc.
                    auth=_unchanged,
                    timeout=timeout,
                    allow_redirects=False,
                    stream=True,
                )
            except requests.HTTPError as error:  # a hook of the user's session that raises for a bad status
                if error.response is None:
                    raise
                response = error.response
            try:
                return _answer(response.status_code, response.headers, _as_they_come(response), deadline)
            finally:
                if response.raw is not None:  # as an adapter of the user's own may leave it
                    response.close()
        except AuthError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's session has hooks and adapters, which may raise anything
            failure = _failure(request, error, requests.RequestException)
        finally:
            if session is None:
                used.close()
        raise failure

    return send


def httpx_transport(module: str, client: Any = None) -> Transport:
    """Send by *client*, a ``Client`` of *module* (``"httpx"`` or ``"httpx2"``); ``None``: by a new one each time."""

    def send(request: TokenRequest, timeout: float) -> TokenResponse:
        httpx = importlib.import_module(module)
        deadline = time.monotonic() + timeout
        try:
            used = httpx.Client(verify=_ssl_context(module)) if client is None else client
            try:
                with used.stream(
                    request.method,
                    request.url,
                    headers=dict(request.headers),
                    content=request.body,
                    # Ours, since without one httpx takes the client's: this very auth perhaps.
                    auth=httpx.Auth(),
                    timeout=timeout,
                    follow_redirects=False,
                ) as response:
                    return _answer(response.status_code, response.headers, response.iter_bytes(), deadline)
            except httpx.HTTPStatusError as error:  # a hook of the user's client that raises for a bad status
                response = error.response
            finally:
                if client is None:
                    used.close()
            # It is closed by now: what the hook didn't read is gone.
            return _answer(response.status_code, response.headers, [getattr(response, "_content", b"")], deadline)
        except AuthError:
            raise
        except Exception as error:  # noqa: BLE001 - a user's client has hooks and a transport, which may raise anything
            failure = _failure(request, error, httpx.TransportError)
        raise failure

    return send


def default_transport() -> Transport:
    """The transport of the first installed of requests, httpx2 and httpx.

    :raises ConfigurationError: none of them is installed.
    """
    if importlib.util.find_spec("requests"):
        return requests_transport()
    for module in ("httpx2", "httpx"):
        if importlib.util.find_spec(module):
            return httpx_transport(module)
    raise ConfigurationError(
        "token requests need requests, httpx2 or httpx; install one, such as by pip install 'auth-plugins[requests]'"
    )


@functools.cache
def _ssl_context(module: str) -> Any:
    """One for all clients of our own: to load the CA certificates takes longer than many a token request."""
    return importlib.import_module(module).create_ssl_context()


def _unchanged(request: Any) -> Any:
    return request


def _as_they_come(response: Any) -> Iterator[bytes]:
    """The bytes of a response of requests, as they come: ``iter_content`` waits for as many as it was told."""
    from urllib3 import HTTPResponse  # noqa: PLC0415 - comes with requests

    raw = response.raw
    if response._content is not False:  # noqa: SLF001 - a hook has read it, or an adapter of the user's own put it there
        return iter([response.content])
    if not isinstance(raw, HTTPResponse) or not hasattr(raw, "read1"):  # such an adapter again, or urllib3 1.26
        return iter(response.iter_content(1))
    return iter(lambda: raw.read1(8192, decode_content=True), b"")


def _answer(status: int, headers: Any, chunks: Iterable[bytes], deadline: float) -> TokenResponse:
    """Take in an answer: no more of it than is needed, and no longer than until *deadline*."""
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) > LONGEST_BODY:
            break
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    lowered = {str(name).lower(): str(value) for name, value in headers.items()}
    return TokenResponse(status=status, headers=lowered, body=body[: LONGEST_BODY + 1], received_at=time.time())


def _failure(request: TokenRequest, error: BaseException, base: type[Exception]) -> TokenTransportError:
    """Our error for a library's, which is made anew: its request, its URL and its own causes hold secrets.

    It must be raised *after* the ``except`` block, or the error itself would come along as ``__context__``.
    """
    text = request.scrub(str(error).replace(request.url, request.endpoint))
    query = request.url.partition("?")[2]
    text = " ".join((text.replace(query, "…") if query else text).split())
    try:
        cause = type(error)(text) if isinstance(error, base) else base(text)
    except TypeError:
        cause = base(text)
    failure = TokenTransportError(
        f"{request.endpoint} could not be reached ({type(error).__name__}: {text}); "
        "check token_url, the network and its proxies, or try again later"
    )
    failure.__cause__ = cause
    return failure
