"""When events are sent again, and how long after."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events.delivery import LONGEST_PAUSE_S, Outcome, outcome, pause_s, retry_after_s

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(("statuses", "expected"), [
    ((200, 201, 202, 204, 299), Outcome.SENT),
    ((408, 429, 500, 502, 503, 504, 599), Outcome.AGAIN),
    ((301, 302, 307, 308, 400, 401, 403, 404, 405, 413, 415, 501, 505, 100), Outcome.REFUSED),
])  # fmt: skip
def test_only_what_passes_is_tried_again(statuses, expected) -> None:
    """A redirect is not followed: the secret in the header is for one sink."""
    assert {outcome(one) for one in statuses} == {expected}


def test_pauses_double_and_are_spread() -> None:
    """So that replicas do not come back together."""
    assert [pause_s(attempt, 0, 0) for attempt in (1, 2, 3, 4)] == [0.5, 1, 2, 4]
    assert [pause_s(attempt, 0, 1) for attempt in (1, 2, 3)] == [0.25, 0.5, 1]
    assert pause_s(10**6, 0, 0) == LONGEST_PAUSE_S


def test_a_sink_that_asks_for_time_gets_it_within_bounds() -> None:
    """Never less than without asking, and no more than half a minute."""
    assert (pause_s(1, 7, 0), pause_s(5, 0.1, 0), pause_s(1, 1e9, 1)) == (7, 8, LONGEST_PAUSE_S)


@pytest.mark.parametrize(("value", "seconds"), [
    ("", 0), ("7", 7), (" 120 ", 120), ("-3", 0), ("1.5", 0), ("soon", 0), ("٣", 0), ("9" * 400, 999_999_999),
    ("Mon, 30 Nov 2026 12:00:30 GMT", 30), ("Mon, 30 Nov 2026 11:59:30 GMT", 0), ("Mon, 30 Nov 2026 12:00:30 -0000", 30),
])  # fmt: skip
def test_retry_after_is_a_number_or_a_date(value, seconds) -> None:
    """What is neither says nothing."""
    assert retry_after_s(value, NOW) == seconds


@given(st.text(max_size=40))
def test_no_header_is_an_error(value) -> None:
    """Sinks are anybody's."""
    assert retry_after_s(value, NOW) >= 0
