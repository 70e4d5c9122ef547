"""Mocks, recorders, caches and retries that users have: each works with token requests and with a renewal.

A tool that cannot be installed beside the lowest versions is left out there; its test is skipped and says so.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import urllib3
from requests_mock import Mocker  # noqa: TC002 - pytest reads the annotations

from auth_plugins import ApiKey, ClientCredentials, MemoryCache, TokenRequestError
from tests.docs.pages import ROOT, blocks
from tests.support.drivers import ALL, ASYNC, HTTPX, SYNC, SYNC_HTTPX, Driver, SyncDriver, each
from tests.support.loopback import Clock, Loopback, Received, as_json

REQUESTS = SYNC[0]
#: The tools for httpx do not know httpx2.
OF_HTTPX: list[Driver] = [SYNC[1], ASYNC[0]]
GRANT = ClientCredentials("https://id.example.com/token", "client", "s3cr3t", scope="read")
TOKEN_URL = "https://id.example.com/token"
API = "https://api.example.com/things"
#: What the mocked token endpoint and the mocked API answer, in order: the first token is revoked early.
TOKENS = [{"access_token": name, "expires_in": 60} for name in ("old", "new")]
#: A secret that is found wherever it stands, and in no other word.
SECRET = "s3cr3t-of-the-client"


@pytest.fixture
def tool(request: pytest.FixtureRequest) -> Any:
    """The pytest fixture that a tool brings, named by the test's parameter; skipped where the tool is missing."""
    package, fixture = request.param
    pytest.importorskip(package)
    return request.getfixturevalue(fixture)


def fixture_of(package: str, fixture: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("tool", [(package, fixture)], indirect=True, ids=[package])


def renewed(answer: Any) -> bool:
    """Whether *answer* is the API's, to the second token."""
    return answer.status == 200 and answer.history == [401]


class MockedSocket:
    """A connection as mocks of sockets such as mocket make it: the answer is a file in memory."""

    def makefile(self, *_: Any) -> io.BytesIO:
        body = b'{"access_token": "mocked", "expires_in": 60}'
        return io.BytesIO(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def ignore(self, *_: Any) -> None:
        pass

    close = sendall = setsockopt = settimeout = ignore


def test_a_mocked_socket_gives_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token request by requests accepts an answer from a socket that is a mock."""
    monkeypatch.setattr("urllib3.connection.HTTPConnection._new_conn", lambda _: MockedSocket())
    auth = REQUESTS.auth(ClientCredentials("http://127.0.0.1/token", "client", "s3cr3t"))
    assert auth.source.token().access_token == "mocked"


def test_requests_mock_sees_a_renewal(requests_mock: Mocker) -> None:
    """requests-mock sees token requests and API requests, and answers a renewal without a deadlock."""
    requests_mock.post(TOKEN_URL, [{"json": token} for token in TOKENS])
    requests_mock.get(API, [{"status_code": 401}, {"text": "fine"}])
    assert renewed(REQUESTS.get(API, REQUESTS.auth(GRANT)))
    assert requests_mock.request_history[0].text == "grant_type=client_credentials&scope=read"
    sent = [each.headers.get("Authorization") for each in requests_mock.request_history[1::2]]
    assert sent == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("driver", each(HTTPX))
def test_mock_transport_sees_the_token_request(driver: Driver) -> None:
    """A ``MockTransport`` of ``client=`` sees token requests, and the renewal."""
    library, seen = driver.module, list[Any]()

    def play(request: Any) -> Any:
        seen.append(request)
        is_refused = request.headers["authorization"] == "Bearer old"
        return library.Response(401 if is_refused else 200, json=TOKENS[len(seen) // 3])

    transport = library.MockTransport(play)
    with library.Client(transport=transport) as client:
        answer = driver.get(API, driver.auth(GRANT, client=client), transport=transport)
    assert renewed(answer)
    assert answer.response.history[0].json() == TOKENS[0]
    assert [request.url.path for request in seen] == ["/token", "/things"] * 2
    assert seen[0].content == b"grant_type=client_credentials&scope=read"


# --- mocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["form", "json"])
def test_responses_matches_the_token_request(encoding: Any) -> None:
    """The matchers of ``responses`` for forms, JSON and headers find the parameters, and the renewal is mocked too."""
    responses = pytest.importorskip("responses")
    matchers = responses.matchers
    matcher = matchers.urlencoded_params_matcher if encoding == "form" else matchers.json_params_matcher
    wanted = {"grant_type": "client_credentials", "scope": "read", "client_id": "id", "client_secret": "s +/&=%€"}
    grant = ClientCredentials(
        TOKEN_URL, "id", "s +/&=%€", scope="read", client_auth="client_secret_post", encoding=encoding
    )
    with responses.RequestsMock() as mock:
        for token, status in zip(TOKENS, (401, 200), strict=True):
            mock.post(TOKEN_URL, json=token, match=[matcher(wanted)])
            bearer = {"Authorization": f"Bearer {token['access_token']}"}
            mock.get(API, status=status, match=[matchers.header_matcher(bearer)])
        assert renewed(REQUESTS.get(API, REQUESTS.auth(grant)))
        assert [call.request.url for call in mock.calls] == [TOKEN_URL, API, TOKEN_URL, API]


@fixture_of("respx", "respx_mock")
@pytest.mark.parametrize("driver", each(OF_HTTPX))
def test_respx_sees_the_token_request(tool: Any, driver: Driver) -> None:
    """The routes of respx answer token requests, of a ``Client`` and of an ``AsyncClient``, and the renewal."""
    tokens = tool.post(TOKEN_URL, data={"grant_type": "client_credentials", "scope": "read"})
    tokens.side_effect = [httpx.Response(200, json=token) for token in TOKENS]
    things = tool.get(API)
    things.side_effect = [httpx.Response(401), httpx.Response(200)]
    assert renewed(driver.get(API, driver.auth(GRANT)))
    assert (tokens.call_count, things.call_count) == (2, 2)
    assert things.calls.last.request.headers["Authorization"] == "Bearer new"


@fixture_of("pytest_httpx", "httpx_mock")
@pytest.mark.parametrize("driver", each(OF_HTTPX))
def test_pytest_httpx_sees_the_token_request(tool: Any, driver: Driver) -> None:
    """The fixture ``httpx_mock`` answers token requests, of a ``Client`` and of an ``AsyncClient``, and the renewal."""
    for token, status in zip(TOKENS, (401, 200), strict=True):
        tool.add_response(
            url=TOKEN_URL, method="POST", match_content=b"grant_type=client_credentials&scope=read", json=token
        )
        bearer = {"Authorization": f"Bearer {token['access_token']}"}
        tool.add_response(url=API, status_code=status, match_headers=bearer)
    assert renewed(driver.get(API, driver.auth(GRANT)))
    assert [str(request.url) for request in tool.get_requests()] == [TOKEN_URL, API, TOKEN_URL, API]


# --- recorders -------------------------------------------------------------------------------------------------------


def recorder() -> Any:
    """The recorder of the guide to tests."""
    page = ROOT / "docs" / "guides" / "testing.rst"
    [program] = [block.text for block in blocks(page) if block.language == "python" and "vcr.VCR" in block.text]
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    return namespace["recorder"]


@pytest.mark.parametrize("driver", each(ALL))
def test_vcrpy_records_and_replays(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """A cassette holds token request, refused call, renewal and call; it is replayed without a server.

    With the filters of the guide it holds neither a secret nor a token.
    """
    pytest.importorskip("vcr")
    vcr = recorder()
    grant = ClientCredentials(server.token_url, "client", SECRET, client_auth="client_secret_post", scope="read")
    cassette = tmp_path / "cassette.yaml"
    server.refuse_once()
    with vcr.use_cassette(str(cassette), record_mode="once"):
        recorded = driver.get(server.api_url, driver.auth(grant, cache=MemoryCache()))
    assert (recorded.status, recorded.history) == (200, [401])
    assert len(server.token_requests) == 2
    with vcr.use_cassette(str(cassette), record_mode="none") as tape:
        replayed = driver.get(server.api_url, driver.auth(grant, cache=MemoryCache()))
    assert (replayed.status, replayed.text, replayed.history) == (200, recorded.text, [401])
    assert tape.play_count == 4
    assert len(server.token_requests) == 2
    text = cassette.read_text("utf-8")
    assert "grant_type" in text
    assert not [word for word in (SECRET, "token-1", "token-2") if word in text]


# --- caches ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def install_cache() -> Iterator[Callable[..., None]]:
    requests_cache = pytest.importorskip("requests_cache")
    yield requests_cache.install_cache
    requests_cache.uninstall_cache()


def secrets_in(folder: Path) -> list[str]:
    """Which secrets and tokens a cache keeps; it keeps the API's answer, or the test would prove nothing."""
    kept = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"the answer of the API" in kept
    return [word for word in (SECRET, "token-1", "token-2") if word.encode() in kept]


@pytest.fixture
def cached_api(server: Loopback) -> Loopback:
    """An API whose answers may be stored, and a token endpoint that does not say that its own may not be."""
    check = server.check

    def answer(received: Received) -> Any:
        if received.target.startswith("/revoke"):
            return as_json({})
        response = check(received)
        if response.status_code == 200:
            response = as_json({"text": "the answer of the API"}, Cache_Control="max-age=600")
        return response

    server.api = answer
    return server


def cached_grant(api: Loopback, **options: Any) -> ClientCredentials:
    """A grant whose token and revocation requests carry the secret in their bodies."""
    options = {"client_auth": "client_secret_post", "revocation_url": f"{api.url}/revoke", **options}
    return ClientCredentials(api.token_url, "client", SECRET, **options)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_requests_cache_stores_no_token_request(
    method: Any, cached_api: Loopback, install_cache: Callable[..., None], tmp_path: Path
) -> None:
    """With a cache installed for all of requests, its file holds no secret and no token, and a renewal is a new one."""
    install_cache(str(tmp_path / "cache"), backend="sqlite", allowable_methods=["GET", "POST"])
    auth = REQUESTS.auth(cached_grant(cached_api, method=method))
    assert REQUESTS.get(cached_api.api_url, auth).status == 200
    assert secrets_in(tmp_path) == []
    cached_api.revoke()
    assert renewed(REQUESTS.get(f"{cached_api.api_url}/others", auth))
    assert len(cached_api.token_requests) == 2
    auth.source.revoke()
    assert cached_api.api_requests[-1].target.startswith("/revoke")
    # requests-cache takes Authorization out of what it stores, but not out of the history: the refused token is there.
    assert secrets_in(tmp_path) in ([], ["token-1"])


def test_requests_cache_passes_keywords_that_no_adapter_knows(
    cached_api: Loopback, install_cache: Callable[..., None], tmp_path: Path
) -> None:
    """requests-cache runs hooks a second time, with ``allow_redirects``: a changed key is sent nevertheless."""
    keys = iter(["first", "first", "token-x"])
    cached_api.live.add("token-x")
    install_cache(str(tmp_path / "cache"), backend="memory")
    auth = REQUESTS.auth(ApiKey(lambda: next(keys), "Authorization", scheme="Bearer"))
    assert renewed(REQUESTS.get(cached_api.api_url, auth))


def test_a_session_made_before_the_cache_is_taken(install_cache: Callable[..., None]) -> None:
    """``install_cache()`` replaces ``requests.Session``; a session that was made before is still one."""
    with requests.Session() as session:
        install_cache(backend="memory")
        assert REQUESTS.auth(GRANT, session=session).source.grant == GRANT


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
@pytest.mark.parametrize("rfc", [False, True])
def test_hishel_stores_no_token_request(driver: SyncDriver, rfc: bool, cached_api: Loopback, tmp_path: Path) -> None:
    """A client with hishel's cache as ``client=`` stores API answers; token and revocation requests it does not."""
    hishel = pytest.importorskip("hishel")
    caching = pytest.importorskip(f"hishel.{driver.library}")
    storage = hishel.SqliteStorage(database_path=tmp_path / "cache.db")
    transport = caching.CacheTransport(driver.module.HTTPTransport(), storage, rfc=rfc)
    with driver.module.Client(transport=transport) as cached:
        auth = driver.auth(cached_grant(cached_api), client=cached)
        assert driver.get(cached_api.api_url, auth).status == 200
        cached_api.revoke()
        assert renewed(driver.get(cached_api.api_url, auth))
        auth.source.revoke()
        assert cached_api.api_requests[-1].target == "/revoke"
        # Without a token in its headers, which hishel stores as they are: what an API takes is the user's to cache.
        cached_api.live.add("")
        assert cached.get(cached_api.api_url).status_code == 200
    assert len(cached_api.token_requests) == 2
    assert secrets_in(tmp_path) == []


@pytest.mark.parametrize("driver", each(ALL))
def test_no_cache_may_store_a_token_request(driver: Driver, server: Loopback) -> None:
    """Token and revocation requests say ``Cache-Control: no-store``, unless the grant's own headers say otherwise."""
    grant = ClientCredentials(server.token_url, "client", SECRET, revocation_url=f"{server.url}/revoke")
    auth = driver.auth(grant)
    driver.get(server.api_url, auth)
    server.api = lambda _: as_json({})
    auth.source.revoke()
    sent = (server.token_requests[0], server.api_requests[-1])
    assert [received.headers["cache-control"] for received in sent] == ["no-store", "no-store"]
    own = ClientCredentials(server.token_url, "client", SECRET, headers={"cache-control": "no-cache"})
    driver.get(server.api_url, driver.auth(own))
    assert server.token_requests[-1].headers["cache-control"] == "no-cache"


# --- retries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", each(ALL))
def test_tenacity_outlasts_an_outage(driver: Driver, server: Loopback, clock: Clock) -> None:
    """A call in tenacity's ``retry`` succeeds once the token endpoint is back; a refusal costs one token request."""
    tenacity = pytest.importorskip("tenacity")
    auth, answers = driver.auth(ClientCredentials(server.token_url, "client", SECRET)), iter([503] * 4)

    def play(received: Received) -> Any:
        status = next(answers, 200)
        return server.issue(received) if status == 200 else as_json({}, status)

    server.token_play = play
    stop, wait = tenacity.stop_after_attempt(3), tenacity.wait_none()
    get = tenacity.retry(stop=stop, wait=wait, retry=tenacity.retry_if_exception_type(driver.base_error), reraise=True)(
        driver.get
    )
    assert get(server.api_url, auth).status == 200
    assert get.statistics["attempt_number"] == 2
    assert len(server.token_requests) == 3 + 2, "three tries by the first attempt, two by the second"
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    with pytest.raises(TokenRequestError, match="invalid_client"):
        get(server.api_url, driver.auth(ClientCredentials(server.token_url, "client", "wr0ng-secret")))
    assert get.statistics["attempt_number"] == 3
    assert len(server.token_requests) == 6


def urllib3_retries(statuses: list[int]) -> Any:
    retry = urllib3.Retry(3, status_forcelist=statuses, raise_on_status=False, backoff_factor=0)
    return requests.adapters.HTTPAdapter(max_retries=retry)


def httpx_retries(statuses: list[int]) -> Any:
    library = pytest.importorskip("httpx_retries")
    return library.RetryTransport(retry=library.Retry(3, status_forcelist=statuses))


@pytest.mark.parametrize("statuses", [[503], [401, 503]])
@pytest.mark.parametrize("driver", each([REQUESTS, *OF_HTTPX]))
def test_a_retry_below_the_call(driver: Driver, statuses: list[int], server: Loopback) -> None:
    """``Retry`` of urllib3 and httpx-retries repeat what they are configured for; a replay goes through them too."""
    answers, seen = iter([503, 200]), list[str]()

    def play(received: Received) -> Any:
        seen.append(received.headers["authorization"].removeprefix("Bearer "))
        return as_json({}, 401 if seen[-1] == "token-1" else next(answers))

    server.api = play
    auth = driver.auth(ClientCredentials(server.token_url, "client", SECRET))
    transport = urllib3_retries(statuses) if driver is REQUESTS else httpx_retries(statuses)
    assert renewed(driver.get(server.api_url, auth, transport=transport))
    assert seen == ["token-1"] * (4 if 401 in statuses else 1) + ["token-2"] * 2
    assert len(server.token_requests) == 2
