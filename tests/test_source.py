"""When a token is asked for: expiry, leeway, renewal ahead, refusals, further tries; on a clock that a test moves."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    MemoryCache,
    Password,
    RefreshToken,
    SecretFile,
    Token,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
    _source,
)
from auth_plugins._message import TokenRequest, TokenResponse

from .loopback import Clock

URL = "https://id.example.com/token"


class Endpoint:
    """A token endpoint without a wire: plays its script, and numbers its tokens."""

    def __init__(self, clock: Clock, lifetime: float | None = 3600) -> None:
        self.requests: list[TokenRequest] = []
        self.timeouts: list[float] = []
        self.lifetime = lifetime
        self.refresh_tokens = False
        #: What is answered next, before it issues again: members and a status, an error, or what is to be called.
        self.script: list[Any] = []
        self._clock = clock
        self._issued = 0

    def __call__(self, request: TokenRequest, timeout: float) -> TokenResponse:
        self.requests.append(request)
        self.timeouts.append(timeout)
        step = self.script.pop(0) if self.script else self.issue
        while callable(step):
            step = step()
        if isinstance(step, Exception):
            raise step
        members, status, headers = (*step, {})[:3]
        return TokenResponse(
            status=status, headers=headers, body=json.dumps(members).encode(), received_at=self._clock.now
        )

    def issue(self) -> tuple[dict[str, Any], int]:
        self._issued += 1
        members: dict[str, Any] = {"access_token": f"token-{self._issued}"}
        if self.lifetime is not None:
            members["expires_in"] = self.lifetime
        if self.refresh_tokens:
            members["refresh_token"] = f"refresh-{self._issued}"
        return members, 200

    @property
    def bodies(self) -> list[str]:
        return [request.body.decode() for request in self.requests]


@pytest.fixture
def endpoint(clock: Clock) -> Endpoint:
    return Endpoint(clock)


def source(endpoint: Endpoint, grant: Any = None, **policy: Any) -> TokenSource:
    made = TokenSource(grant or ClientCredentials(URL, "client", "s3cr3t"), **policy)
    made._transport = endpoint
    return made


def refusal(
    code: str = "invalid_client", status: int = 401, **headers: str
) -> tuple[dict[str, Any], int, dict[str, str]]:
    return {"error": code}, status, {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("lifetime", "leeway", "used_until"),
    [
        (3600, 60, 3540),
        (3600, 0, 3600),
        (3600, 300, 3300),
        (3600, 100_000, 3240),  # a tenth, at most
        (30, 60, 27),
        (1, 60, 0.9),
    ],
)
def test_a_token_is_used_until_its_leeway(
    endpoint: Endpoint, clock: Clock, lifetime: float, leeway: float, used_until: float
) -> None:
    """A token is handed out until some time before its end, and a short-lived one for most of its life."""
    endpoint.lifetime = lifetime
    tokens = source(endpoint, leeway=leeway, refresh_ahead=False)
    start = clock.now
    assert tokens.token().expires_at == start + lifetime
    clock.now = start + used_until - 0.01
    assert tokens.token().access_token == "token-1"
    clock.now = start + used_until + 0.01
    assert tokens.token().access_token == "token-2"


def test_a_token_without_an_end_is_used_until_it_is_refused(endpoint: Endpoint, clock: Clock) -> None:
    """Nobody told when my token ends: it serves for weeks, until I say that it was refused."""
    endpoint.lifetime = None
    tokens = source(endpoint)
    token = tokens.token()
    clock.forward(30 * 86400)
    assert tokens.token() is token
    assert tokens.token() is token
    tokens.invalidate(token)
    assert tokens.token().access_token == "token-2"


@pytest.mark.parametrize("lifetime", [0, -5, "0"])
def test_a_lifetime_of_0_is_no_reason_to_ask_again(endpoint: Endpoint, clock: Clock, lifetime: Any) -> None:
    """A server says expires_in: 0; the token is used until it is refused, and not for one request."""
    endpoint.lifetime = lifetime
    tokens = source(endpoint)
    used = []
    for _ in range(3):
        used.append(tokens.token())
        expire(clock)
    assert [token.access_token for token in used] == ["token-1"] * 3
    tokens.invalidate(used[0])
    assert tokens.token().access_token == "token-2"


def test_a_token_that_is_over_serves_who_asked_for_it(endpoint: Endpoint) -> None:
    """A token has ended when it comes; I get it, and the next time another."""
    endpoint.lifetime = 1e-9
    tokens = source(endpoint)
    assert [tokens.token().access_token for _ in range(2)] == ["token-1", "token-2"]


def test_a_token_is_renewed_before_its_end_while_it_serves(endpoint: Endpoint, clock: Clock) -> None:
    """Some minutes before its end my token is renewed in the background, once, and nobody waits for that."""
    tokens = source(endpoint)
    first = tokens.token()
    release, renewed = threading.Event(), threading.Event()

    def slowly() -> Any:
        release.wait(10)
        renewed.set()
        return endpoint.issue

    endpoint.script = [slowly]
    clock.forward(3600 - 180)
    assert [tokens.token() for _ in range(5)] == [first] * 5
    release.set()
    renewed.wait(10)
    assert wait_for(lambda: tokens.token() is not first)
    assert len(endpoint.requests) == 2


def test_a_failed_renewal_ahead_is_tried_again_later(endpoint: Endpoint, clock: Clock) -> None:
    """The token endpoint is down when my token is renewed ahead: I notice nothing, and it is tried again in time."""
    tokens = source(endpoint, timeout=1)
    first = tokens.token()
    endpoint.script = [TokenTransportError("down")] * 3
    clock.forward(3600 - 180)
    tokens.token()
    assert wait_for(lambda: tokens._slot.renew_after > 0)
    asked = len(endpoint.requests)
    assert [tokens.token() for _ in range(5)] == [first] * 5
    assert len(endpoint.requests) == asked
    clock.forward(61)
    tokens.token()
    assert wait_for(lambda: tokens.token() is not first)


def test_a_fleet_does_not_renew_in_step(endpoint: Endpoint, clock: Clock) -> None:
    """Tokens that were issued at one moment are renewed at different ones, each well before its end."""
    moments = set()
    for number in range(20):
        token = Token(access_token=f"token-{number}", expires_at=clock.now + 3600, issued_at=clock.now)
        moments.add(source(endpoint)._window(token)[0] - clock.now)
    assert len(moments) > 10
    assert 3300 <= min(moments) < max(moments) < 3540


def test_what_is_refused_again_is_not_asked_again(endpoint: Endpoint, clock: Clock) -> None:
    """Wrong credentials: the next 20 callers get the same error at once, for a time that grows from 5 to 60 seconds."""
    tokens = source(endpoint)
    endpoint.script = [refusal()] * 100
    start, asked_at, errors = clock.now, [], []
    for _ in range(200):
        asked = len(endpoint.requests)
        with pytest.raises(TokenRequestError, match="invalid_client") as caught:
            tokens.token()
        errors.append(caught.value)
        if len(endpoint.requests) > asked:
            asked_at.append(round(clock.now - start))
        clock.forward(1)
    assert asked_at == [0, 5, 15, 35, 75, 135, 195]
    assert len(set(map(id, errors))) == len(errors), "each caller has an error of his own"


def test_a_refusal_grows_no_more_once_it_was_good(endpoint: Endpoint, clock: Clock) -> None:
    """After a success the next refusal is remembered for a short time again."""
    tokens = source(endpoint)
    for _ in range(3):
        endpoint.script = [refusal()]
        with pytest.raises(TokenRequestError):
            tokens.token()
        clock.forward(5)
        tokens.token()
        expire(clock)


def test_a_changed_secret_is_tried_at_once(endpoint: Endpoint, tmp_path: Any) -> None:
    """I put the right secret into the file: the next request uses it, whatever was refused a moment ago."""
    file = tmp_path / "secret"
    file.write_text("wrong")
    tokens = source(endpoint, ClientCredentials(URL, "client", SecretFile(file)))
    endpoint.script = [refusal()]
    for _ in range(3):
        with pytest.raises(TokenRequestError):
            tokens.token()
    assert len(endpoint.requests) == 1
    file.write_text("right")
    assert tokens.token().access_token == "token-1"


def test_invalidate_forgets_a_refusal(endpoint: Endpoint) -> None:
    """I know better, and want it tried again now."""
    tokens = source(endpoint)
    endpoint.script = [refusal()]
    with pytest.raises(TokenRequestError):
        tokens.token()
    tokens.invalidate(Token(access_token="any"))
    assert tokens.token().access_token == "token-1"


def test_a_secret_that_went_away_is_no_refusal(endpoint: Endpoint) -> None:
    """The callable that returns my secret fails after a refusal: I am told of that."""
    answers = iter(["one"])

    def secret() -> str:
        return next(answers)

    tokens = source(endpoint, ClientCredentials(URL, "client", secret))
    endpoint.script = [refusal()]
    with pytest.raises(TokenRequestError):
        tokens.token()
    with pytest.raises(ConfigurationError, match="StopIteration"):
        tokens.token()


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_in_trouble_is_asked_again(endpoint: Endpoint, clock: Clock, status: int) -> None:
    """Two failures, then an answer: I notice nothing but a second of waiting."""
    endpoint.script = [({}, status)] * 2
    assert source(endpoint).token().access_token == "token-1"
    assert len(clock.sleeps) == 2
    assert 0 < sum(clock.sleeps) < 2


@pytest.mark.parametrize("trouble", [({}, 500), TokenTransportError("down")], ids=["500", "unreachable"])
def test_at_most_three_tries(endpoint: Endpoint, trouble: Any) -> None:
    """A server that stays in trouble is asked three times, and then I get the error; the next call tries anew."""
    endpoint.script = [trouble] * 3
    tokens = source(endpoint)
    with pytest.raises((TokenRequestError, TokenTransportError)):
        tokens.token()
    assert len(endpoint.requests) == 3
    assert tokens.token().access_token == "token-1"


def test_tries_end_with_the_timeout(endpoint: Endpoint, clock: Clock) -> None:
    """The timeout is for the whole token request: a slow server gets no second try that would exceed it."""

    def slow() -> Any:
        clock.forward(4)
        return TokenTransportError("timed out")

    endpoint.script = [slow] * 3
    with pytest.raises(TokenTransportError):
        source(endpoint, timeout=5).token()
    assert len(endpoint.requests) == 2
    assert endpoint.timeouts[0] == 5
    assert endpoint.timeouts[1] < 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_that_fits_is_waited_for(endpoint: Endpoint, clock: Clock, status: int) -> None:
    """The server asks for two seconds of rest: it gets them, and I my token."""
    endpoint.script = [refusal("slow_down", status, retry_after="2")]
    assert source(endpoint).token().access_token == "token-1"
    assert clock.sleeps == [2.0]


def test_retry_after_that_does_not_fit_is_kept(endpoint: Endpoint, clock: Clock) -> None:
    """The server asks for 100 seconds: I get an error that says so, and nobody asks it before they have passed."""
    tokens = source(endpoint)
    endpoint.script = [refusal("slow_down", 429, retry_after="100")]
    for _ in range(3):
        with pytest.raises(TokenRequestError) as caught:
            tokens.token()
        assert caught.value.retry_after == 100
        clock.forward(30)
    assert len(endpoint.requests) == 1
    clock.forward(11)
    assert tokens.token().access_token == "token-1"


def test_429_without_a_time_is_final(endpoint: Endpoint, clock: Clock) -> None:
    """The server wants rest, and doesn't say how long: it isn't pressed."""
    endpoint.script = [refusal("slow_down", 429)]
    with pytest.raises(TokenRequestError):
        source(endpoint).token()
    assert (len(endpoint.requests), clock.sleeps) == (1, [])


def expire(clock: Clock) -> None:
    clock.forward(3600)


PASSWORD = Password(URL, "me", "pw", client_id="app")


@pytest.mark.parametrize(
    ("grant", "answer"),
    [
        (PASSWORD, refusal("invalid_grant", 400)),
        (PASSWORD, refusal("invalid_grant", 401)),
        (Password(URL, "me", "pw", refresh_url=f"{URL}/refresh"), ({"message": "gone"}, 401)),
        (Password(URL, "me", "pw", refresh_url=f"{URL}/refresh"), ({}, 404)),
        (PASSWORD, ({"message": "who are you?"}, 401)),
        (PASSWORD, ({}, 400)),
        (PASSWORD, refusal("invalid_request", 400)),
        (PASSWORD, ({"error": "bad_refresh_token"}, 200)),
        (ClientCredentials(URL, "client", "s3cr3t"), ({"error": "bad_refresh_token"}, 200)),
        (ClientCredentials(URL, "client", "s3cr3t"), ({}, 302)),
        (ClientCredentials(URL, "client", "s3cr3t"), refusal("slow_down", 429)),
        (ClientCredentials(URL, "client", "s3cr3t"), refusal("invalid_grant", 400)),
        (ClientCredentials(URL, "client", "s3cr3t"), ({"message": "gone"}, 400)),
        (ClientCredentials(URL, "client", "s3cr3t"), refusal("unsupported_grant_type", 400)),
    ],
)
def test_a_refused_refresh_token_gives_way_to_the_grant_once(
    endpoint: Endpoint, clock: Clock, grant: Any, answer: Any
) -> None:
    """My refresh token is good no more: the grant itself is used, once, and goes on from there."""
    endpoint.refresh_tokens = True
    tokens = source(endpoint, grant)
    tokens.token()
    expire(clock)
    endpoint.script = [answer]
    assert tokens.token().refresh_token == "refresh-2"
    assert ["refresh_token=" in body for body in endpoint.bodies] == [False, True, False]
    expire(clock)
    tokens.token()
    assert "refresh_token=refresh-2" in endpoint.bodies[-1]


@pytest.mark.parametrize(
    ("grant", "answer"),
    [
        (PASSWORD, refusal("invalid_client", 401)),
        (PASSWORD, ({}, 302)),
        (PASSWORD, refusal("slow_down", 429)),
        (PASSWORD, refusal("slow_down", 400)),
        (Password(URL, "me", "pw", refresh_url=f"{URL}/refresh"), refusal("invalid_client", 401)),
        (Password(URL, "me", "pw", refresh_url=f"{URL}/refresh"), ({}, 403, {"retry-after": "1"})),
        (ClientCredentials(URL, "client", "s3cr3t"), refusal("invalid_client", 401)),
    ],
)
def test_any_other_failure_sends_no_password(endpoint: Endpoint, clock: Clock, grant: Any, answer: Any) -> None:
    """Something else is wrong with the renewal: I get the error, and my password is not sent for it."""
    endpoint.refresh_tokens = True
    tokens = source(endpoint, grant)
    tokens.token()
    expire(clock)
    endpoint.script = [answer]
    with pytest.raises(TokenRequestError):
        tokens.token()
    assert len(endpoint.requests) == 2
    clock.forward(60)
    tokens.token()
    assert "refresh_token=refresh-1" in endpoint.bodies[-1], "it was not refused, and is tried again"


def test_a_refresh_token_that_is_not_replaced_goes_on(endpoint: Endpoint, clock: Clock) -> None:
    """The server answers a renewal without a new refresh token: the old one is used again."""
    endpoint.refresh_tokens = True
    tokens = source(endpoint, PASSWORD)
    tokens.token()
    endpoint.refresh_tokens = False
    for _ in range(2):
        expire(clock)
        assert tokens.token().refresh_token == "refresh-1"
    assert [body.partition("refresh_token=")[2][:9] for body in endpoint.bodies] == ["", "refresh-1", "refresh-1"]


def test_a_refresh_token_of_ones_own(endpoint: Endpoint, clock: Clock) -> None:
    """I start from a refresh token: where the server rotates it, the newest is used, and mine when that is refused."""
    endpoint.refresh_tokens = True
    tokens = source(endpoint, RefreshToken(URL, "mine"))
    tokens.token()
    expire(clock)
    tokens.token()
    expire(clock)
    endpoint.script = [refusal("invalid_grant", 400)]
    tokens.token()
    assert [body.rpartition("=")[2] for body in endpoint.bodies] == ["mine", "refresh-1", "refresh-2", "mine"]


def test_ones_own_refresh_token_is_not_sent_twice(endpoint: Endpoint, clock: Clock) -> None:
    """My refresh token is refused, and there is no other: I get the error after one request."""
    tokens = source(endpoint, RefreshToken(URL, "mine"))
    endpoint.refresh_tokens = True
    endpoint.script = [({"access_token": "a", "expires_in": 3600, "refresh_token": "mine"}, 200)]
    tokens.token()
    expire(clock)
    endpoint.script = [refusal("invalid_grant", 400)]
    with pytest.raises(TokenRequestError, match="invalid_grant"):
        tokens.token()
    assert len(endpoint.requests) == 2


def test_invalidate_gives_up_that_token_only(endpoint: Endpoint) -> None:
    """Fifty late reports of an old token's refusal leave the new one alone; the refresh token is used to replace it."""
    endpoint.refresh_tokens = True
    tokens = source(endpoint, PASSWORD)
    first = tokens.token()
    tokens.invalidate(first)
    second = tokens.token()
    for _ in range(50):
        tokens.invalidate(first)
    assert tokens.token() is second
    assert ["refresh_token=" in body for body in endpoint.bodies] == [False, True]


def test_revoke_gives_tokens_back(endpoint: Endpoint) -> None:
    """I am done: the server is told so of both tokens (RFC 7009), and the next call starts from the grant."""
    endpoint.refresh_tokens = True
    grant = Password(
        URL, "me", "pw", client_id="app", client_secret="s", revocation_url="https://id.example.com/revoke"
    )
    tokens = source(endpoint, grant)
    tokens.token()
    endpoint.script = [({}, 200)] * 2
    tokens.revoke()
    assert endpoint.bodies[1:] == [
        "token=refresh-1&token_type_hint=refresh_token",
        "token=token-1&token_type_hint=access_token",
    ]
    assert {request.url for request in endpoint.requests[1:]} == {"https://id.example.com/revoke"}
    assert "Authorization" in endpoint.requests[1].headers
    tokens.token()
    assert "password=pw" in endpoint.bodies[-1]


def test_revoke_without_an_endpoint_forgets(endpoint: Endpoint) -> None:
    """The server has no revocation endpoint: the token is forgotten, and nothing sent."""
    tokens = source(endpoint)
    tokens.revoke()
    tokens.token()
    tokens.revoke()
    assert len(endpoint.requests) == 1
    assert tokens.token().access_token == "token-2"
    key = TokenSource(ApiKey("key"))
    assert key.token().access_token == "key"
    key.revoke()


def test_a_refused_revocation_is_told(endpoint: Endpoint) -> None:
    """The server refuses to revoke: I get its reason, and the token is forgotten all the same."""
    tokens = source(endpoint, ClientCredentials(URL, "c", "s", revocation_url="https://id.example.com/revoke"))
    tokens.token()
    endpoint.script = [refusal("unsupported_token_type", 400)]
    with pytest.raises(TokenRequestError, match="unsupported_token_type"):
        tokens.revoke()
    assert tokens.token().access_token == "token-2"


def test_who_comes_late_for_a_flight_finds_its_token(endpoint: Endpoint) -> None:
    """Between my look and my turn another thread got the token: it is used, and none asked for."""
    tokens = source(endpoint)
    assert tokens._usable() is None
    source(endpoint).token()
    flight, leads = tokens._join()
    assert (flight.result(0), leads) == (tokens.token(), False)


def test_a_source_says_what_it_is_for_and_no_secret(endpoint: Endpoint) -> None:
    """I print the source, and see the grant without its secret; its tokens don't show either."""
    tokens = source(endpoint)
    assert "client" in repr(tokens)
    assert "s3cr3t" not in repr(tokens) + str(vars(tokens))
    assert "token-1" not in repr(tokens.token()) + str(tokens.token())


def test_an_unknown_token_type_is_told_once(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """A server calls its tokens something of its own: they are used as Bearer, and the log says so."""
    endpoint.script = [({"access_token": "a", "token_type": "magic", "expires_in": 3600}, 200)]
    with caplog.at_level(logging.WARNING):
        assert source(endpoint).token().header_value == "Bearer a"
    assert "magic" in caplog.text


def test_without_a_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the three libraries is there: I am told which to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'auth-plugins\[requests\]'"):
        TokenSource(ClientCredentials(URL, "c", "s")).token()


@pytest.mark.parametrize("library", ["requests", "httpx2", "httpx"])
def test_a_hand_made_source_takes_what_is_installed(
    server: Any, grant: ClientCredentials, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I have one of the three libraries, whichever: a source that I made by hand sends by it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == library or None)
    assert TokenSource(grant).token().access_token == "token-1"
    agent = server.token_requests[0].headers["user-agent"]
    assert agent.startswith(
        {"requests": "python-requests", "httpx": "python-httpx/", "httpx2": "python-httpx2"}[library]
    )


def test_atoken_outside_of_a_loop_says_so(endpoint: Endpoint) -> None:
    """A usable token needs no loop; to wait for one does."""
    tokens = source(endpoint)
    tokens.token()
    coroutine = tokens.atoken()
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value is tokens.token()


def test_atoken_renews_ahead_too(endpoint: Endpoint, clock: Clock) -> None:
    """In a loop as in a thread: the old token serves while a new one is fetched."""
    tokens = source(endpoint)
    first = asyncio.run(tokens.atoken())
    clock.forward(3600 - 180)
    assert asyncio.run(tokens.atoken()) is first
    assert wait_for(lambda: asyncio.run(tokens.atoken()) is not first)


class TestCache:
    """What the memory keeps, and what it lets go."""

    def grants(self, count: int, start: int = 0) -> list[ClientCredentials]:
        return [ClientCredentials(URL, f"client-{number}", "s") for number in range(start, start + count)]

    def test_it_does_not_grow_with_tenants_that_are_gone(self, endpoint: Endpoint, clock: Clock) -> None:
        """I serve thousands of tenants, each for a while: what ended and nobody uses goes by itself."""
        cache = MemoryCache()
        for turn in range(20):
            for grant in self.grants(300, start=300 * turn):
                source(endpoint, grant, cache=cache).token()
            expire(clock)
        assert len(cache._slots) < 1500

    def test_who_is_used_stays(self, endpoint: Endpoint, clock: Clock) -> None:
        """However many others come and go, my own auth object and one built anew share their token."""
        cache = MemoryCache()
        [grant] = self.grants(1)
        mine = source(endpoint, grant, cache=cache)
        mine.token()
        expire(clock)
        for other in self.grants(2000, start=1):
            source(endpoint, other, cache=cache)
        again = mine.token()
        assert source(endpoint, grant, cache=cache).token() is again

    def test_who_waits_for_his_turn_stays(self, endpoint: Endpoint) -> None:
        """I made an auth long before I use it, among thousands of others: one built anew then shares its token."""
        cache = MemoryCache()
        [grant] = self.grants(1)
        mine = source(endpoint, grant, cache=cache)
        for other in self.grants(2000, start=1):
            source(endpoint, other, cache=cache)
        another = source(endpoint, grant, cache=cache)
        assert mine.token() is another.token()

    def test_a_refresh_token_outlives_its_token(self, endpoint: Endpoint, clock: Clock) -> None:
        """My token ended among thousands of others; its refresh token is still there, and my password isn't sent."""
        cache = MemoryCache()
        endpoint.refresh_tokens = True
        source(endpoint, PASSWORD, cache=cache).token()
        endpoint.refresh_tokens = False
        expire(clock)
        for other in self.grants(2000):
            source(endpoint, other, cache=cache)
        source(endpoint, PASSWORD, cache=cache).token()
        assert "refresh_token=refresh-1" in endpoint.bodies[-1]

    def test_what_nobody_asked_for_in_a_day_goes(self, endpoint: Endpoint, clock: Clock) -> None:
        """Tokens without an end go as well, once nobody has looked for them for a day."""
        cache = MemoryCache()
        endpoint.lifetime = None
        for grant in self.grants(300):
            source(endpoint, grant, cache=cache).token()
        clock.forward(86401)
        for grant in self.grants(600, start=300):
            source(endpoint, grant, cache=cache).token()
        assert len(cache._slots) < 700

    def test_a_refusal_is_kept_while_it_counts(self, endpoint: Endpoint, clock: Clock) -> None:
        """A wrong secret among thousands of tenants, in objects built anew: it isn't sent again and again."""
        cache = MemoryCache()
        [wrong] = self.grants(1)
        endpoint.script = [refusal()]
        for turn in range(3):
            with pytest.raises(TokenRequestError):
                source(endpoint, wrong, cache=cache).token()
            for other in self.grants(300, start=1 + 300 * turn):
                source(endpoint, other, cache=cache)
        assert len(endpoint.requests) == 1

    def test_a_flight_is_not_swept_away(self, endpoint: Endpoint) -> None:
        """A token that is being asked for has its place, whatever comes meanwhile."""
        cache = MemoryCache()
        [grant] = self.grants(1)
        flight, _ = source(endpoint, grant, cache=cache)._join()
        for other in self.grants(600, start=1):
            source(endpoint, other, cache=cache)
        assert source(endpoint, grant, cache=cache)._join() == (flight, False)


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether *condition* comes true within seconds, by another thread."""
    import time

    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def test_every_number_is_named() -> None:
    """What is documented of times is what the code has."""
    assert (_source._PROBATION, _source._REST, _source._LONGEST_REST) == (30, 5, 60)
