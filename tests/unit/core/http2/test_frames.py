"""HTTP/2's frames: what is written, what is read, and which mistakes end a connection."""

from __future__ import annotations

import pytest
from hyperframe.frame import Frame as PeerFrame
from hyperframe.frame import GoAwayFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from core.http2 import frames as http2
from core.http2.frames import (
    PADDED,
    SELF_DEPENDENT,
    WITH_PRIORITY,
    BrokenConnection,
    Fault,
    Setting,
    fragment,
    frame,
    number,
    priority_fault,
    read_parameters,
    unpadded,
)


def parsed(data: bytes) -> PeerFrame:
    """Read a frame as another implementation does."""
    one, length = PeerFrame.parse_frame_header(memoryview(data[:9]))
    one.parse_body(memoryview(data[9 : 9 + length]))
    return one


def test_a_frame_is_its_header_and_its_payload() -> None:
    """Lengths of more than 16 bits take the third byte."""
    assert frame(0, 1, 5, bytes(70_000))[:9] == b"\x01\x11\x70\x00\x01\x00\x00\x00\x05"
    assert http2.head(70_000, 0, 1, 5) == frame(0, 1, 5, bytes(70_000))[:9]


def test_others_read_what_is_written() -> None:
    """Settings, windows, resets and goodbyes."""
    told, widened = parsed(http2.settings({Setting.MAX_FRAME_SIZE: 20_000})), parsed(http2.window_update(3, 7))
    ended, gone = parsed(http2.reset(5, Fault.CANCEL)), parsed(http2.goaway(9, Fault.NO_ERROR, "gone \u00e4"))

    assert isinstance(told, SettingsFrame)
    assert told.settings == {5: 20_000}
    assert isinstance(widened, WindowUpdateFrame)
    assert (widened.stream_id, widened.window_increment) == (3, 7)
    assert isinstance(ended, RstStreamFrame)
    assert (ended.stream_id, ended.error_code) == (5, 8)
    assert isinstance(gone, GoAwayFrame)
    assert (gone.last_stream_id, gone.error_code, gone.additional_data) == (9, 0, "gone \u00e4".encode())


def test_a_goodbye_is_short() -> None:
    """Its text is cut, whatever caused it."""
    assert len(http2.goaway(1, Fault.PROTOCOL_ERROR, "x" * 5000)) == 9 + 8 + 1024


def test_settings_are_read_in_their_order() -> None:
    """Unknown ones and repeated ones too (RFC 9113, 6.5.3)."""
    payload = b"\x00\x04\x00\x00\x00\x09\x99\x99\x00\x00\x00\x01\x00\x04\x00\x00\x00\x0a"

    assert read_parameters(payload) == ((4, 9), (0x9999, 1), (4, 10))


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"\x00\x04\x00\x00\x00", Fault.FRAME_SIZE_ERROR),
        (b"\x00\x04\x80\x00\x00\x00", Fault.FLOW_CONTROL_ERROR),
        (b"\x00\x05\x00\x00\x3f\xff", Fault.PROTOCOL_ERROR),
        (b"\x00\x05\x01\x00\x00\x00", Fault.PROTOCOL_ERROR),
        (b"\x00\x02\x00\x00\x00\x02", Fault.PROTOCOL_ERROR),
        (b"\x00\x02\x00\x00\x00\x02\x00\x02\x00\x00\x00\x01", Fault.PROTOCOL_ERROR),
        (b"\x00\x04\xff\xff\xff\xff\x00\x05\x00\x00\x00\x00", Fault.FLOW_CONTROL_ERROR),
    ],
    ids=[
        "cut short",
        "window too large",
        "frames too small",
        "frames too large",
        "push neither on nor off",
        "healed",
        "two",
    ],
)
def test_settings_that_are_not_allowed_end_the_connection(payload: bytes, fault: Fault) -> None:
    """With the fault that RFC 9113 names for each."""
    with pytest.raises(BrokenConnection) as caught:
        read_parameters(payload)

    assert caught.value.fault is fault
    assert str(caught.value)


def test_numbers_have_four_bytes() -> None:
    """Those of resets and of windows."""
    assert number(b"\x00\x00\x01\x00") == 256
    for payload in (b"", b"\x00\x00\x01", b"\x00\x00\x01\x00\x00"):
        with pytest.raises(BrokenConnection) as caught:
            number(payload)
        assert caught.value.fault is Fault.FRAME_SIZE_ERROR


def test_padding_is_taken_away() -> None:
    """Only where the flag says that there is some; it may be all there is."""
    assert unpadded(b"\x02abc\x00\x00", 0) == b"\x02abc\x00\x00"
    assert unpadded(b"\x02abc\x00\x00", PADDED) == b"abc"
    assert unpadded(b"\x00abc", PADDED) == b"abc"
    assert unpadded(b"\x02\x00\x00", PADDED) == b""


@pytest.mark.parametrize("payload", [b"\x01", b"\x03\x00\x00", b"\xff" + bytes(254)])
def test_more_padding_than_payload_ends_the_connection(payload: bytes) -> None:
    """Nothing says what of it would be data."""
    with pytest.raises(BrokenConnection) as caught:
        unpadded(payload, PADDED)

    assert caught.value.fault is Fault.PROTOCOL_ERROR


def test_padding_without_its_length_is_too_short_a_frame() -> None:
    """The length is a part of the frame that must be there (RFC 9113, 4.2)."""
    with pytest.raises(BrokenConnection) as caught:
        unpadded(b"", PADDED)

    assert caught.value.fault is Fault.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    ("flags", "payload", "expected"),
    [
        (0, b"abc", (0, b"abc")),
        (PADDED, b"\x02abc\x00\x00", (PADDED, b"abc")),
        (PADDED, b"\x03\x00\x00\x00", (PADDED, b"")),
        (WITH_PRIORITY, b"\x80\x00\x00\x03\x00abc", (WITH_PRIORITY, b"abc")),
        (WITH_PRIORITY, b"\x80\x00\x00\x05\x00abc", (WITH_PRIORITY | SELF_DEPENDENT, b"abc")),
        (PADDED | WITH_PRIORITY, b"\x01\x00\x00\x00\x05\xffabc\x00", (PADDED | WITH_PRIORITY | SELF_DEPENDENT, b"abc")),
    ],
    ids=["plain", "padded", "padding alone", "priority", "of itself", "both"],
)
def test_a_fragment_is_what_is_neither_padding_nor_priority(
    flags: int, payload: bytes, expected: tuple[int, bytes]
) -> None:
    """A stream that depends on itself is marked: the block must be decoded all the same."""
    assert fragment(5, flags, payload) == expected


@pytest.mark.parametrize(
    ("payload", "fault"), [(bytes(4), Fault.FRAME_SIZE_ERROR), (bytes(6), Fault.FRAME_SIZE_ERROR),
                           (b"\x80\x00\x00\x05\x00", Fault.PROTOCOL_ERROR), (bytes(5), None)],
)  # fmt: skip
def test_mistakes_of_a_priority_concern_its_stream(payload: bytes, fault: Fault | None) -> None:
    """Of its own length, and of a stream that depends on itself (RFC 9113, 6.3; RFC 7540, 5.3.1)."""
    assert priority_fault(5, payload) is fault
