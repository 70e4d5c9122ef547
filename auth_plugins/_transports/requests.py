"""Sends token requests by requests: by a session's adapters, proxies and hooks, without its credentials."""

from __future__ import annotations

import copy
import functools
import http.client
import os
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPResponse, Retry
from urllib3.connection import HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from auth_plugins._base.tls_files import NO_FILES, TLSFiles

from .attempt import Attempt, send_once
from .base import Transport
from .bodies import read_response
from .forks import renew_in_children
from .lending import copy_with, lent

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenResponse

#: Where requests looks for CA certificates.
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def requests_transport(session: Any = None) -> Transport:
    """Send by *session*, a ``requests.Session``; ``None``: by a new one for each token request."""
    if session is not None:
        renew_in_children(session)

    def exchange(attempt: Attempt) -> TokenResponse:
        if session is not None:
            return _exchange_by(session, attempt)
        with requests.Session() as own:
            verify = _use(attempt.request.tls, own)
            own.adapters.update(_bounded_adapters(own, attempt))
            return _exchange(own, attempt, verify)

    return lambda request, timeout: send_once(request, timeout, requests.RequestException, exchange)


def _use(files: TLSFiles, session: requests.Session) -> str | None:
    """Give *session* the client's certificate; return the path of the CA certificates; ``None``: as the session says.

    A path, and not ``True``, by which some versions of requests ignore the context of an adapter.
    """
    if files == NO_FILES:
        return None
    context = files.context(create_urllib3_context)
    if files.certificate is not None:
        adapter: Any = HTTPAdapter()
        adapter.init_poolmanager(1, 1, ssl_context=context)
        adapter.proxy_manager_for = functools.partial(adapter.proxy_manager_for, ssl_context=context)
        session.mount("https://", adapter)
    return files.ca or next(filter(None, map(os.environ.get, _CA_VARIABLES)), DEFAULT_CA_BUNDLE_PATH)


def _exchange_by(session: Any, attempt: Attempt) -> TokenResponse:
    """Send by a user's *session*."""
    changes = {
        "cookies": RequestsCookieJar(),
        "params": {},
        "auth": None,
        "adapters": _bounded_adapters(session, attempt),
        **({"proxies": {}} if attempt.is_direct else {}),
    }
    with lent(session, changes) as lent_session:
        return _exchange(lent_session, attempt)


def _exchange(session: Any, attempt: Attempt, verify: str | None = None) -> TokenResponse:
    request, deadline, location = attempt.request, attempt.deadline, dict[str, str]()
    try:
        response = session.request(
            request.method,
            request.url,
            headers=attempt.headers,
            data=request.body.decode("ascii"),  # mocks and recorders read text
            # Without an auth, requests takes the session's, which may be the caller, or that of .netrc.
            auth=functools.partial(_restore, attempt),
            timeout=(attempt.connect_timeout, deadline.seconds),
            allow_redirects=False,
            stream=True,
            verify=verify,
            # A request's hooks replace those of the session.
            hooks={"response": [*session.hooks["response"], functools.partial(_hide_location, location)]},
            **({"proxies": dict.fromkeys(("http", "https", "all"))} if attempt.is_direct else {}),
        )
    except requests.HTTPError as error:  # by a hook that raises for a bad status
        if error.response is None:
            raise
        response = error.response
    response.headers.update(location)
    # For a user's own adapter; the others watch their connections themselves.
    deadline.watch(getattr(getattr(response.raw, "_connection", None), "sock", None))
    try:
        chunks, packed = body_chunks(response)
        return read_response(response.status_code, response.headers, chunks, deadline, packed=packed)
    finally:
        if response.raw is not None:  # None: from a user's own adapter
            response.close()


def _hide_location(location: dict[str, str], response: Any, **_: Any) -> None:
    # requests prepares for a redirect that is not followed, and reads the whole answer for it.
    if "location" in response.headers:
        location["location"] = response.headers.pop("location")


def _restore(attempt: Attempt, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """Remove what the session added for the API; requests calls this when everything else is prepared.

    A session of ours may add it as well: tools and companies put a class of their own in the place of Session.
    """
    if prepared.url != attempt.request.url:
        prepared.prepare_url(attempt.request.url, {})
    for name in attempt.foreign_credentials:
        prepared.headers.pop(name, None)
    return prepared


def body_chunks(response: Any) -> tuple[Iterable[bytes], bool]:
    """Return the body of *response* as it arrives, and whether it is still packed.

    ``iter_content`` would wait for a full chunk.
    """
    raw = response.raw
    if response._content is not False:
        return [response.content], False
    if not isinstance(raw, HTTPResponse):  # from a user's own adapter
        return response.iter_content(1), False
    if not hasattr(raw, "read1"):  # urllib3 1.26
        raw.enforce_content_length = True  # the default of later versions: without it, half a body passes for a whole
        return raw.stream(1, decode_content=False), True
    return iter(lambda: raw.read1(8192, decode_content=False), b""), True


def _bounded_adapters(session: Any, attempt: Attempt) -> dict[str, Any]:
    # All, as a session's own get_adapter() or send() may choose one that does not match the URL.
    return {prefix: _bounded_adapter(each, attempt) for prefix, each in session.adapters.items()}


def _bounded_adapter(adapter: Any, attempt: Attempt) -> Any:
    """Copy *adapter*: the copy shares its connections and repeats nothing. Another kind of adapter stays as it is."""
    if not isinstance(adapter, HTTPAdapter):
        return adapter
    copied = copy_with(adapter, {"max_retries": Retry(0, read=False)})
    find = copied.get_connection_with_tls_context
    copied.get_connection_with_tls_context = lambda *given, **named: _bounded_pool(find(*given, **named), attempt)
    return copied


def _bounded_pool(pool: Any, attempt: Attempt) -> Any:
    """Copy a connection pool: the copy shares its connections, and *attempt* bounds its requests."""
    if not isinstance(pool, HTTPConnectionPool):  # of an adapter of the user's own
        return pool
    copied: Any = copy.copy(pool)
    if copied.ConnectionCls is HTTPSConnection:  # none of a tool's, such as a recorder
        copied.ConnectionCls = _AlertedConnection
    opened: list[http.client.HTTPResponse] = []
    take, give_back, send, deadline = copied._get_conn, copied._put_conn, copied.urlopen, attempt.deadline

    def take_watched(timeout: float | None = None) -> Any:
        connection = take(timeout=max(deadline.left(), 0.001) if timeout is None else timeout)
        attempt.proxy = pool.proxy and (pool.proxy.host or "", pool.proxy.port or 0)
        deadline.watch(connection)
        connection.response_class = functools.partial(_watched_response, attempt, opened)
        return connection

    def give_back_released(connection: Any) -> None:
        deadline.release()
        if connection is not None:
            connection.response_class = http.client.HTTPResponse
        give_back(connection)

    def send_first(method: Any, url: Any, body: Any = None, **keywords: Any) -> Any:
        attempt.begin((pool.host, pool.port, method, url, body))
        try:
            answer = send(method, url, body=body, **keywords)
        except BaseException as error:
            attempt.error = error
            # urllib3 does not close a response whose Content-Length contradicts itself.
            for response in opened:
                response.close()
            raise
        attempt.answer = (answer.status, answer.headers)
        return answer

    # The copy holds the pool, which closes its connections when it is deleted.
    vars(copied).update(_get_conn=take_watched, _put_conn=give_back_released, urlopen=send_first, _copied_from=pool)
    return copied


class _AlertedConnection(HTTPSConnection):
    """Reads on where the server has closed the connection, as httpcore does: its alert says why (RFC 8446 §6.2)."""

    def send(self, data: Any) -> None:
        try:
            super().send(data)
        except (ssl.SSLEOFError, ConnectionResetError) as error:
            raise BrokenPipeError(error.errno, "the server closed the connection") from error  # urllib3 then reads


def _watched_response(
    attempt: Attempt, opened: list[http.client.HTTPResponse], connected: Any, *arguments: Any, **keywords: Any
) -> http.client.HTTPResponse:
    # The connection forgets its socket when the server says that it will close it.
    attempt.deadline.watch(connected)
    opened.append(_FinalResponse(connected, *arguments, **keywords))
    return opened[-1]


class _HeaderLines:
    """Lines of status and headers; raises where the connection ends between them."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines

    def readline(self, limit: int) -> bytes:
        line: bytes = self._lines.readline(limit)
        if not line:
            raise http.client.RemoteDisconnected("the connection ended before the headers did")
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lines, name)


class _FinalResponse(http.client.HTTPResponse):
    """Skips interim answers (RFC 9110 §15.2), and accepts no headers that were cut off, as httpx does."""

    fp: Any

    def begin(self) -> None:
        lines = self.fp
        self.fp = _HeaderLines(lines)  # a wrapper, as mocks of sockets have files of other kinds
        try:
            super().begin()
        finally:
            self.fp = self.fp and lines  # None: it was closed

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # typeshed leaves it out
        # http.client skips 100 only.
        return version, 100 if 102 <= status <= 199 else status, reason
