"""The whole login in a real browser: Chromium, without a window."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from auth_plugins import AuthorizationCode, Issuer, LoginRequiredError, MemoryCache, TokenSource
from auth_plugins.sandbox import Sandbox
from tests.servers.authlib_sign_in import AuthlibSignIn
from tests.support.browser import CHROMIUM, Browser
from tests.support.loopback import Loopback
from tests.support.sign_in import SignIn

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def authlib() -> Iterator[AuthlibSignIn]:
    with AuthlibSignIn() as server:
        yield server


def token_in(browser: Browser, grant: Any, click: str = "") -> Any:
    """The token, or the error, of a login that *browser* carries out; the tab is at its last page."""
    outcome: list[Any] = []
    urls: list[str] = []
    opened = threading.Event()

    def prompt(url: str) -> None:
        urls.append(url)
        opened.set()

    def work() -> None:
        try:
            outcome.append(TokenSource(grant.with_prompt(prompt), cache=MemoryCache()).token())
        except LoginRequiredError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert opened.wait(20)
    browser.open(urls[0])
    if click:
        browser.wait_for(f"!!document.querySelector('button[value={click}]')")
        browser.run(f"document.querySelector('button[value={click}]').click()")
    thread.join(30)
    browser.wait_for(
        "location.pathname == '/callback' && !!document.querySelector('main h1') && document.readyState === 'complete'"
    )
    return outcome[0]


def luminance(color: str) -> float:
    """The relative luminance of a CSS color (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def check_page(browser: Browser, title: str) -> None:
    """The page is readable on a phone, light and dark, and by screen readers; it runs and loads nothing."""
    assert browser.run("document.title") == title
    assert browser.run("document.documentElement.lang") == "en"
    assert browser.run("[...document.querySelectorAll('h1')].map(each => each.textContent)") == [title]
    assert browser.run("document.querySelectorAll('main').length") == 1
    assert browser.run("document.scripts.length + document.querySelectorAll('[src]').length") == 0
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    backgrounds = []
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        style = "getComputedStyle(document.body)"
        text, background = (luminance(browser.run(f"{style}.{name}")) for name in ("color", "backgroundColor"))
        assert (max(text, background) + 0.05) / (min(text, background) + 0.05) > 7
        backgrounds.append(background)
    assert backgrounds[0] > backgrounds[1]
    for width in (320, 1280):
        screen = {"width": width, "height": 640, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.call("Emulation.setDeviceMetricsOverride", **screen)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert float(browser.run("getComputedStyle(document.querySelector('p')).fontSize")[:-2]) >= 16
    assert browser.complaints == []
    browser.keep_screenshots(title)


def test_a_login(browser: Browser, server: Loopback) -> None:
    """It works against the server of these tests, and the page says so."""
    assert token_in(browser, SignIn(server).code()).access_token == "token-1"
    check_page(browser, "You are signed in")
    assert "can now use 127.0.0.1" in browser.run("document.body.innerText")


def test_a_login_that_fails(browser: Browser, server: Loopback) -> None:
    """The page shows the server's words as words."""
    login = SignIn(server)
    login.answer = {"error": "access_denied", "error_description": "<script>alert(1)</script> is not ada"}
    assert isinstance(token_in(browser, login.code()), LoginRequiredError)
    check_page(browser, "Sign-in failed")
    assert "<script>alert(1)</script> is not ada" in browser.run("document.body.innerText")


@pytest.mark.parametrize(("click", "title"), [("allow", "You are signed in"), ("deny", "Sign-in failed")])
def test_the_sandbox(browser: Browser, click: str, title: str) -> None:
    """It works against the sandbox, by the buttons of its page."""
    with Sandbox() as sandbox:
        system = sandbox["sign-in-api"]
        outcome = token_in(browser, AuthorizationCode(Issuer(system.url), system.client_id), click)
        assert isinstance(outcome, LoginRequiredError) == (click == "deny")
        check_page(browser, title)
        assert [seen.status for seen in system.visits if "authorize" in seen.target] == [200, 303]


@pytest.mark.parametrize(("click", "title"), [("yes", "You are signed in"), ("no", "Sign-in failed")])
def test_authlib(browser: Browser, authlib: AuthlibSignIn, click: str, title: str) -> None:
    """It works against Authlib's server, by the buttons of its page."""
    grant = AuthorizationCode(Issuer(authlib.url), authlib.client_id, authlib.client_secret)
    outcome = token_in(browser, grant, click)
    assert isinstance(outcome, LoginRequiredError) == (click == "no")
    check_page(browser, title)
