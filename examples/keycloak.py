"""Keycloak: a token of a client's service account, with httpx.

$ export KEYCLOAK_CLIENT_ID=orders KEYCLOAK_CLIENT_SECRET='50% + a secret'
"""

import os

import httpx

from auth_plugins import ClientCredentials
from auth_plugins.httpx import OAuth2Auth

# Older installations have /auth before /realms.
REALM = "https://keycloak.example.com/realms/acme"

auth = OAuth2Auth(
    ClientCredentials(
        f"{REALM}/protocol/openid-connect/token",
        os.environ["KEYCLOAK_CLIENT_ID"],
        os.environ["KEYCLOAK_CLIENT_SECRET"],
        # client_secret_basic, the default, is right: Keycloak decodes it.
    )
)

with httpx.Client(auth=auth) as client:
    response = client.get("https://orders.example.com/orders")
print(response.status_code)
