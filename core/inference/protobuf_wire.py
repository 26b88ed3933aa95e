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

Memory: TypeAlias = bytes | bytearray | memoryview
"""A message, or a part of one, as it came."""

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
        "SerializedInferRequest": "The request is not a valid ModelInferRequest message.",
        "SerializedInferParts": "The request is not a valid ModelInferRequest message.",
    }
)
"""Messages that we read in another shape, under the names that clients know."""

_ONE_BYTE: Final = 0x80
_LONGEST_VARINT: Final = 5
_SMALL: Final = tuple(bytes([value]) for value in range(_ONE_BYTE))


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


def top_level_fields(raw: Memory, most: int) -> list[tuple[int, int, int]] | None:
    """Return the fields of a message in order: key, start and end of the value; each begins where the last one ends.

    None if there are more than `most`, and for a message that has anything but numbers of one byte and values with a
    length in front, both with fields up to 15. Nothing is judged: what is valid, and what it means, the protobuf
    runtime decides.
    """
    try:
        return _walk(raw, most)
    except IndexError:
        return None


def _walk(raw: Memory, most: int) -> list[tuple[int, int, int]] | None:
    found: list[tuple[int, int, int]] = []
    position, length = 0, len(raw)
    while position < length and len(found) < most:
        key = raw[position]
        start, size = _extent(raw, position, key)
        if size < 0:
            return None
        position = start + size
        found.append((key, start, position))
    return found if position == length else None


def _extent(raw: Memory, position: int, key: int) -> tuple[int, int]:
    """Return where the value of a field starts and how long it is; -1 for a field that the walk does not know."""
    kind = key & 7
    if kind == VARINT and 8 <= key < _ONE_BYTE and raw[position + 1] < _ONE_BYTE:
        return position + 1, 1
    if kind == LENGTH_DELIMITED and 8 <= key < _ONE_BYTE:
        return _length(raw, position + 1)
    return position, -1


def _length(raw: Memory, position: int) -> tuple[int, int]:
    size = 0
    for index in range(_LONGEST_VARINT):
        byte = raw[position + index]
        size |= (byte & 0x7F) << 7 * index
        if byte < _ONE_BYTE:
            return position + index + 1, size
    return position, -1


def parse_message(kind: type[MessageT], body: Memory) -> MessageT:
    """Parse a message; raises InvalidArgument where protobuf refuses it."""
    try:
        return kind.FromString(body)  # type: ignore[arg-type]  # it takes any buffer
    except DecodeError:
        name = kind.DESCRIPTOR.name
        raise InvalidArgument(_PROBLEMS.get(name, f"The request is not a valid {name} message.")) from None
