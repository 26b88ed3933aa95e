"""Renders the status document as a web page, readable without script, style or external resources.

The style and the script are part of the page. A Content-Security-Policy with their hashes forbids all others, so that
even a text that escaped the escaping could not run.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.admin.sparkline import sparkline
from core.admin.status_text import duration, latency, printable, rate, replicas_text, requests_text

Json = Mapping[str, Any]

LONGEST_TEXT = 300
"""Characters of a text that are shown unfolded, so that one error does not fill the screen."""

FAILED = "FAILED"
FAILING = "FAILING"
STATE_CLASSES = {"AVAILABLE": "good", FAILED: "bad", FAILING: "bad", "END": "idle"}
SERVER_CLASSES = {"ready": "good", "ready with problems": "warn", "not ready": "bad"}
VERSIONS = ("Model", "Version", "State", "For", "Replicas", "Labels", "Requests/s", "p50", "p99", "Loaded in")


@dataclass(frozen=True, slots=True)
class StyleAndScript:
    """The style sheet and the script of the page, without their tags."""

    style: str = ""
    script: str = ""

    @property
    def policy(self) -> str:
        """The Content-Security-Policy that allows this style, this script and requests to this server only."""
        return (
            f"default-src 'none'; style-src {_hash(self.style)}; script-src {_hash(self.script)}; "
            "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a table: the key of its subject, and its cells in HTML."""

    key: str
    cells: Sequence[str]


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def status_page(document: Json, assets: StyleAndScript) -> str:
    """Render the whole page."""
    document = printable(document)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>Ray Model Server: {_condition(document['server'])}</title>\n<style>{assets.style}</style>\n</head>\n"
        '<body>\n<header><h1>Ray Model Server</h1><p id="connection" role="status" aria-live="polite"></p>'
        '<label id="refresh" hidden><input type="checkbox" checked> Refresh by itself</label>'
        '<p id="reload">Reload the page to see what is new.</p></header>\n'
        f'<main id="main">{"".join(_sections(document))}</main>\n'
        '<footer><p>The same for scripts: <a href="status.json">status.json</a></p></footer>\n'
        f"<script>{assets.script}</script>\n</body>\n</html>\n"
    )


def _condition(server: Json) -> str:
    return f"{server['state']}, stopping" if server["draining"] else str(server["state"])


def _sections(document: Json) -> Iterator[str]:
    models = document["models"]
    now = _moment(document["server"]["started"]) + timedelta(seconds=document["server"]["uptime_s"])
    yield _summary(document)
    yield _table("Configuration problems", ("Place", "Field", "Problem"), _problems(document["configuration"]))
    yield _table("Slow installation", ("Why",), (_row(one, one) for one in document["server"]["warnings"]))
    yield _table("Models with a problem", ("Model", "Problem"), _model_problems(models))
    yield _table("Failed loads", ("Model", "Version", "Error", "Attempts"), _failures(models))
    yield _table("Versions that answer with errors only", ("Model", "Version", "Error"), _failing(models))
    yield _table("Rollouts in progress", ("Model", "Loading", "Unloading", "Order"), _rollouts(models))
    yield _table("Versions", VERSIONS, _versions(models, now)) or _empty("Versions", "There is no version.")
    yield _table("Limits", ("Model", "Requests/s at most", "In work at most", "Refused/s"), _limits(models))
    yield _table("Labels", ("Label", "Model", "Version", "State"), _labels(models))
    yield _table("Versions that are not complete", ("Version", "Model", "Why it waits"), _waiting(models))
    yield _table("Ignored directories", ("Directory", "Model", "Why"), _ignored(models))
    yield _table("Models", ("Model", "Base path", "Versions to serve", "Rollout"), _models(models)) or _empty(
        "Models", "No model is configured."
    )
    yield _server(document, now)


def _summary(document: Json) -> str:
    """Return the summary, which screen readers announce when it changes."""
    shown = Counter(_shown(one) for model in document["models"] for one in model["versions"])
    states = ", ".join(f"{number} {state}" for state, number in sorted(shown.items())) or "none"
    reasons = document["server"]["reasons"]
    condition = _condition(document["server"])
    state_class = SERVER_CLASSES[document["server"]["state"]]
    counted = f"{_count(len(document['models']), 'model')}. Versions: {states}."
    problems_text = f" Problems: {len(reasons)}." if reasons else ""
    why = f" {_text(reasons[0][:LONGEST_TEXT])}." if reasons and not document["server"]["ready"] else ""
    silent = "" if document["watcher"]["answers"] else " The watcher does not answer: no version changes until it does."
    state = f'<strong class="state {state_class}">{condition}</strong>'
    text = f"{state} {counted}{problems_text}{why}{silent}"
    return f'<p class="summary" role="status" aria-live="polite" data-key="summary">{text}</p>'


def _server(document: Json, now: datetime) -> str:
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(document, now))
    return f'<section aria-labelledby="server" data-key="server"><h2 id="server">Server</h2><dl>{facts}</dl></section>'


def _facts(document: Json, now: datetime) -> Iterator[tuple[str, str]]:
    server, watcher, configuration = document["server"], document["watcher"], document["configuration"]
    yield "As of", _time(now.isoformat(timespec="seconds").replace("+00:00", "Z"))
    yield "Version", _text(server["version"])
    yield "Up for", f"{duration(server['uptime_s'])}, since {_time(server['started'])}"
    yield "Routing generation", _text(server["generation"])
    yield "Listens", "<br>".join(_listener(one) for one in server["listens"]) or "nowhere"
    yield "Router", f"{_text(server['router']['name'])}, since {_time(server['router']['started'])}"
    yield "Watcher", _watcher(watcher)
    files = "<br>".join(_text(one) for one in configuration["files"]) or "flags"
    changed = configuration["origin"] == "request"
    yield (
        "Models come from",
        f"a request at run time; until its content changes, not from {files}" if changed else files,
    )


def _listener(one: Json) -> str:
    return f"{_text(one['protocol'])} {_text(one['address'])}{' (TLS)' if one['encrypted'] else ''}"


def _watcher(watcher: Json) -> str:
    answers = "answers" if watcher["answers"] else "does not answer"
    ticked = watcher["ticked_s_ago"]
    return answers if ticked is None else f"{answers}, last looked {duration(ticked)} ago"


def _problems(configuration: Json) -> Iterator[_Row]:
    for number, one in enumerate(configuration["problems"]):
        place = one["file"] if one["line"] is None else f"{one['file']}:{one['line']}"
        yield _row(str(number), place, one["field"], one["message"])


def _model_problems(models: Sequence[Json]) -> Iterator[_Row]:
    yield from (_row(one["name"], one["name"], one["problem"]) for one in models if one["problem"])


def _rollouts(models: Sequence[Json]) -> Iterator[_Row]:
    for one in models:
        rollout = one["rollout"]
        if rollout["in_progress"]:
            going = (", ".join(rollout["loading"]), ", ".join(rollout["unloading"]), rollout["policy"])
            yield _row(one["name"], one["name"], *going)


def _versions(models: Sequence[Json], now: datetime) -> Iterator[_Row]:
    for model in models:
        yield from (_version(model["name"], one, model, now) for one in model["versions"])


def _version(name: str, version: Json, model: Json, now: datetime) -> _Row:
    shown = _shown(version)
    unwanted = "" if version["aspired"] or shown == "END" else " (not wanted any more)"
    cells = (
        _text(name),
        _text(version["version"]),
        f'<span class="state {STATE_CLASSES.get(shown, "busy")}">{_text(shown)}</span>{unwanted}',
        duration((now - _moment(version["since"])).total_seconds()),
        _text(replicas_text(version)),
        _text(", ".join(_labels_of(version["version"], model))),
        *_traffic(version["traffic"]),
        f"{version['load_s']:.1f} s" if version["load_s"] is not None else "",
    )
    return _Row(f"{name} {version['version']}", cells)


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


def _shown(version: Json) -> str:
    if version["failing"] is not None:
        return FAILING
    failed = version["error"] is not None and version["state"] == "END" and version["aspired"]
    return FAILED if failed else str(version["state"])


def _labels_of(number: str, model: Json) -> Iterator[str]:
    """Yield the labels that name a version, or will when it answers."""
    for one in model["labels"]:
        if one["version"] == number:
            yield f"{one['name']} (pending)" if one["pending"] else one["name"]
        elif one["meanwhile"] == number:
            yield f"{one['name']} (until {one['version']} answers)"


def _failures(models: Sequence[Json]) -> Iterator[_Row]:
    for name, one in ((model["name"], one) for model in models for one in model["versions"]):
        error, number = one["error"], one["version"]
        if error is not None:
            text = f"{_text(error['code'])}: {_long(error['message'])}"
            yield _Row(f"{name} {number}", (_text(name), _text(number), text, _attempts(one)))


def _failing(models: Sequence[Json]) -> Iterator[_Row]:
    for name, one in ((model["name"], one) for model in models for one in model["versions"]):
        error, number = one["failing"], one["version"]
        if error is not None:
            yield _Row(
                f"{name} {number}", (_text(name), _text(number), f"{_text(error['code'])}: {_long(error['message'])}")
            )


def _attempts(version: Json) -> str:
    again = f"; again at {_time(version['next_attempt'])}" if version["next_attempt"] else ""
    return f"{version['failed_attempts']}{again}"


def _limits(models: Sequence[Json]) -> Iterator[_Row]:
    """Yield the models with limits, and those of which requests are refused all the same."""
    for one in models:
        limits, refused = list(one["limits"].values()), one["refused_per_s"]
        if any(limits) or refused:
            texts = ("" if limit is None else f"{limit:g}" for limit in limits)
            yield _row(one["name"], one["name"], *texts, "" if refused is None else rate(refused))


def _labels(models: Sequence[Json]) -> Iterator[_Row]:
    for model in models:
        name = model["name"]
        for one in model["labels"]:
            yield _row(f"{name} {one['name']}", one["name"], name, one["version"], _label_state(one))


def _label_state(label: Json) -> str:
    if not label["pending"]:
        return "answers"
    return f"pending, meanwhile version {label['meanwhile']} answers" if label["meanwhile"] else "pending"


def _waiting(models: Sequence[Json]) -> Iterator[_Row]:
    for name, one in ((model["name"], one) for model in models for one in model["waiting"]):
        yield _row(f"{name} {one['version']}", one["version"], name, one["reason"])


def _ignored(models: Sequence[Json]) -> Iterator[_Row]:
    for name, one in ((model["name"], one) for model in models for one in model["ignored"]):
        yield _row(f"{name} {one['name']}", one["name"], name, one["reason"])


def _models(models: Sequence[Json]) -> Iterator[_Row]:
    for one in models:
        name = one["name"] if one["configured"] else f"{one['name']} (not configured any more)"
        yield _row(one["name"], name, one["base_path"], _policy(one["version_policy"]), one["rollout"]["policy"])


def _policy(policy: Json | None) -> str:
    if policy is None:
        return ""
    if "specific" in policy:
        return f"specific: {', '.join(policy['specific'])}"
    if "extension" in policy:
        return " ".join((policy["extension"], *(f"{name}={value}" for name, value in policy["arguments"].items())))
    return "all" if "all" in policy else f"latest {policy['latest']}"


def _row(key: str, *cells: object) -> _Row:
    return _Row(key, [_long(str(one)) for one in cells])


def _table(title: str, columns: Sequence[str], rows: Iterable[_Row]) -> str:
    """Return a table, empty without rows. Roles are explicit, because a style may remove those that tables have."""
    body = "".join(_table_row(columns, one) for one in rows)
    if not body:
        return ""
    head = "".join(f'<th scope="col" role="columnheader">{one}</th>' for one in columns)
    return (
        f'<section data-key="{title}"><table role="table"><caption role="caption"><h2>{title}</h2></caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
        "</section>"
    )


def _table_row(columns: Sequence[str], row: _Row) -> str:
    first, *others = row.cells
    cells = "".join(
        f'<td role="cell" data-column="{column}">{cell}</td>' for column, cell in zip(columns[1:], others, strict=True)
    )
    return f'<tr role="row" data-key="{_text(row.key)}"><th scope="row" role="rowheader">{first}</th>{cells}</tr>'


def _empty(title: str, text: str) -> str:
    return f'<section data-key="{title}"><h2>{title}</h2><p>{text}</p></section>'


def _long(text: str) -> str:
    """Return a text, with its rest folded when it is long."""
    if len(text) <= LONGEST_TEXT:
        return _text(text)
    return f"<details><summary>{_text(text[:LONGEST_TEXT])} …</summary>{_text(text[LONGEST_TEXT:])}</details>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _time(text: str) -> str:
    shown = _moment(text).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f'<time datetime="{_text(text)}">{shown}</time>'


def _text(value: object) -> str:
    return html.escape(str(value))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
