"""The recipe for mocks: the tests of the page run in a project of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.plugin import run_pytest
from tests.support.recipes import Recipe

for _name in ("responses", "respx", "pytest_httpx"):
    pytest.importorskip(_name, reason=f"the recipe needs {_name}")


@pytest.mark.unmeasured
def test_the_tests_of_the_page_pass(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mock answers the API, and pytest-httpx the token endpoint; nothing reaches the network."""
    monkeypatch.setenv("ACME_TOKEN_URL", "https://id.example.com/token")
    monkeypatch.delenv("ACME_CACHE")
    recipe.replaced.clear()
    for number in range(3):
        recipe.write(number)
    assert "3 passed" in run_pytest(Path.cwd())
