"""Tests of the failures of Ray that are handled, and of their text in log lines."""

from __future__ import annotations

import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments.telemetry.serve_failures import LONGEST_TEXT, SERVE_FAILURES, brief


@pytest.mark.parametrize(
    "error", [RayActorError, RayTaskError, BackPressureError, DeploymentUnavailableError, TimeoutError]
)
def test_failures_of_the_other_side_are_known(error: type[Exception]) -> None:
    """Each of them means that the other process did not answer; none is a defect of the caller."""
    assert issubclass(error, SERVE_FAILURES)


@pytest.mark.parametrize("error", [ValueError, OSError, KeyError])
def test_defects_of_the_caller_are_not_among_them(error: type[Exception]) -> None:
    """They must not be taken for a slow or missing process."""
    assert not issubclass(error, SERVE_FAILURES)


def test_a_text_for_a_log_line_is_bounded() -> None:
    """Ray puts whole tracebacks into its errors."""
    assert brief(TimeoutError("late")) == "late"
    assert len(brief(TimeoutError("x" * 10_000))) == LONGEST_TEXT
