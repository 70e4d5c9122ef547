"""Makes the error for an answer that is no token: what the server said, without secrets, and what to do."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

from auth_plugins._base.errors import TokenRequestError

from .advice import advice_for, named, troubles_of
from .answer_paths import is_plain, names_in, suggest
from .expiry import is_absent
from .messages import Answer, TokenRequest, TokenResponse

#: Characters of a body that an error quotes, of a description, address or member, and of a member's name.
_EXCERPT, _LONGEST_PART, _LONGEST_NAME = 200, 500, 40
#: Members of one object or array that are kept, how deep they may be nested, and how many are kept in all.
_MOST, _DEEPEST, _MOST_IN_ALL = 20, 4, 60
#: Characters of a member's text or name that are read; a longer one is left out.
_LONGEST_TEXT = 2000
#: Names that are listed where the access token is missing.
_MOST_NAMES = 10
#: As all registered error codes are.
_CODE = r"[a-z_]{3,40}"
#: Members in which servers say in words what is wrong.
_WORDS = (
    "error_description", "message", "msg", "errmsg", "error_message", "errorMessage", "error_msg", "errorSummary",
    "reason", "detail", "description", "title", "errors",
)  # fmt: skip
#: Members of an object ``error`` in which servers put the code that RFC 6749 calls ``error``.
_CODES = ("code", "error", "type", "status")
#: The members of an error answer in RFC 6749, and tokens, which are never shown: the other members are ``extra``.
_STANDARD = frozenset({"error", "error_description", "error_uri", "access_token", "refresh_token", "id_token"})
#: Names of members that may hold a secret or a token.
_SECRET_NAMES = r"(?i)token|session_?id|secret|passw|pwd|assertion|jwt|cookie|authorization|credential|api_?key"


def refuse(answer: Answer) -> NoReturn:
    """Raise the error for a refusal (RFC 6749 §5.2)."""
    request, response = answer.request, answer.response
    if 300 <= response.status < 400:
        fail(answer, f"answered a redirect{_target(request, response)}", f"redirect:{request.facts.endpoint}")
    code, description = _code(answer), _description(answer)
    if code:
        said = f"{code}: {description}" if description else code
    elif answer.members:
        said = (description or json.dumps(_shown(request, answer.members), ensure_ascii=False))[:_EXCERPT]
    else:
        said = request.excerpt(answer.text, _EXCERPT) or "an empty body"
    troubles = [*troubles_of(code, response.status, answer.body, request.facts)]
    if "error" in request.answer and response.status < 300 and not is_absent(answer.members.get("access_token")):
        troubles = ["success"]
    fail(answer, f"answered {response.status} ({said})", *troubles)


def no_token(answer: Answer) -> NoReturn:
    """Raise the error for an answer without an access token: it names the members that are there.

    The advice is the option ``answer`` that would read it, if one would.
    """
    request, headers = answer.request, answer.response.headers
    found = suggest(answer.document, headers, lambda value: isinstance(value, str) and not is_absent(value))
    found = {name: path for name, path in found.items() if request.excerpt(path, _LONGEST_PART) == path}
    troubles = []
    if found and {**request.answer, **found} != request.answer:
        trouble, others = ("answer", []) if "access_token" in found else ("answer_error", ["request"])
        # The setting replaces the present one, so it has what is right in that.
        present = {name: path for name, path in request.answer.items() if is_plain(path) and path not in request.redact}
        kept = {name: path for name, path in present.items() if name not in found}
        pairs = [",".join(f"{name}={path}" for name, path in some.items()) for some in (found, kept) if some]
        troubles = [f"{trouble}:{'|'.join(pairs)}", *others]
    if not answer.document or not isinstance(answer.document, (dict, list)):
        looks = {"empty": "the body is empty", "page": "it is a web page"}
        what = looks.get(answer.body or "", "the body is neither a JSON object nor a form nor a JWT")
        fail(answer, f"answered no token: {what}", *troubles)
    names = [parts for parts, _ in names_in(answer.document) if parts != ("access_token",)]
    shown = ", ".join(".".join(_shown_name(request, part) for part in parts) for parts in names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" * (len(names) > _MOST_NAMES)
    listed = f", but {shown}{more}" if names else ""
    said = f" ({description})" if (description := _description(answer)) else ""
    fail(answer, f"answered no access_token{listed}{said}", *troubles)


def fail(answer: Answer, problem: str, *troubles: str) -> NoReturn:
    """Raise the error that says *problem*; *troubles* are names of advice, by default that on the endpoint."""
    request, response, uri = answer.request, answer.response, answer.members.get("error_uri")
    refresh = ", to a refresh" * request.facts.is_refresh
    seconds = response.retry_after
    pause = f", and asks to wait {seconds:.0f} s" if seconds else ""
    trouble = " ".join(troubles) or f"endpoint:{request.facts.endpoint}"
    error = TokenRequestError(
        f"{request.endpoint} {problem}{refresh}{pause}",
        error=_code(answer),
        description=_description(answer),
        uri=request.excerpt(uri, _LONGEST_PART) if isinstance(uri, str) and uri else None,
        status_code=response.status,
        retry_after=seconds,
        extra=_extra(answer),
        trouble=trouble,
        advice=", and ".join(advice_for(trouble, _namer(request))),
    )
    error._body_kind = answer.body
    raise error


def _namer(request: TokenRequest) -> Callable[[str], str]:
    """Return how the advice about *request* names options: the certificate by its path."""
    path = request.tls.certificate
    return lambda option: repr(path) if option == "certificate" and path else named(option)


def _code(answer: Answer) -> str | None:
    """Return the error code as text, wherever servers put it; ``None``: there is none."""
    value = answer.members.get("error")
    if isinstance(value, dict):
        value = next((value[name] for name in _CODES if _is_code(value.get(name))), None)
    if not _is_code(value):
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    # A registered code is shown even if a short secret is part of it.
    if re.fullmatch(_CODE, text) and text not in answer.request.redact:
        return text
    return answer.request.excerpt(text, _LONGEST_PART) or None


def _is_code(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (str, int, float)) and bool(value) and not is_absent(value)


def _description(answer: Answer) -> str | None:
    """Return what the server says in words: ``error_description``, else what others use; ``None``: no words."""
    members, error = answer.members, answer.members.get("error")
    places = [members.get("error_description")], [error] * isinstance(error, (dict, list)), map(members.get, _WORDS)
    for values in places:
        said: list[str] = []
        for text in itertools.islice(_texts(list(values), _DEEPEST), _MOST):
            if not any(text in other for other in said):
                said.append(text)
        if words := answer.request.excerpt(", ".join(said), _LONGEST_PART):
            return words
    return None


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Yield the texts in a text, a list, or an object: those of the usual names, or else of all."""
    if isinstance(value, str) and not is_absent(value):
        yield value
    if depth and isinstance(value, dict):
        value = [value[name] for name in _WORDS if name in value] or list(value.values())
    if depth and isinstance(value, list):
        for each in value:
            yield from _texts(each, depth - 1)


def _extra(answer: Answer) -> dict[str, Any]:
    """Return the members of a JSON answer that RFC 6749 does not name, without secrets and tokens."""
    others = {name: value for name, value in answer.members.items() if name not in _STANDARD}
    return _shown(answer.request, others) if answer.body == "json" else {}


def _shown(request: TokenRequest, value: Any) -> Any:
    """Return *value* without secrets and tokens, and ``"..."`` in place of what is too much."""
    left = iter(range(_MOST_IN_ALL))

    def shown(value: Any, depth: int, *, is_secret: bool) -> Any:
        if next(left, None) is None or (not depth and isinstance(value, (dict, list))):
            return "..."
        if isinstance(value, list):
            return [shown(each, depth - 1, is_secret=is_secret) for each in value[:_MOST]]
        if isinstance(value, dict):
            return {
                _shown_name(request, name): shown(
                    each, depth - 1, is_secret=is_secret or re.search(_SECRET_NAMES, name) is not None
                )
                for name, each in itertools.islice(value.items(), _MOST)
            }
        if value is None or isinstance(value, bool):
            return value
        return "***" if is_secret else _shown_text(request, value)

    return shown(value, _DEEPEST, is_secret=False)


def _shown_name(request: TokenRequest, name: str) -> str:
    return "..." if len(name) > _LONGEST_TEXT else request.excerpt(name, _LONGEST_NAME)


def _shown_text(request: TokenRequest, value: str | float) -> str | float:
    if isinstance(value, str):
        return "..." if len(value) > _LONGEST_TEXT else request.excerpt(value, _LONGEST_PART)
    text = json.dumps(value)
    if request.redact(text) != text:
        return "***"
    return value if len(text) <= _LONGEST_NAME and math.isfinite(value) else "..."


def _target(request: TokenRequest, response: TokenResponse) -> str:
    """Return the address that a redirect leads to, without query and user; ``""``: it is no http(s) address."""
    location = response.headers.get("location", "")
    if not location or not location.isprintable() or " " in location:
        return ""
    try:
        parts = urlsplit(urljoin(request.endpoint, location))
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host:
        return ""
    if request.redact(location) != location:
        return " to ***"
    place = f"[{host}]" if ":" in host else host
    path = "/".join(request.excerpt(segment, _LONGEST_PART) for segment in parts.path.split("/"))
    return f" to {parts.scheme}://{place}{'' if port is None else f':{port}'}{path}"[:_LONGEST_PART]
