"""What a process pays for an import, and for many tenants.

An import is timed within a child process, once its HTTP library is there, against the time that this took in the same
child. Compiled files are there: each child is run once before it counts.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping

import measure
from measure import BUILT, OURS, RATIO, STATIC, Row, Site

#: What each brings along, by the HTTP library that is there.
_MODULES: Mapping[str, Mapping[str, str]] = {
    "requests": {
        OURS: "auth_plugins.requests",
        "Authlib": "authlib.integrations.requests_client",
        "requests-auth": "requests_auth",
        "requests-oauthlib": "requests_oauthlib",
    },
    "httpx": {OURS: "auth_plugins.httpx", "httpx-auth": "httpx_auth"},
    "httpx2": {OURS: "auth_plugins.httpx2", "Authlib": "authlib.integrations.httpx_client"},
}
_IMPORTS = """
import time
start = time.perf_counter()
import {library}
between = time.perf_counter()
import {module}
print(100 * (time.perf_counter() - between) / (between - start))
"""


def imports(site: Site) -> Iterator[Row]:
    """What an import takes, in per cent of the HTTP library's own."""
    for library, limit in [("requests", 8.0), ("httpx", 5.0), ("httpx2", 5.0)][: site.some(3, 1)]:

        def share(module: str, library: str = library) -> float:
            code = _IMPORTS.format(library=library, module=module)
            with measure.stopped(site.start(sys.executable, "-c", code)) as process:
                return float(measure.finish(process))

        modules = _MODULES[library]
        subjects = {name: functools.partial(share, modules[name]) for name in site.installed(modules)}
        measure.in_turn(subjects, site.some(1, 0))  # compiles what it loads
        results = measure.in_turn(subjects, site.some(21, 1))
        yield measure.median_row(f"import on top of {library}", results, "%", limit)


def tenants(site: Site) -> Iterator[Row]:
    """Many grants, each with its token: the memory of each, and a call for one of them, picked at random."""
    few, many, calls = 100, site.some(100_000, 200), site.some(20_000, 500)
    measured: dict[int, dict[str, tuple[float, float]]] = {}
    for number in (few, many):
        names = site.installed([OURS, BUILT, STATIC, "httpx-auth"][: site.some(4)])
        measured[number] = {name: site.output_of("tenants", name, number, calls) for name in names}
    for number in (10, 1000, 10_000)[: site.some(3, 0)]:
        measured[number] = {OURS: site.output_of("tenants", OURS, number, 100)}
    for number, each in sorted(measured.items()):
        peers = {name: size / 1000 for name, (size, _) in each.items() if name not in measure.NO_PEERS}
        yield Row(f"memory of each of {number:,} tenants", each[OURS][0] / 1000, "kB", 2.3, peers=peers)
    ratios = {name: [seconds / measured[few][name][1]] for name, (_, seconds) in measured[many].items()}
    what = f"{many:,} tenants, to {few}"
    yield measure.median_row(f"a call: {what}", ratios, RATIO, 1.6)
    yield measure.median_row(f"a call, auth and grant built for it: {what}", ratios, RATIO, 1.6, subject=BUILT)
    shown = (
        f"{name} {1e6 * seconds:.2f}, to {1e6 * measured[few][name][1]:.2f}"
        for name, (_, seconds) in measured[many].items()
    )
    site.notes.append(f"A call in µs, {what}: {'; '.join(shown)}.")
