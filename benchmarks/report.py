"""How the rows are shown: in a terminal, on a page, and as bars."""

from __future__ import annotations

import functools
import os
import platform
import textwrap
from collections.abc import Iterable
from importlib import metadata
from xml.sax.saxutils import escape

from measure import Row

_DISTRIBUTIONS = (
    "auth-plugins, requests, httpx, httpx2, Authlib, redis, filelock, cryptography, requests-auth, httpx-auth, "
    "requests-oauthlib, requests-oauth2client, google-auth, azure-core, msal"
)
_PAGE = """\
Speed
=====

What ``auth=OAuth2Auth(…)`` costs, beside the least that an auth can do: put a constant header on ("static"), and know
no end of its token, and no refusal. What takes time is a ratio to that unless it says otherwise, measured in the same
run, in rounds that take turns: the median of the ratios of all rounds, and in parentheses their first and third
quartile. "200 ms" is what the token endpoint takes. Where a goal is missed, it says so.

Some goals are out of reach on such a machine, or for now:

- Processes that share a cache without a key name its entries by a slow hash, so that nobody finds out by trying what a
  name was made from: some 35 ms of each process, once, which two processors need eight times. A key spares that.
- A call of one of 100,000 auth objects waits for memory, that of a constant header as much.
- To build the grant as well, for each call, is to check all its arguments each time: build it once.
- A process's first answer waits for Authlib to be loaded, some 6 ms.

{where}

.. image:: speed.svg
   :alt: A bar for each goal; one that ends before the line reaches it

.. list-table::
   :header-rows: 1
   :widths: 40 14 28 18

{table}

{notes}

Run it yourself, for numbers differ from machine to machine, and by what else it does:

.. code-block:: console

    $ tox -e bench                             # all of it: some minutes
    $ tox -e bench -- --only calls anew        # some groups; benchmarks/run.py says what each measures
    $ tox -e bench -- --write                  # and write this page
"""


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


def page(rows: Iterable[Row], notes: Iterable[str]) -> str:
    """The page, in reStructuredText."""
    lines = []
    for cells in (Row.headers, *(row.cells() for row in rows)):
        lines += [f"   {' ' if number else '*'} - {cell}".rstrip() for number, cell in enumerate(cells)]
    fill = functools.partial(textwrap.fill, width=118, break_on_hyphens=False)
    items = [fill(note, initial_indent="- ", subsequent_indent="  ") for note in notes]
    return _PAGE.format(where=fill(where()), table="\n".join(lines), notes="\n".join(items))


#: Pixels: of the names, of a bar that just reaches its goal, of a line; and how many goals a bar is long at most.
_NAMES, _GOAL, _LINE, _MOST = 400, 150, 19, 3.0
#: About midway between black and white, to be seen on both.
_INK, _GOOD, _BAD = "#757a80", "#3b82c4", "#d9822b"


def plot(rows: Iterable[Row]) -> str:
    """Bars, each as long as what was measured is, in goals; a ring is the best peer."""
    lines, y = [_text(_NAMES, 14, "start", "up to the line: goal reached; ring: best peer")], 2 * _LINE
    for row in rows:
        if row.limit and row.unit:  # counts are better read
            color = _BAD if row.missed else _GOOD
            width = _length(row, row.value)
            lines.append(_text(_NAMES - 8, y, "end", row.what))
            lines.append(f'<rect x="{_NAMES}" y="{y - 11}" width="{width:.0f}" height="12" rx="2" fill="{color}"/>')
            for _, value in row.ordered_peers[:1]:
                x = _NAMES + _length(row, value)
                lines.append(
                    f'<circle cx="{x:.0f}" cy="{y - 5}" r="3.5" fill="#fff" stroke="{_INK}" stroke-width="2"/>'
                )
            lines.append(_text(_NAMES + _GOAL * _MOST + 14, y, "start", row.shown(row.value)))
            y += _LINE
    lines.append(f'<path d="M{_NAMES + _GOAL} {_LINE} V{y}" stroke="{_INK}" stroke-dasharray="3 3"/>')
    size = f'viewBox="0 0 {_NAMES + _GOAL * _MOST + 120:.0f} {y + _LINE}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join([head, *lines, _text(_NAMES + _GOAL, y + 14, "middle", "goal"), "</svg>\n"])


def _length(row: Row, value: float) -> float:
    shares = (row.limit or 1.0, value)
    measured, goal = shares if row.at_least else reversed(shares)
    return _GOAL * min(max(measured / max(goal, 1e-9), 0.0), _MOST)


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y}" fill="{_INK}" text-anchor="{anchor}">{escape(text)}</text>'
