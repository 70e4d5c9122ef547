"""What the tests of recipes share: the page of each, with its servers and variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.loopback import Loopback
from tests.support.recipes import Recipe


@pytest.fixture
def recipe(request: pytest.FixtureRequest, server: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recipe:
    """The page that the fixture ``page`` names, or that of the module: ``test_mail.py`` tests ``mail.rst``."""
    monkeypatch.chdir(tmp_path)
    values = {"TOKEN_URL": server.token_url, "CLIENT_ID": "orders", "CLIENT_SECRET": "s3cr3t-of-orders"}
    for name, value in {**values, "CACHE": f"file:{tmp_path / 'tokens'}"}.items():
        monkeypatch.setenv(f"ACME_{name}", value)
    named = "page" in request.fixturenames
    return Recipe(request.getfixturevalue("page") if named else request.path.stem.removeprefix("test_"), server)
