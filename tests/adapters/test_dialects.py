"""Token endpoints with a dialect of their own: each library in each mode gets a token, from code and from variables."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from auth_plugins import (
    ClientCredentials,
    FileCache,
    Password,
    RefreshToken,
    SecretFile,
    TokenRequestError,
    TokenSource,
)
from auth_plugins._base.runtime import runtime
from tests.support.drivers import ALL, Driver, each
from tests.support.forks import forks, in_child
from tests.support.loopback import Clock, Loopback, Received, as_json
from tests.support.stores import KEY, forget

NESTED = {
    "access_token": "body.access_token",
    "expires_in": "body.expires",
    "error": "code",
    "error_description": "msg",
}
VARIABLES = {
    "CLIENT_AUTH": "client_secret_post",
    "ENCODING": "json",
    "ANSWER": "access_token=body.access_token expires_in=body.expires error=code error_description=msg",
    "NAMES": "client_id=app_id client_secret=app_secret",
    "PARAMS": "grant_type&tenant=a%20b",
    "HEADERS": "X-Version=2",
}


def dialect(server: Loopback, **options: Any) -> ClientCredentials:
    """What :data:`VARIABLES` configure."""
    defaults: dict[str, Any] = {
        "client_auth": "client_secret_post",
        "encoding": "json",
        "answer": NESTED,
        "names": {"client_id": "app_id", "client_secret": "app_secret"},
        "params": {"grant_type": None, "tenant": "a b"},
        "headers": {"X-Version": "2"},
    }
    return ClientCredentials(server.token_url, "id", "s3cr3t", **{**defaults, **options})


def nested(server: Loopback, **others: Any) -> Callable[[Received], Any]:
    """An answer with the next token where :data:`NESTED` has it."""

    def play(received: Received) -> Any:
        token = json.loads(server.issue(received).get_data())["access_token"]
        return as_json({"code": 0, "msg": "ok", "body": {"access_token": token, "expires": 3600, **others}})

    return play


def variables(server: Loopback, **others: str) -> dict[str, str]:
    client = {"TOKEN_URL": server.token_url, "CLIENT_ID": "id", "CLIENT_SECRET": "s3cr3t"}
    return {f"ACME_{name}": value for name, value in {**client, **VARIABLES, **others}.items()}


@pytest.mark.parametrize("driver", each(ALL))
def test_a_dialect_is_a_few_words_of_configuration(driver: Driver, server: Loopback) -> None:
    """A JSON login with other names, whose token is nested, works from code and from variables with one token."""
    server.token_play = nested(server, instance="eu1")
    auths = [driver.auth(dialect(server)), type(driver.auth(dialect(server))).from_env("ACME", variables(server))]
    for auth in auths:
        assert driver.get(server.api_url, auth).status == 200
    [asked] = server.token_requests
    assert json.loads(asked.body) == {"app_id": "id", "app_secret": "s3cr3t", "tenant": "a b"}
    assert asked.headers["x-version"] == "2"
    token = auths[1].source.token()
    assert (token.access_token, dict(token.extra)) == ("token-1", {"instance": "eu1"})


@pytest.mark.parametrize("driver", each(ALL))
def test_an_error_in_a_200_is_one_of_ours(driver: Driver, server: Loopback) -> None:
    """A listed error in a 200 raises, without the secret; the next call sends no other token request."""
    server.token_play = lambda received: as_json({"code": 10014, "msg": f"no {received.body.decode()}", "body": None})
    auth = driver.auth(dialect(server))
    for _ in range(2):
        with pytest.raises(driver.base_error) as caught:
            driver.get(server.api_url, auth)
        assert isinstance(caught.value, TokenRequestError)
        assert (caught.value.error, caught.value.status_code) == ("10014", 200)
        assert "s3cr3t" not in f"{caught.value} {caught.value.extra}"
    assert (len(server.token_requests), server.api_requests) == (1, [])


@pytest.mark.parametrize("driver", each(ALL))
def test_a_token_from_a_header_lives_as_long_as_said(driver: Driver, server: Loopback, clock: Clock) -> None:
    """A token comes in a header of an empty 201, lives for ``lifetime``, and is then replaced."""
    answers = iter(range(1, 9))

    def play(_: Received) -> Any:
        number = next(answers)
        server.live.add(f"session-{number}")
        response = as_json(None, 201, X_Session=f"session-{number}")
        response.set_data(b"")
        return response

    server.token_play = play
    grant = ClientCredentials(server.token_url, "id", "s", answer={"access_token": "header:X-Session"}, lifetime=600)
    auth = driver.auth(grant, refresh_ahead=False)
    for seconds in (0, 500, 100):
        clock.forward(seconds)
        assert driver.get(server.api_url, auth).status == 200
    assert [received.headers["authorization"] for received in server.api_requests] == [
        "Bearer session-1", "Bearer session-1", "Bearer session-2"
    ]  # fmt: skip


@pytest.mark.parametrize("driver", each(ALL))
def test_a_callable_is_called_for_each_token_request(driver: Driver, server: Loopback, tmp_path: Path) -> None:
    """A file that rotates, and a callable, are read again for each token request, refreshes included."""
    file = tmp_path / "key"
    numbers = iter(range(9))
    grant = ClientCredentials(
        server.token_url, "id", "s",
        params={"n": lambda: next(numbers)}, headers={"X-Key": SecretFile(file)},
        refresh_params={"scope": "x", "key": SecretFile(file)},
    )  # fmt: skip
    issue = server.issue
    server.token_play = lambda received: as_json({**json.loads(issue(received).get_data()), "refresh_token": "r"})
    auth = driver.auth(grant)
    for key in ("one", "two"):
        file.write_text(key)
        server.live.clear()
        assert driver.get(server.api_url, auth).status == 200
    first, refresh = server.token_requests
    assert [each.headers["x-key"] for each in (first, refresh)] == ["one", "two"]
    assert dict(parse_qsl(first.body.decode())) == {"grant_type": "client_credentials", "n": "0"}
    assert dict(parse_qsl(refresh.body.decode())) == {
        "grant_type": "refresh_token", "refresh_token": "r", "n": "1", "scope": "x", "key": "two"
    }  # fmt: skip


def test_a_dialect_is_shared_and_pickled(server: Loopback, tmp_path: Path) -> None:
    """Grants that are equal, or were pickled, find one entry with the token and its extra members."""
    server.token_play = nested(server, instance="eu1")
    cache = FileCache(tmp_path, key=KEY)
    grant = dialect(server)
    token = TokenSource(grant, cache=cache).token()
    for other in (dialect(server), pickle.loads(pickle.dumps(grant))):
        forget()
        found = TokenSource(other, cache=FileCache(tmp_path, key=KEY)).token()
        assert (found, found.extra) == (token, {"instance": "eu1"})
    source = pickle.loads(pickle.dumps(TokenSource(grant, cache=cache)))
    assert source.token().extra == {"instance": "eu1"}
    assert len(server.token_requests) == 1


@forks
def test_a_forked_child_has_the_extra_members(server: Loopback) -> None:
    """A child has the token of its parent with all that stood beside it, and reads its own answers the same way."""
    server.token_play = nested(server, instance="eu1")
    tokens = TokenSource(dialect(server))
    token = tokens.token()

    def child() -> bool:
        first = tokens.token()
        tokens.invalidate(first)
        second = tokens.token()
        return (first, second.access_token) == (token, "token-2") and second.extra == first.extra == {"instance": "eu1"}

    in_child(child)


GRANTS: dict[str, Callable[[str], Any]] = {
    "client credentials": lambda url: ClientCredentials(url, "id", "s"),
    "password": lambda url: Password(url, "ann", "pw"),
    "refresh token": lambda url: RefreshToken(url, "r-0"),
}


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("rotates", [True, False], ids=["rotating", "one refresh token"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "memory"])
def test_a_refresh_keeps_extra_members_that_it_omits(
    server: Loopback, clock: Clock, tmp_path: Path, grant: str, rotates: bool, shared: bool
) -> None:
    """A refresh whose answer omits extra members keeps them, and replaces those that it has."""
    beside: list[dict[str, Any]] = [{"instance_url": "https://a", "n": 1, "refresh_token": "r-1"}, {"n": 2}, {}]
    if rotates:
        beside[1]["refresh_token"] = "r-2"
    if grant == "refresh token" and not rotates:
        del beside[0]["refresh_token"]
    answers = iter(beside)
    server.token_play = lambda received: as_json({**json.loads(server.issue(received).get_data()), **next(answers)})
    for number in (1, 2, 2):
        if shared:
            forget()
        cache: Any = {"cache": FileCache(tmp_path)} if shared else {}
        tokens = TokenSource(GRANTS[grant](server.token_url), **cache)
        token = tokens.token()
        assert token.extra == {"instance_url": "https://a", "n": number}
        if not shared and number == 2:
            tokens.invalidate(token)
        clock.forward(3600)
    kinds = [dict(parse_qsl(each.body.decode()))["grant_type"] for each in server.token_requests]
    assert kinds[1:] == ["refresh_token"] * 2


def test_another_grant_type_has_no_members_of_the_last(server: Loopback, clock: Clock) -> None:
    """A token that the grant itself gets has what its own answer has, and nothing of the token before."""
    answers = iter([{"instance_url": "https://a"}, {}])
    server.token_play = lambda received: as_json({**json.loads(server.issue(received).get_data()), **next(answers)})
    tokens = TokenSource(ClientCredentials(server.token_url, "id", "s"))
    assert tokens.token().extra == {"instance_url": "https://a"}
    clock.forward(3600)
    assert tokens.token().extra == {}


def test_a_seeded_token_has_extra_members_and_a_lifetime(server: Loopback, clock: Clock) -> None:
    """Seeded members are read as an answer: what stands beside the token is extra, and ``lifetime`` counts."""
    tokens = TokenSource(ClientCredentials(server.token_url, "id", "s", lifetime=90, answer=NESTED))
    tokens.seed({"access_token": "mine", "instance_url": "https://a", "refresh_token": "r"})
    assert tokens.token().extra == {"instance_url": "https://a"}
    assert tokens.token().expires_at == runtime.clock.time() + 90
    server.token_play = nested(server)
    clock.forward(90)
    assert tokens.token().extra == {"instance_url": "https://a"}


def test_a_nonce_storms_no_endpoint(server: Loopback) -> None:
    """A parameter that changes with each call ends no back-off; a secret file that changes does."""
    numbers = iter(range(99))
    server.token_play = lambda _: as_json({"error": "invalid_request"}, 400)
    tokens = TokenSource(ClientCredentials(server.token_url, "id", "s", params={"nonce": lambda: next(numbers)}))
    for _ in range(5):
        with pytest.raises(TokenRequestError):
            tokens.token()
    assert len(server.token_requests) == 1


def test_a_changed_file_among_the_parameters_ends_a_back_off(server: Loopback, tmp_path: Path) -> None:
    """A refusal is remembered until a secret file among the options changes."""
    file = tmp_path / "key"
    file.write_text("one")
    server.token_play = lambda _: as_json({"error": "invalid_request"}, 400)
    tokens = TokenSource(ClientCredentials(server.token_url, "id", "s", headers={"X-Key": SecretFile(file)}))
    for content in ("one", "one", "two", "two"):
        file.write_text(content)
        with pytest.raises(TokenRequestError):
            tokens.token()
    assert [received.headers["x-key"] for received in server.token_requests] == ["one", "two"]
