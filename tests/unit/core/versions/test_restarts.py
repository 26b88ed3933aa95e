"""When a hosted version that crashed is started again, and what is said of it."""

from __future__ import annotations

import pytest

from core.versions.restarts import crashes_after, ending_text, restart_delay_s


@pytest.mark.parametrize(("crashes", "delay_s"), [(1, 0.0), (2, 1.0), (3, 2.0), (4, 4.0), (8, 60.0), (10_000, 60.0)])
def test_a_version_rests_the_longer_the_more_often_it_crashes(crashes: int, delay_s: float) -> None:
    """The first crash costs no time; one that crashes at once must not keep a core busy."""
    assert restart_delay_s(crashes) == delay_s


@pytest.mark.parametrize(("before", "ran_s", "crashes"), [(0, 1.0, 1), (3, 1.0, 4), (3, 59.9, 4), (3, 60.0, 1)])
def test_crashes_in_a_row_count_until_a_version_has_run_for_a_while(before: int, ran_s: float, crashes: int) -> None:
    """A version that crashes once a day is started again at once each time."""
    assert crashes_after(before, ran_s) == crashes


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, "The process of the version ended."),
        (3, "The process of the version ended with status 3."),
        (-11, "The process of the version was killed by signal 11 (SIGSEGV)."),
        (-9, "The process of the version was killed by signal 9 (SIGKILL), as happens when memory is short."),
        (-200, "The process of the version was killed by signal 200 (unknown)."),
    ],
)
def test_the_text_of_an_ending_names_status_or_signal(status: int | None, text: str) -> None:
    """It is all that remains of a process that said nothing."""
    assert ending_text(status) == text
