"""Takes secrets and tokens out of what vcrpy records.

By their names, which OAuth 2.0, custom, or an option of a grant in use gives them; by their values, as far as this
process knows them; and whatever is a JWT.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus, unquote_plus, urlsplit, urlunsplit

from auth_plugins._base.hidden import Hidden
from auth_plugins._caches.memory import known_grants
from auth_plugins._grants.base import Grant
from auth_plugins._protocol.redaction import _SECRET_NAMES, _spellings, secret_words

#: In place of a secret or token. A replayed token is this text, which can stand in a header.
SCRUBBED = "scrubbed"
#: Characters; a shorter secret is a part of many words.
_SHORTEST_SECRET = 6
#: A signed one has three parts, an encrypted one five, of which the second may be empty.
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}(\.[\w-]*){2,4}")
#: A name and a value of a form or query, wherever it stands: some servers do not encode the spaces of a scope.
_PAIR = re.compile(r"(?<![\w.%+~\[\]-])([\w.%+~\[\]-]+)=([^&\s\"<>]+)")
#: Fields of grants that are hidden only as they may hold a secret.
_PUBLIC = frozenset({"token_url", "refresh_url", "revocation_url", "client_id", "username", "scope"})
#: Parameters of a request that only seem to be secrets, by the end of their names.
_NO_SECRETS = re.compile(r"(?i)(_type|_method|_uri)$")
#: Headers that carry credentials, by their names.
_HEADERS = re.compile(
    r"(?i)\A((proxy-)?authorization|dpop|(set-)?cookie2?|x-auth)\Z|token(?!s)|secret|passw|session|api-?key|-key\Z"
)
#: Members of answers that are tokens or secrets, by their names, and those that only mark a page.
_MEMBERS = re.compile(r"(?i)(token|secret|password|assertion|jwt|api[_-]?key|device[_-]?code|session[_-]?id)\Z")
_MARKS = re.compile(r"(?i)(page|continuation|sync|next|cursor)[_-]?token\Z")
#: Options of grants whose values may be secrets.
_PAIRS = frozenset({"params", "refresh_params", "headers"})
#: Headers that hold no secret.
_PLAIN = frozenset({"accept", "accept-language", "content-type", "user-agent"})


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

    def is_header(self, name: str) -> bool:
        """Return whether a header of that name carries a secret."""
        return name.lower() in self.headers or _HEADERS.search(name) is not None

    def is_parameter(self, name: str) -> bool:
        """Return whether a parameter of that name is a secret."""
        is_named = re.search(_SECRET_NAMES, name) is not None and not _NO_SECRETS.search(name)
        return is_named or name.lower() in self.parameters

    def is_member(self, name: str) -> bool:
        """Return whether a member of that name, in an answer, is a secret."""
        is_named = _MEMBERS.search(name) is not None and not _MARKS.search(name)
        return is_named or name.lower() in self.members


def scrub_request(request: Any) -> Any:
    """For vcrpy's ``before_record_request``: take secrets and tokens out of URL, headers and body of *request*.

    Headers that carry credentials are left out. vcrpy also calls it before it looks for a recorded request, so a
    cassette is found again.
    """
    known = _known()
    url = urlsplit(request.uri)
    # The host stays: vcrpy finds a request by it.
    request.uri = urlunsplit(
        url._replace(
            netloc=url.netloc.rpartition("@")[2],
            path=known.text(url.path),
            query=known.text(_scrubbed_form(url.query, known.is_parameter)),
        )
    )
    request.headers = {
        name: known.text(value.decode("latin-1") if isinstance(value, bytes) else value)
        for name, value in dict(request.headers).items()
        if not known.is_header(name)
    }
    if request.body:
        request.body = _scrubbed_body(request.body, known.is_parameter, known)
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
            is_hidden = known.is_header(name)
            texts = [values] if isinstance(values, str) else values
            texts = [
                SCRUBBED if is_hidden else known.text(_scrubbed_form(str(each), known.is_member)) for each in texts
            ]
            headers[name] = texts[0] if isinstance(values, str) else texts
    body = _scrubbed_body(response["body"]["string"], known.is_member, known)
    for name in headers:
        if name.lower() == "content-length":
            headers[name] = [str(len(body))]
    return {**response, "headers": headers, "body": {**response["body"], "string": body}}


def _scrubbed_body(body: Any, is_secret: Callable[[str], bool], known: _Known) -> Any:
    """Return *body*, a str or bytes, without secrets: JSON, a form, or any text. Others are left as is."""
    if not isinstance(body, (str, bytes)):
        return body
    text = body if isinstance(body, str) else body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    try:
        members = json.loads(text)
    except ValueError:
        scrubbed = _scrubbed_form(text, is_secret)
    else:
        found = set[str]()
        changed = _scrubbed_members(members, is_secret, found)
        scrubbed = text if changed == members else json.dumps(changed)
        # A token may stand there a second time, under another name.
        for value in found:
            scrubbed = scrubbed.replace(json.dumps(value), json.dumps(SCRUBBED))
    scrubbed = known.text(scrubbed)
    if scrubbed == text:
        return body
    return scrubbed if isinstance(body, str) else scrubbed.encode("utf-8", "surrogateescape")


def _scrubbed_members(value: Any, is_secret: Callable[[str], bool], found: set[str], name: str = "") -> Any:
    """Return *value* without secrets, which are added to *found*.

    :param name: of the member that *value* is, or is in the list of.
    """
    if isinstance(value, dict):
        return {name: _scrubbed_members(each, is_secret, found, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_scrubbed_members(each, is_secret, found, name) for each in value]
    if isinstance(value, str) and is_secret(name):
        found.add(value if len(value) >= _SHORTEST_SECRET else SCRUBBED)
        return SCRUBBED
    return value


def _scrubbed_form(text: str, is_secret: Callable[[str], bool]) -> str:
    """Return *text* with no value behind each ``name=`` that *is_secret*."""
    return _PAIR.sub(lambda pair: f"{pair[1]}={SCRUBBED}" if is_secret(unquote_plus(pair[1])) else pair[0], text)


def _known() -> _Known:
    headers, parameters, members, values = set[str](), set[str](), set[str](), set[str]()
    for grant, state in known_grants():
        headers.add(grant.header_and_scheme()[0].lower())
        parameters |= {grant.query_parameter() or ""}
        answer, names = (dict(getattr(grant, option, None) or ()) for option in ("answer", "names"))
        for standard in ("access_token", "refresh_token"):
            path = str(answer.get(standard, ""))
            headers.add(path.removeprefix("header:").lower() if path.startswith("header:") else "")
            members.add(path.rstrip(".0123456789").rpartition(".")[2].lower())  # without the index in a list
        parameters |= {names.get(each, "").lower() for each in ("client_secret", "password", "refresh_token")}
        headers |= set(_called(grant, "headers"))
        parameters |= {*_called(grant, "params"), *_called(grant, "refresh_params")}
        values |= set(_values_of(grant))
        for token in (state.token, state.refreshable, state.last_shared, *state.rejected):
            values |= {token.access_token, token.refresh_token or ""} if token else set()
    long = [value for value in values if len(value) >= _SHORTEST_SECRET]
    spellings = {each for value in long for each in (*_spellings(value), quote(value, ""), quote_plus(value))}
    longest_first = tuple(sorted(spellings - {SCRUBBED}, key=len, reverse=True))
    return _Known(frozenset(headers - {""}), frozenset(parameters - {""}), frozenset(members - {""}), longest_first)


def _called(grant: Grant, option: str) -> Iterator[str]:
    """Yield the names, in lower case, of the values of *option* that a callable returns: those are not known here."""
    return (name.lower() for name, value in getattr(grant, option, None) or () if callable(value))


def _values_of(grant: Grant) -> Iterator[str]:
    """Yield the secrets within the fields of *grant*."""
    for field, value in vars(grant).items():
        if field in _PAIRS:
            given = ((name, each) for name, each in value or () if not callable(each))
            # An address and a media type are no secrets, and stand in many answers.
            yield from (
                word
                for pair in given
                if pair[0].lower() not in _PLAIN
                for word in secret_words(*pair)
                if "://" not in word
            )
        elif field not in _PUBLIC:
            yield from _hidden_in(value)


def _hidden_in(value: Any) -> Iterator[str]:
    """Yield the secrets within a grant's field."""
    if isinstance(value, Hidden):
        yield str(value)
    elif isinstance(value, (tuple, Mapping)):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _hidden_in(each)
