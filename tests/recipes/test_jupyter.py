"""The recipe for Jupyter: a kernel runs the cells of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback import Received, as_json
from tests.support.recipes import Recipe

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

for _name in ("nbclient", "ipykernel"):
    pytest.importorskip(_name, reason=f"the recipe needs {_name}")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Jupyter


def outputs(*cells: str) -> list[str]:
    """What the cells of a notebook show: results, or errors with their tracebacks."""
    import nbformat
    from nbclient import NotebookClient

    notebook: Any = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
    return [str(cell.outputs) for cell in notebook.cells]


def test_a_notebook_has_a_token(recipe: Recipe) -> None:
    """A sync and an async cell share a token, and another one after a revocation; no output shows a secret or token."""

    def revoke_or_check(received: Received) -> Response:
        if received.target != "/revoke":
            return recipe.server.check(received)
        recipe.server.revoke()
        return as_json({})

    recipe.server.api = revoke_or_check
    revoke = f"import urllib.request; urllib.request.urlopen('{recipe.server.url}/revoke').status"
    show = "auth, auth.source, auth.source.grant, auth.source.token(), auth.source.token().expires_at"
    found = outputs(recipe[0], recipe[1], revoke, recipe[0], recipe[1], revoke, recipe[1], recipe[0], show)
    asked = [*found[:2], *found[3:5], *found[6:8]]
    assert [text for text in asked if "'received': ''" not in text] == []
    assert "'received': ''" in outputs(recipe[0])[0]  # by another kernel
    assert recipe.tokens() == 3
    assert "ClientCredentials" in found[-1]
    assert not [word for word in ("s3cr3t-of-orders", "token-1", "token-2", "token-3") if word in str(found)]


@pytest.mark.parametrize("number", [0, 1])
def test_a_traceback_shows_no_secret(recipe: Recipe, number: int) -> None:
    """The traceback of a refused token request is short enough to read, and holds no secret."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    [text] = outputs(recipe[number])
    assert "invalid_client" in text
    assert "s3cr3t-of-orders" not in text
