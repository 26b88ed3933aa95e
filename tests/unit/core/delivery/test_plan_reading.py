"""Tests of the section `canary`: what is read, and each mistake with its line and field."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core.delivery.plan import (
    Analysis,
    MetricRule,
    OnFailure,
    OnInconclusive,
    OnNewVersion,
    RolloutPlan,
    RolloutStep,
    RuleKind,
)
from core.delivery.plan_reading import length_of_time, percent, rollout_plan, sticky_header, web_address
from core.formats.yaml_reading import MISTAKE, Reader, YamlEntry, compose

FULL = """
steps:
  - mirror: 100
    bake: 30m
    min_requests: 500
  - weight: 5
    bake: 10m
    gate: https://gate.example/ok
  - weight: 12.25
    bake: 1h30m
  - pause: {for: 2h}
  - pause: {}
stickiness: {header: X-User-Id}
analysis:
  interval: 20s
  initial_delay: 1m
  false_rollback_probability: 0.05
  min_requests: 100
  require_evidence: true
  metrics:
    - server_errors: {max_ratio: 1.2, max_rate: 0.01}
    - client_errors:
    - slow_requests: {quantile: 0.5, max_ratio: 1.1}
    - slow_requests: {}
    - output_drift: {output: scores, max_distance: 0.1}
    - flips: {output: scores, max_rate: 0.02}
    - tolerance: {output: scores, rtol: 1.0e-3, atol: 1.0e-5, max_rate: 0.01}
on_failure: pause
on_inconclusive: rollback
on_new_version: queue
max_duration: 2d
rollback_window: 90s
health_grace: 45s
allow_signature_change: true
labels: {stable: auto, canary: auto}
notify: http://events.example:8080/in
"""
STEPS = "steps: [{weight: 5, bake: 10m}]\n"


def read(text: str, reader: Reader = rollout_plan) -> tuple[Any, list[str]]:
    """Return the value of a text, and its mistakes as `line: field: message`."""
    node = compose(text, "s.yaml")
    assert node is not None
    entry = YamlEntry(node, "canary", "s.yaml", [])
    value = reader(entry)
    return value, [str(one) for one in entry.problems]


def mistakes(text: str) -> str:
    """Return the mistakes of a plan."""
    value, found = read(text)
    assert value is MISTAKE
    return "\n".join(found)


def test_everything_that_a_plan_can_say() -> None:
    """In the units of the program: basis points and seconds."""
    value, found = read(FULL)

    assert found == []
    plan, header = value
    assert header == "x-user-id"
    assert plan == RolloutPlan(
        steps=(
            RolloutStep(mirror=10_000, bake_s=1800.0, min_requests=500),
            RolloutStep(weight=500, bake_s=600.0, gate="https://gate.example/ok"),
            RolloutStep(weight=1225, bake_s=5400.0),
            RolloutStep(pause_s=7200.0),
            RolloutStep(pause_s=math.inf),
        ),
        analysis=Analysis(
            20.0,
            60.0,
            0.05,
            100,
            require_evidence=True,
            rules=(
                MetricRule(RuleKind.SERVER_ERRORS, 1.2, max_rate=0.01),
                MetricRule(RuleKind.CLIENT_ERRORS, 1.5),
                MetricRule(RuleKind.SLOW_REQUESTS, 1.1, quantile=0.5),
                MetricRule(RuleKind.SLOW_REQUESTS, 1.5),
                MetricRule(RuleKind.OUTPUT_DRIFT, 0.1, output="scores"),
                MetricRule(RuleKind.FLIPS, 0.02, output="scores"),
                MetricRule(RuleKind.TOLERANCE, 0.01, output="scores", rtol=1e-3, atol=1e-5),
            ),
        ),
        on_failure=OnFailure.PAUSE,
        on_inconclusive=OnInconclusive.ROLLBACK,
        on_new_version=OnNewVersion.QUEUE,
        max_duration_s=172_800.0,
        rollback_window_s=90.0,
        health_grace_s=45.0,
        allow_signature_change=True,
        labels={"stable": True, "canary": True},
        notify="http://events.example:8080/in",
    )


def test_steps_alone_are_a_plan() -> None:
    """The rest has defaults."""
    assert read(STEPS) == ((RolloutPlan((RolloutStep(weight=500, bake_s=600.0),)), ""), [])


def test_false_is_no_plan() -> None:
    """For a model that does not have that of all others."""
    assert read("false") == (None, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", "s.yaml:1: canary: must be a mapping of names to values"),
        ("[1]", "s.yaml:1: canary: must be a mapping of names to values"),
        ("on_failure: pause", "s.yaml:1: canary: must have steps"),
        ("steps: 5", "s.yaml:1: canary.steps: must be a list"),
        ("steps: []", "s.yaml:1: canary.steps: must be from 1 to 100 steps; there are 0"),
        ("step: []\n" + STEPS, "s.yaml:1: canary.step: unknown setting; did you mean steps?"),
        ("steps:\n - {wait: 5}", "s.yaml:2: canary.steps.0.wait: unknown setting"),
        ("steps:\n - {bake: 10m}", "s.yaml:2: canary.steps.0: must have one of weight, mirror and pause"),
        (
            "steps:\n - {weight: 5, mirror: 5, bake: 10m}",
            "s.yaml:2: canary.steps.0: must have one of weight, mirror and pause; has weight and mirror",
        ),
        ("steps:\n - {weight: 5}", "s.yaml:2: canary.steps.0: must say how long it bakes (bake: 10m)"),
        ("steps:\n - {pause: {}, bake: 1m}", "s.yaml:2: canary.steps.0.bake: has no effect in a pause"),
        ("steps:\n - {pause: {}, min_requests: 1}", "canary.steps.0.min_requests: has no effect in a pause"),
        ("steps:\n - {pause: {until: 1m}}", "canary.steps.0.pause.until: unknown setting"),
        ("steps:\n - {pause: 1m}", "canary.steps.0.pause: must be a mapping"),
        ("steps:\n - {weight: 100, bake: 10m}", "to 99.99 percent; was 100; promotion follows the last step"),
        ("steps:\n - {weight: 0, bake: 10m}", "canary.steps.0.weight: must be from 0.01 to 99.99 percent; was 0"),
        ("steps:\n - {weight: 5.005, bake: 10m}", "canary.steps.0.weight: has more than two decimals; was 5.005"),
        ("steps:\n - {weight: 5%, bake: 10m}", "canary.steps.0.weight: must be a number; was '5%'"),
        ("steps:\n - {weight: .nan, bake: 10m}", "canary.steps.0.weight: must be a number"),
        ("steps:\n - {mirror: 101, bake: 10m}", "canary.steps.0.mirror: must be at most 100; was 101"),
        (
            "steps:\n - {weight: 25, bake: 10m}\n - {weight: 5, bake: 10m}",
            "s.yaml:3: canary.steps.1.weight: must not fall: an earlier step has 25",
        ),
        (
            "steps:\n - {weight: 25, bake: 10m}\n - {mirror: 5, bake: 10m}",
            "s.yaml:3: canary.steps.1.mirror: takes back the weight of an earlier step; mirrors come first",
        ),
        (
            "steps:\n - {weight: 5, bake: 40s}",
            "canary.steps.0.bake: ends before the first look at the analysis: initial_delay and interval need 45 seconds",
        ),
        (
            "steps:\n - {weight: 5, bake: 55s}\nanalysis: {interval: 20s}",
            "canary.steps.0.bake: ends before the first look at the analysis: initial_delay and interval need 60 seconds",
        ),
        (
            "steps:\n - {pause: {}, gate: 'http://go/'}",
            "s.yaml:2: canary.steps.0.gate: has no effect in a pause that only an order ends; say how long (for: 1m)",
        ),
        ("steps:\n - {weight: 5, bake: 10}", "must be a length of time such as 30s, 10m or 1h30m; was '10'"),
        ("steps:\n - {weight: 5, bake: -10s}", "must be a length of time"),
        ("steps:\n - {weight: 5, bake: 400d}", "canary.steps.0.bake: must be from 0 to"),
        ("steps:\n - {weight: 5, bake: 10m, gate: ftp://x}", "canary.steps.0.gate: must be an http or https URL"),
        ("steps:\n - {weight: 5, bake: 10m, min_requests: -1}", "canary.steps.0.min_requests: must be at least 0"),
        (STEPS + "on_failure: explode", "s.yaml:2: canary.on_failure: must be one of rollback, pause"),
        (STEPS + "on_inconclusive: 1", "canary.on_inconclusive: must be one of pause, advance, rollback"),
        (STEPS + "on_new_version: stop", "canary.on_new_version: must be one of replace, queue"),
        (STEPS + "max_duration: 10m", "canary.max_duration: 600 seconds are over before the steps have baked for 600"),
        (STEPS + "max_duration: 0s", "canary.max_duration: must be from 1 to"),
        (STEPS + "labels: {stable: 7}", "canary.labels.stable: must be one of auto"),
        (STEPS + "labels: {blue: auto}", "canary.labels.blue: unknown setting"),
        (STEPS + "notify: nowhere", "canary.notify: must be an http or https URL; was 'nowhere'"),
        (STEPS + "stickiness: {cookie: x}", "canary.stickiness.cookie: unknown setting"),
        (STEPS + "stickiness: {}", "canary.stickiness: must have a header"),
        (STEPS + "stickiness: {header: 'x y'}", "canary.stickiness.header: must be a name of letters, digits"),
        (STEPS + "stickiness: {header: x-bin}", "without grpc- before and -bin behind; was 'x-bin'"),
        (STEPS + "stickiness: {header: grpc-x}", "without grpc- before and -bin behind; was 'grpc-x'"),
        (STEPS + "analysis: {interval: 0s}", "canary.analysis.interval: must be from 1 to"),
        (STEPS + "analysis: {false_rollback_probability: 0}", "must be at least 1e-09; was 0"),
        (STEPS + "analysis: {false_rollback_probability: 0.6}", "must be at most 0.5; was 0.6"),
        (STEPS + "analysis: {require_evidence: maybe}", "canary.analysis.require_evidence: must be true or false"),
        (STEPS + "analysis: {metrics: []}", "canary.analysis.metrics: must name a metric"),
    ],
)
def test_a_mistake_has_its_line_and_field(text: str, expected: str) -> None:
    """The operator finds it at once."""
    assert expected in mistakes(text)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("server_error: {}", "server_error: unknown setting; did you mean server_errors?"),
        ("just a text", "canary.analysis.metrics.0: must be a mapping"),
        ("{}", "canary.analysis.metrics.0: must be one of server_errors, client_errors, slow_requests"),
        ("{server_errors: {}, client_errors: {}}", "metrics.0: holds several metrics: each is an entry of its own"),
        ("server_errors: {max_ratio: 0.9}", "server_errors.max_ratio: must be at least 1; was 0.9"),
        ("server_errors: {quantile: 0.5}", "server_errors.quantile: unknown setting"),
        ("slow_requests: {quantile: 1}", "slow_requests.quantile: must be at most 0.9999; was 1"),
        ("slow_requests: {max_ration: 1}", "slow_requests.max_ration: unknown setting; did you mean max_ratio?"),
        ("output_drift: {output: y}", "output_drift: must have max_distance"),
        ("output_drift: {max_distance: 0.1}", "output_drift: must have output"),
        ("output_drift: {output: '', max_distance: 0.1}", "output_drift.output: must be the name of an output"),
        ("output_drift: {output: y, max_distance: 0}", "output_drift.max_distance: must be more than 0"),
        ("flips: {output: y, max_rate: 0.01}", "metrics.0: flips has no effect: no step has a mirror"),
        ("tolerance: {output: y, max_rate: 0.01}", "metrics.0: tolerance has no effect: no step has a mirror"),
        ("flips: {output: y, max_rate: 2}", "flips.max_rate: must be at most 0.5; was 2"),
        ("tolerance: {output: y, max_rate: 0.01, rtol: -1}", "tolerance.rtol: must be at least 0; was -1"),
    ],
)
def test_a_metric_that_cannot_be_judged_is_a_mistake(metric: str, expected: str) -> None:
    """A misspelt one would always pass (flagger #1581)."""
    found = mistakes(STEPS + f"analysis:\n  metrics:\n    - {metric}\n")

    assert expected in found
    assert "s.yaml:4: " in found


def test_a_metric_that_is_given_twice_is_a_mistake() -> None:
    """Two quantiles are two metrics."""
    text = (
        STEPS + "analysis:\n  metrics:\n    - slow_requests: {quantile: 0.5}\n    - slow_requests: {quantile: 0.50}\n"
    )

    assert mistakes(text) == "s.yaml:5: canary.analysis.metrics.1: is given twice: slow_requests_p50"


def test_all_mistakes_are_reported_at_once() -> None:
    """Nobody wants to find them one by one."""
    found = mistakes("steps:\n - {weight: x, bake: y}\non_failure: z\nnotify: 3\n")

    assert len(found.splitlines()) == 4


def test_a_short_bake_is_allowed_where_nothing_is_waited_for() -> None:
    """A step that needs no requests needs no look either."""
    assert read("steps: [{weight: 5, bake: 0s, min_requests: 0}]")[1] == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("500ms", 0.5), ("1h30m", 5400.0), ("1.5h", 5400.0), ("2d", 172_800.0)]
)
def test_lengths_of_time_have_units(text: str, seconds: float) -> None:
    """As elsewhere in such files."""
    assert read(text, length_of_time()) == (seconds, [])


@pytest.mark.parametrize("text", ["30", "s", "1 h", "1h 30m", "1w", "''", "[1s]", "null", "1e9s", "9" * 300 + "s"])
def test_other_lengths_of_time_are_mistakes(text: str) -> None:
    """A number without a unit would be taken for another one."""
    value, found = read(text, length_of_time())

    assert value is MISTAKE
    assert len(found) == 1


@pytest.mark.parametrize(("text", "points"), [("5", 500), ("0.01", 1), ("33.33", 3333), ("99.99", 9999), ("0", 0)])
def test_percentages_are_exact_basis_points(text: str, points: int) -> None:
    """Whatever binary fractions make of them."""
    assert read(text, percent()) == (points, [])


@pytest.mark.parametrize("text", ["'http://'", "'http://x:99999'", "'http://a b'", "'http://é'", "3", "'http://[::1'"])
def test_a_web_address_that_cannot_be_asked_is_a_mistake(text: str) -> None:
    """It would fail in the middle of a rollout."""
    value, found = read(text, web_address)

    assert value is MISTAKE
    assert len(found) == 1


@pytest.mark.parametrize("text", ["{header: X-User}", "{header: x-user}"])
def test_a_header_is_in_lower_case(text: str) -> None:
    """As gRPC writes it, and as REST compares it."""
    assert read(text, sticky_header) == ("x-user", [])
