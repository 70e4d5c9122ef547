"""Checks of options that are mappings: parameters, headers, names; and the present values of callables in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .errors import ConfigurationError
from .hidden import hidden, hide_arguments
from .validation import (
    Parameter,
    Secret,
    Value,
    call_secret,
    check_callable,
    check_header,
    check_id,
    check_text,
    freeze_strings,
    wrong_type,
)

#: Parameters of token requests that the grants send, which ``names`` may rename.
STANDARD_PARAMETERS = (
    "grant_type", "client_id", "client_secret", "username", "password", "refresh_token", "scope", "audience", "resource"
)  # fmt: skip
#: The names that ``answer`` may list.
ANSWER_MEMBERS = (
    "access_token", "token_type", "expires_in", "expires_at", "refresh_token", "scope", "error", "error_description"
)  # fmt: skip
#: Before the name of a header, in place of a path in an answer.
HEADER = "header:"
_Check = Callable[[str, str, Any], Any]


def freeze_params(argument: str, params: object) -> tuple[tuple[str, Parameter], ...] | None:
    """Return parameters as pairs in the order of their names, so that equal mappings are equal and hashable."""
    return _freeze(argument, params, _freeze_value)


def freeze_headers(argument: str, headers: object) -> tuple[tuple[str, Secret], ...] | None:
    """Return headers in the same way."""
    return _freeze(argument, headers, _freeze_header)


def freeze_texts(argument: str, mapping: object, allowed: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return a mapping of *allowed* names to texts in the same way; an error shows none of them."""
    pairs = _pairs(argument, mapping)
    if any(name not in allowed for name, _ in pairs):
        raise ConfigurationError(f"must have no other names than {', '.join(allowed)}", argument=argument)
    return tuple((name, check_id(argument, text)) for name, text in pairs)


def freeze_names(argument: str, names: object) -> tuple[tuple[str, str], ...] | None:
    """Return other names for standard parameters in the same way."""
    pairs = freeze_texts(argument, names, STANDARD_PARAMETERS)
    if len({other for _, other in pairs}) < len(pairs):
        raise ConfigurationError("must have another name for each parameter", argument=argument)
    return pairs or None


def freeze_answer(argument: str, paths: object) -> tuple[tuple[str, str], ...] | None:
    """Return the option ``answer`` as pairs in the order of their names. An error shows neither name nor path."""
    pairs = freeze_texts(argument, paths, ANSWER_MEMBERS)
    for name, path in pairs:
        if path.startswith(HEADER):
            check_header(path.removeprefix(HEADER), "", f"the header for {name} in {argument}")
        elif "" in path.split("."):
            problem = f"must have member names joined by dots as the path of {name}, such as data.token"
            raise ConfigurationError(problem, argument=argument, advice="or give header: and the name of a header")
    return pairs or None


@hide_arguments
def resolve_params(argument: str, params: Sequence[tuple[str, Any]]) -> list[tuple[str, Value]]:
    """Return parameters with the present values of their callables."""
    return _resolve(argument, params, _freeze_value)


@hide_arguments
def resolve_headers(argument: str, headers: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Return headers in the same way."""
    return _resolve(argument, headers, _freeze_header)


def _pairs(argument: str, mapping: object) -> list[tuple[str, Any]]:
    """Return the items of *mapping*, or pairs that were frozen before, in the order of their names."""
    items = tuple(mapping.items()) if isinstance(mapping, Mapping) else mapping
    if not (isinstance(items, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in items)):
        raise wrong_type(argument, mapping, "a mapping")
    for name, _ in items:
        check_text(f"a name in {argument}", name)
    return sorted(items, key=lambda pair: pair[0])


def _freeze(argument: str, mapping: object, check: _Check) -> tuple[tuple[str, Any], ...] | None:
    frozen = []
    for name, value in _pairs(argument, mapping):
        if callable(value):
            check(argument, name, "")  # the name
            frozen.append((name, check_callable(f"{argument}[{name!r}]", value)))
        else:
            frozen.append((name, check(argument, name, value)))
    return tuple(frozen) or None


def _resolve(argument: str, pairs: Sequence[tuple[str, Any]], check: _Check) -> list[tuple[str, Any]]:
    return [
        (name, check(argument, name, call_secret(f"{argument}[{name!r}]", value)) if callable(value) else value)
        for name, value in pairs
    ]


def _freeze_value(argument: str, name: str, value: Any) -> Value:
    place = f"{argument}[{name!r}]"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        # It may be a secret, or empty.
        return cast("str", hidden(value and check_text(place, value)))
    return tuple(map(hidden, freeze_strings(place, value) or ()))


def _freeze_header(argument: str, name: str, value: Any) -> str:
    check_header(name, value, f"a name in {argument}", f"{argument}[{name!r}]")
    return cast("str", hidden(value))
