"""Functions for other processes; the module imports little, as each of them imports it."""

from __future__ import annotations

import importlib
import json
import time
import urllib.request
from functools import partial
from typing import Any

from auth_plugins import Custom, FileCache, TokenSource


def log_in(url: str) -> str:
    """Let the server count the call, and take a while."""
    urllib.request.urlopen(f"{url}/login", timeout=10).close()
    time.sleep(0.3)
    return "tok-shared"


def shared_token(url: str, path: str, start: float) -> str:
    """Return the token of the account; all processes begin at *start*, in Unix seconds."""
    time.sleep(max(0.0, start - time.time()))
    return TokenSource(Custom(partial(log_in, url), key="account"), cache=FileCache(path)).token().access_token


def tenant() -> str:
    """Return the value of a parameter."""
    return "a b"


def fetch(url: str) -> dict[str, Any]:
    """Send a token request to *url*; return the members of the answer."""
    with urllib.request.urlopen(url, b"grant_type=client_credentials", timeout=10) as response:
        return {**json.load(response), "expires_in": 600}


def status_of(auth: Any, url: str) -> int:
    """Send a GET by the library of *auth*; return the status of the answer. In another process, *auth* is a copy."""
    library = importlib.import_module(type(auth).__module__.removeprefix("auth_plugins."))
    return int(library.get(url, auth=auth, timeout=20).status_code)


def status_by_variables(kind: type[Any], variables: dict[str, str], url: str) -> int:
    """Send a GET with an auth object of class *kind* and of *variables*; return the status of the answer."""
    return status_of(kind.from_env("ACME", variables), url)
