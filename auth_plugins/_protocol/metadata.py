"""Reads the metadata of an issuer (RFC 8414, OpenID Connect Discovery 1.0): its endpoints, what it supports; no I/O."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

from auth_plugins._base.errors import ConfigurationError, TokenRequestError
from auth_plugins._base.frozen import Record
from auth_plugins._base.hosts import DEFAULT_PORTS, normal_host
from auth_plugins._base.tls_files import NO_FILES, TLSFiles
from auth_plugins._base.validation import check_url

from .advice import advice_for
from .messages import LONGEST_BODY, RequestFacts, TokenRequest, TokenResponse
from .redaction import Redactor, one_line

_OPENID, _OAUTH = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
_ENDPOINTS = {"token_endpoint", "revocation_endpoint", "authorization_endpoint", "device_authorization_endpoint"}
#: What a secret is sent by, the first that the server supports (RFC 8414 §2: Basic, if it does not say).
_BY_SECRET = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
#: Characters of a text of the server's that an error shows.
_LONGEST_SHOWN = 200
#: What is wrong, and the name of the advice; ``None``: nothing.
_Problem = tuple[str, str] | None
#: What is wrong with metadata, as ``advice`` names it; the first one says most.
_TROUBLES = ("trouble", "issuer", "issuer_of_tenant", "bad_metadata", "no_metadata")


class Metadata(Record):
    """What an issuer says of itself."""

    #: The URL at which they were found.
    place: str
    #: By name, as in RFC 8414 §2: those that are URLs. There always is a ``token_endpoint``.
    endpoints: Mapping[str, str]
    #: Those of them for clients that present a certificate (RFC 8705 §5).
    mtls_endpoints: Mapping[str, str]
    #: How clients may authenticate at the token endpoint; empty: the server does not say.
    client_auth_methods: tuple[str, ...]
    #: Whether answers to authorization requests carry ``iss`` (RFC 9207).
    promises_iss: bool

    def endpoint(self, name: str, *, by_certificate: bool = False) -> str | None:
        """Return the URL of an endpoint; ``None``: the server has none.

        :param by_certificate: whether the client presents a certificate.
        """
        url = self.mtls_endpoints.get(name) if by_certificate else None
        return url or self.endpoints.get(name)

    def client_auth(self) -> str:
        """Return how a client with a secret authenticates: by Basic, unless the server supports others only."""
        ways = [way for way in _BY_SECRET if way in self.client_auth_methods]
        return ways[0] if ways else _BY_SECRET[0]


class Problem(Record):
    """Why there are no metadata at one place."""

    request: TokenRequest
    response: TokenResponse
    text: str
    #: One of :data:`_TROUBLES`.
    trouble: str


def places(issuer: str) -> list[str]:
    """Return the URLs at which the metadata of *issuer* may be, the likeliest first."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    # OpenID Connect Discovery 1.0 §4.1; RFC 8414 §3.1; and where some servers have it instead.
    return list(dict.fromkeys([f"{origin}{path}{_OPENID}", f"{origin}{_OAUTH}{path}", f"{origin}{path}{_OAUTH}"]))


def metadata_request(place: str, tls: TLSFiles = NO_FILES) -> TokenRequest:
    """Return the request for metadata. No secret is sent."""
    return TokenRequest(
        method="GET",
        url=place,
        headers={"Accept": "application/json"},
        body=b"",
        redact=Redactor(()),
        facts=RequestFacts(endpoint="issuer"),
        tls=tls,
    )


def redirected(place: str, response: TokenResponse) -> str | None:
    """Return where an answer redirects to within the origin of *place*; ``None``: nowhere, or off it."""
    location = response.headers.get("location")
    if not 300 <= response.status < 400 or not location:
        return None
    try:
        target = check_url("location", urljoin(place, location))
        return target if _origin(target) == _origin(place) else None
    except ValueError:  # a ConfigurationError, too
        return None


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, normal_host(parts.hostname or ""), parts.port or DEFAULT_PORTS.get(parts.scheme)


def read_metadata(issuer: str, request: TokenRequest, response: TokenResponse) -> Metadata | Problem:
    """Return the metadata of *issuer* in an answer, or why there are none."""
    document = _document(response)
    if problem := _status_problem(response.status) or _document_problem(issuer, document):
        return Problem(request, response, *problem)
    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        place=request.endpoint,
        endpoints=_endpoints(document),
        mtls_endpoints=_endpoints(document.get("mtls_endpoint_aliases")),
        client_auth_methods=tuple(map(str, methods)) if isinstance(methods, list) else (),
        promises_iss=document.get("authorization_response_iss_parameter_supported") is True,
    )


def metadata_error(issuer: str, problems: Sequence[Problem]) -> TokenRequestError:
    """Return the error for the *problems* at all places: it says the most telling one."""
    worst = min(problems, key=lambda problem: _TROUBLES.index(problem.trouble))
    said = f"{worst.request.endpoint} {worst.text}"
    if worst.trouble == "no_metadata":
        said = f"no metadata of {issuer} found: "
        said += ", ".join(f"{problem.request.endpoint} {problem.text}" for problem in problems)
    return TokenRequestError(
        said,
        status_code=worst.response.status,
        retry_after=worst.response.retry_after,
        trouble=worst.trouble,
        advice=", and ".join(advice_for(worst.trouble)),
    )


def _document(response: TokenResponse) -> dict[str, Any]:
    """Return the JSON object in an answer; an empty one: there is none, or it is too large or still compressed."""
    if len(response.body) > LONGEST_BODY or "content-encoding" in response.headers:
        return {}
    try:
        document = json.loads(response.body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _status_problem(status: int) -> _Problem:
    if status == 429 or status >= 500:
        return f"answered {status}", "trouble"
    if 300 <= status < 400:
        return "answered a redirect to another origin, or too many redirects", "no_metadata"
    return None if status == 200 else (f"answered {status}", "no_metadata")


def _document_problem(issuer: str, document: Mapping[str, Any]) -> _Problem:
    if not document:
        return "answered no JSON object of at most 1 MiB", "no_metadata"
    if (found := document.get("issuer")) != issuer:
        return _mismatch(issuer, found)
    if (token_endpoint := document.get("token_endpoint")) is None:
        return "has no token_endpoint", "bad_metadata"
    if "token_endpoint" not in _endpoints(document):
        return f"has a token_endpoint that is no absolute http(s) URL: {_shown(token_endpoint)}", "bad_metadata"
    return None


def _mismatch(issuer: str, found: object) -> _Problem:
    """Return what is wrong with metadata that have another issuer (RFC 8414 §3.3)."""
    if not isinstance(found, str) or not found:
        return "has no issuer", "bad_metadata"
    detail = ""
    if found.rstrip("/") == issuer.rstrip("/"):
        detail = " (a slash at the end differs)"
    elif found.lower() == issuer.lower():
        detail = " (upper and lower case differ)"
    text = f"has the issuer {_shown(found)}, not {issuer}{detail}"
    return text, "issuer_of_tenant" if "{" in found else "issuer"


def _endpoints(document: object) -> dict[str, str]:
    """Return those endpoints in *document* that are URLs."""
    found = {}
    given = document if isinstance(document, dict) else {}
    for name in given.keys() & _ENDPOINTS:
        with contextlib.suppress(ConfigurationError):
            found[name] = check_url(name, given[name])
    return found


def _shown(value: object) -> str:
    """Return a value of the server's, for a message. No secret was sent to the server, so that it can quote none."""
    return one_line(value if isinstance(value, str) else json.dumps(value))[:_LONGEST_SHOWN]
