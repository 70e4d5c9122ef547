"""The way to the token endpoint for ``auth-plugins check``: its name, a connection, TLS; no request is sent."""

import contextlib
import socket
import ssl
import urllib.request
from collections.abc import Callable, Generator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from auth_plugins._base.errors import InsecureTransportError
from auth_plugins._base.hosts import DEFAULT_PORTS, check_transport, is_loopback, normal_host
from auth_plugins._base.runtime import runtime
from auth_plugins._transports.reasons import certificate_advice, refused_certificate

from .context import FAILED, GOOD, NOTE, Context, Step

_T = TypeVar("_T")


def check_way(url: str, context: Context) -> Generator[Step, None, bool]:
    """Take the steps towards *url* as the library would, until one fails; return whether none did."""
    scheme, host, port = origin(url)
    if unsafe := refused_in_clear("connection", url, context):
        yield unsafe
        return False
    if proxy := _proxy_of(scheme, host):
        why = f"by the proxy {proxy} (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; NO_PROXY excepts hosts), which looks it up"
        yield Step(NOTE, "connection", why)
        return True
    variable, seconds, name = context.variable("token_url"), context.policy["timeout"], "name resolution"
    advice = f"check the host in {variable}, and that this machine's DNS knows it (VPN? container?)"
    try:
        found = bounded(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), seconds)
        yield Step(GOOD, name, f"{host} is {', '.join(sorted({str(address[0]) for *_, address in found}))}")
        name = "connection"
        advice = f"check host and port in {variable}, firewalls, and whether a proxy is needed (HTTPS_PROXY)"
        bounded(lambda: socket.create_connection((host, port), seconds).close(), seconds)
        yield Step(GOOD, name, f"{host} port {port}{'' if scheme == 'https' else ', without TLS'}")
    except (OSError, ValueError) as error:
        yield Step(FAILED, name, f"{host} port {port}: {reason(error)}", advice)
        return False
    if scheme == "http":
        return True
    tls = _check_tls(url, host, port, context)
    yield tls
    return tls.state == GOOD


def refused_in_clear(name: str, url: str, context: Context) -> Step | None:
    """Return the step that fails where a secret or a token would travel in clear; ``None``: it would not."""
    scheme, host = urlsplit(url).scheme, urlsplit(url).hostname or ""
    try:
        check_transport(scheme, host, allow_http=context.policy["allow_http"])
    except InsecureTransportError:
        what = f"refused, as a secret or a token would travel to {host} in clear"
        return Step(FAILED, name, what, f"use https://, or set {context.variable('allow_http')}=true")
    return None


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL, in one spelling."""
    parts = urlsplit(url)
    return parts.scheme, normal_host(parts.hostname or ""), parts.port or DEFAULT_PORTS[parts.scheme]


def bounded(action: Callable[[], _T], seconds: float) -> _T:
    """Return what *action* returns, or raise TimeoutError after *seconds*; the action then goes on in its thread.

    Nothing else bounds a name resolution; a timeout of sockets holds for each address, and for each read.
    """
    outcome: Future[_T] = Future()

    def act() -> None:
        try:
            outcome.set_result(action())
        except Exception as error:
            outcome.set_exception(error)

    runtime.start_thread(act, "auth-plugins check")
    runtime.wait(outcome, seconds)
    return outcome.result(0)


def _check_tls(url: str, host: str, port: int, context: Context) -> Step:
    library, variable, seconds = context.library, context.variable("token_url"), context.policy["timeout"]
    try:
        trust = context.tls.context(lambda: _trust_of(library, url))
    except (OSError, ValueError) as error:
        advice = "check the files that REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE and SSL_CERT_DIR name"
        return Step(FAILED, "TLS", f"the certificates to trust cannot be read ({reason(error)})", advice)
    try:
        return Step(GOOD, "TLS", _handshake(host, port, trust, seconds))
    except ssl.SSLCertVerificationError as error:
        no_trust = ssl.create_default_context()
        no_trust.check_hostname, no_trust.verify_mode = False, ssl.CERT_NONE  # to show the certificate; nothing is sent
        certificate = ""
        with contextlib.suppress(OSError, ValueError):
            certificate = f": {_handshake(host, port, no_trust, seconds)}"
        bundle = context.variable("ca_bundle")
        advice = certificate_advice(error.verify_code, library.__name__, variable, context.tls.ca, bundle)
        return Step(FAILED, "TLS", f"{error.verify_message}{certificate}", advice)
    except (OSError, ValueError) as error:
        said = getattr(error, "reason", None)
        if refusal := refused_certificate(said, f"{host}:{port}", library.__name__, context.tls):
            return Step(FAILED, "TLS", refusal.text, refusal.advice)
        advice = f"check that the port in {variable} is one of https, and what certificates this machine trusts"
        return Step(FAILED, "TLS", f"{host} port {port}: {reason(error)}", advice)


def _handshake(host: str, port: int, trust: ssl.SSLContext, seconds: float) -> str:
    """Return protocol and certificate, in words."""
    from cryptography import x509

    def shake_hands() -> tuple[str | None, bytes | None]:
        with (
            socket.create_connection((host, port), seconds) as plain,
            trust.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return secure.version(), secure.getpeercert(binary_form=True)

    version, encoded = bounded(shake_hands, seconds)
    try:
        described = describe_certificate(x509.load_der_x509_certificate(encoded or b""))
    except Exception as error:  # cryptography's errors have no base class: InvalidVersion is not even a ValueError
        return f"{version}; a certificate that cannot be read ({type(error).__name__})"
    return f"{version}; {described}"


def describe_certificate(certificate: Any) -> str:
    """Return whose certificate it is, who issued it, and when it expires, in words."""
    subject, issuer = (name.rfc4514_string() or "no name" for name in (certificate.subject, certificate.issuer))
    return f"certificate of {subject}, by {issuer}, until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"


def _trust_of(library: Any, url: str) -> ssl.SSLContext:
    """Return what *library* trusts."""
    if library.__name__ != "requests":
        context: ssl.SSLContext = library.create_ssl_context()
        return context
    verify = library.Session().merge_environment_settings(url, {}, None, None, None)["verify"]
    path = Path(library.certs.where() if verify in (None, True) else verify)
    return ssl.create_default_context(capath=path) if path.is_dir() else ssl.create_default_context(cafile=path)


def _proxy_of(scheme: str, host: str) -> str | None:
    """Return the proxy that token requests to *host* go by, without user and password; ``None``: none."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    return proxy.rpartition("@")[2].rpartition("//")[2]


def reason(error: Exception) -> str:
    """Return why something could not be reached."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
