"""Says in one line why a token endpoint could not be reached, from the types of errors and not from their text."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from auth_plugins._base.hosts import DEFAULT_PORTS

__all__ = ["Reason", "certificate_advice", "chain", "reason_of"]

#: OpenSSL's numbers for a certificate that is not valid yet, or no longer; and for one of another name or address.
_CERTIFICATE_TIME, _CERTIFICATE_NAME = (9, 10), (62, 64)
#: Their errors wrap others; the message names the first error of another package.
_LIBRARIES = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2")
#: The most errors that are looked at.
_LONGEST_CHAIN = 50


class Reason(NamedTuple):  # importing dataclasses takes longer than the rest of an adapter
    """Why there was no answer."""

    #: ``"certificate"``, ``"closed"``, ``"connection"``, ``"name"``, ``"proxy"``, ``"refused"``, ``"timeout"``,
    #: ``"tls"`` or ``"other"``.
    trouble: str
    text: str
    #: What to do.
    advice: str
    #: OpenSSL's number for what is wrong with a certificate; 0: nothing.
    verify_code: int = 0


def chain(error: BaseException, outer: BaseException | None = None) -> list[BaseException]:
    """Return *error* and all that it wraps, the outermost first; not *outer*, which was being handled before."""
    found, seen = [error], {id(error), id(outer)}
    for each in found:  # and those that are added meanwhile
        wrapped = [getattr(each, name, None) for name in ("reason", "original_error", "__cause__", "__context__")]
        for inner in (*each.args, *wrapped):
            if isinstance(inner, BaseException) and id(inner) not in seen and len(found) < _LONGEST_CHAIN:
                seen.add(id(inner))
                found.append(inner)
    return found


def reason_of(
    errors: Sequence[BaseException], url: str, *, seconds: float, proxy: tuple[str, int] | None, library: str
) -> Reason:
    """Return what *errors*, a :func:`chain`, mean for a request to *url* whose timeout was *seconds*."""
    parts = urlsplit(url)
    host, port = proxy or (parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0))
    is_proxied = proxy is not None or _named(errors, "ProxyError")
    name = f"proxy {host}" if proxy else "the proxy" if is_proxied else host
    peer = name if is_proxied and not proxy else f"{'proxy ' * is_proxied}{_address(host, port)}"

    def advice(text: str) -> str:
        return "check the proxy: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (NO_PROXY excepts hosts)" if is_proxied else text

    certificate = _certificate(errors, parts.hostname or "", library)
    if certificate is not None:
        return certificate
    if _is_any(errors, socket.gaierror):
        todo = advice("check the host in token_url, and that this machine's DNS knows it")
        return Reason("name", f"name resolution of {name} failed", todo)
    if _is_any(errors, ConnectionRefusedError):
        todo = advice("check host and port in token_url, and that the server runs")
        return Reason("refused", f"connection to {peer} refused", todo)
    if _named(errors, "EmptyPoolError", "PoolTimeout"):
        text = f"no free connection of {_argument(library)} within {_rounded(seconds)} s"
        return Reason("timeout", text, "give it more of them")
    todo = advice("check token_url, the network and its proxies, or try again later")
    trouble, text = _broken(errors, peer, seconds) or ("", "")
    if not trouble:
        origin = next(
            (each for each in errors if type(each).__module__.partition(".")[0] not in _LIBRARIES), errors[-1]
        )
        text = f"{type(origin).__name__}: {origin}"
        trouble, text = ("proxy", f"{peer} failed: {text}") if is_proxied else ("other", text)
    return Reason(trouble, text, todo)


def _certificate(errors: Sequence[BaseException], host: str, library: str) -> Reason | None:
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
    return Reason("certificate", text, certificate_advice(code, library), code)


def _broken(errors: Sequence[BaseException], peer: str, seconds: float) -> tuple[str, str] | None:
    """Return the kind and text of a trouble that came after the host was found."""
    if tls := next((each for each in errors if isinstance(each, ssl.SSLError)), None):
        why = getattr(tls, "reason", None)
        return "tls", f"no TLS with {peer}{f': {why}' if isinstance(why, str) else ''}"
    number = next((each.errno for each in errors if isinstance(each, OSError) and each.errno), None)
    if number is not None and _named(errors, "NewConnectionError", "ConnectError"):
        return "connection", f"no connection to {peer}: {os.strerror(number)}"
    if _named(errors, "ConnectTimeout", "ConnectTimeoutError"):
        return "timeout", f"connection to {peer} timed out"
    if _is_any(errors, TimeoutError) or _named(errors, "Timeout", "TimeoutException", "TimeoutError"):
        return "timeout", f"timed out after {_rounded(seconds)} s"
    if _is_any(errors, ConnectionError) or _named(errors, "IncompleteRead"):
        return "closed", f"connection to {peer} closed before the answer was complete"
    return None


def certificate_advice(code: int, library: str, variable: str = "token_url") -> str:
    """Return the advice for a certificate that *library* rejects.

    :param code: OpenSSL's number for the problem.
    :param variable: the argument or variable that holds the host.
    """
    if code in _CERTIFICATE_TIME:
        return "have the server's owner renew it, or set this machine's clock right"
    if code in _CERTIFICATE_NAME:
        return f"check the host in {variable}"
    name = "REQUESTS_CA_BUNDLE" if library == "requests" else "SSL_CERT_FILE"
    return f"if that is a CA of your own, or a proxy's: set {name} to its file, or give {_argument(library)} in code"


def _argument(library: str) -> str:
    return "session=" if library == "requests" else "client="


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _rounded(seconds: float) -> str:
    return f"{max(round(seconds, 1), 0.1):g}"


def _is_any(errors: Sequence[BaseException], kind: type[BaseException]) -> bool:
    return any(isinstance(each, kind) for each in errors)


def _named(errors: Sequence[BaseException], *names: str) -> bool:
    """Whether the class of one of *errors*, or a base class of it, has one of these names: each library has its own."""
    return any(base.__name__ in names for each in errors for base in type(each).__mro__)
