"""Tests of the frames between router and model server: any split, any garbage, any size."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.oip.rest_body import LENGTH_BYTES
from core.routing.direct_frames import (
    ALIGNMENT_BYTES,
    HEADER,
    LARGEST_PAYLOAD_BYTES,
    SCRATCH_BYTES,
    BrokenFrame,
    Frame,
    FrameKind,
    FrameReader,
    frame_header,
)
from deployments.rest.api import HttpLimits

LIMIT = 8 * 2**20


def feed(reader: FrameReader, data: bytes, step: int | None = None) -> list[Frame]:
    """Push bytes through a reader, at most `step` at a time, as a socket does."""
    frames: list[Frame] = []
    view = memoryview(data)
    while view:
        room = reader.buffer()
        assert len(room) > 0
        count = min(len(room), len(view), step or len(view))
        room[:count] = view[:count]
        frames.extend(reader.filled(count))
        view = view[count:]
    return frames


def packed(frame: Frame) -> bytes:
    """Write a frame."""
    content = frame.payload + frame.trailer
    fields = {"call_id": frame.call_id, "detail": frame.detail, "wait_ms": frame.wait_ms}
    return frame_header(FrameKind(frame.kind), len(content), trailer_bytes=len(frame.trailer), **fields) + content


payloads = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda size, byte: bytes([byte]) * size, st.integers(0, SCRATCH_BYTES * 2), st.integers(0, 255)),
    st.sampled_from([SCRATCH_BYTES - HEADER.size + more for more in (-1, 0, 1)]).map(bytes),
)
frames = st.builds(
    Frame,
    st.sampled_from(FrameKind).map(int),
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    payloads,
    st.binary(max_size=40),
)


@settings(max_examples=60)
@given(st.lists(frames, max_size=6), st.lists(st.integers(1, SCRATCH_BYTES), max_size=30))
def test_any_split_of_any_frames_gives_the_same_frames(sent, cuts) -> None:
    """Where the network cuts the stream makes no difference."""
    reader = FrameReader(LIMIT)
    data = memoryview(b"".join(map(packed, sent)))
    received: list[Frame] = []
    for cut in [*cuts, len(data)]:
        received.extend(feed(reader, data[:cut]))
        data = data[cut:]

    assert received == sent


def test_frames_come_through_byte_by_byte() -> None:
    """The smallest pieces there are."""
    sent = [
        Frame(FrameKind.CALL, 7, 1, 500, b"body"),
        Frame(FrameKind.CANCEL, 7, 0, 0, b""),
        Frame(FrameKind.CALL, 8, 2, 0, b"x" * 99),
    ]

    assert feed(FrameReader(LIMIT), b"".join(map(packed, sent)), step=1) == sent


@example(bytes(HEADER.size))
@example(frame_header(FrameKind.CALL, LIMIT + 1))
@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_broken_frame(data) -> None:
    """A stranger cannot make the reader fail in another way."""
    with suppress(BrokenFrame):
        feed(FrameReader(LIMIT), data, step=13)


@pytest.mark.parametrize("kind", [0, 7, 255])
def test_an_unknown_kind_is_broken(kind) -> None:
    """The peer speaks something else."""
    with pytest.raises(BrokenFrame, match=f"unknown kind of frame {kind}"):
        feed(FrameReader(LIMIT), HEADER.pack(0, 1, kind, 0, 0, 0, 0))


def test_a_stranger_can_claim_no_memory() -> None:
    """The limit holds from the header on, before any of the payload came."""
    with pytest.raises(BrokenFrame, match="longer than the limit of 256 bytes"):
        feed(FrameReader(256), frame_header(FrameKind.HELLO, 257))


def test_the_largest_body_fits_into_a_frame_with_its_footer() -> None:
    """A frame that is too long would break the connection, and the calls of others with it."""
    assert HttpLimits().max_body_bytes + LENGTH_BYTES <= LARGEST_PAYLOAD_BYTES


def test_trust_counts_from_the_next_frame_even_within_one_piece() -> None:
    """The greeting and the first large call may arrive together."""
    reader = FrameReader(256)
    data = packed(Frame(FrameKind.HELLO, 0, 0, 0, b"token")) + packed(Frame(FrameKind.CALL, 1, 1, 0, b"y" * 1000))
    reader.buffer()[: len(data)] = data

    received = []
    for frame in reader.filled(len(data)):
        received.append(frame.kind)
        reader.trust(LIMIT)

    assert received == [FrameKind.HELLO, FrameKind.CALL]


def test_a_large_payload_is_received_into_its_own_memory() -> None:
    """After the header the socket writes straight into the body."""
    body = bytes(range(256)) * 8192
    sent = [Frame(FrameKind.ANSWER, 1, 0, 0, body), Frame(FrameKind.ANSWER, 2, 0, 0, b"small")]
    reader = FrameReader(LIMIT)
    start = packed(sent[0])[:1000]

    assert feed(reader, start) == []
    assert len(reader.buffer()) == len(body) + HEADER.size - 1000
    assert feed(reader, packed(sent[0])[1000:] + packed(sent[1])) == sent


@pytest.mark.parametrize("tensor_at", [0, 1, 63, 64, 130, 2**32 - 1])
def test_a_large_payload_is_received_with_its_tensor_aligned(tensor_at) -> None:
    """Runtimes copy what is not."""
    size = 3 * SCRATCH_BYTES
    body = np.arange(size, dtype=np.uint8).tobytes()

    (frame,) = feed(FrameReader(LIMIT), frame_header(FrameKind.CALL, size, tensor_at=tensor_at) + body)

    assert frame.payload == body
    assert (np.frombuffer(frame.payload, np.uint8).ctypes.data + tensor_at) % ALIGNMENT_BYTES == 0


@pytest.mark.parametrize("size", [40, SCRATCH_BYTES - HEADER.size - 100, 2 * SCRATCH_BYTES])
@pytest.mark.parametrize("step", [None, 1000, SCRATCH_BYTES - 50])
def test_a_trailer_is_received_apart_from_the_body(size, step) -> None:
    """However the frame is cut: the body is not copied to get rid of its end."""
    body, trailer = bytes(range(256)) * (size // 256) + b"x" * (size % 256), b"t" * 300
    sent = Frame(FrameKind.CALL, 1, 1, 0, body, trailer)

    assert feed(FrameReader(LIMIT), packed(sent) * 2, step) == [sent, sent]


def test_a_trailer_that_does_not_fit_is_broken() -> None:
    """The peer speaks something else."""
    with pytest.raises(BrokenFrame, match="a trailer of 5 bytes does not fit into 4 bytes"):
        feed(FrameReader(LIMIT), frame_header(FrameKind.CALL, 4, trailer_bytes=5) + b"body")


def test_frames_before_a_broken_one_still_arrive() -> None:
    """What was complete before the garbage was valid."""
    good = packed(Frame(FrameKind.ANSWER, 1, 0, 0, b"ok"))
    reader = FrameReader(LIMIT)
    reader.buffer()[: len(good) + HEADER.size] = good + b"\xff" * HEADER.size
    incoming = reader.filled(len(good) + HEADER.size)

    assert next(incoming).payload == b"ok"
    with pytest.raises(BrokenFrame):
        next(incoming)
