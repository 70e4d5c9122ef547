"""Errors: caught by whoever catches the library's, whole after a trip between processes, and one for each who waits."""

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

from .drivers import ALL, SYNC, Driver, each
from .loopback import Loopback, Received, as_json

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
    """An error of *kind*, with a cause and a traceback, and all attributes where it has some."""
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
    """My except clauses for requests or httpx, and those for this package, both catch it, and it says the same."""
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
    """An error crosses from a worker process to me with all its attributes."""
    own = getattr(LIBRARIES[library][0], kind.__name__) if library in LIBRARIES else kind
    check(pickle.loads(pickle.dumps(filled(own))), own)
    check(pickle.loads(pickle.dumps(_errors.copy_error(filled(kind), own))), own)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", ["auth_plugins", *LIBRARIES])
def test_each_who_waits_gets_an_error_of_his_own(library: str, kind: type[AuthError]) -> None:
    """Two threads raise what one attempt came to: same words, same cause, and no traceback in common."""
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


def test_notes_are_each_errors_own() -> None:
    """What I add to my error shows in no one else's; what was added before a trip between processes stays there."""
    error = filled(TokenRequestError)
    error.add_note("for all")
    copy_error, copy = _errors.copy_error(error, TokenRequestError), pickle.loads(pickle.dumps(error))
    copy_error.add_note("mine")
    copy.add_note("its own")
    assert (error.__notes__, copy_error.__notes__) == (["for all"], ["for all", "mine"])
    assert copy.__notes__ == ["its own"]


def test_without_details_they_are_none() -> None:
    """Each attribute is there, whether or not the server told it."""
    assert {name: getattr(TokenRequestError("no"), name) for name in DETAILS} == dict.fromkeys(DETAILS)


@pytest.mark.parametrize("other", LIBRARIES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_another_librarys_error_becomes_mine(library: str, other: str) -> None:
    """My httpx code waits for a token that a thread with requests asks for: the error that I get is httpx's."""
    kinds = [getattr(LIBRARIES[library][0], kind.__name__) for kind in KINDS]
    for kind, own in zip(KINDS, kinds, strict=True):
        check(_errors.to_library_error(filled(getattr(LIBRARIES[other][0], kind.__name__)), kinds), own)


def test_an_error_of_a_kind_that_nobody_knows_is_still_one() -> None:
    """A grant of my own raises a plain AuthError: it doesn't become a StopIteration."""
    error: Any = _errors.to_library_error(AuthError("what; do"), auth_plugins.httpx.OAuth2Auth._own_errors)
    assert isinstance(error, AuthError)


@pytest.mark.parametrize("driver", each(ALL))
def test_a_configuration_error_while_sending(driver: Driver, server: Loopback) -> None:
    """The file of my secret is gone when a token is needed: my except clauses catch that too."""
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
    """A request of mine fails in a pool of processes, at its first token or its second: the error comes back.

    Not so the request, which held a token.
    """

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
