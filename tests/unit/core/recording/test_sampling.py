"""Tests of which requests are logged."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.config.model_config import LoggingConfig, TaskSampling
from core.recording.sampling import Task, is_sampled, sampling_rate


def logged_of_100(config: LoggingConfig, task: Task) -> int:
    """Count how many of 100 requests a server logs."""
    draws = random.Random(7)
    rate = sampling_rate(config, task)
    return sum(is_sampled(rate, draws.random()) for _ in range(100))


@pytest.mark.parametrize(
    ("exception", "task", "logged"),
    [
        pytest.param(TaskSampling(dc="aa", sampling_rate=1), Task("aa"), 100, id="case_R8-in_aa"),
        pytest.param(TaskSampling(dc="aa", sampling_rate=1), Task("bb"), 0, id="case_R8-in_bb"),
        pytest.param(TaskSampling(task_index=0, sampling_rate=1), Task(index=0), 100, id="case_R9-task_0"),
        pytest.param(TaskSampling(task_index=0, sampling_rate=1), Task(index=1), 0, id="case_R9-task_1"),
        pytest.param(TaskSampling("aa", 1, 1), Task("aa", 1), 100, id="both_fit"),
        pytest.param(TaskSampling("aa", 1, 1), Task("aa", 2), 0, id="only_dc_fits"),
        pytest.param(TaskSampling("aa", 1, 1), Task("bb", 1), 0, id="only_index_fits"),
        pytest.param(TaskSampling(sampling_rate=1), Task("bb", 1), 100, id="fits_all"),
    ],
)
def test_exceptions_replace_the_rate_of_servers_that_fit(exception: TaskSampling, task: Task, logged: int) -> None:
    """The common rate is 0 here."""
    assert logged_of_100(LoggingConfig(per_task=(exception,)), task) == logged


@pytest.mark.parametrize(
    ("task", "rate"), [(Task("aa", 1), 0.25), (Task("aa", 0), 0.5), (Task("bb", 1), 0.125)], ids=str
)
def test_case_R10_the_first_exception_that_fits_counts(task: Task, rate: float) -> None:
    """Where none fits, the common rate does."""
    config = LoggingConfig(
        sampling_rate=0.125,
        per_task=(TaskSampling("aa", 1, 0.25), TaskSampling("aa", None, 0.5), TaskSampling("aa", 0, 1.0)),
    )

    assert sampling_rate(config, task) == rate


@given(st.floats(0, 1, exclude_max=True))
@example(0.0)
@example(1.0 - 2.0**-53)
def test_a_rate_of_one_takes_everything_and_zero_nothing(draw: float) -> None:
    """Both ends are exact."""
    assert is_sampled(1.0, draw)
    assert not is_sampled(0.0, draw)


def test_each_request_is_drawn_on_its_own() -> None:
    """About the share is taken, and not every n-th request."""
    draws = random.Random(1)
    taken = [is_sampled(0.3, draws.random()) for _ in range(10_000)]

    assert 2700 < sum(taken) < 3300
    assert len({tuple(taken[start : start + 10]) for start in range(0, 10_000, 10)}) > 100
