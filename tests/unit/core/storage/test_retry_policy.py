"""Tests of how often and after which pauses a request to a store is repeated."""

from __future__ import annotations

from core.storage.retry_policy import RetryPolicy


def test_pauses_double_up_to_a_limit_and_end() -> None:
    """Chance makes them shorter, never longer."""
    policy = RetryPolicy(attempts=5, first_pause_s=1.0, longest_pause_s=4.0)

    assert [policy.pause_s(failures, 0.0) for failures in range(1, 6)] == [1.0, 2.0, 4.0, 4.0, None]
    assert policy.pause_s(2, 1.0) == 1.0
