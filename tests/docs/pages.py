"""Reads the examples of a page, and runs them against the sandbox and a server on loopback.

All ``python`` blocks of a page run in order, in one namespace. The files of ``examples/`` that it includes run as well,
each in a namespace of its own. A ``text`` block after one of them is what it prints; ``...`` stands for any text. In
``console`` blocks, ``export``, ``unset`` and the commands of :data:`RUNS` run. ``:class: not-run`` leaves a block out,
``:class: exit-1`` says that a command fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlencode

import pytest
from werkzeug.utils import redirect

from auth_plugins.sandbox import Sandbox
from tests.support.certificates import pair_of
from tests.support.dpop import DPoPServer
from tests.support.keep_alive import KeepAlive, make_certificate
from tests.support.keys import pem
from tests.support.loopback import Loopback, Received, as_json
from tests.support.plugin import PYTEST
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").rglob("*.rst"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
#: Which system of the sandbox stands in for which host of the examples.
SYSTEMS = {
    "https://identity.example.com": "upload-api",
    "https://web.example.com": "upload-api",
    "https://api.example.com": "jwt-api",
    "https://auth.example.com": "auth-api",
    "https://organization.example.com": "organization-api",
    "https://json.example.com": "json-api",
    "https://enterprise.example.com": "enterprise-api",
    "https://nested.example.com": "nested-api",
    "https://session.example.com": "session-api",
    "https://query.example.com": "query-api",
}
#: What names the system, not any server, behind ``https://api.example.com``.
JWT_API = "https://api.example.com/oauth"
#: Hosts for which a server on loopback stands in. It has a ``/token``, and all of :data:`PROVIDERS`.
HOSTS = (
    "https://id.example.com",
    "https://orders.example.com",
    "https://keycloak.example.com",
    "https://login.microsoftonline.com",
    "https://graph.microsoft.com",
    "https://your-domain.auth0.com",
    "https://your-domain.okta.com",
    "https://accounts.zoho.eu",
    "https://www.zohoapis.eu",
    "https://123-ABC-456.mktorest.com",
    "https://your-server.jamfcloud.com",
)
#: The host for which a server stands in that knows clients by their certificates.
BANK = "https://bank.example.com"
#: The host whose token endpoint and API check DPoP proofs.
BOUND = "https://bound.example.com"
#: By the path of a token endpoint: the parameters of its form or query, besides the grant type; ``basic`` is a header.
PROVIDERS: Mapping[str, set[str]] = {
    "/your-tenant-id/oauth2/v2.0/token": {"client_id", "client_secret", "scope"},
    "/oauth/token": {"client_id", "client_secret", "audience"},
    "/realms/acme/protocol/openid-connect/token": {"basic"},
    "/oauth2/default/v1/token": {"basic", "scope"},
    "/oauth2/v1/token": {"client_id", "client_assertion", "client_assertion_type", "scope"},
    "/oauth/v2/token": {"client_id", "client_secret", "refresh_token"},
    "/identity/oauth/token": {"client_id", "client_secret"},
    "/api/oauth/token": {"client_id", "client_secret"},
}
#: Commands that end by themselves, and need nothing but variables.
RUNS = re.compile(r"auth-plugins (token|get|check|cache|--version|--help)\b")
#: Examples that need a process of their own: what Python is called with.
PROCESSES: Mapping[str, tuple[str, ...]] = {
    "several_processes.py": ("several_processes.py",),
    "isolated_tests.py": (*PYTEST, "-p", "no:randomly", "isolated_tests.py"),
}


@dataclass
class Block:
    """A ``code-block`` of a page, or a file of ``examples/`` that the page includes."""

    language: str
    text: str
    name: str
    classes: list[str] = field(default_factory=list)

    @property
    def is_run(self) -> bool:
        return "not-run" not in self.classes


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order, those in tables as well."""
    found, lines = [], page.read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if match := re.match(r"\s*\.\. literalinclude:: .*examples/(\w+\.py)$", line):
            found.append(Block("example", (ROOT / "examples" / match[1]).read_text("utf-8"), match[1]))
        if not (match := re.match(r"(?P<indent>[\s*-]*)\.\. code-block:: (?P<language>[\w-]+)$", line)):
            continue
        indent = len(match["indent"])
        body = []
        for following in lines[number + 1 :]:
            if following.strip() and len(following) - len(following.lstrip()) <= indent:
                break
            body.append(following)
        options = [each.strip() for each in body[: body.index("") if "" in body else 0]]
        code = inspect.cleandoc("\n".join(body[len(options) :]))
        classes = [word for each in options if each.startswith(":class:") for word in each.split()[1:]]
        found.append(Block(match["language"], code, f"{page.name}:{number + 1}", classes))
    return found


class World:
    """What the examples of one page see: the systems, their addresses, and the variables."""

    def __init__(self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        #: The page, where one runs.
        self.page = JWT_API
        self.sandbox, self.server = Sandbox(), Loopback()
        self.server.api = self._answer
        self.bank: KeepAlive | None = None
        self.bound = Loopback()
        DPoPServer(self.bound, token_nonces=True, api_nonces=True)
        self._redis, self._monkeypatch, self._directory = redis, monkeypatch, directory
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        #: The namespaces of the files of ``examples/`` that ran, by their names.
        self.examples: dict[str, dict[str, Any]] = {}
        for name in [name for name in os.environ if name.startswith("ACME")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("XDG_CACHE_HOME", str(directory))  # where FileCache() is, also in child processes
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        # The libraries of the migration pages refuse http://, even to loopback.
        monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
        monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        monkeypatch.chdir(directory)
        monkeypatch.syspath_prepend(ROOT / "examples")
        (directory / "secrets").mkdir()
        secrets = {"orders": "s3cr3t-of-orders\n", "orders.pem": pem("ES256"), "assertion": "eyJh.e30.c2ln\n"}
        secrets["dpop.pem"] = pem("ES256", 1)
        for name, text in secrets.items():
            (directory / "secrets" / name).write_text(text, "utf-8")

    def __enter__(self) -> Self:
        self.sandbox.start()
        self.server.start()
        self.bound.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.namespace.values():
            if type(each).__name__ in ("Session", "Client"):
                each.close()
            elif isinstance(each, Sandbox):
                each.stop()
        if self.bank is not None:
            self.bank.__exit__()
        self.sandbox.stop()
        self.server.stop()
        self.bound.stop()

    def placed(self, text: str) -> str:
        """*text* with the addresses of the servers that run, and the directory of the secrets."""
        for host, name in SYSTEMS.items():
            is_any = host in JWT_API and JWT_API not in self.page
            text = text.replace(host, self.server.url if is_any else self.sandbox[name].url)
        if self.bank is not None:
            text = text.replace(f"{BANK}/token", self.bank.url)
        for host in HOSTS:
            text = text.replace(host, self.server.url)
        text = text.replace(BOUND, self.bound.url)
        text = text.replace("/run/secrets/", f"{self._directory}/secrets/")
        return text.replace("redis://cache.example.com:6379/0", self._redis.url)

    def variables(self, text: str) -> dict[str, str]:
        """The variables that a shell would make of *text*."""
        return dict(word.split("=", 1) for word in shlex.split(self.placed(text)))

    def run_page(self, page: Path, *, alone: bool = False, only: str = "") -> None:
        """Run the blocks of a page in order, and compare what they print with the ``text`` blocks after them.

        If *alone*, each block sees only what the first ``python`` block defines, as if it was copied alone. *only* is
        the name of the only block to run, a file of ``examples/``.
        """
        self.page, found = page.read_text("utf-8"), [block for block in blocks(page) if only in ("", block.name)]
        if BANK in self.page:
            self._start_bank()
        for name in re.findall(r'os\.environ\["(\w+)"\]', self.page):
            # The page may show the variable after the program that needs it.
            if match := re.search(rf"\$ export (?:.* )?{name}=('[^']*'|\S+)", self.page):
                self._monkeypatch.setenv(name, match[1].strip("'"))
        names: dict[str, Any] = {}
        for block, following in pairwise([*found, Block("", "", "")]):
            if alone and names:
                self.namespace = dict(names)
            if block.is_run:
                self._run(block, following.text if following.language == "text" and following.is_run else None)
            if block.language == "python" and not names:
                names = dict(self.namespace)

    def _start_bank(self) -> None:
        """Start a token endpoint that knows the client by the certificate among the secrets."""
        secrets = self._directory / "secrets"
        certificate, key = pair_of(self._directory, "orders")
        ca = make_certificate(self._directory)
        for name, path in {"tls.crt": certificate, "tls.key": key, "ca.crt": ca}.items():
            (secrets / name).write_bytes(path.read_bytes())
        self.bank = KeepAlive(ca, [certificate])
        self.bank.__enter__()
        self.server.live.add("token-of-orders")

    def _run(self, block: Block, expected: str | None = None) -> None:
        """Run a block, and compare what it prints with *expected*."""
        if block.language == "console":
            status = 1 if "exit-1" in block.classes else 0
            printed = "".join(self.command(line, status) for line in commands(block.text))
        elif block.language == "python":
            printed = self._program(block.text, block.name, self.namespace)
        elif block.language == "example":
            printed = self._example(block)
        else:
            return
        if expected is not None:
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            got, want = f"{printed.strip()}\n", f"{self.placed(expected).strip()}\n"
            assert doctest.OutputChecker().check_output(want, got, options), f"{block.name} prints:\n{got}"

    def command(self, line: str, status: int = 0) -> str:
        """Run one command if it can run here, and return what it prints; take the variables that it sets."""
        if line.startswith(("export ", "unset ")):
            result = dict(each.partition("=")[::2] for each in self.shell(f"{line}\nenv -0").split("\0"))
            for name in {name for name in {*os.environ, *result} if os.environ.get(name) != result.get(name)}:
                if name in result and name.isupper() and name != "_":
                    self._monkeypatch.setenv(name, result[name])
                elif name.isupper():
                    self._monkeypatch.delenv(name, raising=False)
            return ""
        return self.shell(line, status) if RUNS.match(line) else ""

    def shell(self, command: str, status: int = 0) -> str:
        """Run a command, whose exit status must be *status*, and return what it prints."""
        words = ["sh", "-c", self.placed(command)]
        result = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
        assert result.returncode == status, f"{command}: {result.stdout}{result.stderr}"
        return result.stdout

    def _program(self, text: str, name: str, namespace: dict[str, Any]) -> str:
        before, printed = set(namespace), io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(self.placed(text), name, "exec"), namespace)
            if ".run(" not in text:  # a coroutine function that the page only defines
                for function in [namespace[each] for each in set(namespace) - before]:
                    if inspect.iscoroutinefunction(function) and not inspect.signature(function).parameters:
                        asyncio.run(function())
        return printed.getvalue()

    def _example(self, block: Block) -> str:
        """Run a file of ``examples/``, with the variables that its docstring exports."""
        for line in commands(block.text.split('"""')[1]):
            self.command(line)
        if block.name == "fastapi_app.py":
            return ""  # a service, which has a test of its own
        if block.name not in PROCESSES:
            return self._program(block.text, block.name, self.examples.setdefault(block.name, {"__name__": "__main__"}))
        (self._directory / block.name).write_text(self.placed(block.text), "utf-8")
        return self.shell(" ".join([sys.executable, *PROCESSES[block.name]]))

    def _answer(self, received: Received) -> Response:
        """Be the hosts of :data:`HOSTS`: API, revocation endpoint, login, and token endpoints of providers."""
        path, _, query = received.target.partition("?")
        form = dict(parse_qsl(received.body.decode() or query))
        if path == "/revoke":
            self.server.live.discard(form["token"])
            return as_json({})
        if path in ("/authorize", "/login"):
            return self._log_in(path, form, received)
        if path == "/realms/acme/.well-known/openid-configuration":
            issuer = f"{self.server.url}/realms/acme"
            methods = ["client_secret_basic", "client_secret_post"]
            token_endpoint = f"{issuer}/protocol/openid-connect/token"
            members = {"issuer": issuer, "token_endpoint": token_endpoint}
            return as_json({**members, "token_endpoint_auth_methods_supported": methods})
        if path in PROVIDERS:
            is_basic = received.headers.get("authorization", "").startswith("Basic ")
            sent = {*form, *(["basic"] if is_basic else [])} - {"grant_type"}
            if sent == PROVIDERS[path]:
                return self.server.issue(received)
            return as_json({"error": "invalid_client", "error_description": f"got {sorted(sent)}"}, 401)
        in_query = dict(parse_qsl(received.target.partition("?")[2])).get("access_token", "")
        carried = received.headers.get("x-session", received.headers.get("authorization", in_query))
        session = {"authorization": carried.replace("Zoho-oauthtoken ", "Bearer ")}
        return self.server.check(Received(received.method, received.target, session, received.body))

    def _log_in(self, path: str, form: Mapping[str, str], received: Received) -> Response:
        """Answer a session's token; or be the person who agrees at once."""
        if path == "/authorize":
            answer = {"code": "the-code", "state": form["state"]}
            return redirect(f"{form['redirect_uri']}?{urlencode(answer)}")
        token = str(self.server.issue(received).get_json()["access_token"])
        return as_json({"session": {"token": token, "seconds": 60}})


def commands(text: str) -> list[str]:
    """The commands of a console block, without their prompts and comments; a backslash continues one."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [re.sub(r"\s+#.*", "", line[2:]).strip() for line in lines if line.startswith("$ ")]


@pytest.fixture
def world(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    if os.name == "nt":
        pytest.skip("needs POSIX: a shell")
    with World(redis_server, monkeypatch, tmp_path) as world:
        yield world
