"""Typed contents of gRPC: each datatype has a repeated field of a message; numbers may be packed or not.

Long lists of numbers are read and written without an object per element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from core.errors import InvalidArgument
from core.inference.giving_up import patiently
from core.inference.protobuf_wire import Piece, length_delimited, packed_varints, prefixed, tag, varint
from core.inference.tensor_proto import FEW_TO_WRITE, bytes_array
from core.oip.datatypes import BYTES
from core.oip.infer_request import element_count
from core.protos import oip_pb2

_FIELD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        BYTES: "bytes_contents",
    }
)
"""The field of each datatype; FP16 and BF16 have none."""
_TAG: Final[Mapping[str, bytes]] = MappingProxyType(
    {field.name: tag(field.number) for field in oip_pb2.InferTensorContents.DESCRIPTOR.fields}
)
_AS_MEMORY: Final = "bf"
"""The kinds of numpy dtypes whose packed form is the memory of an array."""
_CHECKED: Final = frozenset({"INT8", "INT16", "UINT8", "UINT16"})
"""Datatypes that are smaller than the numbers of their field."""


def has_typed_form(datatype: str) -> bool:
    """Whether typed contents can hold a datatype."""
    return datatype in _FIELD


def typed_array(
    name: str, shape: Sequence[int], datatype: str, dtype: np.dtype, contents: oip_pb2.InferTensorContents
) -> np.ndarray:
    """Return the array of an input's typed contents; `dtype` is that of the datatype.

    Raises InvalidArgument for a datatype without a typed form, for contents in another field than that of the datatype,
    for another count than that of the shape, and for numbers that the datatype cannot hold.
    """
    field = _FIELD.get(datatype)
    if field is None:
        raise InvalidArgument(f"input '{name}' of type {datatype} must be in raw_input_contents")
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise InvalidArgument(f"input '{name}' of type {datatype} must be in {field}, and not in {descriptor.name}")
    sent = getattr(contents, field)
    count = element_count(name, shape, dtype.itemsize)
    if len(sent) != count:
        raise InvalidArgument(f"input '{name}' has {len(sent)} elements in {field}, and its shape says {count}")
    return _array(name, datatype, dtype, sent).reshape(shape)


def _array(name: str, datatype: str, dtype: np.dtype, sent: Any) -> np.ndarray:
    if dtype.hasobject:
        return bytes_array(sent)
    # The protobuf runtime gives numpy its memory, in which also the bits of a signalling NaN are kept.
    if datatype not in _CHECKED:
        return np.asarray(sent, dtype)
    array = np.asarray(sent, np.int64)
    _check_range(name, datatype, dtype, array)
    return array.astype(dtype)


def _check_range(name: str, datatype: str, dtype: np.dtype, array: np.ndarray) -> None:
    limits = np.iinfo(dtype)
    wrong = np.flatnonzero((array < limits.min) | (array > limits.max))
    if wrong.size:
        index = int(wrong[0])
        raise InvalidArgument(
            f"input '{name}' of type {datatype} has {array[index]} as element {index}, and holds {limits.min} to "
            f"{limits.max}"
        )


def typed_pieces(datatype: str, array: np.ndarray) -> list[Piece]:
    """Return the pieces of the contents message of an array; the memory of floats is not copied."""
    if not array.size:
        return []
    key = _TAG[_FIELD[datatype]]
    if array.dtype.hasobject:
        return [length_delimited(key, one) for one in patiently(array.ravel().tolist())]
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind in _AS_MEMORY:
        return prefixed(key, [flat.view(np.uint8).data])
    packed = b"".join(map(varint, flat.tolist())) if flat.size <= FEW_TO_WRITE else packed_varints(flat)
    return [length_delimited(key, packed)]
