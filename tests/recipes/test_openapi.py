"""The recipe for clients that are generated of an OpenAPI document, which the test has generated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.apis import Api
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

for _name in ("openapi_generator_cli", "openapi_python_client"):
    pytest.importorskip(_name, reason=f"the recipe needs {_name}")
if shutil.which("java") is None:
    pytest.skip("openapi-generator needs java", allow_module_level=True)
ROWS = {"description": "", "content": {"application/json": {"schema": {"type": "array", "items": {"type": "string"}}}}}
DOCUMENT = {
    "openapi": "3.0.3",
    "info": {"title": "Orders", "version": "1"},
    "paths": {"/orders": {"get": {"operationId": "listOrders", "tags": ["orders"], "responses": {"200": ROWS}}}},
}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both generated packages."""
    directory = tmp_path_factory.mktemp("clients")
    (directory / "orders.json").write_text(json.dumps(DOCUMENT), "utf-8")
    scripts = Path(sys.executable).parent
    for command in (
        "openapi-generator-cli generate -i orders.json -g python -o . --package-name orders_client",
        "openapi-python-client generate --path orders.json --meta none --output-path orders_httpx",
    ):
        program, *words = command.split()
        subprocess.run([scripts / program, *words], cwd=directory, check=True, capture_output=True, timeout=100)
    return directory


@pytest.fixture
def api(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, clients: Path) -> Api:
    monkeypatch.syspath_prepend(clients)
    return Api(recipe, {"/orders": ["first"]})


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """The clients share a token; after an early revocation they share another one."""
    names = recipe.run(1, **recipe.run())
    api.survives(["first"], names["orders"], names["orders_httpx"], names["orders_async"])


def test_an_api_that_rejects_all_tokens_costs_one_more(recipe: Recipe, api: Api) -> None:
    """While new tokens are rejected as well, no other one is fetched, and the error is raised."""
    names = recipe.run()
    recipe.server.api = lambda _: as_json({}, 401)
    for _ in range(2):
        with pytest.raises(names["orders_client"].exceptions.UnauthorizedException):
            names["orders"]()
    assert recipe.tokens() == 2
