"""Each option for odd APIs, in code and by variables: on the wire, over a cache, in a fork, and as a pickle."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from werkzeug.wrappers import Response

from auth_plugins import ClientCredentials, Custom, FileCache, MemoryCache, graphql_unauthenticated
from tests.support.drivers import ALL, SYNC, Driver, each
from tests.support.forks import forks, in_child, spawned
from tests.support.logins import fetch, status_by_variables, status_of, tenant
from tests.support.loopback import Clock, Loopback, Received, as_json
from tests.support.stores import KEY

STANDARD = {"grant_type": "client_credentials"}
UNAUTHENTICATED = {"extensions": {"code": "UNAUTHENTICATED"}}
RENEWAL = {"grant_type": "refresh_token", "refresh_token": "r-1"}


def standard(token: str) -> Response:
    return as_json({"access_token": token, "expires_in": 600})


def in_ten_minutes() -> str:
    return dt.datetime.fromtimestamp(time.time() + 600, dt.UTC).isoformat()


def in_header(token: str) -> Response:
    return Response(b"", 201, {"X-Session": token})


@dataclass
class Row:
    """One option: the arguments and the variables that set it, what the servers do, and what they see."""

    grant: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)
    #: ``None``: the option is one of the code only.
    variables: Mapping[str, str] | None = None
    is_custom: bool = False
    answer: Callable[[str], Response] = standard
    #: The status of the API to a token that is not live.
    refusal: int = 401
    #: Where the API wants the token.
    place: str = "authorization: Bearer {}"
    #: The parameters of the first token request and of the next one, and headers that both have.
    first: Mapping[str, str] = field(default_factory=lambda: STANDARD)
    later: Mapping[str, str] = field(default_factory=lambda: STANDARD)
    headers: Mapping[str, str] = field(default_factory=dict)


ROWS = {
    "nested": Row(
        {"answer": {"access_token": "body.access_token", "expires_in": "body.ttl"}},
        variables={"ANSWER": "access_token=body.access_token expires_in=body.ttl"},
        answer=lambda token: as_json({"body": {"access_token": token, "ttl": 600}}),
    ),
    "array": Row(
        {"answer": {"access_token": "data.0.token"}},
        variables={"ANSWER": "access_token=data.0.token"},
        answer=lambda token: as_json({"data": [{"token": token, "expires_in": "600"}]}),
    ),
    "header, lifetime": Row(
        {"answer": {"access_token": "header:X-Session"}, "lifetime": 600},
        variables={"ANSWER": "access_token=header:X-Session", "LIFETIME": "600"},
        answer=in_header,
    ),
    "date": Row(
        {"answer": {"expires_at": "validUntil"}},
        variables={"ANSWER": "expires_at=validUntil"},
        answer=lambda token: as_json({"access_token": token, "validUntil": in_ten_minutes()}),
    ),
    "date without an option": Row(
        {"answer": {"access_token": "body.token", "error": "code"}},
        variables={"ANSWER": "access_token=body.token&error=code"},
        answer=lambda token: as_json({"code": 0, "body": {"token": token, "expires": in_ten_minutes()}}),
    ),
    "names, no grant type": Row(
        {
            "client_auth": "client_secret_post",
            "encoding": "json",
            "names": {"client_id": "app_id", "client_secret": "app_secret"},
            "params": {"grant_type": None},
        },
        variables={
            "CLIENT_AUTH": "client_secret_post",
            "ENCODING": "json",
            "NAMES": "client_id=app_id client_secret=app_secret",
            "PARAMS": "grant_type",
        },
        first={"app_id": "id", "app_secret": "s3cr3t"},
        later={"app_id": "id", "app_secret": "s3cr3t"},
    ),
    "params, headers": Row(
        {"params": {"tenant": "a b"}, "headers": {"X-Version": "2"}},
        variables={"PARAMS": "tenant=a%20b", "HEADERS": "X-Version=2"},
        first={**STANDARD, "tenant": "a b"},
        later={**STANDARD, "tenant": "a b"},
        headers={"x-version": "2"},
    ),
    "refresh_params": Row(
        {"refresh_params": {"scope": "read", "v": "2"}},
        variables={"REFRESH_PARAMS": "scope=read&v=2"},
        answer=lambda token: as_json({"access_token": token, "expires_in": 600, "refresh_token": "r-1"}),
        later={**RENEWAL, "scope": "read", "v": "2"},
    ),
    "header of its own": Row(
        adapter={"header": "X-Auth-Token", "scheme": "{token}"},
        variables={"HEADER": "X-Auth-Token", "SCHEME": "{token}"},
        place="x-auth-token: {}",
    ),
    "template": Row(
        adapter={"scheme": "CWSAuth Bearer={token}"},
        variables={"SCHEME": "CWSAuth Bearer={token}"},
        place="authorization: CWSAuth Bearer={}",
    ),
    "query": Row(
        adapter={"query": "access_token"},
        variables={"QUERY": "access_token"},
        place="?access_token={}",
    ),
    "refused": Row(
        adapter={"refused": (403, 419)},
        variables={"REFUSED": "403 419"},
        refusal=419,
    ),
    "predicate": Row(adapter={"refused": graphql_unauthenticated}, refusal=200),
    "callables": Row(
        {"params": {"tenant": tenant}, "headers": {"X-Version": tenant}, "refresh_params": {"scope": tenant}},
        first={**STANDARD, "tenant": "a b"},
        later={**STANDARD, "tenant": "a b"},
        headers={"x-version": "a b"},
    ),
    "Custom": Row(is_custom=True),
    "all": Row(
        {
            "client_auth": "client_secret_post",
            "answer": {"access_token": "body.token", "error": "code", "refresh_token": "body.next"},
            "names": {"client_secret": "key", "refresh_token": "next"},
            "params": {"tenant": "a"},
            "headers": {"X-Version": "2"},
            "refresh_params": {"scope": "read"},
            "lifetime": 600,
        },
        {"query": "key", "refused": (403,), "refresh_ahead": False},
        {
            "CLIENT_AUTH": "client_secret_post",
            "ANSWER": "access_token=body.token error=code refresh_token=body.next",
            "NAMES": "client_secret=key refresh_token=next",
            "PARAMS": "tenant=a",
            "HEADERS": "X-Version=2",
            "REFRESH_PARAMS": "scope=read",
            "LIFETIME": "600",
            "QUERY": "key",
            "REFUSED": "403",
            "REFRESH_AHEAD": "false",
        },
        answer=lambda token: as_json({"code": "0", "body": {"token": token, "next": "r-1", "site": "eu1"}}),
        refusal=403,
        place="?key={}",
        first={**STANDARD, "client_id": "id", "key": "s3cr3t", "tenant": "a"},
        later={
            "grant_type": "refresh_token",
            "next": "r-1",
            "client_id": "id",
            "key": "s3cr3t",
            "tenant": "a",
            "scope": "read",
        },
        headers={"x-version": "2"},
    ),
}
all_rows = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
#: Where the library can break nothing of a row's own: each row has one library, and they take turns.
rows_in_turn = pytest.mark.parametrize(
    ("row", "driver"),
    [pytest.param(row, SYNC[turn % 3], id=f"{name}-{SYNC[turn % 3]}") for turn, (name, row) in enumerate(ROWS.items())],
)


@pytest.fixture(scope="module")
def other_process() -> Iterator[ProcessPoolExecutor]:
    with spawned(1) as pool:
        yield pool


@pytest.fixture
def play(server: Loopback, row: Row) -> Row:
    """Let the server be that of the row; a token counts in its place only, and if it is nowhere else."""

    def issue(received: Received) -> Response:
        return row.answer(str(server.issue(received).get_json()["access_token"]))

    def api(received: Received) -> Response:
        lines = [f"{name}: {value}" for name, value in received.headers.items()] + [received.target]
        tokens = re.findall(r"token-\d+", "\n".join(lines))
        is_there = len(tokens) == 1 and tokens[0] in server.live
        is_there = is_there and any(line.endswith(row.place.format(tokens[0])) for line in lines)
        return as_json({}) if is_there else as_json({"errors": [UNAUTHENTICATED]}, row.refusal)

    server.token_play, server.api = issue, api
    return row


def made(driver: Driver, server: Loopback, row: Row, **others: Any) -> Any:
    """Return an auth object of the row, in code."""
    grant: Any = ClientCredentials(server.token_url, "id", "s3cr3t", **row.grant)
    if row.is_custom:
        grant = Custom(partial(fetch, server.token_url), key="account")
    return driver.auth(grant, **{**row.adapter, **others})


def variables(server: Loopback, row: Row, **others: str) -> dict[str, str]:
    """Return the variables of the row."""
    client = {"TOKEN_URL": server.token_url, "CLIENT_ID": "id", "CLIENT_SECRET": "s3cr3t"}
    return {f"ACME_{name}": value for name, value in {**client, **(row.variables or {}), **others}.items()}


def parameters(received: Received) -> dict[str, str]:
    if received.headers["content-type"] == "application/json":
        return dict(json.loads(received.body))
    return {name: value for name, [value] in parse_qs(received.body.decode(), strict_parsing=True).items()}


@all_rows
@pytest.mark.parametrize("driver", each(ALL))
def test_code_and_variables_do_the_same(driver: Driver, server: Loopback, clock: Clock, row: Row, play: Row) -> None:
    """Auth objects of code and of variables share one token, and replace it by the row's request after a refusal."""
    auths = [made(driver, server, row), made(driver, server, row)]
    if row.variables is not None:
        auths[1] = type(auths[0]).from_env("ACME", variables(server, row))
    assert auths[0].source.grant == auths[1].source.grant
    assert [driver.get(server.api_url, auth).status for auth in auths * 2] == [200] * 4
    [asked] = server.token_requests
    assert parameters(asked) == row.first
    assert asked.headers.items() >= row.headers.items()
    assert abs((auths[1].source.token().expires_at or 0) - clock.now - 600) < 1
    server.revoke()
    answer = driver.get(server.api_url, auths[1])
    assert (answer.status, answer.history) == (200, [row.refusal])
    assert parameters(server.token_requests[1]) == row.later
    assert server.token_requests[1].headers.items() >= row.headers.items()
    clock.forward(601)
    assert (driver.get(server.api_url, auths[0]).history, len(server.token_requests)) == ([], 3)


@rows_in_turn
def test_another_process_finds_the_token(
    driver: Driver, server: Loopback, tmp_path: Path, row: Row, play: Row, other_process: ProcessPoolExecutor
) -> None:
    """A pickled auth object, and one of variables, use the token of an encrypted FileCache in another process."""
    auth = made(driver, server, row, cache=FileCache(tmp_path, key=KEY))
    assert driver.get(server.api_url, auth).status == 200
    cached = variables(server, row, CACHE=f"file:{tmp_path}", CACHE_KEY=KEY)
    calls: list[Any] = [(status_of, auth)]
    if row.variables is not None:
        calls.append((status_by_variables, type(auth), cached))
    assert {other_process.submit(*[*call, server.api_url]).result(60) for call in calls} == {200}
    assert len(server.token_requests) == 1
    assert b"token-1" not in b"".join(path.read_bytes() for path in tmp_path.glob("*"))
    server.revoke()
    assert other_process.submit(status_of, auth, server.api_url).result(60) == 200
    assert parameters(server.token_requests[1]) == row.later


@forks
@rows_in_turn
def test_a_forked_child_goes_on(driver: Driver, server: Loopback, row: Row, play: Row) -> None:
    """A child uses the token of its parent, and replaces one that was refused: the refresh token is the parent's."""
    auth = made(driver, server, row)
    assert driver.get(server.api_url, auth).status == 200
    in_child(lambda: status_of(auth, server.api_url) == 200)
    assert len(server.token_requests) == 1
    server.revoke()
    in_child(lambda: status_of(auth, server.api_url) == 200)
    assert parameters(server.token_requests[1]) == row.first


@rows_in_turn
def test_a_copy_does_the_same(driver: Driver, server: Loopback, row: Row, play: Row) -> None:
    """A pickled auth object has all options: it asks, sends and renews as the original does."""
    auth = pickle.loads(pickle.dumps(made(driver, server, row, cache=MemoryCache())))
    assert driver.get(server.api_url, auth).status == 200
    server.revoke()
    assert driver.get(server.api_url, auth).history == [row.refusal]
    assert [parameters(asked) for asked in server.token_requests] == [row.first, row.later]
