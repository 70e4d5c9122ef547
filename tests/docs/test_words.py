"""Words that the glossary and plain English replace are not used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Each word, in prose or as a part of a name, with what to write in its place.
REPLACED = {
    "afresh": "again, or: with a new token request",
    "anew": "again, or: for each token request",
    "anybody": "the actor: any thread, any user",
    "everybody": "the actor: all threads, all users",
    "he": "the actor: the user, the thread",
    "him": "the actor: the user, the thread",
    "his": "the actor's: the user's, the thread's",
    "lying": "stored",
    "nobody": "the actor: no thread, no user",
    "shelf": "entry",
    "somebody": "the actor: another thread, a user",
    "theirs": "the owner's: the caller's, the library's",
    "told": "logged, shown, configured, or given",
    "twin": "copy",
    "whoever": "the actor: the thread that, users who",
    "whomever": "the actor: the client, the user",
}
WORD = re.compile(rf"(?<![a-z])({'|'.join(REPLACED)})(?![a-z])", re.IGNORECASE)
FILES = [
    *sorted((ROOT / "auth_plugins").rglob("*.py")),
    *sorted((ROOT / "benchmarks").glob("*.py")),
    *sorted((ROOT / "changelog.d").glob("*.rst")),
    *sorted((ROOT / "docs").rglob("*.rst")),
    *sorted((ROOT / "examples").glob("*.py")),
    *(path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)),
    *(ROOT / name for name in ("CHANGELOG.rst", "CONTRIBUTING.rst", "README.rst", "SECURITY.rst")),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_replaced_words_are_not_used(path: Path) -> None:
    """The code and its documents use the words of the glossary, and name who acts."""
    found = [
        f"line {number}: {word!r}; write {REPLACED[word.lower()]}"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for word in WORD.findall(re.sub("``.*?``", "", line))  # not in names of code
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "words"),
    [("Nobody knows.", ["Nobody"]), ("def _is_told(lying):", ["told", "lying"]), ("the shell, a retold history", [])],
)
def test_a_word_is_found_in_prose_and_in_names(line: str, words: list[str]) -> None:
    """A word counts in any case, also between underscores, but not within another word."""
    assert WORD.findall(line) == words
