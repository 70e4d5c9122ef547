r"""A token endpoint that takes JSON, with id and secret in it.

$ export ACME_CLIENT_ID=json-client ACME_CLIENT_SECRET='say "hi" \ + ü'
"""

import os

import requests

from auth_plugins import ClientCredentials
from auth_plugins.requests import OAuth2Auth

auth = OAuth2Auth(
    ClientCredentials(
        "https://json.example.com/oauth/token",
        os.environ["ACME_CLIENT_ID"],
        os.environ["ACME_CLIENT_SECRET"],
        encoding="json",  # the body is a JSON object
        client_auth="client_secret_post",  # id and secret are in it
    )
)

response = requests.get(
    "https://json.example.com/things", auth=auth, timeout=60
)
print(response.status_code, response.json()["system"])
