"""Each recipe has a test, names the versions that it ran with, and says what an early revocation does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recipes import RECIPES, check_versions, versions

PAGES = [page for page in sorted(RECIPES.glob("*.rst")) if page.stem != "index"]
TESTS = {path.name: path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_whole(page: Path) -> None:
    """A page names versions and the early revocation; a test of its name runs it, or one that names it."""
    assert all(version.split(".")[1] for _, version in versions(page))
    assert "early revocation" in page.read_text("utf-8")
    assert f"test_{page.stem}.py" in TESTS or any(f'"{page.stem}"' in text for text in TESTS.values())


@pytest.mark.parametrize(("installed", "is_right"), [("8.3.0", True), ("8.3.99", True), ("8.4.0", False)])
def test_another_version_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str, is_right: bool
) -> None:
    """Major and minor version are compared with those that are installed."""
    monkeypatch.setattr("importlib.metadata.version", lambda _: installed)
    page = tmp_path / "page.rst"
    page.write_text("Ran with: tool 8.3.1.\n", "utf-8")
    if is_right:
        check_versions(page)
    else:
        with pytest.raises(AssertionError, match=r"ran with tool 8\.4\.0"):
            check_versions(page)
