"""Tests of the names of log files."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.config.extensions import LogFormat
from core.recording.log_files import FileLimits, LogFileNames

AT_S = 1_700_000_000.25


def test_a_name_tells_when_by_whom_and_what() -> None:
    """Time in UTC, the writer, a number, and an ending for the format."""
    names = LogFileNames("/logs/h2", "replica1", LogFormat.TF_RECORD)

    assert names.name(AT_S, 7) == "/logs/h2-20231114T221320.250Z-replica1-000007.tfrecord"


@pytest.mark.parametrize(
    ("prefix", "begin"), [("/logs/", "/logs/20231114T"), ("s3://bucket/logs/h2", "s3://bucket/logs/h2-20231114T")]
)
def test_a_prefix_may_be_a_folder_or_a_url(prefix: str, begin: str) -> None:
    """A folder needs no dash."""
    assert LogFileNames(prefix, "w", LogFormat.JSON_LINES).name(AT_S, 1).startswith(begin)


def test_a_writer_cannot_leave_the_folder() -> None:
    """Whatever names a process, it is one part of a file's name."""
    name = LogFileNames("/logs/h2", "../a b#c", LogFormat.JSON_LINES).name(AT_S, 1)

    assert name == "/logs/h2-20231114T221320.250Z-.._a_b_c-000001.jsonl"


@given(st.lists(st.tuples(st.integers(0, 4_000_000_000_000), st.integers(1, 999_999)), min_size=2, max_size=5))
@example([(1_000, 10), (1_000, 9)])
@example([(999, 1), (1_000, 1), (4_000_000_000_000, 1)])
def test_names_sort_by_time(begun: list[tuple[int, int]]) -> None:
    """Listing a folder gives the files in the order in which they were begun."""
    names = LogFileNames("/logs/h2", "w", LogFormat.TF_RECORD)

    assert sorted(names.name(at_ms / 1000, number) for at_ms, number in begun) == [
        names.name(at_ms / 1000, number) for at_ms, number in sorted(begun)
    ]


@pytest.mark.parametrize(
    ("size_bytes", "age_s", "reached"), [(99, 9.9, False), (100, 0.0, True), (0, 10.0, True), (200, 20.0, True)]
)
def test_either_limit_finishes_a_file(size_bytes: int, age_s: float, *, reached: bool) -> None:
    """Size and age do not wait for each other."""
    assert FileLimits(100, 10.0).are_reached(size_bytes, age_s) is reached
