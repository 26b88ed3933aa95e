"""The compiled part answers as Python alone does, for whatever it is asked; and what becomes of a run without it."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from core.errors import ResourceExhausted, RuntimeFailure, ServingError
from core.inference.dtypes import NUMPY_DTYPE, DataType
from deployments.runtime import compiled as compiled_part
from deployments.runtime.compiled import compiled
from deployments.runtime.compiled_run import ALIGNMENT, EXTENTS, CompiledRun
from deployments.runtime.library import ffi, library
from deployments.runtime.python_run import PythonRun
from deployments.runtime.saved_model import LoadedModel, load
from deployments.runtime.session import IN_CALLER_THREAD, run_options
from deployments.runtime.tensors import COPIED_BYTES
from tests.support.loaded_models import SERVE, call, lent_count, loaded
from tests.support.project import ROOT

pytestmark = pytest.mark.skipif(compiled(library()) is None, reason="the compiled part was not built")


class BothWays:
    """One signature of a model, called by the compiled part and by Python alone."""

    def __init__(self, model: LoadedModel, signature: str, outputs: list[str] | None = None) -> None:
        declared = model.served.signatures[signature]
        self.session = model._session
        tensors = [one.tensor for one in declared.inputs.values()]
        fetches = [declared.outputs[key].tensor for key in outputs or declared.outputs]
        way = self.session.wire(tensors, fetches)
        assert isinstance(way, CompiledRun)
        self.compiled, self.python = way, PythonRun(library(), way.wiring)

    def outcomes(self, *arrays: np.ndarray, options: Any = IN_CALLER_THREAD) -> tuple[Any, Any]:
        """Return what the compiled part gave and what Python alone gave, in a form to compare."""
        return self._outcome(self.compiled, arrays, options), self._outcome(self.python, arrays, options)

    def _outcome(self, way: Any, arrays: tuple[np.ndarray, ...], options: Any) -> Any:
        try:
            answers = way.run(self.session.handle, arrays, options, ffi.NULL)
        except ServingError as error:
            return type(error), getattr(error, "code", None), str(error)
        return [(one.dtype, one.shape, one.tolist() if one.dtype == object else one.tobytes()) for one in answers]


def of_type(dtype: DataType, shape: tuple[int, ...], content: bytes) -> np.ndarray:
    """Make an array of any bits; strings of any bytes."""
    count = int(np.prod(shape, dtype=int))
    if dtype is DataType.STRING:
        values = np.empty(count, object)
        values[:] = [content[at % 7 :: max(1, at)] for at in range(count)]
        return values.reshape(shape)
    kind = NUMPY_DTYPE[dtype]
    if dtype is DataType.BOOL:
        return np.resize(np.frombuffer(content, np.uint8) % 2 == 1, shape)
    values = np.frombuffer(np.resize(np.frombuffer(content, np.uint8), count * kind.itemsize).tobytes(), kind)
    return values.reshape(shape)


SHAPES = array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5)
LAYOUTS = st.sampled_from([lambda one: one, lambda one: one.T, lambda one: one[::-1] if one.ndim else one])


@given(data=st.data(), shape=SHAPES, content=st.binary(min_size=16, max_size=64), layout=LAYOUTS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_array_of_any_type_comes_back_the_same_both_ways(saved_models: Path, data, shape, content, layout) -> None:
    """Every type that the test model takes, with every bit, from memory in any order."""
    model = loaded(saved_models, "all_dtypes")
    signature = data.draw(st.sampled_from(sorted(key for key, one in model.served.signatures.items() if one.inputs)))
    (spec,) = model.served.signatures[signature].inputs.values()
    array = layout(of_type(spec.dtype, shape, content))

    ours, oracle = BothWays(model, signature).outcomes(array)

    assert ours == oracle
    assert ours[0][:2] == (array.dtype, array.shape)


@given(
    rows=st.integers(0, 4),
    columns=st.integers(0, 5),
    kind=st.sampled_from([np.float32, np.float64, np.int32, object]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_tensorflow_refuses_is_refused_alike(saved_models: Path, rows: int, columns: int, kind: Any) -> None:
    """Code and text, for wrong shapes and wrong types; nothing is left behind."""
    before = lent_count()
    array = np.full((rows, columns), b"1" if kind is object else 1, kind)

    ours, oracle = BothWays(loaded(saved_models, "matrix"), "serving_default").outcomes(array)

    assert ours == oracle
    assert lent_count() == before


@pytest.mark.parametrize("count", [0, 1, COPIED_BYTES // 4 - 1, COPIED_BYTES // 4, COPIED_BYTES // 4 + 1, 60_000])
@pytest.mark.parametrize("offset", [0, 4])
def test_arrays_around_the_size_that_is_copied_are_the_same_both_ways(
    saved_models: Path, count: int, offset: int
) -> None:
    """Copied, lent where the address is aligned, or copied in spite of their size."""
    before = lent_count()
    memory = np.zeros(count * 4 + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    array = memory[start : start + count * 4].view(np.float32)
    array[:] = np.arange(count)

    ours, oracle = BothWays(loaded(saved_models, "all_dtypes"), "float32").outcomes(array)
    del array
    gc.collect()

    assert ours == oracle
    assert lent_count() == before


@pytest.mark.parametrize("fetches", [1, 2, 3, 12, 40])
@pytest.mark.parametrize("count", [1, 900, 5000])
def test_outputs_that_do_not_all_fit_are_each_their_own(saved_models: Path, fetches: int, count: int) -> None:
    """Small ones share one piece of memory while it lasts; the others stay tensors."""
    model = loaded(saved_models, "half_plus_two")
    both = BothWays(model, "serving_default", ["y"] * fetches)

    ours, oracle = both.outcomes(np.arange(count, dtype=np.float32))

    assert ours == oracle
    assert len(ours) == fetches


def test_outputs_of_many_kinds_are_aligned(saved_models: Path) -> None:
    """Strings among numbers, and each array where its type wants it."""
    model = loaded(saved_models, "several")
    both = BothWays(model, "serving_default", ["echo", "product", "sum", "echo", "sum"])
    feeds = {
        "a": np.array([3, 4, 5], np.float32),
        "b": np.array([4, 5, 6], np.int32),
        "s": np.array([b"e", b"", b"x" * 100], object),
    }
    arrays = [feeds[key] for key in model.served.signatures["serving_default"].inputs]

    ours, oracle = both.outcomes(*arrays)
    answers = both.compiled.run(both.session.handle, arrays, IN_CALLER_THREAD, ffi.NULL)

    assert ours == oracle
    assert all(one.flags.aligned for one in answers)


def test_a_timeout_is_the_same_both_ways(saved_models: Path) -> None:
    """And leaves both able to run."""
    both = BothWays(loaded(saved_models, "slow"), "serving_default")

    ours, oracle = both.outcomes(np.array(2_000_000_000, np.int32), options=run_options(50))

    assert ours == oracle
    assert ours[0] is RuntimeFailure
    assert both.outcomes(np.array(3, np.int32))[0] == both.outcomes(np.array(3, np.int32))[1]


def test_runs_of_many_threads_do_not_share_room(saved_models: Path) -> None:
    """Of the same call, with outputs of different shapes, some of which fail."""
    both = BothWays(loaded(saved_models, "all_dtypes"), "float32")
    handle = both.session.handle

    def run(number: int) -> bool:
        shape = (number % 7, 1 + number % 5)
        (answer,) = both.compiled.run(handle, [np.full(shape, number, np.float32)], IN_CALLER_THREAD, ffi.NULL)
        return answer.shape == shape and bool((answer == number).all())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(run, range(4000)))
    assert len(both.compiled._rooms) <= 8


def test_answers_cannot_be_written(saved_models: Path) -> None:
    """Several may share memory."""
    (answer,) = call(loaded(saved_models, "half_plus_two"), {"x": np.ones(3, np.float32)}).values()

    with pytest.raises(ValueError, match="read-only"):
        answer[0] = 1


class Poor:
    """The compiled part without memory."""

    NO_MEMORY = -2

    def session_run(self, *arguments: object) -> int:
        return self.NO_MEMORY


def test_no_memory_is_reported(saved_models: Path) -> None:
    """The request fails, not the process."""
    both = BothWays(loaded(saved_models, "half_plus_two"), "serving_default")
    both.compiled._session_run = Poor().session_run

    with pytest.raises(ResourceExhausted, match="No memory for the tensors of a run"):
        both.compiled.run(both.session.handle, [np.ones(1, np.float32)], IN_CALLER_THREAD, ffi.NULL)


def test_no_memory_for_strings_is_reported() -> None:
    """As for numbers."""

    class NoStrings:
        lib = type("Lib", (), {"string_tensor": staticmethod(lambda *_: ffi.NULL)})

    with pytest.raises(ResourceExhausted, match="a tensor of 2 strings"):
        compiled_part.string_tensor(NoStrings, [b"a", b"b"], (2,))


# Without the compiled part.


def test_a_missing_compiled_part_is_said_once(
    saved_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no compiler was at hand, all works, and the log says what it costs."""
    monkeypatch.setattr(compiled_part, "_chosen", [])
    monkeypatch.setattr(compiled_part, "EXTENSION", "deployments.runtime._not_built")

    with caplog.at_level(logging.INFO):
        models = [fresh(saved_models / "half_plus_two" / "1") for _ in range(2)]

    assert [one.served.runs_by for one in models] == ["python", "python"]
    assert call(models[0], {"x": np.ones(1, np.float32)})["y"].tolist() == [2.5]
    assert [one.message for one in caplog.records if "compiled_part_missing" in one.message] == [
        f"compiled_part_missing error=No module named 'deployments.runtime._not_built' text={compiled_part.ADVICE!r}"
    ]


def test_a_variable_leaves_the_compiled_part_aside(saved_models: Path) -> None:
    """To see whether it is at fault, in a process of its own as the first call decides."""
    program = (
        "import sys; from pathlib import Path; from tests.support.loaded_models import load_fresh;"
        "print(load_fresh(Path(sys.argv[1])).served.runs_by)"
    )
    command = [sys.executable, "-c", program, str(saved_models / "half_plus_two" / "1")]

    for value, expected in (("", "compiled"), ("1", "python")):
        environment = {**os.environ, compiled_part.PURE_PYTHON_VARIABLE: value}
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
        assert done.stdout.strip() == expected


def test_the_compiled_part_knows_the_same_numbers() -> None:
    """Python and C agree about what they share."""
    extension = importlib.import_module(compiled_part.EXTENSION)

    assert (extension.lib.MOST_DIMS + 2, extension.lib.ALIGNMENT) == (EXTENTS, ALIGNMENT)
    assert extension.lib.STRING_TYPE == DataType.STRING


def fresh(path: Path) -> LoadedModel:
    """Load a version that no other test has called."""
    return load(str(path), tags=SERVE, name=path.parent.name, version=int(path.name))
