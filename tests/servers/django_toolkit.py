"""django-oauth-toolkit, on Django and oauthlib; its tokens are stored in an SQLite file.

Its Basic authentication decodes id and secret with ``unquote_plus``: ``%20`` and a plus are both a space there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.utils import timezone
from django.views import View

from . import AuthorizationServer


class DjangoToolkit(AuthorizationServer):
    """At most one in a process, which has one set of Django settings."""

    name = "django-oauth-toolkit"
    device_client_id = "client:3"

    def _wsgi_app(self) -> WSGIApplication:
        self._folder = tempfile.TemporaryDirectory()
        settings.configure(
            ALLOWED_HOSTS=["127.0.0.1"],
            DATABASES={
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": Path(self._folder.name, "db.sqlite3"),
                    # No commit waits for the disk.
                    "OPTIONS": {"init_command": "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF"},
                }
            },
            DEBUG_PROPAGATE_EXCEPTIONS=True,
            INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "oauth2_provider"],
            LOGGING_CONFIG=None,  # keeps the logging of the test process
            # Tables are made from the models: migrations take much longer.
            MIGRATION_MODULES={"contenttypes": None, "auth": None, "oauth2_provider": None},
            OAUTH2_PROVIDER={
                "DEVICE_FLOW_INTERVAL": 1,
                "OAUTH_DEVICE_VERIFICATION_URI": "http://127.0.0.1/activate",
                "OIDC_ENABLED": True,  # for its metadata, at /o/.well-known/openid-configuration
                "EXTRA_SERVER_KWARGS": {"token_expires_in": lambda request: self.lifetime},
                "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
                "REFRESH_TOKEN_REUSE_PROTECTION": True,
                "ROTATE_REFRESH_TOKEN": True,
            },
            # The default hash takes most of the tests' time.
            PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        )
        django.setup()
        token, api = _views(self)
        own = path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))
        settings.ROOT_URLCONF = (path("token", token), path("api", api), own)
        with self._database():
            call_command("migrate", run_syncdb=True, verbosity=0)
            self._register()
        app: WSGIApplication = get_wsgi_application()
        return app

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        self._folder.cleanup()

    def revoke_access_tokens(self) -> None:
        """Let them expire; to delete a token would delete its refresh token."""
        with self._database():
            apps.get_model("oauth2_provider.AccessToken").objects.update(expires=timezone.now())

    def forget_refresh_tokens(self) -> None:
        with self._database():
            apps.get_model("oauth2_provider.RefreshToken").objects.all().delete()

    def decide(self, user_code: str, status: str) -> None:
        """Be the person who entered *user_code*: ``authorized``, ``denied`` or ``expired``."""
        with self._database():
            user = apps.get_model("auth.User").objects.get()
            apps.get_model("oauth2_provider.DeviceGrant").objects.filter(user_code=user_code).update(
                status=status, user=user
            )

    @contextmanager
    def _database(self) -> Iterator[None]:
        """Lock the database, and close this thread's connection afterwards."""
        with self._lock:
            try:
                yield
            finally:
                connection.close()

    def _register(self) -> None:
        apps.get_model("auth.User").objects.create_user(self.username, password=self.password)
        applications = apps.get_model("oauth2_provider.Application")
        for client_id, client_secret, grant in (
            (self.client_id, self.client_secret, applications.GRANT_CLIENT_CREDENTIALS),
            (self.password_client_id, self.password_client_secret, applications.GRANT_PASSWORD),
        ):
            applications.objects.create(
                client_id=client_id,
                client_secret=client_secret,
                client_type=applications.CLIENT_CONFIDENTIAL,
                authorization_grant_type=grant,
            )
        applications.objects.create(
            client_id=self.device_client_id,
            client_type=applications.CLIENT_PUBLIC,
            authorization_grant_type=applications.GRANT_DEVICE_CODE,
        )


def _views(server: DjangoToolkit) -> tuple[Any, Any]:
    """Make the views of the toolkit's token endpoint and of the API."""
    # These import the models, which needs Django to be set up.
    from oauth2_provider.models import RefreshToken
    from oauth2_provider.oauth2_validators import OAuth2Validator
    from oauth2_provider.views import TokenView
    from oauth2_provider.views.mixins import OAuthLibMixin

    class Validator(OAuth2Validator):
        def validate_grant_type(
            self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
        ) -> bool:
            """Allow the password grant, without the toolkit's DeprecationWarning for each request."""
            if grant_type == "password":
                return bool(client.allows_grant_type(client.GRANT_PASSWORD))
            return bool(super().validate_grant_type(client_id, grant_type, client, request, *args, **kwargs))

        def validate_refresh_token(
            self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
        ) -> bool:
            """Count reuses; the toolkit itself detects them and revokes the family."""
            server.reuses += RefreshToken.objects.filter(token=refresh_token, revoked__isnull=False).exists()
            return bool(super().validate_refresh_token(refresh_token, client, request, *args, **kwargs))

    class Token(TokenView):
        validator_class = Validator

    # Made now, as it would be that of TokenView once that has answered a request at /o/token/.
    Token.get_oauthlib_core()

    class Api(OAuthLibMixin, View):
        """Answers 401 as RFC 6750 §3.1 says; the toolkit's own decorator answers 403."""

        def get(self, request: HttpRequest) -> HttpResponse:
            valid, verified = self.verify_request(request)
            if not valid:
                return HttpResponse(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
            return JsonResponse({"client": verified.client.client_id})

    return Token.as_view(), Api.as_view()
