"""Tests of the interpreter's own ways, as far as the server depends on them, and of reading files."""

from __future__ import annotations

import random

import numpy as np
import pytest

from core.errors import Code, RuntimeFailure, ServingError
from core.inference.dtypes import DataType
from deployments.platforms.tflite_runtime import LiteInterpreter, read_file
from tests.support.lite_models import lite_file


def interpreter(name: str) -> tuple[LiteInterpreter, list[int], list[int]]:
    """Open a model; gives the indices of its inputs and outputs, too."""
    content = lite_file(name)
    first = read_file(content).graphs[0]
    return LiteInterpreter(content), [index for index, _ in first.inputs], [index for index, _ in first.outputs]


def failure(content: bytes) -> ServingError:
    with pytest.raises(ServingError) as refused:
        LiteInterpreter(content)
    return refused.value


def test_inputs_take_the_shape_of_each_request() -> None:
    """More rows, fewer rows, none, another rank."""
    one, (x,), outputs = interpreter("half_plus_two")

    for value in ([[2.0]], [[1.0], [3.0]], [2.0], np.zeros((0, 1)), [[4.0]]):
        array = np.array(value, np.float32)
        (y,) = one.run({x: array}, outputs)
        assert y.tolist() == (array * 0.5 + 2.0).tolist()
        assert one.shapes == {x: array.shape}


def test_tensors_are_not_allocated_anew_while_shapes_stay() -> None:
    """That would cost more than a small run."""
    one, (x,), outputs = interpreter("half_plus_two")
    one.run({x: np.ones((3, 1), np.float32)}, outputs)
    one._interpreter.allocate_tensors = None

    (y,) = one.run({x: np.zeros((3, 1), np.float32)}, outputs)

    assert y.tolist() == [[2.0]] * 3


def test_outputs_are_copies_that_a_later_run_does_not_change() -> None:
    """Answers are printed while others run."""
    one, (x,), outputs = interpreter("half_plus_two")

    (first,) = one.run({x: np.array([[2.0]], np.float32)}, outputs)
    one.run({x: np.array([[8.0]], np.float32)}, outputs)

    assert first.tolist() == [[3.0]]


def test_a_scalar_stays_an_array_without_dimensions() -> None:
    """The interpreter gives a NumPy scalar."""
    one, (x,), outputs = interpreter("scalar")

    (y,) = one.run({x: np.array(2.0, np.float32)}, outputs)

    assert isinstance(y, np.ndarray)
    assert (y.shape, float(y)) == ((), 6.0)


def test_the_state_of_recurrent_layers_does_not_go_from_request_to_request() -> None:
    """The interpreter itself keeps it."""
    one, (x,), outputs = interpreter("recurrent")
    value = np.ones((1, 2), np.float32)

    first, second = one.run({x: value}, outputs)[0], one.run({x: value}, outputs)[0]

    assert first.tolist() == second.tolist() == [[1.0, 1.0]]


def test_a_run_that_fails_is_an_internal_error_with_the_interpreters_text() -> None:
    """TensorFlow Serving's text comes first."""
    one, (words, places), outputs = interpreter("words")

    with pytest.raises(RuntimeFailure) as failed:
        one.run({words: np.array([b"a"], object), places: np.array([5], np.int32)}, outputs)

    assert failed.value.code is Code.INTERNAL
    assert str(failed.value).startswith("Failed to invoke TfLite interpreter: ")
    assert "gather index out of bounds" in str(failed.value)


@pytest.mark.parametrize("shape", [(2, 4), (1, 5), (1,) * 9])
def test_shapes_that_the_model_cannot_take_are_the_callers_mistake(shape) -> None:
    """TensorFlow Serving calls it an internal error; nothing of the server is broken."""
    one, (x,), outputs = interpreter("fixed_rows")

    with pytest.raises(RuntimeFailure) as failed:
        one.run({x: np.zeros(shape, np.float32)}, outputs)

    assert failed.value.code is Code.INVALID_ARGUMENT
    assert str(failed.value).startswith("Failed to fit inputs: ")


def test_what_is_not_a_string_is_refused_where_strings_are_expected() -> None:
    """An array of objects may hold anything."""
    one, (words,), outputs = interpreter("is_yes")

    with pytest.raises(RuntimeFailure) as failed:
        one.run({words: np.array([b"yes", 3], object)}, outputs)

    assert failed.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(("name", "expected"), [("half_plus_two", True), ("fixed_rows", False), ("named", True)])
def test_a_trial_tells_whether_outputs_follow_the_rows(name, expected) -> None:
    """Also where the file says 1 row."""
    assert interpreter(name)[0].takes_any_rows() is expected


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"hello, this is not a model", b"\x1c\x00\x00\x00TFL3" + b"\xff" * 300],
    ids=["empty", "byte", "text", "magic"],
)
def test_what_is_not_a_flatbuffer_is_an_invalid_argument(content) -> None:
    """The text is TensorFlow Serving's, then the interpreter's."""
    error = failure(content)

    assert error.code is Code.INVALID_ARGUMENT
    assert str(error).startswith("Cannot build FlatBufferModel from buffer. ")


def test_a_file_that_is_cut_is_refused_wherever_it_is_cut() -> None:
    """As a copy that was interrupted leaves it."""
    content = lite_file("quantized_int8")

    for end in range(1, len(content) - 16, 97):
        assert failure(content[:end]).code is Code.INVALID_ARGUMENT


def test_a_model_with_an_operation_that_is_not_built_in_is_an_internal_error_with_advice() -> None:
    """The name of the operation is in the text."""
    content = bytearray(lite_file("unknown_operation"))

    error = failure(bytes(content))

    assert error.code is Code.INTERNAL
    assert str(error).startswith("Cannot build Interpreter from buffer. ")
    assert "Mystery" in str(error)
    assert "convert the model without custom or Select ones" in str(error)


def test_a_file_tells_names_types_and_both_shapes() -> None:
    """`declared` has the open dimension."""
    ((_, x),) = read_file(lite_file("quantized_uint8")).graphs[0].inputs

    assert (x.name, x.dtype) == ("serving_default_image:0", DataType.UINT8)
    assert (x.shape, x.declared) == ((1, 8, 8, 1), (-1, 8, 8, 1))


def test_a_file_tells_its_own_signatures_and_their_graphs() -> None:
    """Each has keys of its own."""
    file = read_file(lite_file("two_signatures"))

    assert [(one.key, one.graph, set(one.inputs), set(one.outputs)) for one in file.own] == [
        ("double", 0, {"x"}, {"y"}),
        ("halve", 1, {"x"}, {"y"}),
    ]
    assert len(file.graphs) == 2


def test_a_file_tells_the_signatures_of_its_metadata() -> None:
    """They are bytes that are not texts."""
    assert set(read_file(lite_file("two_metadata")).metadata) == {"serving_default", "regress"}
    assert read_file(lite_file("half_plus_two")).metadata == {}


def test_metadata_that_is_damaged_is_refused_and_nothing_else_happens() -> None:
    """Whatever bytes stand where the map should be, the error is ours."""
    content = lite_file("half_plus_two_metadata")
    place, chosen = content.index(b"serving_default\0"), random.Random(1)
    outcomes = set()
    for _ in range(200):
        damaged = bytearray(content)
        for at in range(place, place + 120):
            damaged[at] = chosen.randrange(256)
        try:
            read_file(bytes(damaged))
        except ServingError as error:
            outcomes.add(str(error).partition(":")[0])

    assert "Invalid SignatureDefs found in TfLite model" in outcomes
