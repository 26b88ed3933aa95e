"""The document of a replay as one page: without script, and without anything that a network would have to bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.pages.frame import still_page
from core.pages.tables import escaped, long_text, row_of, table_section
from core.replay.replay_plots import distance_plot, latency_plot
from core.replay.replay_text import (
    heading,
    latency_rows,
    output_rows,
    request_lines,
    result_rows,
    share_text,
    verdict_text,
    worst_groups,
)

MOST_FIGURES: Final = 24
"""Outputs whose distances are drawn; all are in the table."""

_STATES: Final = {"same": "good", "different": "bad", "unknown": "warn"}
_FIGURES: Final = ("Different", "Outside", "Flips", "L2 p50", "L2 p99", "Largest")
_L2: Final = (
    "Relative distance (L2): the norm of an output's difference by that of the old version's values; of texts 1, if "
    "one differs. A flip is a row whose largest column is another one. Shares are of requests."
)

Json = Mapping[str, Any]


def replay_page(document: Json, style: str) -> str:
    """Return the page of a document."""
    title = heading(document)
    sections = (
        _outcome(document),
        _signatures(document),
        _results(document),
        _outputs(document),
        _distances(document),
        _latency(document),
        _worst(document),
        _errors(document),
    )
    return still_page(
        title, f'<span class="brand">Ray Model Server</span><h1>{escaped(title)}</h1>', "".join(sections), style
    )


def _outcome(document: Json) -> str:
    state = _STATES[document["verdict"]]
    lines = "".join(f"<p>{long_text(line)}</p>" for line in request_lines(document))
    return (
        f'<section><p class="verdict"><span class="state {state}"></span>'
        f"{escaped(verdict_text(document))}</p>{lines}</section>"
    )


def _signatures(document: Json) -> str:
    problems = "".join(f"<li>{long_text(one)}</li>" for one in document["signature_problems"])
    return f"<section><h2>Signatures differ</h2><ul>{problems}</ul></section>" if problems else ""


def _results(document: Json) -> str:
    rows = [row_of(str(row[0]), *row) for row in result_rows(document)]
    columns = ("Answers", "Requests", "Share", *(f"{escaped(document[key])} asked twice" for key in ("old", "new")))
    remark = document["structural_because"]
    return table_section("Results", columns, rows) + (f"<p>For example: {long_text(remark)}</p>" if remark else "")


def _outputs(document: Json) -> str:
    rows = [
        row_of(f"{one['name']} {row[0]}", row[0].strip(), *row[1:])
        for one in document["outputs"]
        for row in output_rows(document, one)
    ]
    table = table_section("Outputs that differ", ("Output", *_FIGURES), rows)
    return f'{table}<p class="soft">{_L2}</p>' if table else ""


def _distances(document: Json) -> str:
    figures = "".join(_distance(one, document) for one in document["outputs"][:MOST_FIGURES])
    if not figures:
        return ""
    keys = _keys({"new": f"{document['new']} against {document['old']}", "noise": f"{document['old']} against itself"})
    return f'<section><h2>Requests by relative distance</h2>{keys}<div class="figures">{figures}</div></section>'


def _distance(one: Json, document: Json) -> str:
    new, noise = one["relative_l2"]["buckets"], one["noise"]["old"]["relative_l2"]["buckets"]
    flips = share_text(one["flips"], one["pairs"])
    name = escaped(one["name"])
    caption = f"<figcaption><b>{name}</b><span>flips {flips or '0 %'}</span></figcaption>"
    label = f"Distances of {one['name']} between versions {document['new']} and {document['old']}, as in the table"
    return f"<figure>{caption}{distance_plot(label, new, noise)}</figure>"


def _latency(document: Json) -> str:
    rows = [row_of(str(row[0]), *row) for row in latency_rows(document)]
    if not rows:
        return ""
    names = {key: document[key] for key in ("old", "new")}
    curves = {f"{key}-line": document["latency"][key]["steps"] for key in names}
    plot = latency_plot("Latencies by percentile; the table has them, too", curves)
    keys = _keys({f"{key}-line": name for key, name in names.items()})
    table = table_section("Latency", ("Version", "p50", "p90", "p99", "Longest", "Mean"), rows)
    figure = f'<figure class="latency"><figcaption><b>Latency by percentile</b></figcaption>{keys}{plot}</figure>'
    return f"{table}{figure}"


def _worst(document: Json) -> str:
    rows = [row_of(one.requests, *one) for one in worst_groups(document)]
    return table_section("Requests that differ most", ("Records or lines", "Result", "How"), rows)


def _errors(document: Json) -> str:
    rows = [
        row_of(f"{one['version']} {one['code']} {one['text']}", one["version"], one["code"], one["count"], one["text"])
        for one in document["errors"]
    ]
    return table_section("Errors", ("Version", "Code", "Times", "Text"), rows)


def _keys(names: Mapping[str, str]) -> str:
    return f'<p class="keys">{"".join(_key(style, name) for style, name in names.items())}</p>'


def _key(style: str, name: str) -> str:
    return f'<span class="key"><svg viewBox="0 0 24 12" aria-hidden="true">{_mark(style)}</svg>{escaped(name)}</span>'


def _mark(style: str) -> str:
    if style.endswith("-line"):
        return f'<polyline class="{style}" points="0,6 24,6"/>'
    return f'<rect class="{style}" x="6" y="1" width="12" height="10"/>'
