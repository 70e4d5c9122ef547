"""Keycloak: a token of a client's service account, with httpx.

$ export KEYCLOAK_CLIENT_ID=orders KEYCLOAK_CLIENT_SECRET='50% + a secret'
"""

import os

import httpx

from auth_plugins import ClientCredentials
from auth_plugins.httpx import OAuth2Auth

auth = OAuth2Auth(
    ClientCredentials(
        # Older installations have /auth before /realms.
        "https://keycloak.example.com/realms/acme/protocol/openid-connect/token",
        os.environ["KEYCLOAK_CLIENT_ID"],
        os.environ["KEYCLOAK_CLIENT_SECRET"],
        # The default, client_secret_basic, is right: Keycloak decodes a URL-encoded secret.
    )
)

with httpx.Client(auth=auth) as client:
    response = client.get("https://orders.example.com/orders")
print(response.status_code)
