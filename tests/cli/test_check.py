"""``auth-plugins check``, as it is typed: what it says of setups that work, and of those that fail; never a secret."""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
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
from tests.support import stores
from tests.support.loopback import Loopback, Received, as_json
from tests.support.stores import forget

quick_names = stores.quick_names

SYSTEMS = ["upload-api", "jwt-api", "auth-api", "organization-api", "json-api"]
#: Each spelling of it has this word in it, except Base64.
CANARY = "canary7"
SECRET = f'{CANARY} /+=%&"\\ü'
CLIENT = "id@example"
AUTHS = ["client_secret_basic", "client_secret_basic_raw", "client_secret_post"]
#: Libraries to hide, so that each of the three is used.
HIDDEN = {"requests": (), "httpx2": ("requests",), "httpx": ("requests", "httpx2")}


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


@pytest.fixture(params=HIDDEN)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the libraries, as the first that is installed."""
    for hidden in HIDDEN[request.param]:
        monkeypatch.setitem(sys.modules, hidden, None)
    return request.param


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
    """For each of the five systems every step is shown, and nothing of a secret or of the token."""
    system = sandbox[name]
    outcome = run("ACME", "--url", system.api_url, **system.variables("ACME"))
    assert (outcome.status, outcome.err) == (0, "")
    assert not any(line.startswith("FAILED") for line in outcome.out.splitlines())
    steps = ["grant", "cache", "name resolution", "connection", "token request", "clock", "token", "JWT", "API"]
    assert [each for each in outcome.names() if each != "variable"] == steps
    assert f"of the provider {name} at {system.url}" in outcome.step("grant")[1]
    assert outcome.step("API")[1] == f"{system.api_url} answered 200"
    assert len(system.token_requests) == 1
    token = system.seen[-1].headers["authorization"].removeprefix("Bearer ")
    for hidden in (token, *token.split("."), system.client_secret, quote(system.password, safe="")):
        assert not hidden or hidden not in outcome.out


def test_the_first_installed_library_is_used(run: Run, server: Loopback, library: str) -> None:
    """Token request and API request are sent by the first installed library, which is named."""
    outcome = run("ACME", "--url", server.api_url, **client(server))
    assert outcome.status == 0
    assert f"answered 200 to {library}, asked without what memory and cache hold" in outcome.step("token request")[1]
    for received in (*server.token_requests, *server.api_requests):
        assert received.headers["user-agent"].startswith(f"python-{library}/")


def test_it_shows_what_is_set_and_where(run: Run, server: Loopback, tmp_path: Path) -> None:
    """Variables, secrets, files and defaults are named, and each check sends a token request."""
    (tmp_path / "secret").write_text(SECRET)
    variables = client(server, CLIENT_SECRET_FILE=str(tmp_path / "secret"), SCOPE=" ", CACHE=f"file:{tmp_path}/cache")
    del variables["ACME_CLIENT_SECRET"]
    for count in (1, 2):
        outcome = run("ACME_", **variables, ACME_ENCODING="json", ACME_CLIENT_AUTH="client_secret_post")
        assert (outcome.status, len(server.token_requests)) == (0, count)
    for line in (
        "ok      variable: ACME_CLIENT_ID is set in the environment",
        "ok      variable: ACME_CLIENT_SECRET_FILE is set in the environment and names a file (a secret)",
        "-       variable: ACME_SCOPE is empty, as if it were not set",
    ):
        assert line in outcome.out.splitlines()
    defaults = "client_auth client_secret_post, encoding json, method POST (by default)"
    assert outcome.step("grant")[1] == f"ClientCredentials at {server.token_url}, {defaults}"
    assert outcome.step("cache")[1] == f"FileCache('{tmp_path}/cache')"
    assert not list((tmp_path / "cache").glob("*.token")), "nothing is left in the cache"
    assert CLIENT not in outcome.out


def test_a_cache_that_cannot_be_used_fails(
    run: Run, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests go on without a broken cache; the check fails, and names the variable."""
    (tmp_path / "file").touch()
    for cache in ("redis://:s3cr3t-w0rd@127.0.0.1:1/0", f"file:{tmp_path}/file"):
        outcome = run("ACME", **client(server, CACHE=cache))
        assert (outcome.status, outcome.step("cache")[0], outcome.step("token request")[0]) == (1, "FAILED", "ok")
        assert "each process fetches its own token: check ACME_CACHE" in outcome.out
        assert "s3cr3t-w0rd" not in outcome.out
    monkeypatch.setattr(FileCache, "get", lambda *_: None)
    outcome = run("ACME", **client(server, CACHE=f"file:{tmp_path}/cache"))
    assert "LookupError: what was stored is not found again" in outcome.step("cache")[1]


def test_json_is_one_object(run: Run, server: Loopback) -> None:
    """``--json`` prints one object, whose members have the same names each time."""
    server.token_play = issuing(jwt(aud="api", sub="ann", exp=2000000000), scope="a")
    report = run("ACME", "--json", **client(server, SCOPE="a")).report
    assert list(report) == ["ok", "status", "prefix", "steps", "token", "error"]
    assert (report["ok"], report["status"], report["prefix"], report["error"]) == (True, 0, "ACME", None)
    for step in report["steps"]:
        assert list(step) == ["name", "ok", "detail", "advice"]
        assert step["ok"] in (True, False, None)
        assert isinstance(step["advice"], list)
    token = report["token"]
    assert token.pop("expires_at") == pytest.approx(time.time() + 3600, abs=10)
    assert token.pop("expires_in") == pytest.approx(3600, abs=10)
    claims = {"sub": "ann", "aud": "api", "exp": 2000000000}
    assert token == {"token_type": "Bearer", "scope": "a", "refresh_token": False, "claims": claims}


def test_an_api_key_needs_no_token_request(run: Run, server: Loopback) -> None:
    """With an API key no token is requested, and the API is tried with the key."""
    server.api = lambda received: as_json({}, 200 if received.headers.get("x-api-key") == CANARY else 401)
    outcome = run("ACME", "--url", server.api_url, ACME_API_KEY=CANARY)
    assert (outcome.status, outcome.step("grant")[1]) == (0, "ApiKey")
    assert outcome.step("token request")[:2] == ("-", "an API key needs none")
    assert outcome.step("token")[1] == "a key, no end known, no refresh token"
    refused = run("ACME", "--url", server.api_url, ACME_API_KEY=f"{CANARY}-other")
    assert refused.status == 1
    assert refused.step("API")[2].endswith("check ACME_API_KEY and ACME_API_KEY_HEADER")


# Other ways of client authentication


WAYS = [
    # configured, what the server expects, how
    ("client_secret_basic", "client_secret_basic_raw", {"basic": RAW}),
    ("client_secret_basic_raw", "client_secret_basic", {"basic": ENCODED}),
    ("client_secret_basic", "client_secret_post", {"body": "&client_secret="}),
    ("client_secret_post", "client_secret_basic", {"basic": ENCODED}),
]


@pytest.mark.parametrize(("configured", "wanted", "way"), WAYS)
def test_another_client_auth_is_found(
    run: Run, server: Loopback, configured: str, wanted: str, way: dict[str, str]
) -> None:
    """``--try-others`` finds the client_auth that the server accepts, and says what to set."""
    server.token_play = wanting(server, **way)
    variables = client(server, CLIENT_AUTH=configured)
    outcome = run("ACME", "--try-others", "--url", server.api_url, **variables)
    assert outcome.status == 1, "it fails as it is configured"
    advice = f"        → {wanted} works: set ACME_CLIENT_AUTH={wanted}"
    assert outcome.step(f"try {wanted}") == ("ok", "answered 200", advice)
    assert (outcome.step("token request")[0], outcome.step("API")[0]) == ("FAILED", "ok")
    assert run("ACME", **{**variables, "ACME_CLIENT_AUTH": wanted}).status == 0


def test_of_two_ways_that_send_the_same_the_standard_one_is_named(run: Run, server: Loopback) -> None:
    """An id and a secret that need no encoding: both Basic ways send the same, and client_secret_basic is advised."""
    plain = {"CLIENT_ID": "i", "CLIENT_SECRET": CANARY, "CLIENT_AUTH": "client_secret_post"}
    server.token_play = wanting(server, basic=f"i:{CANARY}")
    outcome = run("ACME", "--try-others", **client(server, **plain))
    assert outcome.step("try client_secret_basic")[2].endswith("set ACME_CLIENT_AUTH=client_secret_basic")
    assert len(server.token_requests) == 2


def test_it_asks_before_it_tries(run: Run, server: Loopback) -> None:
    """At a terminal it asks first; in a script, and with ``--json``, it neither asks nor tries without the option."""
    server.token_play = wanting(server, basic=RAW)
    yes = run("ACME", typed="y\n", **client(server))
    assert "Try client_secret_basic_raw and client_secret_post as well, at the same token endpoint?" in yes.err
    # Old versions of click print the blank behind a question to standard output.
    assert "ok      try client_secret_basic_raw: answered 200\n" in yes.out
    assert len(server.token_requests) == 2
    for outcome in (run("ACME", typed="n\n", **client(server)), run("ACME", **client(server))):
        assert outcome.out.endswith(
            "-       other client_auth: not tried: client_secret_basic_raw, client_secret_post\n"
            "        → have them tried by --try-others, or set ACME_CLIENT_AUTH to one of them\n"
        )
    silent = run("ACME", "--json", typed="y\n", **client(server))
    assert (silent.err, silent.report["token"], len(server.token_requests)) == ("", None, 5)
    assert run("ACME", "--json", "--try-others", typed="", **client(server)).report["token"] is not None


#: Variables besides those of a client, and how many token requests are sent to a server that knows no client.
TRIED: dict[str, tuple[dict[str, str], int]] = {
    **{f"plain, {auth}": ({"CLIENT_SECRET": CANARY, "CLIENT_ID": "i", "CLIENT_AUTH": auth}, 2) for auth in AUTHS},
    "a colon in the id, and a secret in a URL": ({"CLIENT_ID": "a:b", "ENCODING": "query"}, 1),
    "GET": ({"METHOD": "GET"}, 2),
    "GET, from another": ({"METHOD": "GET", "CLIENT_AUTH": "client_secret_post"}, 3),
}  # fmt: skip


@pytest.mark.parametrize(("variables", "count"), TRIED.values(), ids=TRIED)
def test_what_is_the_same_or_cannot_work_is_not_tried(
    run: Run, server: Loopback, variables: dict[str, str], count: int
) -> None:
    """No request is sent twice with the same credentials, none by a way that cannot work, and no secret in a URL."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    assert run("ACME", "--try-others", **client(server, **variables)).status == 1
    assert len(server.token_requests) == count
    assert not any("secret" in received.target for received in server.token_requests[1:])


def test_a_client_that_gets_further_is_known(run: Run, server: Loopback) -> None:
    """Where another way leads to another refusal, both are explained, and no further way is tried."""
    server.token_play = lambda received: (
        as_json({"error": "invalid_scope"}, 400) if basic(received) == RAW else as_json({}, 401)
    )
    mark, detail, advice = run("ACME", "--try-others", **client(server)).step("try client_secret_basic_raw")
    assert (mark, "answered 400 (invalid_scope)" in detail) == ("FAILED", True)
    assert "set ACME_CLIENT_AUTH=client_secret_basic_raw\n" in advice
    assert advice.endswith("→ no scope was sent: set ACME_SCOPE to what the server's documentation names")
    assert len(server.token_requests) == 2


@pytest.mark.parametrize(
    ("error", "status", "count"),
    [("invalid_client", 401, 2), ("invalid_grant", 400, 1), ("invalid_request", 400, 1), ("", 401, 1), ("", 503, 1)],
)
def test_a_password_is_sent_twice_at_most(run: Run, server: Loopback, error: str, status: int, count: int) -> None:
    """A password is sent once more where only the client was refused, and else not."""
    server.token_play = lambda _: as_json({"error": error}, status)
    assert run("ACME", "--try-others", typed="y\n", **user(server)).status == 1
    assert len(server.token_requests) == count


def test_a_rejected_token_sends_no_password(run: Run, server: Loopback) -> None:
    """An API that rejects the token causes no further token request."""
    server.api = lambda _: as_json({}, 401)
    for variables in (user(server), {"ACME_API_KEY": CANARY}):
        assert run("ACME", "--url", server.api_url, **variables).status == 1
    assert (len(server.token_requests), len(server.api_requests)) == (1, 2)


#: Variables, what the advice says, and what it does not say.
WITHOUT_SECRET: dict[str, tuple[dict[str, str], str, str]] = {
    "a public client": (
        {"TOKEN_URL": "/token", "CLIENT_ID": CLIENT, "CLIENT_AUTH": "none"},
        "no client secret was sent: if this client has one, set ACME_CLIENT_SECRET\n",
        "no client was",
    ),
    "no client": (
        {"TOKEN_URL": "/token", "USERNAME": "ann", "PASSWORD": SECRET},
        "no client was sent: if the server knows this one, set ACME_CLIENT_ID and ACME_CLIENT_SECRET\n",
        "no client secret",
    ),
    "a provider without clients": (
        {"PROVIDER": "auth-api", "BASE_URL": "", "USERNAME": "ann", "PASSWORD": SECRET},
        "check ACME_USERNAME and ACME_PASSWORD, and that",
        "no client",
    ),
}


@pytest.mark.parametrize(("variables", "said", "unsaid"), WITHOUT_SECRET.values(), ids=WITHOUT_SECRET)
def test_a_secret_that_is_missing_is_named(
    run: Run, server: Loopback, variables: dict[str, str], said: str, unsaid: str
) -> None:
    """A refused client without a secret shows which variables are missing, except where a provider has no clients."""
    server.token_play = server.api = lambda _: as_json({"error": "invalid_client"}, 401)
    urls = {name: server.url + path for name, path in variables.items() if name.endswith("_URL")}
    outcome = run("ACME", "--try-others", **{f"ACME_{name}": value for name, value in {**variables, **urls}.items()})
    advice = outcome.step("token request")[2]
    assert said in advice
    assert unsaid not in advice
    assert len(server.token_requests + server.api_requests) == 1


# A token endpoint that refuses


FORBIDDEN = Response("Forbidden by policy 7", 403, content_type="text/plain")
REFUSALS: dict[str, tuple[Response, dict[str, str], str]] = {
    # what the server answers, further variables, what the advice says
    "a request": (as_json({}, 415), {}, "the server's documentation asks for: ACME_CLIENT_AUTH, ACME_ENCODING (form,"),
    "a target": (as_json({"error": "invalid_target"}, 400), {}, "check ACME_AUDIENCE and ACME_RESOURCE"),
    "a user": (as_json({"error": "invalid_grant"}, 400), {"USERNAME": "a", "PASSWORD": "b"}, "check ACME_USERNAME and"),
    "a client": (as_json({}, 403), {}, "check ACME_CLIENT_ID and ACME_CLIENT_SECRET, and that"),
    "a redirect": (as_json({}, 302, Location="https://id.example.com/"), {}, "set ACME_TOKEN_URL to the final address"),
    "a method": (as_json({}, 405), {}, "is ACME_TOKEN_URL the token endpoint, and is ACME_METHOD (POST or GET) right?"),
    "a pause": (as_json({}, 503, Retry_After="7"), {}, "try again later"),
    "no scope": (Response("", 400), {}, "no scope was sent: set ACME_SCOPE to what"),
    "an encoded secret": (as_json({"error": "invalid_client"}, 401), {}, "try the other one as ACME_CLIENT_AUTH"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_explained(run: Run, server: Loopback, case: str) -> None:
    """A refusal is shown with the server's answer, and with advice that names variables."""
    answer, further, said = REFUSALS[case]
    server.token_play = lambda _: answer
    outcome = run("ACME", "--url", server.api_url, **client(server, **further))
    mark, detail, advice = outcome.step("token request")
    assert (outcome.status, mark, outcome.err) == (1, "FAILED", "")
    assert f"{server.token_url} answered" in detail
    assert said in advice
    assert outcome.step("API")[:2] == ("-", f"{server.api_url} not tried, as there is no token")
    assert not server.api_requests


@pytest.mark.parametrize("name", ["REFRESH_TOKEN", "REFRESH_TOKEN_FILE"])
def test_an_expired_refresh_token_is_named(run: Run, server: Loopback, tmp_path: Path, name: str) -> None:
    """The variable of a refused refresh token is named, with the advice to obtain a new one."""
    server.token_play = lambda _: as_json({"error": "invalid_grant"}, 400)
    (tmp_path / "token").write_text(f"{CANARY}-first\n")
    given = f"{tmp_path}/token" if name.endswith("_FILE") else f"{CANARY}-first"
    variables = {"ACME_TOKEN_URL": server.token_url, "ACME_CACHE": f"file:{tmp_path}/cache", f"ACME_{name}": given}
    advice = run("ACME", "--try-others", **variables).step("token request")[2]
    assert f"obtain a new refresh token by signing in again, and set ACME_{name}" in advice


#: Answers that say nothing of the client authentication.
NOT_OF_CLIENT: dict[str, Response] = {
    "another error": as_json({"error": "invalid_grant"}, 400),
    "a refused refresh token": as_json({"error": "bad_refresh_token"}, 400),
    "a missing proof": as_json({"error": "use_dpop_nonce"}, 400),
    "a server in trouble": as_json({"error": "temporarily_unavailable"}, 400),
    "a server that asks for a pause": as_json({}, 403, Retry_After="5"),
    "a web page": Response("<html>sign in</html>", 401, content_type="text/html"),
    "a web page without its type": Response(" <p>no</p>", 403, content_type="application/octet-stream"),
    "a firewall": FORBIDDEN,
    "a gateway": Response("Bad Request", 400, content_type="text/plain"),
    "not there": as_json({}, 404),
    "too many": as_json({"error": "invalid_client"}, 429),
    "an error of the server": as_json({"error": "invalid_client"}, 500),
    "a redirect": as_json({}, 307, Location="/elsewhere"),
    "a good answer without a token": as_json({"message": "hello"}),
}
OF_CLIENT = {
    "an error": as_json({"error": "invalid_client"}, 400),
    "words": as_json({"message": "who are you?"}, 403),
    "nothing": Response("", 401),
    "text": Response("Unauthorized", 401, content_type="text/plain"),
    "a form": Response("error=invalid_client", 400, content_type="application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize("case", [*NOT_OF_CLIENT, *OF_CLIENT])
def test_a_secret_is_sent_again_only_where_the_client_may_be_meant(run: Run, server: Loopback, case: str) -> None:
    """``--try-others`` sends the secret again only where the refusal can be about client authentication."""
    server.token_play = lambda _: {**NOT_OF_CLIENT, **OF_CLIENT}[case]
    assert run("ACME", "--try-others", **client(server)).status == 1
    assert len(server.token_requests) == (3 if case in OF_CLIENT else 1)
    assert ("other client_auth" in run("ACME", **client(server)).names()) is (case in OF_CLIENT)


def test_a_provider_has_a_base_url(run: Run, sandbox: Sandbox) -> None:
    """With a provider the advice names BASE_URL in place of TOKEN_URL."""
    system = sandbox["jwt-api"]
    variables = {**system.variables("ACME"), "ACME_BASE_URL": f"{system.url}/v9"}
    assert "is ACME_BASE_URL the token endpoint, and" in run("ACME", **variables).step("token request")[2]


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
def test_clocks_that_differ_are_noted(
    run: Run, server: Loopback, set_date: Callable[[str], None], seconds: int, said: str, status: int
) -> None:
    """A difference between the clocks is shown with its size, its direction and what follows; it is no failure."""
    set_date(email.utils.formatdate(time.time() + seconds, usegmt=True))
    server.token_play = lambda _: as_json({"access_token": "opaque"}, status)
    outcome = run("ACME", **client(server))
    assert outcome.status == int(status != 200)
    mark, detail, advice = outcome.step("clock")
    # A Date has no fractions.
    assert (mark, detail) in [("-", f"this machine's is {about} s {said}") for about in (124, 125, 126)]
    assert "set it, for example by NTP" in advice


@pytest.mark.parametrize("date", ["", "soon", "Mon, 99 Jan 2024 00:00:00 GMT"])
def test_an_answer_without_a_date(run: Run, server: Loopback, set_date: Callable[[str], None], date: str) -> None:
    """Where the server sends no readable Date, clocks are not compared."""
    set_date(date)
    assert run("ACME", **client(server)).step("clock")[:2] == ("-", "the answer has no Date to compare with")


# A token endpoint that cannot be reached


def test_a_name_that_does_not_resolve(run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that DNS does not know fails as such, within the timeout, and nothing is sent."""

    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    over, url = threading.Event(), f"https://id.example.test/token?key={CANARY}"
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    outcome = run("ACME", **client(server, TOKEN_URL=url))
    mark, detail, advice = outcome.step("name resolution")
    assert (outcome.status, mark) == (1, "FAILED")
    assert detail == "id.example.test port 443: Name or service not known"
    assert "check the host in ACME_TOKEN_URL" in advice
    assert (outcome.names()[-1], outcome.step("token request")[0]) == ("token request", "-")
    assert "at https://id.example.test/token?..., " in outcome.step("grant")[1]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10))
    began = time.monotonic()
    outcome = run("ACME", **client(server, TIMEOUT="0.05"))
    over.set()
    assert time.monotonic() - began < 5
    assert outcome.step("name resolution")[1].endswith(": no answer in time")


def test_a_server_that_cannot_be_connected_to(run: Run, server: Loopback) -> None:
    """A closed port fails at the connection, and an impossible name at its resolution."""
    outcome = run("ACME", **client(server, TOKEN_URL="http://127.0.0.1:1/token"))
    mark, detail, advice = outcome.step("connection")
    assert (outcome.status, outcome.step("name resolution")[0]) == (1, "ok")
    assert (mark, detail) == ("FAILED", "127.0.0.1 port 1: Connection refused")
    assert "check host and port in ACME_TOKEN_URL" in advice
    outcome = run("ACME", **client(server, TOKEN_URL=f"https://{'a' * 64}.example/token"))
    assert (outcome.status, outcome.step("name resolution")[0]) == (1, "FAILED")


def test_a_server_that_does_not_answer(run: Run, server: Loopback) -> None:
    """A server that accepts the connection and never answers fails when ACME_TIMEOUT is over."""
    server.latency = 1
    outcome = run("ACME", **client(server, TIMEOUT="0.1"))
    mark, detail, advice = outcome.step("token request")
    assert (outcome.status, mark) == (1, "FAILED")
    assert "could not be reached (timed out after 0.1 s)" in detail
    assert advice.endswith("check ACME_TOKEN_URL, the network and its proxies, and ACME_TIMEOUT")
    assert "clock" not in outcome.names()


def test_nothing_travels_in_clear(run: Run, server: Loopback) -> None:
    """To http:// of another machine nothing is sent, and the variable that allows it is named."""
    token = run("ACME", **client(server, TOKEN_URL="http://id.example.com/token"))
    api = run("ACME", "--url", "http://api.example.com/", **client(server))
    for outcome, name, host in ((token, "connection", "id.example.com"), (api, "API", "api.example.com")):
        mark, detail, advice = outcome.step(name)
        assert (outcome.status, mark) == (1, "FAILED")
        assert detail == f"refused, as a secret or a token would travel to {host} in clear"
        assert advice.endswith("use https://, or set ACME_ALLOW_HTTP=true")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_is_shown(run: Run, server: Loopback, variable: str) -> None:
    """A proxy is named without its password, and nothing is tried around it."""
    proxy = f"http://me:{CANARY}@{server.url.removeprefix('http://')}"
    variables = client(server, TOKEN_URL="http://id.example.test/token", ALLOW_HTTP="true")
    outcome = run("ACME", **variables, **{variable: proxy})
    assert outcome.status == 0
    assert "name resolution" not in outcome.names()
    mark, detail, _ = outcome.step("connection")
    assert (mark, server.url.removeprefix("http://") in detail) == ("-", True)
    assert [each.target for each in server.token_requests] == ["http://id.example.test/token"]
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


def test_a_ca_of_ones_own(run: Run, secure: Callable[[str, int], Secure], library: str) -> None:
    """For a certificate of an unknown CA the variable of the library is named; with that variable, it works."""
    variable = "REQUESTS_CA_BUNDLE" if library == "requests" else "SSL_CERT_FILE"
    server = secure("127.0.0.1", 5)
    outcome = run("ACME", **client(server))
    mark, detail, advice = outcome.step("TLS")
    assert (outcome.status, mark, server.token_requests) == (1, "FAILED", [])
    assert detail.startswith("self-signed certificate: TLSv1.3; certificate of CN=127.0.0.1, by CN=127.0.0.1, until ")
    assert f"set {variable} to its file" in advice
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
def test_a_certificate_that_is_not_valid(
    run: Run, secure: Callable[[str, int], Secure], name: str, days: int, problem: str, advice: str
) -> None:
    """An expired certificate, and one of another host, are shown with what is wrong and what to do."""
    server = secure(name, days)
    outcome = run("ACME", **client(server), REQUESTS_CA_BUNDLE=str(server.certificate))
    mark, detail, said = outcome.step("TLS")
    assert (outcome.status, mark) == (1, "FAILED")
    assert detail.startswith(problem)
    assert f"certificate of CN={name}, by" in detail
    assert advice in said


def test_a_port_without_tls(run: Run, server: Loopback) -> None:
    """https:// to a port that speaks http fails at TLS."""
    outcome = run("ACME", **client(server, TOKEN_URL=server.token_url.replace("http", "https")))
    mark, _, advice = outcome.step("TLS")
    assert (outcome.status, mark, outcome.step("connection")[0]) == (1, "FAILED", "ok")
    assert "check that the port in ACME_TOKEN_URL is one of https" in advice


def test_a_bundle_that_trusts_nothing(run: Run, secure: Callable[[str, int], Secure], tmp_path: Path) -> None:
    """An empty directory of CAs trusts nothing; a file that is no bundle fails, and its variable is named."""
    server = secure("127.0.0.1", 5)
    (tmp_path / "empty").mkdir()
    outcome = run("ACME", **client(server), REQUESTS_CA_BUNDLE=str(tmp_path / "empty"))
    assert outcome.step("TLS")[1].startswith("self-signed certificate: ")
    (tmp_path / "ca.pem").write_text("no certificate")
    mark, detail, advice = run("ACME", **client(server), REQUESTS_CA_BUNDLE=str(tmp_path / "ca.pem")).step("TLS")
    assert (mark, detail.partition(" (")[0]) == ("FAILED", "the certificates to trust cannot be read")
    assert "REQUESTS_CA_BUNDLE" in advice


def test_a_certificate_that_cannot_be_read(
    run: Run, secure: Callable[[str, int], Secure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that cryptography cannot read causes no traceback."""

    def load(_: bytes) -> x509.Certificate:
        raise x509.InvalidVersion("4 is not a valid X509 version", 4)

    monkeypatch.setattr(x509, "load_der_x509_certificate", load)
    outcome = run("ACME", **client(secure("127.0.0.1", 5)))
    assert outcome.step("TLS")[1].endswith("; a certificate that cannot be read (InvalidVersion)")


def test_a_certificate_that_only_the_library_rejects(
    run: Run, secure: Callable[[str, int], Secure], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the library rejects the certificate, as behind a proxy that opens TLS, its variable is named too."""
    server = secure("127.0.0.1", 5)
    trusting = ssl.create_default_context(cafile=server.certificate)
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: trusting)
    outcome = run("ACME", **client(server))
    assert outcome.step("TLS")[0] == "ok"
    mark, _, advice = outcome.step("token request")
    assert (mark, "set REQUESTS_CA_BUNDLE to its file" in advice) == ("FAILED", True)


# The token


def test_the_token_is_described(run: Run, server: Loopback) -> None:
    """Lifetime, scope and registered claims of the token are shown: no name, no mail, no signature."""
    now = int(time.time())
    claims = {"iss": "https://id", "aud": ["a", "b"], "exp": now + 60, "nbf": now, "scp": "read", "email": "ann@home"}
    server.token_play = issuing(jwt(**claims, roles=[f"x {SECRET}"]), scope="read", refresh_token=CANARY)
    outcome = run("ACME", **client(server, SCOPE="read write"))
    assert outcome.status == 0
    assert outcome.step("token")[1].startswith("Bearer, ends in 3600 s, at ")
    assert outcome.step("token")[1].endswith(" UTC, scope read, a refresh token")
    shown = f'alg "HS256", iss "https://id", aud ["a", "b"], exp {now + 60}, nbf {now}, scp "read", roles "***"'
    assert outcome.step("JWT")[1] == shown
    mark, detail, advice = outcome.step("scope")
    assert (mark, detail) == ("-", "not granted: write")
    assert "change ACME_SCOPE" in advice


@pytest.mark.parametrize(
    ("granted", "said"), [("a b c", "granted besides: c"), ("a c", "not granted: b; granted besides: c"), ("b a", None)]
)
def test_another_scope_is_noted(run: Run, server: Loopback, granted: str, said: str | None) -> None:
    """A granted scope that differs from the requested one is shown."""
    server.token_play = issuing("opaque", scope=granted)
    outcome = run("ACME", **client(server, SCOPE="a b"))
    assert ("scope" in outcome.names()) == (said is not None)
    if said:
        assert outcome.step("scope")[1] == said


def test_a_token_at_the_wrong_time(run: Run, server: Loopback) -> None:
    """A token that is not valid yet is noted, and one that has ended fails."""
    server.token_play = issuing(jwt(nbf=time.time() + 100))
    mark, _, advice = run("ACME", **client(server)).step("JWT")
    assert (mark, "not valid yet: compare the clocks" in advice) == ("-", True)
    server.token_play = issuing("opaque", expires_in=1e-9)
    outcome = run("ACME", **client(server))
    mark, _, advice = outcome.step("token")
    assert (outcome.status, mark) == (1, "FAILED")
    assert "it had ended before it came" in advice


def test_claims_are_json_for_any_parser(run: Run, server: Loopback) -> None:
    """Claims that are no numbers, or very long, are shown as short texts."""
    server.token_play = issuing(
        jwt(iss="x " * 5_000, exp=float("nan"), roles=[float("inf"), {"a": 1}], aud="NaN-bread")
    )
    outcome = run("ACME", "--json", **client(server))
    claims = json.loads(outcome.out, parse_constant=pytest.fail)["token"]["claims"]
    assert claims == {
        "iss": ('"' + "x " * 250)[:500], "aud": '"NaN-bread"', "exp": "NaN", "roles": '[Infinity, {"a": 1}]'
    }  # fmt: skip


# The API


#: What the API answers, the detail, and the advice.
API: list[tuple[int, str, str, str]] = [
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
]


@pytest.mark.parametrize(("status", "challenge", "detail", "advice"), API)
def test_an_api_that_refuses_is_explained(
    run: Run, server: Loopback, status: int, challenge: str, detail: str, advice: str
) -> None:
    """A 401 is about the token, a 403 about the account, and other answers are about neither."""
    headers = {"WWW_Authenticate": challenge} if challenge else {}
    server.api = lambda _: as_json({}, status, **headers)
    outcome = run("ACME", "--url", f"{server.api_url}?key={CANARY}", **client(server))
    assert outcome.status == int(status != 204)
    step = outcome.step("API")
    assert step[:2] == ("ok" if status == 204 else "FAILED", f"{server.api_url}?... {detail}")
    assert advice in step[2]
    assert len(server.api_requests) == 1


REDIRECTS: dict[str, tuple[str, str, str]] = {
    "http://127.0.0.2:9/there?key=1": ("FAILED", "http://127.0.0.2:9/there?..., where no token goes", "a page to sign"),
    "/there": ("-", "{url}/there", "try that address"),
    "ftp://127.0.0.2/": ("FAILED", "what is no address, where no token goes", "it may be a page to sign in at"),
}


@pytest.mark.parametrize("target", REDIRECTS)
def test_a_redirect_of_the_api(run: Run, server: Loopback, library: str, target: str) -> None:
    """A redirect is shown with its target, and is not followed."""
    mark, said, advice = REDIRECTS[target]
    server.api = lambda _: as_json({}, 302, Location=target)
    outcome = run("ACME", "--url", server.api_url, **client(server))
    step = outcome.step("API")
    assert (outcome.status, step[0]) == (mark == "FAILED", mark)
    assert step[1] == f"{server.api_url} redirects to {said.format(url=server.url)}"
    assert advice in step[2]
    assert len(server.api_requests) == 1


def test_a_host_that_is_not_allowed_gets_nothing(run: Run, server: Loopback) -> None:
    """A host that ALLOWED_HOSTS leaves out gets no request."""
    outcome = run("ACME", "--url", server.api_url, **client(server, ALLOWED_HOSTS="api.example.com"))
    mark, detail, advice = outcome.step("API")
    assert (outcome.status, mark, server.api_requests) == (1, "FAILED", [])
    assert detail == f"{server.api_url} gets no token, as ACME_ALLOWED_HOSTS leaves it out"
    assert advice.endswith("add its host to ACME_ALLOWED_HOSTS")
    assert run("ACME", "--url", server.api_url, **client(server, ALLOWED_HOSTS="127.0.0.1")).status == 0


def test_an_api_that_is_not_there(run: Run, server: Loopback, library: str) -> None:
    """An API that cannot be reached is one line, without what may be secret in the URL."""
    outcome = run("ACME", "--url", f"http://me:{CANARY}@127.0.0.1:1/?key={CANARY}", **client(server))
    mark, detail, advice = outcome.step("API")
    assert (outcome.status, mark) == (1, "FAILED")
    assert detail.startswith("http://...@127.0.0.1:1/?... did not answer (Connect")
    assert "check the URL, the network and its proxies" in advice


@pytest.mark.timeout(30)
def test_an_api_that_never_ends_is_tried(run: Run, server: Loopback, library: str) -> None:
    """The status of an API that streams for ever is enough."""
    server.api = lambda _: Response(itertools.repeat(b"data: x\n\n"), 200, direct_passthrough=True)
    assert run("ACME", "--url", server.api_url, **client(server)).step("API")[0] == "ok"


# Refresh tokens that may be spent once


def test_a_refresh_token_is_not_wasted(run: Run, server: Loopback, tmp_path: Path) -> None:
    """A refresh token is not spent unless its successor is stored for the program."""
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
    """After the configured refresh token was used, no other client_auth is tried with it."""
    server.token_play = issuing("opaque", refresh_token=f"{CANARY}-next", expires_in=1)
    variables = client(server, REFRESH_TOKEN=f"{CANARY}-first", CACHE=f"file:{tmp_path}")
    assert run("ACME", **variables).status == 0
    age(tmp_path)
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    assert run("ACME", "--try-others", **variables).status == 1
    assert [f"{CANARY}-first".encode() in each.body for each in server.token_requests] == [True, False]


def test_a_cache_has_a_token_for_another_client_auth(run: Run, server: Loopback, tmp_path: Path) -> None:
    """``--try-others`` meets a client_auth for which the cache has a token: it says so, and sends nothing for it."""
    server.token_play = wanting(server, basic=RAW)
    variables = client(server, REFRESH_TOKEN=f"{CANARY}-first", CACHE=f"file:{tmp_path}")
    assert run("ACME", ACME_CLIENT_AUTH="client_secret_basic_raw", **variables).status == 0
    outcome = run("ACME", "--try-others", **variables)
    mark, detail, advice = outcome.step("try client_secret_basic_raw")
    assert (mark, detail) == ("ok", "none: the cache has a token")
    assert advice.endswith("set ACME_CLIENT_AUTH=client_secret_basic_raw")
    assert len(server.token_requests) == 2


def age(directory: Path) -> None:
    """Expire all entries of a cache of files, and forget what this process knows of them."""
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
    """The check uses the refresh token of the cache as requests do, and succeeds where they get a token."""
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
    """Where the check uses the refresh token of the cache, its successor is stored there."""
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
    """Where the refresh token is refused and the secret accepted, both answers are shown."""
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


SLIPS: list[tuple[dict[str, str], str]] = [
    ({"CLIENT_ID": f"{CLIENT}\u200b"}, "ACME_CLIENT_ID"),
    ({"CLIENT_SECRET": f"{SECRET}\u00a0"}, "ACME_CLIENT_SECRET"),
    ({"SCOPE": '"read write"'}, "ACME_SCOPE"),
    ({"USERNAME": "ann ", "PASSWORD": SECRET}, "ACME_USERNAME"),
    ({"USERNAME": "ann", "PASSWORD": f"\ufeff{SECRET}"}, "ACME_PASSWORD"),
    ({"CLIENT_SECRET": f"a {SECRET}' b", "SCOPE": "read write"}, ""),
]


@pytest.mark.parametrize(("variables", "name"), SLIPS)
def test_what_may_have_been_pasted_along_is_noted(
    run: Run, server: Loopback, variables: dict[str, str], name: str
) -> None:
    """A space, a quote or an invisible character at an end of a value is noted, and sent, as it may belong to it."""
    outcome = run("ACME", **client(server, **variables))
    assert outcome.status == 0
    oddity = f"-       variable: {name} begins or ends with whitespace, an invisible character or a quote"
    advice = "        → if that does not belong to it, remove it"
    assert outcome.out.count(f"{oddity}\n{advice}\n") == outcome.out.count(advice) == int(bool(name))


def test_what_was_pasted_into_a_file_is_noted(run: Run, server: Loopback, tmp_path: Path) -> None:
    """A space at the end of a secret's file is noted, by the variable of the file; one in a key too."""
    (tmp_path / "secret").write_text(f"{SECRET} \n")
    variables = client(server, CLIENT_SECRET_FILE=f"{tmp_path}/secret")
    del variables["ACME_CLIENT_SECRET"]
    assert "variable: ACME_CLIENT_SECRET_FILE begins or ends with" in run("ACME", **variables).out
    assert "variable: KEY_API_KEY begins or ends with" in run("KEY", KEY_API_KEY=f"{CANARY}'").out


def test_a_mistake_in_the_variables_is_status_2(run: Run, server: Loopback) -> None:
    """A misspelt variable is one line and status 2; with --json an object says the same."""
    human = run("ACME", **client(server, SCOPES="x"))
    assert (human.status, human.out) == (2, "")
    assert human.err.startswith("error: ACME_SCOPES ")
    machine = run("ACME", "--json", **client(server, SCOPES="x"))
    error = human.err.removeprefix("error: ").rstrip("\n")
    assert (machine.status, machine.err) == (2, "")
    assert machine.report == {
        "ok": False, "status": 2, "prefix": "ACME", "steps": [], "token": None, "error": error
    }  # fmt: skip


def test_a_file_that_is_not_there_is_found_first(run: Run, server: Loopback) -> None:
    """A secret's file that does not exist is a mistake in the configuration, and nothing is sent."""
    variables = {"ACME_TOKEN_URL": server.token_url, "ACME_CLIENT_ID": CLIENT, "ACME_CLIENT_SECRET_FILE": f"/{CANARY}"}
    outcome = run("ACME", **variables)
    assert (outcome.status, outcome.out, server.token_requests) == (2, "", [])
    assert "ACME_CLIENT_SECRET_FILE" in outcome.err


def test_a_late_mistake_keeps_the_steps_before_it(run: Run) -> None:
    """A key that no header can carry is found late: the steps before it are reported with the error."""
    outcome = run("ACME", "--json", ACME_API_KEY=SECRET)
    assert (outcome.status, outcome.report["steps"][-1]["name"]) == (2, "token request")
    assert "cannot stand in a header" in outcome.report["error"]


def test_without_a_library(run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any of the three libraries the error says what to install."""
    for library in HIDDEN:
        monkeypatch.setitem(sys.modules, library, None)
    outcome = run("ACME", "--json", **client(server))
    assert (outcome.status, "pip install" in outcome.report["error"]) == (2, True)


def test_a_url_without_a_scheme_is_usage(run: Run) -> None:
    """A --url without https:// is a mistake in usage."""
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
    assert "        ? check ACME_CLIENT_ID and ACME_CLIENT_SECRET, and" in done.stdout
