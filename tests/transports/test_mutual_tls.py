"""Mutual TLS with the token endpoint (RFC 8705): a client's certificate from files, and the CA that is trusted."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from auth_plugins import ConfigurationError, TokenTransportError
from auth_plugins._base.runtime import runtime
from auth_plugins._base.tls_files import TLSFiles
from auth_plugins._protocol.messages import TokenRequest
from auth_plugins._protocol.redaction import Redactor
from auth_plugins._transports.reasons import reason_of
from auth_plugins._transports.requests import _AlertedConnection
from tests.support.certificates import pair_of, rewritten, rsa_key, swap
from tests.support.endpoints import LIBRARIES, TRANSPORTS, Endpoint
from tests.support.keep_alive import KeepAlive, make_certificate

each_library = pytest.mark.parametrize("library", LIBRARIES)
each_version = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def send(library: str, url: str, **files: Any) -> int:
    """The status of the answer to a token request with these files."""
    tls = TLSFiles(**{name: value if name == "password" else str(value) for name, value in files.items()})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = TokenRequest(method="POST", url=url, headers=headers, body=b"client_id=id", redact=Redactor(()), tls=tls)
    return TRANSPORTS[library]()(request, 5.0).status


@each_library
@each_version
def test_the_certificate_is_presented(library: str, version: ssl.TLSVersion, tmp_path: Path) -> None:
    """The certificate and key of the files are presented, in one file or in two, encrypted or not."""
    server, (certificate, key) = make_certificate(tmp_path), pair_of(tmp_path, "client-a")
    whole = tmp_path / "client-a" / "certificate-and-key.pem"
    locked = rewritten(key, password="pa55word")
    with KeepAlive(server, [certificate], version) as endpoint:
        send(library, endpoint.url, certificate=certificate, key=key, ca=server)
        send(library, endpoint.url, certificate=whole, ca=server)
        send(library, endpoint.url, certificate=certificate, key=locked, password="pa55word", ca=server)
    assert endpoint.peers == ["client-a"] * 3


@each_library
def test_the_library_decides_what_to_trust(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a CA the library's own variable holds, with a certificate as well; a CA counts more."""
    server, (certificate, key) = make_certificate(tmp_path), pair_of(tmp_path, "client-a")
    other, _ = pair_of(tmp_path, "other-ca")
    variable = "REQUESTS_CA_BUNDLE" if library == "requests" else "SSL_CERT_FILE"
    with KeepAlive(server, [certificate]) as endpoint:
        with pytest.raises(TokenTransportError, match="not trusted"):
            send(library, endpoint.url, certificate=certificate, key=key)
        monkeypatch.setenv(variable, str(server))
        send(library, endpoint.url, certificate=certificate, key=key)
        with pytest.raises(TokenTransportError, match="not trusted") as caught:
            send(library, endpoint.url, certificate=certificate, key=key, ca=other)
        monkeypatch.setenv(variable, str(other))
        send(library, endpoint.url, certificate=certificate, key=key, ca=server)
    assert caught.value.advice == f"check that {str(other)!r} holds the CA that issued the server's certificate"
    assert endpoint.peers == ["client-a"] * 2


@each_library
def test_a_ca_without_a_certificate(library: str, tmp_path: Path) -> None:
    """A CA is trusted for a client without certificate as well."""
    server = make_certificate(tmp_path)
    with KeepAlive(server) as endpoint:
        assert send(library, endpoint.url, ca=server) == 200


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[str]:
    """A proxy whose tunnels, to whichever host, end at a port of this machine."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def play(client: socket.socket, _: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as server:
            client.settimeout(1)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=[server, client])
            back.start()
            pump(client, server)
            back.join()

    with Endpoint(play) as proxy:
        yield proxy.url.removesuffix("/token")


@each_library
def test_a_tunnel_of_a_proxy(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is presented to the token endpoint through the tunnel of a proxy as well."""
    server, (certificate, key) = make_certificate(tmp_path, "bank.example.test"), pair_of(tmp_path, "client-a")
    with KeepAlive(server, [certificate]) as endpoint, proxy_to(int(endpoint.url[18:-6])) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        send(library, "https://bank.example.test/token", certificate=certificate, key=key, ca=server)
    assert endpoint.peers == ["client-a"]


@each_library
@each_version
def test_a_refused_certificate(library: str, version: ssl.TLSVersion, tmp_path: Path) -> None:
    """The error for a client that the server refuses in the handshake says so, and names the file or what to give."""
    server, (known, _), (certificate, key) = (
        make_certificate(tmp_path), pair_of(tmp_path, "known"), pair_of(tmp_path, "unknown")
    )  # fmt: skip
    with KeepAlive(server, [known], version) as endpoint:
        with pytest.raises(TokenTransportError) as unknown:
            send(library, endpoint.url, certificate=certificate, key=key, ca=server)
        with pytest.raises(TokenTransportError) as none:
            send(library, endpoint.url, ca=server)
    assert "refused the client in the TLS handshake: unknown ca" in str(unknown.value)
    assert f"by the certificate in {str(certificate)!r}" in unknown.value.advice
    assert "client_auth to TLSClientAuth(certificate, key)" in none.value.advice
    for error in (unknown.value, none.value):
        assert (error.trouble, error.transient) == ("client_certificate", False)


@each_library
def test_a_certificate_that_rotates(library: str, tmp_path: Path) -> None:
    """The next token request presents the new certificate, whether a link was swapped or the files were rewritten."""
    server, link = make_certificate(tmp_path), tmp_path / "current"
    pairs = [pair_of(tmp_path, name) for name in ("first", "second", "third")]
    files = {"certificate": link / "certificate.pem", "key": link / "key.pem", "ca": server}
    with KeepAlive(server, [certificate for certificate, _ in pairs]) as endpoint:
        for (certificate, _), _ in zip(pairs, range(2), strict=False):
            swap(link, certificate.parent)
            send(library, endpoint.url, **files)
        for old, new in zip(pairs[1], pairs[2], strict=True):
            old.write_bytes(new.read_bytes())
        send(library, endpoint.url, **files)
    assert endpoint.peers == ["first", "second", "third"]


@each_library
def test_files_that_are_being_replaced(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-written file, and a key that is not yet the certificate's, are read again until they fit."""
    server, (certificate, key), (_, old_key) = (
        make_certificate(tmp_path), pair_of(tmp_path, "client-a"), pair_of(tmp_path, "old")
    )  # fmt: skip
    whole, right = certificate.read_bytes(), key.read_bytes()
    certificate.write_bytes(whole[:200])
    key.write_bytes(old_key.read_bytes())
    steps = iter([lambda: certificate.write_bytes(whole), lambda: key.write_bytes(right)])
    monkeypatch.setattr(runtime.clock, "sleep", lambda _: next(steps)())
    with KeepAlive(server, [certificate.with_name("certificate-and-key.pem")]) as endpoint:
        send(library, endpoint.url, certificate=certificate, key=key, ca=server)
    assert endpoint.peers == ["client-a"]


def _gone(certificate: Path, key: Path) -> dict[str, Any]:
    key.unlink()
    return {"certificate": certificate, "key": key}


#: What is broken; the file that the error names, the problem and the advice.
BROKEN: dict[str, Any] = {
    "certificate gone": (lambda c, k: {"certificate": c / "x", "key": k}, "certificate", "cannot be read", "path"),
    "key gone": (_gone, "key", "cannot be read (No such file or directory)", "check path and permissions"),
    "another key": (
        lambda c, k: {"certificate": c, "key": pair_of(c.parent, "o")[1]}, "key", "does not belong", "give the key of '"
    ),
    "a key of another kind": (
        lambda c, k: {"certificate": c, "key": rsa_key(k)}, "key", "does not belong to the certificate", "give the key"
    ),
    "no password": (
        lambda c, k: {"certificate": c, "key": rewritten(k, password="pa55word")}, "key", "is encrypted", "password"
    ),
    "a wrong password": (
        lambda c, k: {"certificate": c, "key": rewritten(k, password="pa55word"), "password": "wr0ng-one"},
        "key", "cannot be decrypted by this password", "check password",
    ),
    "a long password": (
        lambda c, k: {"certificate": c, "key": rewritten(k, password="pa55word"), "password": "x" * 2000},
        "key", "cannot be decrypted by this password", "check password",
    ),
    "a certificate as key": (lambda c, k: {"certificate": c, "key": c}, "key", "holds no private key in PEM", "whole"),
    "no key": (lambda c, k: {"certificate": c}, "certificate", "holds no private key", "CERTIFICATE_KEY"),
    "a key as certificate": (lambda c, k: {"certificate": k, "key": k}, "certificate", "holds no certificate", "whole"),
    "text": (lambda c, k: {"certificate": c.write_text("x") and c}, "certificate", "holds no certificate", "whole"),
    "DER": (lambda c, k: {"certificate": rewritten(c, kind="DER"), "key": k}, "certificate", "is in DER", "openssl"),
    "a DER key": (lambda c, k: {"certificate": c, "key": rewritten(k, kind="DER")}, "key", "is in DER", "openssl"),
    "expired": (
        lambda c, k: {"certificate": pair_of(c.parent, "old", -1)[0], "key": k}, "certificate", "expired at 2", "renew"
    ),
    "no CA file": (lambda c, k: {"ca": c / "x"}, "CA", "cannot be read (", "check path"),
    "no CA": (lambda c, k: {"ca": k}, "CA", "holds no CA certificate in PEM", "right file"),
}  # fmt: skip


@each_library
@pytest.mark.parametrize("broken", BROKEN)
def test_a_file_that_cannot_be_used(library: str, broken: str, tmp_path: Path) -> None:
    """The error names the file and what is wrong with it, in one line, and nothing of its content."""
    certificate, key = pair_of(tmp_path, "client-a")
    content = key.read_text().splitlines()[1]
    spoil, kind, problem, advice = BROKEN[broken]
    files = spoil(certificate, key)
    path = files["ca"] if kind == "CA" else files.get("key") if kind == "key" else files["certificate"]
    with pytest.raises(ConfigurationError) as caught:
        send(library, "https://127.0.0.1:1/token", **files)
    text = str(caught.value)
    assert text.startswith(f"the {kind} file {str(path)!r} {problem}")
    assert advice in text
    assert "\n" not in text
    assert not any(secret in text for secret in (content, "pa55word", "wr0ng-one"))


def test_a_weak_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a key that OpenSSL does not accept has its name of the reason."""
    certificate, key = pair_of(tmp_path, "client-a")
    error = ssl.SSLError(1, "ee key too small")
    error.reason = "EE_KEY_TOO_SMALL"

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", fail)
    with pytest.raises(ConfigurationError, match=r"cannot be used \(EE_KEY_TOO_SMALL\); have a new key"):
        send("requests", "https://127.0.0.1:1/token", certificate=certificate, key=key)


def test_one_file_with_the_key_of_another_certificate(tmp_path: Path) -> None:
    """A file with a certificate and the key of another one is named."""
    certificate, other = pair_of(tmp_path, "a")[0], pair_of(tmp_path, "b")[1]
    certificate.write_text(certificate.read_text() + other.read_text())
    with pytest.raises(ConfigurationError, match="has the key of another certificate; give the key of"):
        send("httpx", "https://127.0.0.1:1/token", certificate=certificate)


def test_a_connection_that_closes_before_its_alert_is_read() -> None:
    """Where a client with a certificate finds the connection closed, the advice names the certificate as well."""
    files = TLSFiles("/certs/client.pem")
    errors = [ConnectionResetError()]
    reason = reason_of(errors, "https://a.test/token", seconds=1, proxy=None, library="httpx", tls=files)
    assert reason.trouble == "closed"
    assert reason.advice.startswith("if the server refuses the client: check that the server knows this client by")
    assert "in '/certs/client.pem'" in reason.advice


@pytest.mark.parametrize("error", [ssl.SSLEOFError(8, "EOF"), ConnectionResetError(104, "reset")], ids=["end", "reset"])
def test_the_alert_of_a_server_that_has_closed_is_read(error: OSError) -> None:
    """Where a server has closed the connection, the error of sending is one after which urllib3 reads."""
    connection = _AlertedConnection("127.0.0.1", 1)
    connection.sock = mock.Mock(sendall=mock.Mock(side_effect=error))
    with pytest.raises(BrokenPipeError, match="the server closed the connection"):
        connection.send(b"request")
