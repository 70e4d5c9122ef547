"""The recipe for zeep."""

from __future__ import annotations

import pytest
from werkzeug.wrappers import Response

from auth_plugins import TokenRequestError
from tests.support.apis import Api
from tests.support.loopback import as_json
from tests.support.recipes import Recipe

pytest.importorskip("zeep", reason="the recipe needs zeep")
WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:x="urn:x" xmlns:s="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:x">
  <message name="In"><part name="a" type="s:int"/><part name="b" type="s:int"/></message>
  <message name="Out"><part name="sum" type="s:int"/></message>
  <portType name="P"><operation name="Add"><input message="x:In"/><output message="x:Out"/></operation></portType>
  <binding name="B" type="x:P"><soap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="Add"><soap:operation soapAction="Add"/>
      <input><soap:body use="literal" namespace="urn:x"/></input>
      <output><soap:body use="literal" namespace="urn:x"/></output></operation></binding>
  <service name="S"><port name="P" binding="x:B"><soap:address location="{}/service"/></port></service>
</definitions>"""
SUM = """<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>
  <x:AddResponse xmlns:x="urn:x"><sum>3</sum></x:AddResponse></e:Body></e:Envelope>"""


@pytest.fixture
def api(recipe: Recipe) -> Api:
    wsdl = Response(WSDL.format(recipe.server.url), content_type="text/xml")
    api = Api(recipe, {"/adder": wsdl, "/service": Response(SUM, content_type="text/xml")})
    recipe.replaced['"api.example.com"'] = '"127.0.0.1"'
    return api


def test_calls_share_a_token(recipe: Recipe, api: Api) -> None:
    """The transports share a token; after an early revocation they share another one."""
    names = recipe.run(1, **recipe.run())
    with names["session"]:
        api.survives(3, lambda: names["add"](1, 2), lambda: names["add_async"](1, 2))


def test_a_refused_token_request_is_raised(recipe: Recipe, api: Api) -> None:
    """A refused token request is raised as it is."""
    recipe.server.token_play = lambda _: as_json({"error": "invalid_client"}, 401)
    names = recipe.run()
    with names["session"], pytest.raises(TokenRequestError):
        names["add"](1, 2)
    assert recipe.tokens() == 1
