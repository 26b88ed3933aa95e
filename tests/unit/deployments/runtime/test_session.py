"""Runs: TensorFlow's own answers and errors, from many threads, without leaving memory behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import ValuesView
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.errors import Code, InvalidArgument, RuntimeFailure, Unavailable, Unimplemented
from deployments.runtime import saved_model
from deployments.runtime import session as tensorflow_session
from deployments.runtime.library import library
from deployments.runtime.session import run_options
from deployments.runtime.tensors import COPIED_BYTES
from tests.support.loaded_models import call, lent_count, load_fresh, loaded
from tests.support.project import ROOT
from tests.support.saved_models import expected_calls

pytestmark = pytest.mark.usefixtures("runs_by")

BOTH_MODES = pytest.mark.parametrize("in_caller_thread", [False, True], ids=["pool", "caller_thread"])


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """Compare type, shape and every bit."""
    if one.dtype == object:
        return one.shape == other.shape and one.tolist() == other.tolist()
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@BOTH_MODES
def test_answers_are_tensorflows_own_bit_for_bit(saved_models: Path, *, in_caller_thread: bool) -> None:
    """Every recorded call of every model gives what Python TensorFlow gave."""
    calls = expected_calls(saved_models)

    different = [
        (expected.model, expected.signature)
        for expected in calls
        for answers in [
            call(
                loaded(saved_models, expected.model, expected.version),
                expected.inputs,
                expected.signature,
                in_caller_thread=in_caller_thread,
            )
        ]
        if not all(same_bits(answers[key], value) for key, value in expected.outputs.items())
    ]

    assert len(calls) >= 40
    assert different == []


@BOTH_MODES
def test_many_threads_get_their_own_answers(saved_models: Path, *, in_caller_thread: bool) -> None:
    """Runs overlap without mixing."""
    model = loaded(saved_models, "half_plus_two")

    def ask(number: int) -> bool:
        x = np.full(number % 5000, number, np.float32)
        return bool((call(model, {"x": x}, in_caller_thread=in_caller_thread)["y"] == 0.5 * number + 2).all())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(2000)))


def test_state_stays_between_runs(saved_models: Path) -> None:
    """Variables live in the session, and signatures without inputs can be called."""
    model = load_fresh(saved_models / "counter" / "1")
    call(model, {}, "incr_counter")
    call(model, {"delta": np.array(2.5, np.float32)}, "incr_counter_by")

    assert call(model, {}, "get_counter")["output"] == np.float32(3.5)
    assert call(model, {}, "reset_counter")["output"].shape == ()


def test_some_outputs_can_be_fetched_in_any_order_and_twice(saved_models: Path) -> None:
    """The caller's list decides."""
    model = loaded(saved_models, "several")
    declared = model.served.signatures["serving_default"]
    inputs = {"a": np.array([3], np.float32), "b": np.array([4], np.int32), "s": np.array([b"e"], object)}
    feeds = {declared.inputs[key].tensor: value for key, value in inputs.items()}
    fetches = [declared.outputs[key].tensor for key in ("echo", "product", "echo", "sum")]

    answers = model.run(feeds, fetches)

    assert [answer.tolist() for answer in answers] == [[b"e"], [12.0], [b"e"], [7.0]]


def test_a_large_output_fetched_twice_is_freed_once_each(saved_models: Path) -> None:
    """Two arrays may share one buffer of TensorFlow's."""
    model = loaded(saved_models, "half_plus_two")
    declared = model.served.signatures["serving_default"]
    x = np.ones(COPIED_BYTES, np.float32)

    one, two = model.run({declared.inputs["x"].tensor: x}, [declared.outputs["y"].tensor] * 2)
    del one
    gc.collect()

    assert two.tolist() == [2.5] * COPIED_BYTES


def test_an_identity_may_hand_the_callers_buffer_back(saved_models: Path) -> None:
    """An output that is the lent input keeps the input alive."""
    model, before = loaded(saved_models, "all_dtypes"), lent_count()
    memory = np.zeros(200_064, np.uint8)
    start = -memory.ctypes.data % 64
    x = memory[start : start + 200_000].view(np.float32)
    x[:] = np.arange(50_000)

    y = call(model, {"x": x}, "float32")["y"]
    del x, memory
    gc.collect()

    assert y.tolist() == list(range(50_000))
    del y
    assert lent_count() == before


def test_a_name_without_an_index_means_the_first_output(saved_models: Path) -> None:
    """TensorFlow reads `x` as `x:0`."""
    model = loaded(saved_models, "tf1_half_plus_two", 123)

    assert model.run({"x": np.array([[2.0]], np.float32)}, ["y"])[0].tolist() == [[3.0]]


@pytest.mark.parametrize("name", ["nobody:0", "y:1", "y:x", "y:-1", "", ":0", "y:"])
def test_a_tensor_that_the_graph_lacks_is_named(saved_models: Path, name: str) -> None:
    """A wrong name is the caller's mistake, wherever it stands."""
    model = loaded(saved_models, "tf1_half_plus_two", 123)
    x = np.array([[2.0]], np.float32)

    for feeds, fetches in (({"x:0": x}, [name]), ({name: x}, ["y:0"])):
        with pytest.raises(InvalidArgument) as failure:
            model.run(feeds, fetches)
        assert str(failure.value) == f"Tensor {name} is not in the graph of the model"


@pytest.mark.parametrize("kind", ["variant", "resource"])
def test_types_that_cannot_leave_the_model_are_refused_before_it_runs(saved_models: Path, kind: str) -> None:
    """Nothing was run, so nothing is left behind."""
    with pytest.raises(Unimplemented, match=f"has type {kind}, which cannot leave the model"):
        call(loaded(saved_models, "odd_outputs"), {"x": np.ones(1, np.float32)}, kind)


def test_a_reference_to_a_variable_is_fetched_as_its_value(saved_models: Path) -> None:
    """Models of TensorFlow 1 may answer with a variable itself, or with what an assignment gives."""
    model = load_fresh(saved_models / "references" / "1")

    assert call(model, {}, "read")["y"].tolist() == [1.0, 2.0]
    assert call(model, {"x": np.array([3.0, 4.0], np.float32)}, "add")["y"].tolist() == [4.0, 6.0]
    assert call(model, {}, "read")["y"].tolist() == [4.0, 6.0]


def test_quantised_outputs_are_their_integers(saved_models: Path) -> None:
    """GRPC carries them as TensorFlow Serving does."""
    answer = call(loaded(saved_models, "odd_outputs"), {"x": np.array([0, 7, 255], np.float32)}, "quantised")["y"]

    assert (answer.dtype, answer.tolist()) == (np.uint8, [0, 7, 255])


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (np.ones((2, 4), np.float32), "Matrix size-incompatible"),
        (np.ones((2, 3), np.int32), "float"),
        (np.full((2, 3), b"text", object), "float"),
    ],
    ids=["shape", "integer", "string"],
)
def test_what_tensorflow_refuses_carries_its_code_and_text(saved_models: Path, x: np.ndarray, text: str) -> None:
    """Errors of a run are TensorFlow's own."""
    before = lent_count()

    with pytest.raises(RuntimeFailure, match=text) as failure:
        call(loaded(saved_models, "matrix"), {"x": x})

    assert failure.value.code is Code.INVALID_ARGUMENT
    assert lent_count() == before


def test_a_run_works_after_a_failed_one(saved_models: Path) -> None:
    """A thread's status is used again."""
    model = loaded(saved_models, "matrix")
    with pytest.raises(RuntimeFailure):
        call(model, {"x": np.ones((1, 4), np.float32)})

    assert call(model, {"x": np.zeros((1, 3), np.float32)})["y"].tolist() == [[0.0, 0.0]]


def test_a_run_that_exceeds_its_timeout_ends_with_deadline_exceeded(saved_models: Path) -> None:
    """TensorFlow cancels the run; the model goes on answering."""
    model = load_fresh(saved_models / "slow" / "1")

    with pytest.raises(RuntimeFailure) as failure:
        call(model, {"iterations": np.array(2_000_000_000, np.int32)}, timeout_ms=50)

    assert failure.value.code is Code.DEADLINE_EXCEEDED
    assert call(model, {"iterations": np.array(3, np.int32)})["rounds"] == 3


def test_in_the_callers_thread_tensorflow_does_not_watch_the_timeout(saved_models: Path) -> None:
    """A caller that needs the timeout kept must not ask for its own thread."""
    inputs = {"iterations": np.array(3000, np.int32)}

    answer = call(loaded(saved_models, "slow"), inputs, timeout_ms=1, in_caller_thread=True)

    assert answer["rounds"] == 3000


def test_run_options_without_wishes_are_none() -> None:
    """TensorFlow then need not parse any."""
    assert run_options(None, in_caller_thread=False) == tensorflow_session.ffi.NULL
    assert run_options(0, in_caller_thread=False) == tensorflow_session.ffi.NULL


class Feeds(dict[str, np.ndarray]):
    """Feeds that tell when a run has begun to read them."""

    def __init__(self, feeds: dict[str, np.ndarray]) -> None:
        super().__init__(feeds)
        self.read = threading.Event()

    def values(self) -> ValuesView[np.ndarray]:
        self.read.set()
        return super().values()


class CountingLibrary:
    """TensorFlow's library, and how often each of its functions was called through it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        self.calls.append(name)
        return getattr(library(), name)


def test_closing_lets_a_run_finish_and_then_frees_everything_once(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drain never pulls the graph from under a run; later calls are refused."""
    lib = CountingLibrary()
    monkeypatch.setattr(tensorflow_session, "library", lambda: lib)
    model = load_fresh(saved_models / "slow" / "1")
    declared = model.served.signatures["serving_default"]
    feeds = Feeds({declared.inputs["iterations"].tensor: np.array(5000, np.int32)})
    fetches = [declared.outputs["rounds"].tensor]

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(model.run, feeds, fetches)
        assert feeds.read.wait(60)
        model.close()
        model.close()
        with pytest.raises(Unavailable, match=r"\{name: slow version: 1\} is unloaded"):
            model.run(feeds, fetches)
        assert running.result()[0] == 5000
    del running
    gc.collect()

    assert [lib.calls.count(name) for name in ("TF_CloseSession", "TF_DeleteSession", "TF_DeleteGraph")] == [1, 1, 1]


@pytest.mark.parametrize("count", [3, COPIED_BYTES], ids=["copied", "viewed"])
def test_an_answer_outlives_its_session(saved_models: Path, count: int) -> None:
    """What a caller holds stays readable after an unload."""
    model = load_fresh(saved_models / "half_plus_two" / "1")
    answer = call(model, {"x": np.ones(count, np.float32)})["y"]

    model.close()
    gc.collect()

    assert answer.tolist() == [2.5] * count


def test_ever_new_ways_of_calling_do_not_fill_memory(saved_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered about names is bounded."""
    monkeypatch.setattr(saved_model, "WAYS_KEPT", 2)
    model = load_fresh(saved_models / "tf1_half_plus_two" / "123")
    x = np.array([[2.0]], np.float32)

    for fetches in (["y"], ["y:0"], ["y2"], ["y", "y2"], ["y2", "y"]):
        model.run({"x:0": x}, fetches)

    assert len(model._ways) <= 2


def test_a_hundred_thousand_calls_leave_no_memory_behind(saved_models: Path) -> None:
    """Small, large, string and failing calls all return what they took; measured in a process with nothing else."""
    command = [sys.executable, "-m", "tests.support.many_calls", str(saved_models)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)

    assert float(done.stdout) < 5
