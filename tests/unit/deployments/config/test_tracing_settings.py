"""From flags and OpenTelemetry's variables to settings that reach every process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from core.config.arguments import ArgumentsOutcome, parse_flags
from core.config.server_settings import TracingSettings
from deployments.config.startup_settings import checked

URL = "http://collector:4318"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)


def tracing(folder: Path, *flags: str) -> tuple[TracingSettings, tuple[str, ...]]:
    """Return what is made of flags, and the warnings."""
    parsed = parse_flags([f"--model_base_path={folder}", *flags])
    assert parsed.settings is not None, parsed.problems
    settings, warnings = checked(parsed.settings)
    return settings.tracing, warnings


def test_flags_become_settings(tmp_path: Path) -> None:
    """An address and a share."""
    found, _ = tracing(tmp_path, f"--tracing_otlp_endpoint={URL}", "--tracing_sampling_rate=0.25")

    assert (found.otlp_endpoint, found.sampling_rate) == (URL, 0.25)


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--tracing_otlp_endpoint=collector:4318", "must be a URL"),
        ("--tracing_otlp_endpoint=grpc://collector:4317", "must be a URL"),
        ("--tracing_sampling_rate=1.5", "must not be above 1"),
        ("--tracing_sampling_rate=100", "must not be above 1"),
    ],
)
def test_mistakes_in_flags_end_the_start(flag: str, text: str) -> None:
    """With a sentence that says what would be right."""
    parsed = parse_flags(["--model_base_path=/m", flag])

    assert parsed.outcome is ArgumentsOutcome.BAD_VALUE or parsed.settings is None
    assert text in " ".join(map(str, parsed.problems))


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({}, ()),
        ({"OTEL_SERVICE_NAME": "x"}, ()),
        (
            {"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_ENDPOINT": URL},
            (("OTEL_EXPORTER_OTLP_ENDPOINT", URL), ("OTEL_SERVICE_NAME", "x")),
        ),
    ],
)
def test_variables_travel_only_where_something_is_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], kept: tuple[tuple[str, str], ...]
) -> None:
    """They may hold secrets, which have no business in settings that nobody needs."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    found, _ = tracing(tmp_path)

    assert found.environment == kept


def test_a_variable_that_cannot_be_followed_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts all the same."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "jaeger_remote")

    _, warnings = tracing(tmp_path, f"--tracing_otlp_endpoint={URL}")

    assert any("jaeger_remote" in one for one in warnings)
