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
    "dataclasses",
    "inspect",
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


def test_the_error_for_an_adapter_in_the_wrong_place_names_the_right_ones() -> None:
    """The error for ``from auth_plugins import OAuth2Auth`` names the three modules that have one."""
    with pytest.raises(ImportError, match=r"auth_plugins\.requests, auth_plugins\.httpx or auth_plugins\.httpx2"):
        from auth_plugins import OAuth2Auth  # noqa: F401


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


def test_authlib_is_imported_by_one_file() -> None:
    """Authlib can be replaced, or repaired, in one place."""
    users = [path for path in PACKAGE.rglob("*.py") if "authlib" in roots_of(path.read_text("utf-8"))]
    assert [path.relative_to(PACKAGE).as_posix() for path in users] == ["_protocol/authlib_client.py"]


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
    shared = [path for folder in ("_adapters", "_source") for path in (PACKAGE / folder).glob("*.py")]
    for path in (*shared, *(PACKAGE / f"{name}.py" for name in ("requests", "httpx", "httpx2"))):
        named = {node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)}
        assert not named & grants, path
