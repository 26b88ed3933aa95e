"""Tests of the replay of warm-up requests, with TensorFlow's half plus two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from core.config.model_config import BatchingParameters
from core.errors import Code, RuntimeFailure, Unavailable
from core.recording.warmup_file import FILE
from core.routing.transport import Answer, Call
from core.telemetry.metric_names import WARMUP_LATENCY, WARMUP_RECORDS_READ, WARMUP_SECONDS
from core.versions.servable import ServableId
from deployments.inference.batched_execution import BatchedExecution
from deployments.inference.batcher import HandOver, Work
from deployments.inference.execution import Execution
from deployments.inference.warm_up import warm_up
from deployments.telemetry.process_metrics import METRICS
from tests.support.answering import answering
from tests.support.loaded_models import loaded
from tests.support.prediction_logs import (
    multi_inference_log,
    one_of_each,
    predict_log,
    serialized,
    write_raw_warm_up,
    write_warm_up,
)

H2 = ServableId("h2", 123)


class Counting:
    """A loaded version whose runs are counted."""

    def __init__(self, models: Path) -> None:
        self._loaded = loaded(models, "tf1_half_plus_two", 123)
        self.served = self._loaded.served
        self.runs = 0
        self.rows: list[int] = []

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        *,
        timeout_ms: int | None = None,
        in_caller_thread: bool = False,
    ) -> list[np.ndarray]:
        """Run the graph."""
        self.runs += 1
        self.rows.append(len(next(iter(feeds.values()))))
        return self._loaded.run(feeds, fetches, timeout_ms=timeout_ms, in_caller_thread=in_caller_thread)


def directly(work: Work, limit: int, slots: int) -> HandOver:
    """Run batches without Serve, which is not there."""
    return work


class Answers:
    """What a version would answer, and how often it was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> Answer:
        """Answer."""
        self.calls.append(call)
        return self._answer


@pytest.fixture
def fine() -> Answers:
    """A version for which every request is fine."""
    return Answers(Answer(Code.OK, b""))


@pytest.mark.parametrize("iterations", [1, 3])
def test_case_O8_every_record_runs_as_often_as_asked(saved_models: Path, tmp_path: Path, iterations: int) -> None:
    """Ten records of each kind, each one session run per iteration."""
    write_warm_up(tmp_path, serialized(one_of_each()) * 10)
    counting = Counting(saved_models)

    with answering(Execution(counting, 1)) as answer:
        warm_up(H2, str(tmp_path), answer, iterations)

    assert counting.runs == 40 * iterations


def test_with_batching_requests_go_through_the_queues(saved_models: Path, tmp_path: Path) -> None:
    """Padding shows it: the run has as many rows as the allowed size."""
    write_warm_up(tmp_path, serialized([predict_log(1.0), multi_inference_log(2.0)]))
    counting = Counting(saved_models)
    execution = BatchedExecution(counting, BatchingParameters(4, allowed_batch_sizes=(4,)), through=directly)

    with answering(execution) as answer:
        warm_up(H2, str(tmp_path), answer)

    assert counting.rows == [4, 4]


def test_warm_up_teaches_how_long_calls_take(saved_models: Path, tmp_path: Path) -> None:
    """Afterwards it is known of these calls whether they are short."""
    write_warm_up(tmp_path, serialized([predict_log(1.0)] * 40))
    execution = Execution(Counting(saved_models), 1)

    with answering(execution) as answer:
        warm_up(H2, str(tmp_path), answer)

    assert execution.in_flight == 0
    assert len(execution._expected_s) == 1


@pytest.mark.parametrize(
    ("log", "code"),
    [
        (predict_log(1.0, signature="absent"), Code.FAILED_PRECONDITION),
        (predict_log(), Code.INVALID_ARGUMENT),
    ],
    ids=["signature", "run"],
)
def test_a_request_that_fails_fails_the_load(saved_models, tmp_path, log, code) -> None:
    """Its code and text become the error; what follows is not replayed."""
    if code is Code.INVALID_ARGUMENT:
        log.predict_log.request.inputs["x"].tensor_shape.dim[0].size = -1
    write_warm_up(tmp_path, serialized([predict_log(1.0), log, predict_log(1.0)]))
    counting = Counting(saved_models)

    with answering(Execution(counting, 1)) as answer, pytest.raises(RuntimeFailure) as caught:
        warm_up(H2, str(tmp_path), answer)

    assert caught.value.code is code
    assert str(caught.value).endswith(f"(warm-up record 2 of {tmp_path / FILE})")
    assert counting.runs == 1


def test_case_O7_the_status_of_the_request_is_the_error(tmp_path: Path) -> None:
    """Code and text are passed through."""
    write_warm_up(tmp_path, serialized([predict_log(1.0)] * 2))
    failing = Answers(Answer(Code.INVALID_ARGUMENT, b"Run failed"))

    with pytest.raises(
        RuntimeFailure, match=r"^Run failed \(warm-up record 1 of .*/tf_serving_warmup_requests\)$"
    ) as caught:
        warm_up(H2, str(tmp_path), failing)

    assert caught.value.code is Code.INVALID_ARGUMENT
    assert len(failing.calls) == 1


def test_a_version_without_the_file_is_fine(tmp_path: Path, fine: Answers) -> None:
    """Most versions bring no requests along."""
    warm_up(H2, str(tmp_path), fine)

    assert fine.calls == []


def test_a_file_in_the_place_of_the_folder_is_no_warm_up(tmp_path: Path, fine: Answers) -> None:
    """There is no such file, then."""
    (tmp_path / "assets.extra").write_text("")

    warm_up(H2, str(tmp_path), fine)

    assert fine.calls == []


def test_what_cannot_be_read_is_an_error(tmp_path: Path, fine: Answers) -> None:
    """A folder under the file's name is there, but nothing that could be replayed."""
    (tmp_path / FILE).mkdir(parents=True)

    with pytest.raises(Unavailable, match=r"^The warm-up requests cannot be read: "):
        warm_up(H2, str(tmp_path), fine)


def test_records_before_a_damage_are_replayed(tmp_path: Path, fine: Answers) -> None:
    """The file is read as it is replayed, not as a whole before."""
    file = write_warm_up(tmp_path, serialized([predict_log(1.0)]))
    write_raw_warm_up(tmp_path, file.read_bytes() + b"no record at all")

    with pytest.raises(
        RuntimeFailure, match=r"Please verify your warmup data is in TFRecord format\. .*record 2 of"
    ) as caught:
        warm_up(H2, str(tmp_path), fine)

    assert caught.value.code is Code.DATA_LOSS
    assert len(fine.calls) == 1


def test_what_was_read_is_counted(tmp_path: Path, fine: Answers) -> None:
    """Records without a log count too; times are measured in the units of their metrics."""
    write_warm_up(tmp_path, [*serialized([predict_log(1.0)]), b""])

    warm_up(ServableId("counted", 1), str(tmp_path), fine)

    seen = METRICS.snapshot()
    assert seen.counters[WARMUP_RECORDS_READ.name][str(tmp_path), "OK"] == 2
    assert sum(seen.distributions[WARMUP_LATENCY.name][str(tmp_path), "OK"].counts) == 1
    assert sum(seen.distributions[WARMUP_SECONDS.name]["counted",].counts) == 1


def test_a_replay_that_ended_early_is_not_counted(tmp_path: Path, fine: Answers) -> None:
    """As in TensorFlow Serving, numbers are written at the end of the file only."""
    write_warm_up(tmp_path, [b"malformed_record"])

    with pytest.raises(RuntimeFailure, match="warm-up record 1 of"):
        warm_up(H2, str(tmp_path), fine)

    assert (str(tmp_path), "OK") not in METRICS.snapshot().counters.get(WARMUP_RECORDS_READ.name, {})
