"""Chromium without a window, driven by its own protocol over two pipes: it needs no driver, and opens no port."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

#: Debian's, and what others call it; ``None``: there is none.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_ARGUMENTS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--no-proxy-server", "--disable-background-networking", "--disable-component-update",
    "about:blank",
)  # fmt: skip
#: Starts Chromium, which expects the pipes at 3 and 4.
_START = """
import os, sys
its_in, its_out = (os.dup(os.dup(os.dup(int(each)))) for each in sys.argv[1:3])
os.dup2(its_in, 3), os.dup2(its_out, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
#: Seconds.
_LONGEST = 30.0


class Browser:
    """One tab of Chromium, while its context is open."""

    def __init__(self, directory: Path) -> None:
        (its_in, self._out), (self._in, its_out) = os.pipe(), os.pipe()
        words = [str(its_in), str(its_out), str(CHROMIUM), f"--user-data-dir={directory}", *_ARGUMENTS]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *words],
            pass_fds=(its_in, its_out),
            env={**os.environ, "HOME": str(directory)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (its_in, its_out):
            os.close(descriptor)
        os.set_blocking(self._in, False)
        self._number, self._buffer = 0, b""
        self._session: dict[str, str] = {}
        #: What the browser has to say about the pages: refused resources, for example.
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            self._session = {}
            self.call("Browser.close")
        self._process.kill()
        self._process.wait()
        for descriptor in (self._in, self._out):
            os.close(descriptor)

    def call(self, method: str, **parameters: Any) -> Any:
        """Have the browser do something, and return its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _LONGEST
        while True:
            answer = self._read(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") == "Log.entryAdded":
                self.complaints.append(answer["params"]["entry"]["text"])

    def _read(self, until: float) -> Any:
        while b"\0" not in self._buffer:
            try:
                self._buffer += os.read(self._in, 1 << 16)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError("the browser does not answer") from None
                time.sleep(0.01)
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def run(self, script: str) -> Any:
        """Return what *script* evaluates to in the page."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until *script* is true in the page."""
        until = time.monotonic() + _LONGEST
        while not self.run(script):
            assert time.monotonic() < until, (script, self.run("document.documentElement.outerHTML"))
            time.sleep(0.02)

    def keep_screenshots(self, title: str) -> None:
        """Write the page, light, dark and on a phone, to the folder of the variable ``SCREENSHOTS``, if it is set."""
        folder = os.environ.get("SCREENSHOTS")
        for name, scheme, width in (("light", "light", 1000), ("dark", "dark", 1000), ("phone", "light", 320)):
            if folder:
                self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                screen = {"width": width, "height": 480, "deviceScaleFactor": 1, "mobile": width < 600}
                self.call("Emulation.setDeviceMetricsOverride", **screen)
                image = base64.b64decode(self.call("Page.captureScreenshot")["data"])
                Path(folder, f"{title} {name}.png").write_bytes(image)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
