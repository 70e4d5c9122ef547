"""The page about Windows and macOS is true to the code, as far as Linux can show it."""

from __future__ import annotations

import ntpath
import os
import re
import subprocess
import sys
from pathlib import Path

import platformdirs.macos
import platformdirs.unix
import platformdirs.windows
import pytest

import auth_plugins
from auth_plugins import FileCache
from auth_plugins._environment.configuration import source_configuration
from tests.docs.pages import ROOT, blocks
from tests.support.loopback import Loopback

PAGE = ROOT / "docs" / "platforms.rst"
#: Takes away what Windows does not have, and what filelock can do without: it has other code there.
WITHOUT_POSIX = """
import concurrent.futures.process, multiprocessing, os, signal, sys, time
import filelock, requests
sys.modules["fcntl"] = None
for module, names in {os: "fork geteuid mkfifo register_at_fork O_DIRECTORY",
                      signal: "SIGUSR1 SIGSTOP SIGALRM pthread_kill", time: "tzset CLOCK_BOOTTIME"}.items():
    for name in names.split():
        delattr(module, name)
from auth_plugins.requests import OAuth2Auth
auth = OAuth2Auth.from_env("ACME")
for url in sys.argv[1:]:
    print(requests.get(url, auth=auth, timeout=30).status_code)
"""


@pytest.mark.parametrize("kind", [platformdirs.unix.Unix, platformdirs.macos.MacOS, platformdirs.windows.Windows])
def test_the_cache_directories(kind: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The page has the directory of each platform, as ``FileCache`` gets it from platformdirs."""
    monkeypatch.setenv("LOCALAPPDATA", "%LOCALAPPDATA%")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(platformdirs.windows, "get_win_folder", platformdirs.windows.get_win_folder_from_env_vars)
    monkeypatch.setattr(os.path, "normpath", lambda path: path)
    asked: list[tuple[object, ...]] = []

    def directory(name: str, *, appauthor: bool) -> Path:
        asked.append((name, appauthor))
        return tmp_path

    monkeypatch.setattr(platformdirs, "user_cache_path", directory)
    FileCache()
    [(name, appauthor)] = asked
    path = str(kind(name, appauthor=appauthor).user_cache_dir).replace(str(tmp_path), "~")
    if kind is platformdirs.windows.Windows:
        path = ntpath.normpath(path)
    assert f"- ``{path}``" in PAGE.read_text("utf-8")


@pytest.mark.parametrize(
    ("language", "pattern"), [("bat", r'set "(\w+)=(.*)"'), ("powershell", r"\$env:(\w+) = '(.*)'")]
)
def test_the_variables_are_those_of_the_package(language: str, pattern: str) -> None:
    """What the page sets is a whole configuration; a path with a drive letter is one."""
    [block] = [block for block in blocks(PAGE) if block.language == language]
    found = [re.fullmatch(pattern, line) for line in block.text.splitlines()]
    environ = {match[1]: match[2] for match in found if match}
    assert len(environ) == len(found) == 3
    _, policy, _ = source_configuration("ACME", {**environ, "ACME_CACHE": "file:C:\\Tokens"})
    assert repr(policy["cache"]).endswith(repr("C:\\Tokens")[1:] + ")")


def test_it_works_without_what_windows_has_not(server: Loopback, tmp_path: Path) -> None:
    """Without fork, owners of files and ``flock`` of our own, processes share a token, and replace a revoked one."""
    variables = {
        "TOKEN_URL": server.token_url,
        "CLIENT_ID": "id",
        "CLIENT_SECRET": "s3cr3t",
        "CACHE": f"file:{tmp_path}",
    }
    environ = {**os.environ, **{f"ACME_{name}": value for name, value in variables.items()}}
    environ["PYTHONPATH"] = str(Path(auth_plugins.__file__).parents[1])
    for count in (1, 1, 2):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_POSIX, server.api_url],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("200\n", "")
        assert len(server.token_requests) == count
        if len(server.api_requests) == 2:
            server.revoke()


def test_a_secret_with_a_line_end_of_windows(server: Loopback, tmp_path: Path) -> None:
    """A file of a secret may begin with a byte order mark, and end with CRLF."""
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbfs3cr3t\r\n")
    variables = {"TOKEN_URL": server.token_url, "CLIENT_ID": "id", "CLIENT_SECRET_FILE": str(tmp_path / "secret")}
    grant, _, _ = source_configuration("ACME", {f"ACME_{name}": value for name, value in variables.items()})
    auth_plugins.TokenSource(grant).token()
    assert server.token_requests[0].headers["authorization"] == "Basic aWQ6czNjcjN0"
