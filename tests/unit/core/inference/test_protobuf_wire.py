"""Tests of hand-made protobuf bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.inference.protobuf_wire import (
    length_delimited,
    packed_varints,
    parse_message,
    prefixed,
    tag,
    varint,
    varint_field,
)
from core.protos import serving_pb2, tensor_pb2


@given(st.integers(-(2**63), 2**63 - 1))
@example(0)
@example(-1)
@example(2**63 - 1)
@example(-(2**63))
def test_an_integer_field_equals_the_runtimes(value) -> None:
    """Varints are those of protobuf, negative ones in ten bytes."""
    parsed = tensor_pb2.TensorShapeProto.Dim.FromString(varint_field(1, value))

    assert parsed.size == value


@pytest.mark.parametrize(
    ("value", "expected"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (-1, b"\xff" * 9 + b"\x01")]
)
def test_varints_are_little_endian_groups_of_seven_bits(value, expected) -> None:
    """The boundary values of the encoding."""
    assert varint(value) == expected


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_packed_integers_equal_single_ones(dtype) -> None:
    """A packed field is the sequence of its varints, at the limits of every type too."""
    limits = np.iinfo(dtype)
    values = np.array([0, 1, 127, limits.min, limits.max, 100], dtype)

    assert packed_varints(values) == b"".join(varint(value) for value in values.tolist())


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50))
@example([0])
@example([2**32 - 1, 0])
@example([2**32, 127, 128])
@example([2**63, 2**64 - 1, 1])
def test_packed_varints_take_any_numbers(values) -> None:
    """Numbers of different widths stand side by side."""
    assert packed_varints(np.array(values, np.uint64)) == b"".join(map(varint, values))


def test_a_payload_in_pieces_gets_one_length() -> None:
    """Pieces are counted together."""
    assert (
        b"".join(prefixed(tag(3), [b"ab", memoryview(b"cd")])) == length_delimited(tag(3), b"abcd") == b"\x1a\x04abcd"
    )


def test_a_message_that_protobuf_refuses_is_the_callers_mistake() -> None:
    """The text names the message that was expected."""
    with pytest.raises(InvalidArgument, match="The request is not a valid PredictRequest message"):
        parse_message(serving_pb2.PredictRequest, b"\xff")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (serving_pb2.RequestEnvelope, "protobuf"),
        (serving_pb2.SerializedExamplesRequest, "ClassificationRequest or RegressionRequest"),
        (serving_pb2.SerializedMultiInferenceRequest, "MultiInferenceRequest"),
    ],
)
def test_messages_have_the_names_that_clients_know(kind, name) -> None:
    """How we read a request is no matter of theirs."""
    with pytest.raises(InvalidArgument, match=f"The request is not a valid {name} message"):
        parse_message(kind, b"\xff")
