"""The recipe for AWS Lambda: a process is stopped and continued by signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.loopback import Received
from tests.support.posix import needs_posix
from tests.support.recipes import Recipe, program

pytestmark = needs_posix
#: Calls the handler for each line, as the runtime does, and says what it returned.
RUNTIME = """
import sys
from handler import handler
for line in sys.stdin:
    try:
        print(handler({}, None), flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""


class Function:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self) -> None:
        """Begin a call."""
        assert self._process.stdin is not None
        self._process.stdin.write("call\n")
        self._process.stdin.flush()

    def end(self) -> str:
        """Return what a call returned."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def call(self) -> str:
        self.start()
        return self.end()

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)


@pytest.fixture
def function(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    """The handler of the page, in a process; connections that idle for a moment are closed by the server."""
    monkeypatch.setattr("tests.support.loopback._QuietHandler.timeout", 0.3, raising=False)
    recipe.write()
    with program("-c", RUNTIME) as process:
        function = Function(process)
        yield function
        function.thaw()


ANSWER = "{'received': ''}"


def test_a_token_expires_while_frozen(recipe: Recipe, function: Function) -> None:
    """After the thaw, expired token and closed connection cost one token request and no error."""
    recipe.server.lifetime = 1
    assert function.call() == ANSWER
    function.freeze()
    time.sleep(1.1)  # the lifetime; the connection is closed before
    recipe.server.revoke()
    recipe.server.lifetime = 3600
    function.thaw()
    assert [function.call(), function.call()] == [ANSWER] * 2
    assert recipe.tokens() == 2


def test_a_token_is_revoked_while_frozen(recipe: Recipe, function: Function) -> None:
    """After the thaw, a revoked token costs one token request."""
    assert function.call() == ANSWER
    function.freeze()
    recipe.server.revoke()
    function.thaw()
    assert [function.call(), function.call()] == [ANSWER] * 2
    assert recipe.tokens() == 2


@pytest.mark.parametrize("answers", [True, False])
def test_a_freeze_within_a_token_request(recipe: Recipe, function: Function, answers: bool) -> None:
    """An answer that arrived while frozen is used; a connection that died meanwhile is retried."""
    issue, frozen = recipe.server.issue, list[Received]()

    def freeze(received: Received) -> Any:
        if not frozen:
            function.freeze()
            frozen.append(received)
            if not answers:
                return Hangup()
        return issue(received)

    recipe.server.token_play = freeze
    function.start()
    while not frozen:
        time.sleep(0.01)
    time.sleep(0.5)
    function.thaw()
    assert function.end() == ANSWER
    assert recipe.tokens() == (1 if answers else 2)


class Hangup:
    """In place of a response: closes the connection."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return []
