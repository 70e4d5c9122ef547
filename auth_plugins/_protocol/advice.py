"""What a refusal of the token endpoint may be about, as data, and what to do about each: for messages and ``check``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .messages import RequestFacts

__all__ = ["HINTS", "REFUSED_REFRESH_TOKEN", "TROUBLE", "advice", "hints", "named"]

#: Error codes that say that a refresh token is not valid (RFC 6749 §5.2, GitHub).
REFUSED_REFRESH_TOKEN = frozenset({"invalid_grant", "bad_refresh_token"})
#: Error codes of a server that is in trouble, or asks for a pause (RFC 6749 §4.1.2.1, RFC 8628 §3.5).
TROUBLE = frozenset({"server_error", "slow_down", "temporarily_unavailable"})

#: Advice by kind. ``{scope}`` and the like is the name of that option, as an argument or as a variable; ``{option}``
#: is the option that a hint is about, which stands behind the kind: ``"ends:scope"``.
HINTS = {
    "trouble": "the server is in trouble or wants a rest: try again later",
    "endpoint": "is {endpoint} the token endpoint?",
    "method": "is {endpoint} the token endpoint, and {method} the one it wants?",
    "redirect": (
        "none is followed, as the secret would go along: set {endpoint} to the final address, if that is the endpoint"
    ),
    "request": "check what the server's documentation wants sent: {client_auth}, {encoding}, {scope}, {params}",
    "who": (
        "check the client id and secret, or the user name and password, "
        "and that the server wants them where {client_auth} puts them"
    ),
    "client": (
        "check the client id and secret, and that the server wants them where {client_auth} puts them: "
        "client_secret_basic, client_secret_basic_raw or client_secret_post"
    ),
    "no_secret": "no client secret was sent: if this client has one, give {client_secret}",
    "ends": "{option} begins or ends with whitespace or a quote: remove it",
    "spelling": (
        "this id or secret has characters (such as + / = %) that client_secret_basic percent-encodes "
        "and client_secret_basic_raw does not: try the other one"
    ),
    "user": (
        "check the user name and password, and if they are right, ask the server's owner whether this client must send "
        "a DPoP proof (RFC 9449)"
    ),
    "proof": (
        "ask the server's owner whether this client must send a DPoP proof (RFC 9449) or a certificate: "
        "id and secret alone are no grant that can be invalid"
    ),
    "grant": "check that what this grant consists of is valid, and has not expired",
    "dpop": "have the server's owner give this client Bearer tokens: it must send DPoP proofs (RFC 9449) now",
    "refresh_token": (
        "the refresh token is expired, revoked or already used: obtain a new one by signing in again, "
        "and give {refresh_token}"
    ),
    "old_refresh_token": "the refresh token may be expired, revoked or already used",
    "scope": "ask for a {scope} that this client was given",
    "no_scope": "no scope was sent: set {scope} to what the server's documentation names",
    "target": "check {audience} and {resource}",
    "unauthorized": (
        "check the client id and secret, and have the server's owner allow this client its grant type, "
        "and tell whether it must use a certificate or a key instead of a secret"
    ),
    "grant_type": "check that the server offers this grant type at {endpoint}, and takes this {encoding} and {method}",
}
_BY_CODE = {
    "invalid_client": "client",
    "invalid_scope": "scope",
    "invalid_target": "target",
    "invalid_request": "request",
    "unauthorized_client": "unauthorized",
    "unsupported_grant_type": "grant_type",
    "invalid_dpop_proof": "dpop",
    "use_dpop_nonce": "dpop",
    "bad_refresh_token": "refresh_token",
    **dict.fromkeys(TROUBLE, "trouble"),
}
#: By the grant that was refused by ``invalid_grant``.
_INVALID_GRANT = {"client_credentials": "proof", "password": "user", "refresh_token": "refresh_token"}
#: Kinds that doubt who the client is, and that doubt what it sent.
_DOUBTS_CLIENT = frozenset({"client", "who", "unauthorized", "request"})
_DOUBTS_REQUEST = _DOUBTS_CLIENT | {"scope", "proof", "user", "refresh_token", "old_refresh_token"}

#: How messages name options that are often set by a variable.
_NAMED = {name: f"{name} (or the variable {name.upper()})" for name in ("client_auth", "scope", "refresh_token")}


def named(option: str) -> str:
    """How a message names an option; ``check`` names a variable."""
    return _NAMED.get(option, option)


def hints(code: str | None, status: int, body: str | None, facts: RequestFacts) -> Iterator[str]:
    """Yield what a refusal may be about, the likeliest first: names in :data:`HINTS`.

    :param code: the error code that the server sent.
    :param body: the kind of the body: ``json``, ``form``, ``empty``, ``page`` or ``text``.
    """
    main = _main(code, status, body, facts)
    is_bare = body == "empty" and status in (400, 403)
    if not facts.has_scope and (is_bare or main == "scope"):
        yield "no_scope"
        if main == "scope":
            return
    if main in _DOUBTS_CLIENT and facts.has_client and not facts.has_secret:
        yield "no_secret"
    if main in _DOUBTS_REQUEST:
        yield from (f"ends:{option}" for option in facts.odd_ends)
    if main in _DOUBTS_CLIENT and facts.is_refresh and code not in _BY_CODE:
        yield "old_refresh_token"
    yield main
    if main in _DOUBTS_CLIENT and facts.has_spellings:
        yield "spelling"


def _main(code: str | None, status: int, body: str | None, facts: RequestFacts) -> str:
    if code == "invalid_grant":
        return _INVALID_GRANT.get(facts.grant_type, "grant")
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status == 429 or status >= 500:
        return "trouble"
    if status in (401, 403):
        return "who"
    return "method" if status in (404, 405) or body == "page" else "request"


def advice(kinds: Iterable[str], name_of: Callable[[str], str], endpoint: str = "token_url") -> list[str]:
    """What to do about each of *kinds*.

    :param name_of: names an option as its reader sets it: :func:`named`, or the name of a variable.
    :param endpoint: the option that holds the URL that refused.
    """

    class Names(dict[str, str]):
        def __missing__(self, option: str) -> str:
            return name_of(endpoint if option == "endpoint" else option)

    split = (kind.partition(":") for kind in kinds)
    return [HINTS[kind].format_map(Names({"option": name_of(option)})) for kind, _, option in split]
