"""What the rest of the package knows of a grant, and what grants that are dataclasses have in common."""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from auth_plugins._base.errors import not_an_auth
from auth_plugins._protocol.tokens import Token

if TYPE_CHECKING:
    from auth_plugins._protocol.messages import TokenRequest

#: Sends one token request and reads its answer.
Ask = Callable[["TokenRequest"], Token]
#: By argument, the function that checks it and returns its normal form.
Checks = Mapping[str, Callable[[str, Any], Any]]


# No ABC, as isinstance() takes longer for one.
class BaseSource:
    """The base of TokenSource, by which a grant that exchanges its tokens knows it."""

    #: The grant of the tokens.
    grant: Grant
    #: The session or client that alone identifies the client of the server; ``None``: the grant does.
    _session: Any = None

    if TYPE_CHECKING:

        def token(self) -> Token: ...


class Grant(ABC):
    """What is exchanged for a token; a :class:`~auth_plugins.TokenSource` decides when."""

    #: Whether the grant can be used again after its refresh tokens were refused.
    is_repeatable: ClassVar[bool] = True
    #: Whether the token is a constant key, for which no request is sent.
    is_constant: ClassVar[bool] = False
    #: Whether *ask* is used, for which Authlib and an HTTP library are imported.
    sends_token_requests: ClassVar[bool] = True

    @property
    def can_be_shared(self) -> bool:
        """Whether a shared cache may be given; ``True`` by default. Without an identity it is then not used."""
        return True

    @property
    def sources(self) -> Sequence[BaseSource | None]:
        """The token sources whose tokens are exchanged, in the order of :meth:`bind`; empty for most grants."""
        return ()

    @property
    def is_bound_late(self) -> bool:
        """Whether what is exchanged may be another with each token request, so that :meth:`bind` is called for it."""
        return False

    def bind(self, texts: Sequence[str | None]) -> tuple[Grant, tuple[str, ...]]:  # noqa: ARG002
        """Return the grant for what is exchanged at this moment, and the texts of it.

        :param texts: the tokens of :attr:`sources`; ``None`` where there is no source.
        """
        return self, ()

    # Not NoReturn: by that a type checker takes a grant for an auth=.
    def __call__(self, *_: object) -> None:
        """Say what ``auth=`` must be: requests and httpx call what they are given there."""
        raise not_an_auth(self)

    @abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """Return the present values of all secrets: when one changes, a remembered refusal no longer counts."""

    def header_and_scheme(self) -> tuple[str, str]:
        """Return the header that carries the token, and the scheme before the token."""
        return "Authorization", "Bearer"

    @abstractmethod
    def request_token(self, ask: Ask) -> Token:
        """Get a token for the grant itself by *ask*."""

    def refresh(self, ask: Ask, refresh_token: str | None) -> Token | None:  # noqa: ARG002
        """Get a token for *refresh_token* by *ask*; ``None``: it was refused, or there is none."""
        return None

    def own_refresh_token(self) -> str | None:
        """Return the refresh token that the grant consists of; ``None``: it is another kind of grant."""
        return None

    def revocation_requests(self, access_token: str | None, refresh_token: str | None) -> Sequence[TokenRequest]:  # noqa: ARG002
        """Return the requests that revoke the tokens (RFC 7009 §2.1); none without a revocation endpoint."""
        return ()

    def identity(self) -> Mapping[str, Any] | None:
        """Return all that a token depends on, secrets included, as JSON types; ``None``: it is not shared."""
        return None


class FrozenGrant(Grant):
    """The base of frozen dataclasses, made by ``dataclass(frozen=True, eq=False)``. Equal grants share a token.

    Attributes besides the fields count in ``==``, as they may tell one tenant from another, but not in the hash.
    """

    # Cached, as an auth may be made for each request, and looks its grant up.
    __slots__ = ("_hash",)

    _hash: int
    __dataclass_fields__: ClassVar[dict[str, Any]]
    #: Equal arguments, however they are written, have the same normal form, and so make equal grants.
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
def _has_slots(kind: type[FrozenGrant]) -> bool:
    return any("__slots__" in vars(base) for base in kind.__mro__[: kind.__mro__.index(FrozenGrant)])


@functools.cache
def _field_getter(kind: type[FrozenGrant]) -> Callable[[Any], Any]:
    """Return a function that returns the values of all fields that count in ``==``, wherever they are stored."""
    from dataclasses import fields

    return operator.attrgetter(*(each.name for each in fields(kind) if each.compare))
