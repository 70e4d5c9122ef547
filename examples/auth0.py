"""Auth0: a token of a machine-to-machine application, for one of your APIs.

$ export AUTH0_CLIENT_ID=your-client-id
$ export AUTH0_CLIENT_SECRET=your-client-secret
"""

import os

import requests

from auth_plugins import ClientCredentials
from auth_plugins.requests import OAuth2Auth

auth = OAuth2Auth(
    ClientCredentials(
        "https://your-domain.auth0.com/oauth/token",
        os.environ["AUTH0_CLIENT_ID"],
        os.environ["AUTH0_CLIENT_SECRET"],
        audience="https://orders.example.com/",  # the identifier of the API
        client_auth="client_secret_post",  # as the Credentials tab says
    )
)

response = requests.get(
    "https://orders.example.com/orders", auth=auth, timeout=60
)
print(response.status_code)
