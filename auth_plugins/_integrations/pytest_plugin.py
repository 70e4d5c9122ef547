"""The plugin of pytest: fixtures, of which each loads what it needs when a test uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .fake_tokens import FakeTokens
    from .token_server import TokenServer


@pytest.fixture
def fresh_tokens() -> Iterator[None]:
    """Let a test find no token and no refusal of another test, and leave none.

    What is in the memory of the process is forgotten, before and after the test, of auth objects of modules too. A
    FileCache or RedisCache keeps what it has: give each test a directory or prefix of its own.
    """
    from .fake_tokens import forget

    forget()
    yield
    forget()


@pytest.fixture
def fake_tokens(fresh_tokens: None) -> Iterator[FakeTokens]:  # noqa: ARG001 - for its effect
    """Give every grant a token without network; an ``auth_plugins.testing.FakeTokens``."""
    from .fake_tokens import FakeTokens

    with FakeTokens() as tokens:
        yield tokens


@pytest.fixture
def token_server(fresh_tokens: None) -> Iterator[TokenServer]:  # noqa: ARG001 - for its effect
    """Serve a token endpoint and an API on loopback; an ``auth_plugins.testing.TokenServer``."""
    from .token_server import TokenServer

    with TokenServer() as server:
        yield server
