"""Which calls are worked on together: bounded by what they are expected to take, and by their number."""

from __future__ import annotations

import pytest

from core.inference.call_groups import LONGEST_GROUP_S, MOST_IN_GROUP, group_size

TINY_S = LONGEST_GROUP_S / 100
SHORT_S = 0.9 * LONGEST_GROUP_S


@pytest.mark.parametrize(
    ("expected_s", "size"),
    [
        pytest.param([], 0, id="none"),
        pytest.param([TINY_S], 1, id="alone"),
        pytest.param([TINY_S] * 5, 5, id="all_that_came"),
        pytest.param([TINY_S] * (MOST_IN_GROUP + 5), MOST_IN_GROUP, id="no_more_than_gain_from_it"),
        pytest.param([SHORT_S] * 3, 1, id="no_two_that_take_long_together"),
        pytest.param([SHORT_S * 2, TINY_S], 1, id="always_one"),
        pytest.param([SHORT_S, TINY_S, SHORT_S, TINY_S], 2, id="as_many_as_fit"),
        pytest.param([TINY_S, 0.0, 0.0, SHORT_S, SHORT_S], 4, id="those_of_threads_take_no_time"),
    ],
)
def test_a_group_has_as_many_calls_as_fit_into_its_time(expected_s: list[float], size: int) -> None:
    """The first answer never waits longer than that for the others."""
    assert group_size(expected_s) == size
