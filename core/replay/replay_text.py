"""Renders the document of a replay as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from core.admin.status_text import latency, printable, table
from core.pages.tables import counted

Json = Mapping[str, Any]

MOST_OUTPUTS: Final = 20
MOST_WORST: Final = 5
MOST_PROBLEMS: Final = 10
_NARROWEST: Final = 40
_SHORTEST_NAME: Final = 12
_OUTPUT_COLUMNS: Final = ("OUTPUT", "DIFFERENT", "OUTSIDE", "FLIPS", "L2 P50", "L2 P99", "LARGEST")

RESULTS: Final = {
    "identical": "identical",
    "within": "within the tolerance",
    "outside": "outside of the tolerance",
    "structural": "other outputs, types or shapes",
}
"""What became of pairs, by the names of the document."""


def replay_text(document: Json, width: int = 80) -> str:
    """Return the lines, none longer than the width if that is not too narrow."""
    document, width = printable(document), max(width, _NARROWEST)
    blocks = (
        _head(document, width),
        _signatures(document, width),
        _result_table(document),
        _output_table(document, width),
        _latency_table(document),
        _worst(document, width),
        _errors(document, width),
        _verdict(document, width),
    )
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block))) + "\n"


def share_text(count: int, of: int) -> str:
    """Return a share in percent; empty where there is nothing of which it is one."""
    if not of:
        return ""
    share = 100 * count / of
    return f"{share:.3g} %" if share < 99.95 or count == of else "99.9 %"


def distance_text(distance: float | None) -> str:
    """Return an edge below which distances are."""
    if distance is None:
        return ">10"
    return f"<{distance:g}".replace("e-0", "e-") if distance else "0"


def heading(document: Json) -> str:
    """Return what was compared."""
    return f"{document['model']}: version {document['new']} against version {document['old']}"


def request_lines(document: Json) -> Iterator[str]:
    """Yield what was replayed and what was not."""
    requests = document["requests"]
    files = requests["files"]
    more = f" and {counted(len(files) - 1, 'more file')}" if len(files) > 1 else ""
    yield f"{counted(requests['replayed'], 'request')} of {files[0]}{more}, to {document['server']}"
    if requests["left_out"]:
        yield f"left out {requests['left_out']:,}, one of them because: {requests['left_out_because']}"
    if requests["ended"]:
        yield f"the rest was not read: {requests['ended']}"


def verdict_text(document: Json) -> str:
    """Return the outcome in a word and the reasons."""
    word = {"same": "SAME", "different": "DIFFERENT", "unknown": "UNKNOWN"}[document["verdict"]]
    tolerance = document["tolerance"]
    within = (
        f"every value is within {tolerance['atol']:g} + {tolerance['rtol']:g} * |value| of that of {document['old']}"
    )
    chance = f"it differs from {document['old']} as {document['old']} differs from itself"
    results = document["results"]
    same = chance if results["outside"] + results["structural"] + results["failed"] else within
    return f"{word}: {'; '.join(document['because']) or same}"


def result_rows(document: Json) -> list[Sequence[str]]:
    """Return the rows of the table of results: what, requests, share, and the same for each version asked twice."""
    results, noise = document["results"], document["noise"]
    total = document["requests"]["replayed"]
    found: list[Sequence[str]] = []
    for key, text in (*RESULTS.items(), ("failed", f"{document['new']} alone failed")):
        by_chance = [(noise[one][key], sum(noise[one].values())) for one in ("old", "new")]
        if results[key] or any(count for count, _ in by_chance):
            shares = (share_text(count, of) for count, of in by_chance)
            found.append((text, f"{results[key]:,}", share_text(results[key], total), *shares))
    for key, text in (("old_failed", f"{document['old']} alone failed"), ("both_failed", "both failed")):
        if results[key]:
            found.append((text, f"{results[key]:,}", share_text(results[key], total), "", ""))
    return found


def output_rows(document: Json, one: Json) -> list[tuple[str, ...]]:
    """Return the rows of an output: its name and figures, and those of a version that differs in it from itself."""
    by_chance = [
        (f"  {document[key]} against itself", *_output_row(one["noise"][key]))
        for key in ("old", "new")
        if one["noise"][key]["different"]
    ]
    return [(one["name"], *_output_row(one)), *by_chance]


def _output_row(one: Json) -> tuple[str, ...]:
    """Return the figures of an output in one row, without its name."""
    distances = one["relative_l2"]
    return (
        share_text(one["different"], one["pairs"]),
        share_text(one["outside"], one["pairs"]),
        share_text(one["flips"], one["pairs"]),
        distance_text(distances["p50"]),
        distance_text(distances["p99"]),
        f"{one['largest']:.3g}",
    )


def latency_rows(document: Json) -> list[Sequence[str]]:
    """Return the rows of the table of latencies, without calls none."""
    found = ((document[key], document["latency"][key]) for key in ("old", "new"))
    keys = ("p50_s", "p90_s", "p99_s", "max_s", "mean_s")
    return [(name, *(latency(one[key]) for key in keys)) for name, one in found if one is not None]


class WorstRequests(NamedTuple):
    """Requests whose answers differ much, and all in the same way."""

    requests: str
    result: str
    text: str


def worst_groups(document: Json) -> list[WorstRequests]:
    """Return the requests that differ most, the worst first; of errors there is a list of its own."""
    places: dict[tuple[str, str], list[str]] = {}
    for one in document["worst"]:
        if one["result"] in {"outside", "structural"}:
            places.setdefault((one["result"], one["text"]), []).append(one["request"])
    return [WorstRequests(", ".join(requests), *how) for how, requests in places.items()]


def short_name(name: str, longest: int) -> str:
    """Return a name that has at most so many characters: its beginning and its end."""
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f"{name[: longest - 1 - end]}\u2026{name[-end:]}"


def _head(document: Json, width: int) -> Iterator[str]:
    yield from _wrapped(heading(document), width)
    for line in request_lines(document):
        yield from _wrapped(line, width)


def _signatures(document: Json, width: int) -> Iterator[str]:
    problems = document["signature_problems"]
    for problem in problems[:MOST_PROBLEMS]:
        yield from _wrapped(f"signatures: {problem}", width)
    if len(problems) > MOST_PROBLEMS:
        yield f"signatures: and {len(problems) - MOST_PROBLEMS} more differences"


def _result_table(document: Json) -> Iterator[str]:
    rows = result_rows(document)
    if rows:
        chance = (f"{document['old']} TWICE", f"{document['new']} TWICE")
        yield table(("ANSWERS", "REQUESTS", "SHARE", *chance), rows)


def _output_table(document: Json, width: int) -> Iterator[str]:
    outputs = document["outputs"]
    rows = [row for one in outputs[:MOST_OUTPUTS] for row in output_rows(document, one)]
    if not rows:
        return
    others = [max(map(len, column)) for column in list(zip(_OUTPUT_COLUMNS, *rows, strict=True))[1:]]
    longest = max(_SHORTEST_NAME, width - sum(others) - 2 * len(others))
    yield table(_OUTPUT_COLUMNS, [(short_name(name, longest), *rest) for name, *rest in rows])
    if len(outputs) > MOST_OUTPUTS:
        yield f"and {len(outputs) - MOST_OUTPUTS} more outputs"


def _latency_table(document: Json) -> Iterator[str]:
    rows = latency_rows(document)
    if rows:
        yield table(("VERSION", "P50", "P90", "P99", "MAX", "MEAN"), rows)


def _worst(document: Json, width: int) -> Iterator[str]:
    for one in worst_groups(document)[:MOST_WORST]:
        requests = f"{'requests' if ',' in one.requests else 'request'} {one.requests}"
        yield from _wrapped(f"{requests}: {one.result}: {one.text}", width)


def _errors(document: Json, width: int) -> Iterator[str]:
    for one in document["errors"][:MOST_WORST]:
        yield from _wrapped(
            f"version {one['version']}, {counted(one['count'], 'time')} {one['code']}: {one['text']}", width
        )


def _verdict(document: Json, width: int) -> Iterator[str]:
    yield from _wrapped(verdict_text(document), width)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False) or [""]
