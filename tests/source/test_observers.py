"""Observers are given what happens to tokens, and cannot disturb it; the log is fed by the same events."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from auth_plugins import (
    AuthError,
    ClientCredentials,
    ConfigurationError,
    Custom,
    DeviceCode,
    Grant,
    Issuer,
    MemoryCache,
    Password,
    SecretFile,
    Token,
    TokenEvent,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
    add_observer,
    remove_observer,
)
from auth_plugins._base.runtime import runtime
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Clock, Loopback, as_json
from tests.support.sources import URL, Endpoint, expire, refusal, source, unfinished, wait_for
from tests.support.stores import OwnCache, forget

SECRET = "s3cr3t-of-the-client"
GRANT = ClientCredentials(f"{URL}?key={SECRET}", "client", SECRET)
TRANSPORT = TokenTransportError("no answer")


def broken() -> str:
    raise ValueError(SECRET)


@pytest.fixture
def events() -> Iterator[list[TokenEvent]]:
    found: list[TokenEvent] = []
    add_observer(found.append)
    yield found
    remove_observer(found.append)
    for event in found:
        assert SECRET not in f"{event!r} {pickle.dumps(event)!r}"


def short(events: list[TokenEvent]) -> list[tuple[str, str]]:
    return [(event.kind, event.source) for event in events]


def test_each_token_request_is_an_event(events: list[TokenEvent], endpoint: Endpoint, clock: Clock) -> None:
    """A token that is fetched, refreshed, or refused and then fetched; a warm call gives no event."""
    endpoint.refresh_tokens = True

    def slowly() -> Any:
        clock.forward(0.5)
        return endpoint.issue

    endpoint.script = [slowly, endpoint.issue, refusal("invalid_grant", 400)]
    tokens = source(endpoint, Password(f"{URL}?key={SECRET}", "me", SECRET))
    for _ in range(3):
        tokens.token()
        tokens.token()
        expire(clock)
    assert events[0] == TokenEvent("obtained", "Password", URL, 0.5, None, "grant")
    assert short(events[1:]) == [("obtained", "refresh_token"), ("refused", "refresh_token"), ("obtained", "grant")]
    assert isinstance(events[2].error, TokenRequestError)
    assert events[2].error.error == "invalid_grant"


@pytest.mark.parametrize(
    ("grant", "step", "kind", "url"),
    [
        (GRANT, refusal(), "refused", URL),
        (GRANT, TRANSPORT, "failed", URL),
        (ClientCredentials(URL, "client", SecretFile("missing")), None, "failed", URL),
        (ClientCredentials(URL, "client", broken), None, "failed", URL),
        (ClientCredentials(Issuer("https://id.example.com"), "client", SECRET), TRANSPORT, "failed", None),
    ],
)
def test_a_failure_is_one_event(
    grant: Any, step: Any, kind: str, url: str | None, events: list[TokenEvent], endpoint: Endpoint
) -> None:
    """A refusal, no answer, and a secret that cannot be read are one event each, whose error holds no other error."""
    endpoint.script = [step] * 5
    with pytest.raises(AuthError):
        source(endpoint, grant).token()
    [event] = events
    assert (event.kind, event.token_url, event.source) == (kind, url or "https://id.example.com", "grant")
    assert event.error is not None
    assert (event.error.__traceback__, event.error.__cause__, event.error.__context__) == (None, None, None)


def test_an_unexpected_error_is_a_failure(events: list[TokenEvent], endpoint: Endpoint) -> None:
    """What a callable of the user's raises is an error of this package in the event; one that is remembered is none."""
    endpoint.script = [ZeroDivisionError("s3cr3t")]
    tokens = source(endpoint, GRANT)
    with pytest.raises(ZeroDivisionError):
        tokens.token()
    with pytest.raises(TokenTransportError):
        tokens.token()
    assert short(events) == [("failed", "grant")]
    assert isinstance(events[0].error, TokenTransportError)


def test_a_custom_grant_gives_events(events: list[TokenEvent], clock: Clock) -> None:
    """A function that gets tokens is named in the place of a token endpoint."""
    answers: list[Any] = ["abc", ZeroDivisionError(SECRET)]

    def login() -> Any:
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers.pop(0)

    grant = Custom(login, key="shop")
    tokens = TokenSource(grant)
    tokens.invalidate(tokens.token())
    with pytest.raises(TokenRequestError) as raised:
        tokens.token()
    assert short(events) == [("obtained", "grant"), ("refused", "grant")]
    assert raised.value.__cause__ is not None
    assert events[1].error is not None
    assert events[1].error.__cause__ is None  # its text may hold anything
    assert {(event.grant, event.token_url) for event in events} == {("Custom", repr(grant))}


def test_a_grant_of_another_package_is_named_by_its_class(events: list[TokenEvent]) -> None:
    """Its repr may hold a secret."""

    class Own(Grant):
        sends_token_requests = False

        def __repr__(self) -> str:
            return SECRET

        def secrets(self) -> tuple[str, ...]:
            return ()

        def request_token(self, ask: Any) -> Token:
            return Token(access_token="abc")

    TokenSource(Own()).token()
    assert [(event.kind, event.grant, event.token_url) for event in events] == [("obtained", "Own", "Own")]


def test_a_token_in_a_shared_cache_is_an_event(events: list[TokenEvent], endpoint: Endpoint, clock: Clock) -> None:
    """The process that finds a token has an event with the age of the token."""
    cache = OwnCache()
    source(endpoint, GRANT, cache=cache).token()
    forget()  # as another process
    clock.forward(60)
    source(endpoint, GRANT, cache=cache).token()
    assert short(events) == [("obtained", "grant"), ("obtained", "shared_cache")]
    assert events[1] == TokenEvent("obtained", "ClientCredentials", URL, 60.0, None, "shared_cache")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_wait_is_an_event(
    is_async: bool, events: list[TokenEvent], endpoint: Endpoint, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread or a task that waits for the token request of another one has an event; its leader has none."""
    tokens = source(endpoint, GRANT)
    lead = unfinished(tokens)

    def lead_later(*_: Any) -> None:
        clock.forward(2)
        lead()

    async def call() -> None:
        asyncio.get_running_loop().call_later(0.01, lead_later)
        await tokens.atoken()

    monkeypatch.setattr(runtime, "wait", lead_later)
    if is_async:
        asyncio.run(call())
    else:
        tokens.token()
    assert short(events) == [("obtained", "grant"), ("waited", "leader")]
    assert events[1] == TokenEvent("waited", "ClientCredentials", URL, 2.0, None, "leader")


@pytest.mark.parametrize("driver", each(ALL))
def test_a_refusal_by_an_api_is_an_event(driver: Driver, events: list[TokenEvent], server: Loopback) -> None:
    """A token that an API refuses is an event; if it refuses new ones too, one more event has an error that says so."""
    auth = driver.auth(ClientCredentials(server.token_url, "client", SECRET))
    server.api = lambda _: as_json({"error": "invalid_token"}, 401)
    for _ in range(3):
        assert driver.get(server.api_url, auth).status == 401
    refused = [event for event in events if event.source == "api"]
    assert [event.kind for event in refused] == ["refused", "refused"]
    assert refused[0].error is None
    assert "rejects new tokens" in str(refused[1].error)
    assert short([event for event in events if event.source != "api"]) == [("obtained", "grant")] * 2


def test_an_observer_that_raises_or_is_slow_costs_a_warning(
    endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The token is returned, other observers have the event, and the warnings name no text of the error."""
    seen: list[TokenEvent] = []

    def broken(_: TokenEvent) -> None:
        raise ValueError(SECRET)

    def slow(_: TokenEvent) -> None:
        clock.forward(2)

    for observer in (broken, slow, seen.append):
        add_observer(observer)
    try:
        assert source(endpoint, GRANT).token().access_token == "token-1"
    finally:
        for observer in (broken, slow, seen.append):
            remove_observer(observer)
    assert short(seen) == [("obtained", "grant")]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text.partition(";")[0].partition("<locals>.")[2] for text in warnings] == [
        "broken raised ValueError",
        "slow took 2.0 s, and a request may have waited for it",
    ]
    assert SECRET not in caplog.text


def test_an_observer_may_need_tokens(endpoint: Endpoint) -> None:
    """An observer finds the token of its event, and its own token requests are not given to observers again."""
    seen: list[Any] = []
    tokens = source(endpoint, GRANT)
    other = source(endpoint, ClientCredentials(URL, "other", SECRET))

    def observe(event: TokenEvent) -> None:
        seen.extend([event.kind, tokens.token().access_token, other.token().access_token])

    add_observer(observe)
    add_observer(observe)
    try:
        assert tokens.token().access_token == "token-1"
    finally:
        remove_observer(observe)
    remove_observer(observe)
    assert seen == ["obtained", "token-1", "token-2"]


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_a_task_returns_after_its_observers(run: Any, events: list[TokenEvent], grant: ClientCredentials) -> None:
    """In an event loop too, a caller finds that its observers have the token that it got."""

    async def call() -> int:
        await TokenSource(grant, cache=MemoryCache()).atoken()
        return len(events)

    def observe_slowly(_: TokenEvent) -> None:
        time.sleep(0.02)

    remove_observer(events.append)
    add_observer(observe_slowly)
    add_observer(events.append)
    try:
        assert (run(call) if run is trio.run else run(call())) == 1
    finally:
        remove_observer(observe_slowly)


def test_a_task_does_not_wait_for_an_observer_that_hangs(endpoint: Endpoint, clock: Clock) -> None:
    """After a second the task goes on with its token."""
    begun, end = threading.Event(), threading.Event()

    def hang(_: TokenEvent) -> None:
        begun.set()
        end.wait(20)

    add_observer(hang)
    try:
        assert asyncio.run(source(endpoint, GRANT).atoken()).access_token == "token-1"
        assert begun.wait(20)
    finally:
        remove_observer(hang)
        end.set()


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_a_slow_observer_does_not_block_an_event_loop(run: Any, endpoint: Endpoint) -> None:
    """Other threads call it, and the loop goes on, however many events there are meanwhile."""
    end = threading.Event()
    seen: list[int] = []

    def hang(event: TokenEvent) -> None:
        seen.append(threading.get_ident())
        end.wait(20)

    async def call() -> None:
        tokens = source(endpoint, GRANT)
        for _ in range(3):
            tokens.seed({"access_token": "abc"})
            tokens.reject(tokens.token())

    add_observer(hang)
    try:
        run(call) if run is trio.run else run(call())
    finally:
        end.set()
        remove_observer(hang)
    assert threading.get_ident() not in seen
    assert len(seen) > 1


def test_where_no_thread_can_be_started_the_loop_calls_observers(
    endpoint: Endpoint, events: list[TokenEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the exit of the interpreter, for example."""

    def fail(*_: Any) -> None:
        raise RuntimeError

    async def call() -> None:
        tokens = source(endpoint, GRANT)
        tokens.seed({"access_token": "abc"})
        monkeypatch.setattr(runtime, "start_thread", fail)
        tokens.reject(tokens.token())

    asyncio.run(call())
    assert short(events) == [("refused", "api")]


def test_a_code_that_is_not_entered_yet_is_no_refusal(
    events: list[TokenEvent], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a person signs in, the answers that say so are no events."""
    monkeypatch.setattr(runtime, "wait", lambda *_: None)
    device = {"device_code": "abc", "user_code": "def", "verification_uri": "https://id.example.com/", "expires_in": 60}
    endpoint.script = [(device, 200), refusal("authorization_pending", 400), refusal("slow_down", 400)]
    grant = DeviceCode(URL, "client", device_url=URL, prompt=lambda *_: None)
    source(endpoint, grant).token()
    assert short(events) == [("obtained", "grant")]


def test_a_thread_that_waits_with_a_live_token_gives_its_context(endpoint: Endpoint, clock: Clock) -> None:
    """A token within its leeway is replaced by another thread, in the context of the one that needs it."""
    variable = contextvars.ContextVar("variable", default="")
    seen: list[str] = []

    def observe(_: TokenEvent) -> None:
        seen.append(variable.get())

    tokens = source(endpoint, GRANT, refresh_ahead=False)
    token = tokens.token()
    assert token.expires_at is not None
    clock.forward(token.expires_at - clock.time() - 1)
    add_observer(observe)
    try:
        contextvars.copy_context().run(lambda: (variable.set("of the caller"), tokens.token()))
        assert wait_for(lambda: bool(seen))
    finally:
        remove_observer(observe)
    assert seen == ["of the caller"]


def test_a_token_request_has_the_context_of_its_task(grant: ClientCredentials) -> None:
    """A token request for a task is observed within the context of that task, so that traces are whole."""
    variable = contextvars.ContextVar("variable", default="")
    seen: list[str] = []

    def observe(_: TokenEvent) -> None:
        seen.append(variable.get())

    async def call() -> None:
        variable.set("of the task")
        await TokenSource(grant).atoken()

    add_observer(observe)
    try:
        asyncio.run(call())
        assert seen == ["of the task"]
    finally:
        remove_observer(observe)


async def an_async_observer(event: TokenEvent) -> None:
    """Do nothing."""


class AnAsyncObserver:
    async def __call__(self, event: TokenEvent) -> None:
        """Do nothing."""


@pytest.mark.parametrize("given", [None, "print", an_async_observer, AnAsyncObserver()])
def test_an_observer_is_a_plain_callable(given: Any) -> None:
    """Anything else is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="observer must be a callable"):
        add_observer(given)
