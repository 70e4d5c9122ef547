"""The recipe for anthropic."""

from __future__ import annotations

import pytest

from auth_plugins import TokenRequestError
from tests.support.apis import Api
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

anthropic = pytest.importorskip("anthropic", reason="the recipe needs anthropic")
ANSWER = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "small",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


@pytest.fixture
def api(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "unused-too")
    return Api(recipe, {"/v1/messages": ANSWER})


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """The clients share a token; after an early revocation they share another one. No key of a variable is sent."""
    names = recipe.run(1, **recipe.run())
    with names["client"]:
        api.survives("Hello", lambda: names["ask"]("Hi"), lambda: names["ask_async"]("Hi"))


def test_a_refused_token_request_is_the_cause(recipe: Recipe, api: Api) -> None:
    """A refused token request is the cause of the error, and is sent once."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run()
    with names["client"], pytest.raises(anthropic.APIConnectionError) as raised:
        names["ask"]("Hi")
    assert isinstance(raised.value.__cause__, TokenRequestError)
    assert recipe.tokens() == 1
