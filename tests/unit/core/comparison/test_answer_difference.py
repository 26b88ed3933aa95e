"""Tests of the comparison of answers, of every method, as our writers write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from core.comparison import answer_difference as module
from core.comparison.answer_difference import answer_difference
from core.config.server_settings import AnswerSettings
from core.delivery.pair_report import PairReport, PairResult
from core.delivery.split import Tolerance
from core.grpc.examples_response import classification_result, examples_response, regression_result
from core.grpc.model_spec import answer_spec
from core.grpc.predict_response import ResponseWriter
from core.inference.classification import ScoredClass
from core.inference.dtypes import type_of
from core.inference.protobuf_wire import length_delimited, prefixed, tag
from core.inference.signature import TensorSpec
from core.inference.tensor_proto import bytes_array, wire_pieces
from core.methods import planners
from core.oip.datatypes import name_of
from core.oip.grpc_answer import GrpcWriter
from core.oip.infer_plan import InferAnswer, OutputTensor
from core.oip.json_answer import write_json_answer
from core.rest.examples import write_classes, write_values
from core.rest.predict_answer import write_columns, write_rows
from core.routing.transport import Method

Outputs = Mapping[str, np.ndarray]
Writer = Callable[[Outputs, int], bytes]


def predict(outputs: Outputs, version: int) -> bytes:
    specs = tuple((name, TensorSpec(name, type_of(array), None)) for name, array in outputs.items())
    spec = answer_spec("m", version, "serving_default")
    return ResponseWriter(specs, tuple(outputs), spec, as_content=False).encode(list(outputs.values()))


def session_run(outputs: Outputs, version: int) -> bytes:
    pieces = b"".join(
        b"".join(prefixed(tag(1), [length_delimited(tag(1), name.encode()), *prefixed(tag(2), wire_pieces(array))]))
        for name, array in outputs.items()
    )
    return pieces + length_delimited(tag(3), answer_spec("m", version))


def rows(outputs: Outputs, _: int) -> bytes:
    return write_rows({name: at for at, name in enumerate(outputs)}, list(outputs.values()))


def columns(outputs: Outputs, _: int) -> bytes:
    return write_columns({name: at for at, name in enumerate(outputs)}, list(outputs.values()))


def infer(outputs: Outputs, version: int) -> InferAnswer:
    tensors = tuple(OutputTensor(name, name_of(array.dtype), array) for name, array in outputs.items())
    return InferAnswer("m", str(version), "7", tensors)


FORMS: Mapping[str, tuple[Method, Writer]] = {
    "predict": (Method.PREDICT, predict),
    "session_run": (Method.SESSION_RUN, session_run),
    "rows": (Method.REST_PREDICT, rows),
    "columns": (Method.REST_PREDICT, columns),
    "oip_raw": (Method.OIP_INFER, lambda outputs, version: GrpcWriter(is_raw=True).write(infer(outputs, version))),
    "oip_typed": (Method.OIP_INFER, lambda outputs, version: GrpcWriter(is_raw=False).write(infer(outputs, version))),
    "oip_json": (
        Method.OIP_REST_INFER,
        lambda outputs, version: write_json_answer(infer(outputs, version), is_binary_by_default=False),
    ),
    "oip_binary": (
        Method.OIP_REST_INFER,
        lambda outputs, version: write_json_answer(infer(outputs, version), is_binary_by_default=True),
    ),
}
METHODS = sorted(planners(AnswerSettings()))
SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)
STABLE: Outputs = {"scores": SCORES, "names": bytes_array([b"a", b"b", b"c"]), "ids": np.array([1, 2, 3], np.int64)}
in_each_form = pytest.mark.parametrize("form", FORMS)


def pair(form: str, stable: Outputs, other: Outputs, tolerances: Mapping[str, Tolerance] | None = None) -> PairReport:
    method, write = FORMS[form]
    return answer_difference(method, write(stable, 9), write(other, 10), tolerances)


@in_each_form
def test_equal_answers_of_two_versions_are_identical_without_reading_them(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of the version is no difference, and equal bytes are not decoded."""
    monkeypatch.setattr(module, "answer_tensors", None)
    assert pair(form, STABLE, STABLE).result is PairResult.IDENTICAL


@in_each_form
def test_a_small_distance_is_within_the_tolerance(form: str) -> None:
    """Low bits are a difference that is counted, but not one that matters."""
    found = pair(form, STABLE, {**STABLE, "scores": SCORES * np.float32(1.0001)})
    assert found.result is PairResult.WITHIN
    assert list(found.outputs) == ["scores"]
    assert found.outputs["scores"].relative_l2 == pytest.approx(1e-4, rel=0.01)


@in_each_form
def test_tolerances_are_by_output(form: str) -> None:
    """The tolerance of an output is its own."""
    other = {**STABLE, "scores": SCORES * np.float32(1.0001)}
    assert pair(form, STABLE, other, {"scores": Tolerance(1e-6, 1e-9)}).result is PairResult.OUTSIDE
    assert pair(form, STABLE, other, {"names": Tolerance(1e-6, 1e-9)}).result is PairResult.WITHIN


@in_each_form
def test_flips_texts_and_integers_are_found_in_every_form(form: str) -> None:
    """Every output that differs is in the report, with the share of its elements."""
    other = {"scores": SCORES[:, ::-1], "names": bytes_array([b"a", b"b", b"\xc3\xa9"]), "ids": np.array([1, 2, 4])}
    found = pair(form, STABLE, other)
    assert found.result is PairResult.OUTSIDE
    assert {name: one.flipped_rows for name, one in found.outputs.items()} == {"scores": 3, "names": 1, "ids": 1}


@in_each_form
def test_values_that_are_not_numbers_are_found(form: str) -> None:
    """NaN, which JSON writes in a way of its own, is outside of any tolerance."""
    other = {**STABLE, "scores": np.where(SCORES > 0.85, np.float32(np.nan), SCORES)}
    assert pair(form, STABLE, other).outputs["scores"].not_finite == pytest.approx(1 / 6)


@in_each_form
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"scores": SCORES, "ids": STABLE["ids"]}, "output names is missing"),
        ({**STABLE, "more": STABLE["ids"]}, "output more is new"),
        ({**STABLE, "scores": np.zeros((3, 3), np.float32)}, r"output scores has shape \[3, 3\], and not \[3, 2\]"),
        ({**STABLE, "ids": STABLE["ids"].astype(np.float32)}, "output ids has type float"),
        ({**STABLE, "ids": bytes_array([b"1", b"2", b"3"])}, "output ids has type string, and not int64"),
    ],
)
def test_other_outputs_types_and_shapes_are_structural(form: str, other: Outputs, reason: str) -> None:
    """A structural difference says what it is."""
    found = pair(form, STABLE, other)
    assert found.result is PairResult.STRUCTURAL
    assert re.search(reason, found.reason)


@pytest.mark.parametrize("form", ["rows", "columns"])
def test_the_only_output_of_rest_predict_gets_its_name_from_outside(form: str) -> None:
    """With one output its name is left out of the answer, and rules know it by name."""
    method, write = FORMS[form]
    one, two = write({"scores": SCORES}, 1), write({"scores": SCORES[:, ::-1]}, 1)
    assert list(answer_difference(method, one, two, only_output="scores").outputs) == ["scores"]


def test_bytes_in_base64_are_texts() -> None:
    """An output whose name ends with _bytes is in base64, alone and beside others."""
    one, two = {"x_bytes": bytes_array([b"\xff", b"b"])}, {"x_bytes": bytes_array([b"\xff", b"\xfe"])}
    for form in ("rows", "columns"):
        assert pair(form, one, two).outputs["outputs"].outside == 0.5
        assert pair(form, {**one, "y": SCORES[:2]}, {**two, "y": SCORES[:2]}).outputs["x_bytes"].outside == 0.5


def classes(*scores: float, labels: tuple[bytes, ...] = (b"cat", b"dog")) -> list[list[ScoredClass]]:
    return [[ScoredClass(label, score) for label, score in zip(labels, scores, strict=True)]]


@pytest.mark.parametrize("is_rest", [False, True])
def test_the_class_with_the_largest_score_is_compared(*, is_rest: bool) -> None:
    """Classify: labels and scores, and the label that wins, whatever the order of the classes is."""

    def answer(*scores: float, version: int = 1, labels: tuple[bytes, ...] = (b"cat", b"dog")) -> bytes:
        found = classes(*scores, labels=labels)
        spec = answer_spec("m", version)
        return write_classes(found) if is_rest else examples_response(classification_result(found), spec)

    method = Method.REST_CLASSIFY if is_rest else Method.CLASSIFY
    assert answer_difference(method, answer(0.5, 0.25), answer(0.5, 0.25, version=2)).result is PairResult.IDENTICAL
    flipped = answer_difference(method, answer(0.5, 0.25), answer(0.25, 0.5))
    assert flipped.outputs["top_class"].flipped_rows == 1
    swapped = answer_difference(method, answer(0.5, 0.25), answer(0.25, 0.5, labels=(b"dog", b"cat")))
    assert swapped.outputs.keys() == {"classes", "scores"}
    fewer = answer_difference(method, answer(0.5, 0.25), answer(0.5, labels=(b"cat",)))
    assert fewer.result is PairResult.STRUCTURAL


@pytest.mark.parametrize("is_rest", [False, True])
def test_values_of_regress_are_compared(*, is_rest: bool) -> None:
    """Regress: one float for each example."""

    def answer(*values: float) -> bytes:
        return write_values(list(values)) if is_rest else examples_response(regression_result(list(values)), b"")

    method = Method.REST_REGRESS if is_rest else Method.REGRESS
    assert answer_difference(method, answer(1.0, 0.0), answer(1.0, 0.5)).outputs["outputs"].outside == 0.5
    assert answer_difference(method, answer(1.0, 0.0), answer(1.0)).result is PairResult.STRUCTURAL


def test_results_of_multi_inference_are_compared_by_signature() -> None:
    """Each result has its own spec with the version, which is no difference."""

    def answer(value: float, version: int) -> bytes:
        result = length_delimited(tag(3), regression_result([value]))
        return length_delimited(tag(1), length_delimited(tag(1), answer_spec("m", version, "reg")) + result)

    assert answer_difference(Method.MULTI_INFERENCE, answer(1.0, 1), answer(1.0, 2)).result is PairResult.IDENTICAL
    assert list(answer_difference(Method.MULTI_INFERENCE, answer(1.0, 1), answer(2.0, 2)).outputs) == ["reg/outputs"]


def test_labels_that_are_not_utf8_are_compared_whole() -> None:
    """The protobuf runtime does not read them; equal ones are identical all the same, and no pair is lost."""
    one = examples_response(classification_result(classes(0.5, 0.25, labels=(b"\xff", b"a"))), answer_spec("m", 1))
    two = examples_response(classification_result(classes(0.5, 0.25, labels=(b"\xff", b"a"))), answer_spec("m", 2))
    three = examples_response(classification_result(classes(0.5, 0.5, labels=(b"\xff", b"a"))), answer_spec("m", 2))
    assert answer_difference(Method.CLASSIFY, one, two).result is PairResult.IDENTICAL
    assert answer_difference(Method.CLASSIFY, one, three).result is PairResult.OUTSIDE


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff" * 40,
        b"{}",
        b'{"predictions": 3}',
        b'{"predictions": [{"a": 1}, {"b": 1}]}',
        b'{"predictions": [[1], 2]}',
        b'{"predictions": [["a"], "b"]}',
        b'{"outputs": [[1], [1, 2]]}',
        b'{"outputs": [null]}',
        b'{"outputs": [{"name": 1}]}    ',
        b'{"outputs": [{"name": "a", "shape": [-1, 9], "datatype": "FP32", "data": [1]}]}\xff\xff\xff\xff',
        b'{"outputs": [{"name": "a", "shape": [2], "datatype": "FP32", "parameters": 3}]}\xff\xff\xff\xff',
        b'{"results": [[["a", "b"]]]}',
        b'{"results": [[1]]}',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_cannot_be_read_is_a_structural_difference(method: Method, garbage: bytes) -> None:
    """Whatever a version answers, the comparison says something of it and raises nothing."""
    good = FORMS["predict"][1](STABLE, 1)
    assert answer_difference(method, good, garbage).result is not PairResult.IDENTICAL
    answer_difference(method, garbage, good)
    answer_difference(method, garbage, garbage + b" ")


def test_every_method_that_runs_the_model_can_be_compared() -> None:
    """A new method must say how its answers are read."""
    for method in METHODS:
        found = answer_difference(method, b"", b"\xff")
        assert "have no tensors" not in found.reason
    assert "have no tensors" in answer_difference(Method.REST_METADATA, b"a", b"b").reason


@pytest.mark.parametrize("numbers", [(2**63 + 1, 5), (5, 2**63 + 1)])
def test_large_unsigned_integers_in_json_are_of_the_type_of_small_ones(numbers: tuple[int, int]) -> None:
    """JSON does not say their type, which is that of the output and not of the value."""
    primary, copy = (rows({"ids": np.array([one, 7], np.uint64)}, 1) for one in numbers)
    report = answer_difference(Method.REST_PREDICT, primary, copy)
    assert (report.result, report.outputs["outputs"].outside) == (PairResult.OUTSIDE, 0.5)


def test_negative_integers_in_json_are_of_another_type_than_large_unsigned_ones() -> None:
    """An output cannot have both."""
    report = answer_difference(
        Method.REST_PREDICT, b'{"predictions": [18446744073709551615]}', b'{"predictions": [-1]}'
    )
    assert report.result is PairResult.STRUCTURAL
