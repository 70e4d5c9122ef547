"""Measures the package against an auth that puts a constant header on, and against other libraries.

What takes time is measured as a ratio, in the same run, in rounds that take turns: a number without its neighbour says
more about the machine than about the code. Beside each median stand the first and the third quartile. Peers that are
not installed are left out; ``tox -e bench`` installs them all. The groups:

calls, instructions, build, threads, traffic
    the way of each request: signing it, and sending it (``hot.py``).
imports, tenants
    what a process pays for an import, and for many tenants (``processes.py``).
first, cached, prompt
    whole processes, from their start to their end (``starts.py``).
cold, shared, steady, post, commands
    the way to a token (``tokens.py``).

.. code-block:: console

    $ python benchmarks/run.py                        # some minutes
    $ python benchmarks/run.py --only calls build     # some groups
    $ python benchmarks/run.py --write                # all, and docs/speed.rst with its pictures
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hot
import page
import plots
import processes
import report
import starts
import tokens
from measure import Row, Site, serving

GROUPS: Mapping[str, Callable[[Site], Iterator[Row]]] = {
    "calls": hot.calls,
    "instructions": hot.instructions,
    "build": hot.build,
    "threads": hot.threads,
    "traffic": hot.traffic,
    "imports": processes.imports,
    "first": starts.first,
    "cached": starts.cached,
    "prompt": starts.prompt,
    "tenants": processes.tenants,
    "cold": tokens.cold,
    "shared": tokens.shared,
    "steady": tokens.steady,
    "post": tokens.post,
    "commands": tokens.commands,
}
DOCUMENTS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="GROUP", help="in place of all: %(choices)s")
    parser.add_argument("--quick", action="store_true", help="hardly any work: to see that it runs")
    parser.add_argument("--write", action="store_true", help="write docs/speed.rst and its pictures")
    given = parser.parse_args()
    if given.write and given.only:
        parser.error("--write needs all groups")
    rows: list[Row] = []
    with serving(quick=given.quick) as site:
        for name in given.only or GROUPS:
            start = time.monotonic()
            rows += GROUPS[name](site)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    print(report.table(rows))
    notes = [f"{row.what}: {row.all_peers()}." for row in rows if len(row.peers) > 1] + site.notes
    if site.left_out:
        notes.append(f"Not installed, and left out: {', '.join(sorted(site.left_out))}.")
    print("", *notes, report.where(), sep="\n")
    if given.write:
        (DOCUMENTS / "speed.rst").write_text(page.page(rows, notes, report.where()), "utf-8")
        for name, drawing in plots.plots(rows).items():
            (DOCUMENTS / f"{name}.svg").write_text(drawing, "utf-8")


if __name__ == "__main__":
    main()
