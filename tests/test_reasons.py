"""Why a token endpoint could not be reached: one short line, the same in all libraries, by the kinds of errors."""

from __future__ import annotations

import importlib
import pickle
import socket
import ssl
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests
import urllib3
from urllib3.util.ssl_match_hostname import CertificateError

from auth_plugins import ClientCredentials, MemoryCache, TokenSource, TokenTransportError
from auth_plugins._transports.httpx import httpx_transport
from auth_plugins._transports.reasons import certificate_advice, chain, reason_of
from auth_plugins._transports.requests import requests_transport

from .keep_alive import KeepAlive, make_certificate
from .loopback import Loopback
from .test_bounds import OK, PLAYS, TRANSPORTS, Endpoint

LIBRARIES = [*TRANSPORTS]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _no_ca_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def failure(library: str, url: str, timeout: float = 0.4, **options: Any) -> TokenTransportError:
    """The error of a token request to *url*."""
    source = TokenSource(ClientCredentials(url, "id", "s3cr3t", **options), cache=MemoryCache(), timeout=timeout)
    source._transport, source._allow_http = TRANSPORTS[library](), True
    with pytest.raises(TokenTransportError) as caught:
        source.token()
    error = caught.value
    assert "\n" not in str(error)
    assert isinstance(error.__cause__, Exception)
    return error


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _no_name(*_: Any, **__: Any) -> NoReturn:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_name_that_is_unknown(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's name is not known: one line says whose name, and what to check."""
    monkeypatch.setattr(socket, "getaddrinfo", _no_name)
    error = failure(library, "https://id.example.test/token")
    assert str(error) == (
        "https://id.example.test/token could not be reached (name resolution of id.example.test failed); "
        "check the host in token_url, and that this machine's DNS knows it"
    )
    assert error.trouble == "name"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_port_where_nobody_listens(library: str) -> None:
    """Nothing listens there: one line says where."""
    port = free_port()
    error = failure(library, f"http://127.0.0.1:{port}/token")
    assert str(error) == (
        f"http://127.0.0.1:{port}/token could not be reached (connection to 127.0.0.1:{port} refused); "
        "check host and port in token_url, and that the server runs"
    )
    assert error.trouble == "refused"


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_answer_in_time(library: str) -> None:
    """The server takes the request and never answers: one line says how long was waited."""
    with Endpoint(PLAYS["it never answers"]) as endpoint:
        error = failure(library, endpoint.url)
        assert str(error) == (
            f"{endpoint.url} could not be reached (timed out after 0.4 s); "
            "check token_url, the network and its proxies, or try again later"
        )
    assert error.trouble == "timeout"


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_connection_in_time(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection itself takes too long: that is told."""

    def connect(*_: Any, **__: Any) -> NoReturn:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    assert "(connection to id.example.test:80 timed out); " in str(failure(library, "http://id.example.test/token"))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_network_without_a_way(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no way to the host: the system's word for it is told."""

    def connect(*_: Any, **__: Any) -> NoReturn:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    error = failure(library, "http://[2001:db8::1]/token")
    assert "(no connection to [2001:db8::1]:80: Network is unreachable); " in str(error)
    assert error.trouble == "connection"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_connection_that_breaks(library: str) -> None:
    """The connection breaks: that is told."""
    with Endpoint(PLAYS["it resets the connection"]) as endpoint:
        error = failure(library, endpoint.url, timeout=5)
    # httpx knows a connection that ended, and not one that broke off, as a matter of protocol.
    assert str(error).count("; ") == 1
    assert "closed before the answer was complete" in str(error) or "disconnected" in str(error)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_body_that_breaks_off(library: str) -> None:
    """The connection ends before the body does: that is told."""
    with Endpoint(lambda connection, _: connection.sendall(OK + b"Content-Length: 99\r\n\r\n{}")) as endpoint:
        error = failure(library, endpoint.url, timeout=5)
    assert "could not be reached (" in str(error)
    assert len(str(error)) < 250


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_certificate_that_is_not_trusted(library: str, tmp_path: Path) -> None:
    """The server's CA is not trusted here: one line says so, and what to set or to give."""
    with KeepAlive(make_certificate(tmp_path)) as endpoint:
        error = failure(library, endpoint.url)
        again = pickle.loads(pickle.dumps(error))
    name, argument = ("REQUESTS_CA_BUNDLE", "session=") if library == "requests" else ("SSL_CERT_FILE", "client=")
    assert str(error) == (
        f"{endpoint.url} could not be reached "
        "(TLS certificate of 127.0.0.1 not trusted: self-signed certificate); "
        f"if that is a CA of your own, or a proxy's: set {name} to its file, or give {argument} in code"
    )
    assert (again.trouble, again.verify_code) == ("certificate", 18)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_certificate_of_another_host(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is another host's: the advice is to check the host."""
    certificate = make_certificate(tmp_path, "id.example.test")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE" if library == "requests" else "SSL_CERT_FILE", str(certificate))
    with KeepAlive(certificate) as endpoint:
        error = failure(library, endpoint.url)
    assert str(error).endswith("; check the host in token_url")
    assert error.trouble == "certificate"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_server_without_tls(library: str, server: Loopback) -> None:
    """https:// was written for a port that speaks HTTP: one line says that there is no TLS."""
    error = failure(library, server.token_url.replace("http", "https"))
    place = server.url.removeprefix("http://")
    assert f"could not be reached (no TLS with {place}: " in str(error)
    assert error.trouble == "tls"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_proxy_that_is_not_there(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at the proxy's address: the proxy is named, without its password, and not the endpoint."""
    port = free_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://user:pa55word@127.0.0.1:{port}")
    error = failure(library, "http://id.example.test/token")
    assert str(error) == (
        f"http://id.example.test/token could not be reached (connection to proxy 127.0.0.1:{port} refused); "
        "check the proxy: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (NO_PROXY excepts hosts)"
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_proxy_whose_name_is_unknown(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's name is not known: it is the one that is told."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.test:3128")
    monkeypatch.setattr(socket, "getaddrinfo", _no_name)
    assert "(name resolution of proxy proxy.example.test failed); check the proxy: " in str(
        failure(library, "https://id.example.test/token")
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_proxy_that_refuses(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy wants a password: its answer is told."""
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with Endpoint(lambda connection, _: connection.sendall(answer)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/token"))
        error = failure(library, "https://id.example.test/token", timeout=5)
    place = proxy.url.removeprefix("http://").removesuffix("/token")
    assert f"(proxy {place} failed: " in str(error)
    assert "407 Proxy Authentication Required); check the proxy: " in str(error)
    assert error.trouble == "proxy"


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_query_is_not_told(library: str) -> None:
    """The parameters of a token request are in its URL: a library's error that quotes them is told without."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/token"
    error = failure(library, url, encoding="query", scope="a-scope-of-mine")
    assert "a-scope-of-mine" not in f"{error!r} {error.__cause__!r}"


def test_a_query_that_a_library_quotes_is_cut_out() -> None:
    """The library quotes path and query of the URL in its error: the cause says where they stood."""
    url = f"http://127.0.0.1:{free_port()}/token"
    cause = failure("requests", url, encoding="query", scope="a-scope-of-mine").__cause__
    assert "with url: /token?… (Caused by " in str(cause)


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_was_handled_before_is_not_the_reason(library: str) -> None:
    """A token is asked for while another error is handled: that one says nothing of this request."""
    with Endpoint(lambda connection, _: connection.sendall(b"no HTTP\r\n\r\n")) as endpoint:
        try:
            _no_name()
        except socket.gaierror:
            error = failure(library, endpoint.url, timeout=5)
    assert "name resolution" not in str(error)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_error_of_ones_own_is_told_by_its_name(library: str) -> None:
    """A hook of the user's raises an error with a cause: its own name and text are told."""

    class SealedError(Exception):
        pass

    def fail(message: Any, **_: Any) -> NoReturn:
        getattr(message, "close", lambda: None)()
        raise SealedError("the vault is sealed") from KeyError("x")

    module = importlib.import_module(library)
    with Endpoint(lambda connection, _: connection.sendall(OK + b"Content-Length: 2\r\n\r\n{}")) as endpoint:
        if library == "requests":
            with requests.Session() as session:
                session.hooks["response"].append(fail)
                send = requests_transport(session)
        else:
            client = module.Client(event_hooks={"response": [fail]})
            send = httpx_transport(library, client)
        source = TokenSource(ClientCredentials(endpoint.url, "id", "s3cr3t"), cache=MemoryCache())
        source._transport = send
        with pytest.raises(TokenTransportError, match=r"\(SealedError: the vault is sealed\); "):
            source.token()
        if library != "requests":
            client.close()


def test_a_chain_has_an_end() -> None:
    """Errors that wrap each other in a circle, or by the hundred, are looked at once, and not all."""
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert chain(first) == [first, second]
    deep: BaseException = ValueError()
    for _ in range(200):
        deep = ValueError(deep)
    assert len(chain(deep)) == 50


def test_a_proxy_that_is_not_known_by_address() -> None:
    """A proxy of a user's own adapter failed: it is told as such."""
    error = requests.exceptions.ProxyError(urllib3.exceptions.ProxyError("no", OSError("Tunnel failed")))
    reason = reason_of(chain(error), "https://a.test/token", seconds=1, proxy=None, library="requests")
    assert (reason.trouble, reason.text) == ("proxy", "the proxy failed: Tunnel failed")
    refused = urllib3.exceptions.ProxyError("no", ConnectionRefusedError())
    reason = reason_of(chain(refused), "https://a.test/token", seconds=1, proxy=None, library="requests")
    assert reason.text == "connection to the proxy refused"


def test_names_that_urllib3_compares() -> None:
    """Some versions of urllib3 compare the names in a certificate themselves: the reason is the same."""
    error = urllib3.exceptions.SSLError(CertificateError("hostname '127.0.0.1' doesn't match 'a.test'"))
    reason = reason_of(chain(error), "https://127.0.0.1/token", seconds=1, proxy=None, library="requests")
    assert (reason.trouble, reason.advice) == ("certificate", "check the host in token_url")
    assert reason.text == "TLS certificate of 127.0.0.1 not trusted: it is another host's"


def test_a_tls_error_without_a_reason() -> None:
    """An error of TLS that says nothing more is told as such."""
    reason = reason_of([ssl.SSLError()], "https://a.test/token", seconds=1, proxy=None, library="httpx")
    assert (reason.trouble, reason.text) == ("tls", "no TLS with a.test:443")


def test_advice_for_an_expired_certificate() -> None:
    """A certificate that has expired is the business of the server's owner, or this machine's clock."""
    assert certificate_advice(10, "httpx").startswith("have the server's owner renew it")
