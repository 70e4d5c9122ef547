"""A 401 of the API: which token requests follow, what happens to its connection, body and cookies, and its log."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.wrappers import Response

import auth_plugins.requests
from auth_plugins import ApiKey, ClientCredentials, ConfigurationError, SecretFile
from tests.support.drivers import ALL, HTTPX, SYNC_HTTPX, AsyncHttpx, Call, Driver, MockAdapter, SyncDriver, each
from tests.support.loopback import Clock, Loopback, Received, as_json
from tests.support.stores import logged


def tokens(server: Loopback) -> list[str]:
    """The tokens that the API got, request by request."""
    return [received.headers.get("authorization", "").removeprefix("Bearer ") for received in server.api_requests]


class HookError(Exception):
    """What a user's hook raises."""


def raise_for_status(response: Any) -> None:
    if response.is_error:
        response.raise_for_status()


def raise_own(response: Any) -> None:
    if response.is_error:
        raise HookError


def checking_transport(driver: Driver, *, is_wrapped: bool) -> Any:
    """A transport that raises for a bad status, as one that retries does."""
    library = driver.module

    def checked(request: Any, response: Any) -> Any:
        response.request = request
        try:
            return response.raise_for_status() if response.is_error else response
        except library.HTTPStatusError as error:
            if is_wrapped:
                raise HookError from error
            raise

    class Transport(library.HTTPTransport):  # type: ignore[name-defined]  # of either library
        def handle_request(self, request: Any) -> Any:
            return checked(request, super().handle_request(request))

    class AsyncTransport(library.AsyncHTTPTransport):  # type: ignore[name-defined]  # of either library
        async def handle_async_request(self, request: Any) -> Any:
            return checked(request, await super().handle_async_request(request))

    return AsyncTransport() if isinstance(driver, AsyncHttpx) else Transport()


RAISERS: dict[str, Callable[[Driver], dict[str, Any]]] = {
    "hook, the library's error": lambda _: {"hook": raise_for_status},
    "hook, its own error": lambda _: {"hook": raise_own},
    "transport, the library's error": lambda driver: {"transport": checking_transport(driver, is_wrapped=False)},
    "transport, its own error": lambda driver: {"transport": checking_transport(driver, is_wrapped=True)},
}


@pytest.mark.parametrize("raiser", RAISERS.values(), ids=RAISERS)
@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_hook_or_transport_that_raises_for_a_401_rejects_the_token(
    driver: Driver, server: Loopback, grant: ClientCredentials, raiser: Callable[[Driver], dict[str, Any]]
) -> None:
    """After a hook or transport raised for a 401, the next request carries another token.

    The same holds for a hook that raises for a 401 behind a redirect.
    """
    auth = driver.auth(grant)
    assert driver.get(server.api_url, auth).status == 200

    def redirect(received: Received) -> Response:
        return as_json({}, 302, Location="/there") if received.target == "/api" else server.check(received)

    for api in (server.check, redirect) if "hook" in raiser(driver) else (server.check,):
        server.api = api
        server.revoke()
        server.live.add("of another client")
        with pytest.raises((HookError, driver.module.HTTPStatusError)):
            driver.get(server.api_url, auth, **raiser(driver))
        assert driver.get(server.api_url, auth, **raiser(driver)).status == 200


@pytest.mark.parametrize("driver", each(HTTPX))
def test_an_error_that_is_no_401_costs_no_token(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials
) -> None:
    """No token request follows a hook that raises for a 500 or another host's 401, a lost connection, or Ctrl-C."""
    auth = driver.auth(grant)

    def raise_for_a_401(kind: type[BaseException], response: Any) -> None:
        if response.status_code == 401:
            raise kind

    fail, refuse, library = lambda _: as_json({}, 500), lambda _: as_json({}, 401), driver.module
    for play, hook, error in (
        (fail, raise_for_status, library.HTTPStatusError),
        (fail, raise_own, HookError),
        (lambda _: as_json({}, 302, Location=other_server.api_url), raise_own, HookError),
        (functools.partial(broken_off, status=200), raise_for_status, library.RemoteProtocolError),
        (refuse, functools.partial(raise_for_a_401, KeyboardInterrupt), KeyboardInterrupt),
        (refuse, functools.partial(raise_for_a_401, asyncio.CancelledError), asyncio.CancelledError),
    ):
        server.api = play
        with pytest.raises(error):
            driver.get(server.api_url, auth, hook=hook)
    server.api = server.check
    assert driver.get(server.api_url, auth, hook=raise_for_status).status == 200
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_connection_error_after_an_older_401_costs_no_token(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """A connection error in a replay, or while the user handles an older 401, leaves the token in use."""
    library, auth, shown = driver.module, driver.auth(grant), list[str]()

    def play(request: Any) -> Any:
        shown.append(request.headers["authorization"].removeprefix("Bearer "))
        if len(shown) == 1:
            return library.Response(401, request=request)
        if len(shown) < 4:
            clock.forward(31)
            raise library.ConnectError("no answer")
        return library.Response(200)

    transport = library.MockTransport(play)
    with pytest.raises(library.ConnectError):
        driver.get(server.api_url, auth, transport=transport)
    try:
        library.Response(401, request=driver.signed(auth, server.api_url)).raise_for_status()
    except library.HTTPStatusError:
        with pytest.raises(library.ConnectError):
            driver.get(server.api_url, auth, transport=transport)
    assert driver.get(server.api_url, auth, transport=transport).status == 200
    assert shown == ["token-1", "token-2", "token-2", "token-2"]


@pytest.mark.parametrize("driver", each(HTTPX))
def test_an_api_that_refuses_everything_is_no_loop_with_a_hook_that_raises(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """An API that rejects every token costs two token requests in 30 s, though a hook raises each time."""
    auth = driver.auth(grant)
    server.api = lambda _: as_json({}, 401)
    for _ in range(3):
        with pytest.raises(HookError):
            driver.get(server.api_url, auth, hook=raise_own)
    assert len(server.token_requests) == 2
    clock.forward(30)
    for _ in range(3):
        with pytest.raises(HookError):
            driver.get(server.api_url, auth, hook=raise_own)
    assert len(server.token_requests) == 3


@pytest.mark.parametrize("driver", each(HTTPX))
@pytest.mark.parametrize(("status", "requested"), [(401, 2), (500, 3)])
def test_a_hook_may_raise_for_the_replay(
    driver: Driver, server: Loopback, grant: ClientCredentials, status: int, requested: int
) -> None:
    """If a hook raises for the replay, a 401 costs no third token at once; a 500 accepts the token."""
    auth, seen = driver.auth(grant), list[int]()

    def raise_for_the_replay(response: Any) -> None:
        seen.append(response.status_code)
        if len(seen) == 2:
            raise HookError

    server.api = lambda received: as_json({}, status if received.headers["authorization"] == "Bearer token-2" else 401)
    with pytest.raises(HookError):
        driver.get(server.api_url, auth, hook=raise_for_the_replay)
    assert (tokens(server), seen) == (["token-1", "token-2"], [401, status])
    server.api = lambda _: as_json({}, 401)
    assert driver.get(server.api_url, auth).status == 401
    assert len(server.token_requests) == requested


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
@pytest.mark.parametrize("delegates", [True, False])
def test_a_flow_within_another_sees_the_error_too(
    driver: SyncDriver, delegates: bool, server: Loopback, grant: ClientCredentials
) -> None:
    """If an auth of the user's runs this auth's flow within its own, an error of a hook still rejects the token."""
    auth = driver.auth(grant)

    class Outer(driver.module.Auth):  # type: ignore[name-defined]  # of either library
        def sync_auth_flow(self, request: Any) -> Any:
            flow = auth.sync_auth_flow(request)
            if delegates:
                yield from flow
                return
            try:
                yield flow.send((yield next(flow)))
            except StopIteration:
                pass
            finally:
                flow.close()

    for _ in range(2):
        assert driver.get(server.api_url, Outer(), hook=raise_own).status == 200
        server.revoke()
        with pytest.raises(HookError):
            driver.get(server.api_url, Outer(), hook=raise_own)
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("is_combined", [False, True])
def test_one_connection_is_enough_for_api_and_token(
    server: Loopback, grant: ClientCredentials, is_combined: bool
) -> None:
    """If the API's own session sends the token requests by its only connection, a 401 is answered all the same."""
    session, statuses = requests.Session(), list[int]()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=1, pool_block=True))
    auth: Any = auth_plugins.requests.OAuth2Auth(grant, session=session)
    if is_combined:
        auth += requests.auth.HTTPProxyAuth("me", "mine")

    def work() -> None:
        for stream in (False, True):
            server.revoke()
            with session.get(server.api_url, auth=auth, stream=stream) as response:
                statuses.append(response.status_code)

    thread = threading.Thread(target=work, daemon=True)  # as it hangs if the package is at fault
    thread.start()
    thread.join(30)
    assert statuses == [200, 200]
    session.close()


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_refusal_is_closed_before_the_token_request(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """The connection of a 401 is free when the next token is requested."""
    library, auth, events = driver.module, driver.auth(grant), list[str]()

    class Body(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[name-defined]  # of either library
        def __iter__(self) -> Any:
            yield b"refused"

        async def __aiter__(self) -> Any:
            yield b"refused"

        def close(self) -> None:
            events.append("closed")

        async def aclose(self) -> None:
            events.append("closed")

    def play(request: Any) -> Any:
        first = request.headers["authorization"] == "Bearer token-1"
        return library.Response(401, stream=Body()) if first else library.Response(200)

    def token_play(received: Received) -> Response:
        events.append("token")
        return server.issue(received)

    server.token_play = token_play
    answer = driver.get(server.api_url, auth, transport=library.MockTransport(play))
    assert (answer.status, answer.response.history[0].content) == (200, b"refused")
    assert events == ["token", "closed", "token"]


@pytest.mark.parametrize("driver", each(HTTPX))
@pytest.mark.parametrize("hosts", [None, "api.example.com"])
def test_a_replay_goes_where_the_request_went(driver: Driver, grant: ClientCredentials, hosts: str | None) -> None:
    """A request whose URL a transport rewrote, as a load balancer does, is replayed like any other."""

    def play(request: Any) -> Any:
        request.url = driver.module.URL("http://10.0.0.5:8080/api")
        return driver.module.Response(401 if request.headers["x-api-key"] == "key-1" else 200)

    keys = iter(["key-1", "key-2"])
    auth = driver.auth(ApiKey(lambda: next(keys)), allowed_hosts=hosts)
    assert driver.get("https://api.example.com/", auth, transport=driver.module.MockTransport(play)).status == 200


def broken_off(_: Received, status: int = 401) -> Response:
    """An answer whose chunked body ends in the middle."""

    def body() -> Iterator[bytes]:
        yield b"half of it"
        raise ConnectionResetError

    return Response(body(), status)


def wrongly_encoded(_: Received) -> Response:
    """A 401 whose body is not encoded as its header says."""
    return Response(b"this is no gzip", 401, {"Content-Encoding": "gzip"})


@pytest.mark.parametrize("refuse", [broken_off, wrongly_encoded])
@pytest.mark.parametrize("driver", each(ALL))
def test_the_body_of_a_401_is_not_needed(
    driver: Driver, server: Loopback, grant: ClientCredentials, refuse: Callable[[Received], Response]
) -> None:
    """A 401 whose body cannot be read is answered by a new token and a replay, as any other."""

    def api(received: Received) -> Response:
        return refuse(received) if received.headers["authorization"] == "Bearer token-1" else server.check(received)

    server.api = api
    answer = driver.get(server.api_url, driver.auth(grant))
    assert (answer.status, answer.history, tokens(server)) == (200, [401], ["token-1", "token-2"])
    assert answer.response.history[0].content in (b"half of it", b"")


def test_a_401_that_cannot_be_decoded_keeps_no_connection(server: Loopback, grant: ClientCredentials) -> None:
    """The only connection is free for the token request, although the body of the 401 could not be read."""

    def api(received: Received) -> Response:
        refusal = Response(b"this is no gzip" * 100_000, 401, {"Content-Encoding": "gzip"})
        return refusal if received.headers["authorization"] == "Bearer token-1" else server.check(received)

    server.api = api
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=1, pool_block=True))
        auth = auth_plugins.requests.OAuth2Auth(grant, session=session, timeout=2)
        assert session.get(server.api_url, auth=auth, timeout=5).status_code == 200


@pytest.mark.parametrize("driver", each(ALL))
def test_a_new_key_is_sent_after_a_401_that_breaks_off(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """A key that changed meanwhile is sent once more, although the body of the 401 cannot be read."""
    path = tmp_path / "key"
    path.write_text("old-key")

    def api(received: Received) -> Response:
        path.write_text("new-key")
        return broken_off(received) if "old-key" in received.headers["x-api-key"] else Response(b"ok")

    server.api = api
    assert driver.get(server.api_url, driver.auth(ApiKey(SecretFile(path)))).status == 200


def test_a_401_for_an_old_key_is_read_before_the_replay(server: Loopback) -> None:
    """The connection of a 401 is free for the replay with another key, although the body is to be streamed."""
    keys = iter(["key-1", "key-2"])
    auth = auth_plugins.requests.OAuth2Auth(ApiKey(lambda: next(keys)))
    server.api = lambda received: Response(b"x" * 1_000_000, 401 if received.headers["x-api-key"] == "key-1" else 200)
    with requests.get(server.api_url, auth=auth, stream=True, timeout=5) as response:
        [refusal] = response.history
        assert (response.status_code, refusal.raw.closed, response.raw.closed) == (200, True, False)


@pytest.mark.parametrize("driver", each(ALL))
def test_a_401_that_is_returned_is_not_read(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A 401 that cannot be replayed is returned unread: a body that breaks off raises the library's error."""
    server.api = broken_off
    auth = driver.auth(grant)
    with pytest.raises(driver.base_error) as caught:
        driver.send(Call("POST", server.api_url, driver.chunks([b"one", b"two"])), auth)
    assert not isinstance(caught.value, auth_plugins.AuthError)
    server.api = server.check
    assert driver.get(server.api_url, auth).status == 200
    assert tokens(server) == ["token-1", "token-2"]


@pytest.mark.parametrize("driver", each(ALL))
def test_a_constant_key_leaves_its_401_unread(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """A 401 for a key that is still the same is returned unread, so that its body can be streamed."""
    path = tmp_path / "key"
    path.write_text("k3y-of-mine")
    server.api = lambda _: Response(b"raw as it came", 401)
    auth, library = driver.auth(ApiKey(SecretFile(path))), driver.module

    async def main() -> list[bytes]:
        async with library.AsyncClient(auth=auth) as client, client.stream("GET", server.api_url) as response:
            return [part async for part in response.aiter_raw()]

    if driver.library == "requests":
        with requests.get(server.api_url, auth=auth, stream=True, timeout=5) as response:
            assert response.raw.read() == b"raw as it came"
    elif isinstance(driver, AsyncHttpx):
        assert driver.run(main) == [b"raw as it came"]
    else:
        with library.stream("GET", server.api_url, auth=auth) as response:
            assert list(response.iter_raw()) == [b"raw as it came"]


@pytest.mark.parametrize(
    ("own", "set_by_401", "second"),
    [
        ({}, {"route": "b7"}, "route=b7"),
        ({"mine": "1", "route": "a1"}, {"route": "b7"}, "mine=1; route=b7"),
        ({"mine": "1"}, {}, "mine=1"),
        ({}, {}, None),
    ],
)
@pytest.mark.parametrize("driver", each(ALL))
def test_cookies_of_a_401_replace_older_ones(
    driver: Driver, server: Loopback, grant: ClientCredentials, own: Any, set_by_401: Any, second: str | None
) -> None:
    """A replay carries the cookies of the 401, in place of older ones; one for another path changes nothing."""
    if driver.library == "requests" and own:
        return  # it adds no cookie to a request that has some; HTTPDigestAuth behaves in the same way
    refusal = as_json({}, 401)
    refusal.set_cookie("elsewhere", "1", path="/other")
    for name, value in set_by_401.items():
        refusal.set_cookie(name, value)
    plays = iter([refusal, as_json({})])
    server.api = lambda _: next(plays)
    assert driver.get(server.api_url, driver.auth(grant), cookies=own).status == 200
    assert server.api_requests[1].headers.get("cookie") == second


@pytest.mark.parametrize("driver", each(ALL))
def test_a_host_that_is_not_allowed_is_logged(
    driver: Driver, server: Loopback, grant: ClientCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    """DEBUG says that a request gets no token, as its host is not in ``allowed_hosts``."""
    caplog.set_level(logging.DEBUG, "auth_plugins")
    assert driver.get(server.api_url, driver.auth(grant, allowed_hosts=["api.example.com"])).status == 401
    assert logged(caplog, logging.DEBUG) == [
        "a request to http://127.0.0.1 gets no token: its host is not in allowed_hosts"
    ]


@pytest.mark.parametrize("driver", each(ALL))
def test_refusals_are_logged_without_secrets(
    driver: Driver, server: Loopback, grant: ClientCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, each 401 is logged with what follows; of the URL only scheme, host, port and path."""
    caplog.set_level(logging.DEBUG, "auth_plugins")
    auth = driver.auth(grant)
    url = server.api_url.replace("//", "//me:passw0rd@") + "?key=k3y-of-mine#part"

    def lines() -> list[str]:
        records = [record for record in caplog.records if record.name == "auth_plugins" and "answered" in record.msg]
        assert {record.levelno for record in records} <= {logging.DEBUG}
        found = [record.getMessage() for record in records]
        caplog.clear()
        return found

    began = f" {server.api_url} was answered 401: "
    assert driver.get(url, auth).status == 200
    assert lines() == []
    server.revoke()
    assert driver.get(url, auth).status == 200
    assert lines() == [f"GET{began}a new token was obtained, and the request is sent again"]
    server.revoke()
    assert driver.send(Call("POST", url, driver.chunks([b"one"])), auth).status == 401
    [line] = lines()
    assert line.startswith(f"POST{began}the token is given up; the body cannot be read a second time")
    server.api = lambda _: as_json({}, 401)
    assert driver.get(url, auth).status == 401
    lines()
    assert driver.get(url, auth).status == 401
    assert lines() == [f"GET{began}new tokens are rejected as well, so no other is requested for now"]
    assert driver.get(server.api_url, driver.auth(ApiKey("k3y-of-mine"))).status == 401
    assert lines() == [f"GET{began}the key is still the same, so the request is not sent again"]


@pytest.mark.parametrize("is_combined", [False, True])
def test_a_refusal_is_closed_when_the_renewal_fails(server: Loopback, is_combined: bool) -> None:
    """The connection of a 401 is free after the next token could not be fetched, although the body was streamed."""
    refusals: list[requests.Response] = []

    class Keeping(requests.adapters.HTTPAdapter):
        def build_response(self, request: Any, answer: Any) -> Any:
            refusals.append(super().build_response(request, answer))
            return refusals[-1]

    keys = iter(["k3y-of-mine"])
    auth: Any = auth_plugins.requests.OAuth2Auth(ApiKey(lambda: next(keys, "")))
    if is_combined:
        auth += auth_plugins.requests.OAuth2Auth(ApiKey("0ther-key", header="X-Other-Key"))
    server.api = lambda _: Response(b"x" * 1_000_000, 401)
    with requests.Session() as session:
        session.mount("http://", Keeping())
        with pytest.raises(ConfigurationError):
            session.get(server.api_url, auth=auth, stream=True)
        [refusal] = refusals
        assert refusal.raw.closed


@pytest.mark.parametrize("is_renewed", [True, False])
def test_a_refusal_that_cannot_be_closed(is_renewed: bool) -> None:
    """A 401 of an adapter of the user's is not read if no other key is found, and may raise when it is closed."""

    class Body(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            assert is_renewed, "it may have no end"
            return b""

        def release_conn(self) -> None:
            raise OSError

    def play(request: Any) -> dict[str, Any]:
        refusal = {"status_code": 401, "_content": False, "raw": Body()}
        return refusal if request.headers["x-api-key"] == "key-1" else {}

    keys = iter(["key-1", "key-2" if is_renewed else ""])
    with requests.Session() as session:
        session.mount("https://", MockAdapter(play))
        with contextlib.nullcontext() if is_renewed else pytest.raises(ConfigurationError):
            auth = auth_plugins.requests.OAuth2Auth(ApiKey(lambda: next(keys)))
            assert session.get("https://api.example.com", auth=auth).status_code == 200


def test_the_second_token_may_be_refused_after_a_redirect(server: Loopback, grant: ClientCredentials) -> None:
    """If the replay is redirected, and its token rejected there, the token is replaced as the first one was."""

    def api(received: Received) -> Response:
        token = received.headers["authorization"]
        if received.target == "/api" and token != "Bearer token-1":
            return as_json({}, 302, Location="/there")
        return as_json({}, 200 if token == "Bearer token-3" else 401)

    server.api = api
    response = requests.get(server.api_url, auth=auth_plugins.requests.OAuth2Auth(grant), timeout=5)
    assert response.status_code == 200
    shown = [received.target for received in server.api_requests]
    assert (shown, tokens(server)) == (["/api", "/api", "/there", "/there"], [f"token-{n}" for n in (1, 2, 2, 3)])
