"""Models as exporters write them are served: their own frameworks' answers over REST and gRPC, batched and not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import numpy as np
import pytest

from core.config.model_config import BatchingParameters
from core.protos import serving_pb2
from core.routing.transport import Answer, Call
from deployments.inference.execution import Execution
from deployments.inference.warm_up import warm_up
from tests.support.doors.zoo_site import ZooSite, loaded_call, zoo_spec
from tests.support.project import ROOT
from tests.support.served_models import example
from tests.support.zoo_models import MODELS, ZooCall, ZooModel, zoo_calls, zoo_models

EXPORTER_ROW = re.compile(r"^\| ([a-z0-9-]+) \| (\S+ \d[^|]*?) \|", re.MULTILINE)
SERVICE = "/tensorflow.serving.PredictionService/"
LARGEST_MODEL_BYTES, LARGEST_ZOO_BYTES = 150_000, 2_000_000
BATCHING = BatchingParameters(64, batch_timeout_micros=5000, num_batch_threads=1)
CALLS = zoo_calls()
ANSWERED = [call for call in CALLS if call.error is None]
PREDICTED = [call for call in ANSWERED if call.method == "predict"]
BATCHED = [call for call in PREDICTED if call.rows]
EXAMPLES = [call for call in ANSWERED if call.method != "predict"]
REFUSED = [call for call in CALLS if call.error is not None]


def cases(calls: list[ZooCall]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", calls, ids=[call.id for call in calls])


@pytest.fixture(scope="module")
def site() -> Iterator[ZooSite]:
    """Serve every model of the zoo that loads."""
    calls = {call.servable: call for call in CALLS}
    with ExitStack() as stack:
        yield ZooSite({servable: loaded_call(call) for servable, call in calls.items()}, stack)


def as_json(array: np.ndarray) -> Any:
    """Return what JSON says of an array; strings as text."""
    flat = [one.decode() if isinstance(one, bytes) else one for one in array.ravel().tolist()]
    return np.array([*flat, None], dtype=object)[:-1].reshape(array.shape).tolist()


def expect(call: ZooCall, answered: Mapping[str, Any], expected: Mapping[str, np.ndarray] | None = None) -> None:
    """Compare all outputs with the exporter's: names, shapes, and values within the call's tolerance."""
    expected = call.outputs if expected is None else expected
    assert set(answered) == set(expected)
    for name, value in expected.items():
        got = np.asarray(answered[name])
        assert got.shape == value.shape
        if value.dtype == object:
            assert as_json(got) == as_json(value)
        else:
            tolerance = call.tolerance
            np.testing.assert_allclose(got.astype(float), value.astype(float), rtol=tolerance, atol=tolerance)


def each_row(tensors: Mapping[str, np.ndarray], count: int) -> list[dict[str, np.ndarray]]:
    """Cut tensors into requests of one row."""
    return [{key: value[row : row + 1] for key, value in tensors.items()} for row in range(count)]


def rows_of(call: ZooCall) -> int:
    """Return the number of rows of a call."""
    return len(next(iter(call.inputs.values())))


def expected_rows(call: ZooCall) -> Any:
    """Return the predictions of the row format: an only output has no name."""
    columns = {key: as_json(value) for key, value in call.outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [{key: column[row] for key, column in columns.items()} for row in range(rows_of(call))]


@pytest.mark.parametrize("model", zoo_models(), ids=lambda model: model.name)
def test_the_files_of_a_model_are_those_of_its_manifest(model: ZooModel) -> None:
    """What was made by the script is served: nothing changed by hand, nothing large."""
    folder = MODELS / model.name
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == model.files
    assert sum(map(len, files.values())) < LARGEST_MODEL_BYTES
    assert bool(files) is not model.unservable


def test_the_zoo_is_small_and_has_nothing_else() -> None:
    """Every folder of a model has its entry."""
    assert {path.name for path in MODELS.iterdir()} == {model.name for model in zoo_models() if not model.unservable}
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < LARGEST_ZOO_BYTES


@cases(PREDICTED)
def test_grpc_predict_answers_as_the_exporter_does(site: ZooSite, call: ZooCall) -> None:
    """By the names that the exporter wrote."""
    expect(call, site.predict(call, call.inputs))


@cases([call for call in PREDICTED if not call.json_refused and not call.grpc_only])
def test_rest_predict_in_columns_answers_as_the_exporter_does(site: ZooSite, call: ZooCall) -> None:
    """An only output has no name there."""
    reply = site.post(call, {"inputs": {key: as_json(value) for key, value in call.inputs.items()}})

    assert reply.status == 200, reply.body
    outputs = reply.json["outputs"]
    expect(call, outputs if len(call.outputs) > 1 else dict.fromkeys(call.outputs, outputs))


@cases([call for call in BATCHED if not call.json_refused])
def test_rest_predict_in_rows_answers_as_the_exporter_does(site: ZooSite, call: ZooCall) -> None:
    """As dicts of names in and, if there are several, out."""
    columns = {key: as_json(value) for key, value in call.inputs.items()}
    instances = [{key: column[row] for key, column in columns.items()} for row in range(rows_of(call))]
    reply = site.post(call, {"instances": instances})

    assert reply.status == 200, reply.body
    predictions = reply.json["predictions"]
    assert len(predictions) == rows_of(call)
    if len(call.outputs) == 1:
        expect(call, dict.fromkeys(call.outputs, predictions))
    else:
        expect(call, {key: [one[key] for one in predictions] for key in call.outputs})


@cases([call for call in PREDICTED if call.json_refused])
def test_rest_refuses_outputs_that_json_does_not_carry(site: ZooSite, call: ZooCall) -> None:
    """As TensorFlow Serving does; gRPC carries them."""
    reply = site.post(call, {"inputs": {key: as_json(value) for key, value in call.inputs.items()}})

    assert reply.status == 400
    assert reply.error


@cases([call for call in PREDICTED if call.grpc_only])
def test_rest_needs_inputs_that_have_defaults(site: ZooSite, call: ZooCall) -> None:
    """As TensorFlow Serving does; over gRPC they may be left out."""
    reply = site.post(call, {"inputs": {key: as_json(value) for key, value in call.inputs.items()}})

    assert reply.status == 400
    assert reply.error.startswith("Missing named input: ")


@cases(BATCHED)
def test_batches_answer_each_row_as_the_exporter_does(site: ZooSite, call: ZooCall) -> None:
    """Requests that come at the same time share runs where the model takes any number of rows."""
    count = rows_of(call)
    requests = [call.inputs] * 3 if call.fixed else each_row(call.inputs, count)
    expected = [call.outputs] * 3 if call.fixed else each_row(call.outputs, count)
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda one: site.predict(call, one, batched=True), requests))

    for answer, one in zip(answers, expected, strict=True):
        expect(call, answer, one)


@cases([call for call in BATCHED if not call.json_refused])
def test_batches_of_rest_answer_as_the_exporter_does(site: ZooSite, call: ZooCall) -> None:
    """In columns, with all rows at once."""
    reply = site.post(call, {"inputs": {key: as_json(value) for key, value in call.inputs.items()}}, batched=True)

    assert reply.status == 200, reply.body
    outputs = reply.json["outputs"]
    expect(call, outputs if len(call.outputs) > 1 else dict.fromkeys(call.outputs, outputs))


def classes_over_grpc(site: ZooSite, call: ZooCall, *, batched: bool) -> dict[str, Any]:
    """Classify or regress over gRPC."""
    is_regression = call.method == "regress"
    kind = serving_pb2.RegressionRequest if is_regression else serving_pb2.ClassificationRequest
    request = kind(model_spec=zoo_spec(call))
    request.input.example_list.examples.extend(example(**one) for one in call.examples)
    raw = site.ask("Regress" if is_regression else "Classify", request, batched=batched)
    if is_regression:
        told = serving_pb2.RegressionResponse.FromString(raw).result.regressions
        return {"outputs": [[one.value] for one in told]}
    rows = serving_pb2.ClassificationResponse.FromString(raw).result.classifications
    labels = [[one.label.encode() for one in row.classes] for row in rows]
    return {
        "classes": np.array(labels, dtype=object),
        "scores": [[one.score for one in row.classes] for row in rows],
    }


@cases(EXAMPLES)
@pytest.mark.parametrize("batched", [False, True], ids=["alone", "batched"])
def test_classify_and_regress_answer_as_the_exporter_does(site: ZooSite, call: ZooCall, *, batched: bool) -> None:
    """Over gRPC by examples, and over REST by features."""
    expect(call, classes_over_grpc(site, call, batched=batched))

    reply = site.post(call, {"examples": list(call.examples)}, batched=batched)
    assert reply.status == 200, reply.body
    results = reply.json["results"]
    if call.method == "regress":
        expect(call, {"outputs": [[one] for one in results]})
    else:
        classes = np.array([[label.encode() for label, _ in row] for row in results], dtype=object)
        expect(call, {"classes": classes, "scores": [[score for _, score in row] for row in results]})


@cases(REFUSED)
def test_a_model_that_loads_but_cannot_run_says_why(site: ZooSite, call: ZooCall) -> None:
    """Over both protocols, by the same text."""
    with pytest.raises(grpc.RpcError) as failed:
        site.predict(call, call.inputs)
    reply = site.post(call, {"inputs": {key: as_json(value) for key, value in call.inputs.items()}})

    assert call.error in failed.value.details()
    assert reply.status >= 400
    assert call.error in reply.error


@cases(PREDICTED)
def test_the_names_of_a_call_are_those_of_the_metadata(site: ZooSite, call: ZooCall) -> None:
    """A client that reads the signatures knows what to send and what comes."""
    signature = site.metadata(call)[call.signature]

    assert set(call.inputs) <= set(signature["inputs"])
    assert set(call.outputs) == set(signature["outputs"])


def test_every_row_of_the_exporters_is_held_by_models() -> None:
    """The document and the manifest have the same rows, and each row names the versions that wrote its models."""
    rows = dict(EXPORTER_ROW.findall((ROOT / "docs" / "exporters.md").read_text(encoding="utf-8")))
    written: dict[str, set[str]] = {}
    for model in zoo_models():
        written.setdefault(model.row, set()).update(f"{name} {version}" for name, version in model.versions.items())

    assert rows.keys() == written.keys()
    assert {row: named for row, named in rows.items() if not set(named.split(", ")) <= written[row]} == {}


def test_the_warm_up_requests_beside_a_version_are_answered() -> None:
    """Where TFX leaves them."""
    (call,) = (call for call in CALLS if call.model == "tfx_pushed")
    execution = Execution(loaded_call(call), 1)
    answers: list[Answer] = []

    def answer(one: Call) -> Answer:
        answers.append(execution.answering.at_once(one))
        return answers[-1]

    warm_up(call.servable, str(MODELS / call.model / str(call.version)), answer, 1)
    execution.close()

    assert [one.code.name for one in answers] == ["OK"]


def test_versions_of_an_unnamed_sequential_model_differ_in_the_name_of_their_input() -> None:
    """A client must read the name, or the exporter give one."""
    names = {call.version: set(call.inputs) for call in CALLS if call.model == "keras_sequential"}

    assert names[1].isdisjoint(names[2])
