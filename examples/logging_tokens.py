"""What the logger ``auth_plugins`` writes.

$ export ACME_TOKEN_URL=https://id.example.com/token ACME_CLIENT_ID=orders
$ export ACME_CLIENT_SECRET=s3cr3t-of-orders
"""

import logging
import sys

import requests

from auth_plugins.requests import OAuth2Auth

handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
logger = logging.getLogger("auth_plugins")
logger.addHandler(handler)
logger.setLevel(logging.DEBUG)  # INFO in production

# These show a URL with its query, or the header with the token.
for name in ("urllib3", "httpx", "hpack"):
    logging.getLogger(name).setLevel(logging.WARNING)

auth = OAuth2Auth.from_env("ACME")
response = requests.get(
    "https://orders.example.com/orders", auth=auth, timeout=60
)
response.raise_for_status()
logger.removeHandler(handler)
