"""The plugin of HTTPie, with the real ``http`` command."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.support.loopback import Loopback, as_json
from tests.support.plugin import ROOT

if importlib.util.find_spec("httpie") is None:
    pytest.skip("needs httpie", allow_module_level=True)

SECRET = "s3cr3t-of-the-client"
GROUP, PLUGIN = "httpie.plugins.auth.v1", "auth_plugins._integrations.httpie:OAuth2Plugin"


class Http:
    """Runs the command, in an environment with the variables of a client."""

    def __init__(self, directory: Path, server: Loopback) -> None:
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "ACME_TOKEN_URL": server.token_url,
            "ACME_CLIENT_ID": "client",
            "ACME_CLIENT_SECRET": SECRET,
            "ACME_CACHE": f"file:{directory}/tokens",
            "HTTPIE_CONFIG_DIR": str(directory / "config"),
        }
        if not entry_points(group=GROUP, name="oauth2"):  # the package is not installed
            metadata = directory / "auth_plugins_here-1.0.dist-info"
            metadata.mkdir()
            (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: auth-plugins-here\nVersion: 1.0\n")
            (metadata / "entry_points.txt").write_text(f"[{GROUP}]\noauth2 = {PLUGIN}\n")
            self.variables["PYTHONPATH"] = os.pathsep.join([str(directory), str(ROOT)])

    def __call__(self, *words: str) -> tuple[int, str]:
        """Return the exit status, and what the command prints."""
        command = [str(Path(sys.executable).with_name("http")), "--ignore-stdin", *words]
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def http(tmp_path: Path, server: Loopback) -> Http:
    return Http(tmp_path, server)


@pytest.mark.unmeasured
def test_calls_share_a_token_and_renew_it(http: Http, server: Loopback) -> None:
    """Two calls use one token, by the cache of the variables; one that is revoked early is replaced."""
    request = ("--check-status", "--auth-type=oauth2", "--auth=ACME", "POST", server.api_url, "rows=1")
    for _ in range(2):
        status, printed = http(*request)
        assert (status, "received" in printed) == (0, True), printed
    assert len(server.token_requests) == 1
    server.revoke()
    assert http(*request)[0] == 0
    assert len(server.token_requests) == 2
    assert server.api_requests[-1].body == b'{"rows": "1"}'


def test_a_refused_upload_leaves_no_refused_token(http: Http, server: Loopback, tmp_path: Path) -> None:
    """A body that cannot be sent again: the next command has another token, unless none can be had."""
    (tmp_path / "rows").write_text("1", "utf-8")
    upload = ("--check-status", "--auth-type=oauth2", "--auth=ACME", "--form", server.api_url, f"rows@{tmp_path}/rows")
    for expected in (0, 4, 0):
        assert http(*upload)[0] == expected
        if expected == 0:
            server.revoke()
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    assert http(*upload)[0] == 4


@pytest.mark.unmeasured
def test_without_auth_the_default_prefix_is_used(http: Http, server: Loopback) -> None:
    """``--auth`` may be left out."""
    http.variables |= {
        name.replace("ACME", "AUTH_PLUGINS"): value for name, value in http.variables.items() if "ACME" in name
    }
    status, printed = http("--check-status", "-A", "oauth2", server.api_url)
    assert status == 0, printed


@pytest.mark.parametrize(
    ("prefix", "text"), [("ACMY", "did you mean the prefix ACME?"), ("ACME", "invalid_client"), ("", "AUTH_PLUGINS_")]
)
def test_an_error_is_one_line(prefix: str, text: str, http: Http, server: Loopback) -> None:
    """A wrong prefix, and a token endpoint that refuses, are one line each, and an exit status."""
    server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    status, printed = http("--auth-type=oauth2", f"--auth={prefix}", server.api_url)
    [line] = printed.strip().splitlines()
    assert status == 1
    assert line.startswith("http: error: ")
    assert text in line
    assert SECRET not in printed


@pytest.mark.unmeasured
def test_the_plugin_is_listed(http: Http) -> None:
    """``http --help`` names the type, and what the prefix is."""
    status, printed = http("--help")
    assert (status, "OAuth 2.0, by auth-plugins" in printed) == (0, True)


def test_a_refresh_token_is_not_spent_without_a_cache(http: Http, server: Loopback) -> None:
    """Its successor would end with the command: the error names the variable to set."""
    http.variables |= {"ACME_REFRESH_TOKEN": SECRET, "ACME_CACHE": "memory"}
    status, printed = http("--auth-type=oauth2", "--auth=ACME", server.api_url)
    assert (status, "lost in memory; set ACME_CACHE=file" in printed) == (1, True), printed
    assert server.token_requests == []
