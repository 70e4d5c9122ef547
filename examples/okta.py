"""Okta: a token from a custom authorization server.

$ export OKTA_CLIENT_ID=your-client-id OKTA_CLIENT_SECRET=your-client-secret
"""

import os

import requests

from auth_plugins import ClientCredentials
from auth_plugins.requests import OAuth2Auth

auth = OAuth2Auth(
    ClientCredentials(
        # "default" is the id of the authorization server.
        "https://your-domain.okta.com/oauth2/default/v1/token",
        os.environ["OKTA_CLIENT_ID"],
        os.environ["OKTA_CLIENT_SECRET"],
        scope="orders:read",  # at least one custom scope
    )
)

response = requests.get(
    "https://orders.example.com/orders", auth=auth, timeout=60
)
print(response.status_code)
