"""Authorization servers in other languages, each in a child process on loopback: ``tox -e peers`` installs them.

:class:`NodePeer` runs a script of ``node/``; :class:`LemonLDAP` the server of Debian. What is not installed is skipped.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey

from tests.support.certificates import pair_of
from tests.support.keys import key

HERE = Path(__file__).parent
#: Seconds in which a server has to start, and then to stop.
START, STOP = 30, 5
#: Basic carries it with percent-encoding only (RFC 6749 §2.3.1).
SECRET = "7rg6Gt+hUiob=/ %2B, long enough for HS256"
#: The algorithm of each key that the servers know; its name is the ``kid``.
KEYS = ("RS256", "ES256", "EdDSA")


class Peer(ABC):
    """A server that runs while its context is open."""

    #: URLs that the tests need: ``token_url``, ``api_url``, ``issuer``.
    facts: dict[str, Any]

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self._process: subprocess.Popen[str] | None = None

    @abstractmethod
    def start(self) -> subprocess.Popen[str]:
        """Start the process, wait until it answers, and set :attr:`facts`."""

    @abstractmethod
    def control(self, name: str) -> Any:
        """``revoke``: let the API refuse all tokens so far; ``statuses``: of the token requests since the last call."""

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    def __enter__(self) -> Self:
        self._process = self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        shutil.rmtree(self.folder)


class NodePeer(Peer):
    """A script of ``node/``, with the packages of its ``package.json`` in the folder that the variable PEERS names."""

    def __init__(self, script: str) -> None:
        packages = Path(os.environ["PEERS"], "node_modules")
        if shutil.which("node") is None or not packages.is_dir():
            pytest.skip(f"needs Node.js, and npm install in {packages.parent}")
        super().__init__()
        self._script = script
        shutil.copytree(HERE / "node", self.folder, dirs_exist_ok=True)
        (self.folder / "node_modules").symlink_to(packages)

    @cached_property
    def certificates(self) -> dict[str, tuple[Path, Path]]:
        """Certificate and key: the server's and the client's."""
        return {"server": pair_of(self.folder, "127.0.0.1"), "client": pair_of(self.folder, "client.example.com")}

    def start(self) -> subprocess.Popen[str]:
        certificates = {
            name: {"certificate": str(certificate), "key": str(private), "jwk": _with_certificate(certificate)}
            for name, (certificate, private) in self.certificates.items()
        }
        keys = [key(name).as_dict(private=False, kid=name, alg=name, use="sig") for name in KEYS]
        options = {"secret": SECRET, "keys": keys, **certificates}
        pipe = subprocess.PIPE
        command = ["node", "--no-warnings", f"{self._script}.mjs", json.dumps(options)]
        log = (self.folder / "log").open("w")
        process = subprocess.Popen(command, cwd=self.folder, stdin=pipe, stdout=pipe, stderr=log, text=True)
        log.close()
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], START)[0]:
            process.kill()
        line = process.stdout.readline()
        assert line, f"{self._script} did not start:\n{(self.folder / 'log').read_text()}"
        self.facts = json.loads(line)
        return process

    def control(self, name: str) -> Any:
        return requests.post(f"{self['url']}/control/{name}", timeout=10).json()


class LemonLDAP(Peer):
    """LemonLDAP::NG; its API is that of user information."""

    def start(self) -> subprocess.Popen[str]:
        modules = ("Lemonldap::NG::Portal::Main", "String::Random", "IO::String")
        command = ["perl", *(f"-M{name}" for name in modules), "-e1"]
        is_there = shutil.which("plackup") and not subprocess.run(command, check=False, capture_output=True).returncode
        if not is_there:
            shutil.rmtree(self.folder)
            pytest.skip("needs liblemonldap-ng-portal-perl libstring-random-perl libio-string-perl from Debian")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        self._configure(url)
        environment = {
            **os.environ,
            "LLNG_DEFAULTCONFFILE": f"{self.folder}/lemonldap-ng.ini",
            "LLNG_DEFAULTLOGGER": "Lemonldap::NG::Common::Logger::Std",
            "STATUSES": f"{self.folder}/statuses",
        }
        options = f"--env deployment --server HTTP::Server::PSGI --host 127.0.0.1 --port {port}"
        command = ["plackup", *options.split(), str(HERE / "lemonldap.psgi")]
        log = (self.folder / "log").open("w")
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)
        log.close()
        deadline = time.monotonic() + START
        while not _accepts(port):
            assert process.poll() is None, (self.folder / "log").read_text()
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.05)
        self.facts = {"issuer": url, "token_url": f"{url}oauth2/token", "api_url": f"{url}oauth2/userinfo"}
        return process

    def control(self, name: str) -> Any:
        if name == "revoke":
            for session in self.folder.joinpath("sessions").glob("*"):
                if session.is_file() and json.loads(session.read_text()).get("_type") == "access_token":
                    session.unlink()
            return None
        statuses = self.folder / "statuses"
        text = statuses.read_text() if statuses.exists() else ""
        statuses.write_text("")
        return [int(line) for line in text.splitlines()]

    def _configure(self, url: str) -> None:
        storage: dict[str, Any] = {}
        for name, prefix in (("sessions", "global"), ("psessions", "persistent")):
            (self.folder / name / "lock").mkdir(parents=True)
            places = {"Directory": f"{self.folder}/{name}", "LockDirectory": f"{self.folder}/{name}/lock"}
            storage |= {f"{prefix}Storage": "Apache::Session::File", f"{prefix}StorageOptions": places}
        client = {
            "AllowClientCredentialsGrant": 1,
            "AllowPasswordGrant": 1,
            "ClientID": "client",
            "ClientSecret": SECRET,
            "IDTokenSignAlg": "HS256",
            "RefreshToken": 1,
        }
        configuration = storage | {
            "authentication": "Demo",  # the user dwho with the password dwho
            "captcha": "::Captcha::None",
            "cfgDate": 1,
            "cfgNum": 1,
            "demoExportedVars": {"cn": "cn", "mail": "mail", "uid": "uid"},
            "domain": "127.0.0.1",
            "issuerDBOpenIDConnectActivation": 1,
            "key": "encrypts cookies",
            "localSessionStorage": "",  # the API sees at once what was revoked
            "locationRules": {"127.0.0.1": {"default": "accept"}},
            "oidcRPMetaDataOptions": {"client": {f"oidcRPMetaDataOptions{name}": v for name, v in client.items()}},
            "oidcRPMetaDataScopeRules": {"client": {"read": "1"}},
            "oidcServiceMetaDataIssuer": url,
            "portal": url,
            "requireToken": 0,
            "userDB": "Same",
        }
        (self.folder / "lmConf-1.json").write_text(json.dumps(configuration))
        (self.folder / "lemonldap-ng.ini").write_text(
            f"[all]\nlogLevel=error\n[configuration]\ntype=File\ndirName={self.folder}\n"
            "[portal]\ntemplateDir=/usr/share/lemonldap-ng/portal/templates\nlanguages=en\n"
        )


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _with_certificate(path: Path) -> dict[str, Any]:
    """The public key of a certificate as a JWK that holds the certificate (RFC 8705 §2.2.2)."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    jwk = ECKey.import_key(certificate.public_key().public_bytes(serialization.Encoding.PEM, public))
    x5c = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    return {**jwk.as_dict(private=False), "x5c": [x5c]}
