"""The demo: real requests, judged by what the servers saw."""

from __future__ import annotations

import io
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import auth_plugins
from auth_plugins._cli import demo
from auth_plugins._cli.demo_output import new_console, print_all, print_story, print_verdict
from auth_plugins._cli.main import main
from auth_plugins.sandbox import AuthApi, QueryApi, System

PACKAGE = Path(auth_plugins.__file__).parent
SYSTEMS = [
    "upload-api", "jwt-api", "auth-api", "organization-api", "json-api", "enterprise-api", "sign-in-api", "nested-api",
    "session-api",
    "query-api",
]  # fmt: skip
UNREACHABLE = "http://127.0.0.1:1"
REVOKED = (
    "early revocation: expected token 2 ({rejects}), then {later} ({issues}), then token 3 (200); saw token 2 (200)"
)


def steps(system: str) -> Iterator[demo.Step]:
    for name, pairs in demo.expected(system).items():
        at = {"token": "api", "nothing": "metadata"}
        seen = [demo.Event(0.0, at.get(text.split()[0], "token"), "GET /", text, status) for text, status in pairs]
        yield demo.Step(name, pairs, seen, [200] * demo.STEPS[name])


def problems(rows: list[demo.Row]) -> dict[str, list[str]]:
    return {row.system: row.problems for row in rows}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seen": []}, "reuse: expected token 1 (200), then token 1 (200); saw nothing"),
        ({"returned": [200, 401]}, "reuse: expected 200 for each of 2 calls; they returned [200, 401]"),
        ({"returned": [200], "error": "OSError: gone"}, "reuse: OSError: gone"),
    ],
)
def test_whatever_is_not_as_expected_fails_the_row(change: dict[str, Any], problem: str) -> None:
    """A row has a problem for each step in which the server or the program saw something else."""
    first, reuse, *others = steps("auth-api")
    assert demo.Row("auth-api", "requests", [first, reuse, *others]).problems == []
    assert demo.Row("auth-api", "requests", [first, replace(reuse, **change), *others]).problems == [problem]


@pytest.mark.parametrize("carried", ["token 1", "Basic", "password in form"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_each_request_counts(system: str, carried: str) -> None:
    """One request that carries something else, or has another answer, is a problem."""
    for index, step in enumerate(steps(system)):
        for position, event in enumerate(step.seen):
            for other in (event._replace(status=500), event._replace(carried=carried)):
                seen = [*step.seen[:position], other, *step.seen[position + 1 :]]
                row = demo.Row(system, "requests", [*steps(system)])
                row.steps[index] = replace(step, seen=seen)
                assert len(row.problems) == (other != event)


def test_a_step_that_fails_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was not revoked is a problem of each row."""
    monkeypatch.setattr(System, "revoke", lambda _: None)
    found = problems(demo.play(demo.load(["requests"]), lifetime=1))
    assert list(found) == SYSTEMS
    for name, [problem] in found.items():
        assert problem == REVOKED.format(**demo.WIRES[name]._asdict()), name


def test_a_token_in_another_place_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that travels elsewhere than the system wants it is shown with its place, and fails the step."""
    options = {name: value for name, value in QueryApi.options.items() if name not in ("query", "refused")}
    monkeypatch.setattr(QueryApi, "options", options)
    step = next(demo.story("query-api", "requests", demo.load(["requests"])["requests"]))
    assert step.problems[0] == "first call: expected form (200), then token 1 (200); saw form (200), then Bearer (403)"


@pytest.fixture
def wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = AuthApi.variables

    def wrong(self: AuthApi, prefix: str) -> dict[str, str]:
        return {**variables(self, prefix), f"{prefix}_PASSWORD": "s3cr3t canary"}

    monkeypatch.setattr(AuthApi, "variables", wrong)


@pytest.mark.usefixtures("wrong_password")
def test_a_row_that_breaks_off_is_one_row() -> None:
    """If one system refuses, its row has the error, without the password; the other rows are complete."""
    rows = demo.play(demo.load(["requests"]), lifetime=1)
    failed = {name: found for name, found in problems(rows).items() if found}
    assert list(failed) == ["auth-api"]
    [problem] = failed["auth-api"]
    assert problem.startswith("first call: TokenRequestError: ")
    assert "canary" not in str(rows)


def test_a_client_that_cannot_be_made_fails_its_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable that httpx does not accept fails the rows of httpx in their first step; the others are complete."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("ALL_PROXY", "socks9://127.0.0.1:1")
    rows = demo.play(demo.load(["requests", "httpx", "httpx async"]), lifetime=2)
    assert [row.client for row in rows if not row.problems] == ["requests"] * len(SYSTEMS)
    assert {row.problems[0].partition(": ")[0] for row in rows if row.problems} == {"first call"}
    assert print_verdict(new_console(), rows[:1], rows, seconds=1.0) == 1
    assert f"\nFAILED: {len(SYSTEMS)} of {3 * len(SYSTEMS)} rows as expected, in " in capsys.readouterr().out


@pytest.mark.usefixtures("wrong_password")
def test_a_demo_that_fails_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 1; the story ends at its error; each problem is below its row's name."""
    assert print_all(new_console(), demo.load(["requests"])) == 1
    out = capsys.readouterr().out
    assert "NO: the program got no answer.\n\nThe same story with keys" in out
    assert re.findall(r"^NO .*", out, re.MULTILINE)[0].split()[:3] == ["NO", "auth-api", "requests"]
    assert "\nauth-api with requests in the story:\n   first call: TokenRequestError: http://" in out
    assert "\nauth-api with requests:\n   first call: TokenRequestError: http://" in out
    assert "\nFAILED: a story is not as expected; 9 of 10 rows are, in " in out
    assert " (4 with a password, 1 refused) and 56 API requests" in out.replace("\n", " ").replace("  ", " ")


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_missing_library_is_missed_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], library: str
) -> None:
    """Without one of the libraries, the demo names the extra to install, and starts nothing."""
    monkeypatch.setenv("NO_PROXY", "")  # the demo sets both; this restores them
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.delitem(sys.modules, f"auth_plugins.{library}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(sys, "argv", ["auth-plugins", "demo"])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err == f"error: auth_plugins.{library} needs {library}: pip install 'auth-plugins[{library}]'\n"


STORY = """\
1. The program calls the API. It has no token yet.
 POST /auth/password password in form 200 issues a token
 GET /things token 1 200
 ok: the program got 200.

2. It calls again, twice.
 GET /things token 1 200 used again
 GET /things token 1 200 used again
 ok: the program got 200 and 200.

3. It waits until token 1 has expired, and calls again.
 POST /auth/refresh refresh token in form 200 issues a token
 GET /things token 2 200
 ok: the program got 200.

4. The server revokes token 2 early. The program calls again.
 GET /things token 2 401 rejected
 POST /auth/refresh refresh token in form 200 issues a token
 GET /things token 3 200 replayed
 ok: the program got 200.
"""
STORY_WITH_KEYS = """\
1. The program calls the API. It has no token yet.
 GET /.well-known... nothing 200 the metadata
 POST /oauth2/token assertion, DPoP 400 asks for a nonce
 POST /oauth2/token assertion, DPoP 200 issues a token
 GET /things token 1 401 asks for a nonce
 GET /things token 1 200 replayed
 ok: the program got 200.

2. It calls again, twice.
 GET /things token 1 200 used again
 GET /things token 1 200 used again
 ok: the program got 200 and 200.

3. It waits until token 1 has expired, and calls again.
 POST /oauth2/token assertion, DPoP 200 issues a token
 GET /things token 2 200
 ok: the program got 200.

4. The server revokes token 2 early. The program calls again.
 GET /things token 2 401 rejected
 POST /oauth2/token assertion, DPoP 200 issues a token
 GET /things token 3 200 replayed
 ok: the program got 200.
"""


def test_the_demo_plays_all_and_fits_80_columns() -> None:
    """With output to a file, a narrow terminal and a dead proxy, it prints two stories and all rows in plain text."""
    dead = {"http_proxy": UNREACHABLE, "https_proxy": UNREACHABLE, "all_proxy": UNREACHABLE}
    environment = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE.parent),
        "PYTHONIOENCODING": "ascii",
        "COLUMNS": "40",
        **dead,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "auth_plugins", "demo"],
        env=environment,
        capture_output=True,
        encoding="ascii",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "\x1b" not in done.stdout
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    times = [float(line.split()[0]) for line in lines if re.match(r" +\d+\.\d{3} ", line)]
    second = times.index(0, 1)  # where the second story begins
    assert [times[:second], times[second:]] == [sorted(times[:second]), sorted(times[second:])]
    assert times[0] == 0
    waits = [index for index, (one, next_one) in enumerate(itertools.pairwise(times)) if next_one - one > 1]
    assert waits == [3, second + 6]  # before the fifth request of the one, and the eighth of the other
    story = [re.sub(r"^ \d\.\d{3}", "", re.sub(" +", " ", line)) for line in lines]
    assert STORY in "\n".join(story)
    assert STORY_WITH_KEYS in "\n".join(story)
    rows = [line for line in lines if re.match("(ok|NO) ", line)]
    assert len(rows) == 50
    assert "ok enterprise-api   httpx async  assertion, DPoP    assertion, DPoP      5   2" in rows
    assert "ok auth-api         httpx2 async password in form   refresh token        5   1" in rows
    assert "ok sign-in-api      httpx2 async code in form       refresh token        5   1" in rows
    assert "ok session-api      httpx2 async password in form   password in form     5   2" in rows
    assert "ok query-api        httpx2 async form               form                 5   1" in rows
    assert re.fullmatch(r"PASSED: 50 of 50 rows as expected, in \d+\.\d s\.", lines[-4])
    assert lines[-3:] == [
        "The servers saw 155 token requests (20 with a password, 0 refused) and 310 API",
        "requests (55 of them with a token that was rejected). They asked 10 times for a",
        "nonce. The programs made 250 calls; 250 returned 200.",
    ]


def test_a_story_that_is_not_as_expected_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """A request that the server refused is shown so. A story that differs fails the demo."""
    good = [demo.Row(name, "requests", [*steps(name)]) for name in SYSTEMS]
    first, *others = steps("auth-api")
    refused = demo.Event(0.5, "token", "POST /auth/password", "password in form", 400)
    story = print_story(new_console(), "auth-api", iter([replace(first, seen=[refused, *first.seen]), *others]))
    assert print_verdict(new_console(), [story], good, seconds=1.0) == 1
    out = capsys.readouterr().out
    assert " 400  refused\n" in out
    assert "   NO: the program got 200.\n" in out
    assert "FAILED: a story is not as expected; 10 of 10 rows are, in 1.0 s.\n" in out
    assert print_verdict(new_console(), good[2:3], good, seconds=1.0) == 0


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),  # an empty one counts as unset (no-color.org)
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_that_have_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_coloured: bool
) -> None:
    """A terminal gets colour, unless ``NO_COLOR`` or its kind forbids it: then there is no escape sequence at all."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    print_story(new_console(), "auth-api", steps("auth-api"))
    printed = terminal.getvalue()
    assert ("\x1b[31m401" in printed, "\x1b" in printed) == (is_coloured, is_coloured)
