"""Spans and metrics arrive in the exporters of OpenTelemetry, with the documented names, and hold no secret."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from auth_plugins import ClientCredentials, Custom, TokenEvent, TokenRequestError, TokenSource, TokenTransportError
from tests.support.drivers import ALL, Driver, each
from tests.support.loopback import Clock, Loopback
from tests.support.sources import URL, Endpoint, refusal, source
from tests.support.stores import OwnCache, forget

pytest.importorskip("opentelemetry.sdk")
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from auth_plugins.opentelemetry import instrument, uninstrument

SECRET = "s3cr3t-of-the-client"
GRANT = ClientCredentials(f"{URL}?key={SECRET}", "client", SECRET)
PLACE = {"auth_plugins.grant": "ClientCredentials", "server.address": "id.example.com", "server.port": 443}
BY_GRANT = {**PLACE, "auth_plugins.source": "grant"}
#: Old versions of OpenTelemetry take none.
HAS_BOUNDARIES = "explicit_bucket_boundaries_advisory" in inspect.signature(metrics.Meter.create_histogram).parameters
EXPORTER, READER = InMemorySpanExporter(), InMemoryMetricReader()


class Telemetry:
    """What the exporters have."""

    def spans(self) -> list[Any]:
        return list(EXPORTER.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        """The data points of a metric; all that are exported hold no secret."""
        data = READER.get_metrics_data()
        assert SECRET not in (data.to_json() if data else "")
        found = [
            metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == f"auth_plugins.token.{name}"
        ]
        return [point for metric in found for point in metric.data.data_points]


@pytest.fixture(scope="module")
def providers() -> None:
    """The global providers, which a process sets once; instruments that exist already use them too."""
    instrument()
    uninstrument()
    tracing, metering = TracerProvider(), MeterProvider([READER], shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(metering)


@pytest.fixture
def telemetry(providers: None) -> Iterator[Telemetry]:
    EXPORTER.clear()
    instrument()
    instrument()
    yield Telemetry()
    uninstrument()
    for span in EXPORTER.get_finished_spans():
        assert SECRET not in span.to_json()


def counts(points: list[Any], attributes: dict[str, Any]) -> list[Any]:
    return [point for point in points if dict(point.attributes) == attributes]


def test_a_token_request_has_a_span_and_metrics(telemetry: Telemetry, endpoint: Endpoint, clock: Clock) -> None:
    """A token that is fetched: one span with its duration, one data point, and the age of the token."""

    def slowly() -> Any:
        clock.forward(0.5)
        return endpoint.issue

    before = sum(point.count for point in counts(telemetry.points("request.duration"), BY_GRANT))
    endpoint.script = [slowly]
    tokens = source(endpoint, GRANT)
    tokens.token()
    tokens.token()
    clock.forward(20)
    [span] = telemetry.spans()
    assert (span.name, span.kind, span.status.is_ok) == ("token request", trace.SpanKind.CLIENT, True)
    assert dict(span.attributes) == {**BY_GRANT, "url.full": URL}
    assert span.end_time - span.start_time == 500_000_000
    [point] = counts(telemetry.points("request.duration"), BY_GRANT)
    assert (point.count - before, point.max) == (1, 0.5)
    assert len([each for each in point.explicit_bounds if each < 1]) > 5 or not HAS_BOUNDARIES
    assert [each.value for each in counts(telemetry.points("age"), PLACE)] == [20.0]
    uninstrument()
    assert telemetry.points("age") == []


def test_spans_of_one_attempt_follow_one_another(telemetry: Telemetry, endpoint: Endpoint, clock: Clock) -> None:
    """A refresh token that is refused, and the token request after it: the first span ends where the second begins."""

    def slowly() -> Any:
        clock.forward(30)
        return endpoint.issue

    endpoint.refresh_tokens = True
    endpoint.script = [endpoint.issue, refusal("invalid_grant", 400), slowly]
    tokens = source(endpoint, GRANT)
    tokens.token()
    clock.forward(3600)
    tokens.token()
    refused, obtained = telemetry.spans()[1:]
    assert abs(obtained.start_time - refused.end_time) < 5e9


@pytest.mark.parametrize(
    ("step", "kind", "status"),
    [
        (refusal(), "invalid_client", 401),
        (({"message": "no"}, 403), "403", 403),
        (({"error": "no " * 40}, 400), "400", 400),
        (TokenTransportError("no answer"), "TokenTransportError", None),
    ],
)
def test_a_failure_is_an_error_of_the_span(
    step: Any, kind: str, status: int | None, telemetry: Telemetry, endpoint: Endpoint
) -> None:
    """The span says what the token endpoint answered; refusals are counted."""
    endpoint.script = [step] * 3
    attributes = {**BY_GRANT, "error.type": kind}
    before = sum(point.value for point in counts(telemetry.points("refusals"), attributes))
    with pytest.raises((TokenRequestError, TokenTransportError)):
        source(endpoint, GRANT).token()
    [span] = telemetry.spans()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes["error.type"] == kind
    assert span.attributes.get("http.response.status_code") == status
    refusals = sum(point.value for point in counts(telemetry.points("refusals"), attributes))
    assert refusals - before == (status is not None)
    assert counts(telemetry.points("request.duration"), attributes)


@pytest.mark.parametrize("driver", each(ALL))
def test_the_span_belongs_to_the_request(driver: Driver, telemetry: Telemetry, server: Loopback) -> None:
    """The span of a token request is within that of the request that needs it; a refusal by an API is counted."""
    auth = driver.auth(ClientCredentials(server.token_url, "client", SECRET))
    with trace.get_tracer("test").start_as_current_span("outer") as outer:
        server.refuse_once()
        get = _in_this_thread(driver) if driver.mode == "sync" else driver.get
        assert get(server.api_url, auth).status == 200
    spans = [span for span in telemetry.spans() if span.name == "token request"]
    assert [span.parent.span_id for span in spans] == [outer.get_span_context().span_id] * 2
    by_api = [point for point in telemetry.points("refusals") if point.attributes["auth_plugins.source"] == "api"]
    assert any(point.attributes["server.port"] == int(server.url.rpartition(":")[2]) for point in by_api)


def _in_this_thread(driver: Any) -> Any:
    """Drivers call in threads of their own, which have no span."""
    from tests.support.drivers import Call, _answer

    return lambda url, auth: _answer(driver._send(Call("GET", url), auth))


def test_waits_shared_tokens_and_other_grants(telemetry: Telemetry, endpoint: Endpoint, clock: Clock) -> None:
    """Waits have their own metric; a shared token has an age and no span; a grant without a URL has a span."""
    observe = _observer()
    before = sum(point.count for point in counts(telemetry.points("wait.duration"), PLACE))
    observe(TokenEvent("waited", "ClientCredentials", URL, 2.0, None, "leader"))
    [point] = counts(telemetry.points("wait.duration"), PLACE)
    assert point.count - before == 1
    cache = OwnCache()
    source(endpoint, GRANT, cache=cache).token()
    forget()
    clock.forward(60)
    source(endpoint, GRANT, cache=cache).token()
    assert len(telemetry.spans()) == 1
    assert [each.value for each in counts(telemetry.points("age"), PLACE)] == [60.0]
    assert TokenSource(Custom(lambda: "abc")).token()
    assert dict(telemetry.spans()[-1].attributes) == {"auth_plugins.grant": "Custom", "auth_plugins.source": "grant"}
    with pytest.raises(TokenRequestError):
        TokenSource(Custom(dict)).token()
    assert telemetry.spans()[-1].attributes["error.type"] == "TokenRequestError"


def test_ages_are_bounded(telemetry: Telemetry) -> None:
    """Only the latest thousand endpoints have an age."""
    observe = _observer()
    for number in range(1001):
        url = f"http://{number}.example.com/token"
        observe(TokenEvent("obtained", "ClientCredentials", url, 0.1, None, "grant"))
    ages = telemetry.points("age")
    assert len(ages) == 1000
    assert ages[0].attributes["server.address"] == "1.example.com"


def _observer() -> Any:
    from auth_plugins._base.observers import _observers

    return _observers[-1]


def test_without_opentelemetry_the_extra_is_named() -> None:
    """The error says what to install."""
    code = (
        "import sys, json; sys.modules['opentelemetry'] = None\n"
        "try: import auth_plugins.opentelemetry\nexcept ImportError as error: print(json.dumps(str(error)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'auth-plugins[otel]'" in json.loads(done.stdout)
