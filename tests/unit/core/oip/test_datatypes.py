"""Tests of datatypes."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.oip.datatypes import NUMPY_OF, datatype_of, name_of, numpy_of

NAMES = {
    **{
        name: DataType[name]
        for name in ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
    },
    "FP16": DataType.HALF,
    "BF16": DataType.BFLOAT16,
    "FP32": DataType.FLOAT,
    "FP64": DataType.DOUBLE,
    "BYTES": DataType.STRING,
}


@pytest.mark.parametrize("name", NAMES)
def test_c_every_datatype_has_a_type_of_tensorflow_and_of_numpy(name: str) -> None:
    """Back and forth, in upper and in lower case."""
    assert datatype_of(NAMES[name]) == name
    assert numpy_of(name, "x") == numpy_of(name.lower(), "x") == NUMPY_DTYPE[NAMES[name]]
    assert name_of(NUMPY_OF[name]) == name


def test_there_are_no_other_datatypes() -> None:
    """The error names the tensor."""
    assert NUMPY_OF.keys() == NAMES.keys()
    with pytest.raises(InvalidArgument, match=r"^invalid datatype 'STRING' for input 'x'$"):
        numpy_of("STRING", "x")
    assert name_of(np.dtype(np.complex64)) == ""


@pytest.mark.parametrize("kind", [DataType.QINT8, DataType.QUINT8, DataType.QINT16, DataType.QUINT16, DataType.QINT32])
def test_quantized_types_are_the_integers_that_they_hold(kind: DataType) -> None:
    """As in TensorFlow Serving's JSON."""
    assert datatype_of(kind) == kind.name[1:]


@pytest.mark.parametrize("kind", [DataType.COMPLEX64, DataType.RESOURCE, DataType.INT4, DataType.FLOAT8_E5M2])
def test_other_types_keep_tensorflows_name(kind: DataType) -> None:
    """Clients show it as a text."""
    assert datatype_of(kind) == f"DT_{kind.name}"
