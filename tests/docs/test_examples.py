"""Every example of the documentation runs: README.rst, the pages of docs/, and the files of examples/."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from werkzeug.wrappers import Response

from auth_plugins import MemoryCache, TokenRequestError, TokenSource
from tests.docs.pages import EXAMPLES, PAGES, ROOT, World, blocks
from tests.support.loopback import Received, as_json
from tests.support.stores import forget

#: Libraries that some examples need. tox installs them where they and the lowest versions do not contradict each other.
OPTIONAL = ("fastapi", "httpx_auth", "requests_auth", "requests_oauthlib")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def skip_without(text: str) -> None:
    """Skip what imports a library that is not installed."""
    for name in OPTIONAL:
        if re.search(rf"^\s*(import|from) {name}\b", text, re.MULTILINE) and importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")


@pytest.mark.filterwarnings("ignore:authlib.jose module is deprecated")  # by older releases of Authlib, of themselves
# tests/recipes runs the pages of docs/recipes.
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page) and page.parent.name != "recipes"], ids=name_of
)
def test_the_examples_of_a_page_run(page: Path, world: World) -> None:
    """The examples of a page run in order, as one program, and print what the page shows."""
    skip_without(page.read_text("utf-8"))
    world.run_page(page)


@pytest.mark.filterwarnings("ignore:authlib.jose module is deprecated")  # by older releases of Authlib, of themselves
@pytest.mark.parametrize("name", ["authlib", "hand-written", "httpx-auth", "requests-auth", "requests-oauthlib"])
def test_a_secret_with_special_characters_works_before_and_after(name: str, world: World) -> None:
    """A program that sends Basic without URL-encoding works after the migration: the server takes no other Basic.

    Each block of the page can be copied alone.
    """
    text = (ROOT / "docs" / "migrating" / f"{name}.rst").read_text("utf-8")
    skip_without(text)
    usual, special, sent = "ORDERS_SECRET=s3cr3t-of-orders", "7rg6Gt+hUiob=", []
    assert usual in text
    Path("page.rst").write_text(text.replace(usual, f"ORDERS_SECRET='{special}'"), "utf-8")

    def issue_to_raw(received: Received) -> Response:
        basic = received.headers.get("authorization", "").removeprefix("Basic ")
        sent.append(base64.b64decode(basic).decode().partition(":")[2])
        return world.server.issue(received) if sent[-1] in ("", special) else as_json({"error": "invalid_client"}, 401)

    world.server.token_play = issue_to_raw
    world.run_page(Path("page.rst"), alone=True)
    assert sent.count(special) >= 2


def test_each_example_is_on_a_page() -> None:
    """Each file of examples/ is in a page, which runs it, or is named by one."""
    texts = [page.read_text("utf-8") for page in PAGES]
    assert [path.name for path in EXAMPLES if not any(f"examples/{path.name}" in text for text in texts)] == []


def test_the_cache_of_the_example_shares_a_token(world: World) -> None:
    """A second process finds the token in the SQLite cache, and none after a revocation."""
    world.run_page(ROOT / "docs" / "guides" / "processes.rst", only="sqlite_cache.py")
    example, requests_sent = world.examples["sqlite_cache.py"], len(world.server.token_requests)
    token = example["source"].token()
    forget()  # as another process
    other = TokenSource(example["grant"], cache=example["SqliteCache"]("tokens.db"))
    assert other.token() == token
    assert len(world.server.token_requests) == requests_sent
    other.revoke()
    assert other.token() != token


@pytest.mark.parametrize("answer", [[], {}, {"session": None}, {"session": {"token": 5, "seconds": 60}}, "<p>"])
def test_the_login_of_the_example_names_an_answer_of_another_shape(answer: object, world: World) -> None:
    """An answer without a session is an error of this package, which holds nothing of the answer."""
    world.run_page(ROOT / "docs" / "guides" / "custom-grant.rst", only="custom_grant.py")
    example = world.examples["custom_grant.py"]
    world.server.api = lambda _: Response(answer) if isinstance(answer, str) else as_json(answer)
    login = example["ShopLogin"](f"{world.server.url}/login", "another", "secret")
    with pytest.raises(TokenRequestError, match="answered no session") as raised:
        TokenSource(login, cache=MemoryCache()).token()
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_the_comparison_is_true() -> None:
    """One token request for 50 threads, and 200 after a revocation; with other libraries many, and 401."""
    example = ROOT / "examples" / "compare.py"
    skip_without(example.read_text("utf-8"))
    command = [sys.executable, str(example), "0.02"]  # seconds; some threads come late on a busy machine
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, env={**os.environ})
    _, ours, *others = [line.split() for line in result.stdout.splitlines()]
    assert ours == ["auth_plugins", "1", "200"]
    assert len(others) == 4
    assert [(int(count) > 1, status) for _, count, status in others] == [(True, "401")] * 4
