"""Tests of the reports of compared copies as bytes."""

from __future__ import annotations

import pytest

from core.comparison.pair_message import MOST_REPORTED, packed_report, unpacked_report
from core.delivery.pair_report import DROPPED_PAIR, IDENTICAL_PAIR, OutputPair, PairReport, PairResult
from core.errors import InvalidArgument


@pytest.mark.parametrize(
    "report",
    [
        IDENTICAL_PAIR,
        DROPPED_PAIR,
        PairReport(PairResult.STRUCTURAL, reason="output a is missing"),
        PairReport(PairResult.OUTSIDE, {"a": OutputPair(1e-3, 0.1, 0.5, 0.25, 3, 0.2), "b/é": OutputPair()}),
    ],
)
def test_a_report_comes_back_as_it_was(report: PairReport) -> None:
    """Nothing is lost on the way."""
    assert unpacked_report(packed_report(report)) == report


def test_identical_answers_take_no_bytes() -> None:
    """The usual case costs nothing."""
    assert packed_report(IDENTICAL_PAIR) == b""


def test_a_report_has_the_outputs_that_differ_most() -> None:
    """A graph with thousands of tensors makes no large reports."""
    many = {f"o{index}": OutputPair(outside=index / 1000) for index in range(1000)}
    outputs = unpacked_report(packed_report(PairReport(PairResult.OUTSIDE, many))).outputs
    assert len(outputs) == MOST_REPORTED
    assert "o999" in outputs


def test_names_that_are_not_utf8_are_replaced() -> None:
    """A lone surrogate in a name does not keep a report from leaving."""
    report = PairReport(PairResult.WITHIN, {"\udc80": OutputPair()}, "\udc80")
    assert list(unpacked_report(packed_report(report)).outputs) == ["?"]


@pytest.mark.parametrize("raw", [b"{", b"[]", b'[9,"",{}]', b'[1,"",[]]', b'[1,"",{"a":[1]}]', b"null", b"\xff"])
def test_other_bytes_are_refused(raw: bytes) -> None:
    """What is no report is an error, and nothing else."""
    with pytest.raises(InvalidArgument, match="not a report"):
        unpacked_report(raw)
