"""The page that a browser shows after a login: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #ffffff; --line: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --back: #0d1117; --line: #3fb950; } }
.failed { --line: #b3261e; }
@media (prefers-color-scheme: dark) { .failed { --line: #ff8a80; } }
body { margin: 0; color: var(--text); background: var(--back); font: 1.125rem/1.5 system-ui, sans-serif; }
main { max-width: 34rem; margin: 12vh auto 0; padding: 0 1.25rem; overflow-wrap: anywhere; }
h1 { margin: 0 0 1rem; padding-left: .75rem; border-left: .375rem solid var(--line); font-size: 1.5rem; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: Nothing is loaded, run, sent or framed; what is shown is stored nowhere, and no other page learns its address.
HEADERS: Mapping[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Connection": "close",
}


def success_page(application: str, server: str) -> bytes:
    """Return the page that says that *application* has its token from *server*."""
    return _page("You are signed in", f"{application} can now use {server} in your name.", "You can close this tab.")


def failure_page(application: str, server: str, problem: str) -> bytes:
    """Return the page that says why *application* has no token."""
    said = f"{application} did not get access to {server}: {problem}."
    return _page("Sign-in failed", said, f"You can close this tab. Go back to {application} to try again.", "failed")


def not_found_page(application: str) -> bytes:
    """Return the page for any other address."""
    return _page("Not found", f"{application} waits for a sign-in, but not at this address.", "", "failed")


def _page(title: str, said: str, then: str, kind: str = "") -> bytes:
    lines = "".join(f"<p>{html.escape(text)}</p>\n" for text in (said, then) if text)
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<main class="{kind}">\n<h1>{html.escape(title)}</h1>\n{lines}</main>\n</body>\n</html>\n'
    )
    return text.encode()
