"""A 401 of the API: what it costs, what happens to its connection, body and cookies, and what is logged of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.wrappers import Response

import auth_plugins.httpx
import auth_plugins.requests
from auth_plugins import ApiKey, ClientCredentials, ConfigurationError, SecretFile
from tests.support.drivers import ALL, AsyncHttpx, Call, Driver, each
from tests.support.loopback import Clock, Loopback, Received, as_json

HTTPX = [driver for driver in ALL if driver.library != "requests"]


def tokens(server: Loopback) -> list[str]:
    """What the API was shown, request by request."""
    return [received.headers.get("authorization", "") for received in server.api_requests]


class HookError(Exception):
    """What a user's hook raises."""


def raise_for_status(response: Any) -> None:
    if response.is_error:
        response.raise_for_status()


def raise_own(response: Any) -> None:
    if response.is_error:
        raise HookError


def send(driver: Driver, url: str, auth: Any, hook: Callable[[Any], None], **options: Any) -> Any:
    """GET *url* by a client of *driver* that has this event hook for responses."""
    library = importlib.import_module(driver.library)
    options = {"trust_env": False, "auth": auth, "follow_redirects": True, **options}
    if not isinstance(driver, AsyncHttpx):
        with library.Client(event_hooks={"response": [hook]}, **options) as client:
            return client.get(url)

    async def async_hook(response: Any) -> None:
        hook(response)

    async def main() -> Any:
        async with library.AsyncClient(event_hooks={"response": [async_hook]}, **options) as client:
            return await client.get(url)

    return driver.run(main)


@pytest.mark.parametrize("hook", [raise_for_status, raise_own])
@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_hook_that_raises_for_a_401_gives_the_token_up(
    driver: Driver, server: Loopback, grant: ClientCredentials, hook: Callable[[Any], None]
) -> None:
    """After an event hook raised for a 401, the next request carries another token; also where a redirect led to it."""
    auth = driver.auth(grant)
    server.live.add("nothing")
    for path in ("/api", "/moved"):
        assert send(driver, server.url + path, auth, hook).status_code == 200
        server.revoke()
        server.api = lambda received: (
            as_json({}, 302, Location="/there") if received.target == "/moved" else server.check(received)
        )
        with pytest.raises(Exception) as caught:  # noqa: PT011 - what each hook raises
            send(driver, server.url + path, auth, hook)
        assert not isinstance(caught.value, auth_plugins.AuthError)
        assert send(driver, server.url + path, auth, hook).status_code == 200
    assert len(server.token_requests) == 3


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_transport_that_raises_for_a_401_gives_the_token_up(
    driver: Driver, server: Loopback, grant: ClientCredentials, is_wrapped: bool
) -> None:
    """After a transport, such as one that retries, raised for a 401, the next request carries another token."""
    library = importlib.import_module(driver.library)

    def checked(request: Any, response: Any) -> Any:
        response.request = request
        try:
            return response.raise_for_status()
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

    auth = driver.auth(grant)
    for is_live in (True, False, True):
        if not is_live:
            server.revoke()
        transport = AsyncTransport() if isinstance(driver, AsyncHttpx) else Transport()
        error = HookError if is_wrapped else library.HTTPStatusError
        with contextlib.nullcontext() if is_live else pytest.raises(error):
            assert send(driver, server.api_url, auth, raise_own, transport=transport).status_code == 200
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("driver", each(HTTPX))
def test_an_error_that_is_no_401_costs_no_token(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A hook that raises for a 500, a broken connection, Ctrl-C and a cancellation cost no token."""
    auth = driver.auth(grant)

    def drop(_: Received) -> Response:
        def body() -> Iterator[bytes]:
            yield b"half"
            raise ConnectionResetError

        return Response(body())

    def interrupt(response: Any) -> None:
        if response.status_code == 401:
            raise KeyboardInterrupt

    def cancel(response: Any) -> None:
        if response.status_code == 401:
            raise asyncio.CancelledError

    library = importlib.import_module(driver.library)
    refuse = lambda _: as_json({}, 401)  # noqa: E731
    for play, hook, error in (
        (lambda _: as_json({}, 500), raise_for_status, library.HTTPStatusError),
        (lambda _: as_json({}, 500), raise_own, HookError),
        (drop, raise_for_status, library.RemoteProtocolError),
        (refuse, interrupt, KeyboardInterrupt),
        (refuse, cancel, asyncio.CancelledError),
    ):
        server.api = play
        with pytest.raises(error):
            send(driver, server.api_url, auth, hook)
    server.api = server.check
    assert send(driver, server.api_url, auth, raise_for_status).status_code == 200
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("driver", each(HTTPX))
def test_an_older_401_costs_no_token(driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock) -> None:
    """A connection error while the user handles an older 401 says nothing of the token."""
    library, auth = importlib.import_module(driver.library), driver.auth(grant)
    server.api = lambda _: as_json({}, 401)
    response = send(driver, server.api_url, auth, lambda _: None)
    assert len(server.token_requests) == 2
    clock.forward(31)

    def fail(_: Any) -> Any:
        raise library.ConnectError("nobody answers")

    try:
        response.raise_for_status()
    except library.HTTPStatusError:
        with pytest.raises(library.ConnectError):
            send(driver, server.api_url, auth, raise_for_status, transport=library.MockTransport(fail))
    server.api = server.check
    assert send(driver, server.api_url, auth, raise_for_status).status_code == 200
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_second_try_that_cannot_connect_costs_no_token(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """The second try finds no connection, long after the first was refused: the fresh token stays."""
    library, auth, shown = importlib.import_module(driver.library), driver.auth(grant), list[str]()

    def play(request: Any) -> Any:
        shown.append(request.headers["authorization"])
        if len(shown) == 1:
            return library.Response(401)
        if len(shown) == 2:
            clock.forward(31)
            raise library.ConnectError("nobody answers")
        return library.Response(200)

    transport = library.MockTransport(play)
    with pytest.raises(library.ConnectError):
        send(driver, server.api_url, auth, lambda _: None, transport=transport)
    assert send(driver, server.api_url, auth, lambda _: None, transport=transport).status_code == 200
    assert shown == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


@pytest.mark.parametrize("driver", each(HTTPX))
def test_another_hosts_401_in_a_hook_costs_no_token(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials
) -> None:
    """The API redirects elsewhere, and a hook raises for that host's 401: the token never went there, and stays."""
    auth = driver.auth(grant)
    server.api = lambda _: as_json({}, 302, Location=other_server.api_url)
    for _ in range(2):
        with pytest.raises(HookError):
            send(driver, server.api_url, auth, raise_own)
    assert tokens(server) == ["Bearer token-1"] * 2


@pytest.mark.parametrize("driver", each(HTTPX))
def test_an_api_that_refuses_everything_is_no_loop_with_a_hook_that_raises(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """An API that refuses every token costs two token requests in half a minute, though a hook raises each time."""
    auth = driver.auth(grant)
    server.api = lambda _: as_json({}, 401)
    for _ in range(10):
        with pytest.raises(HookError):
            send(driver, server.api_url, auth, raise_own)
    assert len(server.token_requests) == 2
    clock.forward(30)
    for _ in range(10):
        with pytest.raises(HookError):
            send(driver, server.api_url, auth, raise_own)
    assert len(server.token_requests) == 3


@pytest.mark.parametrize("driver", each(HTTPX))
@pytest.mark.parametrize("status", [401, 500])
def test_a_hook_may_raise_for_the_second_try(
    driver: Driver, server: Loopback, grant: ClientCredentials, status: int
) -> None:
    """A hook raises for the second try: a 401 there costs no third token at once, and a 500 accepts the token."""
    auth = driver.auth(grant)
    first = True

    def once(response: Any) -> None:
        nonlocal first
        if not first and response.is_error:
            raise HookError
        first = False

    server.api = lambda received: as_json({}, status if received.headers["authorization"] == "Bearer token-2" else 401)
    with pytest.raises(HookError):
        send(driver, server.api_url, auth, once)
    assert tokens(server) == ["Bearer token-1", "Bearer token-2"]
    server.api = lambda _: as_json({}, 401)
    assert send(driver, server.api_url, auth, lambda _: None).status_code == 401
    # What was accepted, and is refused then, is renewed at once; what was refused at once is not.
    assert len(server.token_requests) == (2 if status == 401 else 3)


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
@pytest.mark.parametrize("delegates", [True, False])
def test_a_flow_within_another_sees_the_error_too(
    module: str, delegates: bool, server: Loopback, grant: ClientCredentials
) -> None:
    """An auth of the user's that runs the flow of this one within its own changes nothing of that."""
    library, plugin = importlib.import_module(module), importlib.import_module(f"auth_plugins.{module}")
    auth = plugin.OAuth2Auth(grant)

    class Outer(library.Auth):  # type: ignore[name-defined]  # of either library
        def sync_auth_flow(self, request: Any) -> Any:
            flow = auth.sync_auth_flow(request)
            if delegates:
                yield from flow
                return
            answer = None
            try:
                while True:
                    answer = yield flow.send(answer)
            except StopIteration:
                pass
            finally:
                flow.close()

    for _ in range(2):
        with library.Client(trust_env=False, auth=Outer(), event_hooks={"response": [raise_own]}) as client:
            assert client.get(server.api_url).status_code == 200
            server.revoke()
            with pytest.raises(HookError):
                client.get(server.api_url)
            assert client.get(server.api_url).status_code == 200


def finishes(function: Callable[[], Any]) -> Any:
    """What *function* returns; it runs in a thread of its own, as it may hang where the package is at fault."""
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(function()), daemon=True)
    thread.start()
    thread.join(30)
    assert outcome, "it hangs"
    return outcome[0]


def test_one_connection_is_enough_for_api_and_token(server: Loopback, grant: ClientCredentials) -> None:
    """The API's own session sends the token requests by its only connection: a 401 is answered all the same."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=1, pool_block=True))
    auth = auth_plugins.requests.OAuth2Auth(grant, session=session)
    for stream in (False, True):
        server.revoke()
        response = finishes(functools.partial(session.get, server.api_url, auth=auth, stream=stream))
        assert response.status_code == 200
        response.close()
    session.close()


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_that_wait_for_a_token_hold_no_connections(
    module: str, threads: int, server: Loopback, grant: ClientCredentials
) -> None:
    """As many threads as the client has connections get a 401 at once, and the token comes by the same client."""
    library, plugin = importlib.import_module(module), importlib.import_module(f"auth_plugins.{module}")
    barrier = threading.Barrier(threads)

    def api(received: Received) -> Response:
        if received.headers["authorization"] == "Bearer token-1":
            barrier.wait(20)
        return server.check(received)

    limits = library.Limits(max_connections=threads)
    with library.Client(limits=limits, trust_env=False, timeout=5) as client:
        auth = plugin.OAuth2Auth(grant, client=client, timeout=5)
        assert client.get(server.api_url, auth=auth).status_code == 200
        server.revoke()
        server.api = api
        statuses: list[int] = []

        def work() -> None:
            statuses.append(client.get(server.api_url, auth=auth).status_code)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert statuses == [200] * threads
    assert len(server.token_requests) == 2


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_refusal_is_closed_before_the_token_request(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """The connection of a 401 is free when the next token is asked for."""
    library, auth, events = importlib.import_module(driver.library), driver.auth(grant), list[str]()

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
    response = send(driver, server.api_url, auth, lambda _: None, transport=library.MockTransport(play))
    assert (response.status_code, response.history[0].content) == (200, b"refused")
    assert events == ["token", "closed", "token"]


def broken_off(_: Received) -> Response:
    """A 401 whose chunked body ends in the middle."""

    def body() -> Iterator[bytes]:
        yield b"half of it"
        raise ConnectionResetError

    return Response(body(), 401)


def wrongly_encoded(_: Received) -> Response:
    """A 401 whose body is not encoded as its header says."""
    return Response(b"this is no gzip", 401, {"Content-Encoding": "gzip"})


@pytest.mark.parametrize("refuse", [broken_off, wrongly_encoded])
@pytest.mark.parametrize("driver", each(ALL))
def test_the_body_of_a_401_is_not_needed(
    driver: Driver, server: Loopback, grant: ClientCredentials, refuse: Callable[[Received], Response]
) -> None:
    """A 401 whose body cannot be read is answered by a renewal and a second try, as any other."""

    def api(received: Received) -> Response:
        return refuse(received) if received.headers["authorization"] == "Bearer token-1" else server.check(received)

    server.api = api
    answer = driver.get(server.api_url, driver.auth(grant))
    assert (answer.status, answer.history, tokens(server)) == (200, [401], ["Bearer token-1", "Bearer token-2"])
    assert answer.response.history[0].content in (b"half of it", b"")


@pytest.mark.parametrize("driver", each(ALL))
def test_a_401_that_is_returned_is_the_librarys_matter(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """A 401 whose request cannot be sent again is returned with its body unread: one that breaks off raises as ever."""
    server.api = broken_off
    auth = driver.auth(grant)
    with pytest.raises(driver.base_error) as caught:
        driver.send(Call("POST", server.api_url, driver.chunks([b"one", b"two"])), auth)
    assert not isinstance(caught.value, auth_plugins.AuthError)
    server.api = server.check
    assert driver.get(server.api_url, auth).status == 200
    assert tokens(server) == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("driver", each(ALL))
def test_a_constant_key_leaves_its_401_unread(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """A 401 for a key that is still the same is returned as it came, so that its body can be streamed."""
    path = tmp_path / "key"
    path.write_text("k3y-of-mine")
    server.api = lambda _: Response(b"raw as it came", 401)
    auth, library = driver.auth(ApiKey(SecretFile(path))), importlib.import_module(driver.library)
    if driver.library == "requests":
        with requests.get(server.api_url, auth=auth, stream=True, timeout=5) as response:
            assert response.raw.read() == b"raw as it came"
        return

    async def main() -> list[bytes]:
        async with (
            library.AsyncClient(trust_env=False, auth=auth) as client,
            client.stream("GET", server.api_url) as response,
        ):
            return [part async for part in response.aiter_raw()]

    if isinstance(driver, AsyncHttpx):
        assert driver.run(main) == [b"raw as it came"]
    else:
        with library.Client(trust_env=False, auth=auth) as client, client.stream("GET", server.api_url) as response:
            assert list(response.iter_raw()) == [b"raw as it came"]


@pytest.mark.parametrize("driver", each(ALL))
def test_a_cookie_of_a_401_is_on_the_second_try(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A cookie that a 401 sets is sent with the second try."""
    refusal = as_json({}, 401)
    refusal.set_cookie("route", "b7")
    plays = [refusal, as_json({})]
    server.api = lambda _: plays.pop(0)
    assert driver.get(server.api_url, driver.auth(grant)).status == 200
    assert [received.headers.get("cookie") for received in server.api_requests] == [None, "route=b7"]


@pytest.mark.parametrize("driver", each(HTTPX))
@pytest.mark.parametrize(
    ("own", "set_by_401", "second"),
    [
        ({"mine": "1", "route": "a1"}, {"route": "b7"}, "mine=1; route=b7"),
        ({"mine": "1"}, {}, "mine=1"),
        ({}, {}, None),
    ],
)
def test_cookies_of_a_401_replace_older_ones(
    driver: Driver, server: Loopback, grant: ClientCredentials, own: Any, set_by_401: Any, second: str | None
) -> None:
    """A cookie of a 401 replaces the client's cookie of that name; one for another path changes nothing."""
    refusal = as_json({}, 401)
    refusal.set_cookie("elsewhere", "1", path="/other")
    for name, value in set_by_401.items():
        refusal.set_cookie(name, value)
    plays = iter([refusal, as_json({})])
    server.api = lambda _: next(plays)
    assert send(driver, server.api_url, driver.auth(grant), lambda _: None, cookies=own).status_code == 200
    assert server.api_requests[1].headers.get("cookie") == second


@pytest.mark.parametrize("driver", each(ALL))
def test_refusals_are_logged_without_secrets(
    driver: Driver, server: Loopback, grant: ClientCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, each 401 is logged with what came of it; of the URL only scheme, host, port and path."""
    caplog.set_level(logging.DEBUG, "auth_plugins")
    auth = driver.auth(grant)
    url = server.api_url.replace("//", "//me:passw0rd@") + "?key=k3y-of-mine#part"

    def lines() -> list[str]:
        records = [record for record in caplog.records if record.name == "auth_plugins" and "401" in record.msg]
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
    assert lines() == [f"GET{began}fresh tokens are refused as well, so no other is requested for now"]
    assert driver.get(server.api_url, driver.auth(ApiKey("k3y-of-mine"))).status == 401
    assert lines() == [f"GET{began}the key is still the same, so the request is not sent again"]


def test_nothing_is_logged_above_debug(
    server: Loopback, grant: ClientCredentials, caplog: pytest.LogCaptureFixture
) -> None:
    """A 401 is not logged where the log of the package is not at DEBUG."""
    caplog.set_level(logging.INFO, "auth_plugins")
    server.refuse_once()
    assert requests.get(server.api_url, auth=auth_plugins.requests.OAuth2Auth(grant), timeout=5).status_code == 200
    assert not [record for record in caplog.records if "answered 401" in record.msg]


def test_a_refusal_is_closed_when_the_renewal_fails(server: Loopback) -> None:
    """The connection of a 401 is free after its renewal failed, although the body was to be streamed."""
    refusals: list[requests.Response] = []

    class Keeping(requests.adapters.HTTPAdapter):
        def build_response(self, request: Any, answer: Any) -> Any:
            refusals.append(super().build_response(request, answer))
            return refusals[-1]

    keys = iter(["k3y-of-mine"])
    auth = auth_plugins.requests.OAuth2Auth(ApiKey(lambda: next(keys, "")))
    server.api = lambda _: Response(b"x" * 1_000_000, 401)
    with requests.Session() as session:
        session.mount("http://", Keeping())
        with pytest.raises(ConfigurationError):
            session.get(server.api_url, auth=auth, stream=True)
        [refusal] = refusals
        assert refusal.raw.closed


def test_the_second_token_may_be_refused_after_a_redirect(server: Loopback, grant: ClientCredentials) -> None:
    """The second try is redirected, and its token refused there: it is renewed as the first one was."""

    def api(received: Received) -> Response:
        if received.headers["authorization"] == "Bearer token-1":
            return as_json({}, 401)
        if received.target == "/api":
            return as_json({}, 302, Location="/there")
        return as_json({}, 401 if received.headers["authorization"] == "Bearer token-2" else 200)

    server.api = api
    response = requests.get(server.api_url, auth=auth_plugins.requests.OAuth2Auth(grant), timeout=5)
    assert response.status_code == 200
    shown = [(received.target, received.headers["authorization"][-7:]) for received in server.api_requests]
    assert shown == [("/api", "token-1"), ("/api", "token-2"), ("/there", "token-2"), ("/there", "token-3")]
