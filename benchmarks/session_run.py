"""Compares runs through our session with bare calls of `TF_SessionRun`, in turns: `python -m benchmarks.session_run`.

Bare is what TensorFlow itself needs: the input tensors are there already, and the outputs are deleted unread. Figures
are CPU time of the one thread that runs, the least of many short slices in each round; ratios are within a round.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

from benchmarks.peers import base_paths
from deployments.runtime.library import check, ffi, library, new_status
from deployments.runtime.python_run import PythonRun
from deployments.runtime.saved_model import LoadedModel, load
from deployments.runtime.session import IN_CALLER_THREAD
from deployments.runtime.tensors import to_tensor

SHAPES: Mapping[str, tuple[int, ...]] = {"mlp": (1, 32), "half_plus_two": (3,), "lengths": (100,)}
RUNS = 200
SLICES = 20
BARE = "bare TF_SessionRun"


def values(shape: tuple[int, ...], model: str) -> np.ndarray:
    if model == "lengths":
        return np.array([b"a text of medium length, number %d" % at for at in range(*shape)], object)
    return np.random.default_rng(7).random(shape, dtype=np.float32)


def bare(model: LoadedModel, feeds: Mapping[str, np.ndarray], fetches: tuple[str, ...]) -> Callable[[], None]:
    """Return a run that only TensorFlow works for."""
    lib, session = library(), model._session  # noqa: SLF001 - what the session adds is the question
    assert session is not None
    wiring = session.wire(tuple(feeds), fetches).wiring
    status = new_status(lib)
    inputs = ffi.new(
        "TF_Tensor*[]", [to_tensor(lib, *one) for one in zip(feeds.values(), wiring.feed_types, strict=True)]
    )
    outputs = ffi.new("TF_Tensor*[]", len(fetches))
    arguments = (
        session.handle,
        IN_CALLER_THREAD,
        wiring.feeds,
        inputs,
        len(feeds),
        wiring.fetches,
        outputs,
        len(fetches),
    )

    def run() -> None:
        lib.TF_SessionRun(*arguments, ffi.NULL, 0, ffi.NULL, status)
        for output in outputs:
            lib.TF_DeleteTensor(output)

    run()
    check(lib, status)
    return run


def ways(name: str) -> Mapping[str, Callable[[], Any]]:
    model = load(str(base_paths([name])[name] / "1"), tags=frozenset({"serve"}), name=name, version=1)
    signature = model.served.signatures["serving_default"]
    ((_, spec),) = signature.inputs.items()
    feeds = {spec.tensor: values(SHAPES[name], name)}
    fetches = tuple(one.tensor for one in signature.outputs.values())
    session = model._session  # noqa: SLF001
    assert session is not None
    python = PythonRun(library(), session.wire(tuple(feeds), fetches).wiring)
    arrays = feeds.values()
    return {
        BARE: bare(model, feeds, fetches),
        f"ours, {model.served.runs_by}": lambda: model.run(feeds, fetches, in_caller_thread=True),
        "its call by Python alone": lambda: python.run(session.handle, arrays, IN_CALLER_THREAD, ffi.NULL),
    }


def microseconds(run: Callable[[], Any]) -> float:
    slices = []
    for _ in range(SLICES):
        began = time.thread_time_ns()
        for _ in range(RUNS):
            run()
        slices.append((time.thread_time_ns() - began) / RUNS / 1000)
    return min(slices)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session_run", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--models", default="mlp,half_plus_two,lengths", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"{'µs a run':34} {'median':>8} {'÷ bare':>8}")
    for name in options.models.split(","):
        contenders = ways(name)
        rounds = [{way: microseconds(run) for way, run in contenders.items()} for _ in range(options.rounds)]
        for way in contenders:
            ratio = median(one[way] / one[BARE] for one in rounds)
            print(f"{name + ', ' + way:34} {median(one[way] for one in rounds):8.1f} {ratio:8.2f}")


if __name__ == "__main__":
    main()
