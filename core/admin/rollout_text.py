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

OPEN: Final = frozenset({"fail", "not_enough_data"})
"""Verdicts to which the outlook adds something."""

TITLE: Final = 15
"""Columns of titles."""

NEWEST: Final = 8
"""Happenings that are shown; the document has all."""

PHASES: Final[Mapping[str, str]] = {
    "loading": "version {canary} is being loaded",
    "step": "version {canary} in step {step} of {steps}",
    "paused": "version {canary} paused in step {step} of {steps}",
    "promoting": "version {canary} is being promoted",
    "promoted": "version {stable} is promoted, and version {previous} stays loaded for now",
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
    if delivery["phase"] == "idle":
        return f"no rollout{_instead(delivery)}"
    step = delivery["step"] + 1 if delivery["step"] is not None else 0
    return PHASES[delivery["phase"]].format(
        canary=delivery["canary"],
        stable=delivery["stable"],
        previous=delivery["previous"],
        step=step,
        steps=len(delivery["steps"]),
    )


def _instead(delivery: Json) -> str:
    """Return what is known of a model without a rollout."""
    rejected = ", ".join(one["version"] for one in delivery["rejected"])
    divided = "; requests are divided by order" if len(delivery["weights"]) > 1 else ""
    return f"{divided}{f'; rejected: version {rejected}' if rejected else ''}"


def _model(name: str, delivery: Json, width: int) -> Iterator[str]:
    yield f"{name}: {phase_text(delivery)}"
    for title, text in _facts(delivery):
        yield from _wrapped(title, text, width)
    yield from _table(STEP_COLUMNS, map(_step, range(1, len(delivery["steps"]) + 1), delivery["steps"]))
    yield from _table(ARM_COLUMNS, map(_arm, delivery["arms"]) if len(delivery["arms"]) > 1 else ())
    yield from _table(METRIC_COLUMNS, map(_metric, delivery["metrics"]))
    for one in delivery["metrics"]:
        outlook = one["outlook"] if one["verdict"] in OPEN else ""
        yield from _wrapped("", f"{one['metric']}: {outlook}" if outlook else "", width)
    yield from _table(COPY_COLUMNS, map(_copies, _mirrored(delivery)))
    yield from _after_a_line(
        line
        for one in delivery["rejected"]
        for line in _wrapped("rejected", f"version {one['version']}: {one['reason'] or 'no reason is shown'}", width)
    )
    yield from _after_a_line(
        line for one in delivery["happenings"][-NEWEST:] for line in _wrapped(_time(one["at"]), _happening(one), width)
    )


def _facts(delivery: Json) -> Iterator[tuple[str, str | None]]:
    yield "stable", f"version {delivery['stable']}" if delivery["stable"] else None
    yield "why", delivery["reason"]
    yield "paused by", delivery["paused_by"]
    yield "next", next_text(delivery)
    yield "queued", f"version {delivery['queued']}" if delivery["queued"] else None
    yield "ordered", weights_text(delivery["ordered_weights"])
    yield "copies", mirror_text(delivery["mirror"])
    yield from ((f"label {one['label']}", weights_text(one["weights"])) for one in delivery["label_weights"])
    yield "sticky by", delivery["sticky_header"]
    yield from (("warning", one) for one in delivery["warnings"])


def happening_name(happening: Json) -> str:
    """Return the name of a happening as people read it."""
    return str(happening["name"]).removeprefix("rollout_").replace("_", " ")


def _happening(happening: Json) -> str:
    """Return what happened; a name that the text begins with is not said twice."""
    name, text = happening_name(happening), happening["text"] or "no text is shown"
    return text if text.startswith(name) else f"{name}: {text}"


def _wrapped(title: str, text: str | None, width: int) -> Iterator[str]:
    """Yield a title with its text beside it; nothing without a text."""
    if text:
        head = f"  {title:{TITLE}} "
        yield from textwrap.wrap(
            text, width, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
        )


def _after_a_line(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines after an empty one, if there are any."""
    for number, line in enumerate(lines):
        yield from ([""] if not number else [])
        yield line


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = list(rows)
    if lines:
        yield ""
        yield from (f"  {line}" for line in table(columns, lines).splitlines())


def next_text(delivery: Json) -> str:
    """Return what comes next, and in which time; empty where nothing is to come."""
    left_s = delivery["left_s"]
    if delivery["next"] is None or left_s is None:
        return delivery["next"] or ""
    if delivery["phase"] == "promoted":
        return f"{delivery['next']}, in {duration(left_s)}"
    return f"{delivery['next']} ({f'in {duration(left_s)} at the earliest' if left_s else 'its time has come'})"


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
    if metric["evidence_limit"] <= 1:  # a difference in structure, of which one is enough
        return "not needed"
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
    """Return a moment without the year."""
    return text[5:19].replace("T", " ")
