"""Values: grants, and what they consist of, which are frozen dataclasses; and records, which are made faster."""

from __future__ import annotations

import functools
import operator
import weakref
from abc import ABCMeta
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from .hidden import hide_arguments

if TYPE_CHECKING:
    from inspect import Signature

#: By argument, the function that checks it and returns its normal form.
Checks = Mapping[str, Callable[[str, Any], Any]]


class _Texts(tuple[Any, ...]):
    """A class and the texts that it was called with; its repr shows none of them, as secrets are among them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


#: The objects that were made of texts alone and are in use.
_in_use: dict[tuple[Any, ...], weakref.ref[Frozen]] = {}
_TEXTS = frozenset({str, type(None)})


def _nothing() -> None: ...


class _Reusing(ABCMeta):
    """Returns the object in use that the same class made of the same texts: to check them takes longer than a call.

    For our grants only: the user's may differ by attributes that are set later, other objects by the working directory.
    """

    if not TYPE_CHECKING:  # which would take the result for Any

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            # First, as an object of another type may equal a text that it is no more at the next look.
            are_texts = not args or _TEXTS.issuperset(map(type, args))
            are_texts = are_texts and _TEXTS.issuperset(map(type, kwargs.values()))
            key = (cls, args, tuple(kwargs.items())) if are_texts else None
            if key and (made := _in_use.get(key, _nothing)()) is not None:
                return made
            try:
                return cls.__make(key, *args, **kwargs)
            finally:
                del args, kwargs, key  # a traceback keeps this frame

        @hide_arguments
        def __make(cls, key: tuple[Any, ...] | None, /, *args: Any, **kwargs: Any) -> Any:
            made = super().__call__(*args, **kwargs)
            if key and cls.__module__.startswith("auth_plugins._grants."):
                texts = _Texts(key)
                _in_use[texts] = weakref.ref(made, lambda _: _in_use.pop(texts, None))
            return made

    @property
    def __signature__(cls) -> Signature:
        """That of the constructor, for tools that would show ``__call__``'s."""
        from inspect import signature

        own = signature(getattr(cls, "__init__"))  # noqa: B009 - mypy takes cls for an instance
        return own.replace(parameters=list(own.parameters.values())[1:])


class Frozen(metaclass=_Reusing):
    """The base of frozen dataclasses, made by ``dataclass(frozen=True, eq=False)``: comparable and hashable.

    Attributes besides the fields count in ``==``, as they may tell one tenant from another, but not in the hash.
    """

    # Cached, as an auth may be made for each request, and looks its grant up.
    __slots__ = ("_hash",)

    _hash: int
    __dataclass_fields__: ClassVar[dict[str, Any]]
    #: Equal arguments, however they are written, have the same normal form, and so make equal objects.
    _checks: ClassVar[Checks]

    def __post_init__(self) -> None:
        fields = self.__dataclass_fields__
        for name, check in self._checks.items():
            given = getattr(self, name)
            if given is None and fields[name].default is None:
                continue  # it is the default
            if (normal := check(name, given)) is not given:
                object.__setattr__(self, name, normal)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        if vars(self) == vars(other) and not _has_slots(type(self)):  # at once
            return True
        values = _field_getter(type(self))
        return bool(values(self) == values(other)) and self._other_attributes() == other._other_attributes()

    def _other_attributes(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self.__dataclass_fields__}

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash((type(self), _field_getter(type(self))(self))))
            return self._hash

    def __getstate__(self) -> dict[str, Any]:
        return vars(self).copy()  # without the hash, which is another in each process


@functools.cache
def _has_slots(kind: type[Frozen]) -> bool:
    return any("__slots__" in vars(base) for base in kind.__mro__[: kind.__mro__.index(Frozen)])


@functools.cache
def _field_getter(kind: type[Frozen]) -> Callable[[Any], Any]:
    """Return a function that returns the values of all fields that count in ``==``, wherever they are stored."""
    from dataclasses import fields

    return operator.attrgetter(*(each.name for each in fields(kind) if each.compare))


@dataclass_transform(frozen_default=True)
class Record:
    """The base of plain, immutable data: its annotations name the fields, and their values are the defaults.

    For type checkers a subclass is a frozen dataclass; but a dataclass, like a ``NamedTuple``, compiles code each time
    that a program starts, which takes longer than all else in its module.
    """

    _fields: ClassVar[tuple[str, ...]]
    _names: ClassVar[frozenset[str]]
    _required: ClassVar[frozenset[str]]

    def __init_subclass__(cls) -> None:
        if Record in cls.__bases__:  # another one is a user's, whose annotations are no fields
            cls._fields = cls.__match_args__ = tuple(cls.__annotations__)  # type: ignore[attr-defined, misc]
            cls._names = frozenset(cls._fields)
            cls._required = frozenset(name for name in cls._fields if not hasattr(cls, name))

    def __init__(self, *values: Any, **named: Any) -> None:
        count = len(values) + len(named)
        if values:
            named.update(zip(self._fields, values, strict=False))
        if len(named) < count or not self._required <= named.keys() <= self._names:
            raise TypeError(f"{type(self).__name__} takes {', '.join(self._fields)}")
        vars(self).update(named)

    def having(self, **changes: Any) -> Self:
        """Return a copy with other values of some fields."""
        return type(self)(**{**vars(self), **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be deleted")

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields}

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self._values().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values().items())})"
