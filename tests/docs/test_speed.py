"""The page about speed says what the rows of the benchmarks say, and its pictures show them."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "speed.rst").read_text("utf-8").replace("\N{NO-BREAK SPACE}", " ")
RATIO = "\N{MULTIPLICATION SIGN}"
SVG = "{http://www.w3.org/2000/svg}"
#: The rows of the page that is published: what they are about.
DOCUMENTED = re.findall(r"^   \* - (.+)$", PAGE.replace("``", ""), re.MULTILINE)[1:]


@pytest.fixture(scope="module")
def suite() -> Iterator[SimpleNamespace]:
    """The modules of the benchmarks, which lie in no package."""
    names = ("measure", "plots", "page")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in names:
        del sys.modules[name]


def rows(suite: SimpleNamespace) -> list[Any]:
    """Rows with figures that no run has: all that the sentences of the page are about."""
    row = suite.measure.Row
    return [
        row("a call, requests", 3.25, RATIO, 2.2, spread=(3.1, 3.3), peers={"slow": 44.4, "quick": 5.5}),
        row("a call, httpx, sync", 0.75, RATIO, 1.0, peers={"only": 7.0}),
        row("32 threads, cold: token requests", 2, "", 1, peers={"slow": 32}),
        row("32 threads, cold: time, first in its process", 1.25, f"{RATIO} 200 ms", 1.15, peers={"slow": 32.5}),
        row("50 requests a second, tokens of 3 s: waited for more than 50 ms", 0, "", 0),
        row("50 requests a second, tokens of 3 s: sent with a token that had ended", 4, "", 0),
        row("50 requests a second, tokens of 3 s: p99 over static's", -0.25, "ms", 2.0),
        row("4 processes of 2 threads, cold, FileCache: token requests", 1, "", 1),
        row("4 processes of 2 threads, cold, FileCache: time", 1.2, f"{RATIO} 200 ms", 1.5),
        row("first answer, token in FileCache, requests: processor time", 1.125, RATIO, 1.15),
        row("auth-plugins token, token in FileCache, to import requests: processor time", 0.875, RATIO, 1.5),
        row("auth-plugins --help, to import click: processor time", 1.625, RATIO, 1.5),
    ]


GAINED = """
**32 threads that start without a token send 2 token requests.** Others: slow 32. All have the token after 1.25 times
what one request takes. Others: slow 32.5.
**4 processes of 2 threads that share a file, and start together, send 1 token request.** All have the token after 1.20
times what one request takes.
**A call takes 3.25 times as long as with a constant header** with requests (others: 5.50 to 44.4), and 0.75 times with
httpx (only: 7).
**No request waits for a renewal,** at 50 requests a second with tokens of 3 s. 4 are sent with a token that has ended.
The 99th percentile is 0.25 ms below that of a constant header.
**A script that finds its token in a file takes 1.12 times the processor time of one that has it pasted in** with
requests.
**At the prompt,** ``auth-plugins token`` takes 0.88 times the processor time of ``python -c 'import requests'``, if the
token is in a file.
"""


def test_users_read_what_was_measured(suite: SimpleNamespace) -> None:
    """Each figure of a sentence is that of a row, with those of other libraries beside it."""
    assert " ".join(suite.page.gains(rows(suite))) == " ".join(GAINED.split())


def test_what_was_not_measured_is_left_out(suite: SimpleNamespace) -> None:
    """A run of some groups makes a page without the sentences and pictures of the others."""
    text = suite.page.page(rows(suite)[:2], [], "Here.")
    assert "**A call takes 3.25" in text
    assert "token request." not in text
    assert re.findall(r"image:: (.+)", text) == ["speed-requests.svg", "speed-httpx.svg"]
    assert suite.plots.plots([]) == {}


def test_only_rows_that_miss_their_goals_are_explained(suite: SimpleNamespace) -> None:
    """A missed row is listed under its reason, or that it has none; if all goals are reached, the page says so."""
    missed = {line: text for text in suite.page.misses(rows(suite)) for line in text.splitlines()}
    assert missed.keys() >= {
        "- The reason is not known.",
        f"  - a call, requests: 3.25 {RATIO}, goal ≤ 2.20 {RATIO}",
        "  - 32 threads, cold: token requests: 2, goal ≤ 1",
        "- The first token request of a process loads Authlib, which writes the request.",
        f"  - 32 threads, cold: time, first in its process: 1.25 {RATIO} 200 ms, goal ≤ 1.15 {RATIO} 200 ms",
    }
    assert not re.search(r"httpx|FileCache", "".join(missed))
    near = suite.measure.Row("a call, httpx, sync", 1.02, RATIO, 1.0, spread=(0.98, 1.05))
    [text] = suite.page.misses([near])
    assert text.startswith("- The goal is within the spread of the rounds.\n\n  - a call, httpx")
    assert "Every goal of the table is reached." in suite.page.page(rows(suite)[1:2], [], "Here.")


def test_options_and_units_stay_whole(suite: SimpleNamespace) -> None:
    """An option has two hyphens, no dash, and no line begins with a unit."""
    text = suite.page.page(rows(suite), ["a note: slow 12.5 MiB."], "Here.")
    assert "   * - auth-plugins ``--help``, to import click: processor time\n" in text
    for whole in (f"3.25_{RATIO}", f"≤_2.20_{RATIO}", f"1.25_{RATIO} 200_ms", "12.5_MiB"):
        assert whole.replace("_", "\N{NO-BREAK SPACE}") in text
    assert "$ tox -e bench -- --write" in text


def test_bars_begin_at_one_and_grow_by_ratios(suite: SimpleNamespace) -> None:
    """Equal ratios are equal lengths; ours stands first, whatever it costs, and is seen at 1 and below."""

    def bars(ours: float, *others: float) -> list[tuple[str, float, float]]:
        peers = {f"peer {number}": value for number, value in enumerate(others)}
        drawing = suite.plots.plots([suite.measure.Row("a call, requests", ours, RATIO, peers=peers)])["speed-requests"]
        found = [each.attrib for each in ET.fromstring(drawing).iter(f"{SVG}rect") if each.get("class") != "paper"]
        return [(each["class"], float(each["x"]), float(each["width"])) for each in found]

    (mine, start, ten), (peer, _, twenty), (_, _, hundred) = bars(10, 100, 20)
    assert (mine, peer) == ("ours", "peer")
    assert hundred == pytest.approx(2 * ten, abs=0.2)
    assert twenty > ten
    for value in (0.5, 1.0):
        [(_, x, width), _] = bars(value, 2.5)
        assert start - 5 < x <= start
        assert width >= 4


@pytest.mark.parametrize(
    ("highest", "marks"), [(1.1, ["1", "1.2", "1.5"]), (20.5, ["1", "2", "5", "10", "20"]), (450.0, ["1", "10", "100"])]
)
def test_the_scale_has_marks_that_do_not_meet(suite: SimpleNamespace, highest: float, marks: list[str]) -> None:
    """A scale has round numbers up to the highest value, and few if it is long."""
    row = suite.measure.Row("a call, requests", 1.1, RATIO, peers={"a peer": highest})
    texts = ET.fromstring(suite.plots.plots([row])["speed-requests"]).iter(f"{SVG}text")
    assert [each.text for each in texts if each.get("class") == "soft middle"] == marks


def test_requests_that_take_long_are_counted(suite: SimpleNamespace) -> None:
    """Where requests take long, it need not be a renewal that they wait for."""
    waited, ended, slowest = rows(suite)[4:7]
    [text] = suite.page.gains([suite.measure.Row(waited.what, 3, "", 0), ended, slowest])
    assert text.startswith("**3 requests take over 50 ms,** at 50 requests a second with tokens of 3 s.")


def test_the_pictures_show_rows_of_the_page(suite: SimpleNamespace) -> None:
    """Each bar of ours has its row in the table, as it is called there."""
    patterns = [row for each in suite.plots.PICTURES for group in each.groups for row in group.ours.values()]
    assert [each for each in patterns if not any(re.fullmatch(each, what) for what in DOCUMENTED)] == []
    assert [each.name for each in suite.plots.PICTURES] == re.findall(r"^\.\. image:: (.+)\.svg$", PAGE, re.MULTILINE)


def test_the_reasons_are_those_of_rows(suite: SimpleNamespace) -> None:
    """No reason is kept whose rows are gone."""
    patterns = suite.page._REASONS
    assert [each for each in patterns if not any(re.fullmatch(each, what) for what in DOCUMENTED)] == []


def test_the_page_begins_with_what_users_gain(suite: SimpleNamespace) -> None:
    """The published page has all sentences, before the pictures, before what is missed, before the table."""
    gained, pictures, missed, table = (
        PAGE.index(f"\n{title}\n")
        for title in ("What you gain", "At a glance", "What is missed, and why", "All figures")
    )
    assert gained < pictures < missed < table
    assert len(re.findall(r"^- \*\*", PAGE[gained:pictures], re.MULTILINE)) == len([*suite.page.gains(rows(suite))])
