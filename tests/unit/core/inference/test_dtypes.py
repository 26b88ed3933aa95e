"""TensorFlow's element types: their names, and which array and which wire number means which."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from core.inference.dtypes import NUMPY_DTYPE, REFERENCE, DataType, data_type, type_of

QUANTIZED = {DataType.QINT8, DataType.QUINT8, DataType.QINT32, DataType.QINT16, DataType.QUINT16}


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.zeros(1, np.int8), DataType.INT8),
        (np.zeros(1, ml_dtypes.bfloat16), DataType.BFLOAT16),
        (np.zeros(1, np.float16), DataType.HALF),
        (np.array([b"a"], object), DataType.STRING),
        (np.zeros(1, ">f4"), DataType.INVALID),
        (np.zeros(1, "datetime64[D]"), DataType.INVALID),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_an_array_has_the_plain_type_of_its_elements(array, dtype) -> None:
    """Quantized types are not guessed, and what TensorFlow does not have is INVALID."""
    assert type_of(array) is dtype


@pytest.mark.parametrize("dtype", sorted(set(NUMPY_DTYPE) - QUANTIZED))
def test_every_plain_type_is_found_again_from_its_arrays(dtype) -> None:
    """Two plain types never share a numpy dtype."""
    assert type_of(np.empty(0, NUMPY_DTYPE[dtype])) is dtype


@pytest.mark.parametrize(
    ("number", "dtype"),
    [
        (1, DataType.FLOAT),
        (REFERENCE + 1, DataType.FLOAT),
        (REFERENCE, DataType.INVALID),
        (99, DataType.INVALID),
        (-1, DataType.INVALID),
        (0, DataType.INVALID),
    ],
)
def test_a_wire_number_is_a_type_or_invalid(number, dtype) -> None:
    """A reference to a variable has the type of its value."""
    assert data_type(number) is dtype


def test_names_are_those_of_error_texts_and_of_protos() -> None:
    """`half` and `DT_HALF`."""
    assert (DataType.HALF.label, DataType.HALF.wire_name) == ("half", "DT_HALF")
