"""Renders the status document as a web page, readable without script, style or external resources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from core.admin.status_text import duration, printable
from core.pages.frame import Links, StyleAndScript, html_page, live_header, live_part
from core.pages.rollout_html import is_worth_a_card, rollout_card
from core.pages.tables import (
    LONGEST_TEXT,
    Row,
    counted,
    empty_section,
    escaped,
    long_text,
    moment,
    row_of,
    table_section,
    time_tag,
)
from core.pages.version_cells import (
    LIMIT_COLUMNS,
    VERSION_COLUMNS,
    limit_cells,
    model_link,
    shown_state,
    version_cells,
    with_paths,
)

Json = Mapping[str, Any]

SERVER_CLASSES = {"ready": "good", "ready with problems": "warn", "not ready": "bad"}
VERSIONS = ("Model", *VERSION_COLUMNS)


def status_page(document: Json, assets: StyleAndScript, links: Links) -> str:
    """Render the whole page."""
    document = printable(with_paths(document))
    header = live_header("<h1>Ray Model Server</h1>", links.navigation("Models"))
    title = f"Ray Model Server: {_condition(document['server'])}"
    return html_page(title, header, live_part("".join(_sections(document))), assets)


def _condition(server: Json) -> str:
    return f"{server['state']}, stopping" if server["draining"] else str(server["state"])


def _sections(document: Json) -> Iterator[str]:
    models = document["models"]
    now = moment(document["server"]["started"]) + timedelta(seconds=document["server"]["uptime_s"])
    yield _summary(document)
    yield table_section("Configuration problems", ("Place", "Field", "Problem"), _problems(document["configuration"]))
    yield table_section(
        "Slow installation", ("Why",), (row_of(one, one) for one in document["server"]["warnings"] or ())
    )
    yield table_section("Models with a problem", ("Model", "Problem"), _model_problems(models))
    yield table_section("Failed loads", ("Model", "Version", "Error", "Attempts"), _failures(models))
    yield table_section("Versions that answer with errors only", ("Model", "Version", "Error"), _failing(models))
    yield table_section("Rollouts in progress", ("Model", "Loading", "Unloading", "Order"), _rollouts(models))
    yield from (rollout_card(one, is_linked=True) for one in models if is_worth_a_card(one))
    yield table_section("Versions", VERSIONS, _versions(models, now)) or empty_section(
        "Versions", "There is no version."
    )
    yield table_section("Limits", ("Model", *LIMIT_COLUMNS), _limits(models))
    yield table_section("Labels", ("Label", "Model", "Version", "State"), _labels(models))
    yield table_section("Versions that are not complete", ("Version", "Model", "Why it waits"), _waiting(models))
    yield table_section("Ignored directories", ("Directory", "Model", "Why"), _ignored(models))
    yield table_section(
        "Models", ("Model", "Base path", "Versions to serve", "Rollout"), _models(models)
    ) or empty_section("Models", _why_no_model(document))
    yield _server(document, now)


def _summary(document: Json) -> str:
    """Return the summary, which screen readers announce when it changes."""
    shown = Counter(shown_state(one) for model in document["models"] for one in model["versions"])
    states = ", ".join(f"{number} {state}" for state, number in sorted(shown.items())) or "none"
    reasons = document["server"]["reasons"]
    condition = _condition(document["server"])
    state_class = SERVER_CLASSES[document["server"]["state"]]
    number = f"{counted(len(document['models']), 'model')}. Versions: {states}."
    problems_text = f" Problems: {len(reasons)}." if reasons else ""
    why = f" {escaped(reasons[0][:LONGEST_TEXT])}." if reasons and not document["server"]["ready"] else ""
    silent = "" if document["watcher"]["answers"] else " The watcher does not answer: no version changes until it does."
    state = f'<strong class="state {state_class}">{condition}</strong>'
    text = f"{state} {number}{problems_text}{why}{silent}"
    return f'<p class="summary" role="status" aria-live="polite" data-key="summary">{text}</p>'


def _server(document: Json, now: datetime) -> str:
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(document, now))
    return f'<section aria-labelledby="server" data-key="server"><h2 id="server">Server</h2><dl>{facts}</dl></section>'


def _facts(document: Json, now: datetime) -> Iterator[tuple[str, str]]:
    server, watcher, configuration = document["server"], document["watcher"], document["configuration"]
    yield "As of", time_tag(now.isoformat(timespec="seconds").replace("+00:00", "Z"))
    yield "Version", escaped(server["version"])
    yield "Up for", f"{duration(server['uptime_s'])}, since {time_tag(server['started'])}"
    yield "Routing generation", escaped(server["generation"])
    if server["listens"] is not None:
        yield "Listens", "<br>".join(_listener(one) for one in server["listens"]) or "nowhere"
    yield "Router", f"{escaped(server['router']['name'])}, since {time_tag(server['router']['started'])}"
    yield "Watcher", _watcher(watcher)
    if configuration["origin"] is not None:
        yield "Models come from", _origin(configuration)


def _origin(configuration: Json) -> str:
    files = "<br>".join(escaped(one) for one in configuration["files"]) or "flags"
    changed = configuration["origin"] == "request"
    return f"a request at run time; until its content changes, not from {files}" if changed else files


def _why_no_model(document: Json) -> str:
    """Return why the list of models is empty: callers who may not see the whole server may miss some."""
    is_whole = document["configuration"]["origin"] is not None
    return "No model is configured." if is_whole else "There is no model that you may see."


def _listener(one: Json) -> str:
    return f"{escaped(one['protocol'])} {escaped(one['address'])}{' (TLS)' if one['encrypted'] else ''}"


def _watcher(watcher: Json) -> str:
    answers = "answers" if watcher["answers"] else "does not answer"
    ticked = watcher["ticked_s_ago"]
    return answers if ticked is None else f"{answers}, last looked {duration(ticked)} ago"


def _problems(configuration: Json) -> Iterator[Row]:
    for number, one in enumerate(configuration["problems"] or ()):
        place = one["file"] if one["line"] is None else f"{one['file']}:{one['line']}"
        yield row_of(str(number), place, one["field"], one["message"])


def _model_problems(models: Sequence[Json]) -> Iterator[Row]:
    yield from (row_of(one["name"], one["name"], one["problem"]) for one in models if one["problem"])


def _rollouts(models: Sequence[Json]) -> Iterator[Row]:
    for one in models:
        rollout = one["rollout"]
        if rollout["in_progress"]:
            going = (", ".join(rollout["loading"]), ", ".join(rollout["unloading"]), rollout["policy"])
            yield row_of(one["name"], one["name"], *going)


def _versions(models: Sequence[Json], now: datetime) -> Iterator[Row]:
    for model in models:
        yield from (_version(one, model, now) for one in model["versions"])


def _version(version: Json, model: Json, now: datetime) -> Row:
    cells = (model_link(model), *version_cells(version, model, now))
    return Row(f"{model['name']} {version['version']}", cells)


def _failures(models: Sequence[Json]) -> Iterator[Row]:
    for name, one in ((model["name"], one) for model in models for one in model["versions"]):
        error, number = one["error"], one["version"]
        if error is not None:
            text = f"{escaped(error['code'])}: {long_text(error['message'])}"
            yield Row(f"{name} {number}", (escaped(name), escaped(number), text, _attempts(one)))


def _failing(models: Sequence[Json]) -> Iterator[Row]:
    for name, one in ((model["name"], one) for model in models for one in model["versions"]):
        error, number = one["failing"], one["version"]
        if error is not None:
            yield Row(
                f"{name} {number}",
                (escaped(name), escaped(number), f"{escaped(error['code'])}: {long_text(error['message'])}"),
            )


def _attempts(version: Json) -> str:
    again = f"; again at {time_tag(version['next_attempt'])}" if version["next_attempt"] else ""
    return f"{version['failed_attempts']}{again}"


def _limits(models: Sequence[Json]) -> Iterator[Row]:
    """Yield the models with limits, and those of which requests are refused all the same."""
    for one in models:
        if cells := limit_cells(one):
            yield row_of(one["name"], one["name"], *cells)


def _labels(models: Sequence[Json]) -> Iterator[Row]:
    for model in models:
        name = model["name"]
        for one in model["labels"]:
            yield row_of(f"{name} {one['name']}", one["name"], name, one["version"], _label_state(one))


def _label_state(label: Json) -> str:
    if not label["pending"]:
        return "answers"
    return f"pending, meanwhile version {label['meanwhile']} answers" if label["meanwhile"] else "pending"


def _waiting(models: Sequence[Json]) -> Iterator[Row]:
    for name, one in ((model["name"], one) for model in models for one in model["waiting"]):
        yield row_of(f"{name} {one['version']}", one["version"], name, one["reason"])


def _ignored(models: Sequence[Json]) -> Iterator[Row]:
    for name, one in ((model["name"], one) for model in models for one in model["ignored"]):
        yield row_of(f"{name} {one['name']}", one["name"], name, one["reason"])


def _models(models: Sequence[Json]) -> Iterator[Row]:
    for one in models:
        name = model_link(one) if one["configured"] else f"{model_link(one)} (not configured any more)"
        policy, rollout = _policy(one["version_policy"]), one["rollout"]["policy"]
        yield Row(one["name"], (name, *map(long_text, (one["base_path"], policy, rollout))))


def _policy(policy: Json | None) -> str:
    if policy is None:
        return ""
    if "specific" in policy:
        return f"specific: {', '.join(policy['specific'])}"
    if "extension" in policy:
        return " ".join((policy["extension"], *(f"{name}={value}" for name, value in policy["arguments"].items())))
    return "all" if "all" in policy else f"latest {policy['latest']}"
