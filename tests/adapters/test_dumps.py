"""Dumps of an auth, of requests, and of the variables of a traceback's frames show neither a secret nor a token."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import pprint
from typing import Any

import pytest
import requests
import rich
from rich.console import Console

import auth_plugins.requests
from auth_plugins import ApiKey, ClientCredentials, TokenRequestError, TokenTransportError
from tests.support.drivers import ALL, SYNC, Driver, MockAdapter, SyncDriver, each
from tests.support.frames import variables_of
from tests.support.loopback import Clock, Loopback, as_json

KEY, URL = "k3y-of-mine", "https://api.example.com/"


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("driver", each(SYNC))
def test_a_dump_of_a_used_auth_shows_no_token(driver: SyncDriver, header: str) -> None:
    """``vars``, ``pprint``, ``inspect.getmembers`` and rich's ``inspect`` of an auth that was used show no key.

    The header itself is plain text, in the first request and in warm ones: recorders store no class of ours.
    """
    auth = driver.auth(ApiKey(KEY, header=header, scheme="Bearer"))
    for _ in range(2):
        value = driver.signed(auth, URL).headers[header]
        assert (type(value), value) == (str, f"Bearer {KEY}")
    for dumped in (auth, auth._ready, auth.source, auth.source._state):
        console = Console(file=io.StringIO(), width=500)
        rich.inspect(dumped, console=console, private=True, methods=True, all=True)
        members = inspect.getmembers(dumped)
        text = pprint.pformat(members) + pprint.pformat(getattr(dumped, "__dict__", None)) + str(members)
        assert KEY not in text + console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
@pytest.mark.parametrize("trouble", ["refused", "unreachable"])
def test_frames_of_a_failed_renewal_show_no_secret(
    driver: Driver, server: Loopback, clock: Clock, trouble: str, header: str
) -> None:
    """If no token can be fetched after a 401, the error is the library's; no variable of its frames shows a secret."""
    server.token_play = lambda _: as_json({"access_token": "t0ken-of-mine", "expires_in": 3600})
    auth = driver.auth(ClientCredentials(server.token_url, "client", "s3cr3t-of-mine"), header=header, timeout=1)
    driver.signed(auth, URL)  # from now on it is warm
    if trouble == "refused":
        server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    else:
        server.stop()
    library: Any = driver.module
    if driver.library == "requests":
        refusing: Any = MockAdapter(lambda _: {"status_code": 401})
    else:
        refusing = library.MockTransport(lambda _: library.Response(401))
    with pytest.raises((TokenRequestError, TokenTransportError)) as caught:
        driver.get(URL, auth, transport=refusing)
    assert isinstance(caught.value, driver.base_error)
    assert_frames_show_nothing(caught.value, "t0ken-of-mine", "s3cr3t-of-mine")


def assert_frames_show_nothing(error: BaseException, *secrets: str) -> None:
    """No variable of a frame of this package shows one of *secrets*."""
    shown = variables_of(error)
    assert shown
    assert not [secret for secret in secrets if secret in shown]


def test_frames_of_a_broken_second_try_show_no_secret(server: Loopback) -> None:
    """If the connection breaks in the replay, no variable of the package's frames shows a token."""
    server.api = lambda _: as_json({}, 401)

    class Breaking(requests.adapters.HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *arguments: Any, **others: Any) -> requests.Response:
            if server.api_requests:
                raise requests.ConnectionError("broken")
            return super().send(request, *arguments, **others)

    auth = auth_plugins.requests.OAuth2Auth(ClientCredentials(server.token_url, "client", "s3cr3t-of-mine"))
    with requests.Session() as session:
        session.mount(server.api_url, Breaking())
        with pytest.raises(requests.ConnectionError) as caught:
            session.post(server.api_url, data=b"payload", auth=auth)
    assert_frames_show_nothing(caught.value, "token-1", "token-2", "s3cr3t-of-mine")


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_signed_request_is_like_any(driver: SyncDriver, server: Loopback) -> None:
    """A signed request is sent, copied and pickled with its header as any other."""
    server.api = lambda received: as_json({"key": received.headers["x-api-key"]})
    response = driver.get(server.api_url, driver.auth(ApiKey(KEY))).response
    assert response.json() == {"key": KEY}
    for request in (response.request, copy.deepcopy(response.request), pickle.loads(pickle.dumps(response.request))):
        assert (type(request.headers["X-API-Key"]), request.headers["X-API-Key"]) == (str, KEY)
        assert driver.library == "requests" or KEY not in repr(request.headers)
