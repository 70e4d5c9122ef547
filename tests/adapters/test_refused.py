"""Which responses refuse a token besides a 401, what that costs, and the second replay of a new token."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import trio
from werkzeug.wrappers import Response

import auth_plugins.requests
from auth_plugins import (
    ApiKey,
    AuthError,
    ClientCredentials,
    ConfigurationError,
    MemoryCache,
    Token,
    TokenSource,
    graphql_unauthenticated,
)
from tests.adapters.test_refusals import HookError, raise_own, tokens
from tests.support.drivers import ALL, ASYNC, HTTPX, SYNC, Answer, AsyncHttpx, Call, Driver, each
from tests.support.loopback import Clock, Loopback, Received, as_json

INVALID = 'Bearer realm="api", error="invalid_token"'
SCOPE = 'Bearer error="insufficient_scope", scope="admin"'

all_drivers = pytest.mark.parametrize("driver", each(ALL))


def refusing(server: Loopback, refuse: Callable[[], Response]) -> Callable[[Received], Response]:
    """An API that says *refuse* to each token that is not live."""

    def api(received: Received) -> Response:
        answer = server.check(received)
        return refuse() if answer.status_code == 401 else answer

    return api


def challenge(status: int, value: str) -> Response:
    return as_json({}, status, WWW_Authenticate=value)


def says_unauthenticated() -> Response:
    return as_json({"errors": [{"extensions": {"code": "UNAUTHENTICATED"}}]})


def says_no(response: Any) -> bool:
    return bool(response.status_code == 200 and response.text.startswith("no"))


class NoStatusError(Exception):
    """What a predicate of the user's raises."""


def of_json(response: Any) -> bool:
    """A predicate that handles whatever happens, a body that was not read included."""
    try:
        return bool(response.json()["status"] == "expired")
    except Exception:
        return False


def of_read(response: Any) -> bool:
    """A predicate that raises its own error where there is no body."""
    try:
        body = response.read() if hasattr(response, "read") else response.content
    except Exception as error:
        raise NoStatusError from error
    return bool(body == b"no")


REFUSED: dict[str, tuple[dict[str, Any], Callable[[], Response]]] = {
    "challenge in a 403": ({}, lambda: challenge(403, INVALID)),
    "challenge in a 400": ({}, lambda: challenge(400, 'Basic realm="x", DPoP error="invalid_token"')),
    "status": ({"refused": (403, 419)}, lambda: as_json({}, 419)),
    "status from an iterator": ({"refused": iter([403])}, lambda: as_json({}, 403)),
    "status of a success": ({"refused": {299}}, lambda: as_json({}, 299)),
    "redirect": ({"refused": [302]}, lambda: as_json({}, 302, Location="/login")),
    "predicate of the status": ({"refused": lambda response: response.status_code == 498}, lambda: as_json({}, 498)),
    "predicate of the text": ({"refused": says_no}, lambda: Response("no")),
    "predicate that handles errors": ({"refused": of_json}, lambda: as_json({"status": "expired"})),
    "predicate with its own error": ({"refused": of_read}, lambda: Response("no")),
    "GraphQL": ({"refused": graphql_unauthenticated}, says_unauthenticated),
}


@pytest.mark.parametrize(("options", "refuse"), REFUSED.values(), ids=REFUSED)
@all_drivers
def test_a_refusal_is_answered_by_another_token(
    driver: Driver, server: Loopback, grant: ClientCredentials, options: Any, refuse: Callable[[], Response]
) -> None:
    """A refusal by a rule is answered by a new token and a replay, as a 401 is; the body is sent again."""
    if "refused" in options and isinstance(options["refused"], Iterator):
        options = {"refused": iter([403])}
    auth = driver.auth(grant, **options)
    server.api = refusing(server, refuse)
    call = Call("POST", server.api_url, {"content": b"b0dy"}, follow_redirects=False)
    assert (driver.send(call, auth).status, driver.send(call, auth).history) == (200, [])
    server.revoke()
    answer = driver.send(call, auth)
    assert (answer.status, answer.history, "b0dy" in answer.text) == (200, [refuse().status_code], True)
    assert tokens(server) == ["token-1", "token-1", "token-1", "token-2"]


NOT_REFUSED: dict[str, tuple[Any, Callable[[], Response]]] = {
    "a plain 403": (None, lambda: as_json({}, 403)),
    "a 403 of another scheme": (None, lambda: challenge(403, 'Basic error="invalid_token"')),
    "another error": (None, lambda: challenge(400, 'Bearer error="invalid_request"')),
    "a 503 with a challenge": (None, lambda: challenge(503, INVALID)),
    "a 200 with a challenge": (None, lambda: challenge(200, INVALID)),
    "insufficient_scope": (None, lambda: challenge(403, SCOPE)),
    "insufficient_scope, named": ((403,), lambda: challenge(403, SCOPE)),
    "insufficient_scope, for a predicate": (lambda _: True, lambda: challenge(403, SCOPE)),
    "insufficient_scope in a 401": (None, lambda: challenge(401, SCOPE)),
    "another status": ((419,), lambda: as_json({}, 403)),
    "no rule": ((), lambda: as_json({}, 403)),
    "a predicate that says no": (says_no, lambda: Response("yes", 403)),
    "another GraphQL error": (graphql_unauthenticated, lambda: as_json({"errors": [{"message": "no"}]})),
}


@pytest.mark.parametrize(("refused", "answer"), NOT_REFUSED.values(), ids=NOT_REFUSED)
@all_drivers
def test_what_is_no_refusal_is_returned(
    driver: Driver, server: Loopback, grant: ClientCredentials, refused: Any, answer: Callable[[], Response]
) -> None:
    """What no rule names is returned, and the token stays in use; insufficient_scope is never a refusal."""
    server.api = lambda _: answer()
    auth = driver.auth(grant, refused=refused)
    for _ in range(2):
        got = driver.get(server.api_url, auth)
        assert (got.status, got.history) == (answer().status_code, [])
    assert tokens(server) == ["token-1"] * 2


@pytest.mark.parametrize(
    "refused",
    ["403", b"403", 403, True, 7.5, [403, "419"], [True], [199], [1000], [403, None], object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_neither_statuses_nor_a_predicate_is_an_error(refused: Any) -> None:
    """``refused=`` takes statuses from 200 to 999, or a plain function."""
    with pytest.raises(ConfigurationError, match=r"^refused must (be statuses or|hold statuses)") as caught:
        auth_plugins.requests.OAuth2Auth(ApiKey("k3y-of-mine"), refused=refused)
    assert caught.value.argument == "refused"


def test_a_predicate_is_no_async_function() -> None:
    """An async function, or an object with an async call, is an error: what it returns is always true."""

    async def refused(_: object) -> bool:
        return False

    class Predicate:
        async def __call__(self, _: object) -> bool:
            return False

    for predicate in (refused, Predicate()):
        with pytest.raises(ConfigurationError, match="refused must return a bool, but is an async def"):
            auth_plugins.requests.OAuth2Auth(ApiKey("k3y-of-mine"), refused=predicate)  # type: ignore[arg-type]  # wrong


def streamed(driver: Driver, url: str, auth: Any, meanwhile: Callable[[], None]) -> bytes:
    """What a streamed GET yields; *meanwhile* is called between the headers and the body."""
    library = driver.module

    async def main() -> bytes:
        async with (
            library.AsyncClient(auth=auth, follow_redirects=True) as client,
            client.stream("GET", url) as response,
        ):
            meanwhile()
            return b"".join([part async for part in response.aiter_raw()])

    if driver.library == "requests":
        with requests.get(url, auth=auth, stream=True, timeout=5) as response:
            meanwhile()
            return b"".join(response.iter_content(10))
    if isinstance(driver, AsyncHttpx):
        return bytes(driver.run(main))
    with library.Client(auth=auth, follow_redirects=True) as client, client.stream("GET", url) as response:
        meanwhile()
        return b"".join(response.iter_raw())


@pytest.mark.parametrize(
    "refused", [None, (403,), lambda response: response.status_code == 403, graphql_unauthenticated]
)
@all_drivers
def test_a_download_does_not_wait(driver: Driver, server: Loopback, grant: ClientCredentials, refused: Any) -> None:
    """No body is read where there is no predicate, or it does not read: the headers arrive before the body is sent."""
    is_open = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"first "
        if not is_open.wait(10):
            raise TimeoutError
        yield b"last"

    plays = iter([as_json({}, 401), Response(body())])
    server.api = lambda _: next(plays)
    assert streamed(driver, server.api_url, driver.auth(grant, refused=refused), is_open.set) == b"first last"


@pytest.mark.parametrize("is_combined", [False, True])
@all_drivers
def test_a_download_from_elsewhere_does_not_wait(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials, is_combined: bool
) -> None:
    """What another origin answers after a redirect says nothing of the token: no predicate sees it, nor reads it."""
    is_open, seen = threading.Event(), list[int]()

    def body() -> Iterator[bytes]:
        yield b"first "
        if not is_open.wait(10):
            raise TimeoutError
        yield b"last"

    def refused(response: Any) -> bool:
        seen.append(response.status_code)
        return "no" in response.text

    server.api = lambda _: as_json({}, 302, Location=other_server.api_url)
    other_server.api = lambda _: Response(body())
    auth = driver.auth(grant, refused=refused)
    auth = auth + driver.auth(ApiKey("k3y-of-mine")) if is_combined else auth
    assert streamed(driver, server.api_url, auth, is_open.set) == b"first last"
    assert set(seen) <= {302}


@all_drivers
def test_a_body_that_was_read_can_be_streamed(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """After a predicate has read the body, the caller streams it all the same."""
    server.api = lambda _: Response("no" if len(server.api_requests) == 1 else "yes, indeed")
    auth = driver.auth(grant, refused=says_no)
    assert streamed(driver, server.api_url, auth, lambda: None) == b"yes, indeed"
    assert tokens(server) == ["token-1", "token-2"]


@all_drivers
def test_an_error_of_the_predicate_is_raised(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """What a predicate raises reaches the caller, with the body read or not; the token stays in use."""

    def fail(response: Any) -> bool:
        if response.status_code == 200:
            _ = response.text
        raise NoStatusError

    for status in (200, 403):
        server.api = lambda _, status=status: Response("text", status)  # type: ignore[misc]  # a default
        with pytest.raises(NoStatusError):
            driver.get(server.api_url, driver.auth(grant, refused=fail))
    assert len(server.token_requests) == 1


@all_drivers
def test_a_body_that_breaks_off_is_the_librarys_error(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """If the body that a predicate reads breaks off, the library's own error is raised."""

    def body() -> Iterator[bytes]:
        yield b"half of it"
        raise ConnectionResetError

    server.api = lambda _: Response(body())
    with pytest.raises(driver.base_error) as caught:
        driver.get(server.api_url, driver.auth(grant, refused=says_no))
    assert not isinstance(caught.value, AuthError)


@all_drivers
def test_an_api_that_means_permissions_costs_one_token_in_30_s(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """A status of ``refused`` that stays costs one token in 30 s, whatever others answer; the new token is kept."""
    server.api = lambda received: as_json({}, 403 if received.target == "/api/admin" else 200)
    auth = driver.auth(grant, refused=(403,))
    seen = []
    for seconds in (10, 10, 10, 5):
        assert driver.get(server.api_url, auth).status == 200
        answer = driver.get(f"{server.api_url}/admin", auth)
        assert (answer.status, auth.source.token().access_token) == (403, f"token-{len(server.token_requests)}")
        seen.append(len(server.token_requests))
        clock.forward(seconds)
    assert seen == [2, 2, 2, 3]


def test_fifty_threads_share_the_token_after_a_403(server: Loopback, grant: ClientCredentials) -> None:
    """Fifty 403s for one token cost one token request."""
    auth = auth_plugins.requests.OAuth2Auth(grant, refused=(403,))
    server.api = refusing(server, lambda: as_json({}, 403))
    [driver] = [driver for driver in ALL if driver.library == "requests"]
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    outcomes = driver.get_all(server.api_url, [auth] * 50)
    assert [outcome.status for outcome in outcomes if isinstance(outcome, Answer)] == [200] * 50
    assert len(server.token_requests) == 2


@all_drivers
def test_a_403_while_the_token_endpoint_is_down_is_returned(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """If no other token can be had, the 403 is returned and the token stays in use; after a 401 it does not."""
    auth = driver.auth(grant, refused=(403,))
    server.api = lambda received: as_json({}, 403 if received.target == "/api/admin" else 200)
    assert driver.get(server.api_url, auth).status == 200
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    assert driver.get(f"{server.api_url}/admin", auth).status == 403
    assert driver.get(server.api_url, auth).status == 200
    assert (tokens(server), len(server.token_requests)) == (["token-1"] * 3, 2)
    server.api = lambda _: as_json({}, 401)
    with pytest.raises(AuthError):
        driver.get(server.api_url, auth)


@pytest.mark.parametrize("is_combined", [False, True])
@all_drivers
def test_a_403_for_a_token_that_is_given_up_meanwhile_is_returned(
    driver: Driver, server: Loopback, grant: ClientCredentials, is_combined: bool
) -> None:
    """If no other token can be had, and the old one is given up otherwise, the 403 is returned all the same."""

    def fail(_: Received) -> Response:
        auth.source.invalidate(old)
        return as_json({"error": "invalid_client"}, 401)

    auth, server.api = driver.auth(grant, refused=(403,)), lambda _: as_json({}, 403)
    old, server.token_play = auth.source.token(), fail
    beside = driver.auth(ApiKey("k3y-of-mine"))
    assert driver.get(server.api_url, auth + beside if is_combined else auth).status == 403
    with pytest.raises(AuthError):
        driver.get(server.api_url, auth)


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_hook_that_raises_for_a_refusal_rejects_the_token(
    driver: Driver, server: Loopback, grant: ClientCredentials
) -> None:
    """If an event hook raises for a refusal, the next request carries another token; a body is not read for that."""

    def read(response: Any) -> None:
        if not isinstance(driver, AsyncHttpx):
            response.read()

    is_unread = isinstance(driver, AsyncHttpx)
    for refused, refuse, requested in (
        ((403,), as_json({}, 403), 2),
        (lambda response: response.status_code == 403, as_json({}, 403), 2),
        (lambda response: response.text == "no", Response("no", 403), 1 if is_unread else 2),
        (lambda response: response.status_code == 419, as_json({}, 403), 1),
        (lambda response: response.no_such_member, as_json({}, 403), 1),
    ):
        auth = driver.auth(grant, refused=refused, cache=MemoryCache())
        before = len(server.token_requests)
        server.api = lambda _, refuse=refuse: refuse  # type: ignore[misc]  # a default

        def hook(response: Any) -> None:
            read(response)
            raise_own(response)

        with pytest.raises(HookError):
            driver.get(server.api_url, auth, hook=hook)
        server.api = lambda _: as_json({})
        auth.source.token()
        assert len(server.token_requests) - before == requested


@all_drivers
def test_a_new_token_is_sent_once_more(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that is younger than 5 s and refused on the replay is sent once more after one second."""
    auth = driver.auth(grant)
    assert driver.get(server.api_url, auth).status == 200
    began = clock.now
    caplog.set_level("DEBUG", "auth_plugins")
    server.api = lambda received: server.check(received) if clock.now > began else as_json({}, 401)
    answer = driver.send(Call("POST", server.api_url, {"content": b"b0dy"}), auth)
    assert (answer.status, answer.history, "b0dy" in answer.text) == (200, [401, 401], True)
    assert (tokens(server), clock.sleeps) == (["token-1", "token-1", "token-2", "token-2"], [1.0])
    assert "was answered 401: the token is new, so the request is sent once more in 1 s" in caplog.text
    server.revoke()  # its probation has ended
    assert driver.get(server.api_url, auth).status == 200


@pytest.mark.parametrize(("refused", "refuse"), [(None, lambda: as_json({}, 401)), ((403,), lambda: as_json({}, 403))])
@all_drivers
def test_a_new_token_is_sent_once_more_only_once(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock, refused: Any, refuse: Any
) -> None:
    """The third refusal is returned, whichever rule it is by; no other request repeats it for that token."""
    server.api = lambda _: refuse()
    auth = driver.auth(grant, refused=refused)
    for _ in range(3):
        assert driver.get(server.api_url, auth).status == refuse().status_code
    expected = ["token-1", "token-2", "token-2", "token-2", "token-2"]
    assert (tokens(server), clock.sleeps) == (expected, [1.0])


@all_drivers
def test_one_of_many_requests_sends_a_new_token_once_more(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """Of ten refused requests at once, one sends the new token once more; the others are answered at once."""
    server.api = lambda _: as_json({}, 401)
    outcomes = driver.get_all(server.api_url, [driver.auth(grant) for _ in range(10)])
    assert [outcome.status for outcome in outcomes if isinstance(outcome, Answer)] == [401] * 10
    assert (clock.sleeps, len(server.token_requests)) == ([1.0], 2)


@pytest.mark.parametrize(("age", "count"), [(4.9, 3), (5.0, 2)])
def test_an_older_token_is_not_sent_once_more(
    server: Loopback, grant: ClientCredentials, clock: Clock, age: float, count: int
) -> None:
    """A token that is 5 s old is not sent once more."""
    clock.now = float(int(clock.now))
    source = TokenSource(grant)
    old = source.token()

    def api(received: Received) -> Response:
        if received.headers["authorization"] == f"Bearer {old.access_token}":
            source.seed(Token(access_token="seeded", issued_at=clock.now - age))
        return as_json({}, 401)

    server.api = api
    assert requests.get(server.api_url, auth=auth_plugins.requests.OAuth2Auth(source), timeout=5).status_code == 401
    assert len(server.api_requests) == count


@all_drivers
def test_a_key_and_a_generator_are_not_sent_once_more(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """A constant key is not sent once more, nor is a body that cannot be read again."""
    keys = iter(["k3y-of-mine", "other-k3y"])
    server.api = lambda _: as_json({}, 401)
    assert driver.get(server.api_url, driver.auth(ApiKey(lambda: next(keys, "other-k3y")))).status == 401
    assert driver.send(Call("POST", server.api_url, driver.chunks([b"one"])), driver.auth(grant)).status == 401
    assert (len(server.api_requests), clock.sleeps) == (3, [])


@pytest.mark.parametrize("driver", each(SYNC))
def test_no_other_request_waits(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one request waits to be sent once more, another is answered."""
    auth, statuses = driver.auth(grant), list[int]()
    server.api = lambda received: as_json({}, 401 if received.target == "/api/lagging" else 200)

    def send_another(_: float) -> None:
        thread = threading.Thread(target=lambda: statuses.append(driver.get(server.api_url, auth).status))
        thread.start()
        thread.join(10)

    monkeypatch.setattr(clock, "sleep", send_another)
    assert driver.get(f"{server.api_url}/lagging", auth).status == 401
    assert (statuses, len(server.token_requests)) == ([200], 2)


@pytest.mark.parametrize("driver", each(ASYNC))
def test_no_loop_and_no_other_request_waits(driver: AsyncHttpx, server: Loopback, grant: ClientCredentials) -> None:
    """While one request waits to be sent once more, its loop runs on, and another request is answered."""
    auth = driver.auth(grant)
    server.api = lambda received: as_json({}, 401 if received.target == "/api/lagging" else 200)
    lagging = f"{server.api_url}/lagging"

    async def main() -> tuple[float, int, float]:
        sleep = asyncio.sleep if driver.mode == "asyncio" else trio.sleep
        answered, longest, last, statuses = 0.0, 0.0, time.perf_counter(), list[Any]()
        began = last

        async def work() -> None:
            statuses.extend(await driver.gather([Call("GET", lagging)], [auth]))

        async def watch() -> None:
            nonlocal answered, longest, last
            while not statuses:
                await sleep(0.01)
                longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
                if len(server.api_requests) == 2 and not answered:  # the replay was refused as well
                    [other] = await driver.gather([Call("GET", server.api_url)], [auth])
                    assert isinstance(other, Answer)
                    assert other.status == 200
                    answered, last = time.perf_counter() - began, time.perf_counter()

        if driver.mode == "asyncio":
            await asyncio.gather(work(), watch())
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                nursery.start_soon(watch)
        return longest, statuses[0].status, time.perf_counter() - began - answered

    longest, status, waited = driver.run(main)
    assert (status, len(server.token_requests)) == (401, 2)
    assert longest < 0.7
    assert waited > 0.2


@all_drivers
def test_a_refusal_rule_is_pickled(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A copy of an auth object refuses by the same rules; a predicate is pickled by its name."""
    for refused, refuse in ((graphql_unauthenticated, says_unauthenticated), (iter([403]), lambda: as_json({}, 403))):
        auth = pickle.loads(pickle.dumps(driver.auth(grant, refused=refused, cache=MemoryCache())))
        server.api = refusing(server, refuse)
        assert driver.get(server.api_url, auth).status == 200
        server.revoke()
        assert driver.get(server.api_url, auth).history == [refuse().status_code]


@all_drivers
def test_refused_comes_from_the_environment(driver: Driver, server: Loopback) -> None:
    """REFUSED names further statuses."""
    variables = {"A_TOKEN_URL": server.token_url, "A_CLIENT_ID": "me", "A_CLIENT_SECRET": "s3cr3t"}
    auth = type(driver.auth(ApiKey("k3y"))).from_env("A", {**variables, "A_REFUSED": "403 419"})
    server.api = refusing(server, lambda: as_json({}, 419))
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    assert driver.get(server.api_url, auth).history == [419]
