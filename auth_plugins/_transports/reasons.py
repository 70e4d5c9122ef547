"""Says in one line why a token endpoint could not be reached: by the types of errors, and not by their text."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from auth_plugins._base.hosts import DEFAULT_PORTS

__all__ = ["Reason", "certificate_advice", "chain", "reason_of"]

#: How OpenSSL numbers a certificate that is not good yet, or no more; and one of another name, or of another address.
_CERTIFICATE_TIME, _CERTIFICATE_NAME = (9, 10), (62, 64)
#: Errors of these wrap others; the message names the first one of another origin.
_WRAPPERS = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2")
#: The most errors that are looked at.
_LONGEST_CHAIN = 50
_PROXY_ADVICE = "check the proxy: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (NO_PROXY excepts hosts)"


class Reason(NamedTuple):  # no dataclass: to load dataclasses takes longer than the rest of an adapter
    """Why there was no answer."""

    #: ``"certificate"``, ``"closed"``, ``"connection"``, ``"name"``, ``"proxy"``, ``"refused"``, ``"timeout"``,
    #: ``"tls"`` or ``"other"``.
    kind: str
    text: str
    #: What to do.
    advice: str
    #: OpenSSL's number of what is wrong with a certificate.
    verify_code: int = 0


def chain(error: BaseException, outside: BaseException | None = None) -> list[BaseException]:
    """*error* and all that it wraps, the outermost first; not what was being handled before, *outside*."""
    found, seen = [error], {id(error), id(outside)}
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
    """Find out what *errors*, a :func:`chain`, mean for a request to *url* that had so many *seconds*."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    is_proxied = proxy is not None or _named(errors, "ProxyError")
    # Whom a connection was made to; its certificate is the server's nearly always.
    peer = "the proxy" if proxy is None and is_proxied else _address(*(proxy or (host, port)), "proxy " * is_proxied)
    default = "check token_url, the network and its proxies, or try again later"
    advice = _PROXY_ADVICE if is_proxied else default

    if distrust := next((each for each in errors if isinstance(each, ssl.SSLCertVerificationError)), None):
        text = f"TLS certificate of {host} not trusted: {distrust.verify_message}"
        return Reason("certificate", text, certificate_advice(distrust.verify_code, library), distrust.verify_code)
    if _named(errors, "CertificateError"):  # that of urllib3, where it compares names itself
        code, text = _CERTIFICATE_NAME[0], f"TLS certificate of {host} not trusted: it is another host's"
        return Reason("certificate", text, certificate_advice(code, library), code)
    if _is_any(errors, socket.gaierror):
        name = peer.rpartition(":")[0] if is_proxied and proxy else host
        advice = advice if is_proxied else "check the host in token_url, and that this machine's DNS knows it"
        return Reason("name", f"name resolution of {name} failed", advice)
    if _is_any(errors, ConnectionRefusedError):
        advice = advice if is_proxied else "check host and port in token_url, and that the server runs"
        return Reason("refused", f"connection to {peer} refused", advice)
    if _named(errors, "EmptyPoolError", "PoolTimeout"):
        owner = "session=" if library == "requests" else "client="
        return Reason("timeout", f"no free connection of {owner} within {_rounded(seconds)} s", "give it more of them")
    return _later(errors, peer, advice, seconds) or _other(errors, peer, advice, is_proxied=is_proxied)


def _later(errors: Sequence[BaseException], peer: str, advice: str, seconds: float) -> Reason | None:
    """What went wrong after the host was found."""
    if broken := next((each for each in errors if isinstance(each, ssl.SSLError)), None):
        why = getattr(broken, "reason", None)
        return Reason("tls", f"no TLS with {peer}{f': {why}' if isinstance(why, str) else ''}", advice)
    number = next((each.errno for each in errors if isinstance(each, OSError) and each.errno), None)
    if number is not None and _named(errors, "NewConnectionError", "ConnectError"):
        return Reason("connection", f"no connection to {peer}: {os.strerror(number)}", advice)
    if _named(errors, "ConnectTimeout", "ConnectTimeoutError"):
        return Reason("timeout", f"connection to {peer} timed out", advice)
    if _is_any(errors, TimeoutError) or _named(errors, "Timeout", "TimeoutException", "TimeoutError"):
        return Reason("timeout", f"timed out after {_rounded(seconds)} s", advice)
    if _is_any(errors, ConnectionError) or _named(errors, "IncompleteRead"):
        return Reason("closed", f"connection to {peer} closed before the answer was complete", advice)
    return None


def _other(errors: Sequence[BaseException], peer: str, advice: str, *, is_proxied: bool) -> Reason:
    origin = next((each for each in errors if type(each).__module__.partition(".")[0] not in _WRAPPERS), errors[-1])
    text = f"{type(origin).__name__}: {origin}"
    return Reason("proxy", f"{peer} failed: {text}", advice) if is_proxied else Reason("other", text, advice)


def certificate_advice(code: int, library: str, variable: str = "token_url") -> str:
    """Advice for a certificate that *library* refuses; *code* is OpenSSL's, *variable* says where the host stands."""
    if code in _CERTIFICATE_TIME:
        return "have the server's owner renew it, or set this machine's clock right"
    if code in _CERTIFICATE_NAME:
        return f"check the host in {variable}"
    name, argument = ("REQUESTS_CA_BUNDLE", "session=") if library == "requests" else ("SSL_CERT_FILE", "client=")
    return f"if that is a CA of your own, or a proxy's: set {name} to its file, or give {argument} in code"


def _address(host: str, port: int, what: str = "") -> str:
    return f"{what}[{host}]:{port}" if ":" in host else f"{what}{host}:{port}"


def _rounded(seconds: float) -> str:
    return f"{max(round(seconds, 1), 0.1):g}"


def _is_any(errors: Sequence[BaseException], kind: type[BaseException]) -> bool:
    return any(isinstance(each, kind) for each in errors)


def _named(errors: Sequence[BaseException], *names: str) -> bool:
    """Whether one of *errors* is of a class, or derived from one, of these names: those of libraries, all alike."""
    return any(base.__name__ in names for each in errors for base in type(each).__mro__)
