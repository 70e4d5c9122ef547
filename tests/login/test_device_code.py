"""People sign in with any browser, and enter a code there: the device authorization grant."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from auth_plugins import (
    ConfigurationError,
    DeviceCode,
    InsecureTransportError,
    LoginRequiredError,
    MemoryCache,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
    add_observer,
    remove_observer,
)
from auth_plugins._base.runtime import runtime
from tests.support.drivers import ALL, Driver, each, succeeded
from tests.support.loopback import Clock, Loopback
from tests.support.sign_in import SignIn
from tests.support.sources import Endpoint, source, wait_for

TOKEN, DEVICE = "https://id.example.com/token", "https://id.example.com/device"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def login(server: Loopback) -> SignIn:
    return SignIn(server)


@pytest.fixture
def pauses(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each wait, in which the clock goes on."""
    waited: list[float] = []

    def wait(_: Future[Any], seconds: float) -> None:
        waited.append(seconds)
        clock.forward(seconds)

    monkeypatch.setattr(runtime, "wait", wait)
    return waited


def fresh(grant: DeviceCode) -> TokenSource:
    return TokenSource(grant, cache=MemoryCache())


@pytest.mark.parametrize("driver", each(ALL))
def test_a_person_enters_one_code(login: SignIn, driver: Driver, server: Loopback) -> None:
    """20 callers ask one person; later the token is refreshed without one. The id is in the form, besides Basic."""
    shown: list[tuple[str, str]] = []
    login.outcomes = ["authorization_pending"]
    grant = login.of_device(
        client_secret="5ecr3t-of-client", scope="read", audience="api", prompt=lambda *given: shown.append(given)
    )
    assert succeeded(driver.get_all(server.api_url, [driver.auth(grant) for _ in range(20)]))
    assert shown == [(f"{server.url}/activate", "WDJB-MJHT")]
    assert login.devices == [{"client_id": "the-client", "scope": "read", "audience": "api"}]
    polls = [each for each in login.tokens if each["grant_type"] == GRANT_TYPE]
    sent = {"grant_type": GRANT_TYPE, "device_code": "device-1-secret", "client_id": "the-client", "audience": "api"}
    assert polls == [sent, sent]
    basic = [each.headers.get("authorization", "") for each in server.api_requests if each.target == "/device"]
    assert basic[0].startswith("Basic ")
    server.revoke()
    assert driver.get(server.api_url, driver.auth(grant)).status == 200
    assert login.tokens[-1]["grant_type"] == "refresh_token"


@pytest.mark.parametrize(
    ("device", "outcomes", "expected"),
    [
        ({"interval": None}, ["authorization_pending"] * 2, [5, 5, 5]),
        ({"interval": "7"}, ["authorization_pending"], [7, 7]),
        ({"interval": 0}, ["authorization_pending"], [1, 1]),
        ({"interval": True}, [], [5]),
        ({"interval": "soon"}, [], [5]),
        ({"interval": 5}, ["slow_down", "authorization_pending", "slow_down"], [5, 10, 10, 15]),
        ({"interval": 5, "expires_in": None}, [({"error": "server_error"}, 500)] * 3, [5, 10]),
        ({"interval": 50, "expires_in": 900}, [({}, 503)] * 3 + ["authorization_pending"], [50, 60, 60]),
        ({"interval": 1, "expires_in": 900}, [({"error": "slow_down"}, 429)], [1, 6]),
        ({"interval": 1, "expires_in": 900}, [({"error": "temporarily_unavailable"}, 400)], [1, 2]),
    ],
)
def test_the_interval(
    login: SignIn, pauses: list[float], device: dict[str, Any], outcomes: list[Any], expected: list[float]
) -> None:
    """It is the server's, or 5 s; ``slow_down`` adds 5 s, and trouble doubles it, up to a minute (RFC 8628 §3.5)."""
    login.device = {name: value for name, value in {"expires_in": 600, **device}.items() if value is not None}
    login.outcomes = list(outcomes)
    assert fresh(login.of_device()).token().access_token == "token-1"
    assert pauses == expected


@pytest.mark.parametrize(
    ("outcomes", "error", "words"),
    [
        (["authorization_pending", "access_denied"], "access_denied", "was denied"),
        (["authorization_declined"], "authorization_declined", "was denied"),
        (["expired_token"], "expired_token", "expired"),
        (["authorization_pending"] * 100, "expired_token", "expired"),
        (["invalid_grant"], "invalid_grant", "sign in again"),
    ],
)
@pytest.mark.usefixtures("pauses")
def test_a_login_that_fails(login: SignIn, outcomes: list[str], error: str, words: str) -> None:
    """It is one LoginRequiredError that says why, and is remembered."""
    login.outcomes = outcomes
    source = fresh(login.of_device())
    for _ in range(2):
        with pytest.raises(LoginRequiredError, match=words) as caught:
            source.token()
        assert caught.value.error == error
        assert not caught.value.transient
    assert len(login.devices) == 1


@pytest.mark.usefixtures("pauses")
def test_observers_get_the_outcome_only(login: SignIn) -> None:
    """That a person has not entered the code yet is no refusal."""
    events: list[tuple[str, str | None]] = []
    add_observer(observer := lambda event: events.append((event.kind, getattr(event.error, "error", None))))
    try:
        for outcome, expected in (["access_denied"], ("refused", "access_denied")), ([], ("obtained", None)):
            login.outcomes = ["authorization_pending", "slow_down", *outcome]
            with contextlib.suppress(LoginRequiredError):
                fresh(login.of_device()).token()
            assert events == [expected]
            events.clear()
    finally:
        remove_observer(observer)


@pytest.mark.usefixtures("pauses")
def test_another_refusal_is_raised_as_it_is(login: SignIn) -> None:
    """A client that is refused is no matter of signing in."""
    login.outcomes = [({"error": "invalid_client"}, 401)]
    with pytest.raises(TokenRequestError) as caught:
        fresh(login.of_device()).token()
    assert caught.value.error == "invalid_client"
    assert not isinstance(caught.value, LoginRequiredError)


@pytest.mark.usefixtures("pauses")
def test_a_token_endpoint_that_comes_back(clock: Clock) -> None:
    """A connection error while the code lives is no end of the login (RFC 8628 §3.5)."""
    endpoint = Endpoint(clock)
    device = {"device_code": "device-1", "user_code": "WDJB", "verification_uri": DEVICE, "expires_in": 60}
    endpoint.script = [(device, 200), *[TokenTransportError("down")] * 3]
    grant = DeviceCode(TOKEN, "id", device_url=DEVICE, prompt=lambda *_: None)
    assert source(endpoint, grant, cache=MemoryCache()).token().access_token == "token-1"
    assert [request.url for request in endpoint.requests] == [DEVICE, *[TOKEN] * 4]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"device_code": ""}, "no device_code"),
        ({"user_code": None}, "no user_code"),
        ({"user_code": "a\x1b[2J"}, "no user_code"),
        ({"verification_uri": "javascript:alert(1)"}, "no verification_uri"),
        ({"verification_uri": 5}, "no verification_uri"),
    ],
)
def test_a_device_endpoint_that_is_none(login: SignIn, answer: dict[str, Any], words: str) -> None:
    """The error names what is missing, and no one is asked."""
    login.device = answer
    with pytest.raises(TokenRequestError, match=words):
        fresh(login.of_device(prompt=lambda *_: pytest.fail("asked"))).token()


def test_a_device_endpoint_that_refuses(login: SignIn, server: Loopback) -> None:
    """Its error is raised as that of the token endpoint is."""
    with pytest.raises(TokenRequestError) as caught:
        fresh(login.of_device(device_url=f"{server.url}/elsewhere")).token()
    assert caught.value.error == "invalid_token"
    login.device = {"verification_uri": "http://id.example.com/activate"}
    with pytest.raises(InsecureTransportError):
        fresh(login.of_device()).token()


@pytest.mark.usefixtures("pauses")
def test_what_a_prompt_is_given(login: SignIn, server: Loopback) -> None:
    """One argument: the URL that holds the code, if there is one; two: the plain URL, and the code."""
    shown: list[Any] = []
    cases: list[tuple[dict[str, Any], Any, str]] = [
        ({}, shown.append, "/activate"),
        ({"verification_uri_complete": f"{server.url}/activate?c=1"}, shown.append, "/activate?c=1"),
        ({"verification_uri": None, "verification_url": f"{server.url}/go"}, lambda url, _: shown.append(url), "/go"),
        ({"verification_uri_complete": "data:,x"}, shown.append, "/activate"),
    ]
    for device, prompt, expected in cases:
        login.device = device
        fresh(login.of_device(prompt=prompt)).token()
        assert wait_for(lambda: len(shown) == 1)
        assert shown.pop() == f"{server.url}{expected}"


def test_a_prompt_that_fails(login: SignIn) -> None:
    """The login ends at once."""
    login.device = {"interval": 60}
    ended = threading.Event()

    def fail(*_: str) -> None:
        ended.set()
        raise LookupError

    with pytest.raises(LoginRequiredError, match="prompt raised LookupError"):
        fresh(login.of_device(prompt=fail)).token()
    assert ended.is_set()
    assert login.tokens == []


@pytest.mark.usefixtures("pauses")
def test_an_issuer_names_the_endpoint(login: SignIn) -> None:
    """Both endpoints come from the metadata; one without it is an error."""
    assert fresh(DeviceCode(login.publish(), "the-client", prompt=lambda *_: None)).token().access_token == "token-1"


def test_an_issuer_without_the_endpoint(login: SignIn) -> None:
    """The error names the argument."""
    issuer = login.publish(device_authorization_endpoint=None)
    with pytest.raises(ConfigurationError, match="device_url is needed"):
        fresh(DeviceCode(issuer, "the-client", prompt=lambda *_: None)).token()
    with pytest.raises(ConfigurationError, match="device_url is needed"):
        DeviceCode(TOKEN, "id")


@pytest.mark.usefixtures("pauses")
def test_other_names_and_parameters(login: SignIn) -> None:
    """Names and params hold for both endpoints."""
    grant = login.of_device(names={"client_id": "app_id"}, params={"tenant": "a"})
    fresh(grant).token()
    assert login.devices == [{"app_id": "the-client", "tenant": "a"}]
    assert login.tokens[0].keys() == {"grant_type", "device_code", "app_id", "tenant"}


def test_what_a_token_depends_on() -> None:
    """The prompt does not count; no one is asked without one."""
    grant, silent = DeviceCode(TOKEN, "id", device_url=DEVICE), DeviceCode(TOKEN, "id", device_url=DEVICE, prompt=None)
    assert grant == silent
    assert grant.identity() == silent.identity()
    with pytest.raises(LoginRequiredError, match="prompt is None"):
        fresh(silent).token()
