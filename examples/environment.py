"""One set of variables, and the three functions that read them.

$ export ACME_TOKEN_URL=https://id.example.com/token ACME_CLIENT_ID=orders
$ export ACME_CLIENT_SECRET=s3cr3t-of-orders ACME_SCOPE=orders:read
$ export ACME_CACHE=file ACME_TIMEOUT=5
"""

import requests

from auth_plugins import ConfigurationError, TokenSource, from_env
from auth_plugins.requests import OAuth2Auth

ORDERS = "https://orders.example.com/orders"

# All of the variables: the grant, the cache and the policy.
auth = OAuth2Auth.from_env("ACME")
print(requests.get(ORDERS, auth=auth, timeout=60).status_code)

# The same, for programs that send no HTTP requests.
print(TokenSource.from_env("ACME").token().token_type)

# The grant alone. It has no cache and no timeout, so variables that ask
# for them are an error, and are not ignored.
try:
    from_env("ACME")
except ConfigurationError as error:
    print(error)
