"""The recipe for anthropic."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.wrappers import Response

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


def test_a_stream_survives(recipe: Recipe) -> None:
    """A streamed answer survives a revocation."""
    block = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**ANSWER, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "message_stop"},
    ]
    text = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
    api, client = (
        Api(recipe, {"/v1/messages": Response(text, content_type="text/event-stream")}),
        recipe.run()["client"],
    )

    def stream() -> str:
        with client.messages.stream(model="small", max_tokens=100, messages=[]) as answer:
            return "".join(answer.text_stream)

    with client:
        api.survives("Hello", stream)


def test_a_refused_token_request_is_the_cause(recipe: Recipe, api: Api) -> None:
    """A refused token request is the cause of the error, and is sent once."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run()
    with names["client"], pytest.raises(anthropic.APIConnectionError) as raised:
        names["ask"]("Hi")
    assert isinstance(raised.value.__cause__, TokenRequestError)
    assert recipe.tokens() == 1
