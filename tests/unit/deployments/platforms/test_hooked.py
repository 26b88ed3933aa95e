"""Calls of a model with hooks: what hooks get and return, and what becomes of their faults."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import Code, DeadlineExceeded, InvalidArgument, RuntimeFailure, ServingError
from core.inference.dtypes import DataType
from core.inference.giving_up import GivenUp, giving_up_when
from core.inference.signature import ServedModel, Signature, TensorSpec
from core.platforms.hooked_signature import HookContext, HookDeclaration
from core.platforms.platform import Loaded
from core.telemetry.metric_names import HOOK_SECONDS
from deployments.platforms.hook_class import LoadedHooks
from deployments.platforms.hooked import with_hooks
from deployments.telemetry.process_metrics import METRICS
from tests.support.fakes import FakeLoaded
from tests.support.hook_files import hook_spec
from tests.support.loaded_models import call, loaded
from tests.support.served_models import spec

INPUTS = {"text": ("string", (None,))}
OUTPUTS = {"answer": ("string", (None,))}
NUMBERS = [b"4", b"8"]


def read(inputs: Mapping[str, np.ndarray], context: HookContext) -> dict[str, np.ndarray]:
    """Turn texts into numbers."""
    return {"x": np.array([[float(one)] for one in inputs["text"]], np.float32)}


def written(outputs: Mapping[str, np.ndarray], context: HookContext) -> dict[str, list[str]]:
    """Turn numbers into texts."""
    return {"answer": [f"{one[0]:.1f}" for one in outputs["y"]]}


def plus_two() -> FakeLoaded:
    """A model of one column, y = x / 2 + 2, with a second signature."""
    signatures = {
        "serving_default": Signature({"x": spec("x:0")}, {"y": spec("y:0"), "same": spec("y:0")}),
        "other": Signature({"x": spec("x:0")}, {"z": spec("z:0")}),
    }
    return FakeLoaded(ServedModel("m", 1, signatures))


def hooked(model: Loaded | None = None, before: Any = read, after: Any = written, **declared: object) -> Loaded:
    """Put hooks around a model; those without a method declare nothing for their side."""
    declaration = {
        "inputs": INPUTS if before else None,
        "outputs": OUTPUTS if after else None,
        "has_preprocess": before is not None,
        "has_postprocess": after is not None,
        **declared,
    }
    hooks = LoadedHooks("h:H", HookDeclaration("Hook h:H", **declaration), before, after)
    return with_hooks(model or plus_two(), hooks, hook_spec(Path("/models/m/1")))


def answer(model: Loaded, texts: object = NUMBERS, **options: object) -> list[bytes]:
    """Call the hooked signature with texts."""
    return call(model, {"text": np.array(texts, object)}, **options)["answer"].tolist()


def raising(error: BaseException) -> Callable[..., None]:
    """Return a hook that fails."""

    def hook(arrays: object, context: HookContext) -> None:
        raise error

    return hook


def counted(kind: str) -> int:
    """Return how often a hook was timed."""
    return sum(METRICS.histogram(HOOK_SECONDS, "m", "1", kind).value.counts)


def test_a_call_runs_preprocess_the_model_and_postprocess() -> None:
    """Clients see neither x nor y."""
    assert answer(hooked()) == [b"4.0", b"6.0"]


def test_a_model_without_hooks_is_not_wrapped() -> None:
    """Its calls cost nothing more."""
    model = plus_two()

    assert with_hooks(model, None, hook_spec(Path("/m/1"))) is model


def test_other_signatures_are_the_models_own() -> None:
    """Also for SessionRun, which names tensors of the graph."""
    model, before = hooked(), counted("preprocess")

    assert call(model, {"x": np.array([[2.0]], np.float32)}, "other")["z"].tolist() == [[3.0]]
    assert model.run({"x:0": np.array([[2.0]], np.float32)}, ["y:0"])[0].tolist() == [[3.0]]
    assert counted("preprocess") == before


def test_hooks_wrap_a_model_of_tensorflow(saved_models: Path) -> None:
    """With its own names of tensors."""
    model = hooked(loaded(saved_models, "half_plus_two"), lambda i, _: {"x": [float(one) for one in i["text"]]}, None)

    assert call(model, {"text": np.array(NUMBERS, object)})["y"].tolist() == [4.0, 6.0]


def test_a_side_without_a_method_is_passed_on() -> None:
    """Only the outputs that the caller asked for are fetched then."""
    before, after = hooked(after=None), hooked(before=None)
    fed = np.array([[4.0]], np.float32)

    assert call(before, {"text": np.array([b"4"], object)}, outputs=["same"])["same"].tolist() == [[4.0]]
    assert call(after, {"x": fed})["answer"].tolist() == [b"4.0"]


def test_inputs_that_nobody_can_feed_do_not_keep_postprocess_away() -> None:
    """They are refused when they are asked for, as without hooks."""
    sparse = TensorSpec("", DataType.INT64, None, "sparse")
    default = Signature({"s": sparse}, {"y": spec("y:0")}, is_carried=False)

    model = hooked(FakeLoaded(ServedModel("m", 1, {"serving_default": default})), None)

    assert not model.served.signatures["serving_default"].is_carried


def test_postprocess_gets_all_outputs_whatever_the_caller_asks_for() -> None:
    """It cannot know what was asked for."""
    seen = []
    model = hooked(
        after=lambda outputs, _: (seen.append(set(outputs)), {"a": [1], "b": [2]})[1],
        outputs={"a": "int32", "b": "int32"},
    )

    assert call(model, {"text": np.array([b"4"], object)}, outputs=["b"]) == {"b": np.array([2], np.int32)}
    assert seen == [{"y", "same"}]


def test_a_hook_may_leave_an_input_to_its_default() -> None:
    """As clients of the model may."""
    inputs = {"x": spec("x:0"), "scale": spec("scale:0", shape=())}
    default = Signature(inputs, {"y": spec("y:0")}, defaults={"scale": np.array(3.0, np.float32)})
    fed: list[Mapping[str, np.ndarray]] = []

    class Scaled(FakeLoaded):
        def run(self, feeds, fetches, **_: object) -> list[np.ndarray]:
            fed.append(feeds)
            return [feeds["x:0"] * feeds["scale:0"]]

    assert answer(hooked(Scaled(ServedModel("m", 1, {"serving_default": default})))) == [b"12.0", b"24.0"]
    assert set(fed[0]) == {"x:0", "scale:0"}


def test_hooks_are_told_of_the_call() -> None:
    """Model, version, signature, folder, and what is left of the caller's time."""
    seen: list[HookContext] = []
    model = hooked(before=lambda i, context: (seen.append(context), read(i, context))[1])

    answer(model)
    answer(model, timeout_ms=60_000)

    assert seen[0] == HookContext("m", 1, "serving_default", "/models/m/1", None)
    assert 30 < seen[1].left_s <= 60


def test_time_spent_in_a_hook_is_the_models_no_more() -> None:
    """The model gets what is left."""
    model = plus_two()
    answer(hooked(model), timeout_ms=60_000)
    answer(hooked(model))

    assert [timeout_ms is None for timeout_ms, _ in model.runs] == [False, True]
    assert model.runs[0][0] < 60_000


def test_a_model_is_not_run_for_a_call_whose_time_is_up() -> None:
    """Nor is postprocess."""
    model, passed = plus_two(), threading.Event()

    def slow(inputs: Mapping[str, np.ndarray], context: HookContext) -> dict[str, np.ndarray]:
        passed.wait(context.left_s)
        return read(inputs, context)

    with pytest.raises(DeadlineExceeded):
        answer(hooked(model, slow), timeout_ms=20)
    assert model.runs == []


def test_a_model_is_not_run_for_a_caller_who_has_gone() -> None:
    """Preprocess may have taken long."""
    model = plus_two()
    gone = threading.Event()
    leaving = hooked(model, lambda i, context: (gone.set(), read(i, context))[1])

    with pytest.raises(GivenUp), giving_up_when(gone.is_set):
        answer(leaving)
    assert model.runs == []


@pytest.mark.parametrize("texts", [[b"four"], [b"4", b""]])
def test_a_value_error_of_preprocess_is_the_callers_mistake(texts) -> None:
    """With its own text, behind the name of the hook."""
    with pytest.raises(RuntimeFailure, match=r"^Hook preprocess of h:H: could not convert") as raised:
        answer(hooked(), texts)

    assert raised.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), SystemExit(3), KeyboardInterrupt("x"), GeneratorExit("x"), StopIteration("x")],
)
@pytest.mark.parametrize("kind", ["preprocess", "postprocess"])
def test_whatever_else_a_hook_raises_is_its_own_fault(kind: str, error, caplog: pytest.LogCaptureFixture) -> None:
    """It names the hook and ends nothing; the traceback is in the log, and not kept with the error."""
    model = hooked(**{"before" if kind == "preprocess" else "after": raising(error)})

    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeFailure) as raised:
        answer(model)

    assert raised.value.code is Code.INTERNAL
    assert str(raised.value) == f"Hook {kind} of h:H failed: {type(error).__name__}: {error}"
    assert "raise error" in caplog.text
    assert raised.value.__context__ is None


def test_a_value_error_of_postprocess_is_not_the_callers_mistake() -> None:
    """What the model returned is not what the caller sent."""
    with pytest.raises(RuntimeFailure, match=r"^Hook postprocess of h:H failed: ValueError: no") as raised:
        answer(hooked(after=raising(ValueError("no"))))

    assert raised.value.code is Code.INTERNAL


def test_a_hook_that_needs_too_much_memory_says_nothing_of_the_version() -> None:
    """As for any other call."""
    with pytest.raises(RuntimeFailure, match=r"^Hook preprocess of h:H failed: MemoryError") as raised:
        answer(hooked(before=raising(MemoryError("big"))))

    assert raised.value.code is Code.RESOURCE_EXHAUSTED


ROW = np.zeros((2, 1), np.float32)


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, "returned NoneType"),
        ([ROW], "returned list"),
        ({}, 'lacks output "x"'),
        ({"x": ROW, "z": ROW}, 'has "z", not declared'),
        ({"x": np.array([["a"]])}, '"x", declared as float'),
        ({"x": [[1.0], [1.0, 2.0]]}, "its rows have different lengths"),
        ({"x": np.zeros((2, 2), np.float32)}, "with shape (2, 2)"),
        ({"x": np.zeros(2, np.float32)}, "with shape (2,)"),
    ],
)
def test_what_preprocess_returns_must_be_what_the_model_takes(returned, text) -> None:
    """The model is not run; the error names hook and tensor."""
    model = plus_two()

    with pytest.raises(RuntimeFailure) as raised:
        answer(hooked(model, lambda i, c: returned))

    assert raised.value.code is Code.INTERNAL
    assert str(raised.value).startswith("Hook preprocess of h:H")
    assert text in str(raised.value)
    assert model.runs == []


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("answer", "returned str"),
        ({"answers": ["a"]}, 'lacks output "answer"'),
        ({"answer": [1.5]}, '"answer", declared as string'),
        ({"answer": [["a"], ["b", "c"]]}, '"answer", declared as string'),
        ({"answer": b"a"}, "with shape ()"),
    ],
)
def test_what_postprocess_returns_must_be_what_is_declared(returned, text) -> None:
    """Clients never see anything else."""
    with pytest.raises(RuntimeFailure) as raised:
        answer(hooked(after=lambda o, c: returned))

    assert raised.value.code is Code.INTERNAL
    assert str(raised.value).startswith("Hook postprocess of h:H")
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("fed", "text"),
    [
        (np.zeros(1, np.float32), "float was given"),
        (np.array(b"4", object), "shape () was given"),
        (np.array([[b"4"]], object), "shape (1, 1) was given"),
    ],
)
def test_inputs_that_are_not_as_declared_never_reach_a_hook(fed, text) -> None:
    """No graph judges them before it does."""
    before = counted("preprocess")

    with pytest.raises(InvalidArgument, match=re.escape(text)):
        call(hooked(), {"text": fed})

    assert counted("preprocess") == before


def test_preprocess_may_write_into_what_it_is_given() -> None:
    """Arrays of a request are often views of its bytes."""
    fed = np.array([b"4", b"8"], object)
    fed.flags.writeable = False

    def doubled(inputs: dict[str, np.ndarray], context: HookContext) -> dict[str, np.ndarray]:
        inputs["text"][0] = b"6"
        return read(inputs, context)

    assert answer(hooked(before=doubled), fed) == [b"5.0", b"6.0"]
    assert fed.tolist() == [b"4", b"8"]


@pytest.mark.parametrize(
    ("feeds", "fetches"),
    [
        ({"hooks:text": b"4", "x:0": b"4"}, ["hooks:answer"]),
        ({"hooks:text": b"4"}, ["hooks:answer", "y:0"]),
        ({"x:0": b"4"}, ["hooks:answer"]),
    ],
)
def test_tensors_of_hooks_and_of_the_graph_cannot_be_mixed(feeds, fetches) -> None:
    """SessionRun can ask for that."""
    arrays = {name: np.array([one], object) for name, one in feeds.items()}

    with pytest.raises(InvalidArgument, match="signature serving_default, which has hooks"):
        hooked().run(arrays, fetches)


def test_hooks_that_do_not_fit_the_model_are_a_failed_load() -> None:
    """Before any call."""
    with pytest.raises(InvalidArgument, match="has no signature 'absent'"):
        hooked(signature="absent")


def test_the_time_in_each_hook_is_counted_also_when_it_fails() -> None:
    """One histogram for each of the two."""
    before, after = counted("preprocess"), counted("postprocess")

    answer(hooked())
    with pytest.raises(ServingError):
        answer(hooked(after=raising(KeyError("x"))))

    assert (counted("preprocess") - before, counted("postprocess") - after) == (2, 2)


def test_closing_closes_the_model() -> None:
    """Nothing else is held."""

    class Closing(FakeLoaded):
        is_open = True

        def close(self) -> None:
            self.is_open = False

    model = Closing(plus_two().served)
    hooked(model).close()

    assert not model.is_open
