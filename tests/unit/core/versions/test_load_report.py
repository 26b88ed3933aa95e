"""Tests of how a load's error comes through the text that Serve keeps of a dead replica."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.versions.load_report import LONGEST_MESSAGE, LoadFailed, LoadStep, failure_in, is_permanent, out_of_space
from core.versions.record import Failure


@given(st.sampled_from(Code), st.text(max_size=LONGEST_MESSAGE), st.text(max_size=30), st.booleans())
def test_code_and_message_come_through_any_surrounding_text(code, message, noise, permanent) -> None:
    """Stack traces stand around the report; brackets, braces and newlines stand in it."""
    text = f"Traceback:\n  {noise}\n{LoadFailed(code, message, permanent)}\n  {noise}]}})"

    assert failure_in(text) == Failure(code, message, permanent)


NO_OP = "Op type not registered 'AddX2' in binary running on host. Make sure the Op and Kernel are registered"
NO_TAGS = "Could not find meta graph def matching supplied tags: { serve }. To inspect available tag-sets in the"
NO_FILE = (
    "Specified file path does not appear to contain a SavedModel bundle (should have a file called `saved_model.pb`)"
)


@pytest.mark.parametrize(
    ("step", "code", "message", "expected"),
    [
        (LoadStep.GRAPH, Code.NOT_FOUND, NO_OP, True),
        (LoadStep.GRAPH, Code.NOT_FOUND, NO_TAGS, True),
        (LoadStep.GRAPH, Code.NOT_FOUND, NO_FILE, True),
        (LoadStep.GRAPH, Code.NOT_FOUND, "Could not find SavedModel .pb or .pbtxt at supplied export directory", True),
        (LoadStep.GRAPH, Code.NOT_FOUND, "/m/1/saved_model.pb has no graph with the tags serve, but with train", True),
        (LoadStep.GRAPH, Code.NOT_FOUND, "Key w/.ATTRIBUTES/VARIABLE_VALUE not found in checkpoint", True),
        (LoadStep.GRAPH, Code.NOT_FOUND, "/m/1/variables/variables.index; No such file or directory", False),
        (LoadStep.GRAPH, Code.DATA_LOSS, "Can't parse /m/1/saved_model.pb as binary proto", True),
        (LoadStep.GRAPH, Code.OUT_OF_RANGE, "Read less bytes than requested", True),
        (LoadStep.GRAPH, Code.INVALID_ARGUMENT, "Tensor y:0 is not in the graph of the model", True),
        (LoadStep.GRAPH, Code.UNIMPLEMENTED, "Session Bundle is deprecated and removed.", True),
        (LoadStep.GRAPH, Code.RESOURCE_EXHAUSTED, "OOM when allocating tensor", False),
        (LoadStep.GRAPH, Code.UNAVAILABLE, "Input/output error", False),
        (LoadStep.GRAPH, Code.FAILED_PRECONDITION, "TensorFlow's runtime library is not installed here", False),
        (LoadStep.GRAPH, Code.UNKNOWN, "MemoryError: ", False),
        (LoadStep.FILES, Code.DATA_LOSS, "The checksum of saved_model.pb differs", False),
        (LoadStep.FILES, Code.NOT_FOUND, "s3://b/m/1 is not there", False),
        (LoadStep.FILES, Code.INVALID_ARGUMENT, "bad URL", False),
        (LoadStep.WARM_UP, Code.INVALID_ARGUMENT, "input size does not match signature", True),
        (LoadStep.WARM_UP, Code.FAILED_PRECONDITION, 'Serving signature key "x" not found.', True),
        (LoadStep.WARM_UP, Code.DATA_LOSS, "truncated record at 7", True),
        (LoadStep.WARM_UP, Code.RESOURCE_EXHAUSTED, "OOM when allocating tensor", False),
        (LoadStep.WARM_UP, Code.UNAVAILABLE, "The warm-up requests cannot be read", False),
    ],
)
def test_a_failure_that_only_other_files_can_mend_is_permanent(step, code, message, expected) -> None:
    """All others may have come of the machine, the network or the store, and are tried again."""
    assert is_permanent(step, code, message) is expected


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


@pytest.mark.parametrize(
    ("status", "full_disk", "failure"),
    [
        (
            "killed by the OOM killer",
            "The disk of /r is full",
            Failure(Code.RESOURCE_EXHAUSTED, "The disk of /r is full"),
        ),
        ("killed", "", Failure(Code.UNAVAILABLE, "The loading process ended without an answer: killed")),
        (str(LoadFailed(Code.NOT_FOUND, "x")), "The disk of /r is full", Failure(Code.NOT_FOUND, "x")),
    ],
)
def test_a_full_disk_explains_a_process_that_could_not(status: str, full_disk: str, failure: Failure) -> None:
    """What a process could report itself is better known."""
    assert failure_in(out_of_space(status, full_disk)) == failure


@pytest.mark.parametrize(
    ("failure", "is_about_space"),
    [
        (Failure(Code.RESOURCE_EXHAUSTED, "The disk of the model cache /c is full: No space left on device"), True),
        (Failure(Code.RESOURCE_EXHAUSTED, "The disk of the model cache has no room for a version of 9 bytes"), True),
        (Failure(Code.RESOURCE_EXHAUSTED, "The model cache has no room for a version of 9 bytes"), True),
        (Failure(Code.RESOURCE_EXHAUSTED, "OOM when allocating tensor"), False),
        (Failure(Code.UNAVAILABLE, "The disk of x"), False),
    ],
)
def test_want_of_space_is_recognized(failure: Failure, is_about_space: bool) -> None:  # noqa: FBT001 - a table
    """Memory is not space on a disk: a model that does not fit does not fit the next time either."""
    assert failure.is_about_space is is_about_space
