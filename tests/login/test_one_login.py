"""A person signs in once, and all tools of that person use the login, renew it, and lose it at the end."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from auth_plugins import FileCache
from auth_plugins.sandbox import Sandbox, SignInApi
from tests.support.browser import CHROMIUM, Browser

#: In each process, time goes by the variable LATER.
CLOCK = """
import os, time
now = time.time
time.time = lambda: now() + float(os.environ.get("LATER", 0))
"""
PROCESS = """
import sys, requests
from auth_plugins.requests import OAuth2Auth
print(requests.get(sys.argv[1], auth=OAuth2Auth.from_env("ACME")).json()["subject"])
"""
CELL = """
import httpx
from auth_plugins.httpx import OAuth2Auth
client = httpx.AsyncClient(auth=OAuth2Auth.from_env("ACME"))
print((await client.get("{url}")).json()["subject"])
await client.aclose()
"""
NOTEBOOK = """
import sys, nbclient, nbformat
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(sys.argv[1])])
nbclient.NotebookClient(notebook, kernel_name="python3").execute()
print("".join(output["text"] for output in notebook.cells[0].outputs))
"""


class Tools:
    """Starts the programs of one person, who has variables and a cache."""

    def __init__(self, system: SignInApi, directory: Path) -> None:
        (directory / "sitecustomize.py").write_text(CLOCK)
        proxies = ("display", "browser", "_proxy")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith(proxies)},
            **system.variables("ACME"),
            "ACME_CACHE": f"file:{directory}/tokens",
            "PYTHONPATH": str(directory),
            "HTTPIE_CONFIG_DIR": str(directory / "httpie"),
        }
        self.url = system.api_url

    def start(self, *words: str, stdin: str = "") -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
        return process

    def command(self, *words: str) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-m", "auth_plugins", *words)

    def notebook(self) -> subprocess.Popen[str]:
        """A cell of a notebook, or, without Jupyter, of the REPL that has a running loop as a notebook has."""
        cell = CELL.format(url=self.url)
        if importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel"):
            return self.start(sys.executable, "-c", NOTEBOOK, cell)
        return self.start(sys.executable, "-m", "asyncio", stdin=cell)

    def all(self) -> list[subprocess.Popen[str]]:
        """Each program that uses the login, at once."""
        http = str(Path(sys.executable).with_name("http"))
        return [
            self.command("get", self.url, "ACME"),
            self.start(http, "--ignore-stdin", "--check-status", "--auth-type=oauth2", "--auth=ACME", self.url),
            self.notebook(),
            *(self.start(sys.executable, "-c", PROCESS, self.url) for _ in range(4)),
        ]


@pytest.fixture
def later() -> list[float]:
    """The seconds by which the server's time is ahead."""
    return [0.0]


@pytest.fixture
def system(later: list[float]) -> Iterator[SignInApi]:
    import time

    with Sandbox(clock=lambda: time.time() + later[0]) as sandbox:
        yield sandbox["sign-in-api"]


@pytest.fixture(params=["http", "chromium"])
def person(request: pytest.FixtureRequest, system: SignInApi, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Signs in at a URL: by HTTP, or with a real browser."""
    if request.param == "http":
        yield system.person
    elif CHROMIUM is None or "WITH_BROWSER" not in os.environ:
        pytest.skip("tox -e browser runs it, where there is Chromium: apt-get install chromium")
    else:
        with Browser(tmp_path / "chromium") as browser:
            yield lambda url: sign_in(browser, url)


def sign_in(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.wait_for("!!document.querySelector('button[value=allow]')")
    browser.run("document.querySelector('button[value=allow]').click()")
    browser.wait_for("document.title == 'You are signed in'")


@pytest.mark.timeout(300)  # Jupyter alone may take a minute on a busy machine
@pytest.mark.skipif(importlib.util.find_spec("httpie") is None, reason="needs httpie")
def test_one_login_for_all_tools(
    system: SignInApi, person: Callable[[str], Any], later: list[float], tmp_path: Path
) -> None:
    """One token for all; after its end one refresh for all; after the logout none, at the server and in the cache."""
    tools, cache = Tools(system, tmp_path), FileCache(tmp_path / "tokens")
    login = tools.command("login", "ACME")
    assert login.stderr is not None
    person(next(line.strip() for line in login.stderr if "/authorize?" in line))
    said = login.communicate(timeout=60)[0]
    assert re.match("signed in to .*; it is renewed from now on", said)
    for grant_types in (["authorization_code"], ["authorization_code", "refresh_token"]):
        before = len(system.seen)
        for process in tools.all():
            out, err = process.communicate(timeout=90)
            assert system.client_id in out, err
        assert [seen.grant_type for seen in system.token_requests] == grant_types
        calls = [seen for seen in system.seen[before:] if seen.at == "api"]
        assert [seen.status for seen in calls] == [200] * 7
        [token] = {seen.token for seen in calls}
        later[0] += 3600
        tools.environment["LATER"] = str(later[0])
    later[0] = 3600  # when the second token is alive
    tools.environment["LATER"] = "3600"
    headers = {"Authorization": f"Bearer {token}"}
    assert requests.get(system.api_url, headers=headers, timeout=10).status_code == 200
    assert "the token is revoked, and deleted" in tools.command("logout", "ACME").communicate(timeout=60)[0]
    assert requests.get(system.api_url, headers=headers, timeout=10).status_code == 401
    assert cache.names() == []
    get = tools.command("get", system.api_url, "ACME")
    assert "run: auth-plugins login ACME" in get.communicate(timeout=60)[1]
    assert (get.returncode, system.reuses) == (1, 0)
    assert [seen.method for seen in system.visits if seen.target.startswith("/authorize")] == ["GET", "POST"]
