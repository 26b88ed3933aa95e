"""Tests of TFRecord files."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import Code, DataLoss
from core.recording.tf_record import CHECKSUM, CHUNK_BYTES, LENGTH, TruncatedRecord, framed, masked_checksum, records

WRITTEN_BY_TENSORFLOW = bytes.fromhex("0300000000000000b099490e6162636e57f121000000000000000029039807d8ea82a2")
TWO = framed(b"first") + framed(b"second record")


class Dribble(io.BytesIO):
    """A stream that gives one byte at a time, as a pipe may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(1, size if size is not None else 1))


def read(content: bytes) -> list[bytes]:
    return list(records(io.BytesIO(content)))


def test_records_are_written_as_tensorflow_writes_them() -> None:
    """The bytes are the ones that tf.io.TFRecordWriter makes of `abc` and of nothing."""
    assert framed(b"abc") + framed(b"") == WRITTEN_BY_TENSORFLOW


def test_records_of_tensorflow_are_read() -> None:
    """What tf.io.TFRecordWriter wrote comes back."""
    assert read(WRITTEN_BY_TENSORFLOW) == [b"abc", b""]


@given(st.lists(st.binary(max_size=300)))
@example([])
@example([b"", b"\0" * 12, b""])
def test_what_is_written_is_read(written: list[bytes]) -> None:
    """Any byte strings come back, in order."""
    assert read(b"".join(map(framed, written))) == written


def test_a_file_without_records_is_fine() -> None:
    """An empty file holds no records."""
    assert read(b"") == []


def test_a_record_longer_than_a_chunk_is_read() -> None:
    """Long records are read in pieces."""
    long = bytes(range(256)) * (CHUNK_BYTES // 128)

    assert read(framed(long) + framed(b"next")) == [long, b"next"]


def test_a_stream_may_give_less_than_asked_for() -> None:
    """Short reads are not the end."""
    assert list(records(Dribble(TWO))) == [b"first", b"second record"]


@pytest.mark.parametrize("position", range(len(TWO)))
def test_every_flipped_byte_is_noticed(position: int) -> None:
    """No byte can change unnoticed, and records before the damage are still read."""
    damaged = bytearray(TWO)
    damaged[position] ^= 0x40
    found = []

    with pytest.raises(DataLoss) as caught:
        found.extend(records(io.BytesIO(damaged)))

    offset = 0 if position < len(framed(b"first")) else len(framed(b"first"))
    assert caught.value.code is Code.DATA_LOSS
    assert str(caught.value) == f"corrupted record at {offset}"


@pytest.mark.parametrize("length", [cut for cut in range(1, len(TWO)) if cut != len(framed(b"first"))])
def test_every_torn_tail_is_noticed(length: int) -> None:
    """A file that ends inside of a record gives the whole records and then says where the torn one begins."""
    reader = records(io.BytesIO(TWO[:length]))
    found = []

    with pytest.raises(TruncatedRecord) as caught:
        found.extend(iter(lambda: next(reader), None))

    offset = 0 if length < len(framed(b"first")) else len(framed(b"first"))
    assert str(caught.value) == f"truncated record at {offset}"


def test_whole_records_before_a_torn_one_are_given() -> None:
    """Reading stops at the damage, not before."""
    reader = records(io.BytesIO(TWO[:-1]))

    assert next(reader) == b"first"
    with pytest.raises(TruncatedRecord):
        next(reader)


@pytest.mark.parametrize("claimed", [2**20, 2**31, 2**60, 2**64 - 1])
def test_a_claimed_length_takes_no_memory(claimed: int) -> None:
    """A length with a good checksum that the file does not have costs nothing but what is there."""
    length = LENGTH.pack(claimed)
    content = length + masked_checksum(length) + b"little"
    tracemalloc.start()

    with pytest.raises(TruncatedRecord):
        read(content)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * CHUNK_BYTES


def test_a_wrong_length_checksum_is_noticed_before_the_data_is_read() -> None:
    """What is no TFRecord at all is known by its first bytes."""
    stream = io.BytesIO(b"\x0a\x05h2 and so on, a message and not a record")

    with pytest.raises(DataLoss, match=r"^corrupted record at 0$"):
        next(records(stream))

    assert stream.tell() == LENGTH.size + CHECKSUM.size


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_records_or_data_loss(content: bytes) -> None:
    """Nothing else can come of a file, whatever it holds."""
    try:
        found = read(content)
    except DataLoss:
        return
    assert b"".join(map(framed, found)) == content
