"""The plugin of HTTPie: ``http --auth-type=oauth2 --auth=ACME https://…``."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from httpie.plugins import AuthPlugin

if TYPE_CHECKING:
    from auth_plugins.requests import OAuth2Auth


class OAuth2Plugin(AuthPlugin):  # type: ignore[misc]  # HTTPie has no types
    """Configures a request by the variables of a prefix, such as ``ACME_TOKEN_URL``."""

    name = "OAuth 2.0, by auth-plugins"
    auth_type = "oauth2"
    auth_require = False
    auth_parse = False
    description = "the value of --auth is the prefix of environment variables; without it, AUTH_PLUGINS"

    def get_auth(self, username: str | None = None, password: str | None = None) -> _Auth:  # noqa: ARG002
        """Return the auth that the variables describe; end the command with one line if they describe none."""
        from auth_plugins._base.errors import AuthError, ConfigurationError
        from auth_plugins._environment.configuration import configuration
        from auth_plugins._environment.successor import loses_successor
        from auth_plugins.requests import OAuth2Auth

        prefix = self.raw_auth or "AUTH_PLUGINS"
        try:
            grant, arguments = configuration(prefix, None)
            if loss := loses_successor(grant, arguments.get("cache"), f"{prefix.removesuffix('_')}_CACHE"):
                raise ConfigurationError(loss[0], advice=loss[1])
            return _Auth(OAuth2Auth(grant, **arguments))
        except AuthError as error:
            # HTTPie would show a traceback.
            sys.stderr.write(f"http: error: {error}\n")
            raise SystemExit(1) from None


class _Auth:
    """Sends requests by *auth*, and leaves no refused token in a shared cache for the next command.

    A body that cannot be read twice, such as an upload, is not sent again, and this process ends after it.
    """

    def __init__(self, auth: OAuth2Auth) -> None:
        self._auth = auth

    def __call__(self, request: Any) -> Any:
        request = self._auth(request)
        request.register_hook("response", self._replace)  # after that of the auth
        return request

    def _replace(self, *_: Any, **__: Any) -> None:
        from auth_plugins._base.errors import AuthError

        source = self._auth.source
        if source._shared is not None and source._state.token is None:
            with contextlib.suppress(AuthError):  # the next command meets it
                source.token()
