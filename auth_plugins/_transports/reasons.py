"""Says in one line why a token endpoint could not be reached, from the types of errors and not from their text."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from auth_plugins._base.frozen import Record
from auth_plugins._base.hosts import DEFAULT_PORTS
from auth_plugins._base.tls_files import NO_FILES, TLSFiles

#: OpenSSL's numbers for a certificate that is not valid yet, or no longer; and for one of another name or address.
_CERTIFICATE_TIME, _CERTIFICATE_NAME = (9, 10), (62, 64)
#: Their errors wrap others; the message names the first error of another package.
_LIBRARIES = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2")
_CHECK_PROXY = "check the proxy: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (NO_PROXY excepts hosts)"
_CHECK_NAME = "check the host in token_url, and that this machine's DNS knows it"
_CHECK_SERVER = "check host and port in token_url, and that the server runs"
_TRY_LATER = "check token_url, the network and its proxies, or try again later"
#: TLS alerts (RFC 8446 §6.2) by which servers refuse a client for its certificate, or for having none.
_CERTIFICATE_ALERTS = {
    "ACCESS_DENIED", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_REQUIRED", "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN", "DECRYPT_ERROR", "HANDSHAKE_FAILURE", "UNKNOWN_CA", "UNSUPPORTED_CERTIFICATE",
}  # fmt: skip
_BROKEN = "ConnectionResetError ConnectionAbortedError BrokenPipeError IncompleteRead"
#: Names of classes of errors, the kind of trouble, what to say, what to do. The first row that matches counts.
_TROUBLES = (
    ("gaierror", "name", "name resolution of {name} failed", _CHECK_NAME),
    ("ConnectionRefusedError", "refused", "connection to {peer} refused", _CHECK_SERVER),
    ("EmptyPoolError PoolTimeout", "timeout", "no free connection of {session} within {seconds} s", ""),
    ("SSLError", "tls", "no TLS with {peer}{tls}", _TRY_LATER),
    ("NewConnectionError ConnectError", "connection", "no connection to {peer}: {system}", _TRY_LATER),
    ("ConnectTimeout ConnectTimeoutError", "timeout", "connection to {peer} timed out", _TRY_LATER),
    ("Timeout TimeoutException TimeoutError", "timeout", "timed out after {seconds} s", _TRY_LATER),
    (_BROKEN, "closed", "connection to {peer} closed before the answer was complete", _TRY_LATER),
)


class Reason(Record):
    """Why there was no answer, and what to do."""

    #: As in the rows above; ``"certificate"``, ``"client_certificate"``, ``"proxy"`` or ``"other"``.
    trouble: str
    text: str
    advice: str
    #: OpenSSL's number for what is wrong with a certificate; 0: nothing.
    verify_code: int = 0


def reason_of(
    errors: Sequence[BaseException],
    url: str,
    *,
    seconds: float,
    proxy: tuple[str, int] | None,
    library: str,
    tls: TLSFiles = NO_FILES,
) -> Reason:
    """Return what *errors*, a :func:`chain`, mean for a request to *url* whose timeout was *seconds*."""
    parts = urlsplit(url)
    certificate = _certificate(errors, parts.hostname or "", library, tls)
    if certificate is not None:
        return certificate
    is_proxied = proxy is not None or _named(errors, "ProxyError")
    host, port = proxy or (parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0))
    name, peer = host, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if is_proxied:
        name, peer = (f"proxy {name}", f"proxy {peer}") if proxy else ("the proxy", "the proxy")
    said = next((getattr(each, "reason", None) for each in errors if isinstance(each, ssl.SSLError)), None)
    if (refusal := refused_certificate(said, peer, library, tls)) is not None:
        return refusal
    number = next((each.errno for each in errors if isinstance(each, OSError) and each.errno), None)
    facts = {
        "name": name,
        "peer": peer,
        "session": _argument(library),
        "seconds": f"{max(round(seconds, 1), 0.1):g}",
        "tls": f": {said}" if isinstance(said, str) else "",
        "system": os.strerror(number) if number else "",
    }
    for names, trouble, text, advice in _TROUBLES:
        if _named(errors, names) and (trouble != "connection" or number):
            todo = "let it open more connections" if not advice else _CHECK_PROXY if is_proxied else advice
            if trouble == "closed" and tls.certificate:  # before its alert was read
                todo = f"if the server refuses the client: {_certificate_file_advice(tls.certificate)}; else {todo}"
            return Reason(trouble, text.format_map(facts), todo)
    foreign = (each for each in errors if type(each).__module__.partition(".")[0] not in _LIBRARIES)
    origin = next(foreign, errors[-1])
    if is_proxied:
        return Reason("proxy", f"{peer} failed: {origin}", _CHECK_PROXY)
    return Reason("other", f"{type(origin).__name__}: {origin}", _TRY_LATER)


def refused_certificate(said: object, peer: str, library: str, tls: TLSFiles) -> Reason | None:
    """Return the reason if *said*, OpenSSL's name of an error, is an alert about the client's certificate.

    :param peer: host and port of the server.
    :param library: the name of the library in use.
    """
    alert = said.rpartition("ALERT_")[2] if isinstance(said, str) and "ALERT_" in said else ""
    if alert not in _CERTIFICATE_ALERTS:
        return None
    text = f"{peer} refused the client in the TLS handshake: {alert.replace('_', ' ').lower()}"
    if tls.certificate:
        return Reason("client_certificate", text, _certificate_file_advice(tls.certificate))
    advice = "if the server wants a client certificate, set client_auth to TLSClientAuth(certificate, key)"
    others = f"set the variables CLIENT_AUTH and CERTIFICATE, or give a {_argument(library)} that has one it knows"
    return Reason("client_certificate", text, f"{advice}, {others}")


def _certificate_file_advice(path: str) -> str:
    return f"check that the server knows this client by the certificate in {path!r}, and trusts its issuer"


def _certificate(errors: Sequence[BaseException], host: str, library: str, tls: TLSFiles) -> Reason | None:
    code, problem = 0, ""
    for error in errors:
        if isinstance(error, ssl.SSLCertVerificationError):
            code, problem = error.verify_code, error.verify_message
            break
        if _named([error], "CertificateError"):  # urllib3 compares some names itself
            code, problem = _CERTIFICATE_NAME[0], "it is another host's"
    if not problem:
        return None
    text = f"TLS certificate of {host} not trusted: {problem}"
    return Reason("certificate", text, certificate_advice(code, library, ca=tls.ca), code)


def certificate_advice(
    code: int,
    library: str,
    variable: str = "token_url",
    ca: str | None = None,
    bundle: str = "the variable CA_BUNDLE",
) -> str:
    """Return the advice for a certificate that *library* rejects.

    :param code: OpenSSL's number for the problem.
    :param variable: the argument or variable that holds the host.
    :param ca: the path of the CA certificates that were configured; ``None``: none were.
    :param bundle: the variable that configures them.
    """
    if code in _CERTIFICATE_TIME:
        return "have the server's owner renew it, or set this machine's clock right"
    if code in _CERTIFICATE_NAME:
        return f"check the host in {variable}"
    if ca is not None:
        return f"check that {ca!r} holds the CA that issued the server's certificate"
    name = "REQUESTS_CA_BUNDLE" if library == "requests" else "SSL_CERT_FILE"
    todo = f"set {name} or {bundle} to its file, or give {_argument(library)} in code"
    return f"if that is a CA of your own, or a proxy's: {todo}"


def _argument(library: str) -> str:
    return "session=" if library == "requests" else "client="


def _named(errors: Sequence[BaseException], names: str) -> bool:
    """Whether the class of one of *errors*, or a base class of it, is one of *names*: each library has its own."""
    return any(base.__name__ in names.split() for each in errors for base in type(each).__mro__)
