"""The sandbox's system where people sign in, spoken to by HTTP as its document says, and by the grants."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from auth_plugins import AuthorizationCode, DeviceCode, Issuer, LoginRequiredError, MemoryCache, TokenSource
from auth_plugins._base.runtime import runtime
from auth_plugins.sandbox import Sandbox, SignInApi
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Clock

VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
BACK = "http://127.0.0.1:1/callback?a=b"
QUERY = {
    "response_type": "code", "client_id": "sign-in-client", "redirect_uri": BACK, "state": "s",
    "code_challenge": CHALLENGE, "code_challenge_method": "S256",
}  # fmt: skip
ADA = {"username": "ada@example", "password": "analytical & engine = ü", "answer": "allow"}
CLIENT = {"client_id": "sign-in-client"}
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def system(clock: Clock) -> Iterator[SignInApi]:
    with Sandbox(clock=clock.time) as sandbox:
        yield sandbox["sign-in-api"]


def post(system: SignInApi, path: str, **form: str) -> Any:
    answer = requests.post(f"{system.url}{path}", data=form, timeout=10)
    return answer.status_code, answer.json()


def ask(system: SignInApi, changes: dict[str, str | None], person: dict[str, str]) -> tuple[int, dict[str, str]]:
    """What comes of an authorization request: the status, and the parameters that the browser brings back."""
    query = {name: value for name, value in {**QUERY, **changes}.items() if value is not None}
    url = f"{system.url}/authorize"
    page = requests.get(url, params=query, allow_redirects=False, timeout=10)
    if page.status_code == 200:
        page = requests.post(page.url, data=person, allow_redirects=False, timeout=10)
    return page.status_code, dict(parse_qsl(urlsplit(page.headers.get("Location", "")).query))


def code_of(system: SignInApi) -> str:
    return ask(system, {}, ADA)[1]["code"]


def trade(system: SignInApi, code: str, **changes: str) -> Any:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER, **CLIENT}
    return post(system, "/oauth/token", **{**form, **changes})


@pytest.mark.parametrize(
    ("changes", "person", "expected"),
    [
        ({"client_id": "other"}, ADA, 400),
        ({"redirect_uri": "http://evil.example.com/callback"}, ADA, 400),
        ({"redirect_uri": None}, ADA, 400),
        ({"redirect_uri": "http://["}, ADA, 400),
        ({"redirect_uri": f"{BACK}\r\nX-Header: 1"}, ADA, 400),
        ({"redirect_uri": f"{BACK}#fragment"}, ADA, 400),
        ({}, {**ADA, "password": "guessed"}, 403),
        ({}, {}, 403),
        ({"response_type": "token"}, ADA, "unsupported_response_type"),
        ({"scope": "all"}, ADA, "invalid_scope"),
        ({"code_challenge": None}, ADA, "invalid_request"),
        ({"code_challenge_method": "plain"}, ADA, "invalid_request"),
        ({}, {**ADA, "answer": "deny"}, "access_denied"),
    ],
)
def test_an_authorization_request_without_a_code(
    system: SignInApi, changes: dict[str, str | None], person: dict[str, str], expected: int | str
) -> None:
    """An unknown client or URI is sent nowhere; all else comes back as an error, with ``state`` and ``iss``."""
    status, answer = ask(system, changes, person)
    if isinstance(expected, int):
        assert (status, answer) == (expected, {})
    else:
        assert (status, answer) == (303, {"a": "b", "state": "s", "iss": system.url, "error": expected})


def test_a_code_is_used_once(system: SignInApi) -> None:
    """The second use revokes what the first one brought (RFC 6749 §4.1.2)."""
    status, answer = ask(system, {"state": None}, ADA)
    assert (status, set(answer)) == (303, {"a", "code", "iss"})
    status, token = trade(system, answer["code"])
    assert (status, set(token)) == (200, {"access_token", "refresh_token", "token_type", "expires_in"})
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert requests.get(system.api_url, headers=headers, timeout=10).status_code == 200
    assert trade(system, answer["code"])[1]["error_description"] == "the code was used"
    assert requests.get(system.api_url, headers=headers, timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("changes", "seconds", "error"),
    [
        ({"code": "guessed"}, 0, "invalid_grant"),
        ({"code_verifier": "w" * 43}, 0, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:2/callback"}, 0, "invalid_grant"),
        ({"client_id": "other"}, 0, "invalid_client"),
        ({"grant_type": "password"}, 0, "unsupported_grant_type"),
        ({"scope": "all"}, 0, "invalid_request"),
        ({}, 61, "invalid_grant"),
    ],
)
def test_a_code_of_another(system: SignInApi, clock: Clock, changes: dict[str, str], seconds: int, error: str) -> None:
    """A code is of use for one program and a minute."""
    code = code_of(system)
    clock.forward(seconds)
    assert trade(system, **{"code": code, **changes})[1]["error"] == error


def test_refresh_tokens_are_rotated_and_revoked(system: SignInApi) -> None:
    """Each is used once; a token that is revoked takes all of its login with it."""
    first = trade(system, code_of(system))[1]
    form = {"grant_type": "refresh_token", **CLIENT}
    second = post(system, "/oauth/token", refresh_token=first["refresh_token"], **form)[1]
    assert post(system, "/oauth/token", refresh_token=first["refresh_token"], **form)[1]["error"] == "invalid_grant"
    assert system.reuses == 1
    for kind in ("refresh_token", "access_token"):
        token = trade(system, code_of(system))[1]
        assert post(system, "/revoke", token=token[kind], token_type_hint=kind, **CLIENT) == (200, {})
        assert post(system, "/oauth/token", refresh_token=token["refresh_token"], **form)[0] == 400
    assert post(system, "/revoke", token=second["access_token"], token_type_hint="", **CLIENT) == (200, {})
    assert post(system, "/revoke", token="x", token_type_hint="", client_id="other")[0] == 401
    assert post(system, "/revoke", token="x")[1]["error"] == "invalid_request"
    assert requests.post(f"{system.url}/revoke", data="a=b&a=c", timeout=10).status_code == 400


def test_a_device(system: SignInApi, clock: Clock) -> None:
    """Pending, too soon, wrong codes and passwords, denied, allowed, used and expired (RFC 8628 §3.5)."""

    def begin() -> tuple[str, str]:
        status, device = post(system, "/device", **CLIENT)
        assert (status, device["interval"], device["expires_in"]) == (200, 1, 600)
        assert re.fullmatch("[A-Z]{4}-[A-Z]{4}", device["user_code"])
        page = requests.get(device["verification_uri_complete"], timeout=10).text
        assert device["user_code"] in page
        return device["device_code"], device["user_code"]

    def poll(code: str, seconds: float) -> str:
        clock.forward(seconds)
        answer = post(system, "/oauth/token", grant_type=DEVICE, device_code=code, **CLIENT)[1]
        return str(answer.get("error", "issued"))

    def enter(user_code: str, **changes: str) -> int:
        form = {**ADA, "user_code": user_code, **changes}
        return requests.post(f"{system.url}/activate", data=form, timeout=10).status_code

    code, user_code = begin()
    assert [poll(code, 1), poll(code, 0.1), poll(code, 1), poll(code, 11)] == [
        "authorization_pending", "slow_down", "slow_down", "authorization_pending"
    ]  # fmt: skip
    assert (enter("WRNG-WRNG"), enter(user_code, password="guessed")) == (404, 403)
    assert (enter(user_code), enter(user_code)) == (200, 404)
    assert (poll(code, 11), poll(code, 11)) == ("issued", "invalid_grant")
    code, user_code = begin()
    assert enter(user_code, answer="deny") == 200
    assert (poll(code, 1), poll("guessed", 1)) == ("access_denied", "invalid_grant")
    code, user_code = begin()
    assert poll(code, 600) == "expired_token"
    assert enter(user_code) == 404
    assert post(system, "/device", client_id="other")[0] == 401


@pytest.mark.parametrize("driver", each(ALL))
def test_the_person_signs_in(system: SignInApi, driver: Driver) -> None:
    """The person of the sandbox is a prompt; the variables make the grant; a login is refreshed, and revoked."""
    grant = AuthorizationCode(Issuer(system.url), system.client_id, prompt=system.person)
    auth = driver.auth(grant)
    for _ in range(2):
        assert driver.get(system.api_url, auth).status == 200
        system.revoke()
    assert [seen.grant_type for seen in system.token_requests] == ["authorization_code", "refresh_token"]
    auth.source.revoke()
    assert [(seen.method, seen.target) for seen in system.visits][-2:] == [("POST", "/revoke")] * 2
    assert system.variables("ACME").keys() == {"ACME_ISSUER", "ACME_CLIENT_ID", "ACME_GRANT_TYPE"}


@pytest.mark.parametrize("wait", [None, "authorization_pending", "expired_token"])
def test_the_person_enters_a_code(
    system: SignInApi, clock: Clock, monkeypatch: pytest.MonkeyPatch, wait: str | None
) -> None:
    """At once, after a while, or too late."""
    late: list[tuple[str, str]] = []

    def pause(_: Any, seconds: float) -> None:
        clock.forward(seconds)
        if late and wait != "expired_token":
            system.person(*late.pop())

    monkeypatch.setattr(runtime, "wait", pause)
    prompt = system.person if wait is None else lambda url, code: late.append((url, code))
    source = TokenSource(DeviceCode(Issuer(system.url), system.client_id, prompt=prompt), cache=MemoryCache())
    if wait == "expired_token":
        with pytest.raises(LoginRequiredError, match="expired"):
            source.token()
    else:
        assert source.token().refresh_token
