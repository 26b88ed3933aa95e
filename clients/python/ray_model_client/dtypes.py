"""The types of tensors: TensorFlow's numbers, version 2's names, and numpy's dtypes.

bfloat16 and the 8-bit floats are ml-dtypes' where that package is installed. Without it, bfloat16 is read as float32,
which holds all of its values, and neither is sent.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ray_model_client.values import Code, ServerError


@dataclass(frozen=True)
class ElementType:
    """One type: TensorFlow's number and name, version 2's name (empty: none), and the field of a TensorProto's values.

    `dtype` is None where it needs ml-dtypes, and that is not here.
    """

    number: int
    name: str
    datatype: str
    dtype: np.dtype | None
    field: int


def _extension_dtype(name: str) -> np.dtype | None:
    try:
        dtype: np.dtype = np.dtype(getattr(importlib.import_module("ml_dtypes"), name))
    except (ImportError, AttributeError):
        return None
    return dtype


_INT, _HALF, _FLOAT8 = 7, 13, 18
_TYPES = (
    ElementType(1, "float", "FP32", np.dtype("<f4"), 5),
    ElementType(2, "double", "FP64", np.dtype("<f8"), 6),
    ElementType(3, "int32", "INT32", np.dtype("<i4"), _INT),
    ElementType(4, "uint8", "UINT8", np.dtype("u1"), _INT),
    ElementType(5, "int16", "INT16", np.dtype("<i2"), _INT),
    ElementType(6, "int8", "INT8", np.dtype("i1"), _INT),
    ElementType(7, "string", "BYTES", np.dtype(object), 8),
    ElementType(8, "complex64", "", np.dtype("<c8"), 9),
    ElementType(9, "int64", "INT64", np.dtype("<i8"), 10),
    ElementType(10, "bool", "BOOL", np.dtype("?"), 11),
    ElementType(11, "qint8", "", np.dtype("i1"), _INT),
    ElementType(12, "quint8", "", np.dtype("u1"), _INT),
    ElementType(13, "qint32", "", np.dtype("<i4"), _INT),
    ElementType(14, "bfloat16", "BF16", _extension_dtype("bfloat16"), _HALF),
    ElementType(15, "qint16", "", np.dtype("<i2"), _INT),
    ElementType(16, "quint16", "", np.dtype("<u2"), _INT),
    ElementType(17, "uint16", "UINT16", np.dtype("<u2"), _INT),
    ElementType(18, "complex128", "", np.dtype("<c16"), 12),
    ElementType(19, "half", "FP16", np.dtype("<f2"), _HALF),
    ElementType(22, "uint32", "UINT32", np.dtype("<u4"), 16),
    ElementType(23, "uint64", "UINT64", np.dtype("<u8"), 17),
    ElementType(24, "float8_e5m2", "", _extension_dtype("float8_e5m2"), _FLOAT8),
    ElementType(25, "float8_e4m3fn", "", _extension_dtype("float8_e4m3fn"), _FLOAT8),
)
OTHER_NAMES: Mapping[int, str] = MappingProxyType(
    {
        0: "invalid",
        20: "resource",
        21: "variant",
        26: "float8_e4m3fnuz",
        27: "float8_e4m3b11fnuz",
        28: "float8_e5m2fnuz",
        29: "int4",
        30: "uint4",
        31: "int2",
        32: "uint2",
        33: "float4_e2m1fn",
    }
)
"""Types of graphs that no request carries."""

BFLOAT16 = 14
_BY_NUMBER = {one.number: one for one in _TYPES}
_BY_DATATYPE = {one.datatype: one for one in _TYPES if one.datatype}
_BY_DTYPE = {one.dtype: one for one in reversed(_TYPES) if one.dtype is not None}


def type_of(array: np.ndarray, name: str) -> ElementType:
    """Return the type of an array that is to be sent; raises TypeError where servers have none."""
    found = _BY_DTYPE.get(array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype)
    if found is None:
        raise TypeError(f"{name!r} is an array of {array.dtype}, which model servers do not know.")
    return found


def type_numbered(number: int) -> ElementType:
    """Return the type of a tensor that came; raises ServerError (UNIMPLEMENTED) for those that cannot be read."""
    found = _BY_NUMBER.get(number)
    if found is None or (found.dtype is None and number != BFLOAT16):
        raise _unreadable(type_name(number))
    return found


def type_called(datatype: str) -> ElementType:
    """Return the type of version 2's name; raises as `type_numbered` does."""
    found = _BY_DATATYPE.get(datatype)
    if found is None:
        raise _unreadable(datatype)
    return found


def type_name(number: int) -> str:
    """Return TensorFlow's name of a type; of a reference to a variable (100 more) that of its value."""
    number = number - 100 if number > 100 else number
    found = _BY_NUMBER.get(number)
    return OTHER_NAMES.get(number, f"type {number}") if found is None else found.name


def _unreadable(name: str) -> ServerError:
    hint = " Install ml-dtypes to read it." if name.startswith("float8_e") else ""
    return ServerError(Code.UNIMPLEMENTED, f"The answer has a tensor of type {name}, which cannot be read.{hint}")


def widened(bits: np.ndarray) -> np.ndarray:
    """Return bfloat16 values, given as uint16, as float32: these are its upper halves."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
