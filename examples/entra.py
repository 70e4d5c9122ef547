"""Microsoft Entra ID: a token of an application, for Microsoft Graph.

$ export ENTRA_TENANT=your-tenant-id ENTRA_CLIENT_ID=your-application-id
$ export ENTRA_CLIENT_SECRET=your-secret-value
"""

import os

import requests

from auth_plugins import ClientCredentials
from auth_plugins.requests import OAuth2Auth

TENANT = os.environ["ENTRA_TENANT"]

auth = OAuth2Auth(
    ClientCredentials(
        f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token",
        os.environ["ENTRA_CLIENT_ID"],
        os.environ["ENTRA_CLIENT_SECRET"],  # the secret's value, not its id
        # The application ID URI of the API, and /.default:
        scope="https://graph.microsoft.com/.default",
        client_auth="client_secret_post",
    )
)

response = requests.get(
    "https://graph.microsoft.com/v1.0/organization", auth=auth, timeout=60
)
print(response.status_code)
