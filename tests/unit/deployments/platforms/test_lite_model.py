"""Tests of running TensorFlow Lite models: names, types, strings, threads, and the rows of large requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core.errors import Code, DeadlineExceeded, InvalidArgument, RuntimeFailure, ServingError, Unavailable
from deployments.platforms.lite_model import LiteModel, RowSplitter
from tests.support.clients import wait_until
from tests.support.lite_models import SERVING_OWN, ask, lite_model, load_lite

ONE = np.ones((1, 2), np.float32)


def refusal(model: LiteModel, feeds, fetches, **options) -> ServingError:
    with pytest.raises(ServingError) as refused:
        model.run(feeds, fetches, **options)
    return refused.value


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "int64", "bool", "int16", "int8", "uint32"])
def test_values_of_every_type_go_in_and_come_out(dtype) -> None:
    """At the ends of their ranges, too."""
    types = ["float32", "int32", "uint8", "int64", "bool", "int16", "int8", "uint32"]
    inputs = {name: np.zeros((2, 2), name) for name in types}
    value = np.zeros((2, 2), dtype)
    if value.dtype.kind in "iu":
        limits = np.iinfo(value.dtype)
        value[0], value[1] = limits.min, limits.max
    else:
        value[0] = 1

    outputs = ask(lite_model("types"), inputs | {dtype: value}, SERVING_OWN)

    twice = outputs[f"{dtype}_twice"]
    assert twice.dtype == value.dtype
    assert twice.tolist() == np.concatenate([value, value], axis=1).tolist()


def test_complex_and_double_values_go_through() -> None:
    """Types of few models."""
    z = np.array([[1 + 2j, 3 - 4j]], np.complex64)

    outputs = ask(lite_model("complex"), {"z": z}, SERVING_OWN)
    (single,) = ask(lite_model("doubles"), {"d": np.array([[0.1, 1e300]])}, SERVING_OWN).values()

    assert outputs["same"].tolist() == z.tolist()
    assert outputs["real"].tolist() == [[1.0, 3.0]]
    assert single.tolist() == [[np.float32(0.1), np.inf]]


def test_strings_are_bytes_both_ways() -> None:
    """With NULs, without characters, and not in UTF-8."""
    words = np.array([b"plain", b"a\0b\0", b"", b"\xff\xfe", "grün".encode()], object)

    (chosen,) = ask(
        lite_model("words"), {"words": words, "places": np.array([3, 1, 2, 4], np.int32)}, SERVING_OWN
    ).values()

    assert chosen.tolist() == [b"\xff\xfe", b"a\0b\0", b"", "grün".encode()]


@pytest.mark.parametrize("name", ["quantized_int8", "quantized_uint8"])
def test_quantized_models_take_and_give_integers(name) -> None:
    """As the file declares them; whoever calls has quantized."""
    dtype = name.partition("_")[2]
    image = np.full((3, 8, 8, 1), 90, dtype)

    (scores,) = ask(lite_model(name), {"image": image}, SERVING_OWN).values()

    assert (scores.dtype, scores.shape) == (np.dtype(dtype), (3, 3))
    assert (scores == scores[0]).all()


def test_each_signature_runs_its_own_graph() -> None:
    """Two graphs whose tensors have the same names."""
    model = lite_model("two_signatures")
    value = np.array([[2.0, 4.0], [6.0, 8.0]], np.float32)

    assert ask(model, {"x": value}, "double")["y"].tolist() == (value * 2).tolist()
    assert ask(model, {"x": value}, "halve")["y"].tolist() == (value / 2).tolist()
    assert ask(model, {"double_x": value})["PartitionedCall"].tolist() == (value * 2).tolist()


def test_only_the_outputs_that_are_asked_for_are_given_in_their_order() -> None:
    """The same one may be asked for twice."""
    model = lite_model("named")

    answers = model.run({"serving_default_x:0": ONE}, ["PartitionedCall:1", "PartitionedCall:0", "PartitionedCall:1"])

    assert [one.tolist() for one in answers] == [[[2.0, 2.0]], [2.0], [[2.0, 2.0]]]


def test_names_of_tensors_may_have_the_colon_that_the_file_lacks() -> None:
    """Clients of old models name tensors as TensorFlow does."""
    assert lite_model("half_plus_two").run({"x:0": np.array([[2.0]], np.float32)}, ["y:0"])[0].tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("feeds", "fetches", "text"),
    [
        ({"nope": ONE}, ["y"], "Unknown tensor 'nope'"),
        ({"x": ONE}, ["nope"], "Missing output TFLite tensor: nope: Unknown tensor 'nope'."),
        ({}, ["y"], "The call has no value for these inputs of the model: x"),
        ({"x": ONE.astype(np.float64)}, ["y"], "Expects input x to be float but double is provided"),
        ({"x": np.array([[b"1"]], object)}, ["y"], "Expects input x to be float but string is provided"),
        ({"x": np.array([["1"]])}, ["y"], "Expects input x to be float but string is provided"),
    ],
)
def test_a_call_that_does_not_fit_the_model_is_an_invalid_argument(feeds, fetches, text) -> None:
    """Nothing is run, and nothing is converted silently."""
    error = refusal(lite_model("half_plus_two"), feeds, fetches)

    assert error.code is Code.INVALID_ARGUMENT
    assert text in str(error)


def test_a_part_of_the_inputs_is_refused() -> None:
    """The others would have the values of an earlier request."""
    model = lite_model("two_inputs")
    ask(model, {"a": ONE, "b": ONE}, SERVING_OWN)

    error = refusal(model, {"serving_default_a:0": ONE}, ["PartitionedCall:0"])

    assert str(error) == "The call has no value for these inputs of the model: serving_default_b:0"


def test_tensors_of_two_graphs_cannot_be_in_one_run() -> None:
    """They have nothing in common."""
    model = lite_model("two_signatures")
    other = model.served.signatures["halve"].outputs["y"].tensor

    assert "several graphs" in str(refusal(model, {"double_x:0": ONE}, [other]))


def test_a_failed_run_leaves_no_trace_in_the_answers_after_it() -> None:
    """The interpreter would repeat the text of one error in the next."""
    model = load_lite("words")
    feeds = {"words": np.array([b"secret"], object), "places": np.array([1], np.int32)}
    texts = []
    for _ in range(3):
        with pytest.raises(RuntimeFailure) as failed:
            ask(model, feeds, SERVING_OWN)
        texts.append(str(failed.value))

    assert texts[0] == texts[1] == texts[2]
    assert texts[0].count("gather index out of bounds") == 1
    (chosen,) = ask(model, feeds | {"places": np.array([0], np.int32)}, SERVING_OWN).values()
    assert chosen.tolist() == [b"secret"]


def test_a_failed_run_of_a_further_graph_is_the_callers_mistake() -> None:
    """The model answers afterwards."""
    model = load_lite("two_signatures")

    with pytest.raises(RuntimeFailure) as failed:
        ask(model, {"x": np.ones((1,) * 9, np.float32)}, "halve")
    assert failed.value.code is Code.INVALID_ARGUMENT
    assert ask(model, {"x": ONE}, "halve")["y"].tolist() == [[0.5, 0.5]]


def test_sixteen_threads_get_their_own_answers() -> None:
    """With other shapes each, on fewer interpreters."""
    model = load_lite("named", tflite_pools=3)
    barrier = threading.Barrier(16)

    def work(number: int) -> bool:
        value = np.full((number % 5 + 1, 2), number, np.float32)
        barrier.wait()
        answers = [ask(model, {"x": value}, SERVING_OWN) for _ in range(60)]
        return all(
            one["sum"].tolist() == [2.0 * number] * len(value) and (one["twice"] == value * 2).all() for one in answers
        )

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(work, range(16)))


def test_a_call_waits_for_an_interpreter_as_long_as_its_caller_does() -> None:
    """One that must not wait has an interpreter of its own."""
    model = load_lite("half_plus_two")
    x = {"x": np.array([[2.0]], np.float32)}

    with model._pool.lent({}):
        with pytest.raises(DeadlineExceeded):
            model.run(x, ["y"], timeout_ms=20)
        assert model.run(x, ["y"], in_caller_thread=True)[0].tolist() == [[3.0]]
    assert model.run(x, ["y"], timeout_ms=20_000)[0].tolist() == [[3.0]]


@pytest.mark.parametrize("settings", [{}, {"tflite_interpreters_per_pool": 2}])
def test_a_closed_model_refuses_calls(settings) -> None:
    """The text names the version."""
    model = load_lite("half_plus_two", **settings)

    model.close()

    error = refusal(model, {"x": np.ones((400, 1), np.float32)}, ["y"])
    assert error.code is Code.UNAVAILABLE
    assert str(error) == "Servable {name: half_plus_two version: 1} is unloaded"


def test_the_rows_of_a_large_request_are_shared_by_interpreters() -> None:
    """The answer is that of one run."""
    model = load_lite("named", tflite_pools=2, tflite_interpreters_per_pool=4)
    value = np.arange(600, dtype=np.float32).reshape(300, 2)
    shapes = []
    run = model._run
    model._run = lambda feeds, *rest: shapes.append([one.shape for one in feeds.values()]) or run(feeds, *rest)

    outputs = ask(model, {"x": value}, SERVING_OWN)

    assert outputs["sum"].tolist() == value.sum(axis=1).tolist()
    assert outputs["twice"].tolist() == (value * 2).tolist()
    assert sorted(shapes) == [[(50, 2)], [(125, 2)], [(125, 2)]]


def test_a_request_of_few_rows_is_not_split() -> None:
    """Nor is a scalar; both run in the thread that asks."""
    splitter = RowSplitter(1, 2, 1)

    for array in (np.zeros((250, 1)), np.zeros((0, 1)), np.zeros(())):
        (thread,) = splitter.run({0: array}, lambda feeds: [threading.current_thread()], None)
        assert thread is threading.current_thread()


@pytest.mark.parametrize("name", ["scalar", "two_inputs"])
def test_models_without_rows_and_those_with_several_inputs_are_not_split(name) -> None:
    """As in TensorFlow Serving."""
    assert load_lite(name, tflite_interpreters_per_pool=4)._splitter is None


def test_too_many_rows_are_refused_where_requests_are_split() -> None:
    """With the text of TensorFlow Serving."""
    model = load_lite("half_plus_two", tflite_interpreters_per_pool=2)

    with pytest.raises(InvalidArgument, match="Task size 501 is larger than maximum input batch size 500"):
        model.run({"x": np.zeros((501, 1), np.float32)}, ["y"])
    assert len(model.run({"x": np.zeros((500, 1), np.float32)}, ["y"])[0]) == 500


def test_a_part_that_fails_fails_the_request() -> None:
    """With its own error; the next request is answered."""
    splitter = RowSplitter(2, 2, 1)

    def run(feeds):
        if feeds[0][0, 0] == 250:
            raise RuntimeFailure(Code.INTERNAL, "second part")
        return [feeds[0]]

    rows = np.arange(500.0).reshape(500, 1)
    with pytest.raises(RuntimeFailure, match="second part"):
        splitter.run({0: rows}, run, None)
    assert splitter.run({0: rows + 0.5}, run, None)[0].tolist() == (rows + 0.5).tolist()


def test_parts_that_find_no_room_and_parts_that_come_too_late_are_errors() -> None:
    """A hundred parts may wait for each pool."""
    splitter = RowSplitter(1, 500, 1)
    goes_on, began = threading.Event(), threading.Event()

    def run(feeds):
        began.set()
        goes_on.wait(30)
        return [feeds[0]]

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(splitter.run, {0: np.zeros((60, 1))}, run, None)
        wait_until(began.is_set, "a part runs")
        with pytest.raises(Unavailable, match="The batch scheduling queue to which this task was submitted is full;"):
            splitter.run({0: np.zeros((41, 1))}, run, None)
        with pytest.raises(DeadlineExceeded):
            splitter.run({0: np.zeros((40, 1))}, run, 0.0)
        goes_on.set()
        assert len(first.result(30)[0]) == 60
    wait_until(lambda: splitter._waiting == 0, "no part waits")
