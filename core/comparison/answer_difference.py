"""How two versions' answers to one request differ: equal bytes at once, tensor by tensor otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from core.delivery.pair_report import PairReport
from core.delivery.split import Tolerance
from core.routing.transport import Method


def answer_difference(
    method: Method,
    primary: bytes | bytearray,
    copy: bytes | bytearray,
    tolerances: Mapping[str, Tolerance] | None = None,
    only_output: str = "outputs",
) -> PairReport:
    """Compare two good answers to one request, which differ at most by values, or in structure.

    `tolerances` are by output, others have the default one. `only_output` is the name of an output whose name its
    answer leaves out, as that of REST predict with one output does. Raises nothing: an answer that cannot be read is a
    structural difference. The number of the version in an answer does not count.
    """
    raise NotImplementedError
