"""The recipes for hishel and requests-cache: neither tokens nor token requests are stored; identities stay apart."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.loopback import Received, as_json
from tests.support.recipes import Recipe

#: The packages of the pages, and the function of each that makes what sends.
CACHES = {"hishel": ("hishel", "client"), "requests-cache": ("requests_cache", "session")}


@pytest.fixture(params=CACHES)
def page(request: pytest.FixtureRequest) -> str:
    package, _ = CACHES[request.param]
    pytest.importorskip(package, reason=f"the recipe needs {package}")
    return str(request.param)


@pytest.fixture
def get(page: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Send a request for a prefix, by what the page makes; return the client that the API's answer is for.

    The API says that its answers may be stored.
    """
    server, owners = recipe.server, dict[str, str]()
    for variable in ("TOKEN_URL", "CLIENT_SECRET"):
        monkeypatch.setenv(f"OTHER_{variable}", os.environ[f"ACME_{variable}"])
    monkeypatch.setenv("OTHER_CLIENT_ID", "other")

    def issue(received: Received) -> Any:
        response = server.issue(received)
        basic = base64.b64decode(received.headers["authorization"].removeprefix("Basic ")).decode()
        owners[f"Bearer {response.get_json()['access_token']}"] = basic.partition(":")[0]
        response.headers["Cache-Control"] = "max-age=600"  # not what RFC 6749 demands
        return response

    def answer(received: Received) -> Any:
        if server.check(received).status_code == 401:
            return as_json({}, 401)
        return as_json({"for": owners[received.headers["authorization"]]}, Cache_Control="max-age=600")

    server.token_play, server.api = issue, answer
    make = recipe.run()[CACHES[page][1]]

    def get(prefix: str, path: str = "/orders") -> str:
        with make(prefix) as client:
            return str(client.get(f"{server.url}{path}", timeout=30).json().get("for"))

    server.api_requests.clear()
    return get


def stored() -> bytes:
    """What is in the files of the caches of answers: all but our own cache."""
    files = [path for path in Path.cwd().rglob("*") if path.is_file() and "tokens" not in path.parts]
    return b"".join(path.read_bytes() for path in files)


def test_identities_stay_apart(get: Callable[..., str], recipe: Recipe) -> None:
    """Each identity gets its own answer, also if the other one's is stored; its own is served from the cache."""
    assert [get(prefix) for prefix in ("ACME", "OTHER", "ACME", "OTHER")] == ["orders", "other"] * 2
    assert len(recipe.server.api_requests) == 1  # of the other one: that of the first is stored by the page's program
    assert recipe.tokens() == 2


def test_no_token_is_stored(get: Callable[..., str], recipe: Recipe) -> None:
    """After a revocation too, no file has a token or a secret; a stored answer outlives the revocation."""
    recipe.server.revoke()
    assert [get("ACME"), get("ACME", "/others"), get("ACME", "/more")] == ["orders"] * 3
    assert recipe.tokens() == 2
    assert b'"for": "orders"' in stored()
    words = (b"token-1", b"token-2", b"s3cr3t-of-orders", base64.b64encode(b"orders:s3cr3t-of-orders"))
    assert not [word for word in words if word in stored()]
