"""Tests of typed contents, both ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.errors import InvalidArgument
from core.inference.protobuf_wire import length_delimited, tag, varint
from core.inference.tensor_proto import FEW_TO_WRITE, bytes_array
from core.oip.datatypes import NUMPY_OF
from core.oip.typed_contents import has_typed_form, typed_array, typed_pieces
from core.protos import oip_pb2

TYPED = [name for name in NUMPY_OF if has_typed_form(name)]
INTEGERS = [name for name in TYPED if NUMPY_OF[name].kind in "iu"]


def contents(**fields: Any) -> oip_pb2.InferTensorContents:
    return oip_pb2.InferTensorContents(**fields)


def read(datatype: str, shape: Any, sent: oip_pb2.InferTensorContents) -> np.ndarray:
    return typed_array("x", shape, datatype, NUMPY_OF[datatype], sent)


def written(datatype: str, array: np.ndarray) -> oip_pb2.InferTensorContents:
    return oip_pb2.InferTensorContents.FromString(b"".join(typed_pieces(datatype, array)))


def arrays(datatype: str, most: int = 4) -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=0, max_side=most)
    if datatype == "BYTES":
        return hnp.arrays(object, shapes, elements=st.binary(max_size=300))
    return hnp.arrays(NUMPY_OF[datatype], shapes)


@pytest.mark.parametrize("datatype", TYPED)
@given(data=st.data())
def test_every_value_comes_back(datatype, data) -> None:
    """Of every datatype that has a typed form, bit by bit."""
    array = data.draw(arrays(datatype))

    back = read(datatype, array.shape, written(datatype, array))

    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tolist() == array.tolist() if datatype == "BYTES" else back.tobytes() == array.tobytes()


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("count", [1, FEW_TO_WRITE, FEW_TO_WRITE + 1, 5000])
def test_long_and_short_lists_are_written_alike(datatype, count) -> None:
    """Also where numbers are negative, which take ten bytes each."""
    limits = np.iinfo(NUMPY_OF[datatype])
    array = np.resize(np.array([limits.min, limits.max, 0, 1], NUMPY_OF[datatype]), count)

    (field,) = [value for _, value in written(datatype, array).ListFields()]

    assert list(field) == array.tolist()


def test_the_memory_of_floats_is_not_copied() -> None:
    """It is joined into the answer only."""
    array = np.zeros(1000, np.float32)

    assert any(isinstance(piece, memoryview) and piece.obj is not None for piece in typed_pieces("FP32", array))
    assert any(np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in typed_pieces("FP32", array))


def test_an_array_that_is_not_contiguous_is_written_row_by_row() -> None:
    """As raw contents are."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T

    assert list(written("FP32", array).fp32_contents) == [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_has_no_typed_form(datatype) -> None:
    """No field could hold it."""
    assert not has_typed_form(datatype)
    with pytest.raises(InvalidArgument, match=f"input 'x' of type {datatype} must be in raw_input_contents"):
        read(datatype, (1,), contents(fp32_contents=[1.0]))


@pytest.mark.parametrize(
    ("datatype", "sent", "field", "other"),
    [
        ("FP32", {"fp64_contents": [1.0]}, "fp32_contents", "fp64_contents"),
        ("FP64", {"fp32_contents": [1.0]}, "fp64_contents", "fp32_contents"),
        ("INT32", {"int64_contents": [1]}, "int_contents", "int64_contents"),
        ("INT64", {"int_contents": [1]}, "int64_contents", "int_contents"),
        ("UINT8", {"int_contents": [1]}, "uint_contents", "int_contents"),
        ("UINT64", {"uint_contents": [1]}, "uint64_contents", "uint_contents"),
        ("BOOL", {"int_contents": [1]}, "bool_contents", "int_contents"),
        ("BYTES", {"uint_contents": [1]}, "bytes_contents", "uint_contents"),
        ("INT8", {"int_contents": [1], "bytes_contents": [b"\1"]}, "int_contents", "bytes_contents"),
    ],
)
def test_contents_in_the_field_of_another_datatype_are_refused(datatype, sent, field, other) -> None:
    """Also beside those in the right one."""
    with pytest.raises(InvalidArgument, match=f"input 'x' of type {datatype} must be in {field}, and not in {other}"):
        read(datatype, (1,), contents(**sent))


@pytest.mark.parametrize(
    ("datatype", "values", "told"),
    [
        ("INT8", [0, 300], "has 300 as element 1, and holds -128 to 127"),
        ("INT8", [-129], "has -129 as element 0, and holds -128 to 127"),
        ("INT16", [2**15], "has 32768 as element 0, and holds -32768 to 32767"),
        ("UINT8", [1, 2, 256], "has 256 as element 2, and holds 0 to 255"),
        ("UINT16", [2**32 - 1], "has 4294967295 as element 0, and holds 0 to 65535"),
    ],
)
def test_a_number_that_the_datatype_cannot_hold_is_refused(datatype, values, told) -> None:
    """No bits are cut off."""
    field = "uint_contents" if datatype.startswith("U") else "int_contents"

    with pytest.raises(InvalidArgument, match=f"input 'x' of type {datatype} {told}"):
        read(datatype, (len(values),), contents(**{field: values}))


@pytest.mark.parametrize(("shape", "said"), [((), 1), ((3,), 3), ((2, 2), 4), ((0,), 0)])
def test_another_number_of_elements_than_that_of_the_shape_is_refused(shape, said) -> None:
    """Both numbers are told."""
    with pytest.raises(InvalidArgument, match=f"has 2 elements in fp32_contents, and its shape says {said}"):
        read("FP32", shape, contents(fp32_contents=[1.0, 2.0]))


@pytest.mark.parametrize("datatype", TYPED)
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 5)])
def test_an_empty_tensor_has_no_contents(datatype, shape) -> None:
    """Neither in a request nor in an answer."""
    assert read(datatype, shape, contents()).shape == shape
    assert typed_pieces(datatype, np.empty(shape, NUMPY_OF[datatype])) == []


def test_a_scalar_has_one_element() -> None:
    """Its shape is empty."""
    assert read("INT64", (), contents(int64_contents=[-7])) == -7


@pytest.mark.parametrize("bits", [0x7F800001, 0xFFC12345, 0x7F800000, 0x80000000])
def test_the_bits_of_a_float_are_kept(bits) -> None:
    """Also those of a signalling NaN, which a Python float cannot hold."""
    raw = np.array([bits], np.uint32).view(np.float32)

    back = read("FP32", (1,), written("FP32", raw))

    assert back.view(np.uint32).tolist() == [bits]


def test_packed_and_unpacked_numbers_are_both_read() -> None:
    """Either may come, also mixed; fields that nobody knows are skipped."""
    one = np.array([1.0], np.float32).tobytes()
    raw = tag(6, 5) + one + length_delimited(tag(6), one * 2) + length_delimited(tag(99), b"unknown") + tag(6, 5) + one
    numbers = tag(2, 0) + varint(5) + length_delimited(tag(2), varint(-1) + varint(300))

    parsed = oip_pb2.InferTensorContents.FromString(raw)
    integers = oip_pb2.InferTensorContents.FromString(numbers)

    assert read("FP32", (4,), parsed).tolist() == [1.0] * 4
    assert read("INT32", (3,), integers).tolist() == [5, -1, 300]


def test_strings_may_hold_any_bytes() -> None:
    """Zero bytes, no UTF-8, and none at all."""
    strings = [b"", b"\0\0", b"\xff\xfe", b"a" * 1000]

    assert read("BYTES", (2, 2), contents(bytes_contents=strings)).ravel().tolist() == strings
    assert list(written("BYTES", bytes_array(strings)).bytes_contents) == strings
