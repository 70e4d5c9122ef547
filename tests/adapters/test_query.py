"""A token in the query of the URL: there once, or not at all, and in no message of ours."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from auth_plugins import ApiKey, AuthError, ClientCredentials, ConfigurationError
from tests.support.drivers import ALL, HTTPX, SYNC, Call, Driver, MockAdapter, SyncDriver, each
from tests.support.frames import variables_of
from tests.support.loopback import Clock, Loopback, Received, as_json

all_drivers = pytest.mark.parametrize("driver", each(ALL))
URL = "https://api.example.com/"
KEY = "k3y of+mine/&=%25"
ENCODED = "k3y%20of%2Bmine%2F%26%3D%2525"


def tokens_of(received: Received) -> list[str]:
    """The tokens that a request carried in its query; in a header there is none."""
    assert "token-" not in str(received.headers)
    assert "authorization" not in received.headers
    return [value for name, value in parse_qsl(urlsplit(received.target).query) if name == "access_token"]


def checking(server: Loopback, locations: dict[str, str] | None = None) -> Callable[[Received], Any]:
    """An API that accepts a live token, once, in the query; these paths it redirects, where ``{}`` is that token."""

    def play(received: Received) -> Any:
        tokens = tokens_of(received)
        location = (locations or {}).get(urlsplit(received.target).path)
        if location is not None and tokens[0] in server.live:
            return as_json({}, 307, Location=location.format(*tokens))
        return as_json({}, 200 if len(tokens) == 1 and tokens[0] in server.live else 401)

    return play


@all_drivers
def test_the_query_carries_the_token(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """The token is in the query, once and in no header; after a refusal the replay has the fresh one, once."""
    server.api = checking(server)
    auth = driver.auth(grant, query="access_token")
    assert (auth.query, auth.header) == ("access_token", "")
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    call = Call("POST", f"{server.api_url}?a=1&access_token=old&b=%2B+c#there", {"content": b"rows"})
    assert driver.send(call, auth).history == [401]
    assert [received.target for received in server.api_requests] == [
        "/api?access_token=token-1",
        "/api?a=1&access_token=token-1&b=%2B+c",
        "/api?a=1&access_token=token-2&b=%2B+c",
    ]
    assert [received.body for received in server.api_requests] == [b"", b"rows", b"rows"]


#: A URL, and what stands behind its host with the key in it.
PLACED = [
    ("", "?api_key={}"),
    ("?", "?api_key={}"),
    ("?a=1&", "?a=1&api_key={}"),
    ("?a=b+c%20d&e=&f&&a=%2F&s=%3D%3D==#part?api_key=1", "?a=b+c%20d&e=&f&&a=%2F&s=%3D%3D==&api_key={}#part?api_key=1"),
    ("?api_key", "?api_key={}"),
    ("?z=1&api_key=old&y=2&api%5Fkey=older&api_key=&x=3#", "?z=1&api_key={}&y=2&x=3"),
    (f"?api_key={ENCODED}&api_key={ENCODED}", "?api_key={}"),
    ("?Api_Key=1&xapi_key=2&api_keys=3&a=api_key=4", "?Api_Key=1&xapi_key=2&api_keys=3&a=api_key=4&api_key={}"),
]  # fmt: skip


@pytest.mark.parametrize("driver", each(SYNC))
@pytest.mark.parametrize(("given", "expected"), PLACED)
def test_all_else_of_the_url_stays_as_it_is(driver: SyncDriver, given: str, expected: str) -> None:
    """An older parameter is replaced in its place, however often it is there; all else stays byte for byte."""
    signed = driver.signed(driver.auth(ApiKey(KEY, query="api_key")), URL + given)
    assert str(signed.url).removeprefix(URL).removesuffix("#") == expected.format(ENCODED)
    assert "k3y" not in str(dict(signed.headers))


@all_drivers
@pytest.mark.parametrize("name", ["api key", "ключ", "a&b=c#d", "$key[]"])
def test_a_name_is_encoded(driver: Driver, server: Loopback, name: str) -> None:
    """The name is sent form-encoded, and an older parameter is found by its name in any spelling."""
    server.api = lambda _: as_json({})
    auth = driver.auth(ApiKey(KEY, query=name))
    for _ in range(2):
        driver.send(Call("GET", server.api_url, {"params": {name: "old", "b": "2"}}), auth)
    assert [parse_qsl(urlsplit(each_.target).query) for each_ in server.api_requests] == [[(name, KEY), ("b", "2")]] * 2


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_session_or_client_has_it_for_all_its_requests(
    driver: SyncDriver, server: Loopback, grant: ClientCredentials
) -> None:
    """``session.auth`` and ``client.auth`` put it beside ``params`` of the session or client, in a stream too."""
    server.api = checking(server)
    made: Any = driver.module.Session() if driver.library == "requests" else driver.module.Client()
    with made as session:
        session.auth, session.params = driver.auth(grant, query="access_token"), {"a": "1"}
        assert session.get(server.api_url).status_code == 200
        server.revoke()
        if driver.library == "requests":
            streamed: Any = contextlib.closing(session.get(server.api_url, stream=True))
        else:
            streamed = session.stream("GET", server.api_url)
        with streamed as response:
            assert response.status_code == 200
    assert [tokens_of(each_) for each_ in server.api_requests] == [["token-1"], ["token-1"], ["token-2"]]
    assert {each_.target.partition("&")[0] for each_ in server.api_requests} == {"/api?a=1"}


#: Where ``/api`` redirects to; what the second request carries and how often it is sent; the end.
REDIRECTS: dict[str, tuple[str, list[str], int]] = {
    "without it": ("/there", [], 401),
    "repeated": ("/there?access_token={}&a=1", ["token-1", "token-2"], 200),
    "elsewhere": ("{other}/there", [], 401),
    "repeated elsewhere": ("{other}/there?access_token={}", ["token-1"], 401),
}


@all_drivers
@pytest.mark.parametrize("case", REDIRECTS)
def test_a_redirect_carries_what_the_server_wrote(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials, case: str
) -> None:
    """A redirect gets no token; where the server repeats it within the origin, a refusal there is answered as usual.

    What a server writes into an address of another origin is its own doing; that origin's 401 costs no token request.
    """
    location, tokens, status = REDIRECTS[case]
    accepting, other_server.api = iter([True, False]), checking(other_server)
    locations = {"/api": location.replace("{other}", other_server.url)}
    checked = checking(server, locations)

    def play(received: Received) -> Any:
        if received.target.startswith("/there") and next(accepting, True):
            server.revoke()
        return checked(received)

    server.api = play
    assert driver.get(server.api_url, driver.auth(grant, query="access_token")).status == status
    there = [each_ for each_ in [*server.api_requests, *other_server.api_requests] if "there" in each_.target]
    assert [token for each_ in there for token in tokens_of(each_)] == tokens
    assert len(there) == max(1, len(tokens))
    assert len(server.token_requests) == (2 if status == 200 else 1)


@all_drivers
@pytest.mark.usefixtures("clock")
def test_a_replay_may_be_redirected(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """After a replay a redirect repeats the fresh token; a refusal there is answered as well."""
    checked = checking(server, {"/api": "/there?access_token={}"})
    statuses = iter([200, 200, 401])

    def play(received: Received) -> Any:
        refusal = received.target.startswith("/there") and next(statuses, 200) == 401
        return as_json({}, 401) if refusal else checked(received)

    server.api = play
    auth = driver.auth(grant, query="access_token")
    assert driver.get(server.api_url, auth).history == [307]
    server.revoke()
    assert 307 in driver.get(server.api_url, auth).history  # requests keeps the redirects only
    targets = [f"{path}?access_token=token-{number}" for number in (1, 2) for path in ("/api", "/there")]
    assert [each_.target for each_ in server.api_requests] == [*targets[:2], targets[0], *targets[2:]]
    server.revoke()
    assert driver.get(server.api_url, auth).status == 200
    assert {len(tokens_of(each_)) for each_ in server.api_requests} == {1}


@all_drivers
def test_a_server_may_repeat_it_in_another_spelling(driver: Driver, server: Loopback) -> None:
    """A key that a redirect repeats with a plus sign as it is counts as ours: a refusal there is answered."""
    keys, answers = iter(["k3y+1", "k3y+2"]), iter([307, 401, 200])
    server.api = lambda _: as_json({}, next(answers), Location="/there?key=k3y+1&a=1")
    assert driver.get(server.api_url, driver.auth(ApiKey(lambda: next(keys), query="key"))).status == 200
    targets = [each_.target for each_ in server.api_requests]
    assert targets == ["/api?key=k3y%2B1", "/there?key=k3y+1&a=1", "/there?key=k3y%2B2&a=1"]


@all_drivers
def test_a_link_of_the_api_may_hold_a_token(
    driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials
) -> None:
    """The token in a link that the API hands out is replaced by the present one; to other hosts it is not sent."""
    server.api = checking(server)
    other_server.api = lambda _: as_json({})
    auth = driver.auth(grant, query="access_token", allowed_hosts=[urlsplit(server.url).netloc])
    driver.get(server.api_url, auth)
    server.revoke()
    driver.get(server.api_url, auth)
    assert driver.get(f"{server.api_url}?access_token=token-1&page=2", auth).history == []
    assert server.api_requests[-1].target == "/api?access_token=token-2&page=2"
    for query in ("page=2&access_token=token-2", "access_token=of-others", "access_token=token-2"):
        driver.get(f"{other_server.api_url}?{query}", auth)
    assert [each_.target for each_ in other_server.api_requests] == [
        "/api?page=2",
        "/api?access_token=of-others",
        "/api",
    ]


@all_drivers
def test_another_refusal_is_answered_in_the_same_place(
    driver: Driver, server: Loopback, grant: ClientCredentials, clock: Clock
) -> None:
    """After a refusal by ``refused=`` the URL has one token: the fresh one, or the old one if there is no other."""
    statuses = iter([200, 403, 403, 200])
    server.api = lambda _: as_json({}, next(statuses))
    auth = driver.auth(grant, query="access_token", refused=[403])
    driver.get(server.api_url, auth)
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    answer = driver.get(server.api_url, auth)
    assert (answer.status, str(answer.response.request.url)) == (403, f"{server.api_url}?access_token=token-1")
    server.token_play = server.issue
    clock.forward(60)
    assert driver.get(server.api_url, auth).history == [403]
    assert [tokens_of(each_) for each_ in server.api_requests] == [["token-1"]] * 3 + [["token-2"]]


@pytest.mark.parametrize("driver", each(HTTPX))
def test_a_hook_that_raises_for_a_refusal(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """A token whose 401 made an event hook raise is given up."""
    server.api = checking(server)
    auth = driver.auth(grant, query="access_token")
    driver.get(server.api_url, auth)
    server.revoke()
    with pytest.raises(driver.module.HTTPStatusError):
        driver.get(server.api_url, auth, hook=lambda response: response.raise_for_status())
    assert driver.get(server.api_url, auth).history == []
    assert tokens_of(server.api_requests[-1]) == ["token-2"]


@all_drivers
@pytest.mark.parametrize("trouble", ["at first", "on renewal", "in clear", "a predicate"])
@pytest.mark.usefixtures("clock")
def test_no_error_shows_a_token_of_a_url(driver: Driver, server: Loopback, trouble: str) -> None:
    """Neither an error nor a variable of a frame of the package shows a token, be it ours or one of a link."""

    def broken(_: Any) -> bool:
        raise RuntimeError("the predicate is broken")

    server.token_play = lambda _: as_json({"access_token": "t0ken-of-mine"})
    grant = ClientCredentials(server.token_url, "client", "s3cr3t-of-mine")
    auth = driver.auth(grant, query="access_token", refused=broken if trouble == "a predicate" else None)
    if trouble != "at first":
        driver.signed(auth, URL)
    if trouble != "a predicate":
        server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    if driver.library == "requests":
        refusing: Any = MockAdapter(lambda _: {"status_code": 401 if trouble == "on renewal" else 200})
    else:
        refusing = driver.module.MockTransport(
            lambda _: driver.module.Response(401 if trouble == "on renewal" else 200)
        )
    url = URL.replace("https:", "http:") if trouble == "in clear" else URL
    with pytest.raises((AuthError, RuntimeError)) as caught:
        driver.get(f"{url}?access_token=0ld-one-of-mine", auth, transport=refusing)
    if trouble != "a predicate":
        assert str(getattr(caught.value, "request").url) == url  # noqa: B009 - of the library's error
    shown = variables_of(caught.value) + str(caught.value) + repr(vars(caught.value))
    assert "-of-mine" not in shown
    assert trouble == "a predicate" or isinstance(caught.value, driver.base_error)


@all_drivers
@pytest.mark.parametrize("trouble", ["no other token", "a predicate", "another auth"])
def test_no_error_shows_a_token_beside_another_auth(driver: Driver, server: Loopback, trouble: str) -> None:
    """If one of several auths fails, neither the error nor a variable of a frame shows the token of another one."""
    base: Any = requests.auth.AuthBase if driver.library == "requests" else driver.module.Auth

    class Broken(base):
        def __call__(self, _: Any) -> Any:
            raise RuntimeError

        auth_flow = __call__

    server.token_play = lambda received: (
        as_json({"error": "invalid_client"}, 401)
        if b"other" in received.body
        else as_json({"access_token": "t0ken-of-mine"})
    )
    first, second = (
        ClientCredentials(server.token_url, name, "s3cr3t-of-mine", client_auth="client_secret_post")
        for name in ("me", "other")
    )
    beside: dict[str, Any] = {"no other token": driver.auth(second), "a predicate": driver.auth(ApiKey("k3y-of-mine"))}
    predicate = Broken().__call__ if trouble == "a predicate" else None
    server.api = lambda _: as_json({})
    auth = driver.auth(first, query="access_token", refused=predicate) + beside.get(trouble, Broken())
    with pytest.raises((AuthError, RuntimeError)) as caught:
        driver.get(server.api_url, auth)
    if trouble == "no other token":
        assert str(getattr(caught.value, "request").url) == server.api_url  # noqa: B009 - of the library's error
    assert "t0ken" not in variables_of(caught.value) + str(caught.value) + repr(vars(caught.value))


@pytest.mark.parametrize("driver", each(SYNC))
def test_a_signed_request_and_its_auth_are_like_any(driver: SyncDriver, server: Loopback) -> None:
    """The auth and a request that it signed are copied and pickled, and serve as before."""
    server.api = lambda _: as_json({})
    auth = pickle.loads(pickle.dumps(driver.auth(ApiKey("k3y-of-mine", query="api_key"))))
    assert repr(auth) == "OAuth2Auth(ApiKey(header='X-API-Key', scheme='', query='api_key'))"
    request = driver.get(server.api_url, auth).response.request
    for again in (copy.deepcopy, lambda each_: pickle.loads(pickle.dumps(each_))):
        assert str(again(request).url) == f"{server.api_url}?api_key=k3y-of-mine"
        if driver.library == "requests":
            with requests.Session() as session:
                assert session.send(again(request)).status_code == 200
    assert {each_.target for each_ in server.api_requests} == {"/api?api_key=k3y-of-mine"}


BAD: list[Any] = ["", "a\nb", b"a", "\ud800"]
#: An ApiKey's arguments, those of the auth, and where the key goes: header or parameter; ``""``: an error.
PLACES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"query": "q"}, {}, "q"),
    ({"query": "q"}, {"query": "p"}, "p"),
    ({"header": "X-A", "scheme": "Key"}, {"query": "p"}, "p"),
    ({"query": "q"}, {"header": "X-B"}, "x-b"),
    ({"query": "q"}, {"header": "X-B", "scheme": "Key"}, "x-b"),
    ({"query": "q"}, {"scheme": "Key"}, "scheme contradicts the query of the grant; give one of them"),
    ({}, {"query": "q", "header": "X-B"}, "header contradicts query; give one of them"),
    ({}, {"query": "q", "scheme": ""}, "scheme contradicts query; give one of them"),
    ({"query": "q", "header": "X-A"}, {}, "query contradicts header; give one of them"),
    ({"query": "q", "scheme": "Key"}, {}, "query contradicts scheme; give one of them"),
    *(({"query": bad}, {}, "query must be the name of a parameter in the query, such as access_token") for bad in BAD),
    *(({}, {"query": bad}, "query must be the name of a parameter in the query, such as access_token") for bad in BAD),
]


@all_drivers
@pytest.mark.parametrize(("of_key", "of_auth", "place"), PLACES)
def test_the_place_is_one(driver: Driver, of_key: Any, of_auth: Any, place: str) -> None:
    """The auth's arguments replace the place that the key names; two places are an error."""
    if " " in place:
        with pytest.raises(ConfigurationError) as caught:
            driver.auth(ApiKey("k3y", **of_key), **of_auth)
        assert str(caught.value) == place
        return
    signed = driver.signed(driver.auth(ApiKey("k3y", **of_key), **of_auth), URL)
    carried = [*parse_qsl(urlsplit(str(signed.url)).query), *dict(signed.headers).items()]
    assert [name.lower() for name, value in carried if "k3y" in value] == [place]


@all_drivers
def test_the_environment_names_the_parameter(driver: Driver, server: Loopback) -> None:
    """QUERY and API_KEY_QUERY name it; an override in code names another place."""
    server.api = lambda _: as_json({})
    kind: Any = type(driver.auth(ApiKey("k3y")))
    client = {"A_TOKEN_URL": server.token_url, "A_CLIENT_ID": "me", "A_CLIENT_SECRET": "s3cr3t"}
    for variables, overrides, target in (
        ({**client, "A_QUERY": "access_token"}, {}, "/api?access_token=token-1"),
        ({"A_API_KEY": "k3y", "A_API_KEY_QUERY": "api_key"}, {}, "/api?api_key=k3y"),
        ({**client, "A_HEADER": "X-A", "A_SCHEME": "a"}, {"query": "q"}, "/api?q=token-1"),
        ({**client, "A_QUERY": "q"}, {"header": "X-A"}, "/api"),
        ({**client, "A_QUERY": "q"}, {"scheme": "Token"}, "/api"),
    ):
        driver.get(server.api_url, kind.from_env("A", variables, **overrides))
        assert server.api_requests[-1].target == target


@all_drivers
def test_it_may_be_one_of_several(driver: Driver, server: Loopback, grant: ClientCredentials) -> None:
    """``auth_a + auth_b``: a token in the query beside one in a header, each replaced in its place, in either order."""
    other = ClientCredentials(server.token_url, "other", "s3cr3t-of-other")
    for order in (1, -1):
        auths = [driver.auth(grant, query="access_token"), driver.auth(other)][::order]
        auth, plays = auths[0] + auths[1], iter([200, 401, 401, 200])
        server.api = lambda _, plays=plays: as_json({}, next(plays))  # type: ignore[misc]
        assert driver.get(f"{server.api_url}?a=1", auth).history == []
        assert driver.get(f"{server.api_url}?a=1&access_token=old", auth).history == [401, 401]
    shown = [
        (each_.target.removeprefix("/api?a=1&access_token=token-"), each_.headers["authorization"].rpartition("-")[2])
        for each_ in server.api_requests
    ]
    assert [tuple(map(int, pair)) for pair in shown] == [
        *[(1, 2), (1, 2), (3, 2), (3, 4)],
        *[(3, 4), (3, 4), (3, 5), (6, 5)],
    ]


@pytest.mark.usefixtures("clock")
@all_drivers
def test_two_in_one_query(driver: Driver, server: Loopback, other_server: Loopback, grant: ClientCredentials) -> None:
    """Two tokens in one query: one parameter is refused; no other origin gets a fresh one; no error shows one."""
    other = ClientCredentials(server.token_url, "other", "s3cr3t-of-other")
    first, second = (driver.auth(each_, query=name) for each_, name in ((grant, "a"), (other, "b")))
    with pytest.raises(ConfigurationError, match="both use the parameter a"):
        first + driver.auth(other, query="a")
    server.api = lambda _: as_json({}, 302, Location=f"{other_server.api_url}?a=token-1")
    other_server.api = lambda _: as_json({}, 401)
    assert driver.get(server.api_url, first + second).status == 401
    assert [each_.target for each_ in (*server.api_requests, *other_server.api_requests)] == [
        "/api?a=token-1&b=token-2",
        "/api?a=token-1",  # by the server's doing
    ]
    assert len(server.token_requests) == 2
    server.api, server.token_play = lambda _: as_json({}, 401), lambda _: as_json({"error": "invalid_client"}, 401)
    with pytest.raises(AuthError) as caught:
        driver.get(server.api_url, first + second)
    assert "token-" not in variables_of(caught.value) + repr(vars(caught.value)) + str(caught.value)
