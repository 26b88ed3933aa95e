"""Example bodies and commands that the page of a model makes, as its scripts make them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from deployments.pages.asset_files import asset
from tests.support.browser import new_context

pytestmark = pytest.mark.tools

SCRIPTS = "\n".join(map(asset, ("json_text.js", "example_body.js", "snippets.js")))
PREDICT, CLASSIFY = "tensorflow/serving/predict", "tensorflow/serving/classify"


@pytest.fixture(scope="module")
def script(chrome: Any) -> Iterator[Any]:
    """Evaluates an expression after the scripts."""
    context = new_context(chrome)
    tab = context.new_page()
    yield lambda expression, value=None: tab.evaluate(f"(given) => {{ {SCRIPTS}\nreturn {expression}; }}", value)
    context.close()


def tensor(dtype: str, *shape: int) -> dict[str, Any]:
    """Describe a tensor as metadata does."""
    sizes = [{"size": str(one), "name": ""} for one in shape]
    return {"dtype": f"DT_{dtype}", "tensor_shape": {"dim": sizes, "unknown_rank": False}}


def signature(method: str = PREDICT, **inputs: Any) -> dict[str, Any]:
    """Describe a signature as metadata does."""
    return {"inputs": inputs, "outputs": {}, "method_name": method}


ANY_RANK = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [], "unknown_rank": True}}


@pytest.mark.parametrize(
    ("method", "inputs", "body"),
    [
        ("rows", {"x": tensor("FLOAT", -1)}, {"instances": [1.0]}),
        ("rows", {"x": tensor("FLOAT", -1, 2, 3)}, {"instances": [[[1.0] * 3] * 2]}),
        ("rows", {"x": tensor("INT64", -1, -1)}, {"instances": [[1]]}),
        ("rows", {"x": ANY_RANK}, {"instances": [1.0]}),
        ("rows", {"a": tensor("BOOL", -1), "b": tensor("STRING", -1)}, {"instances": [{"a": True, "b": "text"}]}),
        ("rows", {"raw_bytes": tensor("STRING", -1)}, {"instances": [{"b64": "dGV4dA=="}]}),
        ("rows", {"x": tensor("FLOAT", -1, 7, 7)}, {"instances": [{"$fill": [7, 7], "value": 1.0}]}),
        ("columns", {"x": tensor("UINT8", 2)}, {"inputs": {"x": [1, 1]}}),
        ("columns", {"x": tensor("HALF")}, {"inputs": {"x": 1.0}}),
        ("columns", {"x": tensor("INT32", 0, 2)}, {"inputs": {"x": []}}),
        ("columns", {}, {"inputs": {}}),
        (
            "v2",
            {"x": tensor("BFLOAT16", -1, 2)},
            {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "BF16", "data": [1.0, 1.0]}]},
        ),
        (
            "v2",
            {"x": tensor("STRING")},
            {"inputs": [{"name": "x", "shape": [], "datatype": "BYTES", "data": ["text"]}]},
        ),
    ],
)
def test_a_body_has_the_types_and_shapes_of_its_signature(
    script: Any, method: str, inputs: dict[str, Any], body: dict[str, Any]
) -> None:
    """Lengths that are free are one; what is large is short all the same."""
    made = script(
        "ExampleBody.body(given[0], 'serving_default', given[1])", [method, {"serving_default": signature(**inputs)}]
    )

    assert json.loads(made) == body


def test_floats_have_a_point(script: Any) -> None:
    """So that a reader sees their type, and Python too."""
    made = script(
        "ExampleBody.body('rows', 'serving_default', given)", {"serving_default": signature(x=tensor("DOUBLE", -1, 2))}
    )

    assert made == '{"instances": [[1.0, 1.0]]}'


def test_other_signatures_are_named(script: Any) -> None:
    """Version 2 names them among the parameters."""
    given = {"s": signature(x=tensor("FLOAT", -1)), "c": signature(CLASSIFY, inputs=tensor("STRING", -1))}

    bodies = [
        script("ExampleBody.body(...given)", [method, name, given])
        for method, name in (("rows", "s"), ("v2", "s"), ("classify", "c"))
    ]

    assert json.loads(bodies[0]) == {"signature_name": "s", "instances": [1.0]}
    assert json.loads(bodies[1])["parameters"] == {"signature_name": "s"}
    assert json.loads(bodies[2]) == {"signature_name": "c", "examples": [{"x": 1.0}]}


@pytest.mark.parametrize(
    ("described", "methods"),
    [
        (signature(x=tensor("FLOAT", -1)), ["rows", "columns", "v2"]),
        (signature(x=tensor("FLOAT", -1), y=tensor("FLOAT", 2)), ["columns", "v2"]),
        (signature(), ["v2"]),
        *[(signature(x=tensor(one, -1)), ["v2"]) for one in ("HALF", "BFLOAT16", "UINT16", "QINT8", "COMPLEX64")],
        *[
            (signature(x=tensor(one, -1)), ["rows", "columns", "v2"])
            for one in ("BOOL", "STRING", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT32", "UINT64")
        ],
        (signature(CLASSIFY, inputs=tensor("STRING", -1)), ["classify"]),
    ],
)
def test_a_signature_is_offered_in_its_forms_only(script: Any, described: dict[str, Any], methods: list[str]) -> None:
    """Rows need a free length in front, in each input; version 1 has no form for some types, and none without inputs."""
    assert script("ExampleBody.methods(given).map(([name]) => name)", described) == methods


def test_a_type_without_json_is_named(script: Any) -> None:
    """There is no example then."""
    given = {"serving_default": signature(x=tensor("COMPLEX64", -1))}
    told = script(
        "(() => { try { ExampleBody.body('rows', 'serving_default', given); } catch (error) { return error.message; } })()",
        given,
    )

    assert told == "values of type DT_COMPLEX64 cannot be written in JSON"


def test_the_usual_signature_comes_first(script: Any) -> None:
    """That which only starts a model is not offered."""
    given = dict.fromkeys(("b", "__saved_model_init_op", "serving_default", "a"), signature())

    assert script("ExampleBody.callable(given)", given) == ["serving_default", "a", "b"]


@pytest.mark.parametrize(
    ("text", "written_out"),
    [
        ('{"$fill": [2, 3], "value": 0.5}', "[[0.5,0.5,0.5],[0.5,0.5,0.5]]"),
        ('[{"$fill":[1],"value":{"b64": "aa=="}}]', '[[{"b64": "aa=="}]]'),
        ('{"$fill": [0], "value": 1}', "[]"),
        ('"{\\"$fill\\": [2], \\"value\\": 1}"', '"{\\"$fill\\": [2], \\"value\\": 1}"'),
        ('{"$fill": "all", "value": 1}', '{"$fill": "all", "value": 1}'),
        ('{"$fill": [2], "value": 1, "more": 2}', '{"$fill": [2], "value": 1, "more": 2}'),
        ('{"$fill": [3, 0], "value": 1}', "[[],[],[]]"),
    ],
)
def test_what_is_filled_is_written_out(script: Any, text: str, written_out: str) -> None:
    """Nothing else is touched, least of all a text."""
    assert script("JsonText.writtenOut(given)", text) == written_out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"$fill": [99999, 99999], "value": 0}', "9,999,800,001 values are too many for this page"),
        ('{"$fill": [4000000000, 0], "value": 0}', "4,000,000,000 values are too many for this page"),
        (json.dumps([{"$fill": [9_000_000], "value": 0}] * 3), "27,000,000 values are too many for this page"),
        (
            json.dumps({"$fill": [2_000_000], "value": "x" * 200}),
            "406,000,000 characters are too many for this page",
        ),
    ],
)
def test_what_would_fill_the_memory_is_refused(script: Any, text: str, reason: str) -> None:
    """Values of all places together, lists without values, and long values."""
    told = script("(() => { try { JsonText.writtenOut(given); } catch (error) { return error.message; } })()", text)

    assert told == reason


@pytest.mark.parametrize("shape", [(-1, 100_000, 100_000), (-1, 4_000_000_000, 0), (-1, *[2**62] * 4)])
def test_a_shape_that_no_page_can_send_has_no_example(script: Any, shape: tuple[int, ...]) -> None:
    """It is said, in each form."""
    given = {"serving_default": signature(x=tensor("FLOAT", *shape))}
    told = [
        script(
            "(() => { try { ExampleBody.body(given[0], 'serving_default', given[1]); }"
            " catch (error) { return error.message; } })()",
            [method, given],
        )
        for method in ("rows", "columns", *(["v2"] if 0 not in shape else []))  # which writes lists without values flat
    ]

    assert all("values are too many for this page" in (one or "") for one in told)


@pytest.mark.parametrize("method", ["constructor", "__proto__", "toString", ""])
def test_any_method_of_a_signature_can_be_predicted(script: Any, method: str) -> None:
    """TensorFlow Serving does not look at it either."""
    made = script("ExampleBody.methods(given).map(([name]) => name)", signature(method, x=tensor("FLOAT", -1)))

    assert made == ["rows", "columns", "v2"]


@pytest.mark.parametrize(
    "text",
    [
        "[1e400]",
        "[-0]",
        "[" + "1" * 5000 + "]",
        "[" * 150 + "1" + "]" * 150,
        '{"$fill": "all", "value": 1}',
        '{"$fill": "all", "value": {"$fill": [2], "value": 1}}',
        "it is \\ not ' JSON",
    ],
    ids=["infinite", "minus_zero", "long_number", "deep", "no_fill", "fill_in_another", "no_json"],
)
def test_python_sends_what_the_page_sends(script: Any, text: str) -> None:
    """To the digit, also where Python's own values are others."""
    program = script("Snippets.python('http://x/', given, false)", text)
    sent: list[bytes] = []
    written = program.partition("\ntry:")[0].replace("urllib.request.Request(", "keep(")

    exec(written, {"keep": lambda _, body, __: sent.append(body)})

    assert sent[0].decode().replace(" ", "") == script("JsonText.writtenOut(given)", text).replace(" ", "")


@pytest.mark.parametrize("status", [200, 400])
def test_bytes_that_are_no_text_are_printed(script: Any, status: int) -> None:
    """Version 1 answers strings as they are, also where they are not UTF-8."""

    class Bytes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"predictions": ["\xff"]}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Bytes) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        program = script(f"Snippets.python('http://127.0.0.1:{server.server_port}/', '{{}}', false)")
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
        serving.join(60)

    assert '{"predictions": ["\ufffd"]}' in (done.stdout if status == 200 else done.stderr).decode()
    assert done.returncode == (0 if status == 200 else 1)


def test_a_command_is_short_enough_for_a_shell(script: Any) -> None:
    """Linux takes 128 KiB in one argument, in bytes of UTF-8; what is longer comes by standard input."""
    texts = [json.dumps(["\u00e9\u4e2d" * 29_000], ensure_ascii=False)]
    texts.append(json.dumps([texts[0], {"$fill": [2], "value": 1}], ensure_ascii=False))
    for text in texts:
        command = script("Snippets.curl('http://x/', given, false)", text)
        done = subprocess.run(
            ["bash"], input=f"curl() {{ cat; }}\n{command}", capture_output=True, text=True, timeout=60, check=True
        )

        assert json.loads(done.stdout) == json.loads(script("JsonText.writtenOut(given)", text))


def test_python_reads_what_json_says(script: Any) -> None:
    """Texts, words and numbers."""
    text = '{"a": [true, false, null, 1.0, -2e3, 12345678901234567890], "\\u00fc\\n\\"\\\\": "\\ud83d\\ude00 \\/ \\b"}'

    assert eval(script("JsonText.python(given)", text)) == json.loads(text)


def test_long_values_are_broken_into_lines(script: Any) -> None:
    """Short ones stay in one."""
    text = json.dumps({"rows": [[1.5, 2.5]] * 20, "numbers": list(range(100)), "empty": [{}, []]})

    printed = script("JsonText.pretty(given)", text)
    assert json.loads(printed) == json.loads(text)
    assert max(map(len, printed.splitlines())) <= 80
    assert '  "empty": [{}, []]' in printed
