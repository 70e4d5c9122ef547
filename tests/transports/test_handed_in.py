"""What a ``session=`` or ``client=`` adds to a token request, and what it does not."""

from __future__ import annotations

import contextlib
import functools
import http.client
import importlib
import io
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
import requests_mock as mocks
import urllib3
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from werkzeug.wrappers import Response

from auth_plugins import ClientCredentials, Password, TokenRequestError, TokenSource, TokenTransportError
from tests.support.endpoints import LIBRARIES, Endpoint, resetting, token_source
from tests.support.loopback import Loopback, as_json


def by(library: str, session: Any, grant: Any, **arguments: Any) -> TokenSource:
    """A source that sends by *session*; *grant* may be a token URL."""
    grant = ClientCredentials(grant, "id", "s3cr3t") if isinstance(grant, str) else grant
    return token_source(library, grant, session, **arguments)


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


each_library = pytest.mark.parametrize("library", LIBRARIES)
APIS_OWN: dict[str, Any] = {
    "headers": {"Authorization": "Bearer of-the-api", "Cookie": "c=1", "User-Agent": "mine", "X-Trace": "t"},
    "params": {"api_key": "k3y-of-the-api"},
}


@each_library
@pytest.mark.parametrize("client_auth", ["client_secret_post", "client_secret_basic"])
def test_what_is_for_the_api_stays_there(
    library: str, client_auth: Any, make: Callable[..., Any], server: Loopback
) -> None:
    """Token and revocation requests have the session's harmless headers, not its credentials, params and cookies."""
    handed = make(library, **APIS_OWN)
    handed.cookies.set("session", "of-the-api")
    server.token_play = lambda _: as_json({"access_token": "abc"}, Set_Cookie="login=1; Path=/")
    server.api = lambda _: Response(status=200)
    options: Any = {"client_auth": client_auth, "revocation_url": f"{server.url}/revoke"}
    source = by(library, handed, Password(server.token_url, "me", "pa55word", "id", "s3cr3t", **options))
    source.invalidate(source.token())
    assert source.token().access_token == "abc"
    source.revoke()
    sent = [*server.token_requests, *server.api_requests]
    assert [received.target for received in sent] == ["/token", "/token", "/revoke"]
    for received in sent:
        assert "cookie" not in received.headers
        assert "of-the-api" not in str(received)
        assert received.headers.get("authorization", "Basic").startswith("Basic")
        assert (received.headers["user-agent"], received.headers["x-trace"]) == ("mine", "t")
    assert handed.headers["authorization"] == "Bearer of-the-api"
    assert dict(handed.params) == {"api_key": "k3y-of-the-api"}
    assert "login" not in handed.cookies


@each_library
def test_what_the_grant_says_is_exact(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """The grant's headers replace the session's, and its query is sent without the client's base_url and params."""
    base = {} if library == "requests" else {"base_url": "https://api.example.com/v1"}
    headers = {"authorization": "mine", "COOKIE": "a=b"}
    grant = ClientCredentials(f"{server.token_url}?tenant=a", "id", encoding="query", scope="x y", headers=headers)
    by(library, make(library, **APIS_OWN, **base), grant).token()
    [received] = server.token_requests
    assert (received.headers["authorization"], received.headers["cookie"]) == ("mine", "a=b")
    assert received.target == "/token?tenant=a&grant_type=client_credentials&scope=x%20y&client_id=id"


# Proxies


@pytest.fixture
def proxied(server: Loopback, other_server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """Make the other server the proxy for all hosts."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, other_server.url)
        monkeypatch.setenv(name.lower(), other_server.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return other_server


@each_library
@pytest.mark.parametrize("how", ["own", "handed in", "with proxies of its own"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_sees_a_token_request_to_loopback(
    library: str, how: str, host: str, make: Callable[..., Any], server: Loopback, proxied: Loopback
) -> None:
    """A token request to loopback is sent without a proxy, which would see secret and token."""
    grant = ClientCredentials(server.token_url.replace("127.0.0.1", host), "id", "s3cr3t")
    proxies = {"proxies": {"http": proxied.url}} if library == "requests" else {"proxy": proxied.url}
    options = {"own": None, "handed in": {}, "with proxies of its own": proxies}[how]
    session = None if options is None else make(library, **options)
    assert by(library, session, grant).token().access_token == "token-1"
    assert len(server.token_requests) == 1
    assert proxied.token_requests == []


@each_library
def test_a_proxy_is_used_for_other_hosts(library: str, make: Callable[..., Any], proxied: Loopback) -> None:
    """A token request to another machine is sent by the proxy of the environment, with and without a session."""
    grant = ClientCredentials("http://id.example.test/token", "id", "s3cr3t")
    for session in (make(library), None):
        assert by(library, session, grant, allow_http=True).token().access_token.startswith("token-")
    assert [each.target for each in proxied.token_requests] == ["http://id.example.test/token"] * 2


# Retries


class Repeating(HTTPAdapter):
    """An adapter that repeats by itself."""

    def send(self, *arguments: Any, **keywords: Any) -> Any:
        for _ in range(11):
            response = super().send(*arguments, **keywords)
            response.close()
        return response


def stubborn(library: str, make: Callable[..., Any], **options: Any) -> Any:
    """A session or client that repeats each request that fails."""
    if "requests" in library:
        session = make("requests")
        retry = Retry(11, status_forcelist=[401, 403, 429, 500, 503], allowed_methods=None, **options)
        session.mount("http://", HTTPAdapter(max_retries=retry) if library == "requests" else Repeating())
        return session
    module = importlib.import_module(library)

    class Transport(module.BaseTransport):  # type: ignore[name-defined]  # of either library
        """Repeats after answers and errors."""

        def __init__(self) -> None:
            self.inner = module.HTTPTransport()

        def handle_request(self, request: Any) -> Any:
            for _ in range(11):
                with contextlib.suppress(Exception):
                    self.inner.handle_request(request).close()
            return self.inner.handle_request(request)

        def close(self) -> None:
            self.inner.close()

    return make(library, transport=Transport())


@pytest.mark.parametrize("library", [*LIBRARIES, "an adapter for requests"])
def test_wrong_credentials_are_sent_once(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """A refused token request is sent once, and remembered, even if the session repeats refused requests."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    session, library = stubborn(library, make), library.rpartition(" ")[2]
    source = by(library, session, server.token_url)
    for _ in range(2):
        with pytest.raises(TokenRequestError) as caught:
            source.token()
        assert caught.value.status_code == 401
    assert len(server.token_requests) == 1


@each_library
def test_a_failing_token_request_is_sent_three_times(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """A token request is sent at most three times to a server in trouble, even if the session repeats it."""
    server.token_play = lambda _: as_json({}, 500)
    source = by(library, stubborn(library, make), server.token_url)
    with pytest.raises(TokenRequestError, match="500"):
        source.token()
    assert len(server.token_requests) == 3
    with Endpoint(resetting) as endpoint:
        source = by(library, stubborn(library, make), endpoint.url)
        with pytest.raises(TokenTransportError, match="could not be reached"):
            source.token()
        assert endpoint.connections == 3


def test_a_session_that_waits_does_not_exceed_the_timeout(make: Callable[..., Any], server: Loopback) -> None:
    """The timeout holds even if the session would wait as long as the server's Retry-After asks."""
    server.token_play = lambda _: as_json({}, 503, Retry_After="3600")
    handed = stubborn("requests", make, respect_retry_after_header=True)
    source = by("requests", handed, server.token_url, timeout=2)
    with pytest.raises(TokenRequestError) as caught:
        source.token()
    assert caught.value.retry_after == 3600
    assert len(server.token_requests) == 1


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


def test_a_hook_may_send_something_else(server: Loopback) -> None:
    """A hook of the session may send a request of its own by the same connection."""
    heard: list[int] = []

    def hook(response: Any, **_: Any) -> None:
        if "token" in response.url:
            request = requests.Request("GET", server.api_url).prepare()
            heard.append(response.connection.send(request).status_code)

    server.api = lambda _: as_json({})
    with requests.Session() as session:
        session.hooks["response"].append(hook)
        assert by("requests", session, server.token_url).token()
    assert heard == [200]


@each_library
def test_a_hook_may_raise_for_the_status(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """A refused token request raises a TokenRequestError even if a hook of the session raises for its status."""
    session = make(library)
    hooks = session.hooks if library == "requests" else session.event_hooks
    hooks["response"].append(lambda response, **_: response.raise_for_status())
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    with pytest.raises(TokenRequestError) as caught:
        by(library, session, server.token_url).token()
    assert caught.value.status_code == 401
    # httpx has closed the response by then.
    assert caught.value.error == ("invalid_client" if library == "requests" else None)
    if library != "requests":
        hooks["response"].insert(0, lambda response: response.read())
        with pytest.raises(TokenRequestError, match="invalid_client"):
            by(library, session, server.token_url).token()


def test_a_subclass_of_session_handles_token_requests(server: Loopback) -> None:
    """The methods of a subclass of Session handle token requests, and attributes that they set are kept."""
    session = Recording()
    source = by("requests", session, server.token_url)
    assert source.token().access_token == "token-1"
    assert (session.sent, session.names) == (1, ["POST"])
    assert len(session.adapters["http://"].poolmanager.pools) == 1, "its connections are open still"  # type: ignore[attr-defined]
    assert "close" not in vars(session)


def test_a_class_in_the_place_of_session(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a session, what a class in its place adds to requests for APIs is not on a token request."""

    class Corporate(requests.Session):
        def __init__(self) -> None:
            super().__init__()
            self.headers["Authorization"] = "Bearer of-the-api"
            self.params = {"api_key": "k3y-of-the-api"}
            self.cookies.set("session", "of-the-api")
            self.auth = ("user", "of-the-api")

    monkeypatch.setattr(requests, "Session", Corporate)
    grant = ClientCredentials(server.token_url, "id", "s3cr3t", client_auth="client_secret_post")
    assert by("requests", None, grant).token()
    [received] = server.token_requests
    assert (received.target, "authorization" in received.headers, "cookie" in received.headers) == (
        "/token",
        False,
        False,
    )


class Gateway(requests.Session):
    """Sends all requests by one adapter."""

    def get_adapter(self, url: str | bytes) -> Any:
        return self.adapters["gateway://"]


class Redirected(requests.Session):
    """Sends the requests for one host to another."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.target = url

    def send(self, request: requests.PreparedRequest, **arguments: Any) -> requests.Response:
        request.url = (request.url or "").replace("https://id.example.com", self.target)
        return super().send(request, **arguments)


@pytest.mark.parametrize("kind", [Gateway, Redirected])
def test_a_session_that_chooses_the_adapter_itself(kind: type[requests.Session], server: Loopback) -> None:
    """An adapter that does not match the token URL repeats no token request either."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    session = Gateway() if kind is Gateway else Redirected(server.url)
    adapter = HTTPAdapter(max_retries=Retry(4, status_forcelist=[401], allowed_methods=None))
    session.mount("gateway://" if kind is Gateway else "http://", adapter)
    with session, pytest.raises(TokenRequestError, match="invalid_client"):
        by("requests", session, server.token_url if kind is Gateway else "https://id.example.com/token").token()
    assert len(server.token_requests) == 1


def test_a_session_with_a_method_replaced(server: Loopback) -> None:
    """A partial of the session's own method, set for a default timeout, sends no credentials of the API."""
    with requests.Session() as session:
        session.params = {"api_key": "k3y-of-the-api"}
        session.cookies.set("session", "of-the-api")
        session.request = functools.partial(session.request, timeout=5)  # type: ignore[method-assign]
        session.mount("http://", HTTPAdapter(max_retries=Retry(11, status_forcelist=[401], allowed_methods=None)))
        server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
        with pytest.raises(TokenRequestError):
            by("requests", session, server.token_url).token()
    [received] = server.token_requests
    assert (received.target, "cookie" in received.headers) == ("/token", False)


def test_a_mock_of_one_session(server: Loopback) -> None:
    """requests-mock on one session sees token requests, and lets real ones through."""
    with requests.Session() as session, mocks.Mocker(session=session, real_http=True) as mocker:
        mocker.post("https://id.example.com/token", json={"access_token": "mocked"})
        grant = ClientCredentials("https://id.example.com/token", "id", "s3cr3t")
        assert by("requests", session, grant).token().access_token == "mocked"
        assert mocker.call_count == 1
        real = ClientCredentials(server.token_url, "id", "s3cr3t")
        assert by("requests", session, real).token().access_token == "token-1"


class Closed(requests.Session):
    """A session that cannot be copied, as those behind a proxy object."""

    def __new__(cls) -> Any:
        return super().__new__(cls)

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise TypeError


def test_a_session_that_cannot_be_copied(server: Loopback) -> None:
    """A session that cannot be copied sends token requests itself, without the API's credentials."""
    with Closed() as session:
        session.headers["Authorization"] = "Bearer of-the-api"
        session.params = {"api_key": "k3y-of-the-api"}
        assert by("requests", session, server.token_url).token()
    [received] = server.token_requests
    assert (received.target, "of-the-api" in str(received)) == ("/token", False)


@each_library
def test_a_pool_without_a_free_connection(library: str, make: Callable[..., Any], server: Loopback) -> None:
    """A token request waits for a free connection of a session no longer than its timeout."""
    server.api = lambda _: as_json({})
    module = importlib.import_module(library)
    if library == "requests":
        argument, session = "session=", make(library)
        session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
        busy = session.get(server.api_url, stream=True)
    else:
        argument, session = "client=", make(library, limits=module.Limits(max_connections=1))
        busy = session.stream("GET", server.api_url)
    source = by(library, session, server.token_url, timeout=0.3)
    with busy, pytest.raises(TokenTransportError, match=f"no free connection of {argument} within"):
        source.token()
    assert source.token().access_token == "token-1"


def test_a_connection_is_given_back_as_it_was(make: Callable[..., Any], server: Loopback) -> None:
    """A connection is given back unchanged, and serves the API afterwards."""
    session = make("requests")
    server.api = lambda _: as_json({})
    by("requests", session, server.token_url).token()
    [pool] = session.get_adapter(server.url).poolmanager.pools._container.values()
    assert [each.response_class for each in pool.pool.queue if each is not None] == [http.client.HTTPResponse]
    assert session.get(server.api_url).status_code == 200


def test_another_kind_of_pool(server: Loopback) -> None:
    """An adapter with another kind of connection pool sends token requests by it."""

    class Pool:
        """Answers by itself."""

        def urlopen(self, **_: Any) -> Any:
            return urllib3.HTTPResponse(io.BytesIO(b'{"access_token": "tok-1"}'), status=200, preload_content=False)

    class Mine(HTTPAdapter):
        def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
            return Pool()

    with requests.Session() as session:
        session.mount("http://", Mine())
        assert by("requests", session, server.token_url).token().access_token == "tok-1"
    assert server.token_requests == []


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_users_transport_is_bounded_by_its_timeouts(library: str, make: Callable[..., Any]) -> None:
    """A transport that looks up its timeouts before each wait does not exceed the timeout."""
    module = importlib.import_module(library)
    waits: list[float] = []

    class Waiting(module.BaseTransport):  # type: ignore[name-defined]  # of either library
        def handle_request(self, request: Any) -> Any:
            timeouts = request.extensions["timeout"]
            assert timeouts.get("another", 7) == 7
            while len(waits) < 50:
                waits.append(timeouts["read"])
                time.sleep(min(0.1, waits[-1]))
            return module.Response(200, json={"access_token": "late"})

    with pytest.raises(TokenTransportError, match="timed out"):
        by(library, make(library, transport=Waiting()), "https://id.example.com/token", timeout=0.3).token()
    assert len(waits) < 10


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_connections_are_not_retried_after_the_deadline(library: str, make: Callable[..., Any]) -> None:
    """A client's transport that retries connections, with longer and longer pauses, does not exceed the timeout."""
    module = importlib.import_module(library)
    client = make(library, transport=module.HTTPTransport(retries=10))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/token"
    began = time.monotonic()
    with pytest.raises(TokenTransportError, match="could not be reached"):
        by(library, client, url, timeout=0.3).token()
    assert time.monotonic() - began < 5, "all ten pauses take minutes"
