"""``auth-plugins check``, as it is typed: what it says of setups that work, and of those that fail; never a secret."""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
import importlib
import io
import ipaddress
import itertools
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.wrappers import Response

import auth_plugins
from auth_plugins import AuthError, FileCache, TokenSource
from auth_plugins._cli.main import main
from auth_plugins.sandbox import Sandbox

from . import stores
from .conftest import forget
from .loopback import Loopback, Received, as_json

quick_names = stores.quick_names

SYSTEMS = ["upload-api", "jwt-api", "auth-api", "organization-api", "json-api"]
#: Each spelling of it has this word in it, but for Base64.
CANARY = "canary7"
SECRET = f'{CANARY} /+=%&"\\ü'
CLIENT = "id@example"
AUTHS = ["client_secret_basic", "client_secret_basic_raw", "client_secret_post"]


@dataclass
class Outcome:
    status: Any
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.out)

    def step(self, name: str) -> tuple[str, str, str]:
        """The mark, the detail and the advice of a step, of which there is one."""
        [[head, *advice]] = [lines for lines in self._steps() if lines[0][8:].startswith(f"{name}: ")]
        return head[:8].strip(), head[8:].removeprefix(f"{name}: "), "\n".join(advice)

    def names(self) -> list[str]:
        return [lines[0][8:].partition(":")[0] for lines in self._steps()]

    def _steps(self) -> Iterator[list[str]]:
        lines: list[str] = []
        for line in self.out.splitlines():
            if not line.startswith(" " * 8) and lines:
                yield lines
                lines = []
            lines.append(line)
        yield lines


Run = Callable[..., Outcome]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Types ``auth-plugins check`` and words, with variables set; nothing of a secret may be printed."""

    def run(*words: str, typed: str | None = None, **variables: str) -> Outcome:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["auth-plugins", "check", *words])
            patch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(typed))
            with pytest.raises(SystemExit) as end:
                main()
        out, err = (text.decode() for text in capsysbinary.readouterr())
        encoded = [base64.b64encode(text.encode()).decode() for text in (SECRET, f"{CLIENT}:{SECRET}")]
        encoded += [base64.b64encode(f"{quote(CLIENT, safe='')}:{quote(SECRET, safe='')}".encode()).decode()]
        for hidden in (CANARY, *encoded):
            assert hidden not in out + err
        return Outcome(end.value.code, out, err)

    return run


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def client(server: Loopback, **others: str) -> dict[str, str]:
    variables = {"TOKEN_URL": server.token_url, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET, **others}
    return {f"ACME_{name}": value for name, value in variables.items()}


def user(server: Loopback, **others: str) -> dict[str, str]:
    return client(server, USERNAME="ann", PASSWORD=SECRET, **others)


def basic(received: Received) -> str:
    return base64.b64decode(received.headers.get("authorization", "").removeprefix("Basic ")).decode()


def jwt(**claims: Any) -> str:
    parts = ({"alg": "HS256"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, f"{CANARY}-signature"])


def issuing(access_token: str, **members: Any) -> Callable[[Received], Response]:
    return lambda _: as_json({"access_token": access_token, "token_type": "Bearer", "expires_in": 3600, **members})


def wanting(server: Loopback, **ways: str) -> Callable[[Received], Response]:
    """A server that takes the client in one way only: *basic* credentials, or a *body* that has this in it."""

    def play(received: Received) -> Response:
        known = basic(received) == ways.get("basic") or ways.get("body", "\0").encode() in received.body
        return server.issue(received) if known else as_json({"error": "invalid_client"}, 401)

    return play


RAW, ENCODED = f"{CLIENT}:{SECRET}", f"{quote(CLIENT, safe='')}:{quote(SECRET, safe='')}"


# What works


@pytest.mark.parametrize("name", SYSTEMS)
def test_all_is_well(run: Run, sandbox: Sandbox, name: str) -> None:
    """I configure one of the five, check it, and see every step; nothing of a secret or of the token."""
    system = sandbox[name]
    outcome = run("ACME", "--url", system.api_url, **system.variables("ACME"))
    assert (outcome.status, outcome.err) == (0, "")
    assert not any(line.startswith("FAILED") for line in outcome.out.splitlines())
    names = [each for each in outcome.names() if each != "variable"]
    steps = ["grant", "cache", "name resolution", "connection", "token request", "clock", "token", "JWT", "API"]
    assert names == steps
    assert f"of the provider {name} at {system.url}" in outcome.step("grant")[1]
    assert outcome.step("API")[1] == f"{system.api_url} answered 200"
    assert len(system.token_requests) == 1
    token = system.seen[-1].headers["authorization"].removeprefix("Bearer ")
    for hidden in (token, *token.split("."), system.client_secret, quote(system.password, safe="")):
        assert not hidden or hidden not in outcome.out


@pytest.mark.parametrize(
    ("hidden", "used"), [((), "requests"), (("requests",), "httpx2"), (("requests", "httpx2"), "httpx")]
)
def test_the_library_that_is_there_is_used(
    run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch, hidden: tuple[str, ...], used: str
) -> None:
    """I have one of the three libraries, and am told by which it was tried."""
    for library in hidden:
        monkeypatch.setitem(sys.modules, library, None)
    outcome = run("ACME", "--url", server.api_url, **client(server))
    assert outcome.status == 0
    assert f"answered 200 to {used}, asked afresh" in outcome.step("token request")[1]
    [asked], [called] = server.token_requests, server.api_requests
    for received in (asked, called):
        agent = {"requests": "python-requests/", "httpx2": "python-httpx2/", "httpx": "python-httpx/"}[used]
        assert received.headers["user-agent"].startswith(agent)


def test_it_says_what_is_set_and_where(run: Run, server: Loopback, tmp_path: Path) -> None:
    """I see which variables count, which are secrets, which come from a file, and which defaults apply."""
    (tmp_path / "secret").write_text(SECRET)
    variables = client(server, CLIENT_SECRET_FILE=str(tmp_path / "secret"), SCOPE=" ", CACHE=f"file:{tmp_path}/cache")
    del variables["ACME_CLIENT_SECRET"]
    outcome = run("ACME_", **variables, ACME_ENCODING="json", ACME_CLIENT_AUTH="client_secret_post")
    assert outcome.status == 0
    for line in (
        "ok      variable: ACME_CLIENT_ID is set in the environment",
        "ok      variable: ACME_CLIENT_SECRET_FILE is set in the environment and names a file (a secret)",
        "-       variable: ACME_SCOPE is empty, as if it were not set",
    ):
        assert line in outcome.out.splitlines()
    assert outcome.step("grant")[1] == (
        f"ClientCredentials at {server.token_url}, client_auth client_secret_post, encoding json, "
        "method POST (by default)"
    )
    assert outcome.step("cache")[1] == f"FileCache('{tmp_path}/cache')"
    assert not list((tmp_path / "cache").glob("*.token")), "it was asked afresh, and nothing is left in the cache"
    assert CLIENT not in outcome.out


def test_a_cache_that_cannot_be_used_is_told(
    run: Run, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests would go on without the cache, and nobody would notice: here I am told, and of which variable."""
    (tmp_path / "file").touch()
    for cache in ("redis://:s3cr3t-w0rd@127.0.0.1:1/0", f"file:{tmp_path}/file"):
        outcome = run("ACME", **client(server, CACHE=cache))
        assert outcome.status == 1
        assert outcome.step("cache")[0] == "FAILED"
        assert "each process asks for its own token: check ACME_CACHE" in outcome.out
        assert "s3cr3t-w0rd" not in outcome.out
        assert outcome.step("token request")[0] == "ok", "the rest is tried all the same"
    monkeypatch.setattr(FileCache, "get", lambda *_: None)
    outcome = run("ACME", **client(server, CACHE=f"file:{tmp_path}/cache"))
    assert "LookupError: what was stored is not found again" in outcome.step("cache")[1]


def test_a_token_is_asked_for_afresh(run: Run, server: Loopback) -> None:
    """I check twice, and each time the server is asked: no cache hides what is wrong now."""
    for _ in range(2):
        assert run("ACME", **client(server)).status == 0
    assert len(server.token_requests) == 2


def test_json_is_one_object(run: Run, server: Loopback) -> None:
    """My monitoring reads one JSON object, whose members have the same names each time."""
    server.token_play = issuing(jwt(aud="api", sub="ann", exp=2000000000), scope="a")
    outcome = run("ACME", "--json", **client(server, SCOPE="a"))
    report = outcome.report
    assert list(report) == ["ok", "status", "prefix", "steps", "token", "error"]
    assert (report["ok"], report["status"], report["prefix"], report["error"]) == (True, 0, "ACME", None)
    for step in report["steps"]:
        assert list(step) == ["name", "ok", "detail", "advice"]
        assert step["ok"] in (True, False, None)
        assert isinstance(step["advice"], list)
    expires_at, expires_in = report["token"].pop("expires_at"), report["token"].pop("expires_in")
    assert expires_at == pytest.approx(time.time() + 3600, abs=10)
    assert expires_in == pytest.approx(3600, abs=10)
    assert report["token"] == {
        "token_type": "Bearer",
        "scope": "a",
        "refresh_token": False,
        "claims": {"sub": "ann", "aud": "api", "exp": 2000000000},
    }


def test_an_api_key_needs_no_token(run: Run, server: Loopback) -> None:
    """I have a key: nothing is asked for, and the API is tried with it."""
    server.api = lambda received: as_json({}, 200 if received.headers.get("x-api-key") == CANARY else 401)
    outcome = run("ACME", "--url", server.api_url, ACME_API_KEY=CANARY)
    assert outcome.status == 0
    assert outcome.step("grant")[1] == "ApiKey"
    assert outcome.step("token request")[:2] == ("-", "an API key needs none")
    assert outcome.step("token")[1] == "a key, no end told, no refresh token"
    refused = run("ACME", "--url", server.api_url, ACME_API_KEY=f"{CANARY}-other")
    assert refused.status == 1
    assert refused.step("API")[2].endswith("check ACME_API_KEY and ACME_API_KEY_HEADER")


# A client that proves itself otherwise


WAYS = [
    # configured, what the server wants, how
    ("client_secret_basic", "client_secret_basic_raw", {"basic": RAW}),
    ("client_secret_basic_raw", "client_secret_basic", {"basic": ENCODED}),
    ("client_secret_basic", "client_secret_post", {"body": "&client_secret="}),
    ("client_secret_post", "client_secret_basic", {"basic": ENCODED}),
]


@pytest.mark.parametrize(("configured", "wanted", "way"), WAYS)
def test_another_client_auth_is_found(
    run: Run, server: Loopback, configured: str, wanted: str, way: dict[str, str]
) -> None:
    """My credentials are right, and refused: it finds out how the server wants them, and says what to set."""
    server.token_play = wanting(server, **way)
    variables = client(server, CLIENT_AUTH=configured)
    outcome = run("ACME", "--try-others", "--url", server.api_url, **variables)
    assert outcome.status == 1, "it fails as it is configured"
    assert outcome.step("token request")[0] == "FAILED"
    assert outcome.step(f"try {wanted}") == (
        "ok",
        "answered 200",
        f"        → {wanted} works: set ACME_CLIENT_AUTH={wanted}",
    )
    assert outcome.step("API")[0] == "ok"
    assert run("ACME", **{**variables, "ACME_CLIENT_AUTH": wanted}).status == 0


def test_it_asks_before_it_tries(run: Run, server: Loopback) -> None:
    """At my terminal it asks me first; no is no."""
    server.token_play = wanting(server, basic=RAW)
    yes = run("ACME", typed="y\n", **client(server))
    assert "Try client_secret_basic_raw and client_secret_post as well, at the same token endpoint?" in yes.err
    # Old versions of click print the blank behind a question to standard output.
    assert "ok      try client_secret_basic_raw: answered 200\n" in yes.out
    assert len(server.token_requests) == 2
    no = run("ACME", typed="n\n", **client(server))
    assert len(server.token_requests) == 3
    assert no.out.endswith(
        "-       other client_auth: not tried: client_secret_basic_raw, client_secret_post\n"
        "        → have them tried by --try-others, or set ACME_CLIENT_AUTH to one of them\n"
    )


def test_it_asks_nobody_where_nobody_is(run: Run, server: Loopback) -> None:
    """In a script, and for --json, it neither asks nor tries, unless I say --try-others."""
    server.token_play = wanting(server, basic=RAW)
    assert run("ACME", **client(server)).step("other client_auth")[0] == "-"
    silent = run("ACME", "--json", typed="y\n", **client(server))
    assert (silent.err, silent.report["token"]) == ("", None)
    assert len(server.token_requests) == 2
    assert run("ACME", "--json", "--try-others", typed="", **client(server)).report["token"] is not None


@pytest.mark.parametrize("configured", AUTHS)
def test_what_would_be_the_same_is_not_tried(run: Run, server: Loopback, configured: str) -> None:
    """My id and secret have no special characters: raw or encoded is one, it says so, and tries neither twice."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    variables = client(server, CLIENT_ID="plain-id", CLIENT_SECRET=CANARY, CLIENT_AUTH=configured)
    outcome = run("ACME", "--try-others", **variables)
    assert outcome.status == 1
    assert len(server.token_requests) == 2
    same = "id and secret have no special characters: client_secret_basic and client_secret_basic_raw are one here"
    assert (same in outcome.step("token request")[2]) == ("basic" in configured)


def test_what_cannot_work_is_not_tried(run: Run, server: Loopback) -> None:
    """An id with a colon cannot travel raw; and a secret is never put into a URL to see what happens."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    assert run("ACME", "--try-others", **client(server, CLIENT_ID="a:b", ENCODING="query")).status == 1
    assert len(server.token_requests) == 1
    run("ACME", "--try-others", **client(server, METHOD="GET", ENCODING="form"))
    assert len(server.token_requests) == 3
    assert not any("secret" in received.target for received in server.token_requests)
    run("ACME", "--try-others", **client(server, METHOD="GET", CLIENT_AUTH="client_secret_post"))
    assert len(server.token_requests) == 6, "as it is configured, and both of Basic"


def test_a_client_that_gets_further_is_known(run: Run, server: Loopback) -> None:
    """Raw is what it wants, and then another scope: I am told both, and nothing else is tried."""

    def play(received: Received) -> Response:
        return as_json({"error": "invalid_scope"}, 400) if basic(received) == RAW else as_json({}, 401)

    server.token_play = play
    outcome = run("ACME", "--try-others", **client(server))
    mark, detail, advice = outcome.step("try client_secret_basic_raw")
    assert (mark, "answered 400 (invalid_scope)" in detail) == ("FAILED", True)
    assert "set ACME_CLIENT_AUTH=client_secret_basic_raw\n" in advice
    assert advice.endswith("→ set ACME_SCOPE to what this client was given")
    assert len(server.token_requests) == 2


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (({"error": "invalid_client"}, 401), 2),
        (({"error": "invalid_grant"}, 400), 1),
        (({"error": "invalid_request"}, 400), 1),
        (({}, 401), 1),
        (({}, 503), 1),
    ],
)
def test_a_password_is_sent_twice_at_most(run: Run, server: Loopback, answer: tuple[Any, int], sent: int) -> None:
    """I have three attempts before I am locked out: one more is made where only the client was refused, else none."""
    server.token_play = lambda _: as_json(*answer)
    assert run("ACME", "--try-others", typed="y\n", **user(server)).status == 1
    assert len(server.token_requests) == sent


def test_a_refused_token_sends_no_password(run: Run, server: Loopback) -> None:
    """The API refuses my token: that is told, and no other one is asked for."""
    server.api = lambda _: as_json({}, 401)
    for name, variables in ("password", user(server)), ("key", {"ACME_API_KEY": CANARY}):
        assert run("ACME", "--url", server.api_url, **variables).status == 1, name
    assert (len(server.token_requests), len(server.api_requests)) == (1, 2)


def test_a_public_client_has_nothing_to_try(run: Run, server: Loopback) -> None:
    """My client has no secret, so that there is no other way to prove it."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    outcome = run(
        "ACME", "--try-others", ACME_TOKEN_URL=server.token_url, ACME_CLIENT_ID=CLIENT, ACME_CLIENT_AUTH="none"
    )
    assert outcome.step("token request")[2] == (
        "        → check ACME_CLIENT_ID\n"
        "        → no client secret was sent: if this client has one, set ACME_CLIENT_SECRET"
    )
    assert len(server.token_requests) == 1


def test_a_public_client_is_given_no_secret_for_a_right(run: Run, server: Loopback) -> None:
    """My client has no secret and lacks a right: I am told of the right, and not of a certificate."""
    server.token_play = lambda _: as_json({"error": "unauthorized_client"}, 400)
    outcome = run("ACME", ACME_TOKEN_URL=server.token_url, ACME_CLIENT_ID=CLIENT, ACME_CLIENT_AUTH="none")
    said = "        → have the server's owner allow this client the grant ClientCredentials"
    assert outcome.step("token request")[2] == said


def test_a_client_that_was_forgotten_is_named(run: Run, server: Loopback) -> None:
    """The server wants a client, and I configured a user alone: I am told which variables make one."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    outcome = run("ACME", ACME_TOKEN_URL=server.token_url, ACME_USERNAME="ann", ACME_PASSWORD=SECRET)
    said = "no client secret was sent: if this client has one, set ACME_CLIENT_ID and ACME_CLIENT_SECRET"
    assert outcome.step("token request")[2].endswith(said)


def test_a_provider_without_a_client_is_asked_for_none(run: Run, server: Loopback) -> None:
    """The system has users and no clients: nothing is said of a client's secret."""
    server.api = lambda _: as_json({"error": "invalid_client"}, 401)
    variables = {"PROVIDER": "auth-api", "BASE_URL": server.url, "USERNAME": "ann", "PASSWORD": SECRET}
    outcome = run("ACME", **{f"ACME_{name}": value for name, value in variables.items()})
    assert outcome.step("token request")[2] == "        → check ACME_PASSWORD and ACME_USERNAME"


# A token endpoint that refuses


HTML = Response("<html>welcome</html>", content_type="text/html")
FORBIDDEN = Response("Forbidden by policy 7", 403, content_type="text/plain")
REFUSALS: dict[str, tuple[Response, dict[str, str], str]] = {
    # what the server answers, further variables, what the advice says
    "JSON wanted": (as_json({}, 415), {}, "ACME_ENCODING=json"),
    "a form wanted": (as_json({"error": "invalid_request"}, 400), {"ENCODING": "json"}, "ACME_ENCODING=form"),
    "a grant it cannot read": (as_json({"error": "unsupported_grant_type"}, 400), {}, "ACME_ENCODING=json"),
    "no scope": (as_json({"error": "invalid_scope"}, 400), {}, "set ACME_SCOPE"),
    "no target": (as_json({"error": "invalid_target"}, 400), {}, "check ACME_AUDIENCE and ACME_RESOURCE"),
    "no right": (as_json({"error": "unauthorized_client"}, 400), {}, "allow this client the grant ClientCredentials"),
    "wrong password": (
        as_json({"error": "invalid_grant"}, 400),
        {"USERNAME": "ann", "PASSWORD": SECRET},
        "check ACME_CLIENT_ID and ACME_CLIENT_SECRET and ACME_PASSWORD and ACME_USERNAME",
    ),
    "wrong secret": (as_json({}, 403), {}, "check ACME_CLIENT_ID and ACME_CLIENT_SECRET"),
    "wrong secret, told by 400": (as_json({"error": "invalid_client"}, 400), {}, "check ACME_CLIENT_ID"),
    "a web page": (HTML, {}, "check that ACME_TOKEN_URL leads to the token endpoint"),
    "a web page that refuses": (Response("<p>no</p>", 400), {}, "check that ACME_TOKEN_URL leads"),
    "not there": (as_json({}, 404), {}, "check that ACME_TOKEN_URL leads"),
    "moved": (as_json({}, 302, Location="https://id.example.com/"), {}, "check that ACME_TOKEN_URL leads"),
    "GET wanted": (as_json({}, 405), {}, "set ACME_METHOD=GET"),
    "POST wanted": (as_json({}, 405), {"METHOD": "GET"}, "set ACME_METHOD=POST"),
    "in trouble": (as_json({}, 503, Retry_After="7"), {}, "try again in 7 s"),
    "too many": (as_json({}, 429), {}, "wants a rest: try again later"),
    "no scope, told by an empty 400": (Response("", 400), {}, "set ACME_SCOPE: some servers answer so, and no more"),
    "no scope, told by an empty 403": (Response(" ", 403), {}, "set ACME_SCOPE: some servers answer so, and no more"),
    "an empty 403 for a wrong secret": (Response("", 403), {}, "check ACME_CLIENT_ID and ACME_CLIENT_SECRET"),
    "a client that has to send DPoP": (
        as_json({"error": "invalid_grant"}, 400),
        {},
        "ask the server's owner whether this client has to send DPoP, a certificate or a key",
    ),
    "no proof": (as_json({"error": "invalid_dpop_proof"}, 400), {}, "allow this client Bearer tokens"),
    "a nonce": (as_json({"error": "use_dpop_nonce"}, 400), {}, "the server wants DPoP, which is not supported"),
    "a client with a certificate": (
        as_json({"error": "unauthorized_client"}, 400),
        {},
        "have it registered with a secret, if it has to prove itself by a certificate or a key",
    ),
    "a grant that is not offered": (
        as_json({"error": "unsupported_grant_type"}, 400),
        {},
        "check ACME_GRANT_TYPE: the server does not offer the grant ClientCredentials at this endpoint",
    ),
    "a secret that is encoded": (
        as_json({"error": "invalid_client"}, 401),
        {},
        "encodes and client_secret_basic_raw does not: set ACME_CLIENT_AUTH=client_secret_basic_raw if the server",
    ),
    "a secret that is not encoded": (
        as_json({"error": "invalid_request"}, 400),
        {"CLIENT_AUTH": "client_secret_basic_raw"},
        "set ACME_CLIENT_AUTH=client_secret_basic if the server wants the other",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_explained(run: Run, server: Loopback, case: str) -> None:
    """The server refuses: I see its answer, and the variable to change."""
    answer, further, said = REFUSALS[case]
    server.token_play = lambda _: answer
    outcome = run("ACME", "--url", server.api_url, **client(server, **further))
    mark, detail, advice = outcome.step("token request")
    assert (outcome.status, mark, outcome.err) == (1, "FAILED", "")
    assert f"{server.token_url} answered" in detail
    assert said in advice
    assert outcome.step("API")[:2] == ("-", f"{server.api_url} not tried, as there is no token")
    assert not server.api_requests


def test_a_scope_that_is_set_is_not_missing(run: Run, server: Loopback) -> None:
    """I set a scope, and the server answers an empty 403: nothing says that the scope is missing."""
    server.token_play = lambda _: Response("", 403)
    assert "ACME_SCOPE" not in run("ACME", **client(server, SCOPE="read")).step("token request")[2]


def test_a_provider_offers_one_grant(run: Run, sandbox: Sandbox, server: Loopback) -> None:
    """A provider has no GRANT_TYPE: the variable to check is PROVIDER."""
    server.token_play = lambda _: as_json({"error": "unsupported_grant_type"}, 400)
    base_url = server.token_url.removesuffix("/token")
    variables = {**sandbox["json-api"].variables("ACME"), "ACME_BASE_URL": base_url}
    server.api = lambda _: as_json({"error": "unsupported_grant_type"}, 400)
    assert "check ACME_PROVIDER: the server does not offer" in run("ACME", **variables).step("token request")[2]


@pytest.mark.parametrize("code", ["invalid_grant", "bad_refresh_token"])
def test_a_dead_refresh_token_is_named(run: Run, server: Loopback, tmp_path: Path, code: str) -> None:
    """My refresh token is dead: I am told which variable it is, and that I have to obtain a new one."""
    server.token_play = lambda _: as_json({"error": code}, 400)
    variables = {"ACME_TOKEN_URL": server.token_url, "ACME_CACHE": f"file:{tmp_path}/cache"}
    (tmp_path / "token").write_text(f"{CANARY}-first\n")
    for name, given in (("REFRESH_TOKEN", f"{CANARY}-first"), ("REFRESH_TOKEN_FILE", f"{tmp_path}/token")):
        advice = run("ACME", "--try-others", **variables, **{f"ACME_{name}": given}).step("token request")[2]
        assert advice == (
            f"        → ACME_{name} is not valid any more: it expired, was revoked, or was used before; "
            "obtain a new one, as you obtained this one, and set it"
        )
        forget()


#: Answers that say nothing of how the client proves itself.
NOT_OF_CLIENT: dict[str, Response] = {
    "another error": as_json({"error": "invalid_grant"}, 400),
    "a dead refresh token": as_json({"error": "bad_refresh_token"}, 400),
    "a proof that is missing": as_json({"error": "use_dpop_nonce"}, 400),
    "a server in trouble": as_json({"error": "temporarily_unavailable"}, 400),
    "a server that wants a rest": as_json({}, 403, Retry_After="5"),
    "a web page": Response("<html>sign in</html>", 401, content_type="text/html"),
    "a web page without its type": Response(" <p>no</p>", 403, content_type="application/octet-stream"),
    "a web page that is empty": Response("", 403, content_type="text/html"),
    "a firewall": FORBIDDEN,
    "a gateway": Response("Bad Request", 400, content_type="text/plain"),
    "not there": as_json({}, 404),
    "too many": as_json({"error": "invalid_client"}, 429),
    "an error of the server": as_json({"error": "invalid_client"}, 500),
    "a redirect": as_json({}, 307, Location="/elsewhere"),
    "a good answer without a token": as_json({"message": "hello"}),
}


@pytest.mark.parametrize("case", NOT_OF_CLIENT)
def test_a_secret_is_not_sent_again_for_what_is_no_matter_of_the_client(run: Run, server: Loopback, case: str) -> None:
    """--try-others sends my secret again only where the refusal can be about how the client proves itself."""
    server.token_play = lambda _: NOT_OF_CLIENT[case]
    for words in (["--try-others"], ["--try-others", "--json"]):
        assert run("ACME", *words, **client(server)).status == 1
    assert len(server.token_requests) == 2
    assert "other client_auth" not in run("ACME", **client(server)).names()


@pytest.mark.parametrize(
    "answer",
    [
        as_json({"error": "invalid_client"}, 400),
        as_json({"message": "who are you?"}, 403),
        Response("", 401),
        Response("Unauthorized", 401, content_type="text/plain"),
        Response("error=invalid_client", 400, content_type="application/x-www-form-urlencoded"),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.get_data().decode()}",
)
def test_a_secret_is_sent_again_where_the_client_may_be_meant(run: Run, server: Loopback, answer: Response) -> None:
    """The server refuses the client, in whichever form: the other ways are tried."""
    server.token_play = lambda _: answer
    run("ACME", "--try-others", **client(server))
    assert len(server.token_requests) == 3


def test_a_provider_has_a_base_url(run: Run, sandbox: Sandbox) -> None:
    """I configured a provider: the variable that I am told is the one that I set."""
    system = sandbox["jwt-api"]
    variables = {**system.variables("ACME"), "ACME_BASE_URL": f"{system.url}/v9"}
    assert "check that ACME_BASE_URL leads" in run("ACME", **variables).step("token request")[2]


@pytest.fixture
def set_date(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the server send that as its Date."""
    return lambda date: monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: date)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-125, "ahead of the server's, so that tokens may seem to end early"),
        (125, "behind the server's, so that tokens may seem to end late"),
    ],
)
@pytest.mark.parametrize("status", [200, 401])
def test_clocks_that_differ_are_told(
    run: Run, server: Loopback, set_date: Callable[[str], None], seconds: int, said: str, status: int
) -> None:
    """My clock is wrong, or the server's: I am told by how much, in which direction, and what follows."""
    set_date(email.utils.formatdate(time.time() + seconds, usegmt=True))
    server.token_play = lambda _: as_json({"access_token": "opaque"}, status)
    outcome = run("ACME", **client(server))
    assert outcome.status == int(status != 200), "a token that was had is good whatever the clocks say"
    mark, detail, advice = outcome.step("clock")
    # A Date has no fractions.
    assert (mark, detail) in [("-", f"this machine's is {about} s {said}") for about in (124, 125, 126)]
    assert "set it, by NTP for one" in advice


@pytest.mark.parametrize("date", ["", "soon", "Mon, 99 Jan 2024 00:00:00 GMT"])
def test_a_date_that_is_none_is_told(run: Run, server: Loopback, set_date: Callable[[str], None], date: str) -> None:
    """The server tells no time, so nothing is said of clocks."""
    set_date(date)
    assert run("ACME", **client(server)).step("clock")[:2] == ("-", "the answer has no Date to compare with")


# A token endpoint that cannot be reached


def test_a_name_that_does_not_resolve(run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """I misspelt the host: the name is what fails, and nothing is sent."""

    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    outcome = run("ACME", **client(server, TOKEN_URL="https://id.example.test/token?key=" + CANARY))
    assert outcome.status == 1
    mark, detail, advice = outcome.step("name resolution")
    assert (mark, detail) == ("FAILED", "id.example.test port 443: Name or service not known")
    assert "check the host in ACME_TOKEN_URL" in advice
    assert outcome.names()[-1] == "token request"
    assert outcome.step("token request")[0] == "-"
    assert "at https://id.example.test/token?..., " in outcome.step("grant")[1]


def test_a_name_is_not_waited_for_for_ever(run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """The DNS is dead: ACME_TIMEOUT bounds the look-up too."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10))
    began = time.monotonic()
    outcome = run("ACME", **client(server, TIMEOUT="0.05"))
    assert time.monotonic() - began < 5
    over.set()
    assert outcome.step("name resolution")[1].endswith(": no answer in time")


def test_nobody_listens(run: Run, server: Loopback) -> None:
    """The port is wrong: the name is fine, the connection isn't."""
    outcome = run("ACME", **client(server, TOKEN_URL="http://127.0.0.1:1/token"))
    assert outcome.status == 1
    assert outcome.step("name resolution")[0] == "ok"
    mark, detail, advice = outcome.step("connection")
    assert (mark, detail) == ("FAILED", "127.0.0.1 port 1: Connection refused")
    assert "check host and port in ACME_TOKEN_URL" in advice


def test_an_odd_host_is_a_line_too(run: Run, server: Loopback) -> None:
    """What no DNS can be asked for is explained like any other name."""
    outcome = run("ACME", **client(server, TOKEN_URL=f"https://{'a' * 64}.example/token"))
    assert (outcome.status, outcome.step("name resolution")[0]) == (1, "FAILED")


def test_a_server_that_says_nothing(run: Run, server: Loopback) -> None:
    """It takes the connection and never answers: I am told so when ACME_TIMEOUT is over."""
    server.latency = 1
    outcome = run("ACME", **client(server, TIMEOUT="0.1"))
    assert outcome.status == 1
    mark, detail, advice = outcome.step("token request")
    assert (mark, "could not be reached (timed out after 0.1 s)" in detail) == ("FAILED", True)
    assert advice.endswith("check ACME_TOKEN_URL, the network and its proxies, and ACME_TIMEOUT")
    assert "clock" not in outcome.names()


def test_a_secret_does_not_travel_in_clear(run: Run, server: Loopback) -> None:
    """I wrote http:// for https://: nothing is sent, and I am told the variable that would allow it."""
    outcome = run("ACME", **client(server, TOKEN_URL="http://id.example.com/token"))
    mark, detail, advice = outcome.step("connection")
    assert (outcome.status, mark) == (1, "FAILED")
    assert detail == "refused, as a secret or a token would travel to id.example.com in clear"
    assert advice.endswith("use https://, or set ACME_ALLOW_HTTP=true")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_is_told(run: Run, server: Loopback, variable: str) -> None:
    """My requests go by a proxy: I am told by which, without its password, and nothing is tried directly."""
    proxy = f"http://me:{CANARY}@{server.url.removeprefix('http://')}"
    variables = client(server, TOKEN_URL="http://id.example.test/token", ALLOW_HTTP="true")
    outcome = run("ACME", **variables, **{variable: proxy})
    assert outcome.status == 0
    assert "name resolution" not in outcome.names()
    mark, detail, _ = outcome.step("connection")
    assert (mark, server.url.removeprefix("http://") in detail) == ("-", True)
    [received] = server.token_requests
    assert received.target == "http://id.example.test/token"
    assert run("ACME", **client(server), **{variable: proxy}, NO_PROXY="127.0.0.1").step("connection")[0] == "ok"


# TLS


class Secure(Loopback):
    """The same by TLS, with a certificate that it signed itself."""

    def __init__(self, directory: Path, name: str, days: int) -> None:
        super().__init__()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        address = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(ends - dt.timedelta(days=10))
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.certificate = directory / "certificate.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (directory / "key.pem").write_bytes(private)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, directory / "key.pem")
        self._server.ssl_context = context
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.log = lambda *_, **__: None  # type: ignore[method-assign]  # of clients that leave
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # likewise

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.port}"


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Callable[[str, int], Secure]]:
    started: list[Secure] = []

    def start(name: str, days: int) -> Secure:
        server = Secure(tmp_path, name, days)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


LIBRARIES = [((), "REQUESTS_CA_BUNDLE"), (("requests",), "SSL_CERT_FILE"), (("requests", "httpx2"), "SSL_CERT_FILE")]


@pytest.mark.parametrize(("hidden", "variable"), LIBRARIES, ids=["requests", "httpx2", "httpx"])
def test_a_ca_of_my_own(
    run: Run,
    secure: Callable[[str, int], Secure],
    monkeypatch: pytest.MonkeyPatch,
    hidden: tuple[str, ...],
    variable: str,
) -> None:
    """My server's certificate is signed by my own CA: I am told the variable of my library, set it, and it works."""
    for library in hidden:
        monkeypatch.setitem(sys.modules, library, None)
    server = secure("127.0.0.1", 5)
    outcome = run("ACME", **client(server))
    assert outcome.status == 1
    mark, detail, advice = outcome.step("TLS")
    assert mark == "FAILED"
    assert detail.startswith("self-signed certificate: TLSv1.3; certificate of CN=127.0.0.1, by CN=127.0.0.1, until ")
    assert f"set {variable} to its file" in advice
    assert not server.token_requests
    good = run("ACME", **client(server), **{variable: str(server.certificate)})
    assert good.status == 0
    assert good.step("TLS")[1].startswith("TLSv1.3; certificate of CN=127.0.0.1, by CN=127.0.0.1, until ")


@pytest.mark.parametrize(
    ("name", "days", "problem", "advice"),
    [
        ("127.0.0.1", -1, "certificate has expired", "have the server's owner renew it"),
        ("id.example.com", 5, "IP address mismatch, certificate is not valid", "check the host in ACME_TOKEN_URL"),
    ],
)
def test_a_certificate_that_is_not_good(
    run: Run, secure: Callable[[str, int], Secure], name: str, days: int, problem: str, advice: str
) -> None:
    """The certificate has expired, or is another host's: I see which it is, and whose business that is."""
    server = secure(name, days)
    outcome = run("ACME", **client(server), REQUESTS_CA_BUNDLE=str(server.certificate))
    mark, detail, said = outcome.step("TLS")
    assert (outcome.status, mark) == (1, "FAILED")
    assert detail.startswith(problem)
    assert f"certificate of CN={name}, by" in detail
    assert advice in said


def test_a_port_without_tls(run: Run, server: Loopback) -> None:
    """I wrote https:// for a port that speaks http."""
    outcome = run("ACME", **client(server, TOKEN_URL=server.token_url.replace("http", "https")))
    mark, _, advice = outcome.step("TLS")
    assert (outcome.status, mark, outcome.step("connection")[0]) == (1, "FAILED", "ok")
    assert "check that the port in ACME_TOKEN_URL is one of https" in advice


def test_a_bundle_that_is_not_there(run: Run, secure: Callable[[str, int], Secure], tmp_path: Path) -> None:
    """The variable with my CA names a directory without it, or nothing: I am told, and there is no traceback."""
    server = secure("127.0.0.1", 5)
    (tmp_path / "empty").mkdir()
    outcome = run("ACME", **client(server), REQUESTS_CA_BUNDLE=str(tmp_path / "empty"))
    assert outcome.step("TLS")[1].startswith("self-signed certificate: ")
    server.stop()
    assert run("ACME", **client(server)).step("connection")[0] == "FAILED"


def test_a_bundle_that_cannot_be_read(run: Run, secure: Callable[[str, int], Secure], tmp_path: Path) -> None:
    """The variable with my CA names a file that is none: I am told that, and which variables it may be."""
    (tmp_path / "ca.pem").write_text("no certificate")
    outcome = run("ACME", **client(secure("127.0.0.1", 5)), REQUESTS_CA_BUNDLE=str(tmp_path / "ca.pem"))
    mark, detail, advice = outcome.step("TLS")
    assert (mark, detail.partition(" (")[0]) == ("FAILED", "the certificates to trust cannot be read")
    assert "REQUESTS_CA_BUNDLE" in advice


def test_a_certificate_that_nobody_can_read(
    run: Run, secure: Callable[[str, int], Secure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """My server's certificate is of a version that there isn't: it is told, and there is no traceback."""

    def load(_: bytes) -> x509.Certificate:
        raise x509.InvalidVersion("4 is not a valid X509 version", 4)

    monkeypatch.setattr(x509, "load_der_x509_certificate", load)
    outcome = run("ACME", **client(secure("127.0.0.1", 5)))
    assert outcome.step("TLS")[1].endswith("; a certificate that cannot be read (InvalidVersion)")


def test_a_certificate_that_only_the_library_refuses(
    run: Run, secure: Callable[[str, int], Secure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a proxy that opens TLS: the library says no, and I am told what to set all the same."""
    server = secure("127.0.0.1", 5)
    trusting = ssl.create_default_context(cafile=server.certificate)
    monkeypatch.setattr("auth_plugins._cli.check.probe._trusting", lambda *_: trusting)
    outcome = run("ACME", **client(server))
    assert outcome.step("TLS")[0] == "ok"
    mark, _, advice = outcome.step("token request")
    assert (mark, "set REQUESTS_CA_BUNDLE to its file" in advice) == ("FAILED", True)


# The token


def test_the_token_is_described(run: Run, server: Loopback) -> None:
    """I see what the token is good for, registered claims only: no name, no mail, no signature."""
    now = int(time.time())
    claims = {"iss": "https://id", "aud": ["a", "b"], "exp": now + 60, "nbf": now, "scp": "read", "email": "ann@home"}
    server.token_play = issuing(jwt(**claims, roles=[f"x {SECRET}"]), scope="read", refresh_token=CANARY)
    outcome = run("ACME", **client(server, SCOPE="read write"))
    assert outcome.status == 0
    assert outcome.step("token")[1].startswith("Bearer, ends in 3600 s, at ")
    assert outcome.step("token")[1].endswith(" UTC, scope read, a refresh token")
    assert outcome.step("JWT")[1] == (
        f'alg "HS256", iss "https://id", aud ["a", "b"], exp {now + 60}, nbf {now}, scp "read", roles "***"'
    )
    mark, detail, advice = outcome.step("scope")
    assert (mark, detail) == ("-", "not granted: write")
    assert "change ACME_SCOPE" in advice


@pytest.mark.parametrize(
    ("granted", "said"), [("a b c", "granted besides: c"), ("a c", "not granted: b; granted besides: c"), ("b a", None)]
)
def test_another_scope_than_asked_for_is_told(run: Run, server: Loopback, granted: str, said: str | None) -> None:
    """The server granted something else than I asked for."""
    server.token_play = issuing("opaque", scope=granted)
    outcome = run("ACME", **client(server, SCOPE="a b"))
    assert ("scope" in outcome.names()) == (said is not None)
    if said:
        assert outcome.step("scope")[1] == said


def test_a_token_for_later_is_told(run: Run, server: Loopback) -> None:
    """By my clock the token is not good yet: an API may say 401, and a clock is why."""
    server.token_play = issuing(jwt(nbf=time.time() + 100))
    mark, _, advice = run("ACME", **client(server)).step("JWT")
    assert (mark, "not good yet: compare the clocks" in advice) == ("-", True)


def test_a_token_that_has_ended_fails(run: Run, server: Loopback) -> None:
    """A server that hands out what is over is told."""
    server.token_play = issuing("opaque", expires_in=1e-9)
    outcome = run("ACME", **client(server))
    mark, _, advice = outcome.step("token")
    assert (outcome.status, mark) == (1, "FAILED")
    assert "it had ended before it came" in advice


# The API


@pytest.fixture
def answering(server: Loopback) -> Callable[..., dict[str, str]]:
    """Has the API answer that."""

    def answer(status: int, **headers: str) -> dict[str, str]:
        server.api = lambda _: as_json({}, status, **headers)
        return client(server)

    return answer


@pytest.mark.parametrize(
    ("status", "challenge", "detail", "advice"),
    [
        (204, "", "answered 204", ""),
        (
            401,
            'Bearer error="invalid_token", error_description="the audience of token-1 is wrong"',
            "answered 401 (error: invalid_token, error_description: the audience of *** is wrong)",
            "check whom it is for: ACME_AUDIENCE, ACME_RESOURCE",
        ),
        (401, "", "answered 401", "who issued it, ACME_TOKEN_URL"),
        (
            401,
            'Bearer error="insufficient_scope", scope="write"',
            "answered 401 (error: insufficient_scope, scope: write)",
            "set ACME_SCOPE",
        ),
        (403, "", "answered 403", "the token is known but lacks a right: set ACME_SCOPE, or have the account given"),
        (404, "", "answered 404", "check the URL"),
        (500, "", "answered 500", "the API is in trouble"),
        (429, "", "answered 429", "the API is in trouble"),
        (304, "", "answered 304", "check the URL"),
    ],
)
def test_an_api_that_refuses_is_explained(
    run: Run, server: Loopback, answering: Any, status: int, challenge: str, detail: str, advice: str
) -> None:
    """401 is about the token, 403 about the account, the rest about neither."""
    variables = answering(status, **({"WWW_Authenticate": challenge} if challenge else {}))
    outcome = run("ACME", "--url", f"{server.api_url}?key={CANARY}", **variables)
    good = status == 204
    assert outcome.status == int(not good)
    step = outcome.step("API")
    assert step[:2] == ("ok" if good else "FAILED", f"{server.api_url}?... {detail}")
    assert advice in step[2]
    assert len(server.api_requests) == 1


REDIRECTS: dict[str, tuple[str, str, str]] = {
    "http://127.0.0.2:9/there?key=1": (
        "FAILED",
        "http://127.0.0.2:9/there?..., where no token goes",
        "a page to sign in",
    ),
    "/there": ("-", "{url}/there", "try that address"),
    "ftp://127.0.0.2/": ("FAILED", "what is no address, where no token goes", "it may be a page to sign in at"),
}


@pytest.mark.parametrize("hidden", [(), ("requests",)], ids=["requests", "httpx2"])
@pytest.mark.parametrize("target", REDIRECTS)
def test_a_redirect_is_told(
    run: Run, server: Loopback, answering: Any, monkeypatch: pytest.MonkeyPatch, hidden: tuple[str, ...], target: str
) -> None:
    """The API sends me elsewhere: I am told where, and whether the token would go there; nobody is asked."""
    for library in hidden:
        monkeypatch.setitem(sys.modules, library, None)
    mark, said, advice = REDIRECTS[target]
    outcome = run("ACME", "--url", server.api_url, **answering(302, Location=target))
    assert outcome.status == (mark == "FAILED")
    step = outcome.step("API")
    assert step[:2] == (mark, f"{server.api_url} redirects to {said.format(url=server.url)}")
    assert advice in step[2]
    assert len(server.api_requests) == 1


def test_a_host_that_is_not_allowed_gets_nothing(run: Run, server: Loopback) -> None:
    """I allowed one host, and try another: I am told which variable leaves it out."""
    outcome = run("ACME", "--url", server.api_url, **client(server, ALLOWED_HOSTS="api.example.com"))
    mark, detail, advice = outcome.step("API")
    assert (outcome.status, mark) == (1, "FAILED")
    assert detail == f"{server.api_url} gets no token, as ACME_ALLOWED_HOSTS leaves it out"
    assert advice.endswith("add its host to ACME_ALLOWED_HOSTS")
    assert not server.api_requests
    assert run("ACME", "--url", server.api_url, **client(server, ALLOWED_HOSTS="127.0.0.1")).status == 0


def test_an_api_in_clear_gets_nothing(run: Run, server: Loopback) -> None:
    """I wrote http:// for https://."""
    outcome = run("ACME", "--url", "http://api.example.com/", **client(server))
    assert outcome.status == 1
    assert outcome.step("API")[2].endswith("use https://, or set ACME_ALLOW_HTTP=true")


@pytest.mark.parametrize("hidden", [(), ("requests",)], ids=["requests", "httpx2"])
def test_an_api_that_is_not_there(
    run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch, hidden: tuple[str, ...]
) -> None:
    """Nobody answers: one line, without what may be secret in the URL."""
    for library in hidden:
        monkeypatch.setitem(sys.modules, library, None)
    outcome = run("ACME", "--url", f"http://me:{CANARY}@127.0.0.1:1/?key={CANARY}", **client(server))
    mark, detail, advice = outcome.step("API")
    assert (outcome.status, mark) == (1, "FAILED")
    assert detail.startswith("http://...@127.0.0.1:1/?... did not answer (Connect")
    assert "check the URL, the network and its proxies" in advice


# Refresh tokens that may be spent once


def test_a_refresh_token_is_not_wasted(run: Run, server: Loopback, tmp_path: Path) -> None:
    """Mine may be good for once: it is not spent for a look, unless what comes of it is kept for my program."""
    server.token_play = issuing("opaque", refresh_token=f"{CANARY}-next")
    variables = {"ACME_TOKEN_URL": server.token_url, "ACME_REFRESH_TOKEN": f"{CANARY}-first"}
    outcome = run("ACME", **variables)
    assert (outcome.status, server.token_requests) == (1, [])
    mark, detail, advice = outcome.step("token request")
    assert (mark, detail.startswith("not tried: ")) == ("-", True)
    assert advice.endswith("set ACME_CACHE=file")
    variables["ACME_CACHE"] = f"file:{tmp_path}"
    kept = run("ACME", **variables)
    assert kept.status == 0
    assert kept.step("token request")[1] == "answered 200 to requests, asked by way of the cache"
    again = run("ACME", **variables)
    assert again.status == 0
    assert again.step("token request")[1] == "none: the cache has a token"
    assert len(server.token_requests) == 1


def test_a_used_refresh_token_is_not_tried_in_other_ways(run: Run, server: Loopback, tmp_path: Path) -> None:
    """The client is refused after my refresh token was used: another way would send the used one, and is not tried."""
    server.token_play = issuing("opaque", refresh_token=f"{CANARY}-next", expires_in=1)
    variables = client(server, REFRESH_TOKEN=f"{CANARY}-first", CACHE=f"file:{tmp_path}")
    assert run("ACME", **variables).status == 0
    age(tmp_path)
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    assert run("ACME", "--try-others", **variables).status == 1
    assert [f"{CANARY}-first".encode() in each.body for each in server.token_requests] == [True, False]


def age(directory: Path) -> None:
    """Have all that lies in a cache of files expire, as after a while, and forget what this process knows of it."""
    forget()
    for path in directory.glob("*.token"):
        entry = json.loads(path.read_text())
        if "token" in entry:
            entry["token"]["expires_at"] = 1.0
            path.write_text(json.dumps(entry))


#: What the server answers to a refresh token.
REFRESH_ANSWERS: dict[str, Response] = {
    "it is good": as_json({"access_token": "renewed", "expires_in": 3600, "refresh_token": "rotated-2"}),
    "it is dead": as_json({"error": "invalid_grant"}, 400),
    "it is dead, told by an empty 400": Response("", 400),
    "it is dead, told otherwise": as_json({"error": "invalid_request"}, 400),
    "the client is refused": as_json({"error": "invalid_client"}, 401),
    "a firewall": FORBIDDEN,
    "a web page": Response("<html>no</html>", 403, content_type="text/html"),
    "a redirect": as_json({}, 302, Location="/elsewhere"),
    "another answer": as_json({"message": "hello"}),
}


@pytest.mark.parametrize("case", REFRESH_ANSWERS)
@pytest.mark.parametrize("kind", ["client", "user"])
def test_the_check_agrees_with_requests(run: Run, server: Loopback, tmp_path: Path, kind: str, case: str) -> None:
    """The check uses the refresh token of the cache as requests do, and is green where they get a token."""
    variables = {"client": client, "user": user}[kind](server, CACHE=f"file:{tmp_path}")
    number = itertools.count(1)

    def play(received: Received) -> Response:
        if b"grant_type=refresh_token" in received.body:
            return REFRESH_ANSWERS[case]
        # Another one for each process: a password is sent once only for one that was refused without a clear word.
        return as_json({"access_token": "first", "expires_in": 3600, "refresh_token": f"refresh-{next(number)}"})

    server.token_play = play
    outcomes = []
    for ask in ("check", "request"):
        for path in tmp_path.glob("*.token"):
            path.unlink()
        forget()
        source(variables).token()
        age(tmp_path)
        server.token_requests.clear()
        if ask == "check":
            outcome = run("ACME", **variables)
            outcomes.append((outcome.status == 0, sent(server)))
            assert outcome.status == 1 or "asked by way of the cache" in outcome.step("token request")[1]
        else:
            try:
                source(variables).token()
            except AuthError:
                outcomes.append((False, sent(server)))
            else:
                outcomes.append((True, sent(server)))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1][0] == "refresh_token"


def source(variables: dict[str, str]) -> TokenSource:
    """What requests with these variables ask for a token."""
    forget()
    return TokenSource.from_env("ACME", variables)


def sent(server: Loopback) -> list[str]:
    """The grant types of the token requests."""
    return [dict(parse_qsl(each.body.decode()))["grant_type"] for each in server.token_requests]


def test_a_refresh_token_of_the_cache_is_replaced_there(run: Run, server: Loopback, tmp_path: Path) -> None:
    """The check used the refresh token of the cache, though the token was good: its successor is stored there."""
    number = itertools.count(1)
    server.token_play = lambda _: as_json(
        {
            "access_token": f"t-{next(number)}",
            "expires_in": 3600,
            "refresh_token": f"rotated-{len(server.token_requests)}",
        }
    )
    variables = client(server, CACHE=f"file:{tmp_path}")
    source(variables).token()
    outcome = run("ACME", **variables)
    assert outcome.status == 0
    assert outcome.step("token request")[1] == "answered 200 to requests, asked by way of the cache"
    assert source(variables).token().access_token == "t-2"
    age(tmp_path)
    source(variables).token()
    assert sent(server) == ["client_credentials", "refresh_token", "refresh_token"]
    assert b"refresh_token=rotated-2" in server.token_requests[-1].body


def test_a_refused_refresh_token_is_told(run: Run, server: Loopback, tmp_path: Path) -> None:
    """The refresh token of the cache was refused, and the secret taken, as requests do it: I see both answers."""
    server.token_play = issuing("opaque", refresh_token=f"{CANARY}-next")
    variables = client(server, CACHE=f"file:{tmp_path}")
    source(variables).token()
    good = server.token_play
    server.token_play = lambda received: (
        as_json({"error": "invalid_grant"}, 400) if b"grant_type=refresh_token" in received.body else good(received)
    )
    outcome = run("ACME", **variables)
    assert outcome.step("token request")[1] == "answered 400, then 200 to requests, asked by way of the cache"


# Configuration


SLIPS: list[tuple[dict[str, str], str, str]] = [
    ({"CLIENT_ID": f" {CLIENT}"}, "ACME_CLIENT_ID", "begins with a space or an invisible character"),
    ({"CLIENT_ID": f"{CLIENT}\u200b"}, "ACME_CLIENT_ID", "ends with a space or an invisible character"),
    ({"CLIENT_SECRET": f"'{SECRET}'"}, "ACME_CLIENT_SECRET", "begins with a quotation mark"),
    ({"CLIENT_SECRET": f"{SECRET}\u00a0"}, "ACME_CLIENT_SECRET", "ends with a space or an invisible character"),
    ({"SCOPE": '"read write"'}, "ACME_SCOPE", "begins with a quotation mark"),
    ({"USERNAME": "ann ", "PASSWORD": SECRET}, "ACME_USERNAME", "ends with a space or an invisible character"),
    ({"USERNAME": "ann", "PASSWORD": f"\ufeff{SECRET}"}, "ACME_PASSWORD", "begins with a space or an invisible"),
    ({"USERNAME": "ann", "PASSWORD": f"{SECRET}\u201d"}, "ACME_PASSWORD", "ends with a quotation mark"),
]


@pytest.mark.parametrize(("variables", "name", "said"), SLIPS)
def test_what_may_have_been_pasted_along_is_told(
    run: Run, server: Loopback, variables: dict[str, str], name: str, said: str
) -> None:
    """A space, a quotation mark or an invisible character around a value may belong to it: it is told, and sent."""
    outcome = run("ACME", **client(server, **variables))
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    [told] = [number for number, line in enumerate(lines) if line.startswith(f"-       variable: {name} {said}")]
    assert lines[told + 1] == "        → if that does not belong to it, remove it"


def test_what_was_pasted_into_a_file_is_told_too(run: Run, server: Loopback, tmp_path: Path) -> None:
    """The secret in the file has a space at its end: the variable of the file is named."""
    (tmp_path / "secret").write_text(f"{SECRET} \n")
    variables = client(server, CLIENT_SECRET_FILE=f"{tmp_path}/secret")
    del variables["ACME_CLIENT_SECRET"]
    outcome = run("ACME", **variables)
    assert "-       variable: ACME_CLIENT_SECRET_FILE ends with a space" in outcome.out
    key = run("KEY", KEY_API_KEY=f"{CANARY}'")
    assert "-       variable: KEY_API_KEY ends with a quotation mark" in key.out


def test_values_without_slips_are_not_told(run: Run, server: Loopback) -> None:
    """Spaces and quotation marks inside of a value are nobody's slip."""
    outcome = run("ACME", **client(server, CLIENT_SECRET=f"a {SECRET}' b", SCOPE="read write"))
    assert "if that does not belong to it" not in outcome.out


def test_a_line_break_in_a_secret_is_refused(run: Run, server: Loopback, tmp_path: Path) -> None:
    """The file of my secret has an empty line at its end: that is configuration, and nothing is sent."""
    (tmp_path / "secret").write_text(f"{SECRET}\n\n")
    variables = client(server, CLIENT_SECRET_FILE=f"{tmp_path}/secret")
    del variables["ACME_CLIENT_SECRET"]
    outcome = run("ACME", **variables)
    assert (outcome.status, server.token_requests) == (2, [])
    assert outcome.err == (
        "error: the file of ACME_CLIENT_SECRET_FILE contains a control character, such as a line break; remove it\n"
    )


def test_a_mistake_in_the_variables_is_status_2(run: Run, server: Loopback) -> None:
    """I misspelt a variable: the usual line, and with --json an object that says the same."""
    human = run("ACME", **client(server, SCOPES="x"))
    assert (human.status, human.out) == (2, "")
    assert human.err.startswith("error: ACME_SCOPES is no known variable; did you mean ACME_SCOPE?")
    machine = run("ACME", "--json", **client(server, SCOPES="x"))
    assert (machine.status, machine.err) == (2, "")
    assert machine.report == {
        "ok": False,
        "status": 2,
        "prefix": "ACME",
        "steps": [],
        "token": None,
        "error": human.err.removeprefix("error: ").rstrip("\n"),
    }


def test_a_file_that_is_not_there_is_found_first(run: Run, server: Loopback) -> None:
    """The file of my secret is not mounted: that is configuration, and nobody is asked."""
    variables = {"ACME_TOKEN_URL": server.token_url, "ACME_CLIENT_ID": CLIENT, "ACME_CLIENT_SECRET_FILE": f"/{CANARY}"}
    outcome = run("ACME", **variables)
    assert (outcome.status, outcome.out, server.token_requests) == (2, "", [])
    assert "the file of ACME_CLIENT_SECRET_FILE cannot be read" in outcome.err


def test_what_turns_out_late_keeps_its_steps(run: Run) -> None:
    """A key that no header can carry: the steps up to there, and the error."""
    outcome = run("ACME", "--json", ACME_API_KEY=SECRET)
    assert (outcome.status, outcome.report["steps"][-1]["name"]) == (2, "token request")
    assert "cannot stand in a header" in outcome.report["error"]


def test_without_a_library(run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """I installed the command line alone."""
    for library in ("requests", "httpx", "httpx2"):
        monkeypatch.setitem(sys.modules, library, None)
    outcome = run("ACME", "--json", **client(server))
    assert (outcome.status, "pip install" in outcome.report["error"]) == (2, True)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_an_api_that_never_ends_is_tried(
    run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """My API streams events for ever: its status is enough."""
    adapter = importlib.import_module(f"auth_plugins.{library}").OAuth2Auth
    monkeypatch.setattr(auth_plugins._cli.main, "_first_installed", lambda: (importlib.import_module(library), adapter))
    server.api = lambda _: Response(itertools.repeat(b"data: x\n\n"), 200, direct_passthrough=True)
    assert run("ACME", "--url", server.api_url, **client(server)).step("API")[0] == "ok"


@pytest.mark.timeout(30)
def test_an_api_that_drips_is_given_up(run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """My API takes for ever to say its status: the check ends all the same."""
    monkeypatch.setattr("auth_plugins._cli.check.steps._API_TIMEOUT", 0.3)
    done = threading.Event()
    server.api = lambda _: done.wait(20) and as_json({})  # type: ignore[assignment,return-value]  # it ends, in time
    outcome = run("ACME", "--url", server.api_url, **client(server))
    done.set()
    assert outcome.step("API")[:2] == ("FAILED", f"{server.api_url} did not answer (TimeoutError: )") or (
        "did not answer (ReadTimeout" in outcome.step("API")[1]
    )


def test_claims_are_told_in_json_that_all_can_read(run: Run, server: Loopback) -> None:
    """A token's claims are no numbers, or without end: the report is JSON for any parser, and short."""
    server.token_play = issuing(jwt(iss="x" * 10_000, exp=float("nan"), roles=[float("inf"), 1], aud="NaN-bread"))
    outcome = run("ACME", "--json", **client(server))
    assert "NaN," not in outcome.out
    claims = json.loads(outcome.out, parse_constant=pytest.fail)["token"]["claims"]
    assert claims == {"iss": '"' + "x" * 499, "aud": '"NaN-bread"', "exp": "NaN", "roles": "[Infinity, 1]"}


def test_a_url_that_is_none_is_usage(run: Run) -> None:
    """I forgot https://."""
    outcome = run("ACME", "--url", "api.example.com")
    assert (outcome.status, outcome.out, "give it whole" in outcome.err) == (2, "", True)


# Secrets


def echo(received: Received) -> str:
    """All that was sent, as servers quote it that debug in production."""
    sent = f"{received.target} {received.headers.get('authorization')} {received.body.decode('latin-1')}"
    try:
        return f"{sent} {basic(received)}"
    except ValueError:
        return sent


GRANTS: dict[str, Mapping[str, str]] = {
    "client credentials": {"CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET},
    "password": {"USERNAME": "ann", "PASSWORD": SECRET, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET},
    "refresh token": {"REFRESH_TOKEN": SECRET, "CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET},
}


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("encoding", ["form", "json", "query"])
@pytest.mark.parametrize("grant", GRANTS)
def test_a_server_that_quotes_all_it_got_gives_nothing_away(
    run: Run, server: Loopback, tmp_path: Path, grant: str, encoding: str, auth: str
) -> None:
    """Whatever the server, the token or the API repeat of my secrets, none of it is printed; in JSON neither."""
    variables = {"TOKEN_URL": server.token_url, "CLIENT_AUTH": auth, "ENCODING": encoding, **GRANTS[grant]}
    named = {f"ACME_{name}": value for name, value in variables.items()}
    answers: list[Callable[[Received], Response]] = [
        lambda received: as_json({"error": "invalid_client", "error_description": echo(received)}, 401),
        lambda received: as_json({"error": echo(received)}, 400),
        lambda received: Response(f"<p>{echo(received)}</p>", 404, content_type="text/html"),
        lambda received: as_json({}, 302, Location=f"https://id.example.com/?{quote(echo(received))}"),
        lambda received: as_json(
            {
                "access_token": jwt(aud=echo(received), sub=SECRET),
                "token_type": SECRET,
                "scope": echo(received),
                "refresh_token": SECRET,
            }
        ),
    ]
    server.api = lambda received: as_json(
        {},
        401,
        WWW_Authenticate=f'Bearer error_description="{quote(SECRET)} {received.headers["authorization"]}"',
    )
    for words in ([], ["--json"]):
        for number, answer in enumerate(answers):
            server.token_play = answer
            named["ACME_CACHE"] = f"file:{tmp_path}/{words}{number}"
            forget()  # as another process, which remembers no refusal
            before = len(server.token_requests)
            assert run("ACME", "--try-others", "--url", server.api_url, *words, **named).status == 1
            assert len(server.token_requests) > before, "it was asked, and quoted what it got"


def test_an_output_that_knows_no_arrow(server: Loopback) -> None:
    """My terminal has ASCII only: the lines come all the same."""
    package = Path(auth_plugins.__file__).parent
    server.token_play = lambda _: as_json({"error": "invalid_client", "error_description": "für"}, 401)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "auth_plugins", "check", "ACME"],
        env={**os.environ, "PYTHONPATH": str(package.parent), "PYTHONIOENCODING": "ascii", **client(server)},
        capture_output=True,
        encoding="ascii",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "        ? check ACME_CLIENT_ID and ACME_CLIENT_SECRET" in done.stdout.splitlines()
