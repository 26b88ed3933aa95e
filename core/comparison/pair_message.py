"""Reports of compared copies on their way from replica to router."""

from __future__ import annotations

from core.delivery.pair_report import PairReport


def packed_report(report: PairReport) -> bytes:
    """Return a report as bytes: none for identical answers."""
    raise NotImplementedError


def unpacked_report(raw: bytes | bytearray) -> PairReport:
    """Return the report of such bytes; raises InvalidArgument for others."""
    raise NotImplementedError
