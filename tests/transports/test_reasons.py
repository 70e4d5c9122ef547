"""The error of a token endpoint that cannot be reached is one short line, with what to do, in each library."""

from __future__ import annotations

import contextlib
import importlib
import pickle
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import pytest
import requests
import urllib3
from urllib3.util.ssl_match_hostname import CertificateError

from auth_plugins import ClientCredentials, TokenTransportError
from auth_plugins._base.errors import chain
from auth_plugins._transports.reasons import Reason, certificate_advice, reason_of
from tests.support.endpoints import LIBRARIES, OK, Endpoint, new_session, resetting, saying, silent, token_source
from tests.support.keep_alive import KeepAlive, make_certificate
from tests.support.loopback import Loopback

each_library = pytest.mark.parametrize("library", LIBRARIES)
DNS_ADVICE = "check the host in token_url, and that this machine's DNS knows it"
NETWORK_ADVICE = "check token_url, the network and its proxies, or try again later"
PROXY_ADVICE = "check the proxy: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (NO_PROXY excepts hosts)"


@pytest.fixture(autouse=True)
def _no_ca_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def failure(library: str, url: str, timeout: float = 5, **options: Any) -> TokenTransportError:
    """The error of a token request to *url*."""
    grant = ClientCredentials(url, "id", "s3cr3t", **options)
    with pytest.raises(TokenTransportError) as caught:
        token_source(library, grant, timeout=timeout, allow_http=True).token()
    error = caught.value
    assert "\n" not in str(error)
    assert isinstance(error.__cause__, Exception)
    return error


def assert_says(error: TokenTransportError, trouble: str, problem: str, advice: str) -> None:
    """Fail unless the error has this data, and its text is made of it."""
    url = error.problem.partition(" ")[0]
    assert (error.trouble, error.problem, error.advice) == (
        trouble,
        f"{url} could not be reached ({problem})",
        advice,
    )
    assert str(error) == f"{error.problem}; {error.advice}"


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that no other program gets meanwhile."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def _no_name(*_: Any, **__: Any) -> NoReturn:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@each_library
def test_an_unknown_host(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for an unknown host names the host, or the proxy whose host is unknown."""
    monkeypatch.setattr(socket, "getaddrinfo", _no_name)
    error = failure(library, "https://id.example.test/token")
    assert_says(error, "name", "name resolution of id.example.test failed", DNS_ADVICE)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.test:3128")
    error = failure(library, "https://id.example.test/token")
    assert_says(error, "name", "name resolution of proxy proxy.example.test failed", PROXY_ADVICE)


@each_library
def test_a_refused_connection(library: str) -> None:
    """The error for a refused connection names host and port."""
    with closed_port() as port:
        error = failure(library, f"http://127.0.0.1:{port}/token")
    advice = "check host and port in token_url, and that the server runs"
    assert_says(error, "refused", f"connection to 127.0.0.1:{port} refused", advice)


@each_library
def test_no_answer_in_time(library: str) -> None:
    """The error for a timeout says how many seconds were waited."""
    with Endpoint(silent) as endpoint:
        assert_says(failure(library, endpoint.url, 0.4), "timeout", "timed out after 0.4 s", NETWORK_ADVICE)


NO_CONNECTION = {
    "timeout": (TimeoutError(), "connection to [2001:db8::1]:80 timed out"),
    "connection": (OSError(101, "?"), "no connection to [2001:db8::1]:80: Network is unreachable"),
}


@each_library
@pytest.mark.parametrize("trouble", NO_CONNECTION)
def test_no_connection(library: str, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a failed connection names the address, and the system's reason."""
    raised, problem = NO_CONNECTION[trouble]
    for place in ("socket.create_connection", "urllib3.util.connection.create_connection"):
        monkeypatch.setattr(place, mock.Mock(side_effect=raised))
    assert_says(failure(library, "http://[2001:db8::1]/token"), trouble, problem, NETWORK_ADVICE)


@each_library
def test_a_broken_answer(library: str) -> None:
    """The error for a connection that breaks before the answer, or in its body, says so in one short line."""
    with Endpoint(resetting) as endpoint:
        error = failure(library, endpoint.url)
    # For httpx, a connection that ended without an answer is a fault of the protocol.
    assert "closed before the answer was complete" in str(error) or "disconnected" in str(error)
    with saying(OK + b"Content-Length: 99\r\n\r\n{}") as endpoint:
        error = failure(library, endpoint.url)
    assert "could not be reached (" in str(error)
    assert len(str(error)) < 250


@each_library
def test_a_contradictory_answer_leaves_no_connection(library: str) -> None:
    """The connection of an answer with a contradictory length is closed, although urllib3 leaves it open."""
    closed: list[bool] = []

    def play(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(OK + b"Content-Length: 5, 6\r\n\r\n{}")
        connection.settimeout(1)
        while connection.recv(65536):
            pass
        closed.append(True)

    with Endpoint(play) as endpoint:
        kept_alive = failure(library, endpoint.url)
    assert kept_alive.trouble == "other"
    assert len(closed) == endpoint.connections


@each_library
def test_an_untrusted_certificate(library: str, tmp_path: Path) -> None:
    """The error for an unknown CA says which variable or argument names another; its data survives pickling."""
    with KeepAlive(make_certificate(tmp_path)) as endpoint:
        error = failure(library, endpoint.url)
    name, argument = ("REQUESTS_CA_BUNDLE", "session=") if library == "requests" else ("SSL_CERT_FILE", "client=")
    advice = f"if that is a CA of your own, or a proxy's: set {name} or the variable CA_BUNDLE to its file"
    problem = "TLS certificate of 127.0.0.1 not trusted: self-signed certificate"
    advice += f", or give {argument} in code"
    assert_says(pickle.loads(pickle.dumps(error)), "certificate", problem, advice)
    assert pickle.loads(pickle.dumps(error)).verify_code == 18


@each_library
def test_a_certificate_of_another_host(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for another host's certificate advises to check the host."""
    certificate = make_certificate(tmp_path, "id.example.test")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE" if library == "requests" else "SSL_CERT_FILE", str(certificate))
    with KeepAlive(certificate) as endpoint:
        error = failure(library, endpoint.url)
    assert (error.trouble, error.advice) == ("certificate", "check the host in token_url")


@each_library
def test_a_server_without_tls(library: str, server: Loopback) -> None:
    """The error for https:// to a port that speaks HTTP says that there is no TLS."""
    error = failure(library, server.token_url.replace("http", "https"))
    assert error.trouble == "tls"
    assert f"(no TLS with {server.url.removeprefix('http://')}: " in str(error)


@each_library
def test_a_proxy_that_refuses_connections(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the proxy that refused a connection, without its password."""
    with closed_port() as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pa55word@127.0.0.1:{port}")
        error = failure(library, "http://id.example.test/token")
    assert_says(error, "refused", f"connection to proxy 127.0.0.1:{port} refused", PROXY_ADVICE)


@each_library
def test_a_proxy_that_wants_a_password(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error quotes the answer of a proxy that refuses the tunnel, on one short line."""
    with saying(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/token"))
        error = failure(library, "https://id.example.test/token")
    place = proxy.url.removeprefix("http://").removesuffix("/token")
    prefix = "Tunnel connection failed: " if library == "requests" else ""
    problem = f"proxy {place} failed: {prefix}407 Proxy Authentication Required"
    assert_says(error, "proxy", problem, PROXY_ADVICE)


@each_library
def test_the_query_is_not_shown(library: str) -> None:
    """An error shows no parameter of a token request, even where the library quotes the URL."""
    with closed_port() as port:
        error = failure(library, f"http://127.0.0.1:{port}/token", encoding="query", scope="a-scope-of-mine")
    assert "a-scope-of-mine" not in f"{error!r} {error.__cause__!r}"
    if library == "requests":
        assert "with url: /token?… (Caused by " in str(error.__cause__)


@each_library
def test_the_library_error_is_the_cause(library: str) -> None:
    """The cause is an error of the library; an error that was handled before the token request is not the reason."""
    with saying(b"no HTTP\r\n\r\n") as endpoint:
        try:
            _no_name()
        except socket.gaierror:
            error = failure(library, endpoint.url)
    assert "name resolution" not in str(error)
    module = importlib.import_module(library)
    assert isinstance(error.__cause__, module.RequestException if library == "requests" else module.TransportError)


@each_library
def test_an_error_of_a_hook_is_named(library: str) -> None:
    """The error names class and text of an error that a session's hook raises."""

    class SealedError(Exception):
        pass

    def fail(message: Any, **_: Any) -> NoReturn:
        getattr(message, "close", lambda: None)()
        raise SealedError("the vault is sealed") from KeyError("x")

    with saying(OK + b"Content-Length: 2\r\n\r\n{}") as endpoint, new_session(library) as session:
        (session.hooks if library == "requests" else session.event_hooks)["response"].append(fail)
        with pytest.raises(TokenTransportError, match=r"\(SealedError: the vault is sealed\); "):
            token_source(library, ClientCredentials(endpoint.url, "id", "s3cr3t"), session).token()


def test_a_chain_of_errors_is_bounded() -> None:
    """Errors that wrap each other in a circle are read once; of hundreds, fifty are read."""
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert chain(first) == [first, second]
    deep: BaseException = ValueError()
    for _ in range(200):
        deep = ValueError(deep)
    assert len(chain(deep)) == 50


def reason(error: BaseException, library: str = "requests") -> Reason:
    return reason_of(chain(error), "https://a.test/token", seconds=1, proxy=None, library=library)


def test_reasons_of_errors_that_are_hard_to_cause() -> None:
    """An unknown proxy, names that urllib3 compares itself, and a TLS error without a reason have their own text."""
    proxy = urllib3.exceptions.ProxyError
    tunnel = reason(requests.exceptions.ProxyError(proxy("no", OSError("Tunnel failed"))))
    assert (tunnel.trouble, tunnel.text) == ("proxy", "the proxy failed: Tunnel failed")
    assert reason(proxy("no", ConnectionRefusedError())).text == "connection to the proxy refused"
    name = reason(urllib3.exceptions.SSLError(CertificateError("hostname 'a.test' doesn't match 'b.test'")))
    assert (name.trouble, name.text) == ("certificate", "TLS certificate of a.test not trusted: it is another host's")
    assert name.advice == "check the host in token_url"
    tls = reason(ssl.SSLError(), "httpx")
    assert (tls.trouble, tls.text) == ("tls", "no TLS with a.test:443")
    assert certificate_advice(10, "httpx").startswith("have the server's owner renew it")
