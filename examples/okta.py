"""Okta: a token of a service application, from a custom authorization server.

$ export OKTA_CLIENT_ID=your-client-id OKTA_CLIENT_SECRET=your-client-secret
"""

import os

import requests

from auth_plugins import ClientCredentials
from auth_plugins.requests import OAuth2Auth

auth = OAuth2Auth(
    ClientCredentials(
        "https://your-domain.okta.com/oauth2/default/v1/token",  # "default" is the authorization server's id
        os.environ["OKTA_CLIENT_ID"],
        os.environ["OKTA_CLIENT_SECRET"],
        scope="orders:read",  # at least one custom scope of that server
    )
)

response = requests.get("https://orders.example.com/orders", auth=auth, timeout=60)
print(response.status_code)
