"""Where the members are in a token endpoint's answer: the option ``answer``, and what it could be for an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from auth_plugins._base.frozen import Record
from auth_plugins._base.mappings import ANSWER_MEMBERS, HEADER

#: What is no part of ``Token.extra``: these, the rest of RFC 6749, and other names of the expiry that are read.
_READ = frozenset({*ANSWER_MEMBERS, "error_uri", "expires_on", "expires"})
#: The values of an ``error`` that ``answer`` lists by which servers say that there is none. 0 equals ``False``.
_SUCCESS = (0, "0", "", None)
#: A ``code`` in words, or one that is a status of HTTP: on success it may well be another one than 0.
_NO_CODE = r"(?s:[1-5]\d\d|.*\D.*)"
#: An index of an array.
_INDEX = r"(?a:\d{1,9})"

#: How deep a member of ``Token.extra`` may be nested. One that is nested deeper, which Python may fail to copy, is left
#: out.
_DEEPEST_EXTRA = 32
#: How many members of an answer are looked at, and how deep they may be nested.
_MOST_SEEN, _DEEPEST = 200, 5
#: Other names that servers were seen to use, in small letters and without ``_`` and ``-``; the likeliest first.
_LIKELY = {
    "access_token": (
        "accesstoken", "token", "authtoken", "sessiontoken", "tenantaccesstoken", "appaccesstoken", "bearertoken",
        "jwt", "jwttoken", "idtoken", "sessionid",
    ),
    "expires_in": ("expiresin", "expirein", "expire", "ttl", "tokenttl", "lifetime", "validity"),
    "expires_at": ("expiresat", "expiration", "expiry", "expiretime", "expirestime", "expirationdate", "validuntil"),
    "refresh_token": ("refreshtoken",),
    "error": ("errcode", "errorcode", "errno", "retcode", "code"),
    "error_description": ("errmsg", "errormsg", "errormessage", "msg", "message"),
}  # fmt: skip
_HEADERS = ("x-auth-token", "x-access-token", "x-subject-token", "authorization")
#: What can stand in a setting without quotes.
_PLAIN_PATH = r"(header:)?(?a:[\w-]{1,40})(\.(?a:[\w-]{1,40}))*"


class Found(Record):
    """The members of an answer, by their standard names."""

    members: Mapping[str, Any]
    #: Whether the answer says that it is an error, whatever else is in it.
    is_error: bool
    #: The other members beside the access token.
    extra: Mapping[str, Any]


def find_members(
    document: Any, headers: Mapping[str, str], paths: Mapping[str, str], is_absent: Callable[[Any], bool]
) -> Found:
    """Return the members of an answer, from where *paths* says.

    :param document: what the body was parsed as.
    :param headers: the answer's, with names in small letters.
    """
    path = paths.get("access_token", "access_token")
    place = "" if path.startswith(HEADER) else path.rpartition(".")[0]
    beside = _object(_find(document, headers, place) if place else document)
    listed = {name: _find(document, headers, each) for name, each in paths.items()}
    # A server that refuses may do so by the standard names all the same.
    found = {name: value for name, value in listed.items() if value is not None or not name.startswith("error")}
    members = {**beside, **found}
    if place and is_absent(members.get("access_token")):
        # It may leave out the object that would hold the token.
        members = {**_object(document), **beside, **found}
    error = members.get("error")
    is_error = listed["error"] not in _SUCCESS if "error" in paths else bool(error) and not is_absent(error)
    used = {each.rpartition(".")[2] for each in (path, *paths.values()) if each.rpartition(".")[0] == place}
    others = beside.keys() - _READ - used
    extra = {name: value for name, value in beside.items() if name in others and _is_shallow(value, _DEEPEST_EXTRA)}
    return Found(members, is_error, extra)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_shallow(value: Any, depth: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > 0 and all(_is_shallow(each, depth - 1) for each in inner)


def _find(document: Any, headers: Mapping[str, str], path: str) -> Any:
    """Return what *path* leads to; ``None``: it leads nowhere."""
    if path.startswith(HEADER):
        return headers.get(path.removeprefix(HEADER).lower())
    value = document
    for name in path.split("."):
        if isinstance(value, list):
            value = value[int(name)] if re.fullmatch(_INDEX, name) and int(name) < len(value) else None
        else:
            value = _object(value).get(name)
    return value


def names_in(document: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the parts of the path of each member, and its value; of an array only the first element is looked at."""
    left: list[tuple[tuple[str, ...], Any]] = [((), document)]
    seen = 0
    while left and seen < _MOST_SEEN:
        parts, value = left.pop()
        inner: dict[str, Any] = _object(value)
        if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
            inner = {"0": value[0]}
        if inner and len(parts) < _DEEPEST:
            left += [((*parts, name), each) for name, each in reversed([*inner.items()][:_MOST_SEEN])]
        elif parts:
            seen += 1
            yield parts, value


def is_plain(path: str) -> bool:
    """Return whether *path* can stand in a setting without quotes."""
    return re.fullmatch(_PLAIN_PATH, path) is not None


def suggest(document: Any, headers: Mapping[str, str], is_token: Callable[[Any], bool]) -> dict[str, str]:
    """Return the option ``answer`` that would read an answer; empty: none is known.

    Where there is no token, but an error under another name, it is the one that would read that error.
    """
    leaves = [(".".join(parts), value) for parts, value in names_in(document)]
    path = _likely("access_token", [(each, value) for each, value in leaves if is_token(value)])
    if path is None and (name := next((name for name in _HEADERS if headers.get(name)), None)):
        path = HEADER + name.title()
    found: dict[str, str | None] = {} if path == "access_token" else {"access_token": path}
    place = "" if path is None or path.startswith(HEADER) else path.rpartition(".")[0]
    if path is not None:
        beside = [(each, value) for each, value in leaves if each.rpartition(".")[0] == place]
        for name in ("expires_in", "expires_at", "refresh_token"):
            found |= {name: _likely(name, beside)}
    outside = [(each, value) for each, value in leaves if "." not in each]
    if (error := _likely("error", outside)) and _tells_failure(error, dict(outside)[error], has_token=path is not None):
        found |= {"error": error, "error_description": _likely("error_description", outside)}
    return {
        name: each
        for name, each in found.items()
        if each and (name == "access_token" or each != f"{place}.{name}".lstrip(".")) and is_plain(each)
    }


def suggest_expiry(extra: Mapping[str, Any], paths: Mapping[str, str]) -> str | None:
    """Return the option ``answer`` that would read when a token ends; ``None``: nothing beside the token tells it.

    :param extra: what stands beside the token.
    :param paths: the present ``answer``.
    """
    place, dot, _ = paths.get("access_token", "").rpartition(".")
    leaves = [(name, value) for name, value in extra.items() if is_plain(name) and "." not in name]
    found = ((name, _likely(name, leaves)) for name in ("expires_in", "expires_at"))
    path = next(((name, f"{place}{dot}{each}") for name, each in found if each), None)
    return path and " ".join(f"{name}={each}" for name, each in [*paths.items(), path])


def _likely(member: str, leaves: list[tuple[str, Any]]) -> str | None:
    """Return the path of the likeliest *member*; ``None``: none has such a name."""
    names = _LIKELY[member]
    ranked = [
        (names.index(name), path)
        for path, value in leaves
        if (name := path.rpartition(".")[2].lower().replace("_", "").replace("-", "")) in names
        and isinstance(value, (str, int, float))
    ]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _tells_failure(path: str, value: Any, *, has_token: bool) -> bool:
    """Return whether the member at *path*, beside a token or in place of one, is 0 on success and else tells why."""
    if has_token:
        return value in _SUCCESS
    return value not in _SUCCESS and not (path == "code" and re.fullmatch(_NO_CODE, str(value)))
