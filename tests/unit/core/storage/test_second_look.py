"""When a version that is being written is looked at again."""

from __future__ import annotations

import pytest

from core.storage.second_look import QUICK_LOOK_S, STILL_WRITTEN_S, second_look_s
from core.storage.version_listing import QUIET_S, UNKNOWN, Judged

NOW_S = 1000.0


def waiting(*rested_s: float) -> Judged:
    """Return what is known of versions that wait, and whose files have been the same for so long."""
    return Judged(
        waiting={number: "waits" for number, _ in enumerate(rested_s)},
        resting={number: NOW_S - for_s for number, for_s in enumerate(rested_s)},
    )


@pytest.mark.parametrize(
    ("known", "pause_s"),
    [
        pytest.param(waiting(0.0), QUICK_LOOK_S, id="just_changed"),
        pytest.param(waiting(QUIET_S - 0.1), 0.1, id="nearly_quiet"),
        pytest.param(waiting(QUIET_S + 0.1), QUICK_LOOK_S, id="quiet_and_still_waiting"),
        pytest.param(waiting(STILL_WRITTEN_S), None, id="nobody_writes"),
        pytest.param(waiting(-60.0), None, id="the_clock_was_set_back"),
        pytest.param(waiting(STILL_WRITTEN_S, QUIET_S - 0.1), 0.1, id="the_soonest_of_several"),
        pytest.param(Judged(resting={1: NOW_S}), None, id="complete"),
        pytest.param(Judged(waiting={1: "waits"}), None, id="waits_without_files"),
        pytest.param(UNKNOWN, None, id="unknown"),
    ],
)
def test_a_second_look_comes_soon_while_files_change(known: Judged, pause_s: float | None) -> None:
    """And as soon as they have been the same for long enough."""
    assert second_look_s(known, NOW_S) == pytest.approx(pause_s)
