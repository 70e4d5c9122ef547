"""The limits that keep the package readable, and what tests may not touch. ``lint-imports`` keeps the layers."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Lines.
LONGEST_CLASS, LONGEST_FUNCTION, LONGEST_MODULE, LARGEST_PACKAGE = 200, 45, 300, 23_000
MODULES_IN_A_FOLDER = 13
SUPPRESSIONS_PER_1000_LINES = 8
TEST_LINES_PER_PACKAGE_LINE = 2.0

MODULES = sorted((ROOT / "auth_plugins").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def lines_of(paths: list[Path]) -> int:
    return sum(len(path.read_text("utf-8").splitlines()) for path in paths)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_short(path: Path) -> None:
    """No class, function or module is longer than its limit, and no function returns ``bool | None``."""
    code = path.read_text("utf-8")
    found = [f"module: {len(code.splitlines())} lines"] * (len(code.splitlines()) > LONGEST_MODULE)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            limit = LONGEST_CLASS if isinstance(node, ast.ClassDef) else LONGEST_FUNCTION
            length = (node.end_lineno or 0) - node.lineno + 1
            found += [f"{node.name}: {length} lines"] * (length > limit)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            found += [f"{node.name} returns bool | None"] * ("bool | None" in ast.unparse(node.returns))
    assert found == []


def test_a_folder_has_few_modules() -> None:
    """A folder of the package has at most 13 modules."""
    folders = Counter(name_of(path.parent) for path in MODULES if path.stem != "__init__")
    assert {folder: count for folder, count in folders.items() if count > MODULES_IN_A_FOLDER} == {}


def test_few_lines_switch_a_check_off() -> None:
    """At most 8 of 1,000 lines have a ``noqa`` or a ``type: ignore``."""
    suppressions = sum(len(re.findall(r"# (?:noqa|type: ignore)", path.read_text("utf-8"))) for path in MODULES)
    assert suppressions <= SUPPRESSIONS_PER_1000_LINES * lines_of(MODULES) / 1000


def test_package_and_tests_are_small() -> None:
    """The package and its tests do not grow."""
    assert lines_of(MODULES) <= LARGEST_PACKAGE
    assert lines_of(TESTS) <= TEST_LINES_PER_PACKAGE_LINE * lines_of(MODULES)


#: The private attributes of the package's classes; those of other libraries may be set.
PRIVATE = {name for path in MODULES for name in re.findall(r"\b(?:self|cls)\.(_[a-z]\w*)", path.read_text("utf-8"))}


def private_imports(tree: ast.Module) -> set[str]:
    """The names that are imported from private modules of the package, except ``runtime``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [(f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, alias.asname) for alias in node.names if alias.asname]
        else:
            continue
        found |= {bound for full, bound in names if full.startswith("auth_plugins.") and "._" in full}
    return found - {"runtime"}


def intrusions(code: str) -> Iterator[str]:
    """Each place where *code* sets a private attribute, or patches a private module of the package."""
    tree = ast.parse(code)
    private = private_imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            target, name = ast.unparse(node.value), node.attr
        elif isinstance(node, ast.Call) and re.search(r"(setattr|delattr|patch|\.object)$", ast.unparse(node.func)):
            target, name = [*(ast.unparse(each).strip("'") for each in node.args), "", ""][:2]
        else:
            continue
        is_ours = target.partition(".")[0] in private or target.startswith("auth_plugins._")
        if is_ours or (name in PRIVATE and target not in ("self", "cls")):
            yield f"line {node.lineno}: {target} {name}"


@pytest.mark.parametrize("path", [path for path in TESTS if path.name != "conftest.py"], ids=name_of)
def test_tests_set_nothing_private(path: Path) -> None:
    """Tests reach the package by its public interface and by ``runtime``: they set and patch nothing private.

    ``conftest.py`` does: it looks for secrets in the whole suite, and empties the process's memory before each test.
    """
    assert list(intrusions(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("source._state = None", 1),
        ("del source._state", 1),
        ("from auth_plugins._caches import memory as m\nm.shared = None", 1),
        ("from auth_plugins._caches.memory import Cache\nmonkeypatch.delattr(Cache, 'get')", 1),
        ("monkeypatch.setattr(source, '_state', None)", 1),
        ("monkeypatch.setattr(auth_plugins._cli.main, 'time', None)", 1),
        ("mock.patch('auth_plugins._cli.main.time')", 1),
        ("from auth_plugins._base.runtime import runtime\nruntime.clock = clock\nsetattr(runtime, 'elapsed', f)", 0),
        ("response._content = b''", 0),
        ("monkeypatch.setattr(socket, 'socket', None)\nself._own = 1\nsource._state\nsource.__class__ = C", 0),
    ],
)
def test_each_way_to_set_something_private_is_found(line: str, count: int) -> None:
    """The test above finds every kind of assignment and patch, and none where there is none."""
    assert len(list(intrusions(line))) == count
