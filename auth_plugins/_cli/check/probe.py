"""The way to the token endpoint for ``auth-plugins check``: its name, a connection, TLS; nothing is sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from auth_plugins._base.errors import InsecureTransportError
from auth_plugins._base.hosts import DEFAULT_PORTS, check_transport, is_loopback, normal_host
from auth_plugins._transports.reasons import certificate_advice

from .advice import Setup, Step

__all__ = ["bounded", "origin", "reach", "refused_in_clear"]

_T = TypeVar("_T")


def reach(url: str, library: Any, setup: Setup) -> Iterator[Step]:
    """Take the steps towards *url* as *library* would, until one fails."""
    (scheme, host, port), variable = origin(url), setup.variable("token_url")
    if unsafe := refused_in_clear("connection", urlsplit(url), setup):
        yield unsafe
        return
    if proxy := _proxy_of(scheme, host):
        why = f"by the proxy {proxy} (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; NO_PROXY excepts hosts), which looks it up"
        yield Step.told("connection", why)
        return
    step, probe = "name resolution", _Probe(host, port, setup.timeout)
    try:
        yield Step.good(step, f"{host} is {', '.join(probe.addresses())}")
        step = "connection"
        yield Step.good(step, f"{probe.connected()}{'' if scheme == 'https' else ', without TLS'}")
        step = "TLS"
        if scheme == "https":
            try:
                trusting = _trusting(library, url)
            except (OSError, ValueError) as error:
                advice = "check the files that REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR name"
                yield Step.failed(step, f"the certificates to trust cannot be read ({_reason(error)})", advice)
                return
            yield Step.good(step, probe.handshake(trusting))
    except ssl.SSLCertVerificationError as error:
        untrusting = ssl.create_default_context()
        untrusting.check_hostname, untrusting.verify_mode = False, ssl.CERT_NONE  # for a look
        certificate = ""
        with contextlib.suppress(OSError, ValueError):
            certificate = f": {probe.handshake(untrusting)}"
        advice = certificate_advice(error.verify_code, library.__name__, variable)
        yield Step.failed(step, f"{error.verify_message}{certificate}", advice)
    except (OSError, ValueError) as error:
        by_step = {
            "name resolution": f"check the host in {variable}, and that this machine's DNS knows it (VPN? container?)",
            "connection": f"check host and port in {variable}, firewalls, and whether a proxy is needed (HTTPS_PROXY)",
            "TLS": f"check that the port in {variable} is one of https, and what certificates this machine trusts",
        }
        yield Step.failed(step, f"{host} port {port}: {_reason(error)}", by_step[step])


def refused_in_clear(name: str, parts: SplitResult, setup: Setup) -> Step | None:
    """The step that fails where a secret or a token would travel in clear; ``None``: it wouldn't."""
    try:
        check_transport(parts.scheme, parts.hostname or "", allow_http=setup.allow_http)
    except InsecureTransportError:
        what = f"refused, as a secret or a token would travel to {parts.hostname} in clear"
        return Step.failed(name, what, f"use https://, or set {setup.variable('allow_http')}=true")
    return None


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL, in one spelling."""
    parts = urlsplit(url)
    return parts.scheme, normal_host(parts.hostname or ""), parts.port or DEFAULT_PORTS[parts.scheme]


class _Probe:
    """Tries one host; each method raises OSError or ValueError."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._host, self._port, self._timeout = host, port, timeout

    def addresses(self) -> list[str]:
        found = bounded(lambda: socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM), self._timeout)
        return sorted({str(address[0]) for *_, address in found})

    def connected(self) -> str:
        bounded(lambda: self._connect().close(), self._timeout)
        return f"{self._host} port {self._port}"

    def handshake(self, context: ssl.SSLContext) -> str:
        """Protocol and certificate, in words."""
        from cryptography import x509

        def shake_hands() -> tuple[str | None, bytes | None]:
            with self._connect() as plain, context.wrap_socket(plain, server_hostname=self._host) as secure:
                return secure.version(), secure.getpeercert(binary_form=True)

        version, encoded = bounded(shake_hands, self._timeout)
        try:
            certificate = x509.load_der_x509_certificate(encoded or b"")
            subject, issuer = (name.rfc4514_string() or "no name" for name in (certificate.subject, certificate.issuer))
            ends = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
        except Exception as error:
            return f"{version}; a certificate that cannot be read ({type(error).__name__})"
        return f"{version}; certificate of {subject}, by {issuer}, until {ends}"

    def _connect(self) -> socket.socket:
        return socket.create_connection((self._host, self._port), self._timeout)


def bounded(action: Callable[[], _T], seconds: float) -> _T:
    """What *action* returns, in time: nothing else bounds a look-up, many addresses, or an answer that drips."""
    outcome: Future[_T] = Future()

    def act() -> None:
        try:
            outcome.set_result(action())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=act, name="auth-plugins check", daemon=True).start()
    return outcome.result(seconds)


def _trusting(library: Any, url: str) -> ssl.SSLContext:
    """What *library* trusts."""
    if library.__name__ != "requests":
        context: ssl.SSLContext = library.create_ssl_context()
        return context
    told = library.Session().merge_environment_settings(url, {}, None, None, None)["verify"]
    path = Path(library.certs.where() if told in (None, True) else told)
    return ssl.create_default_context(capath=path) if path.is_dir() else ssl.create_default_context(cafile=path)


def _proxy_of(scheme: str, host: str) -> str | None:
    """The proxy that token requests to *host* go by, without user and password."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return proxy.rpartition("@")[2].rpartition("//")[2]


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
