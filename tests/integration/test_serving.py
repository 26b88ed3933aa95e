"""What clients of a running server see."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from tests.integration.conftest import LiveServer
from tests.support.clients import RestClient
from tests.support.saved_models import ExpectedCall, expected_calls

JSON_DTYPES = {"float32", "float64", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "bool", "object"}


def rest_answer(call: ExpectedCall, client: RestClient) -> dict[str, np.ndarray]:
    """Make a recorded call over REST in column format."""
    inputs = {name: _to_json(array) for name, array in call.inputs.items()}
    body = {"signature_name": call.signature, "inputs": inputs}
    reply = client.post(f"/v1/models/{call.model}/versions/{call.version}:predict", body)
    assert reply.status == 200, reply.body
    outputs = reply.json["outputs"]
    if len(call.outputs) == 1:
        outputs = {next(iter(call.outputs)): outputs}
    return {name: _from_json(outputs[name], array) for name, array in call.outputs.items()}


def _to_json(array: np.ndarray) -> object:
    if array.dtype == object:
        return (
            [_to_json(one) if isinstance(one, np.ndarray) else _text(one) for one in array]
            if array.ndim
            else _text(array.item())
        )
    return array.tolist()


def _text(value: bytes) -> object:
    return {"b64": base64.b64encode(value).decode()}


def _from_json(value: object, like: np.ndarray) -> np.ndarray:
    if like.dtype != object:
        return np.array(value, like.dtype)
    flat = np.empty(like.size, object)
    for index, one in enumerate(_flat(value)):
        flat[index] = _bytes(one)
    return flat.reshape(like.shape)


def _flat(value: object) -> list[object]:
    if isinstance(value, list):
        return [leaf for one in value for leaf in _flat(one)]
    return [value]


def _bytes(value: object) -> bytes:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else str(value).encode()


def test_every_recorded_call_answers_over_rest_as_tensorflow_did(
    server: LiveServer, client: RestClient, saved_models: Path
) -> None:
    """All models that a JSON client can call give TensorFlow's own results, bit for bit."""
    compared = 0
    for call in expected_calls(saved_models):
        dtypes = {array.dtype.name for array in (*call.inputs.values(), *call.outputs.values())}
        if call.model not in server.entries or not dtypes <= JSON_DTYPES or not call.inputs:
            continue
        for name, expected in rest_answer(call, client).items():
            wanted = call.outputs[name]
            same = (
                expected.tobytes() == wanted.tobytes()
                if wanted.dtype != object
                else expected.tolist() == wanted.tolist()
            )
            assert same, (call.model, call.signature, name)
        compared += 1
    assert compared > 15


def test_case_D15_the_first_request_of_the_readme(client: RestClient) -> None:
    """Rows of a single-input signature need no name."""
    assert client.predict("half_plus_two", [1.0, 2.0, 5.0]) == [2.5, 3.0, 4.5]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        pytest.param(":predict", {"instances": [[1.0, 2.0], [3.0, 4.0]]}, {"predictions": [[2.5, 3.0], [3.5, 4.0]]}, id="case_D1"),
        pytest.param("/versions/1:predict", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}, id="case_D2"),
        pytest.param(":predict", {"signature_name": "serving_default", "instances": [3.0, 4.0]}, {"predictions": [3.5, 4.0]}, id="case_D4"),
    ],
)  # fmt: skip
def test_predict(client: RestClient, path: str, body: object, expected: object) -> None:
    """The same model answers by default and by version."""
    reply = client.post(f"/v1/models/half_plus_two{path}", body)

    assert (reply.status, reply.json) == (200, expected)
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        pytest.param("foo:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(foo)", id="case_D6"),
        pytest.param("half_plus_two/versions/9:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(half_plus_two, 9)", id="version"),
        pytest.param("half_plus_two/labels/nonexistent:predict", {"instances": [1]}, 400, "Unrecognized servable version label: nonexistent", id="case_D10"),
        pytest.param("foo:predict", "no json", 400, "JSON Parse error: Invalid value. at offset: 1", id="malformed body wins over unknown model"),
        pytest.param("half_plus_two:predict", {}, 400, "Missing 'inputs' or 'instances' key", id="case_B37"),
        pytest.param("half_plus_two:predict", {"signature_name": "nope", "instances": [1]}, 400, 'Serving signature name: "nope" not found in signature def', id="case_B60"),
        pytest.param("half_plus_two:predict", {"inputs": [[1, 2], [3]]}, 400, "Encountered list at unexpected size: 1 at level: 1 expected size: 2", id="case_B50"),
        pytest.param("half_plus_two:predict", {"inputs": ["a"]}, 400, 'JSON Value: "a" Type: String is not of expected type: float', id="wrong type"),
        pytest.param("half_plus_two:PREDICT", {}, 400, "Malformed request: POST /v1/models/half_plus_two:PREDICT", id="case_A24"),
    ],
)  # fmt: skip
def test_mistakes_of_clients_are_named(client: RestClient, path: str, body: object, status: int, error: str) -> None:
    """Every mistake gets TensorFlow Serving's status and text, and the connection lives on."""
    reply = client.post(f"/v1/models/{path}", body)

    assert (reply.status, reply.error) == (status, error)
    assert client.predict("half_plus_two", [0.0]) == [2.0]


@pytest.mark.parametrize(
    ("verb", "body", "expected"),
    [
        pytest.param("classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}]}, [[["", 12.0]]], id="case_D13"),
        pytest.param("regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}, {"x": 1.0}]}, [42.0, 2.5], id="regress"),
        pytest.param("regress", {"signature_name": "regress_x_to_y2", "context": {"x": 2.0}, "examples": [{}]}, [4.0], id="context"),
    ],
)  # fmt: skip
def test_examples(client: RestClient, verb: str, body: object, expected: object) -> None:
    """Classify and regress take features as JSON."""
    reply = client.post(f"/v1/models/tf1_half_plus_two:{verb}", body)

    assert reply.status == 200, reply.body
    assert reply.json == {"results": expected}


def test_case_E1_status_of_a_model(client: RestClient) -> None:
    """Status is TensorFlow Serving's, with the version as a string; whether the model is ready comes after it."""
    whole = client.get("/v1/models/half_plus_two")
    one = client.get("/v1/models/half_plus_two/versions/1")

    assert (whole.status, one.status) == (200, 200)
    assert one.json == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert whole.json == one.json | {"ready": True}


def test_case_E6_status_of_an_unknown_model(client: RestClient) -> None:
    """An unknown model has no versions."""
    reply = client.get("/v1/models/nonexistent_model")

    assert (reply.status, reply.error) == (404, "Could not find any versions of model nonexistent_model")


def test_case_E15_metadata_names_signatures_types_and_shapes(client: RestClient) -> None:
    """Metadata holds every signature, also the initialiser's of a TF2 model."""
    reply = client.get("/v1/models/half_plus_two/metadata")

    assert reply.json["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": "1"}
    signatures = reply.json["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    initialiser = signatures["__saved_model_init_op"]["outputs"]["__saved_model_init_op"]
    assert (initialiser["dtype"], initialiser["name"]) == ("DT_INVALID", "NoOp")
    assert signatures["__saved_model_init_op"]["method_name"] == ""


def test_all_models_are_listed(server: LiveServer, client: RestClient) -> None:
    """GET /v1/models, which TensorFlow Serving does not have, names every model with its versions."""
    listed = {one["name"]: one for one in client.get("/v1/models").json["models"]}

    assert set(server.entries) <= set(listed)
    assert listed["half_plus_two"]["versions"] == [{"version": "1", "state": "AVAILABLE", "labels": []}]


def test_the_server_is_alive_and_ready(client: RestClient) -> None:
    """Both health pages answer; readiness says what is missing."""
    assert client.get("/healthz").status == 200
    ready = client.get("/readyz")
    assert (ready.status, ready.json["ready"]) == (200, True)


def test_no_process_of_the_server_has_python_tensorflow(server: LiveServer, client: RestClient) -> None:
    """Router, watcher and model servers use the runtime library alone, not the Python package around it."""
    assert client.predict("mlp", [[0.0] * 32])
    maps = [path.read_text() for path in Path("/proc").glob("[0-9]*/maps") if _is_readable(path)]
    servers = [text for text in maps if "libtensorflow_cc.so" in text]

    assert len(servers) >= len(server.entries)
    assert not [text for text in maps if "ray/_raylet.so" in text and "_pywrap_tensorflow" in text]


def _is_readable(path: Path) -> bool:
    try:
        path.read_text()
    except (OSError, UnicodeDecodeError):
        return False
    return True


def test_case_D17_another_model_of_the_same_server(client: RestClient) -> None:
    """Each model answers with its own numbers."""
    assert client.predict("half_plus_three", [1.0, 2.0, 5.0]) == [3.5, 4.0, 5.5]


def test_case_E13_metadata_of_an_unknown_model(client: RestClient) -> None:
    """Metadata resolves like a request."""
    reply = client.get("/v1/models/foo/metadata")

    assert (reply.status, reply.error) == (404, "Servable not found for request: Latest(foo)")
