"""Failures of Ray and Ray Serve, mapped in one place: what a call to another process may raise."""

from __future__ import annotations

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

LONGEST_TEXT = 200

SERVE_FAILURES = (RayError, RayServeException, TimeoutError)
"""What a call over one of Serve's handles raises when the other side cannot answer, or not in time."""


def brief(error: BaseException) -> str:
    """Return the text of a failure, cut to what a log line should hold; Ray's include whole tracebacks."""
    return str(error)[:LONGEST_TEXT]
