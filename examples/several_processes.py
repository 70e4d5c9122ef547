"""Four processes, one token: the first one fetches it, and the others find it in the cache.

$ export ACME_TOKEN_URL=https://id.example.com/token ACME_CLIENT_ID=orders ACME_CLIENT_SECRET=s3cr3t-of-orders
$ export ACME_CACHE=file
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import requests

from auth_plugins.requests import OAuth2Auth


def work(_: int) -> str:
    """Call the API; each process makes its own auth of the variables."""
    auth = OAuth2Auth.from_env("ACME")
    response = requests.get("https://orders.example.com/orders", auth=auth, timeout=60)
    return str(response.request.headers["Authorization"])


if __name__ == "__main__":
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        tokens = set(pool.map(work, range(4)))
    print(len(tokens), "token")
