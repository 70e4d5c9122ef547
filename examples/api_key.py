"""From an API key to OAuth 2.0: the code stays, the variables change.

$ export UPLOAD_URL=https://web.example.com/v1/UploadData
$ export ACME_API_KEY='upload-api key of v1'
"""

import os

import requests

from auth_plugins.requests import OAuth2Auth


def upload(rows: list[int]) -> requests.Response:
    """Send rows, with whatever the variables ACME_... describe."""
    auth = OAuth2Auth.from_env("ACME")
    url = os.environ["UPLOAD_URL"]
    return requests.post(url, json=rows, auth=auth, timeout=60)


print(upload([1, 2, 3]).status_code)
