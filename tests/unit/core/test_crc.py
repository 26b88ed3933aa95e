"""CRCs over many lanes are those that everybody else computes."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.crc import CRC32, CRC32C, CRC64NVME, Crc

PATIENT = hypothesis_settings(deadline=None)


def of(data: bytes, polynomial: int = CRC32, width: int = 32) -> str:
    """Compute in one go."""
    crc = Crc(polynomial, width)
    crc.update(data)
    return crc.hexdigest()


@pytest.mark.parametrize(
    ("polynomial", "width", "expected"),
    [(CRC32, 32, "cbf43926"), (CRC32C, 32, "e3069283"), (CRC64NVME, 64, "ae8b14860a799888")],
)
def test_the_check_value_of_each_crc_comes_out(polynomial, width, expected) -> None:
    """The published value for the digits 1 to 9."""
    assert of(b"123456789", polynomial, width) == expected


@pytest.mark.parametrize(
    ("polynomial", "width", "expected"),
    [(CRC32, 32, "00000000"), (CRC32C, 32, "00000000"), (CRC64NVME, 64, "0000000000000000")],
)
def test_nothing_has_a_crc_of_zeros(polynomial, width, expected) -> None:
    """With all digits."""
    assert of(b"", polynomial, width) == expected


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 768, 1024, 5000, 65536, 100_001])
def test_lanes_agree_with_one_pass(size) -> None:
    """Whole lanes, odd numbers of lanes, and a rest shorter than a lane."""
    data = bytes((7 * place + place // 251) % 256 for place in range(size))

    assert of(data) == f"{zlib.crc32(data):08x}"


@PATIENT
@given(st.lists(st.binary(max_size=2000), max_size=6))
def test_pieces_give_the_crc_of_the_whole(pieces) -> None:
    """Files are read in blocks of any size."""
    crc = Crc(CRC32, 32)

    for piece in pieces:
        crc.update(piece)

    assert crc.hexdigest() == f"{zlib.crc32(b''.join(pieces)):08x}"


@PATIENT
@given(st.binary(min_size=1, max_size=3000), st.data())
def test_the_long_crc_finds_every_changed_byte(data, draw) -> None:
    """For CRC-64 the pieces must agree with the whole, too, and one byte makes a difference."""
    place = draw.draw(st.integers(0, len(data) - 1))
    changed = data[:place] + bytes([data[place] ^ draw.draw(st.integers(1, 255))]) + data[place + 1 :]
    crc = Crc(CRC64NVME, 64)
    crc.update(data[:place])
    crc.update(data[place:])

    assert crc.hexdigest() == of(data, CRC64NVME, 64) != of(changed, CRC64NVME, 64)
