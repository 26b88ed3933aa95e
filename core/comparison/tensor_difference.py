"""How far two tensors of one output are apart.

Values are looked at in portions, as doubles, so that a comparison needs little more memory than the tensors themselves.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from core.delivery.pair_report import OutputPair
from core.delivery.split import DEFAULT_TOLERANCE, Tolerance

PORTION_ELEMENTS: Final = 2**18
TOP: Final = 5
"""Of so many largest columns it is counted how many the copy has lost."""

_TINY: Final = 1e-12
"""Is added to the norm of stable's values, which may all be zero."""
_LARGEST: Final = float(np.finfo(np.float64).max)
_EXACT_KINDS: Final = "biuO"
"""Kinds of numpy dtypes whose values are equal or are not: for them no tolerance makes sense."""


def structural_difference(primary: np.ndarray, copy: np.ndarray) -> str:
    """Return what is different about type or shape; empty where both are the same."""
    if primary.dtype != copy.dtype:
        return f"has type {_type_name(copy)}, and not {_type_name(primary)}"
    if primary.shape != copy.shape:
        return f"has shape {list(copy.shape)}, and not {list(primary.shape)}"
    return ""


def _type_name(array: np.ndarray) -> str:
    return "string" if array.dtype.hasobject else array.dtype.name


def tensor_difference(
    primary: np.ndarray, copy: np.ndarray, tolerance: Tolerance = DEFAULT_TOLERANCE
) -> OutputPair | None:
    """Compare two tensors of the same type and shape; None where all of their values are equal.

    Values that are not numbers are equal to each other, and so are infinities of one sign.
    """
    if not primary.size:
        return None
    if primary.dtype.hasobject:
        return _texts_difference(primary, copy)
    if primary.dtype.kind == "c":
        primary, copy = _parts(primary), _parts(copy)
    distance = _distance(primary, copy, tolerance)
    if not distance.unequal:
        return None
    outside = distance.unequal if primary.dtype.kind in _EXACT_KINDS else distance.outside
    flipped_rows, lost_top5 = _flips(primary, copy)
    return OutputPair(
        relative_l2=min(_LARGEST, math.sqrt(distance.squares) / (math.sqrt(distance.norm) + _TINY)),
        largest=min(_LARGEST, distance.largest),
        outside=outside / primary.size,
        not_finite=distance.not_finite / primary.size,
        flipped_rows=flipped_rows,
        lost_top5=lost_top5,
    )


class _Distance(NamedTuple):
    """Sums over elements: those that are unequal, outside of the tolerance and not finite in one tensor alone.

    `squares` of the differences, and `norm` of the primary's values, are of elements that are finite in both.
    """

    unequal: int = 0
    outside: int = 0
    not_finite: int = 0
    squares: float = 0.0
    norm: float = 0.0
    largest: float = 0.0

    def plus(self, other: _Distance) -> _Distance:
        return _Distance(
            self.unequal + other.unequal,
            self.outside + other.outside,
            self.not_finite + other.not_finite,
            self.squares + other.squares,
            self.norm + other.norm,
            max(self.largest, other.largest),
        )


def _distance(primary: np.ndarray, copy: np.ndarray, tolerance: Tolerance) -> _Distance:
    distance = _Distance()
    left, right = primary.reshape(-1), copy.reshape(-1)
    for begin in range(0, left.size, PORTION_ELEMENTS):
        end = begin + PORTION_ELEMENTS
        one, two = left[begin:end], right[begin:end]
        portion = _portion(_doubles(one), _doubles(two), tolerance)
        if primary.dtype.kind in _EXACT_KINDS:  # doubles do not have all of 64 bits
            portion = portion._replace(unequal=int(np.count_nonzero(one != two)))
        distance = distance.plus(portion)
    return distance


def _doubles(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return values.astype(np.float64)


def _portion(left: np.ndarray, right: np.ndarray, tolerance: Tolerance) -> _Distance:
    finite_left, finite_right = np.isfinite(left), np.isfinite(right)
    with np.errstate(over="ignore", invalid="ignore"):
        is_equal = (left == right) | (np.isnan(left) & np.isnan(right))
        is_finite = finite_left & finite_right
        apart = np.where(is_finite, np.abs(left - right), 0.0)
        allowed = tolerance.atol + tolerance.rtol * np.abs(left)
        outside = np.where(is_finite, apart > allowed, ~is_equal)
        return _Distance(
            unequal=int(np.count_nonzero(~is_equal)),
            outside=int(np.count_nonzero(outside)),
            not_finite=int(np.count_nonzero(finite_left != finite_right)),
            squares=float(np.dot(apart, apart)),
            norm=float(np.sum(np.where(is_finite, left * left, 0.0))),
            largest=float(apart.max()),
        )


def _parts(array: np.ndarray) -> np.ndarray:
    """Return complex numbers as pairs of their parts, without rows whose largest column means anything."""
    return np.ascontiguousarray(array).reshape(-1).view(array.real.dtype)


def _texts_difference(primary: np.ndarray, copy: np.ndarray) -> OutputPair | None:
    is_unequal = np.asarray(primary != copy, np.bool_)
    unequal = int(np.count_nonzero(is_unequal))
    if not unequal:
        return None
    share = unequal / primary.size
    return OutputPair(1.0, 1.0, share, flipped_rows=unequal if _has_one_value_a_row(primary) else 0)


def _has_one_value_a_row(array: np.ndarray) -> bool:
    return array.ndim > 0 and array.size == len(array)


def _flips(primary: np.ndarray, copy: np.ndarray) -> tuple[int, float]:
    """Return in how many rows the largest column differs, and the mean share of the largest columns that is lost."""
    if _has_one_value_a_row(primary):
        return (int(np.count_nonzero(primary != copy)), 0.0) if primary.dtype.kind in _EXACT_KINDS else (0, 0.0)
    if primary.ndim < 2 or primary.dtype.kind in _EXACT_KINDS:
        return 0, 0.0
    columns = primary.shape[-1]
    left, right = primary.reshape(-1, columns), copy.reshape(-1, columns)
    rows = max(1, PORTION_ELEMENTS // columns)
    flipped, lost = 0, 0.0
    for begin in range(0, len(left), rows):
        one, two = _ordered(left[begin : begin + rows]), _ordered(right[begin : begin + rows])
        flipped += _flipped_rows(one, two)
        lost += _lost_top(one, two) if columns > TOP else 0.0
    return flipped, lost / len(left)


def _ordered(rows: np.ndarray) -> np.ndarray:
    """Return rows in which every two columns can be compared."""
    doubles = _doubles(rows)
    return np.where(np.isnan(doubles), -np.inf, doubles)


def _flipped_rows(left: np.ndarray, right: np.ndarray) -> int:
    """Count the rows of which the copy's largest column is not one of the primary's largest."""
    winners = right.argmax(axis=1)
    return int(np.count_nonzero(left[np.arange(len(left)), winners] < left.max(axis=1)))


def _lost_top(left: np.ndarray, right: np.ndarray) -> float:
    """Return the sum over rows of the share of the largest columns that the copy does not have."""
    largest = np.argpartition(right, -TOP, axis=1)[:, -TOP:]
    threshold = np.partition(left, -TOP, axis=1)[:, -TOP]
    kept = np.take_along_axis(left, largest, axis=1) >= threshold[:, None]
    return float(np.count_nonzero(~kept)) / TOP
