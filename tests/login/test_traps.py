"""What could go wrong around a login: forks, assertions that are renewed, pages that are loaded twice."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from auth_plugins import AuthorizationCode, ClientAssertion, DeviceCode, FileCache, MemoryCache, TokenSource
from auth_plugins._base.runtime import runtime
from tests.support.loopback import Loopback
from tests.support.sign_in import SignIn, parameters, visit
from tests.support.sources import wait_for
from tests.support.stores import forget


@pytest.fixture
def login(server: Loopback) -> SignIn:
    return SignIn(server)


def port_of(url: str) -> int:
    return int(parameters(url)["redirect_uri"].split(":")[2].partition("/")[0])


def is_open(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("of_device", [False, True])
def test_an_assertion_that_is_renewed_finds_the_login(login: SignIn, tmp_path: Path, of_device: bool) -> None:
    """It tells no people apart: a later process has another one, and uses the login all the same."""
    numbers = itertools.count()

    def grant(prompt: Any) -> AuthorizationCode | DeviceCode:
        options = {"client_auth": ClientAssertion(lambda: f"a.b.{next(numbers)}"), "prompt": prompt}
        return login.of_device(**options) if of_device else login.code(**options)

    assert TokenSource(grant(visit), cache=FileCache(tmp_path)).token().access_token == "token-1"
    forget()
    assert TokenSource(grant(None), cache=FileCache(tmp_path)).token().access_token == "token-1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_keeps_no_port_open(login: SignIn) -> None:
    """A child that was forked during a login has a copy of the socket: it listens no longer either."""
    urls: list[str] = []
    source = TokenSource(login.code(prompt=urls.append), cache=MemoryCache())
    thread = threading.Thread(target=source.token)
    thread.start()
    assert wait_for(lambda: len(urls) == 1)
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        visit(urls[0])
        thread.join(20)
        assert not is_open(port_of(urls[0]))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_ctrl_c_while_the_page_begins(login: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens any more."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = runtime.start_thread

    def interrupt(function: Any, name: str) -> None:
        start(function, name)
        if name == "auth-plugins sign-in page":
            raise KeyboardInterrupt

    monkeypatch.setattr(runtime, "start_thread", interrupt)
    with pytest.raises(KeyboardInterrupt):
        TokenSource(login.code(redirect_uri=f"http://127.0.0.1:{port}/callback"), cache=MemoryCache()).token()
    assert not is_open(port)
