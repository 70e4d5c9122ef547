"""Variables, ``auth-plugins login`` and ``logout``, and the default prompt."""

from __future__ import annotations

import io
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import (
    AuthorizationCode,
    ConfigurationError,
    DeviceCode,
    FileCache,
    Issuer,
    LoginRequiredError,
    TokenSource,
    from_env,
)
from auth_plugins._base.runtime import runtime
from auth_plugins._cli.main import main
from auth_plugins._login.prompts import application_name, can_ask, open_browser
from tests.support.loopback import Loopback
from tests.support.sign_in import SignIn, visit
from tests.support.stores import forget

TOKEN, LOGIN, DEVICE = (f"https://id.example.com/{name}" for name in ("token", "authorize", "device"))
CLIENT = {"TOKEN_URL": TOKEN, "CLIENT_ID": "id"}

Run = Callable[..., tuple[Any, str, str]]


@pytest.fixture
def login(server: Loopback) -> SignIn:
    return SignIn(server)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``auth-plugins`` as a new process would; returns its status, stdout and stderr."""

    def run(*words: str) -> tuple[Any, str, str]:
        forget()
        monkeypatch.setattr(sys, "argv", ["auth-plugins", *words])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that were opened in the browser; there is a display."""
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":9")

    def open_url(url: str) -> None:
        opened.append(url)
        visit(url)

    monkeypatch.setattr(webbrowser, "open", open_url)
    monkeypatch.setattr(webbrowser, "get", object)
    return opened


def variables(monkeypatch: pytest.MonkeyPatch, login: SignIn, tmp_path: Path, **more: str) -> None:
    given = {"TOKEN_URL": login.server.token_url, "CLIENT_ID": "the-client", "CACHE": f"file:{tmp_path}"}
    for name, value in {**given, "AUTHORIZE_URL": login.authorize_url, **more}.items():
        if value:
            monkeypatch.setenv(f"ACME_{name}", value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {
                **CLIENT,
                "GRANT_TYPE": "authorization_code",
                "AUTHORIZE_URL": LOGIN,
                "REDIRECT_URI": "http://[::1]:8400/a",
            },
            AuthorizationCode(TOKEN, "id", authorize_url=LOGIN, redirect_uri="http://[::1]:8400/a"),
        ),
        ({**CLIENT, "AUTHORIZE_URL": LOGIN}, AuthorizationCode(TOKEN, "id", authorize_url=LOGIN)),
        (
            {"ISSUER": "https://id.example.com", "CLIENT_ID": "id", "GRANT_TYPE": "authorization-code"},
            AuthorizationCode(Issuer("https://id.example.com"), "id"),
        ),
        (
            {**CLIENT, "CLIENT_SECRET": "5ecr3t", "GRANT_TYPE": "device_code", "DEVICE_URL": DEVICE, "SCOPE": "a"},
            DeviceCode(TOKEN, "id", "5ecr3t", device_url=DEVICE, scope="a"),
        ),
        ({**CLIENT, "DEVICE_URL": DEVICE, "CLIENT_AUTH": "none"}, DeviceCode(TOKEN, "id", device_url=DEVICE)),
    ],
)
def test_variables(given: dict[str, str], expected: Any) -> None:
    """They make a grant equal to the one from code; it asks by the browser, and needs no secret."""
    grant: Any = from_env("ACME", {f"ACME_{name}": value for name, value in given.items()})
    assert grant == expected
    assert grant.prompt is open_browser


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**CLIENT, "GRANT_TYPE": "authorization_code"}, "ACME_AUTHORIZE_URL is not set"),
        ({**CLIENT, "GRANT_TYPE": "device_code"}, "ACME_DEVICE_URL is not set"),
        ({**CLIENT, "AUTHORIZE_URL": LOGIN, "DEVICE_URL": DEVICE}, "contradicts ACME_"),
        (
            {**CLIENT, "AUTHORIZE_URL": LOGIN, "REDIRECT_URI": "https://example.com"},
            "ACME_REDIRECT_URI must be http://",
        ),
        ({**CLIENT, "AUTHORISE_URL": LOGIN}, "did you mean ACME_AUTHORIZE_URL"),
    ],
)
def test_variables_that_cannot_work(given: dict[str, str], words: str) -> None:
    """The error names the variable."""
    with pytest.raises(ConfigurationError, match=words):
        from_env("ACME", {f"ACME_{name}": value for name, value in given.items()})


def test_a_login_is_for_all_programs(
    login: SignIn, run: Run, browser: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A person signs in once; ``token``, ``get`` and programs use it; ``logout`` ends it at the server and here."""
    monkeypatch.delenv("DISPLAY")
    variables(monkeypatch, login, tmp_path, REVOCATION_URL=f"{login.server.url}/revoke")
    status, _, err = run("token", "ACME")
    assert status == 1
    assert "neither a terminal nor a display; run: auth-plugins login ACME" in err
    status, out, err = run("login", "ACME")
    assert (status, len(browser)) == (0, 1)
    assert out.startswith(f"signed in to {login.server.token_url}: the token is in FileCache(")
    assert f"    {browser[0]}\n" in err
    assert run("token", "ACME")[:2] == (0, "token-1\n")
    assert run("get", login.server.api_url, "ACME")[0] == 0
    login.server.revoke()
    assert run("get", login.server.api_url, "ACME")[0] == 0
    assert TokenSource.from_env("ACME").token().access_token == "token-2"
    assert len(login.logins) == 1
    status, out, _ = run("logout", "ACME")
    assert status == 0
    assert "the token is revoked, and deleted" in out
    assert login.revoked == ["refresh-2-secret", "token-2"]
    assert run("token", "ACME")[0] == 1
    assert "has no login" in run("logout", "ACME")[1]


def test_a_second_login_replaces_the_first(
    login: SignIn, run: Run, browser: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``login`` always asks; without a refresh token it says so; a server that cannot revoke is named."""
    variables(monkeypatch, login, tmp_path)
    assert run("login", "ACME")[0] == 0
    login.refreshes = False
    assert "no refresh token" in run("login", "ACME")[1]
    assert run("token", "ACME")[1] == "token-2\n"
    assert len(browser) == 2
    assert "cannot revoke it" in run("logout", "ACME")[1]


@pytest.mark.usefixtures("browser")
def test_logins_that_fail(login: SignIn, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line says why; the status is 1 for a login that is denied, and 2 for variables."""
    assert "ACME describes" in _with(monkeypatch, run, "login", TOKEN_URL=TOKEN, CLIENT_ID="id", CLIENT_SECRET="5ecr3t")
    monkeypatch.delenv("ACME_CLIENT_SECRET")
    variables(monkeypatch, login, tmp_path, CACHE="memory")
    for words in ("login", "token"):
        status, _, err = run(words, "ACME")
        assert status == 2
        assert "would be lost in memory; set ACME_CACHE=file" in err
    assert "ACME_CACHE is memory" in run("logout", "ACME")[2]
    monkeypatch.setenv("ACME_CACHE", f"file:{tmp_path}")
    login.answer = {"error": "access_denied"}
    status, _, err = run("login", "ACME")
    assert status == 1
    assert "error: sign-in was denied (access_denied)" in err
    login.answer = {}
    assert run("login", "ACME")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(FileCache, "set", lambda *_: (_ for _ in ()).throw(OSError(5, "the disk is full")))
        for words in ("logout", "login", "token"):
            status, _, err = run(words, "ACME")
            assert (status, "cannot be used (the disk is full)" in err) == (2, True), err
    monkeypatch.setattr(FileCache, "delete", lambda *_: None)
    status, _, err = run("logout", "ACME")
    assert status == 1
    assert "still in FileCache" in err


@pytest.mark.usefixtures("browser")
def test_what_a_command_cannot_end_or_keep(
    login: SignIn, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An entry that the cache does not take is no login; a token that is not revoked is deleted all the same."""
    variables(monkeypatch, login, tmp_path, REVOCATION_URL=f"{login.server.url}/nowhere")
    store = FileCache.set
    with monkeypatch.context() as patch:
        patch.setattr(FileCache, "set", lambda cache, key, text, ttl: store(cache, key, text[:99], ttl))
        status, out, err = run("login", "ACME")
        assert (status, out, "could not be stored" in err) == (1, "", True), err
    assert run("login", "ACME")[0] == 0
    status, _, err = run("logout", "ACME")
    assert (status, "deleted from FileCache" in err, "may be valid" in err) == (1, True, True), err
    assert "has no login" in run("logout", "ACME")[1]


def _with(monkeypatch: pytest.MonkeyPatch, run: Run, words: str, **given: str) -> str:
    for name, value in given.items():
        monkeypatch.setenv(f"ACME_{name}", value)
    status, _, err = run(words, "ACME")
    assert status == 2
    return err


@pytest.mark.usefixtures("browser")
def test_a_check_asks_no_one(login: SignIn, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says how to sign in, and uses a login that there is."""
    variables(monkeypatch, login, tmp_path, CLIENT_SECRET="5ecr3t-of-client")
    status, out, _ = run("check", "ACME")
    assert status == 1
    assert "a person has to sign in first; a check asks no one to" in out
    assert "run auth-plugins login with the same prefix" in out
    assert "prompt" not in out
    assert login.logins == []
    run("login", "ACME")
    status, out, _ = run("check", "ACME")
    assert status == 0
    assert "the cache has a token" in out


def test_a_device_login(
    login: SignIn, run: Run, browser: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """URL and code are on stderr; the browser opens the URL that holds the code."""
    monkeypatch.setattr(runtime, "wait", lambda *_: None)
    login.device = {"verification_uri_complete": f"{login.server.url}/activate?code=WDJB-MJHT"}
    variables(monkeypatch, login, tmp_path, AUTHORIZE_URL="", DEVICE_URL=login.device_url)
    start = runtime.start_thread

    def start_or_call(function: Callable[[], object], name: str) -> None:
        if name == "auth-plugins sign-in":
            function()
        else:
            start(function, name)

    monkeypatch.setattr(runtime, "start_thread", start_or_call)
    status, _, err = run("login", "ACME")
    assert status == 0
    assert f"    {login.server.url}/activate\n" in err
    assert "enter the code WDJB-MJHT" in err
    assert browser == [f"{login.server.url}/activate?code=WDJB-MJHT"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("display", "stderr", "platform", "expected"),
    [
        ("", io.StringIO(), "linux", False),
        (":0", io.StringIO(), "linux", True),
        ("", Terminal(), "linux", True),
        ("", None, "linux", False),
        ("", None, "darwin", True),
    ],
)
def test_who_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, display: str, stderr: Any, platform: str, expected: bool
) -> None:
    """By default there must be a terminal or a display; an own prompt decides by itself."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.setenv(name, display)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(sys, "platform", platform)
    assert can_ask(open_browser) is expected
    assert can_ask(print)
    assert not can_ask(None)
    if not expected:
        grant = from_env("ACME", {f"ACME_{name}": value for name, value in {**CLIENT, "DEVICE_URL": DEVICE}.items()})
        with pytest.raises(LoginRequiredError, match=r"run: auth-plugins login ACME$"):
            TokenSource(grant).token()


def test_a_closed_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """No one can read it."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert not can_ask(open_browser)


@pytest.mark.parametrize(
    ("found", "opened"),
    [(webbrowser.GenericBrowser("w3m"), []), (webbrowser.BackgroundBrowser("x"), ["u"]), (webbrowser.Error(), [])],
)
def test_a_browser_that_takes_the_terminal(monkeypatch: pytest.MonkeyPatch, found: Any, opened: list[str]) -> None:
    """It is not opened by itself; a program without stderr goes on."""
    urls: list[str] = []

    def get() -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(webbrowser, "get", get)
    monkeypatch.setattr(webbrowser, "open", urls.append)
    monkeypatch.setattr(sys, "stderr", None)
    open_browser("u")
    assert urls == opened


def test_a_browser_gets_no_stream(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What ``xdg-open`` prints is not the output of this program; and no one waits for it to close its stdout."""
    program = "import pathlib, sys; print('opened'); pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    words: Any = [sys.executable, "-c", program, str(tmp_path / "urls"), "%s"]
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.BackgroundBrowser(words))
    monkeypatch.setenv("DISPLAY", ":9")
    open_browser("https://id.example.com/authorize")
    assert (tmp_path / "urls").read_text() == "https://id.example.com/authorize"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["/usr/bin/acme-tool.py"], "acme-tool"),
        (["/opt/acme/__main__.py"], "acme"),
        (["-c"], "Python"),
        ([], "Python"),
        (["/x/ipykernel_launcher.py"], "Jupyter"),
    ],
)
def test_the_name_of_the_program(monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str) -> None:
    """It is the one that the person started."""
    monkeypatch.setattr(sys, "argv", arguments)
    assert application_name() == name
