"""Traps of requests and httpx that real programs fell into."""

from __future__ import annotations

import asyncio
import copy
import importlib
import io
import logging
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx2
import pytest
import requests
import urllib3
from werkzeug.wrappers import Response

import auth_plugins.httpx
import auth_plugins.httpx2
import auth_plugins.requests
from auth_plugins import (
    ApiKey,
    ClientCredentials,
    ConfigurationError,
    InsecureTransportError,
    MemoryCache,
    Token,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._transports.requests import body_chunks
from tests.support.drivers import ALL, SYNC, SYNC_HTTPX, Driver, MockAdapter, SyncDriver, each
from tests.support.loopback import Clock, Loopback, Received, as_json

OAuth2Auth = auth_plugins.requests.OAuth2Auth


def test_a_session_that_has_this_auth_itself(server: Loopback, grant: ClientCredentials) -> None:
    """A session or client that has the auth may send its token requests as well."""
    with requests.Session() as session:
        session.auth = OAuth2Auth(grant, session=session)
        assert session.get(server.api_url).status_code == 200
    for module, plugin in ((httpx, auth_plugins.httpx), (httpx2, auth_plugins.httpx2)):
        with module.Client() as client:
            client.auth = plugin.OAuth2Auth(grant, client=client)
            assert client.get(server.api_url).status_code == 200
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize("status", [302, 303, 307])
def test_a_token_request_follows_no_redirect(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials, status: int
) -> None:
    """A token request follows no redirect: no secret goes along, and no token comes back."""
    server.token_play = lambda _: Response(status=status, headers={"Location": other_server.token_url})
    with pytest.raises(TokenRequestError, match=f"redirect to {other_server.token_url}; "):
        driver.get(server.api_url, driver.auth(grant))
    assert (other_server.token_requests, other_server.api_requests) == ([], [])


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_key_survives_no_redirect_after_a_renewal(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials
) -> None:
    """If the replay of a 401 is redirected to another origin, no token goes along."""

    def play(received: Received) -> Response:
        if received.headers["x-token"] == "Bearer token-1":
            return as_json({}, 401)
        return Response(status=302, headers={"Location": other_server.api_url})

    server.api = play
    other_server.api = lambda _: as_json({})
    assert driver.get(server.api_url, driver.auth(grant, header="X-Token")).status == 200
    assert "token-" not in str(other_server.api_requests)


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
def test_a_key_in_a_header_of_its_own_is_in_no_other(driver: SyncDriver) -> None:
    """Hooks and mocks see a key in its own header, and in no other."""
    headers = driver.signed(driver.auth(ApiKey("key")), "https://api.example.com/").headers
    assert isinstance(headers, driver.module.Headers)
    assert (headers["x-api-key"], headers.get_list("X-API-Key"), "x-api-key" in headers) == ("key", ["key"], True)
    assert (headers.get("Authorization"), headers.get_list("authorization"), "authorization" in headers) == (
        None,
        [],
        False,
    )
    assert [value for value in dict(headers).values() if value == "key"] == ["key"]


def test_an_auth_of_another_library_names_the_right_module(grant: ClientCredentials) -> None:
    """An auth that another library calls, a warm one too, and a client of another kind, name the right one."""
    url = "https://api.example.com/"
    for owner in SYNC:
        auth = owner.auth(ApiKey("k3y", header="Authorization"))
        for _ in range(2):
            owner.signed(auth, url)
        for caller in {"requests", "httpx", "httpx2"} - {owner.library}:
            text = f"of auth_plugins.{owner.library}, but {caller} called it; import auth_plugins.{caller}$"
            with pytest.raises(ConfigurationError, match=text) as caught:
                importlib.import_module(caller).get(url, auth=auth, timeout=5)
            assert caught.value.argument == "auth"
        with pytest.raises(ConfigurationError, match="but builtins called it; import the one for the library that you"):
            auth(object())
    given: Any
    for given in (grant, TokenSource(grant)):
        with pytest.raises(ConfigurationError, match=r"give OAuth2Auth\(\.\.\.\) of it"):
            requests.get(url, auth=given, timeout=5)
    for client in (httpx.Client(), httpx2.AsyncClient()):
        with pytest.raises(
            ConfigurationError, match=rf"^client must be an httpx2\.Client, got .*{type(client).__name__}"
        ):
            auth_plugins.httpx2.OAuth2Auth(grant, client=client)  # type: ignore[arg-type]


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
def test_a_client_is_one_although_a_tracer_replaced_its_class(
    driver: SyncDriver, grant: ClientCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was made before a tracer put its own class in the place of ``Client`` is accepted."""
    with driver.module.Client() as client:
        driver.auth(grant)
        monkeypatch.setattr(driver.module, "Client", type("Traced", (driver.module.Client,), {}))
        driver.auth(grant, client=client)


@pytest.mark.parametrize("driver", each(SYNC))
def test_two_allowed_hosts_at_the_same_time(driver: SyncDriver) -> None:
    """Both requests get the token if a thread sends to another allowed host while the auth notes the first one."""
    urls = ["https://a.example.com/", "https://b.example.com/"]
    between: list[str] = []

    class Interrupted(type(driver.auth(ApiKey("k3y")))):  # type: ignore[misc]  # of each library
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if between:
                assert driver.signed(self, between.pop()).headers["x-api-key"] == "k3y"

    auth = Interrupted(ApiKey("k3y"), allowed_hosts=["a.example.com", "b.example.com"])
    between.append(urls[1])
    assert driver.signed(auth, urls[0]).headers["x-api-key"] == "k3y"


@pytest.mark.parametrize("driver", each(SYNC))
def test_an_upload_is_not_read_ahead(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A generator is read part by part while it is sent, after the token was fetched."""
    seen = []

    def parts() -> Any:
        for number in range(3):
            seen.append((number, len(server.token_requests)))
            yield b"x"

    with driver.module.Session() if driver.library == "requests" else driver.module.Client() as session:
        body = {"data" if driver.library == "requests" else "content": parts()}
        assert session.post(server.api_url, auth=driver.auth(grant), **body).status_code == 200
    assert (seen, server.api_requests[0].body) == ([(0, 1), (1, 1), (2, 1)], b"xxx")


def test_what_the_user_set_stays(server: Loopback, grant: ClientCredentials) -> None:
    """Cookies, hooks and ``stream=`` work as without auth; a response hook sees the replay's response only.

    The replay has the session's cookies, and those of the refusal.
    """
    hooked: list[int] = []
    plays = [as_json({}, 401), as_json({"fine": True})]
    plays[0].set_cookie("first", "1")
    server.api = lambda _: plays.pop(0)
    with requests.Session() as session:
        session.cookies.set("mine", "2")
        hooks = {"response": lambda response, **_: hooked.append(response.status_code)}
        response = session.get(server.api_url, auth=OAuth2Auth(grant), stream=True, hooks=hooks)
        assert not response.raw.closed
        assert response.json() == {"fine": True}
        assert session.cookies.get_dict() == {"mine": "2", "first": "1"}
    assert hooked == [200]
    assert [received.headers["cookie"] for received in server.api_requests] == ["mine=2", "mine=2; first=1"]


def test_secrets_are_in_no_log(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    """No log at DEBUG holds a secret or a token, unless the secret travels in the URL."""
    caplog.set_level(logging.DEBUG)
    grant = ClientCredentials(server.token_url, "client", "s3cr3t-of-mine", client_auth="client_secret_post")
    for driver in ALL:
        driver.get(server.api_url, driver.auth(grant, cache=MemoryCache()))
    text = "\n".join(record.getMessage() for record in caplog.records if "httpcore" not in record.name)
    assert "s3cr3t" not in text
    assert "token-" not in text
    assert caplog.records


class OutOfOrderError(requests.RequestException):
    """An error that takes no text."""

    def __init__(self) -> None:
        super().__init__("the line is out of order")


@pytest.mark.parametrize(
    ("failure", "text", "cause"),
    [
        (
            lambda: UnicodeDecodeError("utf-8", b"s3cr3t", 0, 1, "s3cr3t"),
            "UnicodeDecodeError",
            requests.RequestException,
        ),
        (OutOfOrderError, "the line is out of order", requests.RequestException),
        (lambda: requests.HTTPError("by my hook"), "by my hook", requests.HTTPError),
    ],
)
def test_a_session_may_fail_in_its_own_way(grant: ClientCredentials, failure: Any, text: str, cause: Any) -> None:
    """Any exception of a session becomes a ``TokenTransportError`` with its text and without secrets.

    Its cause is of the same class; if that takes no text, of its base.
    """

    def fail(response: requests.Response, **_: Any) -> None:
        raise failure()

    with requests.Session() as session:
        session.mount("http://", MockAdapter(lambda _: {}))
        session.hooks["response"].append(fail)
        with pytest.raises(TokenTransportError, match=text) as caught:
            OAuth2Auth(grant, session=session).source.token()
    assert type(caught.value.__cause__) is cause
    assert "s3cr3t" not in str(caught.value.__cause__)


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
def test_a_client_may_be_closed(driver: SyncDriver, grant: ClientCredentials) -> None:
    """A token request by a closed client raises a ``TokenTransportError``."""
    client = driver.module.Client(transport=driver.module.MockTransport(lambda _: driver.module.Response(200)))
    client.close()
    with pytest.raises(TokenTransportError, match="closed"):
        driver.auth(grant, client=client).source.token()


@pytest.mark.parametrize("kind", ["read by a hook", "content alone", "another file"])
def test_a_session_may_have_read_the_answer(grant: ClientCredentials, kind: str) -> None:
    """A session may have read the answer in a hook, or make answers of its own."""
    body = b'{"access_token": "abc", "expires_in": 60}'
    with requests.Session() as session:
        fields = {"_content": body} if kind == "content alone" else {"_content": False, "raw": io.BytesIO(body)}
        session.mount("http://", MockAdapter(lambda _: fields))
        if kind == "read by a hook":
            session.hooks["response"].append(lambda response, **_: response.text and None)
        assert OAuth2Auth(grant, session=session).source.token().access_token == "abc"


class OlderResponse(urllib3.HTTPResponse):
    """One of urllib3 1.26, which has no read1."""

    @property
    def read1(self) -> Any:
        raise AttributeError


@pytest.mark.parametrize("kind", [OlderResponse, io.BytesIO])
def test_a_response_without_read1_is_read_byte_by_byte(kind: Any) -> None:
    """A response of urllib3 1.26 or of another class is read as it arrives."""
    response = requests.Response()
    response.raw = kind(io.BytesIO(b"abc"), preload_content=False) if kind is OlderResponse else kind(b"abc")
    chunks, packed = body_chunks(response)
    assert list(chunks) == [b"a", b"b", b"c"]
    assert packed == (kind is OlderResponse)


@pytest.mark.parametrize("driver", each(SYNC))
def test_errors_of_ours_pass_through_a_session(driver: SyncDriver, server: Loopback, grant: ClientCredentials) -> None:
    """An ``AuthError`` that a hook of the session or client raises is raised unchanged."""

    def fail(message: Any, **_: Any) -> Any:
        getattr(message, "close", lambda: None)()
        raise ConfigurationError("of the other auth")

    session = (
        requests.Session() if driver.library == "requests" else driver.module.Client(event_hooks={"request": [fail]})
    )
    if driver.library == "requests":
        session.hooks["response"].append(fail)
    with session, pytest.raises(ConfigurationError, match="of the other auth"):
        driver.auth(grant, **{"session" if driver.library == "requests" else "client": session}).source.token()


def test_a_response_pickles(server: Loopback, grant: ClientCredentials) -> None:
    """A response can be pickled and copied; the hook of a copy changes nothing."""
    response = requests.get(server.api_url, auth=OAuth2Auth(grant), timeout=5)
    for copied in (pickle.loads(pickle.dumps(copy.deepcopy(response))), copy.deepcopy(response)):
        assert copied.text == response.text
        [hook] = copied.request.hooks["response"]
        assert hook(response) is response


def test_a_prepared_request_can_be_sent_again(
    server: Loopback, other_server: Loopback, grant: ClientCredentials
) -> None:
    """A prepared request can be sent twice, though each time it is redirected to another origin."""
    server.api = lambda _: Response(status=302, headers={"Location": other_server.api_url})
    other_server.api = lambda _: as_json({})
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", server.api_url, auth=OAuth2Auth(grant)))
        assert [session.send(prepared).status_code for _ in range(2)] == [200, 200]
    assert [received.headers["authorization"] for received in server.api_requests] == ["Bearer token-1"] * 2
    assert "token" not in str(other_server.api_requests)


def test_an_adapter_may_name_no_connection(grant: ClientCredentials) -> None:
    """If an adapter of the user's names no connection, a 401 is returned."""

    class Silent(MockAdapter):
        def send(self, *arguments: Any, **options: Any) -> requests.Response:
            response = super().send(*arguments, **options)
            del response.connection
            return response

    with requests.Session() as session:
        for kind in (MockAdapter, Silent):
            session.mount("https://", kind(lambda _: {"status_code": 401, "connection": None}))
            assert session.get("https://api.example.com", auth=OAuth2Auth(grant)).status_code == 401


def test_an_auth_flow_is_closed_half_way(server: Loopback, grant: ClientCredentials) -> None:
    """A flow that is closed before its response ends without an error, and the token stays."""
    auth = auth_plugins.httpx.OAuth2Auth(grant)
    flow = auth.sync_auth_flow(httpx.Request("GET", server.api_url))
    next(flow)
    flow.close()

    async def half_way() -> None:
        flow = auth.async_auth_flow(httpx.Request("GET", server.api_url))
        await anext(flow)
        await flow.aclose()

    asyncio.run(half_way())
    assert httpx.get(server.api_url, auth=auth).status_code == 200
    assert len(server.token_requests) == 1


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("http://me:pw@127.0.0.1/", True),
        ("http://127.0.0.1:80?a=@b", True),
        ("HTTP://127.0.0.1#a@b", True),
        ("http://127.0.0.1", True),
        ("http+unix://127.0.0.1/", True),
        ("http+unix://%2Ftmp%2Fsocket/", False),
        ("http://127.0.0.1@other.example/", False),
        ("http://[::1]/", False),
        # Parsers find different hosts in these, or none.
        (r"http://127.0.0.1\@api.example.com/x", False),
        (r"http://127.0.0.1\:\/x", False),
        ("foo://[", False),
        ("http+unix://a:b:c/", False),
        ("x://a:9999999/", False),
    ],
)
def test_an_allowed_host_is_found_in_each_url(url: str, is_allowed: bool) -> None:
    """The host of a URL decides, whatever stands around it; a URL that parsers read differently gets no token."""
    request = requests.Request("GET", "http://127.0.0.1/").prepare()
    request.url = url
    assert ("X-API-Key" in OAuth2Auth(ApiKey("k3y"), allowed_hosts=["127.0.0.1"])(request).headers) == is_allowed


@pytest.mark.parametrize("driver", each(ALL))
def test_a_warm_request_costs_one_call(driver: Driver) -> None:
    """A request with a fresh token calls one function of the package, whatever https:// host it goes to."""
    auth, called = driver.auth(ApiKey("k3y", header="Authorization")), set[str]()
    for _ in range(2):
        driver.signed(auth, "https://api.example.com/")

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call" and str(frame.f_globals.get("__name__")).startswith("auth_plugins"):
            called.add(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        request = driver.signed(auth, "https://other.example/")
    finally:
        sys.setprofile(None)
    assert request.headers["Authorization"] == "k3y"
    # A flow that is dropped, as here, is closed.
    assert called <= {"__call__", "sync_auth_flow", "async_auth_flow", "_end_closed", "responses_behind"}


@pytest.mark.parametrize("driver", each(ALL))
def test_a_warm_token_ends(driver: Driver, server: Loopback, clock: Clock, grant: ClientCredentials) -> None:
    """A warm token is used until its leeway or a rejection, and goes to no ``http://`` URL of another machine."""
    server.lifetime = 100
    auth = driver.auth(grant, refresh_ahead=False)

    def sent(scheme: str = "https") -> Any:
        return driver.signed(auth, f"{scheme}://api.example.com/").headers["Authorization"]

    assert [sent(), sent()] == ["Bearer token-1"] * 2
    with pytest.raises(InsecureTransportError):
        sent("http")
    clock.forward(89)  # the leeway is a tenth of the lifetime
    assert sent() == "Bearer token-1"
    clock.forward(2)
    assert [sent(), sent()] == ["Bearer token-2"] * 2
    auth.source.invalidate(auth.source.token())
    assert sent() == "Bearer token-3"


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_warm_request_to_another_host_is_judged(driver: SyncDriver) -> None:
    """A warm auth that serves two hosts sends the token to the allowed one only."""
    allowed_hosts = ["api.example.com", "id.example.com:8443", "127.0.0.1"]
    auth = driver.auth(ApiKey("k3y", header="Authorization"), allowed_hosts=allowed_hosts)
    urls = ["https://api.example.com/a", "https://evil.example/", "https://api.example.com.evil.example/"] * 2
    urls += ["https://api.example.com@evil.example/", "https://api.example.com:8443/"]
    urls += ["https://id.example.com:8443/", "https://id.example.com/", "http://127.0.0.1/", "https://evil.example/"]
    sent = [driver.signed(auth, url).headers.get("Authorization") for url in urls]
    assert sent == ["k3y", None, None] * 2 + [None, "k3y", "k3y", None, "k3y", None]


@pytest.mark.parametrize("driver", each(ALL))
def test_a_subclass_of_the_source_decides_each_time(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A subclass of ``TokenSource`` is called for each request, warm ones too."""
    called: list[str] = []

    class Mine(TokenSource):
        def token(self) -> Token:
            called.append("token")
            return super().token()

        async def atoken(self) -> Token:
            called.append("atoken")
            return await super().atoken()

    auth = driver.auth(Mine(grant, cache=MemoryCache()))
    assert [driver.get(server.api_url, auth).status for _ in range(4)] == [200] * 4
    assert len(called) == 4


def test_a_request_that_threads_share(server: Loopback, grant: ClientCredentials) -> None:
    """Threads may send one prepared request whose token is rejected and whose replay is redirected."""
    request = requests.Request("GET", server.api_url, auth=OAuth2Auth(grant)).prepare()
    server.revoke()
    barrier = threading.Barrier(4)

    def api(received: Received) -> Response:
        if received.target == "/api" and received.headers["authorization"].removeprefix("Bearer ") in server.live:
            return as_json({}, 302, Location="/there")
        if received.target == "/api":
            barrier.wait(10)
        return server.check(received)

    server.api = api
    with ThreadPoolExecutor(4) as pool:
        statuses = [response.status_code for response in pool.map(lambda _: requests.Session().send(request), range(4))]
    assert statuses == [200] * 4
