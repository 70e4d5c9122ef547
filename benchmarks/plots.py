"""Draws a few rows as bars: ours, and those of all peers, by name, from 1 on a scale of logarithms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from measure import RATIO, Row, find


@dataclass(frozen=True)
class Bars:
    """Bars below a heading."""

    #: Of two braces: what the first row is about, up to its first comma.
    heading: str
    #: The name of each of our bars, and its row, as a regular expression. The peers are those of the first row.
    ours: Mapping[str, str]


@dataclass(frozen=True)
class Picture:
    """A file of bars that have the same scale."""

    name: str
    title: str
    #: What 1 stands for.
    unit: str
    groups: Sequence[Bars]


_OURS = "auth-plugins"
_HEADER = f"1 {RATIO} = a constant header"
PICTURES = (
    Picture(
        "speed-requests", "A call with a token that is there", _HEADER, [Bars("requests", {_OURS: "a call, requests"})]
    ),
    Picture(
        "speed-httpx",
        "A call with a token that is there",
        _HEADER,
        [
            Bars(f"{library}, {kind}", {_OURS: f"a call, {library}, {kind}"})
            for library in ("httpx", "httpx2")
            for kind in ("sync", "async")
        ],
    ),
    Picture(
        "speed-cold",
        "Many that start at once, without a token",
        f"1 = one token request; 1 {RATIO} = its 200 ms",
        [
            Bars("{}: token requests", {_OURS: r"[\d,]+ threads, cold: token requests"}),
            Bars("{}: time until all have it", {_OURS: r"[\d,]+ threads, cold: time, first in its process"}),
            Bars("{}: token requests", {_OURS: r"\d+ processes .*, FileCache: token requests"}),
            Bars("{}: time until all have it", {_OURS: r"\d+ processes .*, FileCache: time"}),
        ],
    ),
    Picture(
        "speed-build",
        "An auth made for each call",
        f"{_HEADER}, made for each call",
        [
            Bars(
                library,
                {
                    _OURS: f"auth and grant built for each call, {library}",
                    "grant kept": f"auth built for each call, {library}",
                },
            )
            for library in ("requests", "httpx", "httpx2")
        ],
    ),
    Picture(
        "speed-start",
        "A script that sends one request: processor time",
        f"1 {RATIO} = the same without auth=",
        [
            Bars(f"{library}, {how}", {_OURS: f"{what}, {library}: processor time"})
            for how, what in {
                "token in a file": "first answer, token in FileCache",
                "no token yet": "first answer of a process",
            }.items()
            for library in ("requests", "httpx")
        ],
    ),
)

#: Pixels: of a picture, as it is read on a phone as well; of the end of names; of 1 and of the end of the scale.
_WIDTH, _NAMES, _ONE, _END = 480, 192, 201, 412
#: Pixels of a line of text, of a bar and of what it takes with the space around it.
_LINE, _BAR, _STEP = 25, 17, 26
#: What is marked on a scale, if it ends no later than this.
_MARKS = {3: (1, 1.2, 1.5, 2, 3), 120: (1, 2, 5, 10, 20, 50, 100), math.inf: (1, 10, 100, 1000, 10_000)}
#: The colours of the diagrams: those of the system's theme, or of the page's, if it has one.
_STYLE = """\
<style>
.bars { --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --line: #7a8490; --ours: #0a58ca; --peer: #7a8490;
  font: 16px/1.3 system-ui, "DejaVu Sans", sans-serif; }
@media (prefers-color-scheme: dark) { .bars { --ink: #e6e8eb; --soft: #a5adb8; --paper: #131416; --line: #8b949e;
  --ours: #7cb7ff; --peer: #8b949e; } }
body[data-theme="light"] .bars { --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --line: #7a8490; --ours: #0a58ca;
  --peer: #7a8490; }
body[data-theme="dark"] .bars { --ink: #e6e8eb; --soft: #a5adb8; --paper: #131416; --line: #8b949e; --ours: #7cb7ff;
  --peer: #8b949e; }
.bars text { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 4px; }
.bars .soft { fill: var(--soft); font-size: 14.5px; }
.bars .strong { font-weight: 600; }
.bars .start { text-anchor: start; } .bars .middle { text-anchor: middle; } .bars .end { text-anchor: end; }
.bars .paper { fill: var(--paper); } .bars .ours { fill: var(--ours); } .bars .peer { fill: var(--peer); }
.bars .one { stroke: var(--line); stroke-width: 2; } .bars .grid { stroke: var(--line); opacity: 0.35; }
</style>"""


@dataclass(frozen=True)
class _Bar:
    name: str
    value: float
    label: str
    is_ours: bool


@dataclass(frozen=True)
class _Scale:
    """Where values are, from 1 to the highest one."""

    highest: float

    @property
    def ticks(self) -> list[float]:
        """Round numbers."""
        marks = next(marks for end, marks in _MARKS.items() if self.highest <= end)
        return [mark for mark in marks if mark <= self.highest]

    def x(self, value: float) -> float:
        """Pixels; of what is less than 1, a little to the left, as names are there."""
        share = math.log(max(value, 1e-9)) / math.log(self.highest)
        return max(_ONE + (_END - _ONE) * share, _ONE - 4)


def plots(rows: Sequence[Row]) -> dict[str, str]:
    """The text of each SVG file, by its name; a picture whose rows were not measured is left out."""
    drawn = {}
    for picture in PICTURES:
        groups = [drawn_group for group in picture.groups if (drawn_group := _bars(rows, group))]
        if groups:
            drawn[picture.name] = _draw(picture, groups)
    return drawn


def _bars(rows: Sequence[Row], group: Bars) -> tuple[str, list[_Bar]] | None:
    """The heading, and below it our bars, and then the peers, the best one first; ``None``: nothing was measured."""
    ours = {name: row for name, pattern in group.ours.items() if (row := find(rows, pattern))}
    for first in ours.values():
        bars = [_Bar(name, row.value, _label(row, row.value), is_ours=True) for name, row in ours.items()]
        bars += [_Bar(name, value, _label(first, value), is_ours=False) for name, value in first.ordered_peers]
        return group.heading.format(first.what.partition(",")[0]), bars
    return None


def _label(row: Row, value: float) -> str:
    return row.shown(value).removesuffix(" 200 ms")


def _draw(picture: Picture, groups: Sequence[tuple[str, list[_Bar]]]) -> str:
    scale = _Scale(max(1.5, *(bar.value for _, bars in groups for bar in bars)))
    lines, y = [_text(4, _LINE, "soft", f"{picture.unit} (log scale)")], 2 * _LINE
    lines += [_text(scale.x(tick), y, "soft middle", f"{tick:g}") for tick in scale.ticks]
    for heading, bars in groups:
        y += _LINE + 4
        lines.append(_text(4, y, "strong", heading))
        top, y = y + 8, y + 8 + _STEP * len(bars)
        lines += [_line(scale.x(tick), top, y, "grid") for tick in scale.ticks[1:]]
        for number, bar in enumerate(bars):
            lines += _drawn(scale, bar, top + _STEP * number)
        lines.append(_line(_ONE, top, y, "one"))
    said = "; ".join(f"{heading}: {', '.join(f'{bar.name} {bar.label}' for bar in bars)}" for heading, bars in groups)
    return "\n".join([*_head(picture, said, y + 8), *lines, "</svg>\n"])


def _head(picture: Picture, said: str, height: int) -> Iterator[str]:
    labels = " ".join(f"{picture.name}-{part}" for part in ("title", "desc"))
    size = f'viewBox="0 0 {_WIDTH} {height}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" class="bars" {size} role="img" aria-labelledby="{labels}">'
    yield f'<title id="{picture.name}-title">{escape(picture.title)}</title>'
    yield f'<desc id="{picture.name}-desc">{escape(f"{picture.unit}. {said}.")}</desc>'
    yield _STYLE
    yield f'<rect class="paper" width="{_WIDTH}" height="{height}"/>'


def _drawn(scale: _Scale, bar: _Bar, y: int) -> Iterator[str]:
    """The name, the bar from 1, which is seen even if it is 1, and the value."""
    place, base, strong = scale.x(bar.value), y + 18, " strong" if bar.is_ours else ""
    left, right = min(place, _ONE), max(place, _ONE + 4)
    yield _text(_NAMES, base, f"end{strong}", bar.name)
    kind, top = "ours" if bar.is_ours else "peer", y + (_STEP - _BAR) // 2
    yield f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="{_BAR}" rx="2"/>'
    yield _text(right + 6, base, f"start{strong}", bar.label)


def _line(x: float, top: int, bottom: int, kind: str) -> str:
    return f'<path class="{kind}" d="M{x:.1f} {top} V{bottom}"/>'


def _text(x: float, y: int, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}">{escape(text)}</text>'
