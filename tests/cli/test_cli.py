"""The command line: exit status, standard output, standard error."""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from werkzeug.wrappers import Response

import auth_plugins
import auth_plugins.__main__
from auth_plugins import FileCache, Token
from auth_plugins._caches.entries import StoredToken
from auth_plugins._cli.main import main
from auth_plugins.sandbox import Sandbox, SignInApi
from tests.support.loopback import Loopback, as_json
from tests.support.stores import age

PACKAGE = Path(auth_plugins.__file__).parent
SECRET = "s3cr3t canary"
UNREACHABLE = "http://127.0.0.1:1"


@dataclass
class Outcome:
    status: Any
    out: bytes
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs ``auth-plugins`` with words and variables."""

    def run(*words: str, **variables: str) -> Outcome:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["auth-plugins", *words])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsysbinary.readouterr()
        return Outcome(end.value.code, out, err.decode())

    return run


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def client(server: Loopback, **others: str) -> dict[str, str]:
    return {"ACME_TOKEN_URL": server.token_url, "ACME_CLIENT_ID": "id", "ACME_CLIENT_SECRET": SECRET, **others}


def test_token_prints_a_token_and_nothing_else(run: Run, sandbox: Sandbox) -> None:
    """``token`` prints one line; without a prefix, the variables are AUTH_PLUGINS_… as for ``from_env()``."""
    system = sandbox["jwt-api"]
    outcome = run("token", **system.variables("AUTH_PLUGINS"))
    assert (outcome.status, outcome.err) == (0, "")
    access_token, line_end, rest = outcome.out.decode().partition("\n")
    assert (access_token.count("."), line_end, rest) == (2, "\n", "")
    assert run("get", system.api_url).status == 0


@pytest.mark.parametrize("used", ["requests", "httpx2", "httpx"])
def test_get_prints_the_body_by_any_library(
    run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch, used: str
) -> None:
    """``get`` prints the bytes of the answer, by the first installed library, and follows redirects."""
    for library in {"requests": (), "httpx2": ("requests",), "httpx": ("requests", "httpx2")}[used]:
        monkeypatch.setitem(sys.modules, library, None)
    body = bytes(range(256))
    server.api = lambda received: (
        as_json({}, 302, Location="/there") if received.target == "/here" else Response(body, 200)
    )
    outcome = run("get", f"{server.url}/here", "ACME", **client(server))
    assert (outcome.status, outcome.out, outcome.err) == (0, body, "")
    [*_, there] = server.api_requests
    assert there.headers["authorization"] == "Bearer token-1"
    assert there.headers["user-agent"].startswith(f"python-{used}/")


@pytest.mark.parametrize("words", [("token",), ("get", UNREACHABLE)])
def test_without_a_library_it_says_what_to_install(
    run: Run, server: Loopback, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Without any HTTP library, the error names an extra to install."""
    for library in ("requests", "httpx", "httpx2"):
        monkeypatch.setitem(sys.modules, library, None)
    outcome = run(*words, "ACME", **client(server))
    assert (outcome.status, outcome.out) == (2, b"")
    assert "pip install 'auth-plugins[requests]'" in outcome.err


@pytest.mark.parametrize("cache", [None, "memory", "file:{}/file"])
@pytest.mark.parametrize("words", [("token",), ("get", UNREACHABLE)])
def test_a_refresh_token_is_not_spent_where_its_successor_is_lost(
    run: Run, server: Loopback, tmp_path: Path, words: tuple[str, ...], cache: str | None
) -> None:
    """Without a cache for its successor, a refresh token is not sent, and ``check`` says so too."""
    variables = {"ACME_TOKEN_URL": server.token_url, "ACME_REFRESH_TOKEN": SECRET}
    if cache is not None:
        variables["ACME_CACHE"] = cache.format(tmp_path)
    (tmp_path / "file").touch()
    said = "the server may take a refresh token once only, and its successor would be lost"
    is_file = cache is not None and cache.startswith("file")
    said += ", as the cache cannot be used (" if is_file else " in memory"
    advice = "check ACME_CACHE" if is_file else "set ACME_CACHE=file"
    outcome = run(*words, "ACME_", **variables)
    assert (outcome.status, outcome.out) == (2, b"")
    assert outcome.err.startswith(f"error: {said}")
    assert outcome.err.endswith(f"; {advice}\n")
    checked = run("check", "ACME").out.decode()
    assert f"-       token request: not tried: {said}" in checked
    assert checked.endswith(f"        → {advice}\n")
    assert server.token_requests == []


def test_a_refresh_token_is_spent_once_where_its_successor_is_kept(run: Run, server: Loopback, tmp_path: Path) -> None:
    """With a cache, a refresh token is sent once; the next command uses its stored successor."""
    sent: list[str] = []

    def rotate(received: Any) -> Any:
        sent.append(received.body.decode().rpartition("=")[2])
        return as_json({"access_token": f"t-{len(sent)}", "expires_in": 1, "refresh_token": f"rotated-{len(sent)}"})

    server.token_play = rotate
    variables = {"ACME_TOKEN_URL": server.token_url, "ACME_REFRESH_TOKEN": "first-one"}
    for number in (1, 2):
        outcome = run("token", "ACME", **variables, ACME_CACHE=f"file:{tmp_path}")
        assert (outcome.status, outcome.out.decode()) == (0, f"t-{number}\n")
        age(tmp_path)
    assert sent == ["first-one", "rotated-1"]


def test_a_message_is_one_line(run: Run) -> None:
    """An error is one printable line, even if an argument has a line break in it."""
    for words in (("get", UNREACHABLE, "AC\x1b\nME"), ("cache", "list", "AC\nME")):
        outcome = run(*words)
        assert (outcome.status, outcome.err.count("\n")) == (2, 1)
        assert outcome.err[:-1].isprintable()


class OddRedis(socketserver.BaseRequestHandler):
    """A Redis, or a proxy of one, that knows no command and repeats it in its error."""

    def handle(self) -> None:
        while received := self.request.recv(65536):
            words = [word for word in received.decode().split("\r\n") if word and word[0] not in "*$"]
            self.request.sendall(f"-ERR unknown command, with args beginning with: {words}\r\n".encode())


@pytest.fixture
def odd_redis() -> Iterator[int]:
    """The port of a Redis that knows no command."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OddRedis) as odd:
        thread = threading.Thread(target=odd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield odd.server_address[1]
        odd.shutdown()
        thread.join()


@pytest.mark.parametrize("named", ["ACME_CACHE", "ACME_CACHE_FILE"])
@pytest.mark.parametrize("where", [":{0}@{1}/0", "me:{0}@{1}", "{0}@{1}", "{1}/0?password={0}"])
def test_the_password_of_redis_is_never_printed(
    run: Run, server: Loopback, odd_redis: int, tmp_path: Path, caplog: Any, where: str, named: str
) -> None:
    """No command prints or logs the password of Redis, even if the error of Redis repeats it."""
    url = f"redis://{where.format('pa55w%2Frd', f'127.0.0.1:{odd_redis}')}"
    (tmp_path / "cache").write_text(url)
    variables = client(server, **{named: f"{tmp_path}/cache" if named.endswith("FILE") else url})
    for words in (("cache", "list", "ACME"), ("check", "ACME_", "--json"), ("token", "ACME")):
        outcome = run(*words, **variables)
        assert outcome.status == (words[0] != "token")
        text = outcome.out.decode() + outcome.err
        assert "pa55w" not in text
        assert words[0] == "token" or "unknown command" in text
        assert words[0] != "check" or f"check {named}" in text
    assert "RedisCache is out of order" in caplog.text
    assert "pa55w" not in caplog.text


def test_variables_of_the_policy_do_not_disturb_the_cache(run: Run, server: Loopback, tmp_path: Path) -> None:
    """Variables that a grant cannot have do not disturb ``token``, ``check`` and ``cache clear``."""
    policy = {"LEEWAY": "10", "TIMEOUT": "5", "REFRESH_AHEAD": "false", "ALLOWED_HOSTS": "127.0.0.1"}
    others = {"CACHE": f"file:{tmp_path}", "ALLOW_HTTP": "true", "REVOCATION_URL": f"{server.url}/revoke"}
    variables = client(server, **{f"ACME_{name}": value for name, value in {**policy, **others}.items()})
    assert run("token", "ACME", **variables).status == 0
    assert run("check", "ACME").status == 0
    assert run("cache", "clear", "ACME").out.startswith(b"forgot 1 of ")


def test_a_bad_answer_is_printed_and_fails(run: Run, sandbox: Sandbox) -> None:
    """After a 403, the body is printed, then one line about it, and the status is 1."""
    system = sandbox["json-api"]
    outcome = run("get", f"{system.url}/forbidden?key={SECRET}", "ACME", **system.variables("ACME"))
    assert (outcome.status, outcome.out) == (1, b'{"error": "insufficient_scope"}')
    assert outcome.err == f"\nerror: {system.url}/forbidden?... answered 403\n", "on a line of its own"


FAILURES: dict[str, tuple[tuple[str, ...], dict[str, str], int, str]] = {
    # the words, variables in addition, the exit status, what the line says
    "a misspelt variable": (("token", "ACME"), {"ACME_SCOPES": SECRET}, 2, "did you mean ACME_SCOPE?"),
    "a token endpoint that refuses": (("token", "ACME"), {}, 1, "invalid_client"),
    "a token endpoint that refuses, for a get": (("get", UNREACHABLE, "ACME"), {}, 1, "invalid_client"),
    "a token endpoint without TLS": (("token", "ACME"), {"ACME_TOKEN_URL": "http://a.example.com/"}, 1, "use https://"),
    "an API that cannot be reached": (
        ("get", f"http://{SECRET.replace(' ', ':')}@127.0.0.1:1/things?key={SECRET.replace(' ', '%20')}", "KEY"),
        {"KEY_API_KEY": SECRET},
        1,
        "http://...@127.0.0.1:1/things?... did not answer (",
    ),
    "an API that cannot be reached, and a key in the query": (
        ("get", "http://127.0.0.1:1/things?a=(1)&key=old", "KEY"),
        {"KEY_API_KEY": SECRET, "KEY_API_KEY_QUERY": "key"},
        1,
        "http://127.0.0.1:1/things?... did not answer (",
    ),
    "no URL": (("get", "api.example.com", "ACME"), {}, 2, "give it whole"),
    "prefix first": (("get", "ACME", "https://api.example.com"), {}, 2, "/things, before the prefix"),
    "no host": (("get", "http://[", "ACME"), {}, 2, "give it whole"),
    "no port": (("get", "http://127.0.0.1:99999/", "ACME"), {}, 2, "give it whole"),
    "no command": (("fetch",), {}, 2, "No such command 'fetch'"),
    "no lifetime": (("sandbox", "--lifetime", "0"), {}, 2, "--lifetime"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_fails_is_a_line_and_a_status(run: Run, server: Loopback, case: str) -> None:
    """1: no token, or no answer; 2: usage or configuration. Each is one line, without a traceback or a secret."""
    server.token_play = lambda _: as_json({"error": "invalid_client", "error_description": f"not {SECRET}"}, 401)
    words, further, status, said = FAILURES[case]
    outcome = run(*words, **client(server, **further))
    assert (outcome.status, outcome.out) == (status, b"")
    [*usage, line] = outcome.err.splitlines()
    assert line.lower().startswith("error: ")
    assert said in line
    assert all(text.startswith(("Usage: ", "Try ")) or not text for text in usage)
    assert "canary" not in outcome.err


def test_an_error_of_another_kind_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is not the package's keeps its traceback, as it is a bug."""
    monkeypatch.setattr(sys, "argv", ["auth-plugins", "cache", "key"])
    monkeypatch.setattr("cryptography.fernet.Fernet.generate_key", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """Without click or rich, the command line prints one line that names the extra."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as end:
        auth_plugins.__main__.main()
    assert end.value.code == 2
    assert capsys.readouterr() == (
        "",
        "error: the command line needs click and rich: pip install 'auth-plugins[cli]'\n",
    )


@pytest.fixture
def own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's own cache directory."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "own")
    return tmp_path / "own"


def test_the_cache_is_listed_and_cleared(run: Run, server: Loopback, own_directory: Path) -> None:
    """``cache list`` shows for whom and until when each token is, but no token; ``cache clear`` deletes one, or all."""
    one = {**client(server), "ACME_SCOPE": "a b", "ACME_CACHE": "file"}
    ann = {f"ANN_{name}": value for name, value in {"USERNAME": "ann", "PASSWORD": "pa55"}.items()}
    ann |= {"ANN_TOKEN_URL": f"{server.token_url}?key={SECRET.replace(' ', '+')}", "ANN_CACHE": "file"}
    assert (run("cache", "list").out, own_directory.exists()) == (b"", False)

    assert run("token", "ACME", **one).out == b"token-1\n"
    server.token_play = lambda _: as_json({"access_token": "token-2", "refresh_token": "r3fr3sh"})
    assert run("token", "ANN", **ann).out == b"token-2\n"
    lines = sorted(run("cache", "list").out.decode().splitlines())
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "(then)", lines[0]) == (
        f"ClientCredentials id at {server.token_url}, scope a b: until (then) UTC"
    )
    assert lines[1:] == [f"Password ann at {server.token_url}: no expiry known, renewable"]

    cleared = run("cache", "clear", "ACME")
    assert (cleared.status, cleared.out.decode()) == (0, f"forgot 1 of FileCache({str(own_directory)!r})\n")
    assert run("cache", "clear", "ACME").out.startswith(b"forgot 0 of ")
    assert run("cache", "list").out.decode().splitlines() == lines[1:]
    assert run("cache", "clear").out.startswith(b"forgot 1 of ")
    assert run("cache", "list").out == b""


def test_a_cache_with_a_key_is_listed_with_the_key(run: Run, server: Loopback, tmp_path: Path) -> None:
    """With its key, an entry is listed; with another key, that there is one; without it, it can be cleared."""
    key, other = (run("cache", "key").out.decode().strip() for _ in range(2))
    variables = {**client(server), "ACME_CACHE": f"file:{tmp_path}", "ACME_CACHE_KEY": key}
    assert run("token", "ACME", **variables).status == 0
    assert run("cache", "list", "ACME").out.startswith(b"ClientCredentials id at ")
    assert run("cache", "list", "ACME", ACME_CACHE_KEY=other).out == b"(damaged, or under another key)\n"
    assert run("cache", "clear", AUTH_PLUGINS_CACHE=f"file:{tmp_path}").out.startswith(b"forgot 1 of ")
    assert not [path for path in tmp_path.glob("*.token") if path.stem != "key-check"]


def test_an_expired_token_is_listed_as_expired(run: Run, tmp_path: Path) -> None:
    """An expired token with a refresh token is listed as expired and renewable; each entry is printable."""
    token = Token(access_token="old", expires_at=1.0, refresh_token="r", issued_at=0.0)
    FileCache(tmp_path).set(
        "name", StoredToken(token, {"grant": "Password", "username": "a\x1b[1mn", "token_url": "https://id"}).dump(), 1
    )
    assert run("cache", "list", AUTH_PLUGINS_CACHE=f"file:{tmp_path}").out.decode() == (
        "Password a?[1mn at https://id: until 1970-01-01 00:00:01 UTC (expired), renewable\n"
    )


def test_an_api_key_is_in_no_cache(run: Run, tmp_path: Path) -> None:
    """An API key is stored in no cache."""
    cleared = run("cache", "clear", "ACME", ACME_API_KEY=SECRET, ACME_CACHE=f"file:{tmp_path}")
    assert (cleared.status, cleared.out.decode()) == (0, f"forgot 0 of FileCache({str(tmp_path)!r})\n")


def test_errors_of_a_cache_are_reported(run: Run, server: Loopback) -> None:
    """``cache`` reports errors of the cache, which a request only logs."""
    memory = run("cache", "list", "ACME_", **client(server))
    assert (memory.status, memory.out) == (2, b"")
    assert memory.err.startswith("error: ACME_CACHE is memory, which ends with its process; set it to ")
    gone = run("cache", "list", "ACME", ACME_CACHE="redis://127.0.0.1:1/0")
    assert (gone.status, gone.out) == (1, b"")
    assert gone.err.startswith("error: the cache cannot be used (ConnectionError: ")
    assert run("cache", "clear", "ACME", ACME_CACHE="file", ACME_TOKEN_URL="").status == 2


def test_python_m_runs_it() -> None:
    """``python -m auth_plugins`` is ``auth-plugins``. ``--help`` lists the commands, and loads little."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "importtime", "-m", "auth_plugins", "-h"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout.partition("\n")[0]) == (0, "Usage: auth-plugins [OPTIONS] COMMAND [ARGS]...")
    assert set(re.findall("^  ([a-z]+) ", done.stdout, re.MULTILINE)) == {
        "cache",
        "check",
        "demo",
        "get",
        "login",
        "logout",
        "sandbox",
        "token",
    }
    loaded = re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE)
    heavy = {"asyncio", "authlib", "cryptography", "httpx", "httpx2", "joserfc", "redis", "requests", "rich"}
    assert not heavy & {*loaded}


def test_the_version(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--version`` prints the version of the installed distribution."""
    monkeypatch.setattr(importlib.metadata, "version", {"auth-plugins": "1.2.3"}.__getitem__)
    assert run("--version") == Outcome(0, b"auth-plugins 1.2.3\n", "")


def exports(text: str) -> dict[str, str]:
    """The variables that a shell exports."""
    script = f"{text}\nenv -0"
    done = subprocess.run(["/bin/sh", "-ec", script], env={}, capture_output=True, encoding="utf-8", check=True)
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    return {name: value for name, value in found.items() if name.startswith("ACME_")}


def examples(text: str) -> list[list[str]]:
    """The words of each example, without the name of the program."""
    return [line.split()[2:] for line in text.splitlines() if line.startswith("# auth-plugins ")]


def test_the_sandbox_says_how_to_be_its_client(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it prints works in a shell, and so does each of its examples. Ctrl-C ends it with status 0."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(webbrowser, "get", object)
    monkeypatch.setattr(webbrowser, "open", SignInApi(60, time.time).person)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "auth_plugins", "sandbox", "--lifetime", "60"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            printed = ""
            while "# They run until Ctrl-C.\n" not in printed:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                printed += line
            variables = exports(printed)
            called = []
            for words in examples(printed):
                outcome = run(*words, **variables)
                is_login = words[0] == "login"
                said = outcome.err.startswith("To sign in") if is_login else not outcome.err
                assert (outcome.status, said) == (0, True), words
                called += words[1:2] if words[0] == "check" else words[2:]
            token = run("token", "ACME_JWT").out.decode()
        finally:
            process.send_signal(signal.SIGINT)
        assert (process.wait(10), process.stderr.read()) == (0, "")
    systems = ("UPLOAD", "JWT", "AUTH", "ORGANIZATION", "JSON", "ENTERPRISE", "SIGN_IN", "NESTED", "SESSION", "QUERY",
               "UPLOAD_V1", "ENTERPRISE_MTLS")  # fmt: skip
    assert called == [f"ACME_{name}" for name in systems]
    claims = Token(access_token=token.strip()).claims
    assert claims["exp"] - claims["iat"] == 60
