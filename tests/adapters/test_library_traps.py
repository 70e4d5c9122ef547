"""The traps of requests and httpx that were seen for real; each pinned where a user would fall into it."""

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
from pathlib import Path
from typing import Any

import anyio
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
)
from auth_plugins._transports.requests import body_chunks
from tests.support.drivers import ALL, SYNC, Call, Driver, each
from tests.support.loopback import Clock, Loopback, Received, as_json

OAuth2Auth = auth_plugins.requests.OAuth2Auth


def test_auth_is_true_so_that_netrc_is_not_asked(
    server: Loopback, grant: ClientCredentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login in .netrc replaces neither the token nor the client authentication."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert requests.get(server.api_url, auth=OAuth2Auth(grant), timeout=5).status_code == 200
    assert server.token_requests[0].headers["authorization"] == "Basic Y2xpZW50OnMzY3IzdA=="


def test_a_session_that_has_this_auth_itself(server: Loopback, grant: ClientCredentials) -> None:
    """A session that has the auth may send its token requests as well."""
    with requests.Session() as session:
        session.trust_env = False
        session.auth = OAuth2Auth(grant, session=session)
        assert session.get(server.api_url).status_code == 200
    for module, plugin in ((httpx, auth_plugins.httpx), (httpx2, auth_plugins.httpx2)):
        with module.Client(trust_env=False) as client:
            client.auth = plugin.OAuth2Auth(grant, client=client)
            assert client.get(server.api_url).status_code == 200
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("driver", each(ALL))
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_request_follows_no_redirect(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials, status: int
) -> None:
    """A token request follows no redirect: no secret goes along, and no token comes back."""
    server.token_play = lambda _: Response(status=status, headers={"Location": other_server.token_url})
    with pytest.raises(TokenRequestError, match=f"redirect to {other_server.token_url}; "):
        driver.get(server.api_url, driver.auth(grant))
    assert (other_server.token_requests, other_server.api_requests) == ([], [])


def test_a_redirect_to_no_address_is_the_librarys_matter(requests_mock: Any) -> None:
    """A redirect to an invalid address raises the same error as without auth."""
    requests_mock.get("https://api.example.com/", status_code=302, headers={"Location": "http://[half/"})
    with pytest.raises(ValueError, match="IPv6") as plain:
        requests.get("https://api.example.com/", timeout=5)
    with pytest.raises(type(plain.value), match="IPv6"):
        requests.get("https://api.example.com/", auth=OAuth2Auth(ApiKey("key")), timeout=5)


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_key_survives_no_redirect_after_a_renewal(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials
) -> None:
    """If the replay of a 401 is redirected to another origin, no token goes along."""

    def play(received: Any) -> Response:
        if received.headers["x-token"] == "Bearer token-1":
            return as_json({}, 401)
        return Response(status=302, headers={"Location": other_server.api_url})

    server.api = play
    other_server.api = lambda _: as_json({})
    answer = driver.get(server.api_url, driver.auth(grant, header="X-Token"))
    assert answer.status == 200
    assert "token-" not in str(other_server.api_requests)


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_from_http_to_https_is_another_origin(module: str, header: str) -> None:
    """A redirect from ``http://`` to ``https://`` carries no token."""
    library, plugin = importlib.import_module(module), importlib.import_module(f"auth_plugins.{module}")
    seen: list[Any] = []

    def play(request: Any) -> Any:
        seen.append(request)
        if request.url.scheme == "http":
            return library.Response(301, headers={"Location": "https://localhost/api"})
        return library.Response(200)

    auth = plugin.OAuth2Auth(ApiKey("secret-key", header=header))
    with library.Client(transport=library.MockTransport(play), auth=auth, follow_redirects=True) as client:
        assert client.get("http://localhost/api").status_code == 200
    first, second = seen
    assert (first.headers["host"], second.headers["host"]) == ("localhost", "localhost")
    assert first.headers[header] == "secret-key"
    assert b"secret-key" not in [value for _, value in second.headers.raw]


def test_from_http_to_https_with_requests(requests_mock: Any) -> None:
    """The same holds for requests, which keeps ``Authorization`` on that way."""
    requests_mock.get("http://localhost/api", status_code=301, headers={"Location": "https://localhost/api"})
    requests_mock.get("https://localhost/api", text="fine")
    for header in ("Authorization", "X-API-Key"):
        requests.get("http://localhost/api", auth=OAuth2Auth(ApiKey("secret-key", header=header)), timeout=5)
        assert "secret-key" not in str(requests_mock.last_request.headers)


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
def test_a_key_in_a_header_of_its_own_is_in_no_other(module: str) -> None:
    """Hooks and mocks see a key in its own header, and in no other."""
    library, plugin = importlib.import_module(module), importlib.import_module(f"auth_plugins.{module}")
    seen: list[Any] = []

    def play(request: Any) -> Any:
        seen.append(request)
        return library.Response(200)

    with library.Client(transport=library.MockTransport(play), auth=plugin.OAuth2Auth(ApiKey("key"))) as client:
        client.get("https://api.example.com/")
    headers = seen[0].headers
    assert (headers["x-api-key"], headers.get_list("X-API-Key"), "x-api-key" in headers) == ("key", ["key"], True)
    assert ("authorization" in headers, headers.get("Authorization"), headers.get_list("authorization")) == (
        False,
        None,
        [],
    )
    assert dict(headers)["x-api-key"] == "key"
    assert isinstance(headers, library.Headers)


def test_an_auth_of_another_library_names_the_right_module(grant: ClientCredentials) -> None:
    """An auth that another library calls, a warm one too, and a client of another library, name the right module."""
    url = "https://api.example.com/"
    for owner in ("requests", "httpx", "httpx2"):
        auth: Any = importlib.import_module(f"auth_plugins.{owner}").OAuth2Auth(ApiKey("k3y", header="Authorization"))
        if owner == "requests":
            for _ in range(2):
                auth(requests.Request("GET", url).prepare())
        for caller in {"requests", "httpx", "httpx2"} - {owner}:
            library = importlib.import_module(caller)
            text = f"of auth_plugins.{owner}, but {caller} called it; import auth_plugins.{caller}$"
            with pytest.raises(ConfigurationError, match=text) as caught:
                library.get(url, auth=auth, timeout=5)
            assert caught.value.argument == "auth"
        with pytest.raises(ConfigurationError, match="but builtins called it; import the one for the library that you"):
            auth(object())
    given: Any
    for given in (grant, auth_plugins.TokenSource(grant)):
        with pytest.raises(ConfigurationError, match=r"give OAuth2Auth\(\.\.\.\) of it"):
            requests.get(url, auth=given, timeout=5)
    with httpx.Client() as client, pytest.raises(ConfigurationError, match=r"^client must be an httpx2\.Client, got"):
        auth_plugins.httpx2.OAuth2Auth(grant, client=client)  # type: ignore[arg-type]


def test_an_async_client_sends_no_token_requests(grant: ClientCredentials) -> None:
    """An ``AsyncClient`` as ``client=`` is an error: it belongs to one event loop."""
    with pytest.raises(ConfigurationError, match="AsyncClient"):
        auth_plugins.httpx.OAuth2Auth(grant, client=httpx.AsyncClient())  # type: ignore[arg-type]


@pytest.mark.parametrize("driver", each(SYNC))
def test_an_upload_is_not_read_ahead(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A generator is read part by part while it is sent, after the token was fetched."""
    auth, asked = driver.auth(grant), []

    def parts() -> Any:
        for number in range(3):
            asked.append((number, len(server.token_requests)))
            yield b"x"

    body = {"data" if driver.library == "requests" else "content": parts()}
    answer = driver.send(Call("POST", server.api_url, body), auth)
    assert (answer.status, server.api_requests[0].body) == (200, b"xxx")
    assert asked == [(0, 1), (1, 1), (2, 1)], "the token came first, the body after"


def test_what_the_user_set_stays(server: Loopback, grant: ClientCredentials) -> None:
    """Cookies, hooks and ``stream=`` work as without auth; a response hook sees the replay's response only."""
    hooked: list[int] = []
    plays = [as_json({}, 401), as_json({"fine": True})]
    plays[0].set_cookie("first", "1")
    server.api = lambda _: plays.pop(0)
    with requests.Session() as session:
        session.trust_env = False
        session.cookies.set("mine", "2")
        response = session.get(
            server.api_url,
            auth=OAuth2Auth(grant),
            stream=True,
            hooks={"response": lambda response, **_: hooked.append(response.status_code)},
        )
        assert not response.raw.closed
        assert response.json() == {"fine": True}
        assert session.cookies.get_dict() == {"mine": "2", "first": "1"}
    assert hooked == [200]
    assert [received.headers["cookie"] for received in server.api_requests] == ["mine=2"] * 2


def test_a_renewal_that_fails_is_told(server: Loopback, grant: ClientCredentials) -> None:
    """If the token request after a 401 is refused, its error is raised, and the 401 is not returned."""
    for driver in ALL:
        server.token_play = server.issue
        auth = driver.auth(grant, cache=auth_plugins.MemoryCache())
        assert driver.get(server.api_url, auth).status == 200
        server.revoke()
        server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
        with pytest.raises(TokenRequestError, match="invalid_client") as caught:
            driver.get(server.api_url, auth)
        assert isinstance(caught.value, driver.base_error)


def test_secrets_are_in_no_log(server: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    """No log at DEBUG holds a secret or a token, unless the secret travels in the URL."""
    caplog.set_level(logging.DEBUG)
    grant = ClientCredentials(server.token_url, "client", "s3cr3t-of-mine", client_auth="client_secret_post")
    for driver in ALL:
        driver.get(server.api_url, driver.auth(grant, cache=auth_plugins.MemoryCache()))
    text = "\n".join(record.getMessage() for record in caplog.records if "httpcore" not in record.name)
    assert "s3cr3t" not in text
    assert "token-" not in text
    assert caplog.records


def test_an_unread_error_is_understood(server: Loopback, grant: ClientCredentials) -> None:
    """If a client raises for a bad status before the answer was read, the error has the status."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)

    def raise_for_status(response: Any) -> None:
        response.raise_for_status()

    for module, plugin in ((httpx, auth_plugins.httpx), (httpx2, auth_plugins.httpx2)):
        with module.Client(event_hooks={"response": [raise_for_status]}, trust_env=False) as client:
            auth = plugin.OAuth2Auth(grant, client=client, cache=auth_plugins.MemoryCache())
            with pytest.raises(TokenRequestError) as caught:
                auth.source.token()
        assert caught.value.status_code == 401


def test_a_session_of_ones_own_may_fail_in_its_own_way(server: Loopback, grant: ClientCredentials) -> None:
    """Any exception of a session becomes a ``TokenTransportError`` with its text and without secrets."""

    class Broken(requests.adapters.BaseAdapter):
        def send(self, request: Any, *_: Any, **__: Any) -> Any:
            raise UnicodeDecodeError("utf-8", request.body.encode(), 0, 1, "s3cr3t")

        def close(self) -> None:
            pass

    session = requests.Session()
    session.mount("http://", Broken())
    with pytest.raises(auth_plugins.TokenTransportError, match="UnicodeDecodeError") as caught:
        OAuth2Auth(grant, session=session).source.token()
    assert isinstance(caught.value.__cause__, requests.RequestException)
    assert "s3cr3t" not in str(caught.value.__cause__)

    client = httpx.Client()
    client.close()
    with pytest.raises(auth_plugins.TokenTransportError, match="closed"):
        auth_plugins.httpx.OAuth2Auth(grant, client=client).source.token()


def test_an_error_that_cannot_be_made_anew(server: Loopback, grant: ClientCredentials) -> None:
    """An error class that takes no text is replaced by its base; the text is kept."""

    class OutOfOrderError(requests.RequestException):
        def __init__(self) -> None:
            super().__init__("the line is out of order")

    class Broken(requests.adapters.HTTPAdapter):
        def send(self, *_: Any, **__: Any) -> Any:
            raise OutOfOrderError

    with requests.Session() as session:
        session.mount("http://", Broken())
        with pytest.raises(auth_plugins.TokenTransportError, match="out of order") as caught:
            OAuth2Auth(grant, session=session).source.token()
    assert type(caught.value.__cause__) is requests.RequestException


@pytest.mark.parametrize("kind", ["read by a hook", "content alone", "another file"])
def test_a_session_may_have_read_the_answer(grant: ClientCredentials, kind: str) -> None:
    """A session may have read the answer in a hook, or make answers of its own."""
    body = b'{"access_token": "abc", "expires_in": 60}'
    log: list[str] = []

    class Player(requests.adapters.BaseAdapter):
        def send(self, request: Any, *_: Any, **__: Any) -> Any:
            response = requests.Response()
            response.status_code, response.request, response.url = 200, request, request.url
            if kind == "content alone":
                response._content = body
            else:
                response.raw = io.BytesIO(body)
            return response

        def close(self) -> None:
            pass

    with requests.Session() as session:
        session.mount("http://", Player())
        if kind == "read by a hook":
            session.hooks["response"].append(lambda response, **_: log.append(response.text))
        assert OAuth2Auth(grant, session=session).source.token().access_token == "abc"


def test_a_response_pickles(server: Loopback, grant: ClientCredentials) -> None:
    """A response can be pickled and copied; the hook of a copy changes nothing."""
    auth = OAuth2Auth(grant)
    response = requests.get(server.api_url, auth=auth, timeout=5)
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
        session.trust_env = False
        prepared = session.prepare_request(requests.Request("GET", server.api_url, auth=OAuth2Auth(grant)))
        assert [session.send(prepared).status_code for _ in range(2)] == [200, 200]
    assert [received.headers["authorization"] for received in server.api_requests] == ["Bearer token-1"] * 2
    assert "token" not in str(other_server.api_requests)


def test_an_adapter_of_ones_own_may_say_less(server: Loopback, grant: ClientCredentials) -> None:
    """If an adapter names no connection, a 401 is returned."""

    class Player(requests.adapters.BaseAdapter):
        def send(self, request: Any, *_: Any, **__: Any) -> Any:
            response = requests.Response()
            response.status_code, response.request, response.url = 401, request, request.url
            response._content = b""
            return response

        def close(self) -> None:
            pass

    with requests.Session() as session:
        session.mount("https://", Player())
        assert session.get("https://api.example.com/", auth=OAuth2Auth(grant)).status_code == 401


@pytest.mark.parametrize("mode", ["asyncio", "trio"])
@pytest.mark.parametrize("module", ["httpx", "httpx2"])
def test_an_async_file_is_not_sent_as_nothing(
    module: str, mode: str, server: Loopback, grant: ClientCredentials, tmp_path: Path
) -> None:
    """If the body was an async file, the 401 is returned; the API gets no empty upload."""
    library, plugin = importlib.import_module(module), importlib.import_module(f"auth_plugins.{module}")
    path = tmp_path / "upload"
    path.write_bytes(b"x" * 1000)
    server.refuse_once()

    async def main() -> int:
        async with (
            await anyio.open_file(path, "rb") as file,
            library.AsyncClient(trust_env=False, auth=plugin.OAuth2Auth(grant)) as client,
        ):
            return int((await client.post(server.api_url, content=file)).status_code)

    assert anyio.run(main, backend=mode) == 401
    assert [len(received.body) for received in server.api_requests] == [1000]


class OlderResponse(urllib3.HTTPResponse):
    """One of urllib3 1.26, which knows no read1."""

    @property
    def read1(self) -> Any:
        raise AttributeError


@pytest.mark.parametrize("kind", [OlderResponse, io.BytesIO])
def test_whatever_has_no_read1_is_read_byte_by_byte(kind: Any) -> None:
    """A response of urllib3 1.26 or of another class is read as it comes."""
    response = requests.Response()
    response.raw = kind(io.BytesIO(b"abc"), preload_content=False) if kind is OlderResponse else kind(b"abc")
    chunks, packed = body_chunks(response)
    assert list(chunks) == [b"a", b"b", b"c"]
    assert packed == (kind is OlderResponse)


def test_a_hook_may_raise_a_bare_http_error(server: Loopback, grant: ClientCredentials) -> None:
    """An ``HTTPError`` without a response becomes a ``TokenTransportError``."""

    def fail(response: Any, **_: Any) -> Any:
        response.close()
        raise requests.HTTPError("by my hook")

    with requests.Session() as session:
        session.hooks["response"].append(fail)
        with pytest.raises(auth_plugins.TokenTransportError, match="by my hook"):
            OAuth2Auth(grant, session=session).source.token()


def test_errors_of_ours_pass_through_a_session(server: Loopback, grant: ClientCredentials) -> None:
    """An ``AuthError`` that a hook of the token session raises is raised unchanged."""

    def fail(message: Any, **_: Any) -> Any:
        getattr(message, "close", lambda: None)()
        raise ConfigurationError("of the other auth")

    session = requests.Session()
    session.hooks["response"].append(fail)
    with pytest.raises(ConfigurationError, match="of the other auth"):
        OAuth2Auth(grant, session=session).source.token()
    with (
        httpx.Client(event_hooks={"request": [fail]}) as client,
        pytest.raises(ConfigurationError, match="of the other auth"),
    ):
        auth_plugins.httpx.OAuth2Auth(grant, client=client).source.token()


def test_an_auth_flow_is_closed_half_way(server: Loopback, grant: ClientCredentials) -> None:
    """The connection to the API breaks: the flow ends, and the next request finds everything in order."""
    auth = auth_plugins.httpx.OAuth2Auth(grant)
    flow = auth.sync_auth_flow(httpx.Request("GET", server.api_url))
    next(flow)
    flow.close()

    async def half_way() -> None:
        flow = auth.async_auth_flow(httpx.Request("GET", server.api_url))
        await flow.__anext__()
        await flow.aclose()

    asyncio.run(half_way())
    assert httpx.get(server.api_url, auth=auth, trust_env=False).status_code == 200


@pytest.mark.parametrize("options", [{"allowed_hosts": ["127.0.0.1"]}, {}], ids=["allowed_hosts", "loopback"])
@pytest.mark.parametrize(
    "url",
    [
        r"http://127.0.0.1\@api.example.com/x",
        r"http://127.0.0.1\:\/x",
        "foo://[",
        "http+unix://a:b:c/",
        "x://a:9999999/",
    ],
)
def test_a_url_that_parsers_read_differently_gets_no_token(
    options: dict[str, Any], url: str, grant: ClientCredentials
) -> None:
    """A URL made by hand, in which parsers find different hosts or none, gets no token."""
    request = requests.Request("GET", "http://127.0.0.1/").prepare()
    request.url = url
    auth = auth_plugins.requests.OAuth2Auth(grant, **options)
    assert "Authorization" not in auth(request).headers


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
    ],
)
def test_an_allowed_host_is_found_in_each_url(url: str, is_allowed: bool) -> None:
    """The host of a URL decides, whatever stands around it: a user, a port, a query, a scheme of the user's own."""
    request = requests.Request("GET", "http://127.0.0.1/").prepare()
    request.url = url
    auth = auth_plugins.requests.OAuth2Auth(ApiKey("k3y"), allowed_hosts=["127.0.0.1"])
    assert ("X-API-Key" in auth(request).headers) == is_allowed


MODES = ["requests", "httpx", "httpx2", "httpx async", "httpx2 async"]


def signed(mode: str, auth: Any, url: str) -> Any:
    """What *auth* puts on a request to *url*; nothing is sent."""
    request = importlib.import_module(mode.split(" ", 1)[0]).Request("GET", url)
    if mode == "requests":
        return auth(request.prepare()).headers.get("Authorization")
    if mode.endswith("async"):
        return asyncio.run(anext(auth.async_auth_flow(request))).headers.get("Authorization")
    return next(auth.sync_auth_flow(request)).headers.get("Authorization")


@pytest.mark.parametrize("mode", MODES)
def test_a_warm_request_costs_one_call(mode: str) -> None:
    """A request with a token that is there calls one function of the package, whatever https:// host it goes to."""
    auth = importlib.import_module(f"auth_plugins.{mode.partition(' ')[0]}").OAuth2Auth(
        ApiKey("k3y", header="Authorization")
    )
    assert [signed(mode, auth, "https://api.example.com/") for _ in range(2)] == ["k3y"] * 2
    called: set[str] = set()

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call" and str(frame.f_globals.get("__name__")).startswith("auth_plugins"):
            called.add(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        assert signed(mode, auth, "https://other.example/") == "k3y"
    finally:
        sys.setprofile(None)
    # A flow that is dropped, as here, is closed.
    assert called <= {"__call__", "sync_auth_flow", "async_auth_flow", "_end_closed", "_responses_behind"}


@pytest.mark.parametrize("mode", MODES)
def test_a_warm_token_ends(mode: str, server: Loopback, clock: Clock, grant: ClientCredentials) -> None:
    """A warm token is used until its leeway or a rejection, and goes to no ``http://`` URL of another machine."""
    server.lifetime, url = 100, "https://api.example.com/"
    auth = importlib.import_module(f"auth_plugins.{mode.partition(' ')[0]}").OAuth2Auth(grant, refresh_ahead=False)
    assert [signed(mode, auth, url) for _ in range(2)] == ["Bearer token-1"] * 2
    with pytest.raises(InsecureTransportError):
        signed(mode, auth, "http://api.example.com/")
    clock.forward(89)  # the leeway is a tenth of the lifetime
    assert signed(mode, auth, url) == "Bearer token-1"
    clock.forward(2)
    assert [signed(mode, auth, url) for _ in range(2)] == ["Bearer token-2"] * 2
    auth.source.invalidate(auth.source.token())
    assert signed(mode, auth, url) == "Bearer token-3"


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_warm_request_to_another_host_is_judged(library: str, grant: ClientCredentials) -> None:
    """A warm auth that serves two hosts sends the token to the allowed one only."""
    module = importlib.import_module(library)
    auth = importlib.import_module(f"auth_plugins.{library}").OAuth2Auth(
        ApiKey("k3y", header="Authorization"), allowed_hosts=["api.example.com"]
    )

    def sent(url: str) -> str | None:
        if library == "requests":
            return auth(module.Request("GET", url).prepare()).headers.get("Authorization")
        return next(auth.sync_auth_flow(module.Request("GET", url))).headers.get("Authorization")

    urls = ["https://api.example.com/a", "https://evil.example/", "https://api.example.com.evil.example/"] * 2
    urls += ["https://api.example.com@evil.example/", "https://api.example.com:8443/"]
    assert [sent(url) for url in urls] == ["k3y", None, None] * 2 + [None, "k3y"]


@pytest.mark.parametrize("driver", each(ALL))
def test_a_source_of_ones_own_is_asked_each_time(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A subclass of ``TokenSource`` is asked for each request, warm ones too."""
    asked: list[str] = []

    class Mine(TokenSource):
        def token(self) -> Token:
            asked.append("token")
            return super().token()

        async def atoken(self) -> Token:
            asked.append("atoken")
            return await super().atoken()

    auth = driver.auth(Mine(grant, cache=MemoryCache()))
    assert [driver.get(server.api_url, auth).status for _ in range(4)] == [200] * 4
    assert len(asked) == 4


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda request: pickle.loads(pickle.dumps(request))], ids=["copy", "pickle"]
)
def test_a_request_that_was_copied_keeps_its_key_at_home(again: Any, server: Loopback, other_server: Loopback) -> None:
    """A copied or pickled request takes its key to no other origin."""
    server.api = lambda _: as_json({}, 302, Location=other_server.api_url)
    request = requests.Request(
        "GET", server.api_url, auth=auth_plugins.requests.OAuth2Auth(ApiKey("k3y-of-mine"))
    ).prepare()
    with requests.Session() as session:
        session.send(again(request))
    assert server.api_requests[0].headers["x-api-key"] == "k3y-of-mine"
    assert "x-api-key" not in other_server.api_requests[0].headers


def test_a_request_that_threads_share(server: Loopback, grant: ClientCredentials) -> None:
    """Threads may send one prepared request whose token is rejected and whose replay is redirected."""
    auth = auth_plugins.requests.OAuth2Auth(grant)
    request = requests.Request("GET", server.api_url, auth=auth).prepare()
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
