"""What goes with a call to a model server behind its body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.routing.call_trailer import packed_trailer, unpacked_trailer
from core.routing.transport import Call, Method
from core.telemetry.trace_context import TraceContext, pack

TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", state="a=1,b=2")
HEADERS = (("x-request-id", "7"), ("x-tenant", 'grö"ße'), ("x-tenant", ""))


def call(trace: TraceContext | None, headers: tuple[tuple[str, str], ...]) -> Call:
    return Call(Method.PREDICT, b"body", None, trace, headers=headers)


@pytest.mark.parametrize("trace", [None, TRACE, TraceContext(TRACE.trace_id, TRACE.span_id)])
@pytest.mark.parametrize("headers", [(), HEADERS])
def test_trace_and_headers_arrive_as_they_were_sent(trace, headers) -> None:
    """Each with and without the other."""
    assert unpacked_trailer(bytearray(packed_trailer(call(trace, headers)))) == (trace, headers)


def test_a_call_with_neither_has_no_trailer_and_one_with_a_trace_the_same_as_ever() -> None:
    """So that frames of others stay what they were."""
    assert packed_trailer(call(None, ())) == b""
    assert packed_trailer(call(TRACE, ())) == pack(TRACE)


@given(st.binary(max_size=60))
def test_a_trailer_that_makes_no_sense_is_none(raw) -> None:
    """Never an error of the call."""
    trace, headers = unpacked_trailer(raw)

    assert trace is None or len(trace.trace_id) == 32
    assert isinstance(headers, tuple)


@pytest.mark.parametrize("listed", [b"{}", b"5", b"[1]", b'["ab", 5]', b"[[1, 2, 3]]", b"no json"])
def test_headers_that_cannot_be_read_are_left_out(listed) -> None:
    """The trace beside them stays."""
    trace, headers = unpacked_trailer(pack(TRACE) + b"\n" + listed)

    assert trace == TRACE
    assert headers in {(), (("a", "b"),)} or listed == b'["ab", 5]'
