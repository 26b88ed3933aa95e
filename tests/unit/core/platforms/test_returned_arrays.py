"""What Python code may return for a declared output, and the texts for what it may not."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from core.errors import Code, RuntimeFailure
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.signature import TensorSpec
from core.platforms.returned_arrays import checked_arrays

WHERE = "Model.predict of /m/1/model.py"
NAN = float("nan")
INF = float("inf")


def checked(value: object, dtype: DataType, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Check one output."""
    return checked_arrays({"y": value}, {"y": TensorSpec("y", dtype, shape)}, WHERE)["y"]


CONVERTED = [
    ([1.5, 2], DataType.FLOAT, [1.5, 2]),
    (1.5, DataType.FLOAT, 1.5),
    (np.array([0.1]), DataType.FLOAT, [np.float32(0.1)]),
    ([NAN, INF], DataType.HALF, [NAN, INF]),
    ([1, 2], DataType.UINT8, [1, 2]),
    ([2**64 - 1], DataType.UINT64, [2**64 - 1]),
    (np.array([-5]), DataType.INT8, [-5]),
    (np.array([7], np.uint64), DataType.INT8, [7]),
    ([True], DataType.INT32, [1]),
    ([3], DataType.FLOAT, [3]),
    ([3], DataType.COMPLEX64, [3]),
    (np.array([1.5, 2], dtype=object), DataType.FLOAT, [1.5, 2]),
    (np.array([1.5], ">f4"), DataType.FLOAT, [1.5]),
    (np.array([1.5], ml_dtypes.bfloat16), DataType.FLOAT, [1.5]),
    ([1.5], DataType.BFLOAT16, [1.5]),
    ([], DataType.INT64, []),
    ([[], []], DataType.BOOL, [[], []]),
]


@pytest.mark.parametrize(("value", "dtype", "expected"), CONVERTED)
def test_values_become_the_declared_type_while_each_is_in_its_range(
    value: object, dtype: DataType, expected: object
) -> None:
    """Lists and floats of Python, shorter and wider types of the same kind, and narrower kinds."""
    array = checked(value, dtype)

    assert array.dtype == NUMPY_DTYPE[dtype]
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, np.array(expected, NUMPY_DTYPE[dtype]))


REFUSED = [
    (1e300, DataType.FLOAT),
    ([1e39], DataType.BFLOAT16),
    (np.array([70000], np.int32), DataType.HALF),
    (np.array([65535], np.uint16), DataType.HALF),
    (np.array([3e38], ml_dtypes.bfloat16), DataType.HALF),
    ([256], DataType.UINT8),
    ([-1], DataType.UINT64),
    ([2**63], DataType.INT64),
    ([1.0], DataType.INT32),
    ([1], DataType.BOOL),
    ([1 + 2j], DataType.FLOAT),
    (["1.5"], DataType.FLOAT),
    ([b"1"], DataType.INT32),
    (np.array(["1.5"], dtype=object), DataType.FLOAT),
    ([None], DataType.FLOAT),
    (None, DataType.FLOAT),
    ({"a": 1}, DataType.FLOAT),
    ((one for one in [1.0]), DataType.FLOAT),
    (np.array(["2020-01-01"], "M8[D]"), DataType.INT64),
    (2**70, DataType.INT64),
    ([None], DataType.STRING),
    ([1.5], DataType.STRING),
    (["\udcff"], DataType.STRING),
]


@pytest.mark.parametrize(("value", "dtype"), REFUSED)
def test_a_value_that_would_change_its_meaning_is_refused(value: object, dtype: DataType) -> None:
    """The text says whose fault it is, which output, and what was declared."""
    with pytest.raises(RuntimeFailure, match=f'^{WHERE} returned output "y", declared as ') as refused:
        checked(value, dtype)

    assert refused.value.code is Code.INTERNAL


class Stubborn:
    """An object whose own conversion fails, as a tensor that still needs its gradient."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise RuntimeError("detach it first")


def test_a_conversion_that_raises_is_told_in_its_own_words() -> None:
    """What frameworks say about their tensors is the best advice."""
    with pytest.raises(RuntimeFailure, match="detach it first"):
        checked(Stubborn(), DataType.FLOAT)


@pytest.mark.parametrize("dtype", [DataType.FLOAT, DataType.STRING])
@pytest.mark.parametrize("value", [[["a"], ["b", "c"]], [[1], [2, 3]], np.array([[1], [2, 3]], dtype=object)])
def test_ragged_rows_are_named_as_such(value: object, dtype: DataType) -> None:
    """What numpy says of them speaks of inhomogeneous shapes."""
    with pytest.raises(RuntimeFailure, match=r'output "y", .*: its rows have different lengths'):
        checked(value, dtype)


@pytest.mark.parametrize(
    "value",
    [
        ["a", b"b\0"],
        np.array(["a", b"b\0"], dtype=object),
        [bytearray(b"a"), memoryview(b"b\0")],
        [np.str_("a"), b"b\0"],
    ],
)
def test_texts_become_bytes_without_a_loss(value: object) -> None:
    """A NUL at the end stays, and each element is `bytes` itself."""
    array = checked(value, DataType.STRING)

    assert array.tolist() == [b"a", b"b\0"]
    assert {type(one) for one in array.tolist()} == {bytes}


@pytest.mark.parametrize("value", ["ä", "ä".encode(), np.array("ä"), np.array("ä".encode())])
def test_one_text_is_a_scalar(value: object) -> None:
    """Arrays of texts are taken, too."""
    array = checked(value, DataType.STRING)

    assert (array.shape, array.item()) == ((), "ä".encode())


def test_an_array_as_declared_is_passed_on_as_it_is() -> None:
    """No copy on the way of an ordinary answer; a transposed one is laid out anew, and a masked one unmasked."""
    array = np.ones((2, 4), np.float32)

    assert checked(array, DataType.FLOAT, (-1, 4)) is array
    assert checked(array.T, DataType.FLOAT, (4, -1)).flags.c_contiguous
    assert type(checked(np.ma.masked_array(array), DataType.FLOAT)) is np.ndarray
    assert checked(np.array(1, np.float32), DataType.FLOAT, ()).shape == ()


@pytest.mark.parametrize(("shape", "declared"), [((2, 3), (-1, 4)), ((4,), (-1, 4)), ((), (1,)), ((1,), ())])
def test_a_shape_that_was_not_declared_is_refused(shape: tuple[int, ...], declared: tuple[int, ...]) -> None:
    """Clients rely on what metadata shows."""
    with pytest.raises(RuntimeFailure) as refused:
        checked(np.zeros(shape, np.float32), DataType.FLOAT, declared)

    assert f"it came with shape {shape}" in str(refused.value)
    assert "None" in str(refused.value) or -1 not in declared


@pytest.mark.parametrize("returned", [None, [1.0], np.zeros(2), "y", 3])
def test_anything_but_a_mapping_is_refused(returned: object) -> None:
    """The text names the type that came."""
    with pytest.raises(RuntimeFailure, match=f"^{WHERE} returned {type(returned).__name__}, and not a mapping"):
        checked_arrays(returned, {"y": TensorSpec("y", DataType.FLOAT, None)}, WHERE)


def test_missing_and_further_names_are_listed() -> None:
    """Both at once, so that a misspelt name is seen."""
    declared = {name: TensorSpec(name, DataType.FLOAT, None) for name in ("a", "b")}

    with pytest.raises(RuntimeFailure, match=f'^{WHERE} returned a mapping that lacks output "b" and has "B", "3"'):
        checked_arrays({"a": 1.0, "B": 2.0, 3: 1.0}, declared, WHERE)


def test_arrays_come_in_the_order_of_the_declaration() -> None:
    """Whoever fetches all of them needs no names."""
    declared = {name: TensorSpec(name, DataType.INT32, None) for name in ("b", "a")}

    assert list(checked_arrays({"a": 1, "b": 2}, declared, WHERE)) == ["b", "a"]
