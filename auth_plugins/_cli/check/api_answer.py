"""The answer of an API to ``auth-plugins check --url``: status, headers, and what its body says of the token."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from auth_plugins._adapters.graphql import graphql_unauthenticated
from auth_plugins._base.runtime import runtime
from auth_plugins._cli.common import API_TIMEOUT
from auth_plugins._protocol.answer_paths import names_in

from .network import bounded

#: Bytes of a body that are read, and seconds for it: errors are short.
_LONGEST_BODY, _BODY_SECONDS = 1 << 16, 5.0
#: Characters of a text that are searched, and shown.
_LONGEST_TEXT, _LONGEST_SHOWN = 4096, 200
_JSON = r"application/([\w.+-]+\+)?json"
#: Types of other bodies in which errors come.
_TEXT = r"text/(?!event-stream).*|application/([\w.+-]+\+)?xml|"
#: Names of members that tell of an error; and of those that do so beside what was asked for.
_ERROR_NAMES = r"(?i)\d+|.*(err|fault|exception).*|message|msg|reason|details?|description|title|status|code|type"
_ERROR_NAMES_IN_SUCCESS = r"(?i).*(err|fault|exception).*|message|msg|reason|status|code"
#: The number by which some APIs say in a 200 what HTTP says by its status.
_UNAUTHORIZED = "401"

_TOKEN = r"\b(token|jwt|session|auth|credentials?|api key|access key)\b"
_USELESS = r"\b(expired|invalid|revoked|not valid|no longer valid|not recogni[sz]ed|unknown|malformed)\b"
#: What says that a token is of no use, in words that one space separates.
_COMPLAINT = rf"(?i){_TOKEN}.{{0,60}}{_USELESS}|{_USELESS}.{{0,40}}{_TOKEN}|\bunauthenticated\b"
#: In an error with the status of a success.
_COMPLAINT_IN_SUCCESS = rf"{_COMPLAINT}|\bunauthori[sz]ed\b"
#: Tokens that are no access tokens: against forged requests, of pages of a result, of devices.
_OTHER_TOKENS = r"(?i)\b(csrf|xsrf|forgery|page|pagination|next|continuation|cursor|sync|delta|device|push|upload)\b"


@dataclass
class ApiAnswer:
    """What a predicate of ``refused=`` gets; the body is the beginning of it, and empty where it was not read."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The type of the body, in small letters and without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def get(url: str, auth: Any, library: Any) -> ApiAnswer:
    """Send one GET and follow no redirect. Of the body only what may be an error is waited for, and its beginning read.

    :raises Exception: what *library* raises, or TimeoutError, if no status came within 60 seconds.
    """
    seen: list[ApiAnswer] = []
    try:
        bounded(lambda: _get(url, auth, library, seen), API_TIMEOUT)
    except Exception:
        if not seen:
            raise
    return seen[-1]


def complaint(answer: ApiAnswer, clean: Callable[[str], str]) -> str:
    """Return what a body says of a token that is of no use; ``""``: it says nothing of the kind.

    :param clean: takes secrets and tokens out of a text. This comes first, as half of one may be left after a cut.
    """
    if graphql_unauthenticated(answer):
        return "errors.extensions.code: UNAUTHENTICATED"
    is_success = answer.status_code < 400
    pattern = _COMPLAINT_IN_SUCCESS if is_success else _COMPLAINT
    if not re.fullmatch(_JSON, answer.kind):
        words = _words(re.sub(r"<[^<>]*>", " ", clean(answer.body.decode("utf-8", "replace"))))
        match = re.search(pattern, words)
        return match[0] if match and not re.search(_OTHER_TOKENS, words) else ""
    with contextlib.suppress(ValueError, RecursionError):
        for path, value in _errors(answer.json(), is_success=is_success):
            text = clean(value)
            words, is_number = _words(text), is_success and text == _UNAUTHORIZED
            if (is_number or re.search(pattern, words)) and not re.search(_OTHER_TOKENS, words):
                return clean(path) + f": {text}"[:_LONGEST_SHOWN]
    return ""


def _get(url: str, auth: Any, library: Any, seen: list[ApiAnswer]) -> None:
    """Add the answer to *seen* when its status is there, and again with the body."""
    with _opened(url, auth, library) as response:
        answer = ApiAnswer(response.status_code, response.headers)
        seen.append(answer)
        if not re.fullmatch(_JSON if answer.status_code < 400 else f"{_JSON}|{_TEXT}", answer.kind):
            return
        chunks = response.iter_content(512) if library.__name__ == "requests" else response.iter_bytes()
        body, end = bytearray(), runtime.clock.monotonic() + _BODY_SECONDS
        with contextlib.suppress(Exception):  # the status is known
            for chunk in chunks:
                body += chunk
                if len(body) > _LONGEST_BODY or runtime.clock.monotonic() > end:
                    break
        seen.append(replace(answer, body=bytes(body)))


def _opened(url: str, auth: Any, library: Any) -> contextlib.AbstractContextManager[Any]:
    if library.__name__ == "requests":
        response: contextlib.AbstractContextManager[Any] = library.get(
            url, auth=auth, timeout=API_TIMEOUT, stream=True, allow_redirects=False
        )
        return response
    stream: contextlib.AbstractContextManager[Any] = library.stream("GET", url, auth=auth, timeout=API_TIMEOUT)
    return stream


def _errors(document: Any, *, is_success: bool) -> Iterator[tuple[str, str]]:
    """Yield path and text of each member that may tell of an error.

    In a success all objects around it have to tell of one as well: the rest is what was asked for.
    """
    for parts, value in names_in(document):
        if is_success and not re.fullmatch(_ERROR_NAMES_IN_SUCCESS, parts[0]):
            continue
        if all(re.fullmatch(_ERROR_NAMES, part) for part in (parts if is_success else parts[-1:])):
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, (str, int)):
                    yield ".".join(parts), str(text)


def _words(text: str) -> str:
    """Return the beginning of *text* with one space between words, those of ``invalid_token`` as well."""
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text[:_LONGEST_TEXT]))
