"""What is particular to the keyring of the operating system; the other tests of caches use it as well."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from auth_plugins import ConfigurationError, KeyringCache, Password, TokenSource
from auth_plugins._cli.main import cli
from tests.support.loopback import Clock, Loopback
from tests.support.sources import URL, Endpoint
from tests.support.stores import KEY, logged, process

pytest.importorskip("keyring")
import keyring
from keyring.backends.fail import Keyring as NoKeyring
from keyring.backends.null import Keyring as Disabled
from keyring.errors import InitError, KeyringError, KeyringLocked

from tests.support import keyrings
from tests.support.keyrings import InMemory, WinVaultKeyring

SECRET = "s3cr3t-of-the-user"
GRANT = Password(URL, "me", SECRET)


@pytest.fixture(autouse=True)
def locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "auth-plugins"


@pytest.fixture
def backend() -> Iterator[InMemory]:
    before, backend = keyring.core._keyring_backend, InMemory()
    keyring.set_keyring(backend)
    yield backend
    keyring.core._keyring_backend = before


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NoKeyring(), "there is no keyring; install one, such as GNOME Keyring, or use a FileCache"),
        (Disabled(), "the keyring is disabled; enable it, or use a FileCache"),
        (KeyringLocked(SECRET), "the keyring is locked; unlock it"),
        (InitError(SECRET), "the keyring is locked; unlock it"),
        (KeyringError(SECRET), "the keyring failed (KeyringError)"),
    ],
)
def test_without_a_keyring_tokens_are_in_memory(
    error: Any, text: str, backend: InMemory, rotating: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing or locked keyring costs one warning, however long it lasts; tokens, refresh tokens too, are used."""
    if isinstance(error, Exception):
        backend.error = error
    else:
        keyring.set_keyring(error)
    tokens = process(KeyringCache(), rotating, GRANT)
    for _ in range(3):
        tokens.token()
        clock.forward(3600)
    assert "grant_type=refresh_token" in rotating.bodies[-1]
    [warning] = logged(caplog)
    assert text in warning
    assert "within this process only" in warning
    assert SECRET not in caplog.text


def test_an_entry_that_is_too_long_is_in_memory(
    backend: InMemory, rotating: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The Credential Manager of Windows keeps short entries; for others, one warning says what to use."""
    windows = WinVaultKeyring()
    keyring.set_keyring(windows)
    process(KeyringCache(), rotating, GRANT).token()
    assert len(windows.entries) == 1
    tokens = process(KeyringCache(), rotating, GRANT)
    long = {"access_token": "a" * 1300, "expires_in": 3600, "refresh_token": "r3fresh"}
    for _ in range(2):
        clock.forward(3600)
        rotating.script = [(long, 200)]
        assert tokens.token().access_token == "a" * 1300
    assert len(rotating.requests) == 3
    assert windows.entries == {}  # the refresh token that was there is spent
    [warning] = logged(caplog)
    assert "characters are too many for the Credential Manager; use a FileCache" in warning


def test_services_are_kept_apart(backend: InMemory) -> None:
    """Each service has entries of its own; a deleted entry may be deleted again."""
    one, other = KeyringCache(), KeyringCache("acme/ü")
    one.set("name", "text", 60)
    assert (one.get("name"), other.get("name")) == ("text", None)
    assert list(backend.entries) == [("auth-plugins", "name")]
    one.delete("name")
    one.delete("name")
    assert backend.entries == {}
    assert (one == KeyringCache(), one == other, one == 5) == (True, False, False)
    assert repr(other) == "KeyringCache('acme/ü')"
    for copied in (pickle.loads(pickle.dumps(other)), copy.copy(other), copy.deepcopy(other)):
        assert (copied, hash(copied)) == (other, hash(other))


@pytest.mark.parametrize("service", ["", " ", 5, "a\nb"])
def test_a_service_is_a_name(service: Any) -> None:
    """Anything else is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="service must be a name"):
        KeyringCache(service)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which extra brings it."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'auth-plugins\[keyring\]'"):
        KeyringCache()
    with pytest.raises(ConfigurationError, match=r"^ACME_CACHE: a KeyringCache needs the package keyring; pip install"):
        TokenSource.from_env("ACME", {"ACME_CACHE": "keyring"})


def variables(server: Loopback) -> dict[str, str]:
    named = {"TOKEN_URL": server.token_url, "CLIENT_ID": "id", "CLIENT_SECRET": SECRET, "CACHE": "keyring"}
    return {f"ACME_{name}": value for name, value in named.items()}


def test_variables_choose_the_keyring(server: Loopback) -> None:
    """``CACHE=keyring`` is a KeyringCache; a key contradicts it."""
    with pytest.raises(ConfigurationError, match="ACME_CACHE_KEY contradicts ACME_CACHE=keyring"):
        TokenSource.from_env("ACME", {**variables(server), "ACME_CACHE_KEY": KEY})
    with pytest.raises(ConfigurationError, match="ACME_CACHE is not valid"):
        TokenSource.from_env("ACME", {**variables(server), "ACME_CACHE": "keyring:acme"})


def test_the_command_line_lists_and_clears_the_keyring(
    backend: InMemory, server: Loopback, locks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``token``, ``cache list`` and ``cache clear`` use the keyring."""
    for name, value in variables(server).items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
        return result.output

    assert run("token", "ACME").strip() == run("token", "ACME").strip() == "token-1"
    assert f"ClientCredentials id at {server.token_url}: until" in run("cache", "list", "ACME")
    assert "forgot 1 of KeyringCache('auth-plugins')" in run("cache", "clear", "ACME", "--all")
    assert backend.entries == {}
    assert list(locks.glob("*/*.lock")) == []


@pytest.mark.parametrize("words", [["list", "ACME"], ["clear", "ACME"], ["clear", "ACME", "--all"]])
def test_the_command_line_without_a_keyring(
    backend: InMemory, server: Loopback, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """``cache list`` and ``cache clear`` say what to do, in one line and without the number of an error."""
    for name, value in variables(server).items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(cli, ["token", "ACME"]).exit_code == 0
    keyring.set_keyring(NoKeyring())
    result = CliRunner().invoke(cli, ["cache", *words])
    advice = "there is no keyring; install one, such as GNOME Keyring, or use a FileCache"
    assert (result.exit_code, result.output) == (1, f"error: the cache cannot be used ({advice}); check ACME_CACHE\n")
    assert f"KeyringCache('auth-plugins'): {advice}" in CliRunner().invoke(cli, ["check", "ACME"]).output


def test_processes_share_a_token(server: Loopback, tmp_path: Path) -> None:
    """Four processes that start at once send one token request."""
    server.latency = 0.5
    program = "import sys, auth_plugins; print(auth_plugins.TokenSource.from_env('ACME').token().access_token)"
    (tmp_path / "keyrings.py").write_text(Path(keyrings.__file__).read_text("utf-8"), "utf-8")
    is_installed = os.environ.get("TESTS_OF_INSTALLED_PACKAGE") == "1"
    environment = {
        **os.environ,
        **variables(server),
        "PYTHON_KEYRING_BACKEND": "keyrings.Files",
        "KEYRING_FILES": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *([] if is_installed else [str(Path(__file__).parents[2])])]),
    }
    workers = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [worker.communicate(timeout=60)[0].strip() for worker in workers] == ["token-1"] * 4
    assert len(server.token_requests) == 1
