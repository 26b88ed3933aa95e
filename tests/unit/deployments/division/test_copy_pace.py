"""Tests of when a copy may be sent."""

from __future__ import annotations

from deployments.division.copy_pace import MOST_BYTES, REST_RATIO, CopyPace


def test_copies_are_bounded_in_number() -> None:
    """As many are on their way as the settings say."""
    pace = CopyPace(2)
    pace.began(1)
    assert pace.has_room(1, 0.0, is_pressed=False)
    pace.began(1)
    assert not pace.has_room(1, 0.0, is_pressed=False)
    pace.ended(1, 0.0, 0.1)
    assert pace.has_room(1, 0.0, is_pressed=False)


def test_copies_are_bounded_in_bytes() -> None:
    """What is on its way is held in memory; a copy larger than all of the room is never sent."""
    pace = CopyPace(8)
    assert not pace.has_room(MOST_BYTES + 1, 0.0, is_pressed=False)
    pace.began(MOST_BYTES - 5)
    assert pace.has_room(5, 0.0, is_pressed=False)
    assert not pace.has_room(6, 0.0, is_pressed=False)
    pace.ended(MOST_BYTES - 5, 0.0, 0.1)
    assert pace.has_room(MOST_BYTES, 0.0, is_pressed=False)


def test_under_load_copies_rest_long_after_each_other() -> None:
    """There is one at a time, and none for a multiple of the time that the last one took."""
    pace = CopyPace(8)
    pace.began(1)
    assert not pace.has_room(1, 9.0, is_pressed=True)
    pace.ended(1, 10.0, 0.1)
    rested_at_s = 10.0 + REST_RATIO * 0.1
    assert not pace.has_room(1, rested_at_s - 0.01, is_pressed=True)
    assert pace.has_room(1, rested_at_s, is_pressed=True)
    assert pace.has_room(1, 10.0, is_pressed=False)
