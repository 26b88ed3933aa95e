"""Tests of how a load's error comes through the text that Serve keeps of a dead replica."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.versions.load_report import LONGEST_MESSAGE, LoadFailed, failure_in
from core.versions.record import Failure


@given(st.sampled_from(Code), st.text(max_size=LONGEST_MESSAGE), st.text(max_size=30))
def test_code_and_message_come_through_any_surrounding_text(code, message, noise) -> None:
    """Stack traces stand around the report; brackets, braces and newlines stand in it."""
    text = f"Traceback:\n  {noise}\n{LoadFailed(code, message)}\n  {noise}]}})"

    assert failure_in(text) == Failure(code, message)


def test_a_long_message_is_cut() -> None:
    """Serve keeps only so much text."""
    failure = failure_in(str(LoadFailed(Code.INTERNAL, "x" * 5000)))

    assert failure.message == "x" * LONGEST_MESSAGE


def test_the_first_of_several_reports_counts() -> None:
    """Python prints an exception and its cause; both carry the report."""
    one, other = LoadFailed(Code.NOT_FOUND, "first"), LoadFailed(Code.INTERNAL, "second")

    assert failure_in(f"{one}\n{other}").message == "first"


def test_a_replica_that_died_silently_is_told_by_serves_text() -> None:
    """A process that was killed left no report."""
    failure = failure_in("The deployment failed to start.\nThe actor died: out of memory\n")

    assert failure == Failure(
        Code.UNAVAILABLE, "The loading process ended without an answer: The actor died: out of memory"
    )


def test_a_damaged_report_is_shown_as_it_is() -> None:
    """Serve may have cut the text in two; nothing is hidden."""
    for report in ('{"code": 99, "message": "m"}', '{"message": "m"}', '{"code": }', '{"code": [], "message": 1}'):
        assert failure_in(f"[load-failure {report}]") == Failure(Code.UNKNOWN, report)


def test_the_code_of_the_error_is_the_loads() -> None:
    """Whoever catches it in the process sees the code too."""
    assert LoadFailed(Code.DATA_LOSS, "x").code is Code.DATA_LOSS
