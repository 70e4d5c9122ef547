"""The recipe for openai."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from werkzeug.wrappers import Response

from auth_plugins import TokenRequestError
from auth_plugins.httpx import OAuth2Auth
from tests.support.apis import Api
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

openai = pytest.importorskip("openai", reason="the recipe needs openai")
MESSAGE = {"role": "assistant", "content": "Hello"}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
ANSWER = {"id": "1", "object": "chat.completion", "created": 1, "model": "small", "choices": [CHOICE]}


@pytest.fixture
def api(recipe: Recipe) -> Api:
    return Api(recipe, {"/v1/chat/completions": ANSWER})


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """The clients share a token; after an early revocation they share another one."""
    names = recipe.run(1, **recipe.run())
    with names["client"]:
        api.survives("Hello", lambda: names["ask"]("Hi"), lambda: names["ask_async"]("Hi"))


def test_streams_and_uploads_survive(recipe: Recipe) -> None:
    """A streamed answer and an upload survive a revocation; the whole file is sent again."""
    file = {"id": "1", "object": "file", "bytes": 4, "created_at": 1, "filename": "a", "purpose": "batch"}
    chunk = {**ANSWER, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": MESSAGE}]}
    events = Response(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n", content_type="text/event-stream")
    api, client = Api(recipe, {"/v1/chat/completions": events, "/v1/files": file}), recipe.run()["client"]

    def stream() -> str:
        with client.chat.completions.create(model="small", messages=[], stream=True) as chunks:
            return "".join(each.choices[0].delta.content for each in chunks)

    with client:
        api.survives("Hello", stream)
        client.files.create(file=("a", io.BytesIO(b"rows")), purpose="batch")
    refused, repeated = recipe.server.api_requests[-2:]
    assert refused.body == repeated.body
    assert b"rows" in refused.body


def test_a_client_of_httpx_serves_too(recipe: Recipe, api: Api) -> None:
    """A client of httpx with its own auth survives a revocation as well."""
    names: dict[str, Any] = recipe.run()
    names["client"].close()
    with names["client"].with_options(http_client=httpx.Client(auth=OAuth2Auth.from_env("ACME"))) as client:
        names["client"] = client
        api.survives("Hello", lambda: names["ask"]("Hi"))


def test_a_refused_token_request_is_the_cause(recipe: Recipe, api: Api) -> None:
    """A refused token request is the cause of the error, and is sent once."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run()
    with names["client"], pytest.raises(openai.APIConnectionError) as raised:
        names["ask"]("Hi")
    assert isinstance(raised.value.__cause__, TokenRequestError)
    assert recipe.tokens() == 1
