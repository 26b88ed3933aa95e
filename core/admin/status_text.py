"""Renders the status document as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]

COLUMNS = ("MODEL", "VERSION", "STATE", "FOR", "LOADED IN", "REPLICAS", "REQ/S", "P50", "P99", "LABELS")


def status_text(document: Json, server: str, model: str = "") -> str:
    """Return the server and its models, or one model in full."""
    document = printable(document)
    now = _now(document["server"])
    models = [one for one in document["models"] if not model or one["name"] == model]
    blocks = ["\n".join(_server_lines(document, server)), *_tables(models, now), *_remarks(document, models)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _server_lines(document: Json, server: str) -> Iterable[str]:
    about = document["server"]
    state = about.get("state") or ("ready" if about["ready"] else "not ready")  # earlier versions have two states
    state = f"{state}, stopping" if about["draining"] else state
    up = duration(about["uptime_s"])
    yield f"Ray Model Server {about['version']} at {server}: {state}, up {up}, routing generation {about['generation']}"
    yield from _places(about["listens"], document["configuration"])
    slow = [one for model in document["models"] for one in model["versions"] if one.get("runs_by") == "python"]
    if slow:
        versions = "1 version" if len(slow) == 1 else f"{len(slow)} versions"
        yield f"Runs of {versions} are called by Python alone, which takes longer than the compiled part."
    if not document["watcher"]["answers"]:
        yield "The watcher does not answer: no version is loaded or unloaded until it does."
    yield from (f"Warning: {one}" for one in about.get("warnings") or ())  # earlier versions have none


def _places(listens: Sequence[Json] | None, configuration: Json) -> Iterable[str]:
    """Yield where the server listens and where its models come from, unless the caller may not see that."""
    if listens is not None:
        texts = (f"{one['protocol']} {one['address']}{' (TLS)' if one['encrypted'] else ''}" for one in listens)
        yield f"Listens: {', '.join(texts) or 'nowhere'}"
    if configuration["origin"] is None:
        return
    files = ", ".join(configuration["files"])
    if configuration["origin"] == "request":
        yield "Models: changed at run time" + (f", until the content of {files} changes" if files else "")
    else:
        yield f"Models: from {files or 'flags'}"


def _tables(models: Sequence[Json], now: datetime) -> list[str]:
    rows = [row for one in models for row in _rows(one, now)]
    return [table(COLUMNS, rows)] if rows else ["No models."]


def _rows(model: Json, now: datetime) -> list[Sequence[str]]:
    name = model["name"]
    rows = [_row(name if not number else "", one, model, now) for number, one in enumerate(model["versions"])]
    return rows or [(name, "-", "no version", *[""] * (len(COLUMNS) - 3))]


def _row(name: str, version: Json, model: Json, now: datetime) -> Sequence[str]:
    state = version["state"] if version["aspired"] or version["state"] == "END" else f"{version['state']} (unwanted)"
    failed = version["error"] is not None and version["state"] == "END" and version["aspired"]
    return (
        name,
        version["version"],
        "FAILED" if failed else "FAILING" if version["failing"] is not None else state,
        duration((now - _moment(version["since"])).total_seconds()),
        f"{version['load_s']:.1f} s" if version["load_s"] is not None else "",
        replicas_text(version) if version["replicas"] or version["state"] != "END" else "",
        *traffic_texts(version.get("traffic")),
        ", ".join(_labels(version, model)),
    )


def replicas_text(version: Json) -> str:
    """Return how many replicas run, and whether they are hosted; earlier versions do not say."""
    if version["replicas"] is None:
        return "unknown"
    return f"{version['replicas']} (hosted)" if version.get("placement") == "hosted" else str(version["replicas"])


def traffic_texts(traffic: Json | None) -> tuple[str, str, str]:
    """Return requests per second, and the latencies p50 and p99 of successful requests."""
    if traffic is None:
        return "", "", ""
    return requests_text(traffic), latency(traffic["p50_s"]), latency(traffic["p99_s"])


def requests_text(traffic: Json) -> str:
    """Return requests per second, and how many of them were errors, if any."""
    requests, errors = traffic["requests_per_s"], traffic.get("errors_per_s", 0.0)
    return f"{rate(requests)} ({rate(errors)} errors)" if errors else rate(requests)


def rate(per_s: float) -> str:
    """Return a rate with its significant digits."""
    if per_s >= 100:
        return f"{per_s:.0f}"
    return f"{per_s:.1f}" if per_s >= 1 or not per_s else f"{per_s:.2f}"


def latency(seconds: float | None) -> str:
    """Return a latency with its significant digits; empty for none."""
    if seconds is None:
        return ""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.2f} ms"


def _labels(version: Json, model: Json) -> Iterable[str]:
    for one in model["labels"]:
        if one["version"] == version["version"]:
            yield f"{one['name']} (pending)" if one["pending"] else one["name"]
        elif one["meanwhile"] == version["version"]:
            yield f"{one['name']} (until {one['version']} answers)"


def _remarks(document: Json, models: Sequence[Json]) -> list[str]:
    """Return errors and unfinished work, one block for each kind."""
    problems = [_problem_line(one) for one in document["configuration"]["problems"] or ()]
    refused = ["The configuration files have mistakes, and what was in force before stays:", *problems]
    lines = [line for one in models for line in _model_remarks(one)]
    return ["\n".join(refused) if problems else "", "\n".join(lines)]


def _problem_line(problem: Json) -> str:
    place = problem["file"] if problem["line"] is None else f"{problem['file']}:{problem['line']}"
    return "  " + ": ".join(part for part in (place, problem["field"], problem["message"]) if part)


def _model_remarks(model: Json) -> Iterable[str]:
    name = model["name"]
    if model["problem"]:
        yield f"{name}: {model['problem']}"
    if model.get("refused_per_s"):
        yield f"{name}: {rate(model['refused_per_s'])} requests a second are refused"
    warnings = (model.get("delivery") or {}).get("warnings", ())  # earlier versions have none
    yield from (f"{name}: the new version differs from the one before: {one}" for one in warnings)
    for one in model["versions"]:
        yield from (f"{name} version {one['version']}: {text}" for text in _errors(one))
    known = {one["version"] for one in model["versions"]}
    for one in model["labels"]:
        if one["pending"] and one["version"] not in known:
            yield f"{name} label {one['name']}: pending, version {one['version']} is not there"
    for one in model["waiting"]:
        yield f"{name} version {one['version']}: not loaded, {one['reason']}"
    for one in model["ignored"]:
        yield f"{name} directory {one['name']}: ignored, {one['reason']}"


def _errors(version: Json) -> Iterable[str]:
    error, failing = version["error"], version["failing"]
    if error is not None and version["aspired"]:
        attempt = f" (attempt {version['failed_attempts'] + 1} at {version['next_attempt']})"
        yield f"{error['message']}{attempt if version['next_attempt'] else ''}"
    if failing is not None:
        yield f"{failing['code']}: {failing['message']}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows under their columns, all left-aligned."""
    lines = [columns, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = max(0, int(seconds))
    for unit_s, unit, smaller_s, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // smaller_s
            return f"{whole // unit_s} {unit} {rest} {smaller}" if rest else f"{whole // unit_s} {unit}"
    return f"{whole} s"


def printable(value: Any) -> Any:
    """Return a JSON value without control characters, which a terminal would interpret."""
    if isinstance(value, str):
        return "".join(one if one.isprintable() else " " for one in value)
    if isinstance(value, Mapping):
        return {key: printable(one) for key, one in value.items()}
    return [printable(one) for one in value] if isinstance(value, list) else value


def _now(server: Json) -> datetime:
    """Return the present time by the server's clock, which may differ from the local one."""
    started = _moment(server["started"])
    return datetime.fromtimestamp(started.timestamp() + server["uptime_s"], started.tzinfo)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
