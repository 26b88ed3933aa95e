"""W3C Trace Context: which headers count, and how a context travels between our processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.telemetry.trace_context import (
    MOST_STATE_MEMBERS,
    TraceContext,
    pack,
    parse_state,
    parse_trace_context,
    unpack,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"

contexts = st.builds(
    TraceContext,
    st.integers(1, 2**128 - 1).map("{:032x}".format),
    st.integers(1, 2**64 - 1).map("{:016x}".format),
    st.booleans(),
    st.sampled_from(["", "a=1", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "tenant@system=a b"]),
)


def test_a_parent_is_read() -> None:
    """The example of the specification."""
    assert parse_trace_context([GOOD], ["rojo=1,congo=2"]) == TraceContext(
        TRACE, SPAN, is_sampled=True, state="rojo=1,congo=2"
    )


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("fe", False), ("ff", True)]
)
def test_one_bit_tells_whether_a_parent_is_recorded(flags: str, *, is_sampled: bool) -> None:
    """The others are for later versions."""
    found = parse_trace_context([f"00-{TRACE}-{SPAN}-{flags}"])

    assert found is not None
    assert found.is_sampled is is_sampled


@pytest.mark.parametrize("text", [f" {GOOD}", f"{GOOD}\t ", f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-more"])
def test_white_space_and_later_versions_are_read(text: str) -> None:
    """A later version begins like the first one."""
    assert parse_trace_context([text]) == TraceContext(TRACE, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "00",
        GOOD.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}",
        f"{GOOD}-",
        f"{GOOD}-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"{GOOD}\n",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-\uff101",
    ],
)
def test_a_parent_that_makes_no_sense_is_ignored(text: str) -> None:
    """As the specification demands, and without an error."""
    assert parse_trace_context([text]) is None


@pytest.mark.parametrize("texts", [[], [GOOD, GOOD], [GOOD, "x"]])
def test_there_is_one_parent_or_none(texts: list[str]) -> None:
    """Of two nobody knows which one counts."""
    assert parse_trace_context(texts) is None


@pytest.mark.parametrize(
    ("headers", "state"),
    [
        ([], ""),
        ([""], ""),
        (["a=1"], "a=1"),
        (["a=1 ,\t b=2,,"], "a=1,b=2"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["0a@b=1", "a/b-c_d*=x y"], "0a@b=1,a/b-c_d*=x y"),
        (["a= 1"], "a= 1"),
        (["a=!\"#$%&'()*+-./:;<>?@[]^_`{|}~"], "a=!\"#$%&'()*+-./:;<>?@[]^_`{|}~"),
        ([f"{'a' * 256}={'v' * 256}"], f"{'a' * 256}={'v' * 256}"),
        ([",".join(f"k{n}=v" for n in range(MOST_STATE_MEMBERS))], ",".join(f"k{n}=v" for n in range(32))),
    ],
)
def test_a_state_is_passed_on(headers: list[str], state: str) -> None:
    """Several headers are one list."""
    assert parse_state(headers) == state


@pytest.mark.parametrize(
    "header",
    [
        "a",
        "a=",
        "=1",
        "A=1",
        "1a=1",
        "a b=1",
        "a=1=2",
        "a=1,a=2",
        "a=\x7f",
        "a=ä",
        f"{'a' * 257}=1",
        f"a={'v' * 257}",
        "a@1=1",
        f"a@{'b' * 15}=1",
        ",".join(f"k{n}=v" for n in range(MOST_STATE_MEMBERS + 1)),
    ],
)
def test_a_state_that_makes_no_sense_is_dropped_without_its_parent(header: str) -> None:
    """The trace goes on without it."""
    assert parse_trace_context([GOOD], [header]) == TraceContext(TRACE, SPAN)


@given(contexts)
def test_what_is_written_can_be_read(context: TraceContext) -> None:
    """As a header and on the way to a model server."""
    assert unpack(pack(context)) == context
    assert parse_trace_context([context.traceparent], [context.state]) == context


@given(contexts, st.integers(1, 2**64 - 1).map("{:016x}".format))
def test_a_child_is_in_the_same_trace(context: TraceContext, span_id: str) -> None:
    """Only the span is another one."""
    child = context.child(span_id)

    assert (child.trace_id, child.is_sampled, child.state) == (context.trace_id, context.is_sampled, context.state)
    assert child.span_id == span_id


@given(st.binary(max_size=200))
def test_any_bytes_can_stand_where_a_context_should(raw: bytes) -> None:
    """Whatever comes, there is a valid context or none."""
    found = unpack(raw)

    assert found is None or unpack(pack(found)) == found


@given(st.lists(st.text(max_size=80), max_size=3), st.lists(st.text(max_size=80), max_size=3))
def test_any_text_can_stand_in_the_headers(parents: list[str], states: list[str]) -> None:
    """Nothing is raised, and what counts can be sent on."""
    found = parse_trace_context(parents, states)

    assert found is None or unpack(pack(found)) == found


@given(st.text(alphabet="ab=@,_ 1\t", max_size=60))
def test_a_state_that_was_accepted_stays_as_it_is(text: str) -> None:
    """Reading it again changes nothing."""
    once = parse_state([text])

    assert parse_state([once]) == once
    assert parse_trace_context([GOOD], [once]) == TraceContext(TRACE, SPAN, state=once)
