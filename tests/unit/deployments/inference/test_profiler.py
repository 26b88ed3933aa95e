"""Recording a process: its threads, and some of TensorFlow's runs."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from core.errors import FailedPrecondition, RuntimeFailure
from core.profiling.profile_request import ProfileForm, RecordingOrder
from deployments.inference import profiler as profiling
from deployments.inference.assembly import loaded_model
from deployments.inference.profiler import Profiler, SomeRuns
from deployments.runtime.saved_model import LoadedModel
from tests.support.clients import wait_until
from tests.support.hook_files import hook_spec, imports_undone, write_hooks
from tests.support.loaded_models import call, load_fresh

LONG_S = 60.0


@pytest.fixture
def model(saved_models: Path) -> LoadedModel:
    """A model of one multiplication and one addition."""
    return load_fresh(saved_models / "half_plus_two" / "1")


@contextmanager
def repeated(work: Callable[[], object]) -> Iterator[None]:
    """Do something again and again in a thread named `busy`."""
    stop = threading.Event()

    def busy_thread() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=busy_thread, name="busy")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_profile_has_python_functions_and_tensorflows_operations(model: LoadedModel) -> None:
    """Of the threads that ran meanwhile, under their names; answers are right all the time."""
    answers = set()

    def work() -> None:
        answers.add(float(call(model, {"x": np.array([2.0], np.float32)})["y"][0]))

    work()
    with repeated(work):
        trace = json.loads(Profiler(model, {"version": "m:1"}).record(RecordingOrder(0.5)))

    events = trace["traceEvents"]
    spans = {one["name"] for one in events if one["ph"] == "X"}
    assert any(one == "busy_thread (test_profiler.py)" for one in spans)
    assert any(one == "run (saved_model.py)" for one in spans)
    operations = [one["args"]["operation"] for one in events if "operation" in one.get("args", {})]
    assert any("= Mul(" in one for one in operations)
    assert "busy" in {one["args"]["name"] for one in events if one["name"] == "thread_name"}
    assert trace["otherData"]["version"] == "m:1"
    assert 0 < trace["otherData"]["runs_traced"] < trace["otherData"]["runs"]
    assert all(0 <= one["ts"] <= 5e6 for one in events if one["ph"] == "X")
    assert answers == {3.0}


def test_a_model_with_hooks_is_profiled_like_any_other(saved_models: Path, tmp_path: Path) -> None:
    """Hooks and operations of TensorFlow are in one profile."""
    version = tmp_path / "1"
    shutil.copytree(saved_models / "half_plus_two" / "1", version)
    write_hooks(version)
    with imports_undone():
        model = loaded_model(hook_spec(version))

    with repeated(lambda: call(model, {"text": np.array([b"4"], object)})):
        trace = json.loads(Profiler(model, {}).record(RecordingOrder(0.5)))

    names = {one["name"] for one in trace["traceEvents"] if one["ph"] == "X"}
    operations = [one["args"]["operation"] for one in trace["traceEvents"] if "operation" in one.get("args", {})]
    assert any(one.endswith("(hooked.py)") for one in names)
    assert any("= Mul(" in one for one in operations)


def test_afterwards_nothing_is_traced_any_more(model: LoadedModel) -> None:
    """Being ready for a profile costs one look at a field."""
    Profiler(model, {}).record(RecordingOrder(0.1))

    assert model.recorder is None


def test_one_profile_is_recorded_at_a_time(model: LoadedModel) -> None:
    """Another one is told to wait, and may come when the first has ended."""
    profiler = Profiler(model, {})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(profiler.record, RecordingOrder(1.0))
        wait_until(lambda: model.recorder is not None, "the first one is being recorded")

        with pytest.raises(FailedPrecondition, match="already"):
            profiler.record(RecordingOrder(1.0))
        assert first.result(LONG_S)

    assert profiler.record(RecordingOrder(0.1))


def test_a_recording_that_fails_is_over(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one may come, and runs are not traced for nobody."""
    profiler = Profiler(model, {})
    with monkeypatch.context() as patch:
        patch.setattr(profiling.ThreadStacks, "follow", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            profiler.record(RecordingOrder(0.1))

    assert model.recorder is None
    assert profiler.record(RecordingOrder(0.1))


def test_a_run_that_fails_fails_as_ever(model: LoadedModel) -> None:
    """And is not in the profile."""
    model.recorder = runs = SomeRuns()

    with pytest.raises(RuntimeFailure, match="placeholder"):
        model.run({}, [model.served.signatures["serving_default"].outputs["y"].tensor])

    assert (runs.seen, runs.traced) == (1, [])


def test_runs_that_follow_closely_are_not_all_traced() -> None:
    """Tracing costs, and a share tells enough."""
    runs = SomeRuns()

    assert runs.begin() is not None
    assert runs.begin() is None
    wait_until(lambda: runs.begin() is not None, "a later one is traced again")


@pytest.mark.parametrize(("limit", "value"), [("MOST_RUNS", 1), ("MOST_METADATA_BYTES", 3)])
def test_the_memory_of_a_profile_is_bounded(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    """By the number of runs, and by what TensorFlow told of them."""
    monkeypatch.setattr(profiling, limit, value)
    monkeypatch.setattr(profiling, "TRACE_EVERY_S", 0.0)
    runs = SomeRuns()
    runs.end(time.time_ns(), b"told")

    assert runs.begin() is None
    assert runs.seen == 1


def test_a_recording_is_ended_by_its_key_before_its_time(model: LoadedModel) -> None:
    """Another key, and none, end nothing; what was recorded so far is the profile."""
    profiler = Profiler(model, {"version": "m:1"})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(profiler.record, RecordingOrder(LONG_S, ProfileForm.TENSORBOARD, "mine"))
        wait_until(lambda: model.recorder is not None, "it is being recorded")
        profiler.end("yours")
        profiler.end("")
        assert not first.done()
        profiler.end("mine")

        assert b"m:1" in first.result(LONG_S / 2)

    assert profiler.record(RecordingOrder(0.1))


def test_an_end_may_overtake_its_recording(model: LoadedModel) -> None:
    """A client that goes at once ends what it began, though the replica has not begun; others are recorded."""
    profiler = Profiler(model, {"version": "m:1"})
    profiler.end("mine")
    with ThreadPoolExecutor(1) as pool:
        began_s = time.monotonic()
        pool.submit(profiler.record, RecordingOrder(LONG_S, ProfileForm.TENSORBOARD, "mine")).result(LONG_S)
        other = pool.submit(profiler.record, RecordingOrder(LONG_S, ProfileForm.TENSORBOARD, "yours"))
        wait_until(lambda: model.recorder is not None, "the other one is being recorded")
        is_running = not other.done()
        profiler.end("yours")
        other.result(LONG_S)

    assert is_running
    assert time.monotonic() - began_s < LONG_S
