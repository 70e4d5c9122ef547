"""50 threads without a token, and an early revocation, in five libraries.

$ pip install httpx-auth requests-auth requests-oauthlib
$ python compare.py         # or with the seconds of a token request: 0.5
"""

import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import requests
from authlib.integrations.requests_client import (
    OAuth2Session as AuthlibSession,
)
from httpx_auth import OAuth2ClientCredentials as HttpxAuth
from oauthlib.oauth2 import BackendApplicationClient
from requests_auth import OAuth2ClientCredentials as RequestsAuth
from requests_oauthlib import OAuth2Session

from auth_plugins import ClientCredentials, MemoryCache
from auth_plugins.requests import OAuth2Auth

THREADS = 50
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2
CLIENT: dict[str, Any] = {
    "client_id": "orders",
    "client_secret": "s3cr3t-of-orders",
}
# The server is on loopback, where plain http is harmless. Authlib and
# oauthlib refuse it unless these are set.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"


class Server(ThreadingHTTPServer):
    """A token endpoint, and an API that knows the tokens it issued."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.valid: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(
            target=self.serve_forever, args=(0.05,), daemon=True
        ).start()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_POST(self) -> None:
        """Issue a token."""
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SECONDS)
        token = secrets.token_hex()
        self.server.valid.add(f"Bearer {token}")
        answer = {"access_token": token, "token_type": "Bearer"}
        self._send(200, {**answer, "expires_in": 3600})

    def do_GET(self) -> None:
        """Be the API."""
        is_valid = self.headers["Authorization"] in self.server.valid
        self._send(200 if is_valid else 401, {})

    def _send(self, status: int, members: dict[str, Any]) -> None:
        body = json.dumps(members).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def auth_plugins(token_url: str, url: str) -> Callable[[], int]:
    """Return a function that calls the API and returns the status."""
    auth = OAuth2Auth(
        ClientCredentials(token_url, **CLIENT), cache=MemoryCache()
    )
    return lambda: requests.get(url, auth=auth, timeout=60).status_code


def httpx_auth(token_url: str, url: str) -> Callable[[], int]:
    """Return the same for httpx-auth."""
    auth = HttpxAuth(token_url, **CLIENT, client=httpx.Client())
    client = httpx.Client(auth=auth, timeout=60)
    return lambda: client.get(url).status_code


def requests_auth(token_url: str, url: str) -> Callable[[], int]:
    """Return the same for requests-auth."""
    auth = RequestsAuth(token_url, **CLIENT)
    return lambda: requests.get(url, auth=auth, timeout=60).status_code


def requests_oauthlib(token_url: str, url: str) -> Callable[[], int]:
    """Return the same for requests-oauthlib."""
    session = OAuth2Session(
        client=BackendApplicationClient(client_id=CLIENT["client_id"])
    )

    def call() -> int:
        if not session.authorized:
            session.fetch_token(token_url, **CLIENT)
        return int(session.get(url, timeout=60).status_code)

    return call


def authlib(token_url: str, url: str) -> Callable[[], int]:
    """Return the same for Authlib."""
    session = AuthlibSession(
        **CLIENT, token_endpoint=token_url, grant_type="client_credentials"
    )

    def call() -> int:
        if not session.token:
            session.fetch_token()
        return int(session.get(url, timeout=60).status_code)

    return call


def call_together(
    together: threading.Barrier, call: Callable[[], int]
) -> int:
    """Call the API at the moment that all threads are ready."""
    together.wait()
    return call()


def main() -> None:
    """Print one line for each library."""
    print(f"{'':20}{'token requests':>16}{'after revocation':>18}")
    for make in (
        auth_plugins,
        httpx_auth,
        requests_auth,
        requests_oauthlib,
        authlib,
    ):
        server = Server()
        call = make(f"{server.url}/token", f"{server.url}/orders")
        together = threading.Barrier(THREADS)

        with ThreadPoolExecutor(THREADS) as pool:
            calls = [(together, call)] * THREADS
            answers = [pool.submit(call_together, *each) for each in calls]
        assert {answer.result() for answer in answers} == {200}
        token_requests = len(server.valid)
        server.valid.clear()
        print(f"{make.__name__:20}{token_requests:>16}{call():>18}")
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
