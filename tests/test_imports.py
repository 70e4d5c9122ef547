"""What an import loads, which file may import which, and what runs: seen in fresh interpreters."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

import auth_plugins

PACKAGE = Path(auth_plugins.__file__).parent
HEAVY = (
    "requests",
    "httpx",
    "httpx2",
    "authlib",
    "click",
    "rich",
    "asyncio",
    "trio",
    "cryptography",
    "redis",
    "filelock",
    "platformdirs",
)


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("auth_plugins", set()),
        ("auth_plugins.providers", set()),
        ("auth_plugins.requests", {"requests"}),
        ("auth_plugins.httpx", {"httpx"}),
        ("auth_plugins.httpx2", {"httpx2"}),
    ],
)
def test_an_import_loads_no_more_than_its_library(module: str, loaded: set[str]) -> None:
    """I import the adapter that I need, and no other library comes with it; Authlib waits for the first token."""
    code = f"import sys, {module}; print(*({HEAVY!r} and [name for name in {HEAVY!r} if name in sys.modules]))"
    # What the library itself loads is its own matter.
    own = run(code.replace(module, next(iter(loaded)))) if loaded else ""
    assert set(run(code).split()) == loaded | set(own.split())


def test_a_name_loads_its_file() -> None:
    """I import the package, which loads nothing; a name that I use loads what it needs; I see all names."""
    loaded = "print(*sorted(name for name in sys.modules if name.startswith('auth_plugins.')))"
    assert run(f"import sys, auth_plugins; {loaded}") == ""
    assert "auth_plugins._caches.redis" not in run(f"import sys; from auth_plugins import ClientCredentials; {loaded}")
    names = run("import auth_plugins; print(*dir(auth_plugins))").split()
    assert set(auth_plugins.__all__) <= set(names)
    assert run("from auth_plugins import *; print(ClientCredentials.__name__, FileCache.__name__)")


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_missing_library_is_named_with_its_extra(library: str) -> None:
    """I import an adapter without its library, and am told what to install."""
    code = f"""
import sys
sys.modules[{library!r}] = None
try:
    import auth_plugins.{library}
except ImportError as error:
    print(error)
"""
    assert run(code) == f"auth_plugins.{library} needs {library}: pip install 'auth-plugins[{library}]'"


def test_the_installed_package_is_what_is_tested() -> None:
    """Under tox the tests import the wheel, and not the folder beside them."""
    installed = os.environ.get("TESTS_OF_INSTALLED_PACKAGE") == "1"
    checkout = Path(__file__).parents[1]
    assert installed == (checkout / "auth_plugins" != PACKAGE)
    assert (PACKAGE / "py.typed").exists()


def test_all_names_are_exported_and_sorted() -> None:
    """The public names are these, and no other."""
    assert auth_plugins.__all__ == sorted(auth_plugins.__all__, key=str)
    assert set(auth_plugins.__all__) == {
        "ApiKey",
        "AuthError",
        "ClientCredentials",
        "ConfigurationError",
        "FileCache",
        "Grant",
        "InsecureTransportError",
        "MemoryCache",
        "Password",
        "RedisCache",
        "RefreshToken",
        "SecretFile",
        "Token",
        "TokenCache",
        "TokenRequestError",
        "TokenSource",
        "TokenTransportError",
        "from_env",
    }


def test_the_version_is_that_of_the_distribution() -> None:
    """I ask for the version, and for a name that isn't there."""
    if os.environ.get("TESTS_OF_INSTALLED_PACKAGE") == "1":
        assert auth_plugins.__version__ == importlib.metadata.version("auth-plugins")
    else:
        with pytest.raises(importlib.metadata.PackageNotFoundError):
            _ = auth_plugins.__version__
    with pytest.raises(AttributeError, match="FileCach"):
        _ = auth_plugins.FileCach


#: From the edge to the ground; a file imports only from rows below its own.
LAYERS = [
    {"__main__"},
    {"_demo", "_check"},
    {"requests", "httpx", "httpx2"},
    {"_httpx"},
    {"_adapter"},
    {"_redirects"},
    {"_source"},
    {"_rotation"},
    {"_shared"},
    {"_seeding"},
    {"_transport", "_async", "_cache", "_answer"},
    {"_transport_requests", "_transport_httpx", "_transport_body", "_refusal"},
    {"_deadline", "_forks", "_lent"},
    {"_probe", "_expiry"},
    {"_advice", "_slips"},
    {"_env"},
    {"_variables"},
    {"_cache_file", "_cache_redis"},
    {"_seal", "_directory"},
    {"providers"},
    {"_grants"},
    {"_revocation", "_report"},
    {"_grant", "_flight"},
    {"_authlib", "_reasons", "_hints"},
    {"_checks", "_hosts", "_message", "_token"},
    {"_frames", "_loading"},
    {"_errors", "_hidden", "_clock"},
]
FREE = {"__init__", "sandbox"}


def imports_of(path: Path) -> set[str]:
    """The modules of the package that a file imports, those within functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("auth_plugins")):
            module = (node.module or "").removeprefix("auth_plugins").lstrip(".")
            found |= {module} if module else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("auth_plugins")}
    return found


def test_arrows_run_downward_only() -> None:
    """Whoever reads a file needs to know only what lies below it."""
    depth = {name: row for row, names in enumerate(LAYERS) for name in names}
    files = {path.stem: path for path in PACKAGE.glob("*.py")}
    assert set(files) == set(depth) | FREE
    for name, path in files.items():
        if name not in FREE:
            upward = {other for other in imports_of(path) - FREE if depth.get(other, -1) <= depth[name]}
            assert not upward, f"{name} imports {upward}"
    assert imports_of(files["sandbox"]) == set(), "the sandbox stands alone, or it would prove nothing"


def test_authlib_is_imported_by_one_file() -> None:
    """Authlib can be replaced, or repaired, in one place."""
    users = {path.stem for path in PACKAGE.glob("*.py") if "authlib" in roots_of(path.read_text("utf-8"))}
    assert users == {"_authlib"}


@pytest.mark.parametrize(
    "line",
    [
        "import authlib",
        "import authlib.oauth2.client as client",
        "from authlib import oauth2",
        "def f():\n    from authlib.oauth2.rfc6749 import util",
        "importlib.import_module('authlib.oauth2')",
        "__import__('authlib')",
    ],
)
def test_an_import_is_found_however_it_is_spelt(line: str) -> None:
    """The test above finds each spelling of an import, those within functions and by name included."""
    assert roots_of(line) == {"authlib"}
    assert roots_of(line.replace("authlib", "_authlib")) == {"_authlib"}


def roots_of(code: str) -> set[str]:
    """The packages that *code* imports, by a statement or by name; its own as ``""``."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("" if node.level else node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant)}
    return {name.partition(".")[0] for name in found}


def test_the_adapters_know_no_grant_by_name() -> None:
    """A new grant needs no change in an adapter."""
    grants = {"ClientCredentials", "Password", "RefreshToken", "ApiKey"}
    for name in ("requests", "httpx", "httpx2", "_httpx", "_adapter", "_source"):
        tree = ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))
        named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not named & grants, name
