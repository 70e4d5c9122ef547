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

- With 100,000 auth objects, a call waits for memory. A constant header waits as long.
- A grant that is built for each call checks all its arguments each time. Build it once.
- The first answer of a process waits about 6 ms until Authlib is loaded.

{where}

.. container:: bars

   .. image:: speed.svg
      :alt: One bar for each goal. A bar that ends at its line or before reaches its goal. The table has the numbers.

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


#: Pixels: of the chart, of a bar that just reaches its goal, of a line; and how many goals a bar is long at most.
_WIDTH, _GOAL, _LINE, _MOST = 480, 105, 19, 3.0
#: About midway between black and white, to be seen on both.
_INK, _GOOD, _BAD = "#757a80", "#3b82c4", "#d9822b"
#: Where the bars begin, pixels of a bar, and characters of a line: the chart is read on a phone as well.
_LEFT, _BAR, _CHARACTERS = 4, 12, 60


def plot(rows: Iterable[Row]) -> str:
    """Bars, each below its name and as long as what was measured is, in goals; a ring is the best peer."""
    lines = _legend()
    y = 6 * _LINE + 18
    for row in rows:
        if row.limit and row.unit:  # counts are better read
            for name in textwrap.wrap(row.what, _CHARACTERS):
                y += _LINE
                lines.append(_text(_LEFT, y, name))
            lines += _bar(row, y + 6)
            y += _BAR + 10
    size = f'viewBox="0 0 {_WIDTH} {y}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="15">'
    return "\n".join([head, *lines, "</svg>\n"])


def _legend() -> list[str]:
    """What the marks mean, one mark in each line."""
    first, second, third, fourth, fifth, sixth = (6 + _LINE * number for number in range(6))
    middle = _LEFT + 14
    return [
        *(_rect(_LEFT, first, 28, _GOOD), _text(_LEFT + 40, first + 12, "goal reached")),
        *(_rect(_LEFT, second, 28, _BAD), _text(_LEFT + 40, second + 12, "goal missed")),
        *(_goal(middle, third), _text(_LEFT + 40, third + 12, "goal")),
        *(_rect(_LEFT, fourth, 28, _BAD), _break(middle, fourth), _text(_LEFT + 40, fourth + 12, "longer than shown")),
        *(_ring(middle, fifth, is_further=False), _text(_LEFT + 40, fifth + 12, "best peer")),
        *(_ring(middle, sixth, is_further=True), _text(_LEFT + 40, sixth + 12, "best peer, further to the right")),
    ]


def _bar(row: Row, y: int) -> list[str]:
    """The bar of a row, the best peer, and the value."""
    length, end = _GOAL * min(_share(row, row.value), _MOST), _LEFT + _GOAL * _MOST
    lines = [_rect(_LEFT, y, length, _BAD if row.missed else _GOOD)]
    lines.append(_goal(_LEFT + _GOAL, y))
    if _share(row, row.value) > _MOST:
        lines.append(_break(end - 24, y))
    for _, value in row.ordered_peers[:1]:
        share = _share(row, value)
        lines.append(_ring(_LEFT + _GOAL * min(share, _MOST), y, is_further=share > _MOST))
    return [*lines, _text(end + 22, y + 12, row.shown(row.value))]


def _share(row: Row, value: float) -> float:
    """How many goals long *value* is."""
    shares = (row.limit or 1.0, value)
    measured, goal = shares if row.at_least else reversed(shares)
    return max(measured / max(goal, 1e-9), 0.0)


def _rect(x: float, y: float, width: float, color: str) -> str:
    return f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{_BAR}" rx="2" fill="{color}"/>'


def _goal(x: float, y: float) -> str:
    return f'<path d="M{x:.0f} {y - 3} v{_BAR + 6}" stroke="{_INK}" stroke-width="2"/>'


def _break(x: float, y: float) -> str:
    """A gap across a bar, in the colour of the page."""
    return f'<path class="break" d="M{x - 3:.0f} {y + _BAR + 1} l6 -{_BAR + 2}" stroke="#fff" stroke-width="5"/>'


def _ring(x: float, y: float, *, is_further: bool) -> str:
    """A ring, and behind it an arrow if its place is *further* to the right."""
    middle = y + _BAR // 2
    style = f'stroke="{_INK}" stroke-width="2"'
    ring = f'<circle cx="{x:.0f}" cy="{middle}" r="4.5" fill="#fff" {style}/>'
    arrow = f'<path d="M{x + 8:.0f} {middle - 4} l5 4 l-5 4" fill="none" {style}/>'
    return ring + arrow * is_further


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y}" fill="{_INK}">{escape(text)}</text>'
