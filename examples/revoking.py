"""Revoke the token when the program ends (RFC 7009).

$ export ORDERS_SECRET=s3cr3t-of-orders
"""

import os

import requests

from auth_plugins import AuthError, ClientCredentials
from auth_plugins.requests import OAuth2Auth

auth = OAuth2Auth(
    ClientCredentials(
        "https://id.example.com/token",
        "orders",
        os.environ["ORDERS_SECRET"],
        revocation_url="https://id.example.com/revoke",
    )
)

try:
    print(
        requests.get(
            "https://orders.example.com/orders", auth=auth, timeout=60
        ).status_code
    )
finally:
    try:
        auth.source.revoke()
        print("revoked")
    except AuthError as error:  # the tokens are forgotten here all the same
        print(error)
