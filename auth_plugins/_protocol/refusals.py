"""Makes an error of an answer that is no token: what the server said, without secrets, and what to do; no I/O."""

from __future__ import annotations

import email.utils
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urljoin, urlsplit

from auth_plugins._base.errors import TokenRequestError

from .advice import advice, hints, named
from .expiry import is_absent
from .messages import TokenRequest, TokenResponse, one_line, redacted_excerpt

__all__ = ["Answer", "fail", "no_token", "refuse", "retry_after"]

#: Characters of a body that an error may quote.
_EXCERPT = 200
#: Characters of an error's description, of an address and of a member that are kept.
_LONGEST_PART = 500
#: Characters of a member's name that are kept.
_LONGEST_NAME = 40
#: Members of one object or array that are kept, how deep they may be nested, and how many are kept in all.
_MOST, _DEEPEST, _MOST_IN_ALL = 20, 4, 60
#: Names that are listed where the access token is missing.
_MOST_NAMES = 10
#: Characters of a text in an answer that is looked at; a longer one is left out.
_LONGEST_TEXT = 2000
#: As all registered error codes are.
_CODE = r"[a-z_]{3,40}"
#: Members in which servers say what is wrong, in words.
_WORDS = (
    "error_description", "message", "msg", "errmsg", "error_message", "errorMessage", "error_msg", "errorSummary",
    "reason", "detail", "description", "title", "errors",
)  # fmt: skip
#: Members in which servers put the code that RFC 6749 calls ``error``, in an object that is called so.
_CODES = ("code", "error", "type", "status")
#: What an error answer has by RFC 6749, and tokens, which are shown by nothing: the other members are ``extra``.
_STANDARD = frozenset({"error", "error_description", "error_uri", "access_token", "refresh_token", "id_token"})
#: Names of members that may hold a secret or a token.
_SECRET_NAMES = r"(?i)token|secret|passw|pwd|assertion|jwt|cookie|authorization|credential|api_?key"


class Answer(NamedTuple):
    """What came back, and what it was read as."""

    request: TokenRequest
    response: TokenResponse
    members: Mapping[str, Any]
    #: The kind of the body: ``json``, ``form``, ``empty``, ``page`` or ``text``; ``None``: it was not read.
    body: str | None
    text: str


def retry_after(response: TokenResponse, now: float) -> float | None:
    """Seconds that the server asks to wait (RFC 9110 §10.2.3); ``None`` if it doesn't say, or not understandably."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def refuse(answer: Answer) -> NoReturn:
    """Raise the error for an answer that says no (RFC 6749 §5.2)."""
    request, response = answer.request, answer.response
    code, description = _code(answer), _description(answer)
    if response.status in range(300, 400):
        fail(answer, "answered a redirect" + _target(request, response), "redirect")
    if code:
        said = f"{code}: {description}" if description else code
    else:
        said = redacted_excerpt(request, answer.text, _EXCERPT) or "an empty body"
        if description and description not in said:
            said = description[:_EXCERPT]
    kinds = hints(code, response.status, answer.body, request.facts)
    fail(answer, f"answered {response.status} ({said})", *kinds)


def no_token(answer: Answer) -> NoReturn:
    """Raise the error for an answer that has no access token: it names the members that it has."""
    names = [name for name in answer.members if name != "access_token"]
    more = f" and {len(names) - _MOST_NAMES} more" * (len(names) > _MOST_NAMES)
    shown = ", ".join(_name(answer.request, name) for name in names[:_MOST_NAMES])
    listed = f", but {shown}{more}" if names else ""
    said = f" ({description})" if (description := _description(answer)) else ""
    fail(answer, f"answered no access_token{listed}{said}", "endpoint")


def fail(answer: Answer, what: str, *kinds: str, remedy: str = "") -> NoReturn:
    """Raise the error that says *what* happened, and what to do.

    :param kinds: names of hints; *remedy*: what to do, where no hint fits.
    """
    request, response, members = answer.request, answer.response, answer.members
    what += ", to a refresh" * request.facts.is_refresh
    todo = remedy or ", and ".join(advice(kinds, named, request.facts.endpoint))
    uri = members.get("error_uri")
    error = TokenRequestError(
        f"{request.endpoint} {what}",
        error=_code(answer),
        description=_description(answer),
        uri=redacted_excerpt(request, uri, _LONGEST_PART) if isinstance(uri, str) and uri else None,
        status_code=response.status,
        retry_after=retry_after(response, response.received_at),
        extra=_extra(answer),
        trouble=" ".join(kinds),
        advice=todo,
    )
    error._body_kind = answer.body
    raise error


def _code(answer: Answer) -> str | None:
    """The error code as a text, wherever servers put it; ``None``: there is none."""
    value = answer.members.get("error")
    if isinstance(value, dict):
        value = next((value[name] for name in _CODES if _is_code(value.get(name))), None)
    if not _is_code(value):
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    # A code says nothing but itself, unless it is a secret.
    if re.fullmatch(_CODE, text) and answer.request.redact(text) != "***":
        return text
    return redacted_excerpt(answer.request, text, _LONGEST_PART) or None


def _is_code(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (str, int, float)) and bool(value) and not is_absent(value)


def _description(answer: Answer) -> str | None:
    """What the server says in words: ``error_description``, else what others use; ``None``: it says nothing."""
    members, error = answer.members, answer.members.get("error")
    places = [members.get("error_description")], [error] * isinstance(error, (dict, list)), map(members.get, _WORDS)
    for values in places:
        said: list[str] = []
        for text in itertools.islice(_texts(list(values), _DEEPEST), _MOST):
            if not any(text in other for other in said):
                said.append(text)
        if words := redacted_excerpt(answer.request, ", ".join(said), _LONGEST_PART):
            return words
    return None


def _texts(value: Any, depth: int) -> Iterator[str]:
    """The texts in what may be a text, a list, or an object that has some under a usual name, or under any."""
    if isinstance(value, str) and not is_absent(value):
        yield value
    if depth and isinstance(value, dict):
        value = [value[name] for name in _WORDS if name in value] or list(value.values())
    if depth and isinstance(value, list):
        for each in value:
            yield from _texts(each, depth - 1)


def _extra(answer: Answer) -> dict[str, Any]:
    """The members of a JSON error answer that RFC 6749 does not name, without secrets and tokens."""
    if answer.body != "json":
        return {}
    others = {name: value for name, value in answer.members.items() if name not in _STANDARD}
    kept = _kept(answer.request, others, _DEEPEST, iter(range(_MOST_IN_ALL)), hide=False)
    return kept if isinstance(kept, dict) else {}


def _kept(request: TokenRequest, value: Any, depth: int, left: Iterator[int], *, hide: bool) -> Any:
    """*value* without secrets, and not more than *left* values of it, ``"..."`` in place of the others."""
    if next(left, None) is None or (isinstance(value, (dict, list)) and not depth):
        return "..."
    if isinstance(value, list):
        return [_kept(request, each, depth - 1, left, hide=hide) for each in _first(value)]
    if not isinstance(value, dict):
        return _scalar(request, value, hide=hide)
    return {
        _name(request, name): _kept(request, each, depth - 1, left, hide=hide or bool(re.search(_SECRET_NAMES, name)))
        for name, each in _first(value.items())
    }


def _name(request: TokenRequest, name: str) -> str:
    return "..." if len(name) > _LONGEST_TEXT else redacted_excerpt(request, name, _LONGEST_NAME)


def _scalar(request: TokenRequest, value: Any, *, hide: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if hide:
        return "***"
    if isinstance(value, str):
        return "..." if len(value) > _LONGEST_TEXT else redacted_excerpt(request, value, _LONGEST_PART)
    text = json.dumps(value)
    if request.redact(text) != text:
        return "***"
    return value if len(text) <= _LONGEST_NAME and math.isfinite(value) else "..."


def _first(values: Iterable[Any]) -> list[Any]:
    return list(itertools.islice(values, _MOST))


def _target(request: TokenRequest, response: TokenResponse) -> str:
    """The address that a redirect leads to, without query and user; nothing if it is no address of HTTP's."""
    location = response.headers.get("location", "")
    if not location or not location.isprintable() or re.search(r"\s", location):
        return ""
    try:
        # Scrubbed before the name is lowered, and after it: a secret may stand there in either.
        parts = urlsplit(urljoin(request.endpoint, request.redact(location)))
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host:
        return ""
    place = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{parts.path}"
    return f" to {one_line(redacted_excerpt(request, address, _LONGEST_PART))}"
