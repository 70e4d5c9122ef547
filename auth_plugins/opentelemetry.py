"""Spans and metrics of token requests, for OpenTelemetry: call :func:`instrument` once, where your program starts."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

try:
    from opentelemetry import metrics, trace
except ImportError as error:
    raise ImportError("auth_plugins.opentelemetry needs opentelemetry-api: pip install 'auth-plugins[otel]'") from error

from auth_plugins._base.errors import TokenRequestError
from auth_plugins._base.observers import API, LEADER, SHARED_CACHE, TokenEvent, add_observer, ended_ago, remove_observer
from auth_plugins._base.runtime import runtime

__all__ = ["instrument", "uninstrument"]

#: The boundaries of histograms, in seconds, as the semantic conventions give them for requests of HTTP clients.
_BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
#: How many kinds of tokens have an age: the latest.
_MOST_AGES = 1000
#: The one that was made, if it was.
_made: list[_Instrumentation] = []
_lock = threading.Lock()


def instrument() -> None:
    """Give each token request a span, and count requests, refusals, waits and the age of tokens, from now on.

    The global tracer provider and meter provider are used, also if they are set later. A second call does nothing. No
    span, attribute or metric holds a secret or a token.

    - Span ``token request`` (client), within the span of the request that needs the token: ``url.full`` without the
      query, ``server.address``, ``server.port``, ``auth_plugins.grant``, ``auth_plugins.source``; after a failure
      ``error.type`` and ``http.response.status_code``.
    - ``auth_plugins.token.request.duration``: histogram, in seconds.
    - ``auth_plugins.token.refusals``: counter; ``auth_plugins.source`` is ``"api"`` if an API refused a token.
    - ``auth_plugins.token.wait.duration``: histogram, in seconds, of waits for another thread's token request.
    - ``auth_plugins.token.age``: gauge, seconds since the latest token was issued.

    The metrics have the attributes of the span, without ``url.full`` and the status.
    """
    with _lock:
        if not _made:
            _made.append(_Instrumentation())
        add_observer(_made[0])


def uninstrument() -> None:
    """Make no more spans, and record nothing any more. Does nothing if :func:`instrument` was not called."""
    with _lock:
        for each in _made:
            remove_observer(each)
            each.forget()


class _Instrumentation:
    """The observer that makes spans and metrics of events."""

    def __init__(self) -> None:
        name = "auth_plugins"
        self._tracer, meter = trace.get_tracer(name), metrics.get_meter(name)
        advisory = "explicit_bucket_boundaries_advisory"  # older versions of OpenTelemetry do not know it
        has_advisory = advisory in inspect.signature(meter.create_histogram).parameters
        boundaries: dict[str, Any] = {advisory: _BOUNDARIES} if has_advisory else {}
        self._requests = meter.create_histogram(
            "auth_plugins.token.request.duration", "s", "Duration of token requests, retries included.", **boundaries
        )
        self._refusals = meter.create_counter(
            "auth_plugins.token.refusals", "{refusal}", "Refused token requests, and tokens that an API refused."
        )
        self._waits = meter.create_histogram(
            "auth_plugins.token.wait.duration",
            "s",
            "Duration of waits for the token request of another thread.",
            **boundaries,
        )
        meter.create_observable_gauge(
            "auth_plugins.token.age", [self._ages], "s", "Time since the latest token was issued."
        )
        self._lock = threading.Lock()
        #: By the attributes of a token, when the latest one was issued, in Unix seconds.
        self._issued: dict[tuple[tuple[str, Any], ...], float] = {}

    def __call__(self, event: TokenEvent) -> None:
        place: dict[str, Any] = {"auth_plugins.grant": event.grant, **_server(event.token_url)}
        attributes = {**place, "auth_plugins.source": event.source}
        failure = {} if event.error is None else {"error.type": _error_type(event.error)}
        if event.source == LEADER:
            self._waits.record(event.seconds, place)
            return
        if event.kind == "refused":
            self._refusals.add(1, {**attributes, **failure})
        if event.source not in (API, SHARED_CACHE):
            self._requests.record(event.seconds, {**attributes, **failure})
            self._add_span(event, {**attributes, **failure})
        if event.kind == "obtained":
            age = event.seconds if event.source == SHARED_CACHE else 0.0
            with self._lock:
                self._issued.pop(key := tuple(place.items()), None)
                self._issued[key] = runtime.clock.time() - age
                while len(self._issued) > _MOST_AGES:
                    del self._issued[next(iter(self._issued))]

    def _add_span(self, event: TokenEvent, attributes: dict[str, Any]) -> None:
        """Add the span of a token request that has just ended."""
        if "://" in event.token_url:
            attributes["url.full"] = event.token_url
        error, end = event.error, time.time_ns() - int(ended_ago() * 1e9)
        span = self._tracer.start_span(
            "token request",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            start_time=end - int(event.seconds * 1e9),
        )
        if error is not None:
            if isinstance(error, TokenRequestError) and error.status_code is not None:
                span.set_attribute("http.response.status_code", error.status_code)
            span.set_status(trace.StatusCode.ERROR, error.problem)
        span.end(end)

    def _ages(self, _: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        with self._lock:
            issued = list(self._issued.items())
        now = runtime.clock.time()
        return [metrics.Observation(max(0.0, now - moment), dict(key)) for key, moment in issued]

    def forget(self) -> None:
        """Report no age any more."""
        with self._lock:
            self._issued.clear()


def _server(url: str) -> dict[str, Any]:
    """Return the attributes of the token endpoint; empty: the grant has none."""
    parts = urlsplit(url) if "://" in url else None
    if parts is None or parts.hostname is None:
        return {}
    return {"server.address": parts.hostname, "server.port": parts.port or (80 if parts.scheme == "http" else 443)}


def _error_type(error: Exception) -> str:
    """Return a code that the server answered, a status, or the class of *error*: few different ones."""
    if isinstance(error, TokenRequestError):
        if error.error and len(error.error) <= 50:  # an answer of any length may be an error of some servers
            return error.error
        if error.status_code:
            return str(error.status_code)
    return type(error).__name__
