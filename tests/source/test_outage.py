"""A token within its leeway, while the token endpoint cannot give another one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

from auth_plugins import Token, TokenRequestError, TokenSource, TokenTransportError
from auth_plugins._base.runtime import runtime
from auth_plugins._protocol.messages import TokenResponse
from tests.support.loopback import Clock
from tests.support.sources import Endpoint, refusal, source, wait_for
from tests.support.stores import Store, over, process

Get = Callable[[TokenSource], Token]
GETS: dict[str, Get] = {
    "thread": lambda tokens: tokens.token(),
    "asyncio": lambda tokens: asyncio.run(tokens.atoken()),
    "trio": lambda tokens: trio.run(tokens.atoken),
}
by_any_means = pytest.mark.parametrize("get", GETS.values(), ids=GETS)


def down(endpoint: Endpoint, what: Any = None) -> None:
    """Let no further token request succeed."""
    endpoint.script = [what or TokenTransportError("down")] * 1000


@by_any_means
@pytest.mark.parametrize("trouble", [None, ({}, 503), refusal()], ids=["unreachable", "503", "refusal"])
def test_a_token_serves_to_its_end_during_an_outage(endpoint: Endpoint, clock: Clock, get: Get, trouble: Any) -> None:
    """The endpoint fails within the leeway: the token is used until it really expires, and then the error is raised."""
    tokens = source(endpoint, refresh_ahead=False)
    first = tokens.token()
    down(endpoint, trouble)
    clock.forward(3545)
    while clock.now < (first.expires_at or 0.0) - 5:
        assert get(tokens) is first
        clock.forward(1)
    clock.forward(5)
    with pytest.raises((TokenTransportError, TokenRequestError)):
        get(tokens)


@by_any_means
def test_few_calls_wait_for_another_attempt(endpoint: Endpoint, clock: Clock, get: Get) -> None:
    """After a failed attempt the token is used at once for a while, a third of the time that it has left."""
    tokens = source(endpoint, refresh_ahead=False)
    first = tokens.token()
    down(endpoint)
    clock.forward(3545)
    assert get(tokens) is first
    asked, left = len(endpoint.requests), 3600 - (clock.now - first.issued_at)
    for _ in range(10):
        assert get(tokens) is first
    clock.forward(left / 3 - 1)  # on a busy machine the first call also waits a second for the end of the attempt
    assert get(tokens) is first
    assert len(endpoint.requests) == asked
    clock.forward(1.1)
    assert get(tokens) is first
    assert len(endpoint.requests) > asked


def test_attempts_are_half_a_second_apart_at_the_end(endpoint: Endpoint, clock: Clock) -> None:
    """In the last second of the token's life an attempt is made twice a second at most."""
    endpoint.lifetime = 10
    tokens = source(endpoint, refresh_ahead=False, timeout=0.1)
    tokens.token()
    down(endpoint)
    clock.forward(9.2)
    for _ in range(5):
        tokens.token()
        clock.forward(0.09)
    assert len(endpoint.requests) == 2


@by_any_means
def test_the_token_is_replaced_when_the_outage_is_over(endpoint: Endpoint, clock: Clock, get: Get) -> None:
    """The endpoint works again: the next attempt brings a new token, and the leeway counts again."""
    tokens = source(endpoint, refresh_ahead=False)
    first = tokens.token()
    down(endpoint)
    clock.forward(3545)
    assert get(tokens) is first
    endpoint.script.clear()
    clock.forward(20)
    second = get(tokens)
    assert second.access_token == "token-2"
    clock.forward(3541)
    assert get(tokens).access_token == "token-3"


@by_any_means
def test_a_rejected_token_is_not_used_in_an_outage(endpoint: Endpoint, clock: Clock, get: Get) -> None:
    """A rejected token is not used again, whatever the trouble of the token endpoint."""
    for refuse in (TokenSource.invalidate, TokenSource.reject):
        endpoint.script.clear()
        tokens = source(endpoint, refresh_ahead=False, cache=None)
        token = tokens.token()
        down(endpoint)
        clock.forward(3545)
        assert get(tokens) is token
        refuse(tokens, token)
        with pytest.raises(TokenTransportError):
            get(tokens)


def test_a_failed_background_refresh_counts(endpoint: Endpoint, clock: Clock) -> None:
    """A background refresh fails just before the leeway: no call waits for another attempt at once."""
    tokens = source(endpoint)
    first = tokens.token()
    down(endpoint)
    clock.forward(3530)
    assert tokens.token() is first
    assert wait_for(lambda: tokens._state.serves_until > 0)
    asked = len(endpoint.requests)
    clock.forward(15)
    assert tokens.token() is first
    assert len(endpoint.requests) == asked


@over(["files, key", "redis", "own"])
@by_any_means
def test_a_new_process_uses_the_stored_token(store: Store, endpoint: Endpoint, clock: Clock, get: Get) -> None:
    """A process starts during an outage: it uses the token in the shared cache to its end, unless it was rejected."""
    first = process(store, endpoint).token()
    down(endpoint)
    clock.forward(3550)
    cold = process(store, endpoint)
    assert get(cold) == first
    asked = len(endpoint.requests)
    assert get(cold) == first
    assert len(endpoint.requests) == asked
    cold.invalidate(first)
    with pytest.raises(TokenTransportError):
        get(cold)
    clock.forward(50)
    with pytest.raises(TokenTransportError):
        get(process(store, endpoint))


@over(["files", "own"])
def test_a_newer_stored_token_is_preferred(store: Store, endpoint: Endpoint, clock: Clock) -> None:
    """A token that another process stored, within its leeway, is used when this process's own has expired."""
    mine, other = process(store, endpoint), process(store, endpoint)
    mine.token()
    clock.forward(3600)
    second = other.token()
    down(endpoint)
    clock.forward(3550)
    assert mine.token() == second


def test_a_token_without_expiry_has_no_leeway(endpoint: Endpoint, clock: Clock) -> None:
    """A token without a known end has no leeway: after its rejection a failure is raised."""
    endpoint.lifetime = None
    tokens = source(endpoint)
    tokens.invalidate(tokens.token())
    down(endpoint)
    with pytest.raises(TokenTransportError):
        tokens.token()


@pytest.fixture
def hanging() -> Iterator[TokenSource]:
    """A source whose token endpoint does not answer within the timeout of three seconds."""
    hangs = threading.Event()

    def hang(_: object, timeout: float) -> TokenResponse:
        hangs.wait(timeout)
        raise TokenTransportError("no answer in time")

    yield source(hang, timeout=3.0, refresh_ahead=False)
    hangs.set()


@by_any_means
def test_a_token_serves_while_the_endpoint_hangs(hanging: TokenSource, get: Get) -> None:
    """The endpoint does not answer within the timeout, and the token expires before that: the token is used."""
    live = Token(access_token="live", issued_at=time.time() - 3598.5, expires_at=time.time() + 1.5)
    hanging.seed(live)
    assert get(hanging) is live


def test_only_the_first_caller_waits_for_an_endpoint_that_hangs(
    hanging: TokenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an attempt hangs, the first caller waits for it; the next ones use the live token at once."""
    waits, wait = [], runtime.wait

    def note(flight: Any, seconds: float) -> None:
        waits.append(seconds)
        wait(flight, 0.01)

    monkeypatch.setattr(runtime, "wait", note)
    live = Token(access_token="live", issued_at=time.time() - 3570, expires_at=time.time() + 30)
    hanging.seed(live)
    assert [hanging.token() for _ in range(3)] == [live] * 3
    assert len(waits) == 1


@by_any_means
def test_an_expired_token_leaves_the_whole_timeout(clock: Clock, endpoint: Endpoint, get: Get) -> None:
    """A token that has ended, or none, leaves a token request the whole timeout."""
    tokens = source(endpoint, timeout=3.0, refresh_ahead=False)
    get(tokens)
    clock.forward(3600)
    get(tokens)
    assert endpoint.timeouts == pytest.approx([3.0] * 2)
