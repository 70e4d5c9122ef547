"""Runs the programs of a page of ``docs/recipes``, and checks with which versions the page says that they ran."""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auth_plugins import TokenSource
from tests.docs.pages import ROOT, blocks
from tests.support.loopback import Loopback
from tests.support.plugin import PLUGIN

RECIPES = ROOT / "docs" / "recipes"


def versions(page: Path) -> Iterator[tuple[str, str]]:
    """The packages and versions of the line ``Ran with: NAME x.y.z, NAME x.y.z.``."""
    [line] = re.findall(r"^Ran with: (.+?)\.$", page.read_text("utf-8"), re.MULTILINE)
    for each in line.split(", "):
        name, version = each.split(" ")
        yield name, version


def check_versions(page: Path) -> None:
    """Check major and minor of the versions of a page against what is installed."""
    for name, version in versions(page):
        # The library of Python has the same interface in all versions that the suite runs on.
        installed = version if name == "Python" else importlib.metadata.version(name)
        assert installed.split(".")[:2] == version.split(".")[:2], f"{page.name}: ran with {name} {installed}"


class Recipe:
    """A page whose servers are *server*, and whose directory is the current one.

    The variables of the prefix ``ACME`` lead to *server*, and to a cache that all processes share.
    """

    def __init__(self, name: str, server: Loopback) -> None:
        self._page, self.server = RECIPES / f"{name}.rst", server
        if "RECIPES" in os.environ:  # set by tox -e recipes: elsewhere, a new release of a tool is no fault
            check_versions(self._page)
        host = server.url.removeprefix("http://")
        #: What is replaced in the programs of the page, in order.
        self.replaced = {"https://orders.example.com": server.url, "orders.example.com": host}

    def __getitem__(self, number: int) -> str:
        """A ``python`` block of the page, with the addresses of servers that run."""
        text = [block.text for block in blocks(self._page) if block.language == "python"][number]
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def run(self, number: int = 0, **names: Any) -> dict[str, Any]:
        """Run a block, which sees *names*, and return all names that it then has."""
        names["__name__"] = "__main__"
        exec(compile(self[number], f"{self._page.name}:{number}", "exec"), names)
        return names

    def write(self, number: int = 0) -> Path:
        """Write a block into the file that its first line names."""
        text = self[number]
        path = Path(text.splitlines()[0].removeprefix("# "))
        path.write_text(text, "utf-8")
        return path

    def tokens(self) -> int:
        """How many token requests there were."""
        return len(self.server.token_requests)

    def source(self) -> TokenSource:
        """A source of the variables, whose token API requests share."""
        return TokenSource.from_env("ACME")


def environment() -> Mapping[str, str]:
    """The variables of child processes: they find the checkout where the package is not installed, and no tests."""
    path = {"PYTHONPATH": f"{ROOT}{os.pathsep}."} if PLUGIN else {"PYTHONPATH": "."}
    return {**os.environ, **path, "PYTHONSAFEPATH": "", "PYTHONWARNINGS": ""}


@contextmanager
def program(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python module or file in a process, whose pipes are open, and end it at the end."""
    process = subprocess.Popen(
        [sys.executable, *words], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until a program listens."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "the service did not start"
            assert process.poll() is None, "the service has ended"
            time.sleep(0.05)
        else:
            return
