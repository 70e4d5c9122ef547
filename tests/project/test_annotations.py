"""The annotations of the interface hold for tools that read them while a program runs."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import auth_plugins
import auth_plugins.httpx
import auth_plugins.httpx2
import auth_plugins.requests
from auth_plugins import providers

MODULES: tuple[ModuleType, ...] = (
    auth_plugins,
    providers,
    auth_plugins.requests,
    auth_plugins.httpx,
    auth_plugins.httpx2,
)


def callables() -> Iterator[Any]:
    """Each public function, and what makes the objects of each public class."""
    for module in MODULES:
        for name in module.__all__:
            public: Any = getattr(module, name)
            members = [getattr(public, member, None) for member in ("__init__", "from_env")]
            for each in filter(None, members if isinstance(public, type) else [public]):
                yield pytest.param(each, id=f"{module.__name__}.{name}.{each.__name__}")


@pytest.mark.parametrize("public", [*callables()])
def test_annotations_can_be_resolved(public: Any) -> None:
    """Tools that inject dependencies, or draw pages, can resolve the annotations of all arguments."""
    assert typing.get_type_hints(public) is not None
