"""Whole processes, measured from outside: scripts that send one request, and commands at the prompt.

A script that has no token yet is compared with one that posts the form, puts the header on, and gets, by the same
library; a script that finds its token in a file, with one that has it pasted in. Processor time is that of the whole
process, from its start to its end: on few processors, time on the clock says more about what else runs. Compiled files
and cached tokens are there: each process is run once before it counts.
"""

from __future__ import annotations

import functools
import statistics
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import measure
from measure import BY_HAND, OURS, PASTED, Results, Row, Site, Spent

_BY_HAND = """
import {library} as library
form = {{"grant_type": "client_credentials"}}
token = library.post("{token_url}", data=form, auth=("id", "secret")).json()["access_token"]
print(library.get("{api}", headers={{"Authorization": "Bearer " + token}}).status_code, flush=True)
"""
_OURS = """
import {library} as library
from auth_plugins import ClientCredentials
from auth_plugins.{library} import OAuth2Auth
auth = OAuth2Auth(ClientCredentials(token_url="{token_url}", client_id="id", client_secret="secret"))
print(library.get("{api}", auth=auth).status_code, flush=True)
"""
_AUTHLIB = """
from authlib.integrations.requests_client import OAuth2Session
session = OAuth2Session("id", "secret")
session.fetch_token("{token_url}", grant_type="client_credentials")
print(session.get("{api}").status_code, flush=True)
"""
_PEER = """
import {library} as library
from {library}_auth import OAuth2ClientCredentials
print(library.get("{api}", auth=OAuth2ClientCredentials("{token_url}", "id", "secret")).status_code, flush=True)
"""
_FIRST: Mapping[str, Mapping[str, str]] = {
    "requests": {BY_HAND: _BY_HAND, OURS: _OURS, "Authlib": _AUTHLIB, "requests-auth": _PEER},
    "httpx": {BY_HAND: _BY_HAND, OURS: _OURS, "httpx-auth": _PEER},
    "httpx2": {BY_HAND: _BY_HAND, OURS: _OURS},
}
_PASTED = """
import {library} as library
print(library.get("{api}", headers={{"Authorization": "Bearer 0123456789abcdef"}}).status_code, flush=True)
"""
_OURS_CACHED = """
import {library} as library
from auth_plugins import ClientCredentials, FileCache
from auth_plugins.{library} import OAuth2Auth
grant = ClientCredentials(token_url="{token_url}", client_id="id", client_secret="secret")
print(library.get("{api}", auth=OAuth2Auth(grant, cache=FileCache("{store}"))).status_code, flush=True)
"""
_PEER_CACHED = """
import {library} as library
from {library}_auth import JsonTokenFileCache, OAuth2, OAuth2ClientCredentials
OAuth2.token_cache = JsonTokenFileCache("{store}")
print(library.get("{api}", auth=OAuth2ClientCredentials("{token_url}", "id", "secret")).status_code, flush=True)
"""
#: Its own calls are answered within the process, as it refuses a server without TLS: that of a token by hand.
_MSAL_CACHED = """
import os
from types import SimpleNamespace
import msal, requests
def answer(url, **_):
    text = '{{"access_token": "0123456789abcdef", "expires_in": 3600, "token_endpoint": "https://e.com/t", \
"authorization_endpoint": ""}}'
    if "/.well-known/" not in url:
        requests.post("{token_url}")
    return SimpleNamespace(status_code=200, text=text, headers={{}}, raise_for_status=lambda: None)
cache = msal.SerializableTokenCache()
if os.path.exists("{store}"):
    cache.deserialize(open("{store}").read())
client = msal.ConfidentialClientApplication(
    "id", "secret", "https://login.microsoftonline.com/tenant", instance_discovery=False, token_cache=cache,
    http_client=SimpleNamespace(get=answer, post=answer, close=lambda: None),
)
token = client.acquire_token_for_client(["https://api.example.com/.default"])["access_token"]
if cache.has_state_changed:
    open("{store}", "w").write(cache.serialize())
print(requests.get("{api}", headers={{"Authorization": "Bearer " + token}}).status_code, flush=True)
"""
#: Only Linux knows the peak of the program itself: others count what the process was before it, a copy of this one.
_PEAK = """
import os
if os.path.exists("/proc/self/status"):
    print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")])
"""
_CACHED: Mapping[str, Mapping[str, str]] = {
    "requests": {PASTED: _PASTED, OURS: _OURS_CACHED, "requests-auth": _PEER_CACHED, "msal": _MSAL_CACHED},
    "httpx": {PASTED: _PASTED, OURS: _OURS_CACHED, "httpx-auth": _PEER_CACHED},
}


def first(site: Site) -> Iterator[Row]:
    """From the start of a process without a token to its first answer, and to its end."""
    for library, scripts in [*_FIRST.items()][: site.some(3, 1)]:

        def spent(script: str, library: str = library) -> Spent:
            return _run(site, script, library, site.token_url())

        subjects = {name: functools.partial(spent, scripts[name]) for name in site.installed(scripts)}
        measure.in_turn(subjects, site.some(1, 0))  # compiles what it loads
        results, what = measure.in_turn(subjects, site.some(11, 1)), f"first answer of a process, {library}"
        yield measure.ratio_row(what, _of(results, "seconds"), 1.1, base=BY_HAND)
        yield measure.ratio_row(f"{what}: processor time", _of(results, "processor"), 1.1, base=BY_HAND)


def cached(site: Site) -> Iterator[Row]:
    """The processor time of a process that finds its token in a file, and sends one request."""
    for library, scripts in [*_CACHED.items()][: site.some(2, 1)]:
        urls = {name: site.token_url() for name in site.installed(scripts)}
        subjects: dict[str, Callable[[], Spent]] = {
            name: functools.partial(_run, site, scripts[name], library, url, str(site.directory / f"{name}-{library}"))
            for name, url in urls.items()
        }
        measure.in_turn(subjects, 1)  # compiles what it loads, and gets the token
        results = measure.in_turn(subjects, site.some(21, 1))
        if counts := {name: site.count(url) for name, url in urls.items() if site.count(url) != (name != PASTED)}:
            raise RuntimeError(f"token requests where one had to do: {counts}")
        what = f"first answer, token in FileCache, {library}"
        yield measure.ratio_row(f"{what}: processor time", _of(results, "processor"), 1.15, base=PASTED)
        peaks = {name: [int(spent.rest) / 1024 for spent in each if spent.rest] for name, each in results.items()}
        shown = (f"{statistics.median(each):.1f} MiB ({name})" for name, each in peaks.items() if each)
        site.notes += [f"{what}, memory at most: {each}." for each in [", ".join(shown)] if each]


def prompt(site: Site) -> Iterator[Row]:
    """The processor time of commands, compared with that of an import that they cannot do without."""
    program, rounds = Path(sysconfig.get_path("scripts"), "auth-plugins"), site.some(21, 1)
    url, store = site.token_url(), site.directory / "prompt"
    variables = {"TOKEN_URL": url, "CLIENT_ID": "id", "CLIENT_SECRET": "secret", "CACHE": f"file:{store}"}
    named = {f"BENCH_{name}": value for name, value in variables.items()}
    for what, command, printed, module in (
        ("auth-plugins token, token in FileCache, to import requests", ["token", "BENCH"], "until-", "requests"),
        ("auth-plugins --help, to import click", ["--help"], "Usage: ", "click"),
    ):
        subjects: dict[str, Callable[[], Spent]] = {
            BY_HAND: functools.partial(site.spent, sys.executable, "-c", f"import {module}"),
            OURS: functools.partial(site.spent, program, *command, prints=printed, **named),
        }
        measure.in_turn(subjects, 1)  # compiles what it loads, and gets the token
        results = measure.in_turn(subjects, rounds)
        yield measure.ratio_row(f"{what}: processor time", _of(results, "processor"), 1.5, base=BY_HAND)
    if site.count(url) != 1:
        raise RuntimeError(f"{site.count(url)} token requests where one had to do")


def _run(site: Site, script: str, library: str, token_url: str, store: str = "") -> Spent:
    code = script.format(library=library, token_url=token_url, api=f"{site.url}/api", store=store)
    return site.spent(sys.executable, "-c", code + _PEAK, prints="200")


def _of(results: Mapping[str, list[Spent]], what: str) -> Results:
    return {name: [getattr(spent, what) for spent in each] for name, each in results.items()}
