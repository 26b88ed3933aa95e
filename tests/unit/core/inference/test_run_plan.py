"""How large an answer may be."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import ResourceExhausted
from core.inference import run_plan
from core.inference.run_plan import LARGEST_ANSWER_BYTES, RunPlan
from core.routing.direct_frames import LARGEST_PAYLOAD_BYTES


def test_the_largest_answer_fits_into_a_frame() -> None:
    """A longer one would end the connection, and with it the calls of others."""
    assert LARGEST_ANSWER_BYTES <= LARGEST_PAYLOAD_BYTES


def test_an_answer_that_cannot_travel_is_refused_before_it_is_written() -> None:
    """Writing it would take as much memory again."""

    def never(_: object) -> bytes:
        raise AssertionError

    endless = np.broadcast_to(np.float32(0), (2**16, 2**16))

    with pytest.raises(ResourceExhausted, match="answer is larger than 2147483647 bytes"):
        RunPlan({}, ("y:0",), never).answer([endless])


@pytest.mark.parametrize(("length", "fits"), [(8, True), (9, False)])
def test_the_written_answer_is_measured_too(monkeypatch: pytest.MonkeyPatch, length: int, *, fits: bool) -> None:
    """Few elements may need many bytes."""
    monkeypatch.setattr(run_plan, "LARGEST_ANSWER_BYTES", 8)
    plan = RunPlan({}, ("y:0",), lambda _: b"a" * length)

    if fits:
        assert plan.answer([np.zeros(1)]) == b"a" * length
        return
    with pytest.raises(ResourceExhausted):
        plan.answer([np.zeros(1)])
