"""A session of requests for one token request: its adapters, proxies and hooks; no credentials, no repetitions."""

from __future__ import annotations

import copy
import functools
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from .deadline import Deadline, Sending
from .lending import copy_with, lent

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest

__all__ = ["exact", "lent_session"]

#: Headers that a session has for the API: credentials.
_NOT_FOR_US = ("Authorization", "Cookie")


def lent_session(session: Any, deadline: Deadline, sending: Sending, *, direct: bool) -> AbstractContextManager[Any]:
    """Lend *session*, without proxies if *direct*."""
    from requests.cookies import RequestsCookieJar

    changes = {
        "cookies": RequestsCookieJar(),
        "params": {},
        "auth": None,
        "adapters": {prefix: _adapter(each, deadline, sending) for prefix, each in session.adapters.items()},
    }
    return lent(session, {**changes, "proxies": {}} if direct else changes)


def exact(request: TokenRequest) -> Any:
    """The ``auth=`` that requests calls when all else of *request* is prepared: what the session added goes again."""
    from requests import PreparedRequest

    plain = PreparedRequest()
    plain.prepare_url(request.url, None)
    own = {name.lower() for name in request.headers}

    def restore(prepared: Any) -> Any:
        prepared.url = plain.url
        for name in _NOT_FOR_US:
            if name.lower() not in own:
                prepared.headers.pop(name, None)
        return prepared

    return restore


def _adapter(adapter: Any, deadline: Deadline, sending: Sending) -> Any:
    """A copy of *adapter* that shares its connections, and repeats nothing; what is no HTTPAdapter stays as it is."""
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    if not isinstance(adapter, HTTPAdapter):
        return adapter
    copied = copy_with(adapter, {"max_retries": Retry(0, read=False)})
    find = copied.get_connection_with_tls_context

    def find_bounded(*arguments: Any, **keywords: Any) -> Any:
        return _pool(find(*arguments, **keywords), deadline, sending)

    copied.get_connection_with_tls_context = find_bounded
    return copied


def _pool(pool: Any, deadline: Deadline, sending: Sending) -> Any:
    """A copy of a urllib3 connection pool, of the same connections, whose requests *deadline* and *sending* bound."""
    from urllib3 import HTTPConnectionPool

    if not isinstance(pool, HTTPConnectionPool):
        return pool
    copied: Any = copy.copy(pool)
    opened: list[Any] = []
    take, give_back, send = copied._get_conn, copied._put_conn, copied.urlopen

    def take_watched(timeout: float | None = None) -> Any:
        connection = take(timeout=max(deadline.left(), 0.001) if timeout is None else timeout)
        deadline.proxy = pool.proxy and (pool.proxy.host or "", pool.proxy.port or 0)
        deadline.watch(connection)
        connection.response_class = functools.partial(_response, deadline, opened)
        return connection

    def give_back_released(connection: Any) -> None:
        deadline.release()
        if connection is not None:
            connection.response_class = _response_class().__base__
        give_back(connection)

    def send_once(method: Any, url: Any, body: Any = None, **keywords: Any) -> Any:
        sending.begin((pool.host, pool.port, method, url, body))
        try:
            answer = send(method, url, body=body, **keywords)
        except BaseException as error:
            sending.failure = error
            # urllib3 leaves one open whose Content-Length contradicts itself.
            for each in opened:
                each.close()
            raise
        sending.answer = (answer.status, answer.headers)
        return answer

    # The pool itself goes along: it closes its connections when it is deleted.
    vars(copied).update(_get_conn=take_watched, _put_conn=give_back_released, urlopen=send_once, _copied_from=pool)
    return copied


def _response(deadline: Deadline, opened: list[Any], connected: Any, *arguments: Any, **keywords: Any) -> Any:
    # Now, as the socket is the answer's alone once the server says that it will close it.
    deadline.watch(connected)
    opened.append(_response_class()(connected, *arguments, **keywords))
    return opened[-1]


@functools.cache
def _response_class() -> Any:
    import http.client

    class Whole:
        """The lines of a status and headers; raises where there is an end between them."""

        def __init__(self, lines: Any) -> None:
            self._lines = lines

        def readline(self, limit: int) -> bytes:
            line: bytes = self._lines.readline(limit)
            if not line:
                raise http.client.RemoteDisconnected("the connection ended before the headers did")
            return line

        def __getattr__(self, name: str) -> Any:
            return getattr(self._lines, name)

    class FinalResponse(http.client.HTTPResponse):
        """Skips interim answers (RFC 9110 §15.2), and takes no headers that were cut off, as httpx does."""

        def begin(self) -> None:
            lines = self.fp
            self.fp: Any = Whole(lines)
            try:
                super().begin()
            finally:
                # None: it was closed, as what came was no HTTP.
                self.fp = self.fp and lines

        def _read_status(self) -> tuple[str, int, str]:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # typeshed leaves it out
            # What stands for all of them in http.client, which skips no other.
            return version, 100 if 102 <= status <= 199 else status, reason

    return FinalResponse
