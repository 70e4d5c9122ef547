"""What the documents of the five systems say, as data."""

import secrets
from collections.abc import Mapping
from typing import ClassVar

from ._seen import JSON, Seen
from ._system import Refusal, Reply, System, require


class UploadApi(System):
    """Basic with the secret URL-encoded, and a scope. Its version 1, ``/v1/UploadData``, needs an API key."""

    name = "upload-api"
    client_id = "5471E010-DDEE-4C98-FF8F-08DB2245E373"
    client_secret = "7rg6Gt+hUiob="
    api_key = "upload-api key of v1"
    scope = "platform_upload_api"
    token_path = "/connect/token"
    api_path = "/UploadData"
    accepted: ClassVar = {("token", "POST"): ("Basic, URL-encoded",)}
    bare = False  #: True: the token response is the token alone, as a JSON string, like the document's example.

    def legacy_variables(self, prefix: str) -> dict[str, str]:
        """Return the environment variables of a client of version 1, with its API key."""
        return {f"{prefix}_API_KEY": self.api_key}

    def _call_api(self, path: str, request: Seen) -> object:
        if path != "/v1/UploadData":
            return super()._call_api(path, request)
        if request.credentials != "X-API-Key" or request.headers["x-api-key"] != self.api_key:
            raise Refusal(401, "invalid_api_key")
        return self._received(request)

    def _shape(self, members: Mapping[str, object]) -> Reply:
        return Reply(members["access_token"]) if self.bare else super()._shape(members)


class JwtApi(System):
    """Basic with id and secret as they are, in UTF-8. The user chooses the id."""

    name = "jwt-api"
    client_id = "acme/ops@example"
    client_secret = "open sesame + ü"
    token_path = "/oauth/v2/token"
    accepted: ClassVar = {("token", "POST"): ("Basic",)}


class AuthApi(System):
    """A user name and password without a client, then a refresh token at a second endpoint."""

    name = "auth-api"
    username = "ops&sales@example"
    password = "key=value&more"
    token_path = "/auth/password"
    refresh_path = "/auth/refresh"
    accepted: ClassVar = {("token", "POST"): ("form",), ("refresh", "POST"): ("refresh token in form",)}
    answered = ("access_token", "refresh_token", "token_type", "expires_in")
    token_type = "bearer"

    def _family(self, request: Seen, parameters: Mapping[str, str]) -> str:
        if request.at == "refresh":
            return self._refresh(parameters, set(), status=401)
        require({"username", "password"}, parameters)
        if (parameters["username"], parameters["password"]) != (self.username, self.password):
            raise Refusal(400, "invalid_grant", "unknown user, or not the password")
        return secrets.token_hex()


class OrganizationApi(System):
    """Basic as it is, or all parameters in the query. Client credentials give a refresh token, too."""

    name = "organization-api"
    client_id = "organization@42"
    client_secret = "half=50% & ü"
    grant_types = ("client_credentials", "refresh_token")
    token_path = "/oauth2/token"
    accepted: ClassVar = {("token", "POST"): ("Basic", "query")}
    answered = ("access_token", "refresh_token", "token_type", "expires_in")
    token_type = "bearer"


class JsonApi(System):
    """A JSON object by POST, or the same parameters in the query by GET."""

    name = "json-api"
    client_id = "json-client"
    client_secret = 'say "hi" \\ + ü'
    token_path = "/oauth/token"
    accepted: ClassVar = {("token", "POST"): ("JSON body",), ("token", "GET"): ("query",)}
    media_type = JSON
    answered = ("access_token", "expires_in")
