"""Errors: two base classes, text and attributes, pickles and copies."""

from __future__ import annotations

import pickle
from typing import Any

import httpx
import httpx2
import pytest
import requests

import auth_plugins.httpx
import auth_plugins.httpx2
import auth_plugins.requests
from auth_plugins import (
    AuthError,
    ClientCredentials,
    ConfigurationError,
    InsecureTransportError,
    LoginRequiredError,
    Password,
    RefreshToken,
    SecretFile,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._base import errors as _errors
from tests.support.drivers import ALL, SYNC, Driver, each
from tests.support.loopback import Loopback, Received, as_json

LIBRARIES: dict[str, tuple[Any, type[Exception], type[Exception]]] = {
    # the adapter, the library's base error, and its error for what could not be reached
    "requests": (auth_plugins.requests, requests.RequestException, requests.ConnectionError),
    "httpx": (auth_plugins.httpx, httpx.RequestError, httpx.TransportError),
    "httpx2": (auth_plugins.httpx2, httpx2.RequestError, httpx2.TransportError),
}
KINDS: list[type[AuthError]] = [
    ConfigurationError, InsecureTransportError, LoginRequiredError, TokenRequestError, TokenTransportError
]  # fmt: skip
DETAILS: dict[str, Any] = {
    "error": "slow_down", "description": "Easy!", "uri": "https://e.example", "status_code": 429, "retry_after": 7.5,
}  # fmt: skip


def filled(kind: type[Any]) -> Any:
    """Return an error of *kind* with a cause and a traceback, and all attributes where it has some."""
    with pytest.raises(kind) as caught:
        raise kind("what; do", **(DETAILS if issubclass(kind, TokenRequestError) else {})) from LookupError("its own")
    return caught.value


def check(error: Any, kind: type[AuthError]) -> None:
    assert type(error) is kind
    assert (str(error), error.args) == ("what; do", ("what; do",))
    assert repr(error) == f"{kind.__name__}('what; do')"
    if issubclass(kind, TokenRequestError):
        assert {name: getattr(error, name) for name in DETAILS} == DETAILS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_librarys_error_is_both(library: str, kind: type[AuthError]) -> None:
    """Each error of an adapter is an error of this package and of its library, and is made of any other one."""
    module, base, unreachable = LIBRARIES[library]
    kinds = [getattr(module, each.__name__) for each in KINDS]
    own = kinds[KINDS.index(kind)]
    assert issubclass(own, kind)
    assert issubclass(own, base)
    assert issubclass(own, ValueError) == (kind is ConfigurationError)
    assert issubclass(own, unreachable) == (kind is TokenTransportError)
    for given in (kind, *(getattr(adapter, kind.__name__) for adapter, _, _ in LIBRARIES.values())):
        check(_errors.to_library_error(filled(given), kinds), own)
    check(pickle.loads(pickle.dumps(filled(own))), own)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_of_an_error(kind: type[AuthError]) -> None:
    """A copy of an error has its text and cause, and a traceback and notes of its own."""
    error = filled(kind)
    error.add_note("for all")
    copy = _errors.copy_error(error, kind, waited=3)
    check(copy, kind)
    copy.add_note("mine")
    assert (error.__notes__, copy.__notes__) == (["for all"], ["for all", "mine"])
    assert (copy.waited, hasattr(error, "waited")) == (3, False)  # type: ignore[attr-defined]
    assert copy.__cause__ is error.__cause__ is not None
    assert (copy.__traceback__, copy.__context__, copy.__suppress_context__) == (None, None, True)
    assert error.__traceback__ is not None
    pickled = pickle.loads(pickle.dumps(error))
    check(pickled, kind)
    assert not hasattr(pickled, "__notes__")


def test_a_text_is_made_of_data() -> None:
    """The text of an error has argument, problem and advice; a ConfigurationError can name variables instead."""
    error = ConfigurationError("needs {client_id}", argument="client_secret", advice="give {both}")
    assert str(error) == "client_secret needs client_id; give both"
    assert (error.argument, error.advice) == ("client_secret", "give {both}")
    text = "ACME_CLIENT_SECRET needs ACME_CLIENT_ID; give both"
    renamed = error.renamed({"client_id": "ACME_CLIENT_ID", "client_secret": "ACME_CLIENT_SECRET"})
    assert str(renamed) == str(pickle.loads(pickle.dumps(renamed))) == text
    error = ConfigurationError("no {a}").renamed({"": "ACME:", "a": "{b}"})
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "ACME: no {b}"
    refused = TokenRequestError("no", trouble="scope", advice="do")
    unreachable = TokenTransportError("no", trouble="certificate", advice="do", verify_code=18)
    errors: list[AuthError] = [refused, unreachable, InsecureTransportError("no", advice="do")]
    for plain in [*errors, AuthError("no", advice="do")]:
        for again in (plain, pickle.loads(pickle.dumps(plain)), _errors.copy_error(plain, type(plain))):
            assert (str(again), vars(again)) == ("no; do", vars(plain))
    assert vars(unreachable).items() >= {"trouble": "certificate", "verify_code": 18, "advice": "do"}.items()
    assert {name: getattr(TokenRequestError("no"), name) for name in DETAILS} == dict.fromkeys(DETAILS)


def kinds_of(module: Any) -> list[type[AuthError]]:
    """Our errors as those of a library; the base is the last."""
    kinds = (ConfigurationError, InsecureTransportError, LoginRequiredError, TokenRequestError, TokenTransportError)
    return [getattr(module, kind.__name__) for kind in (*kinds, AuthError)]


class QuotaError(AuthError):
    """An error of a user's grant, with arguments of its own that are no text."""

    def __init__(self, tenant: str, limit: int) -> None:
        self.tenant, self.limit = tenant, limit


def test_an_error_of_a_users_own_becomes_the_librarys() -> None:
    """An error that a user derived from AuthError, with several arguments, becomes requests' own error."""
    error = _errors.to_library_error(QuotaError("acme", 3), kinds_of(auth_plugins.requests), request=None)
    assert isinstance(error, requests.RequestException)
    assert error.args == AuthError("acme", 3).args == ("acme", 3)


@pytest.mark.parametrize("driver", each(ALL))
def test_a_configuration_error_while_sending(driver: Driver, server: Loopback) -> None:
    """A ConfigurationError while sending is the library's error as well."""
    grant = ClientCredentials(server.token_url, "id", SecretFile("/nowhere/at/all"))
    with pytest.raises(ConfigurationError, match="/nowhere/at/all") as caught:
        driver.get(server.api_url, driver.auth(grant))
    assert isinstance(caught.value, driver.base_error)
    assert isinstance(caught.value, ValueError)
    assert server.token_requests == server.api_requests == []


@pytest.mark.parametrize("issued", [0, 1], ids=["at first", "after a 401"])
@pytest.mark.parametrize("driver", each(SYNC))
def test_what_is_raised_while_sending_pickles(
    driver: Driver, server: Loopback, grant: ClientCredentials, issued: int
) -> None:
    """An error that an adapter raises can be pickled, without the request, which holds a token."""

    def play(received: Received) -> Any:
        if len(server.token_requests) <= issued:
            return server.issue(received)
        return as_json({"error": "invalid_client"}, 401)

    server.token_play = play
    server.api = lambda _: as_json({}, 401)
    with pytest.raises(TokenRequestError) as caught:
        driver.get(server.api_url, driver.auth(grant, header="X-Key"))
    assert len(server.api_requests) == issued
    pickled = pickle.dumps(caught.value)
    assert b"token-1" not in pickled
    error: Any = pickle.loads(pickled)
    assert (str(error), error.error, error.status_code) == (str(caught.value), "invalid_client", 401)
    assert isinstance(error, driver.base_error)


class MaintenanceError(AuthError):
    """A user's error for what ends by itself; it takes no text."""

    transient = True

    def __init__(self, *, until: str) -> None:
        super().__init__(f"down until {until}")


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (AuthError("no"), False),
        (ConfigurationError("no"), False),
        (InsecureTransportError("no"), False),
        (TokenRequestError("no"), False),
        (TokenRequestError("no", error="invalid_client", status_code=401), False),
        (TokenRequestError("no", status_code=428), False),
        (TokenRequestError("no", status_code=429), True),
        (TokenRequestError("no", status_code=499), False),
        (TokenRequestError("no", status_code=500), True),
        (TokenRequestError("no", status_code=503, retry_after=7.0), True),
        (TokenRequestError("no", status_code=403, retry_after=0.0), True),
        (TokenRequestError("no", error="temporarily_unavailable", status_code=200), True),
        (TokenRequestError("no", error="slow_down", status_code=400), True),
        (LoginRequiredError("no", error="invalid_grant", status_code=400), False),
        (LoginRequiredError("no", status_code=503, retry_after=7.0), False),
        (TokenTransportError("no"), True),
        (TokenTransportError("no", trouble="timeout"), True),
        (TokenTransportError("no", trouble="certificate", verify_code=18), False),
        (TokenTransportError("no", trouble="fork"), False),
        (MaintenanceError(until="8"), True),
    ],
)
def test_whether_trying_later_may_help(error: AuthError, *, is_transient: bool) -> None:
    """``transient`` tells "later" from "someone must act"; pickles, copies and each library's own error keep it."""
    copies = [error, pickle.loads(pickle.dumps(error)), _errors.copy_error(error, type(error))]
    for module, _, _ in LIBRARIES.values():
        copies.append(_errors.to_library_error(error, kinds_of(module)))
        copies.append(pickle.loads(pickle.dumps(copies[-1])))
    for each_copy in copies:
        assert (each_copy.transient, str(each_copy)) == (is_transient, str(error))


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize(
    ("members", "status", "kind", "is_transient"),
    [
        ({"error": "invalid_grant"}, 400, LoginRequiredError, False),
        ({"error": "bad_refresh_token"}, 200, LoginRequiredError, False),
        ({"error": "invalid_code"}, 200, LoginRequiredError, False),
        ({"error": "invalid_client"}, 401, TokenRequestError, False),
        ({"error": "slow_down"}, 429, TokenRequestError, True),
        ({}, 500, TokenRequestError, True),
    ],
)
def test_a_refused_refresh_token_requires_a_login(
    driver: Driver, server: Loopback, members: dict[str, str], status: int, kind: type[AuthError], *, is_transient: bool
) -> None:
    """A RefreshToken grant whose token is refused raises a LoginRequiredError; any other refusal is none."""
    server.token_play = lambda _: as_json(members, status)
    auth = driver.auth(RefreshToken(server.token_url, "r3fr3sh", client_id="app"), timeout=0.5)
    outcomes: list[Any] = driver.get_all(server.api_url, [auth] * 3)
    requests_sent = len(server.token_requests)
    for _ in range(2 if status != 500 else 0):  # a 5xx is not remembered
        with pytest.raises(TokenRequestError) as caught:
            driver.get(server.api_url, auth)
        outcomes.append(caught.value)
    for outcome in outcomes:
        assert issubclass(type(outcome), kind)
        assert isinstance(outcome, LoginRequiredError) == (kind is LoginRequiredError)
        assert issubclass(type(outcome), driver.base_error)
        assert outcome.transient == is_transient
        assert (outcome.error, outcome.status_code) == (members.get("error"), status)
        again = pickle.loads(pickle.dumps(outcome))
        assert (type(again), again.transient) == (type(outcome), is_transient)
    assert len(server.token_requests) == requests_sent
    assert server.api_requests == []


def test_a_rotated_refresh_token_that_is_refused_requires_a_login(server: Loopback) -> None:
    """So does the refusal of a successor, after which the first one is known to be spent."""
    answers = iter([
        as_json({"access_token": "token-1", "refresh_token": "refresh-2", "expires_in": 3600}),
        as_json({"error": "invalid_grant"}, 400),
    ])  # fmt: skip
    server.token_play = lambda _: next(answers)
    source = TokenSource(RefreshToken(server.token_url, "refresh-1", client_id="app"))
    source.invalidate(source.token())
    with pytest.raises(LoginRequiredError, match="sign") as caught:
        source.token()
    assert (caught.value.error, caught.value.transient, len(server.token_requests)) == ("invalid_grant", False, 2)
    source.revoke()
    with pytest.raises(LoginRequiredError, match="its successor was revoked"):
        source.token()


def test_an_invalid_grant_of_another_grant_requires_no_login(server: Loopback) -> None:
    """A password or a client is what a program has: no one signs in."""
    server.token_play = lambda _: as_json({"error": "invalid_grant"}, 400)
    for grant in (Password(server.token_url, "me", "pw"), ClientCredentials(server.token_url, "id", "s3cr3t")):
        with pytest.raises(TokenRequestError) as caught:
            TokenSource(grant).token()
        assert not isinstance(caught.value, LoginRequiredError)
