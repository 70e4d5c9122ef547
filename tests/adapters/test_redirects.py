"""Redirects: a token or key stays within its origin, and is not replaced there."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from auth_plugins import ApiKey, ClientCredentials
from auth_plugins.requests import OAuth2Auth
from tests.support.drivers import SYNC_HTTPX, MockAdapter, SyncDriver, each
from tests.support.loopback import Loopback, Received, as_json

ORIGIN = "https://api.example.com"

#: Where another origin is meant; ``{}`` stands for its host.
OTHER_ORIGINS = [
    "https://{}/", "//{}/", "///{}/", "////{}/", "https:///{}/", "https:////{}/", "http://{}/",
    "\x01https://{}/", "\x00https://{}/", "\x1fhttps://{}/", "\x0bhttps://{}/", "\x0chttps://{}/", "\x7fhttps://{}/",
    "\thttps://{}/", "\t//{}/", "\x01//{}/", "\x00\x01//{}/", "\x1f\t//{}/", " https://{}/", " //{}/", "\xa0//{}/",
    "ht\ttps://{}/", "https\t://{}/", "https:\t//{}/", "https:/\t/{}/", "https://\t{}/", "/\t/{}/", "/\x01/{}/",
    "\t/\t/\t{}/", "https:\t/\t/{}/", "HTTPS://{}/", "HT\tTPS://{}/", "\x1c//{}/", "\x1d//{}/", "\x1e//{}/",
    "\x85//{}/", "\\\\{}/", "/\\{}/", "https:\\\\{}/", "https://api.example.com\\@{}/", "https://api.example.com@{}/",
    "https://api.example.com\t@{}/", "https://api.example.com\x01@{}/", "https://{}\\@api.example.com/",
    "https://api.example.com:443@{}/", "https://api.example.com#@{}/", "https://api.example.com?@{}/",
    "https://api.example.com.{}/", "https://api.example.com:8443/{}", "https://{}%2f@api.example.com/", "\u3000//{}/",
    "\u2028//{}/", "https://{}\u2044@api.example.com/", "https://api.example.com\uff0f@{}/",
]  # fmt: skip

#: Where the redirect stays within the origin.
SAME_ORIGIN = [
    "/there", "there", "?there", "//api.example.com/there", "https://api.example.com/there", "https://api.example.com:443/",
    "HTTPS://API.example.com/there", "/there?a=https://other.example/", "/with space", "/%2f/other.example", "/th#ere",
    "/\u00fcber", "./a/../b",
]  # fmt: skip


def follow(location: str, auth: Any, start: str = f"{ORIGIN}/here") -> list[tuple[str, dict[str, str | bytes]]]:
    """Follow a redirect from *start* to *location* by requests' own code; return what was sent: address, headers."""
    sent: list[tuple[str, dict[str, str | bytes]]] = []

    def play(request: requests.PreparedRequest) -> dict[str, Any]:
        sent.append((request.url or "", dict(request.headers)))
        # As http.client returns what stood on the wire.
        headers = requests.structures.CaseInsensitiveDict({"Location": location.encode().decode("latin-1")})
        return {"status_code": 302 if len(sent) == 1 else 200, "headers": headers}

    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", MockAdapter(play))
        session.mount("https://", MockAdapter(play))
        try:
            session.get(start, auth=auth)
        except (requests.RequestException, ValueError):
            assert len(sent) == 1, "the address is none"
    return sent


def origin(url: str) -> tuple[str | None, int | None]:
    """Host and port to which urllib3 opens a connection."""
    parts = requests.packages.urllib3.util.parse_url(url)  # type: ignore[attr-defined]
    return parts.host, parts.port or {"https": 443, "http": 80}.get(parts.scheme or "")


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("spelling", OTHER_ORIGINS)
def test_no_spelling_of_a_location_takes_a_key_to_another_origin(spelling: str, header: str) -> None:
    """A key is sent to the origin that it was made for only, however the ``Location`` header spells another one."""
    auth = OAuth2Auth(ApiKey("k3y-of-mine", header=header))
    first, *others = follow(spelling.format("other.example"), auth)
    assert first[1][header] == "k3y-of-mine"
    for url, headers in others:
        if origin(url) != ("api.example.com", 443):
            assert "k3y-of-mine" not in headers.values()


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("location", SAME_ORIGIN)
def test_a_key_follows_each_spelling_of_its_own_origin(location: str, header: str) -> None:
    """A redirect that stays within the origin keeps the key, however the address is spelt."""
    auth = OAuth2Auth(ApiKey("k3y-of-mine", header=header))
    _, (url, headers) = follow(location, auth)
    assert origin(url) == ("api.example.com", 443)
    assert headers[header] == "k3y-of-mine"


@pytest.mark.parametrize("location", ["/the\tre", "/the\x01re", "\x7f", "/\x85"])
def test_a_location_with_control_characters_is_another_origin(location: str) -> None:
    """A ``Location`` in which a control character stands gets no key, as parsers may differ on it."""
    _, (_, headers) = follow(location, OAuth2Auth(ApiKey("k3y-of-mine")))
    assert "X-API-Key" not in headers


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_from_http_to_https_is_another_origin(header: str) -> None:
    """A redirect from ``http://`` to ``https://`` carries no key, though requests keeps ``Authorization`` there."""
    auth = OAuth2Auth(ApiKey("k3y-of-mine", header=header))
    _, (_, headers) = follow("https://localhost/", auth, "http://localhost/")
    assert "k3y-of-mine" not in headers.values()


def test_a_redirect_to_no_address_raises_the_error_of_requests() -> None:
    """A redirect to an invalid address raises the same error as without auth."""
    with requests.Session() as session:
        session.mount("https://", MockAdapter(lambda _: {"status_code": 302, "headers": {"location": "http://[half/"}}))
        with pytest.raises(ValueError, match="IPv6"):
            session.get(ORIGIN, auth=OAuth2Auth(ApiKey("key")))


def test_a_wrapper_around_a_copy_takes_no_key_to_another_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key stays within its origin also where a tool that traces calls wraps the ``copy()`` of requests."""
    original = requests.PreparedRequest.copy
    monkeypatch.setattr(requests.PreparedRequest, "copy", lambda request: original(request))  # noqa: PLW0108 - a frame
    _, (_, headers) = follow("https://other.example/", OAuth2Auth(ApiKey("k3y-of-mine")))
    assert "X-API-Key" not in headers


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .netrc with a login for each host of this machine."""
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login me password mine\nmachine localhost login me password mine\n")
    monkeypatch.setenv("NETRC", str(path))


def redirecting(server: Loopback, targets: dict[str, str]) -> Callable[[Received], Any]:
    """An API that redirects these paths to these addresses, and checks the token everywhere else."""

    def play(received: Received) -> Any:
        target = targets.get(received.target)
        return server.check(received) if target is None else as_json({}, 307, Location=target)

    return play


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_netrc_does_not_replace_a_token_after_a_redirect(
    server: Loopback, grant: ClientCredentials, method: str
) -> None:
    """A login in .netrc for the API's host replaces no token on redirects within the origin; a renewal works there."""
    server.api = redirecting(server, {"/api": "/second", "/second": "/third"})
    auth = OAuth2Auth(grant)
    body = b"payload" if method == "POST" else None
    with requests.Session() as session:
        assert session.request(method, server.api_url, data=body, auth=auth).status_code == 200
        server.revoke()
        response = session.request(method, server.api_url, data=body, auth=auth)
    assert (response.status_code, len(server.token_requests)) == (200, 2)
    assert server.token_requests[0].headers["authorization"] == "Basic Y2xpZW50OnMzY3IzdA=="
    tokens = [received.headers["authorization"] for received in server.api_requests]
    assert tokens == ["Bearer token-1"] * 6 + ["Bearer token-2"]
    assert {received.body for received in server.api_requests} == {body or b""}


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_netrc_holds_for_another_origin(
    server: Loopback, other_server: Loopback, grant: ClientCredentials, host: str
) -> None:
    """A redirect to another origin carries the login that .netrc has for that origin, as it does without this auth."""
    elsewhere = other_server.api_url.replace("127.0.0.1", host)
    server.api = redirecting(server, {"/api": "/second", "/second": elsewhere})
    other_server.api = lambda _: as_json({})
    with requests.Session() as session:
        assert session.get(server.api_url, auth=OAuth2Auth(grant)).status_code == 200
    assert [received.headers["authorization"] for received in server.api_requests] == ["Bearer token-1"] * 2
    assert [received.headers["authorization"] for received in other_server.api_requests] == ["Basic bWU6bWluZQ=="]


@pytest.mark.usefixtures("netrc")
def test_a_redirected_request_is_the_users_own(server: Loopback, grant: ClientCredentials) -> None:
    """After a redirect, a user may set ``Authorization`` on both requests; copies and pickles of them behave alike."""
    server.api = redirecting(server, {"/api": "/second"})
    response = requests.get(server.api_url, auth=OAuth2Auth(grant), timeout=5)
    for request in (response.request, response.history[0].request):
        for again in (copy.copy, copy.deepcopy, lambda each_: pickle.loads(pickle.dumps(each_))):
            assert again(request.headers)["Authorization"] == "Bearer token-1"
        request.headers["Authorization"] = "Bearer of-mine"
        assert request.headers["authorization"] == "Bearer of-mine"


def on_the_wire(headers: Any) -> bytes:
    """The headers as httpx sends them; a ``repr`` hides some."""
    return b"".join(b"%s: %s\r\n" % pair for pair in headers.raw)


@contextlib.contextmanager
def redirected(
    driver: SyncDriver, *targets: str, hook: Any = None, auth: Any = None
) -> Iterator[tuple[Any, list[Any]]]:
    """A client whose requests are redirected to each of *targets* in turn, and the headers of what it sent."""
    seen: list[Any] = []

    def play(request: Any) -> Any:
        seen.append(request.headers)
        if len(seen) > len(targets):
            return driver.module.Response(200)
        return driver.module.Response(303, headers={"Location": targets[len(seen) - 1]})

    transport = driver.module.MockTransport(play)
    hooks = {"request": [hook] if hook else []}
    with driver.module.Client(transport=transport, event_hooks=hooks, auth=auth, follow_redirects=True) as client:
        yield client, seen


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
def test_threads_that_read_headers_take_no_key_elsewhere(driver: SyncDriver) -> None:
    """No redirect to another origin carries the key, however many threads read the request's headers meanwhile."""
    request = driver.signed(driver.auth(ApiKey("k3y-of-mine")), f"{ORIGIN}/")
    over = False

    def read() -> int:
        times = 0
        while not over:
            assert request.headers["X-API-Key"] == "k3y-of-mine"
            assert "authorization" not in request.headers
            times += 1
        return times

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as pool, driver.module.Client() as client:
            readers = [pool.submit(read) for _ in range(2)]
            elsewhere = driver.module.URL("https://other.example/")
            copied = [on_the_wire(client._redirect_headers(request, elsewhere, "GET")) for _ in range(1000)]
            over = True
            assert all(reader.result() for reader in readers)
    finally:
        over = True
        sys.setswitchinterval(interval)
    assert b"k3y-of-mine" not in b"".join(copied)


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
@pytest.mark.parametrize("url", [f"{ORIGIN}/", "http://localhost/"])
@pytest.mark.parametrize("rebuilt", ["not", "copy", "class"])
def test_two_keys_are_both_sent_and_stay_at_home(driver: SyncDriver, url: str, rebuilt: str) -> None:
    """Two auths with headers of their own both send their keys, whatever a hook sets; a redirect elsewhere has none."""

    class Both(driver.module.Auth):  # type: ignore[name-defined]  # of either library
        def auth_flow(self, request: Any) -> Any:
            for name in ("X-First", "X-Second"):
                request = next(driver.auth(ApiKey(f"k3y-in-{name}", header=name)).sync_auth_flow(request))
            yield request

    def hook(request: Any) -> None:
        if rebuilt == "copy":
            request.headers = request.headers.copy()
        elif rebuilt == "class":
            request.headers = driver.module.Headers(request.headers)
        if request.url.host != "other.example":
            request.headers["Authorization"] = "Basic Z2F0ZXdheQ=="
            request.headers["Host"] = "virtual.example.com"
            request.headers.pop("Authorization")
            request.headers["authorization"] = "Basic again"

    with redirected(driver, url + "second", "https://other.example/", hook=hook, auth=Both()) as (client, seen):
        client.get(url)
    for headers in seen[:2]:
        assert (headers["X-First"], headers["X-Second"]) == ("k3y-in-X-First", "k3y-in-X-Second")
        assert dict(headers.raw)[b"authorization"] == b"Basic again"
    assert b"k3y-in" not in on_the_wire(seen[2])
    assert b"again" not in on_the_wire(seen[2])


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
@pytest.mark.parametrize(("url", "header"), [(f"{ORIGIN}/", "X-API-Key"), ("http://localhost/", "Authorization")])
@pytest.mark.parametrize("is_set_again", [False, True])
def test_a_key_stays_at_home_after_a_post_became_a_get(
    driver: SyncDriver, url: str, header: str, is_set_again: bool
) -> None:
    """A redirect from POST to GET within the origin, then one to another origin: only the first keeps the key."""

    def hook(request: Any) -> None:
        if is_set_again and not seen:
            request.headers[header.lower()] = "k3y-of-mine"

    elsewhere = url.replace("http:", "https:").replace("api.", "other.")
    auth = driver.auth(ApiKey("k3y-of-mine", header=header))
    with redirected(driver, f"{url}second", elsewhere, hook=hook, auth=auth) as (client, seen):
        client.post(url, content=b"rows")
    assert [b"k3y-of-mine" in on_the_wire(headers) for headers in seen] == [True, True, False]


@pytest.mark.parametrize("driver", each(SYNC_HTTPX))
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("url", [f"{ORIGIN}/", "http://localhost/"])
def test_a_copied_request_of_httpx_keeps_its_key_at_home(driver: SyncDriver, url: str, again: Any) -> None:
    """A request that was copied or pickled after it was signed takes its key to no other origin."""
    signed = driver.signed(driver.auth(ApiKey("k3y-of-mine")), url).headers
    for headers in (again(signed), again(driver.module.Headers(signed))):
        assert headers == again(headers)
        request = driver.module.Request("GET", url)
        request.headers = headers
        with redirected(driver, "https://other.example/") as (client, seen):
            client.send(request)
        assert [b"k3y-of-mine" in on_the_wire(headers) for headers in seen] == [True, False]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda request: pickle.loads(pickle.dumps(request))])
def test_a_copied_request_of_requests_keeps_its_key_at_home(
    again: Any, server: Loopback, other_server: Loopback
) -> None:
    """A copied or pickled request of requests takes its key to no other origin."""
    server.api = lambda _: as_json({}, 302, Location=other_server.api_url)
    request = requests.Request("GET", server.api_url, auth=OAuth2Auth(ApiKey("k3y-of-mine"))).prepare()
    with requests.Session() as session:
        session.send(again(request))
    assert server.api_requests[0].headers["x-api-key"] == "k3y-of-mine"
    assert "x-api-key" not in other_server.api_requests[0].headers


class Both(requests.auth.AuthBase):
    """Two auths, one after the other."""

    def __init__(self, *auths: Any) -> None:
        self._auths = auths

    def __call__(self, request: requests.PreparedRequest) -> Any:
        for auth in self._auths:
            request = auth(request)
        return request


def resend(response: requests.Response, *, copied: bool, **kwargs: Any) -> requests.Response:
    """A session's hook that sends a refused request again, as it is or as a copy."""
    if response.status_code != 401:
        return response
    assert response.content is not None
    response.close()
    request = response.request.copy() if copied else response.request
    again: requests.Response = response.connection.send(request, **kwargs)
    again.history.append(response)
    again.request = request
    return again


#: What replays a 401 beside the key's own auth: the auths in their order, and the session's hook.
REPLAYS: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "oauth, key": (lambda key, oauth: Both(oauth, key), None),
    "key, oauth": (Both, None),
    "digest, key": (lambda key, _: Both(requests.auth.HTTPDigestAuth("me", "mine"), key), None),
    "hook, a copy": (lambda key, _: key, functools.partial(resend, copied=True)),
    "hook, the same": (lambda key, _: key, functools.partial(resend, copied=False)),
}


@pytest.mark.parametrize(("made", "hook"), REPLAYS.values(), ids=REPLAYS)
@pytest.mark.parametrize("path", [["there"], ["elsewhere"], ["there", "elsewhere"]], ids=", then ".join)
def test_a_key_stays_at_home_after_a_replay_by_others(
    server: Loopback,
    other_server: Loopback,
    grant: ClientCredentials,
    made: Any,
    hook: Any,
    path: list[str],
) -> None:
    """Another auth or a hook replays a 401, and a redirect follows: the key is sent within its origin only."""
    steps = {"there": "/there", "elsewhere": other_server.api_url}
    answers = [
        as_json({}, 401, WWW_Authenticate='Digest realm="r", nonce="n", qop="auth", algorithm=MD5'),
        *(as_json({}, 302, Location=steps[step]) for step in path),
    ]
    server.api = lambda _: answers.pop(0) if answers else as_json({})
    other_server.api = lambda _: as_json({})
    key = OAuth2Auth(ApiKey("k3y-of-mine"))
    auth = made(key, OAuth2Auth(grant))
    with requests.Session() as session:
        session.trust_env = False
        if hook:
            session.hooks["response"].append(hook)
        response = session.get(server.api_url, auth=auth, timeout=5)
    assert response.status_code == 200
    targets = ["/api", "/api", *["/there"] * ("there" in path)]
    assert [received.target for received in server.api_requests] == targets
    assert {received.headers.get("x-api-key") for received in server.api_requests} == {"k3y-of-mine"}
    assert len(other_server.api_requests) == ("elsewhere" in path)
    for received in other_server.api_requests:
        assert not [value for value in received.headers.values() if "k3y" in value or "token-" in value]
