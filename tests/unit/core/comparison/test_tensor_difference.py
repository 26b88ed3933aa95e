"""Tests of distances between tensors."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from core.comparison.tensor_difference import PORTION_ELEMENTS, structural_difference, tensor_difference
from core.delivery.pair_report import OutputPair
from core.delivery.split import Tolerance
from core.inference.tensor_proto import bytes_array


def difference(one: np.ndarray, two: np.ndarray, rtol: float = 0.0, atol: float = 0.0) -> OutputPair:
    found = tensor_difference(one, two, Tolerance(rtol, atol))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0, np.nan, np.inf, -np.inf], np.float32),
        np.array(7, np.int64),
        np.array([True, False]),
        np.array([1 + 2j]),
        np.empty((0, 3), np.float32),
        np.array([1.5, np.nan], ml_dtypes.bfloat16),
        bytes_array([b"a", b""]),
    ],
)
def test_equal_values_are_no_difference(array: np.ndarray) -> None:
    """What is equal has no distance, and values that are not numbers are equal to each other."""
    assert tensor_difference(array, array.copy()) is None


def test_zeros_of_both_signs_are_equal() -> None:
    """A negative zero is the same value."""
    assert tensor_difference(np.array([0.0]), np.array([-0.0])) is None


def test_an_element_is_outside_beyond_atol_plus_rtol_of_stables_value() -> None:
    """The tolerance is that of stable's value, not of the copy's."""
    found = difference(np.array([100.0, 100.0, 0.0]), np.array([110.9, 111.2, 1.2]), rtol=0.1, atol=1.0)
    assert found.outside == pytest.approx(2 / 3)
    assert found.largest == pytest.approx(11.2)


def test_the_relative_distance_is_that_of_norms() -> None:
    """The distance is the norm of the difference, in relation to stable's norm."""
    assert difference(np.array([3.0, 4.0]), np.array([3.0, 4.5])).relative_l2 == pytest.approx(0.1)
    assert difference(np.array([0.0]), np.array([2.0])).relative_l2 > 1e9


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_elements_that_are_finite_on_one_side_are_counted_and_outside(bad: float) -> None:
    """A value that is none is outside of any tolerance, and leaves the distance of the others."""
    found = difference(np.array([1.0, 2.0]), np.array([1.0, bad]), rtol=9.0)
    assert (found.not_finite, found.outside, found.relative_l2) == (0.5, 0.5, 0.0)
    other = difference(np.array([np.inf]), np.array([-np.inf]), rtol=9.0)
    assert (other.not_finite, other.outside) == (0.0, 1.0)


def test_largest_values_do_not_overflow() -> None:
    """The distance of extreme values is a number that JSON can carry."""
    found = difference(np.array([1e308]), np.array([-1e308]))
    assert np.isfinite([found.relative_l2, found.largest]).all()


def test_rows_whose_largest_column_differs_are_flipped() -> None:
    """The class of a row is its largest column; a tie of stable's allows either."""
    one = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    two = np.array([[0.6, 0.4], [0.7, 0.3], [0.4, 0.6]])
    assert difference(one, two).flipped_rows == 1


def test_a_constant_answer_flips_all_rows_but_those_of_the_first_column() -> None:
    """A canary that says the same of all columns has no class of its own."""
    one = np.array([[0.1, 0.9], [0.9, 0.1]])
    assert difference(one, np.full((2, 2), 0.5)).flipped_rows == 1


def test_rows_that_are_not_numbers_have_lost_their_class() -> None:
    """NaN is never the largest column."""
    assert difference(np.array([[0.1, 0.9]]), np.array([[0.1, np.nan]])).flipped_rows == 1


def test_lost_columns_of_the_largest_five_are_counted() -> None:
    """Of the five largest columns of each row, the share that the copy does not have is averaged."""
    one = np.array([[9.0, 8, 7, 6, 5, 0, 0, 0], [9.0, 8, 7, 6, 5, 0, 0, 0]])
    two = np.array([[9.0, 8, 7, 0, 1, 6, 5, 0], [9.0, 8, 7, 6, 5, 1, 0, 0]])
    assert difference(one, two).lost_top5 == pytest.approx(0.2)


def test_integers_and_texts_are_equal_or_outside() -> None:
    """No tolerance makes two classes the same; one class a row is a flip."""
    numbers = difference(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5]), rtol=1.0)
    assert (numbers.outside, numbers.flipped_rows) == (0.25, 1)
    texts = difference(bytes_array([b"cat", b"dog"]), bytes_array([b"cat", b"cow"]))
    assert (texts.outside, texts.flipped_rows) == (0.5, 1)
    assert difference(np.array([[1, 2]]), np.array([[1, 3]])).flipped_rows == 0


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_large_integers_are_compared_whole(kind: type) -> None:
    """Ids and hashes have more digits than a double."""
    found = difference(np.array([2**62, 5], kind), np.array([2**62 + 1, 5], kind))
    assert (found.outside, found.flipped_rows) == (0.5, 1)


def test_a_tensor_of_many_portions_is_looked_at_whole() -> None:
    """Sums go on over portions, of elements and of rows."""
    one = np.zeros((PORTION_ELEMENTS, 2), np.float32)
    one[:, 0] = 1
    two = one.copy()
    two[[0, -1]] = [0, 1]
    found = difference(one, two)
    assert found.outside * one.size == 4
    assert found.flipped_rows == 2


def test_other_types_and_shapes_are_structural() -> None:
    """Type and shape belong to the structure, with both in the text."""
    assert structural_difference(np.zeros(2), np.zeros(2)) == ""
    assert structural_difference(np.zeros(2), np.zeros((2, 1))) == "has shape [2, 1], and not [2]"
    assert structural_difference(np.zeros(2, np.float32), bytes_array([b"", b""])) == "has type string, and not float32"
