"""Plays the API behind an SDK of a recipe, and calls it before and after a revocation."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.wrappers import Response

from tests.support.loopback import Received, as_json
from tests.support.recipes import Recipe

CHALLENGE = 'Bearer error="invalid_token"'


class Api:
    """Answers requests with a live token, by the end of their path; counts those without one, which get *refusal*."""

    def __init__(self, recipe: Recipe, answers: Mapping[str, Any], refusal: Response | None = None) -> None:
        self._recipe, self._answers = recipe, answers
        self._refusal = refusal or as_json({"error": "invalid_token"}, 401, WWW_Authenticate=CHALLENGE)
        self.refusals = 0
        recipe.server.api = self._answer
        recipe.replaced = {
            "https://api.example.com:443": recipe.server.url,
            "https://api.example.com": recipe.server.url,
        }

    def _answer(self, received: Received) -> Response:
        if received.headers.get("authorization", "").removeprefix("Bearer ") not in self._recipe.server.live:
            self.refusals += 1
            return self._refusal
        path = received.target.partition("?")[0]
        answer = next(answer for end, answer in self._answers.items() if path.endswith(end))
        return answer if isinstance(answer, Response) else as_json(answer)

    def survives(self, expected: Any, *calls: Callable[[], Any], revocations: int = 2) -> None:
        """All *calls* return *expected* with one token; after each revocation with one more, and one more request.

        No request shows the placeholder of a key.
        """
        server = self._recipe.server
        for count in range(1, revocations + 2):
            for call in calls:
                assert finished(call()) == expected
            assert self._recipe.tokens() == count
            server.revoke()
        assert self.refusals == revocations
        assert not [each for each in server.api_requests if "unused" in str(each.headers)]


def finished(result: Any) -> Any:
    """Return *result*, or what the coroutine comes to."""
    return asyncio.run(result) if inspect.iscoroutine(result) else result
