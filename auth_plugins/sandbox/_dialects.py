"""Three systems that speak no standard OAuth 2.0, as many APIs do. No provider knows them: options describe them."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

from ._seen import JSON, Seen
from ._system import Refusal, Reply, System, require


class NestedApi(System):
    """Everything is answered 200: a token in ``body`` with a date as its expiry, and an error as a code that is not 0.

    The client's id and secret are ``app_id`` and ``app_secret`` in a JSON object, without a ``grant_type``.
    """

    name = "nested-api"
    client_id = "app-7"
    client_secret = "nested / secret + ü"
    token_path = "/api/login"
    accepted: ClassVar = {("token", "POST"): ("JSON body",)}
    media_type = JSON
    is_opaque = True
    options: ClassVar = {
        "client_auth": "client_secret_post",
        "encoding": "json",
        "names": "client_id=app_id client_secret=app_secret",
        "params": "grant_type",
        "answer": "access_token=body.access_token error=code error_description=msg",
    }

    def _family(self, request: Seen, parameters: Mapping[str, str]) -> str:
        require({"app_id", "app_secret"}, parameters)
        if (request.in_body["app_id"], request.in_body["app_secret"]) != (self.client_id, self.client_secret):
            raise Refusal(401, "invalid_client", "unknown app, or not its secret")
        return secrets.token_hex()

    def _shape(self, members: Mapping[str, object]) -> Reply:
        expires = datetime.fromtimestamp(self._clock() + self.lifetime, UTC).isoformat(timespec="milliseconds")
        body = {"access_token": members["access_token"], "expires": expires}
        return Reply({"code": 0, "msg": "ok", "body": body})

    def _refuse(self, at: str, refusal: Refusal) -> Reply:
        if at == "api":
            return super()._refuse(at, refusal)
        return Reply({"code": refusal.status, "msg": ": ".join(refusal.content.values()), "body": None})


class SessionApi(System):
    """A login by user name and password. The session's token comes in a header, and goes to the API in the same one.

    The answer tells no expiry, and a refusal has no challenge: a session ends when the API says 401.
    """

    name = "session-api"
    username = "clerk@example"
    password = "session&password = ü"
    token_path = "/sessions"
    accepted: ClassVar = {("token", "POST"): ("form",)}
    token_place = "X-Auth-Token"
    is_opaque = True
    options: ClassVar = {
        "params": "grant_type",
        "answer": "access_token=header:X-Auth-Token",
        "header": "X-Auth-Token",
        "scheme": "{token}",
    }

    def _family(self, request: Seen, parameters: Mapping[str, str]) -> str:
        require({"username", "password"}, parameters)
        if (request.in_body["username"], request.in_body["password"]) != (self.username, self.password):
            raise Refusal(401, "invalid_login")
        return secrets.token_hex()

    def _shape(self, members: Mapping[str, object]) -> Reply:
        return Reply({"user": self.username}, 201, {"X-Auth-Token": str(members["access_token"])})

    def _refuse(self, at: str, refusal: Refusal) -> Reply:
        return Reply(refusal.content, 401) if refusal.status == 401 else super()._refuse(at, refusal)


class QueryApi(System):
    """The token travels in the query. A refused one is answered 403, without a challenge, and ``/graphql`` says 200.

    Its token endpoint is a standard one that takes the client's id and secret in the form.
    """

    name = "query-api"
    client_id = "query-client"
    client_secret = "query & secret = ü"
    token_path = "/oauth/token"
    accepted: ClassVar = {("token", "POST"): ("form",)}
    token_place = "query"
    is_opaque = True
    options: ClassVar = {"client_auth": "client_secret_post", "query": "access_token", "refused": "403"}

    @property
    def graphql_url(self) -> str:
        """A URL of the API that answers 200 to all: to a refused token, with a GraphQL error ``UNAUTHENTICATED``."""
        return f"{self.url}/graphql"

    def _call_api(self, path: str, request: Seen) -> object:
        if path == "/graphql":
            if self._has_valid_token(request):
                return {"data": self._received(request)}
            error = {"message": "sign in", "extensions": {"code": "UNAUTHENTICATED"}}
            return {"data": None, "errors": [error]}
        return super()._call_api(path, request)

    def _refuse(self, at: str, refusal: Refusal) -> Reply:
        if (at, refusal.status) == ("api", 401):
            return Reply({"error": "token_expired"}, 403)
        return super()._refuse(at, refusal)
