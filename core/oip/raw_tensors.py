"""Raw tensors: little endian, row-major; of BYTES each element after its length (binary extension, raw contents).

A raw request is a body without JSON, with an `Inference-Header-Content-Length` of 0: all of it is the one input of the
model, whose shape follows from its size. Of BYTES it is one element, without its length.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from core.errors import InvalidArgument
from core.inference.giving_up import PORTION, go_on
from core.inference.protobuf_wire import Memory, Piece
from core.inference.signature import DEFAULT_SIGNATURE, ServedModel, TensorSpec
from core.inference.tensor_proto import STRING_BYTES, bytes_array
from core.oip.infer_plan import input_dtype, signature_called
from core.oip.infer_request import InferRequest, InputTensor, dimensions_text, element_count

_LENGTH: Final = struct.Struct("<I")
_VECTOR: Final = (-1,)


def raw_array(name: str, shape: Sequence[int], dtype: np.dtype, raw: Memory) -> np.ndarray:
    """Return the array of an input's raw bytes, read-only and in place; of BYTES a copy.

    Raises InvalidArgument where the bytes are not exactly those of the shape.
    """
    if dtype.hasobject:
        return _strings(name, shape, memoryview(raw))
    expected = element_count(name, shape, dtype.itemsize) * dtype.itemsize
    if len(raw) != expected:
        raise InvalidArgument(
            f"input '{name}' of shape {dimensions_text(shape)} has {expected} bytes, and {len(raw)} were sent"
        )
    if dtype.kind == "b" and expected and np.frombuffer(raw, np.uint8).max() > 1:
        # Another byte is neither true nor false to the runtime, whose comparisons would then contradict each other.
        raise InvalidArgument(f"input '{name}' of type BOOL has a byte that is neither 0 nor 1")
    array = np.frombuffer(raw, dtype).reshape(shape)
    if type(raw) is not bytes:
        array.flags.writeable = False
    return array


def raw_pieces(array: np.ndarray) -> list[Piece]:
    """Return the raw bytes of an array, in pieces; the memory of numbers is not copied."""
    if array.dtype.hasobject:
        return [part for string in array.ravel().tolist() for part in (_LENGTH.pack(len(string)), string)]
    return [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data] if array.size else []


def _strings(name: str, shape: Sequence[int], raw: memoryview) -> np.ndarray:
    count = element_count(name, shape, STRING_BYTES)
    if count * _LENGTH.size > len(raw):
        raise _wrong_count(name, shape)
    strings = np.empty(count, object)
    at = 0
    for index in range(count):
        if not index % PORTION:
            go_on()
        if at + _LENGTH.size > len(raw):
            raise _wrong_count(name, shape)
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(raw, at)[0]
        if at > len(raw):
            raise InvalidArgument(f"input '{name}': element {index} is longer than the bytes that were sent")
        strings[index] = bytes(raw[start:at])
    if at != len(raw):
        raise InvalidArgument(f"input '{name}' has {len(raw) - at} bytes behind its last element")
    return strings.reshape(shape)


def _wrong_count(name: str, shape: Sequence[int]) -> InvalidArgument:
    return InvalidArgument(f"input '{name}' of shape {dimensions_text(shape)} has fewer elements than its shape says")


def raw_request(model: ServedModel, raw: memoryview) -> InferRequest:
    """Read a raw request, for the default signature; raises InvalidArgument where the model leaves its meaning open.

    The batch has one row, and at most one other dimension may be unknown. A vector may have any size; an unknown rank,
    which metadata show as one, counts as one.
    """
    signature = signature_called(model, DEFAULT_SIGNATURE)
    names = [name for name in signature.inputs if name not in signature.defaults]
    if len(names) != 1:
        raise InvalidArgument(
            f"a request without JSON is for models with 1 input, and model '{model.name}' has {len(names)}"
        )
    (name,) = names
    spec = signature.inputs[name]
    dtype = input_dtype(model, name, spec)
    shape = _deduced_shape(name, spec, dtype, len(raw))
    if dtype.hasobject:
        return InferRequest((InputTensor(name, bytes_array([bytes(raw)]).reshape(shape)),))
    return InferRequest((InputTensor(name, raw_array(name, shape, dtype, raw)),))


def _deduced_shape(name: str, spec: TensorSpec, dtype: np.dtype, raw_bytes: int) -> list[int]:
    declared = _VECTOR if spec.shape is None else spec.shape
    shape = list(declared)
    if shape and shape[0] < 0 and (len(shape) > 1 or dtype.hasobject):
        shape[0] = 1
    if dtype.hasobject and shape and set(shape) != {1}:
        raise InvalidArgument(
            f"raw input '{name}' of type BYTES is one element, and the model's shape is {dimensions_text(declared)}"
        )
    unknown = [axis for axis, size in enumerate(shape) if size < 0]
    if len(unknown) > 1:
        raise InvalidArgument(
            f"the shape of raw input '{name}' cannot be deduced, as {dimensions_text(declared)} has more than one "
            "unknown dimension beside the batch"
        )
    for axis in unknown:
        row = math.prod(size for size in shape if size >= 0) * dtype.itemsize
        shape[axis] = raw_bytes // row if row else 0
    return shape
