"""``auth_a + auth_b``: both on each request, and on a refusal one token after the other is replaced."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import operator
import pickle
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
from werkzeug.wrappers import Response

from auth_plugins import ApiKey, AuthError, ClientCredentials, ConfigurationError, MemoryCache
from tests.adapters.test_refusals import RAISERS, HookError, raise_own
from tests.support.drivers import ALL, ASYNC, HTTPX, SYNC, AsyncHttpx, Call, Driver, each, succeeded
from tests.support.frames import variables_of
from tests.support.loopback import Clock, Loopback, Received, as_json

all_drivers = pytest.mark.parametrize("driver", each(ALL))

#: Where the token of each client stands.
HEADERS = {"a": "Authorization", "b": "X-B", "c": "X-C"}


class Gateway:
    """Issues ``a-1``, ``a-2`` and so on to client a, and is an API that wants one live token of each client."""

    def __init__(self, server: Loopback) -> None:
        self.server, self.live, self.issued, self.down = server, set[str](), Counter[str](), ""
        self.names, self.statuses = "ab", Counter[str]()
        server.token_play, server.api = self.issue, self.check

    def issue(self, received: Received) -> Response:
        name = parse_qs(received.body.decode())["client_id"][0]
        if name in self.down:
            return as_json({"error": "invalid_client"}, 401)
        self.issued[name] += 1
        self.live.add(f"{name}-{self.issued[name]}")
        return as_json({"access_token": f"{name}-{self.issued[name]}", "token_type": "Bearer", "expires_in": 3600})

    def check(self, received: Received) -> Response:
        for name in self.names:
            if received.headers.get(HEADERS[name].lower(), "").removeprefix("Bearer ") not in self.live:
                return as_json({}, self.statuses[name] or 401)
        return as_json({"received": received.body.decode()})

    def revoke(self, names: str) -> None:
        self.live = {token for token in self.live if token[0] not in names}

    def seen(self) -> list[str]:
        """The tokens of each API request."""
        shown = [
            [received.headers.get(HEADERS[name].lower(), "-") for name in self.names] for received in self.requests
        ]
        return [" ".join(tokens).replace("Bearer ", "") for tokens in shown]

    @property
    def requests(self) -> list[Received]:
        return self.server.api_requests


@pytest.fixture
def gateway(server: Loopback) -> Gateway:
    return Gateway(server)


def one(driver: Driver, gateway: Gateway, name: str, **arguments: Any) -> Any:
    """The auth of one client, with its own header."""
    grant = ClientCredentials(gateway.server.token_url, name, "s3cr3t", client_auth="client_secret_post")
    return driver.auth(grant, **{"header": HEADERS[name], **arguments})


def both(driver: Driver, gateway: Gateway, **arguments: Any) -> Any:
    return one(driver, gateway, "a", **arguments) + one(driver, gateway, "b", **arguments)


@pytest.mark.parametrize(
    ("revoked", "then"),
    [
        ("", ["a-1 b-1"]),
        ("a", ["a-1 b-1", "a-2 b-1"]),
        ("b", ["a-1 b-1", "a-2 b-1", "a-2 b-2"]),
        ("ab", ["a-1 b-1", "a-2 b-1", "a-2 b-2"]),
    ],
)
@all_drivers
def test_one_token_after_the_other_is_replaced(
    driver: Driver, gateway: Gateway, clock: Clock, revoked: str, then: list[str]
) -> None:
    """On a 401, the first token is replaced, then the second; ``history`` holds each 401, and nothing pauses.

    All tokens are accepted in the end: the next refusal replaces them again at once.
    """
    auth, url = both(driver, gateway), gateway.server.api_url
    assert driver.get(url, auth).history == []
    for times in (1, 2):
        gateway.requests.clear()
        gateway.revoke(revoked)
        answer = driver.send(Call("POST", url, {"content": b"b0dy"}), auth)
        assert (answer.status, answer.history, "b0dy" in answer.text) == (200, [401] * (len(then) - 1), True)
        assert gateway.seen() == then or times == 2
        assert gateway.issued == {"a": 1 + times * (len(then) > 1), "b": 1 + times * (len(then) > 2)}
    assert clock.sleeps == []


@pytest.mark.parametrize(
    "made",
    [
        lambda a, b, c: a + b + c,
        lambda a, b, c: a + (b + c),
        lambda a, b, c: functools.reduce(operator.add, [a, b, c]),
    ],
)
@all_drivers
def test_any_number_is_combined(driver: Driver, gateway: Gateway, made: Any) -> None:
    """Three auths, combined in any order of brackets, are asked from left to right."""
    gateway.names = "abc"
    auth = made(*(one(driver, gateway, name) for name in "abc"))
    driver.get(gateway.server.api_url, auth)
    gateway.revoke("c")
    assert driver.get(gateway.server.api_url, auth).status == 200
    assert gateway.seen()[1:] == ["a-1 b-1 c-1", "a-2 b-1 c-1", "a-2 b-2 c-1", "a-2 b-2 c-2"]


@all_drivers
def test_a_refusal_that_says_whose_it_is_costs_one_token(driver: Driver, gateway: Gateway) -> None:
    """A status that refuses the second token only replaces the second token only."""
    auth = one(driver, gateway, "a") + one(driver, gateway, "b", refused=lambda response: "419" in response.text)
    gateway.server.api = lambda received: Response("419" if gateway.check(received).status_code == 401 else "", 200)
    assert driver.get(gateway.server.api_url, auth).status == 200
    gateway.revoke("b")
    assert driver.get(gateway.server.api_url, auth).history == [200]
    assert gateway.seen() == ["a-1 b-1", "a-1 b-1", "a-1 b-2"]


@all_drivers
def test_a_refusal_that_stays_costs_one_token_each(driver: Driver, gateway: Gateway, clock: Clock) -> None:
    """A 401 that stays costs one token of each and one pause; then no token for 30 s."""
    auth = both(driver, gateway)
    gateway.server.api = lambda _: as_json({}, 401)
    for _ in range(2):
        assert driver.get(gateway.server.api_url, auth).status == 401
    assert gateway.seen() == ["a-1 b-1", "a-2 b-1", "a-2 b-2", "a-2 b-2", "a-2 b-2"]
    assert clock.sleeps == [1.0]
    clock.forward(30)
    driver.get(gateway.server.api_url, auth)
    assert gateway.issued == {"a": 3, "b": 3}


@all_drivers
def test_each_replay_has_the_cookie_of_the_refusal(driver: Driver, gateway: Gateway, clock: Clock) -> None:
    """A cookie that a refusal sets is on the next replay, also on the one after the pause."""
    gateway.server.api = lambda _: as_json({}, 401, Set_Cookie=f"visit={len(gateway.requests)}")
    assert driver.get(gateway.server.api_url, both(driver, gateway)).status == 401
    shown = [received.headers.get("cookie") for received in gateway.requests]
    assert (shown, clock.sleeps) == ([None, "visit=1", "visit=2", "visit=3"], [1.0])


def test_a_cookie_of_the_users_stays(gateway: Gateway, clock: Clock) -> None:
    """A header that the user gave to requests is sent with each replay, and no cookie is added to it."""
    gateway.server.api = lambda _: as_json({}, 401, Set_Cookie="visit=1")
    auth = both(SYNC[0], gateway)
    requests.get(gateway.server.api_url, auth=auth, headers={"Cookie": "own=1"}, timeout=5)
    assert [received.headers["cookie"] for received in gateway.requests] == ["own=1"] * 4
    assert clock.sleeps == [1.0]


@all_drivers
def test_new_tokens_are_sent_once_more(driver: Driver, gateway: Gateway, clock: Clock) -> None:
    """If the API learns of new tokens after a moment, the last request is the one that it accepts."""
    auth, began = both(driver, gateway), clock.now
    assert driver.get(gateway.server.api_url, auth).status == 200
    gateway.server.api = lambda received: gateway.check(received) if clock.now > began else as_json({}, 401)
    assert driver.get(gateway.server.api_url, auth).history == [401] * 3
    assert clock.sleeps == [1.0]


@all_drivers
def test_a_key_that_is_the_same_costs_nothing(driver: Driver, gateway: Gateway, clock: Clock) -> None:
    """A constant key is read again, and the request is sent again for the other token only."""
    key, other_key = (driver.auth(ApiKey("k3y-of-mine", header=header)) for header in ("X-Key", "X-Other-Key"))
    assert driver.get(gateway.server.api_url, key + other_key).status == 401
    assert (gateway.seen(), clock.sleeps) == (["- -"], [])
    auth = key + one(driver, gateway, "b")
    gateway.names = "b"
    driver.get(gateway.server.api_url, auth)
    gateway.revoke("b")
    assert driver.get(gateway.server.api_url, auth).history == [401]
    assert {received.headers["x-key"] for received in gateway.requests} == {"k3y-of-mine"}


@all_drivers
def test_a_body_that_cannot_be_read_again_gives_up_all(driver: Driver, gateway: Gateway) -> None:
    """A generator is not sent again; the next request has another token of each."""
    auth = both(driver, gateway)
    assert driver.get(gateway.server.api_url, auth).status == 200
    gateway.revoke("b")
    assert driver.send(Call("POST", gateway.server.api_url, driver.chunks([b"one"])), auth).status == 401
    assert driver.send(Call("POST", gateway.server.api_url, driver.chunks([b"two"])), auth).status == 200
    assert gateway.seen() == ["a-1 b-1", "a-1 b-1", "a-2 b-2"]


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_body_that_was_sent_twice_may_not_be_sent_again(driver: Driver, gateway: Gateway, clock: Clock) -> None:
    """If a file cannot be rewound after the first replay, the second 401 is returned, and each token is given up."""

    class Spool(io.BytesIO):
        is_over = False

        def seek(self, *position: int) -> int:
            if self.is_over:
                raise OSError
            return super().seek(*position)

    auth, body = both(driver, gateway), Spool(b"b0dy")

    def refuse(_: Received) -> Response:
        body.is_over = len(gateway.requests) == 2
        return as_json({}, 401)

    gateway.server.api = refuse
    assert driver.send(Call("POST", gateway.server.api_url, {"content": body}), auth).history == [401]
    gateway.server.api = gateway.check
    assert driver.get(gateway.server.api_url, auth).status == 200
    assert (gateway.seen(), clock.sleeps) == (["a-1 b-1", "a-2 b-1", "a-2 b-2"], [])


@pytest.mark.parametrize("refused", [None, (403,)])
@all_drivers
def test_a_token_that_was_not_refused_is_used_while_no_other_can_be_had(
    driver: Driver, gateway: Gateway, clock: Clock, refused: Any
) -> None:
    """If no other token of the first can be had, and the second was the refused one, the first stays in use.

    If both were refused, the error of the first is raised; by a rule of ``refused``, the response is returned.
    """
    auth, url = both(driver, gateway, refused=refused), gateway.server.api_url
    gateway.statuses["a"] = gateway.statuses["b"] = 403 if refused else 401
    assert driver.get(url, auth).status == 200
    gateway.down = "a"
    gateway.revoke("b")
    assert driver.get(url, auth).status == 200
    assert driver.get(url, auth).history == []
    assert gateway.seen() == ["a-1 b-1", "a-1 b-1", "a-1 b-2", "a-1 b-2"]
    gateway.revoke("ab")
    if refused:
        assert (driver.get(url, auth).status, clock.sleeps) == (403, [])
        return
    with pytest.raises(AuthError, match="invalid_client") as caught:
        driver.get(url, auth)
    assert isinstance(caught.value, driver.base_error)
    assert not [secret for secret in ("a-1", "b-2", "s3cr3t") if secret in variables_of(caught.value)]


@all_drivers
def test_a_token_that_another_request_replaced_comes_first(driver: Driver, gateway: Gateway) -> None:
    """A token that was replaced while the request travelled is put on it before any other one is requested."""
    auths = one(driver, gateway, "a"), one(driver, gateway, "b")
    check = gateway.check

    def replace(received: Received) -> Response:
        gateway.server.api = check
        gateway.revoke("b")
        auths[1].source.invalidate(auths[1].source.token())
        auths[1].source.token()
        return check(received)

    gateway.server.api = replace
    assert driver.get(gateway.server.api_url, auths[0] + auths[1]).status == 200
    assert gateway.seen() == ["a-1 b-1", "a-1 b-2"]


@all_drivers
def test_a_token_is_replaced_once_per_request(driver: Driver, gateway: Gateway, clock: Clock) -> None:
    """A request takes one other token of each source, even if more are issued while it travels."""
    auths = one(driver, gateway, "a"), one(driver, gateway, "b")

    def refuse(_: Received) -> Response:
        for auth in auths:
            auth.source.invalidate(auth.source.token())
        return as_json({}, 401)

    gateway.server.api = refuse
    assert driver.get(gateway.server.api_url, auths[0] + auths[1]).status == 401
    assert gateway.seen() == ["a-1 b-1", "a-2 b-1", "a-2 b-3", "a-2 b-3"]
    assert clock.sleeps == [1.0]


@pytest.mark.parametrize("revoked", ["", "a", "b"])
@pytest.mark.parametrize("headers", [("Authorization", "X-B"), ("X-A", "X-B")])
@all_drivers
def test_no_token_reaches_another_origin(
    driver: Driver, gateway: Gateway, other_server: Loopback, headers: tuple[str, str], revoked: str
) -> None:
    """A redirect to another origin carries neither token, after replays too; one within the origin carries both."""
    auth = functools.reduce(
        operator.add, (one(driver, gateway, name, header=at) for name, at in zip("ab", headers, strict=True))
    )
    other_server.api = lambda _: as_json({}, 401)
    targets = {"/api": "/second", "/second": "/third", "/third": other_server.api_url}

    def api(received: Received) -> Response:
        tokens = {received.headers.get(header.lower(), "").removeprefix("Bearer ") for header in headers}
        return as_json({}, 302, Location=targets[received.target]) if tokens <= gateway.live else as_json({}, 401)

    gateway.server.api = api
    for each_ in auth._auths:
        each_.source.token()
    gateway.revoke(revoked)
    assert driver.get(gateway.server.api_url, auth).status == 401
    # In httpx, the flow gets the 401 of the last hop.
    assert gateway.issued == {"a": 1 + bool(revoked), "b": 1 + (revoked == "b")}
    assert [received.target for received in gateway.requests][-2:] == ["/second", "/third"]
    [elsewhere] = other_server.api_requests
    assert not [value for value in elsewhere.headers.values() if "a-" in value or "b-" in value]


@pytest.mark.parametrize("answers", [[302], [401, 302], [401, 307, 302]])
def test_a_wrapper_around_a_copy_takes_no_key_to_another_origin(
    server: Loopback, other_server: Loopback, monkeypatch: pytest.MonkeyPatch, answers: list[int]
) -> None:
    """Both keys stay within their origin also where a tool that traces calls wraps the ``copy()`` of requests."""
    copied, keys = requests.PreparedRequest.copy, iter(["k3y-of-a", "new-k3y-of-a"])
    monkeypatch.setattr(requests.PreparedRequest, "copy", lambda request: copied(request))  # noqa: PLW0108 - a frame
    targets = {302: other_server.api_url, 307: "/there"}
    plays = iter([as_json({}, status, Location=targets.get(status, "")) for status in answers])
    server.api, other_server.api = lambda _: next(plays), lambda _: as_json({})
    auth = SYNC[0].auth(ApiKey(lambda: next(keys), header="X-A")) + SYNC[0].auth(ApiKey("k3y-of-b"))
    assert SYNC[0].get(server.api_url, auth).status == 200
    last = server.api_requests[-1].headers
    assert (last["x-a"], last["x-api-key"]) == ("new-" * (401 in answers) + "k3y-of-a", "k3y-of-b")
    assert not [value for value in other_server.api_requests[0].headers.values() if "k3y-of" in value]


@all_drivers
def test_a_token_is_replaced_behind_a_redirect_too(driver: Driver, gateway: Gateway) -> None:
    """If the second token is refused behind a redirect that a replay led to, it is replaced there."""
    auth = both(driver, gateway)
    assert driver.get(gateway.server.api_url, auth).status == 200
    gateway.revoke("a")

    def api(received: Received) -> Response:
        answer = gateway.check(received)
        if received.target != "/api" or answer.status_code == 401:
            return answer
        gateway.revoke("b")
        return as_json({}, 302, Location="/there")

    gateway.server.api = api
    assert driver.get(gateway.server.api_url, auth).status == 200
    assert (gateway.requests[-1].target, gateway.seen()[-1].split()[1]) == ("/there", "b-2")


@all_drivers
def test_one_token_for_each_host(driver: Driver, gateway: Gateway, other_server: Loopback) -> None:
    """Two auths with one header and ``allowed_hosts`` each put a token on requests to their hosts; not both on one."""
    hosts = gateway.server.url.removeprefix("http://"), other_server.url.removeprefix("http://")
    made = [
        one(driver, gateway, name, header="Authorization", allowed_hosts=host)
        for name, host in zip("ab", hosts, strict=True)
    ]
    gateway.names, other_server.api = "a", lambda _: as_json({})
    for url in (gateway.server.api_url, other_server.api_url, "http://localhost:1/"):
        if url.endswith("/api"):
            assert driver.get(url, made[0] + made[1]).status == 200
        else:
            with pytest.raises(driver.base_error):
                driver.get(url, made[0] + made[1])
    shown = [received.headers["authorization"] for received in (*gateway.requests, *other_server.api_requests)]
    assert shown == ["Bearer a-1", "Bearer b-1"]
    anywhere = one(driver, gateway, "c", header="Authorization", allowed_hosts=hosts)
    with pytest.raises(ConfigurationError, match="both use Authorization on one request; give one of") as caught:
        driver.get(gateway.server.api_url, made[0] + anywhere)
    assert isinstance(caught.value, driver.base_error)


def basic(driver: Driver) -> Any:
    kind: Any = requests.auth.HTTPBasicAuth if driver.library == "requests" else driver.module.BasicAuth
    return kind("me", "mine")


def digest(driver: Driver) -> Any:
    kind: Any = requests.auth.HTTPDigestAuth if driver.library == "requests" else driver.module.DigestAuth
    return kind("me", "mine")


@pytest.mark.parametrize("made", [lambda own, basic: own + basic, lambda own, basic: basic + own])
@all_drivers
def test_basic_authentication_beside_a_token(driver: Driver, gateway: Gateway, made: Any) -> None:
    """The library's Basic authentication may stand on either side; it is on each replay too."""
    auth = made(one(driver, gateway, "b"), basic(driver))
    gateway.names = "b"
    driver.get(gateway.server.api_url, auth)
    gateway.revoke("b")
    assert driver.get(gateway.server.api_url, auth).history == [401]
    assert {received.headers["authorization"] for received in gateway.requests} == {"Basic bWU6bWluZQ=="}


@all_drivers
def test_digest_authentication_beside_a_token(driver: Driver, gateway: Gateway, other_server: Loopback) -> None:
    """The library's digest authentication answers its own challenge, and signs each replay again."""
    auth = one(driver, gateway, "b") + digest(driver) + one(driver, gateway, "c")
    gateway.names, challenge = "bc", 'Digest realm="r", nonce="n{}", qop="auth", algorithm=MD5'
    used = list[str]()

    def api(received: Received) -> Response:
        signature = received.headers.get("authorization", "")
        # Each signature is accepted once, and each nonce three times.
        if signature in used or (len(used) % 3 == 0 and f'nonce="n{len(used)}"' not in signature):
            return as_json({}, 401, WWW_Authenticate=challenge.format(len(used)))
        used.append(signature)
        return gateway.check(received)

    gateway.server.api = api
    assert driver.get(gateway.server.api_url, auth).status == 200
    gateway.revoke("c")
    answer = driver.send(Call("POST", gateway.server.api_url, {"content": b"b0dy"}), auth)
    assert (answer.status, "b0dy" in answer.text) == (200, True)
    assert gateway.issued == {"b": 2, "c": 2}
    assert gateway.seen()[-1] == "b-2 c-2"
    assert answer.history == [401] * (len(gateway.seen()) - 3)
    if driver.library == "requests":  # httpx sends one object again
        shown = [response.request.headers["X-C"] for response in (*answer.response.history, answer.response)]
        assert shown == [received.headers["x-c"] for received in gateway.requests[2:]]
    # A redirect after a replay by the other auth.
    plays = iter([as_json({}, 401, WWW_Authenticate=challenge.format("x")), as_json({}, 401)])
    gateway.server.api = lambda _: next(plays, None) or as_json({}, 302, Location=other_server.api_url)
    other_server.api = lambda _: as_json({})
    assert driver.get(gateway.server.api_url, auth).status == 200
    assert not [value for value in other_server.api_requests[0].headers.values() if "b-" in value or "c-" in value]


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("driver", each(HTTPX))
def test_another_flow_beside_a_token(driver: Driver, gateway: Gateway, other_server: Loopback, is_first: bool) -> None:
    """A flow of httpx gets the bodies that it requires; its token requests carry nothing of other auths."""
    bodies = list[str]()

    class Login(driver.module.Auth):  # type: ignore[name-defined]  # of either library
        requires_request_body = requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            login = yield driver.module.Request("POST", other_server.api_url)
            request.headers["X-Login"] = login.text
            response = yield request
            bodies.extend((request.content.decode(), response.text))

    gateway.names, other_server.api = "b", lambda _: Response("logged-in")
    others = (Login(), basic(driver)) if is_first else (basic(driver), Login())
    auth = others[0] + one(driver, gateway, "b") + others[1]
    driver.get(gateway.server.api_url, auth)
    gateway.revoke("b")
    assert driver.send(Call("POST", gateway.server.api_url, {"content": b"b0dy"}), auth).status == 200
    assert bodies == ["", '{"received": ""}', "b0dy", "{}", "b0dy", '{"received": "b0dy"}']
    for received in gateway.requests:
        assert (received.headers["x-login"], received.headers["authorization"]) == ("logged-in", "Basic bWU6bWluZQ==")
    for received in other_server.api_requests:
        assert not {"authorization", "x-b"} & set(received.headers)


@pytest.mark.parametrize("driver", each(HTTPX))
def test_the_flow_of_another_auth_is_closed(driver: Driver, gateway: Gateway) -> None:
    """If a hook raises, the flow of another auth is closed before the client is."""
    closed = list[str]()

    class Other(driver.module.Auth):  # type: ignore[name-defined]  # of either library
        def sync_auth_flow(self, request: Any) -> Any:
            with contextlib.ExitStack() as stack:
                stack.callback(closed.append, "flow")
                yield request

        async def async_auth_flow(self, request: Any) -> Any:
            with contextlib.ExitStack() as stack:
                stack.callback(closed.append, "flow")
                yield request

    class Transport(driver.module.MockTransport):  # type: ignore[name-defined]  # of either library
        def close(self) -> None:
            closed.append("client")

        async def aclose(self) -> None:
            closed.append("client")

    transport = Transport(lambda _: driver.module.Response(500))
    with pytest.raises(HookError):
        driver.get(gateway.server.api_url, both(driver, gateway) + Other(), hook=raise_own, transport=transport)
    assert closed == ["flow", "client"]


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_subclass_keeps_its_flow(driver: Driver, gateway: Gateway) -> None:
    """What a flow of a subclass adds is on each request."""
    kind: Any = type(one(driver, gateway, "a"))

    class Tenant(kind):
        def sync_auth_flow(self, request: Any) -> Any:
            request.headers["X-Tenant"] = "acme"
            yield from super().sync_auth_flow(request)

        async def async_auth_flow(self, request: Any) -> Any:
            request.headers["X-Tenant"] = "acme"
            flow = super().async_auth_flow(request)
            outgoing = await anext(flow)
            while True:
                response = yield outgoing
                try:
                    outgoing = await flow.asend(response)
                except StopAsyncIteration:
                    return

    source = one(driver, gateway, "a").source
    assert driver.get(gateway.server.api_url, Tenant(source) + one(driver, gateway, "b")).status == 200
    assert (gateway.seen(), gateway.requests[0].headers["x-tenant"]) == (["a-1 b-1"], "acme")


@all_drivers
def test_an_auth_that_replaces_a_token_is_an_error(driver: Driver, gateway: Gateway) -> None:
    """If another auth writes into the token's place, the request is not sent, and the error names the place."""
    base: Any = requests.auth.AuthBase if driver.library == "requests" else driver.module.Auth

    class Other(base):
        def __call__(self, request: Any) -> Any:
            request.headers["authorization"] = "Signature of-mine"
            request.url = type(request.url)(gateway.server.api_url)  # without a query
            return request

        def auth_flow(self, request: Any) -> Any:
            yield self(request)

    header, query = one(driver, gateway, "a"), one(driver, gateway, "a", header=None, query="key")
    for auth, place in ((header + Other(), "Authorization"), (Other() + header, "Auth"), (query + Other(), ".* key")):
        with pytest.raises(ConfigurationError, match=f"both use {place}.* on one request; give one of") as caught:
            driver.get(gateway.server.api_url, auth)
        assert isinstance(caught.value, driver.base_error)
    assert gateway.requests == []


@all_drivers
def test_what_cannot_be_combined(driver: Driver, gateway: Gateway) -> None:
    """What is no auth of the library, or uses the same header, is refused at once; the error says what to do."""
    own = one(driver, gateway, "a")
    other: Any = ALL[0] if driver.library != "requests" else ALL[1]
    library = f"auths that are combined must all be of {driver.library}, got "
    of_it = rf"; give OAuth2Auth\(\.\.\.\) of it, from auth_plugins.{driver.library}$"
    another = f"an OAuth2Auth of another library; import auth_plugins.{driver.library}$"
    same = "^two auths that are combined both use authorization; give one of them another header, such as header='X-Acc"
    for given, message in (
        (own.source.grant, f"{library}a ClientCredentials{of_it}"),
        (own.source, f"{library}a TokenSource{of_it}"),
        (("me", "s3cr3t-of-mine"), f"{library}an object of type tuple; give an auth of {driver.library}$"),
        (None, f"{library}an object of type NoneType; give an auth of {driver.library}$"),
        (one(other, gateway, "b"), library + another),
        (both(other, gateway), library + another),
        (one(driver, gateway, "b", header="AUTHORIZATION"), same),
        (one(driver, gateway, "b", header="Authorization", allowed_hosts="b.example.com"), same),
        (basic(driver), same),
        (digest(driver), same),
    ):
        for left in (own, own + one(driver, gateway, "c")):
            for add in (operator.add, lambda left, given: given + left):
                if add is operator.add or (message.startswith(library) and not message.endswith(another)):
                    with pytest.raises(ConfigurationError, match=message) as caught:
                        add(left, given)
                    assert "s3cr3t-of-mine" not in variables_of(caught.value)


@all_drivers
def test_it_is_an_auth_of_the_library(driver: Driver, gateway: Gateway) -> None:
    """It is one of the library's auths; copies behave alike; ``repr`` shows no secret; it is never falsy."""
    base: Any = requests.auth.AuthBase if driver.library == "requests" else driver.module.Auth
    auth = (
        one(driver, gateway, "c", cache=MemoryCache()) + one(driver, gateway, "b", cache=MemoryCache()) + basic(driver)
    )
    gateway.names = "bc"
    assert isinstance(auth, base)
    assert auth
    assert repr(auth).startswith("OAuth2Auth(ClientCredentials(")
    assert repr(auth).endswith(f" + {type(basic(driver)).__name__}(...)")
    assert not [secret for secret in ("s3cr3t", "mine", "bWU6") if secret in repr(auth)]
    for again in (copy.copy(auth), copy.deepcopy(auth), pickle.loads(pickle.dumps(auth))):
        assert repr(again) == repr(auth)
        assert driver.get(gateway.server.api_url, again).status == 200
        assert gateway.requests[-1].headers["authorization"] == "Basic bWU6bWluZQ=="


def test_another_library_is_named(gateway: Gateway) -> None:
    """A request of another library is refused with the name of the right module."""
    for library, other in ((0, 1), (1, 0), (1, 2)):
        with pytest.raises(ConfigurationError, match=f"import auth_plugins.{SYNC[other].library}$"):
            SYNC[other].get(gateway.server.api_url, both(SYNC[library], gateway))


@pytest.mark.parametrize("raiser", RAISERS.values(), ids=RAISERS)
@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_hook_or_transport_that_raises_for_a_refusal_gives_up_all(
    driver: Driver, gateway: Gateway, raiser: Callable[[Driver], dict[str, Any]]
) -> None:
    """If a hook or transport raises for a 401, the next request has another token of each; a 500 costs none."""
    auth = both(driver, gateway)
    for status in (500, 401, 500):
        gateway.server.api = lambda _, status=status: as_json({}, status)  # type: ignore[misc]  # a default
        with pytest.raises((HookError, driver.module.HTTPStatusError)):
            driver.get(gateway.server.api_url, auth, **raiser(driver))
    gateway.server.api = gateway.check
    assert driver.get(gateway.server.api_url, auth).history == []
    assert gateway.seen() == ["a-1 b-1", "a-1 b-1", "a-2 b-2", "a-2 b-2"]


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_hook_that_raises_for_another_hosts_refusal_costs_no_token(
    driver: Driver, gateway: Gateway, other_server: Loopback
) -> None:
    """If a hook raises for a 401 of another host, no token is given up."""
    auth = both(driver, gateway)
    gateway.server.api = lambda _: as_json({}, 302, Location=other_server.api_url)
    with pytest.raises(HookError):
        driver.get(gateway.server.api_url, auth, hook=raise_own)
    assert auth._own[0].source.token().access_token == "a-1"


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_replay_that_is_lost_costs_no_token(driver: Driver, gateway: Gateway) -> None:
    """If the connection breaks off while a replay is sent, the tokens that it carried stay in use."""
    auth, sent = both(driver, gateway), list[Any]()

    def play(request: Any) -> Any:
        sent.append(request)
        if len(sent) == 2:
            raise driver.module.ConnectError("lost")
        return driver.module.Response(401)

    with pytest.raises(driver.module.ConnectError):
        driver.get(gateway.server.api_url, auth, transport=driver.module.MockTransport(play))
    assert driver.get(gateway.server.api_url, auth).history == []
    assert gateway.seen() == ["a-2 b-1"]


def test_a_request_that_threads_share(gateway: Gateway) -> None:
    """Threads may send one prepared request of requests whose token is rejected and whose replay is redirected."""
    request = requests.Request("GET", gateway.server.api_url, auth=both(SYNC[0], gateway)).prepare()
    gateway.revoke("a")
    barrier = threading.Barrier(4)

    def api(received: Received) -> Response:
        answer = gateway.check(received)
        if received.target == "/api" and answer.status_code == 200:
            return as_json({}, 302, Location="/there")
        return answer

    class Adapter(requests.adapters.HTTPAdapter):
        def send(self, *arguments: Any, **options: Any) -> requests.Response:
            response = super().send(*arguments, **options)
            if response.status_code == 401:
                barrier.wait(10)  # a refusal that comes later could be one of the fresh token, for all that is known
            return response

    def send(_: int) -> int:
        with requests.Session() as session:
            session.mount("http://", Adapter())
            return session.send(request).status_code

    gateway.server.api = api
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(send, range(4)))
    assert (statuses, gateway.issued) == ([200] * 4, {"a": 2, "b": 1})


@all_drivers
def test_many_requests_share_the_tokens(driver: Driver, gateway: Gateway) -> None:
    """Fifty threads, or 200 tasks, cost one token request for each client, at first and after a revocation."""
    auth, gateway.server.latency = both(driver, gateway), 0.1
    count, options = 50, dict[str, Any]()
    if isinstance(driver, AsyncHttpx):  # without the pool of connections, which takes seconds

        def play(request: Any) -> Any:
            status = gateway.check(Received("GET", "/api", request.headers, b"")).status_code
            return driver.module.Response(status)

        count, options = 200, {"transport": driver.module.MockTransport(play)}
    for times in (1, 2):
        outcomes = driver.send_all([Call("GET", gateway.server.api_url)] * count, [auth] * count, **options)
        assert succeeded(outcomes)
        assert gateway.issued == {"a": times, "b": times}
        gateway.revoke("ab")


@pytest.mark.parametrize("driver", each(ASYNC))
def test_no_loop_is_blocked(driver: AsyncHttpx, gateway: Gateway) -> None:
    """A request of the same loop is sent while the tokens of another one are fetched."""
    gateway.server.latency = 0.3
    calls = [Call("GET", gateway.server.api_url), Call("GET", f"{gateway.server.api_url}/free")]
    driver.send_all(calls, [both(driver, gateway), None])
    assert [received.target for received in gateway.requests] == ["/api/free", "/api"]


def test_a_pickled_request_keeps_its_tokens_at_home(gateway: Gateway, other_server: Loopback) -> None:
    """A request of requests that was signed and pickled takes neither token to another origin."""
    driver = SYNC[0]
    gateway.server.api = lambda _: as_json({}, 302, Location=other_server.api_url)
    other_server.api = lambda _: as_json({})
    auth = one(driver, gateway, "b") + one(driver, gateway, "c")
    request = pickle.loads(pickle.dumps(requests.Request("GET", gateway.server.api_url, auth=auth).prepare()))
    with requests.Session() as session:
        assert session.send(request).status_code == 200
    assert gateway.requests[0].headers["x-b"] == "Bearer b-1"
    assert not {"x-b", "x-c"} & set(other_server.api_requests[0].headers)
