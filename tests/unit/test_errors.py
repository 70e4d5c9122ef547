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
    SecretFile,
    TokenRequestError,
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
KINDS: list[type[AuthError]] = [ConfigurationError, InsecureTransportError, TokenRequestError, TokenTransportError]
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


class QuotaError(AuthError):
    """An error of a user's grant, with arguments of its own that are no text."""

    def __init__(self, tenant: str, limit: int) -> None:
        self.tenant, self.limit = tenant, limit


def test_an_error_of_a_users_own_becomes_the_librarys() -> None:
    """An error that a user derived from AuthError, with several arguments, becomes requests' own error."""
    error = _errors.to_library_error(QuotaError("acme", 3), auth_plugins.requests._OWN_ERRORS, request=None)
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
