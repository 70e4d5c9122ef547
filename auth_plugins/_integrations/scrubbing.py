"""Takes secrets and tokens out of what vcrpy records.

By their names, which OAuth 2.0, or an option of a grant in use, gives them; by their values, as far as this process
knows them; and whatever is a JWT.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from auth_plugins._base.hidden import Hidden
from auth_plugins._caches.memory import known_grants
from auth_plugins._protocol.redaction import _SECRET_NAMES, _spellings

#: In place of a secret or token. A replayed token is this text, which can stand in a header.
SCRUBBED = "scrubbed"
#: Characters; a shorter secret is a part of many words.
_SHORTEST_SECRET = 6
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*")
#: Fields of grants that are hidden only as they may hold a secret.
_PUBLIC = frozenset({"token_url", "refresh_url", "revocation_url", "client_id", "username", "scope"})
#: Parameters of a request that only seem to be secrets, by the end of their names.
_NO_SECRETS = re.compile(r"(?i)(_type|_method|_uri)$")
_HEADERS = frozenset({
    "authorization", "proxy-authorization", "cookie", "set-cookie", "dpop", "x-api-key", "api-key", "x-auth-token"
})  # fmt: skip
#: Members of answers that are tokens or secrets.
_MEMBERS = frozenset({
    "access_token", "refresh_token", "id_token", "token", "accesstoken", "refreshtoken", "device_code", "client_secret",
    "registration_access_token",
})  # fmt: skip


class _Known(NamedTuple):
    """What the grants in use say of secrets: names of headers, parameters and members, in lower case, and values."""

    headers: frozenset[str]
    parameters: frozenset[str]
    members: frozenset[str]
    values: tuple[str, ...]

    def text(self, text: str) -> str:
        """Return *text* without values and JWTs."""
        for value in self.values:
            text = text.replace(value, SCRUBBED)
        return _JWT.sub(SCRUBBED, text)


def scrub_request(request: Any) -> Any:
    """For vcrpy's ``before_record_request``: take secrets and tokens out of URL, headers and body of *request*.

    Headers that carry credentials are left out. vcrpy also calls it before it looks for a recorded request, so a
    cassette is found again.
    """
    known = _known()

    def is_secret(name: str) -> bool:
        is_named = re.search(_SECRET_NAMES, name) is not None and not _NO_SECRETS.search(name)
        return is_named or name.lower() in known.parameters

    url = urlsplit(request.uri)
    query = _scrubbed_form(url.query, is_secret)
    request.uri = known.text(urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2], query=query)))
    request.headers = {
        name: known.text(value) if isinstance(value, str) else value
        for name, value in dict(request.headers).items()
        if name.lower() not in known.headers
    }
    if request.body:
        request.body = _scrubbed_body(request.body, is_secret, known)
    return request


def scrub_response(response: Any) -> Any:
    """For vcrpy's ``before_record_response``: take secrets and tokens out of *response*, which is recorded in clear.

    A body in an encoding that vcrpy does not decode is left out, as it may hold a token.
    """
    from vcr.filters import decode_response

    known, response = _known(), decode_response(response)
    headers: dict[str, Any] = {}
    for name, values in response["headers"].items():
        lower = name.lower()
        if lower == "content-encoding":  # it could not be decoded
            response["body"] = {**response["body"], "string": b""}
        elif lower != "set-cookie":
            is_hidden = lower in known.headers
            texts = [values] if isinstance(values, str) else values
            texts = [SCRUBBED if is_hidden else known.text(str(each)) for each in texts]
            headers[name] = texts[0] if isinstance(values, str) else texts
    body = _scrubbed_body(response["body"]["string"], lambda name: name.lower() in known.members, known)
    for name in headers:
        if name.lower() == "content-length":
            headers[name] = [str(len(body))]
    return {**response, "headers": headers, "body": {**response["body"], "string": body}}


def _scrubbed_body(body: Any, is_secret: Callable[[str], bool], known: _Known) -> Any:
    """Return *body*, a str or bytes, without secrets: a JSON object, a form, or any text. Others are left as is."""
    if not isinstance(body, (str, bytes)):
        return body
    text = body if isinstance(body, str) else body.decode("utf-8", "surrogateescape")
    try:
        members = json.loads(text)
    except ValueError:
        scrubbed = _scrubbed_form(text, is_secret)
    else:
        changed = _scrubbed_members(members, is_secret)
        scrubbed = text if changed == members else json.dumps(changed)
    scrubbed = known.text(scrubbed)
    return scrubbed if isinstance(body, str) else scrubbed.encode("utf-8", "surrogateescape")


def _scrubbed_members(value: Any, is_secret: Callable[[str], bool]) -> Any:
    if isinstance(value, dict):
        return {
            name: SCRUBBED if isinstance(each, str) and is_secret(name) else _scrubbed_members(each, is_secret)
            for name, each in value.items()
        }
    return [_scrubbed_members(each, is_secret) for each in value] if isinstance(value, list) else value


def _scrubbed_form(text: str, is_secret: Callable[[str], bool]) -> str:
    if "=" not in text or not text.isascii() or set(text) & set("\r\n <{"):
        return text
    pairs = parse_qsl(text, keep_blank_values=True)
    if not any(is_secret(name) for name, _ in pairs):
        return text
    return urlencode([(name, SCRUBBED if is_secret(name) else value) for name, value in pairs])


def _known() -> _Known:
    headers, parameters, members, values = set(_HEADERS), set[str](), set(_MEMBERS), set[str]()
    for grant, state in known_grants():
        headers.add(grant.header_and_scheme()[0].lower())
        parameters |= {grant.query_parameter() or ""}
        answer, names = (dict(getattr(grant, option, None) or ()) for option in ("answer", "names"))
        for standard in ("access_token", "refresh_token"):
            path = str(answer.get(standard, ""))
            headers.add(path.removeprefix("header:").lower() if path.startswith("header:") else "")
            members.add(path.rpartition(".")[2].lower())
        parameters |= {names.get(each, "").lower() for each in ("client_secret", "password", "refresh_token")}
        values |= set(_hidden_in({name: each for name, each in vars(grant).items() if name not in _PUBLIC}))
        for token in (state.token, state.refreshable, state.last_shared, *state.rejected):
            values |= {token.access_token, token.refresh_token or ""} if token else set()
    spellings = {each for value in values if len(value) >= _SHORTEST_SECRET for each in _spellings(value)}
    longest_first = tuple(sorted(spellings - {SCRUBBED}, key=len, reverse=True))
    return _Known(frozenset(headers), frozenset(parameters - {""}), frozenset(members), longest_first)


def _hidden_in(value: Any) -> Iterator[str]:
    """Yield the secrets within a grant's field."""
    if isinstance(value, Hidden):
        yield str(value)
    elif isinstance(value, (tuple, Mapping)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _hidden_in(each)
