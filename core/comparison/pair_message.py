"""Reports of compared copies on their way from replica to router: some hundred bytes of JSON, none if all is equal."""

from __future__ import annotations

from typing import Final

import orjson

from core.delivery.pair_report import IDENTICAL_PAIR, OutputPair, PairReport, PairResult
from core.errors import InvalidArgument

MOST_REPORTED: Final = 64
"""Outputs of one report: those that differ most."""


def packed_report(report: PairReport) -> bytes:
    """Return a report as bytes: none for identical answers."""
    if report.result is PairResult.IDENTICAL:
        return b""
    worst = sorted(report.outputs.items(), key=lambda one: (one[1].outside, one[1].relative_l2), reverse=True)
    outputs = {_text(name): _numbers(one) for name, one in worst[:MOST_REPORTED]}
    return orjson.dumps([int(report.result), _text(report.reason), outputs])


def _text(text: str) -> str:
    """Return a text that JSON can carry; names of outputs are what a model says they are."""
    return text.encode("utf-8", "replace").decode()


def _numbers(one: OutputPair) -> list[float]:
    return [one.relative_l2, one.largest, one.outside, one.not_finite, one.flipped_rows, one.lost_top5]


def unpacked_report(raw: bytes | bytearray) -> PairReport:
    """Return the report of such bytes; raises InvalidArgument for others."""
    if not raw:
        return IDENTICAL_PAIR
    try:
        result, reason, outputs = orjson.loads(raw)
        return PairReport(PairResult(result), {str(name): _pair(*one) for name, one in outputs.items()}, str(reason))
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"not a report of a compared copy: {error}") from None


def _pair(  # noqa: PLR0917 - the numbers of a message
    relative_l2: float, largest: float, outside: float, not_finite: float, flipped_rows: int, lost_top5: float
) -> OutputPair:
    return OutputPair(
        float(relative_l2), float(largest), float(outside), float(not_finite), int(flipped_rows), float(lost_top5)
    )
