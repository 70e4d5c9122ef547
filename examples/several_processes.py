"""Four processes, one token: the first fetches it, the others find it.

$ export ACME_TOKEN_URL=https://id.example.com/token ACME_CLIENT_ID=orders
$ export ACME_CLIENT_SECRET=s3cr3t-of-orders
$ export ACME_CACHE=file
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import requests

from auth_plugins.requests import OAuth2Auth

ORDERS = "https://orders.example.com/orders"


def work(_: int) -> str:
    """Call the API. Each process makes its own auth of the variables."""
    auth = OAuth2Auth.from_env("ACME")
    response = requests.get(ORDERS, auth=auth, timeout=60)
    return str(response.request.headers["Authorization"])


if __name__ == "__main__":
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        tokens = set(pool.map(work, range(4)))
    print(len(tokens), "token")
