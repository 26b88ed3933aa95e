"""The card of a model's rollout: its steps, both arms side by side, the evidence of each metric, copies, happenings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from core.admin.rollout_text import (
    VERDICTS,
    bake_text,
    events_text,
    evidence_text,
    happening_name,
    mirror_text,
    next_text,
    percent_text,
    phase_text,
    rate_text,
    step_name,
    weights_text,
)
from core.admin.status_text import latency, rate
from core.delivery.mirror_counts import L2_EDGES
from core.pages.bars import bar, histogram
from core.pages.tables import Row, escaped, long_text, table_section, time_tag

Json = Mapping[str, Any]

PHASE_CLASSES: Final[Mapping[str, str]] = {
    "idle": "idle",
    "loading": "busy",
    "step": "busy",
    "paused": "warn",
    "promoting": "busy",
    "promoted": "good",
    "rolling_back": "bad",
}
VERDICT_CLASSES: Final[Mapping[str, str]] = {
    "pass": "good",
    "fail": "bad",
    "not_enough_data": "busy",
    "not_judged": "idle",
}
NEAR: Final = 0.6
"""Part of the evidence from which on a metric is about to fail."""

ARMS: Final = "Traffic of the versions"
"""The title of the table that stays one in narrow windows; the style sheet names it."""

METRIC_COLUMNS: Final = ("Metric", "Verdict", "Stable", "Canary", "Evidence", "Outlook")
COPY_COLUMNS: Final = (
    "Copies to",
    "Compared",
    "Identical",
    "Within tolerance",
    "Outside",
    "Other shape",
    "Failed",
    "Dropped",
)
OUTPUT_COLUMNS: Final = (
    "Output",
    "Pairs",
    "Different",
    "Outside",
    "Flips",
    "Largest difference",
    "Distances",
    "Noise floor",
)
COUNTS: Final = ("compared", "identical", "within", "outside", "structural", "failed", "dropped")
"""Members of the results of copies, in the order of the columns."""

NEWEST: Final = 12
"""Happenings that are shown; the document has all."""


def rollout_card(model: Json, *, is_linked: bool = False) -> str:
    """Return the card of a model; empty for one without rollout, shares, copies or a rejected version."""
    delivery = model["delivery"]
    if delivery is None:
        return ""
    name, key = escaped(model["name"]), f"rollout-{escaped(model['path'])}"
    title = f'<a href="models/{escaped(model["path"])}">{name}</a>' if is_linked else name
    subject = _subject(delivery)
    state = f'<span class="state {PHASE_CLASSES[delivery["phase"]]}">{escaped(phase_text(delivery))}</span>'
    return (
        f'<section class="rollout" data-key="{key}" aria-labelledby="{key}">'
        f'<h2 id="{key}">{subject} of {title}</h2><p class="phase" data-key="phase">{state}</p>'
        f"{''.join(_parts(delivery))}</section>"
    )


def _subject(delivery: Json) -> str:
    if delivery["steps"] or delivery["canary"]:
        return "Rollout"
    is_divided = delivery["stable"] or delivery["weights"] or delivery["rejected"] or delivery["mirror"]
    return "Shares and copies" if is_divided or not delivery["warnings"] else "Signatures"


def is_worth_a_card(model: Json) -> bool:
    """Whether a list of models shows this one's rollout: it runs, divides, copies, rejects or changes something."""
    delivery = model["delivery"]
    if delivery is None:
        return False
    is_divided = len(delivery["weights"]) > 1 or delivery["mirror"] or delivery["label_weights"]
    return bool(delivery["phase"] != "idle" or is_divided or delivery["rejected"] or delivery["warnings"])


def _parts(delivery: Json) -> Iterator[str]:
    yield _facts(delivery)
    yield _steps(delivery["steps"])
    arms = delivery["arms"]
    if len(arms) > 1:
        yield table_section(ARMS, ("", *map(_arm_name, arms)), _arms(arms), level=3)
    yield table_section("Metrics", METRIC_COLUMNS, map(_metric, delivery["metrics"]), level=3)
    yield table_section("Compared copies", COPY_COLUMNS, _copies(delivery), level=3)
    yield table_section("Outputs of the copies", OUTPUT_COLUMNS, _outputs(delivery), level=3)
    yield table_section("Rejected versions", ("Version", "Since", "Why"), _rejected(delivery), level=3)
    yield table_section("What happened", ("When", "What", "Details"), _happenings(delivery), level=3)


def _facts(delivery: Json) -> str:
    facts = [(name, text) for name, text in _fact_texts(delivery) if text]
    rows = "".join(f'<div data-key="{name}"><dt>{name}</dt><dd>{text}</dd></div>' for name, text in facts)
    return f'<dl class="facts" data-key="facts">{rows}</dl>' if rows else ""


def _fact_texts(delivery: Json) -> Iterator[tuple[str, str]]:
    yield "Why", long_text(delivery["reason"] or "")
    yield "Paused by", escaped(delivery["paused_by"] or "")
    yield "Next", escaped(next_text(delivery))
    yield "Next at", time_tag(delivery["next_at"]) if delivery["next_at"] else ""
    yield "Stable", escaped(f"version {delivery['stable']}" if delivery["stable"] else "")
    yield "Shares", escaped(weights_text(delivery["weights"]))
    yield "Ordered shares", escaped(weights_text(delivery["ordered_weights"]))
    yield "Copies", escaped(mirror_text(delivery["mirror"]))
    labels = (f"{one['label']}: {weights_text(one['weights'])}" for one in delivery["label_weights"])
    yield "Shares of labels", "<br>".join(map(escaped, labels))
    yield "Same version for the same", escaped(delivery["sticky_header"] or "")
    yield "Follows", escaped(f"version {delivery['queued']}" if delivery["queued"] else "")
    yield "Signatures differ", "<br>".join(map(long_text, delivery["warnings"]))


def _steps(steps: Sequence[Json]) -> str:
    items = "".join(_step(number, one) for number, one in enumerate(steps, 1))
    return f'<ol class="steps" data-key="steps" aria-label="Steps">{items}</ol>' if items else ""


def _step(number: int, step: Json) -> str:
    state = step["state"].replace("_", " ")
    label = f"step {number}, {step_name(step)}: {state}"
    current = ' aria-current="step"' if step["baked_s"] is not None else ""
    gate = f'<span class="soft">gate {long_text(step["gate"])}</span>' if step["gate"] else ""
    how_long = escaped(f"{state}, {bake_text(step)}")
    return (
        f'<li class="{step["state"]}" data-key="step-{number}"{current}>{bar(label, _done(step))}'
        f'<b>{escaped(step_name(step))}</b><span class="soft">{how_long}</span>{gate}</li>'
    )


def _done(step: Json) -> float:
    """Return how much of a step is over; of one without an end, half, once it has begun."""
    if step["baked_s"] is None:
        return 1.0 if step["state"] in {"done", "ended"} else 0.0
    if step["bake_s"] is None:
        return 0.5
    return float(step["baked_s"] / step["bake_s"]) if step["bake_s"] else 1.0


def _arm_name(arm: Json) -> str:
    return escaped(f"Version {arm['version']}, {arm['role']}")


def _arms(arms: Sequence[Json]) -> Iterator[Row]:
    for title, written in ARM_ROWS.items():
        texts = [written(one) for one in arms]
        if any(texts):
            yield Row(title, (title, *map(escaped, texts)))


def _rate_of(member: str) -> Callable[[Json], str]:
    return lambda arm: "" if arm[member] is None else rate(arm[member])


def _errors_of(member: str) -> Callable[[Json], str]:
    def text(arm: Json) -> str:
        return f"{arm[member]} ({rate_text(arm[member] / arm['requests'])})" if arm["requests"] else ""

    return text


ARM_ROWS: Final[Mapping[str, Callable[[Json], str]]] = {
    "Share": lambda arm: percent_text(arm["percent"]),
    "Requests/s": _rate_of("requests_per_s"),
    "Errors/s": _rate_of("errors_per_s"),
    "p50": lambda arm: latency(arm["p50_s"]),
    "p99": lambda arm: latency(arm["p99_s"]),
    "Rows of a run": _rate_of("batch_rows"),
    "Requests": lambda arm: str(arm["requests"]),
    "Server errors": _errors_of("server_errors"),
    "Client errors": _errors_of("client_errors"),
}
"""What is said of each arm; requests and errors since the shares are in force."""


def _metric(metric: Json) -> Row:
    verdict = metric["verdict"]
    share = metric["evidence_share"]
    colour = "bad" if share >= 1 else "warn" if share >= NEAR else "fine"
    drawn = bar(f"evidence {evidence_text(metric)}", share, colour) if verdict != "not_judged" else ""
    limit = metric["limit"]
    limited = f' <span class="soft">{limit["name"]} {limit["value"]:g}</span>' if limit else ""
    cells = (
        f"{escaped(metric['metric'])}{limited}",
        f'<span class="state {VERDICT_CLASSES[verdict]}">{escaped(VERDICTS[verdict])}</span>',
        escaped(events_text(metric["stable"]) if metric["stable"]["requests"] else ""),
        escaped(events_text(metric["canary"]) if metric["canary"]["requests"] else ""),
        f"{escaped(evidence_text(metric))}{drawn}",
        long_text(metric["outlook"] or ""),
    )
    return Row(metric["metric"], cells)


def _copies(delivery: Json) -> Iterator[Row]:
    for key, title in (("mirrored", "version {version}"), ("noise_floor", "stable again: the noise floor")):
        one = delivery[key]
        if one is not None:
            reason = f'<br><span class="soft">{escaped(one["reason"])}</span>' if one["reason"] else ""
            cells = {member: str(one[member]) for member in COUNTS}
            cells["structural"] += reason
            yield Row(key, (escaped(title.format(**one)), *cells.values()))


def _outputs(delivery: Json) -> Iterator[Row]:
    """Yield the outputs of which copies differ, with what the noise floor says of them beside."""
    mirrored, floor = (delivery[key] or {"outputs": ()} for key in ("mirrored", "noise_floor"))
    noise = {one["output"]: one for one in floor["outputs"]}
    for one in mirrored["outputs"]:
        name = one["output"]
        cells = (
            escaped(name),
            *(str(one[member]) for member in ("pairs", "different", "outside", "flips")),
            f"{one['largest']:.3g}",
            _distances(f"relative distances of {name}", one),
            _noise(name, noise.get(name)),
        )
        yield Row(name, cells)


def _noise(name: str, one: Json | None) -> str:
    if one is None:
        return ""
    return f"at most {one['largest']:.3g}{_distances(f'relative distances of {name} to itself', one)}"


def _distances(label: str, output: Json) -> str:
    counts = {one["up_to"]: one["pairs"] for one in output["distances"]}
    ordered = [counts.get(edge, 0) for edge in (*L2_EDGES, None)]
    spoken = ", ".join(f"{number} {_up_to(edge)}" for edge, number in counts.items())
    return histogram(f"{label}: {spoken}", ordered)


def _up_to(edge: float | None) -> str:
    return "above" if edge is None else f"up to {edge:.0e}"


def _rejected(delivery: Json) -> Iterator[Row]:
    for one in delivery["rejected"]:
        yield Row(one["version"], (escaped(one["version"]), time_tag(one["at"]), long_text(one["reason"] or "")))


def _happenings(delivery: Json) -> Iterator[Row]:
    """Yield what happened last, the newest first."""
    newest = list(enumerate(delivery["happenings"]))[-NEWEST:]
    for number, one in reversed(newest):
        cells = (time_tag(one["at"]), escaped(happening_name(one)), long_text(one["text"] or ""))
        yield Row(f"{one['at']} {number}", cells)
