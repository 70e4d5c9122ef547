"""When a token is fetched: expiry, leeway, background refresh, refusals and retries, by a clock that a test moves."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import threading
from pathlib import Path
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
)
from auth_plugins._base.runtime import runtime
from auth_plugins._source import negative_cache, rejections, shared_fetch
from auth_plugins._source import source as _source
from tests.support.loopback import Clock
from tests.support.sources import (
    PASSWORD,
    URL,
    Endpoint,
    HookedLock,
    expire,
    refusal,
    sent,
    source,
    unfinished,
    wait_for,
)
from tests.support.stores import LockingCache, forget, logged

CREDENTIALS = ClientCredentials(URL, "client", "s3cr3t")


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
    """A token is used until its leeway, and a short-lived one for most of its lifetime."""
    endpoint.lifetime = lifetime
    tokens = source(endpoint, leeway=leeway, refresh_ahead=False)
    start = clock.now
    assert tokens.token().expires_at == start + lifetime
    clock.now = start + used_until - 0.01
    assert tokens.token().access_token == "token-1"
    clock.now = start + used_until + 0.01
    assert tokens.token().access_token == "token-2"


@pytest.mark.parametrize("lifetime", [None, 0, -5, "0"])
def test_a_token_without_expiry_is_used_until_it_is_rejected(endpoint: Endpoint, clock: Clock, lifetime: Any) -> None:
    """A token without a known expiry, or with ``expires_in: 0``, is used for weeks, until it is invalidated."""
    endpoint.lifetime = lifetime
    tokens = source(endpoint)
    token = tokens.token()
    for _ in range(2):
        clock.forward(30 * 86400)
        assert tokens.token() is token
    tokens.invalidate(token)
    assert tokens.token().access_token == "token-2"


def test_a_token_that_has_expired_on_arrival_is_used_once(endpoint: Endpoint) -> None:
    """A token that has expired when it arrives serves the call that fetched it; the next call fetches another."""
    endpoint.lifetime = 1e-9
    tokens = source(endpoint)
    assert [tokens.token().access_token for _ in range(2)] == ["token-1", "token-2"]


def test_a_stale_token_is_refreshed_in_the_background(endpoint: Endpoint, clock: Clock) -> None:
    """Minutes before its expiry a token is refreshed in the background, once, while calls use it."""
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


def test_a_fleet_does_not_refresh_in_step(endpoint: Endpoint, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens that were issued at one moment are refreshed at random moments, each well before its end."""
    begun: set[TokenSource] = set()
    fleet = [source(endpoint, cache=MemoryCache()) for _ in range(20)]
    for tokens in fleet:
        tokens.token()
    issued, counts = clock.now, []
    for moment in (3299, 3320, 3340, 3365):
        clock.now = issued + moment
        for tokens in fleet:
            monkeypatch.setattr(runtime, "start_thread", lambda *_, tokens=tokens: begun.add(tokens))
            tokens.token()
        counts.append(len(begun))
    assert counts[0] == 0 < counts[1] < counts[2] < counts[3] == 20


def test_a_refusal_is_remembered(endpoint: Endpoint, clock: Clock) -> None:
    """Wrong credentials: callers get the same error without a request, for a time that grows from 5 to 60 seconds."""
    tokens = source(endpoint)
    endpoint.script = [refusal()] * 100
    start, sent_at, errors = clock.now, [], []
    for _ in range(200):
        asked = len(endpoint.requests)
        with pytest.raises(TokenRequestError, match="invalid_client") as caught:
            tokens.token()
        errors.append(caught.value)
        if len(endpoint.requests) > asked:
            sent_at.append(round(clock.now - start))
        clock.forward(1)
    assert sent_at == [0, 5, 15, 35, 75, 135, 195]
    assert len(set(map(id, errors))) == len(errors), "each caller has its own error"


def test_a_success_ends_the_growth_of_the_back_off(endpoint: Endpoint, clock: Clock) -> None:
    """After a success the next refusal is remembered for five seconds again."""
    tokens = source(endpoint)
    for _ in range(3):
        endpoint.script = [refusal()]
        with pytest.raises(TokenRequestError):
            tokens.token()
        clock.forward(5)
        tokens.token()
        expire(clock)


def test_a_changed_secret_is_tried_at_once(endpoint: Endpoint, tmp_path: Any) -> None:
    """A secret that changed in its file is sent by the next call, although a refusal is remembered."""
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


def test_the_error_of_a_secret_is_raised_after_a_refusal(endpoint: Endpoint) -> None:
    """The callable of a secret fails after a refusal: its own error is raised."""
    answers = iter(["one"])

    def secret() -> str:
        return next(answers)

    tokens = source(endpoint, ClientCredentials(URL, "client", secret))
    endpoint.script = [refusal()]
    with pytest.raises(TokenRequestError):
        tokens.token()
    with pytest.raises(ConfigurationError, match="StopIteration"):
        tokens.token()


@pytest.mark.parametrize(
    "trouble", [({}, 500), ({}, 504), TokenTransportError("down")], ids=["500", "504", "unreachable"]
)
def test_a_request_is_sent_three_times_at_most(endpoint: Endpoint, clock: Clock, trouble: Any) -> None:
    """Two retries follow within two seconds; a third failure is raised, and the next call sends a request again."""
    tokens = source(endpoint)
    for failures in (3, 2):
        endpoint.requests.clear()
        clock.sleeps.clear()
        endpoint.script = [trouble] * failures
        with pytest.raises((TokenRequestError, TokenTransportError)) if failures == 3 else contextlib.nullcontext():
            assert tokens.token().access_token == "token-1"
        assert (len(endpoint.requests), len(clock.sleeps)) == (3, 2)
        assert 0 < sum(clock.sleeps) < 2


def test_retries_end_with_the_timeout(endpoint: Endpoint, clock: Clock) -> None:
    """The timeout is for the whole token request: a retry that would exceed it is not sent."""

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
    """A Retry-After of two seconds is waited for, and the caller gets the token."""
    endpoint.script = [refusal("slow_down", status, retry_after="2")]
    assert source(endpoint).token().access_token == "token-1"
    assert clock.sleeps == [2.0]


@pytest.mark.parametrize(
    "trouble", [({}, 503, {"retry-after": "4"}), TokenTransportError("timed out")], ids=["503", "lost"]
)
def test_a_lifetime_counts_from_the_try_that_was_answered(endpoint: Endpoint, clock: Clock, trouble: Any) -> None:
    """A retry brings a token that lives for a second: it is used for that second, and not a new one requested."""

    def slow(answer: Any) -> Any:
        clock.forward(0.5)
        return answer

    endpoint.lifetime = 1
    endpoint.script = [lambda: slow(trouble), lambda: slow(endpoint.issue)]
    tokens = source(endpoint, refresh_ahead=False)
    token = tokens.token()
    assert token.expires_at == pytest.approx(clock.now + 0.5)  # the server may have issued it as soon as it was asked
    assert tokens.token() is token


@pytest.mark.parametrize(("asked", "kept"), [(100, 100), (86400, 3600)], ids=["100 seconds", "a day"])
def test_retry_after_that_does_not_fit_is_remembered(endpoint: Endpoint, clock: Clock, asked: int, kept: int) -> None:
    """A Retry-After is in the error, and no request is sent before it has passed, or before an hour has passed."""
    tokens = source(endpoint)
    endpoint.script = [refusal("slow_down", 429, retry_after=f"{asked}")]
    for pause in (kept - 1, 2):
        with pytest.raises(TokenRequestError) as caught:
            tokens.token()
        assert caught.value.retry_after == asked
        clock.forward(pause)
    assert len(endpoint.requests) == 1
    assert tokens.token().access_token == "token-1"


def test_429_without_a_time_is_final(endpoint: Endpoint, clock: Clock) -> None:
    """A 429 without Retry-After is raised without a retry."""
    endpoint.script = [refusal("slow_down", 429)]
    with pytest.raises(TokenRequestError):
        source(endpoint).token()
    assert (len(endpoint.requests), clock.sleeps) == (1, [])


@pytest.mark.parametrize(
    ("grant", "answer", "is_refused"),
    [
        (PASSWORD, refusal("invalid_grant", 400), True),
        (PASSWORD, ({}, 400), True),
        (CREDENTIALS, ({"error": "bad_refresh_token"}, 200), True),
        (CREDENTIALS, refusal("slow_down", 429), True),
        (PASSWORD, refusal("invalid_client", 401), False),
        (PASSWORD, refusal("slow_down", 429), False),
        (PASSWORD, ({}, 403, {"retry-after": "1"}), False),
        (CREDENTIALS, refusal("invalid_client", 401), False),
    ],
)
def test_only_a_refused_refresh_token_is_followed_by_the_grant(
    endpoint: Endpoint, clock: Clock, grant: Any, answer: Any, is_refused: bool
) -> None:
    """A refused refresh token costs one request by the grant; any other failure is raised, and sends no password."""
    endpoint.refresh_tokens = True
    tokens = source(endpoint, grant)
    tokens.token()
    expire(clock)
    endpoint.script = [answer]
    with contextlib.nullcontext() if is_refused else pytest.raises(TokenRequestError):
        assert tokens.token().refresh_token == "refresh-2"
    assert ["refresh_token=" in body for body in endpoint.bodies] == [False, True, *[False] * is_refused]
    expire(clock)
    tokens.token()
    assert f"refresh_token=refresh-{1 + is_refused}" in endpoint.bodies[-1]


def test_a_constant_refresh_token_that_is_refused_is_sent_once(endpoint: Endpoint, clock: Clock) -> None:
    """A server issues one refresh token and always refuses it: it is sent once, then the password at each expiry."""

    def play() -> Any:
        if "grant_type=refresh_token" in endpoint.bodies[-1]:
            return {}, 400
        members, status = endpoint.issue()
        return {**members, "refresh_token": "constant"}, status

    endpoint.script = [play] * 100
    tokens = source(endpoint, PASSWORD)
    for number in range(1, 5):
        assert tokens.token().access_token == f"token-{number}"
        expire(clock)
    assert ["refresh_token=constant" in body for body in endpoint.bodies] == [False, True, *[False] * 3]


def test_a_new_refresh_token_of_the_user_is_sent(endpoint: Endpoint, clock: Clock) -> None:
    """After its successor is refused, a refresh token that the user has put in meanwhile is sent."""
    endpoint.refresh_tokens = True
    own = ["mine"]
    tokens = source(endpoint, RefreshToken(URL, lambda: own[0]))
    tokens.token()
    own[0] = "new"
    expire(clock)
    endpoint.script = [refusal("invalid_grant", 400)]
    assert tokens.token().refresh_token == "refresh-2"
    assert sent(endpoint) == ["mine", "refresh-1", "new"]


def test_a_refused_refresh_token_of_the_grant_is_not_sent_twice(endpoint: Endpoint, clock: Clock) -> None:
    """The only refresh token is refused: the error is raised after one request."""
    tokens = source(endpoint, RefreshToken(URL, "mine"))
    endpoint.refresh_tokens = True
    endpoint.script = [({"access_token": "a", "expires_in": 3600, "refresh_token": "mine"}, 200)]
    tokens.token()
    expire(clock)
    endpoint.script = [refusal("invalid_grant", 400)]
    with pytest.raises(TokenRequestError, match="invalid_grant"):
        tokens.token()
    assert len(endpoint.requests) == 2


def test_a_refusal_that_may_be_one_of_permissions(endpoint: Endpoint, clock: Clock) -> None:
    """Such a refusal costs one token in 30 s, although others are accepted; a certain one goes by its own rule."""
    tokens = source(endpoint)

    def reject(*, is_certain: bool) -> bool:
        return tokens.reject(tokens.token(), is_certain=is_certain)

    assert reject(is_certain=False)
    tokens.accept(tokens.token())
    assert not reject(is_certain=False)
    assert reject(is_certain=True)
    clock.forward(29)
    assert not reject(is_certain=False)
    tokens.accept(tokens.token())
    assert not reject(is_certain=False)
    clock.forward(1)
    assert reject(is_certain=False)
    assert reject(is_certain=True)
    assert not reject(is_certain=True)
    clock.forward(29.5)
    assert not reject(is_certain=False)
    clock.forward(0.5)
    assert reject(is_certain=False)
    assert len(endpoint.requests) == 5


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("ending", [None, TokenSource.invalidate, TokenSource.reject, "revoke"])
def test_a_token_in_doubt_serves_while_no_other_can_be_had(
    endpoint: Endpoint, clock: Clock, ending: Any, is_async: bool
) -> None:
    """If the token endpoint is down after such a refusal, every caller gets the old token, unless it was given up."""
    tokens = source(endpoint)

    def token() -> Token:
        return asyncio.run(tokens.atoken()) if is_async else tokens.token()

    old = token()
    assert tokens.reject(old, is_certain=False)
    assert tokens.reject(old, is_certain=False)  # by another request
    if ending == "revoke":
        tokens.revoke()
    elif ending is not None:
        ending(tokens, old)
    endpoint.script = [refusal("invalid_client", 401)]
    if ending is None:
        assert (token(), token()) == (old, old)
    else:
        with pytest.raises(TokenRequestError, match="invalid_client"):
            token()
    clock.forward(3600)
    assert token().access_token == "token-2"


def test_a_new_token_is_sent_once_more_once(endpoint: Endpoint, clock: Clock) -> None:
    """A token is sent once more if it is younger than 5 s, once; also one whose time of issue is 5 s in the future."""
    clock.now = now = float(int(clock.now))
    tokens = source(endpoint)
    ages = {-5.0: False, -4.9: True, 0.0: True, 4.9: True, 5.0: False, now: False}
    for age, is_new in ages.items():
        token = Token(access_token=f"token of {age}", issued_at=now - age)
        settled = [rejections.settles(tokens, token) for _ in range(2)]
        assert settled == [is_new, False]
    assert len(tokens._state.settled) == 3


def test_a_doubted_token_is_restored_while_it_is_alive(endpoint: Endpoint, clock: Clock) -> None:
    """A token that is in doubt, or accepted after all, is used again, but not after its end or in place of another."""
    tokens = source(endpoint)
    token = tokens.token()

    def restored(*, is_accepted: bool = True) -> bool:
        rejections.restore(tokens, token, is_accepted=is_accepted)
        return tokens._state.token == token

    tokens.invalidate(token)
    assert not restored(is_accepted=False)
    assert restored()
    tokens.reject(token, is_certain=False)
    assert restored(is_accepted=False)
    assert tokens.token() == token
    tokens.invalidate(token)
    assert tokens.token() != token
    assert not restored()
    tokens.invalidate(tokens.token())
    expire(clock)
    assert not restored()


def test_invalidate_rejects_that_token_only(endpoint: Endpoint) -> None:
    """Fifty late reports of a rejected token leave the newer one alone; the refresh token replaces the rejected one."""
    endpoint.refresh_tokens = True
    tokens = source(endpoint, PASSWORD)
    first = tokens.token()
    tokens.invalidate(first)
    second = tokens.token()
    for _ in range(50):
        tokens.invalidate(first)
    assert tokens.token() is second
    assert ["refresh_token=" in body for body in endpoint.bodies] == [False, True]


def test_revoke_ends_a_remembered_refusal(endpoint: Endpoint) -> None:
    """After revoke() the next call sends a request, although a refusal was remembered."""
    tokens = source(endpoint)
    endpoint.script = [refusal()]
    with pytest.raises(TokenRequestError):
        tokens.token()
    tokens.revoke()
    assert tokens.token().access_token == "token-1"


def test_revoke_sends_both_tokens(endpoint: Endpoint) -> None:
    """Both tokens are revoked at the server (RFC 7009), and the next call starts from the grant."""
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


@pytest.mark.parametrize(
    ("answers", "raised"),
    [
        ([({}, 200), refusal("unsupported_token_type", 400)], None),
        ([({}, 200), ({"message": "gone"}, 404)], None),
        ([({}, 200), refusal("invalid_client", 401)], TokenRequestError),
        ([({}, 200), refusal("slow_down", 429)], TokenRequestError),
        ([({}, 200), ({}, 500), ({}, 500), ({}, 500)], TokenRequestError),
        ([({}, 200), *[TokenTransportError("down")] * 3], TokenTransportError),
        ([refusal("unsupported_token_type", 400), ({}, 200)], TokenRequestError),
        ([refusal("unsupported_token_type", 400), refusal("invalid_token", 400)], TokenRequestError),
    ],
    ids=["unsupported", "no code", "client", "later", "trouble", "unreachable", "refresh token", "both"],
)
def test_a_failed_revocation_is_raised_unless_the_access_token_is_dead(
    endpoint: Endpoint, answers: list[Any], raised: type[Exception] | None
) -> None:
    """Once the refresh token is revoked, a refusal for the access token is no error; any other failure is raised.

    Both tokens are tried, and forgotten, in each case.
    """
    endpoint.refresh_tokens = True
    tokens = source(endpoint, Password(URL, "me", "pw", revocation_url="https://id.example.com/revoke"))
    tokens.token()
    endpoint.script = answers
    with pytest.raises(raised) if raised else contextlib.nullcontext():
        tokens.revoke()
    assert endpoint.script == []
    assert tokens.token().access_token == "token-2"
    assert "password=pw" in endpoint.bodies[-1]


def test_a_second_access_token_that_cannot_be_revoked_is_an_error(endpoint: Endpoint, clock: Clock) -> None:
    """One refresh token is revoked, and with it one access token; that another access token is refused is raised."""
    grant = ClientCredentials(URL, "client", "s3cr3t", revocation_url=f"{URL}/revoke")
    cache = LockingCache()
    tokens = source(endpoint, grant, cache=cache)
    tokens.token()
    forget()
    other = source(endpoint, grant, cache=cache)
    other.invalidate(other.token())
    endpoint.refresh_tokens = True
    other.token()
    endpoint.script = [({}, 200), ({}, 200), refusal("invalid_request", 400)]
    with pytest.raises(TokenRequestError, match="invalid_request"):
        tokens.revoke()
    assert endpoint.script == []


def test_a_token_that_another_thread_fetched_is_used(endpoint: Endpoint) -> None:
    """A token fetched by another thread while this one waited for the lock is used; no second request is made."""
    cache = MemoryCache()
    tokens, other = source(endpoint, cache=cache), source(endpoint, cache=cache)
    cache.lock = HookedLock(before=other.token)  # type: ignore[assignment]
    assert tokens.token() is other.token()
    assert len(endpoint.requests) == 1


def test_a_source_says_what_it_is_for_and_no_secret(endpoint: Endpoint) -> None:
    """The repr of a source shows the grant without its secret, and no token."""
    tokens = source(endpoint)
    assert "client" in repr(tokens)
    assert "s3cr3t" not in repr(tokens) + str(vars(tokens))
    assert "token-1" not in repr(tokens.token()) + str(tokens.token())


def test_without_a_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any of the three libraries the error names what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'auth-plugins\[requests\]'"):
        TokenSource(ClientCredentials(URL, "c", "s")).token()


@pytest.mark.parametrize("library", ["requests", "httpx2", "httpx"])
def test_a_source_sends_by_the_installed_library(
    server: Any, grant: ClientCredentials, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that the user made sends by the library that is installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == library or None)
    assert TokenSource(grant).token().access_token == "token-1"
    agent = server.token_requests[0].headers["user-agent"]
    assert agent.startswith(
        {"requests": "python-requests", "httpx": "python-httpx/", "httpx2": "python-httpx2"}[library]
    )


def test_atoken_outside_of_a_loop_says_so(endpoint: Endpoint) -> None:
    """A usable token needs no loop; to wait for one does, and the error says so."""
    tokens = source(endpoint)
    with pytest.raises(RuntimeError, match="no running event loop"):
        tokens.atoken().send(None)
    token = tokens.token()
    with pytest.raises(StopIteration) as stopped:
        tokens.atoken().send(None)
    assert stopped.value.value is token


def test_atoken_refreshes_in_the_background_too(endpoint: Endpoint, clock: Clock) -> None:
    """In a loop as in a thread: the old token serves while a new one is fetched."""
    tokens = source(endpoint)
    first = asyncio.run(tokens.atoken())
    clock.forward(3600 - 180)
    assert asyncio.run(tokens.atoken()) is first
    assert wait_for(lambda: asyncio.run(tokens.atoken()) is not first)


class TestCache:
    """Which states a memory cache keeps, and which it drops."""

    def grants(self, count: int, start: int = 0) -> list[ClientCredentials]:
        return [ClientCredentials(URL, f"client-{number}", "s") for number in range(start, start + count)]

    def swept(self, endpoint: Endpoint, grant: ClientCredentials, cache: MemoryCache, clock: Clock) -> TokenSource:
        """A source whose token expired before thousands of others came, for which *cache* swept what was not needed."""
        mine = source(endpoint, grant, cache=cache)
        mine.token()
        expire(clock)
        for other in self.grants(2000, start=1):
            source(endpoint, other, cache=cache)
        return mine

    def test_live_tokens_stay_though_no_source_is_left(self, endpoint: Endpoint) -> None:
        """The tokens of a thousand sources that were made for one call each are found again by later sources."""
        cache = MemoryCache()
        for grant in self.grants(1000) * 2:
            source(endpoint, grant, cache=cache).token()
        assert len(endpoint.requests) == 1000

    def test_a_token_that_replaced_an_expired_one_stays(self, endpoint: Endpoint, clock: Clock) -> None:
        """A source fetches a token after its state was swept: a later source finds it when the first one is gone."""
        cache = MemoryCache()
        [grant] = self.grants(1)
        mine = self.swept(endpoint, grant, cache, clock)
        token = mine.token()
        del mine
        gc.collect()
        assert source(endpoint, grant, cache=cache).token() is token

    def test_a_source_that_was_not_used_for_long_shares_its_token(self, endpoint: Endpoint) -> None:
        """A source that was made long before its first use shares the token of one that is made later."""
        cache = MemoryCache()
        [grant] = self.grants(1)
        mine = source(endpoint, grant, cache=cache)
        for other in self.grants(600, start=1):
            source(endpoint, other, cache=cache)
        later = source(endpoint, grant, cache=cache)
        assert mine.token() is later.token()

    def test_a_refresh_token_outlives_its_token(self, endpoint: Endpoint, clock: Clock) -> None:
        """A refresh token is kept after its token has expired, among thousands of others."""
        cache = MemoryCache()
        endpoint.refresh_tokens = True
        source(endpoint, PASSWORD, cache=cache).token()
        endpoint.refresh_tokens = False
        expire(clock)
        for other in self.grants(2000):
            source(endpoint, other, cache=cache)
        source(endpoint, PASSWORD, cache=cache).token()
        assert "refresh_token=refresh-1" in endpoint.bodies[-1]

    def test_a_token_that_is_not_used_for_a_day_is_dropped(self, endpoint: Endpoint, clock: Clock) -> None:
        """A token without an end is dropped after a day without use."""
        cache = MemoryCache()
        endpoint.lifetime = None
        for grant in self.grants(300):
            source(endpoint, grant, cache=cache).token()
        clock.forward(86401)
        for grant in self.grants(600, start=300):
            source(endpoint, grant, cache=cache).token()
        assert len(cache._states) < 700

    def test_a_refusal_is_kept_while_it_counts(self, endpoint: Endpoint, clock: Clock) -> None:
        """A refusal is remembered for sources that are made later, among thousands of others."""
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
        """A grant state is kept while its token is fetched, however many others are made meanwhile."""
        cache = MemoryCache()
        [grant] = self.grants(1)

        def crowded() -> Any:
            for other in self.grants(600, start=1):
                source(endpoint, other, cache=cache)
            return endpoint.issue

        endpoint.script = [crowded]
        token = source(endpoint, grant, cache=cache).token()
        assert source(endpoint, grant, cache=cache).token() is token


def test_every_number_is_named() -> None:
    """The times in the documentation are those in the code."""
    seconds = (negative_cache.SHORTEST_BACK_OFF, negative_cache.LONGEST_BACK_OFF, rejections.PROBATION)
    least, most, window = (f"{each:g}" for each in seconds)
    assert f"for {least} to {most} seconds" in (TokenSource.token.__doc__ or "")
    assert f"most every {window} seconds" in (TokenSource.reject.__doc__ or "")
    parameters = inspect.signature(TokenSource).parameters
    defaults = {name: parameters[name].default for name in ("leeway", "timeout", "refresh_ahead")}
    assert defaults == {"leeway": _source.DEFAULT_LEEWAY, "timeout": _source.DEFAULT_TIMEOUT, "refresh_ahead": True}
    root = Path(__file__).parents[2]
    if not (root / "docs").exists():  # the package alone is tested
        return
    behaviour, security, sharing = (
        " ".join((root / name).read_text("utf-8").split())
        for name in ("docs/guides/behaviour.rst", "SECURITY.rst", "docs/sharing.rst")
    )
    assert f"one token request in {window} seconds" in security
    assert f"``leeway`` of {_source.DEFAULT_LEEWAY:g} seconds" in sharing
    share, timeout = _source.LEASE_SHARE, _source.DEFAULT_TIMEOUT
    lease = f"{share * timeout:g} seconds"
    wait = f"{share * timeout + shared_fetch.LOCK_GRACE:g} seconds ({share:g} \N{MULTIPLICATION SIGN} ``timeout``"
    assert f"{share:g} times the ``timeout``, {lease} by default" in sharing
    assert wait in sharing
    assert f"For {least} to {most} s the same error is raised without contacting the server" in behaviour
    assert f"at most one new token is requested every {window} s" in behaviour


@pytest.mark.parametrize("reject", [TokenSource.reject, TokenSource.invalidate])
def test_a_rejection_ends_a_remembered_refusal(endpoint: Endpoint, clock: Clock, reject: Any) -> None:
    """A refresh was refused, then an API rejects the token: the next call sends a request at once."""
    tokens = source(endpoint)
    token = tokens.token()
    endpoint.script = [refusal()]
    clock.forward(3600 - 180)
    tokens.token()
    assert wait_for(lambda: tokens._state.failure is not None and tokens._state.flight is None)
    assert reject(tokens, token) is not False
    assert tokens.token().access_token == "token-2"


def test_a_waiter_waits_as_long_as_the_attempt_may_take(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of short timeout waits for an attempt of a longer one, and the other way round, and a second more."""
    waits: list[float] = []
    monkeypatch.setattr(runtime, "wait", lambda _, seconds: waits.append(seconds))
    for first, second in ((30.0, 0.1), (30.0, 30.0), (0.1, 30.0)):
        cache = MemoryCache()
        unfinished(source(endpoint, timeout=first, cache=cache))
        with pytest.raises(TokenTransportError, match="timed out waiting"):
            source(endpoint, timeout=second, cache=cache).token()
    assert waits == pytest.approx([31.0] * 3, abs=0.5)


# A clock that was wrong.


def test_a_token_of_a_clock_that_was_ahead_is_replaced(endpoint: Endpoint, clock: Clock) -> None:
    """The clock was years ahead as the token came, and was put right: the token is not used for years."""
    tokens = source(endpoint)
    clock.forward(10 * 365 * 86400)
    assert [tokens.token().access_token for _ in range(3)] == ["token-1"] * 3
    clock.forward(-10 * 365 * 86400)
    assert [tokens.token().access_token for _ in range(3)] == ["token-2"] * 3
    assert asyncio.run(tokens.atoken()).access_token == "token-2"


def test_clocks_may_differ_by_minutes(endpoint: Endpoint, clock: Clock) -> None:
    """The clock is set back by five minutes, or another machine's is ahead by as much: the token stays in use."""
    tokens = source(endpoint)
    first = tokens.token()
    clock.forward(-300)
    assert tokens.token() is first
    clock.forward(-1)
    assert tokens.token() is not first


# The log.


def test_each_token_is_logged(endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """INFO logs the origin of each token without its query, what was sent, how long that took, and the expiry."""
    caplog.set_level(logging.INFO, "auth_plugins")
    endpoint.refresh_tokens = True
    clock.now = 1_800_000_000.0
    tokens = source(endpoint, Password(f"{URL}?key=k3y", "me", "pw"))

    def slowly() -> Any:
        clock.forward(0.5)
        return endpoint.issue

    endpoint.script = [slowly]
    tokens.token()
    expire(clock)
    endpoint.lifetime = None
    tokens.token()
    assert logged(caplog, logging.INFO) == [
        f"{URL} issued a token (Password) in 0.50 s; it expires at 2027-01-15 09:00:00 UTC",
        f"{URL} issued a token (refresh token) in 0.00 s; it tells no expiry",
    ]


def test_retries_and_refusals_are_logged_at_debug(
    endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """DEBUG logs retries, remembered refusals and background refreshes; a warm call logs nothing."""
    caplog.set_level(logging.DEBUG, "auth_plugins")
    tokens = source(endpoint)
    endpoint.script = [({}, 503), refusal()]
    with pytest.raises(TokenRequestError):
        tokens.token()
    clock.forward(10)
    tokens.token()
    clock.forward(3600 - 180)
    tokens.token()
    assert wait_for(lambda: tokens.token().access_token == "token-2" and len(logged(caplog, logging.DEBUG)) == 5)
    retry, refused, first, renewal, second = logged(caplog, logging.DEBUG)
    assert retry.startswith(f"{URL} did not answer, or answered an error; retrying in ")
    assert refused == "a refusal is remembered for 5 s"
    assert (first[: len(URL)], second[: len(URL)]) == (URL, URL)
    assert renewal == "a token is refreshed in the background"
    caplog.clear()
    for _ in range(3):
        tokens.token()
    assert caplog.records == []


def test_a_refused_refresh_token_is_logged_at_debug(
    endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """DEBUG says that a refresh token was refused, and that the credentials are sent in its place."""
    caplog.set_level(logging.DEBUG, "auth_plugins")
    endpoint.refresh_tokens = True
    tokens = source(endpoint, PASSWORD)
    tokens.token()
    expire(clock)
    endpoint.script = [refusal("invalid_grant", 400)]
    tokens.token()
    assert "the refresh token was refused (400); the credentials are sent (Password)" in logged(caplog, logging.DEBUG)


def test_an_api_that_rejects_new_tokens_is_logged_once(
    endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An API refuses fresh tokens too: one warning in 30 seconds, however many requests are refused."""
    tokens, other = source(endpoint), source(endpoint)
    assert tokens.reject(tokens.token())
    for _ in range(20):
        assert not tokens.reject(tokens.token())
        assert not other.reject(other.token())
        clock.forward(1)
    assert logged(caplog) == [
        f"an API rejects new tokens of {URL} too; check audience and scope, and that the API trusts this server"
    ]
    clock.forward(11)
    assert tokens.reject(tokens.token())
    assert not tokens.reject(tokens.token())
    assert len(logged(caplog)) == 2


def test_an_api_that_rejects_each_proof_is_logged_as_such(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Where new tokens of type DPoP are refused, the warning names the proof and its URL too."""
    tokens = source(endpoint, ClientCredentials(URL, "client", "s3cr3t", dpop=True))
    endpoint.script = [({"access_token": name, "token_type": "DPoP"}, 200) for name in ("first", "second")]
    assert [tokens.reject(tokens.token()) for _ in range(2)] == [True, False]
    [line] = logged(caplog)
    assert "; if the API refuses the DPoP proof instead, check this machine's clock" in line
    assert "by the URL that is requested, as a proxy may change it" in line


def test_a_log_handler_may_need_the_token(endpoint: Endpoint) -> None:
    """A handler sends the log by an API that wants this very token: it gets the one that is logged."""
    tokens = source(endpoint)
    shipped = []

    class Shipping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shipped.append(tokens.token().access_token)

    handler = Shipping(logging.INFO)
    logging.getLogger("auth_plugins").addHandler(handler)
    try:
        tokens.token()
    finally:
        logging.getLogger("auth_plugins").removeHandler(handler)
    assert shipped == ["token-1"]


# A token endpoint that issues one token until it expires.


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
