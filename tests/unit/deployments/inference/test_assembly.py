"""How a version is put together: its files, its graph, its execution.

Whose batching parameters count has a table of its own in test_batching_choice.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.config.extensions import PlatformKind
from core.config.model_config import BatchingParameters, ModelConfig, ModelResources
from core.config.server_settings import LoadingSettings, ServerSettings
from core.errors import Code, NotFound
from core.inference.signature import ServedModel
from core.platforms.platform import Estimate
from core.versions.load_report import LoadFailed, LoadStep, failure_in
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.container.cpus import usable_cpus
from deployments.inference import assembly
from deployments.inference.assembly import (
    _cpus,
    execution_of,
    files_on_node,
    load_failures,
    loaded_model,
    request_log_of,
)
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.call_traces import CallTraces, TracedExecution
from deployments.inference.execution import Execution
from deployments.inference.foreign_execution import ForeignExecution
from deployments.inference.run_watch import RunWatch
from deployments.platforms.tensorflow import session_options_of
from deployments.telemetry.tracing import Tracer
from tests.support.fakes import FakeLoaded
from tests.support.hook_files import TEXTS_TO_NUMBERS, hook_spec, imports_undone, write_hooks
from tests.support.loaded_models import call
from tests.support.python_models import python_spec, write_model
from tests.support.served_models import half_plus_two
from tests.support.span_collector import SpanList

H2 = ServableId("h2", 1)


@dataclass
class OnePlatform:
    """A platform whose versions are loaded already."""

    loaded: Any
    kind: PlatformKind = field(default_factory=lambda: PlatformKind("frozen"))

    def estimate(self, path: str) -> Estimate:
        del path
        return Estimate(0)

    def load(self, spec: ServableSpec) -> Any:
        del spec
        return self.loaded


def spec_of(
    path: Path | str = "/h2/1", num_cpus: float = 0.0, batching: BatchingParameters | None = None
) -> ServableSpec:
    """Make what a replica is given, for a model with reserved CPUs or without."""
    config = ModelConfig("h2", str(path), resources=ModelResources(num_cpus=num_cpus))
    return ServableSpec(H2, str(path), ServerSettings(), config, batching)


@pytest.mark.parametrize(
    ("batching", "is_traced", "kind"),
    [
        (None, False, Execution),
        (None, True, TracedExecution),
        (BatchingParameters(8), False, BatchedExecution),
        (BatchingParameters(8), True, BatchedExecution),
    ],
)
def test_batching_and_tracing_choose_the_execution(batching, is_traced, kind) -> None:
    """Calls that are not traced anywhere cost nothing for traces."""
    traces = CallTraces(Tracer(1.0, SpanList()), H2) if is_traced else None

    execution = execution_of(FakeLoaded(half_plus_two()), spec_of(batching=batching), traces)

    assert type(execution) is kind
    execution.close()


@pytest.mark.parametrize("is_traced", [False, True])
def test_the_settings_say_how_many_requests_may_wait(is_traced) -> None:
    """Without batching, which has a bound of its own; traced or not."""
    spec = spec_of()
    traces = CallTraces(Tracer(1.0, SpanList()), H2) if is_traced else None
    config = ModelConfig("h2", "/h2", resources=ModelResources(max_queued_requests=3))

    execution = execution_of(FakeLoaded(half_plus_two()), replace(spec, config=config), traces)

    assert isinstance(execution, Execution)
    assert execution.line.refusal(2, None) is None
    assert execution.line.refusal(3, None) is not None
    execution.close()


@pytest.mark.parametrize(
    ("num_cpus", "expected"), [(0.0, usable_cpus()), (0.25, usable_cpus()), (0.5, usable_cpus()), (3.0, 3), (2.6, 3)]
)
def test_reserved_cpus_bound_the_threads(num_cpus, expected) -> None:
    """Where none are reserved, or less than one, those of the node count."""
    assert _cpus(spec_of(num_cpus=num_cpus)) == expected


def test_a_light_version_gets_one_thread_for_an_operation(saved_models: Path, tmp_path: Path) -> None:
    """Unless CPUs are reserved for it; a version that cannot be judged is left to TensorFlow."""
    light = saved_models / "half_plus_two" / "1"

    assert session_options_of(spec_of(light)) != session_options_of(spec_of(tmp_path))
    assert session_options_of(spec_of(light, 4.0)) == session_options_of(spec_of(tmp_path, 4.0))


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [(NotFound("no such graph"), Code.NOT_FOUND, "no such graph"), (KeyError("y"), Code.UNKNOWN, "KeyError: 'y'")],
    ids=["ours", "defect"],
)
def test_every_failure_of_a_load_is_one_error_with_a_code(error, code, text) -> None:
    """Its text travels through Serve's status."""
    with pytest.raises(LoadFailed) as raised, load_failures(LoadStep.GRAPH):
        raise error

    assert raised.value.args[0] is code
    assert text in str(raised.value)


def test_a_version_of_a_local_store_is_loaded_where_it_is(saved_models: Path) -> None:
    """Its files are not copied, and its signatures are those that it declares."""
    spec = spec_of(saved_models / "half_plus_two" / "1")
    lease = files_on_node(spec)

    model = loaded_model(spec)

    assert lease.path == spec.path
    assert (model.served.name, model.served.version) == ("h2", 1)
    assert not request_log_of(spec, model, "r1").is_on
    lease.release()


def test_a_version_without_the_asked_tags_is_a_failed_load(saved_models: Path) -> None:
    """TensorFlow's own text reaches the watcher."""
    settings = ServerSettings(loading=LoadingSettings(saved_model_tags=frozenset({"absent"})))

    with pytest.raises(LoadFailed, match="absent"):
        loaded_model(ServableSpec(H2, str(saved_models / "half_plus_two" / "1"), settings))


def test_a_version_with_hooks_is_loaded_with_them_around_it(saved_models: Path, tmp_path: Path) -> None:
    """Its calls are watched, because code of users may hang."""
    version = Path(shutil.copytree(saved_models / "half_plus_two" / "1", tmp_path / "1"))
    write_hooks(version)

    with imports_undone():
        model = loaded_model(hook_spec(version))

    assert isinstance(model, RunWatch)
    assert set(model.served.signatures["serving_default"].inputs) == {"text"}
    assert call(model, {"text": np.array([b"4"], object)})["answer"].tolist() == [b"4.0"]


@pytest.mark.parametrize(
    ("allowed", "source", "text"),
    [
        (False, TEXTS_TO_NUMBERS, "--allow_python_servables"),
        (True, "class Hooks:", "hooks.py, line 1: IndentationError"),
    ],
    ids=["not allowed", "broken"],
)
def test_a_version_whose_hooks_cannot_run_is_refused_for_good(
    saved_models: Path, tmp_path: Path, allowed, source, text
) -> None:
    """Serving the model without them would answer something else than clients expect."""
    version = Path(shutil.copytree(saved_models / "half_plus_two" / "1", tmp_path / "1"))
    write_hooks(version, source)

    with pytest.raises(LoadFailed) as raised, imports_undone():
        loaded_model(hook_spec(version, allowed=allowed))

    failure = failure_in(str(raised.value))
    assert text in failure.message
    assert failure.is_permanent


class HangingKind(FakeLoaded):
    """A loaded version of code that may hang."""

    may_hang = True

    def __init__(self, batching: BatchingParameters | None = None) -> None:
        super().__init__(half_plus_two())
        self.batching = batching


@pytest.mark.parametrize(
    ("of_operator", "of_model", "expected"),
    [(None, None, None), (None, 8, 8), (16, 8, 16), (16, None, 16)],
)
def test_a_model_may_bring_its_batching_unless_the_operator_gave_some(of_operator, of_model, expected) -> None:
    """What the operator says counts."""
    given = None if of_operator is None else BatchingParameters(of_operator, num_batch_threads=3)
    own = None if of_model is None else BatchingParameters(of_model, num_batch_threads=5)
    watch = RunWatch(HangingKind(own))

    execution = execution_of(watch, spec_of(batching=given), None)

    assert isinstance(execution, BatchedExecution if expected else ForeignExecution)
    assert watch.threads == {None: 2 * (usable_cpus()), 8: 5, 16: 3}[expected]
    execution.close()


def test_foreign_code_is_traced_in_threads_too() -> None:
    """Tracing must not bring its calls back to the event loop."""
    traces = CallTraces(Tracer(1.0, SpanList()), H2)

    execution = execution_of(RunWatch(HangingKind()), spec_of(), traces)

    assert isinstance(execution, ForeignExecution)
    assert isinstance(execution, TracedExecution)
    execution.close()


def test_runs_are_watched_only_where_they_may_hang(
    saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow's path takes no further step."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    python = loaded_model(python_spec(write_model(tmp_path / "1")))
    tensorflow = loaded_model(spec_of(saved_models / "half_plus_two" / "1"))

    assert isinstance(python, RunWatch)
    assert not isinstance(tensorflow, RunWatch)
    assert (python.served.platform, tensorflow.served.platform) == ("python", "tensorflow")


def test_a_platform_whose_class_is_frozen_is_loaded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its versions do not know their platform then."""

    @dataclass(frozen=True)
    class Frozen:
        served: ServedModel = field(default_factory=half_plus_two)

    monkeypatch.setattr(assembly, "platform_of", lambda spec: OnePlatform(Frozen()))

    assert loaded_model(spec_of()).served == half_plus_two()
