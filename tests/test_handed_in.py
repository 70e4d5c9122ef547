"""What a session or client that is handed in adds to a token request, and what it does not."""

from __future__ import annotations

import contextlib
import functools
import http.client
import importlib
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import httpx2
import httpx_retries
import pytest
import requests
import requests_mock as mocks
import urllib3
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from werkzeug.wrappers import Response

from auth_plugins import (
    ClientCredentials,
    MemoryCache,
    Password,
    TokenRequestError,
    TokenSource,
    TokenTransportError,
)
from auth_plugins._grants.oauth import OAuthGrant
from auth_plugins._transports.base import httpx_transport, requests_transport
from auth_plugins._transports.deadline import Deadline, EndedError, Sending
from auth_plugins._transports.httpx import TimeLeft, Trace

from .loopback import Loopback, as_json
from .test_bounds import PLAYS, TRANSPORTS, Endpoint

LIBRARIES = [*TRANSPORTS]


@pytest.fixture
def make() -> Iterator[Callable[..., Any]]:
    """Make a session or client, which is closed afterwards."""
    with ExitStack() as stack:

        def make(library: str, **arguments: Any) -> Any:
            module = importlib.import_module(library)
            if library != "requests":
                return stack.enter_context(module.Client(**arguments))
            session = stack.enter_context(module.Session())
            for name, value in arguments.items():
                getattr(session, name).update(value)
            return session

        yield make


def by(library: str, handed: Any, grant: OAuthGrant, **policy: Any) -> TokenSource:
    """A source that sends its token requests by *handed*."""
    source = TokenSource(grant, cache=MemoryCache(), **policy)
    source._transport = requests_transport(handed) if library == "requests" else httpx_transport(library, handed)
    return source


APIS_OWN: dict[str, Any] = {
    "headers": {"Authorization": "Bearer of-the-api", "Cookie": "c=1", "User-Agent": "mine", "X-Trace": "t"},
    "params": {"api_key": "k3y-of-the-api"},
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("client_auth", ["client_secret_post", "client_secret_basic"])
def test_what_is_for_the_api_stays_there(
    library: str, client_auth: str, make: Callable[..., Any], server: Loopback
) -> None:
    """A session's default Authorization, cookies and params are not in a token request; harmless headers are."""
    handed = make(library, **APIS_OWN)
    handed.cookies.set("session", "of-the-api")
    grant = Password(server.token_url, "me", "pa55word", "id", "s3cr3t", client_auth=client_auth)
    assert by(library, handed, grant).token().access_token == "token-1"
    [received] = server.token_requests
    assert received.target == "/token"
    assert "cookie" not in received.headers
    assert "of-the-api" not in str(received)
    assert received.headers.get("authorization", "Basic").startswith("Basic")
    assert (received.headers["user-agent"], received.headers["x-trace"]) == ("mine", "t")
    assert handed.headers["authorization"] == "Bearer of-the-api"
    assert dict(handed.params) == {"api_key": "k3y-of-the-api"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_for_the_api_is_in_no_revocation(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """A revocation request has none of the session's credentials, cookies and params either."""
    handed = make(library, **APIS_OWN)
    handed.cookies.set("session", "of-the-api")
    server.api = lambda _: Response(status=200)
    url = f"{server.url}/revoke"
    source = by(library, handed, ClientCredentials(server.token_url, "id", client_auth="none", revocation_url=url))
    source.token()
    source.revoke()
    [received] = server.api_requests
    assert received.target == "/revoke"
    assert "of-the-api" not in str(received)
    assert "authorization" not in received.headers
    assert "cookie" not in received.headers


@pytest.mark.parametrize("library", LIBRARIES)
def test_headers_of_the_grant_win(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """Authorization and Cookie that the grant itself names are sent, whatever the session has."""
    handed = make(library, **APIS_OWN)
    headers = {"authorization": "mine", "COOKIE": "a=b"}
    by(library, handed, ClientCredentials(server.token_url, "id", "s3cr3t", headers=headers)).token()
    [received] = server.token_requests
    assert (received.headers["authorization"], received.headers["cookie"]) == ("mine", "a=b")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_query_of_the_token_url_is_exact(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """The token request goes to the URL as it was built, query included, and base_url of a client plays no part."""
    arguments = {} if library == "requests" else {"base_url": "https://api.example.com/v1"}
    handed = make(library, params=APIS_OWN["params"], **arguments)
    grant = ClientCredentials(f"{server.token_url}?tenant=a", "id", "s3cr3t", encoding="query", scope="x y")
    by(library, handed, grant).token()
    [received] = server.token_requests
    assert received.target == "/token?tenant=a&grant_type=client_credentials&scope=x%20y"


@pytest.mark.parametrize("library", LIBRARIES)
def test_cookies_of_the_token_endpoint_stay_there(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """A cookie that the token endpoint sets is sent neither to the API nor with the next token request."""
    handed = make(library)
    server.token_play = lambda _: as_json({"access_token": "abc"}, Set_Cookie="login=1; Path=/")
    server.api = lambda _: as_json({})
    source = by(library, handed, ClientCredentials(server.token_url, "id", "s3cr3t"))
    source.invalidate(source.token())
    source.token()
    assert handed.get(server.api_url).status_code == 200
    sent = [*server.token_requests, *server.api_requests]
    assert len(sent) == 3
    assert not [received for received in sent if "cookie" in received.headers]


# Proxies


@pytest.fixture
def proxied(server: Loopback, other_server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """The other server is the proxy of all that this environment says anything of."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, other_server.url)
        monkeypatch.setenv(name.lower(), other_server.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return other_server


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("how", ["own", "handed in", "with proxies of its own"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_sees_a_token_request_to_loopback(
    library: str, how: str, host: str, make: Callable[..., Any], server: Loopback, proxied: Loopback
) -> None:
    """A token request to this machine goes by no proxy, which would read secret and token in clear."""
    grant = ClientCredentials(server.token_url.replace("127.0.0.1", host), "id", "s3cr3t")
    if how == "own":
        source = TokenSource(grant, cache=MemoryCache())
        source._transport = TRANSPORTS[library]()
    else:
        own = {"proxies": {"http": proxied.url}} if library == "requests" else {"proxy": proxied.url}
        source = by(library, make(library, **own if how == "with proxies of its own" else {}), grant)
    assert source.token().access_token == "token-1"
    assert len(server.token_requests) == 1
    assert proxied.token_requests == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_proxy_is_used_for_other_hosts(library: str, make: Callable[..., Any], proxied: Loopback) -> None:
    """A token request to another machine goes by the proxy of the environment, by a handed-in session too."""
    grant = ClientCredentials("http://id.example.test/token", "id", "s3cr3t")
    for source in (by(library, make(library), grant), by(library, None, grant)):
        source._allow_http = True
        assert source.token().access_token.startswith("token-")
    assert [each.target for each in proxied.token_requests] == ["http://id.example.test/token"] * 2


# Repetitions


def stubborn(library: str, make: Callable[..., Any], **options: Any) -> Any:
    """A session or client that repeats whatever fails."""
    statuses = [401, 403, 429, 500, 503]
    if library == "requests":
        session = make(library)
        retry = Retry(total=11, status_forcelist=statuses, allowed_methods=None, **options)
        session.mount("http://", HTTPAdapter(max_retries=retry))
        return session
    everything = httpx_retries.Retry(
        total=11,
        status_forcelist=statuses,
        allowed_methods=["POST"],
        retry_on_exceptions=[Exception],
        **{"backoff_factor": 0.0, **options},
    )
    module = importlib.import_module(library)

    class Transport(module.BaseTransport):  # type: ignore[name-defined]
        """As RetryTransport, which knows httpx alone."""

        def __init__(self) -> None:
            self.inner = module.HTTPTransport()

        def handle_request(self, request: Any) -> Any:
            for _ in range(11):
                with contextlib.suppress(Exception):
                    self.inner.handle_request(request).close()
            return self.inner.handle_request(request)

        def close(self) -> None:
            self.inner.close()

    return make(
        library, transport=httpx_retries.RetryTransport(retry=everything) if library == "httpx" else Transport()
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_wrong_credentials_are_sent_once(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """A session repeats refused requests: a refused token request is sent once, and remembered as a refusal."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    source = by(library, stubborn(library, make), ClientCredentials(server.token_url, "id", "s3cr3t"))
    for _ in range(2):
        with pytest.raises(TokenRequestError) as caught:
            source.token()
        assert caught.value.status_code == 401
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_server_in_trouble_is_asked_three_times(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """A session repeats what a server in trouble failed: a token request is sent three times at most."""
    server.token_play = lambda _: as_json({}, 500)
    source = by(library, stubborn(library, make), ClientCredentials(server.token_url, "id", "s3cr3t"))
    with pytest.raises(TokenRequestError, match="500"):
        source.token()
    assert len(server.token_requests) == 3


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_connection_is_tried_again_and_again(library: str, make: Callable[..., Any]) -> None:
    """A session repeats a request whose connection breaks: a token request is sent three times at most."""
    with Endpoint(PLAYS["it resets the connection"]) as endpoint:
        source = by(library, stubborn(library, make), ClientCredentials(endpoint.url, "id", "s3cr3t"))
        with pytest.raises(TokenTransportError, match="could not be reached"):
            source.token()
        assert endpoint.connections == 3


def test_a_session_that_rests_does_not_hold_up(make: Callable[..., Any], server: Loopback) -> None:
    """A session would wait as long as a server asks: the timeout of the token request is shorter, and holds."""
    server.token_play = lambda _: as_json({}, 503, Retry_After="3600")
    handed = stubborn("requests", make, respect_retry_after_header=True)
    source = by("requests", handed, ClientCredentials(server.token_url, "id", "s3cr3t"), timeout=2)
    with pytest.raises(TokenRequestError) as caught:
        source.token()
    assert caught.value.retry_after == 3600
    assert len(server.token_requests) == 1


class Repeating(HTTPAdapter):
    """An adapter that repeats by itself."""

    def send(self, *arguments: Any, **keywords: Any) -> Any:
        for _ in range(11):
            response = super().send(*arguments, **keywords)
            response.close()
        return response


class Recording(requests.Session):
    """A session of the user's own class."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.names: list[str] = []

    def request(self, method: Any, url: Any, *arguments: Any, **keywords: Any) -> Any:
        self.sent += 1
        self.names.append(method)
        return super().request(method, url, *arguments, **keywords)

    def __del__(self) -> None:
        self.close()


def test_an_adapter_that_repeats_is_stopped(server: Loopback) -> None:
    """An adapter of the user's own sends everything many times: a token request is sent once."""
    with requests.Session() as session:
        session.mount("http://", Repeating())
        server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
        source = by("requests", session, ClientCredentials(server.token_url, "id", "s3cr3t"))
        with pytest.raises(TokenRequestError) as caught:
            source.token()
    assert caught.value.status_code == 401
    assert len(server.token_requests) == 1


def test_a_hook_may_send_something_else(server: Loopback) -> None:
    """A hook of the session sends another request by the same connection, which is no token request: it may."""
    heard: list[int] = []

    def hook(response: Any, **_: Any) -> None:
        if "token" in response.url:
            request = requests.Request("GET", server.api_url).prepare()
            heard.append(response.connection.send(request).status_code)

    server.api = lambda _: as_json({})
    with requests.Session() as session:
        session.hooks["response"].append(hook)
        assert by("requests", session, ClientCredentials(server.token_url, "id", "s3cr3t")).token()
    assert heard == [200]


def test_a_class_of_sessions_of_ones_own(server: Loopback) -> None:
    """A class derived from Session has its say: its methods see a token request, and what they count is kept."""
    session = Recording()
    source = by("requests", session, ClientCredentials(server.token_url, "id", "s3cr3t"))
    assert source.token().access_token == "token-1"
    assert (session.sent, session.names) == (1, ["POST"])
    assert len(session.adapters["http://"].poolmanager.pools) == 1, "its connections are open still"  # type: ignore[attr-defined]
    assert "close" not in vars(session)


def test_a_session_with_a_method_replaced(server: Loopback) -> None:
    """Users set a default timeout by a partial of the session's own method: nothing of the API gets along by it."""
    with requests.Session() as session:
        session.params = {"api_key": "k3y-of-the-api"}
        session.cookies.set("session", "of-the-api")
        session.request = functools.partial(session.request, timeout=5)  # type: ignore[method-assign]
        session.mount("http://", HTTPAdapter(max_retries=Retry(11, status_forcelist=[401], allowed_methods=None)))
        server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
        with pytest.raises(TokenRequestError):
            by("requests", session, ClientCredentials(server.token_url, "id", "s3cr3t")).token()
    [received] = server.token_requests
    assert (received.target, "cookie" in received.headers) == ("/token", False)


def test_a_mock_of_one_session(server: Loopback) -> None:
    """requests-mock replaces methods of one session: it sees the token request, and lets real ones through."""
    with requests.Session() as session, mocks.Mocker(session=session, real_http=True) as mocker:
        mocker.post("https://id.example.com/token", json={"access_token": "mocked"})
        grant = ClientCredentials("https://id.example.com/token", "id", "s3cr3t")
        assert by("requests", session, grant).token().access_token == "mocked"
        assert mocker.call_count == 1
        real = ClientCredentials(server.token_url, "id", "s3cr3t")
        assert by("requests", session, real).token().access_token == "token-1"


def test_a_session_that_cannot_be_copied(server: Loopback) -> None:
    """A session whose attributes are in no dictionary sends token requests itself, without the API's credentials."""

    class Closed(requests.Session):
        def __new__(cls) -> Any:
            return super().__new__(cls)

        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise TypeError

    with Closed() as session:
        session.headers["Authorization"] = "Bearer of-the-api"
        session.params = {"api_key": "k3y-of-the-api"}
        assert by("requests", session, ClientCredentials(server.token_url, "id")).token()
    [received] = server.token_requests
    assert (received.target, "authorization" in received.headers) == ("/token", False)


def test_a_pool_without_a_free_connection(server: Loopback) -> None:
    """All connections of a session that blocks are in use: a token request waits for one no longer than its timeout."""
    server.api = lambda _: as_json({})
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
        with session.get(server.api_url, stream=True):
            source = by("requests", session, ClientCredentials(server.token_url, "id", "s3cr3t"), timeout=0.3)
            with pytest.raises(TokenTransportError, match=r"no free connection of session= within"):
                source.token()
        assert source.token().access_token == "token-1"


@pytest.mark.parametrize("module", [httpx, httpx2])
def test_a_pool_of_httpx_without_a_free_connection(module: Any, server: Loopback) -> None:
    """All connections of a client are in use: a token request waits for one no longer than its timeout."""
    server.api = lambda _: as_json({})
    with module.Client(limits=module.Limits(max_connections=1)) as client:
        with client.stream("GET", server.api_url):
            grant = ClientCredentials(server.token_url, "id", "s3cr3t")
            source = by(module.__name__, client, grant, timeout=0.3)
            with pytest.raises(TokenTransportError, match=r"no free connection of client= within"):
                source.token()
        assert source.token().access_token == "token-1"


@pytest.mark.parametrize("play", ["the status drips", "the headers drip"])
def test_headers_that_drip_end_by_a_session_too(play: str, make: Callable[..., Any]) -> None:
    """The headers drip over a connection of a session's: the deadline holds."""
    with Endpoint(PLAYS[play]) as endpoint:
        source = by("requests", make("requests"), ClientCredentials(endpoint.url, "id", "s3cr3t"), timeout=0.5)
        with pytest.raises(TokenTransportError, match="timed out"):
            source.token()


def test_a_connection_is_given_back_as_it_was(make: Callable[..., Any], server: Loopback) -> None:
    """The connection of a token request serves the API afterwards, and is as requests made it."""
    session = make("requests")
    server.api = lambda _: as_json({})
    by("requests", session, ClientCredentials(server.token_url, "id", "s3cr3t")).token()
    [pool] = session.get_adapter(server.url).poolmanager.pools._container.values()
    [connection] = [each for each in pool.pool.queue if each is not None]
    assert connection.response_class is http.client.HTTPResponse
    assert session.get(server.api_url).status_code == 200


def test_a_pool_of_ones_own(server: Loopback) -> None:
    """An adapter's connections are of another kind than those of urllib3: they are used as they are."""

    class Pool:
        """Answers by itself."""

        def urlopen(self, **_: Any) -> Any:
            return urllib3.HTTPResponse(io.BytesIO(b'{"access_token": "tok-1"}'), status=200, preload_content=False)

    class Mine(HTTPAdapter):
        def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
            return Pool()

    with requests.Session() as session:
        session.mount("http://", Mine())
        assert by("requests", session, ClientCredentials(server.token_url, "id")).token().access_token == "tok-1"
    assert server.token_requests == []


def test_no_step_is_taken_after_the_deadline() -> None:
    """A transport of the user's repeats connections until the deadline is over: the next one is not made."""
    deadline = Deadline(-1)
    trace = Trace("http://127.0.0.1/token", deadline, Sending(), TimeLeft(deadline, 1))
    with pytest.raises(EndedError):
        trace("connection.connect_tcp.started", {"host": "127.0.0.1", "port": 80})
    trace("unknown", {})


@pytest.mark.parametrize("module", [httpx, httpx2])
def test_a_mock_has_no_connection_to_watch(module: Any) -> None:
    """A client whose transport is a mock sends token requests by it."""
    transport = module.MockTransport(lambda _: module.Response(200, json={"access_token": "mocked"}))
    with module.Client(transport=transport) as client:
        grant = ClientCredentials("https://id.example.com/token", "id", "s3cr3t")
        assert by(module.__name__, client, grant).token().access_token == "mocked"
