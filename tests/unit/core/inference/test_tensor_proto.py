"""Tests of the conversion between TensorProto and arrays."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.errors import Internal, InvalidArgument
from core.inference.dtypes import NUMPY_DTYPE, DataType
from core.inference.protobuf_wire import FIXED32, length_delimited, tag, varint, varint_field
from core.inference.tensor_proto import (
    LARGEST_REPETITION_BYTES,
    STRING_SLOT_BYTES,
    to_array,
    to_proto,
    wire_pieces,
)
from core.protos import tensor_pb2

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
NUMERIC = [kind for kind in NUMPY_DTYPE if kind is not DataType.STRING]


def proto(kind: DataType, *dims: int, **values) -> tensor_pb2.TensorProto:
    made = tensor_pb2.TensorProto(dtype=int(kind), **values)
    for size in dims:
        made.tensor_shape.dim.add(size=size)
    return made


@st.composite
def numeric_arrays(draw) -> tuple[DataType, np.ndarray]:
    kind = draw(st.sampled_from(NUMERIC))
    dtype = NUMPY_DTYPE[kind]
    shape = draw(SHAPES)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if dtype == np.bool_:
        raw = bytes(byte & 1 for byte in raw)
    return kind, np.frombuffer(raw, dtype).reshape(shape)


@given(numeric_arrays(), st.booleans())
@example(pair=(DataType.FLOAT, np.array([0x7F800001], np.uint32).view(np.float32)), as_content=False)
def test_numbers_survive_the_round_trip_bit_for_bit(pair, as_content) -> None:
    """Every dtype and shape comes back as it was, NaN payloads included, in both encodings."""
    kind, array = pair

    back = to_array(to_proto(array, kind, as_content=as_content))

    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


BITS = {
    DataType.FLOAT: (np.uint32, [0x7F800001, 0xFF800001, 0x7FC00001, 0x7F800000, 0x80000000, 0x00000001]),
    DataType.DOUBLE: (np.uint64, [0x7FF0000000000001, 0xFFF0000000000001, 0x7FF8000000000001, 2**63, 1]),
    DataType.HALF: (np.uint16, [0x7C01, 0xFC01, 0x7E01, 0x7C00, 0x8000, 0x0001]),
    DataType.BFLOAT16: (np.uint16, [0x7F81, 0xFF81, 0x7FC1, 0x7F80, 0x8000, 0x0001]),
    DataType.COMPLEX64: (np.uint32, [0x7F800001, 0x3F800000, 0x3F800000, 0xFF800001, 0x80000000, 0x00000001]),
    DataType.COMPLEX128: (np.uint64, [0x7FF0000000000001, 1, 2**63, 0xFFF0000000000001]),
    DataType.FLOAT8_E5M2: (np.uint8, [0x7D, 0xFD, 0x7E, 0x7C, 0x80, 0x01]),
    DataType.FLOAT8_E4M3FN: (np.uint8, [0x7F, 0xFF, 0x7E, 0x80, 0x01]),
}
"""Signalling and quiet NaNs with payloads, infinity, minus zero, the smallest number, as bits."""

NUMBER_OF_LIST = {
    DataType.FLOAT: 5,
    DataType.DOUBLE: 6,
    DataType.COMPLEX64: 9,
    DataType.COMPLEX128: 12,
    DataType.HALF: 13,
    DataType.BFLOAT16: 13,
    DataType.FLOAT8_E5M2: 18,
    DataType.FLOAT8_E4M3FN: 18,
}
CONTENT = 4


def special(kind: DataType, repetitions: int) -> np.ndarray:
    """Make the special values of a type, several times over."""
    bits, values = BITS[kind]
    return np.array(values * repetitions, bits).view(NUMPY_DTYPE[kind])


def written_by_another(kind: DataType, count: int, field: int, payload: bytes) -> tensor_pb2.TensorProto:
    """Make the message that a client sends which never holds its numbers as floats of Python."""
    head = varint_field(1, kind) + length_delimited(tag(2), length_delimited(tag(2), varint_field(1, count)))
    return tensor_pb2.TensorProto.FromString(head + length_delimited(tag(field), payload))


def typed_payload(kind: DataType, array: np.ndarray) -> bytes:
    """Write the payload of a typed list: memory, but varints of the 16-bit types."""
    if NUMBER_OF_LIST[kind] == 13:
        return b"".join(map(varint, array.view(np.uint16).tolist()))
    return array.tobytes()


bits_of_types = pytest.mark.parametrize("kind", BITS, ids=lambda kind: kind.label)
few_and_many = pytest.mark.parametrize("repetitions", [1, 20], ids=["few", "many"])


@bits_of_types
@few_and_many
@pytest.mark.parametrize("as_content", [True, False], ids=["content", "typed"])
def test_special_values_are_read_with_all_their_bits(kind, repetitions, as_content) -> None:
    """A signalling NaN stays one, as in TensorFlow, which copies memory."""
    array = special(kind, repetitions)
    field, payload = (CONTENT, array.tobytes()) if as_content else (NUMBER_OF_LIST[kind], typed_payload(kind, array))

    read = to_array(written_by_another(kind, array.size, field, payload))

    assert read.tobytes() == array.tobytes()


@bits_of_types
@few_and_many
@pytest.mark.parametrize("as_content", [True, False], ids=["content", "typed"])
def test_special_values_are_written_with_all_their_bits(kind, repetitions, as_content) -> None:
    """In the bytes that leave the server, and in the message of the Python client."""
    array = special(kind, repetitions)
    field, payload = (CONTENT, array.tobytes()) if as_content else (NUMBER_OF_LIST[kind], typed_payload(kind, array))
    expected = written_by_another(kind, array.size, field, payload).SerializeToString()

    assert b"".join(wire_pieces(array, kind, as_content=as_content)) == expected
    assert to_proto(array, kind, as_content=as_content).SerializeToString() == expected


@bits_of_types
def test_a_special_value_is_repeated_with_all_its_bits(kind) -> None:
    """The last value of a list that is too short."""
    array = special(kind, 1)[:1]

    read = to_array(written_by_another(kind, 3, NUMBER_OF_LIST[kind], typed_payload(kind, array)))

    assert read.tobytes() == array.tobytes() * 3


def test_floats_that_are_not_packed_are_read_with_all_their_bits() -> None:
    """Old clients send each number as a field of its own."""
    array = special(DataType.FLOAT, 1)
    fields = b"".join(tag(5, FIXED32) + number.tobytes() for number in array)
    dims = length_delimited(tag(2), length_delimited(tag(2), varint_field(1, array.size)))

    read = to_array(tensor_pb2.TensorProto.FromString(varint_field(1, DataType.FLOAT) + dims + fields))

    assert read.tobytes() == array.tobytes()


def test_infinities_of_both_signs_in_one_list_are_read_as_they_are() -> None:
    """Their sum is not a number, but they are."""
    assert to_array(proto(DataType.FLOAT, 2, float_val=[np.inf, -np.inf])).tolist() == [np.inf, -np.inf]


@given(hnp.arrays(object, SHAPES, elements=st.binary(max_size=300)), st.booleans())
@example(array=np.array([b"", b"a" * 127, b"a" * 128, b"\xff\0"], object), as_content=True)
@example(array=np.array([b"", b"a" * 127, b"a" * 128, b"\xff\0"], object), as_content=False)
def test_strings_survive_the_round_trip(array, as_content) -> None:
    """Strings are bytes of any length, in both encodings."""
    back = to_array(to_proto(array, as_content=as_content))

    assert back.shape == array.shape
    assert back.ravel().tolist() == array.ravel().tolist()


@pytest.mark.parametrize("kind", NUMERIC)
@pytest.mark.parametrize("size", [1, 47, 48, 49, 160, 161, 2000])
def test_small_and_large_tensors_are_written_alike(kind, size) -> None:
    """The sizes at which another way of conversion takes over are invisible."""
    array = np.arange(size).astype(np.uint8).astype(NUMPY_DTYPE[kind])

    back = to_array(to_proto(array, kind))

    assert back.tobytes() == array.tobytes()


@given(st.binary(min_size=8, max_size=400), st.integers(0, 63))
@example(b"\xff" * 8, 0)
@example(b"\0" * 7 + b"\x80" + b"\xff" * 7 + b"\x7f", 0)
@example(b"\0" * 7 + b"\x80", 31)
def test_large_integer_lists_equal_the_protobuf_runtimes(raw, shift) -> None:
    """Hand-made varints are the bytes that protobuf itself writes."""
    array = np.resize(np.frombuffer(raw[: len(raw) // 8 * 8], np.int64) >> shift, 200)
    expected = proto(DataType.INT64, 200, int64_val=array.tolist())

    assert b"".join(wire_pieces(array)) == expected.SerializeToString()


def test_a_scalar_has_an_empty_shape_message() -> None:
    """TensorFlow writes the shape of a scalar too."""
    written = to_proto(np.array(1.5, np.float32))

    assert written.HasField("tensor_shape")
    assert written == proto(DataType.FLOAT, float_val=[1.5], tensor_shape={})


def test_a_missing_shape_means_a_scalar() -> None:
    """A client may leave the shape of a scalar out."""
    array = to_array(proto(DataType.FLOAT, float_val=[2.5]))

    assert array.shape == ()
    assert array == 2.5


def test_an_array_in_any_memory_order_is_written_in_row_order() -> None:
    """Transposed and strided arrays are no special case for callers."""
    array = np.arange(6, dtype=np.int64).reshape(2, 3).T[::-1]

    for as_content in (False, True):
        assert to_array(to_proto(array, as_content=as_content)).tolist() == array.tolist()


def test_content_is_used_in_place() -> None:
    """A large numeric content is not copied a second time."""
    content = bytes(4000)

    assert not to_array(proto(DataType.FLOAT, 1000, tensor_content=content)).flags.owndata


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (DataType.FLOAT, {"float_val": [1.0, 2.0]}, [1.0, 2.0, 2.0, 2.0]),
        (DataType.DOUBLE, {"double_val": [1.0]}, [1.0, 1.0, 1.0, 1.0]),
        (DataType.INT64, {}, [0, 0, 0, 0]),
        (DataType.BOOL, {"bool_val": [True]}, [True, True, True, True]),
        (DataType.STRING, {"string_val": [b"a", b"b"]}, [b"a", b"b", b"b", b"b"]),
        (DataType.STRING, {}, [b"", b"", b"", b""]),
        (DataType.INT32, {"int_val": [1, 2, 3, 4, 5, 6]}, [1, 2, 3, 4]),
        (DataType.STRING, {"string_val": [b"a"] * 6}, [b"a"] * 4),
        (DataType.COMPLEX64, {"scomplex_val": [1, 2, 3, 4]}, [1 + 2j, 3 + 4j, 3 + 4j, 3 + 4j]),
        (DataType.COMPLEX128, {"dcomplex_val": [1, 2, 3]}, [1 + 2j] * 4),
        (DataType.HALF, {"half_val": [0x3C00]}, [1.0] * 4),
        (DataType.UINT32, {"uint32_val": [2**32 - 1]}, [2**32 - 1] * 4),
        (DataType.UINT64, {"uint64_val": [2**64 - 1]}, [2**64 - 1] * 4),
        (DataType.FLOAT, {"int_val": [7]}, [0.0] * 4),
    ],
)
def test_a_typed_list_of_another_length_is_filled_or_cut(kind, values, expected) -> None:
    """The last value repeats, nothing means zeros or empty strings, surplus is ignored."""
    assert to_array(proto(kind, 2, 2, **values)).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        (DataType.UINT8, 300, 44),
        (DataType.INT8, 200, -56),
        (DataType.INT16, 70000, 4464),
        (DataType.UINT16, -1, 65535),
        (DataType.QINT8, 129, -127),
    ],
)
def test_small_integers_wrap_around(kind, sent, expected) -> None:
    """A value outside of the type is cast as C casts."""
    assert to_array(proto(kind, int_val=[sent])) == expected


def test_bfloat16_is_sent_as_raw_bits() -> None:
    """bfloat16 shares the list of half."""
    assert to_array(proto(DataType.BFLOAT16, half_val=[0x3F80])) == ml_dtypes.bfloat16(1.0)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(proto(DataType.INVALID, 1, float_val=[1]), id="no dtype"),
        pytest.param(proto(DataType.RESOURCE, 1), id="resource"),
        pytest.param(proto(DataType.VARIANT), id="variant"),
        pytest.param(proto(DataType.INT4, 1), id="type without numpy counterpart"),
        pytest.param(tensor_pb2.TensorProto.FromString(b"\x08\xe7\x07"), id="dtype from the future"),
        pytest.param(proto(DataType.FLOAT, tensor_shape={"unknown_rank": True}), id="unknown rank"),
        pytest.param(proto(DataType.FLOAT, 2, -1, float_val=[1]), id="negative dimension"),
        pytest.param(proto(DataType.FLOAT, *[1] * 65, float_val=[1]), id="rank beyond numpy"),
        pytest.param(proto(DataType.FLOAT, 2**40, float_val=[1]), id="absurd size"),
        pytest.param(proto(DataType.FLOAT, 2**62, 2**62, float_val=[1]), id="overflow"),
        pytest.param(proto(DataType.FLOAT, 0, 2**62, 2**62), id="overflow beside zero"),
        pytest.param(proto(DataType.STRING, 2**28, string_val=[b""]), id="too many strings"),
        pytest.param(proto(DataType.FLOAT, 2, tensor_content=bytes(7)), id="short content"),
        pytest.param(proto(DataType.FLOAT, 2, tensor_content=bytes(9)), id="long content"),
        pytest.param(proto(DataType.STRING, 3, tensor_content=b"\x00\x00"), id="fewer lengths than strings"),
        pytest.param(proto(DataType.STRING, 1, tensor_content=b"\x05abc"), id="string longer than content"),
        pytest.param(proto(DataType.STRING, 1, tensor_content=b"\x01abc"), id="bytes left over"),
        pytest.param(proto(DataType.STRING, 1, tensor_content=b"\x80"), id="length cut off"),
        pytest.param(proto(DataType.STRING, 1, tensor_content=b"\xff" * 12), id="length without end"),
    ],
)
def test_what_cannot_be_a_tensor_is_refused(broken) -> None:
    """Broken tensors are the caller's mistake, never a crash."""
    with pytest.raises(InvalidArgument):
        to_array(broken)


def test_a_refused_size_costs_no_memory() -> None:
    """A few bytes on the wire cannot make the server reserve gigabytes."""
    claimed = proto(DataType.FLOAT, 2**40, float_val=[1])
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument):
            to_array(claimed)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_the_content_of_an_empty_tensor_is_ignored() -> None:
    """Without elements nothing is read."""
    assert to_array(proto(DataType.FLOAT, 0, 3, tensor_content=b"x")).shape == (0, 3)


@given(st.binary(max_size=64), st.sampled_from(list(DataType)), st.lists(st.integers(-2, 5), max_size=3))
def test_any_content_gives_a_tensor_or_a_refusal(content, kind, dims) -> None:
    """Arbitrary content never escapes as another exception."""
    claimed = proto(kind, *dims, tensor_content=content)
    try:
        array = to_array(claimed)
    except InvalidArgument:
        return

    assert array.shape == tuple(dims)


def test_an_array_without_tensorflow_type_is_our_defect() -> None:
    """A date never comes out of a model."""
    with pytest.raises(Internal, match="datetime64"):
        to_proto(np.array(["2020-01-01"], "datetime64[D]"))


@pytest.mark.parametrize(
    ("kind", "values", "largest"),
    [
        (DataType.FLOAT, {"float_val": [1.0]}, LARGEST_REPETITION_BYTES // 4),
        (DataType.INT64, {}, LARGEST_REPETITION_BYTES // 8),
        (DataType.BOOL, {"bool_val": [True, False]}, LARGEST_REPETITION_BYTES),
        (DataType.STRING, {"string_val": [b"a"]}, LARGEST_REPETITION_BYTES // STRING_SLOT_BYTES),
        (DataType.STRING, {}, LARGEST_REPETITION_BYTES // STRING_SLOT_BYTES),
    ],
)
def test_a_short_list_is_not_stretched_without_bounds(kind, values, largest) -> None:
    """Some bytes of a request must not fill the server's memory; a tensor that is sent whole may be larger."""
    with pytest.raises(InvalidArgument, match="repeats its last value too often"):
        to_array(proto(kind, largest + 1, **values))

    assert to_array(proto(kind, largest // 64, **values)).size == largest // 64
