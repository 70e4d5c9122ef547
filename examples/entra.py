"""Microsoft Entra ID: a token of an application, for Microsoft Graph.

$ export ENTRA_TENANT=your-tenant-id ENTRA_CLIENT_ID=your-application-id ENTRA_CLIENT_SECRET=your-secret-value
"""

import os

import requests

from auth_plugins import ClientCredentials
from auth_plugins.requests import OAuth2Auth

auth = OAuth2Auth(
    ClientCredentials(
        f"https://login.microsoftonline.com/{os.environ['ENTRA_TENANT']}/oauth2/v2.0/token",
        os.environ["ENTRA_CLIENT_ID"],
        os.environ["ENTRA_CLIENT_SECRET"],  # the secret's value, not its id
        scope="https://graph.microsoft.com/.default",  # the API's application ID URI, and /.default
        client_auth="client_secret_post",
    ),
    allowed_hosts=["graph.microsoft.com", "127.0.0.1"],
)

response = requests.get("https://graph.microsoft.com/v1.0/organization", auth=auth, timeout=60)
print(response.status_code)
