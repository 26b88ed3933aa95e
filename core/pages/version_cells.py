"""A version of the status document as cells of a table: its state, labels and traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from core.admin.status_text import duration, latency, rate, replicas_text, requests_text
from core.pages.sparkline import sparkline
from core.pages.tables import escaped, long_text, moment
from core.routing.admission import limit_text

Json = Mapping[str, Any]

FAILED = "FAILED"
FAILING = "FAILING"
STATE_CLASSES = {"AVAILABLE": "good", FAILED: "bad", FAILING: "bad", "END": "idle"}
VERSION_COLUMNS = ("Version", "State", "For", "Replicas", "Labels", "Requests/s", "p50", "p99", "Loaded in")
LIMIT_COLUMNS = ("Requests/s at most", "In work at most", "Refused/s")
WITHOUT_PAGE = frozenset({".", ".."})
"""Names that browsers take for a way up, however they are written."""


def version_cells(version: Json, model: Json, now: datetime) -> tuple[str, ...]:
    """Return the cells of `VERSION_COLUMNS`."""
    shown = shown_state(version)
    unwanted = "" if version["aspired"] or shown == "END" else " (not wanted any more)"
    return (
        escaped(version["version"]),
        f"{state_mark(shown)}{unwanted}",
        duration((now - moment(version["since"])).total_seconds()),
        escaped(replicas_text(version)),
        escaped(", ".join(_labels_of(version["version"], model))),
        *_traffic(version["traffic"]),
        f"{version['load_s']:.1f} s" if version["load_s"] is not None else "",
    )


def shown_state(version: Json) -> str:
    """Return the state in the word that people see."""
    if version["failing"] is not None:
        return FAILING
    failed = version["error"] is not None and version["state"] == "END" and version["aspired"]
    return FAILED if failed else str(version["state"])


def state_mark(shown: str) -> str:
    """Return a state with its mark."""
    return f'<span class="state {STATE_CLASSES.get(shown, "busy")}">{escaped(shown)}</span>'


def with_paths(document: Json) -> Json:
    """Return a document in which models and labels have paths of their names; before characters are replaced."""
    models = [{**_with_path(one), "labels": list(map(_with_path, one["labels"]))} for one in document["models"]]
    return {**document, "models": models}


def _with_path(named: Json) -> Json:
    return {**named, "path": path_part(named["name"])}


def path_part(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="", errors="replace")


def limit_cells(model: Json) -> tuple[str, ...]:
    """Return the cells of `LIMIT_COLUMNS`; none for a model without limits of which no request is refused."""
    limits, refused = model["limits"], model["refused_per_s"]
    if not any(limits.values()) and not refused:
        return ()
    texts = ("" if limit is None else limit_text(limit) for limit in limits.values())
    return (*texts, "" if refused is None else rate(refused))


def model_link(model: Json) -> str:
    """Return a model's name, as a link from `/` to its page."""
    if model["name"] in WITHOUT_PAGE:
        return long_text(model["name"])
    return f'<a href="models/{escaped(model["path"])}">{escaped(model["name"])}</a>'


def _traffic(traffic: Json | None) -> tuple[str, str, str]:
    """Return the present rates, with curves of the requests and of the p99 latency."""
    if traffic is None:
        return "", "", ""
    return (
        f"{requests_text(traffic)}{_curve(traffic, 'requests_per_s', 'requests per second', rate)}",
        latency(traffic["p50_s"]),
        f"{latency(traffic['p99_s'])}{_curve(traffic, 'p99_s', 'p99 latency', latency)}",
    )


def _curve(traffic: Json, member: str, title: str, written: Callable[[float], str]) -> str:
    points = [(one["s_ago"], one[member]) for one in traffic["history"]]
    most = max((value for _, value in points if value is not None), default=0.0)
    label = f"{title} over the last {duration(traffic['history_s'])}: at most {written(most)}"
    return sparkline(label, points, traffic["history_s"])


def _labels_of(number: str, model: Json) -> Iterator[str]:
    """Yield the labels that name a version, or will when it answers."""
    for one in model["labels"]:
        if one["version"] == number:
            yield f"{one['name']} (pending)" if one["pending"] else one["name"]
        elif one["meanwhile"] == number:
            yield f"{one['name']} (until {one['version']} answers)"
