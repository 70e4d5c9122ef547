"""Which responses of an API refuse a token besides those of RFC 6750: the argument ``refused=``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from auth_plugins._base.errors import ConfigurationError

#: The least status of an error, and the largest that ``refused`` may name: some APIs answer 999.
ERRORS, _LARGEST = 400, 999

#: What ``refused=`` takes.
Refused = Iterable[int] | Callable[[Any], bool]


class RefusalRules:
    """What :func:`.refusals.verdict_on` knows a refusal by, besides RFC 6750.

    :param refused: statuses, or a predicate of a response; ``None``: none.
    :raises ConfigurationError: it is neither.
    """

    __slots__ = ("given", "has_predicate", "least", "predicate", "statuses")

    #: Decides on what neither status nor challenge does; set where it is given.
    predicate: Callable[[Any], bool]

    def __init__(self, refused: Refused | None = None) -> None:
        self.statuses: frozenset[int] = frozenset()
        #: The argument, an iterator as a tuple.
        self.given: Refused | None = None
        #: A response of a lower status refuses nothing.
        self.least = ERRORS
        self.has_predicate = callable(refused)
        if callable(refused):
            self.given = self.predicate = _checked(refused)
            self.least = 0
        elif refused is not None:
            self.given = _statuses(refused)
            self.statuses = frozenset(self.given)
            self.least = min((ERRORS, *self.statuses))


#: The rules without ``refused=``.
DEFAULT_RULES = RefusalRules()


def _statuses(refused: Any) -> tuple[int, ...]:
    advice = "give statuses such as (403, 419), or a function that takes a response and returns a bool"
    is_text = isinstance(refused, (str, bytes))
    statuses = tuple(refused) if isinstance(refused, Iterable) and not is_text else None
    if statuses is None:
        problem = f"must be statuses or a callable, got an object of type {type(refused).__name__}"
        raise ConfigurationError(problem, argument="refused", advice=advice)
    for status in statuses:
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= _LARGEST:
            problem = f"must hold statuses from 200 to {_LARGEST}, got {_shown(status)}"
            raise ConfigurationError(problem, argument="refused", advice=advice)
    return statuses


def _shown(status: object) -> str:
    return str(status) if type(status) is int else f"an object of type {type(status).__name__}"


def _checked(predicate: Callable[[Any], bool]) -> Callable[[Any], bool]:
    import inspect  # few programs come here

    if inspect.iscoroutinefunction(predicate) or inspect.iscoroutinefunction(type(predicate).__call__):
        advice = "make it a plain def; where it reads the body, the body is read for it"
        raise ConfigurationError("must return a bool, but is an async def", argument="refused", advice=advice)
    return predicate
