"""Which requests are traced, and where their spans go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.arguments import is_url
from core.config.server_settings import TracingSettings
from core.telemetry.trace_context import TraceContext
from core.telemetry.tracing_plan import otel_variables, request_context, tracing_plan

URL = "http://collector:4318"
PARENT = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", state="a=1")


def plan(endpoint: str = "", rate: float = -1.0, **variables: str):
    return tracing_plan(TracingSettings(endpoint, rate, tuple(variables.items())))


@pytest.mark.parametrize(
    ("endpoint", "variables", "url"),
    [
        (URL, {}, f"{URL}/v1/traces"),
        (f"{URL}/", {}, f"{URL}/v1/traces"),
        (f"{URL}/v1/traces", {}, f"{URL}/v1/traces"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": URL}, f"{URL}/v1/traces"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": f" {URL}/ "}, f"{URL}/v1/traces"),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{URL}/own"}, f"{URL}/own"),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "", "OTEL_EXPORTER_OTLP_ENDPOINT": URL}, f"{URL}/v1/traces"),
        (URL, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other"}, f"{URL}/v1/traces"),
        (URL, {"OTEL_TRACES_EXPORTER": "none"}, f"{URL}/v1/traces"),
        ("", {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": URL}, f"{URL}/v1/traces"),
    ],
)
def test_spans_go_where_flag_or_variable_says(endpoint: str, variables: dict[str, str], url: str) -> None:
    """The flag counts first, and the variable for traces before the one for everything."""
    found = plan(endpoint, **variables)

    assert found is not None
    assert found.url == url


@pytest.mark.parametrize(
    ("endpoint", "variables"),
    [
        ("", {}),
        ("", {"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}),
        ("", {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": URL}),
        ("", {"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_ENDPOINT": URL}),
        ("", {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": URL}),
        (URL, {"OTEL_SDK_DISABLED": "TRUE"}),
    ],
)
def test_nothing_is_traced_unless_it_is_asked_for(endpoint: str, variables: dict[str, str]) -> None:
    """Without a collector there is nothing to trace for."""
    assert plan(endpoint, **variables) is None


@pytest.mark.parametrize(
    ("rate", "variables", "expected", "warned"),
    [
        (-1.0, {}, 1.0, False),
        (0.25, {"OTEL_TRACES_SAMPLER": "always_off"}, 0.25, False),
        (0.0, {}, 0.0, False),
        (-1.0, {"OTEL_TRACES_SAMPLER": "always_on"}, 1.0, False),
        (-1.0, {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0, False),
        (-1.0, {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, 0.5, False),
        (-1.0, {"OTEL_TRACES_SAMPLER": "Parentbased_TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "0"}, 0.0, False),
        (-1.0, {"OTEL_TRACES_SAMPLER": "traceidratio"}, 1.0, False),
        (-1.0, {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"}, 1.0, True),
        (-1.0, {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.5"}, 1.0, True),
        (-1.0, {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"}, 1.0, True),
        (-1.0, {"OTEL_TRACES_SAMPLER": "jaeger_remote"}, 1.0, True),
    ],
)
def test_the_share_comes_from_flag_or_sampler(rate: float, variables: dict[str, str], expected: float, warned) -> None:
    """The flag counts first; a sampler that is not known is said to be."""
    found = plan(URL, rate, **variables)

    assert found is not None
    assert found.sampling_rate == expected
    assert bool(found.warnings) is warned


@pytest.mark.parametrize(
    ("variables", "warned"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, True),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, False),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, False),
    ],
)
def test_another_protocol_is_warned_of(variables: dict[str, str], *, warned: bool) -> None:
    """There is one way to send spans."""
    found = plan(URL, **variables)

    assert found is not None
    assert bool(found.warnings) is warned


@pytest.mark.parametrize(
    ("text", "is_one"),
    [(URL, True), ("https://c/v1/traces", True), ("collector:4318", False), ("grpc://c", False), ("http://", False), ("http:///x", False)],
)  # fmt: skip
def test_only_http_urls_can_be_sent_to(text: str, *, is_one: bool) -> None:
    """A bare host, as other tools want it, is a mistake."""
    assert is_url(text) is is_one


def test_only_opentelemetrys_variables_are_taken_along() -> None:
    """Whatever else is in the environment stays there."""
    assert otel_variables({"PATH": "x", "OTEL_B": "2", "OTEL_A": "1", "MY_OTEL": "3"}) == (
        ("OTEL_A", "1"),
        ("OTEL_B", "2"),
    )


def test_the_variables_do_not_show() -> None:
    """They may hold the collector's password."""
    settings = TracingSettings(URL, 1.0, (("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cr3t"),))

    assert "s3cr3t" not in repr(settings)


def fixed(*numbers: int):
    left = list(numbers)
    return lambda bits: left.pop(0)


@given(st.floats(0, 1))
def test_a_sampled_parent_is_followed_at_any_rate(rate: float) -> None:
    """Its trace has been begun."""
    assert request_context(PARENT, rate, fixed(7)) == PARENT.child("0000000000000007")


@given(st.floats(0, 1))
def test_a_parent_that_is_not_sampled_is_never_recorded(rate: float) -> None:
    """Its trace would have a hole."""
    unsampled = TraceContext(PARENT.trace_id, PARENT.span_id, is_sampled=False)

    assert request_context(unsampled, rate, fixed()) is None


@pytest.mark.parametrize(
    ("rate", "drawn", "recorded"),
    [(1.0, 2**128 - 1, True), (1.0, 0, True), (0.5, 2**63 - 1, True), (0.5, 2**63, False), (0.5, (1 << 127) + 5, True)],
)
def test_the_lower_half_of_a_new_trace_id_decides(rate: float, drawn: int, *, recorded: bool) -> None:
    """As OpenTelemetry's own sampler has it."""
    assert (request_context(None, rate, fixed(drawn, 1)) is not None) is recorded


def test_nothing_is_drawn_where_nothing_is_recorded() -> None:
    """At a rate of 0 a request without a parent costs next to nothing."""
    assert request_context(None, 0.0, fixed()) is None


def test_ids_are_never_those_that_mean_none() -> None:
    """All zeros are no id."""
    assert request_context(None, 1.0, fixed(0, 0)) == TraceContext("0" * 31 + "1", "0" * 15 + "1")
