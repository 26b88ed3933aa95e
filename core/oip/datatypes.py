"""The datatypes of the Open Inference Protocol, and their counterparts in TensorFlow and numpy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from core.errors import InvalidArgument
from core.inference.dtypes import NUMPY_DTYPE, DataType

BYTES: Final = "BYTES"
BOOL: Final = "BOOL"

_NAMES: Mapping[DataType, str] = MappingProxyType(
    {
        DataType.BOOL: BOOL,
        DataType.INT8: "INT8",
        DataType.INT16: "INT16",
        DataType.INT32: "INT32",
        DataType.INT64: "INT64",
        DataType.UINT8: "UINT8",
        DataType.UINT16: "UINT16",
        DataType.UINT32: "UINT32",
        DataType.UINT64: "UINT64",
        DataType.HALF: "FP16",
        DataType.BFLOAT16: "BF16",
        DataType.FLOAT: "FP32",
        DataType.DOUBLE: "FP64",
        DataType.STRING: BYTES,
        # Quantized types are the integers that they hold, as in REST's JSON.
        DataType.QINT8: "INT8",
        DataType.QUINT8: "UINT8",
        DataType.QINT16: "INT16",
        DataType.QUINT16: "UINT16",
        DataType.QINT32: "INT32",
    }
)

NUMPY_OF: Mapping[str, np.dtype] = MappingProxyType({name: NUMPY_DTYPE[kind] for kind, name in _NAMES.items()})
"""The numpy dtype of each datatype; BYTES are arrays of `bytes` objects."""

DTYPE_OF: Mapping[DataType, np.dtype] = MappingProxyType({kind: NUMPY_DTYPE[kind] for kind in _NAMES})
"""The numpy dtype of each type that has a datatype."""

_NAME_OF: Mapping[np.dtype, str] = MappingProxyType({dtype: name for name, dtype in NUMPY_OF.items()})


def datatype_of(kind: DataType) -> str:
    """Return the protocol's name of a type; TensorFlow's own name (`DT_COMPLEX64`) where the protocol has none."""
    return _NAMES.get(kind) or kind.wire_name


def numpy_of(datatype: str, tensor: str) -> np.dtype:
    """Return the numpy dtype of a datatype, in upper or lower case; raises InvalidArgument, with the tensor's name."""
    dtype = NUMPY_OF.get(datatype) or NUMPY_OF.get(datatype.upper())
    if dtype is None:
        raise InvalidArgument(f"invalid datatype '{datatype}' for input '{tensor}'")
    return dtype


def name_of(dtype: np.dtype) -> str:
    """Return the datatype of an array; empty where the protocol has none."""
    return _NAME_OF.get(dtype, "")
