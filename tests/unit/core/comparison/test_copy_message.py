"""Tests of copies as the bodies of calls."""

from __future__ import annotations

import pytest

from core.comparison.copy_message import RequestCopy, packed_copy, unpacked_copy
from core.delivery.split import Tolerance
from core.errors import InvalidArgument
from core.routing.transport import Call, Method

COPY = RequestCopy(Call(Method.PREDICT, b"request", tensor_at=3), b"answer", {"a": Tolerance(0.5, 0.25)})


def packed(copy: RequestCopy) -> bytes:
    call = packed_copy(copy, 2.0)
    assert call is not None
    return call.body


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("copy", [COPY, RequestCopy(Call(Method.REST_PREDICT, b""), b"")])
def test_a_copy_comes_back_as_it_was(kind: type, copy: RequestCopy) -> None:
    """Request, answer and tolerances arrive whole, from small frames and from large ones."""
    found = unpacked_copy(kind(packed(copy)))
    assert (found.call.method, bytes(found.call.body)) == (copy.call.method, copy.call.body)
    assert (bytes(found.answer), found.tolerances) == (copy.answer, copy.tolerances)


def test_the_memory_of_a_large_frame_is_that_of_the_request() -> None:
    """The body is cut where it lies, so that a raw tensor stays aligned."""
    raw = bytearray(packed(COPY))
    assert unpacked_copy(raw).call.body is raw


def test_memory_that_the_connection_still_shows_is_left_as_it_is() -> None:
    """A copy may have its turn in another thread before the read that it came with is over."""
    raw = bytearray(packed(COPY))
    with memoryview(raw):
        found = unpacked_copy(raw)
    assert (bytes(found.call.body), bytes(found.answer)) == (COPY.call.body, COPY.answer)


def test_a_copy_travels_with_its_own_deadline_and_the_place_of_the_raw_tensor() -> None:
    """The caller's deadline is over with its answer, and the tensor is aligned as for the original."""
    call = packed_copy(COPY, 2.0)
    assert call is not None
    assert (call.method, call.timeout_s, call.tensor_at) == (Method.COMPARE, 2.0, 3)


@pytest.mark.parametrize("raw", [b"", b"\x05", b"\xff" * 9, b"\x63" + bytes(8), b"x\x05" + bytes(4) + b"\x01\0\0\0"])
def test_other_bytes_are_refused(raw: bytes) -> None:
    """What is no copy is an error, and nothing else."""
    with pytest.raises(InvalidArgument):
        unpacked_copy(raw)
