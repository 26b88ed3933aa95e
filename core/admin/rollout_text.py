"""Renders the rollouts of the status document as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from core.admin.status_text import duration, latency, printable, rate, table

Json = Mapping[str, Any]

STEP_COLUMNS: Final = ("STEP", "REQUESTS", "STATE", "BAKE")
ARM_COLUMNS: Final = ("VERSION", "ROLE", "SHARE", "REQ/S", "ERR/S", "P50", "P99", "SINCE BEGINNING")
METRIC_COLUMNS: Final = ("METRIC", "VERDICT", "STABLE", "CANARY", "EVIDENCE")
COPY_COLUMNS: Final = ("COPIES TO", "COMPARED", "IDENTICAL", "WITHIN", "OUTSIDE", "OTHER SHAPE", "FAILED", "DROPPED")
VERDICTS: Final[Mapping[str, str]] = {
    "pass": "pass",
    "fail": "FAIL",
    "not_enough_data": "open",
    "not_judged": "not judged",
}
"""Verdicts as people read them: without enough data a question is open."""

NEWEST: Final = 8
"""Happenings that are shown; the document has all."""

PHASES: Final[Mapping[str, str]] = {
    "idle": "no rollout",
    "loading": "version {canary} is being loaded",
    "step": "version {canary} in step {step} of {steps}",
    "paused": "version {canary} paused in step {step} of {steps}",
    "promoting": "version {canary} is being promoted",
    "promoted": "version {canary} is promoted, version {stable} stays loaded for now",
    "rolling_back": "version {canary} is being rolled back",
}


def rollouts_text(document: Json, models: Sequence[Json], width: int) -> str:
    """Return the rollouts of some models of a document, in lines of a width where words can be broken."""
    shown = [printable(one) for one in models if one.get("delivery") is not None]
    blocks = ["\n".join(_model(one["name"], one["delivery"], width)) for one in shown]
    if not document["watcher"]["answers"]:
        blocks.insert(0, "The watcher does not answer: no rollout goes on until it does.")
    if not shown:
        blocks.append("\n".join(_without(one) for one in models) or "No models.")
    return "\n\n".join(blocks) + "\n"


def _without(model: Json) -> str:
    return f"{printable(model['name'])}: no plan, no shares and no copies; the newest version gets all requests"


def phase_text(delivery: Json) -> str:
    """Return the state of a rollout in words."""
    step = delivery["step"] + 1 if delivery["step"] is not None else 0
    return PHASES[delivery["phase"]].format(
        canary=delivery["canary"], stable=delivery["stable"], step=step, steps=len(delivery["steps"])
    )


def _model(name: str, delivery: Json, width: int) -> Iterator[str]:
    yield f"{name}: {phase_text(delivery)}"
    yield from _wrapped("stable", f"version {delivery['stable']}" if delivery["stable"] else "", width)
    yield from _wrapped("why", delivery["reason"], width)
    yield from _wrapped("paused by", delivery["paused_by"], width)
    yield from _wrapped("next", next_text(delivery), width)
    yield from _wrapped("queued", f"version {delivery['queued']}" if delivery["queued"] else "", width)
    yield from _wrapped("copies", mirror_text(delivery["mirror"]), width)
    for one in delivery["label_weights"]:
        yield from _wrapped(f"label {one['label']}", weights_text(one["weights"]), width)
    for one in delivery["warnings"]:
        yield from _wrapped("warning", one, width)
    yield from _table(STEP_COLUMNS, map(_step, range(1, len(delivery["steps"]) + 1), delivery["steps"]))
    yield from _table(ARM_COLUMNS, map(_arm, delivery["arms"]) if len(delivery["arms"]) > 1 else ())
    yield from _table(METRIC_COLUMNS, map(_metric, delivery["metrics"]))
    for one in delivery["metrics"]:
        yield from _wrapped(one["metric"], one["outlook"] if one["verdict"] != "pass" else "", width)
    yield from _table(COPY_COLUMNS, map(_copies, _mirrored(delivery)))
    for one in delivery["rejected"]:
        yield from _wrapped("rejected", f"version {one['version']}: {one['reason'] or 'no reason shown'}", width)
    for one in delivery["happenings"][-NEWEST:]:
        yield from _wrapped(_time(one["at"]), f"{one['name']} {one['text'] or ''}", width)


def _wrapped(title: str, text: str | None, width: int) -> Iterator[str]:
    """Yield a title with its text beside it; nothing without a text."""
    if text:
        head = f"  {title:10} "
        yield from textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * 13, break_on_hyphens=False)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = list(rows)
    if lines:
        yield ""
        yield from (f"  {line}" for line in table(columns, lines).splitlines())


def next_text(delivery: Json) -> str:
    """Return what comes next, and in which time at the earliest; empty where nothing is to come."""
    if delivery["next"] is None:
        return ""
    left_s = delivery["left_s"]
    when = "" if left_s is None else "; its time is over" if not left_s else f", in {duration(left_s)} at the earliest"
    return f"{delivery['next']}{when}"


def mirror_text(mirror: Json | None) -> str:
    """Return which requests are copied, and where to."""
    if mirror is None:
        return ""
    return f"{percent_text(mirror['percent'])} of the requests to version {mirror['version']}"


def weights_text(weights: Sequence[Json]) -> str:
    """Return shares in words."""
    return ", ".join(f"{percent_text(one['percent'])} version {one['version']}" for one in weights)


def percent_text(percent: float) -> str:
    """Return a percentage with the decimals that it has."""
    return f"{percent:g} %"


def step_name(step: Json) -> str:
    """Return what a step does with requests."""
    if step["kind"] == "pause":
        return "pause"
    return f"{percent_text(step['percent'])} {'copied' if step['kind'] == 'mirror' else 'to the canary'}"


def bake_text(step: Json) -> str:
    """Return how long a step bakes, and how much of it is over."""
    whole = duration(step["bake_s"]) if step["bake_s"] is not None else "until an order"
    if step["baked_s"] is None:
        return whole
    return f"{duration(step['baked_s'])} of {whole}" if step["bake_s"] is not None else f"{whole}"


def _step(number: int, step: Json) -> Sequence[str]:
    gate = f", gate {step['gate']}" if step["gate"] else ""
    return (str(number), step_name(step), step["state"].replace("_", " "), f"{bake_text(step)}{gate}")


def _arm(arm: Json) -> Sequence[str]:
    rates = (arm["requests_per_s"], arm["errors_per_s"])
    return (
        arm["version"],
        arm["role"],
        percent_text(arm["percent"]),
        *("" if one is None else rate(one) for one in rates),
        latency(arm["p50_s"]),
        latency(arm["p99_s"]),
        f"{arm['requests']} requests, {arm['server_errors'] + arm['client_errors']} errors",
    )


def _metric(metric: Json) -> Sequence[str]:
    return (
        metric["metric"],
        VERDICTS[metric["verdict"]],
        events_text(metric["stable"]),
        events_text(metric["canary"]),
        evidence_text(metric),
    )


def events_text(events: Json) -> str:
    """Return a rate with the numbers that it is of."""
    if events["rate"] is None:
        return "none"
    return f"{rate_text(events['rate'])} ({events['events']} of {events['requests']})"


def rate_text(share: float) -> str:
    """Return a share as percent with its significant digits."""
    return f"{100 * share:.3g} %"


def evidence_text(metric: Json) -> str:
    """Return the evidence against the canary, and how much of it fails."""
    return f"{metric['evidence']:.3g} of {metric['evidence_limit']:.4g}"


def _mirrored(delivery: Json) -> Iterator[Json]:
    """Yield the results of copies, the noise floor last."""
    if delivery["mirrored"] is not None:
        yield {**delivery["mirrored"], "to": f"version {delivery['mirrored']['version']}"}
    if delivery["noise_floor"] is not None:
        yield {**delivery["noise_floor"], "to": "stable again"}


def _copies(one: Json) -> Sequence[str]:
    counts = ("compared", "identical", "within", "outside", "structural", "failed", "dropped")
    return (one["to"], *(str(one[member]) for member in counts))


def _time(text: str) -> str:
    return text[11:19]
