"""How two versions' answers to one request differ: equal bytes at once, tensor by tensor otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from core.comparison.answer_bytes import are_equal
from core.comparison.answer_tensors import Tensors, answer_tensors
from core.comparison.tensor_difference import structural_difference, tensor_difference
from core.delivery.pair_report import IDENTICAL_PAIR, OutputPair, PairReport, PairResult
from core.delivery.split import DEFAULT_TOLERANCE, Tolerance
from core.errors import ServingError
from core.routing.transport import Method

ONLY_OUTPUT: Final = "outputs"
"""What an output is called whose name its answer leaves out, where nobody knows it."""
LONGEST_REASON: Final = 200
MOST_NAMED: Final = 5


def answer_difference(
    method: Method,
    primary: bytes | bytearray,
    copy: bytes | bytearray,
    tolerances: Mapping[str, Tolerance] | None = None,
    only_output: str = ONLY_OUTPUT,
    *,
    otherwise: Tolerance = DEFAULT_TOLERANCE,
) -> PairReport:
    """Compare two good answers to one request, which differ at most by values, or in structure.

    `tolerances` are by output, others have the one that counts `otherwise`. `only_output` is the name of an output
    whose name its answer leaves out, as that of REST predict with one output does. Raises nothing: an answer that
    cannot be read is a structural difference. The number of the version in an answer does not count.
    """
    if are_equal(method, primary, copy):
        return IDENTICAL_PAIR
    try:
        stable = answer_tensors(method, bytes(primary), only_output)
    except ServingError as error:
        return _structural(f"stable's answer cannot be compared: {error}")
    try:
        other = answer_tensors(method, bytes(copy), only_output)
    except ServingError as error:
        return _structural(f"the answer cannot be compared: {error}")
    if method is Method.REST_PREDICT:
        other = {name: _as_typed(array, stable.get(name)) for name, array in other.items()}
        stable = {name: _as_typed(array, other.get(name)) for name, array in stable.items()}
    reason = _names_difference(stable, other) or _structures(stable, other)
    if reason:
        return _structural(reason)
    return _values(stable, other, tolerances or {}, otherwise)


def _as_typed(array: np.ndarray, like: np.ndarray | None) -> np.ndarray:
    """Return integers as unsigned ones where the other answer has some that are too large for signed ones."""
    is_unlike = like is not None and array.dtype == np.int64 and like.dtype == np.uint64
    return array.astype(np.uint64) if is_unlike and not (array.size and array.min() < 0) else array


def _structural(reason: str) -> PairReport:
    return PairReport(PairResult.STRUCTURAL, reason=reason[:LONGEST_REASON])


def _names_difference(stable: Tensors, other: Tensors) -> str:
    missing = [name for name in stable if name not in other]
    extra = [name for name in other if name not in stable]
    texts = (
        f"output {', '.join(names[:MOST_NAMED])} is {what}"
        for names, what in ((missing, "missing"), (extra, "new"))
        if names
    )
    return "; ".join(texts)


def _structures(stable: Tensors, other: Tensors) -> str:
    found = ((name, structural_difference(array, other[name])) for name, array in stable.items())
    return "; ".join([f"output {name} {text}" for name, text in found if text][:MOST_NAMED])


def _values(stable: Tensors, other: Tensors, tolerances: Mapping[str, Tolerance], otherwise: Tolerance) -> PairReport:
    outputs: dict[str, OutputPair] = {}
    for name, array in stable.items():
        found = tensor_difference(array, other[name], tolerances.get(name, otherwise))
        if found is not None:
            outputs[name] = found
    if not outputs:
        return IDENTICAL_PAIR
    is_outside = any(one.outside for one in outputs.values())
    return PairReport(PairResult.OUTSIDE if is_outside else PairResult.WITHIN, outputs)
