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
    """Each error of an adapter is an error of this package and of its library."""
    module, base, unreachable = LIBRARIES[library]
    own = getattr(module, kind.__name__)
    assert issubclass(own, kind)
    assert issubclass(own, base)
    assert issubclass(own, ValueError) == (kind is ConfigurationError)
    assert issubclass(own, unreachable) == (kind is TokenTransportError)
    check(filled(own), own)
    error = _errors.to_library_error(filled(kind), [getattr(module, each.__name__) for each in KINDS])
    check(error, own)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", ["auth_plugins", *LIBRARIES])
def test_an_error_pickles(library: str, kind: type[AuthError]) -> None:
    """A pickled error keeps its attributes."""
    own = getattr(LIBRARIES[library][0], kind.__name__) if library in LIBRARIES else kind
    check(pickle.loads(pickle.dumps(filled(own))), own)
    check(pickle.loads(pickle.dumps(_errors.copy_error(filled(kind), own))), own)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", ["auth_plugins", *LIBRARIES])
def test_a_copy_of_an_error(library: str, kind: type[AuthError]) -> None:
    """A copy of an error has its text and cause, and a traceback of its own."""
    own = getattr(LIBRARIES[library][0], kind.__name__) if library in LIBRARIES else kind
    error = filled(kind)
    copy_error = _errors.copy_error(error, own, waited=3)
    check(copy_error, own)
    assert copy_error is not error
    assert (copy_error.waited, hasattr(error, "waited")) == (3, False)
    assert copy_error.__cause__ is error.__cause__ is not None
    assert copy_error.__suppress_context__
    assert (copy_error.__traceback__, copy_error.__context__) == (None, None)
    assert error.__traceback__ is not None


def test_a_text_is_made_of_data() -> None:
    """The text of an error has argument, problem and advice; a ConfigurationError can name variables instead."""
    error = ConfigurationError("needs {client_id}", argument="client_secret", advice="give {both}")
    assert (str(error), error.argument, error.advice) == (
        "client_secret needs client_id; give both",
        "client_secret",
        "give {both}",
    )
    renamed = error.renamed({"client_id": "ACME_CLIENT_ID", "client_secret": "ACME_CLIENT_SECRET"})
    assert (
        str(renamed) == str(pickle.loads(pickle.dumps(renamed))) == "ACME_CLIENT_SECRET needs ACME_CLIENT_ID; give both"
    )
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


def test_notes_are_each_errors_own() -> None:
    """A note that is added to a copy of an error is not added to the error; a pickled one keeps its own."""
    error = filled(TokenRequestError)
    error.add_note("for all")
    copy_error, copy = _errors.copy_error(error, TokenRequestError), pickle.loads(pickle.dumps(error))
    copy_error.add_note("mine")
    copy.add_note("its own")
    assert (error.__notes__, copy_error.__notes__) == (["for all"], ["for all", "mine"])
    assert copy.__notes__ == ["its own"]


@pytest.mark.parametrize("other", LIBRARIES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_an_error_of_another_library_is_converted(library: str, other: str) -> None:
    """An error of another library becomes the one of this library."""
    kinds = [getattr(LIBRARIES[library][0], kind.__name__) for kind in KINDS]
    for kind, own in zip(KINDS, kinds, strict=True):
        check(_errors.to_library_error(filled(getattr(LIBRARIES[other][0], kind.__name__)), kinds), own)


def test_a_plain_error_becomes_the_librarys() -> None:
    """A plain AuthError, raised by a user's grant, becomes the library's AuthError."""
    error: Any = _errors.to_library_error(AuthError("what; do"), auth_plugins.httpx.OAuth2Auth._own_errors)
    assert isinstance(error, AuthError)


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


@pytest.mark.parametrize("header", ["Authorization", "X-Key"])
@pytest.mark.parametrize("issued", [0, 1], ids=["at first", "after a 401"])
@pytest.mark.parametrize("driver", each(SYNC))
def test_what_is_raised_while_sending_pickles(
    driver: Driver, server: Loopback, grant: ClientCredentials, issued: int, header: str
) -> None:
    """An error that an adapter raises can be pickled, without the request, which holds a token."""

    def play(received: Received) -> Any:
        if len(server.token_requests) <= issued:
            return server.issue(received)
        return as_json({"error": "invalid_client"}, 401)

    server.token_play = play
    server.api = lambda _: as_json({}, 401)
    with pytest.raises(TokenRequestError) as caught:
        driver.get(server.api_url, driver.auth(grant, header=header))
    assert len(server.api_requests) == issued
    pickled = pickle.dumps(caught.value)
    assert b"token-1" not in pickled
    assert isinstance(pickle.loads(pickled), driver.base_error)
    error: Any = pickle.loads(pickled)
    assert (str(error), error.error, error.status_code) == (str(caught.value), "invalid_client", 401)
