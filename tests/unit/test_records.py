"""The public values that are records: an ``Issuer``, and a ``TokenEvent``."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from auth_plugins import Issuer, TokenEvent

EVENT = TokenEvent("obtained", "ClientCredentials", "https://a.test/token", 0.5, None, "grant")
ISSUER = Issuer("https://a.test")
values = pytest.mark.parametrize("value", [EVENT, ISSUER], ids=lambda value: type(value).__name__)


@values
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copy_is_equal(value: Any, copied: Callable[[Any], Any]) -> None:
    """A copy, and a pickled one, equals the original, and has its hash; another object may say that it is equal."""
    assert copied(value) == value
    assert hash(copied(value)) == hash(value)
    assert value == mock.ANY
    assert value != repr(value)


@values
def test_a_value_is_immutable(value: Any) -> None:
    """A field is neither set nor deleted."""
    (name, *_) = vars(value)
    with pytest.raises(AttributeError, match=f"is immutable: {name} cannot be set"):
        setattr(value, name, "x")
    with pytest.raises(AttributeError, match=f"is immutable: {name} cannot be deleted"):
        delattr(value, name)


def test_values_match_by_position() -> None:
    """A ``case`` names the fields, or gives them in their order."""
    for value in (EVENT, ISSUER):
        match value:
            case TokenEvent("obtained", grant, source="grant"):
                assert grant == "ClientCredentials"
            case Issuer(url):
                assert url == "https://a.test"
            case _:
                raise AssertionError


@pytest.mark.parametrize(
    ("given", "named"),
    [((), {}), (("obtained",), {}), ((*vars(EVENT).values(), 1), {}), ((), {**vars(EVENT), "more": 1}),
     (tuple(vars(EVENT).values()), {"kind": "refused"})],
)  # fmt: skip
def test_wrong_arguments_are_an_error(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    """None, too few, too many, unknown and doubled ones."""
    with pytest.raises(TypeError, match="TokenEvent takes kind, grant, token_url, seconds, error, source"):
        TokenEvent(*given, **named)


def test_a_subclass_has_the_fields_of_its_base() -> None:
    """What a subclass annotates is no field: it may be set later, or never."""

    class Realm(Issuer):
        name: str

        def __init__(self, name: str) -> None:
            super().__init__(f"https://a.test/{name}")

    assert Realm("acme") == Realm("acme") != Realm("other")
    assert (Realm("acme").url, repr(Realm("acme"))) == ("https://a.test/acme", "Issuer('https://a.test/acme')")
    assert Realm("acme") != Issuer("https://a.test/acme")
