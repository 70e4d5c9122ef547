"""Dumps of an auth, of requests, and of the variables of a traceback's frames show neither a secret nor a token."""

from __future__ import annotations

import copy
import importlib
import inspect
import io
import pickle
import pprint
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import pytest
import requests
import rich
from rich.console import Console

import auth_plugins.requests
from auth_plugins import ApiKey, ClientCredentials, TokenRequestError, TokenTransportError
from tests.support.drivers import ALL, AsyncHttpx, Driver, each
from tests.support.loopback import Clock, Loopback, as_json

KEY = "k3y-of-mine"


def errors_of(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, and all that it was raised from, or during."""
    chain, seen = [error], set[int]()
    while chain:
        link = chain.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            chain += [link.__cause__, link.__context__]


def shown(value: Any, depth: int = 4) -> str:
    """What an error reporter stores of a variable: its ``repr``, and those of what containers hold."""
    if depth and isinstance(value, Mapping):
        return " ".join(f"{key!r}: {shown(member, depth - 1)}" for key, member in value.items())
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return " ".join(shown(member, depth - 1) for member in value)
    return repr(value)


def frames_of(error: BaseException) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and variables of each frame of this package in the tracebacks of *error*."""
    for link in errors_of(error):
        trace: TracebackType | None = link.__traceback__
        while trace is not None:
            frame, trace = trace.tb_frame, trace.tb_next
            if str(frame.f_globals.get("__name__")).startswith("auth_plugins"):
                yield f"{frame.f_globals['__name__']}:{frame.f_code.co_name}", frame.f_locals


def assert_frames_show_nothing(error: BaseException, *secrets: str) -> None:
    """No variable of a frame of this package shows one of *secrets*."""
    places = 0
    for place, variables in frames_of(error):
        places += 1
        for name, value in variables.items():
            text = shown(value)
            assert not [secret for secret in secrets if secret in text], f"{place}, {name}"
    assert places


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_dump_of_a_used_auth_shows_no_token(library: str, header: str) -> None:
    """``vars``, ``pprint``, ``inspect.getmembers`` and rich's ``inspect`` of an auth that was used show no key."""
    module, plugin = importlib.import_module(library), importlib.import_module(f"auth_plugins.{library}")
    auth = plugin.OAuth2Auth(ApiKey(KEY, header=header, scheme="Bearer"))
    for _ in range(2):
        if library == "requests":
            request: Any = auth(requests.Request("GET", "https://api.example.com/").prepare())
        else:
            request = next(auth.sync_auth_flow(module.Request("GET", "https://api.example.com/")))
    assert request.headers[header] == f"Bearer {KEY}"
    for dumped in (auth, auth._ready, auth.source, auth.source._state):
        console = Console(file=io.StringIO(), width=500)
        rich.inspect(dumped, console=console, private=True, methods=True, all=True)
        members = inspect.getmembers(dumped)
        text = pprint.pformat(members) + pprint.pformat(getattr(dumped, "__dict__", None)) + str(members)
        assert KEY not in text + console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO


class Refusing(requests.adapters.BaseAdapter):
    """Answers 401 to everything."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        response.request, response.url, response.status_code = request, request.url or "", 401
        response._content, response.connection = b"", self  # type: ignore[assignment]  # any adapter sends
        return response

    def close(self) -> None:
        pass


def get_refused(driver: Driver, auth: Any) -> None:
    """GET from an API with https:// that answers 401."""
    url, library = "https://api.example.com/", importlib.import_module(driver.library)
    if driver.library == "requests":
        with requests.Session() as session:
            session.mount(url, Refusing())
            session.get(url, auth=auth)
        return
    transport = library.MockTransport(lambda _: library.Response(401))
    if not isinstance(driver, AsyncHttpx):
        with library.Client(transport=transport) as client:
            client.get(url, auth=auth)
        return

    async def main() -> None:
        async with library.AsyncClient(transport=transport) as client:
            await client.get(url, auth=auth)

    driver.run(main)


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
@pytest.mark.parametrize("trouble", ["refused", "unreachable"])
def test_frames_of_a_failed_renewal_show_no_secret(
    driver: Driver, server: Loopback, clock: Clock, trouble: str, header: str
) -> None:
    """The API answers 401, and the renewal fails: no variable of the package's frames shows token or secret."""
    server.token_play = lambda _: as_json({"access_token": "t0ken-of-mine", "expires_in": 3600})
    auth = driver.auth(ClientCredentials(server.token_url, "client", "s3cr3t-of-mine"), header=header, timeout=1)
    accepted = auth.source.token()
    # A request before, so that what was found out for it is at hand.
    if driver.library == "requests":
        auth(requests.Request("GET", "https://api.example.com/").prepare())
    else:
        next(auth.sync_auth_flow(importlib.import_module(driver.library).Request("GET", "https://api.example.com/")))
    assert auth.source.token() is accepted
    if trouble == "refused":
        server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    else:
        server.stop()
    with pytest.raises((TokenRequestError, TokenTransportError)) as caught:
        get_refused(driver, auth)
    assert_frames_show_nothing(caught.value, "t0ken-of-mine", "s3cr3t-of-mine")


def test_frames_of_a_broken_second_try_show_no_secret(server: Loopback) -> None:
    """The connection breaks when the request is sent again: no variable of the package's frames shows a token."""
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


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_signed_request_is_like_any(library: str, server: Loopback) -> None:
    """A signed request is sent, copied and pickled with its header as any other."""
    module, plugin = importlib.import_module(library), importlib.import_module(f"auth_plugins.{library}")
    server.api = lambda received: as_json({"key": received.headers["x-api-key"]})
    response = module.get(server.api_url, auth=plugin.OAuth2Auth(ApiKey(KEY)), timeout=5)
    assert response.json() == {"key": KEY}
    for request in (response.request, copy.deepcopy(response.request), pickle.loads(pickle.dumps(response.request))):
        assert request.headers["X-API-Key"] == KEY
        assert f"{request.headers['X-API-Key']}" == "%s" % request.headers["X-API-Key"] == KEY  # noqa: UP031 - both ways
        assert type(request.headers["X-API-Key"]) is str
        assert library == "requests" or KEY not in repr(request.headers)


def test_the_value_of_a_header_is_plain_text() -> None:
    """Each request, the first and the warm ones, gets plain text, which recorders can store."""
    auth = auth_plugins.requests.OAuth2Auth(ApiKey(KEY, header="Authorization"))
    for _ in range(2):
        value = auth(requests.Request("GET", "https://api.example.com/").prepare()).headers["Authorization"]
        assert (type(value), value) == (str, KEY)
