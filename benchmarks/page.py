"""Writes docs/speed.rst: what users gain, pictures, what is missed, the table, and how to run it.

No figure is written here: each comes from the rows. A sentence whose rows were not measured is left out.
"""

from __future__ import annotations

import functools
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from measure import RATIO, Row, digits, find
from plots import PICTURES, plots

_PAGE = """\
Speed
=====

What ``auth=OAuth2Auth(…)`` costs, beside other libraries, and beside a constant header: the least that an auth object
can do. All of it was measured in one run, on one machine.


What you gain
-------------

{gains}


At a glance
-----------

The blue bars are this package. The scale is logarithmic: each step to the right multiplies the cost.

{pictures}


What is missed, and why
-----------------------

{missed}


All figures
-----------

A ratio compares with a constant header, which knows no expiry and no answer to a 401, unless the row says otherwise.
Both are measured in the same run, in rounds that take turns. Each row shows the median of all rounds, and in
parentheses the first and third quartile. "200 ms" is the time that the token endpoint takes.

{where}

.. list-table::
   :header-rows: 1
   :widths: 40 14 28 18

{table}

{notes}


Run it yourself
---------------

Figures differ from machine to machine.

.. code-block:: console

    $ tox -e bench                             # all of it: some minutes
    $ tox -e bench -- --only calls build       # some groups; benchmarks/run.py says what each measures
    $ tox -e bench -- --write                  # all, and write this page
"""
#: What stands above a picture.
_CAPTIONS: Mapping[str, str] = {
    "speed-requests": "**A call with requests**, with a token that is there:",
    "speed-httpx": "**A call with httpx and httpx2**, with a token that is there:",
    "speed-cold": "**Threads and processes that start at once**, without a token; the processes share a file:",
    "speed-build": "**An auth object made for each call**; at *grant kept*, the grant is made once:",
    "speed-start": "**A script that sends one request**, processor time from its start to its end:",
}
#: Why a goal is missed, by a regular expression of its rows.
_REASONS: Mapping[str, str] = {
    r"auth( and grant)? built for each call, .*": "A new object checks its arguments. Build it once, and keep it.",
    r"first answer of a process, .*|.*: time, first in its process": "The first token request of a process loads "
    "Authlib, which writes the request.",
    r"first answer, token in FileCache, .*": "The package is loaded, and the file is checked and read.",
    r"a token request beyond post, .*": "The whole request is bounded in time and size, and its answer is checked; the "
    "library alone does neither.",
    r"\d+ processes of .*: time": f"The processes compete for {os.cpu_count()} processors, as each loads what it needs "
    "to get a token.",
    r"memory of each of \d{2,3} tenants": "What all tenants share is divided among few.",
    r"a call.*: [\d,]+ tenants, to .*": "The objects of so many tenants are not in the processor's caches, so that a "
    "call waits for memory; this holds for a constant header as well.",
}
_MISSED = "Each reason, and the rows of the table that miss their goals by it:"
_UNKNOWN = "The reason is not known."


def page(rows: Sequence[Row], notes: Iterable[str], where: str) -> str:
    """The page, in reStructuredText."""
    lines = []
    for cells in (Row.headers, *(row.cells() for row in rows)):
        lines += [f"   {' ' if number else '*'} - {cell}".rstrip() for number, cell in enumerate(cells)]
    missed = [*misses(rows)]
    return _PAGE.format(
        gains=_kept(_items(gains(rows))),
        pictures="\n\n".join(_pictures(rows)),
        missed=_kept("\n\n".join([_MISSED, *missed])) if missed else "Every goal of the table is reached.",
        where=_fill(where),
        table=_kept("\n".join(lines)),
        notes=_kept(_items(notes)),
    )


def _kept(text: str) -> str:
    """Keep a number with its unit, and the hyphens of an option, which would be shown as a dash."""
    with_units = re.sub(rf"(?<=[≤≥]) (?=\d)|(?<=\d) (?=({RATIO}|%|[kM]i?B|[mµ]s)(?!\w))", "\N{NO-BREAK SPACE}", text)
    return re.sub(r"(?<= )--\w+", r"``\g<0>``", with_units)


_fill = functools.partial(textwrap.fill, width=118, break_on_hyphens=False, break_long_words=False)


def _items(texts: Iterable[str]) -> str:
    return "\n".join(_fill(text, initial_indent="- ", subsequent_indent="  ") for text in texts)


def _pictures(rows: Sequence[Row]) -> Iterator[str]:
    drawn = plots(rows)
    for picture in PICTURES:
        if picture.name in drawn:
            alt = f"{picture.title}. The table has the values as well."
            yield f"{_CAPTIONS[picture.name]}\n\n.. image:: {picture.name}.svg\n   :alt: {alt}"


# What users gain

_Find = Callable[[str], Row | None]


def gains(rows: Sequence[Row]) -> Iterator[str]:
    """Sentences for users, by what was measured."""
    for sentence in (_threads, _processes, _calls, _steady, _starts, _prompt):
        if text := sentence(functools.partial(find, rows)):
            yield text


def _threads(found: _Find) -> str:
    sent, taken = found(r"[\d,]+ threads, cold: token requests"), found(r"[\d,]+ threads, cold: time, first .*")
    return _together("{} that start without a token send {}.", sent, taken)


def _processes(found: _Find) -> str:
    sent, taken = found(r"\d+ processes .*, FileCache: token requests"), found(r"\d+ processes .*, FileCache: time")
    return _together("{} that share a file, and start together, send {}.", sent, taken)


def _together(begin: str, sent: Row | None, taken: Row | None) -> str:
    if sent is None or taken is None:
        return ""
    count = f"{digits(sent.value)} token request{'s' * (sent.value != 1)}"
    times = f"All have the token after {digits(taken.value)} times what one request takes."
    begin = f"**{begin.format(sent.what.partition(',')[0], count)}**"
    return " ".join(filter(None, [begin, _others(sent), times, _others(taken)]))


def _calls(found: _Find) -> str:
    rows = {"requests": found("a call, requests"), "httpx": found("a call, httpx, sync")}
    return _compared("A call takes {} times as long as with a constant header", rows)


def _steady(found: _Find) -> str:
    names = ("waited for more than 50 ms", "sent with a token that had ended", "p99 over static's")
    waited, ended, slowest = (found(rf"\d+ requests a second, tokens of .*: {name}") for name in names)
    if waited is None or ended is None or slowest is None:
        return ""
    rate, _, tokens = waited.what.partition(":")[0].partition(", ")
    waits = f"{digits(waited.value)} requests take over 50 ms" if waited.value else "No request waits for a renewal"
    ends = f"{digits(ended.value)} are" if ended.value else "None is"
    place = f"{digits(abs(slowest.value))} ms {'above' if slowest.value >= 0 else 'below'}"
    return (
        f"**{waits},** at {rate} with {tokens}. {ends} sent with a token that has ended. The 99th "
        f"percentile is {place} that of a constant header."
    )


def _starts(found: _Find) -> str:
    rows = {each: found(f"first answer, token in FileCache, {each}: processor time") for each in ("requests", "httpx")}
    cost = "A script that finds its token in a file takes {} times the processor time of one that has it pasted in"
    return _compared(cost, rows)


def _prompt(found: _Find) -> str:
    row = found("auth-plugins token, .*: processor time")
    if row is None:
        return ""
    cost = f"takes {digits(row.value)} times the processor time of ``python -c 'import requests'``"
    return f"**At the prompt,** ``auth-plugins token`` {cost}, if the token is in a file."


def _compared(cost: str, rows: Mapping[str, Row | None]) -> str:
    """What it costs by library, and what it costs with others."""
    texts = list[str]()
    for name, row in rows.items():
        if row is not None:
            times = digits(row.value)
            begin = f"and {times} times" if texts else f"**{cost.format(times)}**"
            texts.append(f"{begin} with {name}{_range(row)}")
    return f"{', '.join(texts)}." if texts else ""


def _others(row: Row) -> str:
    values = ", ".join(f"{name} {digits(value)}" for name, value in row.ordered_peers)
    return f"Others: {values}." if values else ""


def _range(row: Row) -> str:
    """Of how many times the cost of the others is, from the best to the worst one."""
    values = [digits(value) for _, value in row.ordered_peers]
    if len(values) > 1:
        return f" (others: {values[0]} to {values[-1]})"
    return f" ({row.ordered_peers[0][0]}: {values[0]})" if values else ""


# What is missed


def misses(rows: Sequence[Row]) -> Iterator[str]:
    """Each reason, and below it the rows that miss their goals by it."""
    by_reason: dict[str, list[Row]] = {}
    for row in rows:
        if row.missed:
            by_reason.setdefault(_reason(row), []).append(row)
    for reason, missed in by_reason.items():
        shown = _items(f"{row.what}: {row.shown(row.value)}, goal {row.goal}" for row in missed)
        yield f"- {_fill(reason, subsequent_indent='  ').lstrip()}\n\n{textwrap.indent(shown, '  ')}"


def _reason(row: Row) -> str:
    known = next((reason for pattern, reason in _REASONS.items() if re.fullmatch(pattern, row.what)), "")
    if known or row.spread is None or row.limit is None:
        return known or _UNKNOWN
    low, high = row.spread
    return "The goal is within the spread of the rounds." if low <= row.limit <= high else _UNKNOWN
