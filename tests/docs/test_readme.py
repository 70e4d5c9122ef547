"""The README is short, and what it and the other documents name exists."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import docutils.core
import docutils.nodes
import pytest

from auth_plugins import TokenSource, from_env, providers
from tests.docs.pages import EXAMPLES, ROOT, World, blocks

README = (ROOT / "README.rst").read_text("utf-8")


@pytest.fixture(scope="module")
def document() -> docutils.nodes.document:
    settings = {"report_level": 2, "halt_level": 2, "syntax_highlight": "none"}
    return docutils.core.publish_doctree(README, settings_overrides=settings)


def test_the_readme_takes_three_minutes(document: docutils.nodes.document) -> None:
    """At most 150 lines and 700 words of prose; the first example begins before line 25."""
    lines = README.splitlines()
    assert len(lines) <= 150
    prose = [node.astext() for node in document.findall(docutils.nodes.paragraph)]
    assert sum(len(text.split()) for text in prose) <= 700
    assert lines.index(".. code-block:: python") < 24


def test_the_three_ways_are_on_the_first_screen() -> None:
    """requests, httpx and variables are on the first screen of a tall window."""
    screen = "\n".join(README.splitlines()[:64])
    for way in ("In requests code", "In httpx clients", "By environment variables", 'from_env("ACME")'):
        assert way in screen


def test_what_the_readme_links_to_exists(document: docutils.nodes.document) -> None:
    """Each link leads to a file or folder of the repository."""
    links = [node["refuri"] for node in document.findall(docutils.nodes.reference)]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_has_the_command_that_tests_everything() -> None:
    """CI runs the command that the README gives for the tests."""
    assert "tox run-parallel" in (ROOT / ".ci" / "run").read_text("utf-8")
    assert "python -m pip install tox && tox run-parallel" in README


def test_the_table_of_systems_is_right(world: World) -> None:
    """In each row, code and variables make the same grant. The variables of the others are those of the sandbox."""
    found = blocks(ROOT / "docs" / "systems.rst")
    code = [block.text for block in found if block.language == "python" and not block.is_run]
    shell = [block.text for block in found if block.language == "sh"]
    assert (len(code), len(shell)) == (5, 9)
    for lines in shell[5:]:
        system = world.sandbox[lines.partition("\n")[0].removeprefix("# ")]
        shown, given = world.variables(lines.partition("\n")[2]), system.variables("ACME")
        assert shown.keys() == given.keys()
        assert [name for name in given if shown[name] != given[name] and not name.endswith("_FILE")] == []
    for expression, lines in zip(code, shell, strict=False):
        grant = eval(world.placed(expression), vars(providers).copy())
        assert grant == from_env("ACME", world.variables(lines))
        assert len(re.findall(r"^\w+\(", expression)) == 1


def test_moving_from_an_api_key_takes_variables_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same function works with the variables of the left column and with those of the right one."""
    before, after = [block for block in blocks(ROOT / "docs/guides/api-key.rst") if block.language == "sh"]
    program = next(path for path in EXAMPLES if path.name == "api_key.py").read_text("utf-8")
    for block, header in ((before, "x-api-key"), (after, "authorization")):
        for name, value in world.variables(block.text).items():
            monkeypatch.setenv(name, value)
        if block is after:
            monkeypatch.delenv("ACME_API_KEY")
        namespace: dict[str, Any] = {}
        exec(program, namespace)
        assert namespace["upload"]([1, 2]).status_code == 200
        assert header in world.sandbox["upload-api"].seen[-1].headers


def test_what_the_pages_say_of_defaults_is_true() -> None:
    """The numbers in the pages are those of the code."""
    defaults = {name: each.default for name, each in inspect.signature(TokenSource).parameters.items()}
    assert (defaults["leeway"], defaults["timeout"], defaults["refresh_ahead"]) == (60.0, 10.0, True)


def test_the_tests_that_security_names_are_there() -> None:
    """Each test that SECURITY.rst names exists."""
    tests = Path(__file__).parents[1]
    named = re.findall(r"``([\w./]+)::(\w+)``", (tests.parent / "SECURITY.rst").read_text("utf-8"))
    assert len(named) > 20
    for file, function in named:
        assert re.search(rf"^def {function}\b|^{function} =", (tests / file).read_text("utf-8"), re.MULTILINE), function


def test_the_paths_that_contributing_names_exist() -> None:
    """Each file and folder that CONTRIBUTING.rst names exists."""
    named = re.findall(r"``((?:\w|\.)+/[\w./]*)``", (ROOT / "CONTRIBUTING.rst").read_text("utf-8"))
    assert len(named) > 20
    for path in named:
        assert (ROOT / path).exists() or (ROOT / "auth_plugins" / path).exists(), path
