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

What ``auth=OAuth2Auth(…)`` costs, compared with the least that an auth object can do: set a constant header, without
expiry and without an answer to a 401. This is called "static". Times are ratios to it, unless the row says otherwise.
Both are measured in the same run, in rounds that alternate. A row shows the median of the ratios of all rounds, and in
parentheses the first and third quartile. "200 ms" is the time that the token endpoint takes. A missed goal is marked.

The most important rows: 64 cold threads, or 1,000 cold tasks, send one token request. A call takes as long as one with
a constant header in httpx, and twice as long in requests.

Why some goals are missed:

- Processes that share a cache without a key compute the names of its entries by a slow hash, so that an attacker cannot
  guess what a name was made from. This takes about 35 ms, once in each process; the test has eight processes on two
  processors. With a key, the hash is not needed.
- With 100,000 auth objects, a call waits for memory. A constant header waits as long.
- A grant that is built for each call checks all its arguments each time. Build it once.
- The first answer of a process waits about 6 ms until Authlib is loaded.

{where}

.. container:: bars

   .. image:: speed.svg
      :alt: One bar for each goal. A bar that ends before the line reaches its goal.

.. list-table::
   :header-rows: 1
   :widths: 40 14 28 18

{table}

{notes}

Run it yourself: numbers differ from machine to machine.

.. code-block:: console

    $ tox -e bench                             # all of it: some minutes
    $ tox -e bench -- --only calls build       # some groups; benchmarks/run.py says what each measures
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
