"""The pages of real models at `/models/NAME` of a REST port, in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from core.telemetry.traffic import Rates, Traffic
from core.versions.history import VersionHistory
from core.versions.lifecycle import State
from core.versions.servable import ServableId
from tests.support.browser import CONTRAST, SOON_MS, misfits, new_context
from tests.support.clients import RestClient
from tests.support.doors.model_pages import CURVE, model_pages
from tests.support.doors.model_stack import ModelStack
from tests.support.project import ROOT
from tests.support.status_pages import BEGAN_S, busy_table, model
from tests.support.zoo_models import MODELS, zoo_calls

pytestmark = pytest.mark.tools

EXAMPLES = ROOT / "examples" / "models"
ODD = '<b>odd & "name"/ü%'
ZOO = ("estimator_classifier", "estimator_regressor", "keras_functional_dict", "keras_string_lookup")
FOLDERS = {
    ServableId("half_plus_two", 1): EXAMPLES / "half_plus_two" / "1",
    ServableId("mlp", 1): EXAMPLES / "mlp" / "1",
    ServableId("text_upper", 1): EXAMPLES / "text_upper" / "1",
    **{ServableId(name, 1): MODELS / name / "1" for name in ZOO},
}
TRAFFIC = {("half_plus_two", "1"): Traffic(Rates(150.0, 0.0042, 0.25, 1.5, 0.08), CURVE)}
AXE = {"rules": {"aria-required-children": {"enabled": False}}}
"""The rule forbids a table with a role its caption, which ARIA 1.2 allows."""

HUGE = {
    "serving_default": {
        "inputs": {
            "a_picture": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": str(one)} for one in (-1, 224, 224, 3)]},
            },
            **{
                f"more_{place}": {"dtype": "DT_INT64", "tensor_shape": {"dim": [{"size": "-1"}]}}
                for place in range(500)
            },
        },
        "outputs": {},
        "method_name": "tensorflow/serving/predict",
    }
}


@pytest.fixture(scope="module")
def site() -> Iterator[ModelStack]:
    """Real models behind a REST port, and some that do not answer."""
    with model_pages(FOLDERS, TRAFFIC) as stack:
        known = busy_table().models
        stack.know({"hard": known["ranker"], "words": known["words"], ODD: model(ODD, problem="<script>x</script>")})
        yield stack


@pytest.fixture
def tab(chrome: Any) -> Iterator[Any]:
    """A browser's tab, in which no script fails and no policy is broken."""
    faults: list[str] = []
    context = new_context(chrome, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda line: faults.append(line.text))
    yield tab
    assert [one for one in faults if "the server responded with a status of" not in one] == []
    context.close()


def visit(tab: Any, site: ModelStack, path: str, *, known: bool = True) -> Any:
    """Open the page of a model, and wait for its signatures."""
    tab.goto(f"http://127.0.0.1:{site.rest_port}/models/{path}")
    if known:
        tab.locator("#signatures table").wait_for(timeout=SOON_MS)
    return tab


def refresh(tab: Any) -> None:
    """Let a page whose clock is ours refresh itself now."""
    tab.clock.fast_forward(2_500)


def write(tab: Any, body: str) -> None:
    """Put a body into the editor."""
    tab.get_by_label("Body", exact=True).fill(body)


def send(tab: Any) -> str:
    """Send what is in the editor; returns the line above the answer."""
    tab.evaluate("document.getElementById('outcome').className = ''")
    tab.get_by_role("button", name="Send").click()
    tab.locator("#outcome[class]:not([class=''])").wait_for(timeout=SOON_MS)
    return tab.locator("#outcome").inner_text()


def answered(tab: Any) -> Any:
    """Return the answer that is shown."""
    return json.loads(tab.locator("#answer").inner_text())


def run(command: list[str]) -> Any:
    """Run a program as a user does who pasted it; returns the JSON that it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [one.name for one in FOLDERS if not one.name.startswith("estimator")])
def test_every_example_is_answered(tab: Any, site: ModelStack, name: str) -> None:
    """Of each signature, in each form that it can be called in."""
    visit(tab, site, name)
    outcomes = {}
    for signature in tab.locator("#signature option").all_inner_texts():
        tab.locator("#signature").select_option(signature)
        for method in tab.locator("#method option").all():
            tab.locator("#method").select_option(method.get_attribute("value"))
            outcomes[signature, method.get_attribute("value")] = send(tab)

    assert {key: told for key, told in outcomes.items() if not told.startswith("200 OK in ")} == {}
    assert len(outcomes) >= 2


@pytest.mark.parametrize("method", ["classify", "regress"])
def test_examples_are_answered_once_they_have_the_features_of_the_model(
    tab: Any, site: ModelStack, method: str
) -> None:
    """These are not in a signature: the server's answer names what is missing."""
    call = next(one for one in zoo_calls() if one.model.startswith("estimator") and one.method == method)
    visit(tab, site, call.model)
    tab.locator("#signature").select_option(call.signature)
    assert send(tab).startswith("400 Bad Request")

    write(tab, json.dumps({"signature_name": call.signature, "examples": list(call.examples)}))

    assert send(tab).startswith("200 OK")
    assert f":{method}" in tab.locator("#curl").inner_text()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("half_plus_two", '{"instances": [1.0, 2.5, -3e2]}'),
        ("text_upper", '{"instances": ["it\'s \\"ü\\" \\u00e9 \\\\ 😀 $HOME `id`"]}'),
        ("mlp", '{"instances": {"$fill": [2, WIDTH], "value": 0.5}}'),
        ("half_plus_two", json.dumps({"instances": [0.25] * 20_000})),
    ],
    ids=["numbers", "quotes", "filled", "long"],
)
def test_what_is_copied_works_where_it_is_pasted(tab: Any, site: ModelStack, name: str, body: str) -> None:
    """In a shell and in Python it gives the answer that the page shows."""
    client = RestClient(site.rest_port)
    signatures = client.get(f"/v1/models/{name}/metadata").json["metadata"]["signature_def"]["signature_def"]
    client.close()
    shape = next(iter(signatures["serving_default"]["inputs"].values()))["tensor_shape"]
    width = shape["dim"][-1]["size"] if shape.get("dim") else ""
    write(visit(tab, site, name), body.replace("WIDTH", width))
    assert send(tab).startswith("200 OK")

    by_curl = run(["bash", "-c", tab.locator("#curl").text_content().replace("curl ", "curl --silent ", 1)])
    by_python = run([sys.executable, "-c", tab.locator("#python").text_content()])

    assert by_curl == by_python
    if len(body) < 1000:
        assert answered(tab) == by_curl


def test_a_request_is_sent_by_the_keyboard_alone(tab: Any, site: ModelStack) -> None:
    """Tab indents; after Esc it leaves the editor, and Ctrl+Enter sends from everywhere in the form."""
    visit(tab, site, "half_plus_two")
    tab.locator("#method").focus()
    for _ in range(2):
        tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "body"

    tab.keyboard.press("ControlOrMeta+a")
    tab.keyboard.type('{"instances":')
    tab.keyboard.press("Tab")
    tab.keyboard.type("[4.0]}")
    tab.keyboard.press("Control+Enter")
    tab.locator("#outcome.good").wait_for(timeout=SOON_MS)
    assert tab.get_by_label("Body", exact=True).input_value() == '{"instances":  [4.0]}'
    assert answered(tab) == {"predictions": [4.0]}

    tab.keyboard.press("Escape")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "send"
    tab.keyboard.press("Shift+Tab")
    assert tab.evaluate("document.activeElement.id") == "body"
    tab.keyboard.press("Shift+Tab")
    assert tab.evaluate("document.activeElement.id") == "body"


def test_a_body_that_is_not_json_is_told_before_it_is_sent(tab: Any, site: ModelStack) -> None:
    """And may be sent all the same: the server's answer is shown as any other."""
    write(visit(tab, site, "half_plus_two"), '{"instances": [1.0, }')

    assert tab.locator("#judged").inner_text().startswith("Not JSON: ")
    assert tab.get_by_label("Body", exact=True).get_attribute("aria-invalid") == "true"
    assert send(tab).startswith("400 Bad Request in ")
    assert "error" in answered(tab)
    assert tab.locator("#outcome").get_attribute("class") == "bad"


def test_a_large_shape_has_a_short_example(tab: Any, site: ModelStack) -> None:
    """It says how many values there are, and they are written out when it is sent; long lists of tensors are cut."""
    bodies: list[str] = []
    base = f"http://127.0.0.1:{site.rest_port}/v1/models/mlp"
    tab.route(
        f"{base}/metadata", lambda route: route.fulfill(json={"metadata": {"signature_def": {"signature_def": HUGE}}})
    )
    tab.route(
        f"{base}:predict", lambda route: (bodies.append(route.request.post_data), route.fulfill(body="x" * 5_000_000))
    )
    visit(tab, site, "mlp")

    assert len(tab.get_by_label("Body", exact=True).input_value()) < 20_000
    assert "151,028 values" in tab.locator("#judged").inner_text()
    assert tab.locator("#signatures tbody tr").count() == 101
    rows = tab.locator("#signatures tbody tr")
    assert rows.first.inner_text().split("\t") == ["a_picture", "input", "float", "? \u00d7 224 \u00d7 224 \u00d7 3"]
    assert rows.last.inner_text().split("\t")[0] == "and 401 more"

    write(tab, '{"instances": [{"$fill": [224, 224, 3], "value": 0.5}]}')
    told = send(tab)
    assert json.loads(bodies[0]) == {"instances": [[[[0.5] * 3] * 224] * 224]}
    assert re.search(r"more than [4-5],\d{3} kB, the beginning is shown", told)
    assert len(tab.locator("#answer").inner_text()) < 21_000
    write(tab, '{"instances": {"$fill": [99999, 99999], "value": 0}}')
    assert send(tab) == "Not answered: 9,999,800,001 values are too many for this page"


@pytest.mark.parametrize(
    "body", ["[" * 20_000 + "]" * 20_000, '{"instances": [' + "1.0, " * 50_000 + "1.0]}", "\\ 'x' \u2028"]
)
def test_any_text_can_be_written_into_the_editor(tab: Any, site: ModelStack, body: str) -> None:
    """Very deep, very long, or not JSON: nothing breaks, and Python can read what is to be copied."""
    write(visit(tab, site, "mlp"), body)
    told = send(tab)

    assert told.startswith(("200 OK", "400 Bad Request"))
    assert len(tab.locator("#curl").text_content()) < 100_000
    compile(tab.locator("#python").text_content(), "pasted", "exec")


def test_numbers_keep_their_digits(tab: Any, site: ModelStack) -> None:
    """In the answer and in what is copied; a script's own numbers would round them."""
    text = '{"predictions": [9007199254740993, 1.0, 1e400], "of": "a\\u00e9"}'
    tab.route("**/models/mlp:predict", lambda route: route.fulfill(body=text, content_type="application/json"))
    write(visit(tab, site, "mlp"), '{"instances": [[9007199254740993, 1.0]]}')
    send(tab)

    assert tab.locator("#answer").inner_text() == text
    assert 'body = {"instances": [[9007199254740993, 1.0]]}' in tab.locator("#python").inner_text()


def test_a_model_that_fails_is_shown_with_its_reason(tab: Any, site: ModelStack) -> None:
    """There is nothing to send to, so there is no form; it comes when a version answers."""
    visit(tab, site, "hard", known=False)

    tab.get_by_text("The signatures are not known: 404 ").wait_for(timeout=SOON_MS)
    assert not tab.get_by_label("Body", exact=True).is_visible()
    assert tab.get_by_role("row", name="version 3 NOT_FOUND: no SavedModel <here> & there").is_visible()


def test_a_version_that_begins_to_answer_is_offered(tab: Any, site: ModelStack) -> None:
    """Without a reload, and with what was written left alone."""
    waiting = model("half_plus_two", (1, VersionHistory(State.AVAILABLE, since_s=BEGAN_S)))
    site.know({"half_plus_two": waiting})
    tab.clock.install()
    visit(tab, site, "half_plus_two")
    write(tab, '{"instances": [8.0]}')
    assert tab.locator("#version option").all_inner_texts() == ["newest that answers", "1, AVAILABLE"]

    history = VersionHistory(State.AVAILABLE, since_s=BEGAN_S)
    site.know({"half_plus_two": model("half_plus_two", (1, history), labels={"stable": 1})})
    refresh(tab)
    tab.locator("#version option[value='/labels/stable']").wait_for(state="attached", timeout=SOON_MS)

    assert tab.get_by_label("Body", exact=True).input_value() == '{"instances": [8.0]}'
    tab.locator("#version").select_option("/labels/stable")
    tab.locator("#signatures table").wait_for(timeout=SOON_MS)
    assert "/labels/stable:predict" in tab.locator("#curl").inner_text()
    assert send(tab).startswith("200 OK")
    assert answered(tab) == {"predictions": [6.0]}


def test_an_odd_name_leads_to_its_page(tab: Any, site: ModelStack) -> None:
    """From the page of all models; nothing in it is markup."""
    tab.goto(f"http://127.0.0.1:{site.rest_port}/")
    tab.get_by_role("link", name=ODD).first.click()
    tab.get_by_role("heading", level=1, name=ODD).wait_for(timeout=SOON_MS)

    assert tab.get_by_role("row", name="the model <script>x</script>").is_visible()
    assert tab.locator("main b").count() == 0


def test_a_token_is_sent_and_kept_in_this_tab_only(tab: Any, site: ModelStack) -> None:
    """A server that wants one makes the field appear; commands name it without its value."""
    seen: list[str | None] = []

    def judge(route: Any) -> None:
        token = route.request.headers.get("authorization")
        seen.append(token)
        if token == "Bearer s3cret":
            route.fallback()
        else:
            route.fulfill(status=401, json={"error": "Who are you? <b>"})

    tab.route("**/v1/models/half_plus_two**", judge)
    visit(tab, site, "half_plus_two", known=False)
    tab.get_by_text("The signatures are not known: 401 Who are you? <b>").wait_for(timeout=SOON_MS)

    tab.get_by_label("Token").fill("s3cret")
    tab.get_by_label("Token").press("Enter")
    tab.locator("#signatures table").wait_for(timeout=SOON_MS)
    assert send(tab).startswith("200 OK")
    assert seen[0] is None
    assert set(seen[1:]) == {"Bearer s3cret"}
    assert tab.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
    for place in ("#curl", "#python"):
        assert "TOKEN" in tab.locator(place).inner_text()
        assert "s3cret" not in tab.locator(place).inner_text()


def test_copying_says_so(tab: Any, site: ModelStack) -> None:
    """To those who do not see the button either."""
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit(tab, site, "half_plus_two")
    tab.get_by_role("button", name="Copy Python").click()
    tab.get_by_text("Copied Python.").wait_for(timeout=SOON_MS)

    assert tab.evaluate("navigator.clipboard.readText()") == tab.locator("#python").text_content()


def test_a_request_can_be_cancelled(tab: Any, site: ModelStack) -> None:
    """One that hangs does not hold the page."""
    tab.route("**/models/half_plus_two:predict", lambda route: None)
    visit(tab, site, "half_plus_two")
    tab.get_by_role("button", name="Send").click()
    tab.get_by_role("button", name="Cancel").click()

    tab.get_by_text("Cancelled.").wait_for(timeout=SOON_MS)
    assert tab.get_by_role("button", name="Send").is_enabled()
    tab.unroute_all(behavior="ignoreErrors")


def test_the_page_fits_every_width(tab: Any, site: ModelStack) -> None:
    """Nothing sticks out, and no short word is torn; the answer is there too."""
    visit(tab, site, "half_plus_two")
    send(tab)
    tab.get_by_text("The same as a table").click()

    assert misfits(tab) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_used_by_everyone(chrome: Any, site: ModelStack, scheme: str) -> None:
    """The rules of axe-core find nothing, and contrasts are those that WCAG demands (AA)."""
    context = new_context(chrome, color_scheme=scheme)
    tab = visit(context.new_page(), site, "half_plus_two")
    send(tab)
    tab.get_by_text("The same as a table").click()

    assert tab.evaluate(CONTRAST) >= 4.5
    assert {
        one["id"]: [node["html"] for node in one["nodes"]] for one in Axe().run(tab, options=AXE).response["violations"]
    } == {}
    context.close()


def test_without_script_there_are_versions_and_charts(chrome: Any, site: ModelStack) -> None:
    """And it says what needs one."""
    context = new_context(chrome, java_script_enabled=False)
    tab = visit(context.new_page(), site, "half_plus_two", known=False)

    assert tab.get_by_role("row", name="1 AVAILABLE").is_visible()
    assert tab.get_by_role("img", name="Latency over the last 5 min: p50").is_visible()
    assert tab.get_by_text("The signatures and the form need a script.").is_visible()
    assert not tab.get_by_label("Body", exact=True).is_visible()
    context.close()


def test_nothing_comes_from_outside(tab: Any, site: ModelStack) -> None:
    """Every request goes to the server itself."""
    seen: list[str] = []
    tab.on("request", lambda request: seen.append(request.url))
    send(visit(tab, site, "half_plus_two"))

    assert {one.split("/")[2] for one in seen if not one.startswith("data:")} == {f"127.0.0.1:{site.rest_port}"}


SLASHED = "a/b c"
HARD_NAMES = ('it\'s "50%" a#b?c=d&e', "ü😀<i>x</i>[a-c]{1,2}$HOME`id`\\", "a:predict", SLASHED)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("mlp/", "../mlp"),
        ("mlp///", "../../../mlp"),
        ("a/b%20c", "../a%2Fb%20c"),
        ("a/b%20c/?x=/", "../../a%2Fb%20c"),
        ("no/body", "../no%2Fbody"),
        ("/", "../"),
    ],
)
def test_a_name_with_plain_slashes_leads_to_its_page(site: ModelStack, path: str, place: str) -> None:
    """By an address that holds behind a prefix too; where there is no such model, the page that says so has right links."""
    site.know({SLASHED: model(SLASHED)})
    client = RestClient(site.rest_port)
    reply = client.get(f"/models/{path}")
    client.close()

    assert reply.status == 307
    assert reply.headers["location"] == place


@pytest.mark.parametrize("name", HARD_NAMES)
def test_any_name_can_be_requested_from_its_page(tab: Any, site: ModelStack, name: str) -> None:
    """From the link of all models, by the form, a shell and Python."""
    site.know({name: site.alias("half_plus_two")})
    tab.goto(f"http://127.0.0.1:{site.rest_port}/")
    tab.get_by_role("link", name=name, exact=True).first.click()
    tab.locator("#signatures table").wait_for(timeout=SOON_MS)
    assert send(tab).startswith("200 OK")

    by_curl = run(["bash", "-c", tab.locator("#curl").text_content().replace("curl ", "curl --silent ", 1)])
    by_python = run([sys.executable, "-c", tab.locator("#python").text_content()])
    assert by_curl == by_python == answered(tab) == {"predictions": [2.5]}


def test_an_address_may_be_typed(tab: Any, site: ModelStack) -> None:
    """Browsers leave a colon and brackets as they are; the API reads them otherwise."""
    site.know({"a:predict": site.alias("half_plus_two")})
    visit(tab, site, "a:predict")

    assert send(tab).startswith("200 OK")


def test_a_model_that_is_configured_later_gets_its_form(tab: Any, site: ModelStack) -> None:
    """Without a reload."""
    tab.clock.install()
    visit(tab, site, "later", known=False)
    tab.get_by_role("heading", level=1, name="There is no model later").wait_for(timeout=SOON_MS)
    assert not tab.locator("#try").is_visible()

    site.know({"later": site.alias("half_plus_two")})
    refresh(tab)
    tab.locator("#signatures table").wait_for(timeout=SOON_MS)
    assert send(tab).startswith("200 OK")


def test_signatures_are_asked_for_again(tab: Any, site: ModelStack) -> None:
    """When a version was replaced under its number, and when the server could not be reached."""
    history = VersionHistory(State.AVAILABLE, since_s=BEGAN_S)
    seen: list[int] = []

    def judge(route: Any) -> None:
        seen.append(len(seen))
        if len(seen) == 1:
            route.fulfill(status=503, json={"error": "not now"})
        else:
            route.fallback()

    tab.route("**/v1/models/half_plus_two/metadata", judge)
    site.know({"half_plus_two": model("half_plus_two", (1, history))})
    tab.clock.install()
    visit(tab, site, "half_plus_two", known=False)
    tab.get_by_text("The signatures are not known: 503 not now").wait_for(timeout=SOON_MS)
    refresh(tab)
    tab.locator("#signatures table").wait_for(timeout=SOON_MS)
    assert len(seen) == 2

    with tab.expect_response("**/v1/models/half_plus_two/metadata", timeout=SOON_MS):
        site.know({"half_plus_two": model("half_plus_two", (1, replace(history, since_s=BEGAN_S + 1)))})
        refresh(tab)
    assert len(seen) == 3


def test_an_answer_leaves_with_its_request(tab: Any, site: ModelStack) -> None:
    """It is not taken for that of another form."""
    visit(tab, site, "half_plus_two")
    send(tab)
    tab.locator("#method").select_option("columns")

    assert tab.locator("#outcome").inner_text() == "Nothing has been sent yet."
    assert not tab.locator("#answer").is_visible()


def test_an_error_is_shown_by_the_commands_too(tab: Any, site: ModelStack) -> None:
    """With the server's reason."""
    write(visit(tab, site, "half_plus_two"), '{"instances": ["x"]}')
    assert send(tab).startswith("400 Bad Request")

    by_curl = run(["bash", "-c", tab.locator("#curl").text_content().replace("curl ", "curl --silent ", 1)])
    program = tab.locator("#python").text_content()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert by_curl == answered(tab) == json.loads(done.stderr)
    assert done.returncode == 1


def test_an_answer_that_is_no_page_is_told(tab: Any, site: ModelStack) -> None:
    """A server that refuses does answer."""
    tab.clock.install()
    visit(tab, site, "half_plus_two")
    tab.route("**/models/half_plus_two", lambda route: route.fulfill(status=429, json={"error": "too many"}))
    refresh(tab)

    tab.get_by_text("The server answers 429 since ").wait_for(timeout=SOON_MS)
    tab.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models/mlp", 200),
        ("GET", "/models/mlp?a=b#c", 200),
        ("HEAD", "/models/mlp", 200),
        ("POST", "/models/mlp", 405),
        ("GET", "/models/nobody", 404),
        ("GET", "/models/", 404),
        ("GET", "/models/mlp/", 307),
        ("GET", "/models/nobody/", 307),
        ("GET", "/models/a/b/c", 307),
        ("GET", "/models//", 307),
        ("GET", "/models/%2e%2e/", 404),
        ("GET", "/models/%ff", 404),
        ("GET", "/models/" + "x" * 5000, 404),
        ("GET", "/models", 404),
    ],
)
def test_a_path_names_one_model(site: ModelStack, method: str, path: str, status: int) -> None:
    """Others are told that it is not there."""
    client = RestClient(site.rest_port)
    reply = client.send(method, path)
    client.close()

    assert reply.status == status
