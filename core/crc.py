"""The CRCs that object stores keep beside their objects, fast enough for models: numpy works on many pieces at a time.

A CRC register is linear in the data, so pieces ("lanes") of a block are worked on side by side, each from an empty
register, and joined afterwards: moving a register over n zero bytes is a linear map of its bits. All three CRCs are
reflected, begin with all bits set and end inverted.
"""

from __future__ import annotations

from functools import cache

import numpy as np

CRC32 = 0xEDB88320
CRC32C = 0x82F63B78
CRC64NVME = 0x9A6C9329AC4BC9B5

_LANE_BYTES = 256
_WORDS = _LANE_BYTES // 8
_BITS = np.arange(64, dtype=np.uint64)
_HALF_WORD = np.uint64(0xFFFF)


class Crc:
    """A CRC in the making, used as hashlib's objects are."""

    def __init__(self, polynomial: int, width: int) -> None:
        self._polynomial = polynomial
        self._digits = width // 4
        self._ones = 2**width - 1
        self._state = self._ones

    def update(self, data: bytes) -> None:
        """Go on with more data."""
        whole = len(data) // _LANE_BYTES
        if whole:
            moved = _moved(np.array([self._state], np.uint64), whole * _LANE_BYTES, self._polynomial)
            self._state = int(moved[0] ^ _joined(_lanes(data, whole, self._polynomial), self._polynomial))
        table = _byte_tables(self._polynomial)[0]
        for byte in data[whole * _LANE_BYTES :]:
            self._state = int(table[(self._state ^ byte) & 0xFF]) ^ (self._state >> 8)

    def hexdigest(self) -> str:
        """Give the CRC of all data so far, the highest byte first."""
        return f"{self._state ^ self._ones:0{self._digits}x}"


def _lanes(data: bytes, count: int, polynomial: int) -> np.ndarray:
    """Give the registers of all lanes, each begun empty; eight bytes a step, two of them in each table."""
    words = np.frombuffer(data, "<u8", count * _WORDS).reshape(count, _WORDS)
    low, second, third, high = _word_tables(polynomial)
    states = np.zeros(count, np.uint64)
    for column in np.ascontiguousarray(words.T):
        states ^= column
        states = (
            low[states & _HALF_WORD]
            ^ second[states >> np.uint64(16) & _HALF_WORD]
            ^ third[states >> np.uint64(32) & _HALF_WORD]
            ^ high[states >> np.uint64(48)]
        )
    return states


def _joined(states: np.ndarray, polynomial: int) -> np.uint64:
    """Join neighbours until one register is left; an empty one in front of an odd number changes nothing."""
    length = _LANE_BYTES
    while len(states) > 1:
        if len(states) % 2:
            states = np.concatenate((np.zeros(1, np.uint64), states))
        states = _moved(states[0::2], length, polynomial) ^ states[1::2]
        length *= 2
    joined: np.uint64 = states[0]
    return joined


def _moved(states: np.ndarray, zero_bytes: int, polynomial: int) -> np.ndarray:
    """Move registers over a number of zero bytes, by the maps for its powers of two."""
    for power in range(zero_bytes.bit_length()):
        if zero_bytes >> power & 1:
            states = _mapped(states, _map_over(power, polynomial))
    return states


def _mapped(states: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Apply a linear map, given by the images of the 64 bits."""
    result = np.zeros_like(states)
    for bit, image in zip(_BITS, images, strict=True):
        result ^= (states >> bit & np.uint64(1)) * image
    return result


@cache
def _map_over(power: int, polynomial: int) -> np.ndarray:
    """Give the map over 2**power zero bytes."""
    if power:
        half = _map_over(power - 1, polynomial)
        return _mapped(half, half)
    bits = np.uint64(1) << _BITS
    images: np.ndarray = _byte_tables(polynomial)[0][bits & np.uint64(0xFF)] ^ bits >> np.uint64(8)
    return images


@cache
def _byte_tables(polynomial: int) -> tuple[np.ndarray, ...]:
    """Give the registers after each byte followed by 0 to 7 zero bytes."""
    table = np.arange(256, dtype=np.uint64)
    for _ in range(8):
        table = np.where(table & np.uint64(1), table >> np.uint64(1) ^ np.uint64(polynomial), table >> np.uint64(1))
    tables = [table]
    for _ in range(7):
        tables.append(table[tables[-1] & np.uint64(0xFF)] ^ tables[-1] >> np.uint64(8))
    return tuple(tables)


@cache
def _word_tables(polynomial: int) -> tuple[np.ndarray, ...]:
    """Give the registers after each pair of bytes at the four places of a word, the first place first."""
    tables = _byte_tables(polynomial)
    pairs = np.arange(2**16, dtype=np.uint64)
    low, high = pairs & np.uint64(0xFF), pairs >> np.uint64(8)
    return tuple(tables[7 - 2 * place][low] ^ tables[6 - 2 * place][high] for place in range(4))
