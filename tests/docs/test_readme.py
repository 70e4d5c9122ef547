"""Every example in the README runs, against the sandbox."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docutils.core
import docutils.nodes
import platformdirs
import pytest

from auth_plugins import TokenSource, from_env, providers
from auth_plugins.sandbox import Sandbox
from tests.support.redis_server import RedisServer
from tests.support.stores import forget

README = (Path(__file__).parents[2] / "README.rst").read_text("utf-8")
#: Which system of the sandbox stands in for which host of the examples.
HOSTS = {
    "https://identity.example.com": "upload-api",
    "https://web.example.com": "upload-api",
    "https://api.example.com": "jwt-api",
    "https://auth.example.com": "auth-api",
    "https://organization.example.com": "organization-api",
    "https://json.example.com": "json-api",
}


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    settings = {"report_level": 2, "halt_level": 2, "syntax_highlight": "none"}
    document = docutils.core.publish_doctree(README, settings_overrides=settings)
    return [
        node.astext() for node in document.findall(docutils.nodes.literal_block) if language in node.get("classes", [])
    ]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def placed(text: str, sandbox: Sandbox) -> str:
    """*text* with the sandbox's addresses."""
    for host, name in HOSTS.items():
        text = text.replace(host, sandbox[name].url)
    return text


def variables(text: str) -> dict[str, str]:
    """The variables that a shell would make of *text*."""
    words = shlex.split(text.replace("$ export", ""))
    return dict(word.split("=", 1) for word in words)


def exports() -> str:
    return next(block for block in blocks("console") if "ACME_TOKEN_URL" in block)


def is_program(block: str) -> bool:
    return block.startswith(("import", "from"))


PROGRAMS = [block for block in blocks("python") if is_program(block)]


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_runs(
    program: str,
    sandbox: Sandbox,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An example of the README runs; what it defines works, and it prints what the README shows."""
    for name, value in variables(placed(exports(), sandbox)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UPLOAD_URL", sandbox["jwt-api"].api_url)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path)
    program = program.replace("redis://cache.example.com:6379/0", redis_server.url)
    mocked = "MockTransport" in program
    namespace: dict[str, Any] = {}
    exec(compile(program if mocked else placed(program, sandbox), "README.rst", "exec"), namespace)
    if "things" in namespace:
        assert asyncio.run(namespace["things"]())["system"] == "auth-api"
    if "upload" in namespace:
        assert namespace["upload"]([1]).json()["received"] == 3
    if "SqliteCache" in namespace:
        _check_own_cache(namespace["SqliteCache"], tmp_path, sandbox)
    if "RedisCache" in namespace:
        requests = sandbox["upload-api"].token_requests
        assert len(requests) == 2, "one for the files, one for Redis"
        assert list(tmp_path.glob("*.token"))
        assert redis_server.client().dbsize() == 1
    if "metadata" in namespace:
        assert namespace["metadata"][0][1].startswith("Bearer ey")
    if "print(" in program:
        assert capsys.readouterr().out.strip() == blocks("text")[0].strip()
    for closeable in ("session", "mocked"):
        if closeable in namespace:
            namespace[closeable].close()


def _check_own_cache(kind: Any, tmp_path: Path, sandbox: Sandbox) -> None:
    grant = providers.jwt_api(sandbox["jwt-api"].url, "acme/ops@example", "open sesame + ü")
    tokens = set()
    for _ in range(3):
        forget()  # as another process
        tokens.add(TokenSource(grant, cache=kind(str(tmp_path / "tokens.db"))).token())
    assert len(tokens) == len(sandbox["jwt-api"].token_requests) == 1
    forget()
    source = TokenSource(grant, cache=kind(str(tmp_path / "tokens.db")))
    source.revoke()
    assert source.token() not in tokens


def test_the_table_of_systems_is_right(sandbox: Sandbox) -> None:
    """In each row, code and variables make the same grant."""
    code = [block for block in blocks("python") if not is_program(block)]
    shell = [block for block in blocks("sh") if "ACME_PROVIDER" in block]
    assert len(code) == 5
    for expression, lines in zip(code, shell, strict=False):
        grant = eval(placed(expression, sandbox), vars(providers).copy())
        assert grant == from_env("ACME", variables(placed(lines, sandbox)))
        assert len(re.findall(r"^\w+\(", expression)) == 1


def test_moving_from_an_api_key_takes_variables_only(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same function works with the variables of the left column and with those of the right one."""
    before, after = [block for block in blocks("sh") if "UPLOAD_URL" in block]
    program = next(block for block in PROGRAMS if "def upload" in block)
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    for lines, header in ((before, "x-api-key"), (after, "authorization")):
        for name in [name for name in os.environ if name.startswith("ACME_")]:
            monkeypatch.delenv(name)
        for name, value in variables(placed(lines, sandbox)).items():
            monkeypatch.setenv(name, value)
        assert namespace["upload"]([1, 2]).status_code == 200
        assert header in sandbox["upload-api"].seen[-1].headers


def test_every_variable_is_in_the_table() -> None:
    """Every variable is in the README."""
    from auth_plugins._environment.definitions import KNOWN

    assert not {name for name in KNOWN if f"``{name}``" not in README}


def test_the_three_ways_are_on_the_first_screen() -> None:
    """requests, httpx and variables are within the first sixty lines."""
    screen = "\n".join(README.splitlines()[:62])
    for way in ("In requests code", "In httpx clients", "By environment variables", 'from_env("ACME")'):
        assert way in screen


def test_what_the_readme_says_of_defaults_is_true() -> None:
    """The numbers in the README are those of the code."""
    from auth_plugins import TokenSource

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
    root = Path(__file__).parents[2]
    named = re.findall(r"``((?:\w|\.)+/[\w./]*)``", (root / "CONTRIBUTING.rst").read_text("utf-8"))
    assert len(named) > 20
    for path in named:
        assert (root / path).exists() or (root / "auth_plugins" / path).exists(), path
