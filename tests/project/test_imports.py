"""What an import loads, and which names there are, in new interpreters."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import auth_plugins

PACKAGE = Path(auth_plugins.__file__).parent
HEAVY = """
    dataclasses inspect requests httpx httpx2 authlib joserfc click rich asyncio trio cryptography redis filelock
    platformdirs
"""
#: What the first request, a refusal, an error or an option needs.
LATE = """
    base.hosts base.validation source.current_token source.rejections source.wiring adapters.refusals
    adapters.own_classes adapters.proofs adapters.queries adapters.for_requests.replays adapters.for_httpx.replays
    adapters.for_httpx.headers
"""
NAMES = """
    ApiKey AuthError AuthorizationCode ClientAssertion ClientCredentials ClientSecretJWT ConfigurationError Custom
    DPoPKey DeviceCode FileCache Grant
    InsecureTransportError Issuer JWTBearer KeyringCache LoginRequiredError MemoryCache Password PrivateKeyJWT
    RedisCache RefreshToken SecretFile SignedJWT TLSClientAuth Token TokenCache TokenEvent TokenExchange
    TokenRequestError TokenSource TokenTransportError
    add_observer from_env graphql_unauthenticated remove_observer
"""


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("auth_plugins", set()),
        ("auth_plugins.bridges", set()),
        ("auth_plugins.providers", {"dataclasses"}),  # of which grants are made
        ("auth_plugins.requests", {"requests"}),
        ("auth_plugins.httpx", {"httpx"}),
        ("auth_plugins.httpx2", {"httpx2"}),
    ],
)
def test_an_import_loads_no_more_than_its_library(module: str, loaded: set[str]) -> None:
    """An adapter loads no other library; Authlib is loaded by the first token request."""
    code = f"import sys, {module}; print(*(name for name in {HEAVY!r}.split() if name in sys.modules))"
    # The library itself may load anything, and so may a tool that measures child processes.
    own = run(code.replace(module, next(iter(loaded), "os")))
    assert set(run(code).split()) == loaded | set(own.split())


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_an_adapter_loads_late_what_few_programs_need(library: str) -> None:
    """Another process that unpickles one of our errors or headers, as the library's own, makes its class then."""
    loaded = run(f"import sys, auth_plugins.{library}; print(*sys.modules)").split()
    assert not {f"auth_plugins._{name}" for name in LATE.split()} & set(loaded)
    module: Any = importlib.import_module(f"auth_plugins.{library}")
    for name in ["TokenRequestError"] + ["_OriginBoundHeaders"] * (library != "requests"):
        assert run(f"import pickle; print(pickle.loads({pickle.dumps(getattr(module, name))!r}).__name__)") == name
    for name in ("TokenError", "__path__"):
        with pytest.raises(AttributeError, match=f"auth_plugins.{library}' has no attribute '{name}"):
            getattr(module, name)


def test_a_name_loads_its_file() -> None:
    """The package loads nothing; a name loads its module at its first use; ``dir`` lists all names."""
    loaded = "print(*sorted(name for name in sys.modules if name.startswith('auth_plugins.')))"
    assert run(f"import sys, auth_plugins; {loaded}") == ""
    assert "auth_plugins._caches.redis" not in run(f"import sys; from auth_plugins import ClientCredentials; {loaded}")
    names = run("import auth_plugins; print(*dir(auth_plugins))").split()
    assert set(auth_plugins.__all__) <= set(names)
    assert run("from auth_plugins import *; print(ClientCredentials.__name__, FileCache.__name__)")


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("words", "out", "loaded"),
    [("--help", "Usage:", {"click"}), ("token ACME", "warm", {"click", "dataclasses"})],
)
def test_a_command_loads_what_it_needs(tmp_path: Path, words: str, out: str, loaded: set[str]) -> None:
    """Help loads click alone; ``token`` loads no HTTP library and no cryptography where a cache has a token."""
    url, cache = "https://id.example.com/token", tmp_path / "cache"
    run(
        "from auth_plugins import *\n"
        f"grant, cache = ClientCredentials({url!r}, 'id', 's3cr3t'), FileCache({str(cache)!r})\n"
        "TokenSource(grant, cache=cache).seed({'access_token': 'warm'})"
    )
    variables = {"TOKEN_URL": url, "CLIENT_ID": "id", "CLIENT_SECRET": "s3cr3t", "CACHE": f"file:{cache}"}
    variables = {f"ACME_{name}": value for name, value in variables.items()}
    printed = run(
        f"import atexit, os, sys; os.environ.update({variables!r}); sys.argv = 'auth-plugins {words}'.split()\n"
        f"atexit.register(lambda: print(*(name for name in {HEAVY!r}.split() if name in sys.modules)))\n"
        "from auth_plugins.__main__ import main; main()"
    )
    assert printed.startswith(out)
    # click loads inspect in some versions; a tool that measures child processes may load anything.
    tool = run(f"import sys; print(*(name for name in {HEAVY!r}.split() if name in sys.modules))")
    assert set(printed.splitlines()[-1].split()) - {"inspect"} == loaded | set(tool.split()) - {"inspect"}


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_missing_library_is_named_with_its_extra(library: str) -> None:
    """An adapter without its library names the extra to install."""
    code = f"import sys; sys.modules[{library!r}] = None\ntry: import auth_plugins.{library}\n"
    message = run(code + "except ImportError as error: print(error)")
    assert message == f"auth_plugins.{library} needs {library}: pip install 'auth-plugins[{library}]'"


def test_the_error_for_an_adapter_in_the_wrong_place_names_the_right_ones() -> None:
    """The error for ``from auth_plugins import OAuth2Auth`` names the three modules that have one."""
    with pytest.raises(ImportError, match=r"auth_plugins\.requests, auth_plugins\.httpx or auth_plugins\.httpx2"):
        from auth_plugins import OAuth2Auth  # noqa: F401


def test_the_installed_package_is_what_is_tested() -> None:
    """Under tox, the tests import the wheel and not the folder beside them."""
    installed = os.environ.get("TESTS_OF_INSTALLED_PACKAGE") == "1"
    checkout = Path(__file__).parents[2]
    assert installed == (checkout / "auth_plugins" != PACKAGE)
    assert (PACKAGE / "py.typed").exists()


def test_all_names_are_exported_and_sorted() -> None:
    """The public names are these, and no others."""
    assert auth_plugins.__all__ == NAMES.split()


def test_the_version_is_that_of_the_distribution() -> None:
    """``__version__`` is the distribution's; an unknown name is an AttributeError."""
    if os.environ.get("TESTS_OF_INSTALLED_PACKAGE") == "1":
        assert auth_plugins.__version__ == importlib.metadata.version("auth-plugins")
    else:
        with pytest.raises(importlib.metadata.PackageNotFoundError):
            _ = auth_plugins.__version__
    with pytest.raises(AttributeError, match="FileCach"):
        _ = auth_plugins.FileCach


def test_the_adapters_know_no_grant_by_name() -> None:
    """No adapter names a grant: a new one needs no change there."""
    grants = {"ClientCredentials", "Password", "RefreshToken", "ApiKey"}
    shared = [path for folder in ("_adapters", "_source") for path in (PACKAGE / folder).rglob("*.py")]
    for path in (*shared, *(PACKAGE / f"{name}.py" for name in ("requests", "httpx", "httpx2"))):
        named = {node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)}
        assert not named & grants, path
