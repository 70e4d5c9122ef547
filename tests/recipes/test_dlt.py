"""The recipe for dlt."""

from __future__ import annotations

from pathlib import Path

import pytest

from auth_plugins import TokenRequestError
from tests.support.apis import Api
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

dlt = pytest.importorskip("dlt", reason="the recipe needs dlt")
exceptions = pytest.importorskip("dlt.pipeline.exceptions")
PAGES = [{"number": 1}, {"number": 2}]


@pytest.fixture
def api(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Api:
    """An API with two pages; ``dlt`` writes below the current directory."""
    for name, value in {"DLT_DATA_DIR": f"{tmp_path}/dlt", "RUNTIME__DLTHUB_TELEMETRY": "false"}.items():
        monkeypatch.setenv(name, value)
    first, second = as_json([PAGES[0]], Link=f'<{recipe.server.url}/page-2>; rel="next"'), [PAGES[1]]
    api = Api(recipe, {"/orders": first, "/page-2": second})
    recipe.replaced['"api.example.com"'] = '"127.0.0.1"'
    return api


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """A resource and a source share a token; after an early revocation they share another one."""
    names = recipe.run(1, **recipe.run())
    api.survives(PAGES, lambda: list(names["orders"]()), lambda: list(names["source"]))


def test_a_pagination_goes_on(recipe: Recipe, api: Api) -> None:
    """A token that is revoked between two pages is replaced."""
    pages = recipe.run()["client"].paginate("/orders")
    first = next(pages)
    recipe.server.revoke()
    assert [*first, *next(pages)] == PAGES
    assert (recipe.tokens(), api.refusals) == (2, 1)


def test_a_refused_token_request_is_raised(recipe: Recipe, api: Api) -> None:
    """A refused token request is raised as it is, or is the last cause of a pipeline's error; it is sent once."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run()
    with pytest.raises(TokenRequestError):
        names["client"].get("/orders")
    with pytest.raises(exceptions.PipelineStepFailed) as raised:
        dlt.pipeline(destination="filesystem").extract(names["orders"]())
    assert isinstance(getattr(raised.value.__cause__, "__cause__", None), TokenRequestError)
    assert recipe.tokens() == 1
