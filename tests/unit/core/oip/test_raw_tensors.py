"""Tests of raw tensors, and of requests that are nothing else."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import Signature
from core.inference.tensor_proto import bytes_array
from core.oip.datatypes import NUMPY_OF
from core.oip.raw_tensors import raw_array, raw_pieces, raw_request
from tests.support.oip_bodies import identity
from tests.support.served_models import spec, with_signature

OBJECT = np.dtype(object)


def raw(array: np.ndarray) -> bytes:
    return b"".join(raw_pieces(array))


def refusal(shape: list[int], dtype: np.dtype | type, sent: bytes) -> str:
    with pytest.raises(InvalidArgument) as caught:
        raw_array("x", shape, np.dtype(dtype), sent)
    return str(caught.value)


@pytest.mark.parametrize("datatype", [name for name in NUMPY_OF if name != "BYTES"])
@given(st.data())
def test_c_numbers_of_every_datatype_come_back_bit_for_bit(datatype: str, data: st.DataObject) -> None:
    """Also NaNs with their payload, and empty tensors."""
    dtype = NUMPY_OF[datatype]
    shape = data.draw(arrays.array_shapes(min_dims=0, min_side=0, max_side=4))
    size = int(np.prod(shape)) * dtype.itemsize
    bits = st.integers(0, 1) if datatype == "BOOL" else st.integers(0, 255)
    sent = bytes(data.draw(st.lists(bits, min_size=size, max_size=size)))

    array = raw_array("x", shape, dtype, sent)

    assert array.shape == shape
    assert array.dtype == dtype
    assert raw(array) == sent


@given(st.lists(st.binary(max_size=5), max_size=5))
def test_g_strings_come_back_byte_for_byte(strings: list[bytes]) -> None:
    """Zero bytes, empty strings and what is not UTF-8."""
    array = raw_array("x", (len(strings), 1), OBJECT, raw(bytes_array(strings)))

    assert array.shape == (len(strings), 1)
    assert array.ravel().tolist() == strings


def test_numbers_are_little_endian_and_row_major() -> None:
    """Fortran's order is a matter of memory, not of the wire."""
    array = raw_array("x", [2, 2], np.dtype(np.int16), struct.pack("<4h", 1, 2, 3, 4))

    assert array.tolist() == [[1, 2], [3, 4]]
    assert raw(np.asfortranarray(array)) == struct.pack("<4h", 1, 2, 3, 4)
    assert raw(array[:, 1]) == struct.pack("<2h", 2, 4)


def test_numbers_are_not_copied() -> None:
    """Neither on the way in, from memory at any address, nor on the way out."""
    memory = memoryview(bytearray(9))[1:]

    array = raw_array("x", [2], np.dtype(np.float32), memory)
    (piece,) = raw_pieces(array)

    assert np.shares_memory(array, np.frombuffer(memory, np.uint8))
    assert np.shares_memory(array, np.frombuffer(piece, np.uint8))


@pytest.mark.parametrize(
    ("shape", "dtype", "sent", "words"),
    [
        ([2], np.float32, b"1234567", "input 'x' of shape [2] has 8 bytes, and 7 were sent"),
        ([2], np.float32, b"123456789", "input 'x' of shape [2] has 8 bytes, and 9 were sent"),
        ([], np.int64, b"", "input 'x' of shape [] has 8 bytes, and 0 were sent"),
        ([0], np.int8, b"1", "input 'x' of shape [0] has 0 bytes, and 1 were sent"),
        ([2], np.bool_, b"\1\2", "input 'x' of type BOOL has a byte that is neither 0 nor 1"),
        ([-1], np.int8, b"1", "input 'x' has a negative dimension: [-1]"),
        ([2**40], np.int8, b"1", "is larger than 2147483647 bytes"),
        ([2**62, 2**62], object, b"1", "is larger than 2147483647 bytes"),
        ([1] * 65, np.int8, b"1", "input 'x' has 65 dimensions; 64 are possible"),
        ([2], object, b"\0\0\0\0", "input 'x' of shape [2] has fewer elements than its shape says"),
        ([2], object, b"\4\0\0\0abcd", "input 'x' of shape [2] has fewer elements than its shape says"),
        ([1], object, b"\5\0\0\0abcd", "input 'x': element 0 is longer than the bytes that were sent"),
        ([1], object, b"\xff\xff\xff\xffabcd", "input 'x': element 0 is longer than the bytes that were sent"),
        ([1], object, b"\0\0\0\0abc", "input 'x' has 3 bytes behind its last element"),
        ([0], object, b"\0\0\0\0", "input 'x' has 4 bytes behind its last element"),
    ],
)
def test_f_bytes_are_exactly_those_of_the_shape(shape: list[int], dtype: type, sent: bytes, words: str) -> None:
    """The text names the input and both numbers."""
    assert words in refusal(shape, dtype, sent)


def raw_refusal(model, sent: bytes = b"") -> str:
    with pytest.raises(InvalidArgument) as caught:
        raw_request(model, memoryview(sent))
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "numbers", "deduced"),
    [
        pytest.param((-1,), 1, (1,), id="a number"),
        pytest.param((-1,), 3, (3,), id="a vector"),
        pytest.param(None, 3, (3,), id="an unknown rank"),
        pytest.param((-1, 3), 3, (1, 3), id="a batch of rows"),
        pytest.param((-1, -1), 5, (1, 5), id="one unknown dimension"),
        pytest.param((-1, 2, -1), 6, (1, 2, 3), id="behind a known one"),
        pytest.param((2, -1), 6, (2, 3), id="no batch"),
        pytest.param((2, 2), 4, (2, 2), id="a fixed shape"),
        pytest.param((), 1, (), id="a scalar"),
        pytest.param((-1, -1), 0, (1, 0), id="nothing"),
    ],
)
def test_c_the_shape_of_a_raw_request_follows_from_its_size(shape, numbers: int, deduced) -> None:
    """The batch has one row, and one more dimension may be unknown."""
    sent = np.arange(numbers, dtype=np.float32)

    (one,) = raw_request(identity(DataType.FLOAT, shape), memoryview(sent.tobytes())).inputs

    assert one.name == "x"
    assert one.array.shape == deduced
    assert one.array.ravel().tolist() == sent.tolist()


@pytest.mark.parametrize(
    ("shape", "sent"), [((-1,), 7), ((-1, 3), 24), ((-1, -1, 2), 12), ((2, 2), 4), ((-1, 0, -1), 4)]
)
def test_c_a_raw_request_of_the_wrong_size_is_refused(shape: tuple[int, ...], sent: int) -> None:
    """Two rows could be one row of another shape, so there is one."""
    assert "bytes, and" in raw_refusal(identity(DataType.FLOAT, shape), bytes(sent))


@pytest.mark.parametrize("shape", [(), (1,), (-1,), (-1, 1), None])
@pytest.mark.parametrize("sent", [b"", b"427", b"\0\xff"])
def test_g_a_raw_request_of_bytes_is_one_element(shape: tuple[int, ...] | None, sent: bytes) -> None:
    """Without a length in front, as the body has one."""
    (one,) = raw_request(identity(DataType.STRING, shape), memoryview(sent)).inputs

    assert one.array.item() == sent
    assert one.array.ndim == (1 if shape is None else len(shape))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param(
            with_signature(Signature({"a": spec("a:0"), "b": spec("b:0")}, {})),
            "a request without JSON is for models with 1 input, and model 'm' has 2",
            id="two inputs",
        ),
        pytest.param(with_signature(Signature({}, {})), "and model 'm' has 0", id="no inputs"),
        pytest.param(
            identity(DataType.FLOAT, (-1, -1, -1)),
            "the shape of raw input 'x' cannot be deduced, as [-1,-1,-1] has more than one unknown dimension beside",
            id="unknown dimensions",
        ),
        pytest.param(
            identity(DataType.STRING, (-1, 2)),
            "raw input 'x' of type BYTES is one element, and the model's shape is [-1,2]",
            id="strings",
        ),
        pytest.param(identity(DataType.COMPLEX64, (1,)), "input 'x' of model 'm' has type DT_COMPLEX64", id="complex"),
        pytest.param(with_signature(Signature({}, {}), "other"), "has no signature 'serving_default'", id="no default"),
    ],
)
def test_c_a_raw_request_is_only_for_models_that_leave_nothing_open(model, words: str) -> None:
    """The text says what is missing."""
    assert words in raw_refusal(model)


def test_m_an_input_with_a_default_does_not_count() -> None:
    """A raw request leaves it out, as others may."""
    inputs = {"x": spec("x:0", DataType.INT32, (-1,)), "k": spec("k:0", DataType.INT32, ())}
    model = with_signature(Signature(inputs, {}, defaults={"k": np.array(5, np.int32)}))

    (one,) = raw_request(model, memoryview(b"\7\0\0\0")).inputs

    assert (one.name, one.array.tolist()) == ("x", [7])
