"""A token endpoint that issues one token until it expires: few token requests, and the token is used to its end."""

from __future__ import annotations

import pytest

from auth_plugins import TokenSource
from auth_plugins._base.runtime import runtime
from tests.support.loopback import Clock
from tests.support.sources import Endpoint, source


class SameToken:
    """Issues one token until it expires, and says in whole seconds how long that is."""

    def __init__(self, clock: Clock, lifetime: float) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._ends, self._number = 0.0, 0

    def __call__(self) -> tuple[dict[str, object], int]:
        if self._clock.now >= self._ends:
            self._number, self._ends = self._number + 1, self._clock.now + self.lifetime
        left = int(self._ends - self._clock.now)
        return {"access_token": f"token-{self._number}", "expires_in": left, "refresh_token": "r"}, 200


@pytest.mark.parametrize("refresh_ahead", [True, False])
@pytest.mark.parametrize("leeway", [0, 60])
@pytest.mark.parametrize("lifetime", [5, 3600])
def test_a_server_that_returns_the_same_token_gets_few_requests(
    endpoint: Endpoint,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    lifetime: float,
    leeway: float,
    *,
    refresh_ahead: bool,
) -> None:
    """A server that returns one token until it ends gets a few token requests, and the token is used to its end."""
    endpoint.script = [SameToken(clock, lifetime)] * 1000
    tokens: TokenSource = source(endpoint, leeway=leeway, refresh_ahead=refresh_ahead)
    monkeypatch.setattr(runtime, "start_thread", lambda function, _: function())  # at once, so that no test waits
    used = []
    for _ in range(200):
        used.append(tokens.token().access_token)
        clock.forward(lifetime / 200)
    assert set(used) == {"token-1"}
    assert len(endpoint.requests) <= 8
    clock.forward(1)
    assert tokens.token().access_token == "token-2"


def test_the_same_token_without_an_end_keeps_its_end(endpoint: Endpoint, clock: Clock) -> None:
    """A server that says 0 for the last second of a token does not make a token of it that never ends."""
    endpoint.script = [({"access_token": "a", "expires_in": each}, 200) for each in (10, 0)]
    tokens = source(endpoint, refresh_ahead=False)
    end = tokens.token().expires_at
    clock.forward(9.5)
    assert tokens.token().access_token == "a"
    assert (len(endpoint.requests), tokens.token().expires_at) == (2, end)
    clock.forward(0.6)
    assert tokens.token().access_token == "token-1"


@pytest.mark.parametrize("late", [0.0, 100.0])
@pytest.mark.parametrize("last", [{"expires_in": 0}, {"expires_in": -1}, {}], ids=str)
def test_the_same_token_after_its_expiry_costs_few_requests(
    endpoint: Endpoint, clock: Clock, last: dict[str, object], late: float
) -> None:
    """A server goes on to return a token that has expired here, and tells no other expiry: few calls send a request."""
    first = {"access_token": "a", "expires_in": 3600}
    endpoint.script = [(first, 200), *[({"access_token": "a", **last}, 200)] * 100]
    tokens = source(endpoint, refresh_ahead=False)
    tokens.token()
    clock.forward(3600 + late)
    assert {tokens.token().access_token for _ in range(10)} == {"a"}
    assert len(endpoint.requests) - 1 <= 2


@pytest.mark.parametrize("before", [0.0, 600.0])
@pytest.mark.parametrize("is_used_between", [True, False])
def test_a_clock_that_was_ahead_for_a_moment_gives_no_token_years(
    endpoint: Endpoint, clock: Clock, before: float, *, is_used_between: bool
) -> None:
    """The clock is three years ahead for a moment; once it is right again, the token is replaced at its real end."""
    right, years = Clock(), 3 * 365 * 86400.0
    right.now = clock.now
    clock.monotonic = lambda: right.now  # type: ignore[method-assign]  # nothing sets that one

    def both(seconds: float) -> None:
        right.forward(seconds)
        clock.forward(seconds)

    endpoint.script = [SameToken(right, 3600)] * 100
    tokens = source(endpoint, refresh_ahead=False)
    if before:
        assert tokens.token().access_token == "token-1"
    both(before)
    clock.forward(years)
    assert tokens.token().access_token == "token-1"
    clock.forward(-years)
    if is_used_between:
        assert tokens.token().access_token == "token-1"
        both(1000)
        assert tokens.token().access_token == "token-1"
    both(3601)
    assert tokens.token().access_token == "token-2"
