"""Sampling of the request log (TensorFlow Serving, SamplingConfig): each request is drawn on its own."""

from __future__ import annotations

from dataclasses import dataclass

from core.config.model_config import LoggingConfig, TaskSampling


@dataclass(frozen=True, slots=True)
class Task:
    """Which of many servers this one is."""

    dc: str = ""
    """Data centre."""

    index: int = 0
    """Number among the servers there."""


def sampling_rate(config: LoggingConfig, task: Task) -> float:
    """Return the share of requests that a server logs: the first exception that fits it, or else the common rate."""
    fitting = (one.sampling_rate for one in config.per_task if _fits(one, task))
    return next(fitting, config.sampling_rate)


def is_sampled(rate: float, draw: float) -> bool:
    """Decide about one request by a number drawn from 0 (possible) to 1 (impossible)."""
    return draw < rate


def _fits(exception: TaskSampling, task: Task) -> bool:
    return exception.dc in ("", task.dc) and exception.task_index in (None, task.index)
