"""A version whose runs all fail with an error of its own is failing; errors of callers and of load never count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.versions.record import Failure
from core.versions.run_health import (
    FIRST_RUNS,
    LATER_RUNS,
    LONGEST_TEXT,
    SOUND,
    UNTRIED,
    RunHealth,
    after_failure,
    is_of_the_version,
    version_problem,
)

TABLE = (Code.FAILED_PRECONDITION, "Table not initialized.")
SHAPE = (Code.INVALID_ARGUMENT, "Input to reshape is a tensor with 3 values, but the requested shape has 6")
VHLO = (Code.INVALID_ARGUMENT, "failed to legalize operation 'vhlo.custom_call_v2' that was explicitly marked illegal")


def after(*errors: tuple[Code, str], before: RunHealth = UNTRIED) -> RunHealth:
    """Return the health after runs that failed like this."""
    for code, text in errors:
        before = after_failure(before, code, text)
    return before


@pytest.mark.parametrize(
    ("code", "text", "counts"),
    [
        (*TABLE, True),
        (*VHLO, True),
        (*SHAPE, False),
        (Code.INVALID_ARGUMENT, "Cannot deserialize computation", True),
        (Code.INVALID_ARGUMENT, "No OpKernel was registered to support Op 'X'", True),
        (Code.INVALID_ARGUMENT, "indices[0] = 9 is not in [0, 4)", False),
        (Code.INVALID_ARGUMENT, "Could not parse example input, value: 'x'", False),
        (Code.OUT_OF_RANGE, "slice index 7 of dimension 0 out of bounds", False),
        (Code.INTERNAL, "CUDA_ERROR_ILLEGAL_ADDRESS", True),
        (Code.UNIMPLEMENTED, "not implemented on this device", True),
        (Code.NOT_FOUND, "Resource localhost/table/N10tensorflow6lookup does not exist.", True),
        (Code.UNKNOWN, "KeyError: pyfunc_3", True),
        (Code.DATA_LOSS, "corrupted", True),
        (Code.RESOURCE_EXHAUSTED, "OOM when allocating tensor", False),
        (Code.DEADLINE_EXCEEDED, "Timed out", False),
        (Code.CANCELLED, "cancelled", False),
        (Code.UNAVAILABLE, "unloaded", False),
    ],
)
def test_only_errors_of_the_version_count(code: Code, text: str, counts: bool) -> None:  # noqa: FBT001 - a table
    """A refused shape or value is the caller's, out of memory and out of time are the moment's."""
    assert is_of_the_version(code, text) is counts
    assert after(*[(code, text)] * LATER_RUNS).is_failing is counts


def test_the_first_runs_that_fail_alike_make_a_version_failing() -> None:
    """One less does not."""
    assert not after(*[TABLE] * (FIRST_RUNS - 1)).is_failing
    assert after(*[TABLE] * FIRST_RUNS).problem == Failure(
        Code.FAILED_PRECONDITION, "every run failed so far: Table not initialized."
    )


def test_numbers_in_texts_do_not_make_errors_differ() -> None:
    """The text of the first stays, so that nothing is published anew with every run."""
    runs = after(*[(Code.INTERNAL, f"node {number} at 0x{number:x}f failed") for number in range(FIRST_RUNS)])

    assert runs.is_failing
    assert runs.text == "node 0 at 0x0f failed"


def test_another_error_begins_the_count_anew() -> None:
    """Errors of several kinds come from several inputs."""
    assert not after(TABLE, TABLE, (Code.INTERNAL, "x"), TABLE, TABLE).is_failing
    assert not after(TABLE, TABLE, (Code.INTERNAL, TABLE[1]), TABLE, TABLE).is_failing


def test_an_error_of_a_caller_changes_nothing_in_between() -> None:
    """It says nothing of the version, neither good nor bad."""
    assert after(TABLE, SHAPE, TABLE, SHAPE, TABLE).is_failing


def test_a_version_that_has_answered_is_given_more_time() -> None:
    """A device that is lost later shows too, and says so."""
    assert not after(*[TABLE] * (LATER_RUNS - 1), before=SOUND).is_failing
    problem = after(*[TABLE] * LATER_RUNS, before=SOUND).problem
    assert problem is not None
    assert problem.message.startswith("every run fails since some time: ")


def test_long_texts_are_cut_and_take_one_line() -> None:
    """They are shown in tables and log lines."""
    problem = after(*[(Code.INTERNAL, "a\n b" * LONGEST_TEXT)] * FIRST_RUNS).problem

    assert problem is not None
    assert "\n" not in problem.message
    assert len(problem.message) < LONGEST_TEXT + 50


BAD = after(*[TABLE] * FIRST_RUNS)


@pytest.mark.parametrize(
    ("replicas", "fails"),
    [
        ([], False),
        ([UNTRIED], False),
        ([BAD], True),
        ([UNTRIED, BAD], True),
        ([SOUND, BAD], False),
        ([after(*[TABLE] * LATER_RUNS, before=SOUND)], True),
        ([after(TABLE, before=SOUND), BAD], False),
    ],
)
def test_a_replica_that_answers_speaks_for_its_version(replicas: list[RunHealth], fails: bool) -> None:  # noqa: FBT001 - a table
    """A broken replica among good ones is not a broken version."""
    assert (version_problem(replicas) is not None) is fails


@given(st.lists(st.sampled_from([TABLE, SHAPE, VHLO, (Code.INTERNAL, "x"), (Code.UNAVAILABLE, "y")])))
def test_no_order_of_errors_makes_a_failing_version_without_three_alike(errors: list[tuple[Code, str]]) -> None:
    """Whatever is between them."""
    own = [one for one in errors if is_of_the_version(*one)]
    ends_alike = len(own) >= FIRST_RUNS and len(set(own[-FIRST_RUNS:])) == 1

    assert after(*errors).is_failing is ends_alike
