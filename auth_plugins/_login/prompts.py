"""How a person is asked to sign in: by the user's own function, or by the browser and a line on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any

from auth_plugins._base.errors import AuthError, ConfigurationError, LoginRequiredError
from auth_plugins._base.runtime import runtime

#: Is called with the URL to open, and with the code to enter there, if there is one.
Prompt = Callable[..., Any]

#: Seconds for which a thread waits at most before it looks again: on Windows Ctrl-C does not end a wait.
_LONGEST_WAIT = 0.5
#: Where a program without a window system is unusual.
_WITH_WINDOWS = ("darwin", "win32", "cygwin")


def open_browser(url: str, user_code: str | None = None, complete_url: str | None = None) -> None:
    """Open the browser, and print what to open, and what to enter there, on stderr: the default *prompt*.

    :param user_code: the code to enter; ``None``: there is none.
    :param complete_url: a URL that holds the code; ``None``: there is none.
    """
    code = "" if user_code is None else f"and enter the code {user_code}\n\n"
    if sys.stderr is not None:
        sys.stderr.write(f"To sign in, open this page in a browser:\n\n    {url}\n\n{code}")
        sys.stderr.flush()
    import webbrowser

    with contextlib.suppress(webbrowser.Error):  # there is none
        browser = webbrowser.get()
        # Without a display it would be one like w3m, which takes over the terminal.
        if has_display() or type(browser) is not webbrowser.GenericBrowser:
            _open(browser, complete_url or url)


def _open(browser: Any, url: str) -> None:
    """Open *browser* without the streams of this program: a shell waits for all that have its stdout."""
    import webbrowser

    if type(browser) is webbrowser.BackgroundBrowser:  # xdg-open, for one; other kinds do the same by themselves
        import subprocess

        null, words = subprocess.DEVNULL, [browser.name, *(word.replace("%s", url) for word in browser.args)]
        with contextlib.suppress(OSError):
            subprocess.run(words, stdin=null, stdout=null, stderr=null, start_new_session=True, check=False)  # noqa: S603
            return
    webbrowser.open(url)


def open_browser_anywhere(url: str, user_code: str | None = None, complete_url: str | None = None) -> None:
    """Do the same without a terminal and a display too: for a command that a person runs to sign in."""
    open_browser(url, user_code, complete_url)


def has_display() -> bool:
    """Return whether a browser can be opened."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in _WITH_WINDOWS or any(os.environ.get(name) for name in names)


def can_ask(prompt: Prompt | None) -> bool:
    """Return whether anyone can be asked by *prompt*: by default there must be a terminal or a display."""
    if prompt is not open_browser:
        return prompt is not None
    try:
        return has_display() or (sys.stderr is not None and sys.stderr.isatty())
    except ValueError:  # it is closed
        return False


def check_prompt(argument: str, prompt: object) -> Any:
    """Return a prompt; ``None``: no one is asked."""
    if prompt is None or prompt is open_browser:
        return prompt
    if not callable(prompt):
        problem = f"must be a callable that is given a URL, or None, got {type(prompt).__name__}"
        raise ConfigurationError(problem, argument=argument)
    import inspect

    if inspect.iscoroutinefunction(prompt) or inspect.iscoroutinefunction(type(prompt).__call__):
        problem, advice = "must not be async: it is called in a thread", "give a function that calls it in your loop"
        raise ConfigurationError(problem, argument=argument, advice=advice)
    return prompt


def ask(prompt: Prompt, arguments: tuple[str | None, ...], answer: Future[Any]) -> None:
    """Call *prompt* in a thread of its own, as it may block; if it fails, *answer* gets the error.

    :param arguments: the URL, the code to enter, and a URL that holds the code.
    """

    def call() -> None:
        failure: AuthError | None = None
        try:
            _call(prompt, arguments)
        except AuthError as error:
            failure = error
        except BaseException as error:  # also SystemExit, of which no one else would hear
            failure = LoginRequiredError(
                f"no one was asked to sign in, as prompt raised {type(error).__name__}",
                advice="call it by hand to see why",
            )
            failure.__cause__ = error if isinstance(error, Exception) else None
        if failure is not None:
            with contextlib.suppress(InvalidStateError):
                answer.set_exception(failure)

    try:
        runtime.start_thread(call, "auth-plugins sign-in")
    except RuntimeError as error:  # the interpreter exits, or has too many threads
        problem = f"no one was asked to sign in, as no thread could be started: {error}"
        raise LoginRequiredError(problem) from None


def _call(prompt: Prompt, arguments: tuple[str | None, ...]) -> None:
    url, code, complete = arguments
    if prompt in (open_browser, open_browser_anywhere):
        prompt(url, code, complete)
    elif code is None:
        prompt(str(url))  # whose repr shows it
    elif _takes_two(prompt):
        prompt(url, code)
    else:
        prompt(complete or url)


def _takes_two(prompt: Prompt) -> bool:
    """Return whether *prompt* can be called with a URL and a code."""
    import inspect

    try:
        inspect.signature(prompt).bind("", "")
    except (TypeError, ValueError):  # the latter: it has no signature, as some functions of C
        return False
    return True


def wait_for(answer: Future[Any], seconds: float) -> bool:
    """Wait for *answer*, for at most so many seconds; return whether it is there, and raise the error in it."""
    until = runtime.clock.monotonic() + seconds
    while not answer.done():
        left = until - runtime.clock.monotonic()
        if left <= 0:
            return False
        runtime.wait(answer, min(left, _LONGEST_WAIT))
    answer.result()
    return True


def application_name() -> str:
    """Return the name of this program, as the person who started it knows it."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.stem == "__main__" else path.stem  # the former by python -m
    shown = "".join(char for char in name.replace("_", "-") if char.isprintable()).strip("-")
    return {"": "Python", "c": "Python", "ipykernel-launcher": "Jupyter", "colab-kernel-launcher": "Jupyter"}.get(
        shown, shown
    )
