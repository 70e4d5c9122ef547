"""The plugin of HTTPie: ``http --auth-type=oauth2 --auth=ACME https://…``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

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

    def get_auth(self, username: str | None = None, password: str | None = None) -> OAuth2Auth:  # noqa: ARG002
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
            return OAuth2Auth(grant, **arguments)
        except AuthError as error:
            # HTTPie would show a traceback.
            sys.stderr.write(f"http: error: {error}\n")
            raise SystemExit(1) from None
