"""Reads the challenges in ``WWW-Authenticate`` (RFC 9110 §11.6.1)."""

from __future__ import annotations

import re

#: Characters that are read; no API needs so many.
_LONGEST = 4096
#: A scheme, or a parameter with its value. A quote that is not closed holds the rest.
_PART = r"""(?P<name>[!#$%&'*+.^_`|~\w-]++)(?P<value>\s*+=\s*+(?:"(?P<quoted>(?:[^"\\]|\\.)*+)|(?P<word>[^\s,"]*+)))?"""
#: The schemes of OAuth tokens (RFC 6750, RFC 9449).
_SCHEMES = ("bearer", "dpop")


def bearer_errors(header: str | None) -> list[str]:
    """Return the ``error`` of each ``Bearer`` and ``DPoP`` challenge in *header* (RFC 6750 §3)."""
    scheme, errors = "", list[str]()
    position, text = 0, (header or "")[:_LONGEST]
    part = re.compile(_PART, re.ASCII | re.DOTALL)  # at the first challenge, as each program imports this module
    while match := part.search(text, position):
        # Behind the quote that closes the value.
        position = match.end() + (match["quoted"] is not None)
        if match["value"] is None:
            scheme = match["name"].lower()
        elif match["name"].lower() == "error" and scheme in _SCHEMES:
            errors.append(re.sub(r"\\(.)", r"\1", match["quoted"]) if match["quoted"] is not None else match["word"])
    return errors
