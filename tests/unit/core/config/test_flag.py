"""What a flag may be."""

from __future__ import annotations

import pytest

from core.config.flag import Flag, FlagKind, Treatment, not_negative


@pytest.mark.parametrize(("value", "used"), [(-1, 0), (-0.5, 0), (0, 0), (7, 7), (0.5, 0.5)])
def test_a_negative_wait_counts_as_none(value: float, used: float) -> None:
    """TensorFlow Serving's clients give -1 for "no"."""
    assert not_negative(value) == used


def test_a_flag_is_honoured_unless_its_row_says_otherwise() -> None:
    """A forgotten treatment must not refuse a flag."""
    flag = Flag("a", FlagKind.BOOL, False, "A.")  # noqa: FBT003

    assert (flag.treatment, flag.target, flag.remark) == (Treatment.HONOURED, "", "")
