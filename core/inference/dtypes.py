"""TensorFlow's element types: their wire numbers, their names and their numpy counterparts."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import ml_dtypes
import numpy as np


class DataType(enum.IntEnum):
    """TensorFlow's DataType, numbered as on the wire."""

    INVALID = 0
    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    COMPLEX64 = 8
    INT64 = 9
    BOOL = 10
    QINT8 = 11
    QUINT8 = 12
    QINT32 = 13
    BFLOAT16 = 14
    QINT16 = 15
    QUINT16 = 16
    UINT16 = 17
    COMPLEX128 = 18
    HALF = 19
    RESOURCE = 20
    VARIANT = 21
    UINT32 = 22
    UINT64 = 23
    FLOAT8_E5M2 = 24
    FLOAT8_E4M3FN = 25
    FLOAT8_E4M3FNUZ = 26
    FLOAT8_E4M3B11FNUZ = 27
    FLOAT8_E5M2FNUZ = 28
    INT4 = 29
    UINT4 = 30
    INT2 = 31
    UINT2 = 32
    FLOAT4_E2M1FN = 33

    @property
    def label(self) -> str:
        """TensorFlow's short name, as error texts print it: `float`, `int32`, `half`."""
        return self.name.lower()

    @property
    def wire_name(self) -> str:
        """Name of the enum value in protos and JSON: `DT_FLOAT`."""
        return f"DT_{self.name}"


NUMPY_DTYPE: Mapping[DataType, np.dtype] = MappingProxyType(
    {
        DataType.FLOAT: np.dtype(np.float32),
        DataType.DOUBLE: np.dtype(np.float64),
        DataType.INT32: np.dtype(np.int32),
        DataType.UINT8: np.dtype(np.uint8),
        DataType.INT16: np.dtype(np.int16),
        DataType.INT8: np.dtype(np.int8),
        DataType.STRING: np.dtype(object),
        DataType.COMPLEX64: np.dtype(np.complex64),
        DataType.INT64: np.dtype(np.int64),
        DataType.BOOL: np.dtype(np.bool_),
        DataType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
        DataType.UINT16: np.dtype(np.uint16),
        DataType.COMPLEX128: np.dtype(np.complex128),
        DataType.HALF: np.dtype(np.float16),
        DataType.UINT32: np.dtype(np.uint32),
        DataType.UINT64: np.dtype(np.uint64),
        DataType.QINT8: np.dtype(np.int8),
        DataType.QUINT8: np.dtype(np.uint8),
        DataType.QINT32: np.dtype(np.int32),
        DataType.QINT16: np.dtype(np.int16),
        DataType.QUINT16: np.dtype(np.uint16),
        DataType.FLOAT8_E5M2: np.dtype(ml_dtypes.float8_e5m2),
        DataType.FLOAT8_E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    }
)
"""numpy dtype of each type that can cross the server; strings are arrays of `bytes` objects."""

TYPE_OF: Mapping[np.dtype, DataType] = MappingProxyType(
    {dtype: kind for kind, dtype in reversed(list(NUMPY_DTYPE.items()))}
)
"""The plain type of each numpy dtype; quantized types share theirs with plain ones."""

REFERENCE: Final = 100
"""Offset of the numbers of reference types, which stand for variables; fetching a reference returns its value."""


def data_type(number: int) -> DataType:
    """Return the type of a wire number, of a reference its value's; a number from the future counts as INVALID."""
    try:
        return DataType(number - REFERENCE if number > REFERENCE else number)
    except ValueError:
        return DataType.INVALID


def type_of(array: np.ndarray) -> DataType:
    """Return the plain TensorFlow type of an array; INVALID for what TensorFlow does not have."""
    return TYPE_OF.get(array.dtype, DataType.INVALID)
