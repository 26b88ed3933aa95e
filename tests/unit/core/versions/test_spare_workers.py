"""When nodes are asked for spare workers."""

from __future__ import annotations

import itertools

import pytest

from core.versions.spare_workers import (
    LONGEST_PAUSE_S,
    LOOK_EVERY_S,
    RENEW_AFTER_S,
    SHORT_LOOK_S,
    UNASKED,
    NodeSpares,
    next_look_s,
    to_ask,
)

NEVER = float("-inf")


@pytest.mark.parametrize(
    ("known", "idle", "wanted", "loaded_s", "asked"),
    [
        pytest.param(UNASKED, 0, 1, NEVER, 1, id="the_first_one"),
        pytest.param(UNASKED, 1, 1, NEVER, 0, id="ray_has_one"),
        pytest.param(UNASKED, 2, 1, NEVER, 0, id="ray_has_more"),
        pytest.param(UNASKED, 1, 3, NEVER, 2, id="several"),
        pytest.param(UNASKED, 0, 0, NEVER, 0, id="none_wanted"),
        pytest.param(NodeSpares(950.0), 0, 1, 990.0, 1, id="a_version_took_it"),
        pytest.param(NodeSpares(990.0), 0, 1, 994.0, 1, id="a_version_took_it_at_once"),
        pytest.param(NodeSpares(980.0), 0, 1, 970.0, 0, id="nobody_took_it"),
        pytest.param(NodeSpares(960.0), 0, 1, 950.0, 1, id="nobody_took_it_some_time_ago"),
    ],
)
def test_a_node_is_asked_for_what_it_lacks(
    known: NodeSpares, idle: int, wanted: int, loaded_s: float, asked: int
) -> None:
    """Unless it has just been asked."""
    after, count = to_ask(known, idle, wanted, 1000.0, loaded_s)

    assert count == asked
    assert after == (known if not asked else NodeSpares(1000.0, after.in_vain))


def test_workers_that_disappear_are_asked_for_ever_more_seldom() -> None:
    """A machine short of memory is not kept busy with processes that Ray ends again; at last, once an hour."""
    known, asked = UNASKED, []
    for now_s in range(0, 24 * 3600, 15):
        known, count = to_ask(known, 0, 1, float(now_s), NEVER)
        if count:
            asked.append(now_s)

    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses[:3] == [30, 60, 120]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_load_ends_the_pause() -> None:
    """A version took the worker, or would have."""
    known = NodeSpares(1000.0, in_vain=7)

    assert to_ask(known, 0, 1, 1100.0, 1050.0) == (NodeSpares(1100.0), 1)


@pytest.mark.parametrize(
    ("loaded_s", "is_short", "pause_s"),
    [
        pytest.param(NEVER, False, LOOK_EVERY_S, id="at_rest"),
        pytest.param(NEVER, True, SHORT_LOOK_S, id="one_is_lacking"),
        pytest.param(999.0, True, RENEW_AFTER_S - 1.0, id="a_load_began"),
    ],
)
def test_nodes_are_looked_at_when_loads_rest(loaded_s: float, *, is_short: bool, pause_s: float) -> None:
    """A process that starts would compete with them."""
    assert next_look_s(1000.0, loaded_s, is_short=is_short) == pytest.approx(pause_s)
