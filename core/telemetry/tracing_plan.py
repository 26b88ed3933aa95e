"""Decides whether, how often and to where requests are traced: from flags, then from OpenTelemetry's variables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from core.config.server_settings import TracingSettings
from core.telemetry.trace_context import TraceContext

PREFIX: Final = "OTEL_"
PATH: Final = "/v1/traces"
DISABLED: Final = "OTEL_SDK_DISABLED"
EXPORTER: Final = "OTEL_TRACES_EXPORTER"
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OUR_PROTOCOL: Final = "http/protobuf"
SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SAMPLER_ARG: Final = "OTEL_TRACES_SAMPLER_ARG"

_ALWAYS: Final = frozenset({"", "always_on", "parentbased_always_on"})
_NEVER: Final = frozenset({"always_off", "parentbased_always_off"})
_SHARE: Final = frozenset({"traceidratio", "parentbased_traceidratio"})
_ID_SPACE: Final = 2**64


@dataclass(frozen=True, slots=True)
class TracingPlan:
    """Where spans are sent, and which share of the requests without a parent is recorded.

    `warnings` names variables that are not supported.
    """

    url: str
    sampling_rate: float
    warnings: tuple[str, ...] = ()


def tracing_plan(settings: TracingSettings) -> TracingPlan | None:
    """Return the plan; None when tracing is not configured."""
    variables = {name: value.strip() for name, value in settings.environment}
    url = _url(settings.otlp_endpoint, variables)
    if not url or variables.get(DISABLED, "").lower() == "true":
        return None
    rate, doubt = _rate(settings.sampling_rate, variables)
    return TracingPlan(url, rate, tuple(filter(None, (doubt, _protocol_doubt(variables)))))


def otel_variables(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the variables of an environment that configure OpenTelemetry."""
    return tuple(sorted((name, value) for name, value in environment.items() if name.startswith(PREFIX)))


def _url(endpoint: str, variables: Mapping[str, str]) -> str:
    """Return the URL of the collector, with the usual path unless the variable for traces alone gives a whole URL."""
    if endpoint:
        return endpoint if endpoint.endswith(PATH) else endpoint.rstrip("/") + PATH
    if variables.get(EXPORTER, "otlp") not in {"otlp", ""}:
        return ""
    if variables.get(TRACES_ENDPOINT):
        return variables[TRACES_ENDPOINT]
    base = variables.get(ENDPOINT, "")
    return base.rstrip("/") + PATH if base else ""


def _rate(asked: float, variables: Mapping[str, str]) -> tuple[float, str]:
    if asked >= 0:
        return asked, ""
    sampler = variables.get(SAMPLER, "").lower()
    if sampler in _ALWAYS:
        return 1.0, ""
    if sampler in _NEVER:
        return 0.0, ""
    if sampler not in _SHARE:
        return 1.0, f"{SAMPLER}={sampler} is not known; every request without a parent is traced"
    share = _share(variables.get(SAMPLER_ARG, "1"))
    if share is None:
        return 1.0, f"{SAMPLER_ARG} must be between 0 and 1; every request without a parent is traced"
    return share, ""


def _share(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    return share if math.isfinite(share) and 0 <= share <= 1 else None


def _protocol_doubt(variables: Mapping[str, str]) -> str:
    asked = next((variables[name] for name in PROTOCOLS if variables.get(name)), OUR_PROTOCOL)
    return "" if asked == OUR_PROTOCOL else f"spans are sent by {OUR_PROTOCOL}, not by {asked}"


def request_context(
    parent: TraceContext | None, sampling_rate: float, draw: Callable[[int], int]
) -> TraceContext | None:
    """Return the context of a request's span; None for a request that is not recorded.

    The decision of a parent holds for the whole trace. `draw` returns random numbers of so many bits. The lower half of
    a new trace id decides, as in OpenTelemetry's own samplers, so that samplers elsewhere come to the same result.
    """
    if parent is not None:
        return parent.child(span_id(draw)) if parent.is_sampled else None
    if sampling_rate <= 0:
        return None
    drawn = draw(128)
    if drawn % _ID_SPACE >= sampling_rate * _ID_SPACE:
        return None
    return TraceContext(f"{drawn or 1:032x}", span_id(draw))


def span_id(draw: Callable[[int], int]) -> str:
    """Draw the id of a span; never zero, which is not valid."""
    return f"{draw(64) or 1:016x}"
