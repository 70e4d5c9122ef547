"""How the rows are shown in a terminal, and on what they were measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata

from measure import Row

_DISTRIBUTIONS = (
    "auth-plugins, requests, httpx, httpx2, Authlib, redis, filelock, cryptography, requests-auth, httpx-auth, "
    "requests-oauthlib, requests-oauth2client, google-auth, azure-core, msal"
)


def table(rows: Iterable[Row]) -> str:
    """The rows, as reStructuredText has simple tables."""
    lines = [Row.headers, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    texts = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([rule, texts[0], rule, *texts[1:], rule])


def where() -> str:
    """On what it was measured; neither the machine's name nor its paths."""
    names = {name.lower(): name for name in _DISTRIBUTIONS.split(", ")}
    found = {each.metadata["Name"].lower().replace("_", "-"): each.version for each in metadata.distributions()}
    versions = ", ".join(f"{names[name]} {found[name]}" for name in names if name in found)
    system = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    return f"Measured on {system}, {os.cpu_count()} processors, with {versions}."
