"""Protobuf's wire format, as far as messages are composed and walked by hand.

Composing by hand lets the memory of an array become part of a response without a copy per element, and walking by hand
lets the router find a model's name without decoding the tensors behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from core.errors import InvalidArgument

Piece: TypeAlias = bytes | memoryview
"""Part of a message; pieces are joined once, at the end."""

MessageT = TypeVar("MessageT", bound=Message)

VARINT: Final = 0
LENGTH_DELIMITED: Final = 2
FIXED32: Final = 5

NO_MESSAGE: Final = "The request is not a valid protobuf message."
_PROBLEMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "RequestEnvelope": NO_MESSAGE,
        "SerializedExamplesRequest": "The request is not a valid ClassificationRequest or RegressionRequest message.",
        "SerializedMultiInferenceRequest": "The request is not a valid MultiInferenceRequest message.",
    }
)
"""Messages that we read in another shape, under the names that clients know."""

_SMALL: Final = tuple(bytes([value]) for value in range(0x80))


def varint(value: int) -> bytes:
    """Encode a number; negative ones as protobuf does, in 64-bit two's complement."""
    if 0 <= value < 0x80:
        return _SMALL[value]
    value &= 2**64 - 1
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def tag(number: int, wire_type: int = LENGTH_DELIMITED) -> bytes:
    """Encode the tag of a field."""
    return varint(number << 3 | wire_type)


def varint_field(number: int, value: int) -> bytes:
    """Encode a whole integer field."""
    return tag(number, VARINT) + varint(value)


def length_delimited(key: bytes, payload: bytes) -> bytes:
    """Encode a string, bytes or message field."""
    return key + varint(len(payload)) + payload


def prefixed(key: bytes, pieces: Sequence[Piece]) -> list[Piece]:
    """Put tag and length in front of a payload that is still in pieces."""
    return [key, varint(sum(map(len, pieces))), *pieces]


def packed_varints(values: np.ndarray) -> bytes:
    """Encode a 1-D array of at least one integer as the payload of a packed field.

    Works on columns of 7-bit digits; `used` leaves out the digits that a number does not need.
    """
    rest: np.ndarray = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64).view(np.uint64)
    largest = int(rest.max())
    rest = rest.astype(np.uint32) if largest < 2**32 else rest
    width = max(1, -(-largest.bit_length() // 7))
    digits = np.empty((rest.size, width), np.uint8)
    used = np.ones(digits.shape, np.bool_)
    digits[:, 0] = rest
    for column in range(1, width):
        rest = rest >> 7
        used[:, column] = rest != 0
        digits[:, column - 1] &= 0x7F
        digits[:, column - 1] |= used[:, column].view(np.uint8) << 7
        digits[:, column] = rest
    return digits[used].tobytes()


def parse_message(kind: type[MessageT], body: bytes) -> MessageT:
    """Parse a message; raises InvalidArgument where protobuf refuses it."""
    try:
        return kind.FromString(body)
    except DecodeError:
        name = kind.DESCRIPTOR.name
        raise InvalidArgument(_PROBLEMS.get(name, f"The request is not a valid {name} message.")) from None
