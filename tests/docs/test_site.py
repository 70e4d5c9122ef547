"""The documentation site is complete: names, variables, commands, errors and diagrams, checked without Sphinx."""

from __future__ import annotations

import codeop
import importlib
import io
import re
import shlex
import textwrap
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import click
import pytest

from auth_plugins import AuthError, ClientCredentials
from auth_plugins._cli.main import cli
from auth_plugins._environment.configuration import configuration
from auth_plugins._environment.definitions import API_POLICY, KNOWN, READERS
from auth_plugins._protocol.advice import ADVICE, advice_for
from auth_plugins._transports.reasons import _TROUBLES, certificate_advice
from tests.docs.pages import blocks
from tests.docs.test_words import REPLACED

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.rst"))
DIAGRAMS = sorted((DOCS / "diagrams").glob("*.svg"))
BARS = sorted(DOCS.glob("speed-*.svg"))
#: Drawings by the class of those that have the same style.
DRAWINGS = {"diagram": DIAGRAMS, "bars": BARS}
MODULES = (
    "auth_plugins",
    "auth_plugins.bridges",
    "auth_plugins.httpx",
    "auth_plugins.httpx2",
    "auth_plugins.opentelemetry",
    "auth_plugins.requests",
    "auth_plugins.testing",
)
#: Least contrast of a text to what is behind it (WCAG 2.2, 1.4.3), and of a line (1.4.11).
TEXT_CONTRAST, LINE_CONTRAST = 4.5, 3.0
SVG = "{http://www.w3.org/2000/svg}"


def page(name: str) -> str:
    """Return the text of a page."""
    return (DOCS / f"{name}.rst").read_text("utf-8")


def plain(text: str) -> str:
    """Return *text* with single spaces for line breaks."""
    return " ".join(text.split())


def entries() -> dict[str, str]:
    """Return the entries of ``reference/environment.rst``: by variable, without the prefix, its text."""
    _, *parts = re.split(r"^\.\. envvar:: PREFIX_(\w+)\n", page("reference/environment"), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def commands() -> dict[str, click.Command]:
    """Return all commands by their full name; groups are left out."""
    found: dict[str, click.Command] = {}
    waiting: list[tuple[str, click.Command]] = [("auth-plugins", cli)]
    for name, command in waiting:
        if isinstance(command, click.Group):
            waiting.extend((f"{name} {each}", command.commands[each]) for each in command.commands)
        else:
            found[name] = command
    return found


def test_each_public_name_has_its_entry() -> None:
    """Each name that users import is in the API reference."""
    api = page("reference/api")
    documented = set(re.findall(r"^\.\. auto(?:class|function):: ([\w.]+)", api, re.MULTILINE))
    names = {f"{module}.{name}" for module in MODULES for name in importlib.import_module(module).__all__}
    sandbox = {f"auth_plugins.sandbox.{name}" for name in importlib.import_module("auth_plugins.sandbox").__all__}
    assert documented == names | sandbox
    # The providers are documented as a module, with all their names.
    assert ".. automodule:: auth_plugins.providers\n   :members:\n" in api


def test_each_member_that_is_listed_exists() -> None:
    """A member that the API reference lists is an attribute, an annotation, or set by ``__init__``."""
    api = page("reference/api")
    found = re.findall(r"^\.\. autoclass:: ([\w.]+).*\n   :members: ((?:.+\n)(?:  +[\w ,]+\n)*)", api, re.MULTILINE)
    assert len(found) > 8
    for path, members in found:
        module, _, name = path.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        source = Path(importlib.import_module(kind.__module__).__file__ or "").read_text("utf-8")
        for member in re.findall(r"\w+", members):
            is_set = re.search(rf"self\.{member}\b", source) is not None
            annotated = {each for base in kind.__mro__ for each in getattr(base, "__annotations__", {})}
            assert hasattr(kind, member) or member in annotated or is_set, f"{path}.{member}"


def test_each_variable_is_documented() -> None:
    """The page lists the variables that the package knows, and no other."""
    assert set(entries()) == set(KNOWN)


def test_each_value_of_a_variable_is_documented() -> None:
    """The values that a variable can have are in its entry."""
    for name, text in entries().items():
        _, expected = READERS.get(name, (None, ""))
        if " or " in expected and "," not in expected:
            for value in expected.split(" or "):
                assert f"``{value}``" in text or f"={value}``" in text, f"{name}: {value}"


def test_each_oddity_has_the_same_words_in_code_and_environment() -> None:
    """In each row of the decision list, code and variables configure the same; each question leads to a section."""
    text = page("guides/dialects")
    rows = re.findall(r"^     - ``(.+)``\n\n       ``(ACME_.+)``$", text, re.MULTILINE)
    assert len(rows) >= 12
    for code, variables in rows:
        options = eval(f"dict({code})")
        policy = {name: options.pop(name) for name in [*options] if name.upper() in API_POLICY}
        environ = {"ACME_TOKEN_URL": "https://id.example.com/token", "ACME_CLIENT_ID": "id", "ACME_CLIENT_SECRET": "s"}
        environ |= dict(word.split("=", 1) for word in shlex.split(variables))
        grant = ClientCredentials("https://id.example.com/token", "id", "s", **options)
        assert configuration("ACME", environ) == (grant, policy), code
    sections = re.findall(r"^\.\. _(odd-\w+):$", text, re.MULTILINE)
    assert [*dict.fromkeys(re.findall(r"^   \* - :ref:`[^`]+ <(odd-\w+)>`$", text, re.MULTILINE))] == sections


def test_each_command_and_option_is_documented() -> None:
    """Each command has a section, and each of its options an entry there; no other options have one."""
    text = page("reference/command-line")
    sections = re.split(r"^\.\. program:: (.+)\n", text, flags=re.MULTILINE)
    documented = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert documented.keys() == commands().keys() | {"auth-plugins"}
    for name, command in commands().items():
        section = documented[name]
        assert f"\n{name}\n{'-' * len(name)}\n" in section
        options = {each for param in command.params if isinstance(param, click.Option) for each in param.opts}
        assert set(re.findall(r"^\.\. option:: (--[\w-]+)", section, re.MULTILINE)) == options, name
        for param in command.params:
            shown = (param.metavar or param.name or "").upper()
            assert isinstance(param, click.Option) or re.search(rf"    {name} .*\b{shown}\b", section), name


def test_each_error_has_a_section() -> None:
    """Each class of errors has a section of its name."""
    text = page("reference/errors")
    kinds = [AuthError]
    for kind in kinds:
        kinds.extend(each for each in kind.__subclasses__() if each.__module__ == AuthError.__module__)
    assert len(kinds) == 6
    for kind in kinds:
        assert f"\n{kind.__name__}\n{'-' * len(kind.__name__)}\n" in text


@pytest.mark.parametrize("trouble", ADVICE)
def test_each_advice_has_a_section_that_quotes_it(trouble: str) -> None:
    """A message is found in the page by its last words, which are the advice as it is shown."""
    options = {
        "client": ":client_id,client_secret",
        "ends": ":client_secret",
        "answer": ":access_token=data.token",
        "answer_error": ":error=code",
    }.get(trouble, ":token_url")
    _, _, section = page("reference/errors").partition(f"\n.. _trouble-{trouble}:\n\n")
    title, rule, text = section.split("\n", 2)
    assert title.endswith(f"({trouble})")
    assert rule == "~" * len(title)
    assert f"``{advice_for(trouble + options)[0]}``" in plain(text.partition("\n.. _")[0])


def test_each_reason_of_no_answer_has_a_section() -> None:
    """Each value of ``TokenTransportError.trouble`` has a section, which quotes the advice if there is a fixed one."""
    text = page("reference/errors")
    advice = {trouble: todo for _, trouble, _, todo in _TROUBLES}
    documented = set(re.findall(r"^\.\. _unreachable-(\w+):$", text, re.MULTILINE))
    assert documented == advice.keys() | {"certificate", "client_certificate", "proxy", "other"}
    certificates = [certificate_advice(code, "requests") for code in (0, 10)]
    for each in (*certificates, *(advice[trouble] for trouble in ("name", "refused", "timeout"))):
        assert f"``{each}``" in plain(text)


def test_the_tutorial_prints_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of the tutorial run in order, and each prints the text that follows it."""
    for name in ("SHOP_BASE_URL", "SHOP_PASSWORD", "SHOP_PROVIDER", "SHOP_USERNAME"):
        monkeypatch.setenv(name, "")  # so that what the tutorial sets is removed again
    namespace: dict[str, Any] = {}
    pattern = r"^\.\. code-block:: (python|text)\n\n((?:    .*\n|\n)+)"
    printed, shown = [""], 0
    for language, block in re.findall(pattern, page("tutorial"), re.MULTILINE):
        text = textwrap.dedent(block).strip("\n")
        if language == "text":
            assert printed[-1] == text
            shown += 1
        else:
            with redirect_stdout(io.StringIO()) as output:
                exec(compile(text, "tutorial.rst", "exec"), namespace)
            printed.append(output.getvalue().strip())
    assert shown >= 8


def test_the_tutorial_can_be_pasted_into_a_prompt() -> None:
    """Each block of the tutorial is what Python's prompt takes line by line, with an empty line at the end."""
    found = [block for block in blocks(DOCS / "tutorial.rst") if block.language == "python"]
    assert len(found) > 10
    for block in found:
        waiting: list[str] = []
        for line in [*block.text.splitlines(), ""]:
            waiting.append(line)
            if codeop.compile_command("\n".join(waiting), block.name) is not None:
                waiting.clear()
        assert waiting == [], block.name


def test_the_pages_use_plain_words() -> None:
    """No page has a word that the glossary and plain English replace."""
    word = re.compile(rf"(?<![a-z])({'|'.join(REPLACED)})(?![a-z])", re.IGNORECASE)
    for path in PAGES:
        text = re.sub("``.*?``", "", path.read_text("utf-8"), flags=re.DOTALL)
        assert word.findall(text) == [], path.name


def test_no_code_block_is_indented_by_its_options() -> None:
    """Options and code of a block have the same indentation; else each line of the code begins with spaces."""
    for path in PAGES:
        for options, code in re.findall(
            r"^ *\.\. code-block::.*\n( +):\w[^\n]*\n(?: +:[^\n]*\n)*\n( +)\S", path.read_text("utf-8"), re.MULTILINE
        ):
            assert options == code, path.name


def test_each_page_is_in_a_table_of_contents() -> None:
    """Each page can be reached from the start page. No group in the sidebar is longer than eight pages.

    The sidebar shows the captions of the start page only, so that another page has one list.
    """
    reached = [DOCS / "index.rst"]
    for path in reached:
        text = path.read_text("utf-8") + "\n"
        lists = re.findall(r"^\.\. toctree::\n((?:   .*\n|\n)+)", text, re.MULTILINE)
        assert len(lists) <= 1 or path == reached[0], path
        for block in lists:
            names = re.findall(r"^   (?:.+<)?([\w/-]+)>?$", block, re.MULTILINE)
            assert len(names) <= 8, path
            targets = [DOCS / f"{name[1:]}.rst" if name[0] == "/" else path.parent / f"{name}.rst" for name in names]
            reached.extend(target for target in targets if target in PAGES and target not in reached)
    assert sorted(reached) == PAGES


# Diagrams.


def style_of(path: Path) -> str:
    """Return the style of a drawing."""
    return re.search("<style>(.*)</style>", path.read_text("utf-8"), re.DOTALL)[1]  # type: ignore[index]


def test_the_explanation_shows_each_diagram() -> None:
    """Five diagrams are drawn, and each is in the explanation, with a text for readers who cannot see it."""
    shown = re.findall(r"^\.\. figure:: diagrams/(\w+)\.svg\n   :alt: \w+", page("explanation"), re.MULTILINE)
    assert sorted(shown) == [path.stem for path in DIAGRAMS]
    assert len(shown) == 5


def test_the_page_about_speed_shows_its_pictures() -> None:
    """Each picture of bars is on the page, with a text for readers who cannot see it."""
    shown = re.findall(r"^\.\. image:: (speed-\w+)\.svg\n   :alt: \w+", page("speed"), re.MULTILINE)
    assert sorted(shown) == [path.stem for path in BARS]
    assert 2 < len(shown) < 6


@pytest.mark.parametrize("path", [*DIAGRAMS, *BARS], ids=lambda path: path.stem)
def test_a_diagram_is_well_formed(path: Path) -> None:
    """A diagram is XML with title and description; it scales, and its shapes and texts are within its frame."""
    root = ET.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    labels = (root.get("aria-labelledby") or "").split()
    assert [root.find(f"{SVG}{name}").get("id") for name in ("title", "desc")] == labels  # type: ignore[union-attr]
    assert all(label.startswith(path.stem) for label in labels), "several are on one page"
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    assert "width" not in root.attrib
    assert width in (480, 500)  # legible on a phone
    for element in root.iter():
        if element.tag in (f"{SVG}text", f"{SVG}rect"):
            x, y = float(element.get("x", 0)), float(element.get("y", 0))
            assert 0 <= x <= width
            assert 0 <= y <= height
            assert x + float(element.get("width", 0)) <= width
            assert y + float(element.get("height", 0)) <= height
        # Colours come from the classes of the style alone, so that they follow the theme.
        assert not element.attrib.keys() & {"fill", "stroke", "style", "color"}


@pytest.mark.parametrize("kind", DRAWINGS)
def test_all_diagrams_have_one_style(kind: str) -> None:
    """The pages show several diagrams at once, whose styles would mix: they are the same."""
    assert len(set(map(style_of, DRAWINGS[kind]))) == 1


def themes(kind: str) -> dict[str, dict[str, str]]:
    """Return the colours of drawings in each theme: as the system has it, and as the page's switch has it."""
    style = style_of(DRAWINGS[kind][0])
    selectors = {
        "light": rf"^\.{kind} \{{",
        "dark": rf"prefers-color-scheme: dark\) \{{ \.{kind} \{{",
        "chosen light": rf'data-theme="light"\] \.{kind} \{{',
        "chosen dark": rf'data-theme="dark"\] \.{kind} \{{',
    }
    blocks = {name: re.search(selector + r"([^}]*)", style, re.MULTILINE) for name, selector in selectors.items()}
    return {name: dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block[1])) for name, block in blocks.items() if block}


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21 (WCAG 2.2)."""

    def luminance(color: str) -> float:
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(map(float.__mul__, (0.2126, 0.7152, 0.0722), linear))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", DRAWINGS)
def test_the_colours_are_seen_in_both_themes(kind: str) -> None:
    """Each theme has each colour, and texts, lines and bars have enough contrast to what is behind them."""
    found = themes(kind)
    assert len(found) == 4
    assert found["light"] == found["chosen light"]
    assert found["dark"] == found["chosen dark"]
    assert found["light"].keys() == found["dark"].keys()
    for theme, colors in found.items():
        for name, color in colors.items():
            least = LINE_CONTRAST if name in ("line", "ours", "peer") else TEXT_CONTRAST
            for behind in colors.keys() & {"paper", "box"}:
                if name not in ("paper", "box"):
                    assert contrast(color, colors[behind]) >= least, f"{theme}: {name} on {behind}"


def test_each_class_of_a_diagram_has_a_style() -> None:
    """A shape or text whose class has no style would be black in both themes."""
    for kind, path in ((kind, path) for kind, paths in DRAWINGS.items() for path in paths):
        text = path.read_text("utf-8")
        styled = set(re.findall(rf"\.{kind} \.(\w+)", text))
        used = {name for names in re.findall(r'<(?:text|rect|path) class="([^"]+)"', text) for name in names.split()}
        assert used <= styled
        assert not re.search(r"<(rect|path) (?!class)", text)
