"""TensorProto to array and back, without an object per element.

Reading follows TensorFlow: raw `tensor_content` must have the exact length, and a typed list that is too short repeats
its last value. Writing composes wire bytes by hand, because the packed form of floats is the array's own memory and the
protobuf runtime would take every element through a Python object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from core.errors import Internal, InvalidArgument
from core.inference.dtypes import NUMPY_DTYPE, DataType, type_of
from core.inference.protobuf_wire import Piece, length_delimited, packed_varints, prefixed, tag, varint, varint_field
from core.protos import tensor_pb2

MAX_TENSOR_BYTES: Final = 2**31 - 1
"""A request may not make the server allocate more than one protobuf message could carry."""
LARGEST_REPETITION_BYTES: Final = 2**28
"""How much a short list of values may be stretched to: a few bytes of a request must not fill the memory."""
STRING_SLOT_BYTES: Final = 64
"""What a repeated string costs on its way to TensorFlow, in memory and in time."""
STRING_BYTES: Final = 24
"""What TensorFlow needs for an empty string."""
MAX_RANK: Final = 64
"""numpy's own limit."""
FEW_TO_READ: Final = 48
FEW_TO_WRITE: Final = 160
"""Up to here an object per element is cheaper than setting up array operations."""

_FIELD: Final[Mapping[int, str]] = MappingProxyType(
    {
        DataType.FLOAT: "float_val",
        DataType.DOUBLE: "double_val",
        DataType.INT32: "int_val",
        DataType.UINT8: "int_val",
        DataType.INT16: "int_val",
        DataType.INT8: "int_val",
        DataType.STRING: "string_val",
        DataType.COMPLEX64: "scomplex_val",
        DataType.INT64: "int64_val",
        DataType.BOOL: "bool_val",
        DataType.QINT8: "int_val",
        DataType.QUINT8: "int_val",
        DataType.QINT32: "int_val",
        DataType.BFLOAT16: "half_val",
        DataType.QINT16: "int_val",
        DataType.QUINT16: "int_val",
        DataType.UINT16: "int_val",
        DataType.COMPLEX128: "dcomplex_val",
        DataType.HALF: "half_val",
        DataType.UINT32: "uint32_val",
        DataType.UINT64: "uint64_val",
        DataType.FLOAT8_E5M2: "float8_val",
        DataType.FLOAT8_E4M3FN: "float8_val",
    }
)
_LIST_DTYPE: Final[Mapping[str, np.dtype]] = MappingProxyType(
    {
        "float_val": np.dtype(np.float32),
        "double_val": np.dtype(np.float64),
        "int_val": np.dtype(np.int32),
        "scomplex_val": np.dtype(np.float32),
        "int64_val": np.dtype(np.int64),
        "bool_val": np.dtype(np.bool_),
        "dcomplex_val": np.dtype(np.float64),
        "half_val": np.dtype(np.int32),
        "uint32_val": np.dtype(np.uint32),
        "uint64_val": np.dtype(np.uint64),
        "float8_val": np.dtype(np.uint8),
    }
)
_COMPLEX: Final = frozenset({"scomplex_val", "dcomplex_val"})
_REINTERPRETED: Final = _COMPLEX | {"half_val", "float8_val"}
_RAW_LISTS: Final = frozenset({"float_val", "double_val", "scomplex_val", "dcomplex_val", "bool_val", "float8_val"})
_TAG: Final[Mapping[str, bytes]] = MappingProxyType(
    {field.name: tag(field.number) for field in tensor_pb2.TensorProto.DESCRIPTOR.fields}
)
_DIM_TAG: Final = tag(2)
_DTYPE: Final[Mapping[int, np.dtype]] = MappingProxyType({int(kind): dtype for kind, dtype in NUMPY_DTYPE.items()})


def to_array(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Decode a tensor; numeric `tensor_content` is used in place, read-only."""
    kind = proto.dtype
    dtype = _DTYPE.get(kind)
    if dtype is None:
        raise InvalidArgument(f"Tensor has no usable dtype: {kind}")
    shape = _shape(proto.tensor_shape)
    count = _count(shape, STRING_BYTES if dtype.hasobject else dtype.itemsize)
    if not count:
        return np.empty(shape, dtype)
    content = proto.tensor_content
    return (_from_content(content, dtype, count) if content else _from_list(proto, kind, count)).reshape(shape)


def to_proto(array: np.ndarray, dtype: DataType | None = None, *, as_content: bool = False) -> tensor_pb2.TensorProto:
    """Encode an array as a message: fully expanded typed list, or raw `tensor_content`."""
    return tensor_pb2.TensorProto.FromString(b"".join(wire_pieces(array, dtype, as_content=as_content)))


def wire_pieces(array: np.ndarray, dtype: DataType | None = None, *, as_content: bool = False) -> list[Piece]:
    """Encode an array as the pieces of a serialized TensorProto; the large piece is the array's own memory.

    `dtype` tells apart types that share a numpy dtype (quantized ones); None takes the plain one.
    """
    kind = type_of(array) if dtype is None else dtype
    if kind not in _FIELD:
        raise Internal(f"Tensors of type {array.dtype} cannot be sent.")
    pieces: list[Piece] = [varint_field(1, kind), _shape_field(array.shape)]
    if array.size:
        pieces += _content(array) if as_content else _list(array, _FIELD[kind])
    return pieces


def bytes_array(strings: Sequence[bytes]) -> np.ndarray:
    """Make the 1-D array of a list of strings."""
    array = np.empty(len(strings), object)
    array[:] = strings
    return array


def _shape(proto: tensor_pb2.TensorShapeProto) -> tuple[int, ...]:
    if proto.unknown_rank or len(proto.dim) > MAX_RANK:
        raise InvalidArgument("Tensor has no fully defined shape")
    shape = tuple([dim.size for dim in proto.dim])  # a generator would double the time
    if shape and min(shape) < 0:
        raise InvalidArgument(f"Tensor has a negative dimension: {list(shape)}")
    return shape


def _count(shape: tuple[int, ...], itemsize: int) -> int:
    """Multiply the dimensions; zeros do not hide absurd neighbours, which numpy could not represent either."""
    if math.prod(filter(None, shape)) * itemsize > MAX_TENSOR_BYTES:
        raise InvalidArgument(f"Tensor is too large: {list(shape)}")
    return math.prod(shape)


def _from_content(content: bytes, dtype: np.dtype, count: int) -> np.ndarray:
    if dtype.hasobject:
        return bytes_array(_split_strings(content, count))
    if len(content) != count * dtype.itemsize:
        raise InvalidArgument(f"tensor_content has {len(content)} bytes, not {count * dtype.itemsize}")
    return np.frombuffer(content, dtype)


def _split_strings(content: bytes, count: int) -> list[bytes]:
    """Read TensorFlow's list of strings: all lengths as varints, then all bytes."""
    if count > len(content):
        raise InvalidArgument("tensor_content is too short for its strings")
    lengths, position = _read_varints(content, count)
    ends = list(accumulate(lengths, initial=position))
    if ends[-1] != len(content):
        raise InvalidArgument("tensor_content does not have the length of its strings")
    return [content[start:end] for start, end in pairwise(ends)]


def _read_varints(content: bytes, count: int) -> tuple[list[int], int]:
    values: list[int] = []
    position = value = shift = 0
    while len(values) < count:
        if position == len(content) or shift > 28:
            raise InvalidArgument("tensor_content has broken string lengths")
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            values.append(value)
            value = shift = 0
    return values, position


def _from_list(proto: tensor_pb2.TensorProto, kind: int, count: int) -> np.ndarray:
    field = _FIELD[kind]
    sent = getattr(proto, field)
    if field == "string_val":
        return _pad_strings(sent, count)
    values = _values(sent, _LIST_DTYPE[field])
    if field in _REINTERPRETED:
        return _pad(_reinterpret(values, field, _DTYPE[kind]), count)
    return _pad(values.astype(_DTYPE[kind], copy=False), count)


def _values(sent: Sequence[float] | bytes, dtype: np.dtype) -> np.ndarray:
    if isinstance(sent, bytes):
        return np.frombuffer(sent, dtype)
    size = len(sent)
    if size > FEW_TO_READ:
        return np.asarray(sent, dtype)
    few = sent[:]
    total = sum(few)
    # A Python float cannot hold the bits of a signalling float32 NaN; protobuf's own memory, which asarray reads, does.
    return np.fromiter(few, dtype, size) if total == total else np.asarray(sent, dtype)  # noqa: PLR0124


def _reinterpret(values: np.ndarray, field: str, dtype: np.dtype) -> np.ndarray:
    if field in _COMPLEX:
        return values[: values.size // 2 * 2].view(dtype)
    return values.astype(np.uint16 if field == "half_val" else np.uint8).view(dtype)


def _check_repetition(count: int, itemsize: int) -> None:
    if count * itemsize > LARGEST_REPETITION_BYTES:
        raise InvalidArgument(f"Tensor repeats its last value too often: {count} elements")


def _pad(values: np.ndarray, count: int) -> np.ndarray:
    if values.size >= count:
        return values if values.size == count else values[:count]
    _check_repetition(count, values.itemsize)
    padded = np.zeros(count, values.dtype)
    if values.size:
        padded[: values.size] = values
        padded[values.size :] = values[-1:]
    return padded


def _pad_strings(sent: Sequence[bytes], count: int) -> np.ndarray:
    if len(sent) < count:
        _check_repetition(count, STRING_SLOT_BYTES)
    strings = np.empty(count, object)
    known = sent[:count]
    strings[: len(known)] = known
    strings[len(known) :] = known[-1] if known else b""
    return strings


def _shape_field(shape: tuple[int, ...]) -> bytes:
    dims = b"".join(length_delimited(_DIM_TAG, varint_field(1, size) if size else b"") for size in shape)
    return length_delimited(_TAG["tensor_shape"], dims)


def _memory(array: np.ndarray) -> Piece:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _content(array: np.ndarray) -> list[Piece]:
    return prefixed(_TAG["tensor_content"], _join_strings(array) if array.dtype.hasobject else [_memory(array)])


def _join_strings(array: np.ndarray) -> list[Piece]:
    strings = array.ravel().tolist()
    return [b"".join(varint(len(string)) for string in strings), *strings]


def _list(array: np.ndarray, field: str) -> list[Piece]:
    if field in _RAW_LISTS:
        return prefixed(_TAG[field], [_memory(array)])
    flat = np.ascontiguousarray(array).reshape(-1)
    bits = flat.view(np.uint16) if field == "half_val" else flat
    if field == "string_val" or bits.size <= FEW_TO_WRITE:
        values: dict[str, Any] = {field: bits.tolist()}
        return [tensor_pb2.TensorProto(**values).SerializeToString()]
    return prefixed(_TAG[field], [packed_varints(bits)])
