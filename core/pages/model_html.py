"""The page of one model: its versions and their traffic, and a form that sends requests to it.

What the server knows of the model stands in the page. Its signatures are requested by the browser through the public
API, like everything that the form sends: the page needs, and gives, no more rights than a client has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from core.admin.status_text import printable
from core.pages.frame import Links, StyleAndScript, html_page, live_header, live_part
from core.pages.rollout_html import rollout_card
from core.pages.tables import Row, empty_section, escaped, long_text, moment, row_of, table_section
from core.pages.traffic_html import traffic_section
from core.pages.version_cells import (
    LIMIT_COLUMNS,
    VERSION_COLUMNS,
    limit_cells,
    path_part,
    shown_state,
    state_mark,
    version_cells,
    with_paths,
)

Json = Mapping[str, Any]

BRAND = '<p class="brand"><a href="../">Ray Model Server</a></p>'
FORM = """<h2 id="try-h">Try it</h2>
<p id="scriptless">The signatures and the form need a script.</p>
<div id="form" hidden>
<div class="choices">
<label>Version <select id="version"></select></label>
<label>Signature <select id="signature"></select></label>
<label>Request <select id="method"></select></label>
</div>
<div id="signatures"></div>
<details id="access"><summary>Access token</summary>
<label>Token <input id="token" class="secret" autocomplete="off" spellcheck="false"></label>
<p>It is sent as <code>authorization: Bearer</code>, by this tab only, and forgotten when the tab is closed.</p>
</details>
<div id="editor" class="sides"><div>
<label for="body">Body</label>
<textarea id="body" rows="12" spellcheck="false" autocapitalize="off" autocomplete="off" wrap="soft"
 aria-describedby="judged keys"></textarea>
<p id="judged" aria-live="polite"></p>
<p id="keys">Ctrl+Enter sends. Tab indents; after Esc, Tab leaves the field.</p>
<p class="buttons"><button id="send" type="button">Send</button>
<button id="cancel" type="button" hidden>Cancel</button>
<button id="example" type="button">Example again</button></p>
</div><div>
<h3 id="answer-h">Answer</h3>
<p id="outcome" role="status" aria-live="polite">Nothing has been sent yet.</p>
<pre id="answer" tabindex="0" aria-labelledby="answer-h" hidden></pre>
<h3>The same in a terminal</h3>
<div class="snippet"><pre id="curl" tabindex="0" aria-label="curl"></pre>
<button type="button" data-copies="curl">Copy curl</button></div>
<h3>The same in Python</h3>
<div class="snippet"><pre id="python" tabindex="0" aria-label="Python"></pre>
<button type="button" data-copies="python">Copy Python</button></div>
<p id="copied" role="status" aria-live="polite"></p>
</div></div></div>"""


def model_page(document: Json, name: str, assets: StyleAndScript, links: Links) -> str | None:
    """Render the page of a model; None where there is no model of this name."""
    known = next((one for one in with_paths(document)["models"] if one["name"] == name), None)
    if known is None:
        return None
    model, server = printable(known), document["server"]
    now = moment(server["started"]) + timedelta(seconds=server["uptime_s"])
    main = f"{live_part(''.join(_sections(model, now)))}{_form(model['path'])}"
    return html_page(f"{model['name']}: Ray Model Server", live_header(BRAND, links.navigation("")), main, assets)


def missing_page(name: str, assets: StyleAndScript, links: Links) -> str:
    """Render the page that says that there is no such model; its form is shown when the model comes."""
    text = f'<h1>There is no model {escaped(printable(name))}</h1><p><a href="../">All models</a></p>'
    main = f"{live_part(text)}{_form(path_part(name), is_hidden=True)}"
    return html_page("No such model: Ray Model Server", live_header(BRAND, links.navigation("")), main, assets)


def _form(path: str, *, is_hidden: bool = False) -> str:
    """Return the form of a model; it does not take the path from the address, which browsers leave as it was typed."""
    hidden = " hidden" if is_hidden else ""
    return f'<section id="try" data-model="{escaped(path)}" aria-labelledby="try-h"{hidden}>{FORM}</section>'


def _sections(model: Json, now: datetime) -> Iterator[str]:
    yield f'<h1 data-key="name">{escaped(model["name"])}</h1>{_summary(model)}{_choices(model)}'
    yield table_section("Problems", ("Of", "Problem"), _problems(model))
    yield rollout_card(model)
    yield table_section("Versions", VERSION_COLUMNS, _versions(model, now)) or empty_section(
        "Versions", "There is no version."
    )
    yield table_section("Limits", LIMIT_COLUMNS, _limits(model))
    yield traffic_section(model)


def _summary(model: Json) -> str:
    """Return the state of each version in words, which screen readers announce when it changes."""
    states = ", ".join(f"{escaped(one['version'])} {state_mark(shown_state(one))}" for one in model["versions"])
    gone = "" if model["configured"] else " It is not configured any more."
    metadata = f'<a href="../v1/models/{escaped(model["path"])}/metadata">signatures as JSON</a>'
    place = f"{long_text(model['base_path'])} · " if model["base_path"] else ""
    return (
        f'<p class="summary" role="status" aria-live="polite" data-key="summary">'
        f"{f'Versions: {states}.' if states else 'No version.'}{gone}</p>"
        f'<div class="soft" data-key="where">{place}{metadata}</div>'
    )


def _choices(model: Json) -> str:
    """Return what the form can address, as the end of the model's path, with a text for people.

    The form looks at the signatures again when a choice changes; the moment of a version's state tells that it was
    replaced by another of its number.
    """
    since = {one["version"]: one["since"] for one in model["versions"]}
    is_divided = model["delivery"] is not None and model["delivery"]["weights"]
    choices = [("", "stable, or as requests are divided" if is_divided else "newest that answers", "")]
    choices += [
        (f"/versions/{one['version']}", f"{one['version']}, {shown_state(one)}", one["since"])
        for one in model["versions"]
    ]
    for one in model["labels"]:
        text = f"label {one['name']}, version {one['version']}"
        choices.append((f"/labels/{one['path']}", text, since.get(one["version"], "")))
    return "".join(
        f'<data hidden class="choice" data-key="{escaped(path)}" data-since="{escaped(moment_of)}"'
        f' value="{escaped(path)}">{escaped(text)}</data>'
        for path, text, moment_of in choices
    )


def _problems(model: Json) -> Iterator[Row]:
    if model["problem"]:
        yield row_of("model", "the model", model["problem"])
    for one in model["versions"]:
        for kind in ("error", "failing"):
            if one[kind] is not None:
                text = f"{one[kind]['code']}: {one[kind]['message']}"
                yield row_of(f"{one['version']} {kind}", f"version {one['version']}", text)
    yield from (
        row_of(f"waiting {one['version']}", f"version {one['version']}", one["reason"]) for one in model["waiting"]
    )
    yield from (row_of(f"ignored {one['name']}", f"directory {one['name']}", one["reason"]) for one in model["ignored"])


def _limits(model: Json) -> Iterator[Row]:
    if cells := limit_cells(model):
        yield row_of("limits", *cells)


def _versions(model: Json, now: datetime) -> Iterator[Row]:
    for one in model["versions"]:
        number, *others = version_cells(one, model, now)
        linked = f'<a href="#traffic-{number}">{number}</a>' if (one["traffic"] or {}).get("history") else number
        yield Row(one["version"], (linked, *others))
