"""Reads a rollout plan, the section `canary` of our YAML file; every mistake has its line and field."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from core.delivery.plan import (
    DEFAULT_RULES,
    Analysis,
    MetricRule,
    OnFailure,
    OnInconclusive,
    OnNewVersion,
    RolloutPlan,
    RolloutStep,
    RuleKind,
)
from core.delivery.split import WHOLE
from core.formats.yaml_reading import (
    MISTAKE,
    Reader,
    YamlEntry,
    choice,
    decimal,
    each,
    flag,
    known_entries,
    named_entries,
    section,
    text,
    whole,
)

MOST_STEPS: Final = 100
LONGEST_S: Final = 366 * 86_400.0
_UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+", re.ASCII)
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", re.ASCII)
_HEADER: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)
_LONGEST_TEXT: Final = 200

RATIOS: Final = frozenset({RuleKind.SERVER_ERRORS, RuleKind.CLIENT_ERRORS, RuleKind.SLOW_REQUESTS})
OF_MIRRORS: Final = frozenset({RuleKind.FLIPS, RuleKind.TOLERANCE})
"""The metrics that compare pairs of answers: only a mirror makes any."""


def length_of_time(least_s: float = 0.0) -> Reader:
    """Return a reader of lengths of time such as `30s`, `10m`, `1h30m` as seconds."""

    def read(entry: YamlEntry) -> Any:
        found = entry.node.value if entry.kind in ("str", "int", "float") else ""
        if len(found) > _LONGEST_TEXT or not _DURATION.fullmatch(found):
            return entry.mistake(f"must be a length of time such as 30s, 10m or 1h30m; was {found[:100]!r}")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found))
        if not least_s <= seconds <= LONGEST_S:
            return entry.mistake(f"must be from {least_s:g} to {LONGEST_S:g} seconds; was {found}")
        return seconds

    return read


def percent(least: int = 0, most: int = WHOLE, because: str = "") -> Reader:
    """Return a reader of percentages with at most two decimals as basis points, within bounds in basis points."""

    def read(entry: YamlEntry) -> Any:
        found = decimal(0, 100)(entry)
        if found is MISTAKE:
            return MISTAKE
        points = round(found * 100)
        if not math.isclose(points, found * 100, abs_tol=1e-6):
            return entry.mistake(f"has more than two decimals; was {entry.node.value}")
        if not least <= points <= most:
            bounds = f"must be from {least / 100:g} to {most / 100:g} percent; was {entry.node.value}"
            return entry.mistake(f"{bounds}{because}")
        return points

    return read


def web_address(entry: YamlEntry) -> Any:
    """Read an http or https URL."""
    found = text(entry)
    if found is MISTAKE:
        return MISTAKE
    try:
        parts = urlsplit(found)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    is_good = is_good and found.isascii() and found.isprintable() and " " not in found
    return found if is_good else entry.mistake(f"must be an http or https URL; was {found[:100]!r}")


def sticky_header(entry: YamlEntry) -> Any:
    """Read `stickiness: {header: NAME}` as the name in lower case."""
    mistakes = len(entry.problems)
    found = section({"header": text})(entry).get("header")
    if found is None:
        return MISTAKE if len(entry.problems) > mistakes else entry.mistake("must have a header")
    name = found.lower()
    if not _HEADER.fullmatch(name) or len(name) > _LONGEST_TEXT or name.startswith("grpc-") or name.endswith("-bin"):
        message = "must be a name of letters, digits and -_. that is also one in gRPC's metadata"
        return entry.at("header").mistake(f"{message}, without grpc- before and -bin behind; was {found[:100]!r}")
    return name


def _pause(entry: YamlEntry) -> Any:
    found = section({"for": length_of_time(1)})(entry)
    return found.get("for", math.inf)


_STEP: Final[Mapping[str, Reader]] = {
    "weight": percent(1, WHOLE - 1, "; promotion follows the last step"),
    "mirror": percent(1),
    "pause": _pause,
    "bake": length_of_time(),
    "min_requests": whole(0),
    "gate": web_address,
}


def _pausing_step(found: Mapping[str, Any], entry: YamlEntry) -> Any:
    for name in ("bake", "min_requests"):
        if name in found:
            return entry.at(name).mistake("has no effect in a pause")
    if "gate" in found and found["pause"] == math.inf:
        return entry.at("gate").mistake("has no effect in a pause that only an order ends; say how long (for: 1m)")
    return RolloutStep(pause_s=found["pause"], gate=found.get("gate", ""))


def _step(entry: YamlEntry) -> Any:
    mistakes = len(entry.problems)
    found = section(_STEP)(entry)
    if len(entry.problems) > mistakes:
        return MISTAKE
    kinds = [name for name in ("weight", "mirror", "pause") if name in found]
    if len(kinds) != 1:
        return entry.mistake(
            "must have one of weight, mirror and pause" + ("; has " + " and ".join(kinds)) * bool(kinds)
        )
    if "pause" in found:
        return _pausing_step(found, entry)
    if "bake" not in found:
        return entry.mistake("must say how long it bakes (bake: 10m)")
    found["bake_s"] = found.pop("bake")
    return RolloutStep(**found)


_LIMITS: Final[Mapping[RuleKind, tuple[str, Reader]]] = {
    **{kind: ("max_ratio", decimal(1, 1000)) for kind in RATIOS},
    RuleKind.OUTPUT_DRIFT: ("max_distance", decimal(above=0, most=1)),
    RuleKind.FLIPS: ("max_rate", decimal(above=0, most=0.5)),
    RuleKind.TOLERANCE: ("max_rate", decimal(above=0, most=0.5)),
}
_DEFAULT_LIMITS: Final = {RuleKind.SLOW_REQUESTS: 1.5, **{one.kind: one.limit for one in DEFAULT_RULES}}
_RULE: Final[Mapping[str, Reader]] = {
    "quantile": decimal(0.01, 0.9999),
    "output": text,
    "rtol": decimal(0, 1e6),
    "atol": decimal(0, 1e300),
    "max_rate": decimal(above=0, most=1),
}
_FIELDS: Final[Mapping[RuleKind, tuple[str, ...]]] = {
    RuleKind.SERVER_ERRORS: ("max_rate",),
    RuleKind.CLIENT_ERRORS: ("max_rate",),
    RuleKind.SLOW_REQUESTS: ("quantile", "max_rate"),
    RuleKind.OUTPUT_DRIFT: ("output",),
    RuleKind.FLIPS: ("output",),
    RuleKind.TOLERANCE: ("output", "rtol", "atol"),
}
"""What a metric has beside its limit."""


def _rule(entry: YamlEntry) -> Any:
    entries = known_entries(entry, {kind.value: kind for kind in RuleKind})
    if len(entries) != 1:
        return (
            entry.mistake(f"must be one of {', '.join(kind.value for kind in RuleKind)}")
            if not entries
            else (entry.mistake("holds several metrics: each is an entry of its own"))
        )
    name, inner = next(iter(entries.items()))
    kind = RuleKind(name)
    mistakes = len(inner.problems)
    limit_name, read_limit = _LIMITS[kind]
    found = section({**{one: _RULE[one] for one in _FIELDS[kind]}, limit_name: read_limit})(inner)
    if len(inner.problems) > mistakes:
        return MISTAKE
    for one in ({"output"} & set(_FIELDS[kind]) | {limit_name}) - found.keys():
        if one != limit_name or kind not in _DEFAULT_LIMITS:
            inner.mistake(f"must have {one}")
    if len(inner.problems) > mistakes:
        return MISTAKE
    if found.get("output") == "":
        return inner.at("output").mistake("must be the name of an output")
    limit = found.pop(limit_name, _DEFAULT_LIMITS.get(kind, 0.0))
    return MetricRule(kind, limit, **found)


def _rules(entry: YamlEntry) -> Any:
    rules = each(_rule)(entry)
    if rules is MISTAKE:
        return MISTAKE
    if not rules:
        return entry.mistake("must name a metric")
    names = [rule.name for rule in rules]
    for place, name in enumerate(names):
        if name in names[:place]:
            entry.inner(entry.node.value[place], str(place)).mistake(f"is given twice: {name}")
    return rules


_ANALYSIS: Final[Mapping[str, Reader]] = {
    "interval": length_of_time(1),
    "initial_delay": length_of_time(),
    "false_rollback_probability": decimal(1e-9, 0.5),
    "min_requests": whole(0),
    "require_evidence": flag,
    "metrics": _rules,
}


def _analysis(entry: YamlEntry) -> Any:
    found = section(_ANALYSIS)(entry)
    names = {"interval": "interval_s", "initial_delay": "initial_delay_s", "metrics": "rules"}
    return Analysis(**{names.get(name, name): value for name, value in found.items()})


_LABELS: Final[Mapping[str, Reader]] = {name: choice({"auto": True}) for name in ("stable", "canary")}


def _words(kind: type[OnFailure | OnInconclusive | OnNewVersion]) -> Reader:
    return choice({one.value: one for one in kind})


_PLAN: Final[Mapping[str, Reader]] = {
    "steps": each(_step),
    "analysis": _analysis,
    "on_failure": _words(OnFailure),
    "on_inconclusive": _words(OnInconclusive),
    "on_new_version": _words(OnNewVersion),
    "max_duration": length_of_time(1),
    "rollback_window": length_of_time(),
    "health_grace": length_of_time(1),
    "allow_signature_change": flag,
    "labels": section(_LABELS),
    "notify": web_address,
    "stickiness": sticky_header,
}
_SECONDS: Final = ("max_duration", "rollback_window", "health_grace")


def rollout_plan(entry: YamlEntry) -> Any:
    """Read a plan as a pair: the plan, and the header that makes its choices sticky, or an empty text.

    `false` is None: a model that does not have the plan of all others.
    """
    if entry.kind == "bool" and flag(entry) is False:
        return None
    mistakes = len(entry.problems)
    found = section(_PLAN)(entry)
    if "steps" not in (named_entries(YamlEntry(entry.node, "", "", [])) or {}):
        entry.mistake("must have steps")
    if len(entry.problems) > mistakes:
        return MISTAKE
    header = found.pop("stickiness", "")
    plan = RolloutPlan(**{f"{name}_s" if name in _SECONDS else name: value for name, value in found.items()})
    for inner, message in _plan_problems(plan, entry):
        inner.mistake(message)
    return MISTAKE if len(entry.problems) > mistakes else (plan, header)


def _plan_problems(plan: RolloutPlan, entry: YamlEntry) -> Iterator[tuple[YamlEntry, str]]:
    """Yield what does not fit together in a plan, with the entry that is to blame."""
    steps = entry.at("steps")
    if not 0 < len(plan.steps) <= MOST_STEPS:
        yield steps, f"must be from 1 to {MOST_STEPS} steps; there are {len(plan.steps)}"
        return
    yield from _step_problems(plan, steps)
    if not any(step.mirror for step in plan.steps):
        metrics = entry.at("analysis").at("metrics")
        for place, rule in enumerate(plan.analysis.rules):
            if rule.kind in OF_MIRRORS:
                node = metrics.node.value[place]
                yield metrics.inner(node, str(place)), f"{rule.kind.value} has no effect: no step has a mirror"
    bakes_s = sum(step.bake_s for step in plan.steps)
    if bakes_s >= plan.max_duration_s:
        inner = entry.at("max_duration")
        yield inner, f"{plan.max_duration_s:g} seconds are over before the steps have baked for {bakes_s:g} seconds"


def _step_problems(plan: RolloutPlan, steps: YamlEntry) -> Iterator[tuple[YamlEntry, str]]:
    highest = 0
    interval_s = plan.analysis.interval_s
    # a window that has begun within the delay proves nothing
    first_s = (math.ceil(plan.analysis.initial_delay_s / interval_s) + 1) * interval_s
    for place, step in enumerate(plan.steps):
        inner = steps.inner(steps.node.value[place], str(place))
        if step.pause_s is not None:
            continue
        if step.mirror and highest:
            yield inner.at("mirror"), "takes back the weight of an earlier step; mirrors come first"
        if step.weight and step.weight < highest:
            yield inner.at("weight"), f"must not fall: an earlier step has {highest / 100:g}"
        highest = max(highest, step.weight)
        least = plan.analysis.min_requests if step.min_requests is None else step.min_requests
        if step.bake_s < first_s and (least or plan.analysis.require_evidence):
            message = f"ends before the first look at the analysis: initial_delay and interval need {first_s:g} seconds"
            yield inner.at("bake"), message
